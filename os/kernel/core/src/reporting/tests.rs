use super::*;
use crate::fake::{Fake, kernel, program, service};
use abi::boot::{self, ExitCode};
use abi::protocols::kernel::exit;

/// A kernel with two services and the program that its machine runs for, that reports.
fn reporting(reports: Reports) -> Kernel<Fake> {
    let main = boot::Process { ends_machine: true, ..program(2) };
    let mut kernel = kernel(&[service(0), service(1), main]);
    kernel.machine.reports.clear();
    kernel.report_also(reports);
    kernel
}

/// A turn that takes so long, in which something happens.
fn turn<T>(kernel: &mut Kernel<Fake>, slot: u16, took_ns: u64, happens: impl FnOnce(&mut Kernel<Fake>) -> T) {
    let _ = kernel.out_of_turn();
    kernel.start_turn(OutOfTurn::Run(Slot::new(slot)));
    happens(kernel);
    kernel.machine.busy_ns += took_ns;
    let _ = kernel.out_of_turn();
}

fn named(slot: u16) -> Report {
    let process = Name::new(&format!("s{slot}")).unwrap();
    Report::Named(Named { endpoint: Endpoint::at_boot(slot), process })
}

#[test]
fn each_message_is_reported_and_each_name_once() {
    let mut kernel = reporting(Reports::Ipc);
    let [first, second] = [0, 1].map(Endpoint::at_boot);
    for tag in 0..2 {
        turn(&mut kernel, 1, 1, |kernel| kernel.sends(1, Primitive::Receive, Endpoint::ANY, 0));
        turn(&mut kernel, 0, 1, |kernel| kernel.sends(0, Primitive::Send, second, tag));
    }
    let [a, b, Report::Delivered(one), Report::Delivered(two)] = kernel.machine.reports[..] else {
        panic!("{:?}", kernel.machine.reports)
    };
    assert_eq!([a, b], [named(0), named(1)]);
    assert_eq!((one.to, one.message.source, one.message.tag), (second, first, 0));
    assert_eq!((two.to, two.message.source, two.message.tag), (second, first, 1));
}

#[test]
fn messages_of_one_turn_that_would_not_fit_the_recorder_are_all_reported() {
    let mut kernel = reporting(Reports::Ipc);
    turn(&mut kernel, 1, 1, |kernel| {
        for _ in 0..300 {
            kernel.sends(1, Primitive::Receive, Endpoint::ANY, 0);
            kernel.sends(0, Primitive::Notify, Endpoint::at_boot(1), 0);
        }
    });
    let delivered = kernel.machine.reports.iter().filter(|report| matches!(report, Report::Delivered(_)));
    assert_eq!(delivered.count(), 300);
}

#[test]
fn too_many_messages_are_said_to_be_too_many() {
    let mut kernel = reporting(Reports::Ipc);
    turn(&mut kernel, 1, 1, |kernel| {
        for _ in 0..=Report::MESSAGE_LIMIT + 2 {
            kernel.sends(1, Primitive::Receive, Endpoint::ANY, 0);
            kernel.sends(0, Primitive::Notify, Endpoint::at_boot(1), 0);
        }
    });
    let reports = &kernel.machine.reports;
    assert_eq!(reports.len(), 2 + Report::MESSAGE_LIMIT as usize + 1);
    assert_eq!(reports.last(), Some(&Report::Untold));
}

#[test]
fn a_turn_is_the_cost_of_whose_it_is() {
    let mut kernel = reporting(Reports::Cost);
    kernel.machine.busy_ns = 100;
    turn(&mut kernel, 1, 20, |kernel| kernel.sends(1, Primitive::Receive, Endpoint::ANY, 0));
    turn(&mut kernel, 0, 3, |kernel| kernel.sends(0, Primitive::Send, Endpoint::at_boot(1), 0));
    // What is done between two turns is nobody's cost.
    kernel.machine.busy_ns += 5000;
    kernel.start_turn(OutOfTurn::Idle);
    kernel.machine.busy_ns += 1000;
    turn(&mut kernel, 2, 400, |kernel| kernel.asks(2, &exit::Request { status: 0 }));
    assert_eq!(kernel.ended, Some(ExitCode::Success));
    let cost = |name: &str, busy_ns, messages, kernel_calls| {
        Report::Cost(Cost { process: Name::new(name).unwrap(), busy_ns, messages, kernel_calls })
    };
    let costs: Vec<_> =
        kernel.machine.reports.iter().filter(|report| matches!(report, Report::Cost(_))).copied().collect();
    let expected =
        [cost("s2", 0, 0, 1), cost("s0", 3, 1, 0), cost("s1", 20, 0, 0), cost("kernel", 1500, 0, 0)];
    assert_eq!(costs, expected);
}

#[test]
fn who_is_not_asked_reports_nothing() {
    let mut kernel = kernel(&[service(0), service(1)]);
    kernel.report_also(Reports::None);
    assert_eq!(kernel.next(), crate::Next::Run(Slot::new(0)));
    kernel.sends(1, Primitive::Receive, Endpoint::ANY, 0);
    kernel.sends(0, Primitive::Notify, Endpoint::at_boot(1), 0);
    assert_eq!(kernel.machine.reports, []);
}
