//! A walk at random among managers, backups, schedulers and VM, who change, end and are replaced. However it went:
//! once each of those who are left has done all that it was told to do, everybody has come to rest.
//!
//! So nobody was left standing still, told nobody, or told somebody by a name that is another's now.

use super::State;
use crate::calls::random::{DEADLY, Random};
use crate::calls::walk::check_waits;
use crate::fake::{Fake, at, kernel, program, server, set_managers, set_system};
use crate::fault::{Access, Fault};
use crate::ipc::tests::check_invariants;
use crate::memory::requests::tests::check_requests;
use crate::process::{Ipc, Process, Stops};
use crate::{Kernel, OutOfTurn, Slot};
use abi::boot::Managers;
use abi::ipc::{AsyncFlags, Primitive};
use abi::notification::Notification;
use abi::protocols::{KEEP_PRIORITY, KEEP_QUANTUM, Scheduler, kernel as calls, sched, vm};
use abi::{Call, Callers, CopyFlags, Endpoint, Errno, Message, Name, RequestOutcome, Signal, Signals};
use std::collections::BTreeMap;

const VM: u16 = 1;
const PROGRAM: u16 = 6;
/// A page that everybody has, and one that nobody has.
const HERE: u64 = 0x10_0000;
const MISSING: u64 = 0x20_0000;

/// Calls after which somebody may have fewer signals, or others.
const TAKES_SIGNALS: [u16; 3] = [
    calls::getksig::Request::INFO.number,
    calls::endksig::Request::INFO.number,
    calls::update::Request::INFO.number,
];

#[test]
fn whoever_does_its_duty_brings_everybody_to_rest() {
    let mut random = Random::new(0x6c07_8965_0aa3_11d7);
    let runs = if cfg!(miri) { 4 } else { 20_000 };
    let mut seen = Seen::default();
    for run in 0..runs {
        let mut world = World::new(&mut random);
        for _ in 0..random.below(200) {
            if !world.step(&mut random) {
                break;
            }
            check_invariants(&world.kernel);
            check_requests(&world.kernel);
            check_waits(&world.kernel);
            seen.look(&world.kernel);
        }
        world.come_to_rest();
        world.check_rest(run);
    }
    let Seen { signalled, in_hands, at_scheduler, for_vm } = seen;
    assert!([signalled, in_hands, at_scheduler, for_vm].iter().all(|times| *times > 1000), "{seen:?}");
}

/// How many steps ended with somebody in such a state, without which the walk would show little.
#[derive(Debug, Default, Clone, Copy)]
struct Seen {
    signalled: u64,
    in_hands: u64,
    at_scheduler: u64,
    for_vm: u64,
}

impl Seen {
    fn look(&mut self, kernel: &Kernel<Fake>) {
        for (_, process) in kernel.processes.iter() {
            self.signalled += u64::from(process.stops.contains(Stops::SIGNALLED));
            self.in_hands += u64::from(
                process.stops.contains(Stops::SIGNAL_PENDING) && !process.stops.contains(Stops::SIGNALLED),
            );
            self.at_scheduler += u64::from(process.stops.contains(Stops::NO_QUANTUM));
            self.for_vm += u64::from(process.stops.contains(Stops::PAGE_FAULT.with(Stops::MEMORY_REQUEST)));
        }
    }
}

/// What a service has been told and has yet to see to.
#[derive(Clone, Debug, Default)]
struct Duties {
    /// It was notified of signals.
    signals: bool,
    /// Those that it has taken and not ended.
    taken: Vec<(Endpoint, Signals)>,
    /// It was notified of memory requests.
    requests: bool,
    faults: Vec<Endpoint>,
    quanta: Vec<Endpoint>,
    /// Who waits for its answer.
    clients: Vec<Endpoint>,
}

impl Duties {
    fn is_done(&self) -> bool {
        let Self { signals, taken, requests, faults, quanta, clients } = self;
        !signals && !requests && taken.is_empty() && [faults, quanta, clients].iter().all(|of| of.is_empty())
    }
}

struct World {
    kernel: Kernel<Fake>,
    /// By slot.
    duties: Vec<Duties>,
    /// The call of this step lets somebody have fewer signals.
    takes_signals: bool,
}

impl World {
    /// Six services, one of them VM, and a program, with managers, backups and schedulers at random.
    fn new(random: &mut Random) -> Self {
        let both = Callers::PM.or(Callers::RS);
        let role = |slot| if slot == VM { server(slot, Callers::VM) } else { server(slot, both) };
        let mut processes: Vec<_> = (0..PROGRAM).map(role).collect();
        processes.extend([program(PROGRAM)]);
        let mut kernel = kernel(&processes);
        for slot in 0..=PROGRAM {
            let [signal_manager, backup_manager, scheduler] = [(); 3].map(|()| manager(random));
            let managers = [signal_manager, backup_manager]
                .map(|one| if one == at(slot) { Endpoint::SELF } else { one });
            let scheduler = if scheduler == Endpoint::SELF { Endpoint::NONE } else { scheduler };
            let [signal_manager, backup_manager] = managers;
            // A circle of schedulers is refused.
            let _ = kernel.set_managers(Managers { slot, signal_manager, backup_manager, scheduler });
        }
        kernel.machine.next_space = 100;
        for space in 0..=PROGRAM {
            kernel.machine.memory.map(space, HERE, true);
        }
        for (_, process) in kernel.processes.iter_mut() {
            process.quantum_ticks = 1;
            process.quantum_left = 1;
        }
        Self { kernel, duties: vec![Duties::default(); 9], takes_signals: false }
    }

    /// Lets one who can run do something. `false` if nobody can.
    fn step(&mut self, random: &mut Random) -> bool {
        if self.has_ended() {
            return false;
        }
        random.living = self.kernel.processes.iter().map(|(_, process)| process.endpoint).collect();
        let ready: Vec<_> = self.kernel.processes.iter().filter(|(_, process)| process.is_ready()).collect();
        if ready.is_empty() {
            return self.wake_somebody(random);
        }
        let slot = ready[random.below(ready.len())].0;
        if self.goes_on(slot) {
            return true;
        }
        self.read_message(slot);
        let before = self.signals();
        self.takes_signals = false;
        if random.below(3) == 0 {
            self.do_duty(slot);
        } else {
            self.do_something(slot, random);
        }
        if !self.takes_signals {
            self.check_kept(&before);
        }
        true
    }

    fn has_ended(&mut self) -> bool {
        matches!(self.kernel.turn(), OutOfTurn::End(_))
    }

    /// Nobody can run: lets one go on whom somebody would who isn't here. `false` if that would help nobody.
    fn wake_somebody(&mut self, random: &mut Random) -> bool {
        let of_others = Stops::STOPPED.with(Stops::NO_PRIVILEGES);
        let can_go_on = |process: &Process<Fake>| process.stops.without(of_others).is_empty();
        let stopped = self.kernel.processes.iter().filter(|(_, process)| can_go_on(process));
        let stopped: Vec<_> = stopped.map(|(slot, _)| slot).collect();
        if stopped.is_empty() {
            return false;
        }
        let slot = stopped[random.below(stopped.len())];
        self.kernel.cancel(slot);
        self.kernel.resume(slot, of_others);
        true
    }

    fn goes_on(&mut self, slot: Slot) -> bool {
        let goes_on = self.kernel.processes.process(slot).memory.call.parked.goes_on();
        if goes_on {
            self.kernel.go_on(slot);
        }
        goes_on
    }

    fn is_service(&self, slot: Slot) -> bool {
        self.kernel.processes.get(slot).is_some_and(|process| process.class.admits(Callers::SERVICE))
    }

    /// Remembers what a message says that a process has received, if it has.
    fn read_message(&mut self, slot: Slot) {
        let process = self.kernel.processes.process_mut(slot);
        let duties = &mut self.duties[slot.index()];
        let status = core::mem::take(&mut process.context.status);
        let message = process.context.message;
        match status.primitive() {
            Some(Primitive::Notify) if message.source == Endpoint::SYSTEM => {
                let pending = Notification::of(&message).unwrap().pending;
                let told = Signals::of_notification(pending);
                duties.signals |= told.intersects(Signals::of(&[Signal::KSIG, Signal::KSIGSM]));
                duties.requests |= told.contains(Signal::KMEM);
            }
            Some(Primitive::Send) if status.is_from_kernel() => {
                assert_eq!(message.number, <vm::page_fault::Request as Call>::INFO.number);
                duties.faults.push(message.source);
            }
            Some(Primitive::SendA) if status.is_from_kernel() => {
                assert_eq!(message.number, <sched::no_quantum::Request as Call>::INFO.number);
                duties.quanta.push(message.source);
            }
            Some(Primitive::SendRec) => duties.clients.push(message.source),
            _ => {}
        }
    }

    /// One thing that a process is to do, or else it waits for what comes. `false` for a program, which has no duties.
    fn do_duty(&mut self, slot: Slot) -> bool {
        if !self.is_service(slot) {
            return false;
        }
        let duties = &mut self.duties[slot.index()];
        if let Some((process, signals)) = duties.taken.pop() {
            if signals.intersects(Signals::TERMINATION) {
                self.call(slot, calls::clear::Request { process }.to_message(1));
            } else {
                self.call(slot, calls::endksig::Request { process }.to_message(1));
            }
        } else if duties.signals {
            if let Ok(calls::getksig::Reply { process, signals }) =
                self.ask(slot, &calls::getksig::Request {})
            {
                let duties = &mut self.duties[slot.index()];
                duties.signals = process != Endpoint::NONE;
                // What it was told of itself needs no end.
                if process != Endpoint::NONE && self.kernel.processes.find(process) != Some(slot) {
                    duties.taken.push((process, signals));
                }
            }
        } else if let Some(process) = duties.faults.pop() {
            self.call(slot, calls::vm_clear_page_fault::Request { process }.to_message(1));
        } else if duties.requests {
            let taken = self.ask(slot, &calls::vm_memory_request_get::Request {});
            self.duties[slot.index()].requests = taken.is_ok();
            if let Ok(calls::vm_memory_request_get::Reply { requestor, request, .. }) = taken {
                let outcome = RequestOutcome::Illegal;
                let reply = calls::vm_memory_request_reply::Request { requestor, request, outcome };
                self.call(slot, reply.to_message(1));
            }
        } else if let Some(process) = duties.quanta.pop() {
            let (priority, quantum_ms) = (KEEP_PRIORITY, KEEP_QUANTUM);
            let request = calls::schedule::Request { process, priority, quantum_ms };
            self.call(slot, request.to_message(1));
        } else if let Some(client) = duties.clients.pop() {
            self.trap(slot, Primitive::SendNb as u64, client, Message::zeroed());
        } else {
            self.trap(slot, Primitive::Receive as u64, Endpoint::ANY, Message::zeroed());
        }
        true
    }

    /// Whatever a process may do, be it wise or not.
    fn do_something(&mut self, slot: Slot, random: &mut Random) {
        match random.below(20) {
            0..3 => self.kernel.tick(Some(slot)),
            3 => self.kernel.fault(slot, Fault::Page { address: MISSING, access: Access::Write }),
            4 => self.kernel.fault(slot, Fault::Exception { vector: 3, code: 0 }),
            5..10 => {
                let primitives = [
                    Primitive::Send,
                    Primitive::SendRec,
                    Primitive::Receive,
                    Primitive::ReplyReceive,
                    Primitive::Notify,
                ];
                let primitive = primitives[random.below(5)];
                self.trap(slot, primitive as u64, random.endpoint(), Message::zeroed());
            }
            10 => self.trap(slot, AsyncFlags::NONE.to_trap(), random.endpoint(), Message::zeroed()),
            11 => self.update(slot, random),
            12 => self.fork(slot, random),
            13 => self.kill(slot, random),
            _ => {
                let message = call(random);
                if !DEADLY.contains(&message.number) || random.below(3) == 0 {
                    self.call(slot, message);
                }
            }
        }
    }

    fn trap(&mut self, slot: Slot, number: u64, endpoint: Endpoint, message: Message) {
        self.kernel.processes.process_mut(slot).context.message = message;
        self.kernel.trap(slot, number, endpoint);
    }

    fn call(&mut self, slot: Slot, request: Message) {
        self.takes_signals = TAKES_SIGNALS.contains(&request.number);
        self.trap(slot, Primitive::KernelCall as u64, Endpoint::NONE, request);
    }

    /// What a kernel call is answered. No call that is made here is left for later.
    fn ask<C: Call>(&mut self, slot: Slot, request: &C) -> Result<C::Reply, Errno> {
        self.call(slot, request.to_message(1));
        let process = self.kernel.processes.get(slot).ok_or(Errno::ESRCH)?;
        C::outcome(&process.context.message)
    }

    /// A new version takes over. It knows what the old one knew, or the kernel says it once more.
    fn update(&mut self, slot: Slot, random: &mut Random) {
        let (source, target) = (random.endpoint(), random.endpoint());
        let Some((one, other)) = self.kernel.processes.find(source).zip(self.kernel.processes.find(target))
        else {
            return;
        };
        for slot in [one, other] {
            if self.kernel.processes.process(slot).ipc == Ipc::Idle {
                self.read_message(slot);
            }
        }
        let rollback = random.below(2) == 0;
        if self.ask(slot, &calls::update::Request { source, target, rollback }).is_err() {
            return;
        }
        // Whoever updates a process whose signal it has in hands knows what that is called now.
        for (process, _) in &mut self.duties[slot.index()].taken {
            match *process {
                was if was == source => *process = target,
                was if was == target => *process = source,
                _ => {}
            }
        }
        if random.below(2) == 0 {
            for slot in [one, other] {
                self.duties[slot.index()] = Duties::default();
                if self.kernel.processes.get(slot).is_some() {
                    self.kernel.clear_ipc_references(slot);
                }
            }
        }
    }

    /// Whoever lives on after a signal has it, or has nobody to deal with it.
    fn kill(&mut self, slot: Slot, random: &mut Random) {
        let signals = [Signal::USR1, Signal::TERM, Signal::CHLD, Signal::USR2, Signal::SEGV, Signal::KILL];
        let (process, signal) = (random.endpoint(), signals[random.below(signals.len())]);
        let outcome = self.ask(slot, &calls::kill::Request { process, signal });
        if outcome.is_ok()
            && let Some(slot) = self.kernel.processes.find(process)
        {
            let State { own, pending, .. } = self.kernel.processes.process(slot).signals;
            assert!(own.union(pending).contains(signal), "{slot:?} has lost {signal}");
        }
    }

    /// The signals of each process that nobody has ended, by its memory.
    fn signals(&self) -> BTreeMap<u16, Signals> {
        let all = |State { own, pending, taken, .. }: State| own.union(pending).union(taken);
        self.kernel.processes.iter().map(|(_, process)| (process.space, all(process.signals))).collect()
    }

    /// Whoever lives on has the signals that it had, or a manager who waits for it, or none.
    fn check_kept(&self, before: &BTreeMap<u16, Signals>) {
        let now = self.signals();
        for (slot, process) in self.kernel.processes.iter() {
            let had = before.get(&process.space).copied().unwrap_or(Signals::NONE);
            let has_all = had.union(now[&process.space]) == now[&process.space];
            assert!(has_all || !self.has_free_manager(slot), "{slot:?} had {had:?}: {:?}", process.signals);
        }
    }

    /// Tells whether a process has a manager that doesn't wait for it.
    fn has_free_manager(&self, slot: Slot) -> bool {
        let Some(manager) = self.kernel.manager_of(slot) else { return false };
        let mut at = manager;
        for _ in 0..self.kernel.processes.len() {
            let Some((next, _)) = self.kernel.waits_for(at) else { return true };
            if next == slot {
                return false;
            }
            at = next;
        }
        true
    }

    /// VM forks, and who schedules the child hears of it.
    fn fork(&mut self, slot: Slot, random: &mut Random) {
        let child = u16::try_from(random.below(9)).unwrap();
        let fork = calls::fork::Request { parent: random.endpoint(), slot: child, inhibited: false };
        if let Ok(calls::fork::Reply { child }) = self.ask(slot, &fork) {
            let slot = self.kernel.processes.find(child).unwrap();
            self.duties[slot.index()] = Duties::default();
            let scheduler = self.kernel.processes.process(slot).scheduler;
            if let Some(scheduler) = scheduler.and_then(|scheduler| self.kernel.processes.find(scheduler)) {
                self.duties[scheduler.index()].quanta.push(child);
            }
        }
    }

    /// Everybody does nothing but its duty until nobody has any. Whoever was stopped by somebody who knows is let go on,
    /// and who waits for one that has nothing to say gives up.
    fn come_to_rest(&mut self) {
        for slot in self.kernel.processes.slots() {
            if self.kernel.processes.get(slot).is_some() {
                self.kernel.resume(slot, Stops::STOPPED.with(Stops::NO_PRIVILEGES));
            }
        }
        for _ in 0..2000 {
            if self.has_ended() {
                return;
            }
            let mut is_at_rest = true;
            for slot in self.kernel.processes.slots() {
                if self.kernel.can_run(slot.number()) {
                    if self.goes_on(slot) {
                        is_at_rest = false;
                        continue;
                    }
                    self.read_message(slot);
                    is_at_rest &= !self.do_duty(slot);
                }
            }
            if is_at_rest && !self.give_up() {
                return;
            }
        }
        panic!("they go on for ever");
    }

    /// The first who waits for one in particular, or has duties and waits, waits no longer. `false` if nobody does.
    fn give_up(&mut self) -> bool {
        let is_wrong = |(slot, process): &(Slot, &Process<Fake>)| {
            let has_duties = !self.duties[slot.index()].is_done();
            process.stops.is_empty() && process.ipc != Ipc::Idle && (has_duties || !waits_for_any(process))
        };
        let first = self.kernel.processes.iter().find(is_wrong).map(|(slot, _)| slot);
        if let Some(slot) = first {
            self.kernel.cancel(slot);
        }
        first.is_some()
    }

    fn check_rest(&self, run: u32) {
        if self.kernel.ended.is_some() {
            return;
        }
        for (slot, process) in self.kernel.processes.iter() {
            let name = (run, slot, process.name, process.stops.to_string(), process.ipc, process.signals);
            let is_idle = process.ipc == Ipc::Idle && !self.is_service(slot);
            assert!(
                process.stops.is_empty() && (is_idle || waits_for_any(process)),
                "never comes to rest: {name:?}"
            );
            let State { own, pending, taken, .. } = process.signals;
            // A program has no calls to take its own with, whatever its privileges say of its manager.
            let own = if self.is_service(slot) { own } else { Signals::NONE };
            assert!(!process.signals.is_delayed, "a stop is put off for ever: {name:?}");
            assert!([own, pending, taken].iter().all(|signals| signals.is_empty()), "has signals: {name:?}");
        }
    }
}

fn waits_for_any(process: &Process<Fake>) -> bool {
    matches!(process.ipc, Ipc::Receiving { from: Endpoint::ANY, .. })
}

/// A manager or scheduler: somebody, the process itself, or nobody.
fn manager(random: &mut Random) -> Endpoint {
    match random.below(8) {
        0 => Endpoint::SELF,
        1 => Endpoint::NONE,
        number => at(u16::try_from(number).unwrap() - 2),
    }
}

fn call(random: &mut Random) -> Message {
    let process = random.endpoint();
    let [signal_manager, backup_manager, scheduler] = [(); 3].map(|()| manager(random));
    let scheduler = if scheduler == Endpoint::SELF { Endpoint::NONE } else { scheduler };
    let flag = random.below(2) == 0;
    match random.below(19) {
        0 => calls::exit::Request { status: 0 }.to_message(1),
        1 => calls::clear::Request { process }.to_message(1),
        2 | 3 => {
            let whose = if flag { Scheduler::Caller } else { Scheduler::Kernel };
            let (priority, quantum_ms) = (KEEP_PRIORITY, 1);
            calls::set_scheduler::Request { process, scheduler: whose, priority, quantum_ms }.to_message(1)
        }
        4 | 5 => {
            let update = set_managers(0, signal_manager, backup_manager);
            calls::privilege_update::Request { process, scheduler, ..update }.to_message(1)
        }
        6 => calls::privilege_disallow::Request { process }.to_message(1),
        7 => calls::privilege_allow::Request { process }.to_message(1),
        8 | 9 => calls::privilege_set_system::Request {
            process,
            signal_manager,
            backup_manager,
            scheduler,
            ..set_system(0, Callers::SERVICE.or(if flag { Callers::PM } else { Callers::VM }), 0)
        }
        .to_message(1),
        10 => calls::privilege_set_user::Request { process }.to_message(1),
        11 => {
            let name = Name::new("new").unwrap();
            calls::exec::Request { process, instruction: 1, stack: 0x8000, argument: 0, name }.to_message(1)
        }
        12 => calls::run_stop::Request { process, delay: flag }.to_message(1),
        13 => calls::run_resume::Request { process }.to_message(1),
        14 => calls::privilege_yield::Request { process }.to_message(1),
        15 => calls::endksig::Request { process }.to_message(1),
        16 => calls::privilege_add_target::Request { process, target: random.endpoint() }.to_message(1),
        _ => {
            let (from, to) = if flag { (Endpoint::SELF, process) } else { (process, Endpoint::SELF) };
            let (from_address, to_address) = (HERE, MISSING);
            let flags = CopyFlags::WAIT;
            calls::vircopy::Request { from, to, flags, from_address, to_address, len: 8 }.to_message(1)
        }
    }
}
