//! A machine under gdb, at the kernel's own stub.
#![allow(dead_code, reason = "each test uses a part of it")]

use crate::host::{launcher, programs, workshop};
use abi::boot::ExitCode;
use harness::gdb::{Debugger, Driven, redact};
use harness::machine::{Exit, Machine, Next, Output, Timing};
use harness::run::Workshop;
use harness::scenario::Scenario;
use harness::tools::{GDB, QEMU};
use std::path::{Path, PathBuf};
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
    program: String,
    /// What was said before this gdb.
    before: String,
}

/// A machine that waits for a debugger.
pub(crate) struct Waiting {
    workshop: Workshop,
    pub(crate) machine: Machine,
    program: String,
}

impl Waiting {
    /// None if this host lacks QEMU or gdb.
    pub(crate) fn start(program: &str) -> Option<Self> {
        let [_, qemu] = programs([GDB, QEMU])?;
        let workshop = workshop(qemu);
        let scenario: Scenario = workshop.scenario(program).expect("a program");
        let machine = workshop.boot_for_debugger(&scenario, Timing::Deterministic).expect("it boots");
        Some(Self { workshop, machine, program: program.to_owned() })
    }

    /// Has gdb attach.
    pub(crate) fn attach(self, arguments: &[&str]) -> Debugged {
        let Self { workshop, machine, program } = self;
        let gdb = drive(&workshop, Some(&machine.debugger()), &program, arguments);
        Debugged { workshop, machine, gdb, program, before: String::new() }
    }
}

/// A gdb with the symbols of a program, at the stub behind a socket if there is one.
fn drive(workshop: &Workshop, socket: Option<&Path>, program: &str, arguments: &[&str]) -> Driven {
    let [gdb] = programs([GDB]).expect("it was there");
    let images: Vec<PathBuf> = workshop.build.images(Some(program));
    let script = workshop.project.gdb_script();
    let debugger = Debugger {
        gdb: &gdb,
        launcher: launcher(),
        images: &images,
        script: Some(&script),
        remote: socket.map(Path::as_os_str),
        commands: &[],
        arguments: &arguments.iter().map(Into::into).collect::<Vec<_>>(),
    };
    debugger.drive(LIMIT).expect("gdb starts")
}

impl Debugged {
    /// None if this host lacks QEMU or gdb.
    pub(crate) fn start(program: &str) -> Option<Self> {
        Self::start_with(program, &[])
    }

    /// The same with arguments for gdb.
    pub(crate) fn start_with(program: &str, arguments: &[&str]) -> Option<Self> {
        Some(Waiting::start(program)?.attach(arguments))
    }

    /// Kills gdb, whatever it does, and has another one attach.
    pub(crate) fn another_gdb(&mut self) {
        self.before = self.transcript() + "--- gdb is killed, and another one attaches\n";
        self.gdb.kill();
        self.gdb = drive(&self.workshop, Some(&self.machine.debugger()), &self.program, &[]);
    }

    /// One that isn't attached yet.
    pub(crate) fn unconnected_gdb(&self) -> Driven {
        drive(&self.workshop, None, &self.program, &[])
    }

    /// Waits until the console has said that, and all processes wait: what runs on from a stop comes to another halt than
    /// that of a stub that waits.
    pub(crate) fn wait_until_idle_behind(&mut self, said: &str) {
        let (end, mut console) = (Instant::now() + LIMIT, Vec::new());
        while !String::from_utf8_lossy(&console).contains(said) {
            match self.machine.next(end) {
                Next::Output(Output::Console(bytes)) => console.extend(bytes),
                Next::Output(_) => {}
                other => panic!("{other:?}: {}", self.gdb.transcript()),
            }
        }
        while self.machine.still().expect("QEMU tells").is_none() {
            assert!(Instant::now() < end, "somebody runs for ever\n{}", self.gdb.transcript());
            std::thread::sleep(Duration::from_millis(10));
        }
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
        let [thread] = self.threads([name]);
        thread
    }

    /// The same of several.
    pub(crate) fn threads<const N: usize>(&mut self, names: [&str; N]) -> [String; N] {
        let threads = self.ask("info threads");
        names.map(|name| {
            let line = threads.lines().find(|line| line.contains(&format!("({name}")));
            let line = line.unwrap_or_else(|| panic!("{threads}"));
            line.trim_start_matches(['*', ' ']).split(' ').next().expect("a number").to_owned()
        })
    }

    /// The thread that gdb looks at, as `info threads` shows it.
    pub(crate) fn current(&mut self) -> String {
        let threads = self.ask("info threads");
        threads.lines().find(|line| line.starts_with('*')).unwrap_or_else(|| panic!("{threads}")).to_owned()
    }

    /// All commands and what gdb said to them.
    pub(crate) fn transcript(&self) -> String {
        let all = self.gdb.transcript();
        let socket = self.machine.debugger().to_string_lossy().into_owned();
        let text = all[all.find("(gdb)").unwrap_or_default()..].replace(&socket, "[SOCKET]");
        self.before.clone() + &redact(&text, &self.workshop.project)
    }

    /// How the machine ends by itself, and what its console had.
    pub(crate) fn end(mut self) -> (Exit, String) {
        let transcript = self.gdb.transcript().to_owned();
        drop(self.gdb);
        let until = Instant::now() + LIMIT;
        let mut console = Vec::new();
        loop {
            match self.machine.next(until) {
                Next::Output(Output::Console(bytes)) => console.extend(bytes),
                Next::Output(_) => {}
                Next::Ended(exit) => return (exit, String::from_utf8_lossy(&console).into_owned()),
                Next::Late => panic!("the machine doesn't end\n{transcript}"),
            }
        }
    }

    /// All commands and what gdb said to them, once the machine has ended in that way.
    pub(crate) fn told(self, end: ExitCode) -> String {
        let transcript = self.transcript();
        let (exit_code, console) = self.end();
        assert_eq!(exit_code, exit(end), "{console}\n{transcript}");
        transcript
    }

    /// Lets the system go on without gdb, to the end that it would have had, and returns all that was said.
    pub(crate) fn ends_well(mut self) -> String {
        self.ask("detach");
        self.told(ExitCode::Success)
    }
}

/// How QEMU exits when the kernel ends the machine.
pub(crate) fn exit(code: ExitCode) -> Exit {
    Exit::Code(i32::from(code.of_qemu()))
}
