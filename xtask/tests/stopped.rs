//! Machines that had to be stopped, or that ended badly, on the real QEMU: what is kept of them, and what gdb
//! makes of it.

mod host;

use abi::inspect::Layout;
use harness::dump::Dump;
use harness::gdb::{Debugger, Driven};
use harness::image::bare;
use harness::inspect::examine_bundle;
use harness::machine::{AtPanic, Config, Firmware, Kernel, Machine, PATIENCE, Record, Timing};
use harness::observe::{What, Wish, watch};
use harness::report::Reader as _;
use harness::report::bundles::{Bundles, DUMP};
use harness::run::{How, Verdict};
use harness::suite::News;
use harness::tools::{GDB, QEMU};
use harness::verdict::{End, Ends, GuestTime, Hang, judge_in_time};
use host::{launcher, programs, workshop};
use std::path::Path;
use std::time::Duration;

/// A conversation with gdb. It only guards against what hangs.
const LIMIT: Duration = Duration::from_secs(120);
/// A machine that the kernel ends because it is busy for too long.
const BUSY: &str = "a_machine_that_is_busy_for_too_long_is_ended";
const MIB: u64 = 1 << 20;
/// Where the kernel maps physical memory.
const DIRECT_MAP: u64 = 0xffff_8000_0000_0000;

fn ask(gdb: &mut Driven, command: &str) -> String {
    gdb.ask(command).unwrap_or_else(|error| panic!("{command}: {error:#}\n{}", gdb.transcript()))
}

// row I3
#[test]
fn gdb_and_inspect_open_the_dump_of_a_bundle() {
    let Some([qemu, gdb]) = programs([QEMU, GDB]) else { return };
    let workshop = workshop(qemu);
    let mut scenario = workshop.scenario(BUSY).expect("a scenario");
    // It fails, so that there is a bundle, and under a name whose snapshot nobody reviews.
    scenario.name = "not_declared_to_hang".into();
    scenario.ends = Ends::Exited(0);
    let outcome = workshop.test(&scenario, How::default());
    assert_eq!((outcome.verdict(), &outcome.end), (Verdict::WrongEnd, &End::Hang(Hang::Limit)));

    let directory = tempfile::tempdir().expect("a directory");
    let mut bundles = Bundles { path: directory.path().join("failures") };
    bundles.read(&News::TestEnded(&outcome)).expect("it can be written");
    let bundle = bundles.path.join(&scenario.name);
    let dump = bundle.join(DUMP);
    let size = std::fs::metadata(&dump).expect("a dump").len();
    assert!(size < 8 * MIB, "a dump of {size} bytes of a machine that uses next to nothing");
    let found = examine_bundle(&workshop.project, &bundle).expect("it can be read");
    assert_eq!(Some(&found), outcome.examined());
    Dump::open(&dump).expect("it can be read");

    let debugger = Debugger {
        gdb: &gdb,
        launcher: launcher(),
        images: &[bundle.join(harness::machine::KERNEL)],
        script: None,
        remote: None,
        commands: &["set language c".to_owned(), format!("core-file {}", dump.display())],
        arguments: &[],
    };
    let mut gdb = debugger.drive(LIMIT).expect("gdb starts");
    let registers = ask(&mut gdb, "info registers");
    assert!(registers.contains("let_inspect") && registers.contains("rsp"), "{registers}");
    let stack = ask(&mut gdb, "backtrace");
    assert!(stack.contains("let_inspect") && stack.contains("kernel_main"), "{stack}");
    let magic = format!("output/x *(unsigned long long *)&{}", abi::inspect::SYMBOL);
    assert_eq!(ask(&mut gdb, &magic), format!("{:#x}", Layout::MAGIC));
    // What isn't in the file is zero, and what isn't in the machine isn't there.
    let at = |address: u64| format!("output/x *(unsigned long long *){address:#x}");
    assert_eq!(ask(&mut gdb, &at(DIRECT_MAP + 50 * MIB)), "0x0");
    assert!(ask(&mut gdb, &at(DIRECT_MAP + 65 * MIB)).contains("Cannot access memory"));
}

/// A machine that turns in a circle, without interrupts.
fn hangs(qemu: &Path, directory: &Path) -> Machine {
    const TURNS: u8 = 100;
    // cli, many times nop, and a jump to the first of them
    let mut code = vec![0xfa];
    code.extend([0x90; TURNS as usize]);
    code.extend([0xeb, 0_u8.wrapping_sub(TURNS + 2)]);
    let machine = Machine::start(&Config {
        qemu,
        launcher: launcher(),
        artefacts: directory,
        kernel: Kernel::Bytes(&bare::kernel(&code)),
        image: None,
        command_line: "",
        memory_mib: 64,
        firmware: Firmware::Qboot,
        timing: Timing::Deterministic,
        record: Record::Off,
        at_panic: AtPanic::Pause,
        patience: PATIENCE,
    });
    machine.expect("QEMU starts")
}

// row I1
#[test]
fn a_kernel_that_hangs_is_told_from_a_slow_host() {
    let Some([qemu]) = programs([QEMU]) else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let time = GuestTime { limit: Some(Duration::from_millis(10)), ..GuestTime::default() };
    // The slower the host is, the longer it takes until the machine's time is over.
    for seconds in [1, 4, 16, 64, 256] {
        let machine = hangs(&qemu, directory.path());
        let record = watch(machine, Duration::from_secs(seconds), |_| Wish::GoOn);
        assert!(matches!(record.dump, Some(Ok(_))), "{:?}", record.dump);
        let own = record.events().iter().find_map(|event| match event.what {
            What::TimedOut(own) => own,
            _ => None,
        });
        let own = own.expect("QEMU tells the machine's time");
        let end = judge_in_time(&record, None, time);
        if own >= Duration::from_secs(3) {
            assert_eq!(end, End::Hang(Hang::Kernel));
            return;
        }
        assert!(matches!(end, End::HostTrouble(_)), "{end:?} after {own:?}");
    }
    panic!("the machine's own time doesn't pass");
}
