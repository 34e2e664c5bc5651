//! gdb as a process of the harness's: it answers, and it ends, whatever it waits for.
//!
//! The launcher is the real one, so these tests stand beside xtask's program. They need gdb; where
//! there is none they test nothing, except in CI, where that is an error.

mod host;

use harness::gdb::{Debugger, Terminal};
use harness::machine::Exit;
use harness::tools::GDB;
use host::{launcher, programs};
use nix::sys::signal::kill;
use nix::unistd::Pid;
use std::ffi::OsStr;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(60);

/// gdb, without which a test has nothing to show.
fn gdb() -> Option<PathBuf> {
    programs([GDB]).map(|[gdb]| gdb)
}

fn debugger<'a>(gdb: &'a Path, images: &'a [PathBuf], remote: Option<&'a OsStr>) -> Debugger<'a> {
    Debugger { gdb, launcher: launcher(), images, script: None, remote, commands: &[], arguments: &[] }
}

/// A terminal at whose other end nobody answers.
fn silent() -> (serialport::TTYPort, PathBuf) {
    use serialport::SerialPort as _;
    let (ours, mut theirs) = serialport::TTYPort::pair().expect("a pseudo-terminal");
    theirs.set_exclusive(false).expect("it can be shared");
    let path = theirs.name().expect("a path").into();
    (ours, path)
}

fn is_alive(pid: i32) -> bool {
    kill(Pid::from_raw(pid), None).is_ok()
}

#[test]
fn commands_have_answers_and_errors_are_answers() {
    let Some(gdb) = gdb() else { return };
    let mut driven = debugger(&gdb, &[], None).drive(LIMIT).expect("gdb starts");
    assert_eq!(driven.ask("print 6 * 7").expect("an answer"), "$1 = 42\n");
    assert!(driven.ask("print nothing").expect("an answer").contains("No symbol"));
    assert_eq!(driven.ask("define twice\nprint $arg0\nprint $arg0\nend").expect("an answer"), "");
    assert_eq!(driven.ask("twice 3").expect("an answer"), "$2 = 3\n$3 = 3\n");
    assert!(driven.transcript().starts_with("(gdb) print 6 * 7\n$1 = 42\n(gdb) print nothing\n"));
    assert_eq!(driven.end().expect("it ends"), Exit::Code(0));
}

#[test]
fn symbols_are_those_of_all_images() {
    let Some(gdb) = gdb() else { return };
    // Paths with spaces, which gdb's commands would split.
    let directory = tempfile::Builder::new().prefix("with a space ").tempdir().expect("a directory");
    let images = ["one", "it's another"].map(|name| directory.path().join(name));
    for image in &images {
        std::fs::copy(launcher(), image).expect("a copy");
    }
    let mut driven = debugger(&gdb, &images, None).drive(LIMIT).expect("gdb starts");
    let files = driven.ask("info files").expect("an answer");
    assert!(files.contains("with a space") && files.contains("/one'"), "{files}");
    let greeting = driven.transcript();
    assert!(greeting.contains("it's another") && !greeting.contains("No such file"), "{greeting}");
}

#[test]
fn a_gdb_that_waits_for_ever_is_ended() {
    let Some(gdb) = gdb() else { return };
    let started = Instant::now();
    let (_ours, path) = silent();
    let Err(error) = debugger(&gdb, &[], Some(path.as_os_str())).drive(Duration::from_secs(1)) else {
        panic!("nobody answered")
    };
    assert!(format!("{error:#}").contains("gdb isn't ready: gdb didn't answer in time"), "{error:#}");
    let mut driven = debugger(&gdb, &[], None).drive(Duration::from_secs(2)).expect("gdb starts");
    let pid = driven.ask("python import os; print(os.getpid())").expect("an answer");
    let pid = pid.trim().parse().expect("a process id");
    assert!(is_alive(pid));
    let error = driven.ask("shell sleep 1000").expect_err("that takes too long");
    assert!(error.to_string().contains("gdb didn't answer in time"), "{error}");
    assert!(driven.transcript().ends_with("(gdb) shell sleep 1000\n"), "{}", driven.transcript());
    drop(driven);
    assert!(!is_alive(pid));
    assert!(started.elapsed() < Duration::from_secs(30), "took {:?}", started.elapsed());
}

#[test]
fn a_gdb_that_ends_or_talks_without_end_is_no_answer() {
    let Some(gdb) = gdb() else { return };
    let mut driven = debugger(&gdb, &[], None).drive(LIMIT).expect("gdb starts");
    let error = driven.ask("quit").expect_err("it ends");
    assert_eq!(error.to_string(), "gdb ended");
    assert!(driven.ask("print 1").is_err());
    let mut driven = debugger(&gdb, &[], None).drive(LIMIT).expect("gdb starts");
    let error = driven.ask("while 1\nprint \"0123456789abcdef0123456789abcdef\"\nend").expect_err("too much");
    assert_eq!(error.to_string(), "gdb says more than 1024 KiB");
}

#[test]
fn ctrl_c_ends_what_gdb_does_and_not_gdb() {
    let Some(gdb) = gdb() else { return };
    let mut driven = debugger(&gdb, &[], None).drive(LIMIT).expect("gdb starts");
    driven.tell("while 1\nend").expect("it takes the command");
    std::thread::sleep(Duration::from_millis(100));
    driven.interrupt().expect("it is alive");
    assert!(driven.answer().expect("an answer").contains("Quit"));
    assert_eq!(driven.ask("print 1").expect("an answer"), "$1 = 1\n");
}

#[test]
fn a_gdb_on_the_users_terminal_has_a_limit_where_nobody_sits() {
    let Some(gdb) = gdb() else { return };
    let terminal = Terminal::prepare().expect("signals can be blocked");
    let batch = ["-batch".into(), "-ex".into(), "python import time; time.sleep(1000)".into()];
    let debugger = Debugger { arguments: &batch, ..debugger(&gdb, &[], None) };
    let mut glances = 0;
    let error = debugger.hand_over(&terminal, Some(Duration::from_secs(1)), || glances += 1);
    assert_eq!(error.expect_err("too long").to_string(), "gdb didn't end in 1 s and was killed");
    assert!(glances > 1);
    let quick = ["-batch".into()];
    let debugger = Debugger { arguments: &quick, ..debugger };
    assert_eq!(debugger.hand_over(&terminal, None, || {}).expect("it ends"), Exit::Code(0));
}

#[test]
fn a_machine_that_is_not_there_is_an_error() {
    let Some(_) = gdb() else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let [left, held] = ["left", "held"].map(|name| directory.path().join(name));
    // Nobody listens there any more.
    drop(UnixListener::bind(&left).expect("a socket"));
    // Somebody else has the machine, which takes the next one when he goes.
    let _held = UnixListener::bind(&held).expect("a socket");
    let (_ours, terminal) = silent();
    let [left, held, terminal] = [left, held, terminal].map(|path| path.to_str().expect("text").to_owned());
    let none =
        |remote: &str| format!("no machine waits at {remote}: `cargo xtask run --gdb {remote}` starts one");
    let silent = |remote: &str| format!("no machine answers at {remote}, or another gdb has it: ");
    let one = |remote: &str| format!("{}`cargo xtask run --gdb {remote}` starts one", silent(remote));
    for (remote, code, wanted) in [
        ("/nowhere/tessera", 1, none("/nowhere/tessera")),
        ("nowhere/tessera", 1, none("nowhere/tessera")),
        ("", 2, "write a socket, a terminal, or HOST:PORT".to_owned()),
        (&left, 1, one(&left)),
        (&held, 1, one(&held)),
        (&terminal, 1, silent(&terminal) + "its kernel needs gdb=com2"),
        ("localhost:1", 1, silent("localhost:1") + "see whether it runs"),
        ("| false", 1, silent("| false") + "see whether it runs"),
    ] {
        let mut command = std::process::Command::new(launcher());
        // What is silent is silent soon.
        let quick = ["-iex", "set remotetimeout 1"];
        command.args(["gdb", "--attach", remote, "--", "-batch", "-ex", "echo went on"]).args(quick);
        command.stdin(std::process::Stdio::null()).current_dir(directory.path());
        let output = command.output().expect("xtask runs");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{remote}: {errors}");
        assert!(errors.contains(&wanted), "{remote}: {errors}");
        assert!(!String::from_utf8_lossy(&output.stdout).contains("went on"), "{remote}");
    }
}
