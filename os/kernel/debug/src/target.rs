//! What gdb may do to the system while it stands still.

use crate::System;
use crate::arch::{Block, Number, Ring, X86_64, no_registers};
use crate::breakpoints::{Asked, is_user};
use crate::machine::{Access, Cpu, Debuggable};
use crate::monitor;
use crate::state::Stepping;
use abi::Endpoint;
use core::fmt::Write as _;
use gdbstub::common::{Signal, Tid};
use gdbstub::target::ext::base::BaseOps;
use gdbstub::target::ext::base::multithread::{
    MultiThreadBase, MultiThreadRangeStepping, MultiThreadRangeSteppingOps, MultiThreadResume,
    MultiThreadResumeOps, MultiThreadSchedulerLocking, MultiThreadSchedulerLockingOps, MultiThreadSingleStep,
    MultiThreadSingleStepOps,
};
use gdbstub::target::ext::base::single_register_access::{SingleRegisterAccess, SingleRegisterAccessOps};
use gdbstub::target::ext::breakpoints::{
    Breakpoints, BreakpointsOps, HwBreakpoint, HwBreakpointOps, HwWatchpoint, HwWatchpointOps, SwBreakpoint,
    SwBreakpointOps, WatchKind,
};
use gdbstub::target::ext::monitor_cmd::{ConsoleOutput, MonitorCmd, MonitorCmdOps};
use gdbstub::target::ext::thread_extra_info::{ThreadExtraInfo, ThreadExtraInfoOps};
use gdbstub::target::{Target, TargetError, TargetResult};
use kernel_core::Slot;
use kernel_core::machine::Context as _;

/// Errors as gdb shows them.
const NO_SUCH_THREAD: u8 = 3;
const BAD_ADDRESS: u8 = 14;
const INVALID: u8 = 22;

/// A thread: the kernel, or a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Thread {
    Kernel,
    Process(Slot),
}

/// gdb's number of the kernel.
pub(crate) const KERNEL: Tid = Tid::MIN;

/// gdb's number of a process: the first one of a slot has the slot's number and 2, and each later one another number,
/// lest gdb takes it for who was there before.
pub(crate) fn tid_of(endpoint: Endpoint) -> Tid {
    let generation = to_usize(endpoint.generation().saturating_sub(1));
    KERNEL.saturating_add(1 + usize::from(endpoint.slot_bits()) + generation * GENERATION)
}

/// By how much the numbers of processes of one slot differ: there are fewer slots.
const GENERATION: usize = 1 << 15;
const _: () = assert!(Endpoint::SLOTS as usize <= GENERATION);

fn to_usize(value: u32) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

impl<M: Debuggable> System<M> {
    /// Finds out for whom the kernel works where it stands: whose memory the processor has. Nobody can say it in the
    /// middle of a function.
    pub(crate) fn find_running(&mut self) {
        let machine = &self.kernel.machine;
        let root = machine.root(None);
        let mut processes = self.kernel.processes().iter();
        let found = processes.find(|(_, process)| machine.root(Some(&process.space)) == root);
        self.state.running = found.map(|(slot, _)| slot);
    }

    /// The thread of that number, if it lives.
    fn thread(&self, tid: Tid) -> Option<Thread> {
        let Some(number) = tid.get().checked_sub(2) else { return Some(Thread::Kernel) };
        let slot = Slot::new(u16::try_from(number % GENERATION).ok()?);
        let process = self.kernel.processes().get(slot)?;
        (tid_of(process.endpoint) == tid).then_some(Thread::Process(slot))
    }

    /// gdb's number of a thread that lives.
    pub(crate) fn tid_of(&self, thread: Thread) -> Tid {
        self.endpoint_of(thread).map_or(KERNEL, tid_of)
    }

    /// The endpoint of a thread that is a process.
    pub(crate) fn endpoint_of(&self, thread: Thread) -> Option<Endpoint> {
        let Thread::Process(slot) = thread else { return None };
        self.kernel.processes().get(slot).map(|process| process.endpoint)
    }

    pub(crate) fn lives(&self, thread: Thread) -> bool {
        match thread {
            Thread::Kernel => true,
            Thread::Process(slot) => self.kernel.processes().get(slot).is_some(),
        }
    }

    fn checked<T>(&self, tid: Tid, found: impl FnOnce(Thread) -> T) -> TargetResult<T, Self> {
        self.thread(tid).map(found).ok_or(TargetError::Errno(NO_SUCH_THREAD))
    }

    pub(crate) fn cpu(&self, thread: Thread) -> Cpu {
        match thread {
            Thread::Kernel => self.state.cpu.clone(),
            Thread::Process(slot) => match self.kernel.processes().get(slot) {
                Some(process) => {
                    Cpu { registers: process.context.registers(), float: process.context.float() }
                }
                None => no_registers(),
            },
        }
    }

    fn block(&mut self, thread: Thread) -> Block {
        let cpu = self.cpu(thread);
        let control = self.kernel.machine.control();
        let (root, ring) = match thread {
            Thread::Kernel => (self.kernel.machine.root(None), Ring::Kernel),
            Thread::Process(slot) => match self.kernel.inside(slot) {
                Some((machine, process)) => (machine.root(Some(&process.space)), Ring::User),
                None => (0, Ring::User),
            },
        };
        Block::of(&cpu, &control, root, ring)
    }

    /// Changes a thread's registers, if it can have such ones.
    fn set_block(&mut self, thread: Thread, block: &Block) -> TargetResult<(), Self> {
        let invalid = || TargetError::Errno(INVALID);
        let before = self.block(thread);
        let mut cpu = self.cpu(thread);
        block.apply(&mut cpu);
        match thread {
            Thread::Kernel => {
                // The flags of the kernel's own keep what is not for a program to set, as a process's do.
                self.state.set_kernel(&cpu).ok_or_else(invalid)?;
            }
            Thread::Process(slot) => {
                let (_, process) = self.kernel.inside(slot).ok_or_else(invalid)?;
                let old = process.context.clone();
                let is_set = process.context.set_registers(&cpu.registers).is_ok()
                    && process.context.set_float(&cpu.float).is_ok();
                if !is_set {
                    process.context = old;
                    return Err(invalid());
                }
            }
        }
        // What didn't become what was asked for can't be changed.
        let after = self.block(thread);
        if after == *block || before == *block { Ok(()) } else { Err(invalid()) }
    }

    /// Whose space an address of a thread is in.
    pub(crate) fn access(
        &mut self,
        thread: Thread,
        address: u64,
        mut with: impl FnMut(&mut M, Option<&M::Space>) -> usize,
    ) -> usize {
        let slot = match thread {
            Thread::Process(slot) => Some(slot),
            // The kernel has the memory of the process that it works for.
            Thread::Kernel => self.state.running,
        };
        match slot.filter(|_| is_user(address)) {
            Some(slot) => match self.kernel.inside(slot) {
                Some((machine, process)) => with(machine, Some(&process.space)),
                None => 0,
            },
            None => with(&mut self.kernel.machine, None),
        }
    }

    /// Whose memory gdb looks at.
    fn owner(&self) -> Option<Endpoint> {
        self.endpoint_of(Thread::Process(self.looked_at()?))
    }

    fn looked_at(&self) -> Option<Slot> {
        match self.state.looked_at {
            Some(Thread::Process(slot)) => Some(slot),
            Some(Thread::Kernel) => self.state.running,
            None => None,
        }
    }
}

impl<M: Debuggable> Target for System<M> {
    type Arch = X86_64;
    type Error = core::convert::Infallible;

    fn base_ops(&mut self) -> BaseOps<'_, Self::Arch, Self::Error> {
        BaseOps::MultiThread(self)
    }

    // Without acknowledgements nothing that a line loses would be sent again.
    fn use_no_ack_mode(&self) -> bool {
        false
    }

    fn support_breakpoints(&mut self) -> Option<BreakpointsOps<'_, Self>> {
        Some(self)
    }

    fn support_monitor_cmd(&mut self) -> Option<MonitorCmdOps<'_, Self>> {
        Some(self)
    }
}

impl<M: Debuggable> MultiThreadBase for System<M> {
    fn read_registers(&mut self, registers: &mut Block, tid: Tid) -> TargetResult<(), Self> {
        let thread = self.checked(tid, |thread| thread)?;
        *registers = self.block(thread);
        Ok(())
    }

    fn write_registers(&mut self, registers: &Block, tid: Tid) -> TargetResult<(), Self> {
        let thread = self.checked(tid, |thread| thread)?;
        self.set_block(thread, registers)
    }

    fn support_single_register_access(&mut self) -> Option<SingleRegisterAccessOps<'_, Tid, Self>> {
        Some(self)
    }

    fn read_addrs(&mut self, address: u64, data: &mut [u8], tid: Tid) -> TargetResult<usize, Self> {
        let thread = self.checked(tid, |thread| thread)?;
        self.state.looked_at = Some(thread);
        if let Some(owner) = self.owner() {
            self.state.breakpoints.is_read(owner, address, data.len() as u64);
        }
        match self.access(thread, address, |machine, space| machine.peek(space, address, data)) {
            0 if !data.is_empty() => Err(TargetError::Errno(BAD_ADDRESS)),
            len => Ok(len),
        }
    }

    fn write_addrs(&mut self, address: u64, data: &[u8], tid: Tid) -> TargetResult<(), Self> {
        let thread = self.checked(tid, |thread| thread)?;
        let written = self.access(thread, address, |machine, space| machine.poke(space, address, data));
        if written == data.len() { Ok(()) } else { Err(TargetError::Errno(BAD_ADDRESS)) }
    }

    fn list_active_threads(&mut self, visit: &mut dyn FnMut(Tid)) -> Result<(), Self::Error> {
        // gdb takes the first one for the one that stopped.
        let stopped = self.state.stopped;
        let processes = self.kernel.processes().iter().map(|(slot, _)| Thread::Process(slot));
        let others = [Thread::Kernel].into_iter().chain(processes).filter(|thread| *thread != stopped);
        let is_alive = self.lives(stopped);
        is_alive.then_some(stopped).into_iter().chain(others).for_each(|thread| visit(self.tid_of(thread)));
        Ok(())
    }

    fn is_thread_alive(&mut self, tid: Tid) -> Result<bool, Self::Error> {
        Ok(self.thread(tid).is_some())
    }

    fn support_resume(&mut self) -> Option<MultiThreadResumeOps<'_, Self>> {
        Some(self)
    }

    fn support_thread_extra_info(&mut self) -> Option<ThreadExtraInfoOps<'_, Self>> {
        Some(self)
    }
}

impl<M: Debuggable> SingleRegisterAccess<Tid> for System<M> {
    fn read_register(&mut self, tid: Tid, number: Number, into: &mut [u8]) -> TargetResult<usize, Self> {
        let thread = self.checked(tid, |thread| thread)?;
        let block = self.block(thread);
        let bytes = block.get(number.0).ok_or(TargetError::Errno(INVALID))?;
        into.get_mut(..bytes.len()).ok_or(TargetError::Errno(INVALID))?.copy_from_slice(bytes);
        Ok(bytes.len())
    }

    fn write_register(&mut self, tid: Tid, number: Number, value: &[u8]) -> TargetResult<(), Self> {
        let thread = self.checked(tid, |thread| thread)?;
        let mut block = self.block(thread);
        if !block.write(number.0, value) {
            return Err(TargetError::Errno(INVALID));
        }
        self.set_block(thread, &block)
    }
}

impl<M: Debuggable> ThreadExtraInfo for System<M> {
    fn thread_extra_info(&self, tid: Tid, buffer: &mut [u8]) -> Result<usize, Self::Error> {
        let mut text = Text { buffer, len: 0 };
        // A text that is too long is cut.
        let _ = match self.thread(tid) {
            Some(Thread::Kernel) => text.write_str("kernel"),
            Some(Thread::Process(slot)) => monitor::thread(&mut text, self, slot),
            None => Ok(()),
        };
        Ok(text.len)
    }
}

/// Text in a buffer of fixed size.
pub(crate) struct Text<'a> {
    buffer: &'a mut [u8],
    len: usize,
}

impl<'a> Text<'a> {
    pub(crate) fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, len: 0 }
    }

    /// Bytes that were written.
    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

impl core::fmt::Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        let room = &mut self.buffer[self.len..];
        let count = room.len().min(text.len());
        room[..count].copy_from_slice(&text.as_bytes()[..count]);
        self.len += count;
        if count == text.len() { Ok(()) } else { Err(core::fmt::Error) }
    }
}

impl<M: Debuggable> MultiThreadResume for System<M> {
    fn resume(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }

    fn clear_resume_actions(&mut self) -> Result<(), Self::Error> {
        self.state.clear_actions();
        Ok(())
    }

    fn set_resume_action_continue(&mut self, tid: Tid, signal: Option<Signal>) -> Result<(), Self::Error> {
        let Some(thread) = self.thread(tid) else { return Ok(()) };
        self.state.continued = Some(thread);
        self.state.has_signal |= signal.is_some_and(|signal| signal.0 != 0);
        Ok(())
    }

    fn support_single_step(&mut self) -> Option<MultiThreadSingleStepOps<'_, Self>> {
        Some(self)
    }

    fn support_range_step(&mut self) -> Option<MultiThreadRangeSteppingOps<'_, Self>> {
        Some(self)
    }

    fn support_scheduler_locking(&mut self) -> Option<MultiThreadSchedulerLockingOps<'_, Self>> {
        Some(self)
    }
}

impl<M: Debuggable> MultiThreadSingleStep for System<M> {
    fn set_resume_action_step(&mut self, tid: Tid, signal: Option<Signal>) -> Result<(), Self::Error> {
        self.set_resume_action_range_step(tid, 0, 0)?;
        self.state.has_signal |= signal.is_some_and(|signal| signal.0 != 0);
        Ok(())
    }
}

impl<M: Debuggable> MultiThreadRangeStepping for System<M> {
    fn set_resume_action_range_step(&mut self, tid: Tid, start: u64, end: u64) -> Result<(), Self::Error> {
        if let Some(thread) = self.thread(tid) {
            self.state.stepping = Some(Stepping { thread, start, end, process: None, shows: None });
        }
        Ok(())
    }
}

impl<M: Debuggable> MultiThreadSchedulerLocking for System<M> {
    fn set_resume_action_scheduler_lock(&mut self) -> Result<(), Self::Error> {
        self.state.is_locked = true;
        Ok(())
    }
}

impl<M: Debuggable> Breakpoints for System<M> {
    fn support_sw_breakpoint(&mut self) -> Option<SwBreakpointOps<'_, Self>> {
        Some(self)
    }

    fn support_hw_breakpoint(&mut self) -> Option<HwBreakpointOps<'_, Self>> {
        Some(self)
    }

    fn support_hw_watchpoint(&mut self) -> Option<HwWatchpointOps<'_, Self>> {
        Some(self)
    }
}

impl<M: Debuggable> SwBreakpoint for System<M> {
    fn add_sw_breakpoint(&mut self, address: u64, _kind: usize) -> TargetResult<bool, Self> {
        let looked_at = self.looked_at();
        Ok(self.state.breakpoints.add(&mut self.kernel, looked_at, address))
    }

    fn remove_sw_breakpoint(&mut self, address: u64, _kind: usize) -> TargetResult<bool, Self> {
        Ok(self.state.breakpoints.remove(address))
    }
}

const fn instruction(address: u64) -> Asked {
    Asked { address, len: 1, access: Access::Execute, is_read: false }
}

impl<M: Debuggable> HwBreakpoint for System<M> {
    fn add_hw_breakpoint(&mut self, address: u64, _kind: usize) -> TargetResult<bool, Self> {
        if !is_user(address) && !self.kernel.machine.can_stop_kernel_at(address) {
            return Ok(false);
        }
        // Code that processes share is for gdb to tell apart, as with breakpoint instructions.
        Ok(self.state.breakpoints.add_point(instruction(address), None))
    }

    fn remove_hw_breakpoint(&mut self, address: u64, _kind: usize) -> TargetResult<bool, Self> {
        Ok(self.state.breakpoints.remove_point(instruction(address)))
    }
}

const fn data(address: u64, len: u64, kind: WatchKind) -> Asked {
    let access = match kind {
        WatchKind::Write => Access::Write,
        WatchKind::Read | WatchKind::ReadWrite => Access::ReadWrite,
    };
    Asked { address, len, access, is_read: matches!(kind, WatchKind::Read) }
}

impl<M: Debuggable> HwWatchpoint for System<M> {
    fn add_hw_watchpoint(&mut self, address: u64, len: u64, kind: WatchKind) -> TargetResult<bool, Self> {
        if !is_user(address) && !self.kernel.machine.can_watch_kernel_at(address, len) {
            return Ok(false);
        }
        let owner = self.owner();
        Ok(self.state.breakpoints.add_point(data(address, len, kind), owner))
    }

    fn remove_hw_watchpoint(&mut self, address: u64, len: u64, kind: WatchKind) -> TargetResult<bool, Self> {
        Ok(self.state.breakpoints.remove_point(data(address, len, kind)))
    }
}

impl<M: Debuggable> MonitorCmd for System<M> {
    fn handle_monitor_cmd(&mut self, command: &[u8], out: ConsoleOutput<'_>) -> Result<(), Self::Error> {
        monitor::run(self, command, out);
        Ok(())
    }
}
