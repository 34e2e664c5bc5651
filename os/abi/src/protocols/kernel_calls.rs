//! Kernel calls: what a service asks of the kernel itself.
//!
//! Which of them a service may make stands in `os/system.toml`; a program may make those that
//! `from PROGRAM` admits. A call that the caller's mask lacks fails with `ECALLDENIED`, an
//! unknown one with `EBADREQUEST`.

use crate::{Bytes, Callers, CopyFlags, Endpoint, Name};

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

    /// How long the system has been up, and for how long the caller has run. (MINIX `SYS_TIMES`.)
    4 times {} returns {
        /// Nanoseconds since the kernel started.
        uptime_ns: u64,
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

    /// Copies between two processes. (MINIX `SYS_VIRCOPY`.)
    ///
    /// Where both ranges overlap in one memory, what the target holds afterwards is open.
    37 vircopy {
        /// Whose memory is read; `SELF` is the caller.
        from: Endpoint,
        /// Whose memory is written; `SELF` is the caller.
        to: Endpoint,
        flags: CopyFlags,
        from_address: u64,
        to_address: u64,
        len: u64,
    } suspends {} fails [
        /// An endpoint is no living process's, or a flag is unknown.
        EINVAL,
        /// An address is no memory of the process, or not to be written, or (with `TRY`) not there yet.
        EFAULT,
        /// There is nothing to copy.
        EDOM,
        /// VM found no memory for it.
        ENOMEM,
        /// VM could not read a page in.
        EIO,
    ] from SERVICE;

    /// As [`vircopy`], and the endpoint `NONE` stands for physical memory. (MINIX `SYS_PHYSCOPY`.)
    ///
    /// Memory of the kernel itself can't be reached; page tables can.
    38 physcopy {
        from: Endpoint,
        to: Endpoint,
        flags: CopyFlags,
        from_address: u64,
        to_address: u64,
        len: u64,
    } suspends {} fails [EINVAL, EFAULT, EDOM, ENOMEM, EIO] from SERVICE;

    /// Fills memory with a byte. (MINIX `SYS_MEMSET`.)
    39 memset {
        /// Whose memory; `SELF` is the caller, `NONE` physical memory, which takes the right to [`physcopy`].
        process: Endpoint,
        flags: CopyFlags,
        address: u64,
        len: u64,
        byte: u8,
    } suspends {} fails [EINVAL, EFAULT, EDOM, ENOMEM, EIO] from SERVICE;
}
