//! What the kernel decides: who runs, who may send to whom, who gets which message.
//!
//! Everything here is safe code over plain data, so that all of it runs under test on the
//! host. What it needs from the processor stands in the traits of [`machine`], which
//! kernel/x86_64 implements and the tests imitate.
//!
//! A [`Kernel`] is driven by one loop: ask [`Kernel::next`] whom to run, run it until it traps,
//! hand the event to [`Kernel::trap`], [`Kernel::fault`], [`Kernel::interrupt`] or
//! [`Kernel::tick`]. Nothing here is reentrant, and nothing needs to be: interrupts are off
//! while the kernel runs.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod calls;
mod clock;
pub mod command_line;
pub mod debugging;
pub mod elf;
mod entropy;
mod exit;
pub mod fault;
pub mod frames;
pub mod image;
mod interrupts;
pub mod ipc;
mod kernel;
pub mod list;
pub mod load;
pub mod log;
pub mod machine;
pub mod memory;
mod page_faults;
pub mod privilege;
pub mod process;
mod recorder;
mod reporting;
mod scheduler;
mod signals;
mod time_limit;
mod tracing;
mod update;

#[cfg(test)]
mod fake;

pub use ipc::mail::bytes as mail_bytes;
pub use kernel::{AddError, Kernel, Next, OutOfTurn};
pub use process::Slot;
