//! Single steps, of which nothing shows in what the thread sees.
//!
//! The trap flag is one of the flags that a thread can read by itself, and set.

use crate::System;
use crate::machine::Debuggable;
use crate::state::{Stepping, TRAP_FLAG};
use crate::target::Thread;
use abi::registers::Register;
use kernel_core::machine::Context as _;

/// Where an instruction puts the flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shows {
    /// `pushfq`: on top of the stack.
    Stack,
    /// `syscall`: these, in `r11`.
    R11(u64),
}

impl<M: Debuggable> System<M> {
    /// Has who makes a step come back behind the next instruction.
    pub(crate) fn prepare_step(&mut self) {
        let Some(Stepping { thread, process, .. }) = self.state.stepping else { return };
        let mut is_shared = false;
        if let Some((_, process)) = process.and_then(|slot| self.kernel.inside(slot)) {
            process.step_for_debugger(true);
            is_shared = process.steps_anyway();
        }
        if thread == Thread::Kernel {
            self.state.step_kernel(true);
        }
        // What a tracer's step shows is its own matter.
        let is_own = thread == Thread::Kernel || !is_shared;
        let shows = if is_own { self.shows(thread) } else { None };
        self.state.stepping.iter_mut().for_each(|stepping| stepping.shows = shows);
    }

    /// What a thread's next instruction shows.
    fn shows(&mut self, thread: Thread) -> Option<Shows> {
        let registers = self.cpu(thread).registers;
        let mut code = [0; 2];
        self.access(thread, registers[Register::Rip as usize], |machine, space| {
            machine.peek(space, registers[Register::Rip as usize], &mut code)
        });
        match (code, thread) {
            // With a prefix it pushes fewer, or the same.
            ([0x9c, _] | [0x66 | 0x40..=0x4f, 0x9c], _) => Some(Shows::Stack),
            ([0x0f, 0x05], Thread::Process(_)) => {
                Some(Shows::R11(registers[Register::Rflags as usize] | TRAP_FLAG))
            }
            _ => None,
        }
    }

    /// Takes the trap flag out of what the last step has shown.
    pub(crate) fn hide_step(&mut self, thread: Thread) {
        let stepping = self.state.stepping.as_mut().filter(|stepping| stepping.thread == thread);
        let Some(shows) = stepping.and_then(|stepping| stepping.shows.take()) else { return };
        let mut registers = self.cpu(thread).registers;
        match shows {
            Shows::Stack => {
                let [_, above, ..] = TRAP_FLAG.to_le_bytes();
                let address = registers[Register::Rsp as usize].wrapping_add(1);
                self.access(thread, address, |machine, space| {
                    let mut byte = [0];
                    machine.peek(space, address, &mut byte);
                    machine.poke(space, address, &[byte[0] & !above])
                });
            }
            // The instruction behind the call may have put something else there.
            Shows::R11(flags) if registers[Register::R11 as usize] == flags => {
                registers[Register::R11 as usize] &= !TRAP_FLAG;
                if let Thread::Process(slot) = thread
                    && let Some((_, process)) = self.kernel.inside(slot)
                {
                    // It is where it was, so nothing is refused.
                    let _ = process.context.set_registers(&registers);
                }
            }
            Shows::R11(_) => {}
        }
    }
}
