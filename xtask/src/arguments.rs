//! What can be typed behind `cargo xtask`.

use clap::builder::{OsStringValueParser, RangedU64ValueParser, TypedValueParser as _};
use clap::{Args, Parser, Subcommand, ValueEnum};
use harness::list;
use harness::partition::Partition;
use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;

const EXIT_CODES: &str = "\
Exit codes (cargo-nextest's, as far as it has them):
  0    all is well
  1    something unexpected happened; the message says what
  2    the arguments are wrong
  4    no test, or no program to run, has such a name
  5    all tests of `-R latest FILTER` passed, but others are still to pass
  100  tests failed, or the program that ran did
  101  the build failed, or a check of `ci` other than its tests
  104  the tests can't be listed
  105  this machine lacks something, such as QEMU

Environment:
  CI                   `test` installs QEMU if it may, and writes no snapshots
  GITHUB_STEP_SUMMARY  a file to which `test` adds a report in Markdown
  INSTA_UPDATE         what becomes of snapshots that differ: auto, new, always, no
  NO_COLOR             no colours
";

const EXAMPLES: &str = "\
Examples:
  cargo xtask test                     build, boot and compare everything
  cargo xtask test ipc --list          the tests with ipc in their name
  cargo xtask test --exact hello -j 1  one test
  cargo xtask review                   look at what has changed, accept it or not
  cargo xtask run                      a console
  cargo xtask gdb                      a debugger of all of it
  cargo xtask bench ipc --json         measurements
";

/// Builds Tessera, boots it in QEMU, tests and measures it.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n{EXIT_CODES}"))]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Builds the kernel, the services and a boot image.
    Build,
    /// Boots a console on this terminal.
    #[command(after_help = RUN_EXAMPLES)]
    Run(Run),
    /// Boots a machine and opens gdb on its kernel, where each process is a thread; or attaches to one that runs.
    #[command(after_help = GDB_EXAMPLES)]
    Gdb(Gdb),
    /// Boots a machine for each guest test, and compares what it does with the reviewed snapshot.
    #[command(after_help = TEST_EXAMPLES)]
    Test(Test),
    /// Accepts what tests do now: makes it their snapshots, and shows what changed. Takes what
    /// `test` takes; with `-R latest`, it is what failed in the latest run. Not for CI.
    Bless(Test),
    /// Shows the snapshots that differ, one after the other, and accepts or rejects them: with
    /// `cargo insta review` if it is installed, else by itself.
    Review,
    /// Shows again what every process was doing in a machine that hung, panicked or ended by a fault: whom
    /// it waits for, with which request, and where in its program.
    #[command(after_help = INSPECT_EXAMPLES)]
    Inspect(Inspect),
    /// Opens gdb on the record of a test that failed, or was run with `--record`, forwards and backwards; or
    /// says who wrote something last.
    #[command(after_help = REPLAY_EXAMPLES)]
    Replay(Replay),
    /// Measures guests in instructions and in time, and the harness in time.
    #[command(after_help = BENCH_EXAMPLES)]
    Bench(Bench),
    /// Runs all checks: format, lint, host tests, documentation, guest tests.
    Ci,
    /// Runs the host tests of memory and messages in Miri, which sees undefined behaviour.
    Miri,
    /// Tells whether this machine has what is needed, and what to do if not.
    Doctor,
}

const RUN_EXAMPLES: &str = "\
Examples:
  cargo xtask run
  cargo xtask run a_program_publishes_and_retrieves --log
  cargo xtask run --gdb /tmp/gdb
  cargo xtask run --serial-target               a machine for `cargo xtask test --serial`
  cargo xtask run -- -m 256M -d int,cpu_reset
";

#[derive(Args)]
pub(crate) struct Run {
    /// The program to start: a guest test, or the monitor.
    #[arg(default_value = harness::build::MONITOR)]
    pub(crate) program: String,
    /// Show the kernel's log on standard error, and not only in target/tessera/run.log.
    #[arg(long)]
    pub(crate) log: bool,
    /// Let a debugger attach at this socket, which QEMU makes.
    #[arg(long, value_name = "SOCKET")]
    pub(crate) gdb: Option<PathBuf>,
    /// Boot no console, but a machine that waits at a pseudo-terminal for `cargo xtask test --serial`.
    #[arg(long, conflicts_with_all = ["program", "log", "gdb"])]
    pub(crate) serial_target: bool,
    /// Install QEMU and gdb if they are missing.
    #[arg(long)]
    pub(crate) install: bool,
    /// Further arguments for QEMU.
    #[arg(last = true, value_name = "QEMU ARGUMENTS")]
    pub(crate) qemu: Vec<OsString>,
}

const GDB_EXAMPLES: &str = "\
Examples:
  cargo xtask gdb                               a machine with a console, stopped where the kernel starts
  cargo xtask gdb a_program_publishes_and_retrieves                 the machine of a test
  cargo xtask gdb a_program_publishes_and_retrieves -- -batch -ex 'break ds::main' -ex continue -ex 'info threads'
  cargo xtask gdb --attach /tmp/gdb             what `cargo xtask run --gdb /tmp/gdb` started
  cargo xtask gdb --attach /dev/ttyUSB0         a real machine whose kernel was given gdb=com2

In gdb, `monitor help` lists what the kernel tells, such as `monitor ps`. When gdb ends, the machine
that was started for it does; `detach` lets it go on to its end before. A machine that --attach found
goes on, also where gdb takes too long and is killed; `kill` ends it.

Exit codes:
  0    gdb ended with 0
  1    something unexpected happened, such as no machine to attach to; the message says what
  2    the arguments are wrong
  4    no test, or program, has such a name
  100  gdb ended with another code, or by a signal
  101  the build failed
  105  QEMU or gdb is missing
";

#[derive(Args)]
pub(crate) struct Gdb {
    /// The test, or program, whose machine is started.
    #[arg(default_value = harness::build::MONITOR)]
    pub(crate) name: String,
    /// Start no machine, but attach to one: its socket, a terminal, or HOST:PORT. NAME tells whose symbols it needs.
    #[arg(long, value_name = "REMOTE", value_parser = OsStringValueParser::new().try_map(remote))]
    pub(crate) attach: Option<OsString>,
    /// Print the command that starts gdb, without `target remote` unless there is --attach, and start nothing.
    #[arg(long)]
    pub(crate) print_command: bool,
    /// How long gdb may take before it is killed [default: no limit, or 60 if standard input is no terminal].
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) timeout: Option<std::time::Duration>,
    /// Install QEMU and gdb if they are missing.
    #[arg(long)]
    pub(crate) install: bool,
    /// Arguments for gdb.
    #[arg(last = true, value_name = "GDB ARGUMENTS")]
    pub(crate) gdb: Vec<OsString>,
}

const TEST_EXAMPLES: &str = "\
Examples:
  cargo xtask test                 all of them
  cargo xtask test ipc tty         those with ipc or tty in their name
  cargo xtask test F1              those that prove row F1 of the mission
  cargo xtask test --exact hello   this one
  cargo xtask test -R latest       what failed in the latest run
  cargo xtask test --list --format json        what there is, for a program
  cargo xtask test --serial /dev/ttyUSB0       on the machine at the other end of that line

A failed test prints all that is known of it and the line that repeats it. If only its snapshot
differs, `cargo xtask review` shows the difference, and `cargo xtask bless NAME` accepts it.

Exit codes: 0 passed, 1 something unexpected happened, 2 the arguments are wrong, 4 no test has such a
name, 5 passed but others that failed before were not run, 100 tests failed, 101 the build failed, 104
the tests can't be listed, 105 QEMU is missing.
";

#[derive(Args)]
pub(crate) struct Test {
    /// Parts of names, or rows of the mission; all tests if there are none.
    #[arg(value_name = "FILTER")]
    pub(crate) filters: Vec<String>,
    /// Filters are whole names.
    #[arg(long)]
    pub(crate) exact: bool,
    /// List the tests and run none.
    #[arg(long)]
    pub(crate) list: bool,
    /// What the list or the report on standard output looks like.
    #[arg(long, visible_alias = "message-format", value_enum, value_name = "FORMAT", default_value_t)]
    pub(crate) format: Format,
    /// Only a share of the tests: hash:M/N, count:M/N or slice:M/N, as in cargo-nextest.
    #[arg(long, value_name = "SHARE")]
    pub(crate) partition: Option<Partition>,
    /// Only tests that failed in the latest run, or that it didn't come to.
    #[arg(short = 'R', long, value_enum, value_name = "RUN")]
    pub(crate) rerun: Option<Rerun>,
    /// How many machines run at a time [default: one for each processor].
    #[arg(short = 'j', long, value_name = "N")]
    pub(crate) jobs: Option<NonZeroUsize>,
    /// Run the tests on a machine at the other end of this serial port, see docs/serial.md: one after the other.
    #[arg(
        long,
        value_name = "PORT",
        help_heading = "A machine at a serial line",
        conflicts_with_all = ["list", "jobs", "limit", "check_determinism", "install"]
    )]
    pub(crate) serial: Option<PathBuf>,
    /// How long that machine may take to start anew after each test [default: 120].
    #[arg(
        long,
        value_name = "SECONDS",
        help_heading = "A machine at a serial line",
        value_parser = seconds,
        requires = "serial"
    )]
    pub(crate) boot_timeout: Option<std::time::Duration>,
    /// For how long a test's machine may be busy, in its own time, where an instruction takes a nanosecond
    /// [default: 2, or what the test says].
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) limit: Option<std::time::Duration>,
    /// How long a test may take on this host; what takes longer is the host's fault, unless the machine's own time is
    /// over as well [default: 120; at a serial line 20].
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) timeout: Option<std::time::Duration>,
    /// Run each test twice: both runs must have the same events. A test that says why its runs may
    /// differ is run once. The canary's runs must differ, or the check would see nothing.
    #[arg(long)]
    pub(crate) check_determinism: bool,
    /// Record each test, also one that passes, so that `cargo xtask replay NAME` opens it. The records are in
    /// target/xtask/records until the test is run with this option again.
    #[arg(long)]
    pub(crate) record: bool,
    /// How often a test that fails is tried again, if it says that its runs may differ (the key
    /// `nondeterministic`). No other test ever is: it would fail again.
    #[arg(long, value_name = "N", default_value_t)]
    pub(crate) retries: u32,
    /// Start no more tests when one has failed.
    #[arg(long, overrides_with = "no_fail_fast")]
    pub(crate) fail_fast: bool,
    /// Run all tests, whatever fails; this is what happens if nothing is said.
    #[arg(long, overrides_with = "fail_fast")]
    pub(crate) no_fail_fast: bool,
    /// What becomes of snapshots that belong to no test.
    #[arg(long, value_enum, value_name = "ACTION", default_value_t)]
    pub(crate) unreferenced: Unreferenced,
    /// Also write the report as JSON, one object a line, as `--format json` prints it.
    #[arg(long, value_name = "PATH")]
    pub(crate) json: Option<PathBuf>,
    /// Also write a report in JUnit's XML.
    #[arg(long, value_name = "PATH")]
    pub(crate) junit: Option<PathBuf>,
    /// Install QEMU and gdb if they are missing.
    #[arg(long)]
    pub(crate) install: bool,
}

/// What becomes of snapshots that belong to no test.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Unreferenced {
    /// They are named.
    #[default]
    Warn,
    /// They are named, and the run has failed.
    Reject,
    /// They are removed.
    Delete,
}

/// A run whose failed tests are run again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Rerun {
    /// The one that ended last.
    Latest,
}

/// What output looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Human,
    /// A list has `NAME: test`, as libtest's and cargo-nextest's; a report tells only of failures.
    Terse,
    /// One object a line, as libtest has it. A report also has the events of the machines.
    Json,
}

impl From<Format> for list::Format {
    fn from(format: Format) -> Self {
        match format {
            Format::Human => Self::Human,
            Format::Terse => Self::Terse,
            Format::Json => Self::Json,
        }
    }
}

const INSPECT_EXAMPLES: &str = "\
Examples:
  cargo xtask inspect a_hang_shows_who_waits_for_whom
  cargo xtask inspect downloads/failures/hello/memory.core

gdb opens the same dump: `cd target/xtask/failures/NAME && gdb kernel memory.core`.
";

#[derive(Args)]
pub(crate) struct Inspect {
    /// A test that hung, panicked or ended by a fault when it was last run, or a dump that is kept with what the test left beside it.
    #[arg(value_name = "NAME|DUMP")]
    pub(crate) dump: PathBuf,
}

const REPLAY_EXAMPLES: &str = "\
Examples:
  cargo xtask replay NAME                stopped before the first instruction; `continue`, `reverse-continue`
  cargo xtask replay NAME --at 1234567   stopped there, after so many instructions
  cargo xtask replay NAME --why 'kernel::panic::IS_PANICKING'   who wrote that last, and where
  cargo xtask replay NAME --events       runs it again and compares what happens
  cargo xtask replay NAME -- -batch -ex 'hbreak kernel_main' -ex continue -ex backtrace

Set breakpoints with `hbreak`: the machine has no memory to write ordinary ones to before it boots.

Exit codes:
  0    gdb ended with 0, `--why` is answered, or `--events` finds what happened before
  1    something unexpected happened, such as no record of the test; the message says what
  2    the arguments are wrong
  100  gdb ended with another code or by a signal, or `--events` finds something else
  105  QEMU or gdb is missing
";

#[derive(Args)]
pub(crate) struct Replay {
    /// The test, as target/xtask/failures or target/xtask/records has it, or the directory of a bundle that was kept.
    #[arg(value_name = "NAME|DIRECTORY")]
    pub(crate) test: PathBuf,
    /// Run it to its end without gdb, show what happens, and fail if it isn't what happened before.
    #[arg(long)]
    pub(crate) events: bool,
    /// Begin where so many instructions have been executed.
    #[arg(long, value_name = "INSTRUCTION", conflicts_with = "events", value_parser = instruction())]
    pub(crate) at: Option<u64>,
    /// Say who wrote an expression of gdb's last, before the end of the record or before `--at`: a static, a field, a
    /// place in memory. What points to it counts as it is there.
    #[arg(long, value_name = "EXPRESSION", conflicts_with_all = ["events", "print_command", "gdb"])]
    pub(crate) why: Option<String>,
    /// Whose memory the expression of `--why` is in, if it isn't the kernel's [default: that of the process for which the
    /// machine ended, or of the test's own; of the one that runs at `--at`; or of the only one that has such an address].
    #[arg(long, value_name = "NAME", requires = "why")]
    pub(crate) process: Option<String>,
    /// Print the gdb command, without `target remote`, and run nothing.
    #[arg(long, conflicts_with_all = ["events", "at"])]
    pub(crate) print_command: bool,
    /// How long it may take to come to `--at` or to answer `--why`, and how long gdb, if standard input is no terminal.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "120")]
    pub(crate) timeout: std::time::Duration,
    /// Install QEMU and gdb if they are missing.
    #[arg(long)]
    pub(crate) install: bool,
    /// Further arguments for gdb.
    #[arg(last = true, value_name = "GDB ARGUMENTS")]
    pub(crate) gdb: Vec<OsString>,
}

const BENCH_EXAMPLES: &str = "\
Examples:
  cargo xtask bench
  cargo xtask bench ipc.round_trip boot --json

Instructions are counted, so they are exact. Times are medians of several runs.
";

#[derive(Args)]
pub(crate) struct Bench {
    /// Parts of names of figures; all of them if there are none.
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// One JSON object a line: name, and instructions or ns (with runs, min and max) or both.
    #[arg(long)]
    pub(crate) json: bool,
    /// Install QEMU and gdb if they are missing.
    #[arg(long)]
    pub(crate) install: bool,
}

/// gdb would take what is empty for the remote that it has already.
fn remote(text: OsString) -> Result<OsString, &'static str> {
    let is_blank = text.as_encoded_bytes().trim_ascii().is_empty();
    if is_blank { Err("write a socket, a terminal, or HOST:PORT") } else { Ok(text) }
}

/// QEMU counts instructions in a signed number.
fn instruction() -> RangedU64ValueParser {
    RangedU64ValueParser::new().range(..=i64::MAX.unsigned_abs())
}

fn seconds(text: &str) -> Result<std::time::Duration, String> {
    let wrong = || "write seconds, as in 5 or 0.5".to_owned();
    let seconds: f64 = text.parse().map_err(|_| wrong())?;
    let duration = std::time::Duration::try_from_secs_f64(seconds).map_err(|_| wrong())?;
    // More would overflow the clock, and nobody waits so long.
    if duration.is_zero() || duration.as_secs() > 86_400 { Err(wrong()) } else { Ok(duration) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_arguments_make_sense() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_command_that_tells_its_exit_codes_tells_those_that_all_have() {
        let mut arguments = Arguments::command();
        let commands: Vec<_> = arguments.get_subcommands_mut().collect();
        let mut telling = Vec::new();
        for command in commands {
            let help = command.render_long_help().to_string();
            let Some((_, codes)) = help.split_once("Exit codes:") else { continue };
            telling.push(command.get_name().to_owned());
            for (code, meaning) in [("0", ""), ("1", "something unexpected"), ("2", "the arguments")] {
                let words: Vec<&str> = codes.split_whitespace().collect();
                let is_there = |at: usize| words[at + 1..].join(" ").starts_with(meaning);
                assert!(words.iter().position(|word| *word == code).is_some_and(is_there), "{code}: {help}");
            }
        }
        assert_eq!(telling, ["gdb", "test", "replay"]);
    }

    #[test]
    fn a_remote_is_something_and_an_instruction_one_that_qemu_can_count_to() {
        let is_good = |words: &[&str]| Arguments::try_parse_from([&["xtask"], words].concat()).is_ok();
        assert!(is_good(&["gdb", "--attach", "gdb"]));
        assert!(!is_good(&["gdb", "--attach", ""]) && !is_good(&["gdb", "--attach", " "]));
        assert!(is_good(&["replay", "hello", "--at", "9223372036854775807"]));
        assert!(!is_good(&["replay", "hello", "--at", "9223372036854775808"]));
        assert!(!is_good(&["replay", "hello", "--at", "1", "--print-command"]));
    }

    #[test]
    fn timeouts_are_seconds() {
        assert_eq!(seconds("0.5"), Ok(std::time::Duration::from_millis(500)));
        for wrong in ["", "x", "0", "-1", "nan", "inf", "1e30", "100000"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
