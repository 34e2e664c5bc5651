//! The report for CI servers, in JUnit's XML.

use super::{Reader, details, reason, word};
use crate::run::{Outcome, Verdict};
use crate::snapshot::render;
use crate::suite::{News, Skipped};
use crate::verdict::End;
use anyhow::{Context, Result};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestRerun, TestSuite};
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

/// Writes the report to a file when the run has ended, and creates the file's directory.
pub struct File {
    path: PathBuf,
    tried: Tried,
}

/// The attempts at a test that failed and were followed by another.
type Tried = HashMap<String, Vec<TestRerun>>;

impl File {
    /// A report that goes to the file `path`.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path, tried: Tried::new() }
    }
}

impl Reader for File {
    fn read(&mut self, news: &News<'_>) -> Result<()> {
        let (outcomes, skipped, took) = match *news {
            News::TestRetried(outcome) => {
                self.tried.entry(outcome.name.clone()).or_default().push(attempt(outcome));
                return Ok(());
            }
            News::Ended { outcomes, skipped, took, .. } => (outcomes, skipped, took),
            _ => return Ok(()),
        };
        if let Some(directory) = self.path.parent() {
            std::fs::create_dir_all(directory)
                .with_context(|| format!("failed to create {}", directory.display()))?;
        }
        let text = report(outcomes, skipped, &self.tried, took)?;
        std::fs::write(&self.path, text).with_context(|| format!("failed to write {}", self.path.display()))
    }
}

/// The report itself. What XML can't hold is left out of texts.
fn report(outcomes: &[Outcome], skipped: &[Skipped], tried: &Tried, took: Duration) -> Result<String> {
    let tried = |outcome: &Outcome| tried.get(&outcome.name).cloned().unwrap_or_default();
    let mut suite = TestSuite::new("guest");
    suite.set_time(took);
    suite.add_test_cases(outcomes.iter().map(|outcome| case(outcome, tried(outcome))));
    suite.add_test_cases(skipped.iter().map(skipped_case));
    let mut report = Report::new("tessera");
    report.set_time(took).add_test_suite(suite);
    report.to_string().context("failed to make the JUnit report")
}

fn skipped_case(skipped: &Skipped) -> TestCase {
    let mut status = TestCaseStatus::skipped();
    status.set_type("SKIP").set_message(skipped.reason.as_str());
    let mut case = TestCase::new(skipped.name.as_str(), status);
    case.set_classname("guest");
    case
}

/// A test, with the attempts before its last one. Of one that failed each time the first is the failure, and the
/// others are its repetitions (Maven Surefire, "Rerun failing tests").
fn case(outcome: &Outcome, mut attempts: Vec<TestRerun>) -> TestCase {
    let (status, took) = if outcome.verdict() == Verdict::Passed {
        let mut status = TestCaseStatus::success();
        status.add_reruns(attempts);
        (status, outcome.took)
    } else {
        attempts.push(attempt(outcome));
        let first = attempts.remove(0);
        let took = first.time.unwrap_or(outcome.took);
        let mut status = failure(first);
        status.add_reruns(attempts);
        (status, took)
    };
    let mut case = TestCase::new(outcome.name.as_str(), status);
    case.set_classname("guest").set_time(took).set_system_out(output(outcome));
    case
}

/// An attempt that failed.
fn attempt(outcome: &Outcome) -> TestRerun {
    // JUnit tells what the test found from what kept it from finding anything.
    let kind = match outcome.end {
        End::HostTrouble(_) => NonSuccessKind::Error,
        _ => NonSuccessKind::Failure,
    };
    let mut attempt = TestRerun::new(kind);
    attempt.set_type(word(outcome)).set_message(reason(outcome)).set_stack_trace(details(outcome));
    attempt.set_time(outcome.took).set_system_out(output(outcome));
    attempt
}

/// The same, of a test that wasn't tried before.
fn failure(attempt: TestRerun) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(attempt.kind);
    if let Some(word) = attempt.ty {
        status.set_type(word);
    }
    if let Some(reason) = attempt.message {
        status.set_message(reason);
    }
    if let Some(details) = attempt.stack_trace {
        status.set_description(details);
    }
    status
}

fn output(outcome: &Outcome) -> String {
    render(&outcome.end, &outcome.record, outcome.examined())
}
