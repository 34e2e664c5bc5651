//! The tests that are still to pass after a run, kept for `cargo xtask test -R latest`.

use super::Reader;
use crate::run::Verdict;
use crate::suite::News;
use anyhow::{Context, Result};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Writes the names of the tests that failed or were not run, a line each, when the run has ended.
pub struct File {
    /// The file.
    pub path: PathBuf,
    /// Tests that failed before and that this run was not asked for.
    pub left_out: Vec<String>,
}

impl Reader for File {
    fn read(&mut self, news: &News<'_>) -> Result<()> {
        let News::Ended { outcomes, not_run, .. } = news else { return Ok(()) };
        let failed = outcomes.iter().filter(|outcome| outcome.verdict() != Verdict::Passed);
        let failed = failed.map(|outcome| outcome.name.as_str());
        let not_run = not_run.iter().map(|scenario| scenario.name.as_str());
        let left_out = self.left_out.iter().map(String::as_str);
        let mut names: Vec<&str> = failed.chain(not_run).chain(left_out).collect();
        names.sort_unstable();
        let text: String = names.into_iter().flat_map(|name| [name, "\n"]).collect();
        std::fs::write(&self.path, text).with_context(|| format!("failed to write {}", self.path.display()))
    }
}

/// The names that the latest run left; `None` if there was no run.
///
/// # Errors
/// If the file is there and can't be read.
pub fn read(path: &Path) -> Result<Option<Vec<String>>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.lines().map(str::to_owned).collect())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("failed to read {}", path.display())),
    }
}
