//! Process table: who exists, and what each is doing.
//!
//! A slot is reused with a new generation, so an old `Endpoint` never names a new process.

use crate::ipc::filter::Filters;
use crate::ipc::mail;
use crate::kernel::address;
use crate::list::List;
use crate::machine::{Context, Machine};
use crate::memory;
use crate::page_faults::{self, PageFault};
use crate::privilege::{Id, IdSet};
use crate::scheduler::{Timers, Usage};
use crate::signals;
use crate::tracing::Tracing;
use abi::inspect::Layout;
use abi::notification::Notification;
use abi::state::{State, Wait};
use abi::{Callers, Endpoint, Errno, Name};
use alloc::vec::Vec;
use core::mem::offset_of;
use core::num::NonZeroU16;

pub use abi::state::Stops;

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
// Of a layout that is the same in every build, since debuggers read it: see `abi::inspect`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Ipc {
    /// It waits for nobody: it runs, unless something else [stops](Stops) it.
    Idle,
    /// It waits until `to` takes its message, and then perhaps for the answer.
    Sending {
        /// It is in `sendrec`.
        then_receives: bool,
        /// The receiver.
        to: Slot,
    },
    /// It waits for a message.
    Receiving {
        /// It is in `sendrec`, so that notifications have to wait.
        in_sendrec: bool,
        /// From whom, or [`Endpoint::ANY`].
        from: Endpoint,
    },
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
    /// It is told of new lines in the kernel's log.
    pub watches_log: bool,
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
            watches_log: false,
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

    /// Tells whether VM changes its memory: what is there now need not be what stays.
    pub(crate) fn is_held(&self) -> bool {
        self.stops.contains(Stops::NO_SPACE)
    }

    /// Its memory, as calls may reach it.
    ///
    /// # Errors
    /// `EFAULT` while it is [held](Self::is_held): calls that can wait look at that first.
    pub(crate) fn memory_space(&self) -> Result<&M::Space, Errno> {
        if self.is_held() { Err(Errno::EFAULT) } else { Ok(&self.space) }
    }

    /// Tells whether its message registers hold a kernel call that is not over.
    pub(crate) fn is_in_a_call(&self) -> bool {
        self.memory.call.parked.is_parked()
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

    /// Adds to a layout where the table is, and what its entries are like.
    pub(crate) fn layout(&self, layout: Layout) -> Layout {
        // An entry without a process has room for its remains only if there is nothing beside it.
        const { assert!(size_of::<Option<Process<M>>>() == size_of::<Process<M>>()) };
        Layout {
            entries: address(self.slots.as_slice()),
            entry_count: self.slots.len() as u64,
            entry_bytes: size_of::<Entry<M>>() as u64,
            entry_endpoint: offset_of!(Entry<M>, endpoint) as u64,
            entry_process: offset_of!(Entry<M>, process) as u64,
            endpoint: offset_of!(Process<M>, endpoint) as u64,
            name: offset_of!(Process<M>, name) as u64,
            ipc: offset_of!(Process<M>, ipc) as u64,
            stops: offset_of!(Process<M>, stops) as u64,
            context: offset_of!(Process<M>, context) as u64,
            root: layout.root + offset_of!(Process<M>, space) as u64,
            ..layout
        }
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

    /// What a process is doing, to be shown to people.
    pub fn state<'a>(&'a self, process: &'a Process<M>) -> State<'a> {
        // The kernel speaks for a process with a page fault.
        let own = !process.stops.contains(Stops::PAGE_FAULT);
        let message = own.then(|| process.context.message());
        let wait = match process.ipc {
            Ipc::Idle => Wait::Nobody,
            Ipc::Sending { to, then_receives } => {
                let to = self.get(to).map_or(Endpoint::NONE, |to| to.endpoint);
                if then_receives {
                    Wait::SendReceiving { to, message }
                } else {
                    Wait::Sending { to, message }
                }
            }
            Ipc::Receiving { from: to, in_sendrec: true } => Wait::SendReceiving { to, message },
            Ipc::Receiving { from, in_sendrec: false } => Wait::Receiving { from },
        };
        State { wait, stops: process.stops }
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
