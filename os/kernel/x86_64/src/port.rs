//! Ports, and the few devices that the kernel itself writes to.

use crate::serial::Uart;
use crate::{line, timer};
use abi::boot::{LOG_PORT, PANIC_PORT, PANICKED};
use core::fmt;
use core::sync::atomic::{Ordering, compiler_fence};
use x86_64::instructions::port::Port;

/// Reads a byte from a port.
pub(crate) fn read_u8(port: u16) -> u8 {
    // SAFETY: a port access touches no memory of ours; whether the caller may make it was checked by kernel-core.
    unsafe { Port::new(port).read() }
}

/// Reads 16 bits from a port.
pub(crate) fn read_u16(port: u16) -> u16 {
    // SAFETY: as `read_u8`.
    unsafe { Port::new(port).read() }
}

/// Reads 32 bits from a port.
pub(crate) fn read_u32(port: u16) -> u32 {
    // SAFETY: as `read_u8`.
    unsafe { Port::new(port).read() }
}

/// Writes a byte to a port.
pub(crate) fn write_u8(port: u16, value: u8) {
    // SAFETY: as `read_u8`; devices that could write memory are not set up to.
    unsafe { Port::new(port).write(value) }
}

/// Writes 16 bits to a port.
pub(crate) fn write_u16(port: u16, value: u16) {
    // SAFETY: as `write_u8`.
    unsafe { Port::new(port).write(value) }
}

/// Writes 32 bits to a port.
pub(crate) fn write_u32(port: u16, value: u32) {
    // SAFETY: as `write_u8`.
    unsafe { Port::new(port).write(value) }
}

/// Writes a byte to the log.
pub(crate) fn log(byte: u8) {
    if line::is_open() {
        line::log(byte);
    } else {
        write_u8(LOG_PORT, byte);
    }
}

/// The first serial port and the log at once: for messages before there is a terminal driver,
/// and for last words.
#[derive(Clone, Copy, Debug)]
pub struct Console;

impl fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            log(byte);
            if byte == b'\n' {
                Uart::COM1.send(b'\r');
            }
            Uart::COM1.send(byte);
        }
        Ok(())
    }
}

/// Lets whoever watches the machine look at it: QEMU may stop here, and goes on when it is told to.
#[cold]
#[inline(never)]
pub fn let_inspect() {
    const NO_DEVICE: u8 = 0xff;
    let events = read_u8(PANIC_PORT);
    if events != NO_DEVICE && events & PANICKED != 0 {
        // What is looked at is in memory, where a write to a port sees to nothing.
        compiler_fence(Ordering::SeqCst);
        // QEMU's time may go on while it stops.
        let before = timer::time_stamp();
        write_u8(PANIC_PORT, PANICKED);
        timer::skip(timer::time_stamp() - before);
    }
}
