//! The IPC primitives.
//!
//! A message lies in the message registers of its sender until the receiver takes it; taking it
//! copies 128 bytes from one saved state to the other. Order of checks and of delivery follow
//! MINIX 3, so that its documentation holds.

use crate::Kernel;
use crate::machine::{Context, Machine};
use crate::privilege::Notifier;
use crate::process::{Ipc, Slot, Stops};
use abi::ipc::{Primitive, Status};
use abi::notification::Notification;
use abi::{Callers, Endpoint, Errno};

/// Whether a primitive is over, or its caller waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    Blocked,
}

/// The half of a rendezvous that a process waits in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Half {
    Sending,
    Receiving,
}

impl<M: Machine> Kernel<M> {
    /// A process asked for the primitive of that number.
    pub fn trap(&mut self, caller: Slot, number: u64, endpoint: Endpoint) {
        let outcome = match Primitive::from_number(number) {
            None => Err(Errno::EBADCALL),
            Some(Primitive::KernelCall) => self.kernel_call(caller),
            Some(primitive) => self.primitive(caller, primitive, endpoint),
        };
        if let Err(error) = outcome {
            self.processes.process_mut(caller).context.set_result(error.to_status());
        }
    }

    fn kernel_call(&mut self, caller: Slot) -> Result<(), Errno> {
        if !self.privileges_of(caller).may_use(Primitive::KernelCall) {
            return Err(Errno::ETRAPDENIED);
        }
        self.processes.process_mut(caller).context.set_result(0);
        self.call(caller);
        Ok(())
    }

    fn primitive(&mut self, caller: Slot, primitive: Primitive, endpoint: Endpoint) -> Result<(), Errno> {
        let peer = self.check_peer(caller, primitive, endpoint)?;
        if !self.privileges_of(caller).may_use(primitive) {
            return Err(Errno::ETRAPDENIED);
        }
        // Set first: what blocks now goes on with this result, unless its partner dies.
        self.processes.process_mut(caller).context.set_result(0);
        match (primitive, peer) {
            (Primitive::Receive, _) => self.receive(caller, endpoint, false).map(|_| ()),
            (Primitive::Send, Some(peer)) => self.send(caller, peer, Primitive::Send).map(|_| ()),
            (Primitive::SendRec, Some(peer)) => self.sendrec(caller, peer, endpoint),
            (Primitive::Notify, Some(peer)) => {
                let notifier = Notifier::Service(self.processes.process(caller).privileges);
                self.notify(notifier, peer);
                Ok(())
            }
            (Primitive::KernelCall, _) | (_, None) => Err(Errno::ETRAPDENIED),
        }
    }

    /// Checks the endpoint of a primitive: `None` for one that is no process but can be received from.
    fn check_peer(
        &self,
        caller: Slot,
        primitive: Primitive,
        endpoint: Endpoint,
    ) -> Result<Option<Slot>, Errno> {
        let special = Notifier::special(endpoint).is_some();
        if primitive == Primitive::Receive {
            if endpoint == Endpoint::ANY || special {
                return Ok(None);
            }
            return self.processes.find(endpoint).map(Some).ok_or(Errno::EDEADSRCDST);
        }
        if endpoint == Endpoint::ANY {
            return Err(Errno::EINVAL);
        }
        if special {
            // The kernel is in nobody's mask: one makes a kernel call instead.
            return Err(Errno::ECALLDENIED);
        }
        let peer = self.processes.find(endpoint).ok_or(Errno::EDEADSRCDST)?;
        let target = Notifier::Service(self.processes.process(peer).privileges);
        if !self.privileges_of(caller).send_to.contains(target) {
            return Err(Errno::ECALLDENIED);
        }
        Ok(Some(peer))
    }

    fn sendrec(&mut self, caller: Slot, peer: Slot, endpoint: Endpoint) -> Result<(), Errno> {
        match self.send(caller, peer, Primitive::SendRec)? {
            Outcome::Blocked => Ok(()),
            Outcome::Done => self.receive(caller, endpoint, true).map(|_| ()),
        }
    }

    fn send(&mut self, caller: Slot, to: Slot, primitive: Primitive) -> Result<Outcome, Errno> {
        let from = self.processes.process(caller).endpoint;
        if self.processes.process(to).would_receive_from(from) {
            self.deliver(caller, to, primitive);
            self.wake(to);
            return Ok(Outcome::Done);
        }
        if self.would_deadlock(caller, to, Half::Sending) {
            return Err(Errno::ELOCKED);
        }
        self.block(caller, Ipc::Sending { to, then_receives: primitive == Primitive::SendRec });
        self.processes.process_mut(to).callers.push_back(&mut self.links, caller);
        Ok(Outcome::Blocked)
    }

    fn receive(&mut self, caller: Slot, from: Endpoint, in_sendrec: bool) -> Result<Outcome, Errno> {
        if !in_sendrec && let Some(notifier) = self.pending_notification(caller, from) {
            self.processes.process_mut(caller).notifications.remove(notifier);
            self.deliver_notification(notifier, caller);
            return Ok(Outcome::Done);
        }
        if let Some(sender) = self.waiting_sender(caller, from) {
            self.take_from(sender, caller);
            return Ok(Outcome::Done);
        }
        if let Some(source) = self.processes.find(from)
            && self.would_deadlock(caller, source, Half::Receiving)
        {
            return Err(Errno::ELOCKED);
        }
        self.block(caller, Ipc::Receiving { from, in_sendrec });
        Ok(Outcome::Blocked)
    }

    /// Tells a process that something happened. Repeats of a notification that it has not yet
    /// received are one.
    pub(crate) fn notify(&mut self, notifier: Notifier, to: Slot) {
        let source = self.source_of(notifier);
        let receiver = self.processes.process_mut(to);
        if !receiver.would_be_notified_by(source) {
            receiver.notifications.insert(notifier);
            return;
        }
        self.deliver_notification(notifier, to);
        self.wake(to);
    }

    /// The notification that a receive from `from` would be given, if there is one.
    fn pending_notification(&self, receiver: Slot, from: Endpoint) -> Option<Notifier> {
        let pending = &self.processes.process(receiver).notifications;
        if from == Endpoint::ANY {
            return pending.first();
        }
        let wanted = Notifier::special(from).or_else(|| {
            let source = self.processes.find(from)?;
            Some(Notifier::Service(self.processes.process(source).privileges))
        })?;
        pending.contains(wanted).then_some(wanted)
    }

    /// The process that has waited longest to send to `receiver`.
    fn waiting_sender(&self, receiver: Slot, from: Endpoint) -> Option<Slot> {
        let callers = self.processes.process(receiver).callers;
        if from == Endpoint::ANY {
            return callers.front();
        }
        let sender = self.processes.find(from)?;
        let sends = matches!(self.processes.process(sender).ipc, Ipc::Sending { to, .. } if to == receiver);
        sends.then_some(sender)
    }

    /// Takes the message of a waiting sender, who goes on, or waits for the answer.
    fn take_from(&mut self, sender: Slot, receiver: Slot) {
        self.processes.process_mut(receiver).callers.remove(&mut self.links, sender);
        if let Ipc::Sending { then_receives: true, .. } = self.processes.process(sender).ipc {
            self.deliver(sender, receiver, Primitive::SendRec);
            let from = self.processes.process(receiver).endpoint;
            self.processes.process_mut(sender).ipc = Ipc::Receiving { from, in_sendrec: true };
        } else {
            self.deliver(sender, receiver, Primitive::Send);
            self.wake(sender);
        }
    }

    /// Copies the message registers, and writes what the receiver may believe.
    fn deliver(&mut self, from: Slot, to: Slot, primitive: Primitive) {
        let (from, to) = self.processes.pair_mut(from, to);
        let message = to.context.message_mut();
        *message = *from.context.message();
        message.source = from.endpoint;
        message.class = from.class;
        to.context.set_status(Status::sent_by(primitive));
    }

    fn deliver_notification(&mut self, notifier: Notifier, to: Slot) {
        let source = self.source_of(notifier);
        let class = match notifier {
            Notifier::Service(_) => {
                self.processes.find(source).map_or(Callers(0), |slot| self.processes.process(slot).class)
            }
            Notifier::Clock | Notifier::System | Notifier::Hardware => Callers::KERNEL,
        };
        let uptime_ns = self.machine.uptime_ns();
        let receiver = self.processes.process_mut(to);
        let pending = match notifier {
            Notifier::Hardware => core::mem::take(&mut receiver.irqs_pending),
            Notifier::System => self.requests.pending(to),
            Notifier::Clock | Notifier::Service(_) => 0,
        };
        *receiver.context.message_mut() = Notification { uptime_ns, pending }.to_message(source);
        receiver.context.message_mut().class = class;
        receiver.context.set_status(Status::from_kernel(Primitive::Notify));
    }

    fn source_of(&self, notifier: Notifier) -> Endpoint {
        match notifier {
            Notifier::Clock => Endpoint::CLOCK,
            Notifier::System => Endpoint::SYSTEM,
            Notifier::Hardware => Endpoint::HARDWARE,
            Notifier::Service(id) => self.privileges[id.index()].owner,
        }
    }

    /// Tells whether waiting for `peer` would close a circle of processes that wait for each other.
    ///
    /// Two processes of which one sends and the other receives are no such circle: they meet.
    fn would_deadlock(&self, caller: Slot, peer: Slot, half: Half) -> bool {
        let mut at = peer;
        for length in 2..=self.processes.len() + 1 {
            let Some((next, next_half)) = self.waits_for(at) else { return false };
            if next == caller {
                return length > 2 || half == next_half;
            }
            at = next;
        }
        // Longer than there are processes: a circle without the caller, which nothing can leave.
        true
    }

    /// The one process that a process waits for.
    fn waits_for(&self, slot: Slot) -> Option<(Slot, Half)> {
        match self.processes.process(slot).ipc {
            Ipc::Idle => None,
            Ipc::Sending { to, .. } => Some((to, Half::Sending)),
            Ipc::Receiving { from, .. } => Some((self.processes.find(from)?, Half::Receiving)),
        }
    }

    /// Lets a process that was [idle](Ipc::Idle) wait until [`Kernel::wake`].
    fn block(&mut self, slot: Slot, ipc: Ipc) {
        let process = self.processes.process_mut(slot);
        let (was_ready, priority) = (process.is_ready(), process.priority);
        process.ipc = ipc;
        if was_ready {
            self.ready.leave(&mut self.links, slot, priority);
        }
    }

    /// Ends the wait of a process, which goes on unless something stops it.
    pub(crate) fn wake(&mut self, slot: Slot) {
        let process = self.processes.process_mut(slot);
        process.ipc = Ipc::Idle;
        if process.stops.is_empty() {
            let priority = process.priority;
            self.ready.enter(&mut self.links, slot, priority);
        }
    }

    /// Stops a process until all of these reasons are [gone](Kernel::resume).
    pub fn stop(&mut self, slot: Slot, reasons: Stops) {
        let process = self.processes.process_mut(slot);
        let (was_ready, priority) = (process.is_ready(), process.priority);
        process.stops = process.stops.with(reasons);
        if was_ready {
            self.ready.leave(&mut self.links, slot, priority);
        }
    }

    /// These reasons stop a process no longer; it goes on if there is no other.
    pub fn resume(&mut self, slot: Slot, reasons: Stops) {
        let process = self.processes.process_mut(slot);
        let was_ready = process.is_ready();
        process.stops = process.stops.without(reasons);
        if !was_ready && process.is_ready() {
            let priority = process.priority;
            self.ready.enter(&mut self.links, slot, priority);
        }
    }
}

#[cfg(test)]
mod tests;
