//! The kernel's state, and how processes come to be.

use crate::calls;
use crate::clock::{Alarms, WallClock};
use crate::debugging::Wishes;
use crate::entropy::Entropy;
use crate::interrupts::Interrupts;
use crate::ipc::mail;
use crate::list::Links;
use crate::log::Log;
use crate::machine::Machine;
use crate::memory::requests::Requests;
use crate::privilege::{Id, Notifier, Privileges};
use crate::process::{Identity, Process, Slot, Table};
use crate::recorder::Recorder;
use crate::reporting::Reporting;
use crate::scheduler::{self, Ready};
use abi::boot::{self, ExitCode};
use abi::inspect::Layout;
use abi::ipc::Primitive;
use abi::{Callers, Endpoint};
use alloc::vec::Vec;

/// Everything that the kernel knows.
pub struct Kernel<M: Machine> {
    /// The machine below.
    pub machine: M,
    pub(crate) log: Log,
    pub(crate) processes: Table<M>,
    pub(crate) links: Links,
    pub(crate) privileges: Vec<Privileges>,
    /// The set that all programs share, once there is a program.
    pub(crate) programs: Option<Id>,
    /// The memory manager, once there is one.
    pub(crate) vm: Option<Endpoint>,
    /// Some process stops, or has once stopped, at its calls: all others need not be looked at.
    pub(crate) has_traced_calls: bool,
    pub(crate) ready: Ready,
    pub(crate) interrupts: Interrupts,
    pub(crate) mail: mail::Pool,
    pub(crate) alarms: Alarms,
    pub(crate) wall_clock: WallClock,
    pub(crate) requests: Requests,
    pub(crate) entropy: Entropy,
    /// What the kernel was started with.
    pub(crate) parameters: Vec<u8>,
    /// Processes that could run, summed over all ticks.
    pub(crate) ready_ticks: u64,
    pub(crate) ended: Option<ExitCode>,
    /// How long the machine may be busy.
    pub(crate) limit_ns: u64,
    /// Because of which process the machine has ended, for those who look at it from outside.
    pub(crate) culprit: Endpoint,
    pub(crate) recorder: Recorder,
    /// What a debugger asks for.
    pub(crate) wishes: Wishes,
    /// What is reported beside the result, if anything is.
    pub(crate) reporting: Option<Reporting>,
    /// Somebody can be stopped now who was to be stopped as soon as that.
    pub(crate) delays_are_over: bool,
    /// The machine has ended, a debugger wants something, somebody can be stopped at last, or there is something to report:
    /// before it is the turn of the first who can run there is something else to do.
    pub(crate) is_out_of_turn: bool,
}

/// What the machine does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Runs a process until it traps.
    Run(Slot),
    /// Goes on with a process's kernel call, by [`Kernel::go_on`], and looks for interrupts.
    Continue(Slot),
    /// Waits for an interrupt.
    Idle,
    /// What [`Kernel::out_of_turn`] says.
    OutOfTurn,
}

/// What the machine does next when there is more to it than whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutOfTurn {
    /// Stops.
    End(ExitCode),
    /// Asks the debugger: something happened that it wants to hear of, or nobody whom it lets run can.
    Debugger,
    /// As [`Next::Run`]; with a debugger, whom alone it lets run.
    Run(Slot),
    /// As [`Next::Continue`], the same.
    Continue(Slot),
    /// As [`Next::Idle`].
    Idle,
}

/// Why a process of the boot image can't be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddError {
    /// Another process has the name, or it is the kernel's.
    NameTaken,
    /// Another process has the slot.
    SlotTaken,
    /// The slot is not below the limit of processes.
    SlotOutOfRange,
    /// There are as many services as sets of privileges.
    TooManyServices,
    /// No process has that slot.
    NoSuchSlot,
    /// There is no such interrupt line.
    NoSuchLine,
    /// It would have more ranges of ports than a service can have.
    TooManyPorts,
    /// Another process manages memory.
    SecondVm,
    /// Processes would schedule each other.
    SchedulerCircle,
}

impl core::fmt::Display for AddError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::NameTaken => "another process, or the kernel, has the same name",
            Self::SlotTaken => "another process has the same slot",
            Self::SlotOutOfRange => "its slot is out of range (raise processes= on the command line)",
            Self::TooManyServices => "there are too many services",
            Self::NoSuchSlot => "the manifest names a slot that no process has",
            Self::NoSuchLine => "the machine has no such interrupt line",
            Self::TooManyPorts => "a service has more than 64 ranges of ports",
            Self::SchedulerCircle => "it would be scheduled by a process that it schedules, or by itself",
            Self::SecondVm => "another process manages memory (class vm) already",
        })
    }
}

impl core::error::Error for AddError {}

/// How many ranges of ports a service can have.
pub(crate) const PORT_RANGES: usize = 64;
/// How many ranges of physical memory a service can have.
pub(crate) const MEMORY_RANGES: usize = 64;

impl<M: Machine> Kernel<M> {
    /// A kernel without processes, and with room for as many as `slots`.
    pub fn new(machine: M, slots: u16) -> Self {
        let processes = Table::new(slots);
        Self {
            interrupts: Interrupts::new(machine.irq_lines()),
            machine,
            log: Log::default(),
            links: Links::new(processes.len()),
            mail: mail::Pool::new(processes.len()),
            alarms: Alarms::new(processes.len()),
            wall_clock: WallClock::default(),
            requests: Requests::new(processes.len()),
            entropy: Entropy::default(),
            parameters: Vec::new(),
            ready_ticks: 0,
            processes,
            privileges: Vec::with_capacity(Id::LIMIT),
            programs: None,
            vm: None,
            has_traced_calls: false,
            ready: Ready::default(),
            ended: None,
            limit_ns: u64::MAX,
            culprit: Endpoint::NONE,
            recorder: Recorder::new(),
            wishes: Wishes::default(),
            reporting: None,
            delays_are_over: false,
            is_out_of_turn: false,
        }
    }

    /// Keeps the command line, as much of it as is of sensible length, for services that ask for it.
    pub fn keep_parameters(&mut self, command_line: &[u8]) {
        const KEPT: usize = 4096;
        self.parameters = command_line[..command_line.len().min(KEPT)].to_vec();
    }

    /// Tells whether a process of the boot image could be added, before its memory is set up.
    ///
    /// # Errors
    /// If its name or slot can't be had.
    pub fn check(&self, wanted: &boot::Process) -> Result<(), AddError> {
        let slot = Slot::new(wanted.slot);
        let is_taken = self.processes.iter().any(|(_, process)| process.name == wanted.name);
        if is_taken || wanted.name.as_str() == crate::log::KERNEL {
            return Err(AddError::NameTaken);
        }
        if usize::from(wanted.slot) >= self.processes.len() {
            return Err(AddError::SlotOutOfRange);
        }
        if wanted.class.admits(Callers::VM) && self.vm().is_some() {
            return Err(AddError::SecondVm);
        }
        self.processes.free_endpoint(slot).map(|_| ()).ok_or(AddError::SlotTaken)
    }

    /// Adds a process of the boot image, ready to run.
    ///
    /// # Errors
    /// As [`Kernel::check`], or if there are too many services.
    pub fn add(
        &mut self,
        wanted: &boot::Process,
        context: M::Context,
        space: M::Space,
    ) -> Result<Slot, AddError> {
        self.check(wanted)?;
        let slot = Slot::new(wanted.slot);
        let endpoint = self.processes.free_endpoint(slot).ok_or(AddError::SlotTaken)?;
        let privileges = self.privileges_for(wanted, endpoint)?;
        let priority = scheduler::priority(wanted.priority);
        let quantum_ticks = scheduler::ticks(&self.machine, wanted.quantum_ms);
        let identity = Identity { endpoint, name: wanted.name, class: wanted.class, privileges };
        let process = Process {
            priority,
            quantum_ticks,
            quantum_left: quantum_ticks,
            ends_machine: wanted.ends_machine,
            ..Process::new(identity, context, space)
        };
        self.processes.insert(slot, process);
        self.space_changed();
        if wanted.class.admits(Callers::VM) {
            self.vm = Some(endpoint);
        }
        self.ready.enter(&mut self.links, slot, priority);
        Ok(slot)
    }

    fn privileges_for(&mut self, wanted: &boot::Process, endpoint: Endpoint) -> Result<Id, AddError> {
        if let Some(shared) = self.programs.filter(|_| wanted.is_program()) {
            return Ok(shared);
        }
        let id = Id::new(self.privileges.len()).ok_or(AddError::TooManyServices)?;
        self.privileges.push(Privileges {
            traps: wanted.traps,
            kernel_calls: wanted.kernel_calls & calls::ALL,
            grants_magic: wanted.grants_magic && !wanted.is_program(),
            ..Privileges::nothing(if wanted.is_program() { Endpoint::NONE } else { endpoint })
        });
        if wanted.is_program() {
            self.programs = Some(id);
        }
        Ok(id)
    }

    /// Lets two processes send to each other.
    ///
    /// Nobody gets leave to send to itself; in particular no program to another program.
    ///
    /// # Errors
    /// If a slot is empty.
    pub fn allow_pair(&mut self, pair: boot::Pair) -> Result<(), AddError> {
        let from = self.privileges_of_slot(pair.from)?;
        let to = self.privileges_of_slot(pair.to)?;
        if from != to {
            self.let_send(from, to);
        }
        Ok(())
    }

    /// Gives leave to send to somebody, who may answer.
    pub(crate) fn let_send(&mut self, from: Id, to: Id) {
        self.privileges[from.index()].send_to.insert(Notifier::Service(to));
        // Who can only receive needs no leave to answer.
        if self.privileges[to.index()].traps & !Primitive::Receive.bit() != 0 {
            self.privileges[to.index()].send_to.insert(Notifier::Service(from));
        }
    }

    /// Lets a process use ports.
    ///
    /// # Errors
    /// If the slot is empty, or there are too many ranges.
    pub fn allow_ports(&mut self, ports: boot::Ports) -> Result<(), AddError> {
        let id = self.privileges_of_slot(ports.slot)?;
        let ranges = &mut self.privileges[id.index()].ports;
        if ranges.len() >= PORT_RANGES || ranges.try_reserve(1).is_err() {
            return Err(AddError::TooManyPorts);
        }
        ranges.push((ports.first, ports.last));
        Ok(())
    }

    /// Lets a process attach to an interrupt line.
    ///
    /// # Errors
    /// If the slot is empty or there is no such line.
    pub fn allow_irq(&mut self, irq: boot::Irq) -> Result<(), AddError> {
        let id = self.privileges_of_slot(irq.slot)?;
        if irq.line >= self.machine.irq_lines() {
            return Err(AddError::NoSuchLine);
        }
        self.privileges[id.index()].irqs |= 1 << irq.line;
        Ok(())
    }

    /// Says who looks after a process, or after all programs.
    ///
    /// # Errors
    /// If the slot is empty, or if the scheduler would wait for a process that waits for it.
    pub fn set_managers(&mut self, managers: boot::Managers) -> Result<(), AddError> {
        let id = self.privileges_of_slot(managers.slot)?;
        let boot::Managers { signal_manager, backup_manager, scheduler, .. } = managers;
        if self.is_scheduled_by(scheduler, Slot::new(managers.slot)) {
            return Err(AddError::SchedulerCircle);
        }
        let privileges = &mut self.privileges[id.index()];
        privileges.set_managers(signal_manager, backup_manager);
        privileges.scheduler = scheduler;
        self.processes.process_mut(Slot::new(managers.slot)).scheduler =
            (scheduler != Endpoint::NONE).then_some(scheduler);
        Ok(())
    }

    fn privileges_of_slot(&self, slot: u16) -> Result<Id, AddError> {
        self.processes.get(Slot::new(slot)).map(|process| process.privileges).ok_or(AddError::NoSuchSlot)
    }

    /// What to do now.
    #[must_use]
    pub fn next(&self) -> Next {
        if self.is_out_of_turn {
            return Next::OutOfTurn;
        }
        match self.ready.first() {
            Some(slot) if self.processes.process(slot).memory.call.parked.goes_on() => Next::Continue(slot),
            Some(slot) => Next::Run(slot),
            None => Next::Idle,
        }
    }

    /// The registers and memory of a process that [`Next::Run`] named.
    pub fn to_run(&mut self, slot: Slot) -> (&mut M, &mut M::Context, &M::Space) {
        let process = self.processes.process_mut(slot);
        (&mut self.machine, &mut process.context, &process.space)
    }

    /// All processes.
    #[must_use]
    pub const fn processes(&self) -> &Table<M> {
        &self.processes
    }

    /// Where all this is in memory, for those who look at it from outside. `layout` has what only the
    /// machine knows. The kernel must not be moved any more.
    #[must_use]
    pub fn layout(&self, layout: Layout) -> Layout {
        let recorder = &self.recorder;
        self.processes.layout(Layout {
            magic: Layout::MAGIC,
            event_sources: address(&recorder.sources),
            event_receivers: address(&recorder.receivers),
            event_calls: address(&recorder.calls),
            event_count: Recorder::EVENTS as u64,
            next_event: address(&recorder.next),
            culprit: address(&self.culprit),
            ..layout
        })
    }

    /// What a process may do.
    pub(crate) fn privileges_of(&self, slot: Slot) -> &Privileges {
        &self.privileges[self.processes.process(slot).privileges.index()]
    }
}

/// Where a value is in memory.
pub(crate) fn address<T: ?Sized>(value: &T) -> u64 {
    core::ptr::from_ref(value).addr() as u64
}
