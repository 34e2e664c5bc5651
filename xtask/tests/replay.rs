//! A recorded run, forwards and backwards in gdb, and who wrote a value last in it: QEMU's and gdb's real selves on
//! machines that run the guest tests' programs, or a few bytes of code in place of a kernel.

mod host;

use harness::gdb::{Debugger, Driven, redact};
use harness::image::bare;
use harness::machine::{AtPanic, Config, Exit, Firmware, Kernel, Machine, PATIENCE, Record, Timing};
use harness::observe::{Wish, watch};
use harness::project::Project;
use harness::recording::{LOG, empty_disk};
use harness::report::Reader as _;
use harness::report::bundles::{Bundles, Records, SUMMARY};
use harness::run::{How, Recorded, Verdict};
use harness::scenario::Scenario;
use harness::suite::News;
use harness::tools::{GDB, QEMU};
use harness::verdict::Ends;
use host::{launcher, marked, programs, root, workshop};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Counts in ecx to ten thousand, and exits with 33.
const CODE: [u8; 18] = [
    0xb9, 0, 0, 0, 0,    // mov ecx, 0
    0x41, // inc ecx
    0x81, 0xf9, 0x10, 0x27, 0, 0, // cmp ecx, 10000
    0x75, 0xf7, // jne to the inc
    0xb0, 0x10, // mov al, 0x10
    0xe6, 0xf4, // out 0xf4, al
];
/// Offsets in it: those of a turn of its loop, and that of what follows.
const INC: u64 = 5;
const CMP: u64 = 6;
const JNE: u64 = 12;
const AFTER: u64 = 14;
const LIMIT: Duration = Duration::from_secs(60);

struct Run {
    directory: tempfile::TempDir,
    kernel: Vec<u8>,
    qemu: PathBuf,
}

impl Run {
    /// A run that was recorded, and a gdb for it.
    fn recorded() -> Option<(Self, PathBuf)> {
        let [qemu, gdb] = programs([QEMU, GDB])?;
        let run =
            Self { directory: tempfile::tempdir().expect("a directory"), kernel: bare::kernel(&CODE), qemu };
        std::fs::write(run.path("disk"), empty_disk()).expect("a disk");
        assert_eq!(run.exit(Record::Make { log: &run.path("log"), disk: &run.path("disk") }), 33);
        Some((run, gdb))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn start(&self, record: Record<'_>) -> Machine {
        let machine = Machine::start(&Config {
            qemu: &self.qemu,
            launcher: launcher(),
            artefacts: self.directory.path(),
            kernel: Kernel::Bytes(&self.kernel),
            image: None,
            command_line: "",
            memory_mib: 64,
            firmware: Firmware::Qboot,
            timing: Timing::Deterministic,
            record,
            at_panic: AtPanic::GoOn,
            patience: PATIENCE,
        });
        machine.expect("QEMU starts")
    }

    fn exit(&self, record: Record<'_>) -> i32 {
        match watch(self.start(record), LIMIT, |_| Wish::GoOn).exit() {
            Some(Exit::Code(code)) => code,
            other => panic!("{other:?} is no exit"),
        }
    }

    /// The run again, in gdb.
    fn in_gdb(&self, gdb: &Path) -> (Machine, Driven) {
        let socket = self.path("gdb");
        let record = Record::Replay { log: &self.path("log"), disk: &self.path("disk"), gdb: Some(&socket) };
        let machine = self.start(record);
        let launcher = launcher();
        let remote = Some(socket.as_os_str());
        let debugger =
            Debugger { gdb, launcher, images: &[], script: None, remote, commands: &[], arguments: &[] };
        (machine, debugger.drive(LIMIT).expect("gdb connects"))
    }
}

/// The number that gdb prints.
fn value(gdb: &mut Driven, expression: &str) -> u64 {
    let answer = gdb.ask(&format!("output/d (long){expression}")).expect("an answer");
    answer.trim().parse().unwrap_or_else(|_| panic!("{expression} is {answer}: {}", gdb.transcript()))
}

/// The address of the first instruction.
fn entry(run: &Run) -> u64 {
    u64::from_le_bytes(run.kernel[24..32].try_into().expect("an ELF file has an entry"))
}

// row I2
#[test]
fn a_recorded_run_ends_as_it_did() {
    let Some((run, _)) = Run::recorded() else { return };
    for _ in 0..3 {
        assert_eq!(
            run.exit(Record::Replay { log: &run.path("log"), disk: &run.path("disk"), gdb: None }),
            33
        );
    }
}

// row I2
#[test]
fn twenty_steps_and_twenty_breakpoints_backwards_are_all_right() {
    let Some((run, gdb)) = Run::recorded() else { return };
    let (_machine, mut gdb) = run.in_gdb(&gdb);
    let entry = entry(&run);
    gdb.ask(&format!("hbreak *{}", entry + AFTER)).expect("an answer");
    gdb.ask("continue").expect("an answer");
    assert_eq!(value(&mut gdb, "$pc"), entry + AFTER, "{}", gdb.transcript());
    assert_eq!(value(&mut gdb, "$rcx"), 10_000);
    for step in 0..20 {
        gdb.ask("reverse-stepi").expect("an answer");
        let expected = entry + [JNE, CMP, INC][step % 3];
        assert_eq!(value(&mut gdb, "$pc"), expected, "step {step}: {}", gdb.transcript());
    }
    // Those steps were through six turns, the jump of a seventh and its comparison. One forwards: QEMU
    // passes over a breakpoint that is at the very instruction before.
    gdb.ask("stepi").expect("an answer");
    assert_eq!(value(&mut gdb, "$pc"), entry + JNE, "{}", gdb.transcript());
    gdb.ask("delete").expect("an answer");
    gdb.ask(&format!("hbreak *{}", entry + INC)).expect("an answer");
    for turn in 0..20 {
        gdb.ask("reverse-continue").expect("an answer");
        assert_eq!(value(&mut gdb, "$pc"), entry + INC, "turn {turn}: {}", gdb.transcript());
        assert_eq!(value(&mut gdb, "$rcx"), 9_993 - turn, "turn {turn}: {}", gdb.transcript());
    }
    // And forwards again, to where it was.
    gdb.ask("delete").expect("an answer");
    gdb.ask(&format!("hbreak *{}", entry + AFTER)).expect("an answer");
    gdb.ask("continue").expect("an answer");
    assert_eq!(value(&mut gdb, "$rcx"), 10_000, "{}", gdb.transcript());
}

/// The record of a guest test.
struct Guest {
    _directory: Option<tempfile::TempDir>,
    bundle: PathBuf,
}

/// The record of [`PROGRAM`], for all tests that leave it as it is.
fn program() -> Option<&'static Guest> {
    static GUEST: OnceLock<Option<Guest>> = OnceLock::new();
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("replay");
    let recorded = || Some(Guest { _directory: None, bundle: Guest::record(PROGRAM, &directory)? });
    GUEST.get_or_init(recorded).as_ref()
}

impl Guest {
    fn recorded(name: &str) -> Option<Self> {
        let directory = tempfile::tempdir().expect("a directory");
        let bundle = Self::record(name, directory.path())?;
        Some(Self { _directory: Some(directory), bundle })
    }

    /// Makes the record of a test, in a directory. Where it is.
    fn record(name: &str, directory: &Path) -> Option<PathBuf> {
        let [qemu, _] = programs([QEMU, GDB])?;
        let workshop = workshop(qemu);
        let scenario = workshop.scenario(name).expect("a test");
        let how = How { recorded: Recorded::All, ..How::default() };
        let outcome = workshop.test(&scenario, how);
        assert_eq!(outcome.verdict(), Verdict::Passed, "{:?}", outcome.end);
        let recording = outcome.recording().expect("it was to be recorded").as_ref().expect("a record");
        assert_eq!(recording.difference, None, "it is the run that was judged");
        let mut records = Records { path: directory.join("records") };
        records.read(&News::TestEnded(&outcome)).expect("it can be written");
        Some(records.path.join(name))
    }

    /// The record that is kept of a test because it failed: it was to end well.
    fn failed(name: &str) -> Option<Self> {
        let [qemu, _] = programs([QEMU, GDB])?;
        let workshop = workshop(qemu);
        let scenario = Scenario { ends: Ends::default(), ..workshop.scenario(name).expect("a test") };
        let outcome = workshop.test(&scenario, How::default());
        assert_eq!(outcome.verdict(), Verdict::WrongEnd, "{:?}", outcome.end);
        let directory = tempfile::tempdir().expect("a directory");
        let mut bundles = Bundles { path: directory.path().join("failures") };
        bundles.read(&News::TestEnded(&outcome)).expect("it can be written");
        let bundle = bundles.of(name);
        Some(Self { _directory: Some(directory), bundle })
    }

    /// `cargo xtask replay` of it: whether it went well, and all that it printed.
    fn replay(&self, arguments: &[&str]) -> (bool, String) {
        let mut command = Command::new(launcher());
        let output = command.arg("replay").arg(&self.bundle).args(arguments).stdin(Stdio::null()).output();
        let output = output.expect("xtask runs");
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }

    /// What it says of who wrote that.
    fn why(&self, expression: &str, arguments: &[&str]) -> String {
        let (is_good, text) = self.replay(&[&["--why", expression], arguments].concat());
        assert!(is_good, "{expression}: {text}");
        text.replace(&*self.bundle.to_string_lossy(), "NAME")
    }

    /// What gdb says to each of these commands, and how many instructions it finds executed behind each.
    fn told(&self, arguments: &[&str], commands: &[&str]) -> (String, Vec<u64>) {
        let mut all = [arguments, &["--", "-batch"]].concat();
        for command in commands {
            all.extend(["-ex", "echo (gdb) ", "-ex", command, "-ex", "monitor info replay"]);
        }
        let (is_good, text) = self.replay(&all);
        assert!(is_good, "{text}");
        let pieces = text.split("(gdb)").skip(1).zip(commands);
        let told: String =
            pieces.map(|(said, command)| format!("(gdb) {command}\n{}\n", said.trim())).collect();
        let lines = told.lines().filter(|line| !line.is_empty() && !line.starts_with("Replaying"));
        (lines.map(|line| format!("{line}\n")).collect(), counts(&text))
    }

    /// How many instructions gdb finds executed, after each of its commands.
    fn counts(&self, at: u64, commands: &[&str]) -> Vec<u64> {
        let at = at.to_string();
        let mut arguments = vec!["--at", &at, "--", "-batch"];
        for command in commands {
            arguments.extend(["-ex", command, "-ex", "monitor info replay"]);
        }
        let (is_good, text) = self.replay(&arguments);
        assert!(is_good, "{text}");
        counts(&text)
    }
}

/// A program whose memory a service asks the kernel to fill.
const FILLED: &str = "copies_stop_at_what_is_not_there";
const PROGRAM: &str = "a_program_publishes_and_retrieves";

// row I2
#[test]
fn a_test_that_passes_is_recorded_if_asked() {
    let Some(guest) = program() else { return };
    let (is_good, text) =
        guest.replay(&["--", "-batch", "-ex", "hbreak ds::main", "-ex", "continue", "-ex", "bt"]);
    assert!(is_good && text.contains("Breakpoint 1, ds::main ()"), "{text}");
    let (is_good, text) = guest.replay(&["--events"]);
    assert!(is_good && text.contains("the same events as before"), "{text}");
    let scenario = workshop(QEMU.into()).scenario(PROGRAM).expect("a test");
    let [qemu] = programs([QEMU]).expect("it was there before");
    assert!(workshop(qemu).test(&scenario, How::default()).recording().is_none(), "nobody asked");
}

// row I2
#[test]
fn the_command_that_is_printed_has_the_symbols_of_the_record_and_works_by_itself() {
    let Some(guest) = program() else { return };
    let (is_good, text) = guest.replay(&["--print-command", "--", "-batch", "-ex", "info line ds::main"]);
    assert!(is_good && !text.contains("target remote"), "{text}");
    let mut shell = Command::new("sh");
    let output = shell.args(["-c", &text]).stdin(Stdio::null()).output().expect("sh runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("ds/src/main.rs\" starts at"), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

// row I2
#[test]
fn a_record_that_lost_its_end_is_refused() {
    let Some(guest) = Guest::recorded(PROGRAM) else { return };
    let log = guest.bundle.join(LOG);
    let whole = std::fs::read(&log).expect("a record");
    let mut others = whole.clone();
    others[100] ^= 1;
    for damaged in [&whole[..whole.len() - 1], &[], &others] {
        std::fs::write(&log, damaged).expect("it can be written");
        for arguments in [&["--events"][..], &["--why", "1"], &["--", "-batch"]] {
            let (is_good, text) = guest.replay(arguments);
            assert!(
                !is_good && text.contains("record.bin is not what was recorded"),
                "{arguments:?}: {text}"
            );
        }
    }
    std::fs::write(&log, &whole).expect("it can be written");
    let (is_good, text) = guest.replay(&["--events"]);
    assert!(is_good && !text.contains("warning"), "{text}");
    // Who made it saw that it isn't the run that was judged, and whoever looks at it is told.
    let summary = guest.bundle.join(SUMMARY);
    let text = std::fs::read_to_string(&summary).expect("a summary");
    let is = r#""same_events": true"#;
    assert!(text.contains(is), "{text}");
    std::fs::write(&summary, text.replace(is, r#""same_events": false"#)).expect("it can be written");
    for arguments in [&["--events"][..], &["--why", "ds::HEAP", "--at", "100000"], &["--", "-batch"]] {
        let (_, text) = guest.replay(arguments);
        assert!(text.contains("warning: the record is not the run that was judged"), "{arguments:?}: {text}");
    }
}

// row I2
#[test]
fn lines_and_functions_of_a_program_are_stepped_backwards() {
    let Some(guest) = program() else { return };
    let begins = format!("hbreak {PROGRAM}::main");
    // Lines forwards; back over a call, into the one before, out of it, and to where it all began.
    let commands = [
        &begins,
        "continue",
        "next",
        "next",
        "next",
        "reverse-next",
        "reverse-step",
        "reverse-finish",
        "reverse-continue",
    ];
    let (told, counts) = guest.told(&[], &commands);
    let [_, main, second, third, fourth, back, inside, call, first] = counts[..] else { panic!("{told}") };
    assert_eq!((back, first), (third, main), "{told}");
    assert!(main < second && second <= call && call < inside && inside < third && third < fourth, "{told}");
    insta::assert_snapshot!(without_numbers(&told));
}

/// The places that `monitor info replay` told.
fn counts(text: &str) -> Vec<u64> {
    let counts = text.split("instruction count = ").skip(1);
    counts.map(|text| text.lines().next().and_then(|number| number.parse().ok()).expect("a number")).collect()
}

// row I2
#[test]
fn gdb_begins_at_the_very_instruction_that_was_asked_for() {
    let Some(guest) = program() else { return };
    let (is_good, text) = guest.replay(&["--at", "1000000000", "--", "-batch"]);
    let end = text.split("the last one is ").nth(1).and_then(|end| end.trim().parse::<u64>().ok());
    let (false, Some(end)) = (is_good, end) else { panic!("{text}") };
    assert!(text.contains("the record has no instruction 1000000000"), "{text}");
    // At a user's instruction, in the firmware, at the last one; forwards and backwards from there.
    for at in [end, 1, 100_000, end - 50_000] {
        let commands = ["print 1", "reverse-stepi", "reverse-stepi", "stepi"];
        let back = at.saturating_sub(2);
        assert_eq!(guest.counts(at, &commands), [at, at - 1, back, back + 1], "{at}");
    }
}

// row I2
#[test]
fn twenty_travels_into_the_system_end_where_they_should() {
    let Some(guest) = program() else { return };
    for travel in 0..20 {
        let at = 900_000 + 13_337 * travel;
        // Whatever calls or is interrupted there, its stack is written to.
        let commands = ["watch *(long *)($sp - 8)", "reverse-stepi", "reverse-continue", "stepi"];
        let counts = guest.counts(at, &commands);
        let [start, before, written, after] = counts[..] else { panic!("{counts:?}") };
        assert_eq!((start, before, after), (at, at - 1, written + 1), "{counts:?}");
        assert!(written < before, "{counts:?}");
    }
}

/// Answers without what differs between builds: addresses, lines, long numbers, arguments of functions.
fn without_numbers(answers: &str) -> String {
    let project = Project::at(root()).expect("a project");
    let text = redact(answers, &project);
    let lines = text.lines().map(|line| match (line.find(" ("), line.rfind(") at ")) {
        (Some(start), Some(end)) if line.starts_with('#') => {
            format!("{}{}", &line[..start], &line[end + 1..])
        }
        _ => line.split(' ').map(without_number).collect::<Vec<_>>().join(" "),
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn without_number(word: &str) -> &str {
    if word.len() > 4 && word.bytes().all(|byte| byte.is_ascii_digit()) { "[COUNT]" } else { word }
}

/// The instruction that is said to have written something last.
fn instruction(told: &str) -> u64 {
    let line = told.lines().find_map(|line| line.strip_prefix("instruction "));
    let number = line.and_then(|line| line.split(' ').next()?.parse().ok());
    number.unwrap_or_else(|| panic!("nobody wrote it: {told}"))
}

// row I2
#[test]
fn who_wrote_a_value_last_is_told_with_the_stack() {
    let Some(guest) = Guest::recorded(FILLED) else { return };
    let buffer = |index: u32| format!("copies_stop_at_what_is_not_there::BUFFER[{index}]");
    // The kernel did, by another address; the process itself did; the kernel when it loaded the program; nobody.
    let answers = [
        guest.why(&buffer(4000), &["--process", "peer"]),
        guest.why(&buffer(9001), &["--process", "peer"]),
        guest.why("copies_stop_at_what_is_not_there::CONSTANT", &["--process", "peer"]),
        guest.why("*(long *)&text_start", &[]),
    ];
    insta::assert_snapshot!(without_numbers(&answers.join("\n")));
}

// row I2
#[test]
fn who_wrote_to_a_process_that_has_ended_is_told_as_well() {
    let Some(guest) = Guest::recorded("a_fault_ends_only_its_process") else { return };
    let heap = "a_fault_ends_only_its_process::HEAP";
    // The test's own process; another one with the same program.
    let (own, other) = (guest.why(heap, &[]), guest.why(heap, &["--process", "overflows"]));
    assert!(own.contains(" of a_fault_ends_only_its_process(18)\ninstruction "), "{own}");
    assert!(own.contains(" wrote it last: a_fault_ends_only_its_process(18)\n"), "{own}");
    assert!(other.contains(" wrote it last: overflows(16)\n"), "{other}");
    assert!(
        own.contains("in a_fault_ends_only_its_process::start") && other.contains("in _start ()"),
        "{own}{other}"
    );
    let address = "*(long *)0x60008480";
    for (arguments, reason) in [
        (&["--why", address, "--process", "nobody"][..], "no process is called nobody: there are tty(5), "),
        (&["--why", "*(long *)0x123450"], "the page at 0x123450 was no longer mapped when its process ended"),
    ] {
        let (is_good, text) = guest.replay(arguments);
        assert!(!is_good && text.contains(reason), "{arguments:?}: {text}");
    }
    // Nothing was there yet.
    let early = guest.why(address, &["--at", "100000"]);
    assert!(early.contains("nobody wrote it in the 100000 instructions before"), "{early}");
    // At a write it is that one, and just before it is another, if any.
    let instruction = instruction(&other);
    for (at, is_it) in [(instruction, true), (instruction - 1, false)] {
        let told = guest.why(heap, &["--process", "overflows", "--at", &at.to_string()]);
        assert_eq!(told.contains(&format!("instruction {instruction} wrote it last")), is_it, "{told}");
    }
}

/// A program that fails, for what it did earlier.
const SPOILED: &str = "a_value_is_missed_long_after_it_was_spoiled";

// row I2
#[test]
fn the_record_of_a_test_that_failed_leads_back_from_its_end_to_the_cause() {
    let Some(guest) = Guest::failed(SPOILED) else { return };
    let why = guest.why(&format!("{SPOILED}::LIMIT"), &[]);
    let written = instruction(&why);
    // There it is still as it was, and the next instruction is the one.
    let value = format!("*(int *)&'{SPOILED}::LIMIT'");
    let (show, at) = (format!("print/d {value}"), (written - 1).to_string());
    let (there, places) = guest.told(&["--at", &at], &["set language c", &show, "stepi", &show]);
    assert_eq!(places, [written - 1, written - 1, written, written], "{there}");
    // From where it failed one gets back to the same place by a watchpoint, and before it by a breakpoint; and from behind the
    // call into it by a step.
    let [watch, begins] = [format!("watch -l {value}"), format!("hbreak {SPOILED}::main")];
    let commands = [
        "hbreak runtime::panicked",
        "continue",
        "set language c",
        &watch,
        "reverse-continue",
        "bt 2",
        "delete",
        "set language auto",
        &begins,
        "reverse-continue",
        "next",
        "next",
        "next",
        "reverse-step",
        "bt 2",
    ];
    let (back, places) = guest.told(&[], &commands);
    let [failed, found, main] = [1, 4, 9].map(|index| places[index]);
    let [call, behind, inside] = [11, 12, 13].map(|index| places[index]);
    assert!(found == written && written < failed, "{written} in {places:?}: {back}");
    assert!(
        main < call && call < written && written <= inside && inside < behind,
        "{written} in {places:?}: {back}"
    );
    insta::assert_snapshot!(without_numbers(&[why, there, back].join("\n")));
}

// row I2
#[test]
fn a_question_that_makes_no_sense_or_takes_too_long_is_an_error() {
    let Some(guest) = program() else { return };
    for (arguments, reason) in [
        (&["--why", "nothing"][..], "gdb doesn't find nothing: No symbol 'nothing' in current context"),
        (
            &["--why", "1 + 1"],
            "gdb doesn't find 1 + 1: Attempt to take address of value not located in memory.",
        ),
        (&["--why", "\"'\\\n("], "gdb doesn't find"),
        (&["--why", "*(long *)&text_start"], "nobody wrote it"),
        (&["--why", "ds::HEAP", "--timeout", "0.3"], "--timeout"),
        (&["--why", "ds::HEAP", "--process", "pear"], "no process is called pear: there are tty(5), ds(6)"),
        (&["--why", "*(long *)0x123450", "--process", "tty"], "tty(5) has no memory at 0x123450"),
        (&["--why", "*(long *)0xffff900000000000"], "the kernel has no memory at 0xffff900000000000"),
        (&["--why", "*(long *)0x0000800000000000"], "the kernel has no memory at 0x800000000000"),
        (
            &["--why", "*(long *)0xffff900000000000", "--at", "100000"],
            "the kernel has no memory at 0xffff900000000000 then",
        ),
        (&["--why", "ds::HEAP", "--at", "1000000000"], "the record has no instruction 1000000000"),
        (&["--at", "9223372036854775807", "--", "-batch"], "the record has no instruction 92233720368547758"),
        (&["--at", "9223372036854775808"], "9223372036854775808 is not in 0..=9223372036854775807"),
        (&["--why", "ds::HEAP", "--events"], "cannot be used with"),
    ] {
        let started = Instant::now();
        let (is_good, text) = guest.replay(arguments);
        assert!(text.contains(reason), "{arguments:?}: {text}");
        assert!(!is_good || reason.starts_with("nobody"), "{arguments:?}: {text}");
        assert!(started.elapsed() < LIMIT, "{arguments:?} took {:?}", started.elapsed());
    }
    let output = Command::new(launcher()).args(["replay", "no_such_test"]).output().expect("xtask runs");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("`cargo xtask test --record --exact no_such_test` makes one"), "{text}");
    let output = Command::new(launcher()).args(["replay", ".."]).output().expect("xtask runs");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("there is no record of the run in ..") && !text.contains("--exact"), "{text}");
}

// row I2
#[test]
fn nothing_of_a_replay_is_left_when_gdb_or_the_command_is_killed() {
    let Some(guest) = program() else { return };
    let mark = format!("replay-{}", std::process::id());
    let word = format!("TESSERA_MARK={mark}");
    let start = |command: &str| {
        let mut xtask = Command::new(launcher());
        xtask
            .env("TESSERA_MARK", &mark)
            .arg("replay")
            .arg(&guest.bundle)
            .args(["--", "-batch", "-ex", command]);
        xtask.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("xtask runs")
    };
    let wait_until = |is_so: &dyn Fn(&[String]) -> bool| {
        let started = Instant::now();
        while !is_so(&marked(&word)) {
            assert!(started.elapsed() < LIMIT, "{:?}", marked(&word));
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    let mut killed = start("python import os, signal; os.kill(os.getpid(), signal.SIGKILL)");
    assert!(!killed.wait().expect("it ends").success());
    wait_until(&|left| left.is_empty());
    let mut xtask = start("python import time; time.sleep(1000)");
    // Both are there, the machine and gdb.
    let has = |processes: &[String], name: &str| processes.iter().any(|line| line.contains(name));
    wait_until(&|there| has(there, "qemu-system") && has(there, "target remote "));
    xtask.kill().expect("it runs");
    xtask.wait().expect("it ends");
    wait_until(&|left| left.is_empty());
}
