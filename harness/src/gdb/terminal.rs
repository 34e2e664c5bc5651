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
    /// Prepares for handing the terminal over. From here on Ctrl-C is gdb's: this thread, and those
    /// that it starts later, don't take it. The processes that it starts do.
    ///
    /// Call it before the machine is started, and at the end of what the process does: the
    /// signals stay blocked, since one of them may be waiting then.
    ///
    /// # Errors
    /// If signals can't be blocked.
    pub fn prepare() -> Result<Self> {
        let signals: SigSet = [Signal::SIGINT, Signal::SIGQUIT].into_iter().collect();
        signals.thread_block().context("failed to leave Ctrl-C to gdb")?;
        Ok(Self { settings: tcgetattr(std::io::stdin()).ok() })
    }

    /// Puts the terminal back into the state that it had. One that is killed leaves it as it is.
    pub(super) fn restore(&self) {
        if let Some(settings) = &self.settings {
            // It fails only if the terminal is gone.
            let _ = tcsetattr(std::io::stdin(), SetArg::TCSADRAIN, settings);
        }
    }
}
