//! What a debugger sees of the kernel, and what it asks of it.
//!
//! Nothing here changes what processes do to each other, but [`Kernel::would_tell_vm`], which is asked when a process
//! has faulted. A debugger may look at any moment, also in the middle of a function of the kernel's: so nothing here panics
//! or follows a list without an end.

use crate::exit::Doom;
use crate::log::Line;
use crate::machine::{Context, Machine};
use crate::process::{Ipc, Process, Slot, Stops, Table};
use crate::{Kernel, OutOfTurn};
use abi::boot::ExitCode;
use abi::ipc::Primitive;
use abi::protocols::Level;
use abi::state::{State, Wait};
use abi::{Endpoint, Errno, GrantEntry, Name, Signal, Signals, Wire, describe};
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
    /// It wants to hear of page faults that VM was told of and that nobody resolves.
    catches_faults: bool,
    /// It wants all calls in the log.
    traces_calls: bool,
    news: News,
    /// Who ends as soon as the debugger has heard of it, before anybody runs.
    doomed: Option<(Endpoint, Doom)>,
    /// Others whose page faults nobody resolves are next, one at a time.
    has_orphans: bool,
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

    /// Says whether the debugger is to hear of page faults that VM was told of and that nobody resolves.
    pub fn catch_faults(&mut self, on: bool) {
        self.wishes.catches_faults = on;
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
        let Wishes { catches_signals, catches_faults, .. } = self.wishes;
        // So it is told that VM refuses a page: by the end of who has asked for it.
        let is_refusal = || {
            self.processes.process(slot).stops.contains(Stops::PAGE_FAULT) && Signals::LETHAL.contains(signal)
        };
        if catches_signals || catches_faults && is_refusal() {
            self.wishes.news.signal.get_or_insert((slot, signal));
            self.settle_wishes();
        }
    }

    /// Lets a process live until the debugger has heard of its signal. `false` if that isn't to hear of it.
    pub(crate) fn doom(&mut self, slot: Slot, doom: Doom) -> bool {
        let is_told = self.wishes.news.signal.is_some_and(|(told, _)| told == slot);
        if !is_told || self.wishes.doomed.is_some() {
            return false;
        }
        self.wishes.doomed = Some((self.processes.process(slot).endpoint, doom));
        self.settle_wishes();
        true
    }

    /// Tells whether the next page fault that nobody resolves has to wait, since the debugger hears of one at a time.
    pub(crate) fn puts_off_faults(&mut self) -> bool {
        self.wishes.has_orphans = self.wishes.catches_faults && self.wishes.news.signal.is_some();
        self.settle_wishes();
        self.wishes.has_orphans
    }

    /// Does what had to wait for the debugger, which has heard of it now.
    fn settle_doomed(&mut self) {
        let Wishes { doomed, has_orphans, .. } = self.wishes;
        if self.wishes.news.signal.is_some() || doomed.is_none() && !has_orphans {
            return;
        }
        (self.wishes.doomed, self.wishes.has_orphans) = (None, false);
        if let Some((endpoint, doom)) = doomed
            && let Some(slot) = self.processes.find(endpoint)
        {
            self.fulfil(slot, doom);
        }
        self.settle_orphans();
        self.settle_wishes();
    }

    pub(crate) fn settle_wishes(&mut self) {
        let Wishes { only, news, doomed, has_orphans, .. } = &self.wishes;
        let is_asked = only.is_some() || *news != News::default() || doomed.is_some() || *has_orphans;
        let has_more = self.ended.is_some() || self.reporting.is_some() || self.delays_are_over;
        self.is_out_of_turn = is_asked || has_more;
    }

    /// What to do when [`next`](Self::next) says that there is more to it than whose turn it is.
    #[must_use]
    pub fn out_of_turn(&mut self) -> OutOfTurn {
        self.end_turn();
        self.settle_doomed();
        if self.delays_are_over {
            self.tell_of_delays();
        }
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

    /// Tells whether VM would be told of a page fault of that process, and makes sure of that as the fault itself does: who
    /// waits for a quantum in a circle gets it.
    #[must_use]
    pub fn would_tell_vm(&mut self, slot: Slot) -> bool {
        self.vm_to_tell(slot).is_some()
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
    use crate::fake::{Fake, at, kernel, server, service};
    use crate::fault::{Access, Fault};
    use abi::Callers;
    use abi::boot::Managers;
    use abi::protocols::kernel as calls;

    const VM: u16 = 0;
    const MANAGER: u16 = 1;
    const SEGV: Signal = Signal::SEGV;

    /// VM, a manager, and three with page faults that VM has yet to resolve. The manager looks after the last of them.
    fn faulting() -> Kernel<Fake> {
        let mut kernel =
            kernel(&[server(VM, Callers::VM), service(MANAGER), service(2), service(3), service(4)]);
        let (manager, none) = (at(MANAGER), Endpoint::NONE);
        let managers = Managers { slot: 4, signal_manager: manager, backup_manager: none, scheduler: none };
        kernel.set_managers(managers).unwrap();
        for slot in 2..5 {
            kernel.fault(Slot::new(slot), Fault::Page { address: 0x10, access: Access::Read });
        }
        kernel
    }

    fn kill(slot: u16, signal: Signal) -> calls::kill::Request {
        calls::kill::Request { process: at(slot), signal }
    }

    /// The signal that a debugger is told of now, and whose it is.
    fn told(kernel: &mut Kernel<Fake>) -> Option<(u16, Signal)> {
        assert_eq!(kernel.out_of_turn(), OutOfTurn::Debugger);
        let (slot, signal) = kernel.take_news().signal?;
        assert!(kernel.processes.get(slot).is_some(), "it can be looked at");
        Some((u16::try_from(slot.index()).unwrap(), signal))
    }

    #[test]
    fn a_process_whose_page_fault_vm_refuses_ends_when_the_debugger_has_heard_of_it() {
        // row I2
        for (faults, signals) in [(true, false), (false, true), (true, true), (false, false)] {
            let mut kernel = faulting();
            kernel.catch_faults(faults);
            kernel.catch_signals(signals);
            assert_eq!(kernel.take_news(), News::default(), "VM may resolve them");
            assert_eq!(kernel.asks(VM, &kill(2, SEGV)), "kernel.kill = {}");
            if faults || signals {
                assert_eq!(kernel.machine.released, []);
                assert_eq!(told(&mut kernel), Some((2, SEGV)));
                assert_ne!(kernel.out_of_turn(), OutOfTurn::Debugger, "once");
            }
            assert_eq!(kernel.machine.released, [2]);
            // Of one that has a manager this hears first.
            assert_eq!(kernel.asks(VM, &kill(4, SEGV)), "kernel.kill = {}");
            if faults || signals {
                assert_eq!(told(&mut kernel), Some((4, SEGV)));
            }
            assert_eq!(kernel.machine.released, [2]);
            // What doesn't end a process refuses nothing.
            assert_eq!(kernel.asks(VM, &kill(4, Signal::USR1)), "kernel.kill = {}");
            assert_eq!(kernel.take_news().signal.is_some(), signals);
        }
    }

    #[test]
    fn of_page_faults_that_nobody_resolves_the_debugger_hears_one_by_one() {
        // row I2
        let mut kernel = faulting();
        kernel.catch_faults(true);
        kernel.exit(Slot::new(VM), 0);
        assert_eq!(kernel.machine.released, [0]);
        assert_eq!(told(&mut kernel), Some((2, SEGV)));
        assert_eq!(told(&mut kernel), Some((3, SEGV)));
        assert_eq!(kernel.machine.released, [0, 2]);
        assert_eq!(told(&mut kernel), Some((4, SEGV)));
        assert_ne!(kernel.out_of_turn(), OutOfTurn::Debugger);
        assert_eq!(kernel.machine.released, [0, 2, 3]);
        assert!(!kernel.can_run(4), "its manager sees to it");
    }

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
