//! The IPC primitives.
//!
//! A message lies in the message registers of its sender until the receiver takes it; taking it
//! copies 128 bytes from one saved state to the other. Order of checks and of delivery follow
//! MINIX 3, so that its documentation holds: notifications come before asynchronous messages,
//! and these before senders that wait.
//!
//! The shortest way through `sendrec` and `reply_receive` is inlined into the kernel's loop, and
//! nothing else is: after each change of address space QEMU looks up every page and every block of
//! code anew, so a round trip should touch few of them.

mod circles;
pub mod filter;
pub(crate) mod mail;

use crate::Kernel;
use crate::machine::{Context, Machine};
use crate::privilege::{Notifier, Privileges};
use crate::process::{Ipc, Process, Slot, Stops};
use crate::recorder::Recorder;
use abi::ipc::{AsyncFlags, Primitive, Status};
use abi::notification::Notification;
use abi::{Callers, Endpoint, Errno, Message};
use mail::Letter;

pub(crate) use circles::Half;

impl<M: Machine> Kernel<M> {
    /// A process asked for the primitive of that number.
    #[inline]
    pub fn trap(&mut self, caller: Slot, number: u64, endpoint: Endpoint) {
        if self.has_traced_calls && self.stop_at_call(caller, number, endpoint) {
            return;
        }
        // Not part of the `match`, which would look into a table on a page of its own.
        let outcome = if number == Primitive::SendRec as u64 {
            self.sendrec(caller, endpoint)
        } else if number == Primitive::ReplyReceive as u64 {
            self.reply_receive(caller, endpoint)
        } else {
            self.other_primitive(caller, number, endpoint)
        };
        if let Err(error) = outcome {
            self.return_to(caller, Err(error));
        }
    }

    #[inline(never)]
    fn other_primitive(&mut self, caller: Slot, number: u64, endpoint: Endpoint) -> Result<(), Errno> {
        match Primitive::from_number(number) {
            Some(Primitive::KernelCall) => self.kernel_call(caller),
            Some(Primitive::Receive) => self.check_and_receive(caller, endpoint),
            Some(primitive @ (Primitive::Send | Primitive::SendNb)) => self.send(caller, endpoint, primitive),
            Some(Primitive::Notify) => self.check_and_notify(caller, endpoint),
            // Two of these have been dealt with.
            Some(Primitive::SendRec | Primitive::ReplyReceive | Primitive::SendA) | None => {
                let flags = AsyncFlags::from_trap(number).ok_or(Errno::EBADCALL)?;
                self.send_asynchronously(caller, endpoint, flags)
            }
        }
    }

    /// Sets what the primitive that a process is in will return.
    pub(crate) fn return_to(&mut self, slot: Slot, outcome: Result<(), Errno>) {
        let result = outcome.map_or_else(Errno::to_status, |()| 0);
        self.processes.process_mut(slot).context.set_result(result);
    }

    #[inline(never)]
    fn kernel_call(&mut self, caller: Slot) -> Result<(), Errno> {
        if !self.privileges_of(caller).may_use(Primitive::KernelCall) {
            return Err(Errno::ETRAPDENIED);
        }
        self.return_to(caller, Ok(()));
        self.call(caller);
        Ok(())
    }

    #[inline]
    fn sendrec(&mut self, caller: Slot, endpoint: Endpoint) -> Result<(), Errno> {
        let Parties { peer, from, to, recorder } = self.parties(caller, endpoint, Primitive::SendRec)?;
        if !to.would_take(from) {
            return self.queue(caller, peer, Ipc::Sending { to: peer, then_receives: true });
        }
        if !to.stops.is_empty() {
            return self.sendrec_to_stopped(caller, endpoint, peer);
        }
        deliver(from, to, endpoint, Primitive::SendRec, recorder);
        to.ipc = Ipc::Idle;
        if !from.mailbox.is_empty() {
            // The answer may be there already.
            self.enter_ready(peer);
            return self.receive(caller, endpoint, true);
        }
        from.ipc = Ipc::Receiving { from: endpoint, in_sendrec: true };
        from.usage.waits = from.usage.waits.wrapping_add(1);
        let (priority, are_alike) = (from.priority, from.priority == to.priority);
        if !(are_alike && self.ready.exchange_only(caller, peer, priority)) {
            self.hand_over(caller, priority, peer);
        }
        Ok(())
    }

    /// It takes the message now, but something stops it: so it may be the caller that it waits for in truth. Its wait for the
    /// message itself is in no circle, and goes on whatever is done about one.
    #[cold]
    fn sendrec_to_stopped(&mut self, caller: Slot, endpoint: Endpoint, peer: Slot) -> Result<(), Errno> {
        if self.closes_circle(caller, peer, Half::Sending) {
            return Err(Errno::ELOCKED);
        }
        let Parties { from, to, recorder, .. } = self.parties(caller, endpoint, Primitive::SendRec)?;
        deliver(from, to, endpoint, Primitive::SendRec, recorder);
        self.wake(peer);
        self.receive(caller, endpoint, true)
    }

    /// Answers a process that waits for it, and receives from anybody.
    #[inline]
    fn reply_receive(&mut self, caller: Slot, endpoint: Endpoint) -> Result<(), Errno> {
        match self.parties(caller, endpoint, Primitive::ReplyReceive) {
            Ok(Parties { peer, from, to, recorder }) if to.would_take(from) => {
                deliver(from, to, endpoint, Primitive::SendNb, recorder);
                to.ipc = Ipc::Idle;
                if from.has_no_mail() {
                    from.ipc = Ipc::Receiving { from: Endpoint::ANY, in_sendrec: false };
                    from.usage.waits = from.usage.waits.wrapping_add(1);
                    let (priority, are_alike) = (from.priority, are_alike(from, to));
                    if !(are_alike && self.ready.exchange_only(caller, peer, priority)) {
                        self.hand_over(caller, priority, peer);
                    }
                    return Ok(());
                }
                self.enter_ready(peer);
            }
            // Whoever asked has given up.
            Ok(_) => {}
            Err(error) => self.check_lost_reply(caller, error)?,
        }
        self.receive(caller, Endpoint::ANY, false)
    }

    /// An answer can't be sent: because whoever asked has died, which is no reason not to receive?
    #[cold]
    fn check_lost_reply(&mut self, caller: Slot, error: Errno) -> Result<(), Errno> {
        if error != Errno::EDEADSRCDST {
            return Err(error);
        }
        if !self.privileges_of(caller).may_use(Primitive::ReplyReceive) {
            return Err(Errno::ETRAPDENIED);
        }
        self.return_to(caller, Ok(()));
        Ok(())
    }

    #[inline(never)]
    fn send(&mut self, caller: Slot, endpoint: Endpoint, primitive: Primitive) -> Result<(), Errno> {
        let Parties { peer, from, to, recorder } = self.parties(caller, endpoint, primitive)?;
        if to.would_take(from) {
            deliver(from, to, endpoint, primitive, recorder);
            self.wake(peer);
            return Ok(());
        }
        if primitive == Primitive::SendNb {
            return Err(Errno::ENOTREADY);
        }
        self.queue(caller, peer, Ipc::Sending { to: peer, then_receives: false })
    }

    #[inline(never)]
    fn check_and_notify(&mut self, caller: Slot, endpoint: Endpoint) -> Result<(), Errno> {
        let Parties { peer, from, .. } = self.parties(caller, endpoint, Primitive::Notify)?;
        let notifier = Notifier::Service(from.privileges);
        self.notify(notifier, peer);
        Ok(())
    }

    /// Both sides of a message from a running process, if it may be sent. The first check that
    /// fails gives the error.
    #[inline]
    fn parties(
        &mut self,
        caller: Slot,
        endpoint: Endpoint,
        primitive: Primitive,
    ) -> Result<Parties<'_, M>, Errno> {
        let peer = self.processes.find(endpoint).ok_or_else(|| why_no_process(endpoint))?;
        // Nobody may send to itself.
        let (from, to) = self.processes.pair_mut(caller, peer).ok_or(Errno::ECALLDENIED)?;
        let rights: &Privileges = &self.privileges[from.privileges.index()];
        if !rights.send_to.contains(Notifier::Service(to.privileges)) {
            return Err(Errno::ECALLDENIED);
        }
        if !rights.may_use(primitive) {
            return Err(Errno::ETRAPDENIED);
        }
        // What waits now goes on with this result, unless its partner dies.
        from.context.set_result(0);
        Ok(Parties { peer, from, to, recorder: &mut self.recorder })
    }

    /// Lets a sender wait until the receiver takes its message.
    #[inline(never)]
    fn queue(&mut self, caller: Slot, to: Slot, ipc: Ipc) -> Result<(), Errno> {
        if self.closes_circle(caller, to, Half::Sending) {
            return Err(Errno::ELOCKED);
        }
        self.block(caller, ipc);
        self.processes.process_mut(to).callers.push_back(&mut self.links, caller);
        Ok(())
    }

    #[inline(never)]
    fn check_and_receive(&mut self, caller: Slot, from: Endpoint) -> Result<(), Errno> {
        let is_known =
            from == Endpoint::ANY || Notifier::special(from).is_some() || self.processes.find(from).is_some();
        if !is_known {
            return Err(Errno::EDEADSRCDST);
        }
        if !self.privileges_of(caller).may_use(Primitive::Receive) {
            return Err(Errno::ETRAPDENIED);
        }
        self.return_to(caller, Ok(()));
        self.receive(caller, from, false)
    }

    #[inline(never)]
    pub(crate) fn receive(&mut self, caller: Slot, from: Endpoint, in_sendrec: bool) -> Result<(), Errno> {
        if !in_sendrec && let Some(notifier) = self.pending_notification(caller, from) {
            self.processes.process_mut(caller).notifications.remove(notifier);
            self.deliver_notification(notifier, caller);
            return Ok(());
        }
        if let Some(letter) = self.pending_letter(caller, from, in_sendrec) {
            self.deliver_letter(&letter, caller);
            self.account_for(&letter, Fate::Taken);
            return Ok(());
        }
        if let Some(sender) = self.waiting_sender(caller, from) {
            self.take_from(sender, caller);
            return Ok(());
        }
        if let Some(source) = self.processes.find(from)
            && self.closes_circle(caller, source, Half::Receiving)
        {
            return Err(Errno::ELOCKED);
        }
        self.block(caller, Ipc::Receiving { from, in_sendrec });
        Ok(())
    }

    /// Tells a process that something happened. Repeats of a notification that it has not yet
    /// received are one.
    pub(crate) fn notify(&mut self, notifier: Notifier, to: Slot) {
        let (source, class) = self.source_of(notifier);
        let receiver = self.processes.process_mut(to);
        if !receiver.would_be_notified_by(source, class) {
            receiver.notifications.insert(notifier);
            return;
        }
        self.deliver_notification(notifier, to);
        self.wake(to);
    }

    /// The notification that a receive from `from` would be given, if there is one.
    fn pending_notification(&self, receiver: Slot, from: Endpoint) -> Option<Notifier> {
        let process = self.processes.process(receiver);
        let is_admitted = |notifier: &Notifier| {
            let (source, class) = self.source_of(*notifier);
            process.admits(source, class, Notification::NUMBER)
        };
        if from == Endpoint::ANY {
            return process.notifications.iter().find(is_admitted);
        }
        let wanted = Notifier::special(from).or_else(|| {
            let source = self.processes.find(from)?;
            Some(Notifier::Service(self.processes.process(source).privileges))
        })?;
        // One of the programs' is from nobody in particular: the one that is asked for need not have notified.
        let is_meant =
            |notifier| process.notifications.contains(notifier) && self.source_of(notifier).0 == from;
        (is_meant(wanted) && is_admitted(&wanted)).then_some(wanted)
    }

    /// The process that has waited longest to send what `receiver` would take.
    fn waiting_sender(&self, receiver: Slot, from: Endpoint) -> Option<Slot> {
        let process = self.processes.process(receiver);
        let is_admitted = |sender: &Slot| {
            let sender = self.processes.process(*sender);
            let (class, number) = sender.says();
            process.admits(sender.endpoint, class, number)
        };
        if from == Endpoint::ANY {
            return process.callers.iter(&self.links).find(is_admitted);
        }
        let sender = self.processes.find(from)?;
        let sends = matches!(self.processes.process(sender).ipc, Ipc::Sending { to, .. } if to == receiver);
        (sends && is_admitted(&sender)).then_some(sender)
    }

    /// Takes the message of a waiting sender, who goes on, or waits for the answer.
    fn take_from(&mut self, sender: Slot, receiver: Slot) {
        self.processes.process_mut(receiver).callers.remove(&mut self.links, sender);
        let (from, to) = self.processes.pair_mut(sender, receiver).expect("nobody waits to send to itself");
        if let Ipc::Sending { then_receives: true, .. } = from.ipc {
            deliver(from, to, to.endpoint, Primitive::SendRec, &mut self.recorder);
            from.ipc = Ipc::Receiving { from: to.endpoint, in_sendrec: true };
            self.receive_half(sender);
        } else if from.stops.contains(Stops::PAGE_FAULT) {
            self.deliver_page_fault(sender, receiver);
            self.wake(sender);
        } else {
            deliver(from, to, to.endpoint, Primitive::Send, &mut self.recorder);
            self.wake(sender);
        }
        if self.processes.process(sender).signals.is_delayed() {
            self.end_delay(sender);
        }
    }

    /// A process in `sendrec` comes to wait for the answer: it may be there already, as a letter.
    fn receive_half(&mut self, slot: Slot) {
        let process = self.processes.process(slot);
        let Ipc::Receiving { from, in_sendrec } = process.ipc else { return };
        if !process.mailbox.is_empty()
            && let Some(letter) = self.pending_letter(slot, from, in_sendrec)
        {
            self.deliver_letter(&letter, slot);
            self.wake(slot);
            self.account_for(&letter, Fate::Taken);
        }
    }

    fn deliver_notification(&mut self, notifier: Notifier, to: Slot) {
        let (source, class) = self.source_of(notifier);
        let uptime_ns = self.machine.uptime_ns();
        let receiver = self.processes.process_mut(to);
        let pending = match notifier {
            Notifier::Hardware => core::mem::take(&mut receiver.irqs_pending),
            Notifier::Asynchronous => core::mem::take(&mut receiver.mail_over).to_pending(),
            Notifier::System => receiver.signals.take_kernel_signals(),
            Notifier::Clock | Notifier::Service(_) => 0,
        };
        let message = Notification { uptime_ns, pending }.to_message(source);
        let message = Message { class, ..message };
        *receiver.context.message_mut() = message;
        receiver.context.set_status(Status::from_kernel(Primitive::Notify));
        let endpoint = receiver.endpoint;
        self.record(source, endpoint, &message);
    }

    /// Who a notification is from, and what that is.
    fn source_of(&self, notifier: Notifier) -> (Endpoint, Callers) {
        match notifier {
            Notifier::Asynchronous => (Endpoint::ASYNCM, Callers::KERNEL),
            Notifier::Clock => (Endpoint::CLOCK, Callers::KERNEL),
            Notifier::System => (Endpoint::SYSTEM, Callers::KERNEL),
            Notifier::Hardware => (Endpoint::HARDWARE, Callers::KERNEL),
            Notifier::Service(id) => {
                let source = self.privileges[id.index()].owner;
                let class = self.processes.find(source).map(|slot| self.processes.process(slot).class);
                (source, class.unwrap_or_default())
            }
        }
    }

    /// Hands a message to the kernel, or to the receiver if it waits for it.
    #[inline(never)]
    fn send_asynchronously(
        &mut self,
        caller: Slot,
        endpoint: Endpoint,
        flags: AsyncFlags,
    ) -> Result<(), Errno> {
        let sender = self.processes.process(caller);
        if sender.class.admits(Callers::PROGRAM) {
            return Err(Errno::EPERM);
        }
        let endpoint = if endpoint == Endpoint::SELF { sender.endpoint } else { endpoint };
        let peer = self.processes.find(endpoint).ok_or_else(|| why_no_process(endpoint))?;
        let target = Notifier::Service(self.processes.process(peer).privileges);
        if peer != caller && !self.privileges_of(caller).send_to.contains(target) {
            return Err(Errno::ECALLDENIED);
        }
        if !self.privileges_of(caller).may_use(Primitive::SendA) {
            return Err(Errno::ETRAPDENIED);
        }
        let message = Message { source: sender.endpoint, class: sender.class, ..*sender.context.message() };
        let letter = Letter { message, status: Status::sent_by(Primitive::SendA), from: caller, flags };
        self.post(peer, letter).map_err(|mail::Full| Errno::ENOBUFS)?;
        let usage = &mut self.processes.process_mut(caller).usage;
        usage.messages = usage.messages.wrapping_add(1);
        self.return_to(caller, Ok(()));
        Ok(())
    }

    /// Delivers a letter, now or when its receiver takes it.
    pub(crate) fn post(&mut self, to: Slot, letter: Letter) -> Result<(), mail::Full> {
        if self.would_take_letter(to, &letter) {
            self.deliver_letter(&letter, to);
            self.wake(to);
            self.tell_fate(&letter, Fate::Taken);
            return Ok(());
        }
        let from = letter.from;
        let mut sent = self.processes.process(from).mail_sent;
        self.mail.push(&mut sent, &mut self.processes.process_mut(to).mailbox, letter)?;
        self.processes.process_mut(from).mail_sent = sent;
        Ok(())
    }

    /// Tells whether a process waits for that letter.
    pub(crate) fn would_take_letter(&self, to: Slot, letter: &Letter) -> bool {
        let receiver = self.processes.process(to);
        let Ipc::Receiving { from, in_sendrec } = receiver.ipc else { return false };
        suits(receiver, letter, from, in_sendrec)
    }

    /// Takes out the letter that a receive from `from` would be given, if there is one.
    fn pending_letter(&mut self, receiver: Slot, from: Endpoint, in_sendrec: bool) -> Option<Letter> {
        let process = self.processes.process_mut(receiver);
        if process.mailbox.is_empty() {
            return None;
        }
        let mut mailbox = process.mailbox;
        let letter = self.mail.take(&mut mailbox, |letter| suits(process, letter, from, in_sendrec));
        process.mailbox = mailbox;
        letter
    }

    fn deliver_letter(&mut self, letter: &Letter, to: Slot) {
        let receiver = self.processes.process_mut(to);
        *receiver.context.message_mut() = letter.message;
        receiver.context.set_status(letter.status);
        let endpoint = receiver.endpoint;
        self.record(letter.message.source, endpoint, &letter.message);
    }

    /// A letter has left its queue.
    fn account_for(&mut self, letter: &Letter, fate: Fate) {
        self.processes.process_mut(letter.from).mail_sent.count_out(letter);
        self.tell_fate(letter, fate);
    }

    /// Tells the sender of a letter what became of it, if it wants to know.
    fn tell_fate(&mut self, letter: &Letter, fate: Fate) {
        let sender = self.processes.process_mut(letter.from);
        let wanted = match fate {
            Fate::Taken => AsyncFlags::NOTIFY,
            Fate::Lost => AsyncFlags::NOTIFY.with(AsyncFlags::NOTIFY_ERROR),
        };
        if letter.flags.contains(wanted) {
            sender.mail_over.over = sender.mail_over.over.saturating_add(1);
            sender.mail_over.lost = sender.mail_over.lost.saturating_add(u32::from(fate == Fate::Lost));
            self.notify(Notifier::Asynchronous, letter.from);
        }
    }

    /// Drops what is on its way to a process, and tells the senders that it is lost.
    pub(crate) fn lose_letters_to(&mut self, receiver: Slot) {
        let mut mailbox = core::mem::take(&mut self.processes.process_mut(receiver).mailbox);
        while let Some(letter) = self.mail.take(&mut mailbox, |_| true) {
            self.account_for(&letter, Fate::Lost);
        }
    }

    /// Drops those letters of a process that are meant and that nobody has taken yet.
    pub(crate) fn drop_letters(&mut self, sender: Slot, is_meant: impl Fn(&Letter) -> bool) {
        let mut sent = self.processes.process(sender).mail_sent;
        if sent.is_nothing() {
            return;
        }
        let is_wanted = |letter: &Letter| letter.from == sender && is_meant(letter);
        for (_, receiver) in self.processes.iter_mut() {
            self.mail.take_all(&mut receiver.mailbox, is_wanted, |letter| sent.count_out(letter));
        }
        self.processes.process_mut(sender).mail_sent = sent;
    }

    /// A running process comes to wait, and another one, which waited, goes on. The states are
    /// theirs already.
    #[inline(never)]
    fn hand_over(&mut self, from: Slot, priority: u8, to: Slot) {
        self.ready.leave(&mut self.links, from, priority);
        self.enter_ready(to);
    }

    /// Lets a process run whose wait has just ended, unless something stops it.
    fn enter_ready(&mut self, slot: Slot) {
        let process = self.processes.process_mut(slot);
        if process.stops.is_empty() {
            let priority = process.priority;
            self.ready.enter(&mut self.links, slot, priority);
        }
    }

    /// Lets a process that was [idle](Ipc::Idle) wait until [`Kernel::wake`].
    pub(crate) fn block(&mut self, slot: Slot, ipc: Ipc) {
        let process = self.processes.process_mut(slot);
        let (was_ready, priority) = (process.is_ready(), process.priority);
        process.ipc = ipc;
        process.usage.waits = process.usage.waits.wrapping_add(1);
        if was_ready {
            self.ready.leave(&mut self.links, slot, priority);
        }
    }

    /// Ends the wait of a process, which goes on unless something stops it.
    pub(crate) fn wake(&mut self, slot: Slot) {
        self.processes.process_mut(slot).ipc = Ipc::Idle;
        self.enter_ready(slot);
    }

    /// Ends the wait of a process without an answer, and whatever it wanted to say.
    pub(crate) fn cancel(&mut self, slot: Slot) {
        match self.processes.process(slot).ipc {
            Ipc::Idle => return,
            Ipc::Sending { to, .. } => self.processes.process_mut(to).callers.remove(&mut self.links, slot),
            Ipc::Receiving { .. } => {}
        }
        self.wake(slot);
        self.end_delay(slot);
    }

    /// The same, with an error for an answer.
    pub(crate) fn cancel_with(&mut self, slot: Slot, error: Errno) {
        self.cancel(slot);
        self.processes.process_mut(slot).context.set_result(error.to_status());
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

/// What became of a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// The receiver has it.
    Taken,
    /// Nobody will ever have it.
    Lost,
}

/// Both sides of a message.
struct Parties<'a, M: Machine> {
    peer: Slot,
    from: &'a mut Process<M>,
    to: &'a mut Process<M>,
    recorder: &'a mut Recorder,
}

/// The error of sending to an endpoint that is no process's.
#[cold]
const fn why_no_process(endpoint: Endpoint) -> Errno {
    match endpoint {
        Endpoint::ANY => Errno::EINVAL,
        // The kernel is in nobody's mask: one makes a kernel call instead.
        Endpoint::ASYNCM | Endpoint::CLOCK | Endpoint::SYSTEM | Endpoint::HARDWARE => Errno::ECALLDENIED,
        _ => Errno::EDEADSRCDST,
    }
}

/// Tells whether a process that goes on may take the place of one that comes to wait.
#[inline]
fn are_alike<M: Machine>(from: &Process<M>, to: &Process<M>) -> bool {
    from.priority == to.priority && to.stops.is_empty()
}

/// Copies the message registers, and writes what the receiver may believe.
#[inline]
fn deliver<M: Machine>(
    from: &mut Process<M>,
    to: &mut Process<M>,
    endpoint: Endpoint,
    primitive: Primitive,
    recorder: &mut Recorder,
) {
    from.usage.messages = from.usage.messages.wrapping_add(1);
    let message = to.context.message_mut();
    *message = *from.context.message();
    message.source = from.endpoint;
    message.class = from.class;
    to.context.set_status(Status::sent_by(primitive));
    recorder.record(from.endpoint, endpoint, to.context.message());
}

/// Tells whether a receive from `from` would take the letter.
fn suits<M: Machine>(receiver: &Process<M>, letter: &Letter, from: Endpoint, in_sendrec: bool) -> bool {
    let Message { source, class, number, .. } = letter.message;
    (from == Endpoint::ANY || from == source)
        && !(in_sendrec && letter.flags.contains(AsyncFlags::NO_REPLY))
        && receiver.admits(source, class, number)
}

#[cfg(test)]
pub(crate) mod tests;
