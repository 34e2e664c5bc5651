//! Packets on the line: which bytes are one, and which are noise.
//!
//! ```text
//! $ body # checksum        the checksum is the sum of the body's bytes, two hexadecimal digits
//! + or -                   the last packet came whole, or not
//! 0x03                     stop
//! ```
//!
//! Packets are acknowledged, so one that a line has damaged is sent again. gdbstub sees whole packets only, and none
//! that it could not deal with: it was made for lines that lose nothing.

use crate::machine::Line;
use alloc::vec::Vec;
use gdbstub::conn::Connection;

/// The longest packet, in bytes, from `$` to the checksum, and the most that is sent at once.
pub(crate) const SIZE: usize = 4096;
/// What an answer may need beside bytes of memory.
pub(crate) const SPARE: usize = 64;

/// What bytes came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// A packet: [`Receiver::packet`].
    Packet,
    /// One whose checksum is wrong.
    Damaged,
    /// One that is too long.
    TooLong,
    /// The debugger wants the system to stop.
    Interrupt,
    /// The debugger has not got the last packet whole.
    Again,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Outside,
    Body { is_too_long: bool },
    Checksum { is_too_long: bool, first: Option<u8> },
}

/// Puts bytes together to packets.
#[derive(Debug)]
pub(crate) struct Receiver {
    state: State,
    /// From `$` to the checksum.
    packet: Vec<u8>,
}

impl Receiver {
    pub(crate) fn new() -> Self {
        Self { state: State::Outside, packet: Vec::with_capacity(SIZE) }
    }

    /// Takes a byte.
    pub(crate) fn push(&mut self, byte: u8) -> Option<Input> {
        match (self.state, byte) {
            // A `$` in a body is escaped, so this one starts a packet whose predecessor lost its end.
            (_, b'$') => {
                self.packet.clear();
                self.packet.push(byte);
                self.state = State::Body { is_too_long: false };
                None
            }
            (State::Outside, 0x03) => Some(Input::Interrupt),
            (State::Outside, b'-') => Some(Input::Again),
            (State::Outside, _) => None,
            (State::Body { is_too_long }, b'#') => {
                self.packet.push(byte);
                self.state = State::Checksum { is_too_long, first: None };
                None
            }
            (State::Body { .. }, _) => {
                // Sign and checksum are yet to come.
                let is_too_long = self.packet.len() >= SIZE - 3;
                if !is_too_long {
                    self.packet.push(byte);
                }
                self.state = State::Body { is_too_long };
                None
            }
            (State::Checksum { is_too_long, first: None }, _) => {
                self.state = State::Checksum { is_too_long, first: Some(byte) };
                None
            }
            (State::Checksum { is_too_long, first: Some(first) }, _) => {
                self.state = State::Outside;
                if is_too_long {
                    return Some(Input::TooLong);
                }
                let is_whole = checksum(self.body()) == [first, byte].map(|digit| digit.to_ascii_lowercase());
                self.packet.extend([first, byte]);
                Some(if is_whole { Input::Packet } else { Input::Damaged })
            }
        }
    }

    /// The packet that came last, from `$` to the checksum.
    pub(crate) fn packet(&self) -> &[u8] {
        &self.packet
    }

    /// Its body.
    pub(crate) fn body(&self) -> &[u8] {
        body(&self.packet)
    }
}

/// The body of a packet.
pub(crate) fn body(packet: &[u8]) -> &[u8] {
    let end = packet.iter().rposition(|byte| *byte == b'#').unwrap_or(packet.len());
    packet.get(1..end).unwrap_or_default()
}

/// The two digits behind a body.
pub(crate) fn checksum(body: &[u8]) -> [u8; 2] {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let sum = body.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    [HEX[usize::from(sum >> 4)], HEX[usize::from(sum & 15)]]
}

/// A hexadecimal number without a prefix.
pub(crate) fn hex(digits: &[u8]) -> Option<u64> {
    let text = core::str::from_utf8(digits).ok().filter(|text| !text.starts_with('+'))?;
    u64::from_str_radix(text, 16).ok()
}

/// What gdbstub answers into: the line, and a copy for when the debugger didn't get it.
pub(crate) struct Output<L> {
    line: L,
    /// Nothing is sent: the debugger has had these answers.
    pub(crate) is_muted: bool,
    /// The last packet says that the system has stopped: the debugger has asked nothing since.
    pub(crate) is_stop: bool,
    last: Vec<u8>,
}

impl<L: Line> Output<L> {
    pub(crate) fn new(line: L) -> Self {
        Self { line, is_muted: false, is_stop: false, last: Vec::with_capacity(2 * SIZE + SPARE) }
    }

    /// Sends the last packet once more.
    pub(crate) fn again(&mut self) {
        self.last.iter().for_each(|byte| self.line.send(*byte));
    }

    /// Answers a packet that gdbstub doesn't see.
    pub(crate) fn answer(&mut self, body: &[u8]) {
        self.line.send(b'+');
        for byte in [b'$'].iter().chain(body).chain(b"#").chain(&checksum(body)) {
            self.push(*byte);
        }
    }

    fn push(&mut self, byte: u8) {
        if self.is_muted {
            return;
        }
        if byte == b'$' {
            self.is_stop = false;
            self.last.clear();
        }
        // One that is longer can't be sent again: the debugger asks anew.
        if self.last.len() < self.last.capacity() && !(byte == b'+' && self.last.is_empty()) {
            self.last.push(byte);
        }
        self.line.send(byte);
    }
}

impl<L: Line> Connection for &mut Output<L> {
    type Error = core::convert::Infallible;

    fn write(&mut self, byte: u8) -> Result<(), Self::Error> {
        self.push(byte);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}
