//! All checks in a row, as a CI server runs them.

use crate::build::cargo;
use crate::project::Project;
use crate::report::{Style, stdout};
use anyhow::{Context, Result};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

/// A check, and what it runs.
struct Step {
    name: &'static str,
    command: Command,
}

/// How a check went.
#[derive(Clone, Copy, Debug)]
pub struct Finished {
    /// Its name.
    pub name: &'static str,
    /// What its command ended with.
    pub status: ExitStatus,
    /// How long it took.
    pub took: Duration,
}

impl Finished {
    /// Tells whether the check was one that runs tests.
    #[must_use]
    pub fn is_test(&self) -> bool {
        [HOST_TESTS, GUEST_TESTS].contains(&self.name)
    }
}

/// The name of the check that runs the tests of this host.
pub const HOST_TESTS: &str = "host tests";
/// The name of the check that runs the guest tests.
pub const GUEST_TESTS: &str = "guest tests";

/// Where the guest tests leave their JUnit report.
///
/// # Errors
/// If there is no directory for it.
pub fn junit(project: &Project) -> Result<PathBuf> {
    Ok(project.artefacts()?.join("junit.xml"))
}

/// Runs all checks. One that fails doesn't keep the later ones from being run: whoever reads the
/// result wants to know everything that is wrong.
///
/// `xtask` is the program that runs the guest tests.
///
/// # Errors
/// If a command can't be run.
pub fn run(project: &Project, xtask: &Path) -> Result<Vec<Finished>> {
    let style = Style::of_stdout();
    let mut out = stdout();
    let mut finished = Vec::new();
    for mut step in steps(project, xtask)? {
        writeln!(out, "{} {}", style.bold(&format!("{:>12}", "Running")), line(&step.command))?;
        let started = Instant::now();
        let status = step.command.current_dir(project.root()).status();
        let status = status.with_context(|| format!("failed to run {}", line(&step.command)))?;
        finished.push(Finished { name: step.name, status, took: started.elapsed() });
    }
    writeln!(out)?;
    for step in &finished {
        let word = if step.status.success() { style.good("      PASS") } else { style.bad("      FAIL") };
        writeln!(out, "  {word} [{:>8.1}s] {}", step.took.as_secs_f64(), step.name)?;
    }
    Ok(finished)
}

fn steps(project: &Project, xtask: &Path) -> Result<Vec<Step>> {
    let step = |name, arguments: &[&str]| {
        let mut command = cargo();
        command.args(arguments);
        // Nothing is accepted unseen.
        command.env("INSTA_UPDATE", "no");
        Step { name, command }
    };
    let lint = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
    // Nothing else compiles what stands in the debugger's place where it is left out.
    let kernel_alone = ["clippy", "-p", "kernel", "--no-default-features", "--", "-D", "warnings"];
    let mut doc = step("documentation", &["doc", "--workspace", "--no-deps"]);
    doc.command.env("RUSTDOCFLAGS", "-D warnings");
    // With the profile of `cargo xtask` itself, so that both are built from the same libraries: a fresh machine would
    // build all of them once more.
    let mut host_tests = step(HOST_TESTS, &["test", "--profile", "xtask", "--no-fail-fast"]);
    // They have a step of their own, which runs each twice.
    host_tests.command.env("TESSERA_GUEST_TESTS", "skip");
    let mut guests = Command::new(xtask);
    guests.args(["test", "--check-determinism", "--unreferenced", "reject", "--junit"]).arg(junit(project)?);
    guests.env("INSTA_UPDATE", "no");
    Ok(vec![
        step("format", &["fmt", "--all", "--check"]),
        step("lint", &lint),
        step("lint without debugger", &kernel_alone),
        host_tests,
        doc,
        Step { name: GUEST_TESTS, command: guests },
    ])
}

/// A command as one would type it.
fn line(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_shown_as_one_would_type_them() {
        let project = Project::at(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).expect("an absolute path");
        let steps = steps(&project, Path::new("/somewhere/xtask")).expect("a target directory");
        let lines: Vec<String> = steps.iter().map(|step| line(&step.command)).collect();
        assert_eq!(lines[0], "cargo fmt --all --check");
        assert_eq!(lines[2], "cargo clippy -p kernel --no-default-features -- -D warnings");
        assert_eq!(lines[3], "cargo test --profile xtask --no-fail-fast");
        assert!(
            lines[5].starts_with("xtask test --check-determinism --unreferenced reject --junit"),
            "{}",
            lines[5]
        );
    }
}
