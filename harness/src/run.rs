//! One scenario from its boot image to its outcome.

use crate::build::Build;
use crate::image::{Image, loadable};
use crate::machine::{Config, Machine, PATIENCE, Timing};
use crate::observe::{Event, Record, Wish, watch};
use crate::project::Project;
use crate::scenario::{Kind, Scenario, with_machines};
use crate::snapshot::{Comparison, Snapshot, render};
use crate::symbols::Symbols;
use crate::system::{Guest, System};
use crate::verdict::{End, Ends, judge};
use anyhow::{Context as _, Result, bail};
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a machine may run, in the host's time, when nobody says otherwise.
pub const LIMIT: Duration = Duration::from_secs(20);

/// All that scenarios have in common: the built images and the host's tools.
pub struct Workshop {
    /// The source tree.
    pub project: Project,
    /// What was built from it.
    pub build: Build,
    system: System,
    /// What of the services' programs is loaded, by file name.
    services: Vec<(String, Vec<u8>)>,
    artefacts: PathBuf,
    qemu: PathBuf,
    launcher: PathBuf,
}

/// What a scenario came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The scenario's name.
    pub name: String,
    /// How it had to end.
    pub declared: Ends,
    /// How it ended.
    pub end: End,
    /// What happened.
    pub record: Record,
    /// How that compares with the reviewed snapshot.
    pub comparison: Comparison,
    /// Complaints, each with where in the source its addresses are.
    pub complaints: Vec<(String, Vec<String>)>,
    /// How long it took.
    pub took: Duration,
}

/// What an outcome means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It ended as declared, and looks as reviewed.
    Passed,
    /// It ended in another way.
    WrongEnd,
    /// It ended as declared, but doesn't look as reviewed.
    WrongSnapshot,
}

impl Outcome {
    /// What the outcome means.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match self.comparison {
            _ if !self.declared.allow(&self.end) => Verdict::WrongEnd,
            Comparison::Same => Verdict::Passed,
            Comparison::Different(_) | Comparison::New | Comparison::NotMade => Verdict::WrongSnapshot,
        }
    }
}

impl Workshop {
    /// Opens a workshop. `launcher` is a program that calls [`tied::exec`](crate::machine::tied::exec).
    ///
    /// # Errors
    /// If a service's program can't be read or loaded.
    pub fn open(project: Project, system: System, build: Build, tools: Tools) -> Result<Self> {
        let artefacts = project.artefacts()?;
        crate::machine::remove_stale(&artefacts);
        let read = |(name, path): (&String, &PathBuf)| Ok((name.clone(), read_loadable(path)?));
        let services = build.services.iter().map(read).collect::<Result<_>>()?;
        Ok(Self { project, build, system, services, artefacts, qemu: tools.qemu, launcher: tools.launcher })
    }

    /// Everything that can be run, sorted by name.
    ///
    /// # Errors
    /// If a guest program or a file of `fixtures/machines` isn't understood.
    pub fn scenarios(&self) -> Result<Vec<Scenario>> {
        scenarios(&self.project, &self.build)
    }

    /// Runs a scenario and judges it. Whatever goes wrong is in the outcome.
    #[must_use]
    pub fn test(&self, scenario: &Scenario, limit: Option<Duration>) -> Outcome {
        let started = Instant::now();
        let limit = limit.or(scenario.limit).unwrap_or(LIMIT);
        let record = self.observe(scenario, Timing::Deterministic, limit, |_| Wish::GoOn);
        let record = record.unwrap_or_else(|error| Record::of_trouble(format!("{error:#}")));
        let end = judge(&record, scenario.main());
        let comparison = match &end {
            // It would only be reviewed by mistake.
            end if !scenario.ends.allow(end) => Comparison::NotMade,
            end => self.compare(scenario, &render(end, &record)),
        };
        Outcome {
            name: scenario.name.clone(),
            declared: scenario.ends,
            complaints: self.explain(scenario, &record),
            end,
            record,
            comparison,
            took: started.elapsed(),
        }
    }

    /// Boots a scenario's machine and watches it.
    ///
    /// # Errors
    /// If there is something wrong with the scenario, or QEMU doesn't start.
    pub fn observe(
        &self,
        scenario: &Scenario,
        timing: Timing,
        limit: Duration,
        watcher: impl FnMut(&Event) -> Wish,
    ) -> Result<Record> {
        Ok(watch(self.boot(scenario, timing)?, limit, watcher))
    }

    /// Boots a scenario's machine.
    ///
    /// # Errors
    /// If there is something wrong with the scenario, or QEMU doesn't start.
    pub fn boot(&self, scenario: &Scenario, timing: Timing) -> Result<Machine> {
        let image = self.image(scenario)?;
        Machine::start(&Config {
            qemu: &self.qemu,
            launcher: &self.launcher,
            artefacts: &self.artefacts,
            kernel: &self.build.kernel,
            image: image.as_deref(),
            command_line: &scenario.command_line,
            memory_mib: scenario.memory_mib,
            firmware: scenario.firmware,
            timing,
            patience: PATIENCE,
        })
    }

    /// Makes a scenario's boot image, if it has one.
    fn image(&self, scenario: &Scenario) -> Result<Option<Vec<u8>>> {
        let guests = scenario.program.as_ref().map(|program| program.guests()).unwrap_or_default();
        scenario.spoil.archive(image(&self.system, &self.build, &self.services, &guests)?)
    }

    fn compare(&self, scenario: &Scenario, text: &str) -> Comparison {
        let snapshot = Snapshot {
            directory: &self.project.snapshots(),
            name: &scenario.name,
            description: &scenario.rows.join(", "),
        };
        snapshot.compare(text)
    }

    fn explain(&self, scenario: &Scenario, record: &Record) -> Vec<(String, Vec<String>)> {
        let mut files = vec![self.build.kernel.clone()];
        files.extend(self.build.services.values().cloned());
        let program = scenario.program.as_ref().and_then(|program| self.build.guest(&program.file));
        files.extend(program.map(Path::to_path_buf));
        let mut symbols = Symbols::new(&self.project, files);
        let explained = record.complaints().map(|line| (line.to_string(), symbols.explain(&line.text)));
        explained.collect()
    }
}

/// The programs of the host that a [`Workshop`] needs.
#[derive(Clone, Debug)]
pub struct Tools {
    /// QEMU.
    pub qemu: PathBuf,
    /// A program that calls [`tied::exec`](crate::machine::tied::exec).
    pub launcher: PathBuf,
}

/// Everything that can be run, sorted by name. Nothing is booted for that.
///
/// # Errors
/// If a guest program or a file of `fixtures/machines` isn't understood.
pub fn scenarios(project: &Project, build: &Build) -> Result<Vec<Scenario>> {
    let read = |(name, path): (&String, &PathBuf)| Scenario::of_program(name, &read(path)?);
    let programs = build.guest_tests.iter().map(read).collect::<Result<Vec<_>>>()?;
    with_machines(programs, &project.machines())
}

/// The tests among them that the user's filters mean: all, if there are no filters.
#[must_use]
pub fn select(scenarios: Vec<Scenario>, kind: Kind, filters: &[String], how: Match) -> Vec<Scenario> {
    let is_meant = |scenario: &Scenario, filter: &String| match how {
        Match::Part => scenario.matches(filter),
        Match::Exact => scenario.name == *filter,
    };
    let is_selected = |scenario: &Scenario| {
        scenario.kind == kind
            && (filters.is_empty() || filters.iter().any(|filter| is_meant(scenario, filter)))
    };
    scenarios.into_iter().filter(is_selected).collect()
}

/// How a filter is compared with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    /// The name contains it, or it is one of the rows.
    Part,
    /// The name is equal to it.
    Exact,
}

/// The boot image of a machine with all services and one guest program.
///
/// # Errors
/// If there is no such program, or a file can't be read.
pub fn image_with(project: &Project, system: &System, build: &Build, program: &str) -> Result<Vec<u8>> {
    let description = match build.guest_tests.get(program) {
        Some(path) => Scenario::of_program(program, &read(path)?)?.program,
        None => None,
    };
    let main = || Guest {
        name: program.to_owned(),
        file: program.to_owned(),
        class: crate::system::Class::Program,
        ends_machine: true,
        heap_bytes: None,
    };
    let guests = description.map_or_else(|| vec![main()], |program| program.guests());
    let read = |(name, path): (&String, &PathBuf)| Ok((name.clone(), read_loadable(path)?));
    let services: Vec<_> = build.services.iter().map(read).collect::<Result<_>>()?;
    let archive = image(system, build, &services, &guests)?.to_archive();
    archive.with_context(|| format!("failed to make a boot image in {}", project.root().display()))
}

fn image<'a>(
    system: &System,
    build: &Build,
    services: &'a [(String, Vec<u8>)],
    guests: &[Guest],
) -> Result<Image<'a>> {
    let entries = system.entries(guests)?;
    let mut files: Vec<(String, Cow<'a, [u8]>)> =
        services.iter().map(|(name, contents)| (name.clone(), Cow::from(contents))).collect();
    if let Some(guest) = guests.iter().find(|guest| build.services.contains_key(&guest.file)) {
        bail!("the program {} is called like a service's: rename it", guest.file);
    }
    for guest in guests {
        if files.iter().all(|(name, _)| *name != guest.file) {
            let path = build
                .guest(&guest.file)
                .with_context(|| format!("there is no guest program called {}", guest.file))?;
            files.push((guest.file.clone(), Cow::from(read_loadable(path)?)));
        }
    }
    Ok(Image::new(entries, files))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("failed to read {}", path.display()))
}

fn read_loadable(path: &Path) -> Result<Vec<u8>> {
    loadable(&read(path)?).with_context(|| format!("failed to take {} into the boot image", path.display()))
}
