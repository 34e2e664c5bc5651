//! One QEMU process: its command line, its channels, its end.
//!
//! A machine gives bytes and knows nothing of what they mean. Its channels:
//!
//! * the console is a pseudo-terminal pair of ours, whose slave QEMU opens as COM1;
//! * the kernel's log is a file, so that writing it never waits for us, and so are its results;
//! * QMP runs over a socket pair that is QEMU's standard input and output, so there is nothing to
//!   connect to, and nothing to clean up;
//! * QEMU's own messages are its standard error.
//!
//! QEMU starts stopped and is told to go on when all of them are open, so no event is missed.

mod calendar;
mod command_line;
mod console;
mod directory;
pub mod interactive;
mod qmp;
mod stand_in;
pub mod tied;

pub(crate) use command_line::DEFAULT_MEMORY_MIB;
pub use command_line::{AtPanic, Config, Firmware, IMAGE, KERNEL, Kernel, LOG, Record, Timing};
pub(crate) use directory::{Directory, remove_stale};
pub use stand_in::StandIn;

use anyhow::{Context, Result, bail};
use console::Console;
use qmp::Control;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom};
use std::marker::PhantomData;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// Tells whether consoles can be opened on this host.
///
/// # Errors
/// If they can't; says why.
pub fn can_open_terminal() -> Result<()> {
    Console::open().map(drop)
}

/// A [`Config::patience`] that suits a busy host.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Something that a machine gave.
#[derive(Debug)]
pub enum Output {
    /// Bytes of the console.
    Console(Vec<u8>),
    /// Bytes of QEMU's own messages.
    Qemu(Vec<u8>),
    /// The machine was reset, which ends it: if it is paused at panics, by [`Machine::quit`].
    Reset,
    /// The machine switched itself off. If it is paused at panics, QEMU ends by [`Machine::quit`].
    ShutDown,
    /// The kernel or the process that the machine runs for panicked, and the machine is paused until
    /// [`Machine::go_on`].
    Paused,
    /// It can't be trusted any more; says why.
    Trouble(String),
}

/// What a channel's thread sends.
enum Signal {
    Output(Output),
    /// QEMU did as it was told and gives a value, or says why it didn't.
    Answer(Result<Value, String>),
    /// QEMU closed the channel.
    Closed(Channel),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Channel {
    Console,
    Qemu,
    Qmp,
}

/// What [`Machine::next`] found.
#[derive(Debug)]
pub enum Next {
    /// Output.
    Output(Output),
    /// QEMU ended, and there is no more output.
    Ended(Exit),
    /// The time is over.
    Late,
}

/// How QEMU, or a machine at the other end of a line, ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// With this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// It is no QEMU: the machine has started anew, and waits for another run.
    Restarted,
}

impl From<ExitStatus> for Exit {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Code(code),
            (None, signal) => Self::Signal(signal.unwrap_or_default()),
        }
    }
}

/// What a machine's second serial port is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DebuggerLine {
    None,
    Socket,
}

/// A path in the address of a socket has room for so many bytes (unix(7)).
const SOCKET_PATH_BYTES: usize = 107;

fn can_be_socket(path: &Path) -> Result<()> {
    if path.as_os_str().len() > SOCKET_PATH_BYTES {
        bail!(
            "{} is too long for the name of a socket: set CARGO_TARGET_DIR to a shorter path",
            path.display()
        );
    }
    Ok(())
}

/// A running machine. Dropping it kills QEMU.
pub struct Machine {
    child: Child,
    started: Instant,
    signals: Receiver<Signal>,
    /// Output that was read while the machine ended.
    pending: VecDeque<Output>,
    exit: Option<Exit>,
    patience: Duration,
    console: Console,
    /// To give commands; not before the handshake.
    control: Option<Control>,
    directory: Arc<Directory>,
    /// The kernel kills QEMU when the thread that started it ends (see [`tied`]), so the machine
    /// must not leave its thread.
    not_send: PhantomData<Rc<()>>,
}

impl Machine {
    /// Starts QEMU, opens all channels and lets the machine run.
    ///
    /// # Errors
    /// If QEMU can't be started or doesn't answer; the text holds what it said.
    pub fn start(config: &Config<'_>) -> Result<Self> {
        Self::start_with(config, DebuggerLine::None)
    }

    /// Starts a machine whose second serial port is a socket: see [`debugger`](Self::debugger).
    ///
    /// # Errors
    /// As for [`start`](Self::start).
    pub fn start_for_debugger(config: &Config<'_>) -> Result<Self> {
        Self::start_with(config, DebuggerLine::Socket)
    }

    fn start_with(config: &Config<'_>, line: DebuggerLine) -> Result<Self> {
        let directory = Arc::new(Directory::create(config.artefacts)?);
        let console = Console::open()?;
        let image = match config.image {
            Some(bytes) => Some(directory.write("boot.img", bytes)?),
            None => None,
        };
        let kernel = match config.kernel {
            Kernel::File(path) => path.to_owned(),
            Kernel::Bytes(bytes) => directory.write("kernel", bytes)?,
        };
        let debugger = directory.path("gdb");
        if line == DebuggerLine::Socket {
            can_be_socket(&debugger)?;
        }
        let channels = command_line::Channels {
            debugger: (line == DebuggerLine::Socket).then_some(&debugger),
            kernel: &kernel,
            console: console.path(),
            log: &directory.path("log"),
            results: &directory.path("results"),
            image: image.as_deref(),
        };
        let (ours, theirs) = qmp::pair()?;
        let mut command = tied::command(config.launcher, config.qemu);
        command.args(config.arguments(&channels));
        // Ctrl-C of the user's terminal goes to a group of processes. It is for us, or for a
        // debugger, and never for QEMU, which ends with us anyway.
        command.process_group(0);
        let theirs_too = theirs.try_clone().context("failed to copy a socket")?;
        command.stdin(Stdio::from(theirs)).stdout(Stdio::from(theirs_too)).stderr(Stdio::piped());
        let started = Instant::now();
        let mut child = command.spawn().with_context(|| {
            format!("failed to start {}: try `cargo xtask doctor`", config.qemu.display())
        })?;
        // Our copies of QEMU's ends would keep the channel open when QEMU ends.
        drop(command);
        let (sender, signals) = channel();
        let stderr = child.stderr.take();
        let mut machine = Self {
            child,
            started,
            signals,
            pending: VecDeque::new(),
            exit: None,
            patience: config.patience,
            console,
            control: None,
            directory,
            not_send: PhantomData,
        };
        if let Some(stderr) = stderr {
            spawn("qemu's messages", read_all(stderr, sender.clone()))?;
        }
        spawn("console", machine.console.reader(sender.clone())?)?;
        match qmp::start(ours, sender, config.patience) {
            Ok((control, read)) => {
                machine.control = Some(control);
                spawn("qmp", read)?;
            }
            Err(error) => return Err(machine.explain(error)),
        }
        if matches!(config.record, Record::Replay { gdb: Some(_), .. }) {
            // gdb lets it run.
            return Ok(machine);
        }
        match machine.go_on() {
            // It may be over before QEMU can answer. How it ended is then told as always.
            Err(error) if machine.exit.is_none() => Err(machine.explain(error)),
            _ => Ok(machine),
        }
    }

    /// When QEMU was started.
    #[must_use]
    pub fn started(&self) -> Instant {
        self.started
    }

    /// The socket of the debugger's line, if it was started with one.
    #[must_use]
    pub fn debugger(&self) -> PathBuf {
        self.directory.path("gdb")
    }

    /// Waits for output or for the end, but no longer than `until`.
    pub fn next(&mut self, until: Instant) -> Next {
        loop {
            if let Some(output) = self.pending.pop_front() {
                return Next::Output(output);
            }
            if let Some(exit) = self.exit {
                return Next::Ended(exit);
            }
            match self.signals.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Signal::Output(output)) => return Next::Output(output),
                Ok(Signal::Closed(Channel::Qmp)) | Err(RecvTimeoutError::Disconnected) => self.finish(),
                Ok(Signal::Closed(_) | Signal::Answer(_)) => {}
                Err(RecvTimeoutError::Timeout) => return Next::Late,
            }
        }
    }

    /// Stops the machine, and writes its memory and its processor to a file, which is an ELF core as
    /// gdb reads it. What the machine gives meanwhile is kept.
    ///
    /// # Errors
    /// If QEMU doesn't, or not soon.
    pub fn dump(&mut self) -> Result<DumpFile> {
        let path = self.directory.path("memory.core");
        self.command("stop", &json!({}))?;
        // With page tables, so that gdb finds what is at the kernel's addresses.
        let protocol = format!("file:{}", path.display());
        self.command("dump-guest-memory", &json!({ "paging": true, "protocol": protocol }))?;
        Ok(DumpFile { path, _directory: Arc::clone(&self.directory) })
    }

    /// How far the guest's own clock has come since the machine's start, in whole seconds. Where time is counted in
    /// instructions: a thousand million of them each, and the time that it only waited. It is the
    /// machine's calendar that tells, which a guest could set.
    ///
    /// # Errors
    /// If QEMU doesn't say.
    pub fn guest_time(&mut self) -> Result<Duration> {
        let place = json!({ "path": "/machine", "property": "rtc-time" });
        let date = self.command("qom-get", &place)?;
        calendar::since_start(&date).context("QEMU's date is none")
    }

    /// What there is of a processor that waits for an interrupt; `None` if it doesn't wait.
    ///
    /// # Errors
    /// If QEMU doesn't say.
    pub fn still(&mut self) -> Result<Option<Still>> {
        let registers = json!({ "command-line": "info registers" });
        let registers = self.command("human-monitor-command", &registers)?;
        let registers = registers.as_str().context("QEMU's registers are no text")?.to_owned();
        // As QEMU shows `HF_HALTED`.
        if !registers.contains("HLT=1") {
            return Ok(None);
        }
        Ok(Some(Still { registers, clock: self.guest_time()? }))
    }

    /// Lets a machine that is paused go on.
    ///
    /// # Errors
    /// If QEMU doesn't.
    pub fn go_on(&mut self) -> Result<()> {
        self.command("cont", &json!({})).map(drop)
    }

    /// How many instructions a machine that is run again has executed.
    ///
    /// # Errors
    /// If QEMU doesn't say.
    pub fn instruction(&mut self) -> Result<u64> {
        let replay = self.command("query-replay", &json!({}))?;
        replay["icount"].as_u64().context("QEMU doesn't count instructions")
    }

    /// Lets a machine that is run again, and is paused, go on until it has executed so many instructions, where it
    /// is paused. `false` if it has ended before that.
    ///
    /// # Errors
    /// If it is behind that, QEMU doesn't do as it is told, or `until` is over.
    pub fn run_to(&mut self, instruction: u64, until: Instant) -> Result<bool> {
        if self.instruction()? == instruction {
            return Ok(true);
        }
        self.stop_at(instruction)?;
        let mut running = self.go_on();
        while running.is_ok() {
            match self.command("query-status", &json!({})) {
                Ok(status) if status["running"] == Value::Bool(false) => return Ok(true),
                Ok(_) if Instant::now() > until => {
                    bail!(
                        "it takes too long to come to instruction {instruction}: give it more by `--timeout`"
                    )
                }
                Ok(_) => std::thread::sleep(Duration::from_micros(200)),
                Err(error) => running = Err(error),
            }
        }
        // It isn't there any more to answer.
        if self.exit.is_some() { Ok(false) } else { running.map(|()| false) }
    }

    /// Pauses a machine that is run again when it has executed so many instructions.
    ///
    /// # Errors
    /// If it is behind that, or QEMU doesn't do as it is told.
    pub fn stop_at(&mut self, instruction: u64) -> Result<()> {
        self.command("replay-break", &json!({ "icount": instruction })).map(drop)
    }

    /// Lets QEMU end.
    ///
    /// # Errors
    /// If it can't be told.
    pub fn quit(&mut self) -> Result<()> {
        self.command("quit", &json!({})).map(drop)
    }

    /// Gives QEMU a command, and waits until it is carried out.
    fn command(&mut self, command: &str, arguments: &Value) -> Result<Value> {
        if self.exit.is_some() {
            bail!("QEMU ended before it did {command}");
        }
        let control = self.control.as_mut().context("QEMU takes no commands yet")?;
        match control.send(command, arguments) {
            // It is ending, and how is told below.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            sent => sent.context("failed to write to QEMU over QMP")?,
        }
        let end = Instant::now() + self.patience;
        loop {
            match self.signals.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(Signal::Answer(Ok(value))) => return Ok(value),
                Ok(Signal::Answer(Err(reason))) => bail!("QEMU failed to {command}: {reason}"),
                Ok(Signal::Output(output)) => self.pending.push_back(output),
                Ok(Signal::Closed(Channel::Qmp)) | Err(RecvTimeoutError::Disconnected) => {
                    self.finish();
                    bail!("QEMU ended before it did {command}");
                }
                Ok(Signal::Closed(_)) => {}
                Err(RecvTimeoutError::Timeout) => bail!("QEMU doesn't answer to {command}"),
            }
        }
    }

    /// Tells whether QEMU has ended, though there may be output left.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.exit.is_some()
    }

    /// Kills QEMU. What it had written can still be read.
    pub fn kill(&mut self) {
        // It fails only if QEMU has ended by itself.
        let _ = self.child.kill();
    }

    /// What the kernel has logged: at most `limit` bytes from the start, in whole lines if there
    /// are more, and then the last line.
    ///
    /// # Errors
    /// If the file can't be read.
    pub fn log(&self, limit: usize) -> std::io::Result<Log> {
        let Some((mut file, mut bytes, cut)) = self.read("log", limit)? else { return Ok(Log::default()) };
        if cut == 0 {
            return Ok(Log { bytes, ..Log::default() });
        }
        let read = bytes.len();
        bytes.truncate(bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1));
        let cut = cut.saturating_add(count(read - bytes.len()));
        let size = count(bytes.len()).saturating_add(cut);
        Ok(Log { cut, last_line: last_line(&mut file, size)?, bytes })
    }

    /// What the kernel has reported: at most `limit` bytes from the start, and how many there are more.
    ///
    /// # Errors
    /// If the file can't be read.
    pub fn results(&self, limit: usize) -> std::io::Result<(Vec<u8>, u64)> {
        Ok(self.read("results", limit)?.map_or_else(Default::default, |(_, bytes, cut)| (bytes, cut)))
    }

    /// A file that QEMU writes, at most `limit` bytes from its start, and how many there are more. There is none
    /// if QEMU ended before it had opened it.
    fn read(&self, name: &str, limit: usize) -> std::io::Result<Option<(std::fs::File, Vec<u8>, u64)>> {
        let mut file = match std::fs::File::open(self.directory.path(name)) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let size = file.metadata()?.len();
        let mut bytes = Vec::new();
        file.by_ref().take(count(limit)).read_to_end(&mut bytes)?;
        let cut = size.saturating_sub(count(bytes.len()));
        Ok(Some((file, bytes, cut)))
    }

    /// QEMU is ending: waits for it, and reads what it left in the channels.
    fn finish(&mut self) {
        self.exit = Some(self.wait());
        if let Err(error) = self.console.end() {
            self.pending.push_back(Output::Trouble(format!("failed to read the console's end: {error:#}")));
        }
        let mut open = vec![Channel::Console, Channel::Qemu];
        while !open.is_empty() {
            match self.signals.recv_timeout(self.patience) {
                Ok(Signal::Output(output)) => self.pending.push_back(output),
                Ok(Signal::Closed(channel)) => open.retain(|known| *known != channel),
                Ok(Signal::Answer(_)) => {}
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    self.pending.push_back(Output::Trouble("QEMU ended, but its channels didn't".into()));
                    return;
                }
            }
        }
    }

    /// Waits until QEMU has ended. If it doesn't, it is killed.
    fn wait(&mut self) -> Exit {
        let end = Instant::now() + self.patience;
        while Instant::now() < end {
            match self.child.try_wait() {
                Ok(Some(status)) => return status.into(),
                Ok(None) => std::thread::sleep(Duration::from_micros(200)),
                Err(_) => break,
            }
        }
        self.kill();
        self.child.wait().map_or(Exit::Signal(0), Exit::from)
    }

    /// Adds to an error what QEMU said and how it ended.
    fn explain(mut self, error: anyhow::Error) -> anyhow::Error {
        self.kill();
        self.finish();
        let mut said = String::new();
        for output in &self.pending {
            if let Output::Qemu(bytes) = output {
                said.push_str(&String::from_utf8_lossy(bytes));
            }
        }
        match said.trim() {
            "" => error,
            said => error.context(format!("QEMU says: {}", crate::observe::escape(said.as_bytes()))),
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if self.exit.is_none() {
            self.kill();
            // A zombie is all that could remain, and it ends with us.
            let _ = self.child.wait();
        }
    }
}

/// A processor that waits for an interrupt. Where waiting takes none of the host's time, one that is the same a while later
/// waits for what can't come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Still {
    /// As QEMU shows them to people.
    registers: String,
    /// See [`Machine::guest_time`].
    clock: Duration,
}

/// The file of a [`Machine::dump`], which is removed when nobody has it any more.
#[derive(Clone, Debug)]
pub struct DumpFile {
    path: PathBuf,
    _directory: Arc<Directory>,
}

impl DumpFile {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// A kernel's log.
#[derive(Debug, Default)]
pub struct Log {
    /// What was kept.
    pub bytes: Vec<u8>,
    /// How many bytes were not.
    pub cut: u64,
    /// The last line, if bytes were not kept.
    pub last_line: Vec<u8>,
}

fn count(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// Reads the last line of a file, as far as it is of sensible length.
fn last_line(file: &mut std::fs::File, size: u64) -> std::io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(size.saturating_sub(4096)))?;
    let mut tail = Vec::new();
    file.take(4096).read_to_end(&mut tail)?;
    let tail = tail.strip_suffix(b"\n").unwrap_or(&tail);
    Ok(tail.rsplit(|byte| *byte == b'\n').next().unwrap_or_default().to_vec())
}

/// Reads a channel to its end.
fn read_all(
    mut from: impl std::io::Read + Send + 'static,
    to: Sender<Signal>,
) -> impl FnOnce() + Send + 'static {
    move || {
        let mut buffer = [0; 4096];
        loop {
            let size = match from.read(&mut buffer) {
                Ok(size @ 1..) => size,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Ok(_) | Err(_) => break,
            };
            if to.send(Signal::Output(Output::Qemu(buffer[..size].to_vec()))).is_err() {
                return;
            }
        }
        // If nobody listens any more, nobody waits for it either.
        let _ = to.send(Signal::Closed(Channel::Qemu));
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<()> {
    match std::thread::Builder::new().name(name.to_owned()).spawn(body) {
        Ok(_) => Ok(()),
        Err(error) => bail!("failed to start a thread for {name}: {error}"),
    }
}
