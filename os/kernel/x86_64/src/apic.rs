//! Interrupt controllers: the local APIC and the I/O APIC (Intel SDM 3A, chapter 11; 82093AA).
//!
//! The old 8259 pair is masked for good.
//!
//! What touches a register is never inlined: with `-icount` QEMU translates a block of code anew
//! for each access in it, which for the unrolled start-up code took longer than all else there.

use crate::paging::{device, to_usize};
use crate::port;

/// Physical addresses of the registers: the I/O APIC, and the local one.
pub(crate) const REGISTERS: [u64; 2] = [IO_APIC, LOCAL_APIC];
const IO_APIC: u64 = 0xfec0_0000;
const LOCAL_APIC: u64 = 0xfee0_0000;

/// The vector of line 0 of the I/O APIC; the others follow.
pub(crate) const FIRST_LINE: u8 = 0x20;
/// The vector of the timer.
pub(crate) const TIMER: u8 = 0xf0;
/// The vector of the debugger's line, of a higher class than those of other lines.
pub(crate) const DEBUGGER: u8 = 0xe0;
/// The vector of interrupts that are none, and are not to be ended.
pub(crate) const SPURIOUS: u8 = 0xff;
/// Lines of the I/O APIC that the kernel serves.
pub(crate) const LINES: u8 = 24;

/// A register of the local APIC, by its offset.
#[derive(Clone, Copy)]
pub(crate) enum Register {
    TaskPriority = 0x80,
    EndOfInterrupt = 0xb0,
    SpuriousVector = 0xf0,
    /// Bit n: vector 0xe0 + n has been taken and not ended.
    InServiceFromE0 = 0x170,
    Timer = 0x320,
    Line0 = 0x350,
    Line1 = 0x360,
    TimerInitial = 0x380,
    TimerCurrent = 0x390,
    TimerDivide = 0x3e0,
}

const MASKED: u32 = 1 << 16;
const PERIODIC: u32 = 1 << 17;
const DELIVER_NMI: u32 = 0x400;
const DIVIDE_BY_1: u32 = 0b1011;

fn pointer(address: u64) -> *mut u32 {
    core::ptr::with_exposed_provenance_mut(to_usize(device(address)))
}

/// Reads a register of the local APIC.
#[inline(never)]
pub(crate) fn read(register: Register) -> u32 {
    // SAFETY: `paging` maps the registers; reading these has no effect.
    unsafe { pointer(LOCAL_APIC + register as u64).read_volatile() }
}

/// Writes a register of the local APIC.
#[inline(never)]
pub(crate) fn write(register: Register, value: u32) {
    // SAFETY: `paging` maps the registers; what they cause are interrupts with vectors of ours.
    unsafe { pointer(LOCAL_APIC + register as u64).write_volatile(value) }
}

/// Sets the controllers up with every line masked.
pub(crate) fn init() {
    for mask in [0x21, 0xa1] {
        port::write_u8(mask, 0xff);
    }
    // The interval timer would tick for ever, although nobody listens: QEMU could not tell a machine
    // in which everybody waits. In mode 0 its channel 0 counts down once, and is still.
    port::write_u8(0x43, 0b0011_0000);
    port::write_u8(0x40, 1);
    port::write_u8(0x40, 0);
    // The firmware may have left the lines in any state; qboot leaves them masked.
    write(Register::Line0, MASKED);
    write(Register::Line1, DELIVER_NMI);
    write(Register::Timer, MASKED | u32::from(TIMER));
    write(Register::TimerDivide, DIVIDE_BY_1);
    write(Register::SpuriousVector, 0x100 | u32::from(SPURIOUS));
    (0..LINES).for_each(|line| set_line(line, false));
}

/// Says that the interrupt that is being handled has been dealt with.
pub(crate) fn end_of_interrupt() {
    write(Register::EndOfInterrupt, 0);
}

/// Lets a line's interrupts through, edge-triggered as ISA devices' are, or masks them.
pub(crate) fn set_line(line: u8, enabled: bool) {
    let vector = u32::from(FIRST_LINE + line);
    let low = if enabled { vector } else { vector | MASKED };
    write_io(0x10 + u32::from(line) * 2, low);
    write_io(0x11 + u32::from(line) * 2, 0);
}

/// Lets a line's interrupts through for good, with a vector of its own.
pub(crate) fn route(line: u8, vector: u8) {
    write_io(0x10 + u32::from(line) * 2, u32::from(vector));
    write_io(0x11 + u32::from(line) * 2, 0);
}

/// Does something while interrupts of no lower class than that vector's get through. Others wait.
pub(crate) fn with_only(vector: u8, wait: impl FnOnce()) {
    // Intel SDM 3A, 11.8.3.1: what is in the class of the register, or below it, is held back.
    write(Register::TaskPriority, u32::from(vector & 0xf0) - 1);
    wait();
    write(Register::TaskPriority, 0);
}

/// Tells whether an interrupt that has been taken and not ended holds that of the debugger's line back (Intel SDM 3A,
/// 11.8.3.1).
pub(crate) fn is_debugger_held_back() -> bool {
    const _: () = assert!(DEBUGGER == 0xe0);
    read(Register::InServiceFromE0) != 0
}

#[inline(never)]
fn write_io(register: u32, value: u32) {
    // SAFETY: the index register of the I/O APIC, which `paging` maps.
    unsafe { pointer(IO_APIC).write_volatile(register) };
    // SAFETY: the data register; what it causes are interrupts with vectors of ours.
    unsafe { pointer(IO_APIC + 0x10).write_volatile(value) };
}

/// How often the timer counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    Once,
    Forever,
}

/// Has the timer interrupt when it has counted so far.
pub(crate) fn start_timer(repeat: Repeat, count: u32) {
    let mode = match repeat {
        Repeat::Once => 0,
        Repeat::Forever => PERIODIC,
    };
    write(Register::Timer, mode | u32::from(TIMER));
    write(Register::TimerInitial, count);
}

/// Stops the timer.
pub(crate) fn stop_timer() {
    write(Register::Timer, MASKED | u32::from(TIMER));
    write(Register::TimerInitial, 0);
}

/// Lets the timer count down from the highest number, without interrupting.
pub(crate) fn count_freely() {
    write(Register::Timer, MASKED | u32::from(TIMER));
    write(Register::TimerInitial, u32::MAX);
}
