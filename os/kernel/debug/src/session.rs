//! A session of gdbstub's: from when the system stops until it goes on.
//!
//! gdbstub ends a session at a packet that it can't deal with, and keeps the buffer that it was given. So each has the
//! buffer for as long as it lasts, and the next one is told, in silence, what the debugger has said of itself.

use crate::System;
use crate::machine::{Debuggable, Line};
use crate::packets::{Input, Output, SIZE, SPARE, body, checksum, hex};
use crate::target::Text;
use alloc::vec::Vec;
use core::fmt::Write as _;
use gdbstub::stub::state_machine::GdbStubStateMachine;
use gdbstub::stub::{DisconnectReason, GdbStubBuilder, MultiThreadStopReason};

/// Why the system stopped, as gdb hears it.
pub(crate) type Reason = MultiThreadStopReason<u64>;

/// What a debugger has said that the next session must know.
pub(crate) struct Said {
    /// The packet that it began with; nothing while nobody is there.
    greeting: Vec<u8>,
    /// The packet that chose the thread whose memory and registers it looks at.
    selection: Vec<u8>,
}

impl Said {
    pub(crate) fn new() -> Self {
        Self { greeting: Vec::with_capacity(SIZE), selection: Vec::with_capacity(SELECTION) }
    }

    /// Tells whether a debugger is there.
    pub(crate) fn is_anything(&self) -> bool {
        !self.greeting.is_empty()
    }

    /// A debugger is there that has said nothing else.
    pub(crate) fn begin(&mut self, greeting: &[u8]) {
        self.clear();
        self.greeting.extend_from_slice(greeting);
    }

    pub(crate) fn clear(&mut self) {
        self.greeting.clear();
        self.selection.clear();
    }

    fn select(&mut self, packet: &[u8]) {
        self.selection.clear();
        self.selection.extend_from_slice(packet);
    }
}

/// What a session begins with.
#[derive(Clone, Copy)]
pub(crate) enum Opening {
    /// The debugger has just come.
    New,
    /// It has been there.
    Known,
    /// It waits to hear why the system stopped.
    Stopped(Reason),
}

/// What a session ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The system is to go on.
    GoesOn,
    /// The debugger has left.
    Gone,
    /// Another one is there, or the same once more.
    Greeted,
    /// gdbstub doesn't understand how the debugger has begun.
    Unknown,
    /// gdbstub can't deal with a packet.
    Refused,
}

/// A session.
pub(crate) struct Session<'a, M: Debuggable, L: Line>(GdbStubStateMachine<'a, System<M>, &'a mut Output<L>>);

impl<'a, M: Debuggable, L: Line> Session<'a, M, L> {
    /// A session in which what a debugger has said of itself was said.
    pub(crate) fn begin(
        system: &mut System<M>,
        buffer: &'a mut [u8],
        output: &'a mut Output<L>,
        said: &mut Said,
        opening: Opening,
    ) -> Option<Self> {
        output.is_muted = !matches!(opening, Opening::New);
        let stub = GdbStubBuilder::new(output).with_packet_buffer(buffer).build().ok()?;
        let session = Self(stub.run_state_machine(system).ok()?).give(system, &said.greeting)?;
        let mut session = match opening {
            // gdbstub tells one only who has let the system go on.
            Opening::Stopped(_) => session.give(system, CONTINUE)?,
            _ if said.selection.is_empty() => session,
            _ => session.give(system, &said.selection)?,
        };
        session.output().is_muted = false;
        if let Opening::Stopped(reason) = opening {
            system.state.clear_actions();
            // gdb chooses anew.
            said.select(b"");
            session = session.stops(system, reason)?;
            session.output().is_stop = true;
        }
        Some(session)
    }

    fn stops(self, system: &mut System<M>, reason: Reason) -> Option<Self> {
        let GdbStubStateMachine::Running(session) = self.0 else { return Some(self) };
        // It fails for reasons that were not announced only.
        session.report_stop(system, reason).ok().map(Self)
    }

    /// Takes what has come on the line.
    pub(crate) fn take(
        mut self,
        system: &mut System<M>,
        said: &mut Said,
        input: Input,
        packet: &[u8],
    ) -> Result<Self, End> {
        match input {
            Input::Packet => self.packet(system, said, packet)?.settle(system),
            Input::TooLong => Ok(self.answer(b"E16")),
            Input::Again => {
                self.output().again();
                Ok(self)
            }
            // It stands still already, and the debugger may not have got word of that. If it has, it takes what comes now for
            // a packet whose acknowledgement it lost, and passes over it: it waits for that of its next packet.
            Input::Interrupt if self.output().is_stop => {
                self.output().again();
                Ok(self)
            }
            Input::Damaged | Input::Interrupt => Ok(self),
        }
    }

    fn packet(mut self, system: &mut System<M>, said: &mut Said, packet: &[u8]) -> Result<Self, End> {
        let body = body(packet);
        let short;
        let mut given = packet;
        if body.starts_with(b"m") {
            let Some(read) = short_read(body) else { return Ok(self.answer(b"E0e")) };
            short = read;
            given = short.as_bytes();
        } else if (body.starts_with(b"M") || body.starts_with(b"X")) && !is_whole_write(body) {
            return Ok(self.answer(b"E16"));
        } else if let Some((_, answer)) = KNOWN.iter().find(|(known, _)| body.starts_with(known)) {
            return Ok(self.answer(answer));
        } else if body.starts_with(b"vKill") {
            // gdbstub doesn't answer it, for which gdb would wait.
            self = self.answer(b"OK");
        }
        let session = self.give(system, given).ok_or(End::Refused)?;
        if body.starts_with(b"Hg") && packet.len() <= SELECTION {
            said.select(packet);
        }
        Ok(session)
    }

    /// Finds out whether the session is over.
    fn settle(self, system: &mut System<M>) -> Result<Self, End> {
        match self.0 {
            GdbStubStateMachine::Idle(_) => Ok(self),
            GdbStubStateMachine::Running(_) => Err(End::GoesOn),
            GdbStubStateMachine::Disconnected(session) => {
                if session.get_reason() == DisconnectReason::Kill {
                    system.kernel.end_by_debugger();
                }
                Err(End::Gone)
            }
            // Nobody interrupts what stands still: bytes that say so never get to gdbstub.
            GdbStubStateMachine::CtrlCInterrupt(session) => {
                session.interrupt_handled(system, None::<Reason>).map(Self).map_err(|_| End::Refused)
            }
        }
    }

    /// Gives a packet to gdbstub, which may be unable to deal with it.
    fn give(self, system: &mut System<M>, packet: &[u8]) -> Option<Self> {
        let mut session = self.0;
        for byte in packet {
            session = match session {
                GdbStubStateMachine::Idle(idle) => idle.incoming_data(system, *byte).ok()?,
                other => return Some(Self(other)),
            };
        }
        Some(Self(session))
    }

    /// Answers a packet that gdbstub doesn't see.
    fn answer(mut self, body: &[u8]) -> Self {
        self.output().answer(body);
        self
    }

    fn output(&mut self) -> &mut Output<L> {
        match &mut self.0 {
            GdbStubStateMachine::Idle(session) => session.borrow_conn(),
            GdbStubStateMachine::Running(session) => session.borrow_conn(),
            GdbStubStateMachine::CtrlCInterrupt(session) => session.borrow_conn(),
            GdbStubStateMachine::Disconnected(session) => session.borrow_conn(),
        }
    }
}

/// Packets that gdbstub doesn't know, so that gdb would take them for missing, and what is to be said to them: no symbol is wanted;
/// no experiment with tracepoints goes on; and there are no tracepoints and variables of one, after which gdb asks then.
const KNOWN: [(&[u8], &[u8]); 4] =
    [(b"qSymbol:", b"OK"), (b"qTStatus", b"T0;tnotrun:0"), (b"qTfP", b"l"), (b"qTfV", b"l")];

/// Lets the system go on.
const CONTINUE: &[u8] = b"$vCont;c#a8";

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
