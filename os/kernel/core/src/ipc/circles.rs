//! Circles of waits: how they are refused, and how those end that nobody's own wait closes.
//!
//! A process waits for one other first. In this order, since the first keeps it from running whatever comes of the rest:
//!
//! | It waits | for | and that can be ended |
//! |---|---|---|
//! | until its signal or its end is dealt with | its manager | by none: another manager has to be found, or it goes on without the signal, or ends |
//! | for a quantum | its scheduler | by a quantum from the kernel |
//! | in the middle of a kernel call, for memory | VM | with `EFAULT`, if no message's wait is in the circle |
//! | until its page fault is resolved | VM | by none: a fault that would close a circle is a signal at once |
//! | to send, or to receive from one in particular | that one | with `ELOCKED`, or `EDEADSRCDST` if that one has ended |
//!
//! Between two entries into the kernel nobody stands in a circle, but who has itself to blame: it receives from itself, or
//! from one whom its own filter holds back. A wait that would close a circle is refused ([`Kernel::would_deadlock`]). What
//! stops a process, lets it go on to a wait that was hidden, or gives it another partner looks whether that has closed
//! one, and ends the wait in it that costs least ([`Kernel::end_circle`]). That ends no process and tells nobody: what
//! follows for others comes [later](Kernel::tell_of_delays). Where no wait can be ended, whoever waits for a manager there
//! gets another one, or ends ([`Kernel::go_on_waiting`]).

use crate::Kernel;
use crate::machine::Machine;
use crate::process::{Ipc, Slot, Stops};
use crate::signals::MANAGED;
use abi::Errno;

/// The half of a rendezvous that a process waits in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Half {
    Sending,
    Receiving,
    /// No message is waited for, but what somebody does: VM about memory, a manager about a signal, a scheduler about
    /// a quantum.
    Deed,
}

/// Where a chain of waits leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// To somebody who waits for nobody in particular.
    Open,
    /// Back to who would wait.
    Back,
    /// Into a circle of others: of one who waits for itself, say, or of managers, until the kernel has told them of the
    /// end of another manager.
    IntoCircle,
}

impl<M: Machine> Kernel<M> {
    /// Tells whether waiting for `peer` would be in vain: in a circle of processes that wait for each other.
    pub(crate) fn would_deadlock(&self, caller: Slot, peer: Slot, half: Half) -> bool {
        self.way(caller, peer, half) != Way::Open
    }

    /// Where it leads to wait for `peer`, and on to who that waits for.
    ///
    /// Two processes of which one sends and the other receives are no circle: they meet. Who waits for VM to see to
    /// memory, say, meets nobody meanwhile.
    fn way(&self, caller: Slot, peer: Slot, half: Half) -> Way {
        let mut at = peer;
        for length in 2..=self.processes.len() + 1 {
            let Some((next, next_half)) = self.waits_for(at) else { return Way::Open };
            if next == caller {
                let meets = length == 2 && half != next_half && ![half, next_half].contains(&Half::Deed);
                return if meets { Way::Open } else { Way::Back };
            }
            at = next;
        }
        // Longer than there are processes.
        Way::IntoCircle
    }

    /// The one process that a process waits for first. That others keep it from running for a time, by `run_stop` say, is
    /// no wait for them: who does that knows.
    ///
    /// Whatever else it waits for counts when that is [over](Self::go_on_waiting).
    pub(crate) fn waits_for(&self, slot: Slot) -> Option<(Slot, Half)> {
        let process = self.processes.process(slot);
        if process.stops.contains(MANAGED) {
            return Some((self.manager_of(slot).filter(|manager| *manager != slot)?, Half::Deed));
        }
        if process.stops.contains(Stops::NO_QUANTUM) {
            return Some((self.processes.find(process.scheduler?)?, Half::Deed));
        }
        match process.ipc {
            Ipc::Idle if process.stops.contains(Stops::MEMORY_REQUEST.with(Stops::PAGE_FAULT)) => {
                Some((self.vm()?, Half::Deed))
            }
            Ipc::Idle => None,
            Ipc::Sending { to, .. } => Some((to, Half::Sending)),
            Ipc::Receiving { from, .. } => Some((self.processes.find(from)?, Half::Receiving)),
        }
    }

    /// These reasons keep a process no longer from running. If it waits for something else, that may be the wait that
    /// closes a circle now, in which somebody may end: this one, or another.
    pub(crate) fn go_on_waiting(&mut self, slot: Slot, reasons: Stops) {
        self.resume(slot, reasons);
        if !self.end_circle(slot, Errno::ELOCKED) {
            self.end_circle_of_deeds(slot);
        }
    }

    /// Nobody in a circle waits for a message: a manager waits for memory, say, and VM for the manager. So who waits for
    /// a manager there has none.
    #[cold]
    fn end_circle_of_deeds(&mut self, slot: Slot) {
        let is_managed = |kernel: &Self, at| kernel.processes.process(at).stops.contains(MANAGED);
        if let Some(at) = self.first_on_way(slot, is_managed) {
            self.find_manager(at);
            self.settle_orphans();
        }
    }

    /// Ends a wait in the circle that `slot` has come to stand in, if it has: the one whose end costs least. `error` is
    /// for who waits for `slot`. `false` if it stands in one in which none can be ended. No process ends by that.
    #[inline(never)]
    pub(crate) fn end_circle(&mut self, slot: Slot, error: Errno) -> bool {
        let mut at = slot;
        while let Some((first, half)) = self.waits_for(at)
            && self.way(at, first, half) == Way::Back
        {
            if let Some(renewed) = self.renew_on_way(at) {
                // It is on the way from `at`. So if that still leads back, it leads by here; and whom this one waits for
                // below may have closed another circle.
                at = renewed;
                continue;
            }
            let vm = self.vm();
            // VM asks again; a request that is ended can't be repeated by the kernel.
            let Some(ended) = self
                .first_on_way(at, |kernel, at| Some(at) == vm && kernel.waits_for_message(at))
                .or_else(|| self.first_on_way(at, Self::waits_for_message))
                .or_else(|| self.first_on_way(at, Self::waits_for_memory))
            else {
                return false;
            };
            if self.waits_for_message(ended) {
                let is_for_slot = self.waits_for(ended).is_some_and(|(next, _)| next == slot);
                self.cancel_with(ended, if is_for_slot { error } else { Errno::ELOCKED });
            } else {
                self.end_request(ended, Errno::EFAULT);
            }
        }
        true
    }

    /// Tells whether waiting for `peer` would close a circle, and no quantum is all that is missing in it: who waits for one
    /// gets it now, so this is more than a question.
    #[inline(never)]
    pub(super) fn closes_circle(&mut self, caller: Slot, peer: Slot, half: Half) -> bool {
        while self.would_deadlock(caller, peer, half) {
            let Some(renewed) = self.renew_on_way(peer) else { return true };
            self.end_circle(renewed, Errno::ELOCKED);
        }
        false
    }

    /// Gives a quantum to the first process from `slot` on, each waiting for the next, that waits for that, if one does.
    #[inline(never)]
    fn renew_on_way(&mut self, slot: Slot) -> Option<Slot> {
        let lacks_quantum = |kernel: &Self, at| {
            let stops = kernel.processes.process(at).stops;
            stops.only(MANAGED.with(Stops::NO_QUANTUM)) == Stops::NO_QUANTUM
        };
        let at = self.first_on_way(slot, lacks_quantum)?;
        self.renew_quantum(at);
        self.resume(at, Stops::NO_QUANTUM);
        Some(at)
    }

    /// The first process from `slot` on, each waiting for the next, of which that is so.
    fn first_on_way(&self, slot: Slot, is_so: impl Fn(&Self, Slot) -> bool) -> Option<Slot> {
        let mut at = slot;
        for _ in 0..self.processes.len() {
            if is_so(self, at) {
                return Some(at);
            }
            at = self.waits_for(at)?.0;
        }
        None
    }

    /// Tells whether a process waits for a message before anything else, and not by a page fault.
    fn waits_for_message(&self, slot: Slot) -> bool {
        let is_fault = self.processes.process(slot).stops.contains(Stops::PAGE_FAULT);
        !is_fault && matches!(self.waits_for(slot), Some((_, Half::Sending | Half::Receiving)))
    }

    /// Tells whether a kernel call waits for memory before anything else.
    fn waits_for_memory(&self, slot: Slot) -> bool {
        let stops = self.processes.process(slot).stops;
        stops.only(MANAGED.with(Stops::NO_QUANTUM).with(Stops::MEMORY_REQUEST)) == Stops::MEMORY_REQUEST
    }

    /// Tells whether VM can see to a process's memory: it doesn't wait for that process, or only because it waits for
    /// somebody who stands still until a manager sees to him. Then that [is to be ended](Self::end_circle), from VM on, so
    /// that the manager gets its memory.
    pub(crate) fn can_help(&mut self, vm: Slot, slot: Slot, half: Half) -> bool {
        if vm == slot {
            return false;
        }
        if !self.closes_circle(slot, vm, half) {
            return true;
        }
        let stands_still =
            |kernel: &Self, at| at == slot || kernel.processes.process(at).stops.contains(MANAGED);
        self.waits_for_message(vm) && self.first_on_way(vm, stands_still).is_some_and(|at| at != slot)
    }
}

#[cfg(test)]
mod tests {
    use crate::fake::{Fake, Registers, at, kernel, program, server, service};
    use crate::process::Stops;
    use crate::{Kernel, Slot};
    use abi::boot::{Managers, Pair};
    use abi::ipc::Primitive::{Receive, Send, SendRec};
    use abi::protocols::{FilterKind, FilterRule, kernel as calls};
    use abi::{Bytes, Callers, Endpoint, Errno};

    /// Each waits for a quantum, and below that for a message of the next, the last for one of the first: for which their
    /// schedulers wait. The kernel's stack has 32 KiB.
    #[test]
    fn a_chain_of_quanta_needs_no_more_stack_than_one() {
        const LENGTH: u16 = 250;
        const HELPER: u16 = 3;
        const FIRST: u16 = 4;
        let chain = || {
            let mut kernel = Kernel::<Fake>::new(Fake::default(), LENGTH);
            for slot in 0..LENGTH {
                let role = if slot == 0 { Callers::RS } else { Callers::default() };
                kernel.add(&server(slot, role), Registers::default(), slot).unwrap();
            }
            for from in [1, 2] {
                kernel.allow_pair(Pair { from, to: FIRST }).unwrap();
            }
            for slot in FIRST..LENGTH {
                let (scheduler, none) = (at(if slot == FIRST { 1 } else { 2 }), Endpoint::NONE);
                let managers = Managers { slot, signal_manager: none, backup_manager: none, scheduler };
                kernel.set_managers(managers).unwrap();
                for _ in 0..2 {
                    kernel.tick(Some(Slot::new(slot)));
                }
            }
            for slot in FIRST..LENGTH {
                let next = if slot + 1 < LENGTH { slot + 1 } else { FIRST };
                assert_eq!(kernel.traps(HELPER, Receive, at(next)), None);
                kernel.stop(Slot::new(slot), Stops::NO_PRIVILEGES);
                // What waits takes the place, and the quantum that is waited for stays there.
                let update = calls::update::Request { source: at(HELPER), target: at(slot), rollback: false };
                assert_eq!(kernel.asks(0, &update), "kernel.update = {}");
                kernel.resume(Slot::new(HELPER), Stops::NO_PRIVILEGES);
                assert_eq!(kernel.stops(slot), Stops::NO_QUANTUM);
            }
            // With the scheduler of all but the first no circle is closed, so nobody gets a quantum.
            assert_eq!(kernel.sends(2, SendRec, at(FIRST), 1), None);
            assert_eq!(kernel.stops(FIRST), Stops::NO_QUANTUM);
            // With that of the first all get one, and their circle is ended.
            assert_eq!(kernel.sends(1, SendRec, at(FIRST), 1), None);
            let waits = (FIRST..LENGTH).filter(|slot| kernel.returned(*slot).is_none()).count();
            assert_eq!(waits, usize::from(LENGTH - FIRST - 1));
            let cut = (FIRST..LENGTH).find_map(|slot| kernel.returned(slot));
            assert_eq!(cut, Some(Err(Errno::ELOCKED)));
        };
        std::thread::Builder::new().stack_size(32 * 1024).spawn(chain).unwrap().join().unwrap();
    }

    /// A quantum lets it go on to wait for one who waits for itself, or whose own filter holds back what it waits for.
    #[test]
    fn who_has_itself_to_blame_for_a_circle_is_left_in_it() {
        const VM: u16 = 1;
        const SCHEDULER: u16 = 2;
        const ASKED: u16 = 3;
        const ASKS: u16 = 4;
        const PARENT: u16 = 5;
        const CHILD: u16 = 6;
        const HELD_BACK: u16 = 7;
        for is_filter in [true, false] {
            let mut kernel = kernel(&[
                server(0, Callers::RS),
                server(VM, Callers::VM),
                service(SCHEDULER),
                service(ASKED),
                service(ASKS),
                program(PARENT),
                service(HELD_BACK),
            ]);
            kernel.machine.next_space = 100;
            let none = Endpoint::NONE;
            let scheduler = at(SCHEDULER);
            let managers = Managers { slot: PARENT, signal_manager: none, backup_manager: none, scheduler };
            kernel.set_managers(managers).unwrap();
            assert_eq!(kernel.traps(ASKED, Receive, Endpoint::ANY), None);
            assert_eq!(kernel.sends(PARENT, SendRec, at(ASKED), 1), None);
            // The child waits for the answer as well, and for a quantum.
            kernel.asks(VM, &calls::fork::Request { parent: at(PARENT), slot: CHILD, inhibited: false });
            let child = kernel.processes.process(Slot::new(CHILD)).endpoint;
            if is_filter {
                let rule = FilterRule { source: at(HELD_BACK), ..FilterRule::default() };
                let rules = Bytes::first_of(&rule.to_bytes());
                let filter = calls::ipc_filter_add::Request { kind: FilterKind::Black, rules };
                assert_eq!(kernel.asks(ASKED, &filter), "kernel.ipc_filter_add = {}");
            }
            assert_eq!(kernel.sends(HELD_BACK, Send, at(ASKED), 9), None);
            let from = if is_filter { HELD_BACK } else { ASKED };
            assert_eq!(kernel.traps(ASKED, Receive, at(from)), None);
            assert_eq!(kernel.sends(SCHEDULER, SendRec, at(ASKS), 1), None);
            assert_eq!(kernel.sends(ASKS, SendRec, child, 1), Some(Err(Errno::ELOCKED)));
            assert_eq!((kernel.returned(ASKED), kernel.returned(HELD_BACK)), (None, None));
        }
    }
}
