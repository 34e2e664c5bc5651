//! Who runs next.
//!
//! Sixteen queues, the first served first; processes of one queue take turns. The process that
//! runs stays at the head of its queue until it blocks or has used up its quantum. Then the kernel
//! gives it another, or its scheduler does, a service that decides who is how important.

use crate::Kernel;
use crate::ipc::Half;
use crate::ipc::mail::{self, Letter};
use crate::list::{Links, List};
use crate::machine::Machine;
use crate::process::{Process, Slot, Stops};
use crate::signals::MANAGED;
use abi::ipc::{AsyncFlags, Primitive, Status};
use abi::protocols::{KEEP_PRIORITY, KEEP_QUANTUM, sched};
use abi::{Call, Callers, Endpoint, Errno, Message, Signal};

/// How many queues there are.
pub(crate) const PRIORITIES: usize = 16;

/// The processes that can run.
#[derive(Debug, Default)]
pub(crate) struct Ready {
    queues: [List; PRIORITIES],
    /// A bit for each queue that is not empty.
    occupied: u16,
    /// How many processes there are in all queues.
    count: u16,
}

impl Ready {
    /// Whose turn it is.
    #[inline]
    pub(crate) const fn first(&self) -> Option<Slot> {
        if self.occupied == 0 {
            return None;
        }
        self.queues[self.occupied.trailing_zeros() as usize].front()
    }

    /// Who is in a queue, and in which, by slots.
    #[cfg(test)]
    pub(crate) fn members(&self, links: &Links) -> Vec<(Slot, u8)> {
        let mut members = Vec::new();
        for (priority, queue) in (0..).zip(&self.queues) {
            assert_eq!(self.occupied & 1 << priority != 0, queue.front().is_some(), "queue {priority}");
            members.extend(queue.iter(links).map(|slot| (slot, priority)));
        }
        assert_eq!(members.len(), usize::from(self.count));
        members.sort_unstable_by_key(|(slot, _)| slot.number());
        members
    }

    /// Appends a process that can run from now on.
    pub(crate) fn enter(&mut self, links: &mut Links, slot: Slot, priority: u8) {
        let queue = usize::from(priority);
        self.queues[queue].push_back(links, slot);
        self.occupied |= 1 << queue;
        self.count += 1;
    }

    /// Puts one process into the place of another that is alone in its queue; tells whether it is.
    #[inline]
    pub(crate) fn exchange_only(&mut self, out: Slot, into: Slot, priority: u8) -> bool {
        self.queues[usize::from(priority)].exchange_only(out, into)
    }

    /// Takes out a process that can't run any longer.
    pub(crate) fn leave(&mut self, links: &mut Links, slot: Slot, priority: u8) {
        let queue = usize::from(priority);
        self.queues[queue].remove(links, slot);
        self.count -= 1;
        if self.queues[queue].front().is_none() {
            self.occupied &= !(1 << queue);
        }
    }
}

/// What a process has done with its quantum, for its scheduler.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Ticks that found it running.
    pub ticks: u32,
    /// Times that it came to wait.
    pub waits: u32,
    /// Times that an interrupt put a more urgent one in its place.
    pub preemptions: u32,
    /// Messages that it sent and that were taken.
    pub messages: u32,
}

/// Timers that run while their process does, in ticks; 0 if they don't.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timers {
    /// Raises `SIGVTALRM`.
    pub virtual_ticks: u64,
    /// Raises `SIGPROF`.
    pub profiling_ticks: u64,
}

impl Timers {
    /// Counts a tick; which timers have run out by it.
    fn tick(&mut self) -> impl Iterator<Item = Signal> + use<> {
        let run_out = |ticks: &mut u64, signal| {
            let is_last = *ticks == 1;
            *ticks = ticks.saturating_sub(1);
            is_last.then_some(signal)
        };
        let signals = [
            run_out(&mut self.virtual_ticks, Signal::VTALRM),
            run_out(&mut self.profiling_ticks, Signal::PROF),
        ];
        signals.into_iter().flatten()
    }
}

impl<M: Machine> Kernel<M> {
    /// A clock tick found `running` on the processor, or nobody.
    #[inline(never)]
    pub fn tick(&mut self, running: Option<Slot>) {
        self.ready_ticks += u64::from(self.ready.count);
        if let Some(slot) = running {
            self.charge(slot);
        }
        self.expire_alarms();
        self.tell_of_log();
    }

    /// An interrupt was dealt with that found a process running: is its turn another's now?
    pub fn count_preemption(&mut self, running: Slot) {
        let Some(first) = self.ready.first() else { return };
        let most_urgent = self.processes.process(first).priority;
        if let Some(process) = self.processes.get_mut(running)
            && process.is_ready()
            && most_urgent < process.priority
        {
            process.usage.preemptions = process.usage.preemptions.saturating_add(1);
        }
    }

    /// Takes a tick off the quantum of a process.
    fn charge(&mut self, slot: Slot) {
        let process = self.processes.process_mut(slot);
        process.user_ticks += 1;
        process.usage.ticks = process.usage.ticks.saturating_add(1);
        for signal in process.timers.tick() {
            // Who has no manager has set no timer; what has gone meanwhile needs no signal.
            let _ = self.cause_signal(slot, signal);
        }
        let process = self.processes.process_mut(slot);
        process.quantum_left = process.quantum_left.saturating_sub(1);
        if process.quantum_left > 0 {
            return;
        }
        match process.scheduler.and_then(|scheduler| self.processes.find(scheduler)) {
            Some(scheduler) => self.ask_for_quantum(slot, scheduler),
            None => self.renew_quantum(slot),
        }
    }

    /// Gives a process its next quantum, behind its equals.
    pub(crate) fn renew_quantum(&mut self, slot: Slot) {
        let process = self.processes.process_mut(slot);
        process.quantum_left = process.quantum_ticks;
        process.usage = Usage::default();
        if process.is_ready() {
            let priority = process.priority;
            self.ready.leave(&mut self.links, slot, priority);
            self.ready.enter(&mut self.links, slot, priority);
        }
    }

    /// Stops a process until its scheduler has decided.
    fn ask_for_quantum(&mut self, slot: Slot, scheduler: Slot) {
        let process = self.processes.process(slot);
        let Usage { ticks, waits, preemptions, messages } = process.usage;
        let priority = process.priority;
        let request = sched::no_quantum::Request { priority, ticks, waits, preemptions, messages };
        let message = Message { source: process.endpoint, class: Callers::KERNEL, ..request.to_message(0) };
        let letter = Letter {
            message,
            status: Status::from_kernel(Primitive::SendA),
            from: slot,
            flags: AsyncFlags::NO_REPLY,
        };
        // One that waits for just this goes on, unless it stands still itself.
        let stops = self.processes.process(scheduler).stops;
        let stands_still = stops.contains(MANAGED.with(Stops::NO_QUANTUM));
        let goes_on = !stands_still && self.would_take_letter(scheduler, &letter);
        let is_in_vain = !goes_on && self.would_deadlock(slot, scheduler, Half::Deed);
        // Better an unfair share of the processor than none.
        if is_in_vain || self.post(scheduler, letter) == Err(mail::Full) {
            self.renew_quantum(slot);
        } else {
            self.stop(slot, Stops::NO_QUANTUM);
        }
    }

    /// Gives a process a place among the others and a quantum; it goes on if it waited for one.
    pub(crate) fn schedule(&mut self, slot: Slot, priority: u8, quantum_ms: u32) -> Result<(), Errno> {
        let is_priority = usize::from(priority) < PRIORITIES || priority == KEEP_PRIORITY;
        if !is_priority || quantum_ms == 0 {
            return Err(Errno::EINVAL);
        }
        let quantum_ticks = (quantum_ms != KEEP_QUANTUM).then(|| ticks(&self.machine, quantum_ms));
        let process = self.processes.process_mut(slot);
        process.quantum_ticks = quantum_ticks.unwrap_or(process.quantum_ticks);
        let (was_ready, before) = (process.is_ready(), process.priority);
        if priority != KEEP_PRIORITY {
            process.priority = priority;
        }
        let now = process.priority;
        if was_ready && now != before {
            self.ready.leave(&mut self.links, slot, before);
            self.ready.enter(&mut self.links, slot, now);
        }
        self.renew_quantum(slot);
        self.go_on_waiting(slot, Stops::NO_QUANTUM);
        Ok(())
    }

    /// Tells whether a process is another one, or waits for its quanta, be it through others.
    pub(crate) fn is_scheduled_by(&self, process: Endpoint, other: Slot) -> bool {
        let mut at = self.processes.find(process);
        for _ in 0..self.processes.len() {
            let Some(slot) = at else { return false };
            if slot == other {
                return true;
            }
            at = self.processes.process(slot).scheduler.and_then(|scheduler| self.processes.find(scheduler));
        }
        // No circle is ever closed, so nobody is further away than there are processes.
        false
    }

    /// A scheduler has ended: the kernel schedules its processes from now on.
    pub(crate) fn schedule_without(&mut self, scheduler: Endpoint) {
        self.renew_quanta_from(scheduler);
        for (_, process) in
            self.processes.iter_mut().filter(|(_, process)| process.scheduler == Some(scheduler))
        {
            process.scheduler = None;
        }
    }

    /// A scheduler knows nothing of what it was asked before: those who wait for it go on.
    pub(crate) fn renew_quanta_from(&mut self, scheduler: Endpoint) {
        for slot in self.processes.slots() {
            let waits = |process: &Process<M>| {
                process.scheduler == Some(scheduler) && process.stops.contains(Stops::NO_QUANTUM)
            };
            if self.processes.get(slot).is_some_and(waits) {
                self.renew_quantum(slot);
                self.go_on_waiting(slot, Stops::NO_QUANTUM);
            }
        }
    }
}

/// The ticks of a quantum: at least one.
pub(crate) fn ticks<M: Machine>(machine: &M, quantum_ms: u32) -> u32 {
    let ticks = u64::from(quantum_ms) * u64::from(machine.tick_hz()) / 1000;
    u32::try_from(ticks).unwrap_or(u32::MAX).max(1)
}

/// The priority, brought into range.
pub(crate) fn priority(wanted: u8) -> u8 {
    const LOWEST: u8 = 15;
    const _: () = assert!(LOWEST as usize == PRIORITIES - 1);
    wanted.min(LOWEST)
}

#[cfg(test)]
mod tests {
    use crate::fake::{Fake, kernel, service};
    use crate::{Kernel, Next, Slot};
    use abi::boot;
    use abi::ipc::Primitive::Receive;
    use abi::protocols::kernel as calls;

    // row F1
    #[test]
    fn an_interrupt_that_wakes_a_more_urgent_process_is_a_preemption() {
        let mut kernel = kernel(&[boot::Process { priority: 3, ..service(0) }, service(1), service(2)]);
        let preemptions =
            |kernel: &Kernel<Fake>, slot| kernel.processes.process(Slot::new(slot)).usage.preemptions;
        kernel.allow_irq(boot::Irq { slot: 0, line: 4 }).unwrap();
        let attach = calls::irq_attach::Request { line: 4, bit: 0, reenable: true };
        assert!(kernel.asks(0, &attach).ends_with("= {}"));
        assert_eq!(kernel.traps(0, Receive, abi::Endpoint::ANY), None);
        // It wakes nobody.
        kernel.interrupt(5);
        kernel.count_preemption(Slot::new(1));
        assert_eq!((kernel.next(), preemptions(&kernel, 1)), (Next::Run(Slot::new(1)), 0));
        kernel.interrupt(4);
        kernel.count_preemption(Slot::new(1));
        assert_eq!((kernel.next(), preemptions(&kernel, 1)), (Next::Run(Slot::new(0)), 1));
        assert_eq!(preemptions(&kernel, 2), 0);
    }
}
