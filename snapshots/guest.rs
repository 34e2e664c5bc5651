//! The guest tests as tests of cargo: `cargo test -p harness --test guest`, `cargo nextest run -p harness`.
//!
//! It is another door to what `cargo xtask test` runs, with the same verdicts, reports and bundles, and
//! the arguments of libtest, of filters one. It stands beside the snapshots because cargo-insta looks for them where the
//! tests of a package are.
#![forbid(unsafe_code)]

use anyhow::{Context as _, Result, bail};
use harness::build;
use harness::machine::tied;
use harness::project::Project;
use harness::report::bundles::Bundles;
use harness::report::{details, output, word};
use harness::run::{How, Match, Tools, Verdict, Workshop, scenarios, select};
use harness::scenario::{Kind, Scenario};
use harness::snapshot;
use harness::tools::{self, QEMU};
use libtest_mimic::{Arguments, Failed, Trial};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

/// If this is `skip`, nothing is built or run: `cargo xtask ci` runs guest tests in a step of their own.
const SWITCH: &str = "TESSERA_GUEST_TESTS";
/// What cargo-nextest calls a run, to all of its processes.
const RUN: &str = "NEXTEST_RUN_ID";
/// libtest's exit code of tests that failed, which are all that cargo expects here.
const FAILED: u8 = 101;

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    let outcome = if words.next().is_some_and(|word| word == tied::ARGUMENT) {
        // Machines are started through this very program, as through xtask.
        tied::exec(words).map(|()| ExitCode::SUCCESS)
    } else {
        run(Arguments::from_args())
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(FAILED)
    })
}

fn run(arguments: Arguments) -> Result<ExitCode> {
    if std::env::var_os(SWITCH).is_some_and(|value| value == "skip") {
        eprintln!("guest tests are left out, because {SWITCH} is skip");
        return Ok(ExitCode::SUCCESS);
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("failed to find the project's root")?;
    let project = Project::at(root)?;
    snapshot::start_over(project.root(), snapshot::update_in_tests())?;
    let qemu = tools::find(QEMU);
    if qemu.is_none() {
        let missing = "QEMU is not installed: `cargo xtask doctor` tells what to do";
        if tools::is_ci() {
            bail!(missing);
        }
        eprintln!("guest tests are ignored: {missing}");
    }
    let system = build::system(&project)?;
    let run = std::env::var(RUN).ok();
    let built = build::build_once(&project, &system, run.as_deref())?;
    let tests = select(scenarios(&project, &built)?, Kind::Test, &[], Match::Exact);
    let launcher = std::env::current_exe().context("failed to find the path of this program")?;
    let is_ignored = qemu.is_none();
    let tools = Tools { qemu: qemu.unwrap_or_else(|| QEMU.into()), launcher };
    let workshop = Arc::new(Workshop::open(project, system, built, tools)?);
    let is_verbose = arguments.nocapture;
    let trial = |scenario: Scenario| {
        let workshop = Arc::clone(&workshop);
        let name = scenario.name.clone();
        Trial::test(name, move || test(&workshop, &scenario, is_verbose)).with_ignored_flag(is_ignored)
    };
    let trials = tests.into_iter().map(trial).collect();
    Ok(libtest_mimic::run(&arguments, trials).exit_code())
}

fn test(workshop: &Workshop, scenario: &Scenario, is_verbose: bool) -> Result<(), Failed> {
    // Not all at once, as `cargo xtask test` does it: other tests are other processes, perhaps.
    let bundles = Bundles { path: workshop.project.failures() };
    bundles.remove(&scenario.name).map_err(failed)?;
    let outcome = workshop.test(scenario, How::default());
    let title = format!("--- {} {} ---", word(&outcome), outcome.name);
    if outcome.verdict() == Verdict::Passed {
        if is_verbose {
            print!("\n{title}\n{}", output(&outcome));
        }
        return Ok(());
    }
    bundles.write(&outcome).map_err(failed)?;
    let bundle = bundles.of(&outcome.name);
    let bundle = workshop.project.shorten(&bundle).display();
    Err(format!("{title}\n{}bundle: {bundle}/", details(&outcome)).into())
}

fn failed(error: anyhow::Error) -> Failed {
    format!("{error:#}").into()
}
