//! The report for a GitHub workflow: what its page shows of the step, in Markdown.

use super::{Reader, details, reason, repeat, word};
use crate::run::{Outcome, Verdict};
use crate::suite::News;
use anyhow::{Context, Result};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

/// GitHub takes a mebibyte from a step, and nothing at all if there is more.
const SHOWN_FAILURES: usize = 25;
const SHOWN_BYTES: usize = 32 * 1024;

/// Adds the report to a file when the run has ended.
pub struct Summary {
    /// The file.
    pub path: PathBuf,
}

impl Summary {
    /// The one that the workflow wants, as `GITHUB_STEP_SUMMARY` says.
    #[must_use]
    pub fn wanted() -> Option<Self> {
        let path = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty())?;
        Some(Self { path: path.into() })
    }
}

impl Reader for Summary {
    fn read(&mut self, news: &News<'_>) -> Result<()> {
        let News::Ended { outcomes, not_run, skipped, took } = *news else { return Ok(()) };
        let text = summary(outcomes, not_run.len(), skipped.len(), took);
        // Other steps of the job have written to it.
        let file = std::fs::OpenOptions::new().append(true).create(true).open(&self.path);
        file.and_then(|mut file| file.write_all(text.as_bytes()))
            .with_context(|| format!("failed to write {}", self.path.display()))
    }
}

fn summary(outcomes: &[Outcome], not_run: usize, skipped: usize, took: Duration) -> String {
    let failed: Vec<_> = outcomes.iter().filter(|one| one.verdict() != Verdict::Passed).collect();
    let mut text = format!(
        "### Guest tests: {} passed, {} failed, {not_run} not run{}, in {:.1} s\n\n",
        outcomes.len() - failed.len(),
        failed.len(),
        if skipped > 0 { format!(", {skipped} skipped") } else { String::new() },
        took.as_secs_f64()
    );
    for outcome in failed.iter().take(SHOWN_FAILURES) {
        failure(&mut text, outcome);
    }
    if let Some(more @ 1..) = failed.len().checked_sub(SHOWN_FAILURES) {
        line(&mut text, &format!("{more} more failed."));
    }
    text
}

fn failure(text: &mut String, outcome: &Outcome) {
    let (word, name) = (word(outcome), &outcome.name);
    let reason = escape(clip(&reason(outcome)));
    line(text, &format!("<details><summary>{word} <code>{name}</code>: {reason}</summary>\n"));
    let details = details(outcome);
    let details = clip(&details);
    // What a guest writes can't end the block.
    let fence = "`".repeat(longest_run(details, '`').max(2) + 1);
    line(text, &format!("{fence}text\n{}\n{fence}\n", details.trim_end()));
    line(text, &format!("</details>\n\n`{}`\n", repeat(outcome)));
}

fn clip(text: &str) -> &str {
    &text[..text.floor_char_boundary(SHOWN_BYTES)]
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn longest_run(text: &str, wanted: char) -> usize {
    text.split(|character| character != wanted).map(str::len).max().unwrap_or_default()
}

fn line(text: &mut String, content: &str) {
    writeln!(text, "{content}").expect("writing to a string succeeds");
}
