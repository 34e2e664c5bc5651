//! What is measured of booting and of the harness.

use super::Time;
use crate::build::{MONITOR, cargo};
use crate::image::Spoil;
use crate::machine::{DEFAULT_MEMORY_MIB, Firmware, Next, Timing};
use crate::run::{LIMIT, Workshop};
use crate::scenario::{Kind, Program, Scenario};
use crate::verdict::Ends;
use anyhow::{Context, Result, bail};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// From QEMU's start to the first line that a service logs.
pub const FIRST_LINE: &str = "boot.first_line";
/// From QEMU's start to the first byte of an equal machine that does nothing else.
pub const BARE: &str = "boot.bare";
/// `cargo xtask test` of ten tests, with nothing to rebuild.
pub const WARM: &str = "test.warm";

type Measure = fn(&Workshop, &[Scenario]) -> Result<Option<Time>>;

/// All figures of this kind.
pub(super) const FIGURES: &[(&str, Measure)] = &[(FIRST_LINE, first_line), (BARE, bare), (WARM, warm)];

const BOOTS: usize = 11;
/// More than any machine logs before what is waited for.
const LOG_LIMIT: usize = 64 * 1024;
const WARM_RUNS: usize = 5;
const WARM_TESTS: usize = 10;

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
    }
}

fn first_line(workshop: &Workshop, _: &[Scenario]) -> Result<Option<Time>> {
    time_log(workshop, &machine(), |log| {
        let lines = log.split_inclusive(|byte| *byte == b'\n');
        lines.filter(|line| line.ends_with(b"\n")).any(|line| !line.starts_with(b"I kernel: "))
    })
}

fn bare(workshop: &Workshop, _: &[Scenario]) -> Result<Option<Time>> {
    let bare = Scenario { bare: Some(LOGS_A_BYTE.to_vec()), ..machine() };
    time_log(workshop, &bare, |log| !log.is_empty())
}

/// Measures how long machines take until their log holds what is waited for.
fn time_log(
    workshop: &Workshop,
    scenario: &Scenario,
    is_there: impl Fn(&[u8]) -> bool,
) -> Result<Option<Time>> {
    let mut times = Vec::new();
    for _ in 0..BOOTS {
        let mut machine = workshop.boot(scenario, Timing::Deterministic)?;
        let started = machine.started();
        loop {
            let next = machine.next(Instant::now() + Duration::from_micros(100));
            let elapsed = started.elapsed();
            if is_there(&machine.log(LOG_LIMIT)?.bytes) {
                times.push(elapsed.as_secs_f64() * 1e9);
                break;
            }
            if let Next::Ended(exit) = next {
                bail!("failed to boot: QEMU ended with {exit:?} before it had logged what was waited for");
            }
            if elapsed > LIMIT {
                bail!("failed to boot: the log does not hold what was waited for");
            }
        }
    }
    Ok(Time::of(times))
}

fn warm(workshop: &Workshop, tests: &[Scenario]) -> Result<Option<Time>> {
    let mut times = Vec::new();
    for _ in 0..WARM_RUNS {
        let mut command = cargo();
        command.current_dir(workshop.project.root()).args(["xtask", "test", "--exact"]);
        command.args(tests.iter().take(WARM_TESTS).map(|test| &test.name));
        let started = Instant::now();
        let output = command.stdin(Stdio::null()).output().context("failed to run cargo")?;
        if !output.status.success() {
            bail!("failed to measure {WARM}: the tests must pass; run `cargo xtask test`");
        }
        times.push(started.elapsed().as_secs_f64() * 1e9);
    }
    Ok(Time::of(times))
}
