//! `cargo xtask miri`: host tests under an interpreter that sees undefined behaviour.

use crate::exit::Exit;
use anyhow::{Context as _, Result};
use harness::project::Project;
use harness::tools::Missing;
use std::process::{Command, Stdio};

/// What runs under Miri: a package, and which of its tests if all would take hours.
///
/// `unsafe` is in few crates. Of `heap` all is here; `memory-functions`, `sys`, `runtime` and the kernel's own are
/// instructions that Miri doesn't know. The others are what stands beside them: code about memory that others write,
/// which forbids `unsafe` and is here for its dependencies.
const RUNS: [(&str, &[&str]); 4] = [
    ("heap", &[]),
    ("grant", &[]),
    ("wire", &[]),
    ("kernel-core", &["list::", "frames::", "ipc::mail::", "memory::tests::a_range"]),
];

/// What to type where there is no Miri.
const REMEDY: &str =
    "rustup toolchain install nightly --profile minimal --component miri --component rust-src";

/// Addresses of memory go through messages as numbers (`sys`, `grant`), which is what this flag permits.
const FLAGS: &str = "-Zmiri-permissive-provenance";

/// Runs the tests, each package by itself, until one fails.
pub(crate) fn run(project: &Project) -> Result<Exit> {
    let miri = [Toolchain::Nightly, Toolchain::Current].into_iter().find(|toolchain| toolchain.has_miri());
    let miri = miri.ok_or_else(missing)?;
    for (package, filters) in RUNS {
        let mut command = miri.cargo();
        command.current_dir(project.root()).args(["miri", "test", "-p", package, "--lib"]);
        command.arg("--").args(filters);
        if std::env::var_os("MIRIFLAGS").is_none() {
            command.env("MIRIFLAGS", FLAGS);
        }
        let status = command.status().context("failed to run cargo miri")?;
        if !status.success() {
            return Ok(Exit::TestsFailed);
        }
    }
    Ok(Exit::Good)
}

fn missing() -> anyhow::Error {
    Missing(format!("Miri is not installed. Type this, and then `cargo xtask miri` again:\n\n    {REMEDY}\n"))
        .into()
}

/// Where Miri may be: it comes with nightly toolchains alone.
#[derive(Clone, Copy)]
enum Toolchain {
    Nightly,
    /// The one that runs us.
    Current,
}

impl Toolchain {
    fn cargo(self) -> Command {
        match self {
            Self::Nightly => {
                let mut command = Command::new("rustup");
                command.args(["run", "nightly", "cargo"]);
                command
            }
            Self::Current => harness::build::cargo(),
        }
    }

    fn has_miri(self) -> bool {
        let mut command = self.cargo();
        command.args(["miri", "--version"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_no_miri_is_told_what_to_type() {
        let error = missing();
        assert!(error.to_string().contains(REMEDY));
        assert!(error.downcast_ref::<Missing>().is_some(), "exit code 105");
    }

    #[test]
    fn every_package_that_runs_under_miri_is_there() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../os");
        for (package, _) in RUNS {
            let manifests = ["lib", "kernel"].map(|part| {
                let directory =
                    package.strip_prefix("kernel-").filter(|_| part == "kernel").unwrap_or(package);
                root.join(part).join(directory).join("Cargo.toml")
            });
            assert!(manifests.iter().any(|manifest| manifest.is_file()), "{package}");
        }
    }
}
