//! What the debugger keeps of the system between two stops.

use crate::arch::no_registers;
use crate::breakpoints::{Breakpoints, is_user};
use crate::machine::Cpu;
use crate::step::Shows;
use crate::target::Thread;
use abi::registers::Register;
use kernel_core::Slot;

/// What the debugger keeps of the system.
#[derive(Debug)]
pub(crate) struct State {
    /// The kernel's registers where it stands.
    pub(crate) cpu: Cpu,
    /// The process that the kernel works for.
    pub(crate) running: Option<Slot>,
    /// The thread that stopped.
    pub(crate) stopped: Thread,
    /// The thread whose memory gdb looked at last.
    pub(crate) looked_at: Option<Thread>,
    pub(crate) breakpoints: Breakpoints,
    /// Who is to make a step.
    pub(crate) stepping: Option<Stepping>,
    /// Who is to go on, if nobody else is.
    pub(crate) continued: Option<Thread>,
    /// Nobody else is to go on.
    pub(crate) is_locked: bool,
    /// The signal that the stop was for is to be dealt with.
    pub(crate) has_signal: bool,
    pub(crate) catches: Catches,
    /// The system's uptime when it stopped: the time in which it stands is taken out only when it goes on.
    pub(crate) stopped_at_ns: u64,
}

/// A step, or several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stepping {
    pub(crate) thread: Thread,
    /// The step isn't over while the instruction pointer is in this range.
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// The process that is made to step: one by itself, or the one that the kernel may enter in its step.
    pub(crate) process: Option<Slot>,
    /// The next instruction shows the thread its flags.
    pub(crate) shows: Option<Shows>,
}

impl Stepping {
    pub(crate) fn is_of(&self, thread: Thread) -> bool {
        self.thread == thread || self.process.map(Thread::Process) == Some(thread)
    }

    pub(crate) fn is_over_at(&self, instruction: u64) -> bool {
        !(self.start..self.end).contains(&instruction)
    }
}

/// What stops the system beside breakpoints and steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Catches {
    /// What the processor refuses to do for a process, if nobody puts that right.
    pub(crate) faults: bool,
    /// Page faults that VM is to resolve, too, before it is told of them.
    pub(crate) page_faults: bool,
    /// Signals.
    pub(crate) signals: bool,
}

impl Default for Catches {
    fn default() -> Self {
        Self { faults: true, page_faults: false, signals: false }
    }
}

/// The flags that a program can set by itself (Intel SDM 1, 3.4.3).
const STATUS_FLAGS: u64 = 0xcd5;
/// Raises a debug exception after each instruction.
pub(crate) const TRAP_FLAG: u64 = 1 << 8;

impl State {
    pub(crate) fn new() -> Self {
        Self {
            cpu: no_registers(),
            running: None,
            stopped: Thread::Kernel,
            looked_at: None,
            breakpoints: Breakpoints::new(),
            stepping: None,
            continued: None,
            is_locked: false,
            has_signal: false,
            catches: Catches::default(),
            stopped_at_ns: 0,
        }
    }

    pub(crate) fn clear_actions(&mut self) {
        (self.stepping, self.continued) = (None, None);
        (self.is_locked, self.has_signal) = (false, false);
    }

    /// Forgets what a debugger wanted that is gone.
    pub(crate) fn forget(&mut self) {
        self.clear_actions();
        self.breakpoints.clear();
        self.catches = Catches::default();
        self.looked_at = None;
    }

    /// Changes the kernel's registers. `None` if the processor would refuse to go on with them.
    pub(crate) fn set_kernel(&mut self, cpu: &Cpu) -> Option<()> {
        const DEFAULT_MXCSR: u32 = 0xffbf;
        let long = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|index| cpu.float[at + index]));
        let (mxcsr, mask) = (long(24), long(28));
        let allowed = if mask == 0 { DEFAULT_MXCSR } else { mask };
        let is_kernel = |register: Register| {
            let address = cpu.registers[register as usize];
            !is_user(address) && address >> 47 == (1 << 17) - 1
        };
        if mxcsr & !allowed != 0 || !is_kernel(Register::Rip) || !is_kernel(Register::Rsp) {
            return None;
        }
        let flags = self.cpu.registers[Register::Rflags as usize];
        self.cpu = cpu.clone();
        let wanted = cpu.registers[Register::Rflags as usize];
        self.cpu.registers[Register::Rflags as usize] = flags & !STATUS_FLAGS | wanted & STATUS_FLAGS;
        Some(())
    }

    /// Lets the kernel make a step, or no longer.
    pub(crate) fn step_kernel(&mut self, on: bool) {
        let flags = &mut self.cpu.registers[Register::Rflags as usize];
        *flags = if on { *flags | TRAP_FLAG } else { *flags & !TRAP_FLAG };
    }

    /// Where the kernel stands.
    pub(crate) const fn kernel_instruction(&self) -> u64 {
        self.cpu.registers[Register::Rip as usize]
    }

    pub(crate) fn set_kernel_instruction(&mut self, address: u64) {
        self.cpu.registers[Register::Rip as usize] = address;
    }
}
