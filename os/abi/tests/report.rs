//! The reports of a run: what was written is read, and nothing else.

use abi::boot::ExitCode;
use abi::report::{Cause, End, Ended, Exited, Report};
use abi::{Name, Wire};

fn reports() -> Vec<Report> {
    let process = Name::new("main").expect("a name");
    let causes = [Cause::Panic, Cause::Fault, Cause::Signal, Cause::Manager];
    let mut reports = vec![
        Report::Exited(Exited { process, status: -7 }),
        Report::Panicked,
        Report::Refused,
        Report::Overran,
        Report::End(End { code: ExitCode::BadImage, busy_ns: u64::MAX, idle_ns: 1 << 40 }),
    ];
    reports.extend(causes.map(|cause| Report::Ended(Ended { process, cause })));
    reports
}

#[test]
fn what_was_reported_is_read() {
    for report in reports() {
        let mut payload = [0xee; Report::PAYLOAD_LIMIT];
        let (kind, payload) = report.put(&mut payload);
        assert_eq!(Report::get(kind, payload), Some(report));
    }
}

#[test]
fn payloads_of_another_kind_or_length_are_none() {
    for report in reports() {
        let mut payload = [0; Report::PAYLOAD_LIMIT];
        let (kind, payload) = report.put(&mut payload);
        for length in 0..payload.len() {
            assert_eq!(Report::get(kind, &payload[..length]), None, "{report:?}");
        }
        assert_eq!(Report::get(kind, &[payload, &[0]].concat()), None, "{report:?}");
        for other in (0..=u8::MAX).filter(|other| *other != kind) {
            let read = Report::get(other, payload);
            // A kernel that panicked and one that refused have nothing more to say.
            assert!(read.is_none() || payload.is_empty(), "{report:?} is read as {read:?}");
        }
    }
}

#[test]
fn what_is_no_value_of_its_type_is_none() {
    let nameless = [0; Exited::SIZE];
    let mut end = [0; End::SIZE];
    let causeless = [&[b'x'][..], &[0; Name::SIZE - 1], &[9]].concat();
    assert_eq!([Report::get(1, &nameless), Report::get(2, &causeless), Report::get(5, &end)], [None; 3]);
    end[0] = 0x10;
    assert!(Report::get(5, &end).is_some());
}
