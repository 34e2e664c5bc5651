//! The kernel's log: `LEVEL PROCESS: TEXT`, a line each.

use super::escape;
use std::fmt;

/// How a line is marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Ordinary text.
    Info,
    /// Something is wrong.
    Error,
    /// The line isn't written as the kernel writes lines, which is itself wrong.
    Malformed,
}

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct LogLine {
    /// How it is marked.
    pub level: Level,
    /// Who says it: a process, or the kernel. Empty in a malformed line.
    pub process: String,
    /// What it says.
    pub text: String,
}

impl LogLine {
    /// Reads a line. Whatever it is, it becomes one.
    #[must_use]
    pub fn parse(line: &[u8]) -> Self {
        let line = escape(line.strip_suffix(b"\r").unwrap_or(line));
        let well_formed = line.split_once(' ').and_then(|(level, rest)| {
            let level = match level {
                "I" => Level::Info,
                "E" => Level::Error,
                _ => return None,
            };
            let (process, text) = rest.split_once(": ")?;
            let is_name = abi::Name::new(process).is_some();
            is_name.then(|| Self { level, process: process.to_owned(), text: text.to_owned() })
        });
        well_formed.unwrap_or(Self { level: Level::Malformed, process: String::new(), text: line })
    }

    /// The line as the kernel writes it.
    #[must_use]
    pub fn marked(&self) -> String {
        match self.level {
            Level::Info => format!("I {self}"),
            Level::Error => format!("E {self}"),
            Level::Malformed => self.text.clone(),
        }
    }
}

/// The line without its level.
impl fmt::Display for LogLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.level {
            Level::Info | Level::Error => write!(f, "{}: {}", self.process, self.text),
            Level::Malformed => write!(f, "not a log line: {}", self.text),
        }
    }
}
