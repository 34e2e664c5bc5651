//! In place of the debugger's end, where it is left out of the kernel: there can't be one, so all that asks it is left out
//! as well.

use core::convert::Infallible;
use core::marker::PhantomData;
use kernel_core::Slot;
use kernel_debug::machine::{Cpu, Debuggable, Trap};
use kernel_debug::{Happened, Reaction, System};

/// See [`kernel_debug::Stub`].
pub(crate) struct Stub<L>(Infallible, PhantomData<L>);

impl<L> Stub<L> {
    pub(crate) fn new<M: Debuggable>(_: &mut System<M>, _: L) -> Self {
        crate::refuse(format_args!("command line: gdb= needs a debugger, which was left out of this kernel"))
    }

    pub(crate) fn stop_at<M: Debuggable>(&mut self, _: &mut System<M>, _: u64) {
        match self.0 {}
    }

    pub(crate) fn look<M: Debuggable>(
        &mut self,
        _: &mut System<M>,
        _: Option<Slot>,
        _: Happened,
    ) -> Reaction {
        match self.0 {}
    }

    pub(crate) fn passes_fault<M: Debuggable>(&mut self, _: &System<M>) -> bool {
        match self.0 {}
    }

    pub(crate) fn trapped<M: Debuggable>(&mut self, _: &mut System<M>, _: Trap, _: &mut Cpu) -> bool {
        match self.0 {}
    }
}
