//! What the kernel needs of the machine it runs on.

use crate::memory::{CopyFault, PhysicalRange, Place, Side, UserPage};
use abi::protocols::Width;
use abi::registers::{FloatRegisters, Registers};
use abi::report::Report;
use abi::{Errno, Message, PageAccess};

/// The processor and the devices that the kernel itself uses.
pub trait Machine {
    /// The saved registers of a process.
    type Context: Context;
    /// An address space, owned by one process.
    type Space;

    /// Nanoseconds since the kernel started.
    fn uptime_ns(&mut self) -> u64;
    /// Nanoseconds since then in which it was busy, and in which it waited for interrupts.
    fn busy_and_idle_ns(&mut self) -> (u64, u64);
    /// Clock ticks a second, while the clock ticks.
    fn tick_hz(&self) -> u32;
    /// Writes a byte to the kernel's log.
    fn log(&mut self, byte: u8);
    /// Lets whoever watches the machine look at it as it is now, if anybody does. Something ends it.
    fn let_inspect(&mut self);
    /// Tells those who judge the run.
    fn report(&mut self, report: &Report);
    /// Reads a port whose alignment was checked.
    fn read_port(&mut self, port: u16, width: Width) -> u32;
    /// Writes a port whose alignment was checked.
    fn write_port(&mut self, port: u16, width: Width, value: u32);
    /// How many interrupt lines there are.
    fn irq_lines(&self) -> u8;
    /// Lets interrupts of a line through, or holds them back.
    fn set_irq_enabled(&mut self, line: u8, enabled: bool);
    /// Frees the memory of a process that has ended.
    fn release(&mut self, space: Self::Space);
    /// An address space with nothing of a process in it, or `None` if memory is short.
    fn new_space(&mut self) -> Option<Self::Space>;
    /// Calls `visit` with the return addresses on a process's stack, innermost first.
    fn trace(&self, context: &Self::Context, space: &Self::Space, visit: &mut dyn FnMut(u64));

    /// Copies memory; both places have the same length. The source is looked at first.
    ///
    /// # Errors
    /// If a page is missing or, of the target, may not be written. What lies before is copied.
    fn copy(&mut self, from: Place<'_, Self::Space>, to: Place<'_, Self::Space>) -> Result<(), CopyFault>;
    /// Fills memory with a byte.
    ///
    /// # Errors
    /// As [`Machine::copy`]: the place is the target.
    fn fill(&mut self, to: Place<'_, Self::Space>, byte: u8) -> Result<(), CopyFault>;
    /// Copies memory into the kernel; both have the same length.
    ///
    /// # Errors
    /// As [`Machine::copy`]: the place is the source.
    fn read(&mut self, from: Place<'_, Self::Space>, into: &mut [u8]) -> Result<(), CopyFault>;
    /// Copies bytes of the kernel out; both have the same length.
    ///
    /// # Errors
    /// As [`Machine::copy`]: the place is the target.
    fn write(&mut self, from: &[u8], to: Place<'_, Self::Space>) -> Result<(), CopyFault>;
    /// The physical memory that a place starts with, as far as it follows each other.
    ///
    /// # Errors
    /// If its first page is missing or, for the target of something, may not be written.
    fn translate(&mut self, place: &Place<'_, Self::Space>, side: Side) -> Result<PhysicalRange, CopyFault>;

    /// Takes frames for VM that follow each other, zeroed; the address of the first.
    fn take_frames(&mut self, count: u32) -> Option<u64>;
    /// Takes frames back from VM.
    ///
    /// # Errors
    /// `EPERM` if one is not VM's, `EBUSY` if one is mapped.
    fn give_frames(&mut self, frames: PhysicalRange) -> Result<(), Errno>;
    /// Maps a frame of VM's into a process.
    ///
    /// # Errors
    /// `EPERM` if the frame is not VM's, `EEXIST` if there is a page, `ENOMEM` if there is no memory
    /// for a table, or no number for one mapping more.
    fn map_page(
        &mut self,
        space: &mut Self::Space,
        page: UserPage,
        frame: PhysicalRange,
        access: PageAccess,
    ) -> Result<(), Errno>;
    /// Maps a page of a device's into a process, to be read or written past the caches. No copy reaches it.
    ///
    /// # Errors
    /// `EPERM` if it is memory, or a device of the kernel's own; else as [`Machine::map_page`].
    fn map_device(
        &mut self,
        space: &mut Self::Space,
        page: UserPage,
        device: PhysicalRange,
        access: PageAccess,
    ) -> Result<(), Errno>;
    /// Takes a page away from a process. The address of its frame, which is VM's from now on, unless it is a device's.
    fn unmap_page(&mut self, space: &mut Self::Space, page: UserPage) -> Option<u64>;
    /// Takes all pages of devices away from a process.
    fn unmap_devices(&mut self, space: &mut Self::Space);
    /// Changes what a process may do to a page, if there is one.
    fn protect_page(&mut self, space: &mut Self::Space, page: UserPage, access: PageAccess) -> Option<()>;
}

/// The saved registers of a process, as far as the kernel gives them a meaning.
pub trait Context: Clone {
    /// The message in the message registers.
    fn message(&self) -> &Message;
    /// The same, to be changed.
    fn message_mut(&mut self) -> &mut Message;
    /// What the primitive that the process is in will return: zero, or a negated error.
    fn set_result(&mut self, result: i32);
    /// How the message that is being received was sent.
    fn set_status(&mut self, status: abi::ipc::Status);
    /// Where the process goes on, for messages about it.
    fn instruction_pointer(&self) -> u64;
    /// All registers but those of [`Context::float`].
    fn registers(&self) -> Registers;
    /// Changes all of them. Of the flags, those that a program can't set stay as they are.
    ///
    /// # Errors
    /// If the instruction pointer is outside of a process's part of memory; nothing has changed then.
    fn set_registers(&mut self, registers: &Registers) -> Result<(), BadContext>;
    /// Vector and x87 registers, the message's among them.
    fn float(&self) -> FloatRegisters;
    /// Changes them.
    ///
    /// # Errors
    /// If the processor has no such state; nothing has changed then.
    fn set_float(&mut self, float: &FloatRegisters) -> Result<(), BadContext>;
    /// Puts vector and x87 registers into the state of a process that starts.
    fn reset_float(&mut self);
    /// Raises a debug exception after each instruction, or no longer.
    fn set_single_step(&mut self, on: bool);
    /// Goes back to the instruction that trapped, which will trap once more.
    fn repeat_trap(&mut self);
}

/// Registers that no process can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadContext;
