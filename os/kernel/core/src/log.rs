//! The kernel's log: one line per event, marked with its level and with who says it.
//!
//! ```text
//! I kernel: 64 MiB of memory, 61 MiB free
//! E ds: panic: no entry at servers/ds/src/lib.rs:12:3
//! ```
//!
//! Control characters are escaped and names are checked, so no text that a process logs can
//! look like another one's line.

use crate::machine::Machine;
use abi::Name;
use abi::protocols::Level;
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

/// The log, which may be in the middle of a line.
#[derive(Debug, Default)]
pub struct Log {
    open: Option<Line>,
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
            let mut out = Escaped(machine);
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
        let _ = Escaped(machine).write_fmt(text);
    }

    /// Ends the line that was started, if there is one.
    pub fn end(&mut self, machine: &mut impl Machine) {
        if self.open.take().is_some() {
            machine.log(b'\n');
        }
    }

    /// Logs bytes that a process chose.
    pub(crate) fn bytes(&mut self, machine: &mut impl Machine, line: Line, bytes: &[u8]) {
        self.start(machine, line, format_args!(""));
        escape(machine, bytes);
    }
}

/// Passes text on without control characters.
struct Escaped<'a, M>(&'a mut M);

impl<M: Machine> fmt::Write for Escaped<'_, M> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        escape(self.0, text.as_bytes());
        Ok(())
    }
}

fn escape(machine: &mut impl Machine, bytes: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for &byte in bytes {
        if byte == b' ' || byte.is_ascii_graphic() {
            machine.log(byte);
        } else {
            let escaped = [b'\\', b'x', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
            escaped.into_iter().for_each(|byte| machine.log(byte));
        }
    }
}

impl<M: Machine> crate::Kernel<M> {
    /// Logs a line of the kernel's own.
    pub fn say(&mut self, level: Level, text: fmt::Arguments<'_>) {
        self.log.line(&mut self.machine, Line::kernel(level), text);
    }
}
