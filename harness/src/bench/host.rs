//! What is measured of booting and of the harness.

use super::{Figure, Time, guest};
use crate::build::{MONITOR, cargo, kernel_without_debugger};
use crate::image::Spoil;
use crate::machine::{DEFAULT_MEMORY_MIB, Firmware, IMAGE, KERNEL, Machine, Next, Output, Timing};
use crate::observe::What;
use crate::run::{How, TIMEOUT, Verdict, Workshop};
use crate::scenario::{Kind, Program, Scenario};
use crate::verdict::Ends;
use anyhow::{Context, Result, bail, ensure};
use serde_json::Number;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// From QEMU's start to the first line that a service logs.
pub const FIRST_LINE: &str = "boot.first_line";
/// From QEMU's start to the first byte of an equal machine that does nothing else.
pub const BARE: &str = "boot.bare";
/// `cargo xtask test` of ten tests, with nothing to rebuild.
pub const WARM: &str = "test.warm";
/// What a test takes more than QEMU alone, started with the same machine and image: the fastest of several starts, from
/// QEMU's start to its end, so the guest's own run is in it.
pub const PER_TEST: &str = "harness.per_test";
/// From QEMU's word that the processor waits for nothing to the report on what everybody was doing.
const HANG_TO_REPORT: &str = "harness.hang_to_report";
/// `cargo xtask test` of all tests, with nothing to rebuild.
pub const SUITE: &str = "harness.suite";
/// The most memory that QEMU has at once in any test.
pub const PEAK_MEMORY: &str = "harness.peak_memory";

/// A round trip of a message under a kernel from whose build the debugger's end is left out.
pub const WITHOUT_DEBUGGER: &str = "ipc.round_trip.without_debugger";

type Measure = fn(&Workshop, &[Scenario]) -> Result<Figure>;

/// All figures of this kind, which their measurements leave without names.
pub(super) const FIGURES: &[(&str, Measure)] = &[
    (WITHOUT_DEBUGGER, |workshop, _| {
        Ok(Figure { instructions: Some(without_debugger(workshop)?), ..Figure::default() })
    }),
    (FIRST_LINE, first_line),
    (BARE, bare),
    (WARM, warm),
    (PER_TEST, per_test),
    (HANG_TO_REPORT, hang_to_report),
    (SUITE, suite),
    (PEAK_MEMORY, peak_memory),
];

const BOOTS: usize = 11;
/// More than any machine logs before what is waited for.
const LOG_LIMIT: usize = 64 * 1024;
/// How often QEMU is started alone.
const ALONE_STARTS: usize = 3;
const HANGS: usize = 5;
const WARM_RUNS: usize = 5;
const WARM_TESTS: usize = 10;
const SUITE_RUNS: usize = 3;

/// Writes one byte to the log, and stops: `mov al, '.'; out 0xe9, al; hlt`.
const LOGS_A_BYTE: &[u8] = &[0xb0, b'.', 0xe6, 0xe9, 0xf4];

/// A machine that boots to its prompt.
fn machine() -> Scenario {
    Scenario {
        name: MONITOR.into(),
        kind: Kind::Bench,
        rows: vec![],
        ends: Ends::default(),
        program: Some(Program { file: MONITOR.into(), ..Program::default() }),
        bare: None,
        spoil: Spoil::Nothing,
        memory_mib: DEFAULT_MEMORY_MIB,
        firmware: Firmware::default(),
        command_line: String::new(),
        clock: Timing::default(),
        nondeterministic: None,
        is_canary: false,
        limit: None,
        facets: BTreeSet::new(),
        needs_qemu: None,
    }
}

pub(super) fn without_debugger(workshop: &Workshop) -> Result<Number> {
    let kernel = kernel_without_debugger(&workshop.project)?;
    guest::instructions(&workshop.with_kernel(kernel)?, "bench_ipc", "ipc.round_trip")
}

fn first_line(workshop: &Workshop, _: &[Scenario]) -> Result<Figure> {
    boots(workshop, &machine(), has_line_of_service)
}

/// Tells whether the log has a whole line that isn't the kernel's.
fn has_line_of_service(log: &[u8]) -> bool {
    let lines = log.split_inclusive(|byte| *byte == b'\n');
    lines.filter(|line| line.ends_with(b"\n")).any(|line| !line.starts_with(b"I kernel: "))
}

fn bare(workshop: &Workshop, _: &[Scenario]) -> Result<Figure> {
    let bare = Scenario { bare: Some(LOGS_A_BYTE.to_vec()), ..machine() };
    boots(workshop, &bare, |log| !log.is_empty())
}

/// Measures how long machines take until their log holds what is waited for.
fn boots(workshop: &Workshop, scenario: &Scenario, is_there: impl Fn(&[u8]) -> bool) -> Result<Figure> {
    let times = (0..BOOTS).map(|_| {
        let (elapsed, _) = boot(workshop, scenario, &is_there)?;
        Ok(nanoseconds(elapsed))
    });
    summed_up(times)
}

/// Boots a machine, and waits until its log holds what is waited for. Also tells how long that took.
fn boot(
    workshop: &Workshop,
    scenario: &Scenario,
    is_there: impl Fn(&[u8]) -> bool,
) -> Result<(Duration, Machine)> {
    let mut machine = workshop.boot(scenario, Timing::Deterministic)?;
    let started = machine.started();
    loop {
        let next = machine.next(Instant::now() + Duration::from_micros(100));
        let elapsed = started.elapsed();
        if is_there(&machine.log(LOG_LIMIT)?.bytes) {
            return Ok((elapsed, machine));
        }
        match next {
            Next::Ended(exit) => {
                bail!("failed to boot: QEMU ended with {exit:?} before it had logged what was waited for")
            }
            Next::Output(Output::Paused) => bail!("failed to boot: the system panicked"),
            Next::Output(_) | Next::Late => {}
        }
        ensure!(elapsed <= TIMEOUT, "failed to boot: the log does not hold what was waited for");
    }
}

/// Looked at every millisecond: of what is gone by then, only its last moment can be missed.
fn peak_memory(workshop: &Workshop, tests: &[Scenario]) -> Result<Figure> {
    const GLANCE: Duration = Duration::from_millis(1);
    let mut most = 0;
    for test in tests.iter().filter(|test| ends_itself(test)) {
        let alone = Alone::new(workshop, test)?;
        let mut qemu = alone.start()?;
        while qemu.try_wait().context("failed to wait for QEMU")?.is_none() {
            // It may have ended meanwhile.
            most = most.max(peak_resident_bytes(qemu.id()).unwrap_or(0));
            std::thread::sleep(GLANCE);
        }
    }
    Ok(Figure { bytes: Some(most), ..Figure::default() })
}

/// The most memory that a process has had at once (proc(5), `VmHWM`).
fn peak_resident_bytes(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"))?;
    Some(kib.parse::<u64>().ok()? * 1024)
}

fn warm(workshop: &Workshop, tests: &[Scenario]) -> Result<Figure> {
    let names = tests.iter().take(WARM_TESTS).map(|test| test.name.as_str());
    let arguments: Vec<&str> = ["--exact"].into_iter().chain(names).collect();
    summed_up((0..WARM_RUNS).map(|_| time_tests(workshop, &arguments)))
}

fn suite(workshop: &Workshop, _: &[Scenario]) -> Result<Figure> {
    summed_up((0..SUITE_RUNS).map(|_| time_tests(workshop, &[])))
}

/// Measures `cargo xtask test`.
fn time_tests(workshop: &Workshop, arguments: &[&str]) -> Result<f64> {
    let mut command = cargo();
    command.current_dir(workshop.project.root()).args(["xtask", "test"]).args(arguments);
    let started = Instant::now();
    let output = command.stdin(Stdio::null()).output().context("failed to run cargo")?;
    ensure!(output.status.success(), "the tests must pass to be measured; run `cargo xtask test`");
    Ok(nanoseconds(started.elapsed()))
}

fn per_test(workshop: &Workshop, tests: &[Scenario]) -> Result<Figure> {
    let times = tests.iter().filter(|test| ends_itself(test)).map(|test| {
        let alone = Alone::new(workshop, test)?;
        let mut fastest = Duration::MAX;
        for _ in 0..ALONE_STARTS {
            let started = Instant::now();
            alone.start()?.wait().context("failed to wait for QEMU")?;
            fastest = fastest.min(started.elapsed());
        }
        // A facet takes a run of its own, and those are not this one's overhead.
        let outcome = workshop.test(&Scenario { facets: BTreeSet::new(), ..test.clone() }, How::default());
        ensure!(outcome.verdict() == Verdict::Passed, "{} must pass to be measured", test.name);
        Ok(nanoseconds(outcome.took.saturating_sub(fastest)))
    });
    summed_up(times)
}

/// Only of tests that end by themselves and as programs do: to find that a machine hangs, or to look into what is left of
/// one, is no overhead.
fn ends_itself(test: &Scenario) -> bool {
    test.program.is_some() && test.ends == Ends::default()
}

/// QEMU with the machine of a test, started by nobody but its command line.
struct Alone {
    directory: TempDir,
    command: Vec<OsString>,
}

impl Alone {
    fn new(workshop: &Workshop, test: &Scenario) -> Result<Self> {
        let setup = workshop.plain_setup(test)?;
        let directory =
            tempfile::tempdir_in(workshop.project.artefacts()?).context("failed to create a directory")?;
        let write = |name: &str, bytes: &[u8]| {
            let path = directory.path().join(name);
            std::fs::write(&path, bytes).with_context(|| format!("failed to write {}", path.display()))
        };
        write(KERNEL, &setup.kernel)?;
        if let Some(image) = &setup.image {
            write(IMAGE, image)?;
        }
        Ok(Self { directory, command: setup.command })
    }

    fn start(&self) -> Result<Child> {
        let (qemu, arguments) = self.command.split_first().context("there is no command")?;
        let mut command = Command::new(qemu);
        command.args(arguments).current_dir(self.directory.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().context("failed to start QEMU")
    }
}

fn hang_to_report(workshop: &Workshop, tests: &[Scenario]) -> Result<Figure> {
    let test = tests.iter().find(|test| test.ends == Ends::Hang).context("no test hangs")?;
    let times = (0..HANGS).map(|_| {
        let outcome = workshop.test(test, How::default());
        ensure!(outcome.examined().is_some(), "{} must be reported on to be measured", test.name);
        let hung = outcome.record.when(|what| matches!(what, What::Qemu(_))).context("it is never idle")?;
        Ok(nanoseconds(outcome.took.saturating_sub(hung)))
    });
    summed_up(times)
}

fn summed_up(times: impl Iterator<Item = Result<f64>>) -> Result<Figure> {
    Ok(Figure { time: Time::of(times.collect::<Result<_>>()?), ..Figure::default() })
}

fn nanoseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e9
}
