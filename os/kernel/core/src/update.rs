//! Live update: a new version of a service takes the old one's place.
//!
//! The contents of two slots are exchanged. What others know a process by stays: its endpoint, who waits
//! to send to it, what it is to be notified of. So clients keep the endpoint that they have, and find
//! the new code behind it.

use crate::Kernel;
use crate::kernel::{MEMORY_RANGES, PORT_RANGES};
use crate::machine::{Context, Machine};
use crate::privilege::{Id, Notifier, Privileges};
use crate::process::{Ipc, Slot, Stops};
use crate::signals::MANAGED;
use abi::{Callers, Errno};
use alloc::vec::Vec;

impl<M: Machine> Kernel<M> {
    /// Exchanges two services, which are not one, for another. Nothing has changed if that fails.
    pub(crate) fn exchange(
        &mut self,
        caller: Slot,
        (source, target): (Slot, Slot),
        rollback: bool,
    ) -> Result<(), Errno> {
        for slot in [source, target] {
            if !self.processes.process(slot).class.admits(Callers::SERVICE) {
                return Err(Errno::EPERM);
            }
        }
        let can_be_vm = |slot| self.processes.process(slot).class.admits(Callers::VM);
        if [source, target].map(Some).contains(&self.vm()) && !(can_be_vm(source) && can_be_vm(target)) {
            return Err(Errno::EPERM);
        }
        if !self.is_updatable(source, target, caller) || !self.is_updatable(target, source, caller) {
            return Err(Errno::EBUSY);
        }
        let ids = (self.processes.process(source).privileges, self.processes.process(target).privileges);
        self.inherit(ids.0, ids.1)?;
        for slot in [source, target] {
            if self.processes.process(slot).is_in_a_call() {
                self.end_request(slot, Errno::EFAULT);
            }
        }
        if rollback && let Ipc::Sending { .. } = self.processes.process(source).ipc {
            self.cancel_with(source, Errno::EDEADSRCDST);
        }

        self.exchange_queues(source, target);
        self.exchange_privileges(ids.0, ids.1);
        self.exchange_contents(source, target);
        for slot in [source, target] {
            self.be_own_manager(slot);
            self.end_delay(slot);
            self.end_circle(slot, Errno::ELOCKED);
        }
        // The new one would take it for the answer that it waits for, say.
        if let Some(faulting) = self.mistaken_fault() {
            self.page_fault_unresolved(faulting);
        }
        for slot in [source, target] {
            // Others may have ended with who faulted.
            if self.processes.get(slot).is_none() {
                continue;
            }
            self.receive_again(slot);
            // Somebody may wait for a message under the name that one has now who sends him one.
            if let Ipc::Sending { to, .. } = self.processes.process(slot).ipc {
                self.receive_again(to);
            }
        }
        for slot in [source, target] {
            if self.processes.get(slot).is_some() {
                self.hand_own_signals_over(slot);
            }
            if self.processes.get(slot).is_some() {
                self.go_on_waiting(slot, Stops::NONE);
            }
        }
        self.settle_orphans();
        Ok(())
    }

    /// Tells whether the contents of a slot can move: the process can't run, it does not wait for what it would
    /// become, by a message or a signal, and nobody else is in the middle of a copy of its memory or through its grants, which would go on with
    /// the other's. A kernel call of its own is no obstacle if it never goes on with that: it was ended in the middle
    /// of it, say.
    fn is_updatable(&self, slot: Slot, other: Slot, caller: Slot) -> bool {
        let process = self.processes.process(slot);
        let is_stopped = process.stops.contains(MANAGED.with(Stops::NO_PRIVILEGES));
        let stands_still = is_stopped || matches!(process.ipc, Ipc::Receiving { .. });
        let waits_for_other = match process.ipc {
            Ipc::Idle => false,
            Ipc::Sending { to, .. } => to == other,
            Ipc::Receiving { from, .. } => from == self.processes.process(other).endpoint,
        };
        let is_vms = process.stops.contains(Stops::PAGE_FAULT) || process.is_held();
        // Its manager knows it by the name that it has now, and will end its signal, or itself, under that; the caller knows
        // the new one, too. If that is the other one, it would be its own manager, and the only one who could let it go on.
        let is_in_hands = process.signals.are_taken() || !process.stops.contains(Stops::SIGNALLED);
        let is_managers = |manager| manager == other || manager != slot && manager != caller && is_in_hands;
        let is_others = process.stops.contains(MANAGED) && self.manager_of(slot).is_some_and(is_managers);
        let goes_on_with_call = process.is_in_a_call() && !is_stopped;
        let others = || self.processes.iter().filter(|(one, _)| *one != slot && *one != other);
        let takes_part = || others().any(|(_, process)| process.memory.call.parked.involves(slot));
        stands_still && !waits_for_other && !is_others && !is_vms && !goes_on_with_call && !takes_part()
    }

    /// A service that has taken the place of its own manager manages itself: nobody else is meant by that name.
    fn be_own_manager(&mut self, slot: Slot) {
        let id = self.processes.process(slot).privileges;
        let privileges = &mut self.privileges[id.index()];
        privileges.set_managers(privileges.signal_manager, privileges.backup_manager);
    }

    /// Gives the target what the source may do.
    fn inherit(&mut self, source: Id, target: Id) -> Result<(), Errno> {
        let Ok([from, to]) = self.privileges.get_disjoint_mut([source.index(), target.index()]) else {
            // Two services never share privileges.
            return Err(Errno::EPERM);
        };
        let ports = missing(&from.ports, &mut to.ports, PORT_RANGES)?;
        let memory = missing(&from.memory, &mut to.memory, MEMORY_RANGES)?;
        to.ports.extend(ports);
        to.memory.extend(memory);
        to.irqs |= from.irqs;
        to.grants_magic |= from.grants_magic;
        to.send_to.insert_all(&from.send_to);
        Ok(())
    }

    /// Lets each stand where the other stood in the queue of who it sends to.
    fn exchange_queues(&mut self, one: Slot, other: Slot) {
        for slot in [one, other] {
            if let Ipc::Sending { to, .. } = self.processes.process(slot).ipc {
                self.processes.process_mut(to).callers.remove(&mut self.links, slot);
            }
        }
        for (slot, place) in [(one, other), (other, one)] {
            if let Ipc::Sending { to, .. } = self.processes.process(slot).ipc {
                self.processes.process_mut(to).callers.push_back(&mut self.links, place);
            }
        }
    }

    fn exchange_privileges(&mut self, one: Id, other: Id) {
        let ids = [one, other];
        if let Ok([one, other]) = self.privileges.get_disjoint_mut(ids.map(Id::index)) {
            core::mem::swap(one, other);
            core::mem::swap(&mut one.owner, &mut other.owner);
        }
        // Whom the contents may send to has moved; who may send to them has not, and who is asked may answer.
        for id in ids {
            self.privileges[id.index()].send_to.remove(Notifier::Service(id));
            for index in 0..self.privileges.len() {
                let Some(third) = Id::new(index).filter(|third| *third != id) else { continue };
                let can_be_reached =
                    |privileges: &[Privileges]| privileges[index].send_to.contains(Notifier::Service(id));
                if can_be_reached(&self.privileges) {
                    self.let_send(third, id);
                } else if self.privileges[id.index()].send_to.contains(Notifier::Service(third)) {
                    self.let_send(id, third);
                }
            }
        }
    }

    fn exchange_contents(&mut self, one: Slot, other: Slot) {
        let Some((one, other)) = self.processes.pair_mut(one, other) else { return };
        core::mem::swap(one, other);
        // What belongs to the name, not to who bears it.
        core::mem::swap(&mut one.endpoint, &mut other.endpoint);
        core::mem::swap(&mut one.privileges, &mut other.privileges);
        core::mem::swap(&mut one.callers, &mut other.callers);
        core::mem::swap(&mut one.notifications, &mut other.notifications);
        core::mem::swap(&mut one.mailbox, &mut other.mailbox);
        core::mem::swap(&mut one.mail_sent, &mut other.mail_sent);
        core::mem::swap(&mut one.mail_over, &mut other.mail_over);
        core::mem::swap(&mut one.irqs_pending, &mut other.irqs_pending);
        core::mem::swap(&mut one.watches_log, &mut other.watches_log);
        core::mem::swap(&mut one.ends_machine, &mut other.ends_machine);
        core::mem::swap(&mut one.memory.registrations, &mut other.memory.registrations);
        core::mem::swap(&mut one.scheduler, &mut other.scheduler);
        // A scheduler answers for the name that asked; nobody would answer for the other one.
        let (waits, other_waits) = (one.stops.only(Stops::NO_QUANTUM), other.stops.only(Stops::NO_QUANTUM));
        one.stops = one.stops.without(Stops::NO_QUANTUM).with(other_waits);
        other.stops = other.stops.without(Stops::NO_QUANTUM).with(waits);
        one.signals.exchange_what_is_told(&mut other.signals);
    }

    /// Gives a process that waits for a message one that was there before it would take it: it was sent to its slot
    /// before it came there, or held back by a filter that is gone.
    pub(crate) fn receive_again(&mut self, slot: Slot) {
        let Ipc::Receiving { from, in_sendrec } = self.processes.process(slot).ipc else { return };
        self.wake(slot);
        if let Err(error) = self.receive(slot, from, in_sendrec) {
            self.processes.process_mut(slot).context.set_result(error.to_status());
        }
    }

    /// Lets everybody who waits for a process go on with `EDEADSRCDST`. What it has sent itself and nobody has taken stays
    /// on its way, other than in MINIX, where it lies in the memory of the version that is gone: it was sent under this
    /// name, and may be an answer that somebody counts on. Page faults are the kernel's own
    /// messages: one that VM has taken is told it again, for it may not be the one that took it. So are
    /// memory requests, and the signals that a manager has taken and not ended.
    pub(crate) fn clear_ipc_references(&mut self, slot: Slot) {
        self.clear_ipc_references_of(slot, self.processes.process(slot).privileges);
    }

    /// The same of a process that had these privileges when it sent what it has sent.
    pub(crate) fn clear_ipc_references_of(&mut self, slot: Slot, privileges: Id) {
        let endpoint = self.processes.process(slot).endpoint;
        self.renew_quanta_from(endpoint);
        // It may manage somebody who manages it, and end with him, now that he waits for no quantum.
        if self.processes.get(slot).is_none() {
            return;
        }
        self.lose_letters_to(slot);
        self.release_waiting(slot, endpoint);
        // Of those that programs share nobody knows whose notification it is.
        if Some(privileges) != self.programs {
            for (_, other) in self.processes.iter_mut() {
                other.notifications.remove(Notifier::Service(privileges));
            }
        }
        self.repeat_signals(slot);
        if self.vm() == Some(slot) {
            self.repeat_page_faults();
            self.repeat_requests();
        }
    }
}

/// The ranges of one list that another lacks, for which there is room in it now.
fn missing<T: Copy + PartialEq>(from: &[T], to: &mut Vec<T>, limit: usize) -> Result<Vec<T>, Errno> {
    let lacks = |range: &&T| !to.contains(range);
    let count = from.iter().filter(lacks).count();
    if to.len() + count > limit {
        return Err(Errno::ENOMEM);
    }
    let mut ranges = Vec::new();
    ranges.try_reserve(count).map_err(|_| Errno::ENOMEM)?;
    ranges.extend(from.iter().filter(lacks));
    to.try_reserve(count).map_err(|_| Errno::ENOMEM)?;
    Ok(ranges)
}

#[cfg(test)]
mod tests;
