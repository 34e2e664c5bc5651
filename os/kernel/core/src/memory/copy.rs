//! Copies: `vircopy`, `physcopy`, `memset`, and what all other copies are made of.
//!
//! A call that has to wait leaves its request in the caller's message registers, and how far it
//! came in its [`OpenCall`](super::OpenCall). When the wait is over it is dispatched once more from
//! there, so all checks are made again and nothing is copied twice.

use super::grants::Mark;
use super::requests::{Need, Page};
use super::{CopyFault, Parked, Parties, PhysicalRange, Place, Progress, Side, UserRange};
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
    /// It goes on later.
    Waits,
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
        Err(Stop::Waits) => None,
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
    /// Whose memory it is, unless it is physical.
    pub(crate) const fn process(self) -> Option<Slot> {
        match self.party {
            Party::Process(slot) => Some(slot),
            Party::Physical => None,
        }
    }

    /// Checks that all of it are addresses of its party's.
    pub(crate) fn check(self, len: u64) -> Result<(), Errno> {
        let is_range = match self.party {
            Party::Process(_) => UserRange::new(self.start, len).is_some(),
            Party::Physical => PhysicalRange::new(self.start, len).is_some(),
        };
        if is_range { Ok(()) } else { Err(Errno::EFAULT) }
    }

    /// The part of it from `done` on.
    pub(crate) fn place<'a, M: Machine>(
        self,
        processes: &'a Table<M>,
        done: u64,
        len: u64,
    ) -> Result<Place<'a, M::Space>, Errno> {
        let start = self.start.checked_add(done).ok_or(Errno::EFAULT)?;
        match self.party {
            Party::Process(slot) => {
                let range = UserRange::new(start, len).ok_or(Errno::EFAULT)?;
                Ok(Place::Process { space: processes.process(slot).memory_space()?, range })
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
    /// The same, and marks a grant.
    Mark(Mark),
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

impl Source {
    const fn process(self) -> Option<Slot> {
        match self {
            Self::Memory(span) => span.process(),
            Self::Byte(_) => None,
        }
    }
}

/// A copy that a kernel call asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transfer {
    pub(crate) from: Source,
    pub(crate) to: Span,
    pub(crate) len: u64,
    pub(crate) misses: Misses,
    /// Who granted the memory.
    pub(crate) granter: Option<Slot>,
}

impl Transfer {
    const fn parties(&self) -> Parties {
        Parties([self.from.process(), self.to.process(), self.granter])
    }
}

/// Bytes that are copied before interrupts and others have their turn: 0.2 ms under QEMU's TCG.
pub(crate) const SLICE: u64 = 512 * 1024;

impl<M: Machine> Kernel<M> {
    pub(crate) fn vircopy(&mut self, caller: Slot, request: &kernel::vircopy::Request) -> Outcome {
        let &kernel::vircopy::Request { from, to, flags, from_address, to_address, len } = request;
        if from == Endpoint::NONE || to == Endpoint::NONE {
            // Physical memory takes a right of its own, that of `physcopy`.
            return Err(Errno::EPERM.into());
        }
        let from = Span { party: self.party(caller, from)?, start: from_address };
        let to = Span { party: self.party(caller, to)?, start: to_address };
        let misses = Misses::of(flags)?;
        self.transfer(caller, &Transfer { from: Source::Memory(from), to, len, misses, granter: None })
    }

    pub(crate) fn physcopy(&mut self, caller: Slot, request: &kernel::physcopy::Request) -> Outcome {
        let &kernel::physcopy::Request { from, to, flags, from_address, to_address, len } = request;
        let from = Span { party: self.party(caller, from)?, start: from_address };
        let to = Span { party: self.party(caller, to)?, start: to_address };
        let misses = Misses::of(flags)?;
        self.transfer(caller, &Transfer { from: Source::Memory(from), to, len, misses, granter: None })
    }

    pub(crate) fn memset(&mut self, caller: Slot, request: &kernel::memset::Request) -> Outcome {
        let &kernel::memset::Request { process, flags, address, len, byte } = request;
        let may_reach_physical =
            self.privileges_of(caller).may_call(<kernel::physcopy::Request as Call>::INFO.number);
        if process == Endpoint::NONE && !may_reach_physical {
            return Err(Errno::EPERM.into());
        }
        let to = Span { party: self.party(caller, process)?, start: address };
        let misses = Misses::of(flags)?;
        self.transfer(caller, &Transfer { from: Source::Byte(byte), to, len, misses, granter: None })
    }

    /// Whose memory an endpoint stands for.
    fn party(&self, caller: Slot, endpoint: Endpoint) -> Result<Party, Errno> {
        match endpoint {
            Endpoint::NONE => Ok(Party::Physical),
            Endpoint::SELF => Ok(Party::Process(caller)),
            _ => self.processes.find(endpoint).map(Party::Process).ok_or(Errno::EINVAL),
        }
    }

    /// Carries out a copy, or as much of it as can be done now.
    pub(crate) fn transfer(&mut self, caller: Slot, transfer: &Transfer) -> Outcome {
        let &Transfer { from, to, len, misses, .. } = transfer;
        let done = self.progress(caller).done;
        // All of both sides is checked before anything is copied.
        to.check(len)?;
        if let Source::Memory(from) = from {
            from.check(len)?;
        }
        if len == 0 {
            return Err(Errno::EDOM.into());
        }
        self.reach(caller, misses, transfer.parties())?;
        let Self { machine, processes, .. } = self;
        let slice = len.saturating_sub(done).min(SLICE);
        let target = to.place(processes, done, slice)?;
        let copied = match from {
            Source::Byte(byte) => machine.fill(target, byte),
            Source::Memory(from) => machine.copy(from.place(processes, done, slice)?, target),
        };
        match copied {
            Ok(()) if done + slice < len => {
                let call = &mut self.processes.process_mut(caller).memory.call;
                call.progress.done = done + slice;
                call.parked = Parked::ForTurn(transfer.parties());
                Err(Stop::Waits)
            }
            Ok(()) => Ok(()),
            Err(fault) => {
                self.transfer_fault(caller, transfer, CopyFault { done: done + fault.done, ..fault })
            }
        }
    }

    /// A page of a copy is missing.
    fn transfer_fault(&mut self, caller: Slot, transfer: &Transfer, fault: CopyFault) -> Outcome {
        let &Transfer { from, to, len, misses, granter } = transfer;
        let CopyFault { side, address: start, done } = fault;
        let (source, to) = (from.process(), to.process());
        let (target, other) = match side {
            Side::Source => (source, to),
            Side::Target => (to, source),
        };
        // Physical memory is there or it isn't.
        let target = target.ok_or(Errno::EFAULT)?;
        self.processes.process_mut(caller).memory.call.progress.done = done;
        let page = Page { target, start, len: len - done, side };
        self.miss(caller, misses, Need::Page(page, [other, granter]))
    }

    /// Waits, or fails, while VM holds the memory of one of those who take part in a call.
    pub(crate) fn reach(&mut self, caller: Slot, misses: Misses, parties: Parties) -> Outcome {
        let is_held = |slot: &Slot| self.processes.process(*slot).is_held();
        match parties.iter().find(is_held) {
            Some(held) => self.miss(caller, misses, Need::Release { held, parties }),
            None => Ok(()),
        }
    }

    /// Memory that a call needs is missing: it waits, or fails.
    pub(crate) fn miss<T>(&mut self, caller: Slot, misses: Misses, need: Need) -> Outcome<T> {
        Err(match misses {
            Misses::Fail => Errno::EFAULT.into(),
            Misses::Mark(mark) => self.mark(mark).into(),
            Misses::Ask => {
                self.ask_vm(caller, need)?;
                Stop::Waits
            }
        })
    }

    /// Reads memory of a process for a call that waits for VM where it has to.
    pub(crate) fn read_of(&mut self, caller: Slot, target: Slot, address: u64, into: &mut [u8]) -> Outcome {
        let (span, len) = (Span { party: Party::Process(target), start: address }, into.len() as u64);
        self.check_and_reach(caller, target, span, len)?;
        let Self { machine, processes, .. } = self;
        let read = machine.read(span.place(processes, 0, len)?, into);
        read.or_else(|fault| self.miss_of(caller, target, len, fault))
    }

    /// Writes memory of a process for a call that waits for VM where it has to, and then writes all of it again.
    pub(crate) fn write_of(&mut self, caller: Slot, target: Slot, address: u64, bytes: &[u8]) -> Outcome {
        let (span, len) = (Span { party: Party::Process(target), start: address }, bytes.len() as u64);
        self.check_and_reach(caller, target, span, len)?;
        let Self { machine, processes, .. } = self;
        let written = machine.write(bytes, span.place(processes, 0, len)?);
        written.or_else(|fault| self.miss_of(caller, target, len, fault))
    }

    fn check_and_reach(&mut self, caller: Slot, target: Slot, span: Span, len: u64) -> Outcome {
        span.check(len)?;
        self.reach(caller, Misses::Ask, Parties([Some(target), None, None]))
    }

    fn miss_of(&mut self, caller: Slot, target: Slot, len: u64, fault: CopyFault) -> Outcome {
        let CopyFault { side, address: start, done } = fault;
        let page = Page { target, start, len: len - done, side };
        self.miss(caller, Misses::Ask, Need::Page(page, [None; 2]))
    }

    /// How far a call came before it had to wait.
    pub(crate) fn progress(&self, caller: Slot) -> Progress {
        self.processes.process(caller).memory.call.progress
    }

    /// A copy of a vector is over.
    pub(crate) fn next_element(&mut self, caller: Slot) {
        let progress = &mut self.processes.process_mut(caller).memory.call.progress;
        *progress = Progress { element: progress.element + 1, done: 0 };
    }
}
