//! How fast time passes: the frequencies of the time-stamp counter and of the APIC's timer.

use crate::apic::{self, Register};
use crate::port;
use core::arch::x86_64::{__cpuid, _rdtsc};
use core::sync::atomic::{AtomicU64, Ordering};
use kernel_core::command_line::Timer;

/// Counts a second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frequencies {
    pub(crate) time_stamp_hz: u64,
    pub(crate) apic_timer_hz: u64,
}

/// Reads the time-stamp counter.
pub(crate) fn time_stamp() -> u64 {
    // SAFETY: every x86-64 has the counter, and reading it has no effect.
    unsafe { _rdtsc() }
}

/// The time-stamp counter when the kernel started.
static STARTED_AT: AtomicU64 = AtomicU64::new(0);
/// Its counts a second, once they are known.
static TIME_STAMP_HZ: AtomicU64 = AtomicU64::new(0);
/// Counts since then in which the processor waited for interrupts.
static IDLE: AtomicU64 = AtomicU64::new(0);

/// Time is counted from now on.
pub(crate) fn start(frequencies: Frequencies) {
    STARTED_AT.store(time_stamp(), Ordering::Relaxed);
    TIME_STAMP_HZ.store(frequencies.time_stamp_hz, Ordering::Relaxed);
}

/// Nanoseconds since the start.
pub(crate) fn uptime_ns() -> u64 {
    to_ns(counted())
}

/// Nanoseconds since the start in which the processor was busy, and in which it waited for interrupts.
pub(crate) fn busy_and_idle_ns() -> (u64, u64) {
    let (all, idle) = (counted(), IDLE.load(Ordering::Relaxed));
    (to_ns(all.saturating_sub(idle)), to_ns(idle))
}

/// See [`Layout::idle`](abi::inspect::Layout::idle) and `idle_hz`.
#[must_use]
pub fn idle_addresses() -> [u64; 2] {
    [&IDLE, &TIME_STAMP_HZ].map(|counter| counter.as_ptr().addr() as u64)
}

/// Counts the time that `wait` takes as idle.
pub(crate) fn idle<T>(wait: impl FnOnce() -> T) -> T {
    let before = counted();
    let woken_by = wait();
    IDLE.store(IDLE.load(Ordering::Relaxed) + counted().saturating_sub(before), Ordering::Relaxed);
    woken_by
}

/// Counts since the start, of which there are none before.
fn counted() -> u64 {
    time_stamp().saturating_sub(skipped()).saturating_sub(STARTED_AT.load(Ordering::Relaxed))
}

fn to_ns(counts: u64) -> u64 {
    let hz = u128::from(TIME_STAMP_HZ.load(Ordering::Relaxed));
    let ns = (u128::from(counts) * 1_000_000_000).checked_div(hz).unwrap_or(0);
    u64::try_from(ns).unwrap_or(u64::MAX)
}

/// Counts of the time-stamp counter in which the system stood still for a debugger.
static SKIPPED: AtomicU64 = AtomicU64::new(0);

/// Time that was no time of the system's.
pub(crate) fn skipped() -> u64 {
    SKIPPED.load(Ordering::Relaxed)
}

/// So many counts more were no time of the system's.
pub(crate) fn skip(counts: u64) {
    SKIPPED.store(skipped() + counts, Ordering::Relaxed);
}

impl Frequencies {
    /// Finds out.
    pub(crate) fn find(how: Timer) -> Self {
        match how {
            Timer::Auto if is_tcg() => Self::compare(),
            Timer::Auto | Timer::Measured => Self::measure(),
        }
    }

    /// Compares the time-stamp counter with the APIC's timer, which counts nanoseconds under
    /// QEMU's TCG. The counter counts instructions with `-icount`, and else the host's cycles.
    fn compare() -> Self {
        const APIC_HZ: u64 = 1_000_000_000;
        const TURNS: u32 = 50_000;
        apic::count_freely();
        let (time_stamp_start, start) = (time_stamp(), apic::read(Register::TimerCurrent));
        // Without a look at the timer: with `-icount` QEMU translates code anew for each.
        for turn in 0..TURNS {
            core::hint::black_box(turn);
        }
        let counted = start.wrapping_sub(apic::read(Register::TimerCurrent)).max(1);
        let time_stamps = time_stamp() - time_stamp_start;
        apic::stop_timer();
        let measured = time_stamps * APIC_HZ / u64::from(counted);
        // Reading the timer takes time of its own; what is that close is the same clock.
        let is_same = measured.abs_diff(APIC_HZ) < APIC_HZ / 1000;
        Self { time_stamp_hz: if is_same { APIC_HZ } else { measured.max(1) }, apic_timer_hz: APIC_HZ }
    }

    /// Compares with 10 ms of the interval timer (Intel 8254), whose frequency never differs.
    fn measure() -> Self {
        const HZ: u32 = 1_193_182;
        const SHARE: u32 = 100;
        let counts = HZ / SHARE;
        apic::count_freely();
        // Channel 2, gated by port 0x61 and silent: mode 0 raises its output when it is done.
        port::write_u8(0x61, port::read_u8(0x61) & !2 | 1);
        port::write_u8(0x43, 0b1011_0000);
        let [low, high, ..] = counts.to_le_bytes();
        port::write_u8(0x42, low);
        port::write_u8(0x42, high);
        let (time_stamp_start, apic_start) = (time_stamp(), apic::read(Register::TimerCurrent));
        // Without `pause`, on which QEMU spends far more than on a look.
        while port::read_u8(0x61) & 0x20 == 0 {}
        let (time_stamp_end, apic_end) = (time_stamp(), apic::read(Register::TimerCurrent));
        apic::stop_timer();
        let per_second = |counted: u64| (counted * u64::from(HZ) / u64::from(counts)).max(1);
        Self {
            time_stamp_hz: per_second(time_stamp_end - time_stamp_start),
            apic_timer_hz: per_second(u64::from(apic_start.wrapping_sub(apic_end))),
        }
    }
}

/// Tells whether the processor is emulated by QEMU (CPUID leaf 0x4000_0000: `TCGTCGTCGTCG`).
fn is_tcg() -> bool {
    const HAS_HYPERVISOR: u32 = 1 << 31;
    if __cpuid(1).ecx & HAS_HYPERVISOR == 0 {
        return false;
    }
    let leaf = __cpuid(0x4000_0000);
    [leaf.ebx, leaf.ecx, leaf.edx]
        == [u32::from_le_bytes(*b"TCGT"), u32::from_le_bytes(*b"CGTC"), u32::from_le_bytes(*b"GTCG")]
}
