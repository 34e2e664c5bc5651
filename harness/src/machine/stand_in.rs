//! A QEMU in place of a machine at the other end of a serial line.

use super::{Exit, PATIENCE, command_line, spawn, tied};
use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc::channel;

/// A running machine whose kernel waits at its first serial port for what it runs. Dropping it kills QEMU.
pub struct StandIn {
    child: Child,
    port: PathBuf,
}

impl StandIn {
    /// Starts it. `launcher` is a program that calls [`tied::exec`], `more` are further arguments for QEMU.
    ///
    /// # Errors
    /// If QEMU can't be started, or doesn't say where its serial port is.
    pub fn start(qemu: &Path, launcher: &Path, kernel: &Path, more: &[OsString]) -> Result<Self> {
        let mut command = tied::command(launcher, qemu);
        command.args(command_line::stand_in(kernel, more));
        // Ctrl-C is for us.
        command.process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("failed to start {}", qemu.display()))?;
        let stdout = child.stdout.take();
        let mut machine = Self { child, port: PathBuf::new() };
        let (sender, ports) = channel();
        let stdout = stdout.context("QEMU has no standard output")?;
        spawn("qemu's output", move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                // Read to its end, so that QEMU never waits for us.
                let _ = port(&line).map(|port| sender.send(port));
            }
        })?;
        match ports.recv_timeout(PATIENCE) {
            Ok(port) => machine.port = port,
            Err(_) => bail!("QEMU doesn't say where its serial port is: it says why above"),
        }
        Ok(machine)
    }

    /// The pseudo-terminal that is its serial port.
    #[must_use]
    pub fn port(&self) -> &Path {
        &self.port
    }

    /// Waits until QEMU ends.
    ///
    /// # Errors
    /// If the host doesn't tell.
    pub fn wait(mut self) -> Result<Exit> {
        Ok(self.child.wait().context("failed to wait for QEMU")?.into())
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        // It fails only if QEMU has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `char device redirected to /dev/pts/3 (label console)`
fn port(line: &str) -> Option<PathBuf> {
    let (path, label) = line.strip_prefix("char device redirected to ")?.rsplit_once(" (label ")?;
    (label == "console)").then(|| path.into())
}

#[cfg(test)]
mod tests {
    #[test]
    fn qemu_says_where_its_port_is() {
        let port = |line| super::port(line).map(|path| path.display().to_string());
        let line = "char device redirected to /dev/pts/3 (label console)";
        assert_eq!(port(line).as_deref(), Some("/dev/pts/3"));
        assert_eq!(port("char device redirected to /dev/pts/3 (label other)"), None);
        assert_eq!(port("warning: something"), None);
    }
}
