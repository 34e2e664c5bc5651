//! How a process ends, and what becomes of those who waited for it.

use crate::Kernel;
use crate::fault::Fault;
use crate::log::Line;
use crate::machine::{Context, Machine};
use crate::privilege::Notifier;
use crate::process::{Ipc, Slot};
use abi::boot::ExitCode;
use abi::protocols::Level;
use abi::{Endpoint, Errno};

/// The status of a process that panicked: what a Rust program exits with.
pub(crate) const PANICKED: i32 = 101;

impl<M: Machine> Kernel<M> {
    /// The processor refused an instruction of a process, which ends here.
    pub fn fault(&mut self, slot: Slot, fault: Fault) {
        let process = self.processes.process(slot);
        let instruction = process.context.instruction_pointer();
        // The kernel says it, so that no process can say it of itself.
        let text = format_args!("{}: {fault} at {instruction:#x}", process.name);
        self.log.line(&mut self.machine, Line::kernel(Level::Error), text);
        self.log_stack(slot);
        let ends_machine = self.processes.process(slot).ends_machine;
        self.remove(slot);
        if ends_machine {
            self.end(ExitCode::ServiceFault);
        }
    }

    /// A process asked to end.
    pub(crate) fn exit(&mut self, slot: Slot, status: i32) {
        let process = self.processes.process(slot);
        let (name, ends_machine) = (process.name, process.ends_machine);
        let (level, code) = match status {
            0 => (Level::Info, ExitCode::Success),
            PANICKED => (Level::Error, ExitCode::ServiceFault),
            _ => (Level::Info, ExitCode::Failure),
        };
        if level == Level::Error {
            self.log_stack(slot);
        }
        self.remove(slot);
        if ends_machine || status != 0 {
            self.log.line(
                &mut self.machine,
                Line::kernel(Level::Info),
                format_args!("{name} exited with status {status}"),
            );
        }
        if ends_machine {
            self.end(code);
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
        self.end(if status == 0 { ExitCode::Success } else { ExitCode::Failure });
    }

    /// Stops the machine. The first reason counts.
    pub(crate) fn end(&mut self, code: ExitCode) {
        self.ended.get_or_insert(code);
    }

    /// Logs where a process is, outwards from the innermost frame.
    fn log_stack(&mut self, slot: Slot) {
        let process = self.processes.process(slot);
        let text = format_args!("{}: stacktrace: {:#x}", process.name, process.context.instruction_pointer());
        self.log.start(&mut self.machine, Line::kernel(Level::Error), text);
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

    /// Takes a process out of the system: out of its queue, and out of everybody's expectations.
    fn remove(&mut self, slot: Slot) {
        let process = self.processes.process(slot);
        let (endpoint, privileges, priority) = (process.endpoint, process.privileges, process.priority);
        match process.ipc {
            Ipc::Idle if process.is_ready() => self.ready.leave(&mut self.links, slot, priority),
            Ipc::Sending { to, .. } => self.processes.process_mut(to).callers.remove(&mut self.links, slot),
            Ipc::Idle | Ipc::Receiving { .. } => {}
        }
        self.interrupts.detach(&mut self.machine, slot);
        self.forget_requests(slot);
        self.release_waiting(slot, endpoint);
        if self.privileges[privileges.index()].owner == endpoint {
            self.privileges[privileges.index()].owner = Endpoint::NONE;
            for (_, other) in self.processes.iter_mut() {
                other.notifications.remove(Notifier::Service(privileges));
            }
        }
        if let Some(process) = self.processes.remove(slot) {
            self.machine.release(process.space);
        }
    }

    /// Whoever waits for a process that ends goes on with `EDEADSRCDST`.
    fn release_waiting(&mut self, slot: Slot, endpoint: Endpoint) {
        for number in 0..self.processes.len() {
            let Some(waiting) = u16::try_from(number).ok().map(Slot::new) else { return };
            let Some(process) = self.processes.get(waiting) else { continue };
            match process.ipc {
                Ipc::Sending { to, .. } if to == slot => {
                    self.processes.process_mut(slot).callers.remove(&mut self.links, waiting);
                }
                Ipc::Receiving { from, .. } if from == endpoint && waiting != slot => {}
                _ => continue,
            }
            self.processes.process_mut(waiting).context.set_result(Errno::EDEADSRCDST.to_status());
            self.wake(waiting);
        }
    }
}
