//! A machine under gdb, at the kernel's own stub.
#![allow(dead_code, reason = "each test uses a part of it")]

use crate::host::{launcher, programs, workshop};
use abi::boot::ExitCode;
use harness::gdb::{Debugger, Driven, redact};
use harness::machine::{Exit, Machine, Next, Output, Timing};
use harness::run::Workshop;
use harness::scenario::Scenario;
use harness::tools::{GDB, QEMU};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// For a whole conversation. It only guards against what hangs.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);
/// A program that asks a service for something, and ends well.
pub(crate) const PROGRAM: &str = "a_program_publishes_and_retrieves";

/// A machine whose program is debugged.
pub(crate) struct Debugged {
    pub(crate) workshop: Workshop,
    pub(crate) machine: Machine,
    pub(crate) gdb: Driven,
}

impl Debugged {
    /// None if this host lacks QEMU or gdb.
    pub(crate) fn start(program: &str) -> Option<Self> {
        Self::start_with(program, &[])
    }

    /// The same with arguments for gdb.
    pub(crate) fn start_with(program: &str, arguments: &[&str]) -> Option<Self> {
        let [gdb, qemu] = programs([GDB, QEMU])?;
        let workshop = workshop(qemu);
        let scenario: Scenario = workshop.scenario(program).expect("a program");
        let machine = workshop.boot_for_debugger(&scenario, Timing::Deterministic).expect("it boots");
        let images: Vec<PathBuf> = workshop.build.images(Some(program));
        let socket = machine.debugger();
        let remote = Some(socket.as_os_str());
        let script = workshop.project.gdb_script();
        let debugger = Debugger {
            gdb: &gdb,
            launcher: launcher(),
            images: &images,
            script: Some(&script),
            remote,
            commands: &[],
            arguments: &arguments.iter().map(Into::into).collect::<Vec<_>>(),
        };
        let gdb = debugger.drive(LIMIT).expect("gdb attaches");
        Some(Self { workshop, machine, gdb })
    }

    pub(crate) fn ask(&mut self, command: &str) -> String {
        self.gdb
            .ask(command)
            .unwrap_or_else(|error| panic!("{command}: {error:#}\n{}", self.gdb.transcript()))
    }

    pub(crate) fn ask_all(&mut self, commands: &[&str]) {
        commands.iter().for_each(|command| drop(self.ask(command)));
    }

    /// Fails unless gdb says that of a command.
    pub(crate) fn says(&mut self, command: &str, expected: &str) {
        let said = self.ask(command);
        assert!(said.contains(expected), "{command}: {said}\n{}", self.gdb.transcript());
    }

    /// The number that gdb gives to the thread of a process.
    pub(crate) fn thread(&mut self, name: &str) -> String {
        let threads = self.gdb.ask("info threads").expect("threads");
        let line = threads
            .lines()
            .find(|line| line.contains(&format!("({name}")))
            .unwrap_or_else(|| panic!("{threads}"));
        line.trim_start_matches(['*', ' ']).split(' ').next().expect("a number").to_owned()
    }

    /// The thread that gdb looks at, as `info threads` shows it.
    pub(crate) fn current(&mut self) -> String {
        let threads = self.ask("info threads");
        threads.lines().find(|line| line.starts_with('*')).unwrap_or_else(|| panic!("{threads}")).to_owned()
    }

    /// All commands and what gdb said to them.
    pub(crate) fn transcript(&self) -> String {
        let all = self.gdb.transcript();
        redact(&all[all.find("(gdb)").unwrap_or_default()..], &self.workshop.project)
    }

    /// How the machine ends by itself, and what its console had.
    pub(crate) fn end(mut self) -> (Exit, String) {
        drop(self.gdb);
        let until = Instant::now() + LIMIT;
        let mut console = Vec::new();
        loop {
            match self.machine.next(until) {
                Next::Output(Output::Console(bytes)) => console.extend(bytes),
                Next::Output(_) => {}
                Next::Ended(exit) => return (exit, String::from_utf8_lossy(&console).into_owned()),
                Next::Late => panic!("the machine doesn't end"),
            }
        }
    }

    /// Lets the system go on without gdb, to the end that it would have had.
    pub(crate) fn ends_well(mut self) {
        self.says("detach", "detached");
        let transcript = self.gdb.transcript().to_owned();
        let (exit_code, console) = self.end();
        assert_eq!(exit_code, exit(ExitCode::Success), "{console}\n{transcript}");
    }
}

/// How QEMU exits when the kernel ends the machine.
pub(crate) fn exit(code: ExitCode) -> Exit {
    Exit::Code(i32::from(code.of_qemu()))
}
