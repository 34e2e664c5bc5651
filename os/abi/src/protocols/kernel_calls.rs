//! Kernel calls: what a service asks of the kernel itself.
//!
//! Which of them a service may make stands in `os/system.toml`; a program may make those that
//! `from PROGRAM` admits. A call that the caller's mask lacks fails with `ECALLDENIED`, an
//! unknown one with `EBADREQUEST`.

use crate::{Bytes, Callers, CopyFlags, DeviceAccess, Endpoint, GrantId, Name, PageAccess, RequestOutcome};

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

    /// Says where the caller's table of grants is, or with no entries that it has none. (MINIX `SYS_SETGRANT`.)
    ///
    /// The table is an array of [`GrantEntry`](crate::GrantEntry) in the caller's memory, which the
    /// kernel reads whenever somebody uses a grant.
    32 setgrant {
        address: u64,
        entries: u32,
    } returns {} fails [
        /// The address is no multiple of 8, or there are more entries than a grant's id can name.
        EINVAL,
        /// The table is outside of user space.
        EFAULT,
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
        /// The granter has been replaced and has not registered its table again.
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
    /// A notification from the kernel tells that there are some.
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
    ] from VM;

    /// Maps a frame of VM's into a process. `EPERM` if it is not VM's.
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

    /// Takes a page away from a process. Its frame is VM's, even if the kernel had mapped it.
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
