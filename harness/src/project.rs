//! Where the project keeps its files.

use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// The source tree, and where cargo puts what it builds from it.
#[derive(Clone, Debug)]
pub struct Project {
    root: PathBuf,
    target: PathBuf,
}

impl Project {
    /// The project whose root is `root`. Built files go where `CARGO_TARGET_DIR` says, else to `target`.
    ///
    /// # Errors
    /// If `CARGO_TARGET_DIR` is relative and there is no current directory.
    pub fn at(root: impl Into<PathBuf>) -> Result<Self> {
        let root = root.into();
        let target = match std::env::var_os("CARGO_TARGET_DIR") {
            Some(directory) => {
                std::path::absolute(directory).context("failed to find the directory of CARGO_TARGET_DIR")?
            }
            None => root.join("target"),
        };
        Ok(Self { root, target })
    }

    /// The top directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The description of the machine: services and privileges.
    #[must_use]
    pub fn system_file(&self) -> PathBuf {
        self.root.join("os/system.toml")
    }

    /// What shows gdb the system's types.
    #[must_use]
    pub fn gdb_script(&self) -> PathBuf {
        self.root.join("os/gdb/tessera.py")
    }

    /// The package whose programs are the guest tests.
    #[must_use]
    pub fn guest_tests(&self) -> PathBuf {
        self.root.join("fixtures/guest")
    }

    /// The directory of the machines that are tests without a guest program of their own.
    #[must_use]
    pub fn machines(&self) -> PathBuf {
        self.root.join("fixtures/machines")
    }

    /// The directory of the reviewed snapshots.
    #[must_use]
    pub fn snapshots(&self) -> PathBuf {
        self.root.join("snapshots")
    }

    /// The directory for what the harness makes, created if it isn't there.
    ///
    /// # Errors
    /// If it can't be created.
    pub fn artefacts(&self) -> Result<PathBuf> {
        let directory = self.target.join("tessera");
        std::fs::create_dir_all(&directory)
            .with_context(|| format!("failed to create {}", directory.display()))?;
        Ok(directory)
    }

    /// The directory for what is known of failed tests.
    #[must_use]
    pub fn failures(&self) -> PathBuf {
        self.target.join("xtask/failures")
    }

    /// The directory for the records of tests that passed.
    #[must_use]
    pub fn records(&self) -> PathBuf {
        self.target.join("xtask/records")
    }

    /// The file that names the tests that are still to pass after the latest run.
    ///
    /// # Errors
    /// If its directory can't be created.
    pub fn latest_run(&self) -> Result<PathBuf> {
        Ok(self.artefacts()?.join("latest-run"))
    }

    /// Shortens a path inside the project, for people to read.
    #[must_use]
    pub fn shorten<'a>(&self, path: &'a Path) -> &'a Path {
        path.strip_prefix(&self.root).unwrap_or(path)
    }
}
