//! What is reported beside the result, when the command line asks for it: messages, or costs. See [`abi::report`].
//!
//! A machine that isn't asked pays nothing for it. In one that is, no turn is simply that of the first who can run
//! ([`Kernel::out_of_turn`]), and what is to be done is done between two turns, off the clock.

use crate::command_line::Reports;
use crate::machine::{Context as _, Machine};
use crate::process::Slot;
use crate::{Kernel, OutOfTurn};
use abi::ipc::Primitive;
use abi::report::{Cost, Delivered, Named, Report};
use abi::{Endpoint, Message, Name};
use alloc::vec;
use alloc::vec::Vec;

/// What is reported, and what is known of it so far.
pub(crate) struct Reporting {
    what: What,
    /// Where the flight recorder's next event will be.
    known: u8,
}

enum What {
    Messages {
        /// Of each slot, whose it was when that was last reported.
        named: Vec<Option<(Endpoint, Name)>>,
        /// How many were reported.
        told: u32,
    },
    Costs {
        /// Of each slot.
        accounts: Vec<Account>,
        /// Of the kernel.
        own: Account,
        /// Whose turn it is, if anybody's.
        turn: Option<Slot>,
        /// How long the machine had been busy when that began.
        since_ns: u64,
    },
}

/// What a process has cost so far. It belongs to the slot: a new version of a service goes on with it.
#[derive(Clone, Copy, Default)]
struct Account {
    busy_ns: u64,
    messages: u32,
    kernel_calls: u32,
}

impl Account {
    const fn report(self, process: Name) -> Report {
        let Self { busy_ns, messages, kernel_calls } = self;
        Report::Cost(Cost { process, busy_ns, messages, kernel_calls })
    }
}

/// Whose cost that of no process is.
const KERNEL: Name = Name::new("kernel").expect("it is a name");

impl<M: Machine> Kernel<M> {
    /// Reports that from now on, beside the result.
    pub fn report_also(&mut self, reports: Reports) {
        let slots = self.processes.len();
        let what = match reports {
            Reports::None => return,
            Reports::Ipc => What::Messages { named: vec![None; slots], told: 0 },
            Reports::Cost => {
                // They are counted where those of traced processes are looked at.
                self.has_traced_calls = true;
                let own = Account::default();
                What::Costs { accounts: vec![own; slots], own, turn: None, since_ns: 0 }
            }
        };
        self.reporting = Some(Reporting { what, known: self.recorder.next });
        self.settle_wishes();
    }

    /// Reports what happened in the last turn.
    pub(crate) fn end_turn(&mut self) {
        if self.reporting.is_some() {
            self.catch_up();
            if self.ended.is_some() {
                self.report_costs();
            }
        }
    }

    /// The next turn begins.
    pub(crate) fn start_turn(&mut self, next: OutOfTurn) {
        if let Some(Reporting { what: What::Costs { turn, since_ns, .. }, .. }) = &mut self.reporting {
            *turn = match next {
                OutOfTurn::Run(slot) | OutOfTurn::Continue(slot) => Some(slot),
                OutOfTurn::End(_) | OutOfTurn::Debugger | OutOfTurn::Idle => None,
            };
            *since_ns = self.machine.busy_and_idle_ns().0;
        }
    }

    /// Adds the time that has passed to the account of whose turn it is, and the messages to those of their senders.
    fn catch_up(&mut self) {
        if let Some(Reporting { what: What::Costs { accounts, own, turn, since_ns }, .. }) =
            &mut self.reporting
        {
            let now_ns = self.machine.busy_and_idle_ns().0;
            let account = turn.and_then(|slot| accounts.get_mut(slot.index())).unwrap_or(own);
            account.busy_ns += now_ns.saturating_sub(*since_ns);
            *since_ns = now_ns;
        }
        self.tell_deliveries();
    }

    /// Takes down that a message of `source` is with its receiver, in whose registers it stands. For whatever can deliver
    /// many in one turn: the recorder must not run over.
    #[inline]
    pub(crate) fn record(&mut self, source: Endpoint, to: Endpoint, message: &Message) {
        self.recorder.record(source, to, message);
        if self.reporting.is_some() {
            self.tell_deliveries();
        }
    }

    /// Reports or counts the messages that were delivered since the last time.
    #[cold]
    #[inline(never)]
    fn tell_deliveries(&mut self) {
        let Some(Reporting { what, known }) = &mut self.reporting else { return };
        while *known != self.recorder.next {
            let index = usize::from(*known);
            *known = known.wrapping_add(1);
            let (source, to) = (self.recorder.sources[index], self.recorder.receivers[index]);
            match what {
                What::Costs { accounts, .. } => {
                    let account = self.processes.find(source).map(|slot| &mut accounts[slot.index()]);
                    if let Some(account) = account {
                        account.messages = account.messages.saturating_add(1);
                    }
                }
                What::Messages { told: Report::MESSAGE_LIMIT, .. } => {
                    *what = What::Messages { named: Vec::new(), told: Report::MESSAGE_LIMIT + 1 };
                    self.machine.report(&Report::Untold);
                }
                What::Messages { told, .. } if *told > Report::MESSAGE_LIMIT => {}
                What::Messages { named, told } => {
                    *told += 1;
                    let mut message =
                        Message { source, number: self.recorder.calls[index], ..Message::zeroed() };
                    for endpoint in [source, to] {
                        let Some(slot) = self.processes.find(endpoint) else { continue };
                        let process = self.processes.process(slot);
                        let own = Some((endpoint, process.name));
                        if named[slot.index()] != own {
                            named[slot.index()] = own;
                            let named = Named { endpoint, process: process.name };
                            self.machine.report(&Report::Named(named));
                        }
                        if endpoint == to {
                            // It has not run since.
                            message = *process.context.message();
                        }
                    }
                    self.machine.report(&Report::Delivered(Delivered { to, message }));
                }
            }
        }
    }

    /// A process makes a call.
    pub(crate) fn count_call(&mut self, slot: Slot, primitive: u64) {
        if let Some(Reporting { what: What::Costs { accounts, .. }, .. }) = &mut self.reporting
            && Primitive::from_number(primitive) == Some(Primitive::KernelCall)
        {
            let account = &mut accounts[slot.index()];
            account.kernel_calls = account.kernel_calls.saturating_add(1);
        }
    }

    /// A process ends: what it cost is known.
    pub(crate) fn settle_account(&mut self, slot: Slot) {
        if self.reporting.is_none() {
            return;
        }
        self.catch_up();
        if let Some(Reporting { what: What::Costs { accounts, turn, .. }, .. }) = &mut self.reporting {
            let account = core::mem::take(&mut accounts[slot.index()]);
            self.machine.report(&account.report(self.processes.process(slot).name));
            // What is left to do is nobody's cost but the kernel's.
            *turn = turn.filter(|running| *running != slot);
        }
    }

    /// The machine ends: so do all.
    fn report_costs(&mut self) {
        let Some(Reporting { what: What::Costs { accounts, own, .. }, .. }) = self.reporting.take() else {
            return;
        };
        for (slot, process) in self.processes.iter() {
            self.machine.report(&accounts[slot.index()].report(process.name));
        }
        self.machine.report(&own.report(KERNEL));
    }
}

#[cfg(test)]
mod tests;
