use super::{End, Ends, GuestTime, Hang, judge, judge_in_time};

use crate::machine::Exit;
use crate::observe::{Record, What};
use abi::boot::ExitCode;
use std::time::Duration;

fn record(log: &str, exit: Exit) -> Record {
    let mut record = Record::default();
    record.add_log(log.as_bytes());
    record.push(What::Ended(exit));
    record
}

fn code(code: ExitCode) -> Exit {
    Exit::Code(i32::from(code.of_qemu()))
}

fn end(log: &str, exit: Exit) -> End {
    judge(&record(log, exit), Some("hello"))
}

fn trouble(log: &str, exit: Exit) -> String {
    match end(log, exit) {
        End::HostTrouble(text) => text,
        other => panic!("{other:?} is no trouble"),
    }
}

#[test]
fn an_exit_needs_the_log_and_the_code() {
    let log = "I kernel: 64 MiB of memory\nI kernel: hello exited with status 0\n";
    assert_eq!(end(log, code(ExitCode::Success)), End::Exited(0));
    assert_eq!(end("I kernel: hello exited with status -3\n", code(ExitCode::Failure)), End::Exited(-3));
}

#[test]
fn an_exit_that_only_one_witness_saw_is_trouble() {
    assert!(trouble("", code(ExitCode::Success)).contains("log is empty"));
    assert!(trouble("I kernel: started\n", code(ExitCode::Success)).contains("doesn't end with"));
    let log = "I kernel: hello exited with status 1\n";
    assert!(trouble(log, code(ExitCode::Success)).contains("disagree"));
    let log = "I kernel: hello exited with status 0\n";
    assert!(trouble(log, code(ExitCode::Failure)).contains("disagree"));
    // Something came behind the line, so it was not the end.
    let log = "I kernel: hello exited with status 0\nI tty: more\n";
    assert!(trouble(log, code(ExitCode::Success)).contains("doesn't end with"));
}

#[test]
fn nobody_but_the_kernel_can_say_that_a_process_exited() {
    assert!(
        trouble("I hello: hello exited with status 0\n", code(ExitCode::Success))
            .contains("doesn't end with")
    );
    assert!(
        trouble("I kernel: other exited with status 0\n", code(ExitCode::Success))
            .contains("doesn't end with")
    );
    assert!(
        trouble("I kernel: hello exited with status 0x\n", code(ExitCode::Success)).contains("doesn't end")
    );
}

#[test]
fn the_kernels_other_ends_are_exit_codes() {
    assert_eq!(end("", code(ExitCode::KernelPanic)), End::KernelPanic);
    assert_eq!(end("", code(ExitCode::ServiceFault)), End::ServiceFault);
    assert_eq!(end("", code(ExitCode::BadImage)), End::BadImage);
}

#[test]
fn zero_is_a_triple_fault_or_trouble_and_never_success() {
    let mut reset = Record::default();
    reset.push(What::Reset);
    reset.push(What::Ended(Exit::Code(0)));
    assert_eq!(judge(&reset, Some("hello")), End::TripleFault);
    let log = "I kernel: hello exited with status 0\n";
    assert!(trouble(log, Exit::Code(0)).contains("without the machine's doing"));
}

#[test]
fn what_the_kernel_never_asks_for_is_trouble() {
    assert_eq!(trouble("", Exit::Code(1)), "QEMU exited with 1, which the kernel never asks for");
    assert_eq!(trouble("", Exit::Signal(11)), "QEMU was killed by signal 11");
}

#[test]
fn a_machine_that_was_stopped_hangs_whatever_it_says() {
    let stops = [
        (What::TimedOut(None), Hang::Limit),
        (What::Idle, Hang::IdleForever),
        (What::Flooded, Hang::EndlessOutput),
    ];
    for (what, hang) in stops {
        let mut stopped = Record::default();
        stopped.push(what);
        stopped.add_log(b"I kernel: hello exited with status 0\n");
        stopped.push(What::Ended(Exit::Signal(9)));
        assert_eq!(judge(&stopped, Some("hello")), End::Hang(hang));
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
