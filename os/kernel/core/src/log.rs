//! The kernel's log: one line per event, marked with its level and with who says it.
//!
//! ```text
//! I kernel: 64 MiB of memory, 61 MiB free
//! E ds: panic: no entry at servers/ds/src/lib.rs:12:3
//! ```
//!
//! Control characters are escaped and names are checked, so no text that a process logs can
//! look like another one's line.

use crate::Kernel;
use crate::machine::Machine;
use abi::protocols::Level;
use abi::{Name, Signal};
use alloc::vec::Vec;
use core::fmt::{self, Write};

/// The name that the kernel's own lines bear, which no process can have.
pub(crate) const KERNEL: &str = "kernel";

/// Who says a line, and how it is marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    level: Level,
    /// `None` for the kernel.
    from: Option<Name>,
}

impl Line {
    /// A line of the kernel's own.
    #[must_use]
    pub const fn kernel(level: Level) -> Self {
        Self { level, from: None }
    }

    /// A line of, or about, a process.
    #[must_use]
    pub const fn of(name: Name, level: Level) -> Self {
        Self { level, from: Some(name) }
    }
}

/// Bytes of the log that are kept for services to read.
const KEPT: usize = 16 * 1024;

/// The log, which may be in the middle of a line.
#[derive(Debug)]
pub struct Log {
    open: Option<Line>,
    /// The last bytes: that of position `p` is at `p % KEPT`.
    kept: Vec<u8>,
    /// The position of the next byte.
    end: u64,
    /// A line has ended since those who watch were told.
    has_news: bool,
}

impl Default for Log {
    fn default() -> Self {
        Self { open: None, kept: alloc::vec![0; KEPT], end: 0, has_news: false }
    }
}

impl Log {
    /// Logs a whole line.
    pub fn line(&mut self, machine: &mut impl Machine, line: Line, text: fmt::Arguments<'_>) {
        self.start(machine, line, text);
        self.end(machine);
    }

    /// Starts a line, or goes on with it if this very line was started last.
    pub fn start(&mut self, machine: &mut impl Machine, line: Line, text: fmt::Arguments<'_>) {
        if self.open != Some(line) {
            self.end(machine);
            let level = match line.level {
                Level::Info => 'I',
                Level::Error => 'E',
            };
            let mut out = self.escaped(machine);
            // Writing to the log can't fail; see `Escaped`.
            let _ = match line.from {
                Some(name) => write!(out, "{level} {name}: "),
                None => write!(out, "{level} {KERNEL}: "),
            };
            self.open = Some(line);
        }
        self.more(machine, text);
    }

    /// Goes on with the line that was started.
    pub fn more(&mut self, machine: &mut impl Machine, text: fmt::Arguments<'_>) {
        let _ = self.escaped(machine).write_fmt(text);
    }

    /// Ends the line that was started, if there is one.
    pub fn end(&mut self, machine: &mut impl Machine) {
        if self.open.take().is_some() {
            self.put(machine, b'\n');
            self.has_news = true;
        }
    }

    /// Logs bytes that a process chose.
    pub(crate) fn bytes(&mut self, machine: &mut impl Machine, line: Line, bytes: &[u8]) {
        self.start(machine, line, format_args!(""));
        self.escaped(machine).bytes(bytes);
    }

    /// What is kept from a position on, as much of it as there is room for; and the position at which that starts.
    pub(crate) fn read<'a>(&self, position: u64, into: &'a mut [u8]) -> (u64, &'a [u8]) {
        let start = position.max(self.end.saturating_sub(KEPT as u64)).min(self.end);
        let mut length = 0;
        for (out, position) in into.iter_mut().zip(start..self.end) {
            *out = self.kept[place(position)];
            length += 1;
        }
        (start, &into[..length])
    }

    fn put(&mut self, machine: &mut impl Machine, byte: u8) {
        machine.log(byte);
        self.kept[place(self.end)] = byte;
        self.end += 1;
    }

    fn escaped<'a, M>(&'a mut self, machine: &'a mut M) -> Escaped<'a, M> {
        Escaped { log: self, machine }
    }
}

/// Where the byte of a position is kept.
#[expect(clippy::cast_possible_truncation, reason = "less than KEPT")]
const fn place(position: u64) -> usize {
    (position % KEPT as u64) as usize
}

/// Passes text on without control characters.
struct Escaped<'a, M> {
    log: &'a mut Log,
    machine: &'a mut M,
}

impl<M: Machine> fmt::Write for Escaped<'_, M> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.bytes(text.as_bytes());
        Ok(())
    }
}

impl<M: Machine> Escaped<'_, M> {
    fn bytes(&mut self, bytes: &[u8]) {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        for &byte in bytes {
            if byte == b' ' || byte.is_ascii_graphic() {
                self.log.put(self.machine, byte);
            } else {
                let escaped = [b'\\', b'x', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
                escaped.into_iter().for_each(|byte| self.log.put(self.machine, byte));
            }
        }
    }
}

impl<M: Machine> Kernel<M> {
    /// Logs a line of the kernel's own.
    pub fn say(&mut self, level: Level, text: fmt::Arguments<'_>) {
        self.log.line(&mut self.machine, Line::kernel(level), text);
    }

    /// Tells those who watch the log of lines that they have not been told of; whether there were any to tell.
    pub fn tell_of_log(&mut self) -> bool {
        if !core::mem::take(&mut self.log.has_news) {
            return false;
        }
        let mut has_told = false;
        for slot in self.processes.slots() {
            if self.processes.get(slot).is_some_and(|process| process.watches_log) {
                self.kernel_signal(slot, Signal::KMESS);
                has_told = true;
            }
        }
        has_told
    }
}

#[cfg(test)]
mod tests;
