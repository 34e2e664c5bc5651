//! gdb at a kernel that takes no interrupt any longer.
//!
//! This test needs QEMU and gdb; where they are missing it tests nothing, except in CI, where that is an error.

mod debugged;
mod host;

use debugged::{Debugged, PROGRAM};

/// What has the kernel loop with interrupts off.
const LOOP: &str = "kernel_x86_64::trap::provoke_loop";

// row I2
#[test]
fn a_kernel_that_loops_stops_in_gdb_where_it_does() {
    let Some(mut debugged) = Debugged::start(PROGRAM) else { return };
    debugged.ask("set $before = $pc");
    for command in [&format!("jump {LOOP}")[..], "continue"] {
        let said = debugged.ask(command);
        assert!(
            said.contains("received signal SIGXCPU") && said.contains(&format!("in {LOOP} ()")),
            "{said}"
        );
    }
    // It can go on elsewhere.
    debugged.ask("set var $pc = $before");
    debugged.ends_well();
}
