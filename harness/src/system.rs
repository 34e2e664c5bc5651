//! `os/system.toml`: which processes start, and what each may do.
//!
//! The file is checked as a whole when it is read; [`System::entries`] then turns names into the
//! numbers that the kernel reads (see [`abi::boot`]). Whoever reads the file later may rely on
//! every name in it.

mod error;
mod file;
#[cfg(test)]
mod tests;

pub use error::SystemError;

use abi::boot::{self, Entry, Irq, PROGRAM_TRAPS, Pair, Ports, Process};
use abi::ipc::Primitive;
use abi::protocols::{address, kernel};
use abi::{CallInfo, Callers, Endpoint, Name};
use std::collections::BTreeSet;

/// The kernel calls that every service may make, whatever the file says.
const BASIC_CALLS: [&str; 9] = [
    "whoami",
    "exit",
    "diag",
    "times",
    "setgrant",
    "safecopy_from",
    "safecopy_to",
    "vsafecopy",
    "safe_memset",
];
/// The first slot that is not for services of the file.
const FIRST_GUEST_SLOT: u16 = 16;
/// Pins of the machine's I/O APIC.
const IRQ_LINES: u8 = 24;
/// What the kernel calls itself in its log.
pub const KERNEL: &str = "kernel";

/// The checked contents of `os/system.toml`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct System {
    programs: Share,
    /// Services that programs may send to.
    programs_send_to: Vec<u16>,
    /// Who looks after all programs.
    programs_managers: Managers,
    services: Vec<Service>,
}

/// Who looks after a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Managers {
    signal_manager: Endpoint,
    backup_manager: Endpoint,
    scheduler: Endpoint,
}

impl Managers {
    /// The entry of the manifest, if there is anything to say.
    fn entry(self, slot: u16) -> Option<Entry> {
        let Self { signal_manager, backup_manager, scheduler } = self;
        let entry = boot::Managers { slot, signal_manager, backup_manager, scheduler };
        (self != Self::default()).then_some(Entry::Managers(entry))
    }
}

/// What a process gets of the processor, the memory and the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Share {
    priority: u8,
    quantum_ms: u32,
    stack_bytes: u32,
    heap_bytes: u32,
    kernel_calls: u128,
}

/// A service of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    name: Name,
    file: Name,
    slot: u16,
    /// That of services, and its role.
    class: Callers,
    share: Share,
    send_to: Vec<u16>,
    ports: Vec<(u16, u16)>,
    irqs: Vec<u8>,
    traps: u32,
    managers: Managers,
    grants_magic: bool,
}

impl Service {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    /// The package that it is built from, whose program has the same name.
    #[must_use]
    pub fn package(&self) -> &str {
        self.file.as_str()
    }
}

/// A process that starts after the services: a program, or a part of a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guest {
    /// What it is called.
    pub name: String,
    /// The file of the boot image that it runs.
    pub file: String,
    /// What it may do.
    pub class: Class,
    /// The machine stops when it ends.
    pub ends_machine: bool,
    /// Which server's part it plays, if it plays one.
    pub role: Option<Role>,
    /// Who takes its signals: a process's name, or `self`.
    pub signal_manager: Option<String>,
    /// Bytes of heap, if not as many as a program's.
    pub heap_bytes: Option<u32>,
}

/// A server that a service is, or whose part a guest process plays: it may make the calls that only that one may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The memory manager.
    Vm,
    /// The process manager.
    Pm,
    /// The reincarnation server.
    Rs,
    /// The virtual file system.
    Vfs,
}

impl Role {
    const fn class(self) -> Callers {
        match self {
            Self::Vm => Callers::VM,
            Self::Pm => Callers::PM,
            Self::Rs => Callers::RS,
            Self::Vfs => Callers::VFS,
        }
    }
}

/// What a guest process may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Call services and end, with the privileges that all programs share.
    #[default]
    Program,
    /// Use every primitive, make every kernel call, and send to every process of the machine.
    Service,
    /// Wait, and nothing else.
    #[serde(skip)]
    Idle,
}

impl System {
    /// Reads and checks the text of a `system.toml`.
    ///
    /// # Errors
    /// Names what is wrong, and where.
    pub fn parse(text: &str) -> Result<Self, SystemError> {
        let file: file::File = toml::from_str(text).map_err(|error| SystemError::Toml(error.to_string()))?;
        let slots = slots(&file)?;
        let services = file
            .service
            .iter()
            .map(|(name, service)| check_service(name, service, &slots))
            .collect::<Result<Vec<Service>, _>>()?;
        check_roles(&services)?;
        if let Some(cycle) = cycle(&services, &|service| service.send_to.clone()) {
            return Err(SystemError::Cycle(cycle));
        }
        let scheduler =
            |service: &Service| service.managers.scheduler.slot().into_iter().collect::<Vec<u16>>();
        if let Some(cycle) = cycle(&services, &scheduler) {
            return Err(SystemError::SchedulerCycle(cycle));
        }
        let waits = |service: &Service| [service.send_to.clone(), scheduler(service)].concat();
        if let Some(cycle) = cycle(&services, &waits) {
            return Err(SystemError::MixedCycle(cycle));
        }
        Ok(Self {
            programs_managers: managers(
                "programs",
                [&file.programs.signal_manager, &file.programs.backup_manager, &file.programs.scheduler],
                &slots,
            )?,
            programs: Share {
                priority: file.programs.priority,
                quantum_ms: file.programs.quantum_ms,
                stack_bytes: bytes("programs", "stack", &file.programs.stack)?,
                heap_bytes: bytes("programs", "heap", &file.programs.heap)?,
                kernel_calls: call_mask("programs", &file.programs.kernel_calls, Callers::PROGRAM)?,
            },
            programs_send_to: receivers("programs", &file.programs.send_to, &slots)?,
            services,
        })
    }

    /// The services, in the order in which they start.
    #[must_use]
    pub fn services(&self) -> &[Service] {
        &self.services
    }

    /// The manifest's entries for a machine with all services, and then the given processes.
    ///
    /// # Errors
    /// If a guest's name is no name, or another process has it.
    pub fn entries(&self, guests: &[Guest]) -> Result<Vec<Entry>, SystemError> {
        let all = guests;
        let guests = self.place(guests)?;
        let placed: Vec<(&Guest, Process)> =
            all.iter().zip(guests.iter().map(|(process, _)| *process)).collect();
        let services = self.services.iter().map(|service| Entry::Process(service.process()));
        let mut entries: Vec<Entry> =
            services.chain(guests.iter().map(|(process, _)| Entry::Process(*process))).collect();
        entries.extend(self.pairs(&guests).into_iter().map(Entry::Pair));
        for service in &self.services {
            let slot = service.slot;
            entries
                .extend(service.ports.iter().map(|&(first, last)| Entry::Ports(Ports { slot, first, last })));
            entries.extend(service.irqs.iter().map(|&line| Entry::Irq(Irq { slot, line })));
            entries.extend(service.managers.entry(slot));
        }
        entries.extend(self.guests_managers(&placed)?);
        Ok(entries)
    }

    /// Who looks after the guests: for programs, what the file says of all of them; for others, nobody.
    /// What a guest itself says goes before.
    fn guests_managers(&self, placed: &[(&Guest, Process)]) -> Result<Vec<Entry>, SystemError> {
        let services = self.services.iter().map(|service| (service.name(), service.slot));
        let guests = placed.iter().map(|(guest, process)| (guest.name.as_str(), process.slot));
        let names: Slots<'_> = services.chain(guests).collect();
        let managers_of = |(guest, process): &(&Guest, Process)| {
            let mut managers = match guest.class {
                Class::Program => self.programs_managers,
                Class::Service | Class::Idle => Managers::default(),
            };
            if guest.signal_manager.is_some() {
                managers.signal_manager =
                    manager(&guest.name, "signal_manager", &guest.signal_manager, &names)?;
            }
            Ok(managers.entry(process.slot))
        };
        placed.iter().filter_map(|guest| managers_of(guest).transpose()).collect()
    }

    /// Gives each guest a slot and its privileges.
    fn place(&self, guests: &[Guest]) -> Result<Vec<(Process, Class)>, SystemError> {
        let mut names: BTreeSet<&str> = self.services.iter().map(Service::name).collect();
        let taken: BTreeSet<u16> = self.services.iter().map(|service| service.slot).collect();
        let free = (FIRST_GUEST_SLOT..Endpoint::SLOTS).filter(|slot| !taken.contains(slot));
        let placed = guests.iter().zip(free).map(|(guest, slot)| {
            if !names.insert(&guest.name) {
                return Err(SystemError::NameTaken(guest.name.clone()));
            }
            Ok((self.guest_process(guest, slot)?, guest.class))
        });
        placed.collect()
    }

    fn guest_process(&self, guest: &Guest, slot: u16) -> Result<Process, SystemError> {
        let (class, traps, kernel_calls) = match guest.class {
            Class::Program => (Callers::PROGRAM, PROGRAM_TRAPS, self.programs.kernel_calls),
            Class::Service => (Callers::SERVICE, every_primitive(), every_call()),
            Class::Idle => (Callers::SERVICE, idle_traps(), self.programs.kernel_calls),
        };
        let class = guest.role.map_or(class, |role| class.or(role.class()));
        let heap_bytes = guest.heap_bytes.unwrap_or(self.programs.heap_bytes);
        let share = Share { kernel_calls, heap_bytes, ..self.programs };
        let process =
            share.process(check_name(&guest.name)?, check_name(&guest.file)?, slot, Rights { class, traps });
        let grants_magic = guest.class != Class::Program;
        Ok(Process { ends_machine: guest.ends_machine, grants_magic, ..process })
    }

    /// Who may send to whom, each pair once.
    fn pairs(&self, guests: &[(Process, Class)]) -> Vec<Pair> {
        let all = || {
            self.services.iter().map(|service| service.slot).chain(guests.iter().map(|(guest, _)| guest.slot))
        };
        let mut known = BTreeSet::new();
        let mut pairs = Vec::new();
        let mut add = |from: u16, to: u16| {
            if from != to && known.insert((from.min(to), from.max(to))) {
                pairs.push(Pair { from, to });
            }
        };
        for service in &self.services {
            service.send_to.iter().for_each(|&to| add(service.slot, to));
        }
        for (guest, class) in guests {
            match class {
                Class::Program => self.programs_send_to.iter().for_each(|&to| add(guest.slot, to)),
                Class::Service => all().for_each(|to| add(guest.slot, to)),
                Class::Idle => {}
            }
        }
        pairs
    }
}

impl Service {
    fn process(&self) -> Process {
        let rights = Rights { class: self.class, traps: self.traps };
        let process = self.share.process(self.name, self.file, self.slot, rights);
        Process { grants_magic: self.grants_magic, ..process }
    }
}

/// What a process is, and which primitives it may use.
struct Rights {
    class: Callers,
    traps: u32,
}

impl Share {
    fn process(self, name: Name, file: Name, slot: u16, rights: Rights) -> Process {
        Process {
            name,
            file,
            slot,
            class: rights.class,
            priority: self.priority,
            quantum_ms: self.quantum_ms,
            stack_bytes: self.stack_bytes,
            heap_bytes: self.heap_bytes,
            traps: rights.traps,
            kernel_calls: self.kernel_calls,
            grants_magic: false,
            ends_machine: false,
        }
    }
}

/// The slots of the file's services, by name.
type Slots<'a> = Vec<(&'a str, u16)>;

/// Checks names and slots of all services, which the rest of the file refers to.
fn slots(file: &file::File) -> Result<Slots<'_>, SystemError> {
    let mut slots = Slots::new();
    for (name, service) in &file.service {
        check_name(name)?;
        if service.slot >= Endpoint::SLOTS {
            return Err(SystemError::BadSlot { service: name.clone(), slot: service.slot });
        }
        if let Some((other, _)) = slots.iter().find(|(_, slot)| *slot == service.slot) {
            return Err(SystemError::SlotTaken {
                service: name.clone(),
                other: (*other).to_owned(),
                slot: service.slot,
            });
        }
        check_address(name, service.slot)?;
        slots.push((name, service.slot));
    }
    Ok(slots)
}

/// Compares a slot with the address that clients have compiled in.
fn check_address(name: &str, slot: u16) -> Result<(), SystemError> {
    match address::ALL.iter().find(|(known, _)| *known == name) {
        Some((_, endpoint)) if *endpoint != Endpoint::at_boot(slot) => Err(SystemError::OtherAddress {
            service: name.to_owned(),
            slot,
            address: endpoint.slot().unwrap_or_default(),
        }),
        _ => Ok(()),
    }
}

fn check_service(name: &str, service: &file::Service, slots: &Slots<'_>) -> Result<Service, SystemError> {
    let send_to = receivers(name, &service.send_to, slots)?;
    if send_to.contains(&service.slot) {
        return Err(SystemError::SendsToItself(name.to_owned()));
    }
    if let Some(&line) = service.irqs.iter().find(|line| **line >= IRQ_LINES) {
        return Err(SystemError::BadIrq { service: name.to_owned(), line });
    }
    let calls = service.kernel_calls.iter().map(String::as_str);
    let calls: Vec<&str> = BASIC_CALLS.into_iter().chain(calls).collect();
    let class = service.role.map_or(Callers::SERVICE, |role| Callers::SERVICE.or(role.class()));
    Ok(Service {
        name: check_name(name)?,
        file: check_name(&service.package)?,
        slot: service.slot,
        class,
        share: Share {
            priority: service.priority,
            quantum_ms: service.quantum_ms,
            stack_bytes: bytes(name, "stack", &service.stack)?,
            heap_bytes: bytes(name, "heap", &service.heap)?,
            kernel_calls: call_mask(name, &calls, class)?,
        },
        send_to,
        ports: service.ports.iter().map(|range| port_range(name, range)).collect::<Result<_, _>>()?,
        irqs: service.irqs.clone(),
        traps: trap_mask(name, service.traps.as_deref())?,
        managers: managers(
            name,
            [&service.signal_manager, &service.backup_manager, &service.scheduler],
            slots,
        )?,
        grants_magic: service.grants_magic,
    })
}

/// Checks that no role is given twice.
fn check_roles(services: &[Service]) -> Result<(), SystemError> {
    let with_role = || services.iter().filter(|service| service.class != Callers::SERVICE);
    for (index, service) in with_role().enumerate() {
        if let Some(other) = with_role().take(index).find(|other| other.class == service.class) {
            let [service, other] = [service, other].map(|service| service.name().to_owned());
            return Err(SystemError::RoleTaken { service, other });
        }
    }
    Ok(())
}

/// Who looks after a process: signal manager, backup, scheduler.
fn managers(
    owner: &str,
    [signal, backup, scheduler]: [&Option<String>; 3],
    slots: &Slots<'_>,
) -> Result<Managers, SystemError> {
    let scheduler = scheduler.as_ref().filter(|name| *name != KERNEL).cloned();
    let backup_manager = manager(owner, "backup_manager", backup, slots)?;
    let scheduler = manager(owner, "scheduler", &scheduler, slots)?;
    if backup_manager == Endpoint::SELF {
        return Err(SystemError::UnknownManager {
            owner: owner.into(),
            key: "backup_manager",
            name: SELF.into(),
        });
    }
    if scheduler == Endpoint::SELF {
        return Err(SystemError::UnknownManager { owner: owner.into(), key: "scheduler", name: SELF.into() });
    }
    let signal_manager = manager(owner, "signal_manager", signal, slots)?;
    Ok(Managers { signal_manager, backup_manager, scheduler })
}

/// How a process names itself as its own manager.
const SELF: &str = "self";

fn manager(
    owner: &str,
    key: &'static str,
    name: &Option<String>,
    slots: &Slots<'_>,
) -> Result<Endpoint, SystemError> {
    let Some(name) = name else { return Ok(Endpoint::NONE) };
    if name == SELF {
        return Ok(Endpoint::SELF);
    }
    let known = slots.iter().find(|(known, _)| known == name);
    known.map(|(_, slot)| Endpoint::at_boot(*slot)).ok_or_else(|| SystemError::UnknownManager {
        owner: owner.to_owned(),
        key,
        name: name.clone(),
    })
}

/// A bit for each primitive, by its name in lower case; all of them if nothing is said.
fn trap_mask(owner: &str, names: Option<&[String]>) -> Result<u32, SystemError> {
    let Some(names) = names else { return Ok(every_primitive()) };
    let bit = |name: &String| {
        let known = Primitive::ALL.iter().find(|primitive| primitive.name().to_lowercase() == *name);
        known
            .map(|primitive| primitive.bit())
            .ok_or_else(|| SystemError::UnknownTrap { service: owner.to_owned(), name: name.clone() })
    };
    names.iter().try_fold(0, |mask, name| Ok(mask | bit(name)?))
}

/// A circle of services, by name, in which each waits for the next, if there is one: nobody in it would ever go on.
/// Whom a service waits for is told by its slot.
fn cycle(services: &[Service], waits_for: &dyn Fn(&Service) -> Vec<u16>) -> Option<Vec<String>> {
    let find = |slot: u16| services.iter().position(|service| service.slot == slot);
    let next: Vec<Vec<usize>> =
        services.iter().map(|service| waits_for(service).into_iter().filter_map(find).collect()).collect();
    let mut is_done = vec![false; services.len()];
    let circle =
        (0..services.len()).find_map(|start| cycle_from(&next, start, &mut Vec::new(), &mut is_done))?;
    Some(circle.into_iter().map(|index| services[index].name().to_owned()).collect())
}

/// A circle that can be reached from the end of a path.
fn cycle_from(
    next: &[Vec<usize>],
    at: usize,
    path: &mut Vec<usize>,
    is_done: &mut [bool],
) -> Option<Vec<usize>> {
    if let Some(first) = path.iter().position(|on_path| *on_path == at) {
        return Some(path[first..].iter().copied().chain([at]).collect());
    }
    if is_done[at] {
        return None;
    }
    path.push(at);
    let circle = next[at].iter().find_map(|after| cycle_from(next, *after, path, is_done));
    path.pop();
    is_done[at] = true;
    circle
}

/// Accepts what the kernel would, except its own name: it would look like the kernel in the log.
fn check_name(name: &str) -> Result<Name, SystemError> {
    match Name::new(name) {
        Some(checked) if name != KERNEL => Ok(checked),
        _ => Err(SystemError::BadName(name.to_owned())),
    }
}

fn receivers(from: &str, names: &[String], slots: &Slots<'_>) -> Result<Vec<u16>, SystemError> {
    let find = |name: &String| match slots.iter().find(|(known, _)| known == name) {
        Some((_, slot)) => Ok(*slot),
        None => Err(SystemError::UnknownService { from: from.to_owned(), name: name.clone() }),
    };
    names.iter().map(find).collect()
}

/// A bit for each call, which the caller must be of the right kind for.
fn call_mask(from: &str, names: &[impl AsRef<str>], caller: Callers) -> Result<u128, SystemError> {
    let mut mask = 0;
    for name in names {
        let name = name.as_ref();
        let Some(call) = kernel::PROTOCOL.calls.iter().find(|call| short_name(call) == name) else {
            return Err(SystemError::UnknownCall { from: from.to_owned(), name: name.to_owned() });
        };
        if !call.from.admits(caller) {
            let callers = call.from;
            return Err(SystemError::CallOfOthers { from: from.to_owned(), name: name.to_owned(), callers });
        }
        mask |= call.bit();
    }
    Ok(mask)
}

/// `exit` of `kernel.exit`.
fn short_name(call: &CallInfo) -> &'static str {
    call.name.rsplit('.').next().unwrap_or(call.name)
}

fn every_primitive() -> u32 {
    Primitive::ALL.iter().fold(0, |mask, primitive| mask | primitive.bit())
}

/// To receive, and to ask the kernel who one is.
const fn idle_traps() -> u32 {
    Primitive::Receive.bit() | Primitive::KernelCall.bit()
}

fn every_call() -> u128 {
    kernel::PROTOCOL.calls.iter().fold(0, |mask, call| mask | call.bit())
}

/// Reads `4096`, `64K` or `1M`.
fn bytes(owner: &str, key: &'static str, text: &str) -> Result<u32, SystemError> {
    let (digits, unit) = match text.as_bytes().last() {
        Some(b'K') => (&text[..text.len() - 1], 1 << 10),
        Some(b'M') => (&text[..text.len() - 1], 1 << 20),
        _ => (text, 1),
    };
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let size = digits.parse().ok().filter(|_| is_number).and_then(|number: u32| number.checked_mul(unit));
    match size {
        Some(size) if size > 0 => Ok(size),
        _ => Err(SystemError::BadSize { owner: owner.to_owned(), key, text: text.to_owned() }),
    }
}

/// Reads `0x3f8-0x3ff` or `0x80`.
fn port_range(owner: &str, text: &str) -> Result<(u16, u16), SystemError> {
    let port = |text: &str| {
        let digits = text.strip_prefix("0x")?;
        // `from_str_radix` would take a sign.
        let is_number = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        u16::from_str_radix(digits, 16).ok().filter(|_| is_number)
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (port(first), port(last)) {
        (Some(first), Some(last)) if first <= last => Ok((first, last)),
        _ => Err(SystemError::BadPorts { service: owner.to_owned(), text: text.to_owned() }),
    }
}
