//! A walk at random through all that is connected: memory that is missing or held by VM, grants, signals, updates,
//! schedulers. After each step the table is sound, and nobody waits for what can't come.
//!
//! Random [calls](super::random) alone seldom get that far: here VM answers, and whoever stands still goes on.

use super::random::{DEADLY, Random, sensible};
use crate::fake::{Fake, at, kernel, program, server, service};
use crate::fault::{Access, Fault};
use crate::ipc::tests::check_invariants;
use crate::memory::requests::tests::{check_requests, taken};
use crate::privilege::Notifier;
use crate::process::{Process, Stops};
use crate::{Kernel, OutOfTurn, Slot};
use abi::boot::Managers;
use abi::ipc::Primitive;
use abi::protocols::{KEEP_PRIORITY, Scheduler, kernel as calls};
use abi::{
    Call, Callers, CopyFlags, Endpoint, GrantAccess, GrantEntry, GrantId, Message, RequestOutcome, Wire,
};

/// Memory of everybody's: a page, one that is missing, one that can't be written, and one that is missing.
const HERE: u64 = 0x10_0000;
/// Tables of grants, of eight entries.
const TABLE: u64 = 0x20_0000;

const RS: u16 = 0;
const VM: u16 = 1;
const PM: u16 = 2;

#[test]
fn no_walk_leaves_anybody_waiting_for_nothing() {
    let mut random = Random::new(0x1d87_2b41_9c5a_60e3);
    let runs = if cfg!(miri) { 4 } else { 12_000 };
    let mut seen = Seen::default();
    for _ in 0..runs {
        let mut kernel = world();
        for _ in 0..250 {
            random.living = kernel.processes.iter().map(|(_, process)| process.endpoint).collect();
            match kernel.turn() {
                OutOfTurn::Continue(slot) => kernel.go_on(slot),
                OutOfTurn::Run(slot) => step(&mut kernel, slot, &mut random),
                _ if let_go_on(&mut kernel) => {}
                _ => break,
            }
            check_invariants(&kernel);
            check_requests(&kernel);
            check_waits(&kernel);
            seen.look(&kernel);
        }
    }
    let Seen { for_vm, for_release, in_faults, at_scheduler } = seen;
    assert!([for_vm, for_release, in_faults, at_scheduler].iter().all(|times| *times > 1000), "{seen:?}");
}

/// How many steps ended with somebody in such a state, without which the walk would show little.
#[derive(Debug, Default, Clone, Copy)]
struct Seen {
    for_vm: u64,
    for_release: u64,
    in_faults: u64,
    at_scheduler: u64,
}

impl Seen {
    fn look(&mut self, kernel: &Kernel<Fake>) {
        for (_, process) in kernel.processes.iter() {
            let stops = process.stops;
            let parked = &process.memory.call.parked;
            self.for_vm += u64::from(parked.request().is_some());
            self.for_release += u64::from(parked.needs_vm() && parked.request().is_none());
            self.in_faults += u64::from(stops.contains(Stops::PAGE_FAULT));
            self.at_scheduler += u64::from(stops.contains(Stops::NO_QUANTUM));
        }
    }
}

/// Three servers, two services and a program. Each of the services has grants of every kind; those of 4 lie in a page
/// that can't be written.
fn world() -> Kernel<Fake> {
    let both = Callers::PM.or(Callers::RS);
    let processes =
        [server(RS, both), server(VM, Callers::VM), server(PM, both), service(3), service(4), program(5)];
    let mut kernel = kernel(&processes);
    let none = Endpoint::NONE;
    let managers = [
        (RS, Endpoint::SELF, at(PM)),
        (VM, at(RS), at(PM)),
        (3, at(PM), at(RS)),
        (4, at(RS), none),
        (5, at(RS), none),
    ];
    for (slot, signal_manager, backup_manager) in managers {
        kernel.set_managers(Managers { slot, signal_manager, backup_manager, scheduler: none }).unwrap();
    }
    kernel.machine.next_space = 100;
    for space in 0..6 {
        for (page, is_writable) in [(0x7000, true), (HERE, true), (HERE + 0x2000, false), (TABLE, space != 4)]
        {
            kernel.machine.memory.map(space, page, is_writable);
        }
    }
    for slot in 0..5 {
        for index in 0..8 {
            let mut bytes = vec![0; GrantEntry::SIZE];
            entry(slot, index).put(&mut bytes);
            kernel.machine.memory.poke(slot, TABLE + u64::from(index) * GrantEntry::SIZE as u64, &bytes);
        }
        kernel.asks(slot, &calls::setgrant::Request { address: TABLE, entries: 8 });
    }
    kernel
}

fn entry(granter: u16, index: u16) -> GrantEntry {
    let kind = [GrantEntry::DIRECT, GrantEntry::MAGIC, GrantEntry::INDIRECT, GrantEntry::DIRECT];
    let kind = kind[usize::from(index) % 4];
    let tries = if index >= 4 { GrantAccess::TRY } else { GrantAccess(0) };
    let access = GrantAccess::READ.or(GrantAccess::WRITE).or(tries);
    GrantEntry {
        flags: GrantEntry::VALID | kind | if kind == GrantEntry::INDIRECT { 0 } else { access.0 },
        id: GrantId::new(u32::from(index), 1).unwrap(),
        grantee: Endpoint::ANY,
        owner: at((granter + index) % 5),
        through: GrantId::new(u32::from(index + 1) % 8, 1).unwrap(),
        start: HERE,
        len: 0x4000,
        ..GrantEntry::EMPTY
    }
}

/// Lets one who runs do something.
fn step(kernel: &mut Kernel<Fake>, slot: Slot, random: &mut Random) {
    match random.below(16) {
        0 => kernel.fault(slot, Fault::Page { address: address(random), access: Access::Write }),
        1 => kernel.tick(Some(slot)),
        2..6 => {
            let number = match random.below(5) {
                0 => Primitive::SendA as u64 | (random.next() % 32) << 8,
                _ => Primitive::ALL[random.below(Primitive::ALL.len())] as u64,
            };
            let message = Message { tag: 5, ..Message::zeroed() };
            trap(kernel, slot, number, random.endpoint(), message);
        }
        _ => {
            let message = vm_answer(kernel, slot, random).unwrap_or_else(|| match random.below(2) {
                0 => connected_call(random),
                _ => sensible(random),
            });
            // Who ends or disallows everybody has soon walked to the end.
            let is_deadly = DEADLY.contains(&message.number);
            if !is_deadly || random.below(8) == 0 {
                trap(kernel, slot, Primitive::KernelCall as u64, Endpoint::NONE, message);
            }
        }
    }
}

fn trap(kernel: &mut Kernel<Fake>, slot: Slot, number: u64, endpoint: Endpoint, message: Message) {
    kernel.processes.process_mut(slot).context.message = message;
    kernel.trap(slot, number, endpoint);
}

/// What VM does about what it was asked for, and about who it holds.
fn vm_answer(kernel: &Kernel<Fake>, slot: Slot, random: &mut Random) -> Option<Message> {
    if kernel.vm() != Some(slot) {
        return None;
    }
    let mut one_of = |is_meant: &dyn Fn(&Process<_>) -> bool| {
        let found = kernel.processes.iter().filter(|(_, process)| is_meant(process));
        let found: Vec<_> = found.map(|(_, process)| process.endpoint).collect();
        (!found.is_empty()).then(|| found[random.below(found.len())])
    };
    let faulting = one_of(&|process| process.stops.contains(Stops::PAGE_FAULT));
    let held = one_of(&Process::is_held);
    let taken = taken(kernel);
    match random.below(8) {
        0 | 1 => Some(calls::vm_clear_page_fault::Request { process: faulting? }.to_message(1)),
        2 => Some(calls::vm_set_inhibited::Request { process: held?, inhibited: false }.to_message(1)),
        3 | 4 if taken.is_empty() => Some(calls::vm_memory_request_get::Request {}.to_message(1)),
        3 | 4 => {
            let (requestor, request) = taken[random.below(taken.len())];
            let outcome =
                [RequestOutcome::Ready, RequestOutcome::Ready, RequestOutcome::Illegal][random.below(3)];
            Some(calls::vm_memory_request_reply::Request { requestor, request, outcome }.to_message(1))
        }
        _ => None,
    }
}

/// A call that others' waits depend on.
fn connected_call(random: &mut Random) -> Message {
    let (process, other) = (random.endpoint(), random.endpoint());
    let flag = random.below(2) == 0;
    let (address, to_address) = (address(random), address(random));
    let len = [1, 8, 100, 5000, 9000][random.below(5)];
    let flags = if flag { CopyFlags::WAIT } else { CopyFlags::TRY };
    let grant = GrantId::new(u32::try_from(random.below(8)).unwrap(), 1).unwrap();
    let (granter, byte) = (process, 3);
    let scheduler = if flag { Scheduler::Caller } else { Scheduler::Kernel };
    match random.below(15) {
        0..3 => {
            let to = if flag { Endpoint::SELF } else { other };
            let from_address = address;
            calls::vircopy::Request { from: process, to, flags, from_address, to_address, len }.to_message(1)
        }
        3 => calls::memset::Request { process, flags, address, len, byte }.to_message(1),
        4 => calls::safecopy_from::Request { granter, grant, offset: 0, address, len }.to_message(1),
        5 => calls::safecopy_to::Request { granter, grant, offset: 8, address, len }.to_message(1),
        6 => calls::safe_memset::Request { granter, grant, offset: 8, len, byte }.to_message(1),
        7 => {
            let entries = if random.below(6) == 0 { 0 } else { 8 };
            calls::setgrant::Request { address: TABLE, entries }.to_message(1)
        }
        8 => calls::vm_set_inhibited::Request { process, inhibited: true }.to_message(1),
        9 => calls::getksig::Request {}.to_message(1),
        10 => calls::privilege_disallow::Request { process }.to_message(1),
        11 | 12 => calls::update::Request { source: process, target: other, rollback: flag }.to_message(1),
        13 => calls::privilege_clear_ipc_refs::Request { process }.to_message(1),
        _ => {
            let quantum_ms = 1;
            calls::set_scheduler::Request { process, scheduler, priority: KEEP_PRIORITY, quantum_ms }
                .to_message(1)
        }
    }
}

fn address(random: &mut Random) -> u64 {
    let page = [HERE, HERE + 0x1000, HERE + 0x2000, HERE + 0x3000, TABLE, 0x7000, 0x9000][random.below(7)];
    page + [0, 8, 96, 4000, 4088][random.below(5)]
}

/// Nobody can run: lets a server go on, or a service, as somebody outside of the table would.
fn let_go_on(kernel: &mut Kernel<Fake>) -> bool {
    let waits_for_others = Stops::PAGE_FAULT.with(Stops::MEMORY_REQUEST).with(Stops::ENDED);
    [VM, RS, PM, 3].into_iter().any(|number| {
        let slot = Slot::new(number);
        if kernel.processes.get(slot).is_none_or(|process| process.stops.contains(waits_for_others)) {
            return false;
        }
        kernel.cancel(slot);
        kernel.resume(slot, Stops::NO_PRIVILEGES.with(Stops::STOPPED).with(Stops::TRACED));
        kernel.can_run(number)
    })
}

/// Whoever stands still does so for somebody who is there, and privileges are those of their owner.
pub(crate) fn check_waits(kernel: &Kernel<Fake>) {
    for (slot, process) in kernel.processes.iter() {
        let stops = process.stops;
        let lives = |endpoint: Endpoint| kernel.processes.find(endpoint);
        if stops.contains(Stops::SIGNALLED.with(Stops::SIGNAL_PENDING).with(Stops::ENDED)) {
            assert!(kernel.manager_of(slot).is_some(), "{slot:?} stands still for nobody: {stops}");
        }
        if stops.contains(Stops::NO_QUANTUM) {
            assert!(process.scheduler.and_then(lives).is_some(), "{slot:?} waits for no scheduler");
        }
        if stops.contains(Stops::PAGE_FAULT) {
            assert!(kernel.vm().is_some(), "{slot:?} waits for no VM");
        }
        let id = process.privileges;
        let privileges = &kernel.privileges[id.index()];
        if process.class.admits(Callers::SERVICE) {
            assert_eq!(privileges.owner, process.endpoint, "privileges of another");
        } else {
            assert_eq!(Some(id), kernel.programs, "a program with privileges of its own");
        }
        assert!(!privileges.send_to.contains(Notifier::Service(id)), "{slot:?} may send to itself");
        let mut above = process.scheduler.and_then(lives);
        for _ in 0..kernel.processes.len() {
            assert_ne!(above, Some(slot), "a circle of schedulers");
            above = above.and_then(|slot| kernel.processes.process(slot).scheduler).and_then(lives);
        }
    }
    if let Some(vm) = kernel.vm() {
        assert!(kernel.processes.process(vm).class.admits(Callers::VM));
    }
}
