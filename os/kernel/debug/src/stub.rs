//! When the system stops, and when it goes on.
//!
//! A debugger is there from its first packet, which asks what is supported, until it detaches. A second one that
//! starts like that takes over from a first one that is gone. One that vanishes leaves the system as it is: running
//! with its breakpoints, or stopped; the next one finds it so. Only if the line itself tells that nobody is
//! there any longer, as a cable does, a stopped system goes on.

use crate::System;
use crate::breakpoints::{Asked, Point};
use crate::machine::{Access, Cpu, Debuggable, Line, Trap};
use crate::packets::{Input, Output, Receiver, SIZE, SPARE, body, checksum, hex};
use crate::state::{Stepping, TRAP_FLAG};
use crate::target::{Text, Thread};
use abi::registers::Register;
use alloc::vec::Vec;
use core::fmt::Write as _;
use gdbstub::common::Signal;
use gdbstub::stub::state_machine::GdbStubStateMachine;
use gdbstub::stub::{DisconnectReason, GdbStubBuilder, MultiThreadStopReason};
use gdbstub::target::ext::breakpoints::WatchKind;
use kernel_core::Slot;
use kernel_core::debugging::News;
use kernel_core::fault::Fault;
use kernel_core::machine::Context as _;

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

type Reason = MultiThreadStopReason<u64>;
type Session<M, L> = GdbStubStateMachine<'static, System<M>, Output<L>>;

/// The debugger's end in the kernel.
pub struct Stub<M: Debuggable, L: Line + Copy> {
    line: L,
    receiver: Receiver,
    /// `None` while nobody is there.
    session: Option<Session<M, L>>,
    /// The packet that the session began with.
    greeting: Vec<u8>,
    /// The packet that chose the thread whose memory and registers gdb looks at.
    selection: Vec<u8>,
    /// Why the system is about to stop, and who stops.
    pending: Option<(Thread, Why)>,
    /// There is a packet that hasn't been dealt with.
    has_packet: bool,
    /// A fault stopped the system.
    is_at_fault: bool,
}

impl<M: Debuggable, L: Line + Copy> Stub<M, L> {
    /// A stub that listens at a line.
    #[must_use]
    pub fn new(system: &mut System<M>, line: L) -> Self {
        system.state.breakpoints.reserve();
        Self {
            line,
            receiver: Receiver::new(),
            session: None,
            greeting: Vec::with_capacity(SIZE),
            selection: Vec::with_capacity(SELECTION),
            pending: None,
            has_packet: false,
            is_at_fault: false,
        }
    }

    /// Stops the system when the kernel comes to an address, to wait for a debugger there.
    pub fn stop_at(&mut self, system: &mut System<M>, address: u64) {
        let System { kernel, state } = system;
        state.breakpoints.add(kernel, None, address);
        state.breakpoints.arm(kernel);
    }

    /// Says what is to be done about something that happened.
    pub fn look(&mut self, system: &mut System<M>, running: Option<Slot>, happened: Happened) -> Reaction {
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
    pub fn passes_fault(&mut self, system: &System<M>) -> bool {
        core::mem::take(&mut self.is_at_fault) && system.state.has_signal
    }

    /// Tells whether a debugger is there.
    #[must_use]
    pub const fn is_attached(&self) -> bool {
        self.session.is_some()
    }

    fn stop(&mut self, thread: Thread, why: Why) -> Reaction {
        self.pending = Some((thread, why));
        Reaction::Stop
    }

    /// Takes bytes that came while the system runs.
    fn listen(&mut self, running: Option<Slot>) -> Reaction {
        let thread = running.map_or(Thread::Kernel, Thread::Process);
        while let Some(byte) = self.line.receive() {
            match self.receiver.push(byte) {
                Some(Input::Interrupt) if self.session.is_some() => {
                    return self.stop(thread, Why::Signal(Signal::SIGINT));
                }
                // Nothing but the first packet of a debugger is expected.
                Some(Input::Packet) if self.receiver.body().starts_with(GREETING) => {
                    self.has_packet = true;
                    return self.stop(thread, Why::Attached);
                }
                Some(Input::Again) => self.output(Output::again),
                _ => {}
            }
        }
        Reaction::Done
    }

    fn look_at_fault(&mut self, system: &mut System<M>, slot: Slot, fault: Fault) -> Reaction {
        let thread = Thread::Process(slot);
        // Also if nobody is there, or the next debugger would take it for news.
        let status = match fault {
            Fault::Exception { vector: DEBUG, .. } => system.kernel.machine.take_debug_status(),
            _ => 0,
        };
        if self.session.is_none() {
            return Reaction::None;
        }
        match fault {
            Fault::Exception { vector: DEBUG, .. } => {
                if let Some(reaction) = self.look_at_debug(system, thread, status) {
                    return reaction;
                }
            }
            Fault::Exception { vector: BREAKPOINT, .. } if is_at_breakpoint(system, slot) => {
                return self.stop(thread, Why::Breakpoint);
            }
            _ => {}
        }
        let catches = system.state.catches;
        let is_resolved = matches!(fault, Fault::Page { .. }) && system.kernel.has_vm_beside(slot);
        if if is_resolved { catches.page_faults } else { catches.faults } {
            self.is_at_fault = true;
            return self.stop(thread, Why::Signal(to_gdb(fault.signal())));
        }
        Reaction::None
    }

    /// What a debug exception is about, if it is the debugger's business.
    fn look_at_debug(&mut self, system: &mut System<M>, thread: Thread, status: u64) -> Option<Reaction> {
        let stepping = system.state.stepping.filter(|stepping| stepping.is_of(thread));
        let is_meant = |point: &Point| match (point.owner, thread) {
            (Some(owner), Thread::Process(slot)) => owner == slot,
            _ => true,
        };
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
        Some(Reaction::Done)
    }

    /// The kernel doesn't know whom to run.
    fn decide(&mut self, system: &mut System<M>) -> Reaction {
        let News { spaces_changed, signal } = system.kernel.take_news();
        if spaces_changed {
            let System { kernel, state } = system;
            state.breakpoints.arm(kernel);
        }
        if let Some((slot, signal)) = signal
            && self.session.is_some()
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
            Some(Stepping { thread, start: 0, end: 0, .. }) if self.session.is_some() => {
                self.stop(thread, Why::Step)
            }
            _ => Reaction::Done,
        }
    }

    /// The kernel has come here by an exception, with these registers. Serves the debugger until the system is to go
    /// on. `false` if it is no business of the debugger's.
    pub fn trapped(&mut self, system: &mut System<M>, trap: Trap, cpu: &mut Cpu) -> bool {
        system.state.cpu = cpu.clone();
        match self.why(system, trap) {
            Reaction::None => return false,
            // Somebody else's memory, or a step in the middle of a range.
            Reaction::Done => return true,
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

    fn why(&mut self, system: &mut System<M>, trap: Trap) -> Reaction {
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
        if self.session.is_none() {
            return Reaction::None;
        }
        let vector = match trap {
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
    fn serve(&mut self, system: &mut System<M>, thread: Thread, why: Why) {
        // Who made a step may have ended in it. gdb takes the news from one who lives only.
        let thread = if system.lives(thread) { thread } else { Thread::Kernel };
        self.halt(system, thread);
        self.report(system, thread, why);
        loop {
            match self.session.take() {
                Some(session @ GdbStubStateMachine::Running(_)) => {
                    self.session = Some(session);
                    break;
                }
                Some(GdbStubStateMachine::Disconnected(session)) => {
                    if session.get_reason() == DisconnectReason::Kill {
                        system.kernel.end_by_debugger();
                    }
                    system.forget();
                    break;
                }
                // Nobody interrupts what stands still: bytes that say so never get to gdbstub.
                Some(GdbStubStateMachine::CtrlCInterrupt(session)) => {
                    self.session = session.interrupt_handled(system, None::<Reason>).ok();
                }
                waiting => {
                    self.session = waiting;
                    if !self.serve_input(system) {
                        self.session = None;
                        system.forget();
                        break;
                    }
                }
            }
        }
        Self::go_on(system);
    }

    /// Takes everything back by which the system was to stop.
    fn halt(&mut self, system: &mut System<M>, thread: Thread) {
        let System { kernel, state } = system;
        state.breakpoints.disarm(kernel);
        kernel.run_only(None);
        state.step_kernel(false);
        if let Some(Stepping { process: Some(slot), was_stepped, .. }) = state.stepping
            && let Some((_, process)) = kernel.inside(slot)
        {
            process.context.set_single_step(was_stepped);
        }
        state.stopped = thread;
        state.clear_actions();
    }

    /// Lets the system go on as the debugger wants.
    fn go_on(system: &mut System<M>) {
        let System { kernel, state } = system;
        let mut only = state.continued.filter(|_| state.is_locked);
        if let Some(stepping) = &mut state.stepping {
            only = Some(stepping.thread);
            stepping.process = match stepping.thread {
                Thread::Process(slot) => Some(slot),
                // Its last instruction before a process's takes the flags of that one.
                Thread::Kernel => state.running,
            };
            if let Some((_, process)) = stepping.process.and_then(|slot| kernel.inside(slot)) {
                let flags = process.context.registers()[Register::Rflags as usize];
                stepping.was_stepped = flags & TRAP_FLAG != 0;
                process.context.set_single_step(true);
            }
            if stepping.thread == Thread::Kernel {
                state.step_kernel(true);
            }
        }
        if let Some(Thread::Process(slot)) = only
            && kernel.is_runnable(slot)
        {
            kernel.run_only(Some(slot));
        }
        kernel.watch_spaces(state.breakpoints.are_in_processes());
        kernel.catch_signals(state.catches.signals);
        state.breakpoints.forget_owners();
        state.breakpoints.arm(kernel);
    }

    /// Tells a debugger that waits for it why the system stopped.
    fn report(&mut self, system: &mut System<M>, thread: Thread, why: Why) {
        let Some(GdbStubStateMachine::Running(session)) =
            self.session.take_if(|session| matches!(session, GdbStubStateMachine::Running(_)))
        else {
            return;
        };
        let tid = thread.to_tid();
        let reason = match why {
            // Whoever it was that asked before is gone.
            Why::Attached => return,
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
        };
        // It fails for reasons that were not announced only.
        self.session = session.report_stop(system, reason).ok();
    }

    /// Deals with what comes next on the line. `false` if nobody is there any longer.
    fn serve_input(&mut self, system: &mut System<M>) -> bool {
        if core::mem::take(&mut self.has_packet) {
            self.packet(system);
            return true;
        }
        let Some(byte) = self.line.receive() else { return self.line.wait() };
        match self.receiver.push(byte) {
            Some(Input::Packet) => self.packet(system),
            Some(Input::Damaged) => self.line.send(b'-'),
            Some(Input::TooLong) => self.answer(b"E16"),
            Some(Input::Again) => self.output(Output::again),
            // It stands still already.
            Some(Input::Interrupt) | None => {}
        }
        true
    }

    fn packet(&mut self, system: &mut System<M>) {
        let body = self.receiver.body();
        if body.starts_with(GREETING) {
            system.forget();
            self.greeting.clear();
            self.selection.clear();
            self.greeting.extend_from_slice(self.receiver.packet());
            self.session = self.begin(system);
        } else if body.starts_with(b"m") {
            match short_read(body) {
                None => return self.answer(b"E0e"),
                Some(packet) => return self.give(system, packet.as_bytes()),
            }
        } else if (body.starts_with(b"M") || body.starts_with(b"X")) && !is_whole_write(body) {
            return self.answer(b"E16");
        } else if body.starts_with(b"qSymbol:") {
            // gdbstub doesn't know it, and gdb would take it for missing: no symbol is wanted.
            return self.answer(b"OK");
        } else if body.starts_with(b"vKill") {
            // gdbstub doesn't answer it, for which gdb would wait.
            self.answer(b"OK");
        }
        // A packet is no longer than the buffer that it is copied from.
        let packet = core::mem::replace(&mut self.receiver, Receiver::empty());
        self.give(system, packet.packet());
        self.receiver = packet;
    }

    /// Gives a packet to gdbstub.
    fn give(&mut self, system: &mut System<M>, packet: &[u8]) {
        let Some(session) = self.session.take() else { return };
        match Self::feed(session, system, packet) {
            Ok(session) => {
                self.session = Some(session);
                if body(packet).starts_with(b"Hg") && packet.len() <= SELECTION {
                    self.selection.clear();
                    self.selection.extend_from_slice(packet);
                }
            }
            // What gdbstub can't deal with ends its session; the debugger's goes on.
            Err(()) => {
                self.session = self.begin_again(system);
                self.answer(b"E16");
            }
        }
    }

    fn feed(mut session: Session<M, L>, system: &mut System<M>, packet: &[u8]) -> Result<Session<M, L>, ()> {
        for byte in packet {
            session = match session {
                GdbStubStateMachine::Idle(idle) => idle.incoming_data(system, *byte).map_err(|_| ())?,
                other => return Ok(other),
            };
        }
        Ok(session)
    }

    /// A session that nothing was said in yet.
    fn begin(&self, system: &mut System<M>) -> Option<Session<M, L>> {
        let builder = GdbStubBuilder::new(Output::new(self.line)).packet_buffer_size(SIZE);
        builder.build().ok()?.run_state_machine(system).ok()
    }

    /// A session in which what the last one began with was said.
    fn begin_again(&self, system: &mut System<M>) -> Option<Session<M, L>> {
        let mut session = self.begin(system)?;
        connection(&mut session).is_muted = true;
        let mut session = Self::feed(session, system, &self.greeting).ok()?;
        if !self.selection.is_empty() {
            session = Self::feed(session, system, &self.selection).ok()?;
        }
        connection(&mut session).is_muted = false;
        Some(session)
    }

    /// Answers a packet that gdbstub doesn't see.
    fn answer(&mut self, body: &[u8]) {
        self.output(|output| {
            output.line.send(b'+');
            output.packet(body);
        });
    }

    fn output(&mut self, with: impl FnOnce(&mut Output<L>)) {
        if let Some(session) = &mut self.session {
            with(connection(session));
        }
    }
}

/// Where a session's answers go.
fn connection<M: Debuggable, L: Line>(session: &mut Session<M, L>) -> &mut Output<L> {
    match session {
        GdbStubStateMachine::Idle(session) => session.borrow_conn(),
        GdbStubStateMachine::Running(session) => session.borrow_conn(),
        GdbStubStateMachine::CtrlCInterrupt(session) => session.borrow_conn(),
        GdbStubStateMachine::Disconnected(session) => session.borrow_conn(),
    }
}

/// What a debugger's first packet begins with.
const GREETING: &[u8] = b"qSupported";

const DEBUG: u8 = 1;
const BREAKPOINT: u8 = 3;
/// In `dr6`: a step.
const SINGLE_STEP: u64 = 1 << 14;

/// The longest packet that chooses a thread.
const SELECTION: usize = 64;

/// The most bytes of memory that fit into an answer, two digits each.
const MOST_READ: u64 = (SIZE - SPARE) as u64 / 2;

/// A packet that reads what was asked for, as far as it fits into an answer: gdbstub would read on in pieces, also
/// behind what is missing, and put an error behind bytes that it has sent. Nothing if that makes no sense.
fn short_read(body: &[u8]) -> Option<ShortRead> {
    let mut numbers = body.get(1..).unwrap_or_default().split(|byte| *byte == b',').map(hex);
    match [numbers.next(), numbers.next(), numbers.next()] {
        [Some(Some(address)), Some(Some(len)), None] => {
            let is_sensible = len <= SIZE as u64 && address.checked_add(len).is_some();
            is_sensible.then(|| ShortRead::new(address, len.min(MOST_READ)))
        }
        _ => None,
    }
}

/// A packet `m`.
struct ShortRead {
    bytes: [u8; 48],
    len: usize,
}

impl ShortRead {
    fn new(address: u64, len: u64) -> Self {
        let mut bytes = [0; 48];
        let mut text = Text::new(&mut bytes);
        // Two numbers of 16 digits at most, a checksum and four signs fit.
        let _ = write!(text, "$m{address:x},{len:x}#");
        let end = text.len();
        let [high, low] = checksum(body(&bytes[..end]));
        (bytes[end], bytes[end + 1]) = (high, low);
        Self { bytes, len: end + 2 }
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Tells whether there are as many bytes to be written as it says: in digits, or in bytes of which some are escaped.
fn is_whole_write(body: &[u8]) -> bool {
    let mut parts = body.splitn(3, |byte| b",:".contains(byte));
    let [Some(_), Some(len), Some(data)] = [parts.next(), parts.next(), parts.next()] else { return false };
    let count = if body.starts_with(b"X") {
        let mut bytes = data.iter();
        let unescaped =
            || bytes.next().and_then(|byte| if *byte == b'}' { bytes.next() } else { Some(byte) });
        core::iter::from_fn(unescaped).count()
    } else if data.len().is_multiple_of(2) {
        data.len() / 2
    } else {
        return false;
    };
    hex(len) == Some(count as u64)
}

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
