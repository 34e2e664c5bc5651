use super::terminal::{Shown, Terminal};
use super::{Reader, Readers, Style, bundles, details, github, json, junit, latest, repeat, word};
use crate::determinism::{Difference, Repetition};
use crate::machine::Firmware;
use crate::observe::{Channel, Record, What};
use crate::recording::{Recording, Shape};
use crate::run::{How, Outcome, Setup};
use crate::scenario::Scenario;
use crate::snapshot::{Comparison, Facet};
use crate::suite::{News, Skipped};
use crate::verdict::{End, Ends, Hang};
use std::time::Duration;

fn outcome(name: &str, end: End, comparison: Comparison) -> Outcome {
    Outcome {
        name: name.into(),
        declared: Ends::Exited(0),
        end,
        record: Record::default(),
        comparison,
        facets: vec![],
        strayed: None,
        complaints: vec![],
        post_mortem: None,
        repetition: Repetition::NotTried,
        took: Duration::from_millis(93),
        attempt: 1,
        how: How::default(),
        line: None,
        setup: None,
    }
}

fn passed(name: &str) -> Outcome {
    outcome(name, End::Exited(0), Comparison::Same)
}

fn panicked() -> Outcome {
    let mut outcome = outcome("panics", End::ServiceFault, Comparison::NotMade);
    outcome.record.push(What::Console("hello".into()));
    outcome.record.push(What::ConsoleRest("half".into()));
    outcome.record.push(What::Qemu("a warning".into()));
    outcome.record.add_log(b"I kernel: up\nE ds: panic: stacktrace: 0x400123\n");
    outcome.complaints = vec![(
        "ds: panic: stacktrace: 0x400123".into(),
        vec!["0x400123 ds::set at os/servers/ds/src/lib.rs:7".into()],
    )];
    outcome
}

fn ended(outcomes: &[Outcome]) -> News<'_> {
    News::Ended { outcomes, not_run: &[], skipped: &[], took: Duration::from_millis(1500) }
}

fn skipped() -> Skipped {
    Skipped { name: "elsewhere".into(), reason: "it is about QEMU".into() }
}

#[test]
fn what_is_skipped_is_told_with_its_reason() {
    let tell = |reader: &mut dyn Reader| {
        let skipped = [skipped()];
        let outcomes = [passed("a")];
        let took = Duration::from_millis(1500);
        reader.read(&News::Started { tests: 1, jobs: 1 }).expect("a vector takes bytes");
        reader.read(&News::TestSkipped(&skipped[0])).expect("a vector takes bytes");
        reader
            .read(&News::Ended { outcomes: &outcomes, not_run: &[], skipped: &skipped, took })
            .expect("a vector takes bytes");
    };
    let mut out = Vec::new();
    // However little is shown.
    tell(&mut Terminal::new(&mut out, Style::Plain, Shown::Failed));
    let expected = "     Booting 1 machine, 1 at a time
        SKIP [        ] elsewhere: it is about QEMU
     Summary [  1.500s] 1 test run: 1 passed, 0 failed, 1 skipped
";
    assert_eq!(String::from_utf8(out).expect("text"), expected);
    let mut out = Vec::new();
    tell(&mut json::Lines::new(&mut out));
    let out = String::from_utf8(out).expect("text");
    let lines: Vec<serde_json::Value> =
        out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!((&lines[1]["event"], &lines[1]["message"]), (&"ignored".into(), &"it is about QEMU".into()));
    assert_eq!(lines[2]["ignored"], 1);
}

/// Tells a reader of a whole run.
fn tell(mut reader: impl Reader, outcomes: &[Outcome]) -> anyhow::Result<()> {
    reader.read(&News::Started { tests: outcomes.len(), jobs: 2 })?;
    for outcome in outcomes {
        let scenario = Scenario::of_machine(&outcome.name, "", &[]).expect("a machine");
        reader.read(&News::TestStarted(&scenario))?;
        reader.read(&News::TestEnded(outcome))?;
    }
    reader.read(&ended(outcomes))
}

fn report(outcomes: &[Outcome]) -> String {
    let mut out = Vec::new();
    tell(Terminal::new(&mut out, Style::Plain, Shown::All), outcomes).expect("a vector takes bytes");
    String::from_utf8(out).expect("text")
}

#[test]
fn a_report_has_a_line_for_each_test_and_a_summary() {
    let expected = "     Booting 2 machines, 2 at a time
        PASS [  0.093s] a
        PASS [  0.093s] b
     Summary [  1.500s] 2 tests run: 2 passed, 0 failed
";
    assert_eq!(report(&[passed("a"), passed("b")]), expected);
}

#[test]
fn a_run_that_was_ended_early_says_so() {
    let scenario = Scenario::of_machine("c", "", &[]).expect("a machine");
    let mut out = Vec::new();
    let news = News::Ended {
        outcomes: &[passed("a"), passed("b")],
        not_run: &[&scenario],
        skipped: &[],
        took: Duration::from_millis(1500),
    };
    Terminal::new(&mut out, Style::Plain, Shown::All).read(&news).expect("a vector takes bytes");
    let expected = "     Summary [  1.500s] 2/3 tests run: 2 passed, 0 failed
             not run, because a test failed: 1
";
    assert_eq!(String::from_utf8(out).expect("text"), expected);
}

#[test]
fn a_failure_is_told_with_everything_that_explains_it() {
    let expected = r#"     Booting 1 machine, 2 at a time
       FAULT [  0.093s] panics: it must end with "exit 0", but it ended with "service fault"

--- FAULT panics ---
it must end with "exit 0", but it ended with "service fault"
console:
     0.000s hello
     0.000s half [no line end]
log:
  kernel: up
  ds: panic: stacktrace: 0x400123
complaints:
  ds: panic: stacktrace: 0x400123
      0x400123 ds::set at os/servers/ds/src/lib.rs:7
QEMU:
  a warning
repeat: cargo xtask test --exact panics

     Summary [  1.500s] 1 test run: 0 passed, 1 failed
       FAULT cargo xtask test --exact panics
"#;
    assert_eq!(report(&[panicked()]), expected);
}

#[test]
fn a_run_with_failures_tells_where_all_of_it_is() {
    let report = |outcomes: &[Outcome]| {
        let mut out = Vec::new();
        let terminal = Terminal::new(&mut out, Style::Plain, Shown::Failed);
        tell(terminal.with_bundles("failures".as_ref()), outcomes).expect("a vector takes bytes");
        String::from_utf8(out).expect("text")
    };
    assert!(report(&[panicked()]).ends_with("panics\n     Bundles failures/\n"));
    assert!(!report(&[passed("a")]).contains("Bundles"));
}

#[test]
fn a_test_that_passes_at_a_later_try_is_flaky() {
    let mut out = Vec::new();
    let mut terminal = Terminal::new(&mut out, Style::Plain, Shown::Failed);
    let failed = outcome("disk", End::Exited(1), Comparison::NotMade);
    terminal.read(&News::TestRetried(&failed)).expect("a vector takes bytes");
    let flaky = Outcome { attempt: 2, ..passed("disk") };
    terminal.read(&News::TestEnded(&flaky)).expect("a vector takes bytes");
    terminal.read(&ended(&[flaky])).expect("a vector takes bytes");
    let expected = r#"  TRY 1 FAIL [  0.093s] disk: it must end with "exit 0", but it ended with "exit 1"
       FLAKY [  0.093s] disk
     Summary [  1.500s] 1 test run: 1 passed (1 flaky), 0 failed
"#;
    assert_eq!(String::from_utf8(out).expect("text"), expected);
}

#[test]
fn a_changed_snapshot_shows_the_difference_and_how_to_review_it() {
    let changed = outcome("changed", End::Exited(0), Comparison::Different("-old\n+new\n".into()));
    let expected = "it doesn't look as reviewed
snapshot:
  -old
  +new
review: cargo xtask review
repeat: cargo xtask test --exact changed
";
    assert_eq!((word(&changed), details(&changed).as_str()), ("SNAPSHOT", expected));
    let new = outcome("new", End::Exited(0), Comparison::New);
    assert!(details(&new).starts_with("there is no reviewed snapshot yet\n"));
}

// row I4
#[test]
fn each_facet_that_differs_is_told_by_its_name() {
    let facets =
        vec![(Facet::Ipc, Comparison::Different("-old\n+new\n".into())), (Facet::Cost, Comparison::New)];
    let changed = Outcome { facets, ..passed("changed") };
    let expected = "its ipc isn't what was reviewed; there is no reviewed snapshot of its cost yet
snapshot of its ipc:
  -old
  +new
review: cargo xtask review
repeat: cargo xtask test --exact changed
";
    assert_eq!((word(&changed), details(&changed).as_str()), ("SNAPSHOT", expected));
    let strayed = Outcome { strayed: Some(Facet::Ipc), ..outcome("it", End::KernelPanic, Comparison::Same) };
    let why = "while its ipc is reported, it must end with \"exit 0\", but it ended with \"kernel panic\"\n";
    assert_eq!(word(&strayed), "PANIC");
    assert!(details(&strayed).starts_with(why), "{}", details(&strayed));
    let blessed =
        Outcome { facets: vec![(Facet::Cost, Comparison::Accepted("-1\n+2\n".into()))], ..passed("it") };
    let shown = report(&[blessed]);
    assert!(shown.contains("BLESSED it: snapshot of its cost ---\n-1\n+2\n"), "{shown}");
}

#[test]
fn runs_that_differ_show_the_first_event_that_does() {
    let mut differing = passed("differing");
    differing.repetition = Repetition::Different(Box::new(Difference {
        channel: Channel::Console,
        place: 3,
        first: Some(What::Console("17".into())),
        second: None,
    }));
    let expected = "two runs differ at event 3 of the channel \"console\"
two runs differ at event 3 of the channel \"console\":
  first run:  17
  second run: [nothing]
repeat: cargo xtask test --exact differing --check-determinism
";
    assert_eq!((word(&differing), details(&differing).as_str()), ("DIFFERS", expected));
    let canary = Outcome { repetition: Repetition::Blind, ..passed("canary") };
    assert_eq!(word(&canary), "DIFFERS");
    assert!(details(&canary).starts_with("two runs are equal, but it is meant to differ"));
    let fine = Outcome { repetition: Repetition::AsDeclared, ..passed("fine") };
    assert_eq!(word(&fine), "PASS");
}

#[test]
fn what_becomes_the_snapshot_is_shown() {
    let blessed = outcome("changed", End::Exited(0), Comparison::Accepted("-old\n+new\n".into()));
    let expected = "     Booting 1 machine, 2 at a time
     BLESSED [  0.093s] changed

--- BLESSED changed: snapshot ---
-old
+new

     Summary [  1.500s] 1 test run: 1 passed, 0 failed
";
    assert_eq!(report(&[blessed]), expected);
}

#[test]
fn every_end_has_a_word() {
    let word = |end: End| word(&outcome("x", end, Comparison::NotMade));
    assert_eq!(word(End::Exited(1)), "FAIL");
    assert_eq!(word(End::BadImage), "FAIL");
    assert_eq!(word(End::KernelPanic), "PANIC");
    assert_eq!(word(End::TripleFault), "TRIPLE");
    assert_eq!(word(End::Hang(Hang::Limit)), "HANG");
    assert_eq!(word(End::HostTrouble("no disk".into())), "TROUBLE");
}

#[test]
fn long_output_is_shown_from_its_end() {
    let mut chatty = outcome("chatty", End::Exited(1), Comparison::NotMade);
    (0..1000).for_each(|line| chatty.record.push(What::Console(format!("line {line}"))));
    let details = details(&chatty);
    assert!(details.contains("  [800 lines before]\n") && details.contains("line 999"));
    assert!(!details.contains("line 799\n"));
}

/// The report of a run, as JUnit's readers see it.
fn junit(news: &[News<'_>]) -> (String, quick_junit::TestSuite) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("new/junit.xml");
    let mut file = junit::File::new(path.clone());
    news.iter().try_for_each(|news| file.read(news)).expect("a file");
    let xml = std::fs::read_to_string(path).expect("the file");
    let mut report = quick_junit::Report::deserialize_from_str(&xml).expect("JUnit");
    (xml, report.test_suites.remove(0))
}

#[test]
fn junit_tells_failures_from_trouble() {
    let trouble = outcome("trouble", End::HostTrouble("no disk \u{1b}[1m".into()), Comparison::NotMade);
    let outcomes = [passed("a"), panicked(), trouble];
    let skipped = [skipped()];
    let took = Duration::from_millis(1500);
    let (xml, suite) = junit(&[News::Ended { outcomes: &outcomes, not_run: &[], skipped: &skipped, took }]);
    assert_eq!((suite.tests, suite.failures, suite.errors, suite.skipped), (4, 1, 1, 1), "{xml}");
    assert!(xml.contains(r#"<testcase name="a" classname="guest" time="0.093""#), "{xml}");
    assert!(
        xml.contains(r#"type="FAULT""#) && xml.contains("ds::set at os/servers/ds/src/lib.rs:7"),
        "{xml}"
    );
    assert!(xml.contains("it is about QEMU"), "{xml}");
    assert!(!xml.contains('\u{1b}'), "{xml}");
}

#[test]
fn junit_tells_of_each_attempt() {
    use quick_junit::TestCaseStatus::{NonSuccess, Success};
    let failed = |name: &str, attempt| Outcome {
        attempt,
        ..outcome(name, End::Exited(attempt.cast_signed()), Comparison::NotMade)
    };
    let (flaky, hopeless) = (failed("flaky", 1), failed("hopeless", 1));
    let outcomes = [Outcome { attempt: 2, ..passed("flaky") }, failed("hopeless", 2)];
    let (xml, suite) = junit(&[News::TestRetried(&flaky), News::TestRetried(&hopeless), ended(&outcomes)]);
    assert_eq!((suite.tests, suite.failures), (2, 1), "{xml}");
    let messages = |runs: &[quick_junit::TestRerun]| {
        runs.iter().map(|run| run.message.as_ref().expect("a reason").as_str().to_owned()).collect::<Vec<_>>()
    };
    let reason = |status| format!(r#"it must end with "exit 0", but it ended with "exit {status}""#);
    match (&suite.test_cases[0].status, &suite.test_cases[1].status) {
        (Success { flaky_runs }, NonSuccess { message, reruns, .. }) => {
            assert_eq!(messages(flaky_runs), [reason(1)]);
            assert_eq!(message.as_ref().map(|message| message.as_str()), Some(reason(1).as_str()));
            assert_eq!(messages(&reruns.runs), [reason(2)]);
        }
        others => panic!("{others:?}"),
    }
    assert!(xml.contains("<flakyFailure") && xml.contains("<rerunFailure"), "{xml}");
}

#[test]
fn colours_are_only_where_they_are_wanted() {
    assert_eq!(Style::Plain.good("PASS"), "PASS");
    assert_eq!(Style::Coloured.bad("FAIL"), "\x1b[1;31mFAIL\x1b[0m");
}

/// The names of the files of a directory.
fn files(directory: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).expect("a directory").flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().into_string().expect("a name")).collect();
    names.sort();
    names
}

#[test]
fn failed_tests_leave_a_bundle_each() {
    let parent = tempfile::tempdir().expect("a directory");
    let path = parent.path().join("failures");
    let write = |outcomes: &[Outcome]| tell(bundles::Bundles { path: path.clone() }, outcomes);
    let mut panicked = panicked();
    panicked.setup = Some(Setup {
        command: ["qemu", "-append", "a=b it's", "-kernel", "kernel"].map(Into::into).to_vec(),
        kernel: b"kernel".to_vec(),
        image: Some(b"abc".to_vec()),
        programs: vec![],
        recording: Err("it was not recorded".into()),
    });
    let trouble = outcome("trouble", End::HostTrouble("no disk".into()), Comparison::NotMade);
    write(&[passed("a"), panicked, trouble]).expect("files");
    assert_eq!(files(&path), ["panics", "trouble"]);
    let common = ["bundle.json", "console.txt", "events.jsonl", "log.txt", "report.txt", "results.txt"];
    assert_eq!(files(&path.join("trouble")), common);
    let read = |name: &str| std::fs::read_to_string(path.join("panics").join(name)).expect("a file");
    assert_eq!(read("console.txt"), "hello\nhalf [no line end]\n");
    assert_eq!(read("events.jsonl").lines().count(), 5);
    assert_eq!((read("kernel").as_str(), read("boot.img").as_str()), ("kernel", "abc"));
    let script = read("run.sh");
    assert!(script.ends_with("&& exec qemu -append 'a=b it'\\''s' -kernel kernel\n"), "{script}");
    let bundle: serde_json::Value = serde_json::from_str(&read("bundle.json")).expect("JSON");
    // A published value of the hash.
    assert_eq!(bundle["image"], serde_json::json!({ "xxh64": "44bc2cf5ad770999", "bytes": 3 }));
    assert_eq!(bundle["repeat"], "cargo xtask test --exact panics");
    write(&[passed("a"), passed("panics")]).expect("nothing to write");
    assert_eq!(files(&path), ["trouble"], "a test that is run again has only its last bundle");
    write(&[passed("trouble")]).expect("nothing to write");
    assert!(!path.exists(), "where nothing has failed there is nothing");
}

#[test]
fn tests_that_passed_and_were_recorded_leave_a_record_each() {
    let recorded = |name: &str, recording| {
        let setup = Setup { command: vec![], kernel: vec![1], image: None, programs: vec![], recording };
        Outcome { setup: Some(setup), ..passed(name) }
    };
    let machine = Shape { memory_mib: 64, firmware: Firmware::Qboot, command_line: String::new() };
    let good = Recording { log: vec![1], disk: vec![2], machine, difference: None };
    let outcomes = [recorded("a", Ok(good)), recorded("b", Err("time is the host's".into())), passed("c")];
    let parent = tempfile::tempdir().expect("a directory");
    let path = parent.path().join("records");
    tell(bundles::Records { path: path.clone() }, &outcomes).expect("files");
    assert_eq!(files(&path), ["a"]);
    let bundle = std::fs::read_to_string(path.join("a/bundle.json")).expect("a file");
    let bundle: serde_json::Value = serde_json::from_str(&bundle).expect("JSON");
    assert_eq!(bundle["reason"], serde_json::json!("it passed"));
    assert_eq!(bundle["record"]["disk"]["bytes"], serde_json::json!(1));
    let mut out = Vec::new();
    let terminal = Terminal::new(&mut out, Style::Plain, Shown::Failed).with_records("records".as_ref());
    tell(terminal, &outcomes).expect("a vector takes bytes");
    let out = String::from_utf8(out).expect("text");
    assert!(out.contains("\n      Record b has none: time is the host's\n"), "{out}");
    assert!(out.ends_with("\n     Records records/ has 1: cargo xtask replay NAME\n"), "{out}");
}

#[test]
fn a_test_is_repeated_as_it_was_run() {
    let [limit, timeout] = [250, 1500].map(|ms| Some(Duration::from_millis(ms)));
    let slow = Outcome { how: How { limit, timeout, ..How::default() }, ..panicked() };
    assert_eq!(repeat(&slow), "cargo xtask test --exact panics --limit 0.25 --timeout 1.5");
}

#[test]
fn a_reader_that_fails_keeps_nobody_from_reading() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("new/junit.xml");
    let mut readers = Readers::default();
    // A directory can't be written as a file.
    readers.add(junit::File::new(directory.path().into()));
    readers.add(junit::File::new(path.clone()));
    readers.tell(&ended(&[passed("a")]));
    let error = readers.end().expect_err("the first can't write");
    assert!(error.to_string().contains("failed to write"), "{error}");
    assert!(std::fs::read_to_string(path).expect("the second can").contains("testcase"));
}

#[test]
fn what_is_still_to_pass_is_remembered() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("latest-run");
    assert_eq!(latest::read(&path).expect("no file"), None);
    let write = |outcomes: &[Outcome], left_out: &[&str]| {
        let left_out = left_out.iter().map(|name| (*name).to_owned()).collect();
        tell(latest::File { path: path.clone(), left_out }, outcomes).expect("a file");
        latest::read(&path).expect("the file").expect("a run")
    };
    assert_eq!(write(&[passed("a"), panicked()], &["other"]), ["other", "panics"]);
    assert_eq!(write(&[passed("a")], &[]), [""; 0]);
    let scenario = Scenario::of_machine("c", "", &[]).expect("a machine");
    let news =
        News::Ended { outcomes: &[panicked()], not_run: &[&scenario], skipped: &[], took: Duration::ZERO };
    latest::File { path: path.clone(), left_out: vec![] }.read(&news).expect("a file");
    assert_eq!(latest::read(&path).expect("the file").expect("a run"), ["c", "panics"]);
}

#[test]
fn a_terse_report_has_lines_for_failures_only() {
    let mut out = Vec::new();
    tell(Terminal::new(&mut out, Style::Plain, Shown::Failed), &[passed("a"), passed("b")])
        .expect("a vector");
    let text = String::from_utf8(out).expect("text");
    let expected = "     Booting 2 machines, 2 at a time
     Summary [  1.500s] 2 tests run: 2 passed, 0 failed
";
    assert_eq!(text, expected);
}

#[test]
fn a_report_names_the_line_that_tests_run_over() {
    let mut out = Vec::new();
    let terminal = Terminal::new(&mut out, Style::Plain, Shown::All);
    tell(terminal.over("/dev/ttyS0".as_ref()), &[passed("a")]).expect("a vector");
    let text = String::from_utf8(out).expect("text");
    assert_eq!(text.lines().next(), Some("     Running 1 test on the machine at /dev/ttyS0"));
}

fn json(outcomes: &[Outcome]) -> Vec<serde_json::Value> {
    let mut out = Vec::new();
    tell(json::Lines::new(&mut out), outcomes).expect("a vector takes bytes");
    let text = String::from_utf8(out).expect("text");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn json_lines_are_libtests_with_the_machines_events_between_them() {
    let lines = json(&[passed("a"), panicked()]);
    let kinds: Vec<String> = lines
        .iter()
        .map(|line| {
            format!("{} {}", line["type"].as_str().expect("text"), line["event"].as_str().expect("text"))
        })
        .collect();
    let expected = [
        "suite started",
        "test started",
        "test ok",
        "test started",
        "machine console",
        "machine console_rest",
        "machine qemu",
        "machine log",
        "machine log",
        "test failed",
        "suite failed",
    ];
    assert_eq!(kinds, expected);
    assert_eq!(lines[0]["test_count"], 2);
    let console = serde_json::json!({
        "type": "machine", "name": "panics", "at": 0.0, "event": "console", "value": "hello",
    });
    assert_eq!(lines[4], console);
    let log = serde_json::json!({ "level": "error", "process": "ds", "text": "panic: stacktrace: 0x400123" });
    assert_eq!(lines[8]["value"], log);
    assert_eq!((&lines[9]["verdict"], &lines[9]["end"]), (&"FAULT".into(), &"service fault".into()));
    assert_eq!(lines[9]["repeat"], "cargo xtask test --exact panics");
    assert_eq!((&lines[10]["passed"], &lines[10]["failed"]), (&1.into(), &1.into()));
}

#[test]
fn a_workflow_shows_what_failed_and_how_to_repeat_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("summary.md");
    std::fs::write(&path, "of another step\n").expect("a file");
    let mut forging = outcome("forging", End::HostTrouble("<b>".into()), Comparison::NotMade);
    forging.record.push(What::Console("```` </details>".into()));
    tell(github::Summary { path: path.clone() }, &[passed("a"), forging]).expect("a file");
    let expected = "of another step
### Guest tests: 1 passed, 1 failed, 0 not run, in 1.5 s

<details><summary>TROUBLE <code>forging</code>: it must end with \"exit 0\", but it ended with \"trouble: &lt;b&gt;\"</summary>

`````text
it must end with \"exit 0\", but it ended with \"trouble: <b>\"
console:
     0.000s ```` </details>
repeat: cargo xtask test --exact forging
`````

</details>

`cargo xtask test --exact forging`

";
    assert_eq!(std::fs::read_to_string(&path).expect("text"), expected);
}

#[test]
fn a_workflow_is_not_given_more_than_it_takes() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("summary.md");
    let endless = || {
        let mut outcome = outcome("endless", End::Exited(1), Comparison::NotMade);
        outcome.record.push(What::Console("ü".repeat(1 << 20)));
        outcome
    };
    let outcomes: Vec<Outcome> = std::iter::repeat_with(endless).take(30).collect();
    tell(github::Summary { path: path.clone() }, &outcomes).expect("a file");
    let text = std::fs::read_to_string(&path).expect("text");
    assert!(text.len() < 1 << 20, "{} bytes", text.len());
    assert!(text.ends_with("5 more failed.\n"));
}
