//! The serial port: bytes in and out, and the time.

use super::host::{Heard, Host, Plan};
use crate::observe::escape;
use abi::serial::Ready;
use anyhow::{Context, Result, bail};
use serialport::{ClearBuffer, SerialPort as _, TTYPort};
use std::collections::VecDeque;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Bits a second, as the kernel and the terminal driver set the port up; with 8 data bits, no parity, one stop bit.
pub const BAUD: u32 = 115_200;
/// If nothing comes for so long, what may be the start of a record is none,
const PAUSE: Duration = Duration::from_millis(100);
/// unless it is one of a run's, which comes once: its machine or this host may have had no turn in the middle of it. A whole
/// one takes 90 ms.
const HELD: Duration = Duration::from_secs(2);
/// A machine takes bytes, or they are lost, which it notices.
const WRITE_PATIENCE: Duration = Duration::from_secs(2);
/// Bytes of no run that are kept, and that are shown.
const KEPT_NOISE: usize = 4096;
const SHOWN_NOISE: usize = 200;
/// A machine that has just been reset is ready so soon, unless its firmware takes longer.
const GLANCE: Duration = Duration::from_secs(3);
/// A machine that is ready says so several times meanwhile.
const SECOND_OPINION: Duration = Duration::from_secs(1);
/// What to do about a machine that doesn't get ready.
const READY_HINT: &str = "It must run the kernel with boot=serial on its command line; if it hangs, reset it";
/// What to do about a port that fails.
const PORT_HINT: &str =
    "see that the adapter is plugged in, or that the virtual machine runs, and start anew";

/// How a line is used.
pub struct Settings {
    /// The kernel that the machine must run, see [`kernel_checksum`](super::kernel_checksum).
    pub kernel: u32,
    /// How long the machine may take to start.
    pub patience: Duration,
    /// Told what the user should know while the machine is waited for.
    pub notice: Box<dyn Fn(&str) + Send>,
}

/// The host's end of a line to a machine.
pub struct Line {
    port: TTYPort,
    path: PathBuf,
    host: Host,
    heard: VecDeque<Heard>,
    /// What may be the start of a record of the run: with which byte it starts, and since when nothing followed it.
    held: Option<(u64, Instant)>,
    noise: Vec<u8>,
    failure: Option<String>,
    /// The kernel that the machine must run, by the checksum of its code.
    kernel: u32,
    patience: Duration,
    notice: Box<dyn Fn(&str) + Send>,
    /// What the machine said when it last was ready, if nothing was given to it since then.
    is_ready: Option<Ready>,
    /// Nobody came when the user was told what to do.
    is_given_up: bool,
}

/// What [`Line::next`] found.
#[derive(Debug)]
pub enum Next {
    /// Something that the machine gave.
    Heard(Heard),
    /// The time is over.
    Late,
    /// The port is of no use any more; says why.
    Broken(String),
}

impl Line {
    /// Opens a port, or a pseudo-terminal.
    ///
    /// # Errors
    /// If there is none, or somebody else has it.
    pub fn open(path: &Path, settings: Settings) -> Result<Self> {
        let name = path
            .to_str()
            .with_context(|| format!("failed to open {}: its name is no text", path.display()))?;
        let open = || -> serialport::Result<TTYPort> {
            let port = serialport::new(name, BAUD).timeout(PAUSE).open_native()?;
            port.clear(ClearBuffer::All)?;
            Ok(port)
        };
        let port = open().with_context(|| {
            format!(
                "failed to open the serial port {name}, which must be there, yours to use (mostly by the group \
                 dialout) and nobody else's meanwhile"
            )
        })?;
        let Settings { kernel, patience, notice } = settings;
        Ok(Self {
            port,
            path: path.to_owned(),
            host: Host::default(),
            heard: VecDeque::new(),
            held: None,
            noise: Vec::new(),
            failure: None,
            kernel,
            patience,
            notice,
            is_ready: None,
            is_given_up: false,
        })
    }

    /// The port.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How long the machine may take to start.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.patience
    }

    /// Gives the machine something to run, now or as soon as it is ready.
    pub fn offer(&mut self, plan: Plan) {
        self.is_ready = None;
        self.noise.clear();
        let Self { port, host, failure, .. } = self;
        // What isn't taken the machine asks for again.
        host.offer(plan, &mut |bytes| _ = write(port, bytes, failure));
    }

    /// Asks whether the machine has started anew, if that was said since the run's last record; tells whether it did. Not
    /// as long as a program may run, see [`Host::ask`]. It doesn't wait for a machine that takes nothing.
    pub fn ask(&mut self) -> bool {
        let Self { port, host, .. } = self;
        let question = RandomState::new().hash_one(0);
        host.ask(question, &mut |bytes| {
            // What isn't taken is asked again, and a port that fails does so when it is read.
            let _ = port.set_timeout(Duration::ZERO).and_then(|()| Ok(port.write(bytes)?));
            let _ = port.set_timeout(PAUSE);
        })
    }

    /// Gives up the run: what it said that is still in doubt comes next.
    pub fn give_up(&mut self) {
        let Self { host, heard, .. } = self;
        host.give_up(&mut |event| heard.push_back(event));
    }

    /// Waits for something that the machine gives, but no longer than `until`.
    pub fn next(&mut self, until: Instant) -> Next {
        let mut buffer = [0; 4096];
        loop {
            match self.heard.pop_front() {
                Some(Heard::Noise(bytes)) => {
                    self.keep(&bytes);
                    continue;
                }
                Some(heard) => {
                    if let Heard::Ready(ready) = heard {
                        self.is_ready = Some(ready);
                    }
                    return Next::Heard(heard);
                }
                None => {}
            }
            if let Some(reason) = &self.failure {
                return Next::Broken(reason.clone());
            }
            if Instant::now() >= until {
                return Next::Late;
            }
            let read = self.port.read(&mut buffer);
            let is_held = matches!(&read, Err(error) if error.kind() == ErrorKind::TimedOut) && self.holds();
            let Self { port, host, heard, failure, .. } = self;
            // A machine that takes nothing costs patience once, and not for each of many answers.
            let mut takes = true;
            let mut say = |bytes: &[u8]| takes = takes && write(port, bytes, failure);
            let mut tell = |event| heard.push_back(event);
            match read {
                Ok(size @ 1..) => host.hear(&buffer[..size], &mut say, &mut tell),
                Err(_) if is_held => {}
                Err(error) if error.kind() == ErrorKind::TimedOut => host.pause(&mut say, &mut tell),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(_) => *failure = Some(format!("the serial port was closed: {PORT_HINT}")),
                Err(error) => {
                    *failure = Some(format!("failed to read from the serial port: {error}: {PORT_HINT}"));
                }
            }
        }
    }

    /// Nothing comes: tells whether what may be the start of a record is still one.
    fn holds(&mut self) -> bool {
        let now = Instant::now();
        self.held = match (self.host.held_from(), self.held) {
            (Some(from), Some((same, since))) if from == same => Some((from, since)),
            (from, _) => from.map(|from| (from, now)),
        };
        self.held.is_some_and(|(_, since)| now < since + HELD)
    }

    /// Waits until the machine is ready for a run. If that takes long, the user is told what to do.
    ///
    /// # Errors
    /// If it doesn't get ready, or runs another kernel.
    pub fn ready(&mut self) -> Result<Ready> {
        let until = Instant::now() + SECOND_OPINION;
        loop {
            let ready = match self.is_ready {
                Some(ready) => ready,
                None => self.wait_until_ready()?,
            };
            match super::check(&ready, self.kernel) {
                Ok(()) => return Ok(ready),
                // It may have been printed, or the machine is another one by now.
                Err(_) if Instant::now() < until => self.is_ready = None,
                Err(error) => {
                    self.is_ready = None;
                    return Err(error);
                }
            }
        }
    }

    fn wait_until_ready(&mut self) -> Result<Ready> {
        // Each of many tests would wait for long.
        let patience = if self.is_given_up { GLANCE } else { self.patience };
        let started = Instant::now();
        let mut is_told = self.is_given_up;
        loop {
            let waited = started.elapsed();
            match self.next(started + if is_told { patience } else { GLANCE.min(patience) }) {
                Next::Heard(Heard::Ready(ready)) => {
                    self.is_given_up = false;
                    return Ok(ready);
                }
                Next::Heard(_) => {}
                Next::Broken(reason) => bail!(reason),
                Next::Late if is_told || waited >= patience => {
                    self.is_given_up = true;
                    bail!(
                        "the machine at {} doesn't get ready: {}. {READY_HINT}",
                        self.path.display(),
                        self.says()
                    );
                }
                Next::Late => {
                    is_told = true;
                    (self.notice)(&format!(
                        "waiting for the machine at {}, {} s at most: {}. {READY_HINT}",
                        self.path.display(),
                        self.patience.as_secs(),
                        self.says()
                    ));
                }
            }
        }
    }

    /// What the machine says that is none of this protocol, for people.
    fn says(&self) -> String {
        let start = self.noise.len().saturating_sub(SHOWN_NOISE);
        match self.noise.as_slice() {
            [] => "it says nothing".into(),
            noise => format!("it says \"{}\"", escape(&noise[start..])),
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.noise.extend_from_slice(bytes);
        let surplus = self.noise.len().saturating_sub(KEPT_NOISE);
        self.noise.drain(..surplus);
    }
}

/// Writes what the machine takes, and tells whether that is all of it. What it doesn't is lost, as it may be on any line.
fn write(port: &mut TTYPort, bytes: &[u8], failure: &mut Option<String>) -> bool {
    let end = Instant::now() + WRITE_PATIENCE;
    let mut rest = bytes;
    while !rest.is_empty() && failure.is_none() {
        match port.write(rest) {
            Ok(size) => rest = &rest[size.min(rest.len())..],
            Err(error) if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::Interrupted) => {
                if Instant::now() >= end {
                    return false;
                }
            }
            Err(error) => {
                *failure = Some(format!("failed to write to the serial port: {error}: {PORT_HINT}"));
            }
        }
    }
    failure.is_none()
}
