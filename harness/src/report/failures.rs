//! A file for each failed test, for CI servers to keep.

use super::details;
use crate::run::{Outcome, Verdict};
use anyhow::{Context, Result};
use std::path::Path;

/// Writes what is known of each failed test to `DIRECTORY/NAME.txt`, and removes what earlier runs
/// left there. Without failures there is no directory.
///
/// # Errors
/// If the directory or a file can't be written.
pub fn write(directory: &Path, outcomes: &[Outcome]) -> Result<()> {
    match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("failed to empty {}", directory.display()));
        }
        _ => {}
    }
    let failed = || outcomes.iter().filter(|outcome| outcome.verdict() != Verdict::Passed);
    if failed().next().is_none() {
        return Ok(());
    }
    std::fs::create_dir_all(directory)
        .with_context(|| format!("failed to create {}", directory.display()))?;
    for outcome in failed() {
        let path = directory.join(format!("{}.txt", outcome.name));
        std::fs::write(&path, details(outcome))
            .with_context(|| format!("failed to write {}", path.display()))?;
    }
    Ok(())
}
