//! What a debugger sees of the kernel, and what it asks of it.
//!
//! Nothing here changes what processes do to each other. A debugger may look at any moment, also in the
//! middle of a function of the kernel's: so nothing here panics or follows a list without an end.

use crate::log::Line;
use crate::machine::{Context, Machine};
use crate::process::{Ipc, Process, Slot, Stops, Table};
use crate::{Kernel, OutOfTurn};
use abi::boot::ExitCode;
use abi::ipc::Primitive;
use abi::protocols::Level;
use abi::state::{State, Wait};
use abi::{Endpoint, Errno, GrantEntry, Name, Signal, Wire, describe};
use core::fmt;

/// What a debugger asks of the kernel.
#[derive(Debug, Default)]
pub(crate) struct Wishes {
    /// Nobody else is to run.
    only: Option<Slot>,
    /// It wants to hear of memory that processes get or lose.
    watches_spaces: bool,
    /// It wants to hear of signals.
    catches_signals: bool,
    /// It wants all calls in the log.
    traces_calls: bool,
    news: News,
}

/// What happened that a debugger asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// A process has memory that it hadn't, or no longer has what it had.
    pub spaces_changed: bool,
    /// A process was sent a signal.
    pub signal: Option<(Slot, Signal)>,
}

impl<M: Machine> Kernel<M> {
    /// Lets only this process run, or all again. When it can't run, [`next`](Self::next) says that the
    /// debugger is to decide.
    pub fn run_only(&mut self, only: Option<Slot>) {
        self.wishes.only = only;
        self.settle_wishes();
    }

    /// Says whether the debugger is to hear of memory that processes get or lose.
    pub fn watch_spaces(&mut self, on: bool) {
        self.wishes.watches_spaces = on;
    }

    /// Says whether the debugger is to hear of signals.
    pub fn catch_signals(&mut self, on: bool) {
        self.wishes.catches_signals = on;
    }

    /// Takes what has happened.
    pub fn take_news(&mut self) -> News {
        let news = core::mem::take(&mut self.wishes.news);
        self.settle_wishes();
        news
    }

    /// The debugger wants to hear of what just happened to memory.
    pub(crate) fn space_changed(&mut self) {
        if self.wishes.watches_spaces {
            self.wishes.news.spaces_changed = true;
            self.settle_wishes();
        }
    }

    /// A signal is being raised.
    pub(crate) fn signal_raised(&mut self, slot: Slot, signal: Signal) {
        if self.wishes.catches_signals {
            self.wishes.news.signal.get_or_insert((slot, signal));
            self.settle_wishes();
        }
    }

    pub(crate) fn settle_wishes(&mut self) {
        let is_asked = self.wishes.only.is_some() || self.wishes.news != News::default();
        self.is_out_of_turn = is_asked || self.ended.is_some() || self.reporting.is_some();
    }

    /// What to do when [`next`](Self::next) says that there is more to it than whose turn it is.
    #[must_use]
    pub fn out_of_turn(&mut self) -> OutOfTurn {
        self.end_turn();
        let next = self.decide();
        self.start_turn(next);
        next
    }

    fn decide(&self) -> OutOfTurn {
        let Wishes { only, news, .. } = &self.wishes;
        let can_run = |slot: &Slot| self.processes.get(*slot).is_some_and(Process::is_ready);
        let first = match only {
            Some(only) => Some(*only).filter(can_run),
            None => self.ready.first(),
        };
        match (self.ended, first) {
            (Some(code), _) => OutOfTurn::End(code),
            (None, _) if *news != News::default() => OutOfTurn::Debugger,
            (None, Some(slot)) if self.processes.process(slot).memory.call.parked.goes_on() => {
                OutOfTurn::Continue(slot)
            }
            (None, Some(slot)) => OutOfTurn::Run(slot),
            (None, None) if only.is_some() => OutOfTurn::Debugger,
            (None, None) => OutOfTurn::Idle,
        }
    }

    /// Logs every call of every process, or no longer.
    pub fn trace_calls(&mut self, on: bool) {
        self.wishes.traces_calls = on;
        self.has_traced_calls |= on;
    }

    /// Tells whether a debugger wants all calls in the log.
    #[must_use]
    pub const fn are_calls_traced(&self) -> bool {
        self.wishes.traces_calls
    }

    /// Logs a call, if a debugger wants that.
    pub(crate) fn log_call(&mut self, slot: Slot, number: u64, endpoint: Endpoint) {
        if !self.wishes.traces_calls {
            return;
        }
        let Some(process) = self.processes.get(slot) else { return };
        let (name, to) = (process.name, self.name_of(endpoint));
        let message = describe(process.context.message());
        let line = Line::of(name, Level::Info);
        match Primitive::from_number(number) {
            Some(Primitive::Receive) => {
                self.log.line(&mut self.machine, line, format_args!("call: receive from {to}"));
            }
            Some(Primitive::Notify) => {
                self.log.line(&mut self.machine, line, format_args!("call: notify {to}"));
            }
            Some(Primitive::KernelCall) => {
                self.log.line(&mut self.machine, line, format_args!("call: kernel, {message}"));
            }
            Some(primitive) => {
                let text = format_args!("call: {primitive:?} to {to}, {message}");
                self.log.line(&mut self.machine, line, text);
            }
            None => {
                self.log.line(
                    &mut self.machine,
                    line,
                    format_args!("call: unknown primitive {number} to {to}"),
                );
            }
        }
    }

    /// The debugger ends the machine.
    pub fn end_by_debugger(&mut self) {
        self.say(Level::Info, format_args!("the debugger ended the machine"));
        self.end(ExitCode::Failure, None);
    }

    /// Tells whether VM is there to resolve page faults of that process.
    #[must_use]
    pub fn has_vm_beside(&self, slot: Slot) -> bool {
        self.vm().is_some_and(|vm| vm != slot)
    }

    /// One more than the highest slot.
    #[must_use]
    pub fn slots(&self) -> u16 {
        u16::try_from(self.processes.len()).unwrap_or(u16::MAX)
    }

    /// Tells whether a process could run.
    #[must_use]
    pub fn is_runnable(&self, slot: Slot) -> bool {
        self.processes.get(slot).is_some_and(Process::is_ready)
    }

    /// The process whose turn it is.
    #[must_use]
    pub fn first(&self) -> Option<Slot> {
        self.ready.first()
    }

    /// The living process of that slot, with the machine below.
    pub fn inside(&mut self, slot: Slot) -> Option<(&mut M, &mut Process<M>)> {
        Some((&mut self.machine, self.processes.get_mut(slot)?))
    }

    /// What a process does, for people.
    #[must_use]
    pub fn doing(&self, slot: Slot) -> Option<Doing<'_, M>> {
        self.processes.doing(slot)
    }

    /// All attachments to interrupt lines: line, owner, the bit that it is told by, and whether it has yet to enable
    /// the line.
    pub fn irq_hooks(&self) -> impl Iterator<Item = (u8, Slot, u8, bool)> {
        self.interrupts.hooks()
    }

    /// All alarms, the next one first: when in nanoseconds of uptime, and whose.
    pub fn alarms(&self) -> impl Iterator<Item = (u64, Slot)> {
        self.alarms.iter()
    }

    /// The entries of a process's table of grants that are in use, by index.
    ///
    /// # Errors
    /// `ENOENT` if it has registered no table, `EFAULT` if its memory isn't there.
    pub fn grants(&mut self, slot: Slot, mut visit: impl FnMut(u32, &GrantEntry)) -> Result<(), Errno> {
        let process = self.processes.get(slot).ok_or(Errno::ESRCH)?;
        let table = process.memory.grants.ok_or(Errno::ENOENT)?;
        for index in 0..table.entries() {
            let mut bytes = [0; GrantEntry::SIZE];
            crate::memory::read_user(&mut self.machine, process, table.entry(index), &mut bytes)?;
            // A process writes there what it likes.
            if let Some(entry) = GrantEntry::get(&bytes).filter(|entry| entry.flags & GrantEntry::VALID != 0)
            {
                visit(index, &entry);
            }
        }
        Ok(())
    }
}

/// What a process does: whom it waits for, with which message, and what else stops it.
pub struct Doing<'a, M: Machine> {
    processes: &'a Table<M>,
    process: &'a Process<M>,
}

/// `receiving from any`, `sending to vm; page fault (reading 0x10)`.
impl<M: Machine> fmt::Display for Doing<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { processes, process } = *self;
        let stops = process.stops;
        let message = process.context.message();
        // The kernel speaks for a process with a page fault.
        let own = (!stops.contains(Stops::PAGE_FAULT)).then_some(message);
        let endpoint = |slot| processes.get(slot).map_or(Endpoint::NONE, |process| process.endpoint);
        let wait = match process.ipc {
            Ipc::Idle => Wait::Nobody,
            Ipc::Sending { to, then_receives: true } => {
                Wait::SendReceiving { to: endpoint(to), message: own }
            }
            Ipc::Sending { to, then_receives: false } => Wait::Sending { to: endpoint(to), message: own },
            Ipc::Receiving { from, in_sendrec: true } => Wait::SendReceiving { to: from, message: own },
            Ipc::Receiving { from, in_sendrec: false } => Wait::Receiving { from },
        };
        let names = |endpoint, f: &mut fmt::Formatter<'_>| processes.name_of(endpoint).fmt(f);
        State { wait, stops }.named(&names).fmt(f)?;
        if stops.contains(Stops::PAGE_FAULT) {
            write!(f, " ({})", process.page_fault)?;
        }
        if stops.contains(Stops::MEMORY_REQUEST) {
            write!(f, " ({})", describe(message))?;
        }
        Ok(())
    }
}

/// A name, or else an endpoint.
pub enum Called {
    /// A living process.
    Name(Name),
    /// Nobody who has a name.
    Endpoint(Endpoint),
}

impl fmt::Display for Called {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Endpoint(endpoint) => endpoint.fmt(f),
        }
    }
}

impl<M: Machine> Kernel<M> {
    /// What an endpoint is called.
    #[must_use]
    pub fn name_of(&self, endpoint: Endpoint) -> Called {
        self.processes.name_of(endpoint)
    }

    /// What the process of a slot is called.
    #[must_use]
    pub fn name_of_slot(&self, slot: Slot) -> Called {
        self.processes
            .get(slot)
            .map_or(Called::Endpoint(Endpoint::NONE), |process| Called::Name(process.name))
    }
}

impl<M: Machine> Table<M> {
    /// See [`Kernel::doing`].
    pub(crate) fn doing(&self, slot: Slot) -> Option<Doing<'_, M>> {
        Some(Doing { processes: self, process: self.get(slot)? })
    }

    fn name_of(&self, endpoint: Endpoint) -> Called {
        let found = self.find(endpoint).and_then(|slot| self.get(slot));
        found.map_or(Called::Endpoint(endpoint), |process| Called::Name(process.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{kernel, service};

    #[test]
    fn what_a_process_does_is_told_in_the_words_of_all_reports() {
        let mut kernel = kernel(&[service(0), service(1)]);
        let slot = Slot::new(0);
        let mut doing = |ipc, stops| {
            let process = kernel.processes.process_mut(slot);
            (process.ipc, process.stops) = (ipc, stops);
            process.context.message = abi::Message::zeroed();
            kernel.doing(slot).unwrap().to_string()
        };
        let to = Slot::new(1);
        let any = Ipc::Receiving { from: Endpoint::ANY, in_sendrec: false };
        assert_eq!(doing(Ipc::Idle, Stops::NONE), "runnable");
        assert_eq!(doing(any, Stops::STOPPED), "receiving from any; stopped by its manager");
        let sendrec = Ipc::Sending { to, then_receives: true };
        assert_eq!(doing(sendrec, Stops::NONE), "sendrec to s1, unknown call 0x0000");
        let send = Ipc::Sending { to, then_receives: false };
        assert_eq!(doing(send, Stops::PAGE_FAULT), "sending to s1; page fault (reading 0x0)");
        assert_eq!(
            doing(Ipc::Idle, Stops::MEMORY_REQUEST),
            "kernel call waits for memory (unknown call 0x0000)"
        );
    }
}
