//! Memory requests: kernel calls that wait until VM has seen to a page.
//!
//! Such a caller is [stopped](Stops::MEMORY_REQUEST), its request stays in its message registers,
//! and how far it came is in its [`OpenCall`]. VM is notified, takes the requests in the
//! order they were made, and tells what became of each. Then the call goes on when it is its
//! caller's turn. The death of anybody that it needs ends it. A call that reaches for memory which
//! VM holds waits likewise, without a request: VM knows what it holds, and lets go of it.

use super::{OpenCall, Parked, Parties, Side, State};
use crate::Kernel;
use crate::ipc::Half;
use crate::list::{Links, List};
use crate::machine::Machine;
use crate::process::{Slot, Stops};
use abi::notification::Notification;
use abi::protocols::kernel;
use abi::{Answer, Callers, Endpoint, Errno, Message, RequestOutcome, Signal};

/// Requests that VM has not taken.
#[derive(Debug)]
pub(crate) struct Requests {
    /// Not those of the other queues: a process may be in one of them for another reason.
    links: Links,
    queue: List,
    next: u64,
}

/// What a caller waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    number: u64,
    target: Endpoint,
    start: u64,
    len: u64,
    side: Side,
    /// VM works on it, so it is in no queue.
    is_taken: bool,
    /// Whose death ends the call.
    pub(super) parties: Parties,
}

/// What a call needs of VM before it can go on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Need {
    /// A page, and who else takes part in the call.
    Page(Page, [Option<Slot>; 2]),
    /// That VM lets go of memory that it holds.
    Release {
        /// Whose memory.
        held: Slot,
        /// Who takes part in the call.
        parties: Parties,
    },
}

/// A page that is missing, and what is wanted behind it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Page {
    /// Whose memory.
    pub(crate) target: Slot,
    /// From where on.
    pub(crate) start: u64,
    /// How much: all that the call has yet to reach, so that VM can bring it at once. VM answers for all of it, and
    /// a part that is no memory makes all of it illegal.
    pub(crate) len: u64,
    /// To be written, if it is the target.
    pub(crate) side: Side,
}

impl Requests {
    pub(crate) fn new(slots: usize) -> Self {
        Self { links: Links::new(slots), queue: List::default(), next: 1 }
    }
}

impl<M: Machine> Kernel<M> {
    /// Lets a caller wait for VM, if that is of any use.
    pub(crate) fn ask_vm(&mut self, caller: Slot, need: Need) -> Result<(), Errno> {
        let vm = self.vm().ok_or(Errno::EFAULT)?;
        if !self.can_help(vm, caller, Half::Deed) {
            return Err(Errno::EFAULT);
        }
        let (page, others) = match need {
            Need::Page(page, others) => (page, others),
            Need::Release { held, parties } => {
                self.processes.process_mut(caller).memory.call.parked = Parked::ForRelease { held, parties };
                self.stop(caller, Stops::MEMORY_REQUEST);
                self.end_circle(vm, Errno::ELOCKED);
                return Ok(());
            }
        };
        let Page { target, start, len, side } = page;
        let number = self.requests.next;
        self.requests.next += 1;
        let process = self.processes.process(target);
        let request = Request {
            number,
            target: process.endpoint,
            start,
            len,
            side,
            is_taken: false,
            parties: Parties([Some(target), others[0], others[1]]),
        };
        self.processes.process_mut(caller).memory.call.parked = Parked::ForVm(request);
        self.stop(caller, Stops::MEMORY_REQUEST);
        self.requests.queue.push_back(&mut self.requests.links, caller);
        self.kernel_signal(vm, Signal::KMEM);
        self.end_circle(vm, Errno::ELOCKED);
        Ok(())
    }

    pub(crate) fn take_request(&mut self, vm: Slot) -> Result<kernel::vm_memory_request_get::Reply, Errno> {
        // Who has filtered out that it is told of requests is to hear of none.
        if !self.processes.process(vm).admits(Endpoint::SYSTEM, Callers::KERNEL, Notification::NUMBER) {
            return Err(Errno::ENOENT);
        }
        let caller = self.requests.queue.front().ok_or(Errno::ENOENT)?;
        self.requests.queue.remove(&mut self.requests.links, caller);
        let process = self.processes.process_mut(caller);
        let requestor = process.endpoint;
        let Parked::ForVm(request) = &mut process.memory.call.parked else { return Err(Errno::ENOENT) };
        request.is_taken = true;
        let Request { number, target, start, len, side, .. } = *request;
        let is_written = side == Side::Target;
        Ok(kernel::vm_memory_request_get::Reply {
            requestor,
            request: number,
            target,
            start,
            len,
            is_written,
        })
    }

    pub(crate) fn finish_request(
        &mut self,
        requestor: Endpoint,
        number: u64,
        outcome: RequestOutcome,
    ) -> Result<(), Errno> {
        let slot = self.processes.find(requestor).ok_or(Errno::ESRCH)?;
        let request = self.processes.process(slot).memory.call.parked.request();
        let request = request.filter(|request| request.is_taken && request.number == number);
        let parties = request.ok_or(Errno::ESRCH)?.parties;
        match outcome {
            RequestOutcome::Ready => {
                self.processes.process_mut(slot).memory.call.parked = Parked::ForTurn(parties);
                self.resume(slot, Stops::MEMORY_REQUEST);
            }
            RequestOutcome::Illegal => self.end_request(slot, Errno::EFAULT),
            RequestOutcome::OutOfMemory => self.end_request(slot, Errno::ENOMEM),
            RequestOutcome::Unreadable => self.end_request(slot, Errno::EIO),
        }
        Ok(())
    }

    /// A process ends, or its memory does: nobody waits for it any longer, nor it for anybody.
    pub(crate) fn forget_requests(&mut self, ended: Slot) {
        self.leave_queue(ended);
        let was_vm = self.vm() == Some(ended);
        for slot in self.processes.slots() {
            let Some(process) = self.processes.get(slot).filter(|_| slot != ended) else { continue };
            let parked = &process.memory.call.parked;
            if !parked.needs_vm() {
                continue;
            }
            if was_vm {
                self.end_request(slot, Errno::EFAULT);
            } else if parked.involves(ended) {
                self.end_request(slot, Errno::EINVAL);
            }
        }
    }

    /// VM has let go of a process's memory: calls that waited for that go on.
    pub(crate) fn release(&mut self, released: Slot) {
        for slot in self.processes.slots() {
            let Some(process) = self.processes.get_mut(slot) else { continue };
            let parked = &mut process.memory.call.parked;
            match *parked {
                Parked::ForRelease { held, parties } if held == released => {
                    *parked = Parked::ForTurn(parties);
                    self.resume(slot, Stops::MEMORY_REQUEST);
                }
                _ => {}
            }
        }
    }

    /// Lets VM take once more what it took and has not answered.
    pub(crate) fn repeat_requests(&mut self) {
        let Some(vm) = self.vm() else { return };
        for (slot, process) in self.processes.iter_mut() {
            if let Parked::ForVm(request) = &mut process.memory.call.parked
                && request.is_taken
            {
                request.is_taken = false;
                self.requests.queue.push_back(&mut self.requests.links, slot);
            }
        }
        self.tell_vm_of_requests(vm);
    }

    /// Tells VM that there are requests, if there are.
    pub(crate) fn tell_vm_of_requests(&mut self, vm: Slot) {
        if self.requests.queue.front().is_some() {
            self.kernel_signal(vm, Signal::KMEM);
        }
    }

    /// Forgets the kernel call of a process that goes on somewhere else, and its grants.
    pub(crate) fn forget_call(&mut self, slot: Slot) {
        self.leave_queue(slot);
        let memory = &mut self.processes.process_mut(slot).memory;
        *memory = State { registrations: memory.registrations, ..State::default() };
        self.resume(slot, Stops::MEMORY_REQUEST);
        self.end_delay(slot);
    }

    /// Ends a call that waits, for VM or for its turn, with an error.
    pub(crate) fn end_request(&mut self, slot: Slot, error: Errno) {
        self.leave_queue(slot);
        let process = self.processes.process_mut(slot);
        process.memory.call = OpenCall::default();
        self.answer(slot, error);
        self.resume(slot, Stops::MEMORY_REQUEST);
        self.end_delay(slot);
    }

    /// Ends a caller's wait for VM. A call that waits for its turn alone still does.
    fn leave_queue(&mut self, slot: Slot) {
        let parked = &mut self.processes.process_mut(slot).memory.call.parked;
        let was = *parked;
        if was.needs_vm() {
            *parked = Parked::No;
        }
        if was.request().is_some_and(|request| !request.is_taken) {
            self.requests.queue.remove(&mut self.requests.links, slot);
        }
    }

    /// Answers the call in a process's message registers with an error.
    fn answer(&mut self, slot: Slot, error: Errno) {
        use crate::machine::Context;
        let message = self.processes.process_mut(slot).context.message_mut();
        let Answer { message: reply, .. } = Answer::refusal(message, error);
        *message = Message { source: Endpoint::SYSTEM, class: Callers::KERNEL, ..reply };
    }

    /// Goes on with a kernel call that [`Next::Continue`](crate::Next) named.
    pub fn go_on(&mut self, slot: Slot) {
        self.processes.process_mut(slot).memory.call.parked = Parked::No;
        self.call(slot);
        self.end_delay(slot);
    }
}

#[cfg(test)]
pub(crate) mod tests;
