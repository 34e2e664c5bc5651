//! What the kernel reports of a run, for who judges it.
//!
//! Each report is a record on a line of the kernel's own, [`RESULTS_PORT`], that no process can write to. The
//! log says the same in words, for people. A run that came to its end has reported one result and then [`End`];
//! a kernel that panics after it has reported a result reports that, too.
//!
//! `report=ipc` on the command line asks for all messages as well, and `report=cost` for what each process cost.

use crate::boot::ExitCode;
use crate::{Endpoint, Message, Name, Wire};

/// The port that reports go to, a byte at a time (QEMU's `isa-debugcon`).
pub const RESULTS_PORT: u16 = 0xea;
/// The key of the records there: as nobody else can write to the port, none is needed.
pub const RESULTS_KEY: u64 = 0;

crate::fields! {
    /// The process that the machine ran for exited, or a service stopped the machine.
    Exited {
        /// Who.
        process: Name,
        /// With which status.
        status: i32,
    }
}

crate::choices! {
    /// What ended a process that didn't exit.
    Cause {
        /// It panicked.
        Panic = 1,
        /// A fault of its own that nobody resolved.
        Fault = 2,
        /// A signal, and nobody who would have dealt with it.
        Signal = 3,
        /// Its signal manager.
        Manager = 4,
    }
}

crate::fields! {
    /// The process that the machine ran for was ended.
    Ended {
        /// Who.
        process: Name,
        /// By what.
        cause: Cause,
    }
}

crate::fields! {
    /// The kernel stops the machine. There is no report behind it.
    End {
        /// What the machine exits with.
        code: ExitCode,
        /// Time of the guest, in nanoseconds since the kernel's start, in which the processor was busy. Where an
        /// instruction takes a nanosecond: so many instructions.
        busy_ns: u64,
        /// The same, in which it waited for interrupts.
        idle_ns: u64,
    }
}

crate::fields! {
    /// From now on an endpoint is that of this process.
    Named {
        /// The endpoint.
        endpoint: Endpoint,
        /// The process.
        process: Name,
    }
}

crate::fields! {
    /// A message was delivered. Whose the endpoints are was said before.
    Delivered {
        /// Who got it.
        to: Endpoint,
        /// The message, with its sender.
        message: Message,
    }
}

crate::fields! {
    /// What a process cost from its start to its end, or to that of the machine.
    Cost {
        /// Who: what isn't the cost of any process is the kernel's.
        process: Name,
        /// Nanoseconds of the guest's time in which it ran, or the kernel worked for it, or for a device meanwhile.
        /// Where an instruction takes a nanosecond: so many instructions.
        busy_ns: u64,
        /// Messages of its that were delivered.
        messages: u32,
        /// Its kernel calls.
        kernel_calls: u32,
    }
}

/// A report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// The result: an exit.
    Exited(Exited),
    /// The result: an end that the process didn't ask for.
    Ended(Ended),
    /// The result: the kernel panicked.
    Panicked,
    /// The result: what the machine was started with is no good.
    Refused,
    /// The result: the machine was busy, or there, for longer than it may be.
    Overran,
    /// What a process is called.
    Named(Named),
    /// A message was delivered.
    Delivered(Delivered),
    /// From here on messages are not reported, as there are too many.
    Untold,
    /// What a process cost.
    Cost(Cost),
    /// The end.
    End(End),
}

impl Report {
    /// Bytes of the longest payload.
    pub const PAYLOAD_LIMIT: usize = Delivered::SIZE;
    /// So many messages are reported at most.
    pub const MESSAGE_LIMIT: u32 = 4096;

    /// Writes its payload. Gives the number of its kind, and the payload.
    pub fn put<'a>(&self, out: &'a mut [u8; Self::PAYLOAD_LIMIT]) -> (u8, &'a [u8]) {
        fn fill<T: Wire>(out: &mut [u8], kind: u8, fields: &T) -> (u8, usize) {
            fields.put(&mut out[..T::SIZE]);
            (kind, T::SIZE)
        }
        let (kind, length) = match self {
            Self::Exited(exited) => fill(out, 1, exited),
            Self::Ended(ended) => fill(out, 2, ended),
            Self::Panicked => (3, 0),
            Self::Refused => (4, 0),
            Self::Overran => (6, 0),
            Self::End(end) => fill(out, 5, end),
            Self::Named(named) => fill(out, 7, named),
            Self::Delivered(delivered) => fill(out, 8, delivered),
            Self::Untold => (9, 0),
            Self::Cost(cost) => fill(out, 10, cost),
        };
        (kind, &out[..length])
    }

    /// Reads the report of that kind, or `None` if it is none.
    #[must_use]
    pub fn get(kind: u8, payload: &[u8]) -> Option<Self> {
        match kind {
            1 => Exited::get(payload).map(Self::Exited),
            2 => Ended::get(payload).map(Self::Ended),
            3 => payload.is_empty().then_some(Self::Panicked),
            4 => payload.is_empty().then_some(Self::Refused),
            6 => payload.is_empty().then_some(Self::Overran),
            5 => End::get(payload).map(Self::End),
            7 => Named::get(payload).map(Self::Named),
            8 => Delivered::get(payload).map(Self::Delivered),
            9 => payload.is_empty().then_some(Self::Untold),
            10 => Cost::get(payload).map(Self::Cost),
            _ => None,
        }
    }
}

const _: () = {
    let sizes = [Exited::SIZE, Ended::SIZE, End::SIZE, Named::SIZE, Delivered::SIZE, Cost::SIZE];
    let mut i = 0;
    while i < sizes.len() {
        assert!(sizes[i] <= Report::PAYLOAD_LIMIT);
        i += 1;
    }
};
