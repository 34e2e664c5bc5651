//! The first serial port as the only line between the machine and a host: what to run comes over it, and what
//! became of that goes back, beside what the terminal driver prints. See [`abi::serial`].
//!
//! What the kernel says is sent with interrupts off and as a whole, so nothing that a process prints comes in between.

use crate::apic::{self, Repeat};
use crate::memory::Block;
use crate::serial::{Interrupts, Uart};
use crate::timer::{self, Frequencies};
use crate::{PhysicalMemory, layout, trap};
use abi::serial;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use kernel_core::command_line::Timer;
use kernel_loader::{About, Job, Loader, Unpacker};
use wire::{Kind, Writer};

const PORT: Uart = Uart::COM1;
/// The interrupt line that it raises.
const IRQ: u8 = 4;

/// The machine was started to be given what it runs.
static IS_LINE: AtomicBool = AtomicBool::new(false);
/// The key of the run's records; 0 if there is no run.
static KEY: AtomicU64 = AtomicU64::new(0);
/// The number of the next record. All of this is no part of the kernel's state, which is out of reach when it panics.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// Bytes of the log that have not been sent.
static LOG: [AtomicU8; 256] = [const { AtomicU8::new(0) }; 256];
static LOG_BYTES: AtomicUsize = AtomicUsize::new(0);

/// Tells whether the machine is one that is given what it runs, and starts anew when it has run it.
pub(crate) fn is_line() -> bool {
    IS_LINE.load(Ordering::Relaxed)
}

/// Tells whether there is a run, of which a host wants to hear.
pub(crate) fn is_open() -> bool {
    KEY.load(Ordering::Relaxed) != 0
}

/// Waits at the first serial port until there is something to run, and starts it: from then on the kernel's log and
/// reports go over the line. `None` if there is no such port.
pub fn load(memory: &mut PhysicalMemory, timer: Timer) -> Option<Job<Block>> {
    let frequencies = Frequencies::find(timer);
    if !PORT.init(Interrupts::OnBytes) {
        return None;
    }
    IS_LINE.store(true, Ordering::Relaxed);
    let about = About { kernel: code_checksum(), memory: memory.total_bytes };
    apic::set_line(IRQ, true);
    let mut unpacker = Unpacker::default();
    let job = wait_for_job(Loader::new(about, memory, &mut unpacker), frequencies);
    apic::stop_timer();
    apic::set_line(IRQ, false);
    PORT.init(Interrupts::None);
    KEY.store(job.key, Ordering::Relaxed);
    send(serial::STARTED, &[]);
    Some(job)
}

fn wait_for_job(mut loader: Loader<'_, &mut PhysicalMemory>, frequencies: Frequencies) -> Job<Block> {
    let (a_ms, a_pause) = (frequencies.time_stamp_hz / 1000, frequencies.apic_timer_hz / PAUSES_A_SECOND);
    let pause = u32::try_from(a_pause).unwrap_or(u32::MAX).max(1);
    let started_at = timer::time_stamp();
    loop {
        let byte = PORT.receive();
        let now_ms = (timer::time_stamp() - started_at) / a_ms.max(1);
        if let Some(job) = loader.turn(now_ms, byte, &mut |byte| PORT.send(byte)) {
            return job;
        }
        if byte.is_none() {
            // Not by looking again and again: under QEMU, the thread that brings the bytes would have no turn.
            apic::start_timer(Repeat::Once, pause);
            if trap::wait_for_interrupt() != u64::from(apic::SPURIOUS) {
                apic::end_of_interrupt();
            }
        }
    }
}

/// How often the loader looks what time it is while nothing comes.
const PAUSES_A_SECOND: u64 = 100;

/// CRC-32C of the kernel's code as it was linked.
fn code_checksum() -> u32 {
    wire::CRC.checksum(layout::code())
}

/// Logs a byte, if there is a run.
pub(crate) fn log(byte: u8) {
    let count = LOG_BYTES.load(Ordering::Relaxed);
    if let Some(place) = LOG.get(count) {
        place.store(byte, Ordering::Relaxed);
        LOG_BYTES.store(count + 1, Ordering::Relaxed);
    }
    if byte == b'\n' || count + 1 >= LOG.len() {
        flush_log();
    }
}

fn flush_log() {
    let count = LOG_BYTES.swap(0, Ordering::Relaxed).min(LOG.len());
    let mut bytes = [0; 256];
    bytes.iter_mut().zip(&LOG).for_each(|(byte, logged)| *byte = logged.load(Ordering::Relaxed));
    if count > 0 {
        send(serial::LOG, &bytes[..count]);
    }
}

/// Sends a record that must not be lost, after what was logged before.
pub(crate) fn report(kind: u8, payload: &[u8]) {
    flush_log();
    send(kind, payload);
}

/// Sends a record of the run. All but the log are sent twice, with one number: a host that has the first one knows
/// that the second one is the same.
fn send(kind: u8, payload: &[u8]) {
    let sequence = NEXT.fetch_add(1, Ordering::Relaxed);
    for _ in 0..if kind == serial::LOG { 1 } else { 2 } {
        let mut writer = Writer::from(KEY.load(Ordering::Relaxed), sequence);
        // It is too long for no record: 256 bytes at most.
        let _ = writer.record(Kind(kind), payload, &mut |byte| PORT.send(byte));
    }
    PORT.make_room();
}

/// Waits until everything has left the port.
pub(crate) fn drain() {
    PORT.drain();
}
