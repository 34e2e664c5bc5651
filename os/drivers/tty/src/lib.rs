//! Terminal driver: a serial line, and the line discipline over it.
//!
//! Input is line by line, with echo and backspace (POSIX XBD 11, canonical mode); output has
//! each newline sent as carriage return and newline.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

use abi::protocols::tty::{Server, read, write};
use abi::{Answer, Bytes, Endpoint, Errno, Ticket};
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// What the terminal needs of a serial port. Errors are those of the kernel calls underneath.
#[expect(clippy::missing_errors_doc, reason = "see above")]
pub trait Uart {
    /// The line status register of a 16550.
    fn line_status(&mut self) -> Result<u8, Errno>;
    /// Takes the byte that has come in.
    fn receive(&mut self) -> Result<u8, Errno>;
    /// Fills the empty transmitter with at most [`FIFO`] bytes.
    fn transmit(&mut self, bytes: &[u8]) -> Result<(), Errno>;
}

/// Bytes that an empty transmitter takes at once.
pub const FIFO: usize = 16;
/// Line status: a byte has come in.
pub const DATA_READY: u8 = 0x01;
/// Line status: all that was sent has left.
pub const TRANSMITTER_EMPTY: u8 = 0x40;

/// A line that takes no byte for so many looks is broken.
const PATIENCE: u32 = 1_000_000;
/// The longest line that can be typed (POSIX `MAX_CANON` is at least 255).
const MAX_CANON: usize = 255;
/// Bytes of finished lines that nobody has read yet; more are refused with a bell.
const MAX_INPUT: usize = 4096;

const BELL: u8 = 0x07;
const BACKSPACE: u8 = 0x08;
const DELETE: u8 = 0x7f;

/// A terminal.
#[derive(Debug)]
pub struct Terminal<U> {
    uart: U,
    /// What is being typed.
    line: Vec<u8>,
    /// Finished lines.
    input: VecDeque<u8>,
    reader: Option<Reader>,
}

#[derive(Debug)]
struct Reader {
    ticket: Ticket<read::Request>,
    limit: usize,
}

impl<U: Uart> Terminal<U> {
    /// A terminal on a serial port that has been set up.
    #[must_use]
    pub const fn new(uart: U) -> Self {
        Self { uart, line: Vec::new(), input: VecDeque::new(), reader: None }
    }

    /// The port interrupted: takes in what was typed. Gives an answer for the reader, if there
    /// is one and a line is complete.
    pub fn interrupt(&mut self) -> Option<Answer> {
        while self.uart.line_status().is_ok_and(|status| status & DATA_READY != 0) {
            let byte = self.uart.receive().ok()?;
            self.typed(byte);
        }
        self.answer_reader()
    }

    fn answer_reader(&mut self) -> Option<Answer> {
        if self.input.is_empty() {
            return None;
        }
        let Reader { ticket, limit } = self.reader.take()?;
        let bytes = self.take_line(limit);
        Some(ticket.answer(Ok(read::Reply { bytes })))
    }

    /// Takes up to a newline, and up to `limit` bytes.
    fn take_line(&mut self, limit: usize) -> Bytes<96> {
        let end = self.input.iter().position(|byte| *byte == b'\n').map_or(self.input.len(), |at| at + 1);
        let taken: Vec<u8> = self.input.drain(..end.min(limit)).collect();
        Bytes::first_of(&taken)
    }

    fn typed(&mut self, byte: u8) {
        match byte {
            b'\r' | b'\n' => self.finish_line(),
            BACKSPACE | DELETE => {
                if self.line.pop().is_some() {
                    self.echo(&[BACKSPACE, b' ', BACKSPACE]);
                }
            }
            b' '..=b'~' | 0x80.. if self.line.len() < MAX_CANON => {
                self.line.push(byte);
                self.echo(&[byte]);
            }
            _ => self.echo(&[BELL]),
        }
    }

    fn finish_line(&mut self) {
        if self.input.len() + self.line.len() >= MAX_INPUT {
            return self.echo(&[BELL]);
        }
        self.input.extend(self.line.drain(..));
        self.input.push_back(b'\n');
        self.echo(b"\n");
    }

    fn echo(&mut self, bytes: &[u8]) {
        // A line that takes no echo takes no output either; the next write will tell.
        let _ = self.output(bytes);
    }

    fn output(&mut self, bytes: &[u8]) -> Result<(), Errno> {
        let mut piece = Vec::with_capacity(FIFO);
        for byte in bytes {
            let sent: &[u8] = if *byte == b'\n' { b"\r\n" } else { core::slice::from_ref(byte) };
            if piece.len() + sent.len() > FIFO {
                self.send(&piece)?;
                piece.clear();
            }
            piece.extend_from_slice(sent);
        }
        self.send(&piece)
    }

    /// Sends what the transmitter takes at once, and waits until it has left: a machine that
    /// stops after our answer has shown everything.
    fn send(&mut self, piece: &[u8]) -> Result<(), Errno> {
        if piece.is_empty() {
            return Ok(());
        }
        self.uart.transmit(piece)?;
        for _ in 0..PATIENCE {
            if self.uart.line_status()? & TRANSMITTER_EMPTY != 0 {
                return Ok(());
            }
        }
        Err(Errno::EIO)
    }
}

impl<U: Uart> Server for Terminal<U> {
    fn write(&mut self, _: Endpoint, request: write::Request) -> Result<write::Reply, Errno> {
        self.output(request.bytes.as_slice()).map_err(|_| Errno::EIO)?;
        Ok(write::Reply {})
    }

    fn read(&mut self, ticket: Ticket<read::Request>, request: read::Request) -> Option<Answer> {
        let limit = usize::from(request.limit);
        if !(1..=96).contains(&limit) {
            return Some(ticket.answer(Err(Errno::EINVAL)));
        }
        if self.reader.is_some() {
            return Some(ticket.answer(Err(Errno::EBUSY)));
        }
        self.reader = Some(Reader { ticket, limit });
        self.answer_reader()
    }
}

#[cfg(test)]
mod tests;
