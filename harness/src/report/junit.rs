//! The report for CI servers, in JUnit's XML.

use super::{Reader, details, reason, word};
use crate::run::{Outcome, Verdict};
use crate::snapshot::render;
use crate::suite::{News, Skipped};
use crate::verdict::End;
use anyhow::{Context, Result};
use junit_report::{Duration, ReportBuilder, TestCase, TestCaseBuilder, TestSuiteBuilder};
use std::path::PathBuf;

/// Writes the report to a file when the run has ended, and creates the file's directory.
pub struct File {
    /// The file.
    pub path: PathBuf,
}

impl Reader for File {
    fn read(&mut self, news: &News<'_>) -> Result<()> {
        let News::Ended { outcomes, skipped, .. } = news else { return Ok(()) };
        if let Some(directory) = self.path.parent() {
            std::fs::create_dir_all(directory)
                .with_context(|| format!("failed to create {}", directory.display()))?;
        }
        std::fs::write(&self.path, report(outcomes, skipped)?)
            .with_context(|| format!("failed to write {}", self.path.display()))
    }
}

/// The report itself. What XML can't hold is left out of texts.
///
/// # Errors
/// If the XML can't be made, which is a defect.
pub fn report(outcomes: &[Outcome], skipped: &[Skipped]) -> Result<Vec<u8>> {
    let suite = TestSuiteBuilder::new("guest")
        .add_testcases(outcomes.iter().map(case))
        .add_testcases(skipped.iter().map(skipped_case))
        .build();
    let mut text = Vec::new();
    ReportBuilder::new()
        .add_testsuite(suite)
        .build()
        .write_xml(&mut text)
        .context("failed to make the JUnit report")?;
    Ok(text)
}

fn skipped_case(skipped: &Skipped) -> TestCase {
    let reason = xml_text(&skipped.reason);
    TestCaseBuilder::skipped_with_cause(&skipped.name, "SKIP", &reason).set_classname("guest").build()
}

fn case(outcome: &Outcome) -> TestCase {
    let took = Duration::try_from(outcome.took).unwrap_or(Duration::MAX);
    let name = outcome.name.as_str();
    let mut case = if outcome.verdict() == Verdict::Passed {
        TestCaseBuilder::success(name, took)
    } else {
        // JUnit tells what the test found from what kept it from finding anything.
        let make = match outcome.end {
            End::HostTrouble(_) => TestCaseBuilder::error,
            _ => TestCaseBuilder::failure,
        };
        let mut case = make(name, took, word(outcome), &xml_text(&reason(outcome)));
        case.set_trace(&xml_text(&details(outcome)));
        case
    };
    case.set_classname("guest").set_system_out(&xml_text(&render(
        &outcome.end,
        &outcome.record,
        outcome.examined(),
    )));
    case.build()
}

/// Leaves out the characters that XML 1.0 has no way to write (section 2.2).
fn xml_text(text: &str) -> String {
    let is_allowed = |c: &char| matches!(c, '\t' | '\n' | ' '..) && !matches!(c, '\u{fffe}' | '\u{ffff}');
    text.chars().filter(is_allowed).collect()
}
