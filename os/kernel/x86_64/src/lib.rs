//! What the kernel does to the processor: start-up, page tables, traps, timers, ports.
//!
//! Mechanism only: whom to run and whom to refuse is for kernel-core to say. This crate and no
//! other part of the kernel has unsafe code; each piece of it stands beside a safe function
//! that states what it relies on. One processor, interrupts off in ring 0.
#![no_std]
#![expect(unsafe_code, reason = "this crate is the kernel's unsafe part")]

mod apic;
mod boot;
mod context;
mod copy;
pub mod debug;
mod descriptors;
mod layout;
mod line;
mod machine;
mod memory;
mod paging;
mod port;
mod report;
mod serial;
mod timer;
mod trap;
pub mod watchdog;

pub use boot::{BootInfo, StartInfo};
pub use context::Context;
pub use line::load;
pub use machine::{Event, Exit, Hardware, Struck, init};
pub use memory::{Block, PhysicalMemory};
pub use paging::{AddressSpace, protections};
pub use port::{Console, let_inspect};
pub use report::{report, stop};
pub use serial::Com2;
pub use timer::idle_addresses;
pub use trap::{exception_address, provoke_exception, provoke_loop, provoke_triple_fault, stack_trace};
