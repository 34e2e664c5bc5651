//! A machine on the user's own terminal.

use super::{Exit, command_line, tied};
use abi::boot::ExitCode;
use anyhow::{Context, Result};
use std::ffi::OsString;
use std::path::Path;

/// A machine whose console is standard input and output.
#[derive(Clone, Debug)]
pub struct Session<'a> {
    /// The QEMU program.
    pub qemu: &'a Path,
    /// A program that starts QEMU tied to this process, see [`tied`].
    pub launcher: &'a Path,
    /// The kernel.
    pub kernel: &'a Path,
    /// The boot image.
    pub image: &'a Path,
    /// The file that the kernel's log is added to.
    pub log: &'a Path,
    /// The socket that a debugger can attach at, if it may.
    pub debugger: Option<&'a Path>,
    /// Further arguments for QEMU.
    pub arguments: &'a [OsString],
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The kernel ended the machine.
    ByKernel(ExitCode),
    /// The user did, or the machine was reset.
    ByUser,
    /// QEMU couldn't go on.
    InTrouble(Exit),
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ByKernel(ExitCode::Success) => f.write_str("the program exited with 0"),
            Self::ByKernel(ExitCode::Failure) => f.write_str("the program exited with another status than 0"),
            Self::ByKernel(ExitCode::KernelPanic) => f.write_str("the kernel panicked"),
            Self::ByKernel(ExitCode::ServiceFault) => {
                f.write_str("the program was ended by a fault or a panic")
            }
            Self::ByKernel(ExitCode::Limit) => f.write_str("the machine was busy for longer than it may be"),
            Self::ByKernel(ExitCode::BadImage) => f.write_str("the kernel refused the boot image"),
            Self::ByUser => f.write_str("the machine was closed"),
            Self::InTrouble(Exit::Code(code)) => write!(f, "QEMU failed with {code}, see above"),
            Self::InTrouble(Exit::Signal(signal)) => write!(f, "QEMU was killed by signal {signal}"),
            Self::InTrouble(Exit::Restarted) => f.write_str("the machine has started anew"),
        }
    }
}

impl Session<'_> {
    /// Runs the machine until it ends.
    ///
    /// # Errors
    /// If QEMU can't be run.
    pub fn run(&self) -> Result<Ended> {
        let mut command = tied::command(self.launcher, self.qemu);
        command.args(command_line::interactive(
            self.kernel,
            self.image,
            self.log,
            self.debugger,
            self.arguments,
        ));
        let status = command.status().with_context(|| format!("failed to run {}", self.qemu.display()))?;
        Ok(Ended::of(status.into()))
    }
}

impl Ended {
    /// Tells whether nothing went wrong.
    #[must_use]
    pub fn is_good(self) -> bool {
        matches!(self, Self::ByUser | Self::ByKernel(ExitCode::Success))
    }

    fn of(exit: Exit) -> Self {
        let Exit::Code(code) = exit else { return Self::InTrouble(exit) };
        if code == 0 {
            return Self::ByUser;
        }
        let known = ExitCode::ALL.into_iter().find(|known| i32::from(known.of_qemu()) == code);
        known.map_or(Self::InTrouble(exit), Self::ByKernel)
    }
}
