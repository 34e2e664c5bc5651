use super::{End, Ends, GuestTime, Hang, judge, judge_in_time};
use crate::machine::Exit;
use crate::observe::{Damage, Record, What};
use abi::Name;
use abi::boot::ExitCode;
use abi::report::{self, Cause, Ended, Exited, Report};
use std::time::Duration;

fn exited(process: &str, status: i32) -> Report {
    Report::Exited(Exited { process: Name::new(process).expect("a name"), status })
}

fn ended(process: &str) -> Report {
    Report::Ended(Ended { process: Name::new(process).expect("a name"), cause: Cause::Fault })
}

fn the_end(code: ExitCode) -> Report {
    Report::End(report::End { code, busy_ns: 2, idle_ns: 1 })
}

fn record(reports: &[Report], exit: Exit) -> Record {
    let mut record = Record::default();
    reports.iter().for_each(|report| record.push(What::Result(*report)));
    record.push(What::Ended(exit));
    record
}

fn code(code: ExitCode) -> Exit {
    Exit::Code(i32::from(code.of_qemu()))
}

fn end(reports: &[Report], exit: Exit) -> End {
    judge(&record(reports, exit), Some("hello"))
}

fn reason(end: End) -> String {
    match end {
        End::HostTrouble(text) => text,
        other => panic!("{other:?} is no trouble"),
    }
}

fn trouble(reports: &[Report], exit: Exit) -> String {
    reason(end(reports, exit))
}

// row I1
#[test]
fn an_end_needs_the_exit_code_the_result_and_the_end_record() {
    use ExitCode::{BadImage, Failure, KernelPanic, Limit, ServiceFault, Success};
    let cases = [
        (Success, exited("hello", 0), End::Exited(0)),
        (Failure, exited("hello", -3), End::Exited(-3)),
        (ServiceFault, ended("hello"), End::ServiceFault),
        (KernelPanic, Report::Panicked, End::KernelPanic),
        (BadImage, Report::Refused, End::BadImage),
        (Limit, Report::Overran, End::Hang(Hang::Limit)),
    ];
    for (exit, result, expected) in cases.clone() {
        assert_eq!(end(&[result, the_end(exit)], code(exit)), expected);
        assert!(trouble(&[], code(exit)).contains("the kernel reported nothing"));
        assert!(trouble(&[result], code(exit)).contains("have no end record; the last is"));
        assert!(trouble(&[the_end(exit)], code(exit)).contains("reported no result"));
        assert!(trouble(&[the_end(exit), result], code(exit)).contains("isn't the last of its results"));
        assert!(
            trouble(&[result, the_end(exit), the_end(exit)], code(exit)).contains("more than one end record")
        );
        assert!(trouble(&[result, the_end(exit)], Exit::Code(0)).contains("without the machine's doing"));
        assert!(trouble(&[result, the_end(exit)], Exit::Signal(9)).contains("killed by signal 9"));
        // Whatever is not what the exit code says.
        for (other_exit, other_result, _) in cases.iter().filter(|(other, ..)| *other != exit) {
            let text = trouble(&[result, the_end(exit)], code(*other_exit));
            assert!(text.contains("but the kernel's end record"), "{text}");
            let text = trouble(&[*other_result, the_end(exit)], code(exit));
            assert!(text.contains("but the kernel reported: "), "{text}");
        }
    }
}

#[test]
fn a_result_is_that_of_the_process_that_the_machine_ran_for() {
    let text = trouble(&[exited("tty", 0), the_end(ExitCode::Success)], code(ExitCode::Success));
    assert_eq!(
        text,
        "the machine, which ran for \"hello\", ended with \"success\", \
         but the kernel reported: tty exited with status 0"
    );
    assert!(
        trouble(&[ended("tty"), the_end(ExitCode::ServiceFault)], code(ExitCode::ServiceFault))
            .contains("tty was ended by a fault")
    );
    let of_nobody = record(&[exited("hello", 0), the_end(ExitCode::Success)], code(ExitCode::Success));
    assert!(reason(judge(&of_nobody, None)).contains("ran for no program"));
}

#[test]
fn a_status_that_contradicts_the_exit_code_is_trouble() {
    for (status, exit) in [(0, ExitCode::Failure), (1, ExitCode::Success)] {
        assert!(
            trouble(&[exited("hello", status), the_end(exit)], code(exit))
                .contains("but the kernel reported")
        );
    }
}

#[test]
fn a_kernel_may_panic_after_a_result_and_nothing_else_may_follow_one() {
    let panics = [exited("hello", 0), Report::Panicked, the_end(ExitCode::KernelPanic)];
    assert_eq!(end(&panics, code(ExitCode::KernelPanic)), End::KernelPanic);
    let twice = [exited("hello", 1), exited("hello", 0), the_end(ExitCode::Success)];
    assert!(
        trouble(&twice, code(ExitCode::Success)).contains("exited with status 1; hello exited with status 0")
    );
}

#[test]
fn what_is_reported_beside_the_result_decides_nothing() {
    let main = Name::new("hello").expect("a name");
    let named = Report::Named(report::Named { endpoint: abi::Endpoint::at_boot(6), process: main });
    let cost = Report::Cost(report::Cost { process: main, busy_ns: 1, messages: 0, kernel_calls: 0 });
    let success = the_end(ExitCode::Success);
    let reports = [named, Report::Untold, exited("hello", 0), cost, success];
    assert_eq!(end(&reports, code(ExitCode::Success)), End::Exited(0));
    assert!(trouble(&[named, cost, success], code(ExitCode::Success)).contains("reported no result"));
    let behind = trouble(&[exited("hello", 0), success, cost], code(ExitCode::Success));
    assert!(behind.contains("isn't the last"), "{behind}");
}

#[test]
fn results_that_are_damaged_decide_nothing() {
    let damages = [
        Damage::Gap { expected: 1, found: 2 },
        Damage::Bytes { count: 3, start: "abc".into() },
        Damage::NoReport { kind: 9, bytes: 0 },
        Damage::Cut(1),
    ];
    for damage in damages {
        let mut record = Record::default();
        record.push(What::Result(exited("hello", 0)));
        record.push(What::BadResult(damage));
        record.push(What::Result(the_end(ExitCode::Success)));
        record.push(What::Ended(code(ExitCode::Success)));
        assert!(reason(judge(&record, Some("hello"))).contains("the kernel's results are damaged: "));
    }
}

// row I1
#[test]
fn nothing_that_is_printed_or_logged_decides_anything() {
    let mut claims = Record::default();
    claims.push(What::Console("hello exited with status 0".into()));
    claims.add_log(b"I kernel: hello exited with status 0\n");
    let mut forged = claims.clone();
    forged.push(What::Ended(code(ExitCode::Success)));
    assert!(reason(judge(&forged, Some("hello"))).contains("the kernel reported nothing"));
    claims.push(What::Result(exited("hello", 7)));
    claims.push(What::Result(the_end(ExitCode::Failure)));
    claims.push(What::Ended(code(ExitCode::Failure)));
    assert_eq!(judge(&claims, Some("hello")), End::Exited(7));
}

#[test]
fn zero_is_a_triple_fault_or_trouble_and_never_success() {
    let reset = |reports: &[Report]| {
        let mut record = Record::default();
        record.push(What::Reset);
        reports.iter().for_each(|report| record.push(What::Result(*report)));
        record.push(What::Ended(Exit::Code(0)));
        judge(&record, Some("hello"))
    };
    assert_eq!(reset(&[]), End::TripleFault);
    assert_eq!(reset(&[exited("hello", 0)]), End::TripleFault);
    let over = [exited("hello", 0), the_end(ExitCode::Success)];
    assert!(reason(reset(&over)).contains("the machine was reset, though the kernel's last report is"));
    assert!(trouble(&[], Exit::Code(0)).contains("without the machine's doing"));
}

#[test]
fn what_the_kernel_never_asks_for_is_trouble() {
    assert_eq!(trouble(&[], Exit::Code(1)), "QEMU exited with 1, which the kernel never asks for");
    assert_eq!(trouble(&[], Exit::Signal(11)), "QEMU was killed by signal 11");
}

#[test]
fn a_machine_that_was_stopped_hangs_whatever_it_says() {
    let stops = [
        (What::TimedOut(None), Hang::Timeout),
        (What::Idle, Hang::IdleForever),
        (What::Flooded, Hang::EndlessOutput),
    ];
    for (what, hang) in stops {
        let mut stopped = Record::default();
        stopped.push(what);
        stopped.push(What::Result(exited("hello", 0)));
        stopped.push(What::Result(the_end(ExitCode::Success)));
        stopped.push(What::Ended(Exit::Signal(9)));
        assert_eq!(judge(&stopped, Some("hello")), End::Hang(hang));
        // But who was lost meanwhile wasn't stopped.
        stopped.push(What::Trouble("lost".into()));
        assert_eq!(judge(&stopped, Some("hello")), End::HostTrouble("lost".into()));
    }
}

// row I1
#[test]
fn a_slow_host_is_told_from_a_kernel_that_hangs() {
    let seconds = Duration::from_secs;
    let end = |own, idle| {
        let mut record = Record::default();
        record.push(What::TimedOut(own));
        record.push(What::Ended(Exit::Signal(9)));
        let time = GuestTime { limit: Some(seconds(2)), idle: seconds(idle) };
        judge_in_time(&record, Some("hello"), time)
    };
    let slow = "the host was too slow: its time was over, but not that of the machine";
    assert_eq!(end(Some(seconds(4)), 0), End::Hang(Hang::Kernel));
    assert_eq!(end(Some(seconds(1000)), 996), End::Hang(Hang::Kernel));
    assert_eq!(end(Some(seconds(3)), 0), End::HostTrouble(slow.into()));
    assert_eq!(end(Some(seconds(1000)), 997), End::HostTrouble(slow.into()));
    assert_eq!(end(Some(seconds(1)), 5), End::HostTrouble(slow.into()));
    let silent = "the host's time was over, and QEMU doesn't tell the machine's";
    assert_eq!(end(None, 0), End::HostTrouble(silent.into()));
}

#[test]
fn ends_are_declared_as_they_are_reported() {
    let ends = [
        ("exit 0", End::Exited(0)),
        ("exit -7", End::Exited(-7)),
        ("service fault", End::ServiceFault),
        ("kernel panic", End::KernelPanic),
        ("bad image", End::BadImage),
        ("triple fault", End::TripleFault),
        ("hang", End::Hang(Hang::Limit)),
        ("hang", End::Hang(Hang::IdleForever)),
    ];
    for (text, end) in &ends {
        let declared: Ends = text.parse().expect("an end");
        assert_eq!((declared.to_string(), end.to_string()), ((*text).to_owned(), (*text).to_owned()));
        for (other_text, other) in &ends {
            assert_eq!(declared.allow(other), text == other_text, "{text} and {other:?}");
        }
        assert!(!declared.allow(&End::HostTrouble(String::new())));
    }
    for wrong in ["", "exit", "exit x", "Exit 0", "trouble", "exit 99999999999"] {
        assert!(wrong.parse::<Ends>().is_err(), "{wrong}");
    }
}
