//! Measurements: of guests in instructions and in time, of the harness in time.
//!
//! A guest program of kind `bench` prints, for each loop that it measures,
//! `bench NAME begin COUNT` and `bench NAME end TICKS`. Ticks of a machine that counts time in
//! instructions are instructions, the same in every run. Ticks of one that doesn't are nothing in
//! particular: there the time between the two lines counts, the median of several runs.

mod guest;
mod host;
#[cfg(test)]
mod tests;

pub use host::{BARE, FIRST_LINE, PEAK_MEMORY, PER_TEST, SUITE, WARM, WITHOUT_DEBUGGER};

use crate::run::{Match, Workshop, select};
use crate::scenario::Kind;
use anyhow::Result;
use serde_json::Number;
use std::fmt::Write as _;

/// Something that was measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figure {
    /// Its name.
    pub name: String,
    /// Instructions for one turn of the loop.
    pub instructions: Option<Number>,
    /// Time for one turn of the loop, or for the whole.
    pub time: Option<Time>,
    /// Bytes of memory.
    pub bytes: Option<u64>,
}

/// Nanoseconds of several runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Time {
    /// The median.
    pub median: f64,
    /// The shortest.
    pub min: f64,
    /// The longest.
    pub max: f64,
    /// How many there were.
    pub runs: usize,
}

impl Time {
    /// Sums up runs; `None` if there were none.
    #[must_use]
    pub fn of(mut nanoseconds: Vec<f64>) -> Option<Self> {
        nanoseconds.sort_by(f64::total_cmp);
        let (min, max) = (*nanoseconds.first()?, *nanoseconds.last()?);
        let middle = nanoseconds.len() / 2;
        let median = match nanoseconds.len() % 2 {
            0 => f64::midpoint(nanoseconds[middle - 1], nanoseconds[middle]),
            _ => nanoseconds[middle],
        };
        Some(Self { median, min, max, runs: nanoseconds.len() })
    }
}

/// What came of measuring.
#[derive(Debug, Default)]
pub struct Results {
    /// What was measured.
    pub figures: Vec<Figure>,
    /// Why the rest was not.
    pub failures: Vec<anyhow::Error>,
}

/// Measures what the filters name, or everything. Each figure is shown as soon as it is known.
///
/// What figures a program has is known only when it has run, so a failure may be one of a program
/// that has nothing to do with the filters.
///
/// # Errors
/// If the scenarios can't be listed.
pub fn run(workshop: &Workshop, filters: &[String], mut reader: impl FnMut(&Figure)) -> Result<Results> {
    let scenarios = workshop.scenarios()?;
    let mut results = Results::default();
    let mut add = |measured: Result<Vec<Figure>>| match measured {
        Ok(figures) => results.figures.extend(figures.into_iter().inspect(&mut reader)),
        Err(error) => results.failures.push(error),
    };
    for scenario in select(scenarios.clone(), Kind::Bench, &[], Match::Part) {
        add(guest::measure(workshop, &scenario, filters));
    }
    let tests = select(scenarios, Kind::Test, &[], Match::Part);
    for (name, measure) in host::FIGURES.iter().filter(|(name, _)| is_wanted(name, filters)) {
        add(measure(workshop, &tests).map(|figure| vec![Figure { name: (*name).to_owned(), ..figure }]));
    }
    Ok(results)
}

/// What a round trip of a message takes in instructions, by whether a debugger's end is in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoundTrips {
    /// It is, but the command line asks for none.
    pub built_in: Number,
    /// It is, and a debugger could attach.
    pub attachable: Number,
    /// It is left out of the build.
    pub without_debugger: Number,
}

impl RoundTrips {
    /// Measures them.
    ///
    /// # Errors
    /// If there is no such kernel, or a machine doesn't end well.
    pub fn measure(workshop: &Workshop) -> Result<Self> {
        Ok(Self {
            built_in: guest::instructions(workshop, "bench_ipc", "ipc.round_trip")?,
            attachable: guest::instructions(workshop, "bench_ipc_attachable", "ipc.round_trip.attachable")?,
            without_debugger: host::without_debugger(workshop)?,
        })
    }
}

fn is_wanted(name: &str, filters: &[String]) -> bool {
    filters.is_empty() || filters.iter().any(|filter| name.contains(filter))
}

impl Figure {
    /// The figure as one line of JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        let line = Line {
            name: &self.name,
            instructions: self.instructions.as_ref(),
            ns: self.time.map(|time| rounded(time.median)),
            runs: self.time.map(|time| time.runs),
            min: self.time.map(|time| rounded(time.min)),
            max: self.time.map(|time| rounded(time.max)),
            bytes: self.bytes,
        };
        serde_json::to_string(&line).expect("names and numbers can be written as JSON")
    }

    /// The figure as a line of a table, see [`heading`].
    #[must_use]
    pub fn to_row(&self) -> String {
        let instructions = self.instructions.as_ref().map(ToString::to_string).unwrap_or_default();
        let mut row = format!("{:<28} {instructions:>14}", self.name);
        if let Some(time) = self.time {
            let (median, min, max) = (readable(time.median), readable(time.min), readable(time.max));
            write!(row, " {median:>12} {min:>12} {max:>12} {:>5}", time.runs)
                .expect("writing to a string succeeds");
        }
        if let Some(bytes) = self.bytes {
            write!(row, " {:>8} KiB", bytes / 1024).expect("writing to a string succeeds");
        }
        row
    }
}

/// The heading of the table that [`Figure::to_row`] makes lines of.
#[must_use]
pub fn heading() -> String {
    format!(
        "{:<28} {:>14} {:>12} {:>12} {:>12} {:>5}",
        "name", "instructions", "median", "min", "max", "runs"
    )
}

/// A line of JSON.
#[derive(serde::Serialize)]
struct Line<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    instructions: Option<&'a Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ns: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    runs: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
}

/// Without more digits than a measurement has.
fn rounded(nanoseconds: f64) -> f64 {
    (nanoseconds * 10.0).round() / 10.0
}

/// Nanoseconds in the unit that suits them.
fn readable(nanoseconds: f64) -> String {
    match nanoseconds {
        small if small < 1e3 => format!("{small:.1} ns"),
        medium if medium < 1e6 => format!("{:.2} µs", medium / 1e3),
        large if large < 1e9 => format!("{:.2} ms", large / 1e6),
        huge => format!("{:.2} s", huge / 1e9),
    }
}
