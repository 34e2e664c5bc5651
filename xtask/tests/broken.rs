//! Machines that are broken on purpose, and what is reported of each: a test that fails must be
//! told from one that passes, whatever goes wrong, and its report must say what did.
//!
//! A script plays QEMU, so that this takes no QEMU and next to no time. The snapshots hold the
//! whole report. The guests that are broken for real are in `fixtures`.

mod fake;

use abi::boot::ExitCode;
use abi::report::{Cause, Ended, Report};
use fake::{Fake, MAIN, done, end, exited, records, report as reports, write};
use harness::determinism::Repetition;
use harness::observe::Record;
use harness::report::{details, word};
use harness::run::{How, Outcome, Verdict};
use harness::snapshot::Comparison;
use harness::verdict::{Ends, judge};
use std::time::Duration;

/// What is reported of a machine whose test must end with `exit 0`.
fn report(record: Record) -> String {
    let outcome = Outcome {
        name: "broken".into(),
        declared: Ends::Exited(0),
        end: judge(&record, Some("main")),
        complaints: record.complaints().map(|line| (line.to_string(), vec![])).collect(),
        post_mortem: record.dump.as_ref().and_then(|dump| dump.as_ref().err().cloned()).map(Err),
        record,
        comparison: Comparison::Same,
        facets: vec![],
        strayed: None,
        repetition: Repetition::NotTried,
        took: Duration::ZERO,
        attempt: 1,
        how: How::default(),
        setup: None,
        line: None,
    };
    assert_ne!(outcome.verdict(), Verdict::Passed, "a broken machine passes: {outcome:?}");
    format!("{}: {}", word(&outcome), without_times(&details(&outcome)))
}

/// Lines of the console begin with when they were seen.
fn without_times(text: &str) -> String {
    let line = |line: &str| match line.split_once("s ") {
        Some((time, rest)) if time.starts_with("  ") && time.trim().parse::<f64>().is_ok() => {
            format!("  {rest}")
        }
        _ => line.to_owned(),
    };
    text.lines().map(|text| line(text) + "\n").collect()
}

fn run(script: &str) -> String {
    report(Fake::new(script).record_for(Duration::from_secs(20)))
}

fn check(name: &str, report: &str) {
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!(name, report);
    });
}

macro_rules! broken {
    ($($(#[doc = $doc:literal])+ $name:ident: $script:expr;)+) => {
        $(
            $(#[doc = $doc])+
            #[test]
            fn $name() {
                check(stringify!($name), &run($script));
            }
        )+
    };
}

/// What QEMU says when it has paused the machine because of a panic.
const PAUSED: &str = r#"echo '{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "GUEST_PANICKED", "data": {"action": "pause"}}'
"#;
/// It stops, and can't write the memory down.
const NO_DUMP: &str = "read -r _; echo '{\"return\": {}}'
read -r _; echo '{\"error\": {\"class\": \"GenericError\", \"desc\": \"no space is left\"}}'
";
/// The kernel's end after it has logged a panic.
fn kernel_panics() -> String {
    let log = write(5, b"E kernel: panic: the table is empty\nE kernel: stacktrace: 0xffffffff80201234\n");
    format!("{log}{}exit 37\n", reports(&[Report::Panicked, end(ExitCode::KernelPanic)]))
}

fn service_panics() -> String {
    let log = "E main: panic: the divisor is 0 at main.rs:7\nE kernel: main: stacktrace: 0x60000b93\n";
    let ended = Report::Ended(Ended { process: MAIN, cause: Cause::Panic });
    let results = reports(&[ended, end(ExitCode::ServiceFault)]);
    format!("{}{}{results}exit 39\n", write(4, b"hello\r\n"), write(5, log.as_bytes()))
}

/// The main process exits with 1, and all is reported.
fn fails() -> String {
    let log = write(5, b"I kernel: main exited with status 1\n");
    format!("{log}{}exit 35\n", reports(&[exited(1), end(ExitCode::Failure)]))
}

/// A result and an end that QEMU's exit code agrees with, with what `spoil` makes of the line.
fn spoiled(spoil: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut line = records(0, &[exited(0), end(ExitCode::Success)]);
    spoil(&mut line);
    format!("{}exit 33\n", write(6, &line))
}

/// What QEMU says when the processor gave up.
const RESET: &str = r#"echo '{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-reset"}}'
"#;
const IDLE: &str = "printf 'waiting\\r\\n' >&4; sleep 0.2
echo 'qemu: warning: icount sleep disabled and no active timers' >&2
exec sleep 1000
";

/// The same, up to where QEMU is asked to stop.
const IDLE_ONCE: &str = "printf 'waiting\\r\\n' >&4; sleep 0.2
echo 'qemu: warning: icount sleep disabled and no active timers' >&2
";

broken! {
    /// The kernel panics, but its memory can't be had.
    panic_without_a_dump: &format!("{PAUSED}{NO_DUMP}read -r _; echo '{{\"return\": {{}}}}'\n{}", kernel_panics());
    /// The kernel panics, and QEMU doesn't answer any more.
    panic_and_silence: &format!("{PAUSED}exec sleep 1000\n");
    /// The kernel panics, and QEMU doesn't let it go on.
    panic_without_an_end: &format!("{PAUSED}{NO_DUMP}read -r _; echo '{{\"error\": {{\"desc\": \"it needs a reset\"}}}}'\nexec sleep 1000\n");
    /// The kernel panics, and QEMU ends when it is asked for the memory.
    panic_until_asked: &format!("{PAUSED}read -r _; exit 1\n");
    /// The processor gives up, and QEMU ends only when it is told to.
    triple_fault_that_waits: &format!("{RESET}{NO_DUMP}read -r _; echo '{{\"return\": {{}}}}'\nexit 0\n");
    /// It prints half a line, and its process exits with 1.
    output_without_a_line_end: &format!("printf 'one\\r\\nhalf' >&4; {}", fails());
    /// It prints what a terminal would obey, and no UTF-8.
    output_that_is_no_text: &format!("printf '\\377\\033[2J\\0\\n' >&4; {}", fails());
    /// It says that it succeeded, and nothing else.
    exit_without_a_result: "exit 33\n";
    /// There is an end record, but no result.
    end_without_a_result: &format!("{}exit 33\n", reports(&[end(ExitCode::Success)]));
    /// There is a result, but no end record.
    result_without_an_end: &format!("{}exit 33\n", reports(&[exited(0)]));
    /// It says how it ended, and then QEMU is closed.
    result_without_an_exit: &format!("{}exit 0\n", done());
    /// It prints and logs what only the kernel may say, in words and in records.
    forged_result: &format!(
        "{}{}{}{}exit 33\n",
        write(4, b"I kernel: main exited with status 0\n"),
        write(4, &records(0, &[exited(0), end(ExitCode::Success)])),
        write(5, b"I kernel: main exited with status 0\n"),
        write(5, &records(0, &[exited(0), end(ExitCode::Success)])),
    );
    /// What is forged says another thing than what the kernel reports.
    forged_result_beside_the_true_one: &format!("{}{}", write(4, &records(0, &[exited(0), end(ExitCode::Success)])), fails());
    /// The exit code is another than the kernel reports.
    contradiction: &format!("{}exit 35\n", done());
    /// The result is another than the end record says.
    contradiction_of_records: &format!("{}exit 33\n", reports(&[exited(1), end(ExitCode::Success)]));
    /// An exit is reported of a process that is said to be ended.
    contradiction_of_kinds: &format!("{}exit 39\n", reports(&[exited(0), end(ExitCode::ServiceFault)]));
    /// A bit of a record is wrong.
    damaged_record: &spoiled(|line| line[12] ^= 1);
    /// The last record is not whole.
    truncated_record: &spoiled(|line| line.truncate(line.len() - 1));
    /// Something else stands among the records.
    noise_among_results: &spoiled(|line| line.extend(b"main exited with status 0\n"));
    /// A record is missing.
    gap_in_the_results: &format!("{}{}exit 33\n", reports(&[exited(0)]), write(6, &records(2, &[end(ExitCode::Success)])));
    /// A record comes twice.
    repeated_record: &spoiled(|line| line.extend(records(1, &[end(ExitCode::Success)])));
    /// There are two ends.
    duplicate_end: &spoiled(|line| line.extend(records(2, &[end(ExitCode::Success)])));
    /// It goes on after its end.
    record_after_the_end: &spoiled(|line| line.extend(records(2, &[exited(0)])));
    /// The machine is reset after its end.
    reset_after_the_end: &format!("{}{RESET}exit 0\n", done());
    /// Somebody, or the kernel of the host, kills QEMU.
    qemu_killed: &format!("printf 'hello\\r\\n' >&4; {}kill -KILL $$\n", done());
    /// QEMU itself fails.
    qemu_fails: "echo 'qemu: could not allocate memory' >&2; exit 1\n";
    /// The kernel panics.
    panic_in_the_kernel: &kernel_panics();
    /// The main process panics.
    panic_in_a_service: &service_panics();
    /// The processor gives up.
    triple_fault: &format!("{RESET}exit 0\n");
    /// Everybody waits.
    idle_for_ever: IDLE;
    /// Everybody waits, and QEMU can't write its memory down.
    idle_without_a_dump: &format!("{IDLE_ONCE}read -r _; echo '{{\"return\": {{}}}}'
read -r _; echo '{{\"error\": {{\"class\": \"GenericError\", \"desc\": \"no space is left\"}}}}'
exec sleep 1000\n");
    /// Everybody waits, and QEMU ends when it is asked for more.
    idle_until_asked: &format!("{IDLE_ONCE}read -r _; exit 1\n");
    /// Everybody waits, but not when QEMU says so: a look or two find it at work.
    idle_after_all: &format!("{IDLE_ONCE}sleep 0.1; printf 'more\\r\\n' >&4
halted=0
while read -r command; do
    case $command in
    *info*registers*) echo \"{{\\\"return\\\": \\\"RIP=1 HLT=$halted\\\"}}\"; halted=1 ;;
    *rtc-time*) echo '{{\"return\": {{\"tm_year\": 126, \"tm_mon\": 0, \"tm_mday\": 1, \"tm_hour\": 0, \"tm_min\": 0, \"tm_sec\": 1}}}}' ;;
    *) exit 1 ;;
    esac
done\n");
    /// A log line is none.
    noise_in_the_log: &format!("printf '\\033[31mI kernel\\n' >&5; {}", fails());
}

/// It is busy and gets nowhere.
#[test]
fn hang() {
    let fake = Fake::new("printf 'busy\\r\\n' >&4; exec sleep 1000\n");
    check("hang", &report(fake.record_for(Duration::from_secs(1))));
}

/// It says again and again that it panicked.
#[test]
fn panics_without_end() {
    let script = format!("while :; do\n{PAUSED}{NO_DUMP}read -r _; echo '{{\"return\": {{}}}}'\ndone\n");
    check("panics_without_end", &report(Fake::new(&script).record_for(Duration::from_secs(1))));
}

/// It says without end what nobody wants to know.
#[test]
fn endless_messages() {
    let fake = Fake::new("exec yes >&2\n");
    let text = report(fake.record_for(Duration::from_secs(1)));
    let lines: Vec<&str> =
        text.lines().filter(|line| line.trim() != "y" && !line.contains("lines before")).collect();
    check("endless_messages", &lines.join("\n"));
}

/// It prints without end. What it had printed by then is shown by its last lines.
#[test]
fn endless_output() {
    let text = run("exec yes 0123456789abcde >&4\n");
    let lines: Vec<&str> = text.lines().filter(|line| !line.contains("0123456789abcde")).collect();
    // How much came with the piece that was too much is the host's doing.
    let lines =
        lines.into_iter().filter(|line| !line.contains("more bytes were not kept")).collect::<Vec<_>>();
    check("endless_output", &lines.join("\n"));
}

/// QEMU doesn't say a word over its control channel.
#[test]
fn qmp_silent() {
    let fake = Fake::without_handshake("#!/bin/sh\nexec sleep 1000\n");
    let Err(error) = fake.start() else { panic!("it never shook hands") };
    check("qmp_silent", &report(Record::of_trouble(format!("{error:#}"))));
}
