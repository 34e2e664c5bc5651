//! Watches a run on a machine at the other end of a serial line.

#[cfg(test)]
mod tests;

use super::{Damage, Event, KEPT_BYTES, KEPT_CONSOLE_BYTES, Lines, LogLine, Record, What, Wish, escape};
use crate::machine::Exit;
use crate::serial::host::{Heard, Packed, Plan};
use crate::serial::line::{Line, Next};
use abi::report::Report;
use abi::serial::Problem;
use std::time::{Duration, Instant};

/// What a machine may take to be given a run, beside the time that the bytes need.
const LOADING: Duration = Duration::from_secs(60);
/// Bytes a second that even a line with faults carries.
const SLOWEST: u64 = 2000;
/// When a run's time is over, the kernel says so; a machine that is silent for so long has none that could.
const GRACE: Duration = Duration::from_secs(10);
/// How long a machine may take to answer whether it has started anew, until it is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(250);
/// What comes without an end after a run's time is over, comes so long at most.
const LONGEST_END: Duration = Duration::from_secs(120);

/// Gives the machine something to run, watches the run to its end and until the machine has started anew, and shows
/// each event to `watcher`. Nobody can stop such a machine: the kernel ends the run when its time is over.
pub fn watch_line(line: &mut Line, plan: Plan, watcher: impl FnMut(&Event) -> Wish) -> Record {
    let observer = Observer {
        started: Instant::now(),
        record: Record::default(),
        console: Lines::new(KEPT_CONSOLE_BYTES),
        log: Vec::new(),
        log_room: KEPT_BYTES,
        is_flooded: false,
        watcher,
    };
    observer.run(line, plan)
}

struct Observer<W> {
    started: Instant,
    record: Record,
    console: Lines,
    /// The line of the log that has no end yet.
    log: Vec<u8>,
    /// How many more bytes of it are kept.
    log_room: usize,
    is_flooded: bool,
    watcher: W,
}

/// How far a run is.
#[derive(Clone, Copy)]
enum Phase {
    /// The machine is given what it shall run.
    Loading,
    /// It runs since then.
    Running(Instant),
    /// The kernel would have ended it, and no program can answer: it is asked whether it has started anew.
    Asking {
        /// It runs since then.
        since: Instant,
        /// How long it is asked.
        until: Instant,
    },
    /// It has said how the run ended.
    Ended,
}

impl<W: FnMut(&Event) -> Wish> Observer<W> {
    fn run(mut self, line: &mut Line, plan: Plan) -> Record {
        if let Err(reason) = line.ready().and_then(|ready| crate::serial::fits(&ready, &plan)) {
            return self.trouble(format!("{reason:#}"));
        }
        let limit = Duration::from_millis(plan.limit_ms.into());
        let bytes = u64::from(plan.image.as_ref().map_or(0, Packed::packed));
        let loaded_by = Instant::now() + LOADING.min(line.patience()) + Duration::from_secs(bytes / SLOWEST);
        let run = plan.run;
        let grace = GRACE.min(line.patience());
        line.offer(plan);
        let mut phase = Phase::Loading;
        let mut heard_at = Instant::now();
        let mut problem = Problem::None;
        loop {
            let until = match phase {
                Phase::Loading => loaded_by,
                Phase::Running(since) => {
                    (heard_at.max(since + limit) + grace).min(since + limit + LONGEST_END)
                }
                Phase::Asking { .. } => Instant::now() + ASK_AGAIN,
                Phase::Ended => heard_at + line.patience(),
            };
            let next = line.next(until);
            self.record.now = self.started.elapsed();
            let heard = match next {
                Next::Heard(heard) => heard,
                Next::Broken(reason) => {
                    self.see_rest(line);
                    return self.trouble(reason);
                }
                Next::Late => {
                    let now = Instant::now();
                    let (since, until) = match phase {
                        Phase::Running(since) => (since, now.min(since + limit + LONGEST_END) + grace),
                        Phase::Asking { since, until } => (since, until),
                        Phase::Loading | Phase::Ended => return self.late(line, phase, problem),
                    };
                    if now >= until || !line.ask() {
                        return self.late(line, phase, problem);
                    }
                    phase = Phase::Asking { since, until };
                    continue;
                }
            };
            if !matches!(phase, Phase::Ended) {
                heard_at = Instant::now();
            }
            if let (false, Phase::Asking { since, .. }) = (matches!(heard, Heard::Ready(_)), phase) {
                phase = Phase::Running(since);
            }
            match (heard, phase) {
                (Heard::Ready(ready), Phase::Loading) if ready.run == run => {
                    problem = ready.problem;
                    // The others may be the line's doing.
                    if matches!(problem, Problem::Unknown | Problem::TooLarge) {
                        return self.late(line, phase, problem);
                    }
                }
                (Heard::Ready(_), Phase::Loading) => {}
                (Heard::Ready(_), Phase::Running(_) | Phase::Asking { .. }) => {
                    self.tell(What::Reset);
                    return self.finish(Exit::Restarted);
                }
                (Heard::Ready(_), Phase::Ended) => return self.finish(Exit::Restarted),
                (Heard::Started, _) => phase = Phase::Running(Instant::now()),
                (Heard::Report(report), _) => {
                    self.tell(What::Result(report));
                    if matches!(report, Report::End(_)) {
                        phase = Phase::Ended;
                    }
                }
                (heard, _) => self.see(heard),
            }
        }
    }

    /// The run is given up: takes what is still in doubt for what it printed.
    fn see_rest(&mut self, line: &mut Line) {
        line.give_up();
        while let Next::Heard(heard) = line.next(Instant::now()) {
            self.see(heard);
        }
    }

    fn see(&mut self, heard: Heard) {
        match heard {
            Heard::Console(bytes) => {
                self.console.add(&bytes).into_iter().for_each(|line| self.tell(What::Console(line)));
                if self.console.cut() > 0 && !self.is_flooded {
                    self.is_flooded = true;
                    self.tell(What::Flooded);
                }
            }
            Heard::Log(bytes) => self.log(&bytes),
            Heard::Lost { expected, found } => self.tell(What::BadResult(Damage::Gap { expected, found })),
            Heard::Unknown { kind, bytes } => self.tell(What::BadResult(Damage::NoReport { kind, bytes })),
            Heard::Ready(_) | Heard::Started | Heard::Report(_) | Heard::Noise(_) => {}
        }
    }

    fn log(&mut self, bytes: &[u8]) {
        let kept = bytes.len().min(self.log_room);
        self.log_room -= kept;
        for byte in &bytes[..kept] {
            if *byte == b'\n' {
                self.end_log_line();
            } else {
                self.log.push(*byte);
            }
        }
        if kept < bytes.len() {
            self.tell(What::LogCut((bytes.len() - kept).try_into().unwrap_or(u64::MAX)));
        }
    }

    fn end_log_line(&mut self) {
        let line = std::mem::take(&mut self.log);
        if !line.is_empty() {
            self.tell(What::Log(LogLine::parse(&line)));
        }
    }

    /// Nothing comes any more.
    fn late(mut self, line: &mut Line, phase: Phase, problem: Problem) -> Record {
        self.see_rest(line);
        match phase {
            Phase::Loading => {
                let why = match problem {
                    Problem::None => {
                        "it doesn't answer: see that this host's transmit is its receive, and reset it"
                    }
                    Problem::Unknown => {
                        "it doesn't understand what it is told: copy target/kernel/kernel to it anew"
                    }
                    Problem::TooLarge => "it has no room for the boot image: give it more memory",
                    Problem::Damaged => "what it unpacks isn't the boot image: test its memory",
                    Problem::Silence => {
                        "it doesn't hear enough of this host: take a shorter cable or another adapter"
                    }
                };
                self.trouble(format!("the machine doesn't come to start the test: {why}"))
            }
            Phase::Running(_) | Phase::Asking { .. } => self.trouble(
                "the test's time is over, but not even the kernel says so: it hangs, or the line is broken. See to \
                 the line, and reset the machine"
                    .into(),
            ),
            Phase::Ended => self.trouble(
                "the machine said that it is done, but it doesn't start anew: reset it, and see what it says"
                    .into(),
            ),
        }
    }

    fn trouble(mut self, text: String) -> Record {
        self.tell(What::Trouble(escape(text.as_bytes())));
        self.finish_lines();
        self.record
    }

    fn finish(mut self, exit: Exit) -> Record {
        self.finish_lines();
        self.tell(What::Ended(exit));
        self.record
    }

    fn finish_lines(&mut self) {
        self.end_log_line();
        if let Some(rest) = self.console.rest() {
            self.tell(What::ConsoleRest(rest));
        }
        if self.console.cut() > 0 {
            self.tell(What::ConsoleCut(self.console.cut()));
        }
    }

    fn tell(&mut self, what: What) {
        let event = Event { at: self.record.now, what };
        (self.watcher)(&event);
        self.record.events.push(event);
    }
}
