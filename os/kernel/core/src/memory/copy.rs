//! Copies: `vircopy`, `physcopy`, `memset`, and what all other copies are made of.
//!
//! A call that has to wait leaves its request in the caller's message registers, and how far it
//! came in [`State::progress`](super::State). When the wait is over it is dispatched once more from
//! there, so all checks are made again and nothing is copied twice.

use super::{CopyFault, PhysicalRange, Place, Side, UserRange};
use crate::Kernel;
use crate::machine::Machine;
use crate::process::{Slot, Table};
use abi::protocols::kernel;
use abi::{Answer, Call, CopyFlags, Endpoint, Errno, Ticket};

/// Why a kernel call has no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It failed.
    Fails(Errno),
}

impl From<Errno> for Stop {
    fn from(error: Errno) -> Self {
        Self::Fails(error)
    }
}

/// What became of a kernel call, or of a part of one.
pub(crate) type Outcome<T = ()> = Result<T, Stop>;

/// Answers a call that is over. One that waits makes a new ticket when it goes on.
pub(crate) fn answer<C: Call>(ticket: Ticket<C>, outcome: Outcome<C::Reply>) -> Option<Answer> {
    match outcome {
        Ok(reply) => Some(ticket.answer(Ok(reply))),
        Err(Stop::Fails(error)) => Some(ticket.answer(Err(error))),
    }
}

/// Whose memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Party {
    Process(Slot),
    Physical,
}

/// One side of a transfer: as many bytes as the transfer has, from `start` on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) party: Party,
    pub(crate) start: u64,
}

impl Span {
    /// The part of it that a copy uses next.
    fn place<'a, M: Machine>(
        self,
        processes: &'a Table<M>,
        done: u64,
        len: u64,
    ) -> Result<Place<'a, M::Space>, Errno> {
        let start = self.start.checked_add(done).ok_or(Errno::EFAULT)?;
        match self.party {
            Party::Process(slot) => {
                let range = UserRange::new(start, len).ok_or(Errno::EFAULT)?;
                Ok(Place::Process { space: &processes.process(slot).space, range })
            }
            Party::Physical => PhysicalRange::new(start, len).map(Place::Physical).ok_or(Errno::EFAULT),
        }
    }
}

/// What a transfer does about a page that is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Misses {
    /// Fails with `EFAULT` at once.
    Fail,
    /// Waits for VM, if there is one.
    Ask,
}

impl Misses {
    fn of(flags: CopyFlags) -> Result<Self, Errno> {
        match flags.is_try() {
            Some(true) => Ok(Self::Fail),
            Some(false) => Ok(Self::Ask),
            None => Err(Errno::EINVAL),
        }
    }
}

/// What fills the target of a transfer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source {
    Memory(Span),
    Byte(u8),
}

/// A copy that a kernel call asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transfer {
    pub(crate) from: Source,
    pub(crate) to: Span,
    pub(crate) len: u64,
    pub(crate) misses: Misses,
}

impl<M: Machine> Kernel<M> {
    pub(crate) fn vircopy(
        &mut self,
        caller: Slot,
        request: &kernel::vircopy::Request,
    ) -> Outcome<kernel::vircopy::Reply> {
        let &kernel::vircopy::Request { from, to, flags, from_address, to_address, len } = request;
        if from == Endpoint::NONE || to == Endpoint::NONE {
            // Physical memory takes a right of its own, that of `physcopy`.
            return Err(Errno::EPERM.into());
        }
        let from = Span { party: self.party(caller, from)?, start: from_address };
        let to = Span { party: self.party(caller, to)?, start: to_address };
        self.transfer(&Transfer { from: Source::Memory(from), to, len, misses: Misses::of(flags)? })?;
        Ok(kernel::vircopy::Reply {})
    }

    pub(crate) fn physcopy(
        &mut self,
        caller: Slot,
        request: &kernel::physcopy::Request,
    ) -> Outcome<kernel::physcopy::Reply> {
        let &kernel::physcopy::Request { from, to, flags, from_address, to_address, len } = request;
        let from = Span { party: self.party(caller, from)?, start: from_address };
        let to = Span { party: self.party(caller, to)?, start: to_address };
        self.transfer(&Transfer { from: Source::Memory(from), to, len, misses: Misses::of(flags)? })?;
        Ok(kernel::physcopy::Reply {})
    }

    pub(crate) fn memset(
        &mut self,
        caller: Slot,
        request: &kernel::memset::Request,
    ) -> Outcome<kernel::memset::Reply> {
        let &kernel::memset::Request { process, flags, address, len, byte } = request;
        let may_reach_physical =
            self.privileges_of(caller).may_call(<kernel::physcopy::Request as Call>::INFO.number);
        if process == Endpoint::NONE && !may_reach_physical {
            return Err(Errno::EPERM.into());
        }
        let to = Span { party: self.party(caller, process)?, start: address };
        self.transfer(&Transfer { from: Source::Byte(byte), to, len, misses: Misses::of(flags)? })?;
        Ok(kernel::memset::Reply {})
    }

    /// Whose memory an endpoint stands for.
    fn party(&self, caller: Slot, endpoint: Endpoint) -> Result<Party, Errno> {
        match endpoint {
            Endpoint::NONE => Ok(Party::Physical),
            Endpoint::SELF => Ok(Party::Process(caller)),
            _ => self.processes.find(endpoint).map(Party::Process).ok_or(Errno::EINVAL),
        }
    }

    /// Carries out a copy.
    pub(crate) fn transfer(&mut self, transfer: &Transfer) -> Outcome {
        let &Transfer { from, to, len, misses } = transfer;
        let Self { machine, processes, .. } = self;
        let target = to.place(processes, 0, len)?;
        let copied = match from {
            Source::Byte(byte) => machine.fill(target, byte),
            Source::Memory(from) => machine.copy(from.place(processes, 0, len)?, target),
        };
        if len == 0 {
            return Err(Errno::EDOM.into());
        }
        match (copied, misses) {
            (Ok(()), _) => Ok(()),
            // Nobody manages memory yet, so what is missing stays missing.
            (Err(CopyFault { side: Side::Source | Side::Target, .. }), Misses::Fail | Misses::Ask) => {
                Err(Errno::EFAULT.into())
            }
        }
    }
}
