//! The end of a machine that takes longer than it may.

use crate::Kernel;
use crate::log::Line;
use crate::machine::Machine;
use abi::boot::ExitCode;
use abi::protocols::Level;
use abi::report::Report;

impl<M: Machine> Kernel<M> {
    /// Ends the machine, and logs what everybody is doing, as nobody can look into its memory any more.
    #[cold]
    pub fn end_for_time(&mut self) {
        if self.ended.is_some() {
            return;
        }
        self.end(ExitCode::Limit, Some(Report::Overran));
        for slot in self.processes.slots() {
            let Some((process, doing)) = self.processes.get(slot).zip(self.processes.doing(slot)) else {
                continue;
            };
            let text = format_args!("{}: {doing}", process.name);
            self.log.line(&mut self.machine, Line::kernel(Level::Info), text);
            self.log_stack_as(slot, Level::Info);
        }
    }
}
