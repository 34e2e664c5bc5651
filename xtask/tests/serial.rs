//! Guest tests on a machine at the other end of a serial line, for which a second QEMU stands in.
//!
//! It is driven as a user would: by `cargo xtask test --serial`.

mod host;

use harness::machine::StandIn;
use harness::tools::QEMU;
use host::{launcher, programs, workshop};
use serde_json::Value;
use std::ffi::OsString;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// A test that prints without end.
const ENDLESS: &str = "endless_output_ends_the_machine";

/// A machine that waits.
fn stand_in(arguments: &[&str]) -> Option<StandIn> {
    let [qemu] = programs([QEMU])?;
    let kernel = workshop(qemu.clone()).build.kernel;
    let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
    Some(StandIn::start(&qemu, launcher(), &kernel, &arguments).expect("QEMU starts"))
}

/// What a run ended with, and its report, line by line.
struct Ran {
    code: Option<i32>,
    lines: Vec<Value>,
    errors: String,
}

fn command(port: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(launcher());
    command.args(["test", "--format", "json", "--exact", "--serial"]).arg(port).args(arguments);
    // What differs is to fail, and not to be written anywhere.
    command.env("INSTA_UPDATE", "no").stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn test(port: &Path, arguments: &[&str]) -> Ran {
    Ran::of(&command(port, arguments).output().expect("xtask runs"))
}

/// A run of a test that prints without end, and is in the middle of that.
fn start_endless(port: &Path) -> Child {
    let mut child = command(port, &["--timeout", "3", ENDLESS]).spawn().expect("xtask runs");
    let stdout = child.stdout.as_mut().expect("it is a pipe");
    let mut lines = BufReader::new(stdout).lines().map(|line| line.expect("text"));
    let started: Value = serde_json::from_str(&lines.nth(1).expect("a line")).expect("JSON");
    assert_eq!((text(&started, "event"), text(&started, "name")), ("started", ENDLESS));
    // The image takes a few tenths of a second.
    std::thread::sleep(Duration::from_secs(2));
    child
}

impl Ran {
    fn of(output: &Output) -> Self {
        let text = String::from_utf8_lossy(&output.stdout);
        let lines = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        Self { code: output.status.code(), lines, errors }
    }

    /// What each test came to, in order.
    fn outcomes(&self) -> Vec<String> {
        let tests = self.lines.iter().filter(|line| line["type"] == "test" && line["event"] != "started");
        let outcome = |line: &Value| match line["event"].as_str() {
            Some("ignored") => format!("{}: skipped: {}", text(line, "name"), text(line, "message")),
            _ => format!("{}: {}: {}", text(line, "name"), text(line, "verdict"), text(line, "end")),
        };
        tests.map(outcome).collect()
    }

    fn explain(&self) -> String {
        let lines: Vec<String> = self.lines.iter().map(Value::to_string).collect();
        format!("{}\n{}", lines.join("\n"), self.errors)
    }
}

fn text<'a>(line: &'a Value, key: &str) -> &'a str {
    line[key].as_str().unwrap_or_default()
}

// row I5
#[test]
fn a_machine_at_a_serial_line_runs_the_same_tests() {
    let Some(machine) = stand_in(&[]) else { return };
    // The limit ends what is meant to hang, and a triple fault is believed only some time after it.
    let ran = test(machine.port(), &["--timeout", "8"]);
    let outcomes = ran.outcomes();
    // What it came to is in the snapshots; what is left out is told with its reason.
    let is_fine = |outcome: &String| [": PASS: ", ": skipped: "].iter().any(|word| outcome.contains(word));
    let wrong: Vec<&String> = outcomes.iter().filter(|outcome| !is_fine(outcome)).collect();
    assert!(wrong.is_empty(), "{wrong:?}\n{}", ran.explain());
    let expected = [
        "processor_gives_up: skipped: it runs machine code in place of the kernel",
        "a_failing_program_fails_the_machine: PASS: exit 3",
        "a_fault_ends_only_its_process: PASS: exit 0",
        "a_panic_shows_where: PASS: service fault",
        "image_is_missing: PASS: bad image",
        "the_kernel_panics: PASS: kernel panic",
    ];
    let missing = expected.map(str::to_owned).into_iter().filter(|outcome| !outcomes.contains(outcome));
    assert_eq!(missing.collect::<Vec<_>>(), [""; 0], "{}", ran.explain());
    assert_eq!(ran.code, Some(0));
    // Another run finds the machine as it was left, and what is wrong is found there, too: what takes too long is
    // ended by the kernel, and the machine goes on with the next. A triple fault is believed only when that is late.
    let triple_fault = "the_kernel_faults_without_handlers";
    let ran = test(machine.port(), &["--timeout", "2", ENDLESS, "image_is_noise", triple_fault]);
    let expected = [
        "endless_output_ends_the_machine: PASS: hang",
        "image_is_noise: PASS: bad image",
        "the_kernel_faults_without_handlers: PASS: triple fault",
    ];
    assert_eq!(ran.outcomes(), expected, "{}", ran.explain());
    assert_eq!(ran.code, Some(0));
}

#[test]
fn a_host_that_vanishes_in_the_middle_of_a_run_comes_back_to_a_machine_that_is_ready() {
    let Some(machine) = stand_in(&[]) else { return };
    let mut host = start_endless(machine.port());
    host.kill().expect("it runs");
    host.wait().expect("it ends");
    let ran = test(machine.port(), &["a_fault_ends_only_its_process"]);
    assert_eq!(ran.outcomes(), ["a_fault_ends_only_its_process: PASS: exit 0"], "{}", ran.explain());
    assert_eq!(ran.code, Some(0));
}

#[test]
fn a_machine_that_vanishes_in_the_middle_of_a_run_is_trouble() {
    let Some(machine) = stand_in(&[]) else { return };
    let host = start_endless(machine.port());
    drop(machine);
    let ran = Ran::of(&host.wait_with_output().expect("it ends"));
    assert_eq!(ran.outcomes(), [format!("{ENDLESS}: TROUBLE: trouble")], "{}", ran.explain());
    assert!(ran.explain().contains("see that the adapter is plugged in"), "{}", ran.explain());
    assert_eq!(ran.code, Some(100));
}

#[test]
fn a_machine_with_too_little_memory_says_so() {
    let Some(machine) = stand_in(&["-m", "4M"]) else { return };
    let ran = test(machine.port(), &["a_fault_ends_only_its_process"]);
    assert_eq!(ran.outcomes(), ["a_fault_ends_only_its_process: FAIL: bad image"], "{}", ran.explain());
    assert!(ran.explain().contains("memory: there is none left for the kernel itself"), "{}", ran.explain());
    assert_eq!(ran.code, Some(100));
}

#[test]
fn a_line_without_a_machine_is_trouble_that_says_what_to_do() {
    use serialport::SerialPort as _;
    let (_ours, theirs) = serialport::TTYPort::pair().expect("a pseudo-terminal");
    let port = theirs.name().expect("a path");
    // A port is for one at a time.
    drop(theirs);
    let ran = test(Path::new(&port), &["--boot-timeout", "0.5", "image_is_missing", "image_is_noise"]);
    assert_eq!(ran.outcomes(), ["image_is_missing: TROUBLE: trouble", "image_is_noise: TROUBLE: trouble"]);
    assert!(ran.explain().contains("doesn't get ready: it says nothing"), "{}", ran.explain());
    assert_eq!(ran.code, Some(100));
    let none = test(Path::new("/nowhere/tty"), &["image_is_missing"]);
    assert!(none.errors.contains("failed to open the serial port /nowhere/tty"), "{}", none.errors);
    assert_eq!(none.code, Some(1));
}
