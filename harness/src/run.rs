//! One scenario from its boot image to its outcome.

use crate::build::{Build, MONITOR};
use crate::determinism::{Difference, Repetition, first_difference};
use crate::dump::Dump;
use crate::image::{Image, bare, loadable};
use crate::inspect::{self, PostMortem};
use crate::machine::{
    self, AtPanic, Config, Directory, DumpFile, Kernel, Machine, Next, Output, PATIENCE, Timing,
};
use crate::observe::{Event, KEPT_BYTES, Record, Wish, escape, watch, watch_line};
use crate::project::Project;
use crate::recording::{self, Recording};
use crate::scenario::{Kind, Scenario, with_machines};
use crate::serial::host::{Packed, Plan};
use crate::serial::line::Line;
use crate::snapshot::{Comparison, Facet, Snapshot, changes, render};
use crate::symbols::Symbols;
use crate::system::{Guest, System};
use crate::verdict::{End, Ends, GuestTime, Hang, judge_in_time};
use anyhow::{Context as _, Result, bail};
use std::borrow::Cow;
use std::ffi::OsString;
use std::hash::{BuildHasher as _, RandomState};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// For how long a machine may be busy, in its own time, when nobody says otherwise.
pub const LIMIT: Duration = Duration::from_secs(2);
/// How long a machine may run, in the host's time, when nobody says otherwise. Long enough for all that may
/// be busy for [`LIMIT`], on a host that is a dozen times as slow as a usual one.
pub const TIMEOUT: Duration = Duration::from_secs(120);

/// How long a run may take on a machine at the other end of a line, in its time, when nobody says otherwise: nobody can
/// stop it before.
const LINE_TIMEOUT: Duration = Duration::from_secs(20);

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
    snapshots: PathBuf,
    qemu: PathBuf,
    launcher: PathBuf,
    /// The machine that runs tests in place of QEMU, if there is one.
    line: Option<Mutex<Line>>,
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
    /// How its facets compare with theirs.
    pub facets: Vec<(Facet, Comparison)>,
    /// The facet whose run didn't end as declared, if one didn't: then this is the outcome of that run.
    pub strayed: Option<Facet>,
    /// Complaints, each with where in the source its addresses are.
    pub complaints: Vec<(String, Vec<String>)>,
    /// What everybody was doing when it was stopped, if it was and a dump could be made; else why not.
    pub post_mortem: Option<Result<PostMortem, String>>,
    /// How that compares with another run.
    pub repetition: Repetition,
    /// How long it took.
    pub took: Duration,
    /// Which try it is, counted from 1.
    pub attempt: u32,
    /// How it was tested.
    pub how: How,
    /// The serial port at which its machine was, if it was not QEMU.
    pub line: Option<PathBuf>,
    /// What its machine was started with, if it failed or was to be recorded, and there was a machine.
    pub setup: Option<Setup>,
}

/// What a machine was started with.
#[derive(Clone, Debug)]
pub struct Setup {
    /// QEMU and its arguments, see [`Config::by_hand`].
    pub command: Vec<OsString>,
    /// The kernel.
    pub kernel: Vec<u8>,
    /// The boot image, if there was one.
    pub image: Option<Vec<u8>>,
    /// The files of the programs in it, with their debug information.
    pub programs: Vec<PathBuf>,
    /// The run again, recorded; or why there is none.
    pub recording: Result<Recording, String>,
}

/// A run, and what it means.
struct Judged {
    record: Record,
    post_mortem: Option<Result<PostMortem, String>>,
    end: End,
}

/// What an outcome means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It ended as declared, and looks as reviewed.
    Passed,
    /// It ended in another way.
    WrongEnd,
    /// It ended as declared, but two runs differ, or are equal where they must differ.
    WrongRepetition,
    /// It ended as declared, but doesn't look as reviewed.
    WrongSnapshot,
}

impl Outcome {
    /// What everybody was doing when the machine was stopped, if it was and that was found out.
    #[must_use]
    pub fn examined(&self) -> Option<&PostMortem> {
        found(&self.post_mortem)
    }

    /// The run again, recorded, or why there is none; nothing if it wasn't to be recorded.
    #[must_use]
    pub fn recording(&self) -> Option<&Result<Recording, String>> {
        self.setup.as_ref().map(|setup| &setup.recording)
    }

    /// Forgets what is in the files of its machine and of its record: of many tests they would fill the memory.
    pub fn forget_files(&mut self) {
        let Some(setup) = &mut self.setup else { return };
        (setup.kernel, setup.image) = (Vec::new(), None);
        if let Ok(recording) = &mut setup.recording {
            (recording.log, recording.disk) = (Vec::new(), Vec::new());
        }
    }

    /// What the outcome means.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        if !self.declared.allow(&self.end) {
            return Verdict::WrongEnd;
        }
        if matches!(self.repetition, Repetition::Different(_) | Repetition::Blind) {
            return Verdict::WrongRepetition;
        }
        let is_good =
            |comparison: &Comparison| matches!(comparison, Comparison::Same | Comparison::Accepted(_));
        let all_are_good = self.comparisons().all(|(_, comparison)| is_good(comparison));
        if all_are_good { Verdict::Passed } else { Verdict::WrongSnapshot }
    }

    /// How everything compares with what was reviewed; what a facet shows is told by its name.
    pub fn comparisons(&self) -> impl Iterator<Item = (Option<Facet>, &Comparison)> {
        let facets = self.facets.iter().map(|(facet, comparison)| (Some(*facet), comparison));
        std::iter::once((None, &self.comparison)).chain(facets)
    }
}

/// How a scenario is tested.
#[derive(Clone, Copy, Debug, Default)]
pub struct How {
    /// For how long each machine may be busy, if not what the scenario says itself.
    pub limit: Option<Duration>,
    /// How long each run may take on the host, if not [`TIMEOUT`].
    pub timeout: Option<Duration>,
    /// How often it is run.
    pub runs: Runs,
    /// What is recorded.
    pub recorded: Recorded,
}

/// Of which tests there is a record afterwards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Recorded {
    /// Those that failed.
    #[default]
    Failures,
    /// All.
    All,
}

/// How often a scenario is run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Runs {
    /// Once.
    #[default]
    Once,
    /// Twice, to compare the runs.
    Twice,
}

/// How long a machine may run.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// While it is busy, in its own time, as far as that is counted in instructions.
    pub busy: Option<Duration>,
    /// In the host's time: against kernels that hang, and hosts that are too slow.
    pub host: Duration,
}

impl Limits {
    /// Those of a scenario that is tested so.
    fn of(scenario: &Scenario, how: How) -> Self {
        let limit = how.limit.or(scenario.limit);
        match scenario.clock {
            Timing::Deterministic => {
                Self { busy: Some(limit.unwrap_or(LIMIT)), host: how.timeout.unwrap_or(TIMEOUT) }
            }
            Timing::RealTime => Self { busy: None, host: how.timeout.or(limit).unwrap_or(TIMEOUT) },
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
        let snapshots = project.snapshots();
        let Tools { qemu, launcher } = tools;
        Ok(Self { project, build, system, services, artefacts, snapshots, qemu, launcher, line: None })
    }

    /// The same with another kernel.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn with_kernel(&self, kernel: PathBuf) -> Result<Self> {
        let tools = Tools { qemu: self.qemu.clone(), launcher: self.launcher.clone() };
        let build = Build { kernel, ..self.build.clone() };
        Self::open(self.project.clone(), self.system.clone(), build, tools)
    }

    /// Tests are run on the machine at the other end of a line from now on. `scenarios` that can't, see
    /// [`for_line`](crate::suite::for_line), are for the caller to leave out.
    #[must_use]
    pub fn over(self, line: Line) -> Self {
        Self { line: Some(Mutex::new(line)), ..self }
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
    pub fn test(&self, scenario: &Scenario, how: How) -> Outcome {
        let started = Instant::now();
        let limits = Limits::of(scenario, how);
        let mut symbols = Symbols::new(&self.project, self.images(scenario));
        let record = self.run(scenario, how, limits);
        let mut repetition = self.repeat(scenario, how, limits, &record);
        let mut judged = self.judge(scenario, record, limits, &mut symbols);
        let comparison = self.compare(scenario, &judged);
        let mut facets = Vec::new();
        let mut strayed = None;
        // Over a line they would take minutes, and time would be another one.
        let is_compared = scenario.ends.allow(&judged.end) && self.line.is_none();
        for &facet in scenario.facets.iter().filter(|_| is_compared) {
            let showing = scenario.showing(facet);
            let record = self.run(&showing, how, limits);
            if matches!(repetition, Repetition::NotTried | Repetition::AsDeclared) {
                repetition = self.repeat(&showing, how, limits, &record);
            }
            let again = self.judge(&showing, record, limits, &mut symbols);
            if !scenario.ends.allow(&again.end) {
                (judged, strayed) = (again, Some(facet));
                break;
            }
            facets.push((facet, self.compare_facet(scenario, facet, &again.record)));
        }
        let Judged { record, post_mortem, end } = judged;
        let mut outcome = Outcome {
            name: scenario.name.clone(),
            declared: scenario.ends,
            complaints: explain(&record, &mut symbols),
            post_mortem,
            end,
            record,
            comparison,
            facets,
            strayed,
            repetition,
            took: started.elapsed(),
            attempt: 1,
            how,
            line: self.line.as_ref().map(|line| lock(line).path().to_owned()),
            setup: None,
        };
        if outcome.verdict() == Verdict::Passed {
            // Nobody will look at it, and it is as large as the machine's memory.
            outcome.record.dump = None;
        }
        if outcome.verdict() != Verdict::Passed || how.recorded == Recorded::All {
            let showing = strayed.map(|facet| scenario.showing(facet));
            let scenario = showing.as_ref().unwrap_or(scenario);
            // Whatever keeps a machine from being set up is what the record tells already.
            outcome.setup = self.setup(scenario, limits).ok();
            if let Some(setup) = &mut outcome.setup {
                let recording = self.record(scenario, setup, &outcome.end, &outcome.record, limits);
                setup.recording = recording.map_err(|error| format!("{error:#}"));
            }
        }
        outcome
    }

    /// Runs a scenario. Whatever goes wrong is in the record.
    fn run(&self, scenario: &Scenario, how: How, limits: Limits) -> Record {
        let record = match &self.line {
            None => self.observe(scenario, scenario.clock, limits, |_| Wish::GoOn),
            Some(line) => self.observe_over(line, scenario, how),
        };
        record.unwrap_or_else(|error| Record::of_trouble(format!("{error:#}")))
    }

    /// Runs a scenario once more, if it is to be, and compares.
    fn repeat(&self, scenario: &Scenario, how: How, limits: Limits, record: &Record) -> Repetition {
        let may_differ = scenario.nondeterministic.is_some() && !scenario.is_canary;
        match how.runs {
            Runs::Twice if !may_differ => {
                repetition(scenario, first_difference(record, &self.run(scenario, how, limits)))
            }
            Runs::Once | Runs::Twice => Repetition::NotTried,
        }
    }

    fn judge(
        &self,
        scenario: &Scenario,
        record: Record,
        limits: Limits,
        symbols: &mut Symbols<'_>,
    ) -> Judged {
        let post_mortem = self.examine(&record, symbols);
        let idle = found(&post_mortem).and_then(|found| found.idle).unwrap_or_default();
        // On a machine at a line all time is the host's.
        let limit = limits.busy.filter(|_| self.line.is_none());
        let end = judge_in_time(&record, scenario.main(), GuestTime { limit, idle });
        Judged { record, post_mortem, end }
    }

    /// Compares a run with its snapshot, if it ended as declared.
    fn compare(&self, scenario: &Scenario, judged: &Judged) -> Comparison {
        let Judged { record, post_mortem, end } = judged;
        match (scenario.ends.allow(end), &self.line) {
            (false, Some(_)) => Comparison::NotMade,
            (false, None) => {
                // It would only be reviewed by mistake, and so would what an earlier run left. If
                // that can't be removed, whoever reviews it sees it again.
                let _ = self.snapshot(scenario, "").discard();
                Comparison::NotMade
            }
            (true, Some(_)) => self.snapshot(scenario, "").compare_without_dump(&render(end, record, None)),
            (true, None) => {
                let text = render(end, record, found(post_mortem));
                self.snapshot(scenario, &scenario.rows.join(", ")).compare(&text)
            }
        }
    }

    /// Compares what a run showed of a facet. It is a run of its own, as reporting that takes the machine time.
    fn compare_facet(&self, scenario: &Scenario, facet: Facet, record: &Record) -> Comparison {
        let name = facet.snapshot_name(&scenario.name);
        let description = scenario.rows.join(", ");
        let snapshot = Snapshot { name: &name, ..self.snapshot(scenario, &description) };
        let reviewed = snapshot.reviewed();
        let text = facet.settle(facet.render(record, scenario.main()), reviewed.as_deref());
        match (snapshot.compare(&text), reviewed) {
            (Comparison::Different(difference), Some(reviewed)) => {
                Comparison::Different(difference + &changes(&reviewed, &text))
            }
            (comparison, _) => comparison,
        }
    }

    /// Runs a scenario once more, recording. It takes the very same course as the run that was judged;
    /// if it doesn't, the recording says where.
    fn record(
        &self,
        scenario: &Scenario,
        setup: &Setup,
        end: &End,
        judged: &Record,
        limits: Limits,
    ) -> Result<Recording> {
        match end {
            _ if self.line.is_some() => bail!("it ran on another machine than QEMU"),
            // The kernel ends it, so that is a whole run.
            End::Hang(Hang::Limit) => {}
            End::Hang(_) => bail!("a machine that is stopped from outside leaves no whole record"),
            End::HostTrouble(_) => bail!("there is nothing to record, as the machine isn't what failed"),
            _ if scenario.clock == Timing::RealTime => bail!("time is the host's in this test"),
            _ => {}
        }
        let directory = Directory::create(&self.artefacts)?;
        let log = directory.path(recording::LOG);
        let disk = directory.write(recording::DISK, &recording::empty_disk())?;
        let command_line = parameters(scenario, limits.busy);
        let config = Config {
            record: machine::Record::Make { log: &log, disk: &disk },
            at_panic: AtPanic::GoOn,
            ..self.config(scenario, Kernel::Bytes(&setup.kernel), setup.image.as_deref(), &command_line)
        };
        let record = watch(Machine::start(&config)?, limits.host, |_| Wish::GoOn);
        // QEMU writes the end of the log when it ends by itself.
        if record.is_hang() || !matches!(record.exit(), Some(machine::Exit::Code(_))) {
            bail!("the machine didn't end by itself when it was recorded");
        }
        Ok(Recording {
            log: read(&log)?,
            disk: read(&disk)?,
            machine: recording::Shape {
                memory_mib: scenario.memory_mib,
                firmware: scenario.firmware,
                command_line,
            },
            difference: first_difference(judged, &record),
        })
    }

    /// Boots a scenario's machine and watches it.
    ///
    /// # Errors
    /// If there is something wrong with the scenario, or QEMU doesn't start.
    pub fn observe(
        &self,
        scenario: &Scenario,
        timing: Timing,
        limits: Limits,
        watcher: impl FnMut(&Event) -> Wish,
    ) -> Result<Record> {
        Ok(watch(self.start(scenario, timing, limits.busy)?, limits.host, watcher))
    }

    /// Runs a scenario on the machine at the other end of a line.
    fn observe_over(&self, line: &Mutex<Line>, scenario: &Scenario, how: How) -> Result<Record> {
        let limit = how.timeout.unwrap_or(LINE_TIMEOUT);
        // What has no byte is none to a boot loader.
        let image = match self.image(scenario)?.filter(|image| !image.is_empty()) {
            Some(image) => Some(Packed::new(&image).context("failed to pack the boot image: it has 4 GiB")?),
            None => None,
        };
        let plan = Plan {
            run: RandomState::new().hash_one(0).max(1),
            key: RandomState::new().hash_one(0).max(1),
            limit_ms: u32::try_from(limit.as_millis()).unwrap_or(u32::MAX),
            command_line: scenario.command_line.clone().into_bytes(),
            image,
        };
        Ok(watch_line(&mut lock(line), plan, |_| Wish::GoOn))
    }

    /// Boots a scenario's machine, which may be busy for as long as it likes.
    ///
    /// # Errors
    /// If there is something wrong with the scenario, or QEMU doesn't start.
    pub fn boot(&self, scenario: &Scenario, timing: Timing) -> Result<Machine> {
        self.start(scenario, timing, None)
    }

    fn start(&self, scenario: &Scenario, timing: Timing, limit: Option<Duration>) -> Result<Machine> {
        let image = self.image(scenario)?;
        let bare = scenario.bare.as_deref().map(bare::kernel);
        let kernel = bare.as_deref().map_or(Kernel::File(&self.build.kernel), Kernel::Bytes);
        let command_line = parameters(scenario, limit);
        Machine::start(&Config { timing, ..self.config(scenario, kernel, image.as_deref(), &command_line) })
    }

    /// Boots a machine that waits for a debugger at the start of the kernel's `main`, and waits until it does.
    ///
    /// # Errors
    /// If there is something wrong with the scenario, QEMU doesn't start, or the kernel doesn't come so far.
    pub fn boot_for_debugger(&self, scenario: &Scenario, timing: Timing) -> Result<Machine> {
        if scenario.bare.is_some() {
            bail!(
                "{} runs machine code in place of the kernel, so there is no stub to debug it",
                scenario.name
            );
        }
        let image = self.image(scenario)?;
        let kernel = Kernel::File(&self.build.kernel);
        let command_line = format!("{WATCHED} {} gdb=wait", scenario.command_line);
        let config = self.config(scenario, kernel, image.as_deref(), &command_line);
        // At a panic it is for the debugger to look.
        let config = Config { timing, at_panic: AtPanic::GoOn, ..config };
        let mut machine = Machine::start_for_debugger(&config)?;
        let end = Instant::now() + PATIENCE;
        let mut said = Vec::new();
        // What goes over the line before the kernel has set it up is lost.
        while !contains(&machine.log(KEPT_BYTES)?.bytes, LISTENS) {
            match machine.next(Instant::now() + GLANCE) {
                Next::Output(Output::Console(bytes) | Output::Qemu(bytes)) => said.extend(bytes),
                Next::Output(_) => {}
                Next::Late if Instant::now() < end => {}
                Next::Late | Next::Ended(_) => {
                    let said = escape(String::from_utf8_lossy(&said).trim().as_bytes());
                    bail!("the kernel doesn't come to where it waits for a debugger: {said}")
                }
            }
        }
        Ok(machine)
    }

    /// The scenario of that name, or a machine with the interactive program.
    ///
    /// # Errors
    /// [`NoSuchProgram`]; else as for [`scenarios`](Self::scenarios).
    pub fn scenario(&self, name: &str) -> Result<Scenario> {
        if name == MONITOR {
            return Ok(Scenario::plain(MONITOR));
        }
        let found = self.scenarios()?.into_iter().find(|scenario| scenario.name == name);
        found.ok_or_else(|| NoSuchProgram(name.to_owned()).into())
    }

    /// What a scenario's machine is started with.
    fn setup(&self, scenario: &Scenario, limits: Limits) -> Result<Setup> {
        let image = self.image(scenario)?;
        let kernel = match &scenario.bare {
            Some(code) => bare::kernel(code),
            None => read(&self.build.kernel)?,
        };
        let command_line = parameters(scenario, limits.busy);
        let config = self.config(scenario, Kernel::Bytes(&kernel), image.as_deref(), &command_line);
        let mut command = vec![crate::tools::QEMU.into()];
        command.extend(config.by_hand());
        let programs = self.images(scenario).split_off(1);
        let recording = Err("it was not recorded".into());
        Ok(Setup { command, kernel, image, programs, recording })
    }

    /// The same, as a test that nobody gave other limits has it.
    pub(crate) fn plain_setup(&self, scenario: &Scenario) -> Result<Setup> {
        self.setup(scenario, Limits::of(scenario, How::default()))
    }

    fn config<'a>(
        &'a self,
        scenario: &'a Scenario,
        kernel: Kernel<'a>,
        image: Option<&'a [u8]>,
        command_line: &'a str,
    ) -> Config<'a> {
        Config {
            qemu: &self.qemu,
            launcher: &self.launcher,
            artefacts: &self.artefacts,
            kernel,
            image,
            command_line,
            memory_mib: scenario.memory_mib,
            firmware: scenario.firmware,
            timing: scenario.clock,
            record: machine::Record::Off,
            at_panic: AtPanic::Pause,
            patience: PATIENCE,
        }
    }

    /// Makes a scenario's boot image, if it has one.
    fn image(&self, scenario: &Scenario) -> Result<Option<Vec<u8>>> {
        let guests = scenario.program.as_ref().map(|program| program.guests()).unwrap_or_default();
        scenario.spoil.archive(image(&self.system, &self.build, &self.services, &guests)?)
    }

    fn snapshot<'a>(&'a self, scenario: &'a Scenario, description: &'a str) -> Snapshot<'a> {
        Snapshot { directory: &self.snapshots, name: &scenario.name, description }
    }

    /// Looks into the dump of a machine that had to be stopped.
    fn examine(&self, record: &Record, symbols: &mut Symbols<'_>) -> Option<Result<PostMortem, String>> {
        let mut examine = |file: &DumpFile| {
            let dump = Dump::open(file.path())?;
            inspect::examine(&dump, &self.build.kernel, symbols)
        };
        let dump = record.dump.as_ref()?.as_ref();
        Some(dump.map_err(Clone::clone).and_then(|file| examine(file).map_err(|error| format!("{error:#}"))))
    }

    /// The executables of a scenario's machine, the kernel first.
    fn images(&self, scenario: &Scenario) -> Vec<PathBuf> {
        self.build.images(scenario.program.as_ref().map(|program| program.file.as_str()))
    }
}

/// A line is in a sensible state after each of its methods, so nobody is kept from it.
fn lock(line: &Mutex<Line>) -> MutexGuard<'_, Line> {
    line.lock().unwrap_or_else(PoisonError::into_inner)
}

fn explain(record: &Record, symbols: &mut Symbols<'_>) -> Vec<(String, Vec<String>)> {
    let lines = record.complaints().chain(record.last_words());
    lines.map(|line| (line.to_string(), symbols.explain(&line.text))).collect()
}

/// What was found, if anything was.
fn found(post_mortem: &Option<Result<PostMortem, String>>) -> Option<&PostMortem> {
    post_mortem.as_ref()?.as_ref().ok()
}

/// The kernel's parameter that has it use the watchdog that QEMU's machines have, which finds it when it loops with
/// interrupts off.
const WATCHED: &str = "watchdog=ib700";

/// A kernel's command line: what its scenario says, which has the last word, and for how long it may be busy.
fn parameters(scenario: &Scenario, limit: Option<Duration>) -> String {
    let limit = limit.filter(|_| scenario.bare.is_none());
    // The kernel's unit; a limit below it is none that a machine could keep.
    let limit = limit.map(|limit| format!("limit={} {WATCHED}", limit.as_millis().clamp(1, u32::MAX.into())));
    let words: Vec<&str> = limit
        .as_deref()
        .into_iter()
        .chain([scenario.command_line.as_str()])
        .filter(|word| !word.is_empty())
        .collect();
    words.join(" ")
}

/// What the kernel logs when it listens to a debugger.
const LISTENS: &[u8] = b"a debugger can attach";
/// How often the log is looked at for that.
const GLANCE: Duration = Duration::from_millis(2);

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

/// What a comparison of two runs means for a scenario.
fn repetition(scenario: &Scenario, difference: Option<Difference>) -> Repetition {
    match difference {
        None if scenario.is_canary => Repetition::Blind,
        Some(difference) if !scenario.is_canary => Repetition::Different(Box::new(difference)),
        _ => Repetition::AsDeclared,
    }
}

/// No guest program is called so.
#[derive(Debug)]
pub struct NoSuchProgram(pub String);

impl std::fmt::Display for NoSuchProgram {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "there is no guest program called {}: `cargo xtask test --list` lists the tests", self.0)
    }
}

impl std::error::Error for NoSuchProgram {}

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
/// [`NoSuchProgram`]; else if a file can't be read.
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
        role: None,
        signal_manager: None,
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
            let path = build.guest(&guest.file).ok_or_else(|| NoSuchProgram(guest.file.clone()))?;
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
