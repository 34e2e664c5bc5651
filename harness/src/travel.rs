//! Travels in a recorded run: to an instruction of it, and to who wrote something last.
//!
//! QEMU's own way back, its stub's commands, goes to the picture of the machine at its start and forwards again. So does
//! this, but each way begins with a machine of its own, which is what has never gone wrong; and all that was written is
//! seen on one way, where gdb would go back for each time that another process wrote at the same address.

use crate::dump::Dump;
use crate::gdb::{CR3, Debugger, Driven, Remote, Stop};
use crate::inspect::{Gone, Person, Population, is_same_root, population};
use crate::machine::{Config, Machine};
use crate::observe::escape;
use crate::shell;
use crate::symbols::Symbols;
use anyhow::{Context as _, Result, bail, ensure};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// A recorded run that can be run again.
#[derive(Clone, Copy, Debug)]
pub struct Travel<'a> {
    /// The machine, at whose socket gdb can connect.
    pub config: &'a Config<'a>,
    /// That socket.
    pub socket: &'a Path,
    /// When all of it must be over.
    pub until: Instant,
}

impl Travel<'_> {
    /// A machine that has executed so many instructions, and is paused.
    ///
    /// # Errors
    /// If the record has no such instruction, or QEMU doesn't do as it is told.
    pub fn go_to(&self, instruction: u64) -> Result<Machine> {
        let mut machine = Machine::start(self.config)?;
        if machine.run_to(instruction, self.until)? {
            return Ok(machine);
        }
        drop(machine);
        bail!("the record has no instruction {instruction}: the last one is {}", self.end()?)
    }

    /// The last instruction at which the machine can be paused: the next one ends it.
    ///
    /// # Errors
    /// If QEMU doesn't do as it is told, or it takes too long.
    pub fn end(&self) -> Result<u64> {
        // Whoever goes too far must begin anew, so the steps become small in a few goes.
        [1_000_000, 10_000, 100, 1].into_iter().try_fold(0, |start, step| self.last_step(start, step))
    }

    fn last_step(&self, start: u64, step: u64) -> Result<u64> {
        let mut machine = Machine::start(self.config)?;
        ensure!(machine.run_to(start, self.until)?, "the record ends earlier than before");
        let mut reached = start;
        while machine.run_to(reached + step, self.until)? {
            reached += step;
        }
        Ok(reached)
    }

    /// The instructions that wrote to one of these places last, `point` being the last that counts: one for each address
    /// space that the machine had then, the latest first.
    fn last_writes(&self, places: &[Place], point: u64) -> Result<Vec<u64>> {
        if point == 0 {
            return Ok(vec![]);
        }
        let mut machine = Machine::start(self.config)?;
        let mut remote = Remote::connect(self.socket, self.until)?;
        for place in places {
            remote.watch(place.address, place.bytes)?;
        }
        // Of a stop at `point` itself QEMU doesn't tell whether that instruction wrote.
        machine.stop_at(point + 1)?;
        let mut last = BTreeMap::new();
        while let Stop::Written(address) = remote.go_on()? {
            let instruction = machine.instruction()?;
            if instruction > point {
                break;
            }
            let root = remote.root()?;
            let is_meant = |place: &Place| {
                place.contains(address) && place.root.is_none_or(|wanted| is_same_root(wanted, root))
            };
            if places.iter().any(is_meant) {
                last.insert(root, instruction);
            }
        }
        let mut last: Vec<u64> = last.into_values().collect();
        last.sort_unstable_by(|first, second| second.cmp(first));
        Ok(last)
    }

    fn left(&self) -> Result<Duration> {
        let left = self.until.saturating_duration_since(Instant::now());
        ensure!(
            !left.is_zero(),
            "it took too long: give it more by `--timeout`, or an earlier end by `--at`"
        );
        Ok(left)
    }
}

/// Memory that is watched.
#[derive(Clone, Copy, Debug)]
struct Place {
    address: u64,
    bytes: u64,
    /// Whose address it is, if not everybody's: a root of page tables.
    root: Option<u64>,
}

impl Place {
    fn contains(&self, address: u64) -> bool {
        address.checked_sub(self.address).is_some_and(|offset| offset < self.bytes)
    }
}

/// Who wrote what last?
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The test.
    pub name: &'a str,
    /// An expression of gdb's that is somewhere in memory.
    pub expression: &'a str,
    /// Whose memory that is.
    pub process: Option<&'a str>,
    /// Before so many instructions; before the end, if there is none.
    pub at: Option<u64>,
}

/// More is no value that anybody asks for.
const MOST_BYTES: u64 = 1 << 16;
/// Where the kernel's addresses begin.
const KERNEL: u64 = 1 << 47;
const PAGE: u64 = 4096;
/// Frames that are shown of a stack.
const FRAMES: usize = 32;

/// Answers it, in lines.
///
/// # Errors
/// If the expression means nothing, or is in nobody's memory; or if QEMU or gdb don't do as they are told.
pub fn why(
    travel: Travel<'_>,
    debugger: &Debugger<'_>,
    symbols: &mut Symbols<'_>,
    question: Question<'_>,
) -> Result<String> {
    let kernel = debugger.images.first().context("a machine has a kernel")?;
    let (asked, point) = asked(travel, debugger, kernel, question)?;
    for instruction in travel.last_writes(&asked.places, point)? {
        let before = instruction - 1;
        let mut machine = travel.go_to(before)?;
        let file = machine.dump()?;
        let dump = Dump::open(file.path())?;
        let current = population(&dump, kernel).current;
        // Of somebody who is gone, nothing was known but the name.
        let is_meant = |name| current.as_ref().is_some_and(|person| person.is_called(name));
        if asked.root.is_some() || asked.address >= KERNEL || question.process.is_none_or(is_meant) {
            let found = Found { instruction, machine, dump, current };
            return found.tell(travel, debugger, symbols, &asked, question.name);
        }
    }
    // Without an owner, what the kernel and others wrote there isn't known.
    ensure!(
        asked.is_known || question.at.is_some(),
        "the page at {:#x} was no longer mapped when {} ended: give --at",
        asked.address,
        question.process.unwrap_or("its process")
    );
    let so = if asked.is_known { ": it has been so from the start" } else { "" };
    Ok(format!("{}\nnobody wrote it in the {point} instructions before{so}\n", asked.shown))
}

/// What is asked for, and before how many instructions: at the end; or at that of the process that is meant, if it has
/// ended before, while its memory was still there.
fn asked(
    travel: Travel<'_>,
    debugger: &Debugger<'_>,
    kernel: &Path,
    question: Question<'_>,
) -> Result<(Asked, u64)> {
    let end = question.at.map_or_else(|| travel.end(), Ok)?;
    let (asked, gone) = {
        let scene = Scene::at(travel, kernel, end)?;
        let asked = Asked::find(travel, debugger, &scene, question);
        if asked.as_ref().is_ok_and(|asked| asked.address >= KERNEL) {
            return Ok((asked?, end));
        }
        (asked, gone(&scene.people, question)?)
    };
    let Some(gone) = gone else { return Ok((asked?, end)) };
    let place = Place { address: gone.endpoint, bytes: 4, root: None };
    let Some(ended) = travel.last_writes(&[place], end)?.first().copied() else { return Ok((asked?, end)) };
    let of_gone = Question { process: Some(&gone.name), ..question };
    let scene = Scene::at(travel, kernel, ended - 1)?;
    match Asked::find(travel, debugger, &scene, of_gone) {
        Ok(found) if found.root.is_some() => Ok((found, ended - 1)),
        _ => Ok((asked?, end)),
    }
}

/// Who is meant that has ended before, if it is so.
fn gone(people: &Population, question: Question<'_>) -> Result<Option<Gone>> {
    match question.process {
        Some(name) if people.people.iter().any(|person| person.is_called(name)) => Ok(None),
        Some(name) => {
            let found = people.gone.iter().rfind(|gone| gone.name == name);
            let names = || people.gone.iter().map(|gone| gone.name.as_str()).collect::<Vec<_>>().join(", ");
            let found = found.with_context(|| {
                let (there, gone) = (list(&people.people), escape(names().as_bytes()));
                format!("no process is called {name}: there are {there}; and there were {gone}")
            });
            found.cloned().map(Some)
        }
        None if question.at.is_some() || people.culprit.is_some() => Ok(None),
        // The test's own process comes last.
        None => Ok(people.gone.iter().find(|gone| gone.is_culprit).or(people.gone.last()).cloned()),
    }
}

/// The machine at a place of the record, where it is paused, and who is there.
struct Scene {
    /// gdb can still ask it.
    _machine: Machine,
    dump: Dump,
    people: Population,
}

impl Scene {
    fn at(travel: Travel<'_>, kernel: &Path, point: u64) -> Result<Self> {
        let mut machine = travel.go_to(point)?;
        let dump = Dump::open(machine.dump()?.path())?;
        let people = population(&dump, kernel);
        Ok(Self { _machine: machine, dump, people })
    }
}

/// A machine before the instruction that was asked for.
struct Found {
    instruction: u64,
    machine: Machine,
    dump: Dump,
    current: Option<Person>,
}

impl Found {
    fn tell(
        self,
        travel: Travel<'_>,
        debugger: &Debugger<'_>,
        symbols: &mut Symbols<'_>,
        asked: &Asked,
        name: &str,
    ) -> Result<String> {
        let Self { instruction, mut machine, dump, current } = self;
        let is_user = dump.processor.is_in_user_mode();
        let who = match &current {
            Some(person) if is_user => person.shown.clone(),
            Some(person) => format!("the kernel, for {}", person.shown),
            None => "the kernel".into(),
        };
        let stack = debugger.drive(travel.left()?)?.ask(&format!("backtrace {FRAMES}"))?;
        let old = asked.value(&dump);
        let is_there = machine.run_to(instruction, travel.until)?;
        let new = if is_there { asked.value(&Dump::open(machine.dump()?.path())?) } else { None };
        let mut text = format!("{}\ninstruction {instruction} wrote it last: {who}\n", asked.shown);
        if let (Some(old), Some(new)) = (&old, &new) {
            let place = difference(old, new);
            writeln!(text, "before: {}\nafter:  {}", shown(old, place), shown(new, place))?;
        }
        if let Some((then, new)) = asked.then.as_ref().zip(new).filter(|(then, new)| *then != new) {
            let place = difference(then, &new);
            let (then, new) = (shown(then, place), shown(&new, place));
            writeln!(text, "then:   {then}: it changed again after {new}, by something that isn't seen")?;
        }
        text.push_str(&stack);
        if let Some(person) = current.filter(|_| !is_user) {
            writeln!(text, "{} was here:", person.shown)?;
            person.stack(&dump, symbols).iter().try_for_each(|frame| writeln!(text, "    {frame}"))?;
        }
        let at = (instruction - 1).to_string();
        writeln!(text, "go there: {}", shell::line(&["cargo", "xtask", "replay", name, "--at", &at]))?;
        Ok(text)
    }
}

/// What was asked for, as it is in memory.
struct Asked {
    address: u64,
    bytes: usize,
    /// Whose address it is, if it is a process's.
    root: Option<u64>,
    places: Vec<Place>,
    shown: String,
    /// Whose it is is known, if it is a process's.
    is_known: bool,
    /// What is there when it is asked for, if its owner is known.
    then: Option<Vec<u8>>,
}

impl Asked {
    fn find(
        travel: Travel<'_>,
        debugger: &Debugger<'_>,
        Scene { dump, people, .. }: &Scene,
        question: Question<'_>,
    ) -> Result<Self> {
        let mut gdb = debugger.drive(travel.left()?)?;
        let guessed = guess(people, question)?;
        // What leads there is in somebody's memory, too. The machine is ours, and goes nowhere any more.
        let others = people.people.iter().filter(|_| question.process.is_none());
        let mut found = evaluate(&mut gdb, question.expression);
        for person in guessed.into_iter().chain(others) {
            if found.is_ok() && guessed.is_none_or(|guessed| guessed.has_root(dump.processor.cr3)) {
                break;
            }
            // gdb itself takes the register for flags, and gives it no number.
            gdb.ask(&format!("maintenance packet P{CR3}={:016x}", person.root.swap_bytes()))?;
            gdb.ask("maintenance flush register-cache")?;
            found = evaluate(&mut gdb, question.expression);
            if found.is_ok() {
                break;
            }
        }
        let (address, bytes) = found?;
        ensure!(
            (1..=MOST_BYTES).contains(&bytes),
            "{} has {bytes} bytes, and what can be watched has 1 to {MOST_BYTES}",
            question.expression
        );
        if address >= KERNEL
            && let Some(missing) = missing(people, dump, address, bytes)
        {
            let when = if question.at.is_some() { " then" } else { "" };
            bail!("the kernel has no memory at {missing:#x}{when}");
        }
        let mut shown = format!("{}: {bytes} bytes at {address:#x}", question.expression);
        let mut places = vec![Place { address, bytes, root: None }];
        let (mut root, mut is_known) = (None, true);
        if address < KERNEL && !people.people.is_empty() {
            if let Some(owner) = owner(people, dump, guessed, question.process, address)? {
                write!(shown, " of {}", owner.shown)?;
                root = Some(owner.root);
                places = vec![Place { address, bytes, root }];
                // What the kernel writes to a process it writes where it has all of memory.
                places.extend(aliases(people, dump, owner, address, bytes));
            } else {
                if let Some(person) = guessed.filter(|_| question.process.is_some()) {
                    bail!("{} has no memory at {address:#x}", person.shown);
                }
                is_known = false;
                shown.push_str(" of a process that is gone, where what the kernel writes isn't seen");
            }
        }
        let mut asked =
            Self { address, bytes: usize::try_from(bytes)?, root, places, shown, is_known, then: None };
        asked.then = asked.value(dump).filter(|_| is_known);
        Ok(asked)
    }

    /// What is there.
    fn value(&self, dump: &Dump) -> Option<Vec<u8>> {
        let space = self.root.map_or_else(|| dump.space(), |root| dump.space_of(root));
        space.bytes(self.address, self.bytes)
    }
}

/// Bytes as a number, if they can be one. Of many, those around a place, and how many there are besides.
fn shown(bytes: &[u8], place: usize) -> String {
    const MOST: usize = 64;
    const LINE: usize = 16;
    if bytes.len() <= 8 {
        return format!("{:#x}", bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)));
    }
    let start = if bytes.len() > MOST { (place / LINE * LINE).min(bytes.len() - MOST) } else { 0 };
    let (before, rest) = bytes.split_at(start);
    let (shown, after) = rest.split_at(MOST.min(rest.len()));
    let mut text = shown.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
    if !before.is_empty() {
        text = format!("[{} bytes] {text}", before.len());
    }
    if !after.is_empty() {
        write!(text, " [{} bytes]", after.len()).expect("writing to a string succeeds");
    }
    text
}

/// Where two values of one size differ first.
fn difference(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).position(|(one, other)| one != other).unwrap_or(0)
}

/// Whose memory is meant, before it is known where in memory: what leads there is in it, too.
fn guess<'a>(people: &'a Population, question: Question<'_>) -> Result<Option<&'a Person>> {
    let Some(name) = question.process else {
        let (first, second) = (people.culprit.as_ref(), people.current.as_ref());
        return Ok(if question.at.is_some() { second } else { first.or(second) });
    };
    let mut named = people.people.iter().filter(|person| person.is_called(name));
    match (named.next(), named.next()) {
        (Some(person), None) => Ok(Some(person)),
        (Some(_), Some(_)) => bail!("several processes are called {name}: {}", list(&people.people)),
        // It may have been there before.
        (None, _) => Ok(None),
    }
}

/// Whose memory an address is in. Nobody's, if whoever had it is gone.
fn owner<'a>(
    people: &'a Population,
    dump: &Dump,
    guessed: Option<&'a Person>,
    named: Option<&str>,
    address: u64,
) -> Result<Option<&'a Person>> {
    let has = |person: &&Person| dump.space_of(person.root).translate(address).is_some();
    if let Some(person) = guessed.filter(has) {
        return Ok(Some(person));
    }
    if named.is_some() {
        return Ok(None);
    }
    let found: Vec<&Person> = people.people.iter().filter(has).collect();
    match found.as_slice() {
        [only] => Ok(Some(only)),
        [] => Ok(None),
        _ => bail!(
            "several processes have memory at {address:#x}: choose one by `--process NAME` of {}",
            list(found)
        ),
    }
}

fn list<'a>(people: impl IntoIterator<Item = &'a Person>) -> String {
    people.into_iter().map(|person| person.shown.as_str()).collect::<Vec<_>>().join(", ")
}

/// The first of these addresses, in the kernel's half, where nothing is, if there is one.
fn missing(people: &Population, dump: &Dump, address: u64, bytes: u64) -> Option<u64> {
    // Before the kernel has page tables, all addresses seem to be memory's.
    let is_canonical = |address: u64| address >> 47 == 0x1_ffff;
    let roots = || people.people.iter().map(|person| dump.space_of(person.root));
    let is_there = |address: u64| {
        is_canonical(address) && roots().chain([dump.space()]).any(|space| space.translate(address).is_some())
    };
    let Some(last) = address.checked_add(bytes - 1) else { return Some(address) };
    let starts = std::iter::successors(Some(address), |start| (start / PAGE + 1).checked_mul(PAGE));
    starts.take_while(|start| *start <= last).find(|start| !is_there(*start))
}

/// The same memory by the kernel's addresses, page by page.
fn aliases(people: &Population, dump: &Dump, owner: &Person, address: u64, bytes: u64) -> Vec<Place> {
    let end = address.saturating_add(bytes);
    let starts = std::iter::successors(Some(address), |start| Some((start / PAGE + 1) * PAGE));
    let pieces = starts.take_while(|start| *start < end).filter_map(|start| {
        let physical = dump.space_of(owner.root).translate(start)?;
        let bytes = end.min((start / PAGE + 1) * PAGE) - start;
        Some(Place { address: people.direct_map.checked_add(physical)?, bytes, root: None })
    });
    pieces.collect()
}

/// Where an expression is, and how large it is.
fn evaluate(gdb: &mut Driven, expression: &str) -> Result<(u64, u64)> {
    // A string of JSON is one of Python's, too.
    let plain = serde_json::to_string(expression).context("failed to quote the expression")?;
    let quoted =
        serde_json::to_string(&format!("&({expression})")).context("failed to quote the expression")?;
    let value =
        format!("python _v = gdb.parse_and_eval({quoted}); print('at', int(_v), _v.type.target().sizeof)");
    // Of a static's value gdb wants to know more than where it is, which may be in nobody's memory any more.
    let symbol = format!(
        "python import re; _e = {plain}; _s = gdb.lookup_static_symbol(_e) or gdb.lookup_global_symbol(_e); \
         _a = gdb.execute('info address ' + _e, to_string=True); \
         print('at', int(re.search('address (0x[0-9a-f]+)', _a).group(1), 16), _s.type.sizeof)"
    );
    let mut answers = Vec::new();
    // Rust's syntax comes first; `*(long *)0x1000` is C's.
    for (language, ask) in [("rust", &value), ("c", &value), ("rust", &symbol)] {
        gdb.ask(&format!("set language {language}"))?;
        let answer = gdb.ask(ask)?;
        let numbers = answer.lines().find_map(|line| line.strip_prefix("at "));
        let mut numbers = numbers.unwrap_or_default().split(' ').map(str::parse);
        if let (Some(Ok(address)), Some(Ok(bytes))) = (numbers.next(), numbers.next()) {
            return Ok((address, bytes));
        }
        let reason = answer.lines().find(|line| line.contains("rror: ")).unwrap_or(&answer);
        let reason =
            escape(reason.split_once("rror: ").map_or(reason, |(_, reason)| reason).trim().as_bytes());
        if !answers.contains(&reason) && *ask == value {
            answers.push(reason);
        }
    }
    bail!("gdb doesn't find {expression}: {}", answers.join("; as C: "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_a_number_or_bytes_and_of_many_those_that_differ() {
        assert_eq!(shown(&[1, 2], 0), "0x201");
        assert_eq!(shown(&[7; 9], 0), "07 07 07 07 07 07 07 07 07");
        assert_eq!(shown(&[7; 64], 50).split(' ').count(), 64);
        let mut other = [7; 200];
        other[101] = 0;
        let place = difference(&[7; 200], &other);
        assert_eq!(place, 101);
        let text = shown(&other, place);
        assert!(text.starts_with("[96 bytes] 07 07 07 07 07 00 07 "), "{text}");
        assert!(text.ends_with(" 07 [40 bytes]"), "{text}");
        assert!(shown(&other, 199).starts_with("[136 bytes] 07 ") && shown(&other, 199).ends_with(" 07"));
        assert!(shown(&other, 0).ends_with(" 07 [136 bytes]"));
    }
}
