//! `docs/debugging.md`, line by line: each command of the shell's and each of gdb's is run, and what the page says that
//! they print is what they print. A line that nobody runs fails the test.
//!
//! | block | what is done with it |
//! |---|---|
//! | `sh` | each line is run as it stands, but for the program and paths in `/tmp`; `cargo xtask gdb TEST` alone begins a session |
//! | `text` | what the line before printed; `…` stands for any lines |
//! | `gdb` | commands of the session, and what gdb says to them |
//! | `json` | the `launch.json` of an editor: gdb is told the same, in the same order, at a machine |
//!
//! These tests need QEMU and gdb; where they are missing they test nothing, except in CI, where that is an error.

mod debugged;
mod host;

use abi::boot::ExitCode;
use debugged::{Debugged, LIMIT, exit};
use harness::gdb::redact;
use harness::project::Project;
use harness::tools::{GDB, QEMU};
use host::{launcher, programs, root};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Commands within sentences, and how each is run: one that waits for a person is asked what it would do.
const IN_SENTENCES: [(&str, &str); 4] = [
    ("cargo xtask gdb", "cargo xtask gdb --print-command"),
    ("cargo xtask replay", "cargo xtask replay --help"),
    (
        "cargo xtask gdb --attach /dev/ttyUSB0",
        "cargo xtask gdb --attach /dev/ttyUSB0 --print-command -- -iex 'set serial baud 115200'",
    ),
    ("cargo xtask gdb --print-command", "cargo xtask gdb --print-command"),
];

/// Where the page's lines are run.
struct Place {
    project: Project,
    /// A target directory with what was built already, whose results are nobody else's.
    directory: tempfile::TempDir,
    /// What the latest line printed.
    printed: String,
    /// A program that runs on beside the next line.
    background: Option<Child>,
    session: Option<Session>,
}

/// A gdb, and all that the page says of it.
struct Session {
    debugged: Debugged,
    said: String,
}

impl Place {
    fn new() -> Self {
        let project = Project::at(root()).expect("a project");
        let artefacts = project.artefacts().expect("a target directory");
        let target = artefacts.parent().expect("it is in one");
        // A socket's path must be short.
        let directory = tempfile::Builder::new().prefix("page-").tempdir_in("/tmp").expect("a directory");
        for built in ["kernel", "image"] {
            std::os::unix::fs::symlink(target.join(built), directory.path().join(built)).expect("a link");
        }
        Self { project, directory, printed: String::new(), background: None, session: None }
    }

    fn command(&self, line: &str) -> Command {
        let line = self.here(line).replace("cargo xtask", &launcher().to_string_lossy());
        let mut command = Command::new("sh");
        command.args(["-c", &format!("exec {line} 2>&1")]).current_dir(root());
        command.env("CARGO_TARGET_DIR", self.directory.path()).env("INSTA_UPDATE", "no");
        command
    }

    /// A line of the page with the paths of this place.
    fn here(&self, line: &str) -> String {
        line.replace("/tmp/", &format!("{}/in-", self.directory.path().display()))
    }

    /// Runs a line to its end. What it prints is kept.
    fn run(&mut self, line: &str) {
        let output = self.command(line).stdin(Stdio::null()).output().expect("it runs");
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        assert!(output.status.success(), "{line}: {text}");
        self.printed = without_numbers(&redact(&text, &self.project));
    }

    fn shell(&mut self, line: &str) {
        self.end_session();
        let line = line.split("  #").next().unwrap_or_default().trim();
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["cargo", "xtask", "gdb", test] => {
                let debugged = Debugged::start(test).expect("QEMU and gdb are there");
                self.session = Some(Session { debugged, said: String::new() });
            }
            ["cargo", "xtask", "run", "--gdb", socket] => {
                let path = PathBuf::from(self.here(socket));
                // A machine that was killed leaves it.
                let _ = std::fs::remove_file(&path);
                let child = self.command(line).stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
                self.background = Some(child.expect("it runs"));
                let end = Instant::now() + LIMIT;
                while !path.exists() {
                    assert!(Instant::now() < end, "there is no socket");
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
            ["cargo", "xtask", ..] => self.run(line),
            _ => panic!("nobody runs this line of the page: {line}"),
        }
        if !words.contains(&"run") {
            self.end_background();
        }
    }

    /// Ends what runs beside the lines, and the machine with it.
    fn end_background(&mut self) {
        if let Some(mut child) = self.background.take() {
            // It fails only if it has ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts a gdb as the C/C++ extension of VS Code does for a `launch.json`: its set-up commands, the program, the
    /// connection. They are also what `cargo xtask gdb` does.
    fn launch(&mut self, block: &str) {
        let file: serde_json::Value = serde_json::from_str(block).expect("JSON");
        let configuration = &file["configurations"][0];
        let target = self.directory.path().to_string_lossy().into_owned();
        let text = |value: &serde_json::Value| {
            let text = value.as_str().unwrap_or_else(|| panic!("{value} is no text in {block}"));
            let text = text.replace("${workspaceFolder}/target", &target);
            text.replace("${workspaceFolder}", &self.project.root().to_string_lossy())
        };
        let setup = configuration["setupCommands"].as_array().expect("commands");
        let setup: Vec<String> = setup.iter().map(|command| text(&command["text"])).collect();
        let program = format!("file {}", text(&configuration["program"]));
        let address = text(&configuration["miDebuggerServerAddress"]);
        for (key, value) in [("type", "cppdbg"), ("request", "launch"), ("MIMode", "gdb")] {
            assert_eq!(configuration[key], value);
        }
        let print = self.command("cargo xtask gdb --print-command").output().expect("it runs").stdout;
        let print = String::from_utf8(print).expect("text");
        let known =
            |kind: &str| print.split('\'').filter(|word| word.starts_with(kind)).collect::<BTreeSet<_>>();
        let given: BTreeSet<&str> = setup.iter().chain([&program]).map(String::as_str).collect();
        assert_eq!(
            given,
            ["file ", "add-symbol-file ", "source "].iter().flat_map(|kind| known(kind)).collect()
        );
        // The line before this block's machine was ended by another.
        let line = format!("cargo xtask run --gdb {address}");
        assert!(page().contains(&line), "the page starts no machine at {address}");
        self.shell(&line);
        let remote = format!("target remote {}", self.here(&address));
        let mut gdb = Command::new("gdb");
        gdb.args(["-q", "-nx", "-batch"]);
        let commands = setup.iter().chain([&program, &remote]).map(String::as_str);
        for command in
            commands.chain(["info threads", "process ds", "info line ds::main", "info line monitor::main"])
        {
            gdb.args(["-ex", command]);
        }
        let output = gdb.stdin(Stdio::null()).output().expect("gdb runs");
        let said = String::from_utf8_lossy(&output.stdout);
        for expected in [
            "(tty, endpoint 5: ",
            "$process = ds(6): receiving from any",
            "ds/src/main.rs\" starts at",
            "monitor/src/main.rs\" starts at",
        ] {
            assert!(said.contains(expected), "{expected}: {said}{}", String::from_utf8_lossy(&output.stderr));
        }
        self.end_background();
    }

    fn gdb(&mut self, block: &str) {
        let session = self.session.as_mut().expect("a line of the shell begins a session");
        for line in block.lines() {
            if let Some(command) = line.strip_prefix("(gdb) ") {
                session.debugged.ask(command);
            }
        }
        session.said.push_str(block);
    }

    /// Compares all that gdb said with what the page says: where it says nothing to a command, that is of no matter.
    fn end_session(&mut self) {
        let Some(Session { debugged, said }) = self.session.take() else { return };
        let mut real = answers(&debugged.transcript());
        let page = answers(&said);
        assert_eq!(real.len(), page.len());
        for ((_, real), (_, page)) in real.iter_mut().zip(&page) {
            if page.is_empty() {
                real.clear();
            }
        }
        assert_eq!(real, page);
        if said.contains("(gdb) detach") {
            assert_eq!(debugged.end().0, exit(ExitCode::Success));
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.end_background();
    }
}

/// Commands of gdb's, each with what follows it.
fn answers(transcript: &str) -> Vec<(String, String)> {
    let pieces = transcript.split("(gdb) ").skip(1);
    let pair = |piece: &str| {
        let (command, answer) = piece.split_once('\n').unwrap_or((piece, ""));
        (command.to_owned(), answer.to_owned())
    };
    pieces.map(pair).collect()
}

/// Text without counts of instructions and names of temporary files.
fn without_numbers(text: &str) -> String {
    let word = |word: &str| match word {
        "1000000" | "999999" => word.to_owned(),
        _ if word.len() > 4 && word.bytes().all(|byte| byte.is_ascii_digit()) => "[COUNT]".to_owned(),
        _ if word.starts_with("'/tmp/") => "'[FILE]':".to_owned(),
        _ => word.to_owned(),
    };
    text.lines().map(|line| line.split(' ').map(word).collect::<Vec<_>>().join(" ") + "\n").collect()
}

/// Tells whether a text is as the page has it, where `…` stands for any lines.
fn is_like(real: &[&str], page: &[&str]) -> bool {
    match (page, real) {
        ([], []) => true,
        (["…", rest @ ..], _) => (0..=real.len()).any(|skipped| is_like(&real[skipped..], rest)),
        ([first, page @ ..], [line, real @ ..]) => first == line && is_like(real, page),
        _ => false,
    }
}

/// Blocks of the page: of what they are, and what is in them; and the sentences between.
fn parts(page: &str) -> (Vec<(&str, &str)>, String) {
    let (mut blocks, mut sentences) = (Vec::new(), String::new());
    for (index, part) in page.split("```").enumerate() {
        if index % 2 == 1 {
            blocks.push(part.split_once('\n').expect("a block has lines"));
        } else {
            sentences.push_str(part);
        }
    }
    (blocks, sentences)
}

fn page() -> String {
    std::fs::read_to_string(root().join("docs/debugging.md")).expect("the page")
}

// row I2
#[test]
fn each_line_of_the_page_does_what_the_page_says() {
    let Some(_) = programs([GDB, QEMU]) else { return };
    let page = page();
    let mut place = Place::new();
    for (kind, block) in parts(&page).0 {
        match kind {
            "sh" => block.lines().for_each(|line| place.shell(line)),
            "gdb" => place.gdb(block),
            "json" => place.launch(block),
            "text" => {
                let (real, page): (Vec<_>, Vec<_>) =
                    (place.printed.lines().collect(), block.lines().collect());
                assert!(is_like(&real, &page), "the page:\n{block}\nthe program:\n{}", place.printed);
            }
            other => panic!("nobody runs a block of {other}: {block}"),
        }
    }
    place.end_session();
    assert!(place.background.is_none());
}

// row I2
#[test]
fn each_command_within_the_sentences_of_the_page_is_run() {
    let Some(_) = programs([GDB, QEMU]) else { return };
    let page = page();
    let sentences = parts(&page).1;
    let mut place = Place::new();
    for code in sentences.split('`').skip(1).step_by(2).map(|code| code.replace('\n', " ")) {
        if !code.starts_with("cargo xtask") {
            continue;
        }
        let known = IN_SENTENCES.iter().find(|(known, _)| *known == code);
        let (_, line) = known.unwrap_or_else(|| panic!("nobody runs {code}"));
        place.run(line);
    }
}
