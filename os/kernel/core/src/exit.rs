//! How a process ends, and what becomes of those who waited for it.

#[cfg(test)]
mod tests;

use crate::Kernel;
use crate::fault::Fault;
use crate::log::Line;
use crate::machine::{Context, Machine};
use crate::privilege::{Id, Notifier, Privileges};
use crate::process::{Ipc, Slot, Stops};
use crate::signals::MANAGED;
use abi::boot::ExitCode;
use abi::protocols::Level;
use abi::report::{Cause, Ended, Exited, Report};
use abi::{Callers, Endpoint, Errno, Signal, Signals};
use core::fmt;

/// The status of a process that panicked: what a Rust program exits with.
pub(crate) const PANICKED: i32 = 101;

/// How a process ends whose signals nobody deals with.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Doom {
    /// By what the processor refused to do for it, which is in the log already.
    Fault,
    /// By a signal that it was sent.
    Signal(Signal),
}

impl<M: Machine> Kernel<M> {
    /// The processor refused an instruction of a process. VM may resolve it; if not, its signal
    /// manager says what becomes of the process; if there is none, it ends here.
    #[cold]
    pub fn fault(&mut self, slot: Slot, fault: Fault) {
        match fault {
            Fault::Page { address, access } if self.tell_vm_of_fault(slot, address, access) => return,
            Fault::Exception { vector: Fault::DEBUG_VECTOR, .. } => {
                self.processes.process_mut(slot).step_for_tracer(false);
            }
            Fault::Page { .. } | Fault::Exception { .. } => {}
        }
        self.fault_unresolved(slot, fault);
        self.settle_orphans();
    }

    /// A fault that VM does not resolve becomes a signal, or the end.
    pub(crate) fn fault_unresolved(&mut self, slot: Slot, fault: Fault) {
        let signal = fault.signal();
        let process = self.processes.process(slot);
        // What is wrong with a program is a matter of its manager's, and so is a step of a traced process.
        let is_silent = self.manager_of(slot).is_some()
            && (process.class.admits(Callers::PROGRAM) || !Signals::LETHAL.contains(signal));
        if !is_silent {
            let instruction = process.context.instruction_pointer();
            // The kernel says it, so that no process can say it of itself.
            let text = format_args!("{}: {fault} at {instruction:#x}", process.name);
            self.log.line(&mut self.machine, Line::kernel(Level::Error), text);
            self.log_stack(slot);
        }
        if self.cause_signal(slot, signal).is_err() {
            self.end_unmanaged(slot, signal, Doom::Fault);
        }
    }

    /// Ends a process by a signal that nobody deals with, as soon as a debugger that wants to has heard of it. Orphans are
    /// for the caller to settle.
    pub(crate) fn end_unmanaged(&mut self, slot: Slot, signal: Signal, doom: Doom) {
        self.signal_raised(slot, signal);
        if !self.doom(slot, doom) {
            self.fulfil(slot, doom);
        }
    }

    /// Ends a process in the way that it is to end.
    pub(crate) fn fulfil(&mut self, slot: Slot, doom: Doom) {
        match doom {
            Doom::Fault => self.take_out_for_good(slot, Cause::Fault),
            Doom::Signal(signal) => self.end_process(slot, format_args!("ended by {signal}")),
        }
    }

    /// Ends a process by a signal that nobody deals with, and says why.
    pub(crate) fn end_process(&mut self, slot: Slot, why: fmt::Arguments<'_>) {
        let name = self.processes.process(slot).name;
        self.log.line(&mut self.machine, Line::kernel(Level::Error), format_args!("{name}: {why}"));
        self.take_out_for_good(slot, Cause::Signal);
    }

    /// Takes a process out, and the machine with it if that ran for it. Orphans are for the caller to settle.
    fn take_out_for_good(&mut self, slot: Slot, cause: Cause) {
        let process = self.processes.process(slot);
        if process.ends_machine {
            let ended = Ended { process: process.name, cause };
            self.end_because_of(Some(slot), ExitCode::ServiceFault, Report::Ended(ended));
        }
        self.take_out(slot);
    }

    /// Frees the slot of a process whose manager wants it gone.
    pub(crate) fn clear(&mut self, slot: Slot) {
        self.take_out_for_good(slot, Cause::Manager);
        self.settle_orphans();
    }

    /// A process asked to end: its manager learns of it and frees the slot. Without one, that is done here.
    pub(crate) fn exit(&mut self, slot: Slot, status: i32) {
        let process = self.processes.process(slot);
        let (name, ends_machine) = (process.name, process.ends_machine);
        if status == PANICKED {
            self.log_stack(slot);
        }
        // The machine that runs for a process has no time for anybody to clear up behind it.
        if !ends_machine && self.cause_signal(slot, Signal::ABRT).is_ok() {
            self.stop(slot, Stops::ENDED);
        } else {
            if ends_machine && status == PANICKED {
                let ended = Ended { process: name, cause: Cause::Panic };
                self.end_because_of(Some(slot), ExitCode::ServiceFault, Report::Ended(ended));
            } else if ends_machine {
                self.end_by_exit(Exited { process: name, status });
            }
            self.remove(slot);
        }
        if ends_machine || status != 0 {
            self.log.line(
                &mut self.machine,
                Line::kernel(Level::Info),
                format_args!("{name} exited with status {status}"),
            );
        }
    }

    /// A service stops the machine.
    pub(crate) fn abort(&mut self, slot: Slot, status: i32) {
        let name = self.processes.process(slot).name;
        self.remove(slot);
        self.log.line(
            &mut self.machine,
            Line::kernel(Level::Info),
            format_args!("{name} stopped the machine with status {status}"),
        );
        self.end_by_exit(Exited { process: name, status });
    }

    fn end_by_exit(&mut self, exited: Exited) {
        let code = if exited.status == 0 { ExitCode::Success } else { ExitCode::Failure };
        self.end(code, Some(Report::Exited(exited)));
    }

    /// Stops the machine, and reports the result, if it has one. The first reason counts.
    pub(crate) fn end(&mut self, code: ExitCode, result: Option<Report>) {
        if self.ended.is_none() {
            self.ended = Some(code);
            if let Some(result) = result {
                self.machine.report(&result);
            }
        }
        self.is_out_of_turn = true;
    }

    /// Stops the machine for what a process did, or nobody did, and lets it be looked at: so all must still be there.
    fn end_because_of(&mut self, slot: Option<Slot>, code: ExitCode, result: Report) {
        if self.ended.is_none() {
            self.culprit = slot.map_or(Endpoint::NONE, |slot| self.processes.process(slot).endpoint);
            self.end(code, Some(result));
            self.machine.let_inspect();
        }
    }

    /// How long the machine may be busy, in milliseconds since the kernel's start.
    pub fn set_limit_ms(&mut self, limit_ms: u32) {
        self.limit_ns = u64::from(limit_ms) * 1_000_000;
    }

    /// Stops the machine if it has been busy for too long. `running` is whose turn it is.
    pub fn check_limit(&mut self, running: Option<Slot>) {
        if self.limit_ns != u64::MAX && self.machine.busy_and_idle_ns().0 >= self.limit_ns {
            self.end_because_of(running, ExitCode::Limit, Report::Overran);
        }
    }

    /// Logs where a process is, as something that is wrong.
    pub(crate) fn log_stack(&mut self, slot: Slot) {
        self.log_stack_as(slot, Level::Error);
    }

    /// Logs where a process is, outwards from the innermost frame.
    pub(crate) fn log_stack_as(&mut self, slot: Slot, level: Level) {
        let process = self.processes.process(slot);
        let text = format_args!("{}: stacktrace: {:#x}", process.name, process.context.instruction_pointer());
        self.log.start(&mut self.machine, Line::kernel(level), text);
        let mut frames = [0_u64; 32];
        let mut count = 0;
        self.machine.trace(&process.context, &process.space, &mut |address| {
            if let Some(frame) = frames.get_mut(count) {
                *frame = address;
                count += 1;
            }
        });
        for frame in &frames[..count] {
            self.log.more(&mut self.machine, format_args!(" {frame:#x}"));
        }
        self.log.end(&mut self.machine);
    }

    /// Takes a process out of the system, and sees to those that it leaves behind.
    fn remove(&mut self, slot: Slot) {
        self.take_out(slot);
        self.settle_orphans();
    }

    /// Takes a process out of its queue, and out of everybody's expectations.
    fn take_out(&mut self, slot: Slot) {
        // Those that it leaves behind may have something to tell it as their manager: it runs no more. But it waits for
        // nobody either, so no circle can go through it.
        self.stop(slot, Stops::STOPPED);
        self.resume(slot, MANAGED.with(Stops::PAGE_FAULT));
        self.settle_account(slot);
        let process = self.processes.process(slot);
        let (endpoint, privileges) = (process.endpoint, process.privileges);
        if let Ipc::Sending { to, .. } = process.ipc {
            self.processes.process_mut(to).callers.remove(&mut self.links, slot);
        }
        self.processes.process_mut(slot).ipc = Ipc::Idle;
        self.interrupts.detach(&mut self.machine, slot);
        self.alarms.cancel(slot);
        self.schedule_without(endpoint);
        self.drop_letters(slot, |_| true);
        self.lose_letters_to(slot);
        self.forget_requests(slot);
        self.release_waiting(slot, endpoint);
        if self.privileges[privileges.index()].owner == endpoint {
            self.free_privileges(privileges);
        }
        if let Some(process) = self.processes.remove(slot) {
            self.machine.release(process.space);
            self.space_changed();
        }
    }

    /// Frees privileges whose owner is gone, so that nobody keeps leave to send to the next one who has them.
    pub(crate) fn free_privileges(&mut self, id: Id) {
        self.privileges[id.index()] = Privileges::nothing(Endpoint::NONE);
        for privileges in &mut self.privileges {
            privileges.send_to.remove(Notifier::Service(id));
        }
        for (_, other) in self.processes.iter_mut() {
            other.notifications.remove(Notifier::Service(id));
        }
    }

    /// Whoever waits for a process goes on with `EDEADSRCDST`.
    pub(crate) fn release_waiting(&mut self, slot: Slot, endpoint: Endpoint) {
        for waiting in self.processes.slots() {
            let Some(process) = self.processes.get(waiting) else { continue };
            match process.ipc {
                Ipc::Sending { to, .. } if to == slot => {
                    self.processes.process_mut(slot).callers.remove(&mut self.links, waiting);
                }
                Ipc::Receiving { from, .. } if from == endpoint && waiting != slot => {}
                _ => continue,
            }
            if self.processes.process(waiting).stops.contains(Stops::PAGE_FAULT) {
                // Its registers are those at the fault, which is not yet resolved.
                self.wake(waiting);
                continue;
            }
            self.processes.process_mut(waiting).context.set_result(Errno::EDEADSRCDST.to_status());
            self.wake(waiting);
            self.end_delay(waiting);
        }
    }
}
