//! gdb at the kernel's own stub, on machines that run the guest tests' programs.
//!
//! What gdb says is a transcript, compared with a reviewed one in `snapshots`; addresses, lines and offsets
//! are taken out of it. These tests need QEMU and gdb; where they are missing they test nothing, except in
//! CI, where that is an error.

mod debugged;
mod host;

use abi::boot::ExitCode;
use debugged::{Debugged, LIMIT, PROGRAM, Waiting};
use harness::bench::RoundTrips;
use harness::build;
use harness::observe::{Wish, watch};
use harness::tools::{GDB, QEMU};
use host::{launcher, marked, programs, workshop};
use std::io::{Read, Write};
use std::ops::Range;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A program that grants memory directly and by way of other grants.
const GRANTING: &str = "hostile_grant_tables_reach_nothing";
/// A program that grants the memory of another process.
const LENDING: &str = "drivers_move_bytes_between_ports_and_grants";
/// A program that waits for alarms.
const ALARMS: &str = "alarms_go_off_in_time";

// row I2
#[test]
fn gdb_lists_each_process_by_name_and_what_it_waits_for() {
    let Some(mut debugged) = Debugged::start(PROGRAM) else { return };
    debugged.ask_all(&["info threads", "break ds::main", "continue", "info threads"]);
    insta::assert_snapshot!(debugged.transcript());
}

// row I2
#[test]
fn the_monitor_tells_what_the_kernel_knows() {
    let Some(mut debugged) = Debugged::start(PROGRAM) else { return };
    debugged.ask_all(&["break ds::main", "continue", "monitor ps", "monitor ipc", "monitor irq"]);
    debugged.ask_all(&["monitor grants tty", "monitor grants 6"]);
    // Where the process runs and where its stack is, and nothing twice.
    let maps = maps(&debugged.ask("monitor maps ds"));
    assert!(maps.is_sorted_by(|(before, _), (next, _)| before.end <= next.start), "{maps:x?}");
    for (register, expected) in [("$pc", "r-x"), ("$sp", "rw-")] {
        let value = debugged.ask(&format!("print/x {register}"));
        let address = value.trim().split_once(" = 0x").and_then(|(_, hex)| u64::from_str_radix(hex, 16).ok());
        let address = address.unwrap_or_else(|| panic!("{value}"));
        let found = maps.iter().find(|(pages, _)| pages.contains(&address));
        assert_eq!(found.map(|(_, rights)| rights.as_str()), Some(expected), "{register} {value}: {maps:x?}");
    }
    debugged.ask_all(&["monitor maps nobody", "monitor nosuch"]);
    debugged.ask_all(&["delete", "break ds::{impl#1}::publish", "continue", "monitor ps", "monitor ipc"]);
    insta::assert_snapshot!(debugged.ends_well());
}

/// The pages that `monitor maps` tells of, and what may be done with them.
fn maps(said: &str) -> Vec<(Range<u64>, String)> {
    let hex = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).expect("an address");
    let line = |line: &str| {
        let mut words = line.split(' ');
        let (start, end) = words.next()?.split_once('-')?;
        Some((hex(start)..hex(end), words.next()?.to_owned()))
    };
    said.lines().map(|text| line(text).unwrap_or_else(|| panic!("{text} in {said}"))).collect()
}

// row I2
#[test]
fn the_monitor_tells_who_grants_what_to_whom() {
    let Some(mut debugged) = Debugged::start(GRANTING) else { return };
    for place in ["entries", "chains", "tables"] {
        debugged.ask_all(&[&format!("tbreak {GRANTING}::{place}"), "continue", "monitor grants 17"]);
    }
    debugged.ask(&format!("monitor grants {GRANTING}"));
    insta::assert_snapshot!(debugged.ends_well());
}

// row I2
#[test]
fn the_monitor_tells_of_grants_of_the_memory_of_another() {
    let Some(mut debugged) = Debugged::start(LENDING) else { return };
    // Somebody has just asked for a grant, and is about to use it.
    debugged.ask(&format!("break {LENDING}.rs:{}", line_of(LENDING, "safecopy_to(b\"granted\", granter")));
    for granter in ["owner", "granter"] {
        debugged.ask_all(&["continue", &format!("monitor grants {granter}")]);
    }
    debugged.ask("delete");
    insta::assert_snapshot!(debugged.ends_well());
}

// row I2
#[test]
fn the_monitor_tells_when_alarms_go_off() {
    let Some(mut debugged) = Debugged::start(ALARMS) else { return };
    // What the main process does when its alarm is set, and the other one with an alarm of its own.
    let (main, other) =
        (line_of(ALARMS, "sys::notify(OTHER)"), line_of(ALARMS, "sys::notify(message.source)"));
    let before = line_of(ALARMS, "sys::receive(Endpoint::CLOCK);");
    debugged.ask("monitor timers");
    let mut uptimes = Vec::new();
    for place in [main, before, other] {
        debugged.ask_all(&[&format!("tbreak {ALARMS}.rs:{place}"), "continue"]);
        let said = debugged.ask("monitor timers");
        let uptime = said.split(' ').nth(1).and_then(|ms| ms.parse::<u64>().ok());
        uptimes.push(uptime.unwrap_or_else(|| panic!("{said}")));
    }
    // Alarms in 5 ms, 100 ms and a minute were waited for before, and the other process's in the end.
    assert!(
        uptimes[0] >= 60_105 && uptimes[1] < uptimes[0] + 5 && uptimes[2] >= uptimes[1] + 10,
        "{uptimes:?}"
    );
    debugged.ask("delete");
    insta::assert_snapshot!(debugged.ends_well());
}

/// Where that stands in a guest test, the first time.
fn line_of(test: &str, text: &str) -> usize {
    let source = host::root().join(format!("fixtures/guest/examples/{test}.rs"));
    let source = std::fs::read_to_string(source).expect("a guest test");
    source.lines().position(|line| line.contains(text)).expect("it is there") + 1
}

// row I2
#[test]
fn the_monitor_has_calls_logged_and_no_longer() {
    let Some(mut debugged) = Debugged::start(PROGRAM) else { return };
    debugged.ask_all(&["break ds::{impl#1}::publish", "break ds::{impl#1}::retrieve", "continue"]);
    debugged.ask_all(&["monitor trace on", "continue", "monitor trace off", "delete"]);
    let log = debugged.machine.log(1 << 20).expect("a log").bytes;
    let told = debugged.ends_well();
    insta::assert_snapshot!(format!("{told}--- log\n{}", String::from_utf8_lossy(&log)));
}

// row I2
#[test]
fn a_breakpoint_in_a_service_stops_that_service_and_no_other() {
    let Some(mut debugged) = Debugged::start(PROGRAM) else { return };
    debugged.ask_all(&["break ds::main", "continue", "bt", "info breakpoints", "info threads"]);
    // Nobody else comes there until the machine ends.
    debugged.ask("continue");
    insta::assert_snapshot!(debugged.told(ExitCode::Success));
}

// row I2
#[test]
fn registers_memory_and_stack_are_those_of_any_process() {
    let Some(mut debugged) = Debugged::start(PROGRAM) else { return };
    debugged.ask_all(&["break ds::main", "continue"]);
    let [tty, ds] = debugged.threads(["tty", "ds"]);
    let root = |debugged: &mut Debugged| {
        let root = debugged.ask("print/x $cr3");
        root.split(" = ").nth(1).expect("a value").to_owned()
    };
    debugged.ask_all(&[&format!("thread {tty}"), "bt -3"]);
    let of_tty = root(&mut debugged);
    debugged.ask(&format!("thread {ds}"));
    assert_ne!(of_tty, root(&mut debugged));
    // Each has its own memory, also when it isn't the one that runs.
    let stack = debugged.ask("print/x $rsp");
    let stack = stack.trim().split(" = ").nth(1).expect("a value").to_owned();
    let before = debugged.ask(&format!("x/1xg {stack}"));
    debugged.ask(&format!("set var *({stack} as *mut u64) = 1234567890"));
    debugged.says(&format!("x/1dg {stack}"), "1234567890");
    let other = debugged.ask(&format!("thread apply {tty} -q x/1dg {stack}"));
    assert!(!other.contains("1234567890"), "{other}");
    debugged.ask_all(&["set var $r15 = 4660", "print $r15", "info registers rip eflags cs cr0 cr4"]);
    let before = before.trim().rsplit('\t').next().expect("a number");
    debugged.ask(&format!("set var *({stack} as *mut u64) = {before}"));
    insta::assert_snapshot!(debugged.ends_well());
}

// row I2
#[test]
fn what_can_t_be_read_or_written_is_an_error_and_no_crash() {
    let Some(mut debugged) = Debugged::start(PROGRAM) else { return };
    debugged.ask_all(&["break ds::main", "continue", "delete"]);
    debugged.ask_all(&["x/1xg 0x10", "x/1xg 0x7ffffffffff8", "x/1xg 0xffff900000000000"]);
    debugged.ask_all(&["set var *(0x10 as *mut u64) = 1", "set var *(0xffff900000000000 as *mut u64) = 1"]);
    debugged.ask_all(&[
        "set var *($pc as *mut u8) = 0",
        "set var $pc = 0xffffffff80200000",
        "set var $cr3 = 0",
    ]);
    debugged.ask("continue");
    insta::assert_snapshot!(debugged.told(ExitCode::Success));
}

// row I2
#[test]
fn a_write_over_the_end_of_memory_changes_nothing() {
    let Some(mut debugged) = Debugged::start(PROGRAM) else { return };
    debugged.ask_all(&["break ds::main", "continue", "delete"]);
    let maps = maps(&debugged.ask("monitor maps ds"));
    let is_end = |end| maps.iter().all(|(range, _)| range.start != end);
    let writable = maps.iter().filter(|(_, rights)| rights.contains('w'));
    let last = writable.map(|(range, _)| range.end).rfind(|end| is_end(*end)).expect("a stack");
    let look = format!("print/x *({:#x} as *mut u32)", last - 4);
    debugged.ask(&format!("set var *({:#x} as *mut u32) = 0x12345678", last - 4));
    debugged.says(&look, "0x12345678");
    debugged.says(&format!("set var *({:#x} as *mut u64) = 1", last - 4), "Cannot access memory");
    debugged.says(&look, "0x12345678");
}

// row I2
#[test]
fn a_watchpoint_stops_who_writes_there() {
    let Some(mut debugged) = Debugged::start(PROGRAM) else { return };
    debugged.ask_all(&["break ds::main", "continue", "delete"]);
    // The next call puts its return address there.
    debugged.ask_all(&["set output-radix 16", "watch -l *(($rsp - 8) as *mut u64)", "continue"]);
    debugged.ask_all(&["info threads", "delete"]);
    insta::assert_snapshot!(debugged.ends_well());
}

// row I2
#[test]
fn steps_go_by_lines_and_instructions_in_the_kernel_and_in_services() {
    let Some(mut debugged) = Debugged::start(PROGRAM) else { return };
    let place = |debugged: &mut Debugged| {
        debugged.ask("print/x $pc").split(" = ").nth(1).expect("a value").to_owned()
    };
    let start = place(&mut debugged);
    debugged.ask("stepi");
    let second = place(&mut debugged);
    assert_ne!(start, second);
    debugged.ask("next");
    assert_ne!(second, place(&mut debugged));
    debugged.ask_all(&["thread", "break ds::main", "continue"]);
    let start = place(&mut debugged);
    debugged.ask("stepi");
    assert_ne!(start, place(&mut debugged));
    debugged.ask_all(&["step", "bt", "info threads"]);
    insta::assert_snapshot!(debugged.ends_well());
}

// row I2
#[test]
fn a_machine_that_gdb_leaves_goes_on_to_its_proper_end() {
    let Some(mut debugged) = Debugged::start(PROGRAM) else { return };
    debugged.ask_all(&["break ds::main", "continue", "watch -l *($rsp as *mut u64)", "info breakpoints"]);
    insta::assert_snapshot!(debugged.ends_well());
}

// row I2
#[test]
fn a_machine_that_runs_to_its_end_under_gdb_ends_as_without_it() {
    let Some(mut debugged) = Debugged::start(PROGRAM) else { return };
    debugged.ask("continue");
    insta::assert_snapshot!(debugged.told(ExitCode::Success));
}

// row I2
#[test]
fn a_kernel_that_panics_stops_where_it_does_and_ends_after_that() {
    let Some(mut debugged) = Debugged::start("the_kernel_panics") else { return };
    debugged.ask_all(&["continue", "backtrace", "frame function kernel::main", "continue"]);
    insta::assert_snapshot!(debugged.told(ExitCode::KernelPanic));
}

// row I2
#[test]
fn a_machine_that_gdb_kills_ends_as_a_failure() {
    let Some(mut debugged) = Debugged::start(PROGRAM) else { return };
    debugged.ask_all(&["set confirm off", "kill"]);
    insta::assert_snapshot!(debugged.told(ExitCode::Failure));
}

// row I2
#[test]
fn ctrl_c_stops_a_machine_that_waits_and_gdb_can_come_back() {
    let Some(mut debugged) = Debugged::start(build::MONITOR) else { return };
    debugged.gdb.tell("continue").expect("gdb takes commands");
    debugged.wait_until_idle_behind("> ");
    debugged.gdb.stop().expect("it stops");
    debugged.ask_all(&["info threads", "monitor ps", "monitor timers", "detach"]);
    let remote = format!("target remote {}", debugged.machine.debugger().display());
    debugged.ask_all(&[&remote, "info threads"]);
    insta::assert_snapshot!(debugged.transcript());
}

/// A program that writes to the terminal without end.
const ENDLESS: &str = "endless_output_ends_the_machine";
/// Where it comes again and again.
const PLACE: &str = "console::Output::flush";

/// `cargo xtask gdb`, without a terminal: its exit code, and all that it printed.
fn command(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = std::process::Command::new(launcher());
    let output = command.arg("gdb").args(arguments).stdin(std::process::Stdio::null()).output();
    let output = output.expect("xtask runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

/// A terminal that leads to a machine's stub, as a cable does: as long as its end is held.
fn cable(socket: &Path) -> (serialport::TTYPort, PathBuf) {
    use serialport::SerialPort as _;
    let (mut ours, mut theirs) = serialport::TTYPort::pair().expect("a pseudo-terminal");
    theirs.set_exclusive(false).expect("it can be shared");
    ours.set_timeout(LIMIT).expect("a timeout");
    let path = PathBuf::from(theirs.name().expect("a path"));
    let machine = UnixStream::connect(socket).expect("the machine's socket");
    let carry = |mut from: Box<dyn Read + Send>, mut to: Box<dyn Write + Send>| {
        // It ends with the machine.
        std::thread::spawn(move || std::io::copy(&mut from, &mut to));
    };
    let terminal = || Box::new(ours.try_clone_native().expect("a copy"));
    let stream = || Box::new(machine.try_clone().expect("a copy"));
    carry(terminal(), stream());
    carry(stream(), terminal());
    (theirs, path)
}

// row I2
#[test]
fn the_command_attaches_to_a_running_machine_leaves_it_and_attaches_again() {
    let Some(waiting) = Waiting::start(ENDLESS) else { return };
    let socket = waiting.machine.debugger();
    let place = format!("break {PLACE}");
    let goes_on = ["-batch", "-ex", &place, "-ex", "continue", "-ex", "info threads", "-ex", "detach"];
    let attach = |remote: &Path| {
        let remote = remote.to_str().expect("text");
        let (code, text) = command(&[&[ENDLESS, "--attach", remote, "--"], &goes_on[..]].concat());
        assert_eq!(code, Some(0), "{remote}: {text}");
        for expected in [
            "hit Breakpoint 1, ",
            "(tty, endpoint 5: ",
            "(ds, endpoint 6: ",
            "[Inferior 1 (process 1) detached]",
        ] {
            assert!(text.contains(expected), "{expected}: {text}");
        }
    };
    // Each time it has gone on, or it would not come there.
    attach(&socket);
    attach(&socket);
    let (_end, terminal) = cable(&socket);
    attach(&terminal);
}

// row I2
#[test]
fn a_machine_whose_gdb_took_too_long_goes_on() {
    let Some(waiting) = Waiting::start(PROGRAM) else { return };
    let socket = waiting.machine.debugger();
    let socket = socket.to_str().expect("text");
    let stands =
        ["-batch", "-ex", "break ds::main", "-ex", "continue", "-ex", "python import time; time.sleep(1000)"];
    let attach = ["--attach", socket, "--timeout", "10", "--"];
    let (code, text) = command(&[&[PROGRAM], &attach[..], &stands[..]].concat());
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("hit Breakpoint 1, ds::main ()"), "{text}");
    assert!(text.contains("error: gdb didn't end in 10 s and was killed; the machine goes on"), "{text}");
    // To its end.
    let record = watch(waiting.machine, LIMIT, |_| Wish::GoOn);
    assert_eq!(record.exit(), Some(debugged::exit(ExitCode::Success)));
}

// row I2
#[test]
fn gdb_begins_at_the_first_instruction_of_the_kernels_main_with_all_symbols() {
    let Some(waiting) = Waiting::start(PROGRAM) else { return };
    let program = format!("{PROGRAM}::main");
    let functions = ["tty::main", "ds::main", &program];
    let lines = functions.map(|function| format!("info line {function}"));
    let mut looks = vec!["-batch", "-ex", "info symbol $pc"];
    looks.extend(lines.iter().flat_map(|line| ["-ex", line]));
    let check = |text: &str| {
        let place =
            text.lines().find_map(|line| line.split_once(" in section .text")).map(|(place, _)| place);
        // Any other instruction has an offset.
        assert!(
            place.is_some_and(|place| place.starts_with("kernel::main") && !place.contains('+')),
            "{text}"
        );
        assert_eq!(text.matches("\" starts at address ").count(), functions.len(), "{text}");
    };
    let (code, text) = command(&[&[PROGRAM, "--"], &looks[..]].concat());
    assert_eq!(code, Some(0), "{text}");
    check(&text);
    // The command that is printed does the same by itself.
    let socket = waiting.machine.debugger();
    let socket = socket.to_str().expect("text");
    let (code, text) =
        command(&[&[PROGRAM, "--print-command", "--attach", socket, "--"], &looks[..]].concat());
    assert_eq!(code, Some(0), "{text}");
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", text.lines().next().expect("a command")]).current_dir(host::root());
    let output = shell.stdin(std::process::Stdio::null()).output().expect("sh runs");
    check(&String::from_utf8_lossy(&output.stdout));
}

// row I2
#[test]
fn the_command_starts_a_machine_and_ends_it_with_gdb() {
    let Some(_) = programs([GDB, QEMU]) else { return };
    let batch = ["-batch", "-ex", "break ds::main", "-ex", "continue", "-ex", "info threads"];
    let (code, text) = command(&[&[PROGRAM, "--"], &batch[..]].concat());
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("hit Breakpoint 1, ds::main ()") && text.contains("(ds, endpoint 6: running)"),
        "{text}"
    );
    let (code, text) =
        command(&[PROGRAM, "--timeout", "2", "--", "-batch", "-ex", "python import time; time.sleep(1000)"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("gdb didn't end in 2 s and was killed"), "{text}");
    // What gdb has started ends with it, and leaves what it wrote to.
    let started = Instant::now();
    let (code, text) = command(&[PROGRAM, "--timeout", "2", "--", "-batch", "-ex", "shell sleep 1000"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(started.elapsed() < Duration::from_secs(500), "{text}");
    let mask = "python import signal; print('blocked:', signal.pthread_sigmask(signal.SIG_BLOCK, []))";
    let (code, text) = command(&[PROGRAM, "--", "-batch", "-ex", mask]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("blocked: set()"), "Ctrl-C is gdb's: {text}");
    let (code, text) = command(&["no_such_test"]);
    assert_eq!(code, Some(4), "{text}");
    let (code, text) = command(&[PROGRAM, "--print-command", "--attach", "/dev/ttyUSB0"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("-ex 'target remote /dev/ttyUSB0'") && text.contains("add-symbol-file"), "{text}");
}

// row I2
#[test]
fn a_stub_that_nobody_is_attached_to_costs_a_round_trip_no_instruction() {
    let Some([qemu]) = programs([QEMU]) else { return };
    let trips = RoundTrips::measure(&workshop(qemu)).expect("all end well");
    let RoundTrips { built_in, attachable, without_debugger } = &trips;
    assert!(built_in == without_debugger && attachable == without_debugger, "{trips:?}");
}

// row I2
#[test]
fn a_gdb_that_is_killed_takes_its_machine_along() {
    let Some(_) = programs([GDB, QEMU]) else { return };
    let mark = format!("gdb-of-{}", std::process::id());
    let stands = ["-ex", "break ds::main", "-ex", "continue"];
    let kill =
        "python import os, signal; print('killed'); sys.stdout.flush(); os.kill(os.getpid(), signal.SIGKILL)";
    let mut command = std::process::Command::new(launcher());
    command
        .env("TESSERA_MARK", &mark)
        .args(["gdb", PROGRAM, "--", "-batch"])
        .args(stands)
        .args(["-ex", kill]);
    let output = command.stdin(std::process::Stdio::null()).output().expect("xtask runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("hit Breakpoint 1, ds::main ()") && text.ends_with("killed\n"), "{text}");
    assert_eq!(output.status.code(), Some(100), "{text}");
    assert_eq!(marked(&format!("TESSERA_MARK={mark}")), Vec::<String>::new());
}
