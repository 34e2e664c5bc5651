//! Grants: whose memory a grant leads to, and the calls that copy through one.
//!
//! A table lies in its granter's memory, and what it says may be anything. So an entry is copied
//! once, checked, and never looked at again; and every use of a grant starts from its id.

use super::copy::{Misses, Outcome, Party, SLICE, Source, Span, Stop, Transfer};
use super::{Parked, Parties, Place, UserRange};
use crate::Kernel;
use crate::machine::Machine;
use crate::process::Slot;
use abi::protocols::kernel;
use abi::{CopyElement, Endpoint, Errno, GrantAccess, GrantEntry, GrantId, VECTOR_LIMIT, Wire};
use core::mem::offset_of;

/// How many indirect grants a grant may lead through.
const HOPS: usize = 5;

/// Where a process keeps its grants.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Table {
    /// Who registered it: another one after an update, until the new process registers its own.
    owner: Endpoint,
    start: u64,
    entries: u32,
}

impl Table {
    /// How many entries there are.
    pub(crate) const fn entries(self) -> u32 {
        self.entries
    }

    /// Where an entry is.
    pub(crate) const fn entry(self, index: u32) -> u64 {
        self.start + index as u64 * GrantEntry::SIZE as u64
    }
}

/// What somebody wants of a grant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Use {
    pub(crate) granter: Endpoint,
    pub(crate) grant: GrantId,
    pub(crate) offset: u64,
    pub(crate) len: u64,
    pub(crate) access: GrantAccess,
}

/// Memory that a grant leads to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Granted {
    pub(crate) span: Span,
    pub(crate) misses: Misses,
    /// Who was asked for it: when this process ends, the grant does.
    pub(crate) granter: Slot,
}

/// The entry to be marked when a copy with `TRY` fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    granter: Slot,
    id: GrantId,
}

/// Marks of a granter's that have yet to be written, for its table is in a page that may not be: a revocation writes
/// to the entry, so VM sees to the page before anybody looks at the mark, and with the page the mark comes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Marks {
    /// [`GrantId::NONE`] where there is none.
    // With five of them an entry of the process table is found by one multiplication, which counts in each message;
    // with six `ipc.round_trip` takes 6 instructions more.
    ids: [GrantId; 5],
}

impl Marks {
    /// Adds one, if there is room for it.
    fn keep(&mut self, id: GrantId) -> Option<()> {
        let place = |wanted| self.ids.iter().position(|kept| *kept == wanted);
        let place = place(id).or_else(|| place(GrantId::NONE))?;
        self.ids[place] = id;
        Some(())
    }

    fn is_empty(&self) -> bool {
        self.ids.iter().all(|id| *id == GrantId::NONE)
    }
}

impl<M: Machine> Kernel<M> {
    /// Answers with the first sequence of a block of them that is the table's alone.
    pub(crate) fn setgrant(
        &mut self,
        caller: Slot,
        request: kernel::setgrant::Request,
    ) -> Result<u64, Errno> {
        let kernel::setgrant::Request { address, entries } = request;
        let process = self.processes.process_mut(caller);
        if entries == 0 {
            process.memory.grants = None;
            process.memory.marks = Marks::default();
            return Ok(0);
        }
        if entries > GrantId::INDICES || !address.is_multiple_of(align_of::<GrantEntry>() as u64) {
            return Err(Errno::EINVAL);
        }
        UserRange::new(address, u64::from(entries) * GrantEntry::SIZE as u64).ok_or(Errno::EFAULT)?;
        let first = u64::from(process.memory.registrations) * GrantId::BLOCK + 1;
        if first + GrantId::BLOCK > GrantId::SEQUENCES {
            return Err(Errno::ENOSPC);
        }
        process.memory.registrations += 1;
        process.memory.grants = Some(Table { owner: process.endpoint, start: address, entries });
        self.write_marks(caller);
        Ok(first)
    }

    pub(crate) fn safecopy_from(
        &mut self,
        caller: Slot,
        request: &kernel::safecopy_from::Request,
    ) -> Outcome {
        let &kernel::safecopy_from::Request { granter, grant, offset, address, len } = request;
        let wanted = Use { granter, grant, offset, len, access: GrantAccess::READ };
        self.copy_granted(caller, &wanted, address)
    }

    pub(crate) fn safecopy_to(&mut self, caller: Slot, request: &kernel::safecopy_to::Request) -> Outcome {
        let &kernel::safecopy_to::Request { granter, grant, offset, address, len } = request;
        let wanted = Use { granter, grant, offset, len, access: GrantAccess::WRITE };
        self.copy_granted(caller, &wanted, address)
    }

    /// Copies between granted memory and the caller's, in the direction of the access.
    fn copy_granted(&mut self, caller: Slot, wanted: &Use, address: u64) -> Outcome {
        let Granted { span: granted, misses, granter } = self.verify(caller, wanted)?;
        let own = Span { party: Party::Process(caller), start: address };
        let (from, to) = if wanted.access == GrantAccess::READ { (granted, own) } else { (own, granted) };
        let transfer =
            Transfer { from: Source::Memory(from), to, len: wanted.len, misses, granter: Some(granter) };
        self.transfer(caller, &transfer)
    }

    pub(crate) fn safe_memset(&mut self, caller: Slot, request: &kernel::safe_memset::Request) -> Outcome {
        let &kernel::safe_memset::Request { granter, grant, offset, len, byte } = request;
        let wanted = Use { granter, grant, offset, len, access: GrantAccess::WRITE };
        let Granted { span: to, misses, granter } = self.verify(caller, &wanted)?;
        self.transfer(caller, &Transfer { from: Source::Byte(byte), to, len, misses, granter: Some(granter) })
    }

    pub(crate) fn vsafecopy(&mut self, caller: Slot, request: &kernel::vsafecopy::Request) -> Outcome {
        let &kernel::vsafecopy::Request { address, count } = request;
        check_count(count)?;
        let size = CopyElement::SIZE as u64;
        UserRange::new(address, u64::from(count) * size).ok_or(Errno::EFAULT)?;
        let mut moved = 0_u64;
        // Elements that were copied before the call had to wait are not copied again.
        for index in self.progress(caller).element..count {
            let mut bytes = [0; CopyElement::SIZE];
            self.read_of(caller, caller, address + u64::from(index) * size, &mut bytes)?;
            let element = CopyElement::get(&bytes).ok_or(Errno::EINVAL)?;
            let CopyElement { from, to, grant, offset, address, len } = element;
            let (granter, access) = match (from == Endpoint::SELF, to == Endpoint::SELF) {
                (true, false) => (to, GrantAccess::WRITE),
                (false, true) => (from, GrantAccess::READ),
                _ => return Err(Errno::EINVAL.into()),
            };
            self.copy_granted(caller, &Use { granter, grant, offset, len, access }, address)?;
            self.next_element(caller);
            moved = moved.saturating_add(len);
            if moved >= SLICE && index + 1 < count {
                // As in the middle of a long copy. What comes next is checked when it is its turn.
                let parked = Parked::ForTurn(Parties([None; 3]));
                self.processes.process_mut(caller).memory.call.parked = parked;
                return Err(Stop::Waits);
            }
        }
        Ok(())
    }

    /// Finds out what a grant leads to, if it permits the use.
    pub(crate) fn verify(&mut self, user: Slot, wanted: &Use) -> Outcome<Granted> {
        let &Use { granter: first, grant, offset, len, access } = wanted;
        if first == Endpoint::NONE {
            return Err(Errno::EFAULT.into());
        }
        let first = self.processes.find(first).ok_or(Errno::EINVAL)?;
        let mut grantee = self.processes.process(user).endpoint;
        let (mut granter, mut id) = (first, grant);
        let mut hops = 0;
        let entry = loop {
            // Whether the grant has TRY can't be known yet. VM waits for nobody who uses grants while it holds memory.
            self.reach(user, Misses::Ask, Parties([Some(granter), Some(first), None]))?;
            let entry = self.grant_entry(granter, id)?;
            if entry.grantee != grantee && entry.grantee != Endpoint::ANY {
                return Err(Errno::EPERM.into());
            }
            if entry.flags & KINDS != GrantEntry::INDIRECT {
                break entry;
            }
            if hops == HOPS {
                return Err(Errno::ELOOP.into());
            }
            hops += 1;
            grantee = self.processes.process(granter).endpoint;
            granter = self.processes.find(entry.owner).ok_or(Errno::EINVAL)?;
            id = entry.through;
        };
        // Rights and TRY come from the last grant alone.
        let permitted = GrantAccess(entry.flags & ACCESS);
        if !permitted.contains(access) {
            return Err(Errno::EPERM.into());
        }
        entry.start.checked_add(entry.len).ok_or(Errno::EPERM)?;
        if offset.checked_add(len).is_none_or(|end| end > entry.len) {
            return Err(Errno::EPERM.into());
        }
        let owner = match entry.flags & KINDS {
            GrantEntry::DIRECT => granter,
            GrantEntry::MAGIC if self.privileges_of(granter).grants_magic => {
                self.processes.find(entry.owner).ok_or(Errno::EINVAL)?
            }
            _ => return Err(Errno::EPERM.into()),
        };
        let misses = if permitted.contains(GrantAccess::TRY) {
            Misses::Mark(Mark { granter, id })
        } else {
            Misses::Ask
        };
        let span = Span { party: Party::Process(owner), start: entry.start + offset };
        Ok(Granted { span, misses, granter: first })
    }

    /// Copies an entry of a granter's table. VM is not involved: a granter keeps its table where it can be read.
    fn grant_entry(&mut self, granter: Slot, id: GrantId) -> Result<GrantEntry, Errno> {
        let Self { machine, processes, .. } = self;
        let process = processes.process(granter);
        let table = process.memory.grants.ok_or(Errno::EPERM)?;
        if table.owner != process.endpoint {
            return Err(Errno::ENOTREADY);
        }
        if id.index() >= table.entries {
            return Err(Errno::EPERM);
        }
        let place = table.entry(id.index());
        let range = UserRange::new(place, GrantEntry::SIZE as u64).ok_or(Errno::EPERM)?;
        let mut bytes = [0; GrantEntry::SIZE];
        let space = process.memory_space()?;
        machine.read(Place::Process { space, range }, &mut bytes).map_err(|_| Errno::EPERM)?;
        let entry = GrantEntry::get(&bytes).ok_or(Errno::EPERM)?;
        let is_known = entry.flags & !(KINDS | ACCESS | GrantEntry::VALID) == 0 && entry.reserved == 0;
        let is_used = entry.flags & GrantEntry::VALID != 0;
        if !is_known || !is_used || entry.id != id || id.sequence() == 0 {
            return Err(Errno::EPERM);
        }
        Ok(entry)
    }

    /// Tells the granter that a copy through a grant with `TRY` failed; the error for its user.
    pub(crate) fn mark(&mut self, mark: Mark) -> Errno {
        let Mark { granter, id } = mark;
        if self.write_mark(granter, id) {
            return Errno::EFAULT;
        }
        // No mark may be lost: a user that there is no room for has to hear something else.
        let kept = self.processes.process_mut(granter).memory.marks.keep(id);
        kept.map_or(Errno::ENOTREADY, |()| Errno::EFAULT)
    }

    /// Writes what marks of a granter's have yet to be written, as far as that can be done now.
    pub(crate) fn write_marks(&mut self, granter: Slot) {
        let marks = self.processes.process(granter).memory.marks;
        if marks.is_empty() {
            return;
        }
        let mut is_over = |id| id == GrantId::NONE || self.write_mark(granter, id);
        let ids = marks.ids.map(|id| if is_over(id) { GrantId::NONE } else { id });
        self.processes.process_mut(granter).memory.marks = Marks { ids };
    }

    /// `false` if the entry can't be written.
    fn write_mark(&mut self, granter: Slot, id: GrantId) -> bool {
        let Self { machine, processes, .. } = self;
        let process = processes.process(granter);
        let Some(table) = process.memory.grants.filter(|table| id.index() < table.entries) else {
            return true;
        };
        let field = table.entry(id.index()) + offset_of!(GrantEntry, faulted) as u64;
        let Some(range) = UserRange::new(field, GrantId::SIZE as u64) else { return true };
        let Ok(space) = process.memory_space() else { return false };
        machine.write(&id.to_bits().to_le_bytes(), Place::Process { space, range }).is_ok()
    }
}

/// Bits of an entry's flags that say what kind it is.
const KINDS: u32 = GrantEntry::DIRECT | GrantEntry::INDIRECT | GrantEntry::MAGIC;
/// Bits of an entry's flags that say what it permits.
const ACCESS: u32 = GrantAccess::READ.or(GrantAccess::WRITE).or(GrantAccess::MAP).or(GrantAccess::TRY).0;

/// Checks the count of a call's vector.
pub(crate) const fn check_count(count: u32) -> Result<(), Errno> {
    match count {
        0 => Err(Errno::EINVAL),
        1..=VECTOR_LIMIT => Ok(()),
        _ => Err(Errno::E2BIG),
    }
}

#[cfg(test)]
mod tests;
