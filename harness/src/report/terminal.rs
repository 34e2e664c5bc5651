//! The report for people: a line for each test, then what is to be known of those that failed.

use super::{Reader, Style, accepted, details, reason, repeat, word};
use crate::recording::Recording;
use crate::run::{Outcome, Verdict};
use crate::suite::{News, Skipped};
use std::io::{Result, Write};
use std::path::Path;
use std::time::Duration;

/// Writes the report.
pub struct Terminal<W> {
    out: W,
    style: Style,
    lines: Shown,
    bundles: Option<String>,
    records: Option<String>,
    line: Option<String>,
}

/// The tests that have a line of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// All.
    All,
    /// Those that failed.
    Failed,
}

impl<W: Write> Reader for Terminal<W> {
    fn read(&mut self, news: &News<'_>) -> anyhow::Result<()> {
        match *news {
            News::Started { tests, jobs } => self.start(tests, jobs)?,
            News::TestSkipped(skipped) => self.skipped(skipped)?,
            News::TestStarted(_) => {}
            News::TestRetried(outcome) => {
                self.outcome(outcome, &format!("TRY {} {}", outcome.attempt, word(outcome)))?
            }
            News::TestEnded(outcome) => self.outcome(outcome, word(outcome))?,
            News::Ended { outcomes, not_run, skipped, took } => {
                self.end(outcomes, not_run.len(), skipped.len(), took)?;
            }
        }
        Ok(())
    }
}

impl<W: Write> Terminal<W> {
    /// A report that goes to `out`.
    pub fn new(out: W, style: Style, lines: Shown) -> Self {
        Self { out, style, lines, bundles: None, records: None, line: None }
    }

    /// Also tells in which directory the [`bundles`](super::bundles) of failed tests are.
    #[must_use]
    pub fn with_bundles(self, directory: &Path) -> Self {
        Self { bundles: Some(directory.display().to_string()), ..self }
    }

    /// Also tells in which directory the records of tests that passed are.
    #[must_use]
    pub fn with_records(self, directory: &Path) -> Self {
        Self { records: Some(directory.display().to_string()), ..self }
    }

    /// Also tells that the tests run on the machine at the other end of this line.
    #[must_use]
    pub fn over(self, line: &Path) -> Self {
        Self { line: Some(line.display().to_string()), ..self }
    }

    fn start(&mut self, tests: usize, jobs: usize) -> Result<()> {
        if let Some(line) = &self.line {
            let word = self.style.bold(&format!("{:>12}", "Running"));
            let tests = count(tests, 0);
            return writeln!(self.out, "{word} {tests} on the machine at {line}");
        }
        let word = self.style.bold(&format!("{:>12}", "Booting"));
        let machines = if tests == 1 { "machine" } else { "machines" };
        writeln!(self.out, "{word} {tests} {machines}, {jobs} at a time")
    }

    fn skipped(&mut self, skipped: &Skipped) -> Result<()> {
        let Skipped { name, reason } = skipped;
        writeln!(self.out, "{:>12} [{:>8}] {}: {reason}", "SKIP", "", self.style.bold(name))
    }

    fn outcome(&mut self, outcome: &Outcome, word: &str) -> Result<()> {
        let is_good = outcome.verdict() == Verdict::Passed;
        if is_good && outcome.attempt == 1 && self.lines == Shown::Failed {
            return Ok(());
        }
        let word = format!("{word:>12}");
        let word = if is_good { self.style.good(&word) } else { self.style.bad(&word) };
        write!(self.out, "{word} [{:>8}] {}", seconds(outcome.took), self.style.bold(&outcome.name))?;
        if !is_good {
            write!(self.out, ": {}", reason(outcome))?;
        }
        writeln!(self.out)?;
        self.out.flush()
    }

    fn end(&mut self, outcomes: &[Outcome], not_run: usize, skipped: usize, took: Duration) -> Result<()> {
        let failed: Vec<&Outcome> = outcomes.iter().filter(|one| one.verdict() != Verdict::Passed).collect();
        let mut has_details = !failed.is_empty();
        for outcome in &failed {
            let title = format!("--- {} {} ---", word(outcome), outcome.name);
            writeln!(self.out, "\n{}\n{}", self.style.bad(&title), details(outcome).trim_end())?;
        }
        for outcome in outcomes {
            for (what, difference) in accepted(outcome) {
                let title = format!("--- {} {}: {what} ---", word(outcome), outcome.name);
                writeln!(self.out, "\n{}\n{}", self.style.bold(&title), difference.trim_end())?;
                has_details = true;
            }
        }
        if has_details {
            writeln!(self.out)?;
        }
        let passed = outcomes.len() - failed.len();
        let flaky = outcomes.iter().filter(|one| one.verdict() == Verdict::Passed && one.attempt > 1).count();
        let flaky = if flaky > 0 { format!(" ({flaky} flaky)") } else { String::new() };
        let summary = format!("{:>12}", "Summary");
        let summary = if failed.is_empty() { self.style.good(&summary) } else { self.style.bad(&summary) };
        let skipped = if skipped > 0 { format!(", {skipped} skipped") } else { String::new() };
        writeln!(
            self.out,
            "{summary} [{:>8}] {} run: {passed} passed{flaky}, {} failed{skipped}",
            seconds(took),
            count(outcomes.len(), not_run),
            failed.len()
        )?;
        if not_run > 0 {
            writeln!(self.out, "{:>12} not run, because a test failed: {not_run}", "")?;
        }
        for outcome in &failed {
            writeln!(self.out, "{:>12} {}", word(outcome), repeat(outcome))?;
        }
        if let Some(directory) = self.bundles.as_ref().filter(|_| !failed.is_empty()) {
            writeln!(self.out, "{:>12} {directory}/", "Bundles")?;
        }
        self.records(outcomes)?;
        self.out.flush()
    }

    /// What became of the records of tests that passed.
    fn records(&mut self, outcomes: &[Outcome]) -> Result<()> {
        let Some(directory) = &self.records else { return Ok(()) };
        let passed = outcomes.iter().filter(|outcome| outcome.verdict() == Verdict::Passed);
        let mut made = 0;
        for (name, recording) in passed.filter_map(|one| Some((&one.name, one.recording()?))) {
            match recording {
                Ok(Recording { difference: None, .. }) => made += 1,
                Ok(Recording { difference: Some(difference), .. }) => {
                    made += 1;
                    writeln!(self.out, "{:>12} {name} is another run: {difference}", "Record")?;
                }
                Err(reason) => writeln!(self.out, "{:>12} {name} has none: {reason}", "Record")?,
            }
        }
        if made > 0 {
            writeln!(self.out, "{:>12} {directory}/ has {made}: cargo xtask replay NAME", "Records")?;
        }
        Ok(())
    }
}

/// How many tests were run, and of how many if not of all.
fn count(run: usize, not_run: usize) -> String {
    match (run, not_run) {
        (1, 0) => "1 test".into(),
        (_, 0) => format!("{run} tests"),
        _ => format!("{run}/{} tests", run + not_run),
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.3}s", time.as_secs_f64())
}
