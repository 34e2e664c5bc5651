//! What a test needs of this host. Where a program is missing nothing is tested, except in CI, where that is an error.
#![allow(dead_code, reason = "each test uses a part of it")]

use harness::build::{self, Build};
use harness::project::Project;
use harness::run::{Tools, Workshop};
use harness::tools;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the project's root")
}

pub(crate) fn launcher() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_xtask"))
}

/// Programs of this host; none if one is missing.
pub(crate) fn programs<const N: usize>(names: [&str; N]) -> Option<[PathBuf; N]> {
    let found: Option<Vec<PathBuf>> = names.into_iter().map(tools::find).collect();
    let missing = || format!("{} must be installed: run `cargo xtask doctor`", names.join(" and "));
    assert!(found.is_some() || !tools::is_ci(), "{}", missing());
    if found.is_none() {
        eprintln!("not tested: {}", missing());
    }
    found?.try_into().ok()
}

/// A workshop of this project. Tests run at the same time, and cargo builds once.
pub(crate) fn workshop(qemu: PathBuf) -> Workshop {
    static BUILD: OnceLock<Build> = OnceLock::new();
    let project = || Project::at(root()).expect("a project");
    let system = || build::system(&project()).expect("a system");
    let built = BUILD.get_or_init(|| build::build(&project(), &system()).expect("it builds"));
    let tools = Tools { qemu, launcher: launcher().to_owned() };
    Workshop::open(project(), system(), built.clone(), tools).expect("a workshop")
}

/// Processes that have this word in their environment, which they have from who started them.
pub(crate) fn marked(word: &str) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").expect("processes");
    let has = |process: &Path| {
        let environment = std::fs::read(process.join("environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == word.as_bytes())
    };
    let paths = processes.filter_map(|process| Some(process.ok()?.path())).filter(|process| has(process));
    paths.map(|path| std::fs::read_to_string(path.join("cmdline")).unwrap_or_default()).collect()
}
