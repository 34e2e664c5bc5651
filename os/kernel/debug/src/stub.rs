//! When the system stops, and when it goes on.
//!
//! A debugger is there from its first packet, which asks what is supported, until it detaches. A second one that
//! starts like that takes over from a first one that is gone. One that vanishes leaves the system as it is: running
//! with its breakpoints, or stopped; the next one finds it so. Only if the line itself tells that nobody is
//! there any longer, as a cable does, a stopped system goes on.

use crate::System;
use crate::breakpoints::{Asked, Point};
use crate::machine::{Access, Cpu, Debuggable, Line, Trap};
use crate::packets::{Input, Output, Receiver, SIZE};
use crate::session::{End, Opening, Reason, Said, Session};
use crate::state::Stepping;
use crate::target::Thread;
use abi::registers::Register;
use alloc::vec::Vec;
use gdbstub::common::{Signal, Tid};
use gdbstub::target::ext::breakpoints::WatchKind;
use kernel_core::Slot;
use kernel_core::debugging::News;
use kernel_core::fault::Fault;
use kernel_core::machine::Context as _;
use kernel_core::process::Process;

/// What happened to a process, or on the line, that may concern the debugger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happened {
    /// There is something on the line.
    Line,
    /// The processor refused an instruction of the process that runs.
    Fault(Fault),
    /// The kernel asks what to do: see [`OutOfTurn::Debugger`](kernel_core::OutOfTurn).
    Asked,
}

/// What is to be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// What would be done without a debugger.
    None,
    /// Nothing: it was the debugger's doing.
    Done,
    /// The system stops: the kernel calls [`Stub::trapped`], and asks [`Stub::passes_fault`] afterwards.
    Stop,
}

/// Why the system stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// A debugger is there.
    Attached,
    /// A breakpoint instruction.
    Breakpoint,
    /// A debug register.
    Point(Asked),
    /// A step is over.
    Step,
    /// Something that has a signal.
    Signal(Signal),
}

/// The debugger's end in the kernel. It takes no memory once it is there: the kernel may stand in its allocator.
pub struct Stub<L: Line + Copy> {
    line: L,
    receiver: Receiver,
    output: Output<L>,
    /// Where gdbstub puts a packet.
    buffer: Vec<u8>,
    /// What the debugger that is there has said of itself.
    said: Said,
    /// Why the system is about to stop, and who stops.
    pending: Option<(Thread, Why)>,
    /// There is a packet that hasn't been dealt with.
    has_packet: bool,
    /// A fault stopped the system.
    is_at_fault: bool,
}

impl<L: Line + Copy> Stub<L> {
    /// A stub that listens at a line.
    #[must_use]
    pub fn new<M: Debuggable>(system: &mut System<M>, line: L) -> Self {
        system.state.breakpoints.reserve();
        Self {
            line,
            receiver: Receiver::new(),
            output: Output::new(line),
            buffer: alloc::vec![0; SIZE],
            said: Said::new(),
            pending: None,
            has_packet: false,
            is_at_fault: false,
        }
    }

    /// Stops the system when the kernel comes to an address, to wait for a debugger there.
    pub fn stop_at<M: Debuggable>(&mut self, system: &mut System<M>, address: u64) {
        let System { kernel, state } = system;
        state.breakpoints.add(kernel, None, address);
        state.breakpoints.arm(kernel);
    }

    /// Says what is to be done about something that happened.
    pub fn look<M: Debuggable>(
        &mut self,
        system: &mut System<M>,
        running: Option<Slot>,
        happened: Happened,
    ) -> Reaction {
        system.state.running = running;
        match happened {
            Happened::Line => self.listen(running),
            Happened::Fault(fault) => {
                running.map_or(Reaction::None, |slot| self.look_at_fault(system, slot, fault))
            }
            Happened::Asked => self.decide(system),
        }
    }

    /// Whether a fault that stopped the system is to be dealt with as without a debugger. If not, the process tries
    /// its instruction again.
    pub fn passes_fault<M: Debuggable>(&mut self, system: &System<M>) -> bool {
        core::mem::take(&mut self.is_at_fault) && system.state.has_signal
    }

    /// Tells whether a debugger is there.
    #[must_use]
    pub fn is_attached(&self) -> bool {
        self.said.is_anything()
    }

    fn stop(&mut self, thread: Thread, why: Why) -> Reaction {
        self.pending = Some((thread, why));
        Reaction::Stop
    }

    /// Takes bytes that came while the system runs: a few, lest a line that is never quiet keeps it from running.
    fn listen(&mut self, running: Option<Slot>) -> Reaction {
        let thread = running.map_or(Thread::Kernel, Thread::Process);
        for _ in 0..MOST_HEARD {
            let Some(byte) = self.line.receive() else { return Reaction::Done };
            match self.receiver.push(byte) {
                Some(Input::Interrupt) if self.is_attached() => {
                    return self.stop(thread, Why::Signal(Signal::SIGINT));
                }
                // Nothing but the first packet of a debugger is expected.
                Some(Input::Packet) if self.receiver.body().starts_with(GREETING) => {
                    self.has_packet = true;
                    return self.stop(thread, Why::Attached);
                }
                Some(Input::Again) if self.is_attached() => self.output.again(),
                _ => {}
            }
        }
        self.line.interrupt_again();
        Reaction::Done
    }

    fn look_at_fault<M: Debuggable>(&mut self, system: &mut System<M>, slot: Slot, fault: Fault) -> Reaction {
        let thread = Thread::Process(slot);
        // Also if nobody is there, or the next debugger would take it for news.
        let status = match fault {
            Fault::Exception { vector: DEBUG, .. } => system.kernel.machine.take_debug_status(),
            _ => 0,
        };
        if !self.is_attached() {
            return Reaction::None;
        }
        match fault {
            Fault::Exception { vector: DEBUG, .. } => {
                if let Some(reaction) = self.look_at_debug(system, thread, status) {
                    return reaction;
                }
                let process = system.kernel.processes().get(slot);
                if status & SINGLE_STEP != 0 && process.is_some_and(Process::is_stepped_by_tracer) {
                    return Reaction::None;
                }
            }
            Fault::Exception { vector: BREAKPOINT, .. } if is_at_breakpoint(system, slot) => {
                return self.stop(thread, Why::Breakpoint);
            }
            _ => {}
        }
        let catches = system.state.catches;
        // If VM refuses it, the kernel has news.
        let is_vms = matches!(fault, Fault::Page { .. }) && system.kernel.would_tell_vm(slot);
        if if is_vms { catches.page_faults } else { catches.faults } {
            self.is_at_fault = true;
            return self.stop(thread, Why::Signal(to_gdb(fault.signal())));
        }
        Reaction::None
    }

    /// What a debug exception is about, if it is the debugger's business.
    fn look_at_debug<M: Debuggable>(
        &mut self,
        system: &mut System<M>,
        thread: Thread,
        status: u64,
    ) -> Option<Reaction> {
        let stepping = system.state.stepping.filter(|stepping| stepping.is_of(thread));
        if status & SINGLE_STEP != 0 && stepping.is_some() {
            system.hide_step(thread);
        }
        let stopped = system.endpoint_of(thread);
        let is_meant = |point: &Point| point.owner.is_none() || stopped.is_none() || point.owner == stopped;
        let breakpoints = &system.state.breakpoints;
        if let Some(point) = breakpoints.hits(status).find(is_meant) {
            return Some(self.stop(thread, Why::Point(point.asked)));
        }
        if breakpoints.hits(status).next().is_some() && status & SINGLE_STEP == 0 {
            return Some(Reaction::Done);
        }
        let stepping = stepping.filter(|_| status & SINGLE_STEP != 0)?;
        let instruction = instruction_of(system, thread);
        // At a breakpoint a range ends as well: gdb has put it there for that.
        if stepping.is_over_at(instruction) || system.state.breakpoints.has(instruction) {
            return Some(self.stop(thread, Why::Step));
        }
        // The instruction may have changed the flag: `popfq` does.
        system.prepare_step();
        Some(Reaction::Done)
    }

    /// The kernel doesn't know whom to run.
    fn decide<M: Debuggable>(&mut self, system: &mut System<M>) -> Reaction {
        let News { spaces_changed, signal } = system.kernel.take_news();
        if spaces_changed {
            let System { kernel, state } = system;
            state.breakpoints.arm(kernel);
        }
        if let Some((slot, signal)) = signal
            && self.is_attached()
        {
            return self.stop(Thread::Process(slot), Why::Signal(to_gdb(signal)));
        }
        if spaces_changed || signal.is_some() {
            return Reaction::Done;
        }
        // Who alone is to go on has come to wait for somebody: by the very instruction that was to be its step, or
        // on its way to the end of a range or to a breakpoint, where it gets with the others' help only.
        system.kernel.run_only(None);
        match system.state.stepping {
            Some(Stepping { thread, start: 0, end: 0, .. }) if self.is_attached() => {
                self.stop(thread, Why::Step)
            }
            _ => Reaction::Done,
        }
    }

    /// The kernel has come here by an exception, with these registers. Serves the debugger until the system is to go
    /// on. `false` if it is no business of the debugger's.
    pub fn trapped<M: Debuggable>(&mut self, system: &mut System<M>, trap: Trap, cpu: &mut Cpu) -> bool {
        system.state.cpu = cpu.clone();
        match self.why(system, trap) {
            Reaction::None => return false,
            // Somebody else's memory, or a step in the middle of a range.
            Reaction::Done => {
                *cpu = system.state.cpu.clone();
                return true;
            }
            Reaction::Stop => {}
        }
        system.state.stopped_at_ns = system.kernel.machine.uptime_ns();
        if trap != Trap::Pause {
            system.find_running();
        }
        if let Some((thread, why)) = self.pending.take() {
            self.serve(system, thread, why);
        }
        *cpu = system.state.cpu.clone();
        true
    }

    fn why<M: Debuggable>(&mut self, system: &mut System<M>, trap: Trap) -> Reaction {
        if trap == Trap::Pause {
            return Reaction::Stop;
        }
        let kernel = Thread::Kernel;
        if trap == Trap::Breakpoint {
            let address = system.state.kernel_instruction().wrapping_sub(1);
            if system.state.breakpoints.has(address) {
                system.state.set_kernel_instruction(address);
                return self.stop(kernel, Why::Breakpoint);
            }
        }
        // The kernel has looped for too long. What the debugger has said meanwhile has not been heard.
        let is_stuck = trap == Trap::Exception(NON_MASKABLE);
        if is_stuck && self.listen(None) == Reaction::Stop {
            return Reaction::Stop;
        }
        if !self.is_attached() {
            return Reaction::None;
        }
        if is_stuck {
            return self.stop(kernel, Why::Signal(Signal::SIGXCPU));
        }
        let vector = match trap {
            Trap::Panic => return self.stop(kernel, Why::Signal(Signal::SIGABRT)),
            Trap::Debug => {
                let status = system.kernel.machine.take_debug_status();
                if let Some(reaction) = self.look_at_debug(system, kernel, status) {
                    return reaction;
                }
                DEBUG
            }
            Trap::Breakpoint | Trap::Pause => BREAKPOINT,
            Trap::Exception(vector) => vector,
        };
        self.stop(kernel, Why::Signal(to_gdb(Fault::Exception { vector, code: 0 }.signal())))
    }

    /// Lets the debugger look at the system, until it wants it to go on.
    fn serve<M: Debuggable>(&mut self, system: &mut System<M>, thread: Thread, why: Why) {
        // Who made a step may have ended in it. gdb takes the news from one who lives only.
        let thread = if system.lives(thread) { thread } else { Thread::Kernel };
        self.halt(system, thread);
        let mut opening = match reason(system.tid_of(thread), why) {
            Some(reason) if self.is_attached() => Opening::Stopped(reason),
            _ => Opening::Known,
        };
        loop {
            let end = self.attend(system, opening);
            opening = Opening::Known;
            match end {
                End::GoesOn => break,
                End::Gone => {
                    self.said.clear();
                    system.forget();
                    break;
                }
                End::Greeted => {
                    system.forget();
                    self.said.begin(self.receiver.packet());
                    opening = Opening::New;
                }
                End::Unknown => self.said.clear(),
                End::Refused => self.output.answer(b"E16"),
            }
        }
        self.go_on(system);
        // Or who is to make a step would be interrupted before it, each time.
        self.line.take_interrupt();
    }

    /// Serves the debugger with a session of gdbstub's, until that ends.
    fn attend<M: Debuggable>(&mut self, system: &mut System<M>, opening: Opening) -> End {
        let Self { line, receiver, output, buffer, said, has_packet, .. } = self;
        let mut session = None;
        if said.is_anything() {
            session = Session::begin(system, buffer, output, said, opening);
            if session.is_none() {
                return End::Unknown;
            }
        }
        loop {
            let input = if core::mem::take(has_packet) {
                Some(Input::Packet)
            } else {
                match line.receive() {
                    Some(byte) => receiver.push(byte),
                    None if line.wait() => None,
                    None => return End::Gone,
                }
            };
            match input {
                Some(Input::Packet) if receiver.body().starts_with(GREETING) => return End::Greeted,
                Some(Input::Damaged) => line.send(b'-'),
                Some(input) => {
                    // To nobody nothing is said.
                    let Some(open) = session.take() else { continue };
                    match open.take(system, said, input, receiver.packet()) {
                        Ok(open) => session = Some(open),
                        Err(end) => return end,
                    }
                }
                None => {}
            }
        }
    }

    /// Takes everything back by which the system was to stop.
    fn halt<M: Debuggable>(&mut self, system: &mut System<M>, thread: Thread) {
        let System { kernel, state } = system;
        state.breakpoints.disarm(kernel);
        kernel.run_only(None);
        state.step_kernel(false);
        if let Some(Stepping { process: Some(slot), .. }) = state.stepping
            && let Some((_, process)) = kernel.inside(slot)
        {
            process.step_for_debugger(false);
        }
        state.stopped = thread;
        state.clear_actions();
    }

    /// Lets the system go on as the debugger wants.
    fn go_on<M: Debuggable>(&self, system: &mut System<M>) {
        let System { kernel, state } = system;
        let mut only = state.continued.filter(|_| state.is_locked);
        if let Some(stepping) = &mut state.stepping {
            only = Some(stepping.thread);
            stepping.process = match stepping.thread {
                Thread::Process(slot) => Some(slot),
                // Its last instruction before a process's takes the flags of that one.
                Thread::Kernel => state.running,
            };
        }
        if let Some(Thread::Process(slot)) = only
            && kernel.is_runnable(slot)
        {
            kernel.run_only(Some(slot));
        }
        kernel.watch_spaces(state.breakpoints.are_in_processes());
        kernel.catch_signals(state.catches.signals);
        kernel.catch_faults(state.catches.faults && self.is_attached());
        state.breakpoints.forget_owners();
        system.prepare_step();
        let System { kernel, state } = system;
        state.breakpoints.arm(kernel);
    }
}

/// What a debugger that waits for it is told of a stop. Whoever it was that waited before another came is gone.
fn reason(tid: Tid, why: Why) -> Option<Reason> {
    Some(match why {
        Why::Attached => return None,
        Why::Breakpoint => Reason::SwBreak(tid),
        Why::Point(Asked { access: Access::Execute, .. }) => Reason::HwBreak(tid),
        Why::Point(Asked { address: addr, access, is_read, .. }) => {
            let kind = match access {
                _ if is_read => WatchKind::Read,
                Access::Write => WatchKind::Write,
                Access::ReadWrite | Access::Execute => WatchKind::ReadWrite,
            };
            Reason::Watch { tid, kind, addr }
        }
        Why::Step => Reason::SignalWithThread { tid, signal: Signal::SIGTRAP },
        Why::Signal(signal) => Reason::SignalWithThread { tid, signal },
    })
}

/// What a debugger's first packet begins with.
const GREETING: &[u8] = b"qSupported";

const DEBUG: u8 = 1;
const NON_MASKABLE: u8 = 2;
const BREAKPOINT: u8 = 3;
/// In `dr6`: a step.
const SINGLE_STEP: u64 = 1 << 14;

/// The most bytes that are taken while the system runs, before it goes on. More at a time come over no line: at 115200 bits
/// a second these take 22 ms, in which the clock ticks 22 times. Where more had come, the line would interrupt again at once,
/// so processes that are to get on in spite of a line that is faster than the kernel reads would need another bound.
const MOST_HEARD: usize = 256;

/// Tells whether a process has just come to a breakpoint of gdb's, and puts it there.
fn is_at_breakpoint<M: Debuggable>(system: &mut System<M>, slot: Slot) -> bool {
    let System { kernel, state } = system;
    let Some((_, process)) = kernel.inside(slot) else { return false };
    let mut registers = process.context.registers();
    let address = registers[Register::Rip as usize].wrapping_sub(1);
    registers[Register::Rip as usize] = address;
    state.breakpoints.has(address) && process.context.set_registers(&registers).is_ok()
}

fn instruction_of<M: Debuggable>(system: &System<M>, thread: Thread) -> u64 {
    match thread {
        Thread::Kernel => system.state.kernel_instruction(),
        Thread::Process(slot) => {
            let process = system.kernel.processes().get(slot);
            process.map_or(0, |process| process.context.instruction_pointer())
        }
    }
}

/// gdb numbers signals in its own way.
fn to_gdb(signal: abi::Signal) -> Signal {
    use abi::Signal as S;
    const NAMES: [(S, Signal); 24] = [
        (S::HUP, Signal::SIGHUP),
        (S::INT, Signal::SIGINT),
        (S::QUIT, Signal::SIGQUIT),
        (S::ILL, Signal::SIGILL),
        (S::TRAP, Signal::SIGTRAP),
        (S::ABRT, Signal::SIGABRT),
        (S::BUS, Signal::SIGBUS),
        (S::FPE, Signal::SIGFPE),
        (S::KILL, Signal::SIGKILL),
        (S::USR1, Signal::SIGUSR1),
        (S::SEGV, Signal::SIGSEGV),
        (S::USR2, Signal::SIGUSR2),
        (S::PIPE, Signal::SIGPIPE),
        (S::ALRM, Signal::SIGALRM),
        (S::TERM, Signal::SIGTERM),
        (S::CHLD, Signal::SIGCHLD),
        (S::CONT, Signal::SIGCONT),
        (S::STOP, Signal::SIGSTOP),
        (S::TSTP, Signal::SIGTSTP),
        (S::TTIN, Signal::SIGTTIN),
        (S::TTOU, Signal::SIGTTOU),
        (S::WINCH, Signal::SIGWINCH),
        (S::VTALRM, Signal::SIGVTALRM),
        (S::PROF, Signal::SIGPROF),
    ];
    let found = NAMES.iter().find(|(known, _)| *known == signal);
    // The kernel's own have no name there.
    found.map_or(Signal::SIGUSR1, |(_, gdb)| *gdb)
}
