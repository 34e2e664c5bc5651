//! The commands of Tessera's source tree: `cargo xtask build`, `test`, `run` and others.
//!
//! The work is in the harness; here are the commands' arguments, their words and their exit codes.
#![forbid(unsafe_code)]

mod arguments;
mod commands;
mod exit;

use arguments::{Arguments, Command};
use clap::Parser as _;
use harness::machine::tied;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|word| word == tied::ARGUMENT) {
        // It comes back only to report why it could not become another program.
        return exit::report(tied::exec(words).map(|()| exit::Exit::Good));
    }
    let outcome = match Arguments::parse().command {
        Command::Build => commands::build(),
        Command::Run(arguments) => commands::run(&arguments),
        Command::Gdb(arguments) => commands::gdb(&arguments),
        Command::Test(arguments) => commands::test(&arguments),
        Command::Bless(arguments) => commands::bless(&arguments),
        Command::Review => commands::review(),
        Command::Inspect(arguments) => commands::inspect(&arguments),
        Command::Replay(arguments) => commands::replay(&arguments),
        Command::Bench(arguments) => commands::bench(&arguments),
        Command::Ci => commands::ci(),
        Command::Miri => commands::miri(),
        Command::Doctor => commands::doctor(),
    };
    exit::report(outcome)
}
