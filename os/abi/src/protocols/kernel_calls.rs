//! Kernel calls: what a service asks of the kernel itself.
//!
//! Which of them a service may make stands in `os/system.toml`; a program may make those that
//! `from PROGRAM` admits. A call that the caller's mask lacks fails with `ECALLDENIED`, an
//! unknown one with `EBADREQUEST`.

use crate::{Bytes, Callers, Endpoint, Name, Wire};

crate::choices! {
    /// Bits of a device register.
    Width {
        /// 8 bits.
        Byte = 1,
        /// 16 bits.
        Word = 2,
        /// 32 bits.
        Long = 4,
    }
}

crate::choices! {
    /// How a line of the log is marked.
    Level {
        /// Ordinary text.
        Info = 0,
        /// Something is wrong; the harness shows it as a complaint.
        Error = 1,
    }
}

crate::choices! {
    /// What a process is doing.
    ProcessState {
        /// On the processor, or waiting for it.
        Runnable = 0,
        /// Waits for a receiver to take its message.
        Sending = 1,
        /// Waits for a message.
        Receiving = 2,
        /// Waits for a receiver to take its message, and then for the answer.
        SendReceiving = 3,
    }
}

crate::choices! {
    /// What a filter's rules do with the messages that they mean.
    FilterKind {
        /// Hold them back.
        Black = 0,
        /// Let them through.
        White = 1,
    }
}

/// Which messages a filter means: those for which all that is set is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct FilterRule {
    /// Who sent it; [`Endpoint::NONE`] for anybody.
    pub source: Endpoint,
    /// What the sender is; none for anybody.
    pub classes: Callers,
    /// Its number; 0 for any. Notifications have [`NUMBER`](crate::notification::NUMBER).
    pub number: u16,
}

impl FilterRule {
    /// Bytes of a rule in a message: source, number, classes, and a zero.
    pub const SIZE: usize = 8;

    /// Writes the rule.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        self.source.put(&mut bytes[..4]);
        self.number.put(&mut bytes[4..6]);
        self.classes.put(&mut bytes[6..7]);
        bytes
    }

    /// Reads a rule, if it says anything at all.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; Self::SIZE]) -> Option<Self> {
        let rule = Self {
            source: Endpoint::get(&bytes[..4])?,
            number: u16::get(&bytes[4..6])?,
            classes: Callers::get(&bytes[6..7])?,
        };
        (bytes[7] == 0 && rule != Self::default()).then_some(rule)
    }
}

/// The time left of an alarm that is not set.
pub const NO_ALARM: u64 = u64::MAX;
/// In [`kernel::schedule`]: the priority stays as it is.
pub const KEEP_PRIORITY: u8 = u8::MAX;
/// In [`kernel::schedule`]: the quantum stays as it is.
pub const KEEP_QUANTUM: u32 = u32::MAX;

crate::choices! {
    /// What the time of an alarm is counted from.
    AlarmFrom {
        /// The system's start: a time that has passed goes off at once.
        Start = 0,
        /// Now. No time at all cancels the alarm.
        Now = 1,
    }
}

crate::choices! {
    /// Who decides when a process may run again that has used up its quantum.
    Scheduler {
        /// The kernel: at once, behind its equals.
        Kernel = 0,
        /// The caller, which is sent [`sched::no_quantum`](crate::protocols::sched::no_quantum).
        Caller = 1,
    }
}

crate::protocol! {
    /// The kernel's calls.
    kernel = 0x0600;

    /// Who am I? (MINIX `SYS_GETINFO`, `GET_WHOAMI`.)
    1 whoami {} returns {
        endpoint: Endpoint,
        class: Callers,
        name: Name,
    } fails [] from PROGRAM | SERVICE;

    /// Ends the caller. Never answered. (MINIX `SYS_EXIT`.)
    2 exit {
        /// What the caller's end means: 0 for success.
        status: i32,
    } suspends {} fails [] from PROGRAM | SERVICE;

    /// Appends text to the kernel's log, under the caller's name. (MINIX `SYS_DIAGCTL`.)
    3 diag {
        level: Level,
        /// Ends the line when true; else the next call goes on with it.
        ends_line: bool,
        text: Bytes<96>,
    } returns {} fails [] from PROGRAM | SERVICE;

    /// How long the system has been up, what the wall clock shows, and for how long the caller has
    /// run. (MINIX `SYS_TIMES`.)
    4 times {} returns {
        /// Nanoseconds since the kernel started.
        uptime_ns: u64,
        /// Nanoseconds since 1970, UTC; counted from the kernel's start until [`set_time`].
        real_ns: i64,
        /// Clock ticks that found the caller running.
        user_ticks: u64,
        /// Ticks a second.
        tick_hz: u32,
    } fails [] from PROGRAM | SERVICE;

    /// Describes the first process whose slot is `slot` or higher. (MINIX `SYS_GETINFO`, `GET_PROC`.)
    5 get_process { slot: u16 } returns {
        slot: u16,
        endpoint: Endpoint,
        class: Callers,
        state: ProcessState,
        /// Whom it waits for.
        blocked_on: Endpoint,
        user_ticks: u64,
        name: Name,
    } fails [
        /// There is no further process.
        ESRCH,
    ] from PROGRAM | SERVICE;

    /// Reads a port. (MINIX `SYS_DEVIO`.)
    6 devio_read { port: u16, width: Width } returns { value: u32 } fails [
        /// The port is unaligned for the width.
        EINVAL,
    ] from SERVICE;

    /// Writes a port. (MINIX `SYS_DEVIO`.)
    7 devio_write { port: u16, width: Width, value: u32 } returns {} fails [
        /// The port is unaligned for the width, or the value too wide.
        EINVAL,
    ] from SERVICE;

    /// Writes bytes to one port, in order. (MINIX `SYS_SDEVIO`.)
    8 devio_write_bytes { port: u16, bytes: Bytes<64> } returns {} fails [] from SERVICE;

    /// Asks to be notified of interrupts on a line, and enables it. (MINIX `SYS_IRQCTL`, `IRQ_SETPOLICY`.)
    9 irq_attach {
        line: u8,
        /// The bit that notifications from the hardware show it by.
        bit: u8,
        /// Enable the line again after each interrupt; else [`irq_enable`] does.
        reenable: bool,
    } returns {} fails [
        /// There is no such line or bit.
        EINVAL,
        /// The caller has attached to the line with that bit.
        EBUSY,
        /// The kernel has no memory for it.
        ENOMEM,
    ] from SERVICE;

    /// Enables an attached line after an interrupt. (MINIX `SYS_IRQCTL`, `IRQ_ENABLE`.)
    10 irq_enable { line: u8 } returns {} fails [
        /// The caller has not attached to the line.
        EINVAL,
    ] from SERVICE;

    /// Stops the machine. Never answered. (MINIX `SYS_ABORT`.)
    11 abort {
        /// What the machine's end means: 0 for success.
        status: i32,
    } suspends {} fails [] from SERVICE;

    /// Appends a list to the filter of what the caller receives. Messages that it holds back wait
    /// until the filter lets them through. (MINIX `SYS_STATECTL`, `SYS_STATE_ADD_IPC_BL_FILTER`
    /// and `SYS_STATE_ADD_IPC_WL_FILTER`.)
    12 ipc_filter_add {
        kind: FilterKind,
        /// The list: each rule as [`FilterRule::to_bytes`] writes it.
        rules: Bytes<96>,
    } returns {} fails [
        /// There is no rule, a rule is none, or it names a source that does not live.
        EINVAL,
        /// The caller would have more than 128 rules.
        E2BIG,
        /// The kernel has no memory for it.
        ENOMEM,
    ] from SERVICE;

    /// Lets everything through again. (MINIX `SYS_STATECTL`, `SYS_STATE_CLEAR_IPC_FILTERS`.)
    13 ipc_filter_clear {} returns {} fails [] from SERVICE;

    /// Sets the caller's alarm, the one that it has: a notification from the clock. (MINIX `SYS_SETALARM`.)
    16 set_alarm { time_ns: u64, from: AlarmFrom } returns {
        /// What was left of the alarm before, in nanoseconds; [`NO_ALARM`] if it was not set.
        left_ns: u64,
        uptime_ns: u64,
    } fails [] from SERVICE;

    /// Sets the wall clock. (MINIX `SYS_SETTIME`.)
    17 set_time {
        /// Nanoseconds since 1970, UTC.
        real_ns: i64,
    } returns {} fails [
        /// The time lies before 1970.
        EINVAL,
    ] from SERVICE;

    /// Lets the wall clock run faster or slower until it has made up for a difference (POSIX-like
    /// `adjtime`; MINIX `SYS_SETTIME` with `now` zero).
    18 adjust_time { by_ns: i64 } returns {
        /// What was left of the adjustment before, which ends.
        left_ns: i64,
    } fails [] from SERVICE;

    /// Gives a process of which the caller is the scheduler a priority and a new quantum. (MINIX `SYS_SCHEDULE`.)
    19 schedule {
        process: Endpoint,
        /// 0 to 15, or [`KEEP_PRIORITY`].
        priority: u8,
        /// At least 1, or [`KEEP_QUANTUM`].
        quantum_ms: u32,
    } returns {} fails [
        /// There is no such process, priority or quantum.
        EINVAL,
    ] from SERVICE;

    /// Says who schedules a process from now on. Only its scheduler may, or anybody as long as it is
    /// the kernel. (MINIX `SYS_SCHEDCTL`.)
    20 set_scheduler {
        process: Endpoint,
        scheduler: Scheduler,
        /// As for [`schedule`].
        priority: u8,
        /// As for [`schedule`].
        quantum_ms: u32,
    } returns {} fails [
        /// There is no such process, priority or quantum.
        EINVAL,
    ] from SERVICE;
}
