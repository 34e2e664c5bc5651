//! The commands behind gdb's `monitor`, and what a thread is called.

use crate::System;
use crate::machine::Debuggable;
use crate::state::Catches;
use crate::target::tid_of;
use abi::{Endpoint, Errno, GrantAccess, GrantEntry};
use core::fmt::{self, Write};
use gdbstub::target::ext::monitor_cmd::ConsoleOutput;
use kernel_core::process::Ipc;
use kernel_core::{Kernel, Slot};

const HELP: &str = "\
ps               all processes and what they do
ipc              who waits for whom, with which message
grants PROCESS   the memory that a process grants to others
maps PROCESS     the pages of a process
irq              who hears of which interrupt
timers           uptime and alarms
trace on|off     log every call of every process, or no longer
catch WHAT       stop at faults (as at the start), page-faults (each, before VM is told of it), signals, all, none
reboot           reset the machine
PROCESS is a name, or an endpoint as ps shows it. Of several with one name each is shown.
";

/// Runs a command.
pub(crate) fn run<M: Debuggable>(system: &mut System<M>, command: &[u8], out: ConsoleOutput<'_>) {
    let mut out = Said { to: out, bytes: [0; SAID], len: 0 };
    // What is written goes to gdb, which can't refuse it.
    let _ = dispatch(system, command, &mut out);
    out.flush();
}

/// What is said at once, in bytes.
const SAID: usize = 1024;

/// Sends what is written in few packets.
struct Said<'a> {
    to: ConsoleOutput<'a>,
    bytes: [u8; SAID],
    len: usize,
}

impl Said<'_> {
    fn flush(&mut self) {
        if self.len > 0 {
            self.to.write_raw(&self.bytes[..self.len]);
            self.len = 0;
        }
    }
}

impl Write for Said<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.bytes[self.len] = byte;
            self.len += 1;
            if self.len == SAID {
                self.flush();
            }
        }
        Ok(())
    }
}

fn dispatch<M: Debuggable>(system: &mut System<M>, command: &[u8], out: &mut Said<'_>) -> fmt::Result {
    let text = core::str::from_utf8(command).unwrap_or_default();
    let mut words = text.split_ascii_whitespace();
    let words = [words.next(), words.next(), words.next()];
    match words {
        [Some("help"), None, _] => out.write_str(HELP),
        [Some("ps"), None, _] => ps(out, &system.kernel, system.state.running),
        [Some("ipc"), None, _] => ipc(out, &system.kernel),
        [Some("irq"), None, _] => irq(out, &system.kernel),
        [Some("timers"), None, _] => timers(out, &system.kernel, system.state.stopped_at_ns),
        [Some("reboot"), None, _] => system.kernel.machine.reset(),
        [Some("trace"), Some(value @ ("on" | "off")), None] => {
            system.kernel.trace_calls(value == "on");
            writeln!(out, "calls are {}", if value == "on" { "logged" } else { "not logged" })
        }
        [Some("catch"), Some(what), None] => catch(system, out, what),
        [Some("grants"), Some(process), None] => each(out, &mut system.kernel, process, grants),
        [Some("maps"), Some(process), None] => each(out, &mut system.kernel, process, maps),
        _ => write!(out, "There are:\n{HELP}"),
    }
}

/// What a thread is called: `sh, endpoint 20: sendrec to pm, wait {..}`.
pub(crate) fn thread<M: Debuggable>(out: &mut impl Write, system: &System<M>, slot: Slot) -> fmt::Result {
    let Some(process) = system.kernel.processes().get(slot) else { return Ok(()) };
    write!(out, "{}, endpoint {}: ", process.name, process.endpoint)?;
    doing(out, &system.kernel, slot, system.state.running)
}

fn doing<M: Debuggable>(
    out: &mut impl Write,
    kernel: &Kernel<M>,
    slot: Slot,
    running: Option<Slot>,
) -> fmt::Result {
    if running == Some(slot) && kernel.is_runnable(slot) {
        return out.write_str("running");
    }
    kernel.doing(slot).map_or(Ok(()), |doing| write!(out, "{doing}"))
}

/// Shows something of the process that `text` names: of each, if several have that name.
fn each<M: Debuggable>(
    out: &mut Said<'_>,
    kernel: &mut Kernel<M>,
    text: &str,
    show: fn(&mut Said<'_>, &mut Kernel<M>, Slot) -> fmt::Result,
) -> fmt::Result {
    let named = |kernel: &Kernel<M>, slot: Slot| {
        let process = kernel.processes().get(slot).filter(|process| process.name.as_str() == text);
        process.map(|process| process.endpoint)
    };
    let slots = || (0..kernel.slots()).map(Slot::new);
    let count = slots().filter(|slot| named(kernel, *slot).is_some()).count();
    if count == 0 {
        return match by_endpoint(kernel, text) {
            Some(slot) => show(out, kernel, slot),
            None => writeln!(out, "there is no process {text}: `monitor ps` lists them"),
        };
    }
    for slot in (0..kernel.slots()).map(Slot::new) {
        let Some(endpoint) = named(kernel, slot) else { continue };
        if count > 1 {
            writeln!(out, "{text}, endpoint {endpoint}:")?;
        }
        show(out, kernel, slot)?;
    }
    Ok(())
}

fn by_endpoint<M: Debuggable>(kernel: &Kernel<M>, text: &str) -> Option<Slot> {
    let (slot, generation) = text.split_once('.').unwrap_or((text, "1"));
    let endpoint = Endpoint::new(slot.parse().ok()?, generation.parse().ok()?)?;
    kernel.processes().find(endpoint)
}

fn ps<M: Debuggable>(out: &mut impl Write, kernel: &Kernel<M>, running: Option<Slot>) -> fmt::Result {
    writeln!(out, "thread endpoint priority  ticks process")?;
    for (slot, process) in kernel.processes().iter() {
        let tid = tid_of(process.endpoint);
        let (endpoint, ticks) = (Padded(process.endpoint), process.user_ticks);
        // Names are last, which may be long.
        write!(out, "{tid:>6} {endpoint:>8} {:>8} {ticks:>6} {}: ", process.priority, process.name)?;
        doing(out, kernel, slot, running)?;
        writeln!(out)?;
    }
    Ok(())
}

/// An endpoint that takes the width it is given.
struct Padded(Endpoint);

impl fmt::Display for Padded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0; 24];
        let mut text = crate::target::Text::new(&mut bytes);
        write!(text, "{}", self.0)?;
        let len = text.len();
        f.pad(core::str::from_utf8(&bytes[..len]).unwrap_or_default())
    }
}

fn ipc<M: Debuggable>(out: &mut impl Write, kernel: &Kernel<M>) -> fmt::Result {
    let mut nobody_waits = true;
    for (slot, process) in kernel.processes().iter() {
        if process.ipc == Ipc::Idle && process.stops.is_empty() {
            continue;
        }
        nobody_waits = false;
        if let Some(doing) = kernel.doing(slot) {
            writeln!(out, "{}: {doing}", process.name)?;
        }
    }
    if nobody_waits { writeln!(out, "nobody waits") } else { Ok(()) }
}

fn irq<M: Debuggable>(out: &mut impl Write, kernel: &Kernel<M>) -> fmt::Result {
    let mut is_empty = true;
    for (line, owner, bit, is_active) in kernel.irq_hooks() {
        is_empty = false;
        let state = if is_active { "is dealing with it" } else { "listens" };
        writeln!(out, "line {line}: {} {state}, bit {bit}", kernel.name_of_slot(owner))?;
    }
    if is_empty { writeln!(out, "nobody hears of interrupts") } else { Ok(()) }
}

fn timers<M: Debuggable>(out: &mut impl Write, kernel: &Kernel<M>, now_ns: u64) -> fmt::Result {
    writeln!(out, "uptime {} ms", now_ns / 1_000_000)?;
    for (at_ns, owner) in kernel.alarms() {
        let left_ms = at_ns.saturating_sub(now_ns) / 1_000_000;
        writeln!(out, "{}: alarm in {left_ms} ms", kernel.name_of_slot(owner))?;
    }
    Ok(())
}

fn catch<M: Debuggable>(system: &mut System<M>, out: &mut impl Write, what: &str) -> fmt::Result {
    let catches = &mut system.state.catches;
    match what {
        "faults" => catches.faults = true,
        "page-faults" => catches.page_faults = true,
        "signals" => catches.signals = true,
        "all" => *catches = Catches { faults: true, page_faults: true, signals: true },
        "none" => *catches = Catches { faults: false, page_faults: false, signals: false },
        _ => return writeln!(out, "{what} can't be caught: faults, page-faults, signals, all or none can"),
    }
    let Catches { faults, page_faults, signals } = *catches;
    let names = [(faults, "faults"), (page_faults, "page-faults"), (signals, "signals")];
    out.write_str("stops at:")?;
    for (_, name) in names.iter().filter(|(on, _)| *on) {
        write!(out, " {name}")?;
    }
    writeln!(out, "{}", if faults || page_faults || signals { "" } else { " nothing" })
}

fn grants<M: Debuggable>(out: &mut Said<'_>, kernel: &mut Kernel<M>, slot: Slot) -> fmt::Result {
    let mut written = Ok(());
    let mut is_empty = true;
    let found = kernel.grants(slot, |index, entry| {
        is_empty = false;
        if written.is_ok() {
            written = grant(out, index, entry);
        }
    });
    written?;
    match found {
        Ok(()) if is_empty => writeln!(out, "it grants nothing"),
        Ok(()) => Ok(()),
        Err(Errno::ENOENT) => writeln!(out, "it has no table of grants"),
        Err(error) => writeln!(out, "its table of grants can't be read: {error:?}"),
    }
}

fn grant(out: &mut impl Write, index: u32, entry: &GrantEntry) -> fmt::Result {
    let access = GrantAccess(entry.flags);
    write!(out, "{:?} to {}: {access:?} ", entry.id, entry.grantee)?;
    if entry.id.index() != index {
        write!(out, "(in entry {index}, where no use finds it) ")?;
    }
    match entry.flags & (GrantEntry::DIRECT | GrantEntry::INDIRECT | GrantEntry::MAGIC) {
        GrantEntry::DIRECT => writeln!(out, "{:#x}, {} bytes", entry.start, entry.len),
        GrantEntry::INDIRECT => writeln!(out, "of what {} granted as {:?}", entry.owner, entry.through),
        GrantEntry::MAGIC => writeln!(out, "{:#x} of {}, {} bytes", entry.start, entry.owner, entry.len),
        _ => writeln!(out, "of no valid kind"),
    }
}

fn maps<M: Debuggable>(out: &mut Said<'_>, kernel: &mut Kernel<M>, slot: Slot) -> fmt::Result {
    let Some((machine, process)) = kernel.inside(slot) else { return Ok(()) };
    let mut written = Ok(());
    machine.pages(&process.space, &mut |pages| {
        if written.is_ok() {
            let kib = (pages.end - pages.start) / 1024;
            let write = if pages.is_writable { 'w' } else { '-' };
            let execute = if pages.is_executable { 'x' } else { '-' };
            let whose = if pages.is_lent { "VM's" } else { "the kernel's" };
            written = writeln!(
                out,
                "{:#014x}-{:#014x} r{write}{execute} {kib:>6} KiB {whose}",
                pages.start, pages.end
            );
        }
    });
    written
}
