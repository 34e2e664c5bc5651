//! What people and other programs are told about a run.
//!
//! Each report is a [`Reader`] of one stream, [`News`]: none of them knows of another, or of
//! anything that the stream doesn't carry.

pub mod bundles;
pub mod github;
pub mod json;
pub mod junit;
pub mod latest;
mod out;
mod style;
pub mod terminal;
#[cfg(test)]
mod tests;

pub use out::{Out, stdout};
pub use style::Style;

use crate::determinism::Repetition;
use crate::inspect::PostMortem;
use crate::observe::Channel;
use crate::recording::Recording;
use crate::run::{Outcome, Verdict};
use crate::shell;
use crate::snapshot::{Comparison, Facet};
use crate::suite::News;
use crate::verdict::End;
use anyhow::Result;
use std::fmt::Write as _;

/// How many lines of a console or a log a report shows.
const SHOWN_LINES: usize = 200;

/// Something that is told all that happens in a run.
pub trait Reader {
    /// Takes note of something that happened.
    ///
    /// # Errors
    /// If what the reader makes of it can't be written. It is told nothing more then.
    fn read(&mut self, news: &News<'_>) -> Result<()>;
}

/// All readers of a run.
#[derive(Default)]
pub struct Readers<'a> {
    readers: Vec<Box<dyn Reader + 'a>>,
    failure: Option<anyhow::Error>,
}

impl<'a> Readers<'a> {
    /// Adds one.
    pub fn add(&mut self, reader: impl Reader + 'a) {
        self.readers.push(Box::new(reader));
    }

    /// Tells all of them what happened. One that fails doesn't keep the others from it.
    pub fn tell(&mut self, news: &News<'_>) {
        let failure = &mut self.failure;
        self.readers.retain_mut(|reader| match reader.read(news) {
            Ok(()) => true,
            Err(error) => {
                failure.get_or_insert(error);
                false
            }
        });
    }

    /// Ends the run.
    ///
    /// # Errors
    /// The first that a reader met.
    pub fn end(self) -> Result<()> {
        self.failure.map_or(Ok(()), Err)
    }
}

/// One word for an outcome.
#[must_use]
pub fn word(outcome: &Outcome) -> &'static str {
    match (outcome.verdict(), &outcome.end) {
        (Verdict::Passed, _) if accepted(outcome).next().is_some() => "BLESSED",
        (Verdict::Passed, _) if outcome.attempt > 1 => "FLAKY",
        (Verdict::Passed, _) => "PASS",
        (Verdict::WrongSnapshot, _) => "SNAPSHOT",
        (Verdict::WrongRepetition, _) => "DIFFERS",
        (Verdict::WrongEnd, End::HostTrouble(_)) => "TROUBLE",
        (Verdict::WrongEnd, End::Hang(_)) => "HANG",
        (Verdict::WrongEnd, End::KernelPanic) => "PANIC",
        (Verdict::WrongEnd, End::TripleFault) => "TRIPLE",
        (Verdict::WrongEnd, End::ServiceFault) => "FAULT",
        (Verdict::WrongEnd, End::Exited(_) | End::BadImage) => "FAIL",
    }
}

/// One line that says why a test failed.
#[must_use]
pub fn reason(outcome: &Outcome) -> String {
    if outcome.verdict() == Verdict::WrongEnd {
        let end = match outcome.end.details() {
            Some(details) => format!("{}: {details}", outcome.end),
            None => outcome.end.to_string(),
        };
        let when =
            outcome.strayed.map(|facet| format!("while its {facet} is reported, ")).unwrap_or_default();
        return format!("{when}it must end with \"{}\", but it ended with \"{end}\"", outcome.declared);
    }
    match &outcome.repetition {
        Repetition::Different(difference) => return difference.to_string(),
        Repetition::Blind => {
            return "two runs are equal, but it is meant to differ: the check of determinism sees nothing"
                .into();
        }
        Repetition::NotTried | Repetition::AsDeclared => {}
    }
    let reasons = outcome.comparisons().filter_map(|(facet, comparison)| {
        let of = facet.map(|facet| format!(" of its {facet}")).unwrap_or_default();
        match (comparison, facet) {
            (Comparison::Same | Comparison::Accepted(_), _) => None,
            (Comparison::New, _) => Some(format!("there is no reviewed snapshot{of} yet")),
            (_, None) => Some("it doesn't look as reviewed".to_owned()),
            (_, Some(facet)) => Some(format!("its {facet} isn't what was reviewed")),
        }
    });
    let reasons: Vec<_> = reasons.collect();
    if reasons.is_empty() { "it passed".into() } else { reasons.join("; ") }
}

/// What was accepted of it: the title of each snapshot, and the difference.
fn accepted(outcome: &Outcome) -> impl Iterator<Item = (String, &str)> {
    outcome.comparisons().filter_map(|(facet, comparison)| match comparison {
        Comparison::Accepted(difference) => Some((snapshot_title(facet), difference.as_str())),
        _ => None,
    })
}

fn snapshot_title(facet: Option<Facet>) -> String {
    facet.map_or_else(|| "snapshot".to_owned(), |facet| format!("snapshot of its {facet}"))
}

/// The line that repeats a test exactly.
#[must_use]
pub fn repeat(outcome: &Outcome) -> String {
    let mut line = format!("cargo xtask test --exact {}", outcome.name);
    for (option, time) in [("limit", outcome.how.limit), ("timeout", outcome.how.timeout)] {
        if let Some(time) = time {
            write!(line, " --{option} {}", time.as_secs_f64()).expect("writing to a string succeeds");
        }
    }
    if let Some(port) = &outcome.line {
        write!(line, " --serial {}", shell::quote(port.as_os_str())).expect("writing to a string succeeds");
    }
    if outcome.verdict() == Verdict::WrongRepetition {
        line.push_str(" --check-determinism");
    }
    line
}

/// What a test's machine printed and logged, without colours.
#[must_use]
pub fn output(outcome: &Outcome) -> String {
    let mut text = String::new();
    let shown = |channel| outcome.record.channel(channel);
    let console =
        shown(Channel::Console).map(|event| format!("{:8.3}s {}", event.at.as_secs_f64(), event.what));
    section(&mut text, "console", &console.collect::<Vec<_>>());
    let log = shown(Channel::Log).map(|event| event.what.to_string());
    section(&mut text, "log", &log.collect::<Vec<_>>());
    text
}

/// Everything there is to say about a failed test, without colours.
#[must_use]
pub fn details(outcome: &Outcome) -> String {
    let mut text = format!("{}\n{}", reason(outcome), output(outcome));
    let shown = |channel| outcome.record.channel(channel);
    let results = shown(Channel::Results).map(|event| event.what.to_string());
    section(&mut text, "results", &results.collect::<Vec<_>>());
    let complaints = outcome.complaints.iter().flat_map(|(line, places)| {
        std::iter::once(line.clone()).chain(places.iter().map(|place| format!("    {place}")))
    });
    section(&mut text, "complaints", &complaints.collect::<Vec<_>>());
    post_mortem(&mut text, outcome);
    let qemu = shown(Channel::Qemu).map(|event| event.what.to_string());
    section(&mut text, "QEMU", &qemu.collect::<Vec<_>>());
    let machine = shown(Channel::Machine).map(|event| event.what.to_string());
    section(&mut text, "machine", &machine.collect::<Vec<_>>());
    if let Repetition::Different(difference) = &outcome.repetition {
        section(&mut text, &difference.to_string(), &difference.lines());
    }
    for (facet, comparison) in outcome.comparisons() {
        if let Comparison::Different(difference) = comparison {
            let lines: Vec<_> = difference.lines().map(str::to_owned).collect();
            section(&mut text, &snapshot_title(facet), &lines);
        }
    }
    if outcome.verdict() == Verdict::WrongSnapshot && outcome.line.is_none() {
        line(&mut text, "review: cargo xtask review");
    }
    record(&mut text, outcome);
    line(&mut text, &format!("repeat: {}", repeat(outcome)));
    text
}

/// Why there is no record of a test that failed, or in what it is another run than the one that was judged.
fn record(text: &mut String, outcome: &Outcome) {
    match outcome.recording().filter(|_| outcome.verdict() != Verdict::Passed) {
        Some(Err(reason)) => line(text, &format!("no record: {reason}")),
        Some(Ok(Recording { difference: Some(difference), .. })) => {
            line(text, &format!("the record is of another run: {difference}"));
        }
        Some(Ok(_)) | None => {}
    }
}

/// What everybody was doing in a machine that had to be stopped.
fn post_mortem(text: &mut String, outcome: &Outcome) {
    match &outcome.post_mortem {
        None => {}
        Some(Err(reason)) => line(text, &format!("no post-mortem: {reason}")),
        Some(Ok(found)) => examined(text, found, SHOWN_LINES),
    }
}

/// All that was found in a dump, without colours.
#[must_use]
pub fn inspected(found: &PostMortem) -> String {
    let mut text = String::new();
    examined(&mut text, found, usize::MAX);
    text
}

/// What was found in a dump, but only so many lines of the processes.
fn examined(text: &mut String, found: &PostMortem, limit: usize) {
    section(text, "the kernel is in", &found.kernel);
    last_lines(text, "processes", &found.process_lines().collect::<Vec<_>>(), limit);
    if let Some(circle) = found.circle_line() {
        line(text, &format!("they wait for each other: {circle}"));
    }
    section(text, "last messages", &found.messages);
}

/// A heading and its lines, of which only the last ones are shown if there are many.
fn section(text: &mut String, heading: &str, lines: &[String]) {
    last_lines(text, heading, lines, SHOWN_LINES);
}

fn last_lines(text: &mut String, heading: &str, lines: &[String], limit: usize) {
    if lines.is_empty() {
        return;
    }
    line(text, &format!("{heading}:"));
    let hidden = lines.len().saturating_sub(limit);
    if hidden > 0 {
        line(text, &format!("  [{hidden} lines before]"));
    }
    lines[hidden..].iter().for_each(|shown| line(text, &format!("  {shown}")));
}

fn line(text: &mut String, content: &str) {
    writeln!(text, "{content}").expect("writing to a string succeeds");
}
