//! The guest tests as cargo and cargo-nextest run them: what `snapshots/guest.rs` answers to libtest's
//! arguments.
//!
//! It is built and called as they do it. Running a test takes QEMU; where there is none nothing is tested
//! of that, except in CI, where that is an error.

use harness::build::cargo;
use harness::project::Project;
use harness::tools::{self, QEMU};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// A test that takes no time, and that nobody works on.
const TEST: &str = "output_without_a_line_end_is_kept";
/// What its machine prints.
const PRINTED: &str = "[no line end]";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the project's root")
}

/// The profile that this test was built with: cargo calls the directory so, but for the one of `cargo test` itself.
fn profile() -> String {
    let this = std::env::current_exe().expect("a path");
    let directory = this.ancestors().nth(2).and_then(Path::file_name).expect("target/PROFILE/deps/TEST");
    let name = directory.to_str().expect("text");
    if name == "debug" { "test".into() } else { name.into() }
}

/// The program that cargo makes of `snapshots/guest.rs`.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        // Not for one package: the others decide of the features of what it is built from.
        let mut command = cargo();
        command.args([
            "test",
            "--test",
            "guest",
            "--no-run",
            "--message-format",
            "json",
            "--profile",
            &profile(),
        ]);
        let output = command.current_dir(root()).stderr(Stdio::inherit()).output().expect("cargo runs");
        assert!(output.status.success());
        let messages = String::from_utf8(output.stdout).expect("text");
        let executable = |line: &str| {
            let message: serde_json::Value = serde_json::from_str(line).ok()?;
            let source = Path::new(message["target"]["src_path"].as_str()?).to_owned();
            Some((PathBuf::from(message["executable"].as_str()?), source))
        };
        let (program, source) = messages.lines().find_map(executable).expect("a program");
        let is_beside_snapshots = source.parent().is_some_and(|directory| directory.ends_with("snapshots"));
        assert!(is_beside_snapshots, "cargo-insta looks there only: {}", source.display());
        program
    })
}

/// How a call ended.
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// Calls it, as `run` of cargo-nextest, with these variables.
fn call(arguments: &[&str], run: &str, variables: &[(&str, &str)]) -> Ended {
    let mut command = Command::new(program());
    command.args(arguments).current_dir(root()).stdin(Stdio::null());
    command.env_remove("TESSERA_GUEST_TESTS").env("NEXTEST_RUN_ID", run);
    command.envs(variables.iter().copied());
    let output = command.output().expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Ended { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn has_qemu() -> bool {
    let has_qemu = tools::find(QEMU).is_some();
    assert!(has_qemu || !tools::is_ci(), "QEMU is missing: run `cargo xtask doctor`");
    has_qemu
}

#[test]
fn the_list_is_that_of_the_snapshots_and_nothing_else() {
    let run = format!("list {}", std::process::id());
    // Without QEMU, too; but not where it must be there.
    let listed = call(&["--list", "--format", "terse"], &run, &[("CI", "")]);
    assert_eq!(listed.code, Some(0), "{}", listed.stderr);
    let mut names: Vec<&str> =
        listed.stdout.lines().map(|line| line.strip_suffix(": test").expect("libtest's form")).collect();
    names.sort_unstable();
    let entries = std::fs::read_dir(root().join("snapshots")).expect("snapshots").flatten();
    let snapshots =
        entries.filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".snap").map(str::to_owned));
    // Those of facets belong to tests that have one without.
    let mut snapshots: Vec<String> = snapshots.filter(|name| !name.contains('@')).collect();
    snapshots.sort_unstable();
    assert_eq!(names, snapshots);
    let ignored = call(&["--list", "--format", "terse", "--ignored"], &run, &[("CI", "")]);
    assert_eq!(ignored.stdout, if has_qemu() { "" } else { listed.stdout.as_str() });
}

// row I3
#[test]
fn a_test_passes_or_fails_with_the_report_of_xtask() {
    if !has_qemu() {
        return;
    }
    let run = format!("one {}", std::process::id());
    let exact = [TEST, "--exact", "--nocapture"];
    let passed = call(&exact, &run, &[]);
    assert_eq!(passed.code, Some(0), "{}{}", passed.stdout, passed.stderr);
    assert!(passed.stdout.contains("running 1 test\n"), "{}", passed.stdout);
    assert!(
        passed.stdout.contains("console:\n") && passed.stdout.contains(PRINTED),
        "what it printed is shown: {}",
        passed.stdout
    );
    // Nothing is built for other processes of a run, so they need nothing of the host but QEMU.
    let directory = tempfile::tempdir().expect("a directory");
    let broken = directory.path().join(QEMU);
    std::fs::write(&broken, "#!/bin/sh\necho 'qemu: no such machine' >&2\nexit 1\n").expect("a file");
    std::fs::set_permissions(&broken, std::fs::Permissions::from_mode(0o755)).expect("permissions");
    let path = directory.path().to_str().expect("text");
    let failed = call(&exact, &run, &[("PATH", path)]);
    assert_eq!(failed.code, Some(101), "{}{}", failed.stdout, failed.stderr);
    let repeat = format!("repeat: cargo xtask test --exact {TEST}\n");
    let title = format!("--- TROUBLE {TEST} ---\n");
    for part in [title.as_str(), "qemu: no such machine", &repeat, "bundle: "] {
        assert!(failed.stdout.contains(part), "{part}: {}", failed.stdout);
    }
    let bundle = Project::at(root()).expect("a project").failures().join(TEST);
    let report = std::fs::read_to_string(bundle.join("report.txt")).expect("a report");
    assert!(failed.stdout.contains(&format!("{title}{report}")), "{report}\n{}", failed.stdout);
    // What passes has none.
    assert_eq!(call(&exact, &run, &[]).code, Some(0));
    assert!(!bundle.exists());
}

#[test]
fn without_qemu_tests_are_ignored_but_not_in_ci() {
    let run = format!("none {}", std::process::id());
    assert_eq!(call(&["--list"], &run, &[("CI", "")]).code, Some(0));
    let ignored = call(&[TEST, "--exact"], &run, &[("PATH", ""), ("CI", "")]);
    assert_eq!(ignored.code, Some(0), "{}{}", ignored.stdout, ignored.stderr);
    assert!(ignored.stdout.contains("0 passed; 0 failed; 1 ignored"), "{}", ignored.stdout);
    assert!(ignored.stderr.contains("QEMU is not installed"), "{}", ignored.stderr);
    let failed = call(&[TEST, "--exact"], &run, &[("PATH", ""), ("CI", "true")]);
    assert_eq!(failed.code, Some(101), "{}{}", failed.stdout, failed.stderr);
}

#[test]
fn all_are_left_out_where_another_step_runs_them() {
    let left_out = call(&[], "none", &[("TESSERA_GUEST_TESTS", "skip"), ("PATH", "")]);
    assert_eq!((left_out.code, left_out.stdout.as_str()), (Some(0), ""), "{}", left_out.stderr);
}
