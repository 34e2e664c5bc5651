//! What a machine's kernel reports of it, and what QEMU tells of one that reports nothing.

mod host;

use abi::report::Report;
use harness::build::MONITOR;
use harness::machine::{Next, Output, Timing};
use harness::observe::Wish;
use harness::run::{Limits, TIMEOUT};
use harness::tools::QEMU;
use host::{programs, workshop};
use std::time::{Duration, Instant};

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

/// See [`observe`](harness::observe): so QEMU is asked when it has said too early that a machine waits.
#[test]
fn a_machine_that_waits_for_input_stands_still() {
    let Some([qemu]) = programs([QEMU]) else { return };
    let workshop = workshop(qemu);
    let scenario = workshop.scenario(MONITOR).expect("a program");
    let mut machine = workshop.boot(&scenario, Timing::Deterministic).expect("it boots");
    let end = Instant::now() + TIMEOUT;
    loop {
        match machine.next(end) {
            Next::Output(Output::Qemu(said))
                if String::from_utf8_lossy(&said).contains("no active timers") =>
            {
                break;
            }
            Next::Output(_) => {}
            next => panic!("it never waits: {next:?}"),
        }
    }
    // It may have woken to print its prompt.
    let stood_still = |machine: &mut harness::machine::Machine| {
        let first = machine.still().expect("QEMU says");
        std::thread::sleep(Duration::from_millis(50));
        first.is_some() && machine.still().expect("QEMU says") == first
    };
    while !stood_still(&mut machine) {
        assert!(Instant::now() < end, "it never stands still");
    }
}
