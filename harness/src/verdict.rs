//! How a run ended, and whether that is what was declared.

#[cfg(test)]
mod tests;

use crate::machine::Exit;
use crate::observe::{Record, What};
use crate::system::KERNEL;
use abi::boot::ExitCode;
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
        let Some(limit) = self.limit else { return End::Hang(Hang::Limit) };
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
/// An exit needs two witnesses that agree: the code that QEMU exits with, and the last line of
/// the kernel's log. `main` is the process that the machine ran for, if there was one.
#[must_use]
pub fn judge(record: &Record, main: Option<&str>) -> End {
    judge_in_time(record, main, GuestTime::default())
}

/// As [`judge`], of a machine whose own time counts, too.
#[must_use]
pub fn judge_in_time(record: &Record, main: Option<&str>, time: GuestTime) -> End {
    for event in record.events() {
        match &event.what {
            What::Trouble(text) => return End::HostTrouble(text.clone()),
            What::TimedOut(own) => return time.meaning(*own),
            What::Flooded => return End::Hang(Hang::EndlessOutput),
            What::Idle => return End::Hang(Hang::IdleForever),
            _ => {}
        }
    }
    match record.exit() {
        Some(Exit::Code(0)) => without_exit_code(record),
        Some(Exit::Code(code)) => of_exit_code(code, record, main),
        Some(Exit::Signal(signal)) => End::HostTrouble(format!("QEMU was killed by signal {signal}")),
        None => End::HostTrouble("the run has no end".into()),
    }
}

/// QEMU itself exits with 0 when a machine without `isa-debug-exit` is done.
fn without_exit_code(record: &Record) -> End {
    if record.was_reset() {
        return End::TripleFault;
    }
    End::HostTrouble("QEMU ended without the machine's doing: was it closed from outside?".into())
}

fn of_exit_code(code: i32, record: &Record, main: Option<&str>) -> End {
    let known = ExitCode::ALL.into_iter().find(|known| i32::from(known.of_qemu()) == code);
    match known {
        Some(ExitCode::Success) => exited(record, main, |status| status == 0),
        Some(ExitCode::Failure) => exited(record, main, |status| status != 0),
        Some(ExitCode::KernelPanic) => End::KernelPanic,
        Some(ExitCode::ServiceFault) => End::ServiceFault,
        Some(ExitCode::BadImage) => End::BadImage,
        Some(ExitCode::Limit) => End::Hang(Hang::Limit),
        None => End::HostTrouble(format!("QEMU exited with {code}, which the kernel never asks for")),
    }
}

fn exited(record: &Record, main: Option<&str>, agrees: impl Fn(i32) -> bool) -> End {
    let (Some(main), Some(line)) = (main, record.log().last()) else {
        return End::HostTrouble("the machine says that it is done, but the kernel's log is empty".into());
    };
    let status = line
        .text
        .strip_prefix(main)
        .and_then(|rest| rest.strip_prefix(" exited with status "))
        .and_then(|status| status.parse().ok())
        .filter(|_| line.process == KERNEL);
    match status {
        Some(status) if agrees(status) => End::Exited(status),
        Some(status) => End::HostTrouble(format!(
            "the exit code and the kernel's log disagree: the log says that {main} exited with {status}"
        )),
        None => End::HostTrouble(format!(
            "the machine says that it is done, but the kernel's log doesn't end with \
             \"{main} exited with status ...\""
        )),
    }
}
