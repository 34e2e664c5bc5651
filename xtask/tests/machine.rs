//! Machines that misbehave: a script plays QEMU, says what QEMU would say, and does worse.
//!
//! Here is what no guest program can do, because it is QEMU or the host that fails. The launcher
//! is the real one, so these tests need xtask's program and stand beside it.

mod fake;

use fake::{Fake, done, exited, report};
use harness::machine::Exit;
use harness::observe::{Record, What, Wish, watch};
use harness::verdict::{End, Hang, judge};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

fn record(fake: &Fake) -> Record {
    fake.record_for(Duration::from_secs(20))
}

fn refusal(fake: &Fake) -> String {
    let started = Instant::now();
    let Err(error) = fake.start() else { panic!("it never shook hands") };
    assert!(started.elapsed() < Duration::from_secs(4), "took {:?}", started.elapsed());
    format!("{error:#}")
}

fn end(script: &str) -> End {
    judge(&record(&Fake::new(script)), Some("main"))
}

fn trouble(script: &str) -> String {
    match end(script) {
        End::HostTrouble(text) => text,
        other => panic!("{other:?} is no trouble"),
    }
}

fn console(record: &Record) -> Vec<&What> {
    let is_console =
        |what: &&What| matches!(what, What::Console(_) | What::ConsoleRest(_) | What::ConsoleCut(_));
    record.events().iter().map(|event| &event.what).filter(is_console).collect()
}

/// Waits until a process is gone.
fn is_gone(pid: Pid) -> bool {
    let end = Instant::now() + Duration::from_secs(5);
    while Instant::now() < end {
        // A zombie is gone: it only waits for its parent to notice.
        let state = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw())).unwrap_or_default();
        if kill(pid, None).is_err() || state.contains(") Z ") {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

/// Reads the process id that a script leaves in a file.
fn pid_in(file: &Path) -> Pid {
    let end = Instant::now() + Duration::from_secs(5);
    while Instant::now() < end {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        if let Some(pid) = text.strip_suffix('\n').and_then(|pid| pid.parse().ok()).map(Pid::from_raw) {
            return pid;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("no process id in {}", file.display());
}

#[test]
fn a_run_that_goes_well_is_recorded_to_its_last_byte() {
    let fake =
        Fake::new(&format!("printf 'hello\\r\\nwor' >&4; sleep 0.1; printf 'ld' >&4\n{}exit 33\n", done()));
    let record = record(&fake);
    assert_eq!(console(&record), [&What::Console("hello".into()), &What::ConsoleRest("world".into())]);
    assert_eq!(record.exit(), Some(Exit::Code(33)));
    assert_eq!(judge(&record, Some("main")), End::Exited(0));
}

#[test]
fn what_is_written_just_before_the_end_is_not_lost() {
    let fake = Fake::new("head -c 100000 /dev/zero | tr '\\0' x >&4; echo >&4; exit 33\n");
    let record = record(&fake);
    let [What::Console(line)] = console(&record)[..] else { panic!("one line") };
    assert_eq!(line.len(), 100_000);
}

#[test]
fn output_that_would_break_a_terminal_becomes_text() {
    let fake = Fake::new("printf '\\377\\033[2J\\0\\n' >&4; exit 39\n");
    assert_eq!(console(&record(&fake)), [&What::Console(r"\xff\u{1b}[2J\0".into())]);
}

#[test]
fn endless_output_is_cut_and_ends_the_machine() {
    let fake = Fake::new("exec yes 0123456789abcde >&4\n");
    let started = Instant::now();
    let record = record(&fake);
    assert!(started.elapsed() < Duration::from_secs(5), "took {:?}", started.elapsed());
    assert_eq!(judge(&record, Some("main")), End::Hang(Hang::EndlessOutput));
    assert_eq!(console(&record).len(), harness::observe::KEPT_CONSOLE_BYTES / 16 + 1);
    assert!(matches!(console(&record).last(), Some(What::ConsoleCut(bytes)) if *bytes > 0));
}

#[test]
fn an_endless_log_is_cut_but_its_last_line_is_kept() {
    let fake =
        Fake::new(&format!("yes 'I tty: again' | head -c 12000000 >&5; echo >&5\n{}exit 33\n", done()));
    let record = record(&fake);
    assert_eq!(judge(&record, Some("main")), End::Exited(0));
    assert!(
        record.events().iter().any(|event| matches!(event.what, What::LogCut(bytes) if bytes > 1_900_000))
    );
    let last = record.log().last().expect("a line");
    assert_eq!(last.to_string(), "kernel: main exited with status 0");
}

#[test]
fn a_machine_that_does_not_end_is_stopped() {
    // Not even one that doesn't listen to requests.
    for script in ["exec sleep 1000\n", "trap '' TERM INT HUP; while :; do sleep 1; done\n"] {
        let record = Fake::new(script).record_for(Duration::from_millis(500));
        assert_eq!(judge(&record, Some("main")), End::Hang(Hang::Timeout), "{script}");
    }
}

#[test]
fn a_machine_that_waits_for_nothing_is_stopped_soon() {
    let warning = "echo 'qemu: warning: icount sleep disabled and no active timers' >&2\n";
    let started = Instant::now();
    assert_eq!(end(&format!("{warning}exec sleep 1000\n")), End::Hang(Hang::IdleForever));
    assert!(started.elapsed() < Duration::from_secs(3));
    // A line that it printed before may be read after the warning.
    let late = format!("{warning}echo waiting >&4; exec sleep 1000\n");
    assert_eq!(end(&late), End::Hang(Hang::IdleForever));
    // One that goes on was only waiting for the host.
    assert_eq!(
        end(&format!("{warning}sleep 0.1; echo more >&4\nsleep 0.5\n{}exit 33\n", done())),
        End::Exited(0)
    );
}

#[test]
fn zero_is_no_success() {
    assert!(trouble(&format!("{}exit 0\n", done())).contains("without the machine's doing"));
}

#[test]
fn a_reset_is_a_triple_fault() {
    let event = r#"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-reset"}}"#;
    assert_eq!(end(&format!("echo '{event}'\nexit 0\n")), End::TripleFault);
    let other = event.replace("guest-reset", "host-signal");
    assert!(matches!(end(&format!("echo '{other}'\nexit 0\n")), End::HostTrouble(_)));
}

#[test]
fn noise_on_the_control_channel_is_passed_over() {
    let noise = r#"echo 'no JSON'; echo '{"event": "NEW_IN_QEMU_99", "timestamp": {}}'; head -c 1000 /dev/urandom; echo"#;
    assert_eq!(end(&format!("{noise}\n{}exit 33\n", done())), End::Exited(0));
}

#[test]
fn a_result_that_only_one_witness_saw_is_trouble() {
    let said =
        "echo 'I kernel: main exited with status 0' >&4; echo 'I kernel: main exited with status 0' >&5";
    assert!(trouble(&format!("{said}\nexit 33\n")).contains("the kernel reported nothing"));
    assert!(trouble(&format!("{}exit 35\n", done())).contains("but the kernel's end record"));
    let half = report(&[exited(0)]);
    assert!(trouble(&format!("{half}exit 33\n")).contains("have no end record"));
}

#[test]
fn endless_results_are_cut_and_decide_nothing() {
    let script = format!("{}head -c 12000000 /dev/zero >&6\nexit 33\n", done());
    let record = record(&Fake::new(&script));
    let damage = record.events().iter().filter(|event| matches!(event.what, What::BadResult(_)));
    assert!(damage.count() == 2 && record.events().len() < 10, "{record:?}");
    assert!(matches!(judge(&record, Some("main")), End::HostTrouble(text) if text.contains("damaged")));
}

#[test]
fn a_qemu_that_dies_is_trouble() {
    assert_eq!(trouble(&format!("{}kill -SEGV $$\n", done())), "QEMU was killed by signal 11");
    assert_eq!(
        trouble(&format!("{}exit 1\n", done())),
        "QEMU exited with 1, which the kernel never asks for"
    );
}

#[test]
fn a_qemu_that_closes_its_control_channel_but_stays_is_killed() {
    assert_eq!(trouble("exec <&- >&-; exec sleep 1000\n"), "QEMU was killed by signal 9");
}

#[test]
fn a_qemu_that_does_not_start_says_why() {
    let fake = Fake::without_handshake("#!/bin/sh\necho 'qemu: no such machine' >&2\nexit 1\n");
    let said = refusal(&fake);
    assert!(said.contains("qemu: no such machine") && said.contains("ended before it ran"), "{said}");
    let silent = Fake::without_handshake("#!/bin/sh\nexec sleep 1000\n");
    assert!(refusal(&silent).contains("doesn't greet"), "{}", refusal(&silent));
    let rude = Fake::without_handshake("#!/bin/sh\necho hello\nexec sleep 1000\n");
    assert!(refusal(&rude).contains("failed to shake hands"), "{}", refusal(&rude));
    let halfway = Fake::without_handshake("#!/bin/sh\nprintf '{\"QMP\": {'\n");
    assert!(refusal(&halfway).contains("failed to shake hands"), "{}", refusal(&halfway));
}

#[test]
fn a_qemu_that_is_not_there_is_named() {
    let fake = Fake { qemu: "/nonexistent/qemu".into(), ..Fake::new("") };
    assert!(refusal(&fake).contains("failed to run /nonexistent/qemu"), "{}", refusal(&fake));
}

#[test]
fn a_dropped_machine_leaves_nothing_behind() {
    let fake = Fake::new("echo $$ >\"$log.pid\"; mv \"$log.pid\" \"$0.pid\"; exec sleep 1000\n");
    let machine = fake.start().expect("it shakes hands");
    let pid = pid_in(&fake.qemu.with_extension("pid"));
    drop(machine);
    assert!(is_gone(pid));
    let left: Vec<_> = std::fs::read_dir(fake.directory.path()).expect("a directory").flatten().collect();
    let left: Vec<_> = left.iter().filter(|entry| entry.path().is_dir()).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// What a test below runs in a process of its own; by itself it is no test.
#[test]
fn a_harness_to_be_killed() {
    let Some(pid_file) = std::env::var_os("TESSERA_TEST_PID_FILE") else { return };
    let fake = Fake::new(&format!("echo $$ >'{}'; exec sleep 1000\n", Path::new(&pid_file).display()));
    let machine = fake.start().expect("it shakes hands");
    watch(machine, Duration::from_secs(1000), |_| Wish::GoOn);
}

#[test]
fn qemu_never_outlives_a_harness_that_is_killed() {
    let directory = tempfile::tempdir().expect("a directory");
    for signal in [Signal::SIGKILL, Signal::SIGINT, Signal::SIGTERM] {
        let pid_file = directory.path().join(format!("{signal:?}"));
        // A job in the background of a script ignores SIGINT, and so would what it starts.
        let mut harness = Command::new("env")
            .arg("--default-signal=INT,TERM")
            .arg(std::env::current_exe().expect("a test is a file"))
            .args(["--exact", "a_harness_to_be_killed"])
            .env("TESSERA_TEST_PID_FILE", &pid_file)
            .env("TMPDIR", directory.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .expect("a process");
        let qemu = pid_in(&pid_file);
        let pid = Pid::from_raw(harness.id().try_into().expect("a process id"));
        kill(pid, signal).expect("it can be killed");
        harness.wait().expect("it ends");
        assert!(is_gone(qemu), "QEMU outlives a harness that got {signal:?}");
    }
}

#[test]
fn a_launcher_without_its_parent_runs_nothing() {
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["exec-tied", "1", "echo", "hello"])
        .output()
        .expect("the launcher");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    assert!(String::from_utf8_lossy(&output.stderr).contains("the process that wanted echo has ended"));
}
