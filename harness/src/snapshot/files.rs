//! Snapshots as files: those that wait for review, and those that no test makes.

use super::difference;
use anyhow::{Context, Result, anyhow};
use insta::internals::SnapshotContents;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The end of the name of what was reviewed.
const REVIEWED: &str = ".snap";
/// The end of the name of what waits for review.
const PENDING: &str = ".snap.new";

/// What a test does now, if that isn't what was reviewed: it waits for somebody who looks at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// The test's name.
    pub name: String,
    directory: PathBuf,
}

/// All that waits in a directory, by name.
///
/// # Errors
/// If the directory can't be read.
pub fn pending(directory: &Path) -> Result<Vec<Pending>> {
    let names = files(directory)?.into_iter().filter_map(|file| Some(file.strip_suffix(PENDING)?.to_owned()));
    Ok(names.map(|name| Pending { name, directory: directory.to_owned() }).collect())
}

/// The snapshots in a directory, reviewed or not, that belong to none of the tests.
///
/// # Errors
/// If the directory can't be read.
pub fn unreferenced(directory: &Path, tests: &[String]) -> Result<Vec<PathBuf>> {
    let is_orphan = |file: &String| {
        let name = file.strip_suffix(PENDING).or_else(|| file.strip_suffix(REVIEWED));
        name.is_some_and(|name| tests.iter().all(|test| test != name))
    };
    Ok(files(directory)?.into_iter().filter(is_orphan).map(|file| directory.join(file)).collect())
}

/// The names of the files of a directory, sorted. One that isn't there has none.
fn files(directory: &Path) -> Result<Vec<String>> {
    let list = || -> std::io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(directory)? {
            // Names that are no text are none that the harness gave.
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    };
    let mut names = match list() {
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        names => names.with_context(|| format!("failed to list {}", directory.display()))?,
    };
    names.sort_unstable();
    Ok(names)
}

impl Pending {
    /// What a test may have left to review, whether it did or not.
    pub(super) fn of(directory: &Path, name: &str) -> Self {
        Self { name: name.to_owned(), directory: directory.to_owned() }
    }

    fn path(&self, end: &str) -> PathBuf {
        self.directory.join(format!("{}{end}", self.name))
    }

    /// What differs from what was reviewed, line by line; everything, if nothing was.
    ///
    /// # Errors
    /// If it can't be read.
    pub fn difference(&self) -> Result<String> {
        let path = self.path(PENDING);
        let text = read(&path).with_context(|| format!("failed to read {}", path.display()))?;
        // One that can't be read counts for nothing in a test, too.
        let reviewed = read(&self.path(REVIEWED)).unwrap_or_default();
        Ok(difference(&reviewed, &text))
    }

    /// Makes it what was reviewed.
    ///
    /// # Errors
    /// If a file can't be read, written or removed.
    pub fn accept(&self) -> Result<()> {
        let path = self.path(PENDING);
        // Not moved: a snapshot that waits also says which line of the harness made it.
        let snapshot = insta::Snapshot::from_file(&path).map_err(|error| anyhow!("{error}"));
        let snapshot = snapshot.with_context(|| format!("failed to read {}", path.display()))?;
        let reviewed = self.path(REVIEWED);
        let saved = snapshot.save(&reviewed).map_err(|error| anyhow!("{error}"));
        saved.with_context(|| format!("failed to write {}", reviewed.display()))?;
        self.discard()
    }

    /// Removes it, if it is there.
    ///
    /// # Errors
    /// If it is and can't be removed.
    pub fn discard(&self) -> Result<()> {
        let path = self.path(PENDING);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).with_context(|| format!("failed to remove {}", path.display()))
            }
            _ => Ok(()),
        }
    }
}

/// The text of a snapshot.
fn read(path: &Path) -> Result<String> {
    match insta::Snapshot::from_file(path).map_err(|error| anyhow!("{error}"))?.contents() {
        SnapshotContents::Text(text) => Ok(text.to_string()),
        SnapshotContents::Binary(_) => Err(anyhow!("it is no text")),
    }
}
