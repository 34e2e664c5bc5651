//! What the kernel tells those who judge the run, and its end. See [`abi::report`].

use crate::{line, port, timer};
use abi::boot::{EXIT_PORT, ExitCode};
use abi::report::{End, RESULTS_KEY, RESULTS_PORT, Report};
use core::sync::atomic::{AtomicU32, Ordering};
use wire::{Kind, Writer};

/// The number of the next report. Not a part of the kernel's state, which is out of reach when it panics.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// Reports something.
pub fn report(report: &Report) {
    let mut payload = [0; Report::PAYLOAD_LIMIT];
    let (kind, payload) = report.put(&mut payload);
    if line::is_open() {
        return line::report(kind, payload);
    }
    let mut writer = Writer::from(RESULTS_KEY, NEXT.fetch_add(1, Ordering::Relaxed));
    let written = writer.record(Kind(kind), payload, &mut |byte| port::write_u8(RESULTS_PORT, byte));
    written.expect("reports are shorter than records can be");
}

/// Reports the end and stops the machine: QEMU exits with [`ExitCode::of_qemu`], another machine halts. One that is
/// given what it runs starts anew, to be given the next.
pub fn stop(code: ExitCode) -> ! {
    let (busy_ns, idle_ns) = timer::busy_and_idle_ns();
    report(&Report::End(End { code, busy_ns, idle_ns }));
    if line::is_line() {
        line::drain();
        reset();
    }
    port::write_u32(EXIT_PORT, code as u32);
    halt()
}

/// Resets the machine: by the reset control register of the chipset, and where there is none by the keyboard
/// controller.
pub(crate) fn reset() -> ! {
    // First as a hard reset, then from low to high (Intel I/O controller hub, 13.7.5).
    port::write_u8(0xcf9, 2);
    port::write_u8(0xcf9, 6);
    port::write_u8(0x64, 0xfe);
    halt()
}

fn halt() -> ! {
    loop {
        x86_64::instructions::interrupts::disable();
        x86_64::instructions::hlt();
    }
}
