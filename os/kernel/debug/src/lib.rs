//! The debugger's half that is in the kernel: gdb sees the system as one program, in which the kernel and each
//! process is a thread.
//!
//! Safe code over plain data like kernel-core, so that it runs under test on the host; what it needs of the machine
//! stands in [`machine`]. gdbstub speaks gdb's protocol. Here is what its packets mean for this system
//! ([`System`]), and when the system stops and goes on ([`Stub`]).
//!
//! The system stops as a whole: while gdb has its attention, nobody runs and no time passes. Nobody but the
//! kernel's loop and its trap handler calls anything here, and the loop only where something happens that is rare
//! anyway, so that a debugger that isn't there costs nothing.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod arch;
mod breakpoints;
pub mod machine;
mod monitor;
mod packets;
mod session;
mod state;
mod step;
mod stub;
mod target;
#[cfg(test)]
mod tests;

pub use arch::{Block, Number, X86_64};
pub use stub::{Happened, Reaction, Stub};

use kernel_core::Kernel;
use kernel_core::machine::Machine;

/// The kernel, and what a debugger wants of it.
pub struct System<M: Machine> {
    /// The kernel.
    pub kernel: Kernel<M>,
    state: state::State,
}

impl<M: Machine> System<M> {
    /// A system that nobody debugs.
    #[must_use]
    pub fn new(kernel: Kernel<M>) -> Self {
        Self { kernel, state: state::State::new() }
    }

    /// Forgets what a debugger wanted that is gone.
    fn forget(&mut self) {
        self.state.forget();
        self.kernel.trace_calls(false);
    }
}
