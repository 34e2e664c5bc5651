//! `cargo xtask gdb`

use super::{launcher, permission, project};
use crate::arguments::Gdb;
use crate::exit::Exit;
use anyhow::{Context as _, Result, bail, ensure};
use harness::build;
use harness::gdb::{Debugger, NotAttached, Terminal, TookTooLong};
use harness::machine::{self, Machine, Next, Output, Timing};
use harness::report::stdout;
use harness::run::{Tools, Workshop};
use harness::tools;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{IsTerminal as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long gdb may take where nobody sits in front of it.
const LIMIT: Duration = Duration::from_secs(60);
/// How long gdb may take to let go of a machine that isn't ours.
const LET_GO: Duration = Duration::from_secs(20);
/// How long output is taken at a time.
const DRAIN: Duration = Duration::from_millis(100);
/// How often the kernel's log is copied to where the user can read it.
const LOG_INTERVAL: Duration = Duration::from_secs(1);
/// As much of the kernel's log as is kept.
const LOG_BYTES: usize = 1 << 20;

pub(crate) fn gdb(arguments: &Gdb) -> Result<Exit> {
    let project = project()?;
    let gdb = tools::gdb(permission(arguments.install))?;
    let starts_machine = arguments.attach.is_none() && !arguments.print_command;
    // What starts no machine needs no QEMU.
    if let Some(remote) = arguments.attach.as_deref().filter(|_| !arguments.print_command) {
        check_remote(remote)?;
    }
    let qemu = if starts_machine { tools::qemu(permission(arguments.install))? } else { tools::QEMU.into() };
    let system = build::system(&project)?;
    let built = build::build(&project, &system)?;
    let launcher = launcher()?;
    let workshop = Workshop::open(project, system, built, Tools { qemu, launcher: launcher.clone() })?;
    let scenario = workshop.scenario(&arguments.name)?;
    let program = scenario.program.as_ref().map(|program| program.file.as_str());
    let images = workshop.build.images(program);
    let script = workshop.project.gdb_script();
    let debugger = |remote| Debugger {
        gdb: &gdb,
        launcher: &launcher,
        images: &images,
        script: Some(&script),
        remote,
        commands: &[],
        arguments: &arguments.gdb,
    };
    if arguments.print_command {
        writeln!(stdout(), "{}", debugger(arguments.attach.as_deref()).shown())?;
        return Ok(Exit::Good);
    }
    let terminal = Terminal::prepare()?;
    let is_person = std::io::stdin().is_terminal();
    let limit = arguments.timeout.or_else(|| (!is_person).then_some(LIMIT));
    if let Some(remote) = &arguments.attach {
        let debugger = debugger(Some(remote));
        return match debugger.hand_over(&terminal, limit, || {}) {
            Ok(exit) => Ok(exit_of(exit)),
            Err(error) if error.is::<NotAttached>() => bail!("{}", advice(remote)),
            Err(error) if error.is::<TookTooLong>() => match let_go(&debugger) {
                Ok(()) => bail!("{error}; the machine goes on"),
                Err(reason) => bail!("{error}; the machine may stand still: {reason:#}"),
            },
            Err(error) => Err(error),
        };
    }
    let timing = if is_person { Timing::RealTime } else { scenario.clock };
    let mut machine = workshop.boot_for_debugger(&scenario, timing)?;
    let socket = machine.debugger();
    let artefacts = workshop.project.artefacts()?;
    let (console, log) = (artefacts.join("gdb.console"), artefacts.join("gdb.log"));
    let mut shown =
        File::create(&console).with_context(|| format!("failed to write {}", console.display()))?;
    if is_person {
        eprintln!("The console: {}. The kernel's log: {}", console.display(), log.display());
    }
    let mut kept = Instant::now();
    let ended = debugger(Some(socket.as_os_str())).hand_over(&terminal, limit, || {
        drain(&mut machine, &mut shown);
        if kept.elapsed() > LOG_INTERVAL {
            kept = Instant::now();
            // What can't be written now may be so later.
            let _ = keep_log(&machine, &log);
        }
    });
    drain(&mut machine, &mut shown);
    keep_log(&machine, &log)?;
    Ok(exit_of(ended?))
}

/// A socket that nobody has made is found before anything is built.
fn check_remote(remote: &OsStr) -> Result<()> {
    let path = Path::new(remote);
    if is_path(remote) && !path.exists() {
        bail!("no machine waits at {}: {}", path.display(), starts_one(remote));
    }
    Ok(())
}

/// Tells a path from a host and a port, and from a command whose input and output gdb is to use.
fn is_path(remote: &OsStr) -> bool {
    let bytes = remote.as_bytes();
    bytes.starts_with(b"/") || !(bytes.starts_with(b"|") || bytes.contains(&b':'))
}

fn starts_one(socket: &OsStr) -> String {
    format!("`cargo xtask run --gdb {}` starts one", harness::shell::quote(socket))
}

/// What the user can do if gdb didn't attach.
fn advice(remote: &OsStr) -> String {
    let is_terminal = Path::new(remote).metadata().is_ok_and(|file| file.file_type().is_char_device());
    let advice = match () {
        () if is_terminal => "its kernel needs gdb=com2".to_owned(),
        () if is_path(remote) => starts_one(remote),
        () => "see whether it runs".to_owned(),
    };
    format!("no machine answers at {}, or another gdb has it: {advice}", Path::new(remote).display())
}

/// Lets a machine go on from which a gdb was torn: it may stand still, and nobody would know.
fn let_go(debugger: &Debugger<'_>) -> Result<()> {
    // The user's arguments are what took too long.
    let said = Debugger { arguments: &[], ..debugger.clone() }.drive(LET_GO)?.ask("detach")?;
    ensure!(said.contains("detached]"), "{}", said.trim());
    Ok(())
}

/// Takes what a machine has given, so that it need not wait for us; for a while, or one that prints without end
/// would keep gdb's end from being seen.
fn drain(machine: &mut Machine, console: &mut File) {
    let end = Instant::now() + DRAIN;
    while Instant::now() < end
        && let Next::Output(output) = machine.next(Instant::now())
    {
        if let Output::Console(bytes) = output {
            // A disk that is full is no reason to end what the user debugs.
            let _ = console.write_all(&bytes);
        }
    }
}

fn keep_log(machine: &Machine, path: &Path) -> Result<()> {
    std::fs::write(path, machine.log(LOG_BYTES)?.bytes)
        .with_context(|| format!("failed to write {}", path.display()))
}

fn exit_of(exit: machine::Exit) -> Exit {
    if exit == machine::Exit::Code(0) { Exit::Good } else { Exit::TestsFailed }
}
