//! The cargo calls that make the kernel, the services and the guest programs.

mod once;
#[cfg(test)]
mod tests;

pub use once::build_once;

use crate::project::Project;
use crate::system::System;
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The cargo profile of the kernel.
const KERNEL_PROFILE: &str = "kernel";
/// The same without the debugger's end in it.
const WITHOUT_DEBUGGER_PROFILE: &str = "kernel-without-debugger";
/// The cargo profile of everything else that boots.
const IMAGE_PROFILE: &str = "image";
/// The kernel's package and program.
const KERNEL: &str = "kernel";
/// The interactive program, which is a guest program although it is no test.
pub const MONITOR: &str = "monitor";
/// The package of the guest tests.
const GUEST_TESTS: &str = "guest";

/// What was built.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Build {
    /// The kernel.
    pub kernel: PathBuf,
    /// Programs of services, by the name of their package.
    pub services: BTreeMap<String, PathBuf>,
    /// The programs of `fixtures/guest`, by name.
    pub guest_tests: BTreeMap<String, PathBuf>,
    /// The interactive program.
    pub monitor: PathBuf,
}

/// Cargo refused: it has said why.
#[derive(Debug)]
pub struct BuildFailed;

impl std::fmt::Display for BuildFailed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the build failed, see above")
    }
}

impl std::error::Error for BuildFailed {}

/// Reads and checks `os/system.toml`.
///
/// # Errors
/// If it can't be read, or something in it is wrong.
pub fn system(project: &Project) -> Result<System> {
    let path = project.system_file();
    let text =
        std::fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))?;
    System::parse(&text).with_context(|| format!("failed to read {}", project.shorten(&path).display()))
}

/// The cargo that runs us, or else the one of the user's path.
#[must_use]
pub fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Builds all images.
///
/// # Errors
/// [`BuildFailed`] if they don't compile; else if cargo can't be run or doesn't give all of them.
pub fn build(project: &Project, system: &System) -> Result<Build> {
    let mut build = Build::default();
    compile(project, KERNEL_PROFILE, &["-p", KERNEL, "--bins"], &mut build)?;
    let mut images = vec!["-p", GUEST_TESTS, "-p", MONITOR];
    for service in system.services() {
        images.extend(["-p", service.package()]);
    }
    // The guest tests are cargo's examples, see fixtures/guest/Cargo.toml.
    images.extend(["--bins", "--examples"]);
    compile(project, IMAGE_PROFILE, &images, &mut build)?;
    build.check(system)?;
    Ok(build)
}

/// Builds a kernel that the debugger's end is left out of.
///
/// # Errors
/// As for [`build()`].
pub fn kernel_without_debugger(project: &Project) -> Result<PathBuf> {
    let mut build = Build::default();
    let what = ["-p", KERNEL, "--bins", "--no-default-features"];
    compile(project, WITHOUT_DEBUGGER_PROFILE, &what, &mut build)?;
    Ok(build.kernel)
}

/// Calls cargo once, and adds what it made.
fn compile(project: &Project, profile: &str, what: &[&str], build: &mut Build) -> Result<()> {
    let mut command = cargo();
    command.current_dir(project.root()).args(["build", "--profile", profile]).args(what);
    command.arg("--message-format=json-render-diagnostics");
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child =
        command.spawn().context("failed to run cargo: is Rust installed? See https://rustup.rs")?;
    let stdout = child.stdout.take().context("failed to read cargo's messages")?;
    let added = executables(BufReader::new(stdout), project, build);
    // Waited for before anything else is looked at: cargo must not outlive this call.
    let status = child.wait().context("failed to wait for cargo")?;
    if !status.success() {
        return Err(BuildFailed.into());
    }
    added
}

/// A message of cargo's, as far as we look at it.
#[derive(serde::Deserialize)]
struct Message {
    executable: Option<PathBuf>,
    manifest_path: Option<PathBuf>,
    target: Option<Target>,
}

#[derive(serde::Deserialize)]
struct Target {
    name: String,
}

fn executables(messages: impl BufRead, project: &Project, build: &mut Build) -> Result<()> {
    for line in messages.lines() {
        let line = line.context("failed to read cargo's messages")?;
        // Whatever else stands there isn't for us.
        let Ok(message) = serde_json::from_str::<Message>(&line) else { continue };
        let Message { executable: Some(path), manifest_path: Some(manifest), target: Some(target) } = message
        else {
            continue;
        };
        build.add(project, &manifest, target.name, path);
    }
    Ok(())
}

impl Build {
    fn add(&mut self, project: &Project, manifest: &Path, name: String, path: PathBuf) {
        if manifest.starts_with(project.guest_tests()) {
            self.guest_tests.insert(name, path);
        } else if name == KERNEL {
            self.kernel = path;
        } else if name == MONITOR {
            self.monitor = path;
        } else {
            self.services.insert(name, path);
        }
    }

    /// Tells whether everything is there that was asked for.
    fn check(&self, system: &System) -> Result<()> {
        let is_missing = |path: &Path| path.as_os_str().is_empty();
        if is_missing(&self.kernel) {
            bail!("cargo built no program called {KERNEL}: package {KERNEL} must have one");
        }
        if is_missing(&self.monitor) {
            bail!("cargo built no program called {MONITOR}: package {MONITOR} must have one");
        }
        for service in system.services() {
            if !self.services.contains_key(service.package()) {
                bail!(
                    "cargo built no program called {0}, which the service {1} runs: package {0} must have one",
                    service.package(),
                    service.name()
                );
            }
        }
        Ok(())
    }

    /// The executables of a machine that runs `program`, the kernel first. Each is linked at
    /// addresses of its own, so all of their symbols can be used at once.
    #[must_use]
    pub fn images(&self, program: Option<&str>) -> Vec<PathBuf> {
        let program = program.and_then(|program| self.guest(program)).map(Path::to_path_buf);
        std::iter::once(&self.kernel).chain(self.services.values()).cloned().chain(program).collect()
    }

    /// The file of a program that a guest process can run.
    #[must_use]
    pub fn guest(&self, name: &str) -> Option<&Path> {
        let test = self.guest_tests.get(name).map(PathBuf::as_path);
        test.or_else(|| (name == MONITOR).then_some(self.monitor.as_path()))
    }
}
