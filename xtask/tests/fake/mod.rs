//! A script plays QEMU: it says what QEMU would say, and does worse. The launcher is the real one.

use harness::machine::{Config, Firmware, Kernel, Machine, Timing};
use harness::observe::{Record, Wish, watch};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// The start of all scripts: finds the channels, shakes hands, and is told to go on.
const HANDSHAKE: &str = r#"#!/bin/sh
for argument in "$@"; do
    case "$argument" in
    serial,id=console,path=*) console=${argument#*path=} ;;
    file,id=log,path=*) log=${argument#*path=} ;;
    esac
done
exec 4>"$console" 5>"$log"
greeting='"version": {"qemu": {"micro": 0, "minor": 2, "major": 7}, "package": ""}, "capabilities": []'
echo "{\"QMP\": {$greeting}}"
read -r _; echo '{"return": {}}'
read -r _; echo '{"return": {}}'
"#;
/// The kernel says that the main process is done.
pub(crate) const DONE: &str = "printf 'I kernel: main exited with status 0\\n' >&5\n";

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
