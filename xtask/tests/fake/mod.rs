//! A script plays QEMU: it says what QEMU would say, and does worse. The launcher is the real one.

use abi::Name;
use abi::boot::ExitCode;
use abi::report::{End, Exited, Report};
use harness::machine::{Config, Firmware, Kernel, Machine, Timing};
use harness::observe::{Record, Wish, watch};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;
use wire::{Kind, Writer};

/// The start of all scripts: finds the channels, shakes hands, and is told to go on.
const HANDSHAKE: &str = r#"#!/bin/sh
for argument in "$@"; do
    case "$argument" in
    serial,id=console,path=*) console=${argument#*path=} ;;
    file,id=log,path=*) log=${argument#*path=} ;;
    file,id=results,path=*) results=${argument#*path=} ;;
    esac
done
exec 4>"$console" 5>"$log" 6>"$results"
greeting='"version": {"qemu": {"micro": 0, "minor": 2, "major": 7}, "package": ""}, "capabilities": []'
echo "{\"QMP\": {$greeting}}"
read -r _; echo '{"return": {}}'
read -r _; echo '{"return": {}}'
"#;
/// The process that all these machines run for.
pub(crate) const MAIN: Name = Name::new("main").expect("a name");

/// The kernel's result: the main process exited.
pub(crate) fn exited(status: i32) -> Report {
    Report::Exited(Exited { process: MAIN, status })
}

/// The kernel's end record.
pub(crate) fn end(code: ExitCode) -> Report {
    Report::End(End { code, busy_ns: 2_000_000, idle_ns: 1_000_000 })
}

/// Reports as the kernel writes them, the first one with the number `first`.
pub(crate) fn records(first: u32, reports: &[Report]) -> Vec<u8> {
    let mut writer = Writer::from(0, first);
    let mut bytes = vec![];
    for report in reports {
        let mut payload = [0; Report::PAYLOAD_LIMIT];
        let (kind, payload) = report.put(&mut payload);
        writer.record(Kind(kind), payload, &mut |byte| bytes.push(byte)).expect("reports are short");
    }
    bytes
}

/// A line of a script that writes bytes to a file that it has open: the console is 4, the log 5, results are 6.
pub(crate) fn write(file: u8, bytes: &[u8]) -> String {
    let octal = |byte: &u8| if *byte == b'%' { "%%".into() } else { format!("\\{byte:03o}") };
    let format: String = bytes.iter().map(octal).collect();
    format!("printf '{format}' >&{file}\n")
}

/// The kernel reports.
pub(crate) fn report(reports: &[Report]) -> String {
    write(6, &records(0, reports))
}

/// The kernel says that the main process is done.
pub(crate) fn done() -> String {
    let log = write(5, b"I kernel: main exited with status 0\n");
    format!("{log}{}", report(&[exited(0), end(ExitCode::Success)]))
}

/// A program that plays QEMU.
pub(crate) struct Fake {
    pub(crate) directory: TempDir,
    pub(crate) qemu: PathBuf,
}

impl Fake {
    /// One that runs `script` when it is told to go on.
    pub(crate) fn new(script: &str) -> Self {
        Self::without_handshake(&format!("{HANDSHAKE}{script}"))
    }

    /// One that runs `script` and nothing else.
    pub(crate) fn without_handshake(script: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let qemu = directory.path().join("qemu");
        // A child that another test starts at this moment would keep the file open for writing,
        // and then it could not be run. Moved into place by another process, it can.
        let draft = directory.path().join("draft");
        std::fs::write(&draft, script).expect("a file");
        std::fs::set_permissions(&draft, std::fs::Permissions::from_mode(0o755)).expect("permissions");
        let status = Command::new("cp").args([&draft, &qemu]).status().expect("cp");
        assert!(status.success());
        Self { directory, qemu }
    }

    /// Starts it, as a machine whose QEMU has a second for what QEMU does at once.
    pub(crate) fn start(&self) -> anyhow::Result<Machine> {
        Machine::start(&Config {
            qemu: &self.qemu,
            launcher: Path::new(env!("CARGO_BIN_EXE_xtask")),
            artefacts: self.directory.path(),
            kernel: Kernel::File(Path::new("/nonexistent/kernel")),
            image: Some(b"image"),
            command_line: "",
            memory_mib: 64,
            firmware: Firmware::Qboot,
            timing: Timing::Deterministic,
            record: harness::machine::Record::Off,
            at_panic: harness::machine::AtPanic::Pause,
            patience: Duration::from_secs(1),
        })
    }

    /// All that happens until it ends.
    pub(crate) fn record_for(&self, limit: Duration) -> Record {
        watch(self.start().expect("it shakes hands"), limit, |_| Wish::GoOn)
    }
}
