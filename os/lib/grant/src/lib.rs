//! A granter's side of grants: the table, which ids are given out, and what a revocation tells.
//!
//! A [`Table`] lies in the granter's own memory, where the kernel reads it whenever somebody uses
//! a grant, and writes to it when a copy with `TRY` failed. So entries are atomics, an entry becomes
//! valid by its last store, and a table that has to grow is left in place until the kernel knows the
//! larger one.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

use abi::protocols::kernel;
use abi::{Endpoint, Errno, GrantAccess, GrantEntry, GrantId};
use alloc::vec::Vec;
use core::mem::offset_of;
use core::ops::Range;
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

/// Memory to be granted, by its place.
///
/// While the grant is there, its user reads or writes these bytes at any time. What a grant lets
/// others write is best made of [cells](Memory::of_cells), which Rust expects to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    start: u64,
    len: u64,
}

impl Memory {
    /// Bytes to be read by others.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self { start: bytes.as_ptr().expose_provenance() as u64, len: bytes.len() as u64 }
    }

    /// Bytes to be read or written by others. The granter must not look at them meanwhile.
    #[must_use]
    pub fn of_mut(bytes: &mut [u8]) -> Self {
        Self { start: bytes.as_mut_ptr().expose_provenance() as u64, len: bytes.len() as u64 }
    }

    /// Bytes that anybody may read and write at any time.
    #[must_use]
    pub fn of_cells(cells: &[AtomicU8]) -> Self {
        Self { start: cells.as_ptr().expose_provenance() as u64, len: cells.len() as u64 }
    }

    /// Memory of another process, for magic grants.
    #[must_use]
    pub const fn at(start: u64, len: u64) -> Self {
        Self { start, len }
    }
}

/// What is known once a grant is revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// A copy through the grant, which has `TRY`, failed on a page that was not there. Whatever
    /// its user answered is worth nothing.
    pub faulted: bool,
}

/// Tells the kernel where a table is.
pub trait Register {
    /// Registers a table; the one before is not used any longer. The answer is the first of [`GrantId::BLOCK`]
    /// sequences for grants from now on.
    ///
    /// # Errors
    /// Those of [`kernel::setgrant`].
    fn register(&mut self, address: u64, entries: u32) -> Result<u64, Errno>;
}

/// The kernel itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kernel;

impl Register for Kernel {
    fn register(&mut self, address: u64, entries: u32) -> Result<u64, Errno> {
        sys::kernel_call(&kernel::setgrant::Request { address, entries }).map(|reply| reply.first_sequence)
    }
}

/// All grants of a process.
#[derive(Debug)]
pub struct Table<R = Kernel> {
    register: R,
    slots: Vec<Slot>,
    /// Slots that were used and can be used again, the last one first.
    free: Vec<u32>,
    /// No slot from here on was used yet.
    fresh: u32,
    /// Sequences that no grant had yet.
    sequences: Range<u64>,
}

/// A [`GrantEntry`] that the kernel looks at, and writes to, at any time.
#[derive(Debug)]
#[repr(C)]
struct Slot {
    flags: AtomicU32,
    grantee: AtomicU32,
    owner: AtomicU32,
    reserved: AtomicU32,
    id: AtomicU64,
    faulted: AtomicU64,
    through: AtomicU64,
    start: AtomicU64,
    len: AtomicU64,
}

const _: () = {
    assert!(size_of::<Slot>() == size_of::<GrantEntry>());
    assert!(offset_of!(Slot, flags) == offset_of!(GrantEntry, flags));
    assert!(offset_of!(Slot, grantee) == offset_of!(GrantEntry, grantee));
    assert!(offset_of!(Slot, owner) == offset_of!(GrantEntry, owner));
    assert!(offset_of!(Slot, reserved) == offset_of!(GrantEntry, reserved));
    assert!(offset_of!(Slot, id) == offset_of!(GrantEntry, id));
    assert!(offset_of!(Slot, faulted) == offset_of!(GrantEntry, faulted));
    assert!(offset_of!(Slot, through) == offset_of!(GrantEntry, through));
    assert!(offset_of!(Slot, start) == offset_of!(GrantEntry, start));
    assert!(offset_of!(Slot, len) == offset_of!(GrantEntry, len));
};

impl Table<Kernel> {
    /// No grants yet.
    #[must_use]
    pub const fn new() -> Self {
        Self::with(Kernel)
    }
}

impl Default for Table<Kernel> {
    fn default() -> Self {
        Self::new()
    }
}

impl<R: Register> Table<R> {
    /// Entries of the smallest table.
    const FEWEST: usize = 8;

    /// No grants yet, and somebody else who registers the table.
    #[must_use]
    pub const fn with(register: R) -> Self {
        Self { register, slots: Vec::new(), free: Vec::new(), fresh: 0, sequences: 0..0 }
    }

    /// Who registers the table.
    #[must_use]
    pub const fn register(&self) -> &R {
        &self.register
    }

    /// Grants memory of the caller's.
    ///
    /// # Errors
    /// `EINVAL` if the access is none, `ENOSPC` if there are [`GrantId::INDICES`] grants, `ENOMEM` if the table
    /// can't grow, or the kernel's.
    pub fn grant_direct(
        &mut self,
        grantee: Endpoint,
        memory: Memory,
        access: GrantAccess,
    ) -> Result<GrantId, Errno> {
        let Memory { start, len } = memory;
        let flags = GrantEntry::DIRECT | check(access)?;
        self.put(&GrantEntry { flags, grantee, start, len, ..GrantEntry::EMPTY })
    }

    /// Passes on what `owner` granted to the caller.
    ///
    /// # Errors
    /// As [`Table::grant_direct`].
    pub fn grant_indirect(
        &mut self,
        grantee: Endpoint,
        owner: Endpoint,
        through: GrantId,
    ) -> Result<GrantId, Errno> {
        self.put(&GrantEntry { flags: GrantEntry::INDIRECT, grantee, owner, through, ..GrantEntry::EMPTY })
    }

    /// Grants memory of another process. Takes a privilege, which the kernel checks when the grant is used.
    ///
    /// # Errors
    /// As [`Table::grant_direct`].
    pub fn grant_magic(
        &mut self,
        grantee: Endpoint,
        owner: Endpoint,
        memory: Memory,
        access: GrantAccess,
    ) -> Result<GrantId, Errno> {
        let Memory { start, len } = memory;
        let flags = GrantEntry::MAGIC | check(access)?;
        self.put(&GrantEntry { flags, grantee, owner, start, len, ..GrantEntry::EMPTY })
    }

    /// Takes a grant back. Copies that start from now on fail.
    ///
    /// # Errors
    /// `EINVAL` if it is no grant of this table, or was revoked.
    pub fn revoke(&mut self, id: GrantId) -> Result<Revoked, Errno> {
        let slot = usize::try_from(id.index()).ok().and_then(|index| self.slots.get(index));
        let slot = slot.ok_or(Errno::EINVAL)?;
        let flags = slot.flags.load(Ordering::Relaxed);
        if flags & GrantEntry::VALID == 0 || slot.id.load(Ordering::Relaxed) != id.to_bits() {
            return Err(Errno::EINVAL);
        }
        // First, so that no copy fails after the mark was looked at.
        slot.flags.store(0, Ordering::SeqCst);
        let tries = GrantAccess(flags).contains(GrantAccess::TRY);
        // It is written as well as read: the mark of a page that could not be written comes with leave to write.
        let faulted = tries && slot.faulted.swap(GrantId::NONE.to_bits(), Ordering::SeqCst) == id.to_bits();
        // Without memory for the list the entry is of no use any more.
        if self.free.try_reserve(1).is_ok() {
            self.free.push(id.index());
        }
        Ok(Revoked { faulted })
    }

    /// Takes all grants back and registers the table again, after a fork or an update has given the process another
    /// endpoint: its ids were made under the one that it had, and may be those of other grants under this one.
    ///
    /// # Errors
    /// The kernel's.
    pub fn reload(&mut self) -> Result<(), Errno> {
        for slot in &self.slots {
            slot.flags.store(0, Ordering::SeqCst);
        }
        self.free.clear();
        self.fresh = 0;
        // If the kernel refuses, the next grant asks for others first.
        self.sequences = 0..0;
        self.sequences = register(&mut self.register, &self.slots)?;
        Ok(())
    }

    /// Fills an entry that is not used.
    fn put(&mut self, entry: &GrantEntry) -> Result<GrantId, Errno> {
        let index = match self.free.last() {
            Some(index) => *index,
            None => self.next_fresh()?,
        };
        if self.sequences.is_empty() {
            self.sequences = register(&mut self.register, &self.slots)?;
        }
        let slot =
            usize::try_from(index).ok().and_then(|index| self.slots.get(index)).ok_or(Errno::ENOSPC)?;
        let sequence = self.sequences.next().ok_or(Errno::ENOSPC)?;
        let id = GrantId::new(index, sequence).ok_or(Errno::ENOSPC)?;
        if self.free.pop().is_none() {
            self.fresh += 1;
        }
        slot.grantee.store(entry.grantee.to_bits(), Ordering::Relaxed);
        slot.id.store(id.to_bits(), Ordering::Relaxed);
        slot.faulted.store(GrantId::NONE.to_bits(), Ordering::Relaxed);
        slot.owner.store(entry.owner.to_bits(), Ordering::Relaxed);
        slot.through.store(entry.through.to_bits(), Ordering::Relaxed);
        slot.start.store(entry.start, Ordering::Relaxed);
        slot.len.store(entry.len, Ordering::Relaxed);
        slot.flags.store(entry.flags | GrantEntry::VALID, Ordering::Release);
        Ok(id)
    }

    /// The first entry that was never used, for which there is room.
    fn next_fresh(&mut self) -> Result<u32, Errno> {
        let index = self.fresh;
        if usize::try_from(index).is_ok_and(|index| index >= self.slots.len()) {
            self.grow()?;
        }
        Ok(index)
    }

    /// Moves to a larger table. The kernel uses the old one until it knows the new one.
    fn grow(&mut self) -> Result<(), Errno> {
        let most = usize::try_from(GrantId::INDICES).unwrap_or(usize::MAX);
        let len = (2 * self.slots.len()).clamp(Self::FEWEST, most);
        if len <= self.slots.len() {
            return Err(Errno::ENOSPC);
        }
        let mut larger = Vec::new();
        larger.try_reserve_exact(len).map_err(|_| Errno::ENOMEM)?;
        larger.extend(self.slots.iter().map(Slot::copy));
        larger.resize_with(len, Slot::fresh);
        self.sequences = register(&mut self.register, &larger)?;
        // The old table may have been marked after it was copied.
        for (old, new) in self.slots.iter().zip(&larger) {
            let mark = old.faulted.load(Ordering::SeqCst);
            if mark != GrantId::NONE.to_bits() {
                new.faulted.store(mark, Ordering::SeqCst);
            }
        }
        self.slots = larger;
        Ok(())
    }
}

/// The sequences that a table gets.
fn register(kernel: &mut impl Register, slots: &[Slot]) -> Result<Range<u64>, Errno> {
    let entries = u32::try_from(slots.len()).map_err(|_| Errno::ENOSPC)?;
    let first = kernel.register(slots.as_ptr().expose_provenance() as u64, entries)?;
    Ok(first..first.saturating_add(GrantId::BLOCK))
}

/// The bits of an access that permits something.
fn check(access: GrantAccess) -> Result<u32, Errno> {
    const KNOWN: GrantAccess =
        GrantAccess::READ.or(GrantAccess::WRITE).or(GrantAccess::MAP).or(GrantAccess::TRY);
    let permits = access.0 & !GrantAccess::TRY.0 != 0;
    if permits && KNOWN.contains(access) { Ok(access.0) } else { Err(Errno::EINVAL) }
}

impl Slot {
    /// An entry that was never used.
    fn fresh() -> Self {
        Self {
            flags: AtomicU32::new(0),
            grantee: AtomicU32::new(0),
            owner: AtomicU32::new(0),
            reserved: AtomicU32::new(0),
            id: AtomicU64::new(0),
            faulted: AtomicU64::new(0),
            through: AtomicU64::new(0),
            start: AtomicU64::new(0),
            len: AtomicU64::new(0),
        }
    }

    fn copy(&self) -> Self {
        let word = |word: &AtomicU32| AtomicU32::new(word.load(Ordering::Relaxed));
        let long = |long: &AtomicU64| AtomicU64::new(long.load(Ordering::Relaxed));
        Self {
            flags: word(&self.flags),
            grantee: word(&self.grantee),
            owner: word(&self.owner),
            reserved: word(&self.reserved),
            id: long(&self.id),
            faulted: long(&self.faulted),
            through: long(&self.through),
            start: long(&self.start),
            len: long(&self.len),
        }
    }
}

#[cfg(test)]
mod tests;
