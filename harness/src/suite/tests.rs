use super::{AtFailure, News, Options, schedule};
use crate::determinism::Repetition;
use crate::observe::Record;
use crate::run::{How, Outcome, Recorded, Runs, Verdict};
use crate::scenario::Scenario;
use crate::snapshot::Comparison;
use crate::verdict::{End, Ends};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

fn scenarios(names: &[&str]) -> Vec<Scenario> {
    let scenario = |name: &&str| Scenario::of_machine(name, "", &[]).expect("a machine without a program");
    names.iter().map(scenario).collect()
}

fn outcome(scenario: &Scenario, end: End) -> Outcome {
    Outcome {
        name: scenario.name.clone(),
        declared: Ends::Exited(0),
        end,
        record: Record::default(),
        comparison: Comparison::Same,
        facets: vec![],
        strayed: None,
        complaints: vec![],
        post_mortem: None,
        repetition: Repetition::NotTried,
        took: Duration::ZERO,
        attempt: 1,
        how: How::default(),
        line: None,
        setup: None,
    }
}

fn text(news: &News<'_>) -> String {
    match news {
        News::Started { tests, jobs } => format!("{tests} tests, {jobs} at a time"),
        News::TestSkipped(skipped) => format!("{} is skipped: {}", skipped.name, skipped.reason),
        News::TestStarted(scenario) => format!("{} starts", scenario.name),
        News::TestRetried(outcome) => format!("{} failed at try {}", outcome.name, outcome.attempt),
        News::TestEnded(outcome) => format!("{} ends", outcome.name),
        News::Ended { outcomes, not_run, .. } => {
            format!("{} outcomes, {} not run", outcomes.len(), not_run.len())
        }
    }
}

const OPTIONS: Options = Options {
    jobs: 1,
    how: How { limit: None, timeout: None, runs: Runs::Once, recorded: Recorded::Failures },
    retries: 0,
    at_failure: AtFailure::GoOn,
};

#[test]
fn a_run_is_told_from_its_start_to_its_end() {
    let mut told = Vec::new();
    let passes = |scenario: &Scenario| outcome(scenario, End::Exited(0));
    schedule(&scenarios(&["a", "b"]), &[], OPTIONS, passes, |news| told.push(text(news)));
    assert_eq!(
        told,
        ["2 tests, 1 at a time", "a starts", "a ends", "b starts", "b ends", "2 outcomes, 0 not run"]
    );
}

#[test]
fn outcomes_come_back_in_order_however_long_each_takes() {
    let names = ["a", "b", "c", "d", "e", "f"];
    let slow_first = |scenario: &Scenario| {
        if scenario.name == "a" {
            std::thread::sleep(Duration::from_millis(50));
        }
        outcome(scenario, End::Exited(0))
    };
    let options = Options { jobs: 3, ..OPTIONS };
    let mut ended = Vec::new();
    let outcomes = schedule(&scenarios(&names), &[], options, slow_first, |news| {
        if let News::TestEnded(outcome) = news {
            ended.push(outcome.name.clone());
        }
    });
    assert_eq!(outcomes.iter().map(|outcome| outcome.name.as_str()).collect::<Vec<_>>(), names);
    assert_ne!(ended.first().map(String::as_str), Some("a"), "the reader is told as soon as it happens");
}

#[test]
fn there_are_no_more_jobs_than_tests() {
    let mut first = None;
    let passes = |scenario: &Scenario| outcome(scenario, End::Exited(0));
    schedule(&scenarios(&["a"]), &[], Options { jobs: 8, ..OPTIONS }, passes, |news| {
        first.get_or_insert(text(news));
    });
    assert_eq!(first.as_deref(), Some("1 tests, 1 at a time"));
}

#[test]
fn a_failure_ends_the_run_if_that_is_wanted() {
    let names = ["a", "b", "c", "d"];
    let b_fails = |scenario: &Scenario| outcome(scenario, End::Exited(i32::from(scenario.name == "b")));
    let run = |at_failure| {
        let mut last = String::new();
        let options = Options { at_failure, ..OPTIONS };
        let outcomes = schedule(&scenarios(&names), &[], options, b_fails, |news| last = text(news));
        (outcomes.len(), last)
    };
    assert_eq!(run(AtFailure::Stop), (2, "2 outcomes, 2 not run".into()));
    assert_eq!(run(AtFailure::GoOn), (4, "4 outcomes, 0 not run".into()));
}

#[test]
fn only_a_test_that_says_why_its_runs_may_differ_is_tried_again() {
    let mut scenarios = scenarios(&["fails", "flaky", "broken"]);
    scenarios[1].nondeterministic = Some("a disk".into());
    scenarios[2].nondeterministic = Some("a network".into());
    let tries = AtomicU32::new(0);
    let test = |scenario: &Scenario| {
        let is_third = || tries.fetch_add(1, Ordering::Relaxed) == 2;
        let passes = scenario.name == "flaky" && is_third();
        outcome(scenario, End::Exited(i32::from(!passes)))
    };
    let mut told = Vec::new();
    let outcomes =
        schedule(&scenarios, &[], Options { retries: 2, ..OPTIONS }, test, |news| told.push(text(news)));
    let told: Vec<&str> = told.iter().map(String::as_str).filter(|text| text.contains("failed")).collect();
    let expected = [
        "flaky failed at try 1",
        "flaky failed at try 2",
        "broken failed at try 1",
        "broken failed at try 2",
    ];
    assert_eq!(told, expected);
    let ends: Vec<_> = outcomes.iter().map(|outcome| (outcome.verdict(), outcome.attempt)).collect();
    assert_eq!(ends, [(Verdict::WrongEnd, 1), (Verdict::Passed, 3), (Verdict::WrongEnd, 3)]);
}

#[test]
fn what_a_machine_at_a_line_cannot_run_is_skipped_and_told() {
    let scenario = |name, text| Scenario::of_machine(name, text, &[]).expect("a machine");
    let all = vec![
        scenario("bare", "bare = [244]"),
        scenario("large", "memory_mib = 256"),
        scenario("other_firmware", "firmware = \"seabios\""),
        scenario("plain", ""),
        scenario("says_so", "needs_qemu = \"it is about QEMU\""),
    ];
    let (left, skipped) = super::for_line(all);
    let mut told = Vec::new();
    let passes = |scenario: &Scenario| outcome(scenario, End::Exited(0));
    schedule(&left, &skipped, OPTIONS, passes, |news| told.push(text(news)));
    let expected = [
        "1 tests, 1 at a time",
        "bare is skipped: it runs machine code in place of the kernel",
        "large is skipped: it is about a machine with 256 MiB of memory",
        "other_firmware is skipped: it is about another firmware than the machine may have",
        "says_so is skipped: it is about QEMU",
        "plain starts",
        "plain ends",
        "1 outcomes, 0 not run",
    ];
    assert_eq!(told, expected);
}
