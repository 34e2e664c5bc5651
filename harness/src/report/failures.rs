//! A file for each failed test, for CI servers to keep.

use super::{Reader, details};
use crate::run::{Outcome, Verdict};
use crate::suite::News;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// Writes what is known of each failed test to `DIRECTORY/NAME.txt` when the run has ended, and
/// removes what earlier runs left there. Without failures there is no directory.
pub struct Directory {
    /// The directory.
    pub path: PathBuf,
}

impl Reader for Directory {
    fn read(&mut self, news: &News<'_>) -> Result<()> {
        match news {
            News::Ended { outcomes, .. } => write(&self.path, outcomes),
            _ => Ok(()),
        }
    }
}

fn write(directory: &Path, outcomes: &[Outcome]) -> Result<()> {
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
