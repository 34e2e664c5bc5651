//! What a tracer sees of a process.
//!
//! A step is the processor's own. A stop at a call goes back to the instruction that trapped, which
//! traps once more when the process goes on and is then let through; the stop behind the call is a
//! step of the instruction that follows.

use crate::Kernel;
use crate::machine::{Context, Machine};
use crate::process::{Process, Slot};
use abi::ipc::Primitive;
use abi::protocols;
use abi::registers::Register;
use abi::{Endpoint, Signal};

/// How a process is traced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tracing {
    /// It stops at its calls.
    stops_at_calls: bool,
    /// It has stopped at the call that comes next.
    has_stopped: bool,
    steps: Steps,
}

/// For whom a process comes back behind its next instruction. Any of them sets the processor's flag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Steps {
    for_tracer: bool,
    for_debugger: bool,
    /// It had set the flag before the debugger did.
    for_itself: bool,
}

/// Raises a debug exception after each instruction.
const TRAP_FLAG: u64 = 1 << 8;

impl<M: Machine> Process<M> {
    /// Lets it make a step for its tracer; or goes on for that one, and for itself.
    pub fn step_for_tracer(&mut self, on: bool) {
        let steps = &mut self.tracing.steps;
        (steps.for_tracer, steps.for_itself) = (on, false);
        self.context.set_single_step(on || steps.for_debugger);
    }

    /// Lets it make a step for the debugger, or no longer; what others want stays.
    pub fn step_for_debugger(&mut self, on: bool) {
        let steps = &mut self.tracing.steps;
        if on && !steps.for_debugger && !steps.for_tracer {
            steps.for_itself = self.context.registers()[Register::Rflags as usize] & TRAP_FLAG != 0;
        }
        steps.for_debugger = on;
        self.context.set_single_step(on || steps.for_tracer || steps.for_itself);
        if !on {
            steps.for_itself = false;
        }
    }

    /// Tells whether it makes a step for its tracer.
    #[must_use]
    pub const fn is_stepped_by_tracer(&self) -> bool {
        self.tracing.steps.for_tracer
    }

    /// Tells whether it would make a step without the debugger as well.
    #[must_use]
    pub const fn steps_anyway(&self) -> bool {
        self.tracing.steps.for_tracer || self.tracing.steps.for_itself
    }
}

impl Tracing {
    /// The call at which it stopped will not be made: it goes on somewhere else.
    pub(crate) const fn forget_stop(&mut self) {
        self.has_stopped = false;
    }
}

impl<M: Machine> Kernel<M> {
    /// Lets a process go on as its tracer says.
    pub(crate) fn trace(&mut self, slot: Slot, how: protocols::Tracing) {
        self.has_traced_calls |= how == protocols::Tracing::Calls;
        let process = self.processes.process_mut(slot);
        process.tracing.stops_at_calls = how == protocols::Tracing::Calls;
        if how != protocols::Tracing::Calls {
            process.tracing.forget_stop();
        }
        process.step_for_tracer(how == protocols::Tracing::Step);
    }

    /// Stops a traced process at a call, and tells whether it did.
    #[cold]
    pub(crate) fn stop_at_call(&mut self, slot: Slot, primitive: u64, endpoint: Endpoint) -> bool {
        self.log_call(slot, primitive, endpoint);
        self.count_call(slot, primitive);
        if Primitive::from_number(primitive) == Some(Primitive::KernelCall) {
            return false;
        }
        let process = self.processes.process_mut(slot);
        if !process.tracing.stops_at_calls {
            return false;
        }
        if process.tracing.has_stopped {
            process.tracing.forget_stop();
            process.step_for_tracer(true);
            return false;
        }
        if self.cause_signal(slot, Signal::TRAP).is_err() {
            return false;
        }
        let process = self.processes.process_mut(slot);
        process.tracing.has_stopped = true;
        process.context.repeat_trap();
        true
    }
}
