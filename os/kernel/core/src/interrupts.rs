//! Interrupt lines, and who is told of them.

use crate::Kernel;
use crate::machine::Machine;
use crate::privilege::Notifier;
use crate::process::Slot;
use abi::Errno;
use alloc::vec::Vec;

/// Who attached to which line.
#[derive(Debug)]
pub(crate) struct Interrupts {
    lines: Vec<Vec<Hook>>,
}

/// One process's wish to hear of a line.
#[derive(Clone, Copy, Debug)]
struct Hook {
    owner: Slot,
    bit: u8,
    reenable: bool,
    /// It has been told, and has not enabled the line since.
    is_active: bool,
}

/// What [`Kernel::interrupt`] tells processes by: a bit of a notification.
const BITS: u8 = 64;

impl Interrupts {
    pub(crate) fn new(lines: u8) -> Self {
        Self { lines: (0..lines).map(|_| Vec::new()).collect() }
    }

    /// Attaches a process and lets the line's interrupts through. One that is attached with that bit begins anew, as a new
    /// version of it does.
    pub(crate) fn attach(
        &mut self,
        machine: &mut impl Machine,
        owner: Slot,
        line: u8,
        bit: u8,
        reenable: bool,
    ) -> Result<(), Errno> {
        let hooks = self.lines.get_mut(usize::from(line)).filter(|_| bit < BITS).ok_or(Errno::EINVAL)?;
        let hook = Hook { owner, bit, reenable, is_active: false };
        if let Some(before) = hooks.iter_mut().find(|hook| hook.owner == owner && hook.bit == bit) {
            *before = hook;
        } else {
            hooks.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
            hooks.push(hook);
        }
        self.settle(machine, line);
        Ok(())
    }

    /// The owner has dealt with the line's interrupt.
    pub(crate) fn enable(&mut self, machine: &mut impl Machine, owner: Slot, line: u8) -> Result<(), Errno> {
        self.set_active(machine, owner, line, false)
    }

    /// The owner wants to hear nothing of the line until it enables it.
    pub(crate) fn disable(&mut self, machine: &mut impl Machine, owner: Slot, line: u8) -> Result<(), Errno> {
        self.set_active(machine, owner, line, true)
    }

    /// Says whether the owner has yet to deal with the line.
    fn set_active(
        &mut self,
        machine: &mut impl Machine,
        owner: Slot,
        line: u8,
        is_active: bool,
    ) -> Result<(), Errno> {
        let hooks = self.lines.get_mut(usize::from(line)).ok_or(Errno::EINVAL)?;
        let mut own = hooks.iter_mut().filter(|hook| hook.owner == owner).peekable();
        own.peek().ok_or(Errno::EINVAL)?;
        own.for_each(|hook| hook.is_active = is_active);
        self.settle(machine, line);
        Ok(())
    }

    /// Ends one attachment.
    pub(crate) fn detach_one(
        &mut self,
        machine: &mut impl Machine,
        owner: Slot,
        line: u8,
        bit: u8,
    ) -> Result<(), Errno> {
        let hooks = self.lines.get_mut(usize::from(line)).ok_or(Errno::EINVAL)?;
        let place = hooks.iter().position(|hook| hook.owner == owner && hook.bit == bit);
        hooks.remove(place.ok_or(Errno::EINVAL)?);
        self.settle(machine, line);
        Ok(())
    }

    /// All attachments: line, owner, bit, and whether the owner has yet to enable the line.
    pub(crate) fn hooks(&self) -> impl Iterator<Item = (u8, Slot, u8, bool)> {
        let lines = (0..=u8::MAX).zip(&self.lines);
        lines.flat_map(|(line, hooks)| {
            hooks.iter().map(move |hook| (line, hook.owner, hook.bit, hook.is_active))
        })
    }

    /// Forgets a process that ends. Lines that only it held back come free.
    pub(crate) fn detach(&mut self, machine: &mut impl Machine, owner: Slot) {
        for line in 0..self.lines.len() {
            let before = self.lines[line].len();
            self.lines[line].retain(|hook| hook.owner != owner);
            if self.lines[line].len() != before {
                self.settle(machine, u8::try_from(line).expect("lines were counted in a byte"));
            }
        }
    }

    /// A line is open while somebody listens and nobody has yet to deal with its interrupt.
    fn settle(&self, machine: &mut impl Machine, line: u8) {
        let hooks = &self.lines[usize::from(line)];
        let open = !hooks.is_empty() && hooks.iter().all(|hook| !hook.is_active);
        machine.set_irq_enabled(line, open);
    }
}

impl<M: Machine> Kernel<M> {
    /// A device raised its line.
    #[inline(never)]
    pub fn interrupt(&mut self, line: u8) {
        self.machine.set_irq_enabled(line, false);
        self.entropy.add(|| self.machine.uptime_ns());
        let hooks = self.interrupts.lines.get(usize::from(line)).map_or(0, Vec::len);
        for index in 0..hooks {
            let hook = &mut self.interrupts.lines[usize::from(line)][index];
            hook.is_active = !hook.reenable;
            let (owner, bit) = (hook.owner, hook.bit);
            self.processes.process_mut(owner).irqs_pending |= 1 << bit;
            self.notify(Notifier::Hardware, owner);
        }
        if hooks > 0 {
            self.interrupts.settle(&mut self.machine, line);
        }
    }
}
