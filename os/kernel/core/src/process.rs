//! Process table: who exists, and what each is doing.
//!
//! A slot is reused with a new generation, so an old `Endpoint` never names a new process.

use crate::ipc::filter::Filters;
use crate::ipc::mail;
use crate::list::List;
use crate::machine::{Context, Machine};
use crate::memory;
use crate::page_faults::{self, PageFault};
use crate::privilege::{Id, IdSet};
use crate::scheduler::{Timers, Usage};
use crate::signals;
use crate::tracing::Tracing;
use abi::notification::Notification;
use abi::{Callers, Endpoint, Name};
use alloc::vec::Vec;
use core::num::NonZeroU16;

/// Index of a process in the table.
// One more than the number, so that an optional slot needs no more room: queues are made of them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Slot(NonZeroU16);

impl Slot {
    /// The slot of a number, which need not be in the table. The two highest numbers, which no
    /// table reaches, are one slot.
    #[must_use]
    #[inline]
    pub const fn new(number: u16) -> Self {
        Self(NonZeroU16::MIN.saturating_add(number))
    }

    /// The number.
    #[must_use]
    #[inline]
    pub const fn number(self) -> u16 {
        self.0.get() - 1
    }

    #[inline]
    pub(crate) const fn index(self) -> usize {
        self.number() as usize
    }
}

impl core::fmt::Debug for Slot {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Slot({})", self.number())
    }
}

/// Where a process is in its IPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ipc {
    /// It waits for nobody: it runs, unless something else [stops](Stops) it.
    Idle,
    /// It waits until `to` takes its message, and then perhaps for the answer.
    Sending {
        /// The receiver.
        to: Slot,
        /// It is in `sendrec`.
        then_receives: bool,
    },
    /// It waits for a message.
    Receiving {
        /// From whom, or [`Endpoint::ANY`].
        from: Endpoint,
        /// It is in `sendrec`, so that notifications have to wait.
        in_sendrec: bool,
    },
}

/// Reasons why a process may not run although it waits for nobody. It runs when there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Stops(u16);

impl Stops {
    /// No reason.
    pub const NONE: Self = Self(0);
    /// Its scheduler has not yet given it another quantum.
    pub const NO_QUANTUM: Self = Self(1 << 0);
    /// VM works on memory that a kernel call of its needs.
    pub const MEMORY_REQUEST: Self = Self(1 << 1);
    /// VM works on a page fault of its.
    pub const PAGE_FAULT: Self = Self(1 << 2);
    /// A kernel signal has arrived that its manager has not taken yet.
    pub const SIGNALLED: Self = Self(1 << 3);
    /// Its manager works on a kernel signal.
    pub const SIGNAL_PENDING: Self = Self(1 << 4);
    /// Its manager stopped it.
    pub const STOPPED: Self = Self(1 << 5);
    /// It is being traced and stopped.
    pub const TRACED: Self = Self(1 << 6);
    /// It has not been given privileges.
    pub const NO_PRIVILEGES: Self = Self(1 << 7);
    /// VM has not given it an address space, or is changing it.
    pub const NO_SPACE: Self = Self(1 << 8);
    /// It has ended and is kept until its manager clears it.
    pub const ENDED: Self = Self(1 << 9);

    /// Tells whether there is no reason.
    #[must_use]
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Tells whether one of these reasons is there.
    #[must_use]
    pub const fn contains(self, reasons: Self) -> bool {
        self.0 & reasons.0 != 0
    }

    /// These reasons and those.
    #[must_use]
    pub const fn with(self, reasons: Self) -> Self {
        Self(self.0 | reasons.0)
    }

    /// Those of these reasons that are there.
    #[must_use]
    pub const fn only(self, reasons: Self) -> Self {
        Self(self.0 & reasons.0)
    }

    /// These reasons but for those.
    #[must_use]
    pub const fn without(self, reasons: Self) -> Self {
        Self(self.0 & !reasons.0)
    }
}

/// A living process.
pub struct Process<M: Machine> {
    /// Its endpoint.
    pub endpoint: Endpoint,
    /// What it is called.
    pub name: Name,
    /// What it is.
    pub class: Callers,
    /// What it may do.
    pub privileges: Id,
    /// Whom it waits for.
    pub ipc: Ipc,
    /// What else keeps it from running. Changed by [`Kernel::stop`](crate::Kernel) and `resume` only.
    pub stops: Stops,
    /// Who waits to send to it.
    pub callers: List,
    /// Notifications that it has not received.
    pub notifications: IdSet,
    /// Messages that were sent to it asynchronously.
    pub(crate) mailbox: mail::Queue,
    /// Its own asynchronous messages that wait.
    pub(crate) mail_sent: mail::Sent,
    /// What became of those that it wants to hear of, since it last did.
    pub(crate) mail_over: mail::Over,
    /// What it is willing to receive.
    pub filters: Filters,
    /// Interrupts that the next notification from the hardware tells of.
    pub irqs_pending: u64,
    /// Signals of its own, and of those that it manages.
    pub signals: signals::State,
    /// What VM is to resolve while [`Stops::PAGE_FAULT`] stops it.
    pub page_fault: PageFault,
    /// What its tracer wants to see.
    pub tracing: Tracing,
    /// The queue that it is in when it can run.
    pub priority: u8,
    /// Ticks it may run before its equals have their turn.
    pub quantum_ticks: u32,
    /// What is left of them.
    pub quantum_left: u32,
    /// Ticks that found it running.
    pub user_ticks: u64,
    /// Timers that run while it does.
    pub timers: Timers,
    /// Who gives it a new quantum; the kernel does if there is nobody.
    pub scheduler: Option<Endpoint>,
    /// What it has done since its quantum began.
    pub usage: Usage,
    /// Its kernel calls that reach memory.
    pub memory: memory::State,
    /// The machine stops when it ends.
    pub ends_machine: bool,
    /// Its registers.
    pub context: M::Context,
    /// Its memory.
    pub space: M::Space,
}

/// Who a new process is.
pub(crate) struct Identity {
    pub(crate) endpoint: Endpoint,
    pub(crate) name: Name,
    pub(crate) class: Callers,
    pub(crate) privileges: Id,
}

impl<M: Machine> Process<M> {
    /// A process that nobody knows yet and nothing stops, to be run as the kernel sees fit.
    pub(crate) fn new(identity: Identity, context: M::Context, space: M::Space) -> Self {
        let Identity { endpoint, name, class, privileges } = identity;
        Self {
            endpoint,
            name,
            class,
            privileges,
            ipc: Ipc::Idle,
            stops: Stops::NONE,
            callers: List::default(),
            notifications: IdSet::default(),
            mailbox: mail::Queue::default(),
            mail_sent: mail::Sent::default(),
            mail_over: mail::Over::default(),
            filters: Filters::default(),
            irqs_pending: 0,
            signals: signals::State::default(),
            page_fault: PageFault::default(),
            tracing: Tracing::default(),
            priority: 0,
            quantum_ticks: 1,
            quantum_left: 1,
            user_ticks: 0,
            scheduler: None,
            usage: Usage::default(),
            timers: Timers::default(),
            memory: memory::State::default(),
            ends_machine: false,
            context,
            space,
        }
    }

    /// Tells whether it is in the queue of those that can run.
    pub(crate) fn is_ready(&self) -> bool {
        self.ipc == Ipc::Idle && self.stops.is_empty()
    }

    /// Tells whether a handler can run in it once it is answered: its message registers hold nothing that has
    /// yet to be sent, and no kernel call that is not over. One that faults only looks as if it sent.
    pub(crate) fn can_be_stopped(&self) -> bool {
        let sends = matches!(self.ipc, Ipc::Sending { .. }) && !self.stops.contains(Stops::PAGE_FAULT);
        !sends && !self.is_in_a_call()
    }

    /// Tells whether it is in no primitive, so that its registers may be others from now on.
    pub(crate) fn is_between_primitives(&self) -> bool {
        self.can_be_stopped() && !matches!(self.ipc, Ipc::Receiving { .. })
    }

    /// Tells whether its message registers hold a kernel call that is not over.
    pub(crate) fn is_in_a_call(&self) -> bool {
        self.stops.contains(Stops::MEMORY_REQUEST) || self.memory.goes_on
    }

    /// Tells whether it waits for the message that `from` is about to send.
    #[inline]
    pub(crate) fn would_take(&self, from: &Self) -> bool {
        self.would_receive_from(from.endpoint)
            && self.admits(from.endpoint, from.class, from.context.message().number)
    }

    /// The class and number of the message that it waits to send.
    pub(crate) fn says(&self) -> (Callers, u16) {
        if self.stops.contains(Stops::PAGE_FAULT) {
            return page_faults::CLASS_AND_NUMBER;
        }
        (self.class, self.context.message().number)
    }

    /// Tells whether its filters let such a message through.
    #[inline]
    pub(crate) fn admits(&self, source: Endpoint, class: Callers, number: u16) -> bool {
        self.filters.is_empty() || self.filters.admit(source, class, number)
    }

    /// Tells whether nobody has a message or a notification for it.
    #[inline]
    pub(crate) fn has_no_mail(&self) -> bool {
        self.notifications.is_empty() && self.mailbox.is_empty() && self.callers.front().is_none()
    }

    /// Tells whether it waits for a message that `from` could send now.
    #[inline]
    pub(crate) fn would_receive_from(&self, from: Endpoint) -> bool {
        matches!(self.ipc, Ipc::Receiving { from: wanted, .. } if wanted == Endpoint::ANY || wanted == from)
    }

    /// Tells whether it would receive a notification from that source now.
    pub(crate) fn would_be_notified_by(&self, source: Endpoint, class: Callers) -> bool {
        self.would_receive_from(source)
            && !matches!(self.ipc, Ipc::Receiving { in_sendrec: true, .. })
            && self.admits(source, class, Notification::NUMBER)
    }
}

/// All processes, in slots.
pub struct Table<M: Machine> {
    slots: Vec<Entry<M>>,
}

struct Entry<M: Machine> {
    /// The endpoint of the process, or of the slot's next one.
    endpoint: Endpoint,
    process: Option<Process<M>>,
}

impl<M: Machine> Table<M> {
    /// A table of empty slots.
    pub(crate) fn new(slots: u16) -> Self {
        let slots = (0..slots.min(Endpoint::SLOTS))
            .map(|slot| Entry { endpoint: Endpoint::at_boot(slot), process: None });
        Self { slots: slots.collect() }
    }

    /// How many slots there are.
    #[must_use]
    pub(crate) const fn len(&self) -> usize {
        self.slots.len()
    }

    /// All slots, used or not. The table may change meanwhile.
    pub(crate) fn slots(&self) -> impl Iterator<Item = Slot> + use<M> {
        (0..).take(self.len()).map(Slot::new)
    }

    /// The endpoint that the next process of an empty slot gets.
    pub(crate) fn free_endpoint(&self, slot: Slot) -> Option<Endpoint> {
        self.slots.get(slot.index()).filter(|entry| entry.process.is_none()).map(|entry| entry.endpoint)
    }

    /// Tells whether this was the last process of a slot that is empty now.
    pub(crate) fn was_last(&self, endpoint: Endpoint) -> bool {
        let next = endpoint.slot().and_then(|slot| self.free_endpoint(Slot::new(slot)));
        next.is_some_and(|next| next == endpoint.successor())
    }

    /// Puts a process into its slot, which is empty.
    pub(crate) fn insert(&mut self, slot: Slot, process: Process<M>) {
        self.slots[slot.index()].process = Some(process);
    }

    /// Takes a process out; its endpoint is dead from now on.
    pub(crate) fn remove(&mut self, slot: Slot) -> Option<Process<M>> {
        let entry = &mut self.slots[slot.index()];
        let process = entry.process.take()?;
        entry.endpoint = entry.endpoint.successor();
        Some(process)
    }

    /// The process of a slot that is known to hold one.
    ///
    /// # Panics
    /// If it holds none.
    #[must_use]
    pub(crate) fn process(&self, slot: Slot) -> &Process<M> {
        self.slots[slot.index()].process.as_ref().expect("the slot came from a living process")
    }

    /// The same, to be changed.
    pub(crate) fn process_mut(&mut self, slot: Slot) -> &mut Process<M> {
        self.slots[slot.index()].process.as_mut().expect("the slot came from a living process")
    }

    /// The process of a slot, if there is one.
    #[must_use]
    pub fn get(&self, slot: Slot) -> Option<&Process<M>> {
        self.slots.get(slot.index())?.process.as_ref()
    }

    /// The same, to be changed.
    pub(crate) fn get_mut(&mut self, slot: Slot) -> Option<&mut Process<M>> {
        self.slots.get_mut(slot.index())?.process.as_mut()
    }

    /// Two living processes, unless they are one.
    #[inline]
    pub(crate) fn pair_mut(&mut self, one: Slot, other: Slot) -> Option<(&mut Process<M>, &mut Process<M>)> {
        let [one, other] = self.slots.get_disjoint_mut([one.index(), other.index()]).ok()?;
        one.process.as_mut().zip(other.process.as_mut())
    }

    /// The slot of a living process.
    #[inline]
    pub fn find(&self, endpoint: Endpoint) -> Option<Slot> {
        // A special endpoint has a slot number beyond any table.
        let slot = Slot::new(endpoint.slot_bits());
        let entry = self.slots.get(slot.index())?;
        (entry.endpoint == endpoint && entry.process.is_some()).then_some(slot)
    }

    /// All living processes.
    pub fn iter(&self) -> impl Iterator<Item = (Slot, &Process<M>)> {
        let numbered = (0..).map(Slot::new).zip(&self.slots);
        numbered.filter_map(|(slot, entry)| Some((slot, entry.process.as_ref()?)))
    }

    /// All living processes, to be changed.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (Slot, &mut Process<M>)> {
        let numbered = (0..).map(Slot::new).zip(&mut self.slots);
        numbered.filter_map(|(slot, entry)| Some((slot, entry.process.as_mut()?)))
    }
}
