//! A gdb that a program talks to, command by command.

use super::{Debugger, Group, Owned};
use crate::machine::Exit;
use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use std::fmt::Write as _;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{ErrorKind, PipeReader, Read as _, Write as _};
use std::process::ChildStdin;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// How much gdb may say. Nobody reviews more than that.
const KEPT_BYTES: usize = 1 << 20;
/// How long Ctrl-C may take to stop a machine before it is taken for lost.
const CTRL_C: Duration = Duration::from_secs(10);
/// How long gdb may take to end when it was told to.
const END: Duration = Duration::from_secs(5);

/// A running gdb without a terminal. Dropping it kills gdb.
pub struct Driven {
    gdb: Owned,
    input: ChildStdin,
    output: Receiver<Vec<u8>>,
    /// What gdb prints when it takes commands: a secret, so that nothing else looks like it.
    prompt: String,
    started: Instant,
    limit: Duration,
    /// What gdb has said since the latest command.
    said: Vec<u8>,
    total_bytes: usize,
    /// Lines of the latest command after its first.
    more_lines: usize,
    transcript: String,
}

impl Debugger<'_> {
    /// Starts a gdb to be driven, and waits until it has connected and takes commands. `limit` is
    /// for all that it does until it is dropped. It is the host's time, so it only guards against
    /// what hangs: choose it so large that reaching it is trouble, and no finding.
    ///
    /// # Errors
    /// If gdb can't be run, ends, or isn't ready in time.
    pub fn drive(&self, limit: Duration) -> Result<Driven> {
        let prompt = format!("<{:016x}> ", RandomState::new().hash_one(0));
        let (reader, writer) = std::io::pipe().context("failed to make a pipe")?;
        let mut command = self.command(self.arguments());
        // Without a limit of the width, lines look the same everywhere. A machine on a busy host may be silent for longer
        // than the two seconds after which gdb would say things again.
        let own = format!("prompt {prompt}");
        for setting in ["width 0", "height 0", "print thread-events off", "remotetimeout 60", &own] {
            command.arg("-iex").arg(format!("set {setting}"));
        }
        command.env("TERM", "dumb").env("LC_MESSAGES", "C").env_remove("LC_ALL").env_remove("LANGUAGE");
        command.stdin(std::process::Stdio::piped());
        // One pipe for both, so that errors stand where they belong.
        command.stdout(writer.try_clone().context("failed to copy a pipe")?).stderr(writer);
        let mut gdb = Owned::start(&mut command, Group::Own)?;
        // Our copies of gdb's ends would keep the pipe open when gdb ends.
        drop(command);
        let input = gdb.child.stdin.take().context("failed to find gdb's input")?;
        let (sender, output) = channel();
        std::thread::Builder::new()
            .name("gdb".into())
            .spawn(move || read(reader, &sender))
            .context("failed to start a thread for gdb")?;
        let started = Instant::now();
        let mut driven = Driven {
            gdb,
            input,
            output,
            prompt,
            started,
            limit,
            said: Vec::new(),
            total_bytes: 0,
            more_lines: 0,
            transcript: String::new(),
        };
        let greeting = driven.wait().context("gdb isn't ready")?;
        driven.transcript.push_str(&greeting);
        Ok(driven)
    }
}

fn read(mut from: PipeReader, to: &Sender<Vec<u8>>) {
    let mut buffer = [0; 4096];
    loop {
        match from.read(&mut buffer) {
            Ok(size @ 1..) => {
                if to.send(buffer[..size].to_vec()).is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Ok(_) | Err(_) => return,
        }
    }
}

impl Driven {
    /// Gives gdb a command, waits until it takes the next one, and returns what it said: also if
    /// that is an error, which is a finding like any other. A command may have several lines.
    ///
    /// # Errors
    /// If gdb ends, talks without end, or the time is over.
    pub fn ask(&mut self, command: &str) -> Result<String> {
        self.tell(command)?;
        self.answer()
    }

    /// Gives gdb a command and doesn't wait.
    ///
    /// # Errors
    /// If gdb has ended.
    pub fn tell(&mut self, command: &str) -> Result<()> {
        for line in command.lines() {
            writeln!(self.transcript, "(gdb) {line}").expect("writing to a string succeeds");
        }
        self.more_lines = command.lines().count().saturating_sub(1);
        writeln!(self.input, "{command}").context("gdb takes no more commands")
    }

    /// Waits for the answer to a command of [`tell`](Self::tell).
    ///
    /// # Errors
    /// As for [`ask`](Self::ask).
    pub fn answer(&mut self) -> Result<String> {
        let mut answer = self.wait();
        if let Ok(answer) = &mut answer {
            // For each of those lines gdb has prompted, though nobody sees it.
            let prompts = answer.bytes().take(self.more_lines).take_while(|byte| *byte == b'>').count();
            answer.drain(..prompts);
        }
        match &answer {
            Ok(answer) => self.transcript.push_str(answer),
            Err(_) => self.transcript.push_str(&String::from_utf8_lossy(&self.said)),
        }
        answer
    }

    /// Does what Ctrl-C does: the machine stops.
    ///
    /// # Errors
    /// If gdb has ended.
    pub fn interrupt(&self) -> Result<()> {
        kill(self.gdb.pid()?, Signal::SIGINT).context("failed to interrupt gdb")
    }

    /// Stops the machine by Ctrl-C, and returns what gdb says to that. One that comes before gdb has begun to wait for
    /// the machine is lost, so it may take more than one.
    ///
    /// # Errors
    /// As for [`ask`](Self::ask).
    pub fn stop(&mut self) -> Result<String> {
        self.stop_after(Duration::ZERO)
    }

    /// The same where the machine may stop by itself, and word of that be lost on the line: it has `patience` to.
    ///
    /// # Errors
    /// As for [`ask`](Self::ask).
    pub fn stop_after(&mut self, patience: Duration) -> Result<String> {
        self.take_output_for(patience)?;
        while !self.is_ready() {
            self.interrupt()?;
            self.take_output_for(CTRL_C)?;
        }
        self.answer()
    }

    /// All commands and answers so far, as a terminal would show them.
    #[must_use]
    pub fn transcript(&self) -> &str {
        &self.transcript
    }

    /// Kills gdb, whatever it does, as somebody might who is tired of it.
    pub fn kill(&mut self) {
        self.gdb.kill();
    }

    /// Closes gdb's input, which ends it.
    ///
    /// # Errors
    /// If it doesn't end soon. It is killed then.
    pub fn end(self) -> Result<Exit> {
        let Self { mut gdb, input, .. } = self;
        drop(input);
        let end = Instant::now() + END;
        while Instant::now() < end {
            if let Some(exit) = gdb.exit()? {
                return Ok(exit);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        bail!("gdb doesn't end, and was killed")
    }

    /// Waits for the prompt, and takes what stands before it.
    fn wait(&mut self) -> Result<String> {
        while !self.is_ready() {
            self.take_output(self.started + self.limit)?;
        }
        self.said.truncate(self.said.len() - self.prompt.len());
        Ok(String::from_utf8_lossy(&std::mem::take(&mut self.said)).into_owned())
    }

    /// Tells whether gdb takes the next command.
    fn is_ready(&self) -> bool {
        self.said.ends_with(self.prompt.as_bytes())
    }

    /// Takes what gdb says until it takes the next command, but no longer than that.
    fn take_output_for(&mut self, most: Duration) -> Result<()> {
        let end = Instant::now() + most;
        while !self.is_ready() && Instant::now() < end {
            self.take_output(end)?;
        }
        Ok(())
    }

    /// Waits for more of what gdb says, but no longer than that.
    fn take_output(&mut self, until: Instant) -> Result<()> {
        let end = self.started + self.limit;
        match self.output.recv_timeout(until.min(end).saturating_duration_since(Instant::now())) {
            Ok(bytes) => {
                self.total_bytes += bytes.len();
                self.said.extend(bytes);
            }
            Err(RecvTimeoutError::Timeout) if Instant::now() < end => {}
            Err(RecvTimeoutError::Timeout) => {
                bail!("gdb didn't answer in time: it had {} s{}", self.limit.as_secs_f64(), self.last_words())
            }
            Err(RecvTimeoutError::Disconnected) => bail!("gdb ended{}", self.last_words()),
        }
        if self.total_bytes > KEPT_BYTES {
            bail!("gdb says more than {} KiB", KEPT_BYTES / 1024);
        }
        Ok(())
    }

    /// What gdb said last, for an error.
    fn last_words(&self) -> String {
        let said = String::from_utf8_lossy(&self.said);
        match said.trim().lines().next_back() {
            Some(line) => format!(", and it had said last: {line}"),
            None => String::new(),
        }
    }
}
