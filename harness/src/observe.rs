//! A run as one stream of typed events.
//!
//! What a machine gives are bytes that a guest chose: they may be invalid, endless, or made to
//! look like something else. Here they become lines of printable text, and only so many of them.

mod line;
mod lines;
mod log;
mod results;
#[cfg(test)]
mod tests;
mod text;

pub use line::watch_line;
pub use log::{Level, LogLine};
pub use results::{Damage, word, words};
pub use text::escape;

use crate::machine::{DumpFile, Exit, Machine, Next, Output, Still};
use abi::report::Report;
use lines::Lines;
use serde::Serialize as _;
use std::fmt;
use std::time::{Duration, Instant};

/// Bytes of the log, and of QEMU's messages, that are kept of a run.
pub const KEPT_BYTES: usize = 1 << 20;
/// Bytes of the console that are kept. Nobody reviews more than that, and a machine that prints
/// more is stopped; a guest needs most of a second for them.
pub const KEPT_CONSOLE_BYTES: usize = 128 << 10;
/// Bytes of the kernel's reports that are kept: more than a kernel writes, however many processes and messages it
/// reports.
const KEPT_RESULTS_BYTES: usize = 8 << 20;
/// What QEMU says when the processor waits for an interrupt and no timer runs.
const IDLE_WARNING: &str = "icount sleep disabled and no active timers";
/// For how long the console must stay silent after that warning, which may come while the host still has something to
/// do for the guest. QEMU gives it only once, so a machine that went on is looked at so often from then on.
const IDLE_GRACE: Duration = Duration::from_millis(250);
/// Console output that is read so soon after the warning may have been printed before it: the
/// channels are read by threads of their own, and any of them may come first.
const IN_FLIGHT: Duration = Duration::from_millis(50);
/// A machine that stands still at so many looks in a row does so for ever: waiting takes none of the host's time.
const STILL_LOOKS: u32 = 3;

/// Something that happened in a run.
///
/// As JSON: `{"at":0.0931,"event":"console","value":"hello"}`, in seconds and with the name of a
/// variant of [`What`].
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Event {
    /// When, counted from QEMU's start.
    #[serde(serialize_with = "seconds")]
    pub at: Duration,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

fn seconds<S: serde::Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(time.as_secs_f64())
}

fn maybe_seconds<S: serde::Serializer>(time: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    time.map(|time| time.as_secs_f64()).serialize(to)
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "event", content = "value", rename_all = "snake_case")]
pub enum What {
    /// A line on the console.
    Console(String),
    /// What stood on the console after its last line when the machine ended.
    ConsoleRest(String),
    /// So many bytes of the console were not kept.
    ConsoleCut(u64),
    /// A line of the kernel's log. The log is read when the machine has ended.
    Log(LogLine),
    /// So many bytes of the log were not kept.
    LogCut(u64),
    /// What the kernel reports to who judges the run. It is read when the machine has ended.
    Result(#[serde(serialize_with = "results::serialize")] Report),
    /// What stands among the reports and is none, which only a defect can have written.
    BadResult(Damage),
    /// A line of QEMU's own.
    Qemu(String),
    /// The machine was reset, which ends it.
    Reset,
    /// The processor waits for an interrupt that can't come, so the machine was stopped.
    Idle,
    /// The host's time for it was over, so the machine was stopped; how far its own clock had come, if that is known.
    TimedOut(#[serde(serialize_with = "maybe_seconds")] Option<Duration>),
    /// The console had more than is kept, so the machine was stopped.
    Flooded,
    /// Something went wrong on this side.
    Trouble(String),
    /// QEMU ended.
    Ended(Exit),
}

/// Where an event comes from. Only events of one channel have an order that the guest decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// What processes print.
    Console,
    /// What the kernel and services report.
    Log,
    /// What the kernel reports of the run.
    Results,
    /// What QEMU says to the user who starts it.
    Qemu,
    /// The machine itself.
    Machine,
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Console => "console",
            Self::Log => "log",
            Self::Results => "results",
            Self::Qemu => "QEMU",
            Self::Machine => "machine",
        })
    }
}

impl What {
    /// Where it comes from.
    #[must_use]
    pub fn channel(&self) -> Channel {
        match self {
            Self::Console(_) | Self::ConsoleRest(_) | Self::ConsoleCut(_) => Channel::Console,
            Self::Log(_) | Self::LogCut(_) => Channel::Log,
            Self::Result(_) | Self::BadResult(_) => Channel::Results,
            Self::Qemu(_) => Channel::Qemu,
            Self::Reset
            | Self::Idle
            | Self::TimedOut(_)
            | Self::Flooded
            | Self::Trouble(_)
            | Self::Ended(_) => Channel::Machine,
        }
    }
}

/// The event as a line for people.
impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Console(line) | Self::Qemu(line) => f.write_str(line),
            Self::ConsoleRest(rest) => write!(f, "{rest} [no line end]"),
            Self::ConsoleCut(bytes) => write!(f, "[{bytes} more bytes were not kept]"),
            Self::Log(line) => line.fmt(f),
            Self::LogCut(bytes) => write!(f, "[{bytes} bytes were not kept; the last line is]"),
            Self::Result(report) => f.write_str(&words(report)),
            Self::BadResult(damage) => damage.fmt(f),
            Self::Reset => f.write_str("the machine was reset"),
            Self::Idle => f.write_str("the machine waited for nothing, and was stopped"),
            Self::TimedOut(None) => {
                f.write_str("the host's time for the machine was over, and it was stopped")
            }
            Self::TimedOut(Some(own)) => write!(
                f,
                "the host's time for the machine was over after {} s of its own, and it was stopped",
                own.as_secs()
            ),
            Self::Flooded => f.write_str("the machine printed without end, and was stopped"),
            Self::Trouble(text) => write!(f, "trouble: {text}"),
            Self::Ended(Exit::Code(code)) => write!(f, "QEMU exited with {code}"),
            Self::Ended(Exit::Signal(signal)) => write!(f, "QEMU was killed by signal {signal}"),
            Self::Ended(Exit::Restarted) => f.write_str("the machine has started anew"),
        }
    }
}

/// All events of a run, in order.
#[derive(Clone, Debug, Default)]
pub struct Record {
    events: Vec<Event>,
    now: Duration,
    /// Memory and processor of a machine that had to be stopped, or that panicked; or why there is no dump of them.
    pub dump: Option<Result<DumpFile, String>>,
}

impl Record {
    /// A record of a machine that didn't start.
    #[must_use]
    pub fn of_trouble(text: String) -> Self {
        let mut record = Self::default();
        record.push(What::Trouble(text));
        record
    }

    /// All events.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// The events of a channel.
    pub fn channel(&self, channel: Channel) -> impl Iterator<Item = &Event> {
        self.events.iter().filter(move |event| event.what.channel() == channel)
    }

    /// The lines of the kernel's log.
    pub fn log(&self) -> impl DoubleEndedIterator<Item = &LogLine> {
        self.events.iter().filter_map(|event| match &event.what {
            What::Log(line) => Some(line),
            _ => None,
        })
    }

    /// What the kernel reported.
    pub fn reports(&self) -> impl DoubleEndedIterator<Item = &Report> {
        self.events.iter().filter_map(|event| match &event.what {
            What::Result(report) => Some(report),
            _ => None,
        })
    }

    /// The lines of the log that say that something is wrong.
    pub fn complaints(&self) -> impl DoubleEndedIterator<Item = &LogLine> {
        self.log().filter(|line| line.level != Level::Info)
    }

    /// What the kernel logs when it ends a run that takes longer than it may: what everybody is doing.
    pub fn last_words(&self) -> impl Iterator<Item = &LogLine> {
        let is_over = |event: &&Event| event.what == What::Result(Report::Overran);
        let behind = self.events.iter().skip_while(move |event| !is_over(event));
        behind.filter_map(|event| match &event.what {
            What::Log(line) if line.level == Level::Info => Some(line),
            _ => None,
        })
    }

    /// How QEMU ended, if it did.
    #[must_use]
    pub fn exit(&self) -> Option<Exit> {
        self.events.iter().rev().find_map(|event| match event.what {
            What::Ended(exit) => Some(exit),
            _ => None,
        })
    }

    /// Tells whether the machine was reset.
    #[must_use]
    pub fn was_reset(&self) -> bool {
        self.events.iter().any(|event| event.what == What::Reset)
    }

    /// Tells whether the machine was stopped because it didn't end by itself.
    #[must_use]
    pub fn is_hang(&self) -> bool {
        self.events.iter().any(|event| matches!(event.what, What::Idle | What::TimedOut(_) | What::Flooded))
    }

    /// When the first event happened that `is_it` accepts.
    #[must_use]
    pub fn when(&self, is_it: impl Fn(&What) -> bool) -> Option<Duration> {
        self.events.iter().find(|event| is_it(&event.what)).map(|event| event.at)
    }

    /// Adds an event that happens now.
    pub fn push(&mut self, what: What) {
        self.events.push(Event { at: self.now, what });
    }

    /// Adds the lines of a kernel's log.
    pub fn add_log(&mut self, bytes: &[u8]) {
        let kept = &bytes[..bytes.len().min(KEPT_BYTES)];
        for line in kept.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            self.push(What::Log(LogLine::parse(line)));
        }
    }

    /// Adds what came over the line of reports, of which `cut` bytes more were not kept.
    pub fn add_results(&mut self, bytes: &[u8], cut: u64) {
        results::read(bytes, cut, &mut |what| self.push(what));
    }
}

/// What a watcher wants of a machine after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// To see more of it.
    GoOn,
    /// That it is stopped.
    Stop,
}

/// Watches a machine until it ends, for `limit` at most, and shows each event to `watcher`.
pub fn watch(machine: Machine, limit: Duration, watcher: impl FnMut(&Event) -> Wish) -> Record {
    let observer = Observer {
        record: Record::default(),
        console: Lines::new(KEPT_CONSOLE_BYTES),
        qemu: Lines::new(KEPT_BYTES),
        idle: Idle::Unknown,
        is_flooded: false,
        watcher,
    };
    observer.run(machine, limit)
}

struct Observer<W> {
    record: Record,
    console: Lines,
    qemu: Lines,
    idle: Idle,
    /// Whether the console has had more than is kept.
    is_flooded: bool,
    watcher: W,
}

/// Whether the processor waits for what can't come.
enum Idle {
    /// QEMU has not said that it waits.
    Unknown,
    /// It has, and the console was silent since.
    Said(Instant),
    /// The console was not silent, so the machine is looked at.
    Doubted {
        /// When next.
        at: Instant,
        /// As what it stood still at the last look, if it did, and at how many in a row.
        still: Option<(Still, u32)>,
    },
}

impl Idle {
    /// The console has had something.
    fn see_output(&mut self) {
        match self {
            Self::Said(since) if since.elapsed() < IN_FLIGHT => {}
            Self::Unknown => {}
            Self::Said(_) | Self::Doubted { .. } => {
                *self = Self::Doubted { at: Instant::now() + IDLE_GRACE, still: None };
            }
        }
    }

    /// When something is to be done about it.
    fn due(&self) -> Option<Instant> {
        match self {
            Self::Unknown => None,
            Self::Said(since) => Some(*since + IDLE_GRACE),
            Self::Doubted { at, .. } => Some(*at),
        }
    }

    /// That is due: tells whether the machine waits for nothing.
    fn is_for_ever(&mut self, machine: &mut Machine) -> bool {
        let Self::Doubted { at, still } = self else { return matches!(self, Self::Said(_)) };
        *at = Instant::now() + IDLE_GRACE;
        // What doesn't say so isn't known to.
        let now = machine.still().ok().flatten();
        *still = now.map(|now| match still.take() {
            Some((before, looks)) if before == now => (now, looks + 1),
            _ => (now, 1),
        });
        still.as_ref().is_some_and(|(_, looks)| *looks >= STILL_LOOKS)
    }
}

impl<W: FnMut(&Event) -> Wish> Observer<W> {
    fn run(mut self, mut machine: Machine, limit: Duration) -> Record {
        let end = machine.started() + limit;
        loop {
            let until = self.idle.due().map_or(end, |due| due.min(end));
            let next = machine.next(until);
            self.record.now = machine.started().elapsed();
            let wish = match next {
                Next::Output(Output::Paused) => self.look_at(&mut machine, Machine::go_on),
                Next::Output(Output::Reset) => {
                    self.tell(What::Reset, Wish::GoOn);
                    self.look_at(&mut machine, Machine::quit)
                }
                Next::Output(Output::ShutDown) => {
                    // If it doesn't end, it is late some time.
                    let _ = machine.quit();
                    Wish::GoOn
                }
                Next::Output(output) => self.see(output),
                Next::Ended(exit) => return self.finish(&mut machine, exit),
                Next::Late if until == end => self.time_out(&mut machine),
                Next::Late if self.idle.is_for_ever(&mut machine) => self.tell(What::Idle, Wish::Stop),
                Next::Late => Wish::GoOn,
            };
            // What gives something without a pause would else never be late.
            let is_late = wish == Wish::GoOn && Instant::now() >= end && !machine.has_ended();
            let wish = if is_late { self.time_out(&mut machine) } else { wish };
            if wish == Wish::Stop {
                if self.record.is_hang() {
                    self.dump(&mut machine);
                }
                return self.stop(machine);
            }
        }
    }

    /// Keeps a picture of a machine that is paused, and lets it go on to its end.
    fn look_at(&mut self, machine: &mut Machine, go_on: impl Fn(&mut Machine) -> anyhow::Result<()>) -> Wish {
        if machine.has_ended() {
            return Wish::GoOn;
        }
        self.dump(machine);
        match go_on(machine) {
            // Of one that ended meanwhile, how it did is still to be told.
            Err(error) if !machine.has_ended() => {
                let text = format!("the machine is paused and doesn't go on: {error:#}");
                self.tell(What::Trouble(text), Wish::Stop)
            }
            _ => Wish::GoOn,
        }
    }

    fn time_out(&mut self, machine: &mut Machine) -> Wish {
        // What doesn't say it is stopped all the same.
        let own = machine.guest_time().ok();
        self.tell(What::TimedOut(own), Wish::Stop)
    }

    fn dump(&mut self, machine: &mut Machine) {
        self.record.dump = Some(machine.dump().map_err(|error| format!("{error:#}")));
    }

    /// Stops the machine, and reads what it had written by then.
    fn stop(mut self, mut machine: Machine) -> Record {
        machine.kill();
        loop {
            match machine.next(Instant::now() + Duration::from_secs(10)) {
                Next::Output(output) => {
                    self.see(output);
                }
                Next::Ended(exit) => return self.finish(&mut machine, exit),
                Next::Late => {
                    self.tell(What::Trouble("QEMU doesn't end, though it was killed".into()), Wish::Stop);
                    return self.record;
                }
            }
        }
    }

    fn see(&mut self, output: Output) -> Wish {
        match output {
            Output::Console(bytes) => {
                self.idle.see_output();
                let lines = self.console.add(&bytes);
                let wish = self.tell_all(lines, What::Console);
                let was_flooded = std::mem::replace(&mut self.is_flooded, self.console.cut() > 0);
                if self.is_flooded && !was_flooded { self.tell(What::Flooded, Wish::Stop) } else { wish }
            }
            Output::Qemu(bytes) => {
                let lines = self.qemu.add(&bytes);
                if lines.iter().any(|line| line.contains(IDLE_WARNING)) {
                    self.idle = Idle::Said(Instant::now());
                }
                self.tell_all(lines, What::Qemu)
            }
            Output::Reset => self.tell(What::Reset, Wish::GoOn),
            // Stopped for another reason meanwhile, it is looked at for that.
            Output::Paused | Output::ShutDown => Wish::GoOn,
            Output::Trouble(text) => self.tell(What::Trouble(text), Wish::Stop),
        }
    }

    fn finish(mut self, machine: &mut Machine, exit: Exit) -> Record {
        if let Some(rest) = self.console.rest() {
            self.tell(What::ConsoleRest(rest), Wish::GoOn);
        }
        if self.console.cut() > 0 {
            self.tell(What::ConsoleCut(self.console.cut()), Wish::GoOn);
        }
        if let Some(rest) = self.qemu.rest() {
            self.tell(What::Qemu(rest), Wish::GoOn);
        }
        match machine.log(KEPT_BYTES) {
            Ok(log) => {
                self.record.add_log(&log.bytes);
                if log.cut > 0 {
                    self.tell(What::LogCut(log.cut), Wish::GoOn);
                    // How it ended is what people look for.
                    self.record.push(What::Log(LogLine::parse(&log.last_line)));
                }
            }
            Err(error) => {
                self.tell(What::Trouble(format!("failed to read the kernel's log: {error}")), Wish::GoOn);
            }
        }
        match machine.results(KEPT_RESULTS_BYTES) {
            Ok((bytes, cut)) => self.record.add_results(&bytes, cut),
            Err(error) => {
                self.tell(What::Trouble(format!("failed to read the kernel's results: {error}")), Wish::GoOn);
            }
        }
        self.tell(What::Ended(exit), Wish::GoOn);
        self.record
    }

    fn tell_all(&mut self, lines: Vec<String>, what: impl Fn(String) -> What) -> Wish {
        let mut wish = Wish::GoOn;
        for line in lines {
            if self.tell(what(line), Wish::GoOn) == Wish::Stop {
                wish = Wish::Stop;
            }
        }
        wish
    }

    /// Records an event. The watcher may ask for a stop that `wish` doesn't ask for.
    fn tell(&mut self, what: What, wish: Wish) -> Wish {
        let event = Event { at: self.record.now, what };
        let wanted = (self.watcher)(&event);
        self.record.events.push(event);
        if wish == Wish::Stop { wish } else { wanted }
    }
}
