//! What there is to run: one scenario per guest program, and one per file of `fixtures/machines`.
//!
//! A guest program describes itself in a section of its ELF file, [`SECTION`], so that tests are
//! listed without booting anything, and adding a test is adding a file.

#[cfg(test)]
mod tests;

use crate::image::Spoil;
use crate::machine::{DEFAULT_MEMORY_MIB, Firmware, Timing};
use crate::project::Project;
use crate::snapshot::Facet;
use crate::system::{Class, Guest, Role};
use crate::verdict::Ends;
use anyhow::{Context, Result, bail};
use object::{Object as _, ObjectSection as _};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The section of a guest program that describes it.
pub const SECTION: &str = ".tessera.test";

/// Something to boot and to judge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// Its name, and that of its snapshot.
    pub name: String,
    /// What it is for.
    pub kind: Kind,
    /// The rows of the mission that it proves.
    pub rows: Vec<String>,
    /// How its machine must end.
    pub ends: Ends,
    /// The program that the machine runs, if it runs any besides the services.
    pub program: Option<Program>,
    /// Machine code that it runs in place of the kernel, if it does.
    pub bare: Option<Vec<u8>>,
    /// What is wrong with its boot image.
    pub spoil: Spoil,
    /// The machine's memory.
    pub memory_mib: u32,
    /// What runs before the kernel.
    pub firmware: Firmware,
    /// The kernel's parameters.
    pub command_line: String,
    /// What time is for its machine.
    pub clock: Timing,
    /// Why two runs of it may differ, if they may. Only such a test is ever tried again.
    pub nondeterministic: Option<String>,
    /// Whether two runs of it must differ, which proves that the check for that sees something.
    pub is_canary: bool,
    /// For how long its machine may be busy, if it says that itself: in the machine's own time, which is the host's with
    /// [`Timing::RealTime`].
    pub limit: Option<Duration>,
    /// What else of it is compared than how it ends and what it prints.
    pub facets: BTreeSet<Facet>,
    /// Why it can't run on a machine at the other end of a serial line, if the test says so.
    pub needs_qemu: Option<String>,
}

/// What a scenario is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// To be compared with a snapshot.
    Test,
    /// To be measured.
    Bench,
}

/// A guest program, and the processes that run it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// The program's file.
    pub file: String,
    /// What its main process may do.
    pub class: Class,
    /// Processes that start before the main one, from the same file. They may do everything.
    pub processes: Vec<String>,
    /// Which of them play the parts of servers.
    pub roles: BTreeMap<String, Role>,
    /// Who takes whose signals, by name.
    pub managers: BTreeMap<String, String>,
    /// Bytes of heap of each, if not as many as a program's.
    pub heap_bytes: Option<u32>,
    /// Services that start after the main process and only wait: how many.
    pub crowd: u16,
}

/// What the parts of a crowd are called, each with a number.
const CROWD: &str = "crowd";

/// What a description calls the main process.
pub(crate) const MAIN: &str = "main";

impl Program {
    /// The name of the main process, which the machine runs for.
    #[must_use]
    pub fn main(&self) -> &str {
        &self.file
    }

    /// Its processes, in the order in which they start.
    #[must_use]
    pub fn guests(&self) -> Vec<Guest> {
        let full = |name: &String| if name == MAIN { self.file.clone() } else { name.clone() };
        let guest = |part: &str, class, ends_machine| Guest {
            name: full(&part.to_owned()),
            file: self.file.clone(),
            class,
            ends_machine,
            role: self.roles.get(part).copied(),
            signal_manager: self.managers.get(part).map(full),
            heap_bytes: self.heap_bytes,
        };
        let helpers = self.processes.iter().map(|name| guest(name, Class::Service, false));
        let crowd = (1..=self.crowd).map(|number| Guest {
            heap_bytes: Some(0),
            ..guest(&format!("{CROWD}-{number}"), Class::Idle, false)
        });
        helpers.chain([guest(MAIN, self.class, true)]).chain(crowd).collect()
    }

    /// Checks that roles and managers are given to processes that there are.
    fn check(&self) -> Result<()> {
        let is_part = |name: &String| name == MAIN || self.processes.contains(name);
        match self.roles.keys().chain(self.managers.keys()).find(|name| !is_part(name)) {
            Some(name) => bail!("roles or managers names {name}, which is no process of the test"),
            None => Ok(()),
        }
    }
}

/// What a guest program says about itself.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    kind: Kind,
    #[serde(default)]
    rows: Vec<String>,
    #[serde(default)]
    class: Class,
    #[serde(default)]
    processes: Vec<String>,
    heap_mib: Option<u8>,
    #[serde(default)]
    crowd: u16,
    #[serde(default)]
    roles: BTreeMap<String, Role>,
    #[serde(default)]
    managers: BTreeMap<String, String>,
    #[serde(default)]
    ends: Ends,
    memory_mib: Option<u32>,
    #[serde(default)]
    firmware: Firmware,
    #[serde(default)]
    command_line: String,
    #[serde(default)]
    clock: Timing,
    nondeterministic: Option<String>,
    #[serde(default)]
    canary: bool,
    limit_ms: Option<u32>,
    #[serde(default)]
    facets: BTreeSet<Facet>,
    needs_qemu: Option<String>,
}

/// A file of `fixtures/machines`.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct MachineFile {
    program: Option<String>,
    bare: Option<Vec<u8>>,
    #[serde(default)]
    image: Spoil,
    #[serde(default)]
    rows: Vec<String>,
    #[serde(default)]
    ends: Ends,
    memory_mib: Option<u32>,
    #[serde(default)]
    firmware: Firmware,
    #[serde(default)]
    command_line: String,
    #[serde(default)]
    clock: Timing,
    nondeterministic: Option<String>,
    #[serde(default)]
    canary: bool,
    limit_ms: Option<u32>,
    #[serde(default)]
    facets: BTreeSet<Facet>,
    needs_qemu: Option<String>,
}

impl Scenario {
    /// Reads what a guest program says about itself.
    ///
    /// # Errors
    /// If it says nothing, or something that isn't understood.
    pub fn of_program(name: &str, elf: &[u8]) -> Result<Self> {
        let read = || -> Result<Self> {
            let description: Description = toml::from_str(section(elf)?)?;
            check_command_line(&description.command_line)?;
            let program = Program {
                file: name.to_owned(),
                class: description.class,
                processes: description.processes,
                roles: description.roles,
                managers: description.managers,
                heap_bytes: description.heap_mib.map(|mib| u32::from(mib) << 20),
                crowd: description.crowd,
            };
            program.check()?;
            check_reason(description.clock, description.canary, description.nondeterministic.as_deref())?;
            let reason = description.nondeterministic.as_deref();
            check_facets(&description.facets, description.kind, description.ends, reason)?;
            check_need(description.needs_qemu.as_deref())?;
            Ok(Self {
                name: name.to_owned(),
                kind: description.kind,
                rows: description.rows,
                ends: description.ends,
                program: Some(program),
                bare: None,
                spoil: Spoil::default(),
                memory_mib: memory(description.memory_mib)?,
                firmware: description.firmware,
                command_line: description.command_line,
                clock: description.clock,
                nondeterministic: description.nondeterministic,
                is_canary: description.canary,
                limit: limit(description.limit_ms)?,
                facets: description.facets,
                needs_qemu: description.needs_qemu,
            })
        };
        read().with_context(|| format!("failed to read what the guest program {name} says about itself"))
    }

    /// Reads a file of `fixtures/machines`. Its program is one of `programs`.
    ///
    /// # Errors
    /// If something in it isn't understood, or there is no such program.
    pub fn of_machine(name: &str, text: &str, programs: &[Self]) -> Result<Self> {
        let file: MachineFile = toml::from_str(text)?;
        check_command_line(&file.command_line)?;
        check_reason(file.clock, file.canary, file.nondeterministic.as_deref())?;
        check_facets(&file.facets, Kind::Test, file.ends, file.nondeterministic.as_deref())?;
        if file.bare.is_some() && !file.facets.is_empty() {
            bail!("facets are the kernel's to report, and a bare machine has none");
        }
        check_need(file.needs_qemu.as_deref())?;
        let program = match &file.program {
            None => None,
            Some(wanted) => {
                let known = programs.iter().find(|known| known.name == *wanted);
                let known = known
                    .with_context(|| format!("program = {wanted:?} is no guest program of fixtures/guest"))?;
                known.program.clone()
            }
        };
        Ok(Self {
            name: name.to_owned(),
            kind: Kind::Test,
            rows: file.rows,
            ends: file.ends,
            program,
            bare: file.bare,
            spoil: file.image,
            memory_mib: memory(file.memory_mib)?,
            firmware: file.firmware,
            command_line: file.command_line,
            clock: file.clock,
            nondeterministic: file.nondeterministic,
            is_canary: file.canary,
            limit: limit(file.limit_ms)?,
            facets: file.facets,
            needs_qemu: file.needs_qemu,
        })
    }

    /// A machine with that program and nothing else to say about it.
    #[must_use]
    pub fn plain(program: &str) -> Self {
        Self {
            name: program.to_owned(),
            kind: Kind::Test,
            rows: Vec::new(),
            ends: Ends::default(),
            program: Some(Program { file: program.to_owned(), ..Program::default() }),
            bare: None,
            spoil: Spoil::default(),
            memory_mib: DEFAULT_MEMORY_MIB,
            firmware: Firmware::default(),
            command_line: String::new(),
            clock: Timing::default(),
            nondeterministic: None,
            is_canary: false,
            limit: None,
            facets: BTreeSet::new(),
            needs_qemu: None,
        }
    }

    /// The name of the process that the machine runs for.
    #[must_use]
    pub fn main(&self) -> Option<&str> {
        self.program.as_ref().map(Program::main)
    }

    /// The names of its snapshots.
    pub fn snapshots(&self) -> impl Iterator<Item = String> {
        let facets = self.facets.iter().map(|facet| facet.snapshot_name(&self.name));
        std::iter::once(self.name.clone()).chain(facets)
    }

    /// The same, whose kernel reports what a facet shows.
    pub(crate) fn showing(&self, facet: Facet) -> Self {
        let command_line = match self.command_line.as_str() {
            "" => facet.parameter(),
            others => format!("{others} {}", facet.parameter()),
        };
        Self { command_line, ..self.clone() }
    }

    /// Why it can't run on a machine at the other end of a serial line, which is as it is and runs the kernel.
    #[must_use]
    pub fn why_not_over_line(&self) -> Option<String> {
        if self.bare.is_some() {
            return Some("it runs machine code in place of the kernel".into());
        }
        if self.firmware != Firmware::default() {
            return Some("it is about another firmware than the machine may have".into());
        }
        if self.memory_mib != DEFAULT_MEMORY_MIB {
            return Some(format!("it is about a machine with {} MiB of memory", self.memory_mib));
        }
        self.needs_qemu.clone()
    }

    /// The file that makes it.
    #[must_use]
    pub fn source(&self, project: &Project) -> PathBuf {
        match &self.program {
            Some(program) if program.file == self.name => {
                project.guest_tests().join(format!("examples/{}.rs", self.name))
            }
            _ => project.machines().join(format!("{}.toml", self.name)),
        }
    }

    /// Tells whether a user who says `filter` means this one: part of its name, or one of its rows.
    #[must_use]
    pub fn matches(&self, filter: &str) -> bool {
        self.name.contains(filter) || self.rows.iter().any(|row| row == filter)
    }
}

/// Adds the scenarios of a directory of machines to those of the guest programs, and sorts them.
///
/// # Errors
/// If a file can't be read or isn't understood, or two scenarios have one name.
pub fn with_machines(mut scenarios: Vec<Scenario>, directory: &Path) -> Result<Vec<Scenario>> {
    let programs = scenarios.clone();
    for path in toml_files(directory)? {
        let read = || -> Result<Scenario> {
            let name = path.file_stem().and_then(|stem| stem.to_str()).context("its name is no text")?;
            // It becomes the name of files and directories, and stands in commands.
            if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
                bail!("a test's name is of letters, digits and underscores: rename the file");
            }
            Scenario::of_machine(name, &std::fs::read_to_string(&path)?, &programs)
        };
        scenarios.push(read().with_context(|| format!("failed to read {}", path.display()))?);
    }
    scenarios.sort_by(|a, b| a.name.cmp(&b.name));
    let mut names = BTreeSet::new();
    if let Some(twin) = scenarios.iter().find(|scenario| !names.insert(&scenario.name)) {
        bail!(
            "two tests are called {}: rename the guest program or the file of fixtures/machines",
            twin.name
        );
    }
    Ok(scenarios)
}

fn toml_files(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("failed to list {}", directory.display())),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| format!("failed to list {}", directory.display()))?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            paths.push(path);
        }
    }
    Ok(paths)
}

/// The text of the section, without the zeros that may pad it.
fn section(elf: &[u8]) -> Result<&str> {
    let file = object::File::parse(elf).context("it is no ELF file")?;
    let section = file.section_by_name(SECTION).with_context(|| {
        format!("it has no section {SECTION}: begin the program with the test! macro of fixtures/guest")
    })?;
    let bytes = section.data().with_context(|| format!("section {SECTION} is damaged"))?;
    let size = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    std::str::from_utf8(&bytes[..size]).with_context(|| format!("section {SECTION} is no text"))
}

/// With less memory the kernel can't even be loaded, so it can't say that there is too little.
const LEAST_MEMORY_MIB: u32 = 3;

fn memory(mib: Option<u32>) -> Result<u32> {
    match mib {
        Some(mib) if mib < LEAST_MEMORY_MIB => {
            bail!(
                "memory_mib = {mib} is too little: the kernel itself lies at 2 MiB and needs {LEAST_MEMORY_MIB}"
            )
        }
        _ => Ok(mib.unwrap_or(DEFAULT_MEMORY_MIB)),
    }
}

fn limit(limit_ms: Option<u32>) -> Result<Option<Duration>> {
    match limit_ms {
        Some(0) => bail!("limit_ms = 0 is no time at all"),
        limit_ms => Ok(limit_ms.map(|limit_ms| Duration::from_millis(limit_ms.into()))),
    }
}

fn check_command_line(text: &str) -> Result<()> {
    if text.chars().any(char::is_control) {
        bail!("command_line has control characters, which a kernel's command line can't have");
    }
    Ok(())
}

fn check_facets(
    facets: &BTreeSet<Facet>,
    kind: Kind,
    ends: Ends,
    nondeterministic: Option<&str>,
) -> Result<()> {
    let Some(first) = facets.first() else { return Ok(()) };
    let reports_costs = matches!(ends, Ends::Exited(_) | Ends::ServiceFault);
    if kind == Kind::Bench {
        bail!("facets = [\"{first}\"] is for tests: nothing is compared of a benchmark");
    }
    if nondeterministic.is_some() {
        bail!("facets = [\"{first}\"] can't be compared in a test whose runs may differ");
    }
    if facets.contains(&Facet::Cost) && !reports_costs {
        bail!("facets = [\"cost\"] is not known of a machine that ends with \"{ends}\"");
    }
    Ok(())
}

fn check_reason(clock: Timing, is_canary: bool, reason: Option<&str>) -> Result<()> {
    match reason {
        Some(reason) if reason.trim().is_empty() => {
            bail!("nondeterministic must say why two runs may differ")
        }
        None if clock == Timing::RealTime => {
            bail!("clock = \"host\" makes runs differ: say in nondeterministic why the test needs that")
        }
        None if is_canary => bail!("a canary must say in nondeterministic why two runs of it differ"),
        _ => Ok(()),
    }
}

fn check_need(reason: Option<&str>) -> Result<()> {
    match reason {
        Some(reason) if reason.trim().is_empty() => {
            bail!("needs_qemu must say why the test can't run over a serial line")
        }
        _ => Ok(()),
    }
}
