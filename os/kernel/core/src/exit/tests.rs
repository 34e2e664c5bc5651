use crate::Slot;
use crate::fake::{Fake, kernel, service};
use crate::fault::Fault;
use crate::kernel::{Kernel, OutOfTurn};
use abi::boot::{self, ExitCode, Managers};
use abi::ipc::Primitive;
use abi::protocols::kernel::{abort, clear, exit, kill};
use abi::report::{Cause, Ended, Exited, Report};
use abi::{Endpoint, Name, Signal};

const MAIN: u16 = 1;
const OTHER: u16 = 2;

/// A machine that runs for s1.
fn machine() -> Kernel<Fake> {
    kernel(&[boot::Process { ends_machine: true, ..service(MAIN) }, service(OTHER)])
}

fn at(slot: u16) -> Endpoint {
    Endpoint::at_boot(slot)
}

fn exited(slot: u16, status: i32) -> Report {
    Report::Exited(Exited { process: name(slot), status })
}

fn ended(cause: Cause) -> Report {
    Report::Ended(Ended { process: name(MAIN), cause })
}

fn name(slot: u16) -> Name {
    service(slot).name
}

/// What a machine reports and ends with.
fn end_of(mut kernel: Kernel<Fake>) -> (Vec<Report>, OutOfTurn) {
    let is_fault = kernel.out_of_turn() == OutOfTurn::End(ExitCode::ServiceFault);
    // What ends by a fault or a panic can be looked at once, before anything of it is gone.
    let (culprit, inspections) = if is_fault { (at(MAIN), vec![0]) } else { (Endpoint::NONE, vec![]) };
    assert_eq!((kernel.culprit, &kernel.machine.inspections), (culprit, &inspections));
    let end = kernel.out_of_turn();
    (kernel.machine.reports, end)
}

fn fault(kernel: &mut Kernel<Fake>, slot: u16) {
    kernel.fault(Slot::new(slot), Fault::Exception { vector: 6, code: 0 });
}

// row I1
#[test]
fn the_result_of_a_machine_is_reported_with_its_exit_code() {
    type Ends = fn(&mut Kernel<Fake>);
    let cases: [(&str, Ends, Report, ExitCode); 8] = [
        (
            "exit 0",
            |kernel| drop(kernel.asks(MAIN, &exit::Request { status: 0 })),
            exited(MAIN, 0),
            ExitCode::Success,
        ),
        (
            "exit -3",
            |kernel| drop(kernel.asks(MAIN, &exit::Request { status: -3 })),
            exited(MAIN, -3),
            ExitCode::Failure,
        ),
        (
            "panic",
            |kernel| drop(kernel.asks(MAIN, &exit::Request { status: 101 })),
            ended(Cause::Panic),
            ExitCode::ServiceFault,
        ),
        ("fault", |kernel| fault(kernel, MAIN), ended(Cause::Fault), ExitCode::ServiceFault),
        (
            "signal",
            |kernel| drop(kernel.asks(OTHER, &kill::Request { process: at(MAIN), signal: Signal::KILL })),
            ended(Cause::Signal),
            ExitCode::ServiceFault,
        ),
        (
            "manager",
            |kernel| {
                let manager = at(OTHER);
                let managers = Managers {
                    slot: MAIN,
                    signal_manager: manager,
                    backup_manager: Endpoint::NONE,
                    scheduler: Endpoint::NONE,
                };
                kernel.set_managers(managers).unwrap();
                fault(kernel, MAIN);
                assert_eq!(kernel.machine.reports, []);
                kernel.asks(OTHER, &clear::Request { process: at(MAIN) });
            },
            ended(Cause::Manager),
            ExitCode::ServiceFault,
        ),
        (
            "abort 0",
            |kernel| drop(kernel.asks(OTHER, &abort::Request { status: 0 })),
            exited(OTHER, 0),
            ExitCode::Success,
        ),
        (
            "abort 1",
            |kernel| drop(kernel.asks(MAIN, &abort::Request { status: 1 })),
            exited(MAIN, 1),
            ExitCode::Failure,
        ),
    ];
    for (what, end, report, code) in cases {
        let mut kernel = machine();
        end(&mut kernel);
        assert_eq!(end_of(kernel), (vec![report], OutOfTurn::End(code)), "{what}");
    }
}

// row I3
#[test]
fn a_machine_that_is_busy_for_too_long_ends_with_who_is_running() {
    let slot = Slot::new(OTHER);
    let mut kernel = machine();
    kernel.set_limit_ms(2);
    let mut after = |busy_ns, running| {
        kernel.machine.busy_ns = busy_ns;
        kernel.check_limit(running);
        (kernel.ended, kernel.culprit, kernel.machine.inspections.len())
    };
    assert_eq!(after(1_999_999, Some(slot)), (None, Endpoint::NONE, 0));
    let end = (Some(ExitCode::Limit), at(OTHER), 1);
    assert_eq!(after(2_000_000, Some(slot)), end);
    assert_eq!(after(3_000_000, None), end);
    assert_eq!(kernel.machine.reports, [Report::Overran]);

    let mut idle = machine();
    idle.set_limit_ms(1);
    idle.machine.busy_ns = u64::MAX;
    idle.check_limit(None);
    assert_eq!((idle.ended, idle.culprit), (Some(ExitCode::Limit), Endpoint::NONE));

    let mut endless = machine();
    endless.machine.busy_ns = u64::MAX - 1;
    endless.check_limit(Some(slot));
    assert_eq!(endless.ended, None);
}

#[test]
fn only_the_first_result_of_a_machine_is_reported() {
    let mut kernel = machine();
    kernel.asks(MAIN, &exit::Request { status: 3 });
    kernel.asks(OTHER, &abort::Request { status: 0 });
    assert_eq!(end_of(kernel), (vec![exited(MAIN, 3)], OutOfTurn::End(ExitCode::Failure)));
}

#[test]
fn who_is_not_what_the_machine_runs_for_reports_nothing() {
    let mut kernel = kernel(&[service(MAIN), service(OTHER)]);
    kernel.asks(MAIN, &exit::Request { status: 3 });
    fault(&mut kernel, OTHER);
    assert_eq!(kernel.machine.reports, []);
}

#[test]
fn a_machine_whose_time_is_over_says_what_everybody_does() {
    let mut slow = machine();
    slow.traps(OTHER, Primitive::Receive, Endpoint::ANY);
    slow.end_for_time();
    let log = slow.log_text();
    assert_eq!(end_of(slow), (vec![Report::Overran], OutOfTurn::End(ExitCode::Limit)));
    let lines: Vec<&str> = log.lines().filter(|line| !line.contains("stacktrace: ")).collect();
    assert_eq!(lines, ["I kernel: s1: runnable", "I kernel: s2: receiving from any"]);
    assert_eq!(log.lines().filter(|line| line.contains("stacktrace: ")).count(), 2, "{log}");
    // It is over already.
    let mut done = machine();
    done.asks(MAIN, &exit::Request { status: 0 });
    done.end_for_time();
    assert_eq!(end_of(done), (vec![exited(MAIN, 0)], OutOfTurn::End(ExitCode::Success)));
}
