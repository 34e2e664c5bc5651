//! Who runs next.
//!
//! Sixteen queues, the first served first; processes of one queue take turns. The process that
//! runs stays at the head of its queue until it blocks or has used up its quantum.

use crate::list::{Links, List};
use crate::machine::Machine;
use crate::process::Slot;

/// How many queues there are.
pub(crate) const PRIORITIES: usize = 16;

/// The processes that can run.
#[derive(Debug, Default)]
pub(crate) struct Ready {
    queues: [List; PRIORITIES],
    /// A bit for each queue that is not empty.
    occupied: u16,
}

impl Ready {
    /// Whose turn it is.
    #[inline]
    pub(crate) const fn first(&self) -> Option<Slot> {
        if self.occupied == 0 {
            return None;
        }
        self.queues[self.occupied.trailing_zeros() as usize].front()
    }

    /// Appends a process that can run from now on.
    pub(crate) fn enter(&mut self, links: &mut Links, slot: Slot, priority: u8) {
        let queue = usize::from(priority);
        self.queues[queue].push_back(links, slot);
        self.occupied |= 1 << queue;
    }

    /// Puts one process into the place of another that is alone in its queue; tells whether it is.
    #[inline]
    pub(crate) fn exchange_only(&mut self, out: Slot, into: Slot, priority: u8) -> bool {
        self.queues[usize::from(priority)].exchange_only(out, into)
    }

    /// Takes out a process that can't run any longer.
    pub(crate) fn leave(&mut self, links: &mut Links, slot: Slot, priority: u8) {
        let queue = usize::from(priority);
        self.queues[queue].remove(links, slot);
        if self.queues[queue].front().is_none() {
            self.occupied &= !(1 << queue);
        }
    }
}

impl<M: Machine> crate::Kernel<M> {
    /// A clock tick found `running` on the processor, or nobody.
    #[inline(never)]
    pub fn tick(&mut self, running: Option<Slot>) {
        let Some(slot) = running else { return };
        let process = self.processes.process_mut(slot);
        process.user_ticks += 1;
        process.quantum_left = process.quantum_left.saturating_sub(1);
        if process.quantum_left == 0 {
            process.quantum_left = process.quantum_ticks;
            if process.is_ready() {
                let priority = process.priority;
                self.ready.leave(&mut self.links, slot, priority);
                self.ready.enter(&mut self.links, slot, priority);
            }
        }
    }
}

/// The ticks of a quantum: at least one.
pub(crate) fn ticks<M: Machine>(machine: &M, quantum_ms: u32) -> u32 {
    let ticks = u64::from(quantum_ms) * u64::from(machine.tick_hz()) / 1000;
    u32::try_from(ticks).unwrap_or(u32::MAX).max(1)
}

/// The priority, brought into range.
pub(crate) fn priority(wanted: u8) -> u8 {
    const LOWEST: u8 = 15;
    const _: () = assert!(LOWEST as usize == PRIORITIES - 1);
    wanted.min(LOWEST)
}
