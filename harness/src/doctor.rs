//! Whether this host has what Tessera needs, and what to do if it hasn't.

use crate::machine::can_open_terminal;
use crate::project::Project;
use crate::tools::{GDB, OLDEST_QEMU, QEMU, Version, ask, find};
use std::path::Path;

/// The oldest compiler that builds the project; `rust-version` in the workspace's manifest.
const OLDEST_RUST: Version = Version(1, 95);
/// QEMU's devices that machines have.
const DEVICES: [&str; 2] = ["isa-debug-exit", "isa-debugcon"];
/// The firmware that machines boot with.
const FIRMWARE: &str = "qboot.rom";

/// What one look found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What was looked at.
    pub subject: &'static str,
    /// What was found.
    pub found: Found,
}

/// A finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// It is as it should be.
    Good(String),
    /// It may be either way.
    Note(String),
    /// It must be otherwise: what is wrong, and what to do.
    Bad {
        /// What is wrong.
        problem: String,
        /// What to do.
        remedy: String,
    },
}

impl Check {
    /// Tells whether nothing needs to be done.
    #[must_use]
    pub fn is_good(&self) -> bool {
        !matches!(self.found, Found::Bad { .. })
    }
}

/// Looks at everything.
#[must_use]
pub fn examine(project: &Project) -> Vec<Check> {
    let check = |subject, found| Check { subject, found };
    let qemu = find(QEMU);
    let mut checks =
        vec![check("rustc", rustc()), check("linker", linker()), check("qemu", version(qemu.as_deref()))];
    if let Some(qemu) = &qemu {
        checks.push(check("qemu: icount", icount(qemu)));
        checks.push(check("qemu: devices", devices(qemu)));
        checks.push(check("qemu: firmware", firmware(qemu)));
    }
    checks.push(check("gdb", gdb()));
    checks.push(check("terminals", terminals()));
    checks.push(check("built files", artefacts(project)));
    checks.push(check("kvm", kvm()));
    checks
}

fn bad(problem: impl Into<String>, remedy: impl Into<String>) -> Found {
    Found::Bad { problem: problem.into(), remedy: remedy.into() }
}

fn rustc() -> Found {
    let said = find("rustc").and_then(|rustc| ask(&rustc, &["--version"]));
    let remedy = "install Rust from https://rustup.rs, or run `rustup update stable`";
    match said.as_deref().and_then(Version::find) {
        Some(version) if version >= OLDEST_RUST => Found::Good(first_line(said.as_deref())),
        Some(version) => bad(format!("{version} is older than {OLDEST_RUST}"), remedy),
        None => bad("not found", remedy),
    }
}

fn linker() -> Found {
    match find("cc") {
        Some(cc) => Found::Good(cc.display().to_string()),
        None => bad("cc not found", "install a C compiler: gcc or clang"),
    }
}

fn version(qemu: Option<&Path>) -> Found {
    let said = qemu.and_then(|qemu| ask(qemu, &["--version"]));
    let remedy = "run `cargo xtask test --install`";
    match said.as_deref().and_then(Version::find) {
        Some(version) if version >= OLDEST_QEMU => Found::Good(first_line(said.as_deref())),
        Some(version) => bad(format!("{version} is older than {OLDEST_QEMU}"), "install a later QEMU"),
        None => bad(format!("{QEMU} not found"), remedy),
    }
}

fn icount(qemu: &Path) -> Found {
    match ask(qemu, &["-help"]) {
        Some(help) if help.contains("-icount") => Found::Good("time can be counted in instructions".into()),
        _ => bad("no -icount", "install a QEMU with TCG: tests count time in instructions"),
    }
}

fn devices(qemu: &Path) -> Found {
    let known = ask(qemu, &["-device", "help"]).unwrap_or_default();
    let has = |device: &str| known.contains(&format!("\"{device}\""));
    match DEVICES.into_iter().find(|device| !has(device)) {
        None => Found::Good(DEVICES.join(", ")),
        Some(device) => {
            bad(format!("no {device}"), "install a QEMU that has this device, such as your distribution's")
        }
    }
}

fn firmware(qemu: &Path) -> Found {
    let directories = ask(qemu, &["-L", "help"]).unwrap_or_default();
    let found =
        directories.lines().map(|line| Path::new(line.trim()).join(FIRMWARE)).find(|file| file.is_file());
    match found {
        Some(file) => Found::Good(file.display().to_string()),
        None => bad(
            format!("{FIRMWARE} is in none of QEMU's directories"),
            "install QEMU's firmware files (Debian: qemu-system-data)",
        ),
    }
}

fn gdb() -> Found {
    match find(GDB).and_then(|gdb| ask(&gdb, &["--version"])) {
        Some(said) => Found::Good(first_line(Some(&said))),
        None => {
            Found::Note("not found: needed for debugging only; your package manager has it as gdb".into())
        }
    }
}

fn terminals() -> Found {
    match can_open_terminal() {
        Ok(()) => Found::Good("a pseudo-terminal can be opened".into()),
        Err(error) => bad(format!("{error:#}"), "mount devpts on /dev/pts: consoles are pseudo-terminals"),
    }
}

fn artefacts(project: &Project) -> Found {
    match project.artefacts() {
        Ok(directory) => Found::Good(directory.display().to_string()),
        Err(error) => bad(format!("{error:#}"), "make it writable, or set CARGO_TARGET_DIR"),
    }
}

/// Machines never use it: it would make runs differ.
fn kvm() -> Found {
    let state = if Path::new("/dev/kvm").exists() { "present" } else { "absent" };
    Found::Note(format!("{state}; not used, because runs would differ"))
}

fn first_line(said: Option<&str>) -> String {
    said.and_then(|said| said.lines().next()).unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compiler_that_runs_this_is_good_enough() {
        assert!(matches!(rustc(), Found::Good(_)));
        assert!(matches!(terminals(), Found::Good(_)));
    }

    #[test]
    fn a_missing_qemu_comes_with_a_remedy() {
        let Found::Bad { remedy, .. } = version(None) else { panic!("there is none") };
        assert!(remedy.contains("--install"));
        for found in [
            icount(Path::new("/bin/true")),
            devices(Path::new("/bin/true")),
            firmware(Path::new("/bin/true")),
        ] {
            assert!(matches!(found, Found::Bad { .. }));
        }
    }
}
