//! What the kernel needs of the machine it runs on.

use abi::Message;
use abi::protocols::Width;
use abi::registers::{FloatRegisters, Registers};

/// The processor and the devices that the kernel itself uses.
pub trait Machine {
    /// The saved registers of a process.
    type Context: Context;
    /// An address space, owned by one process.
    type Space;

    /// Nanoseconds since the kernel started.
    fn uptime_ns(&mut self) -> u64;
    /// Clock ticks a second, while the clock ticks.
    fn tick_hz(&self) -> u32;
    /// Writes a byte to the kernel's log.
    fn log(&mut self, byte: u8);
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
    /// Reads a process's memory. All of it, or the first address that is none of the process's.
    ///
    /// # Errors
    /// That address.
    fn read_user(&self, space: &Self::Space, address: u64, into: &mut [u8]) -> Result<(), u64>;
    /// Writes a process's memory, where the process itself could.
    ///
    /// # Errors
    /// The first address where it can't be; what lies before may have been written.
    fn write_user(&mut self, space: &Self::Space, address: u64, from: &[u8]) -> Result<(), u64>;
    /// Calls `visit` with the return addresses on a process's stack, innermost first.
    fn trace(&self, context: &Self::Context, space: &Self::Space, visit: &mut dyn FnMut(u64));
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
