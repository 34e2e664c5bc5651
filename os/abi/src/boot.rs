//! What the boot image tells the kernel: which processes to start, and what each may do.
//!
//! The image is a tar archive (POSIX ustar). Its first file, [`MANIFEST`], holds the records
//! below; the other files are the ELF images that the records name. Whoever builds an image
//! resolves names to numbers, so the kernel reads no text.
//!
//! ```text
//! +--------+-------+-------+- ~ -+-------+
//! | Header | Entry | Entry |     | Entry |     each Entry is ENTRY_SIZE bytes: a kind, then fields
//! +--------+-------+-------+- ~ -+-------+
//! ```

use crate::report::RESULTS_PORT;
use crate::{Callers, Endpoint, Name, Wire};

/// The name of the archive's first file.
pub const MANIFEST: &str = "manifest";
/// The first eight bytes of a manifest.
pub const MAGIC: u64 = u64::from_le_bytes(*b"Tessera\0");
/// Bytes of an entry, kind included, padded with zeros.
pub const ENTRY_SIZE: usize = 160;

crate::fields! {
    /// What a manifest starts with.
    Header {
        /// [`MAGIC`].
        magic: u64,
        /// [`FINGERPRINT`](crate::protocols::FINGERPRINT) of the protocols that the services speak.
        fingerprint: u64,
        /// How many entries follow.
        entries: u32,
    }
}

crate::fields! {
    /// A process to start.
    Process {
        /// What it is called. No two processes have one name.
        name: Name,
        /// The file of the archive that it runs.
        file: Name,
        /// Its slot, which makes its endpoint [`Endpoint::at_boot`].
        slot: u16,
        /// What it is. Programs share one set of privileges, that of the first one.
        class: Callers,
        /// The queue that it waits in for the processor: 0 is served first.
        priority: u8,
        /// How long it may run before its equals have their turn, in milliseconds.
        quantum_ms: u32,
        /// Bytes of stack.
        stack_bytes: u32,
        /// Bytes that the heap can grow to.
        heap_bytes: u32,
        /// A bit for each IPC primitive that it may use.
        traps: u32,
        /// A bit for each kernel call that it may make, see [`CallInfo::bit`](crate::CallInfo::bit).
        kernel_calls: u128,
        /// It may grant other processes' memory, by magic grants.
        grants_magic: bool,
        /// The machine stops when this process ends.
        ends_machine: bool,
    }
}

crate::fields! {
    /// Two processes that may send to each other.
    Pair {
        /// Slot of the one.
        from: u16,
        /// Slot of the other.
        to: u16,
    }
}

crate::fields! {
    /// Ports that a process may read and write.
    Ports {
        /// The process's slot.
        slot: u16,
        /// The first port.
        first: u16,
        /// The last port.
        last: u16,
    }
}

crate::fields! {
    /// An interrupt line that a process may attach to.
    Irq {
        /// The process's slot.
        slot: u16,
        /// The line, numbered as the I/O APIC's pins.
        line: u8,
    }
}

crate::fields! {
    /// Who looks after a process. For a program: after all of them.
    Managers {
        /// The process's slot.
        slot: u16,
        /// Who takes its signals: a process, [`Endpoint::SELF`], or [`Endpoint::NONE`].
        signal_manager: Endpoint,
        /// Who takes them when that one is gone.
        backup_manager: Endpoint,
        /// Who gives it its quanta; [`Endpoint::NONE`] for the kernel.
        scheduler: Endpoint,
    }
}

/// One entry of a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A process to start.
    Process(Process),
    /// Two processes that may send to each other.
    Pair(Pair),
    /// Ports that a process may use.
    Ports(Ports),
    /// A line that a process may attach to.
    Irq(Irq),
    /// Who looks after a process.
    Managers(Managers),
}

const _: () = assert!(Process::SIZE < ENTRY_SIZE);

impl Wire for Entry {
    const SIZE: usize = ENTRY_SIZE;

    fn put(&self, out: &mut [u8]) {
        fn fill<T: Wire>(out: &mut [u8], kind: u8, fields: &T) {
            out.fill(0);
            out[0] = kind;
            fields.put(&mut out[1..=T::SIZE]);
        }
        match self {
            Self::Process(process) => fill(out, 1, process),
            Self::Pair(pair) => fill(out, 2, pair),
            Self::Ports(ports) => fill(out, 3, ports),
            Self::Irq(irq) => fill(out, 4, irq),
            Self::Managers(managers) => fill(out, 5, managers),
        }
    }

    fn get(from: &[u8]) -> Option<Self> {
        fn read<T: Wire>(from: &[u8]) -> Option<T> {
            let (fields, padding) = from.split_at_checked(T::SIZE)?;
            padding.iter().all(|byte| *byte == 0).then(|| T::get(fields))?
        }
        let (kind, rest) = from.split_first()?;
        match kind {
            1 => read(rest).map(Self::Process),
            2 => read(rest).map(Self::Pair),
            3 => read(rest).map(Self::Ports),
            4 => read(rest).map(Self::Irq),
            5 => read(rest).map(Self::Managers),
            _ => None,
        }
    }
}

/// Why a manifest can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManifestError {
    /// It ends before its last entry.
    Truncated,
    /// It doesn't start with [`MAGIC`].
    NotAManifest,
    /// It was built for other protocols than the reader's.
    OtherProtocols,
    /// The entry of this index is malformed.
    BadEntry(usize),
}

impl core::fmt::Display for ManifestError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Truncated => f.write_str("the manifest is truncated"),
            Self::NotAManifest => f.write_str("the manifest is none"),
            Self::OtherProtocols => f.write_str("the image was built for other protocols than this kernel's"),
            Self::BadEntry(index) => write!(f, "entry {index} of the manifest is malformed"),
        }
    }
}

impl core::error::Error for ManifestError {}

/// Reads a manifest, entry by entry.
///
/// # Errors
/// If the header is none; a bad entry turns up as an item.
pub fn entries(
    manifest: &[u8],
) -> Result<impl Iterator<Item = Result<Entry, ManifestError>> + Clone + '_, ManifestError> {
    let (header, rest) = manifest.split_at_checked(Header::SIZE).ok_or(ManifestError::Truncated)?;
    let header = Header::get(header).ok_or(ManifestError::NotAManifest)?;
    if header.magic != MAGIC {
        return Err(ManifestError::NotAManifest);
    }
    if header.fingerprint != crate::protocols::FINGERPRINT {
        return Err(ManifestError::OtherProtocols);
    }
    let count = usize::try_from(header.entries).map_err(|_| ManifestError::Truncated)?;
    if rest.len() / ENTRY_SIZE < count {
        return Err(ManifestError::Truncated);
    }
    Ok(rest
        .chunks_exact(ENTRY_SIZE)
        .take(count)
        .enumerate()
        .map(|(index, bytes)| Entry::get(bytes).ok_or(ManifestError::BadEntry(index))))
}

crate::choices! {
    /// How a machine's end shows in the exit code that QEMU's `isa-debug-exit` device makes of it:
    /// `code << 1 | 1`. Zero is never used: QEMU itself exits with 0 and 1.
    ExitCode {
        /// The process that the machine ran for exited with 0.
        Success = 0x10,
        /// It exited with another status.
        Failure = 0x11,
        /// The kernel panicked.
        KernelPanic = 0x12,
        /// The process that the machine ran for was ended by a fault or a panic.
        ServiceFault = 0x13,
        /// The boot image was refused.
        BadImage = 0x14,
        /// The machine was busy for longer than it may be.
        Limit = 0x15,
    }
}

impl ExitCode {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Success, Self::Failure, Self::KernelPanic, Self::ServiceFault, Self::BadImage, Self::Limit];

    /// What QEMU exits with.
    #[must_use]
    pub const fn of_qemu(self) -> u8 {
        (self as u8) << 1 | 1
    }
}

/// The parameters of a process's first instruction: `rdi` and `rsi`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// Where the heap starts.
    pub heap: u64,
    /// Bytes of heap.
    pub heap_bytes: u64,
}

/// The port that the kernel logs to, a byte at a time (QEMU's `isa-debugcon`).
pub const LOG_PORT: u16 = 0xe9;
/// The port that ends the machine (QEMU's `isa-debug-exit`).
pub const EXIT_PORT: u16 = 0xf4;
/// The port that tells of a panic (QEMU's `pvpanic`). Read, it gives the events that can be told.
pub const PANIC_PORT: u16 = 0x505;
/// The event at [`PANIC_PORT`] of a system that panicked.
pub const PANICKED: u8 = 1;
/// The port that starts the watchdog anew (QEMU's `ib700`): what is written is the time, see [`WATCHDOG_2_S`].
pub const WATCHDOG_PORT: u16 = 0x443;
/// Two seconds, the shortest time that the watchdog knows: they are counted down from 30 in steps of two.
pub const WATCHDOG_2_S: u8 = 14;
/// The port that stops the watchdog, whatever is written.
pub const WATCHDOG_STOP_PORT: u16 = 0x441;
/// The ports that are the kernel's alone, whatever a process may use: what they say decides how a run is judged.
pub const KERNEL_PORTS: [core::ops::RangeInclusive<u16>; 5] = [
    LOG_PORT..=LOG_PORT,
    RESULTS_PORT..=RESULTS_PORT,
    EXIT_PORT..=EXIT_PORT + 3,
    PANIC_PORT..=PANIC_PORT,
    WATCHDOG_STOP_PORT..=WATCHDOG_PORT,
];

#[doc(hidden)]
pub const PROGRAM_TRAPS: u32 = crate::ipc::Primitive::SendRec.bit() | crate::ipc::Primitive::KernelCall.bit();

impl Process {
    /// Tells whether it runs with the programs' shared privileges.
    #[must_use]
    pub const fn is_program(&self) -> bool {
        self.class.admits(Callers::PROGRAM)
    }
}
