//! The kernel's command line: words of the form `name=value`.

use core::fmt;

/// What the command line asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// `processes=N`: how many processes there can be.
    pub processes: u16,
    /// `timer=auto` or `timer=measured`.
    pub timer: Timer,
    /// `limit=MS`: for how many milliseconds the machine may be busy.
    pub limit_ms: Option<u32>,
    /// `watchdog=ib700`: whether a device strikes when the kernel takes no clock tick for too long.
    pub watchdog: Watchdog,
    /// `gdb=com2` or `gdb=wait`: whether a debugger can attach.
    pub debugger: Debugger,
    /// `report=ipc` or `report=cost`: what is reported beside the result, see [`abi::report`].
    pub reports: Reports,
    /// `boot=serial`: the boot image comes over the first serial port.
    pub boot: Boot,
    /// `panic=start`, `panic=exception`, `panic=reset` or `panic=loop`: whether the kernel fails as soon as it can, to show what that looks like.
    pub panic: Panic,
}

/// What the kernel reports beside the result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reports {
    /// Nothing.
    #[default]
    None,
    /// Each message that is delivered.
    Ipc,
    /// What each process cost.
    Cost,
}

/// How the kernel fails on purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Panic {
    /// It doesn't.
    #[default]
    None,
    /// It finds that something is wrong.
    Start,
    /// The processor refuses one of its instructions.
    Exception,
    /// The processor gives up.
    TripleFault,
    /// It does the same for ever, and takes no interrupt.
    Loop,
}

/// The device that strikes, by a non-maskable interrupt, when the kernel takes no clock tick for too long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Watchdog {
    /// There is none.
    #[default]
    None,
    /// An iBASE 700, as QEMU has one.
    Ib700,
}

/// How the kernel learns the frequency of its timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// From the emulator, where there is one that tells; else as [`Timer::Measured`].
    Auto,
    /// By comparing with the programmable interval timer.
    Measured,
}

/// Where the boot image comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Boot {
    /// From the boot loader.
    #[default]
    Image,
    /// Over the first serial port, with further parameters.
    Serial,
}

/// Whether a debugger can attach, at the second serial port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Debugger {
    /// It can't: the kernel leaves the port alone.
    #[default]
    None,
    /// At any time.
    Com2,
    /// At any time, and the kernel waits for one before it starts anything.
    Wait,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            processes: 256,
            timer: Timer::Auto,
            limit_ms: None,
            watchdog: Watchdog::None,
            debugger: Debugger::None,
            reports: Reports::None,
            boot: Boot::Image,
            panic: Panic::None,
        }
    }
}

/// A word that means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadWord<'a>(pub &'a [u8]);

impl fmt::Display for BadWord<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "\"{}\" is no parameter; there are processes=1..32512, timer=auto|measured, limit=MS, watchdog=ib700, gdb=com2|wait, report=ipc|cost, boot=serial and panic=start|exception|reset|loop",
            self.0.escape_ascii()
        )
    }
}

impl core::error::Error for BadWord<'_> {}

/// Reads a command line, which may hold any bytes.
///
/// # Errors
/// The first word that is no parameter.
pub fn parse(line: &[u8]) -> Result<Parameters, BadWord<'_>> {
    Parameters::default().with(line)
}

impl Parameters {
    /// Changes what a further command line says, which may hold any bytes.
    ///
    /// # Errors
    /// The first word that is no parameter.
    pub fn with(self, line: &[u8]) -> Result<Self, BadWord<'_>> {
        let words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        words.into_iter().try_fold(self, |parameters, word| {
            core::str::from_utf8(word).ok().and_then(|text| apply(parameters, text)).ok_or(BadWord(word))
        })
    }
}

fn apply(parameters: Parameters, word: &str) -> Option<Parameters> {
    let (name, value) = word.split_once('=')?;
    match name {
        "processes" => {
            let processes = value.parse().ok().filter(|count| (1..=abi::Endpoint::SLOTS).contains(count))?;
            Some(Parameters { processes, ..parameters })
        }
        "timer" => {
            let timer = match value {
                "auto" => Timer::Auto,
                "measured" => Timer::Measured,
                _ => return None,
            };
            Some(Parameters { timer, ..parameters })
        }
        "limit" => {
            let limit_ms = value.parse().ok().filter(|limit_ms| *limit_ms > 0)?;
            Some(Parameters { limit_ms: Some(limit_ms), ..parameters })
        }
        "watchdog" => (value == "ib700").then_some(Parameters { watchdog: Watchdog::Ib700, ..parameters }),
        "gdb" => {
            let debugger = match value {
                "com2" => Debugger::Com2,
                "wait" => Debugger::Wait,
                _ => return None,
            };
            Some(Parameters { debugger, ..parameters })
        }
        "report" => {
            let reports = match value {
                "ipc" => Reports::Ipc,
                "cost" => Reports::Cost,
                _ => return None,
            };
            Some(Parameters { reports, ..parameters })
        }
        "boot" => (value == "serial").then_some(Parameters { boot: Boot::Serial, ..parameters }),
        "panic" => {
            let panic = match value {
                "start" => Panic::Start,
                "exception" => Panic::Exception,
                "reset" => Panic::TripleFault,
                "loop" => Panic::Loop,
                _ => return None,
            };
            Some(Parameters { panic, ..parameters })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_parameters_or_refused() {
        let default = Parameters::default();
        let processes = |processes| Ok(Parameters { processes, ..default });
        let cases: [(&[u8], _); 32] = [
            (b"", Ok(default)),
            (b"  \t\n ", Ok(default)),
            (b"processes=8", processes(8)),
            (b" processes=8  processes=9 ", processes(9)),
            (b"processes=32512", processes(32512)),
            (
                b"timer=measured processes=1",
                Ok(Parameters { processes: 1, timer: Timer::Measured, ..default }),
            ),
            (b"limit=5000", Ok(Parameters { limit_ms: Some(5000), ..default })),
            (b"limit=0", Err(BadWord(b"limit=0"))),
            (b"limit=4294967296", Err(BadWord(b"limit=4294967296"))),
            (b"watchdog=ib700", Ok(Parameters { watchdog: Watchdog::Ib700, ..default })),
            (b"watchdog=", Err(BadWord(b"watchdog="))),
            (b"gdb=com2", Ok(Parameters { debugger: Debugger::Com2, ..default })),
            (b"gdb=wait", Ok(Parameters { debugger: Debugger::Wait, ..default })),
            (b"gdb=", Err(BadWord(b"gdb="))),
            (b"report=ipc", Ok(Parameters { reports: Reports::Ipc, ..default })),
            (b"report=cost", Ok(Parameters { reports: Reports::Cost, ..default })),
            (b"report=all", Err(BadWord(b"report=all"))),
            (b"boot=serial", Ok(Parameters { boot: Boot::Serial, ..default })),
            (b"boot=image", Err(BadWord(b"boot=image"))),
            (b"panic=start", Ok(Parameters { panic: Panic::Start, ..default })),
            (b"panic=exception", Ok(Parameters { panic: Panic::Exception, ..default })),
            (b"panic=reset", Ok(Parameters { panic: Panic::TripleFault, ..default })),
            (b"panic=loop", Ok(Parameters { panic: Panic::Loop, ..default })),
            (b"panic=", Err(BadWord(b"panic="))),
            (b"processes=0", Err(BadWord(b"processes=0"))),
            (b"processes=32513", Err(BadWord(b"processes=32513"))),
            (b"processes=99999999999999999999", Err(BadWord(b"processes=99999999999999999999"))),
            (b"processes", Err(BadWord(b"processes"))),
            (b"timer=auto nonsense", Err(BadWord(b"nonsense"))),
            (b"timer=", Err(BadWord(b"timer="))),
            (b"=", Err(BadWord(b"="))),
            (b"\xff\xfe=1", Err(BadWord(b"\xff\xfe=1"))),
        ];
        for (line, expected) in cases {
            assert_eq!(parse(line), expected, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn a_further_line_changes_what_it_names() {
        let first = parse(b"boot=serial timer=measured processes=8").expect("parameters");
        assert_eq!(first.with(b""), Ok(first));
        assert_eq!(first.with(b"processes=9"), Ok(Parameters { processes: 9, ..first }));
        assert_eq!(first.with(b"processes=9 x"), Err(BadWord(b"x")));
    }
}
