//! Memory of processes, as far as kernel calls reach it.
//!
//! A caller names memory by numbers. [`UserRange`] and [`PhysicalRange`] are numbers that were
//! checked, and nothing else gets to the [machine](crate::machine::Machine), so no call can name the
//! kernel's half. Whether there is a page behind them only the machine knows: a page that is missing
//! is a value, [`CopyFault`], never a trap.

pub(crate) mod copy;
pub(crate) mod grants;
pub(crate) mod requests;
mod strings;
mod translate;
mod vm;

pub use vm::UserPage;

use crate::elf::{PAGE_SIZE, USER_END};
use crate::machine::Machine;
use crate::process::{Process, Slot};
use abi::Errno;
use core::fmt;

/// What the kernel keeps of a process for calls that reach memory.
#[derive(Clone, Copy, Debug, Default)]
pub struct State {
    /// Where its grants are.
    pub(crate) grants: Option<grants::Table>,
    /// What is to be written there.
    pub(crate) marks: grants::Marks,
    /// How many tables were registered under its endpoint. Neither `exec` nor `update` takes that back.
    pub(crate) registrations: u32,
    /// Its kernel call.
    pub(crate) call: OpenCall,
}

/// A kernel call of a process, from its trap to its answer.
///
/// All but the longest are over before anybody else runs. One that has to wait is parked: its request
/// stays in the caller's message registers, to be dispatched once more from there.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct OpenCall {
    /// How far it came.
    pub(crate) progress: Progress,
    /// What it waits for.
    pub(crate) parked: Parked,
}

/// What a kernel call waits for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Parked {
    /// Nothing: it is being carried out, or there is none.
    #[default]
    No,
    /// VM is to see to memory, which [`Stops::MEMORY_REQUEST`](crate::process::Stops) says, too.
    ForVm(requests::Request),
    /// VM is to let go of the memory of one who takes part, which `Stops::MEMORY_REQUEST` says, too.
    ForRelease {
        /// Whose memory it is.
        held: Slot,
        parties: Parties,
    },
    /// It goes on when it is its caller's turn.
    ForTurn(Parties),
}

/// Who takes part in a kernel call, besides its caller: whose memory it reaches, and who granted it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Parties([Option<Slot>; 3]);

impl Parties {
    pub(crate) fn include(&self, slot: Slot) -> bool {
        self.0.contains(&Some(slot))
    }

    fn iter(&self) -> impl Iterator<Item = Slot> {
        self.0.into_iter().flatten()
    }
}

impl Parked {
    /// Tells whether the message registers hold a call that is not over.
    pub(crate) const fn is_parked(&self) -> bool {
        !matches!(self, Self::No)
    }

    /// Tells whether the call only waits for its caller's turn.
    #[inline]
    pub(crate) const fn goes_on(&self) -> bool {
        matches!(self, Self::ForTurn(_))
    }

    /// What VM is to see to.
    pub(crate) const fn request(&self) -> Option<&requests::Request> {
        match self {
            Self::ForVm(request) => Some(request),
            Self::No | Self::ForRelease { .. } | Self::ForTurn(_) => None,
        }
    }

    /// Tells whether VM is to do something before the call goes on.
    pub(crate) const fn needs_vm(&self) -> bool {
        matches!(self, Self::ForVm(_) | Self::ForRelease { .. })
    }

    /// Tells whether a process takes part in the call.
    pub(crate) fn involves(&self, slot: Slot) -> bool {
        match self {
            Self::No => false,
            Self::ForVm(request) => request.parties.include(slot),
            Self::ForRelease { parties, .. } | Self::ForTurn(parties) => parties.include(slot),
        }
    }
}

/// How far a kernel call came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Elements of its vector that are copied.
    element: u32,
    /// Bytes of the next one that are copied.
    done: u64,
}

/// Addresses that a process may use, if there is memory behind them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct UserRange {
    start: u64,
    len: u64,
}

impl UserRange {
    /// Checks that `len` bytes from `start` on lie in the half of processes: above the first page,
    /// which catches null pointers, and below [`USER_END`].
    #[must_use]
    #[inline]
    pub const fn new(start: u64, len: u64) -> Option<Self> {
        match start.checked_add(len) {
            Some(end) if PAGE_SIZE <= start && end <= USER_END => Some(Self { start, len }),
            _ => None,
        }
    }

    /// The first address.
    #[must_use]
    pub const fn start(self) -> u64 {
        self.start
    }

    /// How many bytes.
    #[must_use]
    pub const fn len(self) -> u64 {
        self.len
    }

    /// Tells whether it holds no byte.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.len == 0
    }
}

impl fmt::Debug for UserRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}+{:#x}", self.start, self.len)
    }
}

/// Physical addresses, if there is memory behind them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PhysicalRange {
    start: u64,
    len: u64,
}

impl PhysicalRange {
    /// One more than the highest address that the architecture has (Intel SDM 3A, 4.1.4).
    const END: u64 = 1 << 52;

    /// Checks that `len` bytes from `start` on are physical addresses.
    #[must_use]
    pub const fn new(start: u64, len: u64) -> Option<Self> {
        match start.checked_add(len) {
            Some(end) if end <= Self::END => Some(Self { start, len }),
            _ => None,
        }
    }

    /// The first address.
    #[must_use]
    pub const fn start(self) -> u64 {
        self.start
    }

    /// How many bytes.
    #[must_use]
    pub const fn len(self) -> u64 {
        self.len
    }

    /// Tells whether it holds no byte.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.len == 0
    }
}

impl fmt::Debug for PhysicalRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "physical {:#x}+{:#x}", self.start, self.len)
    }
}

/// What one side of a copy is.
#[derive(Debug)]
pub enum Place<'a, S> {
    /// Memory of a process.
    Process {
        /// Its address space.
        space: &'a S,
        /// Which part of it.
        range: UserRange,
    },
    /// Physical memory of processes and VM.
    Physical(PhysicalRange),
}

impl<S> Place<'_, S> {
    /// How many bytes.
    #[must_use]
    pub const fn len(&self) -> u64 {
        match self {
            Self::Process { range, .. } => range.len(),
            Self::Physical(range) => range.len(),
        }
    }

    /// Tells whether it holds no byte.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One side of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The one that is read.
    Source,
    /// The one that is written.
    Target,
}

/// A page that is missing, or that may not be written, stopped a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyFault {
    /// On which side.
    pub side: Side,
    /// The first address that could not be used.
    pub address: u64,
    /// How many bytes were copied before.
    pub done: u64,
}

/// Reads a process's memory, if all of it is there.
pub(crate) fn read_user<M: Machine>(
    machine: &mut M,
    process: &Process<M>,
    address: u64,
    into: &mut [u8],
) -> Result<(), Errno> {
    let range = UserRange::new(address, into.len() as u64).ok_or(Errno::EFAULT)?;
    let space = process.memory_space()?;
    machine.read(Place::Process { space, range }, into).map_err(|_| Errno::EFAULT)
}

#[cfg(test)]
pub(crate) mod tests;
