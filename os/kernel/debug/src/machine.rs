//! What the debugger needs of the machine it runs on.

use abi::registers::{FloatRegisters, Registers};
use kernel_core::machine::Machine;

/// A machine that can be debugged.
pub trait Debuggable: Machine {
    /// Reads memory as a process sees it, or the kernel if there is no space: what may not be read, or has side
    /// effects, is not there. How many bytes were read before that.
    fn peek(&mut self, space: Option<&Self::Space>, address: u64, into: &mut [u8]) -> usize;
    /// Writes memory where the process, or the kernel, could write itself. How many bytes were written: all of them, or
    /// none if it can't write one.
    fn poke(&mut self, space: Option<&Self::Space>, address: u64, from: &[u8]) -> usize;
    /// Puts a breakpoint into a process's memory, which may be read-only. Where one is already, `belongs` is what it
    /// stands for, unless that is known. `false` if there is no such memory, or there are too many.
    ///
    /// Before a page is taken away from any process, [`clear_processes`](Self::clear_processes) is done: nobody gets a
    /// frame with a breakpoint in it.
    fn break_process(&mut self, space: &Self::Space, address: u64, belongs: u8) -> bool;
    /// Takes all breakpoints out of the memory of processes, but where something else was written since.
    fn clear_processes(&mut self);
    /// Tells whether that is an instruction of the kernel's at which it can stop: none by which it gets to the
    /// debugger.
    fn can_stop_kernel_at(&self, address: u64) -> bool;
    /// Tells whether the processor can watch that memory of the kernel's: none that it writes itself on the way to the
    /// debugger, which would never get there.
    fn can_watch_kernel_at(&self, address: u64, len: u64) -> bool;
    /// Puts a breakpoint into the kernel's code. It is there whenever the debugger doesn't work. `false` if there can
    /// be none.
    fn break_kernel(&mut self, address: u64) -> bool;
    /// Takes all breakpoints out of the kernel's code.
    fn clear_kernel(&mut self);
    /// Sets the debug registers; all that are `None` are off.
    fn set_hardware(&mut self, points: &[Option<Hardware>; HARDWARE]);
    /// Takes what `dr6` says of the last debug exception.
    fn take_debug_status(&mut self) -> u64;
    /// Registers that are no process's own.
    fn control(&self) -> Control;
    /// Where the page tables of a space are, or those that are in use.
    fn root(&self, space: Option<&Self::Space>) -> u64;
    /// Calls `visit` with the ranges of pages of a space that follow each other and are alike.
    fn pages(&self, space: &Self::Space, visit: &mut dyn FnMut(Pages));
    /// Resets the machine, which ends it or starts it anew.
    fn reset(&mut self) -> !;
}

/// How many breakpoints there can be at a time.
pub const BREAKPOINTS: usize = 1024;

/// In how many places of processes' memory they can be. gdb hears of it if there would be more; a process that comes
/// into being later has breakpoints as far as there are places left.
pub const PLACES: usize = 4096;

/// How many debug registers there are.
pub const HARDWARE: usize = 4;

/// What a debug register watches (Intel SDM 3B, 17.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hardware {
    /// A linear address, a multiple of the length.
    pub address: u64,
    /// What happens there.
    pub access: Access,
    /// 1, 2, 4 or 8 bytes; 1 of an instruction.
    pub len: u8,
}

/// What a debug register watches for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The instruction there is about to be executed.
    Execute,
    /// Something was written there.
    Write,
    /// Something was read or written there.
    ReadWrite,
}

/// Registers that are no process's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Control {
    /// `cr0`
    pub cr0: u64,
    /// `cr2`: the address of the last page fault.
    pub cr2: u64,
    /// `cr4`
    pub cr4: u64,
    /// The base of `fs`.
    pub fs_base: u64,
    /// The base of `gs`.
    pub gs_base: u64,
    /// `cs` and `ss` in a process.
    pub user_segments: [u32; 2],
    /// `cs` and `ss` in the kernel.
    pub kernel_segments: [u32; 2],
}

/// Pages that follow each other and are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pages {
    /// The first address.
    pub start: u64,
    /// One past the last.
    pub end: u64,
    /// They can be written.
    pub is_writable: bool,
    /// They can be executed.
    pub is_executable: bool,
    /// They are VM's.
    pub is_lent: bool,
}

/// The registers of the kernel where it was stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cpu {
    /// All but those below.
    pub registers: Registers,
    /// Vector and x87 registers.
    pub float: FloatRegisters,
}

/// What brought the kernel into the debugger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trap {
    /// It asked for it.
    Pause,
    /// It has panicked, and says so before it stops the machine.
    Panic,
    /// A breakpoint instruction, behind which `rip` stands.
    Breakpoint,
    /// A debug exception: [`Debuggable::take_debug_status`] tells of what.
    Debug,
    /// Another exception, by its vector.
    Exception(u8),
}

/// The serial line to the debugger.
pub trait Line {
    /// Sends a byte. One that nobody takes is lost after a while.
    fn send(&mut self, byte: u8);
    /// A byte that has come.
    fn receive(&mut self) -> Option<u8>;
    /// Waits until there may be a byte. `false` if there is nobody any more.
    fn wait(&mut self) -> bool;
    /// Takes back the interrupt of bytes that were received without it, which would strike at once where interrupts get
    /// through again. Bytes that were not received interrupt.
    fn take_interrupt(&mut self);
    /// Interrupts once more for bytes that have come and were not taken.
    fn interrupt_again(&mut self);
}
