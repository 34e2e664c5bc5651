//! What else of a run is compared, each in a file and from a run of its own: its messages, or its costs.
//!
//! A file is called `TEST@FACET.snap`, as insta calls those of a suffix.

use crate::observe::Record;
use crate::scenario::MAIN;
use abi::notification::Notification;
use abi::report::{Cost, Delivered, Report};
use abi::{CallInfo, Endpoint, Message, Name, describe, protocols};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

/// A side of a run that a test can ask to be compared, beside its console.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Facet {
    /// All messages that were delivered, in their order, and with names.
    Ipc,
    /// What each process cost, in instructions.
    Cost,
}

impl fmt::Display for Facet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipc => "ipc",
            Self::Cost => "cost",
        })
    }
}

impl Facet {
    /// The word of the command line by which the kernel reports it.
    pub(crate) fn parameter(self) -> String {
        format!("report={self}")
    }

    /// What a test's snapshot of it is called.
    #[must_use]
    pub fn snapshot_name(self, test: &str) -> String {
        format!("{test}@{self}")
    }

    /// The text that is compared. `main` is the process that the machine ran for.
    #[must_use]
    pub fn render(self, record: &Record, main: Option<&str>) -> String {
        match self {
            Self::Ipc => conversation(record, main),
            Self::Cost => costs(record, main),
        }
    }

    /// The text to compare with what was reviewed: that itself if the two differ by so little that it isn't worth a
    /// review.
    pub(crate) fn settle(self, text: String, reviewed: Option<&str>) -> String {
        match reviewed {
            Some(reviewed) if self == Self::Cost && is_about(reviewed, &text) => reviewed.to_owned(),
            _ => text,
        }
    }
}

/// All messages, a line each; an answer that follows its request is on the line of that.
fn conversation(record: &Record, main: Option<&str>) -> String {
    let named = record.reports().filter_map(|report| match report {
        Report::Named(named) => Some((named.endpoint, named.process)),
        _ => None,
    });
    let mut names = Names { by_endpoint: BTreeMap::new(), all: named.collect(), main };
    let mut lines: Vec<String> = Vec::new();
    // What the last line would be answered with, if by anything.
    let mut asked: Option<Delivered> = None;
    for report in record.reports() {
        match report {
            Report::Named(named) => {
                names.by_endpoint.insert(named.endpoint, named.process);
            }
            Report::Delivered(delivered) => {
                let message = &delivered.message;
                let text = names.describe(message);
                match (asked.take_if(|asked| answers(delivered, asked)), lines.last_mut()) {
                    (Some(_), Some(line)) => {
                        let (_, outcome) = text.split_once(" = ").unwrap_or(("", &text));
                        line.push_str(" = ");
                        line.push_str(outcome);
                    }
                    _ => {
                        let (from, to) = (names.show(message.source), names.show(delivered.to));
                        lines.push(format!("{from} -> {to}: {text}"));
                    }
                }
                asked = Some(*delivered);
            }
            Report::Untold => lines.push("[more messages than are reported]".to_owned()),
            _ => {}
        }
    }
    lines.iter().flat_map(|line| [line, "\n"]).collect()
}

/// Tells whether a message is the answer to a request that both sides know.
fn answers(delivered: &Delivered, asked: &Delivered) -> bool {
    let (answer, request) = (&delivered.message, &asked.message);
    answer.is_reply()
        && !request.is_reply()
        && (answer.source, delivered.to) == (asked.to, request.source)
        && (answer.number, answer.tag) == (request.number, request.tag)
        && protocols::find(answer.number).is_some()
}

/// Who is called what.
struct Names<'a> {
    /// Now.
    by_endpoint: BTreeMap<Endpoint, Name>,
    /// At any time of the run.
    all: BTreeSet<(Endpoint, Name)>,
    /// The main process has the name of its test, which the reader of a snapshot knows.
    main: Option<&'a str>,
}

impl Names<'_> {
    /// The name, with the endpoint if another process has or had the same one; what has no name is its endpoint.
    fn show(&self, endpoint: Endpoint) -> String {
        let Some(name) = self.by_endpoint.get(&endpoint) else { return endpoint.to_string() };
        let shown = if self.main == Some(name.as_str()) { MAIN } else { name.as_str() };
        let is_shared = self.all.iter().any(|(other, its)| its == name && *other != endpoint);
        if is_shared { format!("{shown}({endpoint})") } else { shown.to_owned() }
    }

    /// The message as the call it is, with names for the endpoints in it, and without what differs between builds.
    fn describe(&self, message: &Message) -> String {
        let text = describe(message).to_string();
        match protocols::find(message.number) {
            Some(call) => {
                let fields = endpoint_fields(call, message);
                let named = fields.iter().fold(text, |text, field| self.name_field(text, field));
                replace_field(named, "address", |_| Some("[ADDRESS]".into()))
            }
            None if message.number == Notification::NUMBER => {
                replace_field(text, "uptime_ns", |_| Some("[TIME]".into()))
            }
            // Of a test's own.
            None => format!("{text}, tag {}", message.tag),
        }
    }

    fn name_field(&self, text: String, field: &str) -> String {
        let name = |value: &str| {
            let found = self.by_endpoint.keys().find(|endpoint| endpoint.to_string() == value);
            found.map(|endpoint| self.show(*endpoint))
        };
        replace_field(text, field, name)
    }
}

/// Where a text first stands outside of quotes, in which processes may say what they like.
fn find_unquoted(text: &str, wanted: &str) -> Option<usize> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    text.char_indices().find_map(|(at, character)| {
        if !is_quoted && text[at..].starts_with(wanted) {
            return Some(at);
        }
        is_quoted ^= character == '"' && !is_escaped;
        is_escaped = character == '\\' && !is_escaped;
        None
    })
}

/// Replaces the value of a field.
fn replace_field(text: String, field: &str, by: impl Fn(&str) -> Option<String>) -> String {
    let mark = format!(" {field}: ");
    let Some(start) = find_unquoted(&text, &mark).map(|at| at + mark.len()) else { return text };
    let end = text[start..].find([',', ' ']).map_or(text.len(), |length| start + length);
    match by(&text[start..end]) {
        Some(value) => format!("{}{value}{}", &text[..start], &text[end..]),
        None => text,
    }
}

/// The names of a call's fields that are endpoints, as its declaration says.
fn endpoint_fields(call: &CallInfo, message: &Message) -> Vec<&'static str> {
    let verb = if call.suspends { " suspends " } else { " returns " };
    let (request, reply) = call.signature.split_once(verb).unwrap_or((call.signature, ""));
    let fields = if message.is_reply() { reply } else { request };
    let fields = fields.trim_matches(['{', '}', ' ']).split(", ");
    fields.filter_map(|field| field.strip_suffix(": Endpoint")).collect()
}

/// What each process cost, a line each, in the order in which they ended.
fn costs(record: &Record, main: Option<&str>) -> String {
    let line = |cost: &Cost| {
        let Cost { process, busy_ns, messages, kernel_calls } = cost;
        let name = if main == Some(process.as_str()) { MAIN } else { process.as_str() };
        format!("{name}: {busy_ns}{UNIT}, {messages} messages, {kernel_calls} kernel calls\n")
    };
    let lines = record.reports().filter_map(|report| match report {
        Report::Cost(cost) => Some(line(cost)),
        _ => None,
    });
    lines.collect()
}

/// Between the number of instructions and what must be equal.
const UNIT: &str = " instructions";

/// By so many percent a number of instructions may differ from the reviewed one. What else is changed in the kernel
/// moves it by less, since other code is inlined then.
pub const BAND_PERCENT: u64 = 5;
/// So many it may differ by anyway: what costs little is moved by more percent.
pub const BAND_INSTRUCTIONS: u64 = 200;

/// Tells whether two texts of costs differ in numbers of instructions only, and by little.
fn is_about(reviewed: &str, text: &str) -> bool {
    let (reviewed, text) = (reviewed.trim_end(), text.trim_end());
    let is_near = |known: u64, now: u64| {
        let off = known.abs_diff(now);
        off <= BAND_INSTRUCTIONS || off.saturating_mul(100) <= known.saturating_mul(BAND_PERCENT)
    };
    let is_close = |(known, now): (&str, &str)| match (instructions(known), instructions(now)) {
        (Some((known, known_rest)), Some((now, rest))) => known_rest == rest && is_near(known, now),
        _ => known == now,
    };
    reviewed.lines().count() == text.lines().count() && reviewed.lines().zip(text.lines()).all(is_close)
}

/// The number of instructions of a line, and what stands around it.
fn instructions(line: &str) -> Option<(u64, (&str, &str))> {
    let (before, rest) = line.split_once(UNIT)?;
    let (who, number) = before.rsplit_once(' ')?;
    Some((number.parse().ok()?, (who, rest)))
}

/// How the costs of those in both texts have changed, a line each.
pub(crate) fn changes(reviewed: &str, text: &str) -> String {
    // Several can have one name: they are in the order in which they ended.
    let mut known: BTreeMap<&str, VecDeque<u64>> = BTreeMap::new();
    for (number, (who, _)) in reviewed.lines().filter_map(instructions) {
        known.entry(who).or_default().push_back(number);
    }
    let lines = text.lines().filter_map(instructions).filter_map(|(now, (who, _))| {
        let before = known.get_mut(who)?.pop_front()?;
        // For a percentage, all that matters of such a number is there.
        #[expect(clippy::cast_precision_loss, reason = "it is shown with one digit behind the point")]
        let percent = (now as f64 - before as f64) * 100.0 / before.max(1) as f64;
        (now != before).then(|| format!("{who} {before} -> {now}{UNIT} ({percent:+.1} %)\n"))
    });
    lines.collect()
}

#[cfg(test)]
mod tests;
