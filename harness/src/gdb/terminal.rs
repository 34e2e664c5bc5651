//! The user's terminal while gdb has it.

use anyhow::{Context as _, Result};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::termios::{SetArg, Termios, tcgetattr, tcsetattr};

/// The state of the terminal before gdb had it.
pub struct Terminal {
    /// None if standard input is no terminal.
    settings: Option<Termios>,
}

impl Terminal {
    /// Prepares for handing the terminal over, if there is one. From here on Ctrl-C is gdb's: this thread, and those
    /// that it starts later, don't take it. The processes that it starts do.
    ///
    /// Call it before the machine is started, and at the end of what the process does: the
    /// signals stay blocked, since one of them may be waiting then.
    ///
    /// # Errors
    /// If signals can't be blocked.
    pub fn prepare() -> Result<Self> {
        let settings = tcgetattr(std::io::stdin()).ok();
        // Without a terminal gdb isn't in our group, which gets Ctrl-C.
        if settings.is_some() {
            let signals: SigSet = [Signal::SIGINT, Signal::SIGQUIT].into_iter().collect();
            signals.thread_block().context("failed to leave Ctrl-C to gdb")?;
        }
        Ok(Self { settings })
    }

    /// Tells whether there is one.
    pub(super) const fn is_there(&self) -> bool {
        self.settings.is_some()
    }

    /// Puts the terminal back into the state that it had. One that is killed leaves it as it is.
    pub(super) fn restore(&self) {
        if let Some(settings) = &self.settings {
            // It fails only if the terminal is gone.
            let _ = tcsetattr(std::io::stdin(), SetArg::TCSADRAIN, settings);
        }
    }
}
