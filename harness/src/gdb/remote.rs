//! The few words of gdb's remote protocol that are needed to watch memory: gdb itself would look whether a value is
//! another one before it says that somebody wrote it, and takes a hundred times as long.

use anyhow::{Context as _, Result, bail, ensure};
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// QEMU's number of `cr3` (its `gdb-xml/i386-64bit.xml`).
pub(crate) const CR3: &str = "1d";
/// What QEMU sends at once at most; much more is no answer.
const MOST_BYTES: usize = 1 << 16;

/// A connection to QEMU's stub.
pub struct Remote {
    stream: UnixStream,
    until: Instant,
    /// What came and wasn't taken yet.
    read: Vec<u8>,
}

/// Why a machine stands that was told to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Something was written that is watched, at this address.
    Written(u64),
    /// Something else.
    Other,
    /// It has ended.
    Ended,
}

impl Remote {
    /// Connects, which pauses the machine. `until` is the limit of all that is asked.
    ///
    /// # Errors
    /// If nobody is there, or it doesn't answer.
    pub fn connect(socket: &Path, until: Instant) -> Result<Self> {
        let stream = UnixStream::connect(socket).context("failed to connect to QEMU's stub")?;
        let mut remote = Self { stream, until, read: Vec::new() };
        remote.demand("?")?;
        // Single registers are there for those only who have read what there is.
        remote.demand("qXfer:features:read:target.xml:0,ffb")?;
        Ok(remote)
    }

    /// Has the machine stop when somebody writes there.
    ///
    /// # Errors
    /// If that can't be watched.
    pub fn watch(&mut self, address: u64, bytes: u64) -> Result<()> {
        let answer = self.demand(&format!("Z2,{address:x},{bytes:x}"))?;
        ensure!(answer == "OK", "QEMU can't watch {bytes} bytes at {address:#x}: {answer}");
        Ok(())
    }

    /// Lets the machine go on until it stops.
    ///
    /// # Errors
    /// If the time is over.
    pub fn go_on(&mut self) -> Result<Stop> {
        let Some(answer) = self.ask("c")? else { return Ok(Stop::Ended) };
        if answer.starts_with(['W', 'X']) {
            return Ok(Stop::Ended);
        }
        let address = answer.split_once("watch:").and_then(|(_, rest)| rest.split(';').next());
        let address = address.and_then(|digits| u64::from_str_radix(digits, 16).ok());
        Ok(address.map_or(Stop::Other, Stop::Written))
    }

    /// The root of the page tables.
    ///
    /// # Errors
    /// If QEMU doesn't tell.
    pub fn root(&mut self) -> Result<u64> {
        let answer = self.demand(&format!("p{CR3}"))?;
        let bytes = u64::from_str_radix(&answer, 16);
        Ok(bytes.with_context(|| format!("cr3 is no number: {answer}"))?.swap_bytes())
    }

    fn demand(&mut self, body: &str) -> Result<String> {
        self.ask(body)?.with_context(|| format!("QEMU ended when it was asked for {body}"))
    }

    /// The answer to a packet. Nothing if the machine has ended.
    fn ask(&mut self, body: &str) -> Result<Option<String>> {
        let checksum = body.bytes().fold(0_u8, u8::wrapping_add);
        if self.stream.write_all(format!("${body}#{checksum:02x}").as_bytes()).is_err() {
            return Ok(None);
        }
        loop {
            if let Some(answer) = self.packet() {
                // It fails only if the machine has ended, which the next question finds out.
                let _ = self.stream.write_all(b"+");
                return Ok(Some(answer));
            }
            ensure!(self.read.len() <= MOST_BYTES, "QEMU's stub talks without end");
            let left = self.until.saturating_duration_since(Instant::now());
            ensure!(
                !left.is_zero(),
                "QEMU's stub didn't answer in time: give it more by `--timeout`, or an earlier end by `--at`"
            );
            self.stream
                .set_read_timeout(Some(left.max(Duration::from_millis(1))))
                .context("failed to set a timeout")?;
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer) {
                Ok(0) => return Ok(None),
                Ok(size) => self.read.extend_from_slice(&buffer[..size]),
                Err(error) => match error.kind() {
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::Interrupted => {}
                    std::io::ErrorKind::ConnectionReset => return Ok(None),
                    _ => bail!("failed to read from QEMU's stub: {error}"),
                },
            }
        }
    }

    /// Takes the first packet of what was read, if it is whole. The socket loses nothing, so sums aren't looked at.
    fn packet(&mut self) -> Option<String> {
        let start = self.read.iter().position(|byte| *byte == b'$')?;
        let end = start + self.read[start..].iter().position(|byte| *byte == b'#')?;
        (self.read.len() >= end + 3).then_some(())?;
        let body = String::from_utf8_lossy(&self.read[start + 1..end]).into_owned();
        self.read.drain(..end + 3);
        Some(body)
    }
}
