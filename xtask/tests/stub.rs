//! gdb at the kernel's own stub, on machines that run the guest tests' programs.
//!
//! What gdb says is a transcript, compared with a reviewed one in `snapshots`; addresses, lines and offsets
//! are taken out of it. These tests need QEMU and gdb; where they are missing they test nothing, except in
//! CI, where that is an error.

mod debugged;
mod host;

use abi::boot::ExitCode;
use debugged::{Debugged, PROGRAM, exit};
use harness::build;
use harness::tools::{GDB, QEMU};
use host::{launcher, programs};
use std::time::{Duration, Instant};

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
    debugged.ask_all(&["break ds::main", "continue"]);
    debugged.ask_all(&["monitor ps", "monitor ipc", "monitor irq", "monitor grants tty", "monitor nosuch"]);
    insta::assert_snapshot!(debugged.transcript());
    let maps = debugged.ask("monitor maps ds");
    let has = |access: &str| maps.lines().any(|line| line.contains(access));
    assert!(has(" r-x ") && has(" rw- ") && !has(" rwx "), "{maps}");
    assert!(debugged.ask("monitor timers").starts_with("uptime "));
    assert_eq!(debugged.ask("monitor trace on"), "calls are logged\n");
}

// row I2
#[test]
fn a_breakpoint_in_a_service_stops_that_service_and_no_other() {
    let Some(mut debugged) = Debugged::start(PROGRAM) else { return };
    debugged.ask_all(&["break ds::main", "continue", "bt", "info breakpoints"]);
    insta::assert_snapshot!(debugged.transcript());
    let name = debugged.current();
    assert!(name.contains("(ds, endpoint"), "{name}");
    // Nobody else comes there until the machine ends.
    let end = debugged.ask("continue");
    assert!(end.contains("Remote connection closed"), "{end}");
    assert_eq!(debugged.end().0, exit(ExitCode::Success));
}

// row I2
#[test]
fn registers_memory_and_stack_are_those_of_any_process() {
    let Some(mut debugged) = Debugged::start(PROGRAM) else { return };
    debugged.ask_all(&["break ds::main", "continue"]);
    let (tty, ds) = (debugged.thread("tty"), debugged.thread("ds"));
    let root = |debugged: &mut Debugged| {
        let root = debugged.ask("print/x $cr3");
        root.split(" = ").nth(1).expect("a value").to_owned()
    };
    debugged.ask(&format!("thread {tty}"));
    let stack = debugged.ask("bt -3");
    assert!(stack.contains("in tty::") && stack.contains("in _start"), "{stack}");
    let of_tty = root(&mut debugged);
    debugged.ask(&format!("thread {ds}"));
    assert_ne!(of_tty, root(&mut debugged));
    // Each has its own memory, also when it isn't the one that runs.
    let stack = debugged.ask("print/x $rsp");
    let stack = stack.trim().split(" = ").nth(1).expect("a value").to_owned();
    let read = format!("x/1xg {stack}");
    debugged.ask(&format!("set var *({stack} as *mut u64) = 0x1122334455667788"));
    assert!(debugged.ask(&read).contains("0x1122334455667788"));
    let other = debugged.ask(&format!("thread apply {tty} -q {read}"));
    assert!(!other.contains("0x1122334455667788"), "{other}");
    debugged.ask("set var $r15 = 0x1234");
    assert!(debugged.ask("print/x $r15").contains("0x1234"));
}

// row I2
#[test]
fn what_can_t_be_read_or_written_is_an_error_and_no_crash() {
    let Some(mut debugged) = Debugged::start(PROGRAM) else { return };
    debugged.ask_all(&["break ds::main", "continue", "delete"]);
    for (command, error) in [
        ("x/1xg 0x10", "Cannot access memory at address 0x10"),
        ("x/1xg 0x7ffffffffff8", "Cannot access memory"),
        ("x/1xg 0xffff900000000000", "Cannot access memory"),
        ("set var *($pc as *mut u8) = 0", "Cannot access memory"),
        ("set var $pc = 0xffffffff80200000", "Could not write"),
        ("set var $cr3 = 0", "Could not write"),
    ] {
        let said = debugged.ask(command);
        assert!(said.contains(error), "{command}: {said}");
    }
    let end = debugged.ask("continue");
    assert!(end.contains("Remote connection closed"), "{end}");
    assert_eq!(debugged.end().0, exit(ExitCode::Success));
}

// row I2
#[test]
fn a_watchpoint_stops_who_writes_there() {
    let Some(mut debugged) = Debugged::start(PROGRAM) else { return };
    debugged.ask_all(&["break ds::main", "continue", "delete"]);
    // The next call puts its return address there.
    let set = debugged.ask("watch -l *(($rsp - 8) as *mut u64)");
    assert!(set.contains("Hardware watchpoint"), "{set}");
    let hit = debugged.ask("continue");
    assert!(hit.contains("Old value") && hit.contains("New value"), "{hit}");
    let name = debugged.current();
    assert!(name.contains("(ds, endpoint"), "{name}");
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
    assert!(debugged.current().contains("(kernel)"));
    debugged.ask_all(&["break ds::main", "continue"]);
    let start = place(&mut debugged);
    debugged.ask("stepi");
    assert_ne!(start, place(&mut debugged));
    debugged.ask("step");
    let stack = debugged.ask("bt");
    assert!(stack.contains("in ds::main ()"), "{stack}");
    assert!(debugged.current().contains("(ds, endpoint"));
}

// row I2
#[test]
fn a_machine_that_gdb_leaves_goes_on_to_its_proper_end() {
    let Some(mut debugged) = Debugged::start(PROGRAM) else { return };
    debugged.ask_all(&["break ds::main", "continue", "watch *(long *)$rsp"]);
    let detached = debugged.ask("detach");
    assert!(detached.contains("detached"), "{detached}");
    let (exit_code, console) = debugged.end();
    assert_eq!(exit_code, exit(ExitCode::Success), "{console}");
}

// row I2
#[test]
fn a_machine_that_runs_to_its_end_under_gdb_ends_as_without_it() {
    let Some(mut debugged) = Debugged::start(PROGRAM) else { return };
    let said = debugged.ask("continue");
    assert!(said.contains("Remote connection closed") || said.contains("exited"), "{said}");
    assert_eq!(debugged.end().0, exit(ExitCode::Success));
}

// row I2
#[test]
fn a_machine_that_gdb_kills_ends_as_a_failure() {
    let Some(mut debugged) = Debugged::start(PROGRAM) else { return };
    debugged.ask_all(&["set confirm off", "kill"]);
    assert_eq!(debugged.end().0, exit(ExitCode::Failure));
}

// row I2
#[test]
fn ctrl_c_stops_a_machine_that_waits_and_gdb_can_come_back() {
    let Some(mut debugged) = Debugged::start(build::MONITOR) else { return };
    debugged.gdb.tell("continue").expect("gdb takes commands");
    std::thread::sleep(Duration::from_millis(500));
    let said = debugged.gdb.stop().expect("it stops");
    assert!(said.contains("SIGINT"), "{said}");
    let threads = debugged.ask("info threads");
    assert!(threads.contains("(monitor") && threads.contains("receiving from"), "{threads}");
    debugged.ask("detach");
    let remote = format!("target remote {}", debugged.machine.debugger().display());
    let said = debugged.ask(&remote);
    assert!(!said.contains("timed out"), "{said}");
    let threads = debugged.ask("info threads");
    assert!(threads.contains("(monitor"), "{threads}");
}

/// `cargo xtask gdb`, without a terminal: its exit code, and all that it printed.
fn command(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = std::process::Command::new(launcher());
    let output = command.arg("gdb").args(arguments).stdin(std::process::Stdio::null()).output();
    let output = output.expect("xtask runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
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
