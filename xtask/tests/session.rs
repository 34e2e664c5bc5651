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
/// Where a service answers a request.
const ANSWERS: &str = "ds::{impl#1}::publish";

// row I2
#[test]
fn one_goes_up_and_out_of_functions() {
    let Some(mut debugged) = Debugged::start(PROGRAM) else { return };
    let place = format!("break {ANSWERS}");
    debugged.ask_all(&[&place, "continue", "up", "info frame", "down", "finish"]);
    let frame = debugged.ask("bt 1");
    assert!(frame.contains("abi::protocols::servers::ds::dispatch<ds::Store>"), "{frame}");
    let transcript = debugged.transcript();
    assert!(transcript.contains("in abi::protocols::servers::ds::dispatch<ds::Store>"), "{transcript}");
    assert!(transcript.contains("Run till exit from #0  ds::{impl#1}::publish"), "{transcript}");
    let value = "Value returned is $1 = core::result::Result<abi::protocols::servers::ds::publish::Reply, \
                 abi::errno::Errno>::Ok(abi::protocols::servers::ds::publish::Reply)";
    assert!(transcript.contains(value), "{transcript}");
}

// row I2
#[test]
fn vector_and_segment_registers_are_each_threads_own() {
    let Some(mut debugged) = Debugged::start(SHARING) else { return };
    let place = format!("break {SHARED}");
    debugged.ask_all(&[&place, "continue", "delete"]);
    let peer = debugged.thread("peer");
    let main = debugged.thread(SHARING);
    debugged.ask("set var $xmm7.v2_int64[1] = 0x1122334455667788");
    debugged.ask(&format!("thread {peer}"));
    let others = debugged.ask("print/x $xmm7.v2_int64");
    assert!(others.contains('[') && !others.contains("0x1122334455667788"), "{others}");
    debugged.ask(&format!("thread {main}"));
    let own = debugged.ask("print/x $xmm7.v2_int64[1]");
    assert!(own.contains("= 0x1122334455667788"), "{own}");
    // It reaches the processor, and comes back from there.
    debugged.ask("stepi");
    assert_eq!(debugged.ask("print/x $xmm7.v2_int64[1]").split(" = ").nth(1), own.split(" = ").nth(1));
    debugged.says("print $mxcsr", "[ IM DM ZM OM UM PM ]");
    for base in ["fs_base", "gs_base"] {
        let value = debugged.ask(&format!("print/x ${base}"));
        assert!(value.contains(" = 0x"), "{value}");
        let refused = debugged.ask(&format!("set var ${base} = 0x1000"));
        assert!(refused.contains("Could not write"), "{refused}");
    }
}

// row I2
#[test]
fn debug_registers_stop_in_the_kernel_and_in_programs() {
    let Some(mut debugged) = Debugged::start(BUSY) else { return };
    debugged.says("hbreak equals_take_turns::hog", "Hardware assisted breakpoint 1");
    debugged.says("continue", "Breakpoint 1, equals_take_turns::hog ()");
    let name = debugged.current();
    assert!(name.contains("(hog, endpoint"), "{name}");
    debugged.ask("delete");
    debugged.says("hbreak kernel::interrupted", "Hardware assisted breakpoint 2");
    for _ in 0..3 {
        debugged.says("continue", "Breakpoint 2, ");
        assert!(debugged.current().contains("(kernel"));
        debugged.says("bt", "in kernel::run");
    }
    debugged.ask("delete");
    debugged.says("continue", "Remote connection closed");
    assert_eq!(debugged.end().0, exit(ExitCode::Success));
}

// row I2
#[test]
fn the_kernel_is_stepped_by_lines_in_the_middle_of_its_work() {
    let Some(mut debugged) = Debugged::start(BUSY) else { return };
    debugged.ask("hbreak kernel::interrupted");
    debugged.says("continue", "Breakpoint 1, ");
    debugged.ask("delete");
    let mut places = BTreeSet::new();
    for command in ["next", "step", "next", "stepi"] {
        debugged.ask(command);
        assert!(debugged.current().contains("(kernel"), "{command}");
        places.insert(debugged.ask("print/x $pc").split(" = ").nth(1).expect("a value").to_owned());
    }
    assert!(places.len() > 2, "{places:?}");
    debugged.ask("break kernel::take");
    debugged.says("continue", "Breakpoint 2, kernel::take");
    debugged.ask("delete");
    debugged.says("up", "kernel::");
    debugged.ask("down");
    debugged.says("finish", "Run till exit from #0  kernel::take");
    assert!(debugged.current().contains("(kernel"));
    debugged.says("continue", "Remote connection closed");
    assert_eq!(debugged.end().0, exit(ExitCode::Success));
}

// row I2
#[test]
fn a_breakpoint_in_shared_code_is_for_one_process_if_asked() {
    let Some(mut debugged) = Debugged::start(SHARING) else { return };
    let place = format!("break {SHARED}");
    debugged.ask_all(&[&place, "continue", "delete"]);
    // The main process has stopped there, and comes there twice more.
    assert!(debugged.current().contains(&format!("({SHARING}, endpoint")));
    let peer = debugged.thread("peer");
    debugged.ask(&format!("{place} thread {peer}"));
    let mut count = 0;
    loop {
        let hit = debugged.ask("continue");
        if hit.contains("Remote connection closed") {
            break;
        }
        let who = debugged.current();
        assert!(who.contains("(peer, endpoint"), "{who}\n{hit}");
        count += 1;
    }
    // Two messages, each compared with what was sent, and an answer.
    assert!(count >= 3, "{count}");
    assert_eq!(debugged.end().0, exit(ExitCode::Success));
}

// row I2
#[test]
fn a_watchpoint_is_for_the_process_in_which_it_was_set_last() {
    let Some(mut debugged) = Debugged::start(SHARING) else { return };
    debugged.ask_all(&["break ds::main", "continue", "delete"]);
    // Both have it there, and write to it when they start.
    let watch = format!("watch -l *((&{SHARING}::HEAP as usize + 16) as *mut u64)");
    let [main, peer] = [SHARING, "peer"].map(|name| format!("thread {}", debugged.thread(name)));
    debugged.ask_all(&[&main, &watch, "stepi"]);
    for (thread, name) in [(peer, "peer"), (main, SHARING)] {
        debugged.ask_all(&["delete", &thread]);
        debugged.says(&watch, "Hardware watchpoint");
        debugged.says("continue", "Old value = 0\n");
        let who = debugged.current();
        assert!(who.contains(&format!("({name}, endpoint")), "{who}\n{}", debugged.gdb.transcript());
    }
    debugged.ask("delete");
    debugged.ends_well();
}

// row I2
// row F5
#[test]
fn signals_of_processes_stop_the_system_if_asked() {
    let Some(mut debugged) = Debugged::start("a_manager_takes_the_signals_of_its_processes") else { return };
    let asked = debugged.ask("monitor catch signals");
    assert_eq!(asked, "stops at: faults signals\n");
    for signal in ["SIGUSR1", "SIGTERM"] {
        let stopped = debugged.ask("continue");
        assert!(stopped.contains(&format!("received signal {signal}")), "{stopped}");
        let who = debugged.current();
        assert!(who.contains("(victim, endpoint 16"), "{who}");
    }
    debugged.ask("monitor catch none");
    let end = debugged.ask("continue");
    assert!(end.contains("Remote connection closed"), "{end}");
    assert_eq!(debugged.end().0, exit(ExitCode::Success));
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
}

/// Packets that were answered by nothing, which is how a stub says that it doesn't know them.
const UNKNOWN: [&str; 3] = [
    // gdb checks by it that unknown packets are answered so.
    "vMustReplyEmpty",
    // Whether an experiment with tracepoints goes on: there are none, and gdb asks for no more of them.
    "qTStatus",
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
    assert_eq!(missing, BTreeSet::from(["qTStatus (trace-status) is NOT supported"]), "{transcript}");
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
