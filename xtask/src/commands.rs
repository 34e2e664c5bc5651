//! The commands.

mod gdb;
mod miri;
mod replay;
mod review;
mod test;

pub(crate) use gdb::gdb;
pub(crate) use replay::replay;
pub(crate) use review::review;
pub(crate) use test::{bless, test};

use crate::arguments::{Bench, Inspect, Run};
use crate::exit::Exit;
use anyhow::{Context, Result, bail};
use harness::build::{self, MONITOR};
use harness::doctor::Found;
use harness::machine::interactive::{Ended, Session};
use harness::machine::{self, StandIn};
use harness::project::Project;
use harness::report::{Style, stdout};
use harness::run::{Tools, Workshop, image_with};
use harness::tools::{self, Permission};
use std::ffi::OsString;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

fn project() -> Result<Project> {
    // Where the sources are, wherever the user is.
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("failed to find the project's root")?;
    Project::at(root)
}

/// `cargo xtask build`
pub(crate) fn build() -> Result<Exit> {
    let project = project()?;
    let system = build::system(&project)?;
    let built = build::build(&project, &system)?;
    let image = project.artefacts()?.join("boot.img");
    let archive = image_with(&project, &system, &built, MONITOR)?;
    std::fs::write(&image, archive).with_context(|| format!("failed to write {}", image.display()))?;
    let services = built.services.iter().map(|(name, path)| (name.as_str(), path.as_path()));
    let files = [("kernel", built.kernel.as_path())].into_iter().chain(services);
    let files = files.chain([(MONITOR, built.monitor.as_path()), ("boot image", &image)]);
    let mut out = stdout();
    for (name, path) in files {
        let size = path.metadata().with_context(|| format!("failed to read {}", path.display()))?.len();
        writeln!(out, "{name:>12} {:>7} KiB  {}", size.div_ceil(1024), project.shorten(path).display())?;
    }
    writeln!(out, "{:>12} {:>7} programs", "guest tests", built.guest_tests.len())?;
    Ok(Exit::Good)
}

/// `cargo xtask run`
pub(crate) fn run(arguments: &Run) -> Result<Exit> {
    let project = project()?;
    let qemu = tools::qemu(permission(arguments.install))?;
    let system = build::system(&project)?;
    let built = build::build(&project, &system)?;
    if arguments.serial_target {
        return serial_target(&qemu, &built.kernel, &arguments.qemu);
    }
    let image = project.artefacts()?.join("run.img");
    let archive = image_with(&project, &system, &built, &arguments.program)?;
    std::fs::write(&image, archive).with_context(|| format!("failed to write {}", image.display()))?;
    let log = log_file(&project, arguments)?;
    let is_person = std::io::stdin().is_terminal();
    if is_person {
        eprintln!("Ctrl-A X closes the machine, Ctrl-A H lists more. The kernel's log: {}", log.display());
    }
    if let Some(socket) = &arguments.gdb {
        eprintln!(
            "A debugger can attach: cargo xtask gdb {} --attach {}",
            arguments.program,
            socket.display()
        );
    }
    let session = Session {
        qemu: &qemu,
        launcher: &launcher()?,
        kernel: &built.kernel,
        image: &image,
        log: &log,
        debugger: arguments.gdb.as_deref(),
        arguments: &arguments.qemu,
    };
    let ended = session.run()?;
    if is_person || ended != Ended::ByUser {
        eprintln!("{ended}");
    }
    Ok(if ended.is_good() { Exit::Good } else { Exit::TestsFailed })
}

/// A machine that waits for `cargo xtask test --serial`, until the user ends it.
fn serial_target(qemu: &Path, kernel: &Path, arguments: &[OsString]) -> Result<Exit> {
    let machine = StandIn::start(qemu, &launcher()?, kernel, arguments)?;
    eprintln!("The machine waits: cargo xtask test --serial {}", machine.port().display());
    eprintln!("Ctrl-C ends it.");
    let ended = machine.wait()?;
    Ok(if ended == machine::Exit::Code(0) { Exit::Good } else { Exit::TestsFailed })
}

/// Where the kernel's log goes: to standard error, or to a file that is empty now.
fn log_file(project: &Project, arguments: &Run) -> Result<PathBuf> {
    if arguments.log {
        return Ok("/dev/stderr".into());
    }
    let path = project.artefacts()?.join("run.log");
    std::fs::write(&path, "").with_context(|| format!("failed to write {}", path.display()))?;
    Ok(path)
}

/// `cargo xtask inspect`
pub(crate) fn inspect(arguments: &Inspect) -> Result<Exit> {
    let project = project()?;
    let named = project.failures().join(&arguments.dump);
    let directory = match arguments.dump.as_path() {
        path if path.is_file() => path.parent().context("a file is in a directory")?,
        path if path.is_dir() => path,
        _ if named.is_dir() => &named,
        name => bail!("there is neither a dump {0}, nor one of a test of that name", name.display()),
    };
    let found = harness::inspect::examine_bundle(&project, directory)?;
    write!(stdout(), "{}", harness::report::inspected(&found))?;
    Ok(Exit::Good)
}

/// `cargo xtask bench`
pub(crate) fn bench(arguments: &Bench) -> Result<Exit> {
    let project = project()?;
    let qemu = tools::qemu(permission(arguments.install))?;
    let system = build::system(&project)?;
    let built = build::build(&project, &system)?;
    let workshop = Workshop::open(project, system, built, Tools { qemu, launcher: launcher()? })?;
    let mut out = stdout();
    let mut written = Ok(());
    if !arguments.json {
        writeln!(out, "{}", harness::bench::heading())?;
    }
    let results = harness::bench::run(&workshop, &arguments.names, |figure| {
        let line = if arguments.json { figure.to_json() } else { figure.to_row() };
        if written.is_ok() {
            written = writeln!(out, "{line}");
        }
    })?;
    written?;
    for failure in &results.failures {
        eprintln!("error: {failure:#}");
    }
    if results.figures.is_empty() && results.failures.is_empty() {
        eprintln!("no figure is called {}: `cargo xtask bench` shows all", arguments.names.join(" or "));
        return Ok(Exit::NoTests);
    }
    // With names, a failure may be one of a program that has none of them.
    let is_complete =
        results.failures.is_empty() || (!arguments.names.is_empty() && !results.figures.is_empty());
    Ok(if is_complete { Exit::Good } else { Exit::TestsFailed })
}

/// `cargo xtask ci`
pub(crate) fn ci() -> Result<Exit> {
    // Some host tests drive a real machine or a real gdb. If these can't be had, the checks say so.
    let _ = tools::qemu(Permission::NotAsked).and_then(|_| tools::gdb(Permission::NotAsked));
    let finished = harness::ci::run(&project()?, &launcher()?)?;
    let failed: Vec<_> = finished.iter().filter(|step| !step.status.success()).collect();
    Ok(match failed.as_slice() {
        [] => Exit::Good,
        [only] if only.name == harness::ci::GUEST_TESTS && only.status.code() == Some(105) => Exit::SetUp,
        steps if steps.iter().all(|step| step.is_test()) => Exit::TestsFailed,
        _ => Exit::ChecksFailed,
    })
}

/// `cargo xtask miri`
pub(crate) fn miri() -> Result<Exit> {
    miri::run(&project()?)
}

/// `cargo xtask doctor`
pub(crate) fn doctor() -> Result<Exit> {
    let style = Style::of_stdout();
    let checks = harness::doctor::examine(&project()?);
    let mut out = stdout();
    for check in &checks {
        match &check.found {
            Found::Good(text) => writeln!(out, "{} {:<16} {text}", style.good("  ok"), check.subject)?,
            Found::Note(text) => writeln!(out, "{} {:<16} {text}", style.bold("note"), check.subject)?,
            Found::Bad { problem, remedy } => {
                writeln!(out, "{} {:<16} {problem}\n{:22}{remedy}", style.bad(" bad"), check.subject, "")?;
            }
        }
    }
    let is_healthy = checks.iter().all(harness::doctor::Check::is_good);
    writeln!(out, "{}", if is_healthy { "all is well" } else { "something is missing, see above" })?;
    Ok(if is_healthy { Exit::Good } else { Exit::SetUp })
}

fn permission(install: bool) -> Permission {
    if install { Permission::Given } else { Permission::NotAsked }
}

/// This very program, which is also what machines are started through.
fn launcher() -> Result<PathBuf> {
    std::env::current_exe().context("failed to find the path of xtask")
}
