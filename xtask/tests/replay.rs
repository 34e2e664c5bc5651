//! A recorded run, forwards and backwards in gdb: QEMU's and gdb's real selves on a machine that
//! runs a few bytes of code in place of a kernel.

mod host;

use harness::gdb::{Debugger, Driven};
use harness::image::bare;
use harness::machine::{AtPanic, Config, Exit, Firmware, Kernel, Machine, PATIENCE, Record, Timing};
use harness::observe::{Wish, watch};
use harness::recording::empty_disk;
use harness::tools::{GDB, QEMU};
use host::{launcher, programs};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Counts in ecx to ten thousand, and exits with 33.
const CODE: [u8; 18] = [
    0xb9, 0, 0, 0, 0,    // mov ecx, 0
    0x41, // inc ecx
    0x81, 0xf9, 0x10, 0x27, 0, 0, // cmp ecx, 10000
    0x75, 0xf7, // jne to the inc
    0xb0, 0x10, // mov al, 0x10
    0xe6, 0xf4, // out 0xf4, al
];
/// Offsets in it: those of a turn of its loop, and that of what follows.
const INC: u64 = 5;
const CMP: u64 = 6;
const JNE: u64 = 12;
const AFTER: u64 = 14;
const LIMIT: Duration = Duration::from_secs(60);

struct Run {
    directory: tempfile::TempDir,
    kernel: Vec<u8>,
    qemu: PathBuf,
}

impl Run {
    /// A run that was recorded, and a gdb for it.
    fn recorded() -> Option<(Self, PathBuf)> {
        let [qemu, gdb] = programs([QEMU, GDB])?;
        let run =
            Self { directory: tempfile::tempdir().expect("a directory"), kernel: bare::kernel(&CODE), qemu };
        std::fs::write(run.path("disk"), empty_disk()).expect("a disk");
        assert_eq!(run.exit(Record::Make { log: &run.path("log"), disk: &run.path("disk") }), 33);
        Some((run, gdb))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn start(&self, record: Record<'_>) -> Machine {
        let machine = Machine::start(&Config {
            qemu: &self.qemu,
            launcher: launcher(),
            artefacts: self.directory.path(),
            kernel: Kernel::Bytes(&self.kernel),
            image: None,
            command_line: "",
            memory_mib: 64,
            firmware: Firmware::Qboot,
            timing: Timing::Deterministic,
            record,
            at_panic: AtPanic::GoOn,
            patience: PATIENCE,
        });
        machine.expect("QEMU starts")
    }

    fn exit(&self, record: Record<'_>) -> i32 {
        match watch(self.start(record), LIMIT, |_| Wish::GoOn).exit() {
            Some(Exit::Code(code)) => code,
            other => panic!("{other:?} is no exit"),
        }
    }

    /// The run again, in gdb.
    fn in_gdb(&self, gdb: &Path) -> (Machine, Driven) {
        let socket = self.path("gdb");
        let record = Record::Replay { log: &self.path("log"), disk: &self.path("disk"), gdb: Some(&socket) };
        let machine = self.start(record);
        let launcher = launcher();
        let remote = Some(socket.as_os_str());
        let debugger =
            Debugger { gdb, launcher, images: &[], script: None, remote, commands: &[], arguments: &[] };
        (machine, debugger.drive(LIMIT).expect("gdb connects"))
    }
}

/// The number that gdb prints.
fn value(gdb: &mut Driven, expression: &str) -> u64 {
    let answer = gdb.ask(&format!("output/d (long){expression}")).expect("an answer");
    answer.trim().parse().unwrap_or_else(|_| panic!("{expression} is {answer}: {}", gdb.transcript()))
}

/// The address of the first instruction.
fn entry(run: &Run) -> u64 {
    u64::from_le_bytes(run.kernel[24..32].try_into().expect("an ELF file has an entry"))
}

// row I2
#[test]
fn a_recorded_run_ends_as_it_did() {
    let Some((run, _)) = Run::recorded() else { return };
    for _ in 0..3 {
        assert_eq!(
            run.exit(Record::Replay { log: &run.path("log"), disk: &run.path("disk"), gdb: None }),
            33
        );
    }
}

// row I2
#[test]
fn twenty_steps_and_twenty_breakpoints_backwards_are_all_right() {
    let Some((run, gdb)) = Run::recorded() else { return };
    let (_machine, mut gdb) = run.in_gdb(&gdb);
    let entry = entry(&run);
    gdb.ask(&format!("hbreak *{}", entry + AFTER)).expect("an answer");
    gdb.ask("continue").expect("an answer");
    assert_eq!(value(&mut gdb, "$pc"), entry + AFTER, "{}", gdb.transcript());
    assert_eq!(value(&mut gdb, "$rcx"), 10_000);
    for step in 0..20 {
        gdb.ask("reverse-stepi").expect("an answer");
        let expected = entry + [JNE, CMP, INC][step % 3];
        assert_eq!(value(&mut gdb, "$pc"), expected, "step {step}: {}", gdb.transcript());
    }
    // Those steps were through six turns, the jump of a seventh and its comparison. One forwards: QEMU
    // passes over a breakpoint that is at the very instruction before.
    gdb.ask("stepi").expect("an answer");
    assert_eq!(value(&mut gdb, "$pc"), entry + JNE, "{}", gdb.transcript());
    gdb.ask("delete").expect("an answer");
    gdb.ask(&format!("hbreak *{}", entry + INC)).expect("an answer");
    for turn in 0..20 {
        gdb.ask("reverse-continue").expect("an answer");
        assert_eq!(value(&mut gdb, "$pc"), entry + INC, "turn {turn}: {}", gdb.transcript());
        assert_eq!(value(&mut gdb, "$rcx"), 9_993 - turn, "turn {turn}: {}", gdb.transcript());
    }
    // And forwards again, to where it was.
    gdb.ask("delete").expect("an answer");
    gdb.ask(&format!("hbreak *{}", entry + AFTER)).expect("an answer");
    gdb.ask("continue").expect("an answer");
    assert_eq!(value(&mut gdb, "$rcx"), 10_000, "{}", gdb.transcript());
}
