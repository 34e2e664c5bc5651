//! `cargo xtask test`

use super::{launcher, permission, project};
use crate::arguments::{Format, Test, Unreferenced};
use crate::exit::{Exit, ListingFailed};
use anyhow::{Context as _, Result, bail};
use harness::build;
use harness::list;
use harness::project::Project;
use harness::report::bundles::{Bundles, Records};
use harness::report::terminal::{Shown, Terminal};
use harness::report::{Readers, Style, github, json, junit, latest, stdout};
use harness::run::{How, Match, Recorded, Runs, Tools, Verdict, Workshop, scenarios, select};
use harness::scenario::{Kind, Scenario};
use harness::serial::kernel_checksum;
use harness::serial::line::{Line, Settings};
use harness::snapshot::{self, unreferenced};
use harness::suite::{self, AtFailure, Skipped};
use harness::system::System;
use harness::tools;
use std::time::Duration;

pub(crate) fn test(arguments: &Test) -> Result<Exit> {
    run(arguments, snapshot::update_in_tests())
}

/// `cargo xtask bless`
pub(crate) fn bless(arguments: &Test) -> Result<Exit> {
    if tools::is_ci() {
        bail!("nothing is accepted in CI, where nobody looks at it: run `cargo xtask bless` elsewhere");
    }
    if arguments.serial.is_some() {
        bail!("what QEMU does is what is reviewed, as it does the same again: run it without --serial");
    }
    run(arguments, Some("always"))
}

/// Runs tests. `update` is what insta does with snapshots that differ, if not what the user says.
fn run(arguments: &Test, update: Option<&str>) -> Result<Exit> {
    let project = project()?;
    snapshot::start_over(project.root(), update)?;
    let latest = latest(&project, arguments)?;
    if latest == Latest::NoRun {
        eprintln!("there was no run yet: `cargo xtask test` makes one");
        return Ok(Exit::NoTests);
    }
    let system = build::system(&project)?;
    if arguments.list {
        let built = build::build(&project, &system)?;
        let selection = Selection::of(arguments, scenarios(&project, &built), &latest)?;
        list::write(stdout(), &project, &selection.tests, arguments.format.into())?;
        return Ok(if selection.tests.is_empty() { selection.nothing(arguments) } else { Exit::Good });
    }
    let workshop = workshop(project, system, arguments)?;
    let mut selection = Selection::of(arguments, workshop.scenarios(), &latest)?;
    if selection.tests.is_empty() {
        return Ok(selection.nothing(arguments));
    }
    let skipped = if arguments.serial.is_some() { selection.leave_for_line(latest) } else { Vec::new() };
    let jobs = arguments.jobs.or_else(|| std::thread::available_parallelism().ok()).map_or(1, usize::from);
    let jobs = if arguments.serial.is_some() { 1 } else { jobs };
    let at_failure = if arguments.fail_fast { AtFailure::Stop } else { AtFailure::GoOn };
    let runs = if arguments.check_determinism { Runs::Twice } else { Runs::Once };
    let recorded = if arguments.record { Recorded::All } else { Recorded::Failures };
    let how = How { limit: arguments.limit, timeout: arguments.timeout, runs, recorded };
    let options = suite::Options { jobs, how, retries: arguments.retries, at_failure };
    let mut readers = readers(&workshop.project, arguments, &selection)?;
    let outcomes = suite::run(&workshop, &selection.tests, &skipped, options, |news| readers.tell(news));
    let orphans = treat_orphans(&workshop.project, arguments.unreferenced, &selection.known);
    let has_failed = outcomes.iter().any(|outcome| outcome.verdict() != Verdict::Passed);
    // That a test failed is what matters, whatever else goes wrong.
    match (readers.end().and(orphans), has_failed) {
        (Err(error), false) => Err(error),
        (Err(error), true) => {
            eprintln!("error: {error:#}");
            Ok(Exit::TestsFailed)
        }
        (Ok(orphans), _) if has_failed || orphans == Orphans::Rejected => Ok(Exit::TestsFailed),
        (Ok(_), _) if !selection.left_out.is_empty() => Ok(Exit::Outstanding),
        (Ok(_), _) if outcomes.is_empty() => Ok(Exit::NoTests),
        (Ok(_), _) => Ok(Exit::Good),
    }
}

/// All that is built, and the machines to run it on.
fn workshop(project: Project, system: System, arguments: &Test) -> Result<Workshop> {
    let launcher = launcher()?;
    let Some(path) = &arguments.serial else {
        let qemu = tools::qemu(permission(arguments.install))?;
        let built = build::build(&project, &system)?;
        return Workshop::open(project, system, built, Tools { qemu, launcher });
    };
    let built = build::build(&project, &system)?;
    let settings = Settings {
        kernel: kernel_checksum(&built.kernel)?,
        patience: arguments.boot_timeout.unwrap_or(BOOT_TIMEOUT),
        notice: Box::new(|text| eprintln!("{text}")),
    };
    let line = Line::open(path, settings)?;
    // What a failed test leaves starts QEMU, if there is one.
    let tools = Tools { qemu: tools::QEMU.into(), launcher };
    Ok(Workshop::open(project, system, built, tools)?.over(line))
}

/// How long a machine may take from its reset to the kernel: with the firmware of a large one, a minute.
const BOOT_TIMEOUT: Duration = Duration::from_secs(120);

/// Whether there may be such snapshots as there are.
#[derive(PartialEq, Eq)]
enum Orphans {
    Tolerated,
    Rejected,
}

/// Does what is wanted with snapshots that belong to no test.
fn treat_orphans(project: &Project, wanted: Unreferenced, tests: &[String]) -> Result<Orphans> {
    let mut orphans = Orphans::Tolerated;
    for path in unreferenced(&project.snapshots(), tests)? {
        let shown = project.shorten(&path).display();
        let remedy = "remove it, or run `cargo xtask test --unreferenced delete`";
        match wanted {
            Unreferenced::Warn => eprintln!("warning: {shown} belongs to no test: {remedy}"),
            Unreferenced::Reject => {
                eprintln!("error: {shown} belongs to no test: {remedy}");
                orphans = Orphans::Rejected;
            }
            Unreferenced::Delete => {
                std::fs::remove_file(&path).with_context(|| format!("failed to remove {shown}"))?;
                eprintln!("removed {shown}, which belonged to no test");
            }
        }
    }
    Ok(orphans)
}

/// All that is told of the run.
fn readers(project: &Project, arguments: &Test, selection: &Selection) -> Result<Readers<'static>> {
    let mut readers = Readers::default();
    let (bundles, records) = (project.failures(), project.records());
    let terminal = |lines| {
        let terminal = Terminal::new(stdout(), Style::of_stdout(), lines);
        let terminal = terminal.with_bundles(project.shorten(&bundles));
        let terminal = terminal.with_records(project.shorten(&records));
        match &arguments.serial {
            Some(line) => terminal.over(line),
            None => terminal,
        }
    };
    match arguments.format {
        Format::Human => readers.add(terminal(Shown::All)),
        Format::Terse => readers.add(terminal(Shown::Failed)),
        Format::Json => readers.add(json::Lines::new(stdout())),
    }
    readers.add(Bundles { path: bundles });
    if arguments.record {
        readers.add(Records { path: records });
    }
    readers.add(latest::File { path: project.latest_run()?, left_out: selection.left_out.clone() });
    if let Some(summary) = github::Summary::wanted() {
        readers.add(summary);
    }
    if let Some(path) = &arguments.json {
        readers.add(json::file(path)?);
    }
    if let Some(path) = &arguments.junit {
        readers.add(junit::File::new(path.clone()));
    }
    Ok(readers)
}

/// What the latest run left, if the arguments ask for it.
#[derive(Debug, PartialEq, Eq)]
enum Latest {
    NotWanted,
    NoRun,
    Left(Vec<String>),
}

fn latest(project: &Project, arguments: &Test) -> Result<Latest> {
    if arguments.rerun.is_none() {
        return Ok(Latest::NotWanted);
    }
    Ok(latest::read(&project.latest_run()?)?.map_or(Latest::NoRun, Latest::Left))
}

/// The tests that the arguments ask for.
struct Selection {
    tests: Vec<Scenario>,
    /// Tests that failed in the latest run, if it is run again, and are not asked for.
    left_out: Vec<String>,
    /// The names of all tests there are.
    known: Vec<String>,
}

impl Selection {
    fn of(arguments: &Test, scenarios: Result<Vec<Scenario>>, latest: &Latest) -> Result<Self> {
        let how = if arguments.exact { Match::Exact } else { Match::Part };
        let scenarios = scenarios.context(ListingFailed)?;
        let mut candidates = select(scenarios, Kind::Test, &[], how);
        let known = candidates.iter().flat_map(Scenario::snapshots).collect();
        let mut left_out = Vec::new();
        if let Latest::Left(names) = latest {
            // Those that are gone since then need not pass any more.
            candidates.retain(|test| names.contains(&test.name));
            left_out.extend(candidates.iter().map(|test| test.name.clone()));
        }
        let mut tests = select(candidates, Kind::Test, &arguments.filters, how);
        if let Some(partition) = arguments.partition {
            tests = partition.of(tests);
        }
        left_out.retain(|name| tests.iter().all(|test| test.name != *name));
        Ok(Self { tests, left_out, known })
    }

    /// Takes those out that can't run on a machine at a line. One of them that failed in the latest run is still to pass.
    fn leave_for_line(&mut self, latest: Latest) -> Vec<Skipped> {
        let (left, skipped) = suite::for_line(std::mem::take(&mut self.tests));
        self.tests = left;
        if let Latest::Left(names) = latest {
            let names = names.into_iter().filter(|name| skipped.iter().any(|skipped| skipped.name == *name));
            self.left_out.extend(names);
        }
        skipped
    }

    /// Says why no test is run.
    fn nothing(&self, arguments: &Test) -> Exit {
        if arguments.rerun.is_some() && self.left_out.is_empty() {
            eprintln!("no test failed in the latest run");
            return Exit::Good;
        }
        match arguments.filters.as_slice() {
            _ if arguments.partition.is_some() => eprintln!("no test is in this share"),
            [] => eprintln!("there are no tests: add one to fixtures/guest/examples"),
            filters => eprintln!(
                "no test{} is called {}: `cargo xtask test --list` lists them",
                if arguments.rerun.is_some() { " that failed" } else { "" },
                filters.join(" or ")
            ),
        }
        Exit::NoTests
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::{Arguments, Command};
    use clap::Parser as _;

    fn arguments(words: &str) -> Test {
        let words = ["xtask", "test"].into_iter().chain(words.split_whitespace());
        match Arguments::parse_from(words).command {
            Command::Test(arguments) => arguments,
            _ => panic!("the command is test"),
        }
    }

    /// What is run of the tests a1, a2 and b, and what is left out.
    fn select(words: &str, latest: Latest) -> (Vec<String>, Vec<String>) {
        let scenario = |name| Scenario::of_machine(name, "", &[]).expect("a machine");
        let scenarios = ["a1", "a2", "b"].into_iter().map(scenario).collect();
        let selection = Selection::of(&arguments(words), Ok(scenarios), &latest).expect("a selection");
        (selection.tests.into_iter().map(|test| test.name).collect(), selection.left_out)
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn filters_come_before_shares() {
        assert_eq!(select("", Latest::NotWanted).0, ["a1", "a2", "b"]);
        assert_eq!(select("a --partition slice:2/2", Latest::NotWanted).0, ["a2"]);
        assert_eq!(select("--exact a1 a", Latest::NotWanted), (names(&["a1"]), names(&[])));
    }

    #[test]
    fn a_rerun_is_of_what_the_latest_run_left() {
        let left = || Latest::Left(names(&["a2", "b", "deleted"]));
        assert_eq!(select("-R latest", left()), (names(&["a2", "b"]), names(&[])));
        assert_eq!(select("-R latest b", left()), (names(&["b"]), names(&["a2"])));
        assert_eq!(select("-R latest a1", left()), (names(&[]), names(&["a2", "b"])));
        assert_eq!(select("-R latest", Latest::Left(vec![])), (names(&[]), names(&[])));
    }

    #[test]
    fn what_cannot_run_at_a_line_is_still_to_pass() {
        let scenario = |name, text| Scenario::of_machine(name, text, &[]).expect("a machine");
        let scenarios = || Ok(vec![scenario("a", ""), scenario("b", "firmware = \"seabios\"")]);
        for (latest, left) in [(Latest::NotWanted, names(&[])), (Latest::Left(names(&["b"])), names(&["b"]))]
        {
            let mut selection = Selection::of(&arguments("b"), scenarios(), &latest).expect("a selection");
            let skipped = selection.leave_for_line(latest);
            assert_eq!((selection.tests.len(), skipped.len(), selection.left_out), (0, 1, left));
        }
    }

    #[test]
    fn the_last_word_on_failures_counts() {
        assert!(arguments("--no-fail-fast --fail-fast").fail_fast);
        assert!(!arguments("--fail-fast --no-fail-fast").fail_fast);
    }
}
