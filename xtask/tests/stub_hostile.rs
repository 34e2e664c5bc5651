//! gdb at the kernel's own stub, asked for what no sober person asks for: breakpoints in the code that the
//! debugger itself runs, on its way in and out, and where memory changes afterwards.
//!
//! These tests need QEMU and gdb; where they are missing they test nothing, except in CI, where that is an error.

mod debugged;
mod host;

use debugged::{Debugged, PROGRAM};
use std::collections::BTreeSet;

/// A machine whose program is debugged.
fn start(program: &str) -> Option<Debugged> {
    let mut debugged = Debugged::start(program)?;
    // In Rust's terms gdb can't say where a symbol without a type is.
    debugged.ask("set language c");
    Some(debugged)
}

// row I2
#[test]
fn a_breakpoint_in_code_of_the_kernels_that_the_debugger_runs_too_stops_the_kernel_only() {
    let Some(mut debugged) = start(PROGRAM) else { return };
    for function in ["memcpy", "kernel_exception", "kernel_x86_64::debug::handle"] {
        debugged.says(&format!("break {function}"), "Breakpoint");
    }
    // What the debugger copies is no matter of gdb's; what the kernel copies is.
    for _ in 0..3 {
        debugged.says("continue", "memcpy");
        debugged.says("info threads", "* 1    Thread 1.1 (kernel)");
    }
    debugged.ends_well();
}

// row I2
#[test]
fn what_leads_to_the_debugger_has_no_breakpoints() {
    let Some(mut debugged) = start(PROGRAM) else { return };
    for command in ["break *&vector_common", "hbreak *&vector_common", "hbreak *&vector_entries"] {
        debugged.says(command, "reakpoint");
        debugged.says("continue", "Cannot insert");
        debugged.ask("delete");
    }
    // Nor have the kernel's constants and variables, which it would change.
    debugged.says("break *&tessera_inspect", "Breakpoint");
    debugged.says("continue", "Cannot insert");
    debugged.ask("delete");
    debugged.ends_well();
}

// row I2
#[test]
fn a_breakpoint_where_processes_enter_the_kernel_shows_the_memory_of_the_one_that_did() {
    let Some(mut debugged) = start(PROGRAM) else { return };
    debugged.says("break *&system_call", "Breakpoint");
    for _ in 0..4 {
        debugged.says("continue", "system_call");
        // Nothing has left the stack pointer of the process yet.
        let stack = debugged.ask("x/1xg $rsp");
        assert!(!stack.contains("Cannot access"), "{stack}\n{}", debugged.gdb.transcript());
        let threads = debugged.ask("info threads");
        let root = |command: &str, debugged: &mut Debugged| {
            let said = debugged.ask(command);
            said.split(" = ").nth(1).map(|value| value.trim().to_owned())
        };
        let kernel = root("print/x $cr3", &mut debugged);
        let running = threads.lines().find(|line| line.contains(": running)")).expect("somebody runs");
        let thread = running.trim_start_matches(['*', ' ']).split(' ').next().expect("a number");
        debugged.ask(&format!("thread {thread}"));
        assert_eq!(root("print/x $cr3", &mut debugged), kernel, "{threads}");
        debugged.ask("thread 1");
    }
    debugged.ask("delete");
    debugged.ends_well();
}

// row I2
#[test]
fn a_stop_anywhere_in_the_middle_of_an_interrupt_is_answered_and_loses_none() {
    // Between the instruction that lets interrupts in and the one that waits for them; and between an interrupt and
    // its end, when no other gets through.
    for place in ["*&kernel_halt", "kernel_x86_64::apic::end_of_interrupt"] {
        let Some(mut debugged) = start("alarms_go_off_in_time") else { return };
        debugged.says(&format!("break {place}"), "Breakpoint");
        debugged.says("continue", "hit Breakpoint");
        debugged.says("stepi", "");
        debugged.says("print/x $pc", "0xffffffff");
        // The program waits 18 times; more waits than that are those that a debugger's byte ended, which come when they like.
        for _ in 0..12 {
            debugged.says("continue", "hit Breakpoint");
        }
        debugged.ask("delete");
        debugged.ends_well();
    }
}

// row I2
#[test]
fn a_thread_that_ends_in_its_step_leaves_gdb_with_the_others() {
    let Some(mut debugged) = start("a_fault_ends_only_its_process") else { return };
    debugged.says("monitor catch none", "stops at: nothing");
    debugged.says("break a_fault_ends_only_its_process::panics", "Breakpoint");
    debugged.says("continue", "hit Breakpoint");
    debugged.ask("delete");
    debugged.says("break sys::exit", "Breakpoint");
    debugged.says("continue", "hit Breakpoint");
    debugged.ask("delete");
    debugged.says("stepi 200", "Thread 1 received signal SIGTRAP");
    let threads = debugged.ask("info threads");
    assert!(threads.contains("* 1    Thread 1.1 (kernel)") && !threads.contains("(panics"), "{threads}");
    debugged.ends_well();
}

// row I2
#[test]
fn a_step_from_the_kernel_into_a_process_ends_there() {
    let Some(mut debugged) = start(PROGRAM) else { return };
    for _ in 0..2 {
        debugged.says("break *&system_call", "Breakpoint");
        debugged.says("continue", "hit Breakpoint");
        debugged.ask("delete");
        let said = debugged.ask("stepi 5000");
        assert!(said.contains("SIGTRAP"), "{said}\n{}", debugged.gdb.transcript());
        let threads = debugged.ask("info threads");
        let current = threads.lines().find(|line| line.starts_with('*')).unwrap_or_default();
        assert!(current.contains("endpoint"), "{threads}");
    }
    debugged.ends_well();
}

// row I2
#[test]
fn a_watchpoint_where_the_kernel_saves_registers_leaves_steps_and_registers_as_they_are() {
    let Some(mut debugged) = start(PROGRAM) else { return };
    debugged.says("break ds::main", "Breakpoint");
    debugged.says("continue", "hit Breakpoint");
    debugged.ask("delete");
    let ds = format!("thread {}", debugged.thread("ds"));
    debugged.ask("set var $context = *(long *)&current");
    // The first register that an exception saves, one in the middle, the last. Not the words behind them: the very last
    // instruction on the way to a process reads these, so that it would never come to its own.
    for offset in [0, 56, 112] {
        debugged.says(&format!("awatch -l *(long *)($context + {offset})"), "watchpoint");
        let mut places = BTreeSet::new();
        for _ in 0..12 {
            // Either the kernel has read it on its way to the process, or the step is over.
            debugged.ask_all(&[&ds, "stepi", &ds]);
            let place = debugged.ask("output/x $pc");
            assert!(place.len() < 12, "{place} is the kernel's: {}", debugged.gdb.transcript());
            places.insert(place);
        }
        assert!(places.len() > 3, "{places:?}\n{}", debugged.gdb.transcript());
        debugged.ask("delete");
    }
    debugged.ends_well();
}

// row I2
#[test]
fn the_stack_by_which_the_debugger_is_reached_is_not_watched() {
    let Some(mut debugged) = start(PROGRAM) else { return };
    // The kernel's own stack is the first of several with a guard page each; exceptions that the debugger is reached by
    // have the third, or the last while it works.
    const STACK: u64 = 0x9000;
    for (index, offset) in [(2, 8), (2, 40), (7, 100)] {
        let place = format!("(char *)&kernel_stack_top + {:#x}", index * STACK - offset);
        debugged.says(&format!("watch -l *({place})"), "watchpoint");
        debugged.says("continue", "Could not insert hardware");
        debugged.ask("delete");
    }
    debugged.ends_well();
}
