use super::{Difference, first_difference};
use crate::machine::Exit;
use crate::observe::{Channel, Record, What};
use std::time::Duration;

fn record(events: &[What]) -> Record {
    let mut record = Record::default();
    events.iter().for_each(|what| record.push(what.clone()));
    record
}

fn console(text: &str) -> What {
    What::Console(text.into())
}

fn difference(first: &[What], second: &[What]) -> Option<Difference> {
    first_difference(&record(first), &record(second))
}

const END: What = What::Ended(Exit::Code(33));

#[test]
fn the_first_event_that_differs_is_found() {
    let found = difference(&[console("a"), console("b"), END], &[console("a"), console("c"), END]);
    let found = found.expect("a difference");
    assert_eq!(found.to_string(), "two runs differ at event 2 of the channel \"console\"");
    assert_eq!(found.lines(), ["first run:  b", "second run: c"]);
    let longer = difference(&[console("a"), END], &[console("a"), console("b"), END]).expect("a difference");
    assert_eq!(longer.lines(), ["first run:  [nothing]", "second run: b"]);
    let end = difference(&[END], &[What::Ended(Exit::Code(35))]).expect("a difference");
    assert_eq!((end.channel, end.place), (Channel::Machine, 1));
}

#[test]
fn what_snapshots_do_not_show_counts_too() {
    let run = |number| {
        let mut run = Record::default();
        run.add_log(format!("I kernel: up\nI kernel: {number} KiB of memory are free\n").as_bytes());
        run
    };
    assert_eq!(first_difference(&run(1), &run(1)), None);
    let found = first_difference(&run(1), &run(2)).expect("a difference");
    assert_eq!((found.channel, found.place), (Channel::Log, 2));
}

#[test]
fn what_the_host_decides_does_not_count() {
    // The order between channels is a matter of our threads, and QEMU's words are its own.
    let mut first = record(&[console("a"), What::Qemu("a warning".into())]);
    first.add_log(b"I kernel: up\n");
    let mut second = Record::default();
    second.add_log(b"I kernel: up\n");
    second.push(console("a"));
    assert_eq!(first_difference(&first, &second), None);
}

#[test]
fn a_machine_that_was_stopped_is_compared_as_far_as_both_got() {
    let run = |lines: usize, rest: &str| {
        let mut run = Record::default();
        (0..lines).for_each(|number| run.push(console(&number.to_string())));
        run.push(What::ConsoleRest(rest.into()));
        run.push(What::TimedOut(Some(Duration::from_secs(lines as u64))));
        run.add_log("I tty: again\n".repeat(lines).as_bytes());
        run.push(What::Ended(Exit::Signal(9)));
        run
    };
    assert_eq!(first_difference(&run(10, "1"), &run(12, "12")), None);
    let mut other = run(12, "");
    other.push(What::Trouble("no disk".into()));
    let found = first_difference(&run(10, ""), &other).expect("a difference");
    assert_eq!(found.channel, Channel::Machine);
    let other = record(&[
        console("0"),
        console("2"),
        What::TimedOut(Some(Duration::from_secs(3))),
        What::Ended(Exit::Signal(9)),
    ]);
    let found = first_difference(&run(10, ""), &other).expect("a difference");
    assert_eq!((found.channel, found.place), (Channel::Console, 2));
}
