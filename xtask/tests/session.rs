//! What one does in gdb all day, at the kernel's own stub: stacks, registers, breakpoints of each kind, signals,
//! Ctrl-C; and that gdb itself finds nothing missing meanwhile.

mod debugged;
mod host;

use abi::boot::ExitCode;
use debugged::{Debugged, PROGRAM, exit};
use harness::build;
use harness::machine::{Next, Output};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// A program of two processes that share a function.
const SHARING: &str = "messages_cross_whole_between_services";
/// That function.
const SHARED: &str = "messages_cross_whole_between_services::pattern";
/// A program that is interrupted by the clock.
const BUSY: &str = "equals_take_turns";
/// A program that waits for the clock.
const WAITING: &str = "alarms_go_off_in_time";
/// Where a service answers a request.
const ANSWERS: &str = "ds::{impl#1}::publish";

// row I2
#[test]
fn one_goes_up_and_out_of_functions() {
    let Some(mut debugged) = Debugged::start(PROGRAM) else { return };
    let place = format!("break {ANSWERS}");
    debugged.ask_all(&[&place, "continue", "up", "info frame", "down", "finish", "bt 1"]);
    insta::assert_snapshot!(debugged.ends_well());
}

// row I2
#[test]
fn vector_and_segment_registers_are_each_threads_own() {
    let Some(mut debugged) = Debugged::start(SHARING) else { return };
    let place = format!("break {SHARED}");
    debugged.ask_all(&[&place, "continue", "delete"]);
    let [peer, main] = debugged.threads(["peer", SHARING]).map(|thread| format!("thread {thread}"));
    debugged.ask_all(&["set var $xmm7.v2_int64[1] = 1234567890", &peer, "print $xmm7.v2_int64"]);
    // It reaches the processor, and comes back from there.
    debugged.ask_all(&[&main, "print $xmm7.v2_int64[1]", "stepi", "print $xmm7.v2_int64[1]", "print $mxcsr"]);
    for base in ["fs_base", "gs_base"] {
        debugged.ask_all(&[&format!("print/x ${base}"), &format!("set var ${base} = 4096")]);
    }
    insta::assert_snapshot!(debugged.ends_well());
}

/// A transcript without whom an interrupt met, and which it was: the clock's, or that of a byte of gdb's, which comes when it
/// likes.
fn whatever_interrupts(transcript: &str) -> String {
    // Whether that is still in a register when a function is left is the compiler's doing.
    let text = with_each(transcript, "tessera=", "[VALUE]", |rest| rest.find([',', ')']));
    let text = with_each(&text, "slot=", "[WHOSE]", |rest| rest.find(", struck"));
    ["(u=224)", "(u=240)"].iter().fold(text, |text, vector| text.replace(vector, "(u=[VECTOR])"))
}

/// Replaces what follows each `mark`, up to where `end` finds its end.
fn with_each(text: &str, mark: &str, replacement: &str, end: impl Fn(&str) -> Option<usize>) -> String {
    let mut pieces = text.split(mark);
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |text, rest| text + mark + replacement + &rest[end(rest).unwrap_or(0)..])
}

// row I2
#[test]
fn debug_registers_stop_in_the_kernel_and_in_programs() {
    let Some(mut debugged) = Debugged::start(BUSY) else { return };
    debugged.ask_all(&["hbreak equals_take_turns::hog", "continue", "info threads", "delete"]);
    debugged.ask("hbreak kernel::interrupted");
    for _ in 0..3 {
        debugged.ask_all(&["continue", "thread", "bt 3"]);
    }
    debugged.ask_all(&["delete", "continue"]);
    insta::assert_snapshot!(whatever_interrupts(&debugged.told(ExitCode::Success)));
}

// row I2
#[test]
fn the_kernel_is_stepped_by_lines_in_the_middle_of_its_work() {
    let Some(mut debugged) = Debugged::start(BUSY) else { return };
    debugged.ask_all(&["hbreak kernel::interrupted", "continue", "delete"]);
    let mut places = BTreeSet::new();
    for command in ["next", "step", "next", "stepi"] {
        debugged.ask_all(&[command, "thread"]);
        places.insert(debugged.ask("print/x $pc").split(" = ").nth(1).expect("a value").to_owned());
    }
    assert!(places.len() > 2, "{places:?}");
    debugged.ask_all(&[
        "break kernel::take",
        "continue",
        "delete",
        "up",
        "down",
        "finish",
        "thread",
        "continue",
    ]);
    insta::assert_snapshot!(whatever_interrupts(&debugged.told(ExitCode::Success)));
}

// row I2
#[test]
fn a_breakpoint_in_shared_code_is_for_one_process_if_asked() {
    let Some(mut debugged) = Debugged::start(SHARING) else { return };
    let place = format!("break {SHARED}");
    // The main process stops there, and comes there twice more.
    debugged.ask_all(&[&place, "continue", "delete"]);
    let peer = debugged.thread("peer");
    debugged.ask(&format!("{place} thread {peer}"));
    // Two messages, each compared with what was sent, and an answer.
    while !debugged.ask("continue").contains("Remote connection closed") {
        let who = debugged.current();
        assert!(who.contains("(peer, endpoint"), "{who}\n{}", debugged.gdb.transcript());
    }
    insta::assert_snapshot!(debugged.told(ExitCode::Success));
}

// row I2
#[test]
fn a_watchpoint_is_for_the_process_in_which_it_was_set_last() {
    let Some(mut debugged) = Debugged::start(SHARING) else { return };
    debugged.ask_all(&["break ds::main", "continue", "delete"]);
    // Both have it there, and write to it when they start.
    let watch = format!("watch -l *((&{SHARING}::HEAP as usize + 16) as *mut u64)");
    let [main, peer] = debugged.threads([SHARING, "peer"]).map(|thread| format!("thread {thread}"));
    debugged.ask_all(&[&main, &watch, "stepi"]);
    for (thread, name) in [(peer, "peer"), (main, SHARING)] {
        debugged.ask_all(&["delete", &thread, &watch, "continue"]);
        let who = debugged.current();
        assert!(who.contains(&format!("({name}, endpoint")), "{who}\n{}", debugged.gdb.transcript());
    }
    debugged.ask("delete");
    insta::assert_snapshot!(debugged.ends_well());
}

// row I2
// row F5
#[test]
fn signals_of_processes_stop_the_system_if_asked() {
    let Some(mut debugged) = Debugged::start("a_manager_takes_the_signals_of_its_processes") else { return };
    debugged.ask("monitor catch signals");
    for _ in ["SIGUSR1", "SIGTERM"] {
        debugged.ask_all(&["continue", "info threads", "monitor ipc"]);
    }
    debugged.ask_all(&["monitor catch none", "continue"]);
    insta::assert_snapshot!(debugged.told(ExitCode::Success));
}

// row I2
#[test]
fn whoever_reads_or_executes_is_stopped_by_debug_registers_as_well() {
    let Some(mut debugged) = Debugged::start(PROGRAM) else { return };
    debugged.ask_all(&[&format!("hbreak {ANSWERS}"), "continue", "bt 1", "delete"]);
    // A program's return address is read when its function ends; below it the function keeps something, and takes it back.
    debugged.ask_all(&["tbreak console::Output::flush", "continue"]);
    debugged.ask_all(&[
        "set output-radix 16",
        "rwatch -l *($rsp as *mut u64)",
        "awatch -l *(($rsp - 8) as *mut u64)",
    ]);
    for _ in 0..3 {
        debugged.ask_all(&["continue", "thread"]);
    }
    debugged.ask("delete");
    insta::assert_snapshot!(debugged.ends_well());
}

// row I2
#[test]
fn a_watchpoint_in_the_kernel_stops_the_kernel() {
    let Some(mut debugged) = Debugged::start(WAITING) else { return };
    debugged.ask_all(&["watch -l kernel_x86_64::timer::IDLE", "continue", "thread", "bt 3", "delete"]);
    let told = debugged.ends_well();
    insta::assert_snapshot!(with_each(&told, "{value: ", "[TIME]", |rest| rest.find('}')));
}

// row I2
#[test]
fn registers_that_are_written_are_those_that_the_processor_goes_on_with() {
    let Some(mut debugged) = Debugged::start(PROGRAM) else { return };
    debugged.ask_all(&["tbreak console::Output::flush", "continue"]);
    let [call, branch] = ["syscall", "jne"].map(|instruction| {
        let code = "gdb.execute('disassemble sys::sendrec', to_string=True)";
        let found = format!("next(l.split()[0] for l in {code}.splitlines() if '\\t{instruction}' in l)");
        debugged.ask(&format!("python print({found})")).trim().to_owned()
    });
    let at_call = format!("break *{call}");
    // Messages go in vector registers: this is text for the console.
    debugged.ask_all(&[&at_call, "continue", "set var $xmm2.v2_int64[0] = 0x2121212121212121"]);
    // The next call isn't made at all, and has a result of ours.
    let behind = format!("set var $rip = {call} + 2");
    debugged.ask_all(&["continue", &behind, "set var $rax = -1", "delete"]);
    // The comparison with the result of the last of these has another outcome.
    debugged.ask_all(&[&format!("break *{branch}"), "continue", "continue", "continue", "continue"]);
    debugged.ask_all(&["print $eflags", "set var $eflags = 0x202", "delete", "detach"]);
    let transcript = debugged.transcript();
    let (exit_code, console) = debugged.end();
    assert_eq!(exit_code, exit(ExitCode::Success), "{console}\n{transcript}");
    insta::assert_snapshot!(format!("{transcript}--- console\n{console}"));
}

// row I2
#[test]
fn faults_stop_the_system_if_asked_and_end_their_process_if_gdb_passes_them_on() {
    let Some(mut debugged) = Debugged::start("a_fault_ends_only_its_process") else { return };
    debugged.ask_all(&["monitor catch none", "monitor catch everything", "monitor catch faults", "continue"]);
    // Without its signal the process tries again.
    debugged.ask_all(&["info threads", "signal 0", "bt 1", "continue"]);
    insta::assert_snapshot!(debugged.told(ExitCode::Success));
}

// row I2
#[test]
fn page_faults_that_vm_takes_stop_the_system_if_asked() {
    let Some(mut debugged) = Debugged::start("vm_is_told_of_page_faults") else { return };
    debugged.ask_all(&["monitor catch page-faults", "continue", "bt 1", "monitor ipc", "continue", "bt 1"]);
    debugged.ask_all(&["monitor catch none", "continue"]);
    insta::assert_snapshot!(debugged.told(ExitCode::Success));
}

// row I2
#[test]
fn page_faults_that_vm_refuses_stop_the_system() {
    let Some(mut debugged) = Debugged::start("vm_is_told_of_page_faults") else { return };
    debugged.ask_all(&["continue", "bt 1", "monitor ipc", "continue"]);
    insta::assert_snapshot!(debugged.told(ExitCode::Success));
}

// row I2
#[test]
fn signals_that_end_a_process_stop_the_system_before_it_ends_if_asked() {
    let Some(mut debugged) = Debugged::start("vm_is_told_of_page_faults") else { return };
    debugged.ask_all(&["monitor catch none", "monitor catch signals", "continue", "bt 1", "continue"]);
    insta::assert_snapshot!(debugged.told(ExitCode::Success));
}

// row I2
#[test]
fn ctrl_c_stops_whatever_runs() {
    let Some(mut debugged) = Debugged::start("endless_output_ends_the_machine") else { return };
    for round in 0..20 {
        debugged.gdb.tell("continue").expect("gdb takes commands");
        std::thread::sleep(Duration::from_millis(50 + round % 7));
        let said = debugged.gdb.stop().expect("it stops");
        assert!(said.contains("SIGINT"), "{round}: {said}");
    }
    // It is the same machine as before, which goes on and can be looked at.
    let threads = debugged.ask("info threads");
    assert!(threads.contains("(endless_output_ends_the_machine"), "{threads}");
    debugged.ask("detach");
}

// row I2
#[test]
fn the_monitor_starts_the_machine_over() {
    let Some(mut debugged) = Debugged::start(build::MONITOR) else { return };
    debugged.ask_all(&["break ds::main", "continue"]);
    debugged.gdb.tell("monitor reboot").expect("gdb takes commands");
    let until = Instant::now() + debugged::LIMIT;
    let mut is_reset = false;
    loop {
        match debugged.machine.next(until) {
            Next::Output(Output::Reset) => is_reset = true,
            Next::Output(_) => {}
            // QEMU is told to end with a reset.
            Next::Ended(_) => break,
            Next::Late => panic!("the machine doesn't end"),
        }
    }
    assert!(is_reset);
    debugged.gdb.answer().expect("gdb sees the end");
    insta::assert_snapshot!(debugged.transcript());
}

/// Packets that were answered by nothing, which is how a stub says that it doesn't know them.
const UNKNOWN: [&str; 2] = [
    // gdb checks by it that unknown packets are answered so.
    "vMustReplyEmpty",
    // Where the program was moved to: it is where its file says.
    "qOffsets",
];
/// Packets that were answered by an error: reads of memory that isn't there, which gdb tries when it takes back a
/// breakpoint of a process while it looks at the kernel.
const REFUSED: [&str; 1] = ["m"];

// row I2
#[test]
fn gdb_finds_nothing_missing_on_ordinary_use() {
    let Some(mut debugged) = Debugged::start_with(PROGRAM, &["-iex", "set debug remote 1"]) else { return };
    let answers = format!("break {ANSWERS}");
    debugged.ask_all(&[
        "info threads",
        "bt",
        "info registers",
        "stepi",
        "next",
        "break ds::main",
        "continue",
    ]);
    debugged.ask_all(&["info threads", "thread apply all -q bt 3", "x/4xg $sp", "x/3i $pc", "step", "next"]);
    debugged.ask_all(&[&answers, "continue", "up", "info locals", "finish", "set var $r15 = $r15"]);
    debugged.ask_all(&["set var *($sp as *mut u64) = *($sp as *mut u64)", "watch -l *($sp as *mut u64)"]);
    debugged.ask_all(&["rwatch *(($sp + 8) as *mut u64)", "hbreak kernel::main", "continue", "continue"]);
    debugged.ask_all(&["info breakpoints", "delete", "info signals SIGSEGV", "monitor ps", "process ds"]);
    debugged.ask_all(&["print $xmm0", "print $fs_base", "info all-registers", "thread 1", "bt"]);
    debugged.ask_all(&["tbreak ds::{impl#1}::retrieve", "continue", "until", "advance ds::{impl#1}::delete"]);
    debugged.ask("detach");
    let transcript = debugged.gdb.transcript().to_owned();
    assert_eq!(debugged.end().0, exit(ExitCode::Success), "{transcript}");
    let (mut unknown, mut refused, mut missing) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut sent = "";
    for line in transcript.lines() {
        if let Some((_, packet)) = line.split_once("Sending packet: $") {
            sent = packet.rsplit_once('#').map_or(packet, |(body, _)| body);
        } else if let Some((_, answer)) = line.split_once("Packet received:") {
            match answer.trim() {
                "" => drop(unknown.insert(name(sent))),
                answer if is_error(answer) => drop(refused.insert(name(sent))),
                _ => {}
            }
        } else if line.contains("is NOT supported") {
            missing.insert(line.split_once("Packet ").map_or(line, |(_, packet)| packet));
        }
    }
    assert_eq!(unknown, BTreeSet::from(UNKNOWN), "{transcript}");
    assert_eq!(refused, BTreeSet::from(REFUSED), "{transcript}");
    assert!(missing.is_empty(), "{missing:?}: {transcript}");
    assert!(!transcript.contains("Protocol error") && !transcript.contains("unknown packet"), "{transcript}");
}

/// What a packet is called: its letter, or its word.
fn name(packet: &str) -> &str {
    if packet.starts_with(['q', 'Q', 'v']) {
        return packet.split([':', ';', ',']).next().unwrap_or(packet);
    }
    packet.get(..1).unwrap_or(packet)
}

fn is_error(answer: &str) -> bool {
    answer.len() == 3 && answer.starts_with('E') && answer[1..].bytes().all(|byte| byte.is_ascii_hexdigit())
}
