use crate::Slot;
use crate::fake::{Fake, kernel, service};
use crate::fault::Fault;
use crate::kernel::{Kernel, OutOfTurn};
use abi::boot::{self, ExitCode, Managers};
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
fn end_of(kernel: Kernel<Fake>) -> (Vec<Report>, OutOfTurn) {
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
