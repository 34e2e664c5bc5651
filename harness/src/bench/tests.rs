use super::guest::{Loop, loops};
use super::{Figure, Time, heading, is_wanted};
use crate::observe::{Record, What};
use std::time::Duration;

fn record(lines: &[&str]) -> Record {
    let mut record = Record::default();
    lines.iter().for_each(|line| record.push(What::Console((*line).into())));
    record
}

fn refusal(lines: &[&str]) -> String {
    format!("{:#}", loops(&record(lines)).expect_err("must be refused"))
}

#[test]
fn loops_are_found_between_other_lines() {
    let lines = [
        "hello",
        "bench ipc.notify begin 10",
        "bench ipc.round_trip begin 1000",
        "working",
        "bench ipc.round_trip end 314000",
        "bench ipc.notify end 7",
    ];
    let found: Vec<_> = loops(&record(&lines)).expect("two loops");
    let found: Vec<_> = found.iter().map(|one| (one.name.as_str(), one.turns, one.ticks)).collect();
    assert_eq!(found, [("ipc.round_trip", 1000, 314_000), ("ipc.notify", 10, 7)]);
}

#[test]
fn what_is_no_loop_is_refused() {
    assert!(refusal(&["hello"]).contains("no line that starts with \"bench \""));
    assert!(refusal(&["bench x begin 10"]).contains("the loop x has a begin, but no end"));
    assert!(refusal(&["bench x end 10"]).contains("\"bench x end 10\" has no begin"));
    assert!(refusal(&["bench x begin 0"]).contains("no turns"));
    for line in ["bench x", "bench x begin", "bench x begin -1", "bench x begins 1", "bench x y begin 1"] {
        assert!(refusal(&[line]).contains("is not \"bench NAME begin COUNT\""), "{line}");
    }
}

#[test]
fn instructions_are_exact() {
    let instructions = |turns, ticks| {
        Loop { name: "x".into(), turns, ticks, time: Duration::ZERO }.instructions().to_string()
    };
    assert_eq!(instructions(1000, 314_000), "314");
    assert_eq!(instructions(1000, 314_150), "314.15");
    assert_eq!(instructions(3, 1), "0.33");
    assert_eq!(instructions(1, u64::MAX), "18446744073709551615");
}

#[test]
fn runs_are_summed_up_by_their_median() {
    assert_eq!(Time::of(vec![]), None);
    let time =
        |runs: &[f64]| Time::of(runs.to_vec()).map(|time| (time.median, time.min, time.max, time.runs));
    assert_eq!(time(&[3.0, 1.0, 2.0]), Some((2.0, 1.0, 3.0, 3)));
    assert_eq!(time(&[4.0, 1.0, 2.0, 3.0]), Some((2.5, 1.0, 4.0, 4)));
}

#[test]
fn figures_are_lines() {
    let time = Time::of(vec![1234.56, 1000.0, 2_000_000.0]);
    let both = Figure { name: "ipc.round_trip".into(), instructions: Some(314.into()), time, bytes: None };
    let json =
        r#"{"name":"ipc.round_trip","instructions":314,"ns":1234.6,"runs":3,"min":1000.0,"max":2000000.0}"#;
    assert_eq!(both.to_json(), json);
    assert_eq!(
        format!("{}\n{}", heading(), both.to_row()),
        "name                           instructions       median          min          max  runs\n\
         ipc.round_trip                          314      1.23 µs      1.00 µs      2.00 ms     3"
    );
    let counted = Figure { name: "x".into(), instructions: Some(1.into()), ..Figure::default() };
    assert_eq!(counted.to_json(), r#"{"name":"x","instructions":1}"#);
    let weighed = Figure { name: "y".into(), bytes: Some(3 << 20), ..Figure::default() };
    assert_eq!(weighed.to_json(), r#"{"name":"y","bytes":3145728}"#);
    assert_eq!(weighed.to_row(), "y                                               3072 KiB");
}

#[test]
fn filters_are_parts_of_names() {
    assert!(is_wanted("ipc.round_trip", &[]));
    assert!(is_wanted("ipc.round_trip", &["boot".into(), "ipc".into()]));
    assert!(!is_wanted("ipc.round_trip", &["boot".into()]));
}
