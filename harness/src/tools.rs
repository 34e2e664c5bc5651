//! QEMU and gdb: finding them, and installing them where that is allowed.

#[cfg(test)]
mod tests;

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The program that machines run in.
pub const QEMU: &str = "qemu-system-x86_64";
/// The debugger.
pub const GDB: &str = "gdb";
/// The oldest QEMU that all of this was tried with.
pub const OLDEST_QEMU: Version = Version(7, 2);

/// A program isn't there, and may not be installed; says what to type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing(pub String);

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Missing {}

/// The first two numbers of a program's version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32);

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

impl Version {
    /// Finds the first version in what a program says of itself.
    #[must_use]
    pub fn find(text: &str) -> Option<Self> {
        text.split_whitespace().find_map(|word| {
            let mut numbers = word.split('.');
            let major = numbers.next()?.parse().ok()?;
            let minor = numbers.next()?;
            let digits = minor.find(|character: char| !character.is_ascii_digit()).unwrap_or(minor.len());
            Some(Self(major, minor[..digits].parse().ok()?))
        })
    }
}

/// Finds a program in the user's `PATH`.
#[must_use]
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(program)).find(|file| is_program(file))
}

fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// What a program prints, if it can be run at all.
#[must_use]
pub fn ask(program: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
}

/// Whether the user lets us install what is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Said so.
    Given,
    /// Didn't say: it is done only where nobody is surprised by it.
    NotAsked,
}

/// Finds QEMU. If it isn't there, it is installed, and gdb with it, where that is allowed.
///
/// # Errors
/// [`Missing`] if it isn't allowed; else if the installation fails.
pub fn qemu(permission: Permission) -> Result<PathBuf> {
    provide(QEMU, permission)
}

/// Finds gdb. If it isn't there, it is installed, and QEMU with it, where that is allowed.
///
/// # Errors
/// [`Missing`] if it isn't allowed; else if the installation fails.
pub fn gdb(permission: Permission) -> Result<PathBuf> {
    provide(GDB, permission)
}

fn provide(program: &'static str, permission: Permission) -> Result<PathBuf> {
    if let Some(path) = find(program) {
        return Ok(path);
    }
    let host = Host::of_this_machine();
    let commands = match plan(&host, program, permission) {
        Plan::Run(commands) => commands,
        Plan::Say(text) => return Err(Missing(text).into()),
    };
    for command in commands {
        run(&command)?;
    }
    find(program)
        .with_context(|| format!("failed to find {program} although it was just installed: look at PATH"))
}

fn run(command: &[String]) -> Result<()> {
    // On standard error, where the package manager's own messages are expected.
    eprintln!("running: {}", command.join(" "));
    let [program, arguments @ ..] = command else { return Ok(()) };
    let status = Command::new(program)
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .status()
        .with_context(|| format!("failed to run {program}"))?;
    if !status.success() {
        bail!("failed to install QEMU and gdb: {} ended with {status}", command.join(" "));
    }
    Ok(())
}

/// What decides how, and whether, something is installed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Host {
    manager: Option<&'static Manager>,
    is_root: bool,
    is_ci: bool,
    /// `sudo` works without a password.
    has_sudo: bool,
}

/// A package manager, and what it calls what we need.
#[derive(Debug, PartialEq, Eq)]
struct Manager {
    program: &'static str,
    /// Commands that install QEMU and gdb.
    commands: &'static [&'static [&'static str]],
    needs_root: bool,
}

const MANAGERS: [Manager; 4] = [
    Manager {
        program: "apt-get",
        commands: &[
            &["apt-get", "update"],
            &["apt-get", "install", "--yes", "--no-install-recommends", "qemu-system-x86", "gdb"],
        ],
        needs_root: true,
    },
    Manager {
        program: "dnf",
        commands: &[&["dnf", "install", "--assumeyes", "qemu-system-x86", "gdb"]],
        needs_root: true,
    },
    Manager {
        program: "pacman",
        commands: &[&["pacman", "-Sy", "--needed", "--noconfirm", "qemu-system-x86", "gdb"]],
        needs_root: true,
    },
    Manager { program: "brew", commands: &[&["brew", "install", "qemu", "gdb"]], needs_root: false },
];

impl Host {
    fn of_this_machine() -> Self {
        let sudo = || {
            let status =
                Command::new("sudo").args(["-n", "true"]).stdin(Stdio::null()).stderr(Stdio::null()).status();
            status.is_ok_and(|status| status.success())
        };
        Self {
            manager: MANAGERS.iter().find(|manager| find(manager.program).is_some()),
            is_root: nix::unistd::geteuid().is_root(),
            is_ci: is_ci(),
            has_sudo: find("sudo").is_some() && sudo(),
        }
    }
}

/// Tells whether this is a CI run, as `CI` says.
#[must_use]
pub fn is_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false"))
}

/// What to do about missing programs.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Plan {
    /// These commands.
    Run(Vec<Vec<String>>),
    /// Nothing but telling the user.
    Say(String),
}

fn plan(host: &Host, program: &str, permission: Permission) -> Plan {
    let Some(manager) = host.manager else {
        return Plan::Say(format!(
            "{program} is not installed, and this system has no package manager known here: \
             install QEMU {OLDEST_QEMU} or later for x86-64, and gdb"
        ));
    };
    let needs_sudo = manager.needs_root && !host.is_root;
    let prefix: &[&str] = if needs_sudo { &["sudo"] } else { &[] };
    let commands: Vec<Vec<String>> = manager
        .commands
        .iter()
        .map(|command| prefix.iter().chain(*command).map(|word| (*word).to_owned()).collect())
        .collect();
    let is_allowed = permission == Permission::Given || host.is_root || host.is_ci;
    if is_allowed && (!needs_sudo || host.has_sudo || permission == Permission::Given) {
        return Plan::Run(commands);
    }
    let commands: Vec<String> = commands.iter().map(|command| command.join(" ")).collect();
    Plan::Say(format!(
        "{program} is not installed. Type this, or let `cargo xtask test --install` do it:\n\n    {}\n",
        commands.join(" && ")
    ))
}
