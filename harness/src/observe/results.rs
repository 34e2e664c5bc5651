//! The kernel's reports, which decide how a run is judged: see [`abi::report`].
//!
//! Nobody but the kernel can write to their line. What is found there and is no report, or where a report is
//! missing, becomes an event of its own, and then the run has no verdict.

#[cfg(test)]
mod tests;

use super::{What, escape};
use abi::boot::ExitCode;
use abi::describe;
use abi::report::{Cause, Cost, RESULTS_KEY, Report};
use std::fmt;
use wire::{Item, Reader, Record};

/// What is wrong with the reports.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Damage {
    /// Bytes that are no record.
    Bytes {
        /// How many.
        count: u64,
        /// The first of them, as text.
        start: String,
    },
    /// A whole record that is no report.
    NoReport {
        /// The number of its kind.
        kind: u8,
        /// Bytes of its payload.
        bytes: usize,
    },
    /// The next record is not the one that must follow.
    Gap {
        /// The number that it must have.
        expected: u32,
        /// The number that it has.
        found: u32,
    },
    /// There are so many bytes more than any kernel writes.
    Cut(u64),
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes { count, start } => write!(f, "{count} bytes that are no record: \"{start}\""),
            Self::NoReport { kind, bytes } => {
                write!(f, "a record that is no report: kind {kind}, {bytes} bytes")
            }
            Self::Gap { expected, found } => write!(f, "record {found} where record {expected} is due"),
            Self::Cut(bytes) => write!(f, "{bytes} more bytes, which were not kept"),
        }
    }
}

/// Bytes of what is no record that are shown.
const SHOWN_BYTES: usize = 64;

/// Gives what stands on the line of reports to `give`.
pub(super) fn read(bytes: &[u8], cut: u64, give: &mut impl FnMut(What)) {
    let mut line = Line { due: 0, noise: Vec::new(), give };
    let mut reader = Reader::new(RESULTS_KEY);
    let mut see = |item: Item<'_>| match item {
        Item::Record(record) => line.record(record),
        Item::Bytes(bytes) => line.noise.extend_from_slice(bytes),
    };
    reader.push(bytes, &mut see);
    reader.end(&mut see);
    line.end_noise();
    if cut > 0 {
        give(What::BadResult(Damage::Cut(cut)));
    }
}

struct Line<'a, G> {
    /// The number of the next record.
    due: u32,
    /// What came since the last record.
    noise: Vec<u8>,
    give: &'a mut G,
}

impl<G: FnMut(What)> Line<'_, G> {
    fn record(&mut self, record: Record<'_>) {
        self.end_noise();
        let Record { sequence, kind, payload } = record;
        if sequence != self.due {
            (self.give)(What::BadResult(Damage::Gap { expected: self.due, found: sequence }));
        }
        self.due = sequence.wrapping_add(1);
        (self.give)(match Report::get(kind.0, payload) {
            Some(report) => What::Result(report),
            None => What::BadResult(Damage::NoReport { kind: kind.0, bytes: payload.len() }),
        });
    }

    fn end_noise(&mut self) {
        if !self.noise.is_empty() {
            let start = escape(&self.noise[..self.noise.len().min(SHOWN_BYTES)]);
            let count = u64::try_from(self.noise.len()).unwrap_or(u64::MAX);
            (self.give)(What::BadResult(Damage::Bytes { count, start }));
            self.noise.clear();
        }
    }
}

/// A report as a line for people.
#[must_use]
pub fn words(report: &Report) -> String {
    match report {
        Report::Exited(exited) => format!("{} exited with status {}", exited.process, exited.status),
        Report::Ended(ended) => {
            let by = match ended.cause {
                Cause::Panic => "a panic of its own",
                Cause::Fault => "a fault",
                Cause::Signal => "a signal",
                Cause::Manager => "its signal manager",
            };
            format!("{} was ended by {by}", ended.process)
        }
        Report::Panicked => "the kernel panicked".into(),
        Report::Refused => "the kernel refused what it was started with".into(),
        Report::Overran => "the machine was busy for longer than it may be".into(),
        Report::Named(named) => format!("{} is {}", named.endpoint, named.process),
        Report::Delivered(delivered) => {
            let (from, what) = (delivered.message.source, describe(&delivered.message));
            format!("{from} -> {}: {what}", delivered.to)
        }
        Report::Untold => "more messages than are reported".into(),
        Report::Cost(cost) => {
            let Cost { process, busy_ns, messages, kernel_calls } = cost;
            format!("{process} cost {busy_ns} ns, {messages} messages, {kernel_calls} kernel calls")
        }
        Report::End(end) => {
            format!("the end: {}, {} ns busy, {} ns idle", word(end.code), end.busy_ns, end.idle_ns)
        }
    }
}

/// A word for an exit code.
#[must_use]
pub fn word(code: ExitCode) -> &'static str {
    match code {
        ExitCode::Success => "success",
        ExitCode::Failure => "failure",
        ExitCode::KernelPanic => "kernel panic",
        ExitCode::ServiceFault => "service fault",
        ExitCode::BadImage => "bad image",
        ExitCode::Limit => "limit",
    }
}

/// A report as JSON.
#[derive(serde::Serialize)]
#[serde(rename_all = "snake_case")]
enum Json<'a> {
    Exited { process: &'a str, status: i32 },
    Ended { process: &'a str, cause: &'static str },
    Panicked,
    Refused,
    Overran,
    Named { endpoint: String, process: &'a str },
    Delivered { from: String, to: String, message: String },
    Untold,
    Cost { process: &'a str, busy_ns: u64, messages: u32, kernel_calls: u32 },
    End { code: &'static str, busy_ns: u64, idle_ns: u64 },
}

pub(super) fn serialize<S: serde::Serializer>(report: &Report, to: S) -> Result<S::Ok, S::Error> {
    let json = match report {
        Report::Exited(exited) => Json::Exited { process: exited.process.as_str(), status: exited.status },
        Report::Ended(ended) => {
            let cause = match ended.cause {
                Cause::Panic => "panic",
                Cause::Fault => "fault",
                Cause::Signal => "signal",
                Cause::Manager => "manager",
            };
            Json::Ended { process: ended.process.as_str(), cause }
        }
        Report::Panicked => Json::Panicked,
        Report::Refused => Json::Refused,
        Report::Overran => Json::Overran,
        Report::Named(named) => {
            Json::Named { endpoint: named.endpoint.to_string(), process: named.process.as_str() }
        }
        Report::Delivered(delivered) => Json::Delivered {
            from: delivered.message.source.to_string(),
            to: delivered.to.to_string(),
            message: describe(&delivered.message).to_string(),
        },
        Report::Untold => Json::Untold,
        Report::Cost(cost) => Json::Cost {
            process: cost.process.as_str(),
            busy_ns: cost.busy_ns,
            messages: cost.messages,
            kernel_calls: cost.kernel_calls,
        },
        Report::End(end) => Json::End { code: word(end.code), busy_ns: end.busy_ns, idle_ns: end.idle_ns },
    };
    serde::Serialize::serialize(&json, to)
}
