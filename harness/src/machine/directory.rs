//! A directory for the files of one machine.

use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const PREFIX: &str = "machine-";

/// A directory that goes when nobody needs it any more.
#[derive(Debug)]
pub(crate) struct Directory(TempDir);

impl Directory {
    pub(crate) fn create(artefacts: &Path) -> Result<Self> {
        let owner = format!("{PREFIX}{}-", std::process::id());
        let directory = tempfile::Builder::new()
            .prefix(&owner)
            .tempdir_in(artefacts)
            .with_context(|| format!("failed to create a directory in {}", artefacts.display()))?;
        Ok(Self(directory))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, contents: &[u8]) -> Result<PathBuf> {
        let path = self.path(name);
        std::fs::write(&path, contents).with_context(|| format!("failed to write {}", path.display()))?;
        Ok(path)
    }
}

/// Removes directories of processes that were killed and could not do it themselves.
pub(crate) fn remove_stale(artefacts: &Path) {
    let Ok(entries) = std::fs::read_dir(artefacts) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('-').next());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            // Another run may be removing it at the same time.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
