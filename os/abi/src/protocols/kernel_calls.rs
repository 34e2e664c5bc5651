//! Kernel calls: what a service asks of the kernel itself.
//!
//! Which of them a service may make stands in `os/system.toml`; a program may make those that
//! `from PROGRAM` admits. A call that the caller's mask lacks fails with `ECALLDENIED`, an
//! unknown one with `EBADREQUEST`.
//!
//! These calls of MINIX have no row:
//!
//! - `SYS_IOPENABLE`, for a service that reaches all ports is one that nobody can hold to its rights;
//! - `SYS_READBIOS`, for who may read firmware has VM map it, by [`kernel::vm_map_device`];
//! - `SYS_SPROF`, for a profile is QEMU's or the debugger's to make;
//! - `SYS_UMAP_REMOTE`, for where memory is physically is told to those only who may use it, by [`kernel::umap`] and
//!   [`kernel::vumap`]; of what VM itself has put somewhere, it knows that;
//! - `SYS_STATE_SET_STATE_TABLE`, which says where a service keeps what compilers know of its types: here a new version
//!   reads the state of the old one in a form that both know;
//! - of `SYS_GETINFO`, `GET_CPUINFO`, for `cpuid` is nobody's privilege; `GET_REGS`, for registers are PM's to read, by
//!   [`kernel::trace_read_register`]; and `GET_IMAGE`, for who lives when RS starts is of the boot image, which
//!   [`kernel::get_process`] tells, and [`kernel::get_privileges`] and its neighbours what each may do. `GET_KINFO` is in
//!   parts: [`kernel::get_machine`] and [`kernel::get_parameters`]; and `GET_RANDOMNESS_BIN` is in
//!   [`kernel::get_randomness`], which has one source and no bins. `GET_HZ` is in [`kernel::get_machine`]; whole tables
//!   (`GET_PROCTAB`, `GET_PRIVTAB`, `GET_IRQACTIDS`) are asked for an entry at a time, so that their layout is the kernel's;
//! - of `SYS_VMCTL`, what concerns page tables (`GET_PDBR`, `SETADDRSPACE`, `INVLPG`, `FLUSHTLB`, `CLEARMAPCACHE`), for the
//!   kernel keeps those, by [`kernel::vm_map_page`] and its neighbours; `KERN_PHYSMAP` and `KERN_MAP_REPLY`, for it maps its
//!   own devices; and `BOOTINHIBIT_CLEAR`, for the processes of the boot image have their memory from the start;
//! - `SYS_STIME`, for the wall clock keeps its own start ([`kernel::set_time`]); the processor and niceness of
//!   `SYS_SCHEDULE` and `SYS_SCHEDCTL`, for there is one processor, and niceness is the scheduler's; `SYS_PADCONF`, which is ARM's.
//!
//! Nor is there the primitive `MINIX_KERNINFO`: no page of the kernel's is a process's to read.

use crate::registers::Register;
use crate::{
    Bytes, Callers, CopyFlags, DeviceAccess, Endpoint, GrantId, Name, PageAccess, RequestOutcome, Signal,
    Signals, Wire,
};

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
        /// Waits for nobody, but something else keeps it from running: a signal, a page fault, its end.
        Stopped = 4,
    }
}

crate::choices! {
    /// How a traced process goes on.
    Tracing {
        /// Freely, and traced no longer.
        Free = 0,
        /// For one instruction.
        Step = 1,
        /// Up to the next IPC primitive that is no kernel call, and once more behind it.
        Calls = 2,
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
    /// Which way bytes go between a device and the caller.
    Direction {
        /// From the device.
        In = 0,
        /// To the device.
        Out = 1,
    }
}

crate::choices! {
    /// A timer that runs while its process does (POSIX `setitimer`).
    VirtualTimer {
        /// Raises `SIGVTALRM`.
        Virtual = 0,
        /// Raises `SIGPROF`.
        Profiling = 1,
    }
}

/// Bytes of one access of [`kernel::devio_batch`]: port and value.
pub const BATCH_ACCESS: usize = 6;

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
        /// Clock ticks that found the caller running. Interrupts wait while the kernel works, so its time is in here,
        /// and no system time is told apart; what servers do for a process is theirs.
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

    /// Asks to be notified of interrupts on a line, and enables it. Takes the place of what the caller has asked for by
    /// the same line and bit, which another version of it may have. (MINIX `SYS_IRQCTL`, `IRQ_SETPOLICY`.)
    9 irq_attach {
        line: u8,
        /// The bit that notifications from the hardware show it by.
        bit: u8,
        /// Enable the line again after each interrupt; else [`irq_enable`] does.
        reenable: bool,
    } returns {} fails [
        /// There is no such line or bit.
        EINVAL,
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

    /// A piece of the kernel's command line. (MINIX `SYS_GETINFO`, `GET_MONPARAMS`.)
    14 get_parameters {
        /// Where the piece starts.
        at: u16,
    } returns {
        /// How many bytes there are in all.
        length: u16,
        text: Bytes<96>,
    } fails [] from SERVICE;

    /// What the processor has been doing since the kernel started. (MINIX `SYS_GETINFO`, `GET_IDLETSC`,
    /// `GET_CPUTICKS` and `GET_LOADINFO`.)
    15 get_load {} returns {
        /// Nanoseconds in which it ran.
        busy_ns: u64,
        /// Nanoseconds in which it waited for interrupts.
        idle_ns: u64,
        /// The sum, over all clock ticks, of how many processes could run: who asks twice learns the load between.
        /// There are no ticks while nobody can run.
        ready_ticks: u64,
    } fails [] from SERVICE;

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

    /// Says who schedules a process from now on. Only its scheduler may; as long as that is the kernel, the
    /// scheduler that its privileges name, PM and RS: `EPERM`. (MINIX `SYS_SCHEDCTL`.)
    20 set_scheduler {
        process: Endpoint,
        scheduler: Scheduler,
        /// As for [`schedule`].
        priority: u8,
        /// As for [`schedule`].
        quantum_ms: u32,
    } returns {} fails [
        /// There is no such process, priority or quantum; or the caller would schedule itself.
        EINVAL,
        /// The process schedules the caller, or one that does: they would wait for each other for ever.
        ELOCKED,
    ] from SERVICE;

    /// Keeps an attached line from interrupting until [`irq_enable`]. (MINIX `SYS_IRQCTL`, `IRQ_DISABLE`.)
    21 irq_disable { line: u8 } returns {} fails [
        /// The caller has not attached to the line.
        EINVAL,
    ] from SERVICE;

    /// Ends an attachment. (MINIX `SYS_IRQCTL`, `IRQ_RMPOLICY`.)
    22 irq_detach { line: u8, bit: u8 } returns {} fails [
        /// The caller has not attached to the line with that bit.
        EINVAL,
    ] from SERVICE;

    /// Reads or writes ports one after another, all or none. (MINIX `SYS_VDEVIO`.)
    23 devio_batch {
        direction: Direction,
        width: Width,
        /// Up to 16 accesses: each the port in 2 bytes and the value in 4.
        accesses: Bytes<96>,
    } returns {
        /// The same, with what was read.
        accesses: Bytes<96>,
    } fails [
        /// There is no access, one is cut off, a port is unaligned for the width, or a value too wide.
        EINVAL,
    ] from SERVICE;

    /// Moves bytes between one port and memory: the caller's, or what was granted to it. (MINIX `SYS_SDEVIO`.)
    ///
    /// If it fails, the device was not touched. VM is asked for a page that is missing, or not to be
    /// written by what comes in, unless the grant has `TRY`.
    24 devio_string {
        direction: Direction,
        port: u16,
        width: Width,
        /// `SELF`, or who granted it.
        granter: Endpoint,
        /// [`GrantId::NONE`] of the caller's own memory.
        grant: GrantId,
        /// An address of the caller's, or where in the granted memory.
        start: u64,
        /// At most 65536, whole registers.
        bytes: u32,
    } suspends {} fails [
        /// There is no byte, there are too many, the port or the bytes are unaligned for the width, or
        /// there is no such granter.
        EINVAL,
        /// A page is missing.
        EFAULT,
        ELOOP,
        ENOTREADY,
        ENOMEM,
        EIO,
    ] from SERVICE;

    /// What the machine has, and what the kernel was started with. (MINIX `SYS_GETINFO`, `GET_MACHINE`.)
    25 get_machine {} returns {
        /// How many processes there can be.
        processes: u16,
        irq_lines: u8,
        tick_hz: u32,
    } fails [] from SERVICE;

    /// Describes who is attached to interrupt lines, one after another. (MINIX `SYS_GETINFO`, `GET_IRQHOOKS`.)
    26 get_irq_hook { index: u16 } returns {
        line: u8,
        bit: u8,
        owner: Endpoint,
        /// It was told of an interrupt and has not enabled the line since.
        is_active: bool,
    } fails [
        /// There are not so many.
        ESRCH,
    ] from SERVICE;

    /// What a process may do. (MINIX `SYS_GETINFO`, `GET_PRIV`.)
    27 get_privileges { process: Endpoint } returns {
        traps: u32,
        kernel_calls: u128,
        signal_manager: Endpoint,
        backup_manager: Endpoint,
        /// [`Endpoint::NONE`] if it is the kernel.
        scheduler: Endpoint,
        /// Who may become its scheduler.
        next_scheduler: Endpoint,
        grants_magic: bool,
        /// A bit for each interrupt line.
        irqs: u32,
        /// Ranges of ports, which [`get_port_range`] tells.
        port_ranges: u16,
        /// Ranges of physical memory, which [`get_memory_range`] tells.
        memory_ranges: u16,
    } fails [
        /// There is no such process.
        EINVAL,
    ] from SERVICE;

    /// Ports that a process may use. (MINIX `SYS_GETINFO`, `GET_PRIV`.)
    43 get_port_range { process: Endpoint, index: u16 } returns { first: u16, last: u16 } fails [
        /// There is no such process.
        EINVAL,
        /// It has not so many ranges.
        ESRCH,
    ] from SERVICE;

    /// Physical memory that may be mapped into a process. (MINIX `SYS_GETINFO`, `GET_PRIV`.)
    44 get_memory_range { process: Endpoint, index: u16 } returns { start: u64, size: u64 } fails [
        /// There is no such process.
        EINVAL,
        /// It has not so many ranges.
        ESRCH,
    ] from SERVICE;

    /// Tells whether a process may send to another one. (MINIX `SYS_GETINFO`, `GET_PRIV`.)
    45 get_send_right { process: Endpoint, target: Endpoint } returns { may_send: bool } fails [
        /// There is no such process.
        EINVAL,
    ] from SERVICE;

    /// Logs where a process is. (MINIX `SYS_DIAGCTL`, `DIAGCTL_CODE_STACKTRACE`.)
    28 log_stack { process: Endpoint } returns {} fails [
        /// There is no such process.
        EINVAL,
    ] from SERVICE;

    /// Sets a timer that runs while a process does; no time at all stops it. (MINIX `SYS_VTIMER`.)
    29 set_virtual_timer { process: Endpoint, timer: VirtualTimer, time_ns: u64 } returns {
        /// What was left of it.
        left_ns: u64,
    } fails [
        /// There is no such process.
        EINVAL,
    ] from PM;

    /// Reads the kernel's log, of which the last 16 KiB are kept. (MINIX `SYS_GETINFO`, `GET_KMESSAGES`.)
    30 log_read {
        /// The first byte that is wanted, counted from the kernel's start.
        position: u64,
    } returns {
        /// That of the first byte of the text: a later one, if those that were wanted are not kept any longer.
        position: u64,
        /// Nothing, if there is nothing new.
        text: Bytes<96>,
    } fails [] from SERVICE;

    /// Asks to be told of new lines in the kernel's log, or no longer: by a notification from the kernel with
    /// `SIGKMESS`, at the next clock tick, or when the processor would wait. Who logs something whenever it is told
    /// is told for ever. (MINIX `SYS_DIAGCTL`, `DIAGCTL_CODE_REGISTER` and `_UNREGISTER`.)
    31 log_watch { on: bool } returns {} fails [] from SERVICE;

    /// Takes what has been gathered of the times of device interrupts since the last call: the lowest byte of each,
    /// as many as there is room for. On a machine whose time is counted in instructions they repeat in every run.
    /// (MINIX `SYS_GETINFO`, `GET_RANDOMNESS`.)
    42 get_randomness {} returns { samples: Bytes<96> } fails [] from SERVICE;

    /// Raises a signal for a process, which its manager takes. (MINIX `SYS_KILL`.)
    64 kill { process: Endpoint, signal: Signal } returns {} fails [
        /// There is no such process, or a process can't be sent that signal.
        EINVAL,
        /// Nobody manages the process, and the signal does not end one.
        ENOENT,
    ] from SERVICE;

    /// Takes the signals of the next process that the caller manages, which stands still until
    /// [`endksig`]. [`Endpoint::NONE`] if there is none. (MINIX `SYS_GETKSIG`.)
    65 getksig {} returns { process: Endpoint, signals: Signals } fails [] from SERVICE;

    /// Lets a process go on whose signals the caller has dealt with, unless there are new ones.
    /// Fails with `EPERM` if the caller does not manage it. (MINIX `SYS_ENDKSIG`.)
    66 endksig { process: Endpoint } returns {} fails [
        /// There is no such process, or it has no signal that its manager has yet to end.
        EINVAL,
    ] from SERVICE;

    /// Lets a process go on in a signal handler, and leaves on its stack what [`sigreturn`] needs.
    /// The handler gets the signal, the address of that frame, and returns to `restorer`.
    /// (MINIX `SYS_SIGSEND`.)
    67 sigsend {
        process: Endpoint,
        signal: Signal,
        handler: u64,
        restorer: u64,
        /// Where the handler's stack starts; 0 for where the process's is.
        stack: u64,
        /// What [`sigreturn`] gives back.
        mask: Signals,
    } suspends { frame: u64 } fails [
        /// There is no such process, or no such signal.
        EINVAL,
        /// The process is in a primitive: answer or cancel it first.
        EBUSY,
        /// Handler or stack are no memory of the process.
        EFAULT,
        /// VM has no memory for it.
        ENOMEM,
        /// VM could not read what belongs there.
        EIO,
    ] from PM;

    /// Puts back what [`sigsend`] saved. It ends the primitive that the process is in, so there is
    /// nothing to answer. (MINIX `SYS_SIGRETURN`.)
    68 sigreturn { process: Endpoint, frame: u64 } suspends { mask: Signals } fails [
        /// There is no such process, or what is there is no frame.
        EINVAL,
        /// The process is in a kernel call that waits, or faulted: let it go on, or end, first.
        EBUSY,
        /// The frame, or the instruction that it leads to, is no memory of the process.
        EFAULT,
        /// VM has no memory for it.
        ENOMEM,
        /// VM could not read what belongs there.
        EIO,
    ] from PM;

    /// Frees the slot of a process that the caller manages, and all that the kernel holds for it.
    /// Fails with `EPERM` if the caller is neither its manager nor PM. Of a process that is cleared
    /// already nothing is left to do. (MINIX `SYS_CLEAR`.)
    69 clear { process: Endpoint } returns {} fails [
        /// There is no such process, or it is the caller.
        EINVAL,
    ] from SERVICE;

    /// Makes a copy of a process that waits for an answer in `sendrec`, and so does the copy. It has an empty
    /// address space, and the privileges of programs: the child of a service may not run
    /// before it is given some of its own. (MINIX `SYS_FORK`.)
    70 fork {
        parent: Endpoint,
        /// Where the child goes.
        slot: u16,
        /// The child may not run before [`vm_set_inhibited`].
        inhibited: bool,
    } returns { child: Endpoint } fails [
        /// There is no such parent, it does not wait for an answer, or the slot is not free.
        EINVAL,
        /// There is no memory for it.
        ENOMEM,
        /// There is no room for the privileges of programs.
        ENOSPC,
    ] from VM;

    /// Lets a process start anew. It ends the primitive that the process is in, so there is
    /// nothing to answer; and the program that starts has no alarm, interrupts, filters and grants of the one before, and
    /// watches no log. Messages on their way stay. (MINIX `SYS_EXEC`.)
    71 exec {
        process: Endpoint,
        instruction: u64,
        stack: u64,
        /// What the first instruction finds in `rdi`.
        argument: u64,
        name: Name,
    } returns {} fails [
        /// There is no such process, it is the caller, or the name is the kernel's or, for a program, a living service's.
        EINVAL,
        /// The instruction is in no process's part of memory.
        EFAULT,
    ] from PM | VFS | VM | RS;

    /// Keeps a process from running. (MINIX `SYS_RUNCTL`, `RC_STOP`.)
    72 run_stop {
        process: Endpoint,
        /// If it is about to send, or in a kernel call that waits, don't stop it: its manager gets
        /// `SIGSNDELAY` for it when that is over, in whatever way.
        delay: bool,
    } returns {} fails [
        /// There is no such process, or it is the caller.
        EINVAL,
        /// It is about to send, or in a kernel call that waits.
        EBUSY,
    ] from PM;

    /// Lets a stopped process run. (MINIX `SYS_RUNCTL`, `RC_RESUME`.)
    73 run_resume { process: Endpoint } returns {} fails [
        /// There is no such process, or it is not stopped.
        EINVAL,
    ] from PM;

    /// Writes vector and x87 registers of a process into its memory. (MINIX `SYS_GETMCONTEXT`.)
    74 get_machine_context { process: Endpoint, address: u64 } suspends {} fails [
        /// There is no such process.
        EINVAL,
        /// The address is no memory of the process.
        EFAULT,
        /// VM has no memory for it.
        ENOMEM,
        /// VM could not read what belongs there.
        EIO,
    ] from PM;

    /// Reads vector and x87 registers of a process from its memory. (MINIX `SYS_SETMCONTEXT`.)
    75 set_machine_context { process: Endpoint, address: u64 } suspends {} fails [
        /// There is no such process, or the processor has no such state.
        EINVAL,
        /// The address is no memory of the process.
        EFAULT,
        /// The process is in a primitive, which uses these registers.
        EBUSY,
        /// VM has no memory for it.
        ENOMEM,
        /// VM could not read what belongs there.
        EIO,
    ] from PM;

    /// Lets a process go on whose page fault is resolved. (MINIX `SYS_VMCTL`, `VMCTL_CLEAR_PAGEFAULT`.)
    76 vm_clear_page_fault { process: Endpoint } returns {} fails [
        /// There is no such process, or no page fault stops it.
        EINVAL,
    ] from VM;

    /// Keeps a process from running while its address space changes. Nobody reaches its memory
    /// meanwhile: calls that would wait until this ends, unless they have `TRY`, or so has their grant, which
    /// is marked: these fail with `EFAULT`, and so do calls of VM itself. What it grants can't be read, `TRY` or not: whoever
    /// uses that waits. (MINIX `SYS_VMCTL`, `VMCTL_VMINHIBIT_SET` and `_CLEAR`.)
    77 vm_set_inhibited { process: Endpoint, inhibited: bool } returns {} fails [
        /// There is no such process, it is the caller, or it is in that state already.
        EINVAL,
    ] from VM;

    /// Stops a process for its tracer. (MINIX `SYS_TRACE`, `T_STOP`.)
    78 trace_stop { process: Endpoint } returns {} fails [
        /// There is no such process, or it is the caller.
        EINVAL,
    ] from PM;

    /// Lets a traced process go on. Each step that it takes raises `SIGTRAP` for it. (MINIX
    /// `SYS_TRACE`, `T_RESUME`, `T_STEP`, `T_SYSCALL`, `T_DETACH`.)
    79 trace_resume { process: Endpoint, how: Tracing } returns {} fails [
        /// There is no such process, or it was not stopped for its tracer.
        EINVAL,
    ] from PM;

    /// Reads a word of a process's memory. (MINIX `SYS_TRACE`, `T_GETDATA`.)
    80 trace_read { process: Endpoint, address: u64 } suspends { value: u64 } fails [
        /// There is no such process.
        EINVAL,
        /// The address is no memory of the process.
        EFAULT,
        /// VM has no memory for it.
        ENOMEM,
        /// VM could not read what belongs there.
        EIO,
    ] from PM;

    /// Writes a word of a process's memory that it could write itself, or that VM makes so. (MINIX `SYS_TRACE`, `T_SETDATA`.)
    81 trace_write { process: Endpoint, address: u64, value: u64 } suspends {} fails [
        /// There is no such process.
        EINVAL,
        /// The address is no memory of the process, or read-only.
        EFAULT,
        /// VM has no memory for it.
        ENOMEM,
        /// VM could not read what belongs there.
        EIO,
    ] from PM;

    /// Reads bytes of a process's memory, all or none. (MINIX `SYS_TRACE`, `T_READB_INS`.)
    99 trace_read_bytes {
        process: Endpoint,
        address: u64,
        /// 1 to 96.
        count: u16,
    } suspends { bytes: Bytes<96> } fails [
        /// There is no such process, no byte, or too many.
        EINVAL,
        /// An address is no memory of the process.
        EFAULT,
        /// VM has no memory for it.
        ENOMEM,
        /// VM could not read what belongs there.
        EIO,
    ] from PM;

    /// Writes bytes of a process's memory, as [`trace_write`] a word. (MINIX `SYS_TRACE`, `T_WRITEB_INS`.)
    100 trace_write_bytes { process: Endpoint, address: u64, bytes: Bytes<96> } suspends {} fails [
        /// There is no such process, or no byte.
        EINVAL,
        /// An address is no memory of the process, or read-only.
        EFAULT,
        /// VM has no memory for it.
        ENOMEM,
        /// VM could not read what belongs there.
        EIO,
    ] from PM;

    /// Reads a register of a process. (MINIX `SYS_TRACE`, `T_GETUSER`.)
    82 trace_read_register { process: Endpoint, register: Register } returns { value: u64 } fails [
        /// There is no such process.
        EINVAL,
    ] from PM;

    /// Writes a register of a process. (MINIX `SYS_TRACE`, `T_SETUSER`.)
    83 trace_write_register { process: Endpoint, register: Register, value: u64 } returns {} fails [
        /// There is no such process, or it is the caller.
        EINVAL,
        /// The instruction is in no process's part of memory.
        EFAULT,
    ] from PM;

    /// Lets a process run that had no privileges. Fails with `EPERM` if it has. (MINIX `SYS_PRIVCTL`,
    /// `SYS_PRIV_ALLOW`.)
    84 privilege_allow { process: Endpoint } returns {} fails [
        /// There is no such process.
        EINVAL,
    ] from RS;

    /// Keeps a process from running until it is allowed again. Fails with `EPERM` if it is
    /// already. (MINIX `SYS_PRIV_DISALLOW`.)
    85 privilege_disallow { process: Endpoint } returns {} fails [
        /// There is no such process, or it is the caller.
        EINVAL,
    ] from RS;

    /// Makes a process that may not run a service, which may do only this: no ports, no lines, no memory,
    /// and nobody to send to. Its interrupts, alarm, filters, grants, pages of devices and messages on their way are
    /// gone, also one that it waits to send; who waited for it goes on with `EDEADSRCDST`. Fails with `EPERM` if the process may run. (MINIX `SYS_PRIV_SET_SYS`.)
    86 privilege_set_system {
        process: Endpoint,
        class: Callers,
        /// A bit for each primitive.
        traps: u32,
        /// A bit for each kernel call.
        kernel_calls: u128,
        /// A living service, [`Endpoint::SELF`] (which its own name means, too), or [`Endpoint::NONE`].
        signal_manager: Endpoint,
        /// Who is that when the manager is gone, or can't help itself; at once, if that is nobody. Its own name means nobody.
        backup_manager: Endpoint,
        /// Who may become its scheduler, a living service; [`Endpoint::NONE`] if the kernel is to stay it.
        scheduler: Endpoint,
        /// It may grant other processes' memory.
        grants_magic: bool,
    } returns {} fails [
        /// There is no such process, manager or scheduler, or the class is no service's.
        EINVAL,
        /// There are as many services as there can be.
        ENOSPC,
    ] from RS;

    /// Gives a process that may not run the privileges of programs. All that only a service can have is gone,
    /// as for [`privilege_set_system`]; and whoever it was signal manager, scheduler or VM of goes on as if
    /// it had died. Fails with `EPERM` if it may
    /// run. (MINIX `SYS_PRIV_SET_USER`.)
    87 privilege_set_user { process: Endpoint } returns {} fails [
        /// There is no such process.
        EINVAL,
        /// There is no room for the privileges of programs.
        ENOSPC,
    ] from RS;

    /// Lets a service use ports. Fails with `EPERM` if the process is no service, or may not run.
    /// (MINIX `SYS_PRIV_ADD_IO`.)
    88 privilege_add_io { process: Endpoint, first: u16, last: u16 } returns {} fails [
        /// There is no such process, or the range is empty.
        EINVAL,
        /// The service has as many ranges as it can have.
        ENOMEM,
    ] from RS;

    /// Lets a service map physical memory. Fails with `EPERM` as [`privilege_add_io`].
    /// (MINIX `SYS_PRIV_ADD_MEM`.)
    89 privilege_add_memory { process: Endpoint, start: u64, size: u64 } returns {} fails [
        /// There is no such process, or the range is empty or wraps around.
        EINVAL,
        /// The service has as many ranges as it can have.
        ENOMEM,
    ] from RS;

    /// Lets a service attach to an interrupt line. Fails with `EPERM` as [`privilege_add_io`].
    /// (MINIX `SYS_PRIV_ADD_IRQ`.)
    90 privilege_add_irq { process: Endpoint, line: u8 } returns {} fails [
        /// There is no such process or line.
        EINVAL,
    ] from RS;

    /// Asks whether a process may map all of a range of physical memory; `EPERM` if not.
    /// (MINIX `SYS_PRIV_QUERY_MEM`.)
    91 privilege_query_memory { process: Endpoint, start: u64, size: u64 } returns {} fails [
        /// There is no such process.
        EINVAL,
    ] from VM | RS;

    /// Replaces what a process may do, but for ports, lines, memory, and whom it may send to. For a
    /// program: what all programs may do. (MINIX `SYS_PRIV_UPDATE_SYS`.)
    92 privilege_update {
        process: Endpoint,
        traps: u32,
        kernel_calls: u128,
        signal_manager: Endpoint,
        backup_manager: Endpoint,
        /// Who may become its scheduler, a living service; [`Endpoint::NONE`] if the kernel is to stay it.
        scheduler: Endpoint,
        /// It may grant other processes' memory.
        grants_magic: bool,
    } returns {} fails [
        /// There is no such process, manager or scheduler; or programs would grant other processes' memory.
        EINVAL,
    ] from RS;

    /// Lets a process run that had no privileges, in the caller's place, which may run no longer.
    /// Fails with `EPERM` if the process has. (MINIX `SYS_PRIV_YIELD`.)
    93 privilege_yield { process: Endpoint } returns {} fails [
        /// There is no such process, or it is the caller.
        EINVAL,
    ] from RS;

    /// Lets everybody who waits for a process go on with `EDEADSRCDST`. (MINIX `SYS_PRIV_CLEAR_IPC_REFS`.)
    94 privilege_clear_ipc_refs { process: Endpoint } returns {} fails [
        /// There is no such process.
        EINVAL,
    ] from RS;

    /// Lets a process send to another one, which may answer.
    95 privilege_add_target { process: Endpoint, target: Endpoint } returns {} fails [
        /// There is no such process, or both are one, or both are programs.
        EINVAL,
    ] from RS;

    /// Forbids two processes to send to each other.
    96 privilege_remove_target { process: Endpoint, target: Endpoint } returns {} fails [
        /// There is no such process, or both are one, or both are programs.
        EINVAL,
    ] from RS;

    /// Lets everybody who waits for the caller go on with `EDEADSRCDST`: what they sent went to its
    /// predecessor. (MINIX `SYS_STATECTL`, `SYS_STATE_CLEAR_IPC_REFS`.)
    97 state_clear_ipc_refs {} returns {} fails [] from SERVICE;

    /// Exchanges what two services are, while each endpoint stays where it is, and with it who waits for it, what it
    /// has yet to be told, and whether the machine ends with it. The target also gets the source's rights. Fails with
    /// `EPERM` if one is no service, or if one is VM and the other can't be. (MINIX `SYS_UPDATE`.)
    98 update {
        source: Endpoint,
        target: Endpoint,
        /// What the source has yet to send is not sent.
        rollback: bool,
    } returns {} fails [
        /// There is no such process, or both are one.
        EINVAL,
        /// One of them could run, is in VM's hands, waits for the other, takes part in a copy that is
        /// not over, or has a signal or its end in the hands of a manager that isn't the caller: that one knows the
        /// name of before.
        EBUSY,
        /// The target has no room for the source's rights.
        ENOMEM,
    ] from RS | VM;

    /// Says where the caller's table of grants is, or with no entries that it has none. (MINIX `SYS_SETGRANT`.)
    ///
    /// The table is an array of [`GrantEntry`](crate::GrantEntry) in the caller's memory, which the
    /// kernel reads whenever somebody uses a grant.
    32 setgrant {
        address: u64,
        entries: u32,
    } returns {
        /// The lowest of [`GrantId::BLOCK`] sequences for grants that are made from now on. No other registration
        /// under the caller's endpoint got or gets one of them. Zero, and none, if the caller has no table now.
        first_sequence: u64,
    } fails [
        /// The address is no multiple of 8, or there are more entries than a grant's id can name.
        EINVAL,
        /// The table is outside of user space.
        EFAULT,
        /// All sequences of the caller's endpoint have been handed out, after some four million registrations.
        ENOSPC,
    ] from SERVICE;

    /// Copies from granted memory to the caller's. (MINIX `SYS_SAFECOPYFROM`.)
    ///
    /// Fails with `EPERM` if the grant does not permit it: it is none, a stale one, somebody
    /// else's, too short, or lacks the right.
    33 safecopy_from {
        granter: Endpoint,
        grant: GrantId,
        /// Where in the granted memory.
        offset: u64,
        /// Where in the caller's.
        address: u64,
        len: u64,
    } suspends {} fails [
        /// A granter is no living process.
        EINVAL,
        /// As of [`vircopy`]; with a grant that has `TRY`, which is then marked, a page is not there.
        EFAULT,
        EDOM,
        /// The grant leads through more than five others.
        ELOOP,
        /// The granter has been replaced and has not registered its table again; or five other marks have yet to
        /// be written into its table, which it can't write itself at the moment.
        ENOTREADY,
        ENOMEM,
        EIO,
    ] from SERVICE;

    /// Copies from the caller's memory to granted memory. (MINIX `SYS_SAFECOPYTO`.)
    34 safecopy_to {
        granter: Endpoint,
        grant: GrantId,
        offset: u64,
        address: u64,
        len: u64,
    } suspends {} fails [EINVAL, EFAULT, EDOM, ELOOP, ENOTREADY, ENOMEM, EIO] from SERVICE;

    /// Makes several copies, in order, until one fails. (MINIX `SYS_VSAFECOPY`.)
    35 vsafecopy {
        /// Where in the caller's memory the [`CopyElement`](crate::CopyElement)s are.
        address: u64,
        count: u32,
    } suspends {} fails [
        /// There is no element, or not exactly one of its ends is `SELF`; or as of [`safecopy_from`].
        EINVAL,
        /// There are more than [`VECTOR_LIMIT`](crate::VECTOR_LIMIT).
        E2BIG,
        EFAULT,
        EDOM,
        ELOOP,
        ENOTREADY,
        ENOMEM,
        EIO,
    ] from SERVICE;

    /// Fills granted memory with a byte. (MINIX `SYS_SAFEMEMSET`.)
    36 safe_memset {
        granter: Endpoint,
        grant: GrantId,
        offset: u64,
        len: u64,
        byte: u8,
    } suspends {} fails [EINVAL, EFAULT, EDOM, ELOOP, ENOTREADY, ENOMEM, EIO] from SERVICE;

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
    /// Only frames of processes and of VM are reached: `EFAULT` for the kernel's, page tables among
    /// them, for those of nobody, for firmware and for devices.
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

    /// Where memory is physically, for a device. (MINIX `SYS_UMAP`.)
    ///
    /// Only the caller's own memory, or what was granted to it. VM is asked for a page that is
    /// missing, or not to be written by a device that writes, unless the grant has `TRY`.
    40 umap {
        /// `SELF`, or who granted it.
        granter: Endpoint,
        /// [`GrantId::NONE`] of the caller's own memory.
        grant: GrantId,
        /// An address of the caller's, or where in the granted memory.
        start: u64,
        len: u64,
        access: DeviceAccess,
    } suspends {
        address: u64,
        /// How many bytes follow each other there, up to `len`.
        len: u64,
    } fails [EINVAL, EFAULT, EDOM, ELOOP, ENOTREADY, ENOMEM, EIO] from SERVICE;

    /// Where several pieces of memory are physically. (MINIX `SYS_VUMAP`.)
    41 vumap {
        /// `SELF`, and the input has addresses; or who granted it, and it has grants.
        granter: Endpoint,
        access: DeviceAccess,
        /// Where in the caller's memory the [`VumapInput`](crate::VumapInput)s are.
        input: u64,
        /// How many.
        count: u32,
        /// What to skip of the first one.
        offset: u64,
        /// Where in the caller's memory the [`PhysicalPiece`](crate::PhysicalPiece)s go.
        output: u64,
        /// How many there is room for. What does not fit is left out.
        limit: u32,
    } suspends {
        /// How many pieces were written.
        count: u32,
    } fails [
        /// There is no input or no room, or the first one is not longer than the offset.
        EINVAL,
        /// There are more than [`VECTOR_LIMIT`](crate::VECTOR_LIMIT).
        E2BIG,
        EFAULT,
        ELOOP,
        ENOTREADY,
        ENOMEM,
        EIO,
    ] from SERVICE;

    /// Takes the memory request that has waited longest. (MINIX `SYS_VMCTL`, `VMCTL_MEMREQ_GET`.)
    ///
    /// A notification from the kernel tells that there are some. `ENOENT` also while VM's filters hold that back.
    48 vm_memory_request_get {} returns {
        /// Whose kernel call waits for it.
        requestor: Endpoint,
        /// Which request of the requestor's.
        request: u64,
        /// Whose memory.
        target: Endpoint,
        /// The first address that is needed.
        start: u64,
        len: u64,
        /// It is to be written, too.
        is_written: bool,
    } fails [
        /// No request waits.
        ENOENT,
    ] from VM;

    /// Tells what became of a request. (MINIX `SYS_VMCTL`, `VMCTL_MEMREQ_REPLY`.)
    49 vm_memory_request_reply {
        requestor: Endpoint,
        request: u64,
        outcome: RequestOutcome,
    } returns {} fails [
        /// Nobody waits for it any longer: the requestor or another party of its call has died.
        ESRCH,
    ] from VM;

    /// Takes page frames that follow each other and that nobody uses. They are zeroed.
    50 vm_take_frames {
        /// 1 to 512.
        count: u32,
    } returns { address: u64 } fails [
        /// The count is out of range.
        EINVAL,
        /// There are not so many.
        ENOMEM,
    ] from VM;

    /// Gives frames back, which must be mapped nowhere. `EPERM` if one is not VM's.
    51 vm_give_frames { address: u64, count: u32 } returns {} fails [
        /// The address is no frame's.
        EINVAL,
        /// One is still mapped.
        EBUSY,
    ] from VM;

    /// Maps a frame of VM's into a process. `EPERM` if it is not VM's. What is to be in the frame must be there before:
    /// marks of grants that have yet to be written into the process's table are, at this moment.
    52 vm_map_page {
        process: Endpoint,
        address: u64,
        frame: u64,
        access: PageAccess,
    } returns {} fails [
        /// There is no such process, or an address is no page's.
        EINVAL,
        /// The page is outside of user space.
        EFAULT,
        /// There is a page already.
        EEXIST,
        /// There is no frame for a page table.
        ENOMEM,
    ] from VM;

    /// Maps a page of a device's registers or memory into a process, which its caches leave alone. `EPERM` if the
    /// process may not use it (see [`privilege_add_memory`]), if it is memory of the system's, or if it is a
    /// device of the kernel's own. Kernel calls don't reach what is there. (MINIX `VM_MAP_PHYS`.)
    55 vm_map_device {
        process: Endpoint,
        address: u64,
        /// Where it is physically.
        device: u64,
        access: PageAccess,
    } returns {} fails [
        /// There is no such process, an address is no page's, or code would be run there.
        EINVAL,
        /// The page is outside of user space.
        EFAULT,
        /// There is a page already.
        EEXIST,
        /// There is no frame for a page table.
        ENOMEM,
    ] from VM;

    /// Takes a page away from a process. Its frame is VM's, even if the kernel had mapped it; but a device's is nobody's.
    53 vm_unmap_page { process: Endpoint, address: u64 } returns { frame: u64 } fails [
        EINVAL,
        EFAULT,
        /// There is no page.
        ENOENT,
    ] from VM;

    /// Changes what a process may do to a page.
    54 vm_protect_page { process: Endpoint, address: u64, access: PageAccess } returns {} fails [
        EINVAL,
        EFAULT,
        ENOENT,
    ] from VM;
}
