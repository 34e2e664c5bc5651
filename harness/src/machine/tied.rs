//! Processes that end when we do, even if we are killed.
//!
//! Linux can kill a process when the thread that started it ends (`PR_SET_PDEATHSIG`), but only
//! the process itself can ask for that, between fork and exec. So what is started is a launcher,
//! a program of ours that asks for it and then becomes the other program.

use anyhow::{Context, Result, bail};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{getpid, getppid};
use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

/// The launcher's first argument. Its further ones are our process id, the program, and its arguments.
pub const ARGUMENT: &str = "exec-tied";

/// A command that runs `program` until the calling thread ends.
#[must_use]
pub fn command(launcher: &Path, program: &Path) -> Command {
    let mut command = Command::new(launcher);
    command.arg(ARGUMENT).arg(getpid().to_string()).arg(program);
    command
}

/// The launcher's work, given the arguments behind [`ARGUMENT`]. It only comes back if it fails.
///
/// # Errors
/// If the arguments are not those of [`command`], or the program can't be run.
pub fn exec(mut arguments: impl Iterator<Item = OsString>) -> Result<()> {
    let parent = arguments.next();
    let program = arguments.next().context("there is no program to run")?;
    prctl::set_pdeathsig(Signal::SIGKILL).context("failed to tie a process to its parent")?;
    // If the parent ended before that, nobody is left who could end us.
    let current = getppid().to_string();
    if Some(OsStr::new(&current)) != parent.as_deref() {
        bail!("the process that wanted {} has ended", program.display());
    }
    // Whoever starts it may have left Ctrl-C to it, see `gdb::Terminal`, and what is blocked stays so over an exec.
    SigSet::empty().thread_set_mask().context("failed to let signals through")?;
    let error = Command::new(&program).args(arguments).exec();
    Err(error).with_context(|| format!("failed to run {}", program.display()))
}
