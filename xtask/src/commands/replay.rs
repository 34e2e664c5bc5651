//! `cargo xtask replay`

use super::{launcher, permission, project};
use crate::arguments::Replay;
use crate::exit::Exit;
use anyhow::{Context as _, Result};
use harness::gdb::{Debugger, Terminal};
use harness::machine::{self, AtPanic, Config, IMAGE, KERNEL, Kernel, Machine, PATIENCE, Record, Timing};
use harness::observe::{Wish, watch};
use harness::project::Project;
use harness::recording::{self, DISK, LOG};
use harness::report::{json, stdout};
use harness::run::TIMEOUT;
use harness::symbols::Symbols;
use harness::tools;
use harness::travel::{self, Question, Travel};
use serde_json::Value;
use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::time::Instant;

/// `cargo xtask replay`
pub(crate) fn replay(arguments: &Replay) -> Result<Exit> {
    let project = project()?;
    let bundle = recording::bundle(&project, &arguments.test);
    let shape = recording::shape(&bundle)?;
    if let Some(difference) = recording::difference(&bundle) {
        eprintln!("warning: the record is not the run that was judged: {difference}");
    }
    let image = bundle.join(IMAGE);
    let image = image.exists().then(|| read(&image)).transpose()?;
    let qemu = tools::qemu(permission(arguments.install))?;
    // A socket's path must be short, and the files of a bundle stay as they are: QEMU writes to
    // the disk when it goes back in time.
    let directory =
        tempfile::Builder::new().prefix("replay-").tempdir().context("failed to create a directory")?;
    let [log, disk, socket] = [LOG, DISK, "gdb"].map(|name| directory.path().join(name));
    for (name, copy) in [(LOG, &log), (DISK, &disk)] {
        std::fs::copy(bundle.join(name), copy).with_context(|| format!("failed to copy {name}"))?;
    }
    let gdb = (!arguments.events).then_some(socket.as_path());
    let config = Config {
        qemu: &qemu,
        launcher: &launcher()?,
        artefacts: &project.artefacts()?,
        kernel: Kernel::File(&bundle.join(KERNEL)),
        image: image.as_deref(),
        command_line: &shape.command_line,
        memory_mib: shape.memory_mib,
        firmware: shape.firmware,
        timing: Timing::Deterministic,
        record: Record::Replay { log: &log, disk: &disk, gdb },
        at_panic: AtPanic::GoOn,
        patience: PATIENCE,
    };
    match gdb {
        None => events(&config, &bundle, &name(&arguments.test)),
        Some(socket) => debug(arguments, &project, &config, &bundle, socket),
    }
}

fn debug(
    arguments: &Replay,
    project: &Project,
    config: &Config<'_>,
    bundle: &Path,
    socket: &Path,
) -> Result<Exit> {
    let gdb = tools::gdb(permission(arguments.install))?;
    let debugger = Debugger {
        gdb: &gdb,
        launcher: config.launcher,
        images: &recording::images(bundle)?,
        script: Some(&project.gdb_script()),
        // The machine of a command that is only printed is never there.
        remote: (!arguments.print_command).then_some(socket.as_os_str()),
        commands: &[format!("directory {}", project.root().display())],
        arguments: &arguments.gdb,
    };
    if arguments.print_command {
        writeln!(stdout(), "{}", debugger.shown())?;
        return Ok(Exit::Good);
    }
    let until = Instant::now() + arguments.timeout;
    let travel = Travel { config, socket, until };
    if let Some(expression) = &arguments.why {
        let question = Question {
            name: &arguments.test.display().to_string(),
            expression,
            process: arguments.process.as_deref(),
            at: arguments.at,
        };
        let mut symbols = Symbols::new(project, debugger.images.to_vec());
        write!(stdout(), "{}", travel::why(travel, &debugger, &mut symbols, question)?)?;
        return Ok(Exit::Good);
    }
    let terminal = Terminal::prepare()?;
    let _machine = travel.go_to(arguments.at.unwrap_or_default())?;
    let limit = (!std::io::stdin().is_terminal()).then_some(arguments.timeout);
    Ok(match debugger.hand_over(&terminal, limit, || {})? {
        machine::Exit::Code(0) => Exit::Good,
        _ => Exit::TestsFailed,
    })
}

/// Runs the record again and compares what happens with what happened.
fn events(config: &Config<'_>, bundle: &Path, name: &str) -> Result<Exit> {
    let mut out = stdout();
    let record = watch(Machine::start(config)?, TIMEOUT, |_| Wish::GoOn);
    for event in record.events() {
        writeln!(out, "{:>8} {}", event.what.channel(), event.what)?;
    }
    let now = comparable(record.events().iter().map(|event| json::machine(name, event)))?;
    let text =
        String::from_utf8(read(&bundle.join("events.jsonl"))?).context("failed to read events.jsonl")?;
    let before = comparable(text.lines().map(|line| Ok(serde_json::from_str(line)?)))?;
    let is_equal = now == before;
    eprintln!("{}", if is_equal { "the same events as before" } else { "error: other events than before" });
    Ok(if is_equal { Exit::Good } else { Exit::TestsFailed })
}

/// What a test is called, whose bundle may be somewhere else.
fn name(test: &Path) -> String {
    test.file_name().unwrap_or(test.as_os_str()).to_string_lossy().into_owned()
}

/// Events without what is the host's: when they were seen, and QEMU's own words. Only events of one
/// channel have an order.
fn comparable(events: impl Iterator<Item = Result<Value>>) -> Result<[Vec<Value>; 4]> {
    let mut channels = [vec![], vec![], vec![], vec![]];
    for event in events {
        let mut event = event?;
        let kind = event["event"].as_str().unwrap_or_default();
        let channel = match kind {
            "qemu" => continue,
            _ if kind.starts_with("console") => 0,
            _ if kind.starts_with("log") => 1,
            "result" | "bad_result" => 2,
            _ => 3,
        };
        event["at"].take();
        channels[channel].push(event);
    }
    Ok(channels)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("failed to read {}", path.display()))
}
