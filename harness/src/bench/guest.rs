//! What guest programs measure of themselves.

use super::{Figure, Time, is_wanted};
use crate::machine::Timing;
use crate::observe::{Record, What, Wish};
use crate::run::{Limits, TIMEOUT, Workshop};
use crate::scenario::Scenario;
use crate::verdict::{End, judge};
use anyhow::{Context, Result, bail};
use serde_json::Number;
use std::time::Duration;

/// Runs for the figures in time.
const RUNS: usize = 5;

/// A loop that a program measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Loop {
    pub(super) name: String,
    pub(super) turns: u64,
    pub(super) ticks: u64,
    pub(super) time: Duration,
}

/// Runs a program as often as needed for those of its figures that the filters name.
pub(super) fn measure(workshop: &Workshop, scenario: &Scenario, filters: &[String]) -> Result<Vec<Figure>> {
    let counted = observe(workshop, scenario, Timing::Deterministic)?;
    let mut figures: Vec<Figure> = counted
        .iter()
        .filter(|one| is_wanted(&one.name, filters) || is_wanted(&scenario.name, filters))
        .map(|one| Figure {
            name: one.name.clone(),
            instructions: Some(one.instructions()),
            ..Figure::default()
        })
        .collect();
    if figures.is_empty() {
        return Ok(figures);
    }
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        runs.extend(observe(workshop, scenario, Timing::RealTime)?);
    }
    for figure in &mut figures {
        let times = runs.iter().filter(|one| one.name == figure.name).map(Loop::nanoseconds);
        figure.time = Time::of(times.collect());
    }
    Ok(figures)
}

/// Runs a program once for what one turn of a loop takes.
pub(super) fn instructions(workshop: &Workshop, program: &str, name: &str) -> Result<Number> {
    let counted = observe(workshop, &workshop.scenario(program)?, Timing::Deterministic)?;
    let found = counted.iter().find(|one| one.name == name);
    Ok(found.with_context(|| format!("{program} has no loop {name}"))?.instructions())
}

fn observe(workshop: &Workshop, scenario: &Scenario, timing: Timing) -> Result<Vec<Loop>> {
    let limits = Limits { busy: None, host: TIMEOUT };
    let what = || format!("failed to measure {}", scenario.name);
    let record = workshop.observe(scenario, timing, limits, |_| Wish::GoOn).with_context(what)?;
    let end = judge(&record, scenario.main());
    if end != End::Exited(0) {
        let details = end.details().map(|details| format!(" ({details})")).unwrap_or_default();
        let complaints: Vec<String> = record.complaints().map(|line| format!("\n  {line}")).collect();
        bail!("{}: it ended with \"{end}\"{details}{}", what(), complaints.concat());
    }
    loops(&record).with_context(what)
}

/// Finds the loops in what a program printed.
pub(super) fn loops(record: &Record) -> Result<Vec<Loop>> {
    let mut open: Vec<(String, u64, Duration)> = Vec::new();
    let mut loops = Vec::new();
    for event in record.events() {
        let What::Console(line) = &event.what else { continue };
        let Some(words) = line.strip_prefix("bench ") else { continue };
        let malformed =
            || format!("\"{line}\" is not \"bench NAME begin COUNT\" or \"bench NAME end TICKS\"");
        let words: Vec<&str> = words.split(' ').collect();
        let [name, edge, number] = words[..] else { bail!(malformed()) };
        let number: u64 = number.parse().with_context(malformed)?;
        match edge {
            "begin" if number == 0 => bail!("\"{line}\": a loop of no turns can't be measured"),
            "begin" => open.push((name.to_owned(), number, event.at)),
            "end" => {
                let index = open.iter().position(|(known, _, _)| known == name);
                let (name, turns, began) =
                    open.remove(index.with_context(|| format!("\"{line}\" has no begin"))?);
                loops.push(Loop { name, turns, ticks: number, time: event.at.saturating_sub(began) });
            }
            _ => bail!(malformed()),
        }
    }
    match open.first() {
        Some((name, _, _)) => bail!("the loop {name} has a begin, but no end"),
        None if loops.is_empty() => bail!("it printed no line that starts with \"bench \""),
        None => Ok(loops),
    }
}

impl Loop {
    /// Instructions for one turn.
    pub(super) fn instructions(&self) -> Number {
        if self.ticks.is_multiple_of(self.turns) {
            return (self.ticks / self.turns).into();
        }
        let hundredths = u128::from(self.ticks) * 100 / u128::from(self.turns);
        let text = format!("{}.{:02}", hundredths / 100, hundredths % 100);
        text.parse().ok().and_then(Number::from_f64).unwrap_or_else(|| (self.ticks / self.turns).into())
    }

    fn nanoseconds(&self) -> f64 {
        // Divided as a duration, so that no precision is lost before the point.
        self.time.div_f64(1e-9).as_secs_f64() / f64_of(self.turns)
    }
}

/// The nearest `f64`.
fn f64_of(number: u64) -> f64 {
    Duration::from_nanos(number).as_secs_f64() * 1e9
}
