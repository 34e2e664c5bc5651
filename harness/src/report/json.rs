//! The report for programs: one JSON object a line, in libtest's words, as they come.
//!
//! libtest's objects are of the types `suite` and `test`. Between the start and the end of a test
//! stand those of the type `machine`: the events of its run, see [`Event`].
//! If it failed and is tried again, an object like that of its end follows, of the type `attempt`.

use super::{Reader, details, reason, repeat, word};
use crate::observe::Event;
use crate::run::{Outcome, Verdict};
use crate::suite::{News, Skipped};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Duration;

/// Writes the report.
pub struct Lines<W: Write> {
    out: W,
}

/// A report that goes to a file, whose directory is created.
///
/// # Errors
/// If the file can't be created.
pub fn file(path: &Path) -> Result<Lines<BufWriter<std::fs::File>>> {
    let create = || {
        path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
        std::fs::File::create(path)
    };
    let file = create().with_context(|| format!("failed to create {}", path.display()))?;
    Ok(Lines::new(BufWriter::new(file)))
}

impl<W: Write> Lines<W> {
    /// A report that goes to `out`.
    pub fn new(out: W) -> Self {
        Self { out }
    }

    /// The events of a machine, and what they came to.
    fn outcome(&mut self, outcome: &Outcome, kind: &str) -> Result<()> {
        for event in outcome.record.events() {
            self.write(&machine(&outcome.name, event)?)?;
        }
        let mut line = test(outcome);
        line["type"] = kind.into();
        self.write(&line)
    }

    fn write(&mut self, line: &Value) -> Result<()> {
        writeln!(self.out, "{line}").context("failed to write a line of JSON")
    }
}

impl<W: Write> Reader for Lines<W> {
    fn read(&mut self, news: &News<'_>) -> Result<()> {
        match *news {
            News::Started { tests, jobs } => {
                let event = "started";
                self.write(&json!({ "type": "suite", "event": event, "test_count": tests, "jobs": jobs }))?;
            }
            News::TestSkipped(Skipped { name, reason }) => {
                self.write(&json!({ "type": "test", "event": "ignored", "name": name, "message": reason }))?;
            }
            News::TestStarted(scenario) => {
                self.write(&json!({ "type": "test", "event": "started", "name": scenario.name }))?;
            }
            News::TestRetried(outcome) => self.outcome(outcome, "attempt")?,
            News::TestEnded(outcome) => self.outcome(outcome, "test")?,
            News::Ended { outcomes, not_run, skipped, took } => {
                self.write(&suite(outcomes, not_run.len(), skipped.len(), took))?;
            }
        }
        // Whoever follows the run wants to see each line when it is written.
        self.out.flush().context("failed to write a line of JSON")
    }
}

/// An event of a machine as an object.
///
/// # Errors
/// If it can't be written as JSON, which is a defect.
pub fn machine(test: &str, event: &Event) -> Result<Value> {
    let mut line = json!({ "type": "machine", "name": test });
    let event = serde_json::to_value(event).context("failed to write an event as JSON")?;
    if let (Value::Object(line), Value::Object(event)) = (&mut line, event) {
        line.extend(event);
    }
    Ok(line)
}

fn test(outcome: &Outcome) -> Value {
    let has_passed = outcome.verdict() == Verdict::Passed;
    let mut line = json!({
        "event": if has_passed { "ok" } else { "failed" },
        "name": outcome.name,
        "exec_time": outcome.took.as_secs_f64(),
        "verdict": word(outcome),
        "end": outcome.end.to_string(),
        "attempt": outcome.attempt,
    });
    if !has_passed {
        line["reason"] = reason(outcome).into();
        line["repeat"] = repeat(outcome).into();
        line["stdout"] = details(outcome).into();
    }
    line
}

fn suite(outcomes: &[Outcome], not_run: usize, skipped: usize, took: Duration) -> Value {
    let passed = outcomes.iter().filter(|outcome| outcome.verdict() == Verdict::Passed).count();
    let failed = outcomes.len() - passed;
    json!({
        "type": "suite",
        "event": if failed == 0 { "ok" } else { "failed" },
        "passed": passed,
        "failed": failed,
        "ignored": skipped,
        "measured": 0,
        "filtered_out": not_run,
        "exec_time": took.as_secs_f64(),
    })
}
