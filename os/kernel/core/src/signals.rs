//! Signals: how the kernel raises them, and who deals with them.
//!
//! A process has a signal manager. [`Kernel::cause_signal`] adds a signal to those that wait for the
//! manager, stops the process, and notifies the manager, which takes them with `getksig` and ends
//! them with `endksig` or `clear`; the process runs no instruction in between. A process that nobody
//! manages is ended by what it can't survive. When a manager dies, its backup is told anew all that the dead
//! one had not ended; without a backup, nobody manages its processes any longer.
//!
//! A process that manages itself is not stopped: it is told that it has signals, and takes them with
//! `getksig` like any others. So does VM, but for what ends it: its manager may be waiting for a page.
//!
//! A process that its manager has yet to see to waits for the manager, so no wait closes a circle with that, and a
//! manager that waits for the process already is let go on.

use crate::Kernel;
use crate::machine::Machine;
use crate::privilege::{Id, Notifier};
use crate::process::{Process, Slot, Stops};
use abi::{Callers, Endpoint, Errno, Signal, Signals};

/// The signals of a process.
#[derive(Clone, Copy, Debug, Default)]
pub struct State {
    /// It has yet to take them itself.
    own: Signals,
    /// Its manager has yet to take them.
    pending: Signals,
    /// Its manager has taken them, and has yet to end them.
    taken: Signals,
    /// What the next notification from the kernel tells it.
    kernel: Signals,
    /// It was to be stopped, and goes on until it [can](crate::process::Process::can_be_stopped).
    is_delayed: bool,
}

impl State {
    /// What the notification that is being delivered tells.
    pub(crate) const fn take_kernel_signals(&mut self) -> u64 {
        core::mem::replace(&mut self.kernel, Signals::NONE).to_notification()
    }

    /// Tells whether its manager waits until it can be stopped.
    #[inline]
    pub(crate) const fn is_delayed(&self) -> bool {
        self.is_delayed
    }

    /// Tells whether its manager has taken some, and has yet to end them.
    pub(crate) const fn are_taken(&self) -> bool {
        !self.taken.is_empty()
    }

    pub(crate) const fn delay(&mut self) {
        self.is_delayed = true;
    }

    /// What a process keeps whose contents another one takes over: it is told to who bears the name, and that one takes
    /// what it was told of. So it is with a stop that was put off: whoever did that knows the name, and its manager hears.
    pub(crate) const fn exchange_what_is_told(&mut self, other: &mut Self) {
        core::mem::swap(&mut self.is_delayed, &mut other.is_delayed);
        core::mem::swap(&mut self.kernel, &mut other.kernel);
        core::mem::swap(&mut self.own, &mut other.own);
    }
}

/// Stops that only a manager ends.
pub(crate) const MANAGED: Stops = Stops::SIGNALLED.with(Stops::SIGNAL_PENDING).with(Stops::ENDED);

/// Why a process ends that waits for a manager that is gone.
const NOBODY_MANAGES: &str = "ended: nobody manages its signals any longer";

/// Nobody deals with a process's signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoManager;

impl<M: Machine> Kernel<M> {
    /// Raises a signal. There is no other way to do so.
    ///
    /// # Errors
    /// If nobody deals with the process's signals; nothing has happened then.
    pub(crate) fn cause_signal(&mut self, slot: Slot, signal: Signal) -> Result<(), NoManager> {
        // Who is in the hands of a dead one already is an orphan, and told anew.
        if !self.processes.process(slot).stops.contains(MANAGED) {
            self.promote_for_dead(slot);
        }
        let manager = self.manager_of(slot).ok_or(NoManager)?;
        if self.takes_itself(slot, manager, signal) {
            self.processes.process_mut(slot).signals.own.insert(signal);
            self.kernel_signal(slot, Signal::KSIGSM);
            self.signal_raised(slot, signal);
            return Ok(());
        }
        let process = self.processes.process_mut(slot);
        let before = process.signals.pending;
        process.signals.pending.insert(signal);
        let stops = process.stops;
        let is_given = if stops.contains(MANAGED) {
            // It is in the hands of its manager, and in no other's.
            stops.contains(Stops::SIGNALLED) || manager != slot && self.give_to(slot, manager)
        } else {
            self.give_to_manager(slot)
        };
        if is_given {
            self.signal_raised(slot, signal);
            return Ok(());
        }
        self.processes.process_mut(slot).signals.pending = before;
        Err(NoManager)
    }

    /// Stops a process until its manager has dealt with its signals: the first of manager and backup that can, and that it
    /// isn't itself. `false` if there is none; then it isn't stopped.
    fn give_to_manager(&mut self, slot: Slot) -> bool {
        while let Some(manager) = self.manager_of(slot) {
            if manager != slot && self.give_to(slot, manager) {
                return true;
            }
            if !self.promote_for_all(slot) {
                return false;
            }
        }
        false
    }

    /// Tells whether a process is told of a signal itself, and goes on: because it manages itself, or is VM. For that
    /// its manager may be waiting, in the middle of any instruction.
    fn takes_itself(&self, slot: Slot, manager: Slot, signal: Signal) -> bool {
        let of_its_manager =
            Signals::of(&[Signal::TRAP, Signal::STOP, Signal::SNDELAY]).union(Signals::TERMINATION);
        manager == slot && !Signals::LETHAL.contains(signal)
            || self.vm() == Some(slot) && !of_its_manager.contains(signal)
    }

    /// Stops a process until its manager has dealt with its signals. `false` if the manager never will, since it can't go on
    /// before the process does; then the process isn't stopped.
    ///
    /// A manager that waits for the process learns at once that this was in vain: nothing comes from one that has ended
    /// or can't go on (`EDEADSRCDST`), or not before its signal is dealt with (`ELOCKED`).
    fn give_to(&mut self, slot: Slot, manager: Slot) -> bool {
        let process = self.processes.process(slot);
        let stops = Stops::SIGNALLED.with(Stops::SIGNAL_PENDING);
        let added = stops.without(process.stops);
        let is_over = process.signals.pending.intersects(Signals::TERMINATION);
        self.stop(slot, stops);
        if !self.end_circle(slot, if is_over { Errno::EDEADSRCDST } else { Errno::ELOCKED }) {
            self.resume(slot, added);
            return false;
        }
        self.kernel_signal(manager, Signal::KSIG);
        true
    }

    /// Tells a service something of the kernel's own.
    pub(crate) fn kernel_signal(&mut self, slot: Slot, signal: Signal) {
        self.processes.process_mut(slot).signals.kernel.insert(signal);
        self.notify(Notifier::System, slot);
    }

    /// Who deals with a process's signals: itself, or another living process.
    pub(crate) fn manager_of(&self, slot: Slot) -> Option<Slot> {
        let privileges = self.privileges_of(slot);
        if privileges.signal_manager == Endpoint::SELF {
            return Some(slot);
        }
        let find = |endpoint| self.find_service(endpoint);
        find(privileges.signal_manager).or_else(|| find(privileges.backup_manager))
    }

    /// A living process that can manage others. One that has become a program is as good as dead.
    pub(crate) fn find_service(&self, endpoint: Endpoint) -> Option<Slot> {
        let slot = self.processes.find(endpoint)?;
        self.processes.process(slot).class.admits(Callers::SERVICE).then_some(slot)
    }

    /// Makes the backup of a process's manager its manager, if it lives.
    fn promote_backup(&mut self, slot: Slot) -> Option<Slot> {
        let id = self.processes.process(slot).privileges;
        let backup = self.find_service(self.privileges[id.index()].backup_manager)?;
        let privileges = &mut self.privileges[id.index()];
        privileges.signal_manager = privileges.backup_manager;
        privileges.backup_manager = Endpoint::NONE;
        // It may have been waiting for this moment without leave to run.
        self.resume(backup, Stops::NO_PRIVILEGES);
        Some(backup)
    }

    /// Makes the backup of nobody the manager.
    pub(crate) fn promote_for_nobody(&mut self, slot: Slot) {
        if self.privileges_of(slot).signal_manager == Endpoint::NONE {
            self.promote_backup(slot);
        }
    }

    /// Makes the backup of a process's manager that is dead its manager.
    fn promote_for_dead(&mut self, slot: Slot) {
        let manager = self.privileges_of(slot).signal_manager;
        if manager != Endpoint::SELF && self.find_service(manager).is_none() {
            self.promote_for_all(slot);
        }
    }

    /// Makes the backup of a process's manager its manager. That one is told anew of all that the other has not ended,
    /// of others who have the same privileges: of programs, that is. `false` if there is no backup.
    ///
    /// This one lives on, whoever of the others ends: nobody waits for a program but for a message of its.
    fn promote_for_all(&mut self, slot: Slot) -> bool {
        let id = self.processes.process(slot).privileges;
        if self.promote_backup(slot).is_none() {
            return false;
        }
        self.take_from_own(slot);
        for other in self.processes.slots() {
            let has_same = |process: &Process<M>| other != slot && process.privileges == id;
            if self.processes.get(other).is_some_and(has_same) {
                self.find_manager(other);
            }
        }
        true
    }

    /// Gives what a process has yet to take itself to its manager, if it takes nothing itself any longer. It may end by
    /// that; orphans are for the caller to settle.
    pub(crate) fn hand_own_signals_over(&mut self, slot: Slot) {
        if self.take_from_own(slot) && !self.present(slot) {
            self.end_process(slot, format_args!("{NOBODY_MANAGES}"));
        }
    }

    /// Makes what a process has yet to take itself its manager's to take, if it takes nothing itself any longer. `false` if
    /// there is nothing; else the manager has yet to be [told](Self::present).
    fn take_from_own(&mut self, slot: Slot) -> bool {
        if self.manager_of(slot) == Some(slot) || self.vm() == Some(slot) {
            return false;
        }
        let signals = &mut self.processes.process_mut(slot).signals;
        let own = core::mem::take(&mut signals.own);
        signals.pending = signals.pending.union(own);
        !own.is_empty()
    }

    /// Takes the signals of the next process that `manager` manages.
    pub(crate) fn take_signals(&mut self, manager: Slot) -> Option<(Endpoint, Signals)> {
        let takes_itself = self.manager_of(manager) == Some(manager) || self.vm() == Some(manager);
        let waiting = |slot: &Slot| {
            let process = self.processes.process(*slot);
            process.stops.contains(Stops::SIGNALLED) && self.manager_of(*slot) == Some(manager)
        };
        if takes_itself && !self.processes.process(manager).signals.own.is_empty() {
            let process = self.processes.process_mut(manager);
            return Some((process.endpoint, core::mem::take(&mut process.signals.own)));
        }
        let slot = self.processes.iter().map(|(slot, _)| slot).find(waiting)?;
        self.resume(slot, Stops::SIGNALLED);
        let process = self.processes.process_mut(slot);
        let signals = core::mem::take(&mut process.signals.pending);
        process.signals.taken = process.signals.taken.union(signals);
        Some((process.endpoint, signals))
    }

    /// The manager has dealt with what it took. `false` if it has taken nothing.
    pub(crate) fn end_signals(&mut self, slot: Slot) -> bool {
        let process = self.processes.process_mut(slot);
        if !process.stops.contains(Stops::SIGNAL_PENDING) {
            return false;
        }
        process.signals.taken = Signals::NONE;
        if !process.stops.contains(Stops::SIGNALLED) {
            self.go_on_waiting(slot, Stops::SIGNAL_PENDING);
        }
        true
    }

    /// What a process was in the middle of may be over. Whoever was put off until then [hears](Self::tell_of_delays) of it
    /// before the next turn, and not at once: that may end others' waits, and we may be in the middle of ending one.
    pub(crate) fn end_delay(&mut self, slot: Slot) {
        let process = self.processes.process(slot);
        if process.signals.is_delayed && process.can_be_stopped() {
            self.delays_are_over = true;
            self.is_out_of_turn = true;
        }
    }

    /// Tells the managers of those that can be stopped now, if that was to be delayed, so that nobody who was put off waits
    /// for ever.
    #[cold]
    pub(crate) fn tell_of_delays(&mut self) {
        while core::mem::take(&mut self.delays_are_over) {
            for slot in self.processes.slots() {
                let Some(process) = self.processes.get_mut(slot) else { continue };
                if process.signals.is_delayed && process.can_be_stopped() {
                    process.signals.is_delayed = false;
                    // Without a manager nobody waits for it.
                    let _ = self.cause_signal(slot, Signal::SNDELAY);
                }
            }
        }
        self.settle_wishes();
    }

    /// Gives all that no manager has ended to who deals with it now. `false` if that is nobody, and it is more than the
    /// process survives.
    fn present_anew(&mut self, slot: Slot) -> bool {
        self.promote_for_dead(slot);
        let process = self.processes.process_mut(slot);
        let taken = core::mem::take(&mut process.signals.taken);
        process.signals.pending = process.signals.pending.union(taken);
        if process.stops.contains(Stops::ENDED) {
            process.signals.pending.insert(Signal::ABRT);
        }
        self.present(slot)
    }

    /// Gives what no manager has taken to who deals with it now: the process itself, its manager, or a backup. `false` if
    /// that is nobody, and it is more than the process survives.
    fn present(&mut self, slot: Slot) -> bool {
        let signals = self.processes.process(slot).signals.pending;
        let is_own = self.manager_of(slot) == Some(slot) && !signals.intersects(Signals::LETHAL);
        if !is_own {
            if self.give_to_manager(slot) {
                return true;
            }
            if signals.intersects(Signals::TERMINATION) {
                return false;
            }
        }
        let process = self.processes.process_mut(slot);
        process.signals.pending = Signals::NONE;
        if is_own {
            process.signals.own = process.signals.own.union(signals);
            self.kernel_signal(slot, Signal::KSIGSM);
        }
        self.go_on_waiting(slot, Stops::SIGNALLED.with(Stops::SIGNAL_PENDING));
        true
    }

    /// Tells a manager once more of all that it has taken and not ended, and of its own signals: it may not be the one that
    /// was told.
    pub(crate) fn repeat_signals(&mut self, manager: Slot) {
        if !self.processes.process(manager).signals.own.is_empty() {
            self.kernel_signal(manager, Signal::KSIGSM);
        }
        for slot in self.processes.slots() {
            let is_stopped = |process: &Process<M>| process.stops.contains(MANAGED);
            if slot != manager
                && self.processes.get(slot).is_some_and(is_stopped)
                && self.manager_of(slot) == Some(manager)
            {
                self.find_manager(slot);
            }
        }
    }

    /// Sees to those whose signal manager or VM has died. What waits for one is told its backup,
    /// goes on, or ends; and its end may leave others behind.
    pub(crate) fn settle_orphans(&mut self) {
        // Nobody has anything to say in a machine that has ended.
        while self.ended.is_none()
            && let Some(slot) = self.orphan()
        {
            if self.processes.process(slot).stops.contains(Stops::PAGE_FAULT) {
                if self.puts_off_faults() {
                    return;
                }
                self.page_fault_unresolved(slot);
            } else if !self.present_anew(slot) {
                self.end_process(slot, format_args!("{NOBODY_MANAGES}"));
            }
        }
    }

    /// A process that waits for somebody who is dead.
    fn orphan(&self) -> Option<Slot> {
        let has_no_manager = |slot| {
            let manager = self.privileges_of(slot).signal_manager;
            manager != Endpoint::SELF && self.find_service(manager).is_none()
        };
        let has_no_vm = self.vm().is_none();
        let mut processes = self.processes.iter();
        let is_orphan = |slot, stops: Stops| {
            has_no_vm && stops.contains(Stops::PAGE_FAULT) || stops.contains(MANAGED) && has_no_manager(slot)
        };
        processes.find(|(slot, process)| is_orphan(*slot, process.stops)).map(|(slot, _)| slot)
    }

    /// Somebody else deals with the signals of those who have these privileges, or nobody, by which they may end.
    pub(crate) fn change_manager(&mut self, id: Id) {
        for slot in self.processes.slots() {
            if self.processes.get(slot).is_some_and(|process| process.privileges == id) {
                self.find_manager(slot);
            }
        }
        self.settle_orphans();
    }

    /// Tells a process's manager of today all that one of before has not ended. If nobody manages it, it may end by that;
    /// orphans are for the caller to settle.
    pub(crate) fn find_manager(&mut self, slot: Slot) {
        if self.processes.process(slot).stops.contains(MANAGED) && !self.present_anew(slot) {
            return self.end_process(slot, format_args!("{NOBODY_MANAGES}"));
        }
        if self.processes.get(slot).is_some() {
            self.hand_own_signals_over(slot);
        }
    }
}

#[cfg(test)]
mod delay_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod walk;
