//! What a machine's kernel reports of it, on QEMU. Where QEMU is missing nothing is tested, except in CI, where that
//! is an error.

use abi::report::Report;
use harness::build;
use harness::machine::Timing;
use harness::observe::Wish;
use harness::project::Project;
use harness::run::{Limits, TIMEOUT, Tools, Workshop};
use harness::tools::{self, QEMU};
use std::path::Path;
use std::time::Duration;

// row I1
#[test]
fn a_machine_tells_how_long_it_was_busy_and_idle() {
    let Some(qemu) = tools::find(QEMU) else {
        assert!(!tools::is_ci(), "QEMU is missing: run `cargo xtask doctor`");
        eprintln!("not tested: QEMU is not installed");
        return;
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the project's root");
    let project = Project::at(root).expect("a project");
    let system = build::system(&project).expect("a system");
    let built = build::build(&project, &system).expect("it builds");
    let launcher = Path::new(env!("CARGO_BIN_EXE_xtask")).to_owned();
    let workshop = Workshop::open(project, system, built, Tools { qemu, launcher }).expect("a workshop");
    // It waits for alarms, of which the last is a minute away, and does little else.
    let scenario = workshop.scenario("alarms_go_off_in_time").expect("a program");
    let limits = Limits { busy: None, host: TIMEOUT };
    let record = workshop.observe(&scenario, Timing::Deterministic, limits, |_| Wish::GoOn);
    let record = record.expect("it boots");
    let Some(Report::End(end)) = record.reports().last() else { panic!("no end: {record:?}") };
    let busy = Duration::from_nanos(end.busy_ns);
    let idle = Duration::from_nanos(end.idle_ns);
    assert!(busy > Duration::from_micros(100) && busy < Duration::from_secs(1), "{end:?}");
    assert!(idle > Duration::from_secs(60) && idle < Duration::from_secs(61), "{end:?}");
}
