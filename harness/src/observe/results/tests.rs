use super::{SHOWN_BYTES, read};
use crate::observe::{Event, Record, What};
use abi::Name;
use abi::boot::ExitCode;
use abi::report::{Cause, End, Ended, Exited, Report};
use std::time::Duration;
use wire::{Kind, Writer};

fn main() -> Name {
    Name::new("main").expect("a name")
}

fn reports() -> [Report; 6] {
    [
        Report::Exited(Exited { process: main(), status: -7 }),
        Report::Ended(Ended { process: main(), cause: Cause::Signal }),
        Report::Panicked,
        Report::Refused,
        Report::Overran,
        Report::End(End { code: ExitCode::Success, busy_ns: 1234, idle_ns: 56 }),
    ]
}

/// A line with these reports, numbered as told.
fn line(numbered: &[(u32, Report)]) -> Vec<u8> {
    let mut line = vec![];
    for (number, report) in numbered {
        let mut payload = [0; Report::PAYLOAD_LIMIT];
        let (kind, payload) = report.put(&mut payload);
        Writer::from(0, *number).record(Kind(kind), payload, &mut |byte| line.push(byte)).expect("it fits");
    }
    line
}

fn texts(bytes: &[u8], cut: u64) -> Vec<String> {
    let mut texts = vec![];
    read(bytes, cut, &mut |what| texts.push(what.to_string()));
    texts
}

#[test]
fn reports_are_events() {
    let numbered: Vec<(u32, Report)> = (0..).zip(reports()).collect();
    let mut record = Record::default();
    record.add_results(&line(&numbered), 0);
    assert!(record.reports().eq(&reports()));
    let texts: Vec<String> = record.events().iter().map(|event| event.what.to_string()).collect();
    assert_eq!(
        texts,
        [
            "main exited with status -7",
            "main was ended by a signal",
            "the kernel panicked",
            "the kernel refused what it was started with",
            "the machine was busy for longer than it may be",
            "the end: success, 1234 ns busy, 56 ns idle",
        ]
    );
}

#[test]
fn what_is_no_report_or_is_missing_is_an_event_of_its_own() {
    let [exited, _, panicked, refused, _, end] = reports();
    assert_eq!(
        texts(&line(&[(0, exited), (2, end)]), 0)[1..],
        ["record 2 where record 1 is due", "the end: success, 1234 ns busy, 56 ns idle",]
    );
    // The first is missing; one comes twice.
    assert_eq!(
        texts(&line(&[(1, panicked), (1, refused)]), 9),
        [
            "record 1 where record 0 is due",
            "the kernel panicked",
            "record 1 where record 2 is due",
            "the kernel refused what it was started with",
            "9 more bytes, which were not kept",
        ]
    );
    let mut other = vec![];
    Writer::new(0).record(Kind(9), b"abc", &mut |byte| other.push(byte)).expect("it fits");
    assert_eq!(texts(&other, 0), ["a record that is no report: kind 9, 3 bytes"]);
}

#[test]
fn bytes_that_are_no_record_are_shown_where_they_are() {
    let [exited, .., end] = reports();
    let whole = line(&[(0, exited), (1, end)]);
    let first = line(&[(0, exited)]).len();
    let noisy = [&b"\x1b[2J"[..], &whole[..first], b"\x1eT", &whole[first..], b"!"].concat();
    assert_eq!(
        texts(&noisy, 0),
        [
            "4 bytes that are no record: \"\\u{1b}[2J\"",
            "main exited with status -7",
            "2 bytes that are no record: \"\\u{1e}T\"",
            "the end: success, 1234 ns busy, 56 ns idle",
            "1 bytes that are no record: \"!\"",
        ]
    );
    // A bit that is wrong takes the record away, and its number is missed.
    let mut damaged = whole.clone();
    damaged[first / 2] ^= 1;
    let seen = texts(&damaged, 0);
    assert!(seen[0].starts_with(&format!("{first} bytes that are no record: ")), "{seen:?}");
    assert_eq!(seen[1..], ["record 1 where record 0 is due", "the end: success, 1234 ns busy, 56 ns idle"]);
    let much = texts(&[b'x'; 1000], 0);
    assert_eq!(much, [format!("1000 bytes that are no record: \"{}\"", "x".repeat(SHOWN_BYTES))]);
}

#[test]
fn reports_are_json() {
    let json = |what| {
        let event = Event { at: Duration::ZERO, what };
        serde_json::to_value(event).expect("an event is JSON")["value"].to_string()
    };
    let texts: Vec<String> = reports().into_iter().map(|report| json(What::Result(report))).collect();
    assert_eq!(
        texts,
        [
            r#"{"exited":{"process":"main","status":-7}}"#,
            r#"{"ended":{"cause":"signal","process":"main"}}"#,
            r#""panicked""#,
            r#""refused""#,
            r#""overran""#,
            r#"{"end":{"busy_ns":1234,"code":"success","idle_ns":56}}"#,
        ]
    );
    read(b"x", 0, &mut |what| assert_eq!(json(what), r#"{"bytes":{"count":1,"start":"x"}}"#));
}
