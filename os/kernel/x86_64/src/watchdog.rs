//! The device that strikes when the kernel takes no clock tick for too long (iBASE 700, as QEMU has one).
//!
//! It counts down while the system is busy, and each tick sets it back. What it does when it comes to its end is a
//! non-maskable interrupt, the only one that reaches a kernel that loops with interrupts off: a stop for the debugger,
//! or else a panic, which shows where. In instructions that is as exact as the limit of a run that is busy for too long.

use crate::port;
use abi::boot::{WATCHDOG_2_S, WATCHDOG_PORT, WATCHDOG_STOP_PORT};
use core::sync::atomic::{AtomicBool, Ordering};

/// Whether there is one.
static IS_THERE: AtomicBool = AtomicBool::new(false);
/// Whether it counts.
static IS_COUNTING: AtomicBool = AtomicBool::new(false);
/// Whether it has struck in a process since the last tick.
static HAS_STRUCK: AtomicBool = AtomicBool::new(false);

/// There is one, and it counts from now on.
pub fn start() {
    IS_THERE.store(true, Ordering::Relaxed);
    set_back();
}

/// The kernel is alive: the time starts anew.
pub(crate) fn set_back() {
    HAS_STRUCK.store(false, Ordering::Relaxed);
    start_anew();
}

fn start_anew() {
    if IS_THERE.load(Ordering::Relaxed) {
        IS_COUNTING.store(true, Ordering::Relaxed);
        port::write_u8(WATCHDOG_PORT, WATCHDOG_2_S);
    }
}

/// It has struck while a process ran. That was the host's doing, where time is the host's and QEMU had no turn for so
/// long: interrupts are on there, and the tick that was due comes now. `false` if it doesn't come, or there is none.
pub(crate) fn has_struck_early() -> bool {
    let is_first = !HAS_STRUCK.swap(true, Ordering::Relaxed);
    start_anew();
    is_first && IS_THERE.load(Ordering::Relaxed)
}

/// There is nothing to do, or somebody looks at the kernel, for as long as it takes. Tells whether it counted.
pub(crate) fn rest() -> bool {
    let counted = IS_COUNTING.swap(false, Ordering::Relaxed);
    if counted {
        port::write_u8(WATCHDOG_STOP_PORT, 0);
    }
    counted
}
