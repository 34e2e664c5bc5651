//! What a machine's kernel reports of it, on QEMU.

mod host;

use abi::report::Report;
use harness::machine::Timing;
use harness::observe::Wish;
use harness::run::{Limits, TIMEOUT};
use harness::tools::QEMU;
use host::{programs, workshop};
use std::time::Duration;

// row I1
#[test]
fn a_machine_tells_how_long_it_was_busy_and_idle() {
    let Some([qemu]) = programs([QEMU]) else { return };
    let workshop = workshop(qemu);
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
