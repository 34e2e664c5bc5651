//! Where memory is physically: `umap` and `vumap`, for drivers whose devices reach memory themselves.
//!
//! Both only look, so they start anew after a wait; `vumap` writes its answer last.

use super::copy::{Misses, Outcome, Party, Span};
use super::grants::{Granted, Use, check_count};
use super::requests::{Need, Page};
use super::{Parties, PhysicalRange, Side, UserRange};
use crate::Kernel;
use crate::machine::Machine;
use crate::process::Slot;
use abi::protocols::kernel;
use abi::{
    DeviceAccess, Endpoint, Errno, GrantAccess, GrantId, PhysicalPiece, VECTOR_LIMIT, VumapInput, Wire,
};

/// What a device does, and with which memory.
#[derive(Clone, Copy)]
pub(super) struct Lookup {
    pub(super) granter: Endpoint,
    pub(super) grant: GrantId,
    pub(super) start: u64,
    pub(super) len: u64,
    pub(super) access: DeviceAccess,
}

/// Room for the answer of a `vumap`.
type Pieces = [u8; VECTOR_LIMIT as usize * PhysicalPiece::SIZE];

impl<M: Machine> Kernel<M> {
    pub(crate) fn umap(
        &mut self,
        caller: Slot,
        request: &kernel::umap::Request,
    ) -> Outcome<kernel::umap::Reply> {
        let &kernel::umap::Request { granter, grant, start, len, access } = request;
        let place = self.look_up(caller, &Lookup { granter, grant, start, len, access })?;
        if len == 0 {
            return Err(Errno::EDOM.into());
        }
        let range = self.piece(caller, &place, 0)?;
        Ok(kernel::umap::Reply { address: range.start(), len: range.len() })
    }

    pub(crate) fn vumap(
        &mut self,
        caller: Slot,
        request: &kernel::vumap::Request,
    ) -> Outcome<kernel::vumap::Reply> {
        let &kernel::vumap::Request { granter, access, input, count, offset, output, limit } = request;
        check_count(count)?;
        check_count(limit)?;
        let size = VumapInput::SIZE as u64;
        UserRange::new(input, u64::from(count) * size).ok_or(Errno::EFAULT)?;
        let mut pieces: Pieces = [0; _];
        let mut free = pieces.chunks_exact_mut(PhysicalPiece::SIZE).zip(0..limit);
        let mut found = 0;
        'inputs: for index in 0..count {
            let mut bytes = [0; VumapInput::SIZE];
            self.read_of(caller, caller, input + u64::from(index) * size, &mut bytes)?;
            let VumapInput { start, len } = VumapInput::get(&bytes).ok_or(Errno::EINVAL)?;
            let skipped = if index == 0 { offset } else { 0 };
            let len = len.checked_sub(skipped).filter(|len| *len > 0).ok_or(Errno::EINVAL)?;
            let lookup = if granter == Endpoint::SELF {
                let start = start.checked_add(skipped).ok_or(Errno::EFAULT)?;
                Lookup { granter, grant: GrantId::NONE, start, len, access }
            } else {
                Lookup { granter, grant: GrantId::from_bits(start), start: skipped, len, access }
            };
            let place = self.look_up(caller, &lookup)?;
            let mut done = 0;
            while done < len {
                let Some((piece, _)) = free.next() else { break 'inputs };
                let range = self.piece(caller, &place, done)?;
                PhysicalPiece { address: range.start(), len: range.len() }.put(piece);
                done += range.len();
                found += 1;
            }
        }
        let size = found as usize * PhysicalPiece::SIZE;
        self.write_of(caller, caller, output, &pieces[..size])?;
        Ok(kernel::vumap::Reply { count: found })
    }

    /// Whose memory is meant, if the device may do that to it.
    pub(super) fn look_up(&mut self, caller: Slot, lookup: &Lookup) -> Outcome<Sought> {
        let &Lookup { granter, grant, start, len, access } = lookup;
        let is_written = access != DeviceAccess::Read;
        let (span, misses, granter) = if granter == Endpoint::SELF {
            if grant != GrantId::NONE {
                return Err(Errno::EINVAL.into());
            }
            (Span { party: Party::Process(caller), start }, Misses::Ask, None)
        } else {
            let access = match access {
                DeviceAccess::Read => GrantAccess::READ,
                DeviceAccess::Write => GrantAccess::WRITE,
                DeviceAccess::ReadWrite => GrantAccess::READ.or(GrantAccess::WRITE),
            };
            let Granted { span, misses, granter } =
                self.verify(caller, &Use { granter, grant, offset: start, len, access })?;
            (span, misses, Some(granter))
        };
        UserRange::new(span.start, len).ok_or(Errno::EFAULT)?;
        let side = if is_written { Side::Target } else { Side::Source };
        Ok(Sought { span, len, misses, granter, side })
    }

    /// The physical memory that a part of a place starts with.
    pub(super) fn piece(&mut self, caller: Slot, sought: &Sought, done: u64) -> Outcome<PhysicalRange> {
        let &Sought { span, len, misses, granter, side } = sought;
        self.reach(caller, misses, Parties([span.process(), granter, None]))?;
        let Self { machine, processes, .. } = self;
        let place = span.place(processes, done, len - done)?;
        match machine.translate(&place, side) {
            Ok(range) => Ok(range),
            Err(fault) => {
                let Party::Process(target) = span.party else { return Err(Errno::EFAULT.into()) };
                let page = Page { target, start: fault.address, len: len - done - fault.done, side };
                self.miss(caller, misses, Need::Page(page, [granter, None]))
            }
        }
    }
}

/// Memory that a device wants to use.
#[derive(Clone, Copy)]
pub(super) struct Sought {
    pub(super) span: Span,
    len: u64,
    misses: Misses,
    granter: Option<Slot>,
    side: Side,
}
