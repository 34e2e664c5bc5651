//! gdb as a process of ours: which symbols it has, what it is told, and its end.
//!
//! gdb waits for ever for a remote that is silent, and takes no notice of SIGTERM while it does. So
//! it is never left alone: it is tied to this process (see [`tied`]), it has a time limit where
//! nobody sits in front of it, and it is ended by a signal that it can't refuse.

mod driven;
mod redact;
mod remote;
mod terminal;

pub use driven::Driven;
pub use redact::redact;
pub(crate) use remote::CR3;
pub use remote::{Remote, Stop};
pub use terminal::Terminal;

use crate::machine::{Exit, tied};
use crate::shell;
use anyhow::{Context as _, Result};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// A gdb to start.
#[derive(Clone, Debug)]
pub struct Debugger<'a> {
    /// The program.
    pub gdb: &'a Path,
    /// A program that starts gdb tied to this process, see [`tied`].
    pub launcher: &'a Path,
    /// The machine's executables, see [`Build::images`](crate::build::Build::images). Their symbols
    /// are loaded at the addresses that they are linked at.
    pub images: &'a [PathBuf],
    /// A file of commands that it reads before it connects, see [`Project::gdb_script`](crate::project::Project::gdb_script).
    pub script: Option<&'a Path>,
    /// What gdb connects to, as its command `target remote` takes it: the path of a socket or of a
    /// terminal, `HOST:PORT`. None if it only looks at the images.
    pub remote: Option<&'a OsStr>,
    /// Commands of ours, after it has connected.
    pub commands: &'a [String],
    /// The user's arguments, which come last.
    pub arguments: &'a [OsString],
}

/// How often a gdb that the user talks to is looked at.
const GLANCE: Duration = Duration::from_millis(20);
/// What gdb ends with by [`MUST_BE_ATTACHED`]. Nobody else is likely to have it end so.
const NOT_ATTACHED: i32 = 213;
/// A command that ends a gdb which is attached to nothing: by itself it would tell that it found no machine, go on to
/// the user's commands, and end as if all were well.
const MUST_BE_ATTACHED: &str = "python gdb.selected_inferior().pid or gdb.execute('quit 213')";

/// gdb found no machine where it was to attach to one.
#[derive(Debug)]
pub struct NotAttached;

impl std::fmt::Display for NotAttached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("gdb is attached to nothing")
    }
}

impl std::error::Error for NotAttached {}

/// gdb was killed, because it took longer than this.
#[derive(Debug)]
pub struct TookTooLong(pub Duration);

impl std::fmt::Display for TookTooLong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "gdb didn't end in {} s and was killed", self.0.as_secs_f64())
    }
}

impl std::error::Error for TookTooLong {}

impl Debugger<'_> {
    /// The arguments that gdb gets.
    #[must_use]
    pub fn arguments(&self) -> Vec<OsString> {
        self.arguments_with(None)
    }

    /// The same, with a command for when it has connected.
    fn arguments_with(&self, connected: Option<&str>) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec!["-q".into(), "-nx".into()];
        let mut tell = |command: OsString| arguments.extend(["-ex".into(), command]);
        if let [kernel, others @ ..] = self.images {
            // It would ask whether it shall really add symbols.
            tell("set confirm off".into());
            tell(command_with_file("file", kernel));
            others.iter().for_each(|image| tell(command_with_file("add-symbol-file", image)));
            tell("set confirm on".into());
        }
        if let Some(script) = self.script {
            tell(command_with_file("source", script));
        }
        if let Some(remote) = self.remote {
            let mut command = OsString::from("target remote ");
            command.push(remote);
            tell(command);
            connected.iter().for_each(|command| tell(command.into()));
        }
        self.commands.iter().for_each(|command| tell(command.into()));
        arguments.extend_from_slice(self.arguments);
        arguments
    }

    /// The command that starts it, as one would type it.
    #[must_use]
    pub fn shown(&self) -> String {
        let words: Vec<OsString> = std::iter::once(self.gdb.into()).chain(self.arguments()).collect();
        shell::line(&words)
    }

    /// Hands the user's terminal to gdb until it ends. `meanwhile` is called every now and then,
    /// for instance to read what the machine gives.
    ///
    /// # Errors
    /// If gdb can't be run; [`TookTooLong`] if it takes longer than `limit`, where there is one; [`NotAttached`] if it
    /// is to connect and doesn't.
    pub fn hand_over(
        &self,
        terminal: &Terminal,
        limit: Option<Duration>,
        mut meanwhile: impl FnMut(),
    ) -> Result<Exit> {
        // Another group than the one in front couldn't read from the terminal.
        let group = if terminal.is_there() { Group::Ours } else { Group::Own };
        let arguments = self.arguments_with(Some(MUST_BE_ATTACHED));
        let mut gdb = Owned::start(&mut self.command(arguments), group)?;
        let started = Instant::now();
        loop {
            if let Some(exit) = gdb.exit()? {
                terminal.restore();
                let is_attached = self.remote.is_none() || exit != Exit::Code(NOT_ATTACHED);
                return if is_attached { Ok(exit) } else { Err(NotAttached.into()) };
            }
            if let Some(limit) = limit.filter(|limit| started.elapsed() > *limit) {
                drop(gdb);
                terminal.restore();
                return Err(TookTooLong(limit).into());
            }
            meanwhile();
            std::thread::sleep(GLANCE);
        }
    }

    fn command(&self, arguments: Vec<OsString>) -> Command {
        let mut command = tied::command(self.launcher, self.gdb);
        command.args(arguments);
        // All that could be fetched is here.
        command.env_remove("DEBUGINFOD_URLS");
        command
    }
}

/// A command of gdb's with the name of a file, whatever characters are in it.
fn command_with_file(command: &str, path: &Path) -> OsString {
    let mut bytes = format!("{command} ").into_bytes();
    for &byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_whitespace() || b"\\'\"".contains(&byte) {
            bytes.push(b'\\');
        }
        bytes.push(byte);
    }
    OsString::from_vec(bytes)
}

/// A gdb that ends when this is dropped.
struct Owned {
    child: Child,
    group: Group,
}

/// The group of processes that gdb is in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Group {
    /// Ours, which has the user's terminal.
    Ours,
    /// One of its own. What gdb has started, by its command `shell` for instance, ends with it.
    Own,
}

impl Owned {
    fn start(command: &mut Command, group: Group) -> Result<Self> {
        if group == Group::Own {
            command.process_group(0);
        }
        Ok(Self { child: command.spawn().context("failed to run gdb")?, group })
    }

    fn pid(&self) -> Result<Pid> {
        Ok(Pid::from_raw(i32::try_from(self.child.id()).context("failed to name gdb's process")?))
    }

    /// How it ended, if it has.
    fn exit(&mut self) -> Result<Option<Exit>> {
        Ok(self.child.try_wait().context("failed to look after gdb")?.map(Exit::from))
    }

    fn kill(&mut self) {
        if let (Group::Own, Ok(None), Ok(pid)) = (self.group, self.exit(), self.pid()) {
            // It fails only if the group has ended by itself.
            let _ = killpg(pid, Signal::SIGKILL);
        }
        // It fails only if gdb has ended by itself.
        let _ = self.child.kill();
        // A zombie is all that could remain, and it ends with us.
        let _ = self.child.wait();
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_of_a_gdb_that_is_attached_to_nothing_is_the_one_that_it_is_told() {
        assert!(MUST_BE_ATTACHED.contains(&format!("quit {NOT_ATTACHED}'")));
    }

    #[test]
    fn the_command_can_be_typed() {
        let images = ["/t/kernel".into(), "/t/with space".into()];
        let debugger = Debugger {
            gdb: Path::new("gdb"),
            launcher: Path::new("/launcher"),
            images: &images,
            script: Some(Path::new("/t/tessera.py")),
            remote: Some("/dev/pts/3".as_ref()),
            commands: &["break kernel_main".into()],
            arguments: &["-batch".into()],
        };
        assert_eq!(
            debugger.shown(),
            r"gdb -q -nx -ex 'set confirm off' -ex 'file /t/kernel' -ex 'add-symbol-file /t/with\ space' -ex 'set confirm on' -ex 'source /t/tessera.py' -ex 'target remote /dev/pts/3' -ex 'break kernel_main' -batch"
        );
    }
}
