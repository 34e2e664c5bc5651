//! How a run ended, and whether that is what was declared.

#[cfg(test)]
mod tests;

use crate::machine::Exit;
use crate::observe::{Record, What, word, words};
use abi::Name;
use abi::boot::ExitCode;
use abi::report::{self, Ended, Exited, Report};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// How a machine ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The main process exited with this status.
    Exited(i32),
    /// The main process was ended by a fault or a panic.
    ServiceFault,
    /// The kernel panicked.
    KernelPanic,
    /// The kernel refused the boot image.
    BadImage,
    /// The processor gave up: a fault while it delivered a fault.
    TripleFault,
    /// It didn't end by itself.
    Hang(Hang),
    /// Something is wrong with the host, with QEMU or with the kernel's report; says what.
    HostTrouble(String),
}

/// Why a machine was stopped from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hang {
    /// The processor waits for an interrupt, and none can come.
    IdleForever,
    /// It was busy for longer than it may be, by its own time.
    Limit,
    /// The same, and the kernel didn't end it: the kernel is what hangs.
    Kernel,
    /// It ran for longer than the host lets it, and has no limit of its own.
    Timeout,
    /// It printed without end.
    EndlessOutput,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(status) => write!(f, "exit {status}"),
            Self::ServiceFault => f.write_str("service fault"),
            Self::KernelPanic => f.write_str("kernel panic"),
            Self::BadImage => f.write_str("bad image"),
            Self::TripleFault => f.write_str("triple fault"),
            Self::Hang(_) => f.write_str("hang"),
            Self::HostTrouble(_) => f.write_str("trouble"),
        }
    }
}

impl End {
    /// What more there is to say than the [`Display`](fmt::Display) text.
    #[must_use]
    pub fn details(&self) -> Option<&str> {
        match self {
            Self::Hang(Hang::IdleForever) => Some("every process waits, and no timer runs"),
            Self::Hang(Hang::Limit) => Some("it was busy for longer than it may be"),
            Self::Hang(Hang::Kernel) => {
                Some("it was busy for longer than it may be, and the kernel didn't end it")
            }
            Self::Hang(Hang::Timeout) => Some("it ran for longer than the host lets it"),
            Self::Hang(Hang::EndlessOutput) => Some("it printed without end"),
            Self::HostTrouble(text) => Some(text),
            _ => None,
        }
    }
}

/// How a scenario says that its machine ends. Trouble can't be declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub enum Ends {
    /// `exit N`
    Exited(i32),
    /// `service fault`
    ServiceFault,
    /// `kernel panic`
    KernelPanic,
    /// `bad image`
    BadImage,
    /// `triple fault`
    TripleFault,
    /// `hang`
    Hang,
}

impl Default for Ends {
    fn default() -> Self {
        Self::Exited(0)
    }
}

impl Ends {
    /// Tells whether `end` is what was declared.
    #[must_use]
    pub fn allow(self, end: &End) -> bool {
        match (self, end) {
            (Self::Exited(declared), End::Exited(status)) => declared == *status,
            (Self::ServiceFault, End::ServiceFault)
            | (Self::KernelPanic, End::KernelPanic)
            | (Self::BadImage, End::BadImage)
            | (Self::TripleFault, End::TripleFault)
            | (Self::Hang, End::Hang(_)) => true,
            _ => false,
        }
    }
}

impl fmt::Display for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(status) => write!(f, "exit {status}"),
            Self::ServiceFault => f.write_str("service fault"),
            Self::KernelPanic => f.write_str("kernel panic"),
            Self::BadImage => f.write_str("bad image"),
            Self::TripleFault => f.write_str("triple fault"),
            Self::Hang => f.write_str("hang"),
        }
    }
}

impl FromStr for Ends {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "service fault" => Self::ServiceFault,
            "kernel panic" => Self::KernelPanic,
            "bad image" => Self::BadImage,
            "triple fault" => Self::TripleFault,
            "hang" => Self::Hang,
            _ => match text.strip_prefix("exit ").and_then(|status| status.parse().ok()) {
                Some(status) => Self::Exited(status),
                None => {
                    return Err(format!(
                        "ends = {text:?} is no end: write \"exit N\", \"service fault\", \"kernel panic\", \
                         \"bad image\", \"triple fault\" or \"hang\""
                    ));
                }
            },
        })
    }
}

impl TryFrom<String> for Ends {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// What must be known of the guest's time to tell a machine that hangs from a host that is slow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GuestTime {
    /// For how long it may be busy. Without that limit, only the host's time counts.
    pub limit: Option<Duration>,
    /// How long it only waited, as far as is known.
    pub idle: Duration,
}

impl GuestTime {
    /// By so much a machine's clock may be ahead of the time that its kernel counts: it runs from the
    /// machine's start on, and shows whole seconds.
    const MARGIN: Duration = Duration::from_secs(2);

    /// What it means that the host's time was over, when the machine's own clock stood at `own`.
    fn meaning(self, own: Option<Duration>) -> End {
        let Some(limit) = self.limit else { return End::Hang(Hang::Timeout) };
        match own {
            Some(own) if own.saturating_sub(self.idle) >= limit + Self::MARGIN => End::Hang(Hang::Kernel),
            Some(_) => End::HostTrouble(
                "the host was too slow: its time was over, but not that of the machine".to_owned(),
            ),
            None => {
                End::HostTrouble("the host's time was over, and QEMU doesn't tell the machine's".to_owned())
            }
        }
    }
}

/// Tells from a run's record how it ended.
///
/// A verdict needs two witnesses that agree: the code that QEMU exits with, and what the kernel reported, whole
/// and up to its end record. `main` is the process that the machine ran for, if there was one.
#[must_use]
pub fn judge(record: &Record, main: Option<&str>) -> End {
    judge_in_time(record, main, GuestTime::default())
}

/// As [`judge`], of a machine whose own time counts, too.
#[must_use]
pub fn judge_in_time(record: &Record, main: Option<&str>, time: GuestTime) -> End {
    let trouble = record.events().iter().find_map(|event| match &event.what {
        What::Trouble(text) => Some(text),
        _ => None,
    });
    // Whatever came before it: nobody knows how that would have ended.
    if let Some(text) = trouble {
        return End::HostTrouble(text.clone());
    }
    for event in record.events() {
        match &event.what {
            What::TimedOut(own) => return time.meaning(*own),
            What::Flooded => return End::Hang(Hang::EndlessOutput),
            What::Idle => return End::Hang(Hang::IdleForever),
            _ => {}
        }
    }
    let end = match record.exit() {
        Some(Exit::Code(0)) => without_exit_code(record),
        Some(Exit::Code(code)) => of_exit_code(code, record, main),
        Some(Exit::Signal(signal)) => Err(format!("QEMU was killed by signal {signal}")),
        Some(Exit::Restarted) => of_restart(record, main),
        None => Err("the run has no end".into()),
    };
    end.unwrap_or_else(End::HostTrouble)
}

/// QEMU itself exits with 0 when a machine without `isa-debug-exit` is done.
fn without_exit_code(record: &Record) -> Result<End, String> {
    let reported = record.reports().last().map(words);
    let has_ended = record.reports().any(|report| matches!(report, Report::End(_)));
    match (record.was_reset(), reported) {
        (true, Some(reported)) if has_ended => {
            Err(format!("the machine was reset, though the kernel's last report is \"{reported}\""))
        }
        (true, _) => Ok(End::TripleFault),
        (false, None) => Err(CLOSED.into()),
        (false, Some(reported)) => Err(format!("{CLOSED} The kernel's last report is \"{reported}\".")),
    }
}

const CLOSED: &str = "QEMU ended without the machine's doing: was it closed from outside?";

fn of_exit_code(qemus: i32, record: &Record, main: Option<&str>) -> Result<End, String> {
    let known = ExitCode::ALL.into_iter().find(|known| i32::from(known.of_qemu()) == qemus);
    let code = known.ok_or_else(|| format!("QEMU exited with {qemus}, which the kernel never asks for"))?;
    let says = word(code);
    let (results, end) =
        whole(record).map_err(|lack| format!("the machine's exit code says \"{says}\", but {lack}"))?;
    if end.code != code {
        let other = word(end.code);
        return Err(format!(
            "the machine's exit code says \"{says}\", but the kernel's end record says \"{other}\""
        ));
    }
    of_results(code, &results, main)
}

/// A machine that has no exit code starts anew when the kernel has ended it, and also when it was reset in the
/// middle of something.
fn of_restart(record: &Record, main: Option<&str>) -> Result<End, String> {
    undamaged(record).map_err(|damage| format!("{damage}: take a shorter cable or another adapter"))?;
    if record.was_reset() {
        return without_exit_code(record);
    }
    let lack = |lack| format!("the machine has started anew, but {lack}");
    let (results, end) = whole(record).map_err(lack)?;
    of_results(end.code, &results, main)
}

/// The end that result and end record tell of.
fn of_results(code: ExitCode, results: &[Report], main: Option<&str>) -> Result<End, String> {
    let says = word(code);
    let is_main = |process: &Name| main == Some(process.as_str());
    match (code, results) {
        (ExitCode::Success, [Report::Exited(Exited { process, status: 0 })]) if is_main(process) => {
            Ok(End::Exited(0))
        }
        (ExitCode::Failure, [Report::Exited(Exited { process, status })])
            if is_main(process) && *status != 0 =>
        {
            Ok(End::Exited(*status))
        }
        (ExitCode::ServiceFault, [Report::Ended(Ended { process, .. })]) if is_main(process) => {
            Ok(End::ServiceFault)
        }
        // It may panic after it has reported a result.
        (ExitCode::KernelPanic, [.., Report::Panicked]) => Ok(End::KernelPanic),
        (ExitCode::BadImage, [Report::Refused]) => Ok(End::BadImage),
        (ExitCode::Limit, [Report::Overran]) => Ok(End::Hang(Hang::Limit)),
        (_, []) => Err(format!("the machine ended with \"{says}\", but the kernel reported no result")),
        (_, results) => {
            let results: Vec<String> = results.iter().map(words).collect();
            let ran_for = main.map_or("no program".into(), |main| format!("{main:?}"));
            Err(format!(
                "the machine, which ran for {ran_for}, ended with \"{says}\", but the kernel reported: {}",
                results.join("; ")
            ))
        }
    }
}

/// What the kernel reported, and its end record; or what is wrong with them.
fn whole(record: &Record) -> Result<(Vec<Report>, report::End), String> {
    undamaged(record)?;
    let is_beside = |report: &Report| {
        matches!(report, Report::Named(_) | Report::Delivered(_) | Report::Untold | Report::Cost(_))
    };
    // Nothing comes behind the end, though, whatever it is.
    let last = record.reports().last();
    let is_counted = |report: &&Report| !is_beside(report) || Some(*report) == last;
    let mut results: Vec<Report> = record.reports().filter(is_counted).copied().collect();
    let mut ends = results.iter().filter(|report| matches!(report, Report::End(_)));
    match (ends.next(), ends.next(), results.last()) {
        (None, _, None) => Err("the kernel reported nothing".into()),
        (None, _, Some(last)) => {
            Err(format!("the kernel's results have no end record; the last is \"{}\"", words(last)))
        }
        (Some(_), Some(_), _) => Err("the kernel's results have more than one end record".into()),
        (Some(_), None, Some(&Report::End(end))) => {
            results.pop();
            Ok((results, end))
        }
        (Some(_), None, last) => {
            let last = last.map(words).unwrap_or_default();
            Err(format!("the kernel's end record isn't the last of its results: \"{last}\" follows"))
        }
    }
}

/// Says what is wrong with the records of what the kernel reported, if anything is.
fn undamaged(record: &Record) -> Result<(), String> {
    let damage = record.events().iter().find_map(|event| match &event.what {
        What::BadResult(damage) => Some(damage),
        _ => None,
    });
    damage.map_or(Ok(()), |damage| Err(format!("the kernel's results are damaged: {damage}")))
}
