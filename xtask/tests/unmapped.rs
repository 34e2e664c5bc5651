//! gdb's breakpoints in pages that VM takes away and gives again.
//!
//! This test needs QEMU and gdb; where they are missing it tests nothing, except in CI, where that is an error.

mod debugged;
mod host;

use abi::boot::ExitCode;
use debugged::Debugged;

/// A program whose VM looks at a page of code that it has taken away.
const PROGRAM: &str = "code_that_vm_takes_away_is_what_it_was";

// row I2
#[test]
fn a_breakpoint_leaves_a_page_that_is_taken_away_and_is_there_again_with_it() {
    let Some(mut debugged) = Debugged::start(PROGRAM) else { return };
    debugged.ask("break *0x700000000");
    // Not before it is mapped for the second time: then the program runs.
    debugged.says("continue", "hit Breakpoint 1, 0x0000000700000000 in ");
    debugged.ask("detach");
    let (exit, console) = debugged.end();
    assert!(console.contains("it holds [c3, c3, c3, c3]"), "{console}");
    assert_eq!(exit, debugged::exit(ExitCode::Success), "{console}");
}
