//! What QEMU is asked for.

use abi::boot::{EXIT_PORT, LOG_PORT, PANIC_PORT};
use abi::report::RESULTS_PORT;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

/// A machine to start.
#[derive(Clone, Debug)]
pub struct Config<'a> {
    /// The QEMU program.
    pub qemu: &'a Path,
    /// A program that starts QEMU tied to this process, see [`tied`](super::tied).
    pub launcher: &'a Path,
    /// Where the machine may keep its files while it runs.
    pub artefacts: &'a Path,
    /// The kernel.
    pub kernel: Kernel<'a>,
    /// The boot image, if there is one.
    pub image: Option<&'a [u8]>,
    /// The kernel's parameters.
    pub command_line: &'a str,
    /// The machine's memory.
    pub memory_mib: u32,
    /// What runs before the kernel.
    pub firmware: Firmware,
    /// What time is.
    pub timing: Timing,
    /// Whether the run is recorded or run again.
    pub record: Record<'a>,
    /// What a panic means for the machine.
    pub at_panic: AtPanic,
    /// How long QEMU may take for what it does at once: to greet, to end.
    pub patience: Duration,
}

/// The kernel of a machine.
#[derive(Clone, Copy, Debug)]
pub enum Kernel<'a> {
    /// One that was built.
    File(&'a Path),
    /// These bytes of an ELF file.
    Bytes(&'a [u8]),
}

/// Whether a run is recorded or run again. The files are QEMU's log and a disk.
#[derive(Clone, Copy, Debug, Default)]
pub enum Record<'a> {
    /// Neither.
    #[default]
    Off,
    /// It is recorded into these files, of which the disk is there already.
    Make {
        /// What QEMU writes down.
        log: &'a Path,
        /// See [`empty_disk`](crate::recording::empty_disk).
        disk: &'a Path,
    },
    /// The run that these files hold is run again.
    Replay {
        /// What QEMU wrote down.
        log: &'a Path,
        /// The disk after that.
        disk: &'a Path,
        /// The socket at which gdb connects. It decides when the machine runs.
        gdb: Option<&'a Path>,
    },
}

/// What runs before the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Firmware {
    /// The smallest there is: about 40 ms to the kernel.
    #[default]
    Qboot,
    /// What PCs have had for long. It sets devices up that qboot leaves alone.
    SeaBios,
}

/// What a panic, of the kernel or of the process that the machine runs for, means for the machine, and so does a reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AtPanic {
    /// It goes on to its end.
    #[default]
    GoOn,
    /// It is paused: see [`Output::Paused`](super::Output::Paused) and [`Output::Reset`](super::Output::Reset). Not for
    /// a machine that is recorded or run again.
    Pause,
}

/// What time is for a machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
pub enum Timing {
    /// Counted in instructions: one takes a nanosecond, waiting takes none of the host's time, and
    /// equal machines do equal things.
    #[default]
    #[serde(rename = "instructions")]
    Deterministic,
    /// The host's.
    #[serde(rename = "host")]
    RealTime,
}

/// The host's ends of a machine's channels, and the files that it starts from.
pub(super) struct Channels<'a> {
    pub(super) console: &'a Path,
    pub(super) log: &'a Path,
    pub(super) results: &'a Path,
    pub(super) kernel: &'a Path,
    pub(super) image: Option<&'a Path>,
    /// The socket of the debugger's line, if there is one.
    pub(super) debugger: Option<&'a Path>,
}

/// QEMU's name of the board of all machines.
const BOARD: &str = "q35";
/// The board of a machine that is recorded. On q35, with qboot, a recorded run that goes back to its start is another
/// one from there on: QEMU 7.2 waits for ever, or, without that board's disk controller, the kernel isn't in memory.
/// Nothing that tests use differs between the two, and whether a recorded run is the one that failed is compared.
const RECORDED_BOARD: &str = "pc";

impl Config<'_> {
    const fn board(&self) -> &'static str {
        match self.record {
            Record::Off => BOARD,
            Record::Make { .. } | Record::Replay { .. } => RECORDED_BOARD,
        }
    }

    pub(super) fn arguments(&self, channels: &Channels<'_>) -> Vec<OsString> {
        let mut arguments = Arguments::board(self.board(), self.memory_mib, self.firmware);
        if self.at_panic == AtPanic::Pause {
            arguments.plain(&["-action", "panic=pause,shutdown=pause"]);
        }
        arguments.software(channels.kernel, channels.image, self.command_line);
        // QEMU ends when a guest sets up a serial port that is the host's terminal in a run that is recorded.
        let console = match self.record {
            Record::Off => "serial,id=console,path=",
            Record::Make { .. } | Record::Replay { .. } => "file,id=console,path=",
        };
        arguments.pair("-chardev", &[console.as_ref(), channels.console]);
        arguments.pair("-chardev", &["file,id=log,path=".as_ref(), channels.log]);
        arguments.results(channels.results);
        arguments.plain(&["-chardev", "stdio,id=qmp,signal=off", "-mon", "chardev=qmp,mode=control"]);
        arguments.plain(&["-serial", "chardev:console", "-S"]);
        match channels.debugger {
            Some(socket) => arguments.debugger(socket),
            None => arguments.nobody_to_debug(self.command_line),
        }
        match self.record {
            Record::Off => arguments.timing(self.timing),
            Record::Make { log, disk } => arguments.recorded("record", log, disk),
            Record::Replay { log, disk, gdb } => {
                arguments.recorded("replay", log, disk);
                if let Some(gdb) = gdb {
                    let parts: [&Path; 3] = ["unix:".as_ref(), gdb, ",server=on,wait=off".as_ref()];
                    arguments.pair("-gdb", &parts);
                }
            }
        }
        arguments.0
    }
}

/// The files of a [`Config::by_hand`], in the directory that it is run in.
pub const KERNEL: &str = "kernel";
/// See [`KERNEL`].
pub const IMAGE: &str = "boot.img";
/// See [`KERNEL`].
pub const LOG: &str = "log.again";
/// See [`KERNEL`].
const RESULTS: &str = "results.again";

impl Config<'_> {
    /// The arguments that start an equal machine without the harness: its console is standard
    /// input and output, and its files are [`KERNEL`], [`IMAGE`], [`LOG`] and `results.again`.
    #[must_use]
    pub fn by_hand(&self) -> Vec<OsString> {
        let mut arguments = Arguments::board(BOARD, self.memory_mib, self.firmware);
        arguments.software(KERNEL.as_ref(), self.image.map(|_| IMAGE.as_ref()), self.command_line);
        arguments.pair("-chardev", &["file,id=log,path=".as_ref(), LOG.as_ref()]);
        arguments.results(RESULTS.as_ref());
        arguments.plain(&["-chardev", "stdio,id=console,signal=on", "-serial", "chardev:console"]);
        arguments.nobody_to_debug(self.command_line);
        arguments.timing(self.timing);
        arguments.0
    }
}

/// The arguments for a machine on this terminal: console on standard input and output, real time.
///
/// `log` is where the kernel's log goes, `debugger` a socket to attach at, `more` what the user adds.
pub(super) fn interactive(
    kernel: &Path,
    image: &Path,
    log: &Path,
    debugger: Option<&Path>,
    more: &[OsString],
) -> Vec<OsString> {
    let mut arguments = Arguments::board(BOARD, DEFAULT_MEMORY_MIB, Firmware::default());
    arguments.software(kernel, Some(image), if debugger.is_some() { ATTACHABLE } else { "" });
    // Standard error may be a file that already has contents; others are made by who calls this.
    arguments.pair("-chardev", &["file,id=log,append=on,path=".as_ref(), log]);
    // The multiplexer is what Ctrl-A X ends the machine through.
    arguments.plain(&["-chardev", "stdio,id=console,mux=on,signal=off", "-mon", "chardev=console"]);
    arguments.plain(&["-serial", "chardev:console"]);
    if let Some(socket) = debugger {
        arguments.debugger(socket);
    }
    arguments.0.extend_from_slice(more);
    arguments.0
}

/// The arguments for a machine that stands in for a real one: its first serial port is a pseudo-terminal, it has
/// nothing else that tells of it, and a reset starts it anew. `more` is what the user adds.
pub(super) fn stand_in(kernel: &Path, more: &[OsString]) -> Vec<OsString> {
    let mut arguments = Arguments::hardware(BOARD, DEFAULT_MEMORY_MIB, Firmware::default());
    arguments.plain(&["-action", "reboot=reset,shutdown=poweroff,panic=none"]);
    arguments.software(kernel, None, OVER_LINE);
    arguments.plain(&["-chardev", "pty,id=console", "-serial", "chardev:console"]);
    arguments.0.extend_from_slice(more);
    arguments.0
}

/// The kernel's parameter that has it wait at the first serial port for what it runs.
const OVER_LINE: &str = "boot=serial";

/// The kernel's parameter that lets a debugger attach at the second serial port.
const ATTACHABLE: &str = "gdb=com2";

/// The memory of a machine that doesn't ask for another size.
pub(crate) const DEFAULT_MEMORY_MIB: u32 = 64;

struct Arguments(Vec<OsString>);

impl Arguments {
    /// What all machines have that a run is made of.
    fn board(board: &str, memory_mib: u32, firmware: Firmware) -> Self {
        let mut arguments = Self::hardware(board, memory_mib, firmware);
        // A triple fault asks for a reset: it must end the machine, and not start it again.
        arguments.plain(&["-action", "reboot=shutdown,shutdown=poweroff,panic=none"]);
        arguments.pair("-device", &[format!("isa-debug-exit,iobase={EXIT_PORT:#x},iosize=4").as_ref()]);
        arguments.pair("-device", &[format!("isa-debugcon,iobase={LOG_PORT:#x},chardev=log").as_ref()]);
        arguments.pair("-device", &[format!("pvpanic,ioport={PANIC_PORT:#x}").as_ref()]);
        // It strikes only if the kernel sets it going.
        arguments.plain(&["-device", "ib700", "-action", "watchdog=inject-nmi"]);
        arguments
    }

    /// What all machines have.
    fn hardware(board: &str, memory_mib: u32, firmware: Firmware) -> Self {
        let mut arguments = Self(Vec::new());
        arguments.plain(&[
            "-accel",
            "tcg",
            "-M",
            board,
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
        ]);
        // QEMU's plain model, and the protections that the kernel turns on where there are any.
        arguments.plain(&["-cpu", "qemu64,+smep,+smap,+umip"]);
        // With its paravirtual APIC a reset can deadlock when a run is recorded or replayed.
        arguments.plain(&["-global", "apic-common.vapic=off"]);
        arguments.pair("-rtc", &[format!("base={},clock=vm", super::calendar::start()).as_ref()]);
        arguments.pair("-m", &[format!("{memory_mib}M").as_ref()]);
        if firmware == Firmware::Qboot {
            // QEMU looks for it in its own directories.
            arguments.plain(&["-bios", "qboot.rom"]);
        }
        arguments
    }

    fn software(&mut self, kernel: &Path, image: Option<&Path>, command_line: &str) {
        self.0.extend(["-kernel".into(), kernel.into()]);
        if let Some(image) = image {
            self.0.extend(["-initrd".into(), image.into()]);
        }
        if !command_line.is_empty() {
            self.plain(&["-append", command_line]);
        }
    }

    /// What the kernel reports goes to a file.
    fn results(&mut self, file: &Path) {
        self.pair("-chardev", &["file,id=results,path=".as_ref(), file]);
        self.pair("-device", &[format!("isa-debugcon,iobase={RESULTS_PORT:#x},chardev=results").as_ref()]);
    }

    /// The second serial port is a socket.
    fn debugger(&mut self, socket: &Path) {
        self.pair("-chardev", &["socket,id=gdb,server=on,wait=off,path=".as_ref(), socket]);
        self.plain(&["-serial", "chardev:gdb"]);
    }

    /// The second serial port of a kernel that insists on one, with nobody at its other end.
    fn nobody_to_debug(&mut self, command_line: &str) {
        if command_line.split_ascii_whitespace().any(|word| word == ATTACHABLE) {
            self.plain(&["-serial", "null"]);
        }
    }

    fn timing(&mut self, timing: Timing) {
        if timing == Timing::Deterministic {
            self.plain(&["-icount", "shift=0,align=off,sleep=off"]);
        }
    }

    /// The same time as of a deterministic machine, recorded or run again.
    fn recorded(&mut self, mode: &str, log: &Path, disk: &Path) {
        let icount = format!("shift=0,align=off,sleep=off,rr={mode},rrsnapshot=init,rrfile=");
        self.pair("-icount", &[icount.as_ref(), log]);
        self.pair("-drive", &["if=none,id=record,format=qcow2,file=".as_ref(), disk]);
    }

    fn plain(&mut self, arguments: &[&str]) {
        self.0.extend(arguments.iter().map(OsString::from));
    }

    /// An option whose value is put together from parts, which may be paths.
    fn pair(&mut self, option: &str, parts: &[&Path]) {
        let mut value = OsString::new();
        for part in parts {
            // A path in an option has its commas doubled (qemu(1)).
            if part.is_absolute() {
                let bytes = part.as_os_str().as_bytes();
                let doubled =
                    bytes.iter().flat_map(|byte| std::iter::repeat_n(*byte, 1 + usize::from(*byte == b',')));
                value.push(OsStr::from_bytes(&doubled.collect::<Vec<u8>>()));
            } else {
                value.push(part.as_os_str());
            }
        }
        self.0.extend([option.into(), value]);
    }
}
