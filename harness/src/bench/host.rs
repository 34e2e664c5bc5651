//! What is measured of booting and of the harness.

use super::Time;
use crate::build::{MONITOR, cargo};
use crate::image::Spoil;
use crate::machine::{DEFAULT_MEMORY_MIB, Firmware, Next, Timing};
use crate::observe::{What, Wish};
use crate::run::{LIMIT, Workshop};
use crate::scenario::{Kind, Program, Scenario};
use crate::system::Class;
use crate::verdict::Ends;
use anyhow::{Context, Result, bail};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// From QEMU's start to the first line on the console.
pub const FIRST_LINE: &str = "boot.first_line";
/// From QEMU's start to the first byte of the kernel's log.
pub const FIRST_LOG: &str = "boot.bare";
/// `cargo xtask test` of ten tests, with nothing to rebuild.
pub const WARM: &str = "test.warm";

type Measure = fn(&Workshop, &[Scenario]) -> Result<Option<Time>>;

/// All figures of this kind.
pub(super) const FIGURES: &[(&str, Measure)] =
    &[(FIRST_LINE, first_line), (FIRST_LOG, first_log), (WARM, warm)];

const BOOTS: usize = 11;
const WARM_RUNS: usize = 5;
const WARM_TESTS: usize = 10;

/// A machine that boots to its prompt.
fn machine() -> Scenario {
    Scenario {
        name: MONITOR.into(),
        kind: Kind::Bench,
        rows: vec![],
        ends: Ends::default(),
        program: Some(Program { file: MONITOR.into(), class: Class::Program, processes: vec![] }),
        spoil: Spoil::Nothing,
        memory_mib: DEFAULT_MEMORY_MIB,
        firmware: Firmware::default(),
        command_line: String::new(),
        limit: None,
    }
}

fn first_line(workshop: &Workshop, _: &[Scenario]) -> Result<Option<Time>> {
    let is_line = |what: &What| matches!(what, What::Console(_));
    let mut times = Vec::new();
    for _ in 0..BOOTS {
        let record = workshop.observe(&machine(), Timing::Deterministic, LIMIT, |event| {
            if is_line(&event.what) { Wish::Stop } else { Wish::GoOn }
        })?;
        times.push(record.when(is_line).context("failed to boot: no line came on the console")?);
    }
    Ok(Time::of(times.iter().map(Duration::as_secs_f64).map(|seconds| seconds * 1e9).collect()))
}

fn first_log(workshop: &Workshop, _: &[Scenario]) -> Result<Option<Time>> {
    let mut times = Vec::new();
    for _ in 0..BOOTS {
        let mut machine = workshop.boot(&machine(), Timing::Deterministic)?;
        let started = machine.started();
        while !machine.has_log() {
            if started.elapsed() > LIMIT {
                bail!("failed to boot: the kernel logged nothing");
            }
            if let Next::Ended(exit) = machine.next(Instant::now() + Duration::from_micros(100)) {
                bail!("failed to boot: QEMU ended with {exit:?} and the kernel had logged nothing");
            }
        }
        times.push(started.elapsed().as_secs_f64() * 1e9);
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
