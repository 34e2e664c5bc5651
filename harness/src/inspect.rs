//! What everybody was doing in a machine that was stopped.
//!
//! The kernel says where its tables are ([`abi::inspect`]), and its own debug information what
//! code is where. A table that makes no sense gives a report that says so.

#[cfg(test)]
mod tests;

use crate::dump::{Dump, Space, return_addresses};
use crate::machine::KERNEL;
use crate::observe::escape;
use crate::project::Project;
use crate::report::bundles;
use crate::symbols::Symbols;
use abi::inspect::{Event, Layout, SYMBOL};
use abi::notification::Notification;
use abi::state::{State, Stops, Wait};
use abi::{Endpoint, Message, Name, Wire as _, protocols};
use anyhow::{Context as _, Result, ensure};
use object::{Object as _, ObjectSymbol as _};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::Duration;

/// How many messages a report shows.
const SHOWN_MESSAGES: usize = 16;
/// More than an entry of the process table will ever have.
const LARGEST_ENTRY: u64 = 1 << 16;
/// More than the flight recorder will ever have.
const MOST_EVENTS: u64 = 1 << 16;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PostMortem {
    /// What the processor was doing, unless a process ran on it.
    pub kernel: Vec<String>,
    /// All processes, in the order of their slots.
    pub processes: Vec<Process>,
    /// Processes that wait for each other, if there is such a circle: each for the next, the last for the first.
    pub circle: Vec<String>,
    /// The last messages that were delivered, the newest last.
    pub messages: Vec<String>,
    /// How long the processor had waited for interrupts, in the guest's time, if the kernel knows.
    pub idle: Option<Duration>,
}

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Who it is, and what it is doing.
    pub state: String,
    /// Where in its program it is: the functions that wait for each other's return, innermost first.
    pub stack: Vec<String>,
}

impl PostMortem {
    /// The processes as lines for people.
    pub fn process_lines(&self) -> impl Iterator<Item = String> {
        let lines = |process: &Process| {
            let stack = process.stack.iter().map(|frame| format!("    {frame}"));
            std::iter::once(process.state.clone()).chain(stack).collect::<Vec<_>>()
        };
        self.processes.iter().flat_map(lines)
    }

    /// The circle in a line.
    #[must_use]
    pub fn circle_line(&self) -> Option<String> {
        let first = self.circle.first()?;
        Some(format!("{} -> {first}", self.circle.join(" -> ")))
    }
}

/// Looks into a dump of a machine that ran `kernel`.
///
/// # Errors
/// If the kernel doesn't say where its tables are, or says it wrongly.
pub fn examine(dump: &Dump, kernel: &Path, symbols: &mut Symbols<'_>) -> Result<PostMortem> {
    let layout = Tables::find(dump, kernel);
    let running = dump.processor;
    let mut kernel = Vec::new();
    let culprit = layout.as_ref().ok().and_then(Tables::culprit);
    // What is interesting of a kernel that ends the machine because of a process is that process.
    if !running.is_in_user_mode() && culprit.is_none() {
        let struck = layout.as_ref().ok().and_then(Tables::exception);
        let (rip, rbp) = struck.unwrap_or((running.rip, running.rbp));
        kernel = symbols.stack(rip, &return_addresses(dump.space(), rbp));
    }
    let tables = match layout {
        Ok(tables) => tables,
        // It may never have come to write them.
        Err(_) if !kernel.is_empty() => return Ok(PostMortem { kernel, ..PostMortem::default() }),
        Err(error) => return Err(error),
    };
    let found = tables.processes();
    let names: Names = found.iter().map(|process| (process.endpoint, process.person.name.clone())).collect();
    let processes = found.iter().map(|process| {
        let person = &process.person;
        let is_running = running.is_in_user_mode() && person.has_root(running.cr3);
        let (rip, rbp) = if is_running { (running.rip, running.rbp) } else { (person.rip, person.rbp) };
        let returns = return_addresses(dump.space_of(person.root), rbp);
        // What waits is behind the instruction by which it came into the kernel.
        let at = if is_running || process.wait == Wait::Nobody { rip } else { rip.saturating_sub(1) };
        let is_culprit = culprit == Some(process.endpoint) && process.can_run();
        let state = if is_running || is_culprit { "running".into() } else { process.state(&names) };
        Process {
            state: format!("{}: {}", person.shown, escape(state.as_bytes())),
            stack: symbols.stack(at, &returns),
        }
    });
    let processes = processes.collect();
    let circle = circle(&found).into_iter().map(|endpoint| names.show(endpoint)).collect();
    let events = tables.events();
    let shown = &events[events.len().saturating_sub(SHOWN_MESSAGES)..];
    let messages = shown.iter().map(|event| names.message(event)).collect();
    Ok(PostMortem { kernel, processes, circle, messages, idle: tables.idle() })
}

/// Looks into what is kept of a test that failed, see [`bundles`].
///
/// # Errors
/// If there is no dump, or it can't be read.
pub fn examine_bundle(project: &Project, directory: &Path) -> Result<PostMortem> {
    let images = directory.join(bundles::IMAGES);
    let images =
        std::fs::read_dir(&images).with_context(|| format!("failed to read {}", images.display()))?;
    let kernel = directory.join(KERNEL);
    let mut files = vec![kernel.clone()];
    for image in images {
        files.push(image.with_context(|| format!("failed to read {}", directory.display()))?.path());
    }
    let dump = Dump::open(&directory.join(bundles::DUMP))?;
    examine(&dump, &kernel, &mut Symbols::new(project, files))
}

/// Who there is in a machine.
#[derive(Clone, Debug, Default)]
pub struct Population {
    /// All processes, in the order of their slots.
    pub people: Vec<Person>,
    /// The process whose memory the processor has.
    pub current: Option<Person>,
    /// The process for which the kernel has ended the machine.
    pub culprit: Option<Person>,
    /// Who was there before: of each slot that is free, its last process.
    pub gone: Vec<Gone>,
    /// Where physical address 0 is mapped.
    pub direct_map: u64,
}

/// A process that has ended.
#[derive(Clone, Debug)]
pub struct Gone {
    /// Its name.
    pub name: String,
    /// It is the one for which the kernel has ended the machine.
    pub is_culprit: bool,
    /// Where its endpoint stood in the process table, which was written to when it ended.
    pub endpoint: u64,
}

/// Tells whether two values of `cr3` are of the same page tables, whatever flags they have.
pub(crate) const fn is_same_root(one: u64, other: u64) -> bool {
    (one ^ other) >> 12 == 0
}

/// A process and its memory.
#[derive(Clone, Debug)]
pub struct Person {
    /// Its name.
    pub name: String,
    /// Its name and its endpoint.
    pub shown: String,
    /// Physical address of its page tables' root.
    pub root: u64,
    rip: u64,
    rbp: u64,
}

impl Person {
    /// Tells whether these are its page tables.
    #[must_use]
    pub const fn has_root(&self, cr3: u64) -> bool {
        is_same_root(self.root, cr3)
    }

    /// Tells whether this is its name, or its name and its endpoint.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        self.name == name || self.shown == name
    }

    /// Where it came into the kernel: functions, the innermost first.
    #[must_use]
    pub fn stack(&self, dump: &Dump, symbols: &mut Symbols<'_>) -> Vec<String> {
        symbols.stack(self.rip.saturating_sub(1), &return_addresses(dump.space_of(self.root), self.rbp))
    }
}

/// Finds out who there is in a machine that ran `kernel`: nobody, if the kernel hasn't said yet where its tables are.
#[must_use]
pub fn population(dump: &Dump, kernel: &Path) -> Population {
    let Ok(tables) = Tables::find(dump, kernel) else { return Population::default() };
    let found = tables.processes();
    let culprit = tables.culprit();
    let of = |is_meant: &dyn Fn(&Found) -> bool| {
        found.iter().find(|process| is_meant(process)).map(|process| process.person.clone())
    };
    Population {
        people: found.iter().map(|process| process.person.clone()).collect(),
        current: of(&|process| process.person.has_root(dump.processor.cr3)),
        culprit: of(&|process| culprit == Some(process.endpoint)),
        gone: tables.gone(),
        direct_map: tables.layout.direct_map,
    }
}

/// A process as the kernel has it.
struct Found {
    person: Person,
    endpoint: Endpoint,
    wait: Wait<'static>,
    message: Message,
    stops: Stops,
}

impl Found {
    fn can_run(&self) -> bool {
        self.wait == Wait::Nobody && self.stops.is_empty()
    }

    fn state(&self, names: &Names) -> String {
        // The kernel speaks for a process with a page fault.
        let is_own = !self.stops.contains(Stops::PAGE_FAULT);
        let message = is_own.then_some(&self.message);
        let wait = match self.wait {
            Wait::Sending { to, .. } => Wait::Sending { to, message },
            Wait::SendReceiving { to, .. } => Wait::SendReceiving { to, message },
            wait => wait,
        };
        let write = |endpoint, f: &mut fmt::Formatter<'_>| f.write_str(&names.show(endpoint));
        State { wait, stops: self.stops }.named(&write).to_string()
    }
}

/// Who is called what.
struct Names(BTreeMap<Endpoint, String>);

impl FromIterator<(Endpoint, String)> for Names {
    fn from_iter<I: IntoIterator<Item = (Endpoint, String)>>(all: I) -> Self {
        Self(all.into_iter().collect())
    }
}

impl Names {
    /// `ds(6)`; what isn't alive has no name.
    fn show(&self, endpoint: Endpoint) -> String {
        match (self.0.get(&endpoint), endpoint.slot()) {
            (Some(name), _) => full_name(name, endpoint),
            (None, Some(_)) => format!("{endpoint} (dead)"),
            (None, None) => endpoint.to_string(),
        }
    }

    fn message(&self, event: &Event) -> String {
        let call = match protocols::find(event.number) {
            Some(call) => call.name.to_owned(),
            None if event.number == Notification::NUMBER => "notification".into(),
            None => format!("unknown call {:#06x}", event.number),
        };
        escape(format!("{} -> {}: {call}", self.show(event.source), self.show(event.to)).as_bytes())
    }
}

fn full_name(name: &str, endpoint: Endpoint) -> String {
    format!("{name}({endpoint})")
}

/// Finds processes that wait for each other.
fn circle(processes: &[Found]) -> Vec<Endpoint> {
    let waits: BTreeMap<_, _> =
        processes.iter().filter_map(|process| Some((process.endpoint, process.wait.on()?))).collect();
    for &start in waits.keys() {
        let mut way = vec![start];
        // Nobody is twice on a way, so it is no longer than there are processes.
        while let Some(&next) = way.last().and_then(|last| waits.get(last)) {
            if next == start {
                return way;
            }
            if way.contains(&next) {
                break;
            }
            way.push(next);
        }
    }
    Vec::new()
}

/// The kernel's tables.
struct Tables<'a> {
    space: Space<'a>,
    layout: Layout,
}

impl<'a> Tables<'a> {
    fn find(dump: &'a Dump, kernel: &Path) -> Result<Self> {
        let bytes = std::fs::read(kernel).with_context(|| format!("failed to read {}", kernel.display()))?;
        let file = object::File::parse(bytes.as_slice()).context("the kernel isn't an ELF file")?;
        let symbol = file.symbols().find(|symbol| symbol.name() == Ok(SYMBOL));
        let address = symbol.context("the kernel has no tables to look at")?.address();
        Self::at(dump.space(), address)
    }

    /// Reads the layout at an address.
    fn at(space: Space<'a>, address: u64) -> Result<Self> {
        let words = space.bytes(address, Layout::WORDS * 8).context("the kernel is not in memory")?;
        let mut words = words
            .chunks_exact(8)
            .map(|word| word.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)));
        let layout = Layout::from_words(std::array::from_fn(|_| words.next().unwrap_or_default()));
        ensure!(layout.magic == Layout::MAGIC, "the kernel hasn't written down where its tables are");
        let is_sane = layout.entry_count <= u64::from(Endpoint::SLOTS)
            && layout.entry_bytes <= LARGEST_ENTRY
            && layout.event_count <= MOST_EVENTS;
        ensure!(is_sane, "what the kernel says of its tables is impossible: {layout:?}");
        Ok(Self { space, layout })
    }

    /// For which process the kernel has ended the machine, if it has.
    fn culprit(&self) -> Option<Endpoint> {
        self.endpoint(self.layout.culprit).filter(|culprit| *culprit != Endpoint::NONE)
    }

    /// Instruction and frame pointer of an exception in the kernel, if there was one.
    fn exception(&self) -> Option<(u64, u64)> {
        let rip = self.space.word(self.layout.exception).filter(|rip| *rip != 0)?;
        Some((rip, self.space.word(self.layout.exception.checked_add(8)?)?))
    }

    fn idle(&self) -> Option<Duration> {
        let counts = self.space.word(self.layout.idle)?;
        let hz = self.space.word(self.layout.idle_hz).filter(|hz| *hz != 0)?;
        let nanoseconds = u128::from(counts) * 1_000_000_000 / u128::from(hz);
        Some(Duration::from_nanos(u64::try_from(nanoseconds).ok()?))
    }

    fn processes(&self) -> Vec<Found> {
        (0..self.layout.entry_count).filter_map(|slot| self.process(slot)).collect()
    }

    /// The last processes of slots that are free, as far as their names are still there.
    fn gone(&self) -> Vec<Gone> {
        let culprit = self.culprit().and_then(Endpoint::slot);
        let gone = |slot: u64| {
            let entry = self.entry(slot)?;
            let name = self.layout.entry_process.checked_add(self.layout.name)?;
            let name = name_of(&self.space.array(entry.checked_add(name)?)?)?;
            let is_culprit = culprit.is_some_and(|culprit| u64::from(culprit) == slot);
            Some(Gone { name, is_culprit, endpoint: entry.checked_add(self.layout.entry_endpoint)? })
        };
        let is_free = |slot: &u64| self.process(*slot).is_none();
        (0..self.layout.entry_count).filter(is_free).filter_map(gone).collect()
    }

    fn entry(&self, slot: u64) -> Option<u64> {
        self.layout.entries.checked_add(slot.checked_mul(self.layout.entry_bytes)?)
    }

    fn endpoint(&self, address: u64) -> Option<Endpoint> {
        Some(Endpoint::from_bits(u32::from_le_bytes(self.space.array(address)?)))
    }

    fn message(&self, address: u64) -> Option<Message> {
        Message::get(&self.space.array::<{ Message::SIZE }>(address)?)
    }

    /// The process of a slot, if there is one.
    fn process(&self, slot: u64) -> Option<Found> {
        let layout = &self.layout;
        let entry = self.entry(slot)?;
        let process = entry.checked_add(layout.entry_process)?;
        let field = |offset: u64| process.checked_add(offset);
        let endpoint = self.endpoint(field(layout.endpoint)?)?;
        let is_alive = endpoint == self.endpoint(entry.checked_add(layout.entry_endpoint)?)?;
        is_alive.then_some(())?;
        let context = field(layout.context)?;
        let register = |offset: u64| self.space.word(context.checked_add(offset)?);
        let name = name(&self.space.array(field(layout.name)?)?);
        let person = Person {
            shown: escape(full_name(&name, endpoint).as_bytes()),
            name,
            root: self.space.word(field(layout.root)?)?,
            rip: register(layout.rip)?,
            rbp: register(layout.rbp)?,
        };
        Some(Found {
            person,
            endpoint,
            wait: self.wait(self.space.array(field(layout.ipc)?)?),
            message: self.message(context.checked_add(layout.message)?)?,
            stops: Stops::from_bits(u16::from_le_bytes(self.space.array(field(layout.stops)?)?)),
        })
    }

    /// See [`Layout::ipc`]. A state that isn't known is shown as that of one who waits for nobody.
    fn wait(&self, ipc: [u8; 8]) -> Wait<'static> {
        let [kind, is_sendrec, slot_low, slot_high, from @ ..] = ipc;
        let from = Endpoint::from_bits(u32::from_le_bytes(from));
        let receiver = || {
            let slot = u16::from_le_bytes([slot_low, slot_high]).checked_sub(1)?;
            self.endpoint(self.entry(u64::from(slot))?.checked_add(self.layout.entry_endpoint)?)
        };
        match (kind, is_sendrec != 0) {
            (1, true) => Wait::SendReceiving { to: receiver().unwrap_or(Endpoint::NONE), message: None },
            (1, false) => Wait::Sending { to: receiver().unwrap_or(Endpoint::NONE), message: None },
            (2, true) => Wait::SendReceiving { to: from, message: None },
            (2, false) => Wait::Receiving { from },
            _ => Wait::Nobody,
        }
    }

    /// What the flight recorder has, the oldest first.
    fn events(&self) -> Vec<Event> {
        let layout = &self.layout;
        let next = self.space.array(layout.next_event).map_or(0, |[next]| u64::from(next));
        let count = layout.event_count.max(1);
        let event = |index: u64| {
            let at = |base: u64, bytes: u64| base.checked_add(index.checked_mul(bytes)?);
            let source = self.endpoint(at(layout.event_sources, 4)?)?;
            let to = self.endpoint(at(layout.event_receivers, 4)?)?;
            let number = u16::from_le_bytes(self.space.array(at(layout.event_calls, 2)?)?);
            (source != Endpoint::NONE).then_some(Event { source, to, number })
        };
        (0..layout.event_count).filter_map(|age| event((next + age) % count)).collect()
    }
}

/// A name, if that is what it is.
fn name(bytes: &[u8; Name::SIZE]) -> String {
    name_of(bytes).unwrap_or_else(|| "nameless".into())
}

fn name_of(bytes: &[u8; Name::SIZE]) -> Option<String> {
    let length = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let name = std::str::from_utf8(&bytes[..length]).ok().and_then(Name::new);
    name.map(|name| name.as_str().to_owned())
}
