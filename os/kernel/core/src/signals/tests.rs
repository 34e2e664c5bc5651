//! Signals: who is told, who stands still, and what a death leaves behind.

use crate::fake::{Fake, at, kernel, program, server, service, set_managers, set_system};
use crate::fault::{Access, Fault};
use crate::process::Stops;
use crate::{Kernel, Next, OutOfTurn, Slot};
use abi::boot::{self, ExitCode, Managers};
use abi::ipc::Primitive;
use abi::notification::Notification;
use abi::protocols::{FilterKind, FilterRule, kernel as calls};
use abi::{Callers, Endpoint, Errno, Signal, Signals};

const MANAGER: u16 = 0;
const BACKUP: u16 = 1;
const VICTIM: u16 = 2;

fn managers(slot: u16, signal_manager: Endpoint, backup_manager: Endpoint) -> Managers {
    Managers { slot, signal_manager, backup_manager, scheduler: Endpoint::NONE }
}

/// A manager, its backup, a service that both look after, and a program that the manager looks after.
fn four() -> Kernel<Fake> {
    let mut kernel = kernel(&[service(MANAGER), service(BACKUP), service(VICTIM), program(3)]);
    kernel.set_managers(managers(VICTIM, at(MANAGER), at(BACKUP))).unwrap();
    kernel.set_managers(managers(3, at(MANAGER), Endpoint::NONE)).unwrap();
    kernel
}

fn kill(slot: u16, signal: Signal) -> calls::kill::Request {
    calls::kill::Request { process: at(slot), signal }
}

fn endksig(slot: u16) -> calls::endksig::Request {
    calls::endksig::Request { process: at(slot) }
}

fn clear(slot: u16) -> calls::clear::Request {
    calls::clear::Request { process: at(slot) }
}

const GETKSIG: calls::getksig::Request = calls::getksig::Request {};
const FAULT: Fault = Fault::Page { address: 0x10, access: Access::Read };
const BREAKPOINT: Fault = Fault::Exception { vector: 3, code: 0 };

/// The kernel signals of the notification that a process receives now.
fn told(kernel: &mut Kernel<Fake>, slot: u16) -> Option<Signals> {
    kernel.traps(slot, Primitive::Receive, Endpoint::SYSTEM)?.unwrap();
    let context = &kernel.processes.process(Slot::new(slot)).context;
    assert!(context.status.is_from_kernel());
    let Notification { pending, .. } = Notification::of(&context.message).unwrap();
    Some(Signals::of_notification(pending))
}

#[test]
fn a_signal_stops_its_process_until_the_manager_has_ended_it() {
    let mut kernel = four();
    assert_eq!(kernel.asks(1, &kill(VICTIM, Signal::USR1)), "kernel.kill = {}");
    assert_eq!(kernel.asks(1, &kill(VICTIM, Signal::TERM)), "kernel.kill = {}");
    assert!(!kernel.can_run(VICTIM));
    assert_eq!(kernel.asks(MANAGER, &endksig(VICTIM)), "kernel.endksig = {}", "nothing was taken yet");
    assert!(!kernel.can_run(VICTIM));
    assert_eq!(told(&mut kernel, MANAGER), Some(Signals::of(&[Signal::KSIG])));
    let both = "kernel.getksig = { process: 2, signals: {SIGUSR1, SIGTERM} }";
    assert_eq!(kernel.asks(MANAGER, &GETKSIG), both);
    let none = "kernel.getksig = { process: none, signals: {} }";
    assert_eq!(kernel.asks(MANAGER, &GETKSIG), none);
    assert_eq!(kernel.asks(BACKUP, &GETKSIG), none);

    // One that comes in between keeps the process where it is.
    assert_eq!(kernel.asks(1, &kill(VICTIM, Signal::USR2)), "kernel.kill = {}");
    assert_eq!(kernel.asks(MANAGER, &endksig(VICTIM)), "kernel.endksig = {}");
    assert!(!kernel.can_run(VICTIM));
    assert_eq!(kernel.asks(MANAGER, &GETKSIG), "kernel.getksig = { process: 2, signals: {SIGUSR2} }");
    assert_eq!(kernel.asks(MANAGER, &endksig(VICTIM)), "kernel.endksig = {}");
    assert!(kernel.can_run(VICTIM));
    assert_eq!(kernel.asks(MANAGER, &endksig(VICTIM)), "kernel.endksig = EINVAL");
}

/// Something that happens to a process.
type Event<'a> = &'a dyn Fn(&mut Kernel<Fake>);

/// A manager waits for its own process, which comes to stand still until the manager sees to it, or does so already.
// row F1
#[test]
fn a_manager_waits_for_nobody_who_waits_for_it() {
    let exit = |kernel: &mut Kernel<Fake>| {
        kernel.asks(VICTIM, &calls::exit::Request { status: 1 });
    };
    let fault = |kernel: &mut Kernel<Fake>| kernel.fault(Slot::new(VICTIM), BREAKPOINT);
    let signal = |kernel: &mut Kernel<Fake>| {
        assert_eq!(kernel.asks(BACKUP, &kill(VICTIM, Signal::USR1)), "kernel.kill = {}");
    };
    let events: [(Event<'_>, Errno); 3] =
        [(&exit, Errno::EDEADSRCDST), (&fault, Errno::ELOCKED), (&signal, Errno::ELOCKED)];
    let ask = |kernel: &mut Kernel<Fake>| kernel.sends(MANAGER, Primitive::SendRec, at(VICTIM), 1);
    for (happens, error) in events {
        // It waits for the answer, for the message to be taken, or for a message.
        for way in 0..3 {
            let mut kernel = four();
            let (primitive, is_taken) =
                [(Primitive::SendRec, true), (Primitive::SendRec, false), (Primitive::Receive, false)][way];
            if is_taken {
                assert_eq!(kernel.traps(VICTIM, Primitive::Receive, Endpoint::ANY), None);
            }
            assert_eq!(kernel.sends(MANAGER, primitive, at(VICTIM), 1), None);
            happens(&mut kernel);
            assert_eq!(kernel.returned(MANAGER), Some(Err(error)), "way {way}");
            assert!(kernel.can_run(MANAGER) && !kernel.can_run(VICTIM));
            assert_eq!(told(&mut kernel, MANAGER), Some(Signals::of(&[Signal::KSIG])));
        }
        // It happened before, to one that takes what comes, and to one that doesn't.
        for takes in [false, true] {
            let mut kernel = four();
            happens(&mut kernel);
            if takes && error == Errno::ELOCKED {
                kernel.processes.process_mut(Slot::new(VICTIM)).stops = Stops::NONE;
                assert_eq!(kernel.traps(VICTIM, Primitive::Receive, Endpoint::ANY), None);
                happens(&mut kernel);
            }
            assert_eq!(ask(&mut kernel), Some(Err(Errno::ELOCKED)), "takes {takes}");
        }
    }
    // Through somebody else: the manager is who can do something about it.
    let mut kernel = four();
    assert_eq!(kernel.traps(BACKUP, Primitive::Receive, Endpoint::ANY), None);
    assert_eq!(kernel.sends(MANAGER, Primitive::SendRec, at(BACKUP), 1), None);
    assert_eq!(kernel.sends(BACKUP, Primitive::SendRec, at(VICTIM), 1), None);
    exit(&mut kernel);
    assert_eq!(kernel.returned(MANAGER), Some(Err(Errno::ELOCKED)));
    assert_eq!(kernel.asks(MANAGER, &GETKSIG), "kernel.getksig = { process: 2, signals: {SIGABRT} }");
    assert_eq!(kernel.asks(MANAGER, &clear(VICTIM)), "kernel.clear = {}");
    assert_eq!(kernel.returned(BACKUP), Some(Err(Errno::EDEADSRCDST)));
}

/// What the signal left waiting goes on to wait, and that may be in a circle that came about meanwhile.
#[test]
fn a_wait_that_a_signal_hid_closes_no_circle() {
    let mut kernel = four();
    assert_eq!(kernel.sends(VICTIM, Primitive::SendRec, at(BACKUP), 1), None);
    assert_eq!(kernel.asks(MANAGER, &kill(VICTIM, Signal::USR1)), "kernel.kill = {}");
    assert_eq!(kernel.sends(BACKUP, Primitive::SendRec, at(VICTIM), 1), None);
    kernel.asks(MANAGER, &GETKSIG);
    assert_eq!(kernel.asks(MANAGER, &endksig(VICTIM)), "kernel.endksig = {}");
    assert_eq!(kernel.returned(VICTIM), Some(Err(Errno::ELOCKED)));
}

/// VM's manager may need a page at any time.
// row F6
#[test]
fn vm_is_stopped_by_no_signal_that_it_survives() {
    let system = || {
        let mut kernel = kernel(&[service(MANAGER), server(BACKUP, Callers::VM), service(VICTIM)]);
        kernel.set_managers(managers(BACKUP, at(MANAGER), Endpoint::NONE)).unwrap();
        kernel.set_managers(managers(VICTIM, at(MANAGER), Endpoint::NONE)).unwrap();
        kernel
    };
    let mut kernel = system();
    assert_eq!(kernel.asks(VICTIM, &kill(BACKUP, Signal::USR1)), "kernel.kill = {}");
    page_fault(&mut kernel, MANAGER);
    assert!(kernel.can_run(BACKUP) && kernel.stops(MANAGER) == Stops::PAGE_FAULT);
    assert_eq!(told(&mut kernel, BACKUP), Some(Signals::of(&[Signal::KSIGSM])));
    assert_eq!(kernel.asks(BACKUP, &GETKSIG), "kernel.getksig = { process: 1, signals: {SIGUSR1} }");
    // What it does not survive is its manager's, who is told.
    let mut kernel = system();
    assert_eq!(kernel.asks(VICTIM, &kill(BACKUP, Signal::SEGV)), "kernel.kill = {}");
    assert!(!kernel.can_run(BACKUP));
    assert_eq!(kernel.asks(MANAGER, &GETKSIG), "kernel.getksig = { process: 1, signals: {SIGSEGV} }");
    // It waits for one that stands still until the manager sees to it, and that one needs a page of VM.
    let mut kernel = system();
    assert_eq!(kernel.sends(BACKUP, Primitive::SendRec, at(VICTIM), 1), None);
    kernel.fault(Slot::new(VICTIM), BREAKPOINT);
    page_fault(&mut kernel, MANAGER);
    assert_eq!(kernel.returned(BACKUP), Some(Err(Errno::ELOCKED)));
    assert_eq!(kernel.stops(MANAGER), Stops::PAGE_FAULT);
}

fn look_after(
    kernel: &mut Kernel<Fake>,
    slot: u16,
    manager: Endpoint,
    backup: Endpoint,
    scheduler: Endpoint,
) {
    kernel.set_managers(Managers { scheduler, ..managers(slot, manager, backup) }).unwrap();
}

fn page_fault(kernel: &mut Kernel<Fake>, slot: u16) {
    kernel.fault(Slot::new(slot), Fault::Page { address: 0x9000, access: Access::Read });
}

/// Ticks until a process has no quantum any longer.
fn exhaust(kernel: &mut Kernel<Fake>, slot: u16) {
    for _ in 0..3 {
        if kernel.can_run(slot) {
            kernel.tick(Some(Slot::new(slot)));
        }
    }
}

const NOBODY: Endpoint = Endpoint::NONE;

fn told_of(process: u16, signal: &str) -> String {
    format!("kernel.getksig = {{ process: {process}, signals: {{{signal}}} }}")
}

const NOTHING_TOLD: &str = "kernel.getksig = { process: none, signals: {} }";

// row F8
#[test]
fn who_waits_for_a_quantum_in_a_circle_gets_it() {
    // A scheduler that a signal stops can decide nothing: its manager asks the one that it schedules.
    let mut kernel = kernel(&[service(0), service(1), service(2), service(3)]);
    look_after(&mut kernel, 2, at(0), NOBODY, NOBODY);
    look_after(&mut kernel, 1, at(0), NOBODY, at(2));
    assert_eq!(kernel.traps(2, Primitive::Receive, Endpoint::ANY), None);
    assert_eq!(kernel.traps(1, Primitive::Receive, Endpoint::ANY), None);
    assert_eq!(kernel.sends(0, Primitive::SendRec, at(1), 1), None);
    kernel.asks(3, &kill(2, Signal::USR1));
    exhaust(&mut kernel, 1);
    assert!(kernel.can_run(1));
    // A scheduler's page fault needs VM, which has none, or waits for one that has none.
    for vm_asks in [false, true] {
        let mut kernel = crate::fake::kernel(&[service(0), server(1, Callers::VM), service(2)]);
        let client = if vm_asks { 2 } else { 1 };
        look_after(&mut kernel, client, NOBODY, NOBODY, at(0));
        if vm_asks {
            assert_eq!(kernel.sends(1, Primitive::SendRec, at(2), 1), None);
        }
        exhaust(&mut kernel, client);
        assert_eq!(kernel.stops(client), Stops::NO_QUANTUM);
        page_fault(&mut kernel, 0);
        assert_eq!((kernel.stops(0), kernel.stops(client)), (Stops::PAGE_FAULT, Stops::NONE));
    }
    // A quantum costs nobody anything; a request that is ended does.
    let mut kernel = crate::fake::kernel(&[service(0), service(1), service(2), service(3), service(4)]);
    look_after(&mut kernel, 3, at(0), NOBODY, NOBODY);
    look_after(&mut kernel, 1, NOBODY, NOBODY, at(2));
    exhaust(&mut kernel, 1);
    assert_eq!(kernel.sends(0, Primitive::SendRec, at(1), 1), None);
    assert_eq!(kernel.sends(2, Primitive::SendRec, at(3), 1), None);
    kernel.asks(4, &kill(3, Signal::USR1));
    assert_eq!((kernel.returned(0), kernel.stops(1)), (None, Stops::NONE));
}

#[test]
fn a_managers_request_for_memory_outlives_vms_for_an_answer() {
    for is_stopped_first in [true, false] {
        let mut kernel = kernel(&[service(0), server(1, Callers::VM), service(2), service(3)]);
        look_after(&mut kernel, 2, at(0), NOBODY, NOBODY);
        assert_eq!(kernel.traps(2, Primitive::Receive, Endpoint::ANY), None);
        assert_eq!(kernel.sends(1, Primitive::SendRec, at(2), 1), None);
        let stop = |kernel: &mut Kernel<Fake>| {
            kernel.asks(3, &kill(2, Signal::USR1));
        };
        if is_stopped_first {
            stop(&mut kernel);
        }
        let (process, address, flags) = (Endpoint::SELF, 0x9000, abi::CopyFlags::WAIT);
        kernel.asks(0, &calls::memset::Request { process, address, len: 1, byte: 0, flags });
        if !is_stopped_first {
            stop(&mut kernel);
        }
        assert_eq!(kernel.stops(0), Stops::MEMORY_REQUEST, "{is_stopped_first}");
        assert_eq!(kernel.returned(1), Some(Err(Errno::ELOCKED)));
    }
}

/// Who ends stands still for its manager no longer, whom it may schedule.
#[test]
fn one_that_ends_is_in_no_circle() {
    for (signal, backup) in [(Signal::KILL, NOBODY), (Signal::USR1, at(3))] {
        let mut kernel = kernel(&[service(0), service(1), service(2), service(3)]);
        look_after(&mut kernel, 0, at(1), NOBODY, NOBODY);
        look_after(&mut kernel, 1, at(0), backup, at(0));
        exhaust(&mut kernel, 1);
        assert_eq!(kernel.asks(2, &kill(1, signal)), "kernel.kill = {}");
        assert_eq!(kernel.asks(2, &kill(0, Signal::KILL)), "kernel.kill = {}");
        assert!(kernel.processes.find(at(0)).is_none());
        let is_told = kernel.asks(3, &GETKSIG) == told_of(1, "SIGUSR1");
        assert_eq!(is_told, backup != NOBODY);
    }
}

#[test]
fn a_backup_is_told_of_all_programs_and_of_each_once() {
    let mut kernel = kernel(&[service(0), service(1), service(2), program(3), program(4)]);
    look_after(&mut kernel, 3, at(0), at(1), NOBODY);
    for slot in [3, 4] {
        assert_eq!(kernel.asks(2, &kill(slot, Signal::USR1)), "kernel.kill = {}");
        assert_eq!(kernel.asks(0, &GETKSIG), told_of(slot, "SIGUSR1"));
    }
    kernel.asks(0, &calls::exit::Request { status: 0 });
    for slot in [3, 4] {
        assert_eq!(kernel.asks(1, &GETKSIG), told_of(slot, "SIGUSR1"));
    }
    // One that has found out that its manager is dead is no orphan when somebody else dies.
    let mut kernel = crate::fake::kernel(&[service(0), service(1), service(2), service(3), service(4)]);
    look_after(&mut kernel, 2, at(0), at(1), NOBODY);
    kernel.asks(0, &calls::exit::Request { status: 0 });
    assert_eq!(kernel.asks(4, &kill(2, Signal::USR1)), "kernel.kill = {}");
    assert_eq!(kernel.asks(1, &GETKSIG), told_of(2, "SIGUSR1"));
    kernel.asks(3, &calls::exit::Request { status: 0 });
    assert_eq!(kernel.asks(1, &GETKSIG), NOTHING_TOLD);
    // Nor does a backup have to wait for a manager that can't go on before the process does.
    let mut kernel = crate::fake::kernel(&[service(0), service(1), service(2), service(3)]);
    look_after(&mut kernel, 1, at(0), at(2), NOBODY);
    look_after(&mut kernel, 0, at(1), NOBODY, NOBODY);
    assert_eq!(kernel.asks(3, &kill(0, Signal::USR1)), "kernel.kill = {}");
    assert_eq!(kernel.asks(3, &kill(1, Signal::SEGV)), "kernel.kill = {}");
    assert_eq!(kernel.asks(2, &GETKSIG), told_of(1, "SIGSEGV"));
}

#[test]
fn what_a_process_takes_itself_is_apart_from_what_its_manager_takes() {
    let system = || {
        let mut kernel = kernel(&[server(0, Callers::RS), server(1, Callers::VM), service(2)]);
        look_after(&mut kernel, 1, at(0), NOBODY, NOBODY);
        assert_eq!(kernel.asks(2, &kill(1, Signal::USR1)), "kernel.kill = {}");
        kernel
    };
    let mut kernel = system();
    assert_eq!(kernel.asks(2, &kill(1, Signal::STOP)), "kernel.kill = {}");
    assert_eq!(kernel.asks(0, &GETKSIG), told_of(1, "SIGSTOP"));
    assert_eq!(kernel.asks(1, &GETKSIG), told_of(1, "SIGUSR1"));
    // A signal that nobody can deal with takes none of them along.
    let mut kernel = system();
    page_fault(&mut kernel, 0);
    assert_eq!(kernel.asks(2, &kill(1, Signal::STOP)), "kernel.kill = ENOENT");
    assert_eq!(kernel.asks(1, &GETKSIG), told_of(1, "SIGUSR1"));
    // VM that is VM no longer, and one that gets a manager.
    let mut kernel = system();
    kernel.stop(Slot::new(1), Stops::NO_PRIVILEGES);
    let set = set_system(1, Callers::SERVICE, 0);
    assert_eq!(kernel.asks(0, &set), "kernel.privilege_set_system = {}");
    assert_eq!(kernel.asks(0, &GETKSIG), told_of(1, "SIGUSR1"));
    let mut kernel = system();
    look_after(&mut kernel, 2, Endpoint::SELF, NOBODY, NOBODY);
    assert_eq!(kernel.asks(1, &kill(2, Signal::TERM)), "kernel.kill = {}");
    let update = set_managers(2, at(0), NOBODY);
    assert_eq!(kernel.asks(0, &update), "kernel.privilege_update = {}");
    assert_eq!(kernel.asks(0, &GETKSIG), told_of(2, "SIGTERM"));
}

#[test]
fn what_a_manager_had_in_hands_is_told_to_one_who_comes_to_manage_itself() {
    let mut kernel = four();
    assert_eq!(kernel.asks(1, &kill(VICTIM, Signal::USR1)), "kernel.kill = {}");
    assert_eq!(kernel.asks(MANAGER, &GETKSIG), told_of(VICTIM, "SIGUSR1"));
    // Its own name, which it is not managed by as by another, now or later.
    let mut update = set_managers(VICTIM, at(VICTIM), at(VICTIM));
    let server = |kernel: &mut Kernel<Fake>, update: &calls::privilege_update::Request| {
        kernel.processes.process_mut(Slot::new(BACKUP)).class = Callers::SERVICE.or(Callers::RS);
        assert_eq!(kernel.asks(BACKUP, update), "kernel.privilege_update = {}");
    };
    server(&mut kernel, &update);
    let privileges = kernel.privileges_of(Slot::new(VICTIM));
    assert_eq!((privileges.signal_manager, privileges.backup_manager), (Endpoint::SELF, NOBODY));
    assert!(kernel.can_run(VICTIM));
    assert_eq!(told(&mut kernel, VICTIM), Some(Signals::of(&[Signal::KSIGSM])));

    // One that can't be told of a lethal one is managed by its backup, who is told of the others as well.
    update.backup_manager = at(BACKUP);
    server(&mut kernel, &update);
    kernel.fault(Slot::new(VICTIM), FAULT);
    assert_eq!(kernel.asks(BACKUP, &GETKSIG), told_of(VICTIM, "SIGUSR1, SIGSEGV"));
}

#[test]
fn a_signal_that_a_process_was_told_of_ends_it_once_nobody_manages_it() {
    let mut kernel = kernel(&[server(0, Callers::RS), service(1)]);
    look_after(&mut kernel, 1, Endpoint::SELF, NOBODY, NOBODY);
    assert_eq!(kernel.asks(0, &kill(1, Signal::KILL)), "kernel.kill = {}");
    let update = set_managers(1, NOBODY, NOBODY);
    assert_eq!(kernel.asks(0, &update), "kernel.privilege_update = {}");
    assert!(kernel.processes.find(at(1)).is_none());
}

#[test]
fn a_new_backup_is_no_reason_to_tell_a_manager_twice() {
    let mut kernel = kernel(&[server(0, Callers::RS), service(1), service(2), program(3)]);
    look_after(&mut kernel, 3, at(1), NOBODY, NOBODY);
    assert_eq!(kernel.asks(0, &kill(3, Signal::USR1)), "kernel.kill = {}");
    assert_eq!(kernel.asks(1, &GETKSIG), told_of(3, "SIGUSR1"));
    let (traps, kernel_calls) = (boot::PROGRAM_TRAPS, 0);
    let update = set_managers(3, at(1), at(2));
    let update = calls::privilege_update::Request { traps, kernel_calls, ..update };
    assert_eq!(kernel.asks(0, &update), "kernel.privilege_update = {}");
    // Nor is that it comes to be the backup of nobody.
    let update = calls::privilege_update::Request { signal_manager: NOBODY, backup_manager: at(1), ..update };
    assert_eq!(kernel.asks(0, &update), "kernel.privilege_update = {}");
    assert_eq!(kernel.asks(2, &calls::exit::Request { status: 0 }), "no more");
    assert_eq!(kernel.asks(1, &GETKSIG), "kernel.getksig = { process: none, signals: {} }");
    assert_eq!(kernel.asks(1, &endksig(3)), "kernel.endksig = {}");
    assert_eq!(kernel.asks(1, &GETKSIG), "kernel.getksig = { process: none, signals: {} }");
    assert!(kernel.can_run(3));
}

/// A manager that can't go on before the process does is none.
#[test]
fn a_signal_that_nobody_could_deal_with_ends_its_process_or_nothing() {
    for (signal, lives) in [(Signal::USR1, true), (Signal::KILL, false)] {
        let mut kernel = kernel(&[service(MANAGER), service(BACKUP), service(VICTIM)]);
        kernel.set_managers(managers(VICTIM, at(MANAGER), Endpoint::NONE)).unwrap();
        kernel.set_managers(managers(MANAGER, at(VICTIM), Endpoint::NONE)).unwrap();
        assert_eq!(kernel.asks(BACKUP, &kill(MANAGER, Signal::USR1)), "kernel.kill = {}");
        let expected = if lives { "kernel.kill = ENOENT" } else { "kernel.kill = {}" };
        assert_eq!(kernel.asks(BACKUP, &kill(VICTIM, signal)), expected);
        assert_eq!(kernel.processes.find(at(VICTIM)).is_some(), lives);
        assert!(kernel.can_run(if lives { VICTIM } else { MANAGER }));
    }
}

#[test]
fn only_its_manager_ends_a_signal_or_clears_a_process() {
    let mut kernel = four();
    assert_eq!(kernel.asks(1, &kill(VICTIM, Signal::USR1)), "kernel.kill = {}");
    assert_eq!(kernel.asks(BACKUP, &endksig(VICTIM)), "kernel.endksig = EPERM");
    assert_eq!(kernel.asks(BACKUP, &clear(VICTIM)), "kernel.clear = EPERM");
    assert_eq!(kernel.asks(MANAGER, &clear(MANAGER)), "kernel.clear = EINVAL");
    assert_eq!(kernel.asks(MANAGER, &endksig(7)), "kernel.endksig = EINVAL");
    assert_eq!(kernel.asks(MANAGER, &clear(7)), "kernel.clear = EINVAL");
    assert_eq!(kernel.asks(MANAGER, &clear(VICTIM)), "kernel.clear = {}");
    assert_eq!(kernel.asks(MANAGER, &clear(VICTIM)), "kernel.clear = {}", "it is cleared already");
    let other = calls::clear::Request { process: at(VICTIM).successor() };
    assert_eq!(kernel.asks(MANAGER, &other), "kernel.clear = EINVAL", "that one has yet to come");
    assert_eq!(kernel.machine.released, [VICTIM]);
    assert_eq!(kernel.asks(MANAGER, &endksig(VICTIM)), "kernel.endksig = EINVAL");
    assert_eq!(kernel.asks(MANAGER, &GETKSIG), "kernel.getksig = { process: none, signals: {} }");

    let mut of_pm = crate::fake::kernel(&[server(0, Callers::PM), service(1)]);
    assert_eq!(of_pm.asks(0, &clear(1)), "kernel.clear = {}");
}

#[test]
fn no_number_but_a_signals_can_be_sent() {
    let mut kernel = four();
    for number in 0..=u8::MAX {
        let mut message = abi::Call::to_message(&kill(VICTIM, Signal::USR1), 1);
        message.payload[4] = number;
        kernel.processes.process_mut(Slot::new(1)).context.message = message;
        assert_eq!(kernel.traps(1, Primitive::KernelCall, Endpoint::NONE), Some(Ok(())));
        let status = kernel.processes.process(Slot::new(1)).context.message.status;
        let expected = if (1..=64).contains(&number) { 0 } else { Errno::EINVAL.to_status() };
        assert_eq!(status, expected, "{number}");
    }
    assert_eq!(kernel.asks(1, &kill(7, Signal::KILL)), "kernel.kill = EINVAL");
}

#[test]
fn whom_nobody_manages_ends_by_what_it_cannot_survive() {
    let mut kernel = kernel(&[service(0), service(1), service(2)]);
    assert_eq!(kernel.asks(0, &kill(1, Signal::USR1)), "kernel.kill = ENOENT");
    assert!(kernel.can_run(1));
    assert_eq!(kernel.asks(0, &kill(1, Signal::PIPE)), "kernel.kill = {}");
    assert_eq!(kernel.log_text(), "E kernel: s1: ended by SIGPIPE\n");
    kernel.exit(Slot::new(2), 0);
    assert_eq!(kernel.machine.released, [1, 2]);
    // One that kills itself is not answered.
    assert_eq!(kernel.asks(0, &kill(0, Signal::KILL)), "no more");
    assert_eq!(kernel.next(), Next::Idle);
}

#[test]
fn who_manages_itself_is_told_of_its_signals_and_runs_on() {
    let mut kernel = kernel(&[service(0), service(1)]);
    kernel.set_managers(managers(0, Endpoint::SELF, Endpoint::NONE)).unwrap();
    assert_eq!(kernel.asks(1, &kill(0, Signal::TERM)), "kernel.kill = {}");
    assert_eq!(kernel.asks(1, &kill(0, Signal::USR1)), "kernel.kill = {}");
    assert!(kernel.can_run(0));
    assert_eq!(told(&mut kernel, 0), Some(Signals::of(&[Signal::KSIGSM])));
    assert_eq!(kernel.asks(0, &GETKSIG), "kernel.getksig = { process: 0, signals: {SIGUSR1, SIGTERM} }");
    assert_eq!(kernel.asks(0, &GETKSIG), "kernel.getksig = { process: none, signals: {} }");
    assert_eq!(kernel.asks(0, &endksig(0)), "kernel.endksig = EINVAL");
    // What kills it has no one to go to: the kernel goes on without it.
    kernel.fault(Slot::new(0), FAULT);
    assert_eq!(kernel.machine.released, [0]);
    assert_eq!(kernel.next(), Next::Run(Slot::new(1)));
}

#[test]
fn a_lethal_signal_of_who_manages_itself_goes_to_its_backup_which_may_run_now() {
    let mut kernel = kernel(&[service(0), service(1)]);
    kernel.set_managers(managers(0, Endpoint::SELF, at(1))).unwrap();
    kernel.stop(Slot::new(1), Stops::NO_PRIVILEGES);
    kernel.fault(Slot::new(0), FAULT);
    assert!(kernel.can_run(1) && !kernel.can_run(0));
    assert_eq!(told(&mut kernel, 1), Some(Signals::of(&[Signal::KSIG])));
    assert_eq!(kernel.asks(1, &GETKSIG), "kernel.getksig = { process: 0, signals: {SIGSEGV} }");
    assert_eq!(kernel.asks(1, &clear(0)), "kernel.clear = {}");
}

#[test]
fn an_exit_is_a_signal_and_the_slot_stays_until_it_is_cleared() {
    let mut kernel = four();
    assert_eq!(kernel.sends(3, Primitive::SendRec, at(VICTIM), 1), None);
    kernel.exit(Slot::new(VICTIM), 3);
    assert!(kernel.stops(VICTIM).contains(Stops::ENDED));
    assert_eq!(kernel.returned(3), None, "its clients wait until it is cleared");
    assert_eq!(kernel.asks(MANAGER, &GETKSIG), "kernel.getksig = { process: 2, signals: {SIGABRT} }");
    assert_eq!(kernel.asks(MANAGER, &endksig(VICTIM)), "kernel.endksig = {}");
    assert!(!kernel.can_run(VICTIM), "it has ended, whatever its manager says");
    assert_eq!(kernel.asks(MANAGER, &clear(VICTIM)), "kernel.clear = {}");
    assert_eq!(kernel.returned(3), Some(Err(Errno::EDEADSRCDST)));
    assert_eq!(kernel.log_text(), "I kernel: s2 exited with status 3\n");
}

#[test]
fn a_cleared_process_leaves_nothing_behind() {
    let mut kernel = four();
    kernel.allow_irq(boot::Irq { slot: VICTIM, line: 4 }).unwrap();
    let attach = calls::irq_attach::Request { line: 4, bit: 0, reenable: true };
    assert_eq!(kernel.asks(VICTIM, &attach), "kernel.irq_attach = {}");
    assert_eq!(kernel.traps(VICTIM, Primitive::Notify, at(BACKUP)), Some(Ok(())));
    assert_eq!(kernel.sends(3, Primitive::SendRec, at(VICTIM), 0), None);
    assert_eq!(kernel.sends(VICTIM, Primitive::Send, at(BACKUP), 0), None);
    assert_eq!(kernel.asks(MANAGER, &clear(VICTIM)), "kernel.clear = {}");
    assert!(kernel.machine.open_lines.is_empty());
    let backup = kernel.processes.process(Slot::new(BACKUP));
    assert!(backup.callers.front().is_none() && backup.notifications.first().is_none());
    // Its privileges are nobody's, and nobody may send to whoever gets them next.
    assert_eq!(kernel.sends(BACKUP, Primitive::Send, at(VICTIM), 0), Some(Err(Errno::EDEADSRCDST)));
    let reachable = |kernel: &Kernel<Fake>, id: usize| {
        let id = crate::privilege::Notifier::Service(crate::privilege::Id::new(id).unwrap());
        kernel.privileges.iter().filter(|privileges| privileges.send_to.contains(id)).count()
    };
    assert_eq!((reachable(&kernel, 1), reachable(&kernel, 2)), (2, 0));
}

#[test]
fn a_programs_fault_is_its_managers_business_and_a_services_is_logged() {
    let mut kernel = four();
    kernel.fault(Slot::new(3), FAULT);
    assert_eq!(kernel.log_text(), "");
    assert_eq!(kernel.asks(MANAGER, &GETKSIG), "kernel.getksig = { process: 3, signals: {SIGSEGV} }");
    kernel.fault(Slot::new(VICTIM), BREAKPOINT);
    assert_eq!(kernel.log_text(), "", "a breakpoint is no defect");
    assert_eq!(kernel.asks(MANAGER, &GETKSIG), "kernel.getksig = { process: 2, signals: {SIGTRAP} }");
    assert_eq!(kernel.asks(MANAGER, &endksig(VICTIM)), "kernel.endksig = {}");
    kernel.fault(Slot::new(VICTIM), FAULT);
    assert!(kernel.log_text().starts_with("E kernel: s2: page fault reading 0x10 at 0x10000000\n"));
}

#[test]
fn each_exception_has_its_signal() {
    let signals: Vec<_> = (0..20).map(|vector| Fault::Exception { vector, code: 0 }.signal()).collect();
    use Signal as S;
    let expected = [
        S::FPE,
        S::TRAP,
        S::SEGV,
        S::TRAP,
        S::FPE,
        S::SEGV,
        S::ILL,
        S::FPE,
        S::SEGV,
        S::SEGV,
        S::SEGV,
        S::BUS,
        S::BUS,
        S::SEGV,
        S::SEGV,
        S::SEGV,
        S::FPE,
        S::BUS,
        S::SEGV,
        S::FPE,
    ];
    assert_eq!(signals, expected);
    assert_eq!(FAULT.signal(), Signal::SEGV);
}

#[test]
fn a_machine_that_runs_for_a_process_ends_when_that_is_cleared() {
    let main = boot::Process { ends_machine: true, ..service(1) };
    let mut kernel = kernel(&[service(0), main]);
    kernel.set_managers(managers(1, at(0), Endpoint::NONE)).unwrap();
    kernel.fault(Slot::new(1), FAULT);
    assert_eq!(kernel.next(), Next::Run(Slot::new(0)));
    assert_eq!(kernel.asks(0, &clear(1)), "kernel.clear = {}");
    assert_eq!(kernel.out_of_turn(), OutOfTurn::End(ExitCode::ServiceFault));
}

/// What can happen to a managed process, in any order.
#[derive(Clone, Copy, Debug)]
enum Step {
    Faults,
    Exits,
    IsSent(Signal),
    Takes(u16),
    Ends(u16),
    Clears(u16),
    Dies(u16),
}

const STEPS: [Step; 12] = [
    Step::Faults,
    Step::Exits,
    Step::IsSent(Signal::USR1),
    Step::IsSent(Signal::KILL),
    Step::Takes(MANAGER),
    Step::Ends(MANAGER),
    Step::Clears(MANAGER),
    Step::Dies(MANAGER),
    Step::Takes(BACKUP),
    Step::Ends(BACKUP),
    Step::Clears(BACKUP),
    Step::Dies(BACKUP),
];

/// What must be true, told apart from how the kernel does it.
#[derive(Clone, Copy, Debug, Default)]
struct Model {
    /// Signals that the present manager has yet to take.
    pending: Signals,
    /// Signals that it has taken and not ended.
    taken: Signals,
    has_ended: bool,
    is_gone: bool,
}

impl Model {
    fn is_stopped(&self) -> bool {
        self.has_ended || !self.pending.union(self.taken).is_empty()
    }
}

fn alive(kernel: &Kernel<Fake>, slot: u16) -> bool {
    kernel.processes.get(Slot::new(slot)).is_some()
}

/// The manager that the victim must have.
fn present_manager(kernel: &Kernel<Fake>) -> Option<u16> {
    [MANAGER, BACKUP].into_iter().find(|slot| alive(kernel, *slot))
}

fn take_step(kernel: &mut Kernel<Fake>, model: &mut Model, step: Step) {
    match step {
        Step::Faults if kernel.can_run(VICTIM) => {
            kernel.fault(Slot::new(VICTIM), FAULT);
            raise(kernel, model, Signal::SEGV);
        }
        Step::Exits if kernel.can_run(VICTIM) => {
            kernel.exit(Slot::new(VICTIM), 0);
            raise(kernel, model, Signal::ABRT);
            model.has_ended = true;
        }
        Step::IsSent(signal) if alive(kernel, VICTIM) => {
            let expected = match present_manager(kernel) {
                None if !Signals::TERMINATION.contains(signal) => "kernel.kill = ENOENT",
                _ => "kernel.kill = {}",
            };
            assert_eq!(kernel.asks(4, &kill(VICTIM, signal)), expected);
            raise(kernel, model, signal);
        }
        Step::Takes(by) if alive(kernel, by) => {
            let taken = kernel.asks(by, &GETKSIG);
            let is_mine = present_manager(kernel) == Some(by) && !model.is_gone;
            if is_mine && !model.pending.is_empty() {
                assert_eq!(taken, format!("kernel.getksig = {{ process: 2, signals: {:?} }}", model.pending));
                model.taken = model.taken.union(core::mem::take(&mut model.pending));
            } else {
                assert_eq!(taken, "kernel.getksig = { process: none, signals: {} }");
            }
        }
        Step::Ends(by) if alive(kernel, by) => {
            let has_something = !model.pending.union(model.taken).is_empty();
            let expected = match present_manager(kernel) {
                _ if model.is_gone => "EINVAL",
                Some(manager) if manager != by => "EPERM",
                _ if !has_something => "EINVAL",
                _ => "{}",
            };
            assert_eq!(kernel.asks(by, &endksig(VICTIM)), format!("kernel.endksig = {expected}"));
            if expected == "{}" {
                model.taken = Signals::NONE;
            }
        }
        Step::Clears(by) if alive(kernel, by) => {
            let may = model.is_gone || present_manager(kernel) == Some(by);
            let expected = if may { "kernel.clear = {}" } else { "kernel.clear = EPERM" };
            assert_eq!(kernel.asks(by, &clear(VICTIM)), expected);
            model.is_gone |= may;
        }
        Step::Dies(who) if alive(kernel, who) => {
            let was_manager = present_manager(kernel) == Some(who);
            kernel.exit(Slot::new(who), 0);
            if was_manager && !model.is_gone {
                model.pending = model.pending.union(core::mem::take(&mut model.taken));
                if model.has_ended {
                    model.pending.insert(Signal::ABRT);
                }
                if present_manager(kernel).is_none() {
                    model.is_gone = model.pending.intersects(Signals::TERMINATION);
                    model.pending = Signals::NONE;
                }
            }
        }
        _ => {}
    }
}

fn raise(kernel: &Kernel<Fake>, model: &mut Model, signal: Signal) {
    match present_manager(kernel) {
        Some(_) => model.pending.insert(signal),
        None => model.is_gone |= Signals::TERMINATION.contains(signal),
    }
}

fn explore_signals(script: &mut Vec<Step>, depth: usize, runs: &mut u64) {
    let mut kernel = kernel(&[service(MANAGER), service(BACKUP), service(VICTIM), program(3), service(4)]);
    kernel.set_managers(managers(VICTIM, at(MANAGER), at(BACKUP))).unwrap();
    let mut model = Model::default();
    for step in script.iter() {
        take_step(&mut kernel, &mut model, *step);
        assert_eq!(!alive(&kernel, VICTIM), model.is_gone, "{script:?} {model:?}");
        assert_eq!(kernel.can_run(VICTIM), !model.is_gone && !model.is_stopped(), "{script:?} {model:?}");
        // Who has something to take has been told.
        if let Some(manager) =
            present_manager(&kernel).filter(|_| !model.is_gone && !model.pending.is_empty())
        {
            let process = kernel.processes.process(Slot::new(manager));
            assert!(process.notifications.contains(crate::privilege::Notifier::System), "{script:?}");
        }
    }
    *runs += 1;
    if depth > 0 {
        for step in STEPS {
            script.push(step);
            explore_signals(script, depth - 1, runs);
            script.pop();
        }
    }
}

#[test]
fn no_order_of_faults_signals_and_deaths_loses_a_signal_or_a_process() {
    let mut runs = 0;
    explore_signals(&mut Vec::new(), 5, &mut runs);
    assert!(runs > 200_000, "only {runs} runs");
}

fn with_vm() -> Kernel<Fake> {
    kernel(&[server(0, Callers::VM), service(1), service(2)])
}

const CLEAR_FAULT: calls::vm_clear_page_fault::Request =
    calls::vm_clear_page_fault::Request { process: Endpoint::at_boot(1) };

fn message_of_vm(kernel: &Kernel<Fake>) -> String {
    let context = &kernel.processes.process(Slot::new(0)).context;
    assert!(context.status.is_from_kernel());
    assert_eq!(context.message.class, Callers::KERNEL);
    format!("{}: {}", context.message.source, abi::describe(&context.message))
}

#[test]
fn a_page_fault_is_told_to_vm_whether_it_waits_or_not() {
    let said = "1: vm.page_fault { address: 16, access: Read }";
    let mut waits = with_vm();
    waits.processes.process_mut(Slot::new(1)).context.message.tag = 77;
    assert_eq!(waits.traps(0, Primitive::Receive, Endpoint::ANY), None);
    waits.fault(Slot::new(1), FAULT);
    assert_eq!(waits.returned(0), Some(Ok(())));
    assert_eq!(message_of_vm(&waits), said);
    assert_eq!(waits.stops(1), Stops::PAGE_FAULT);

    let mut works = with_vm();
    works.processes.process_mut(Slot::new(1)).context.message.tag = 77;
    works.fault(Slot::new(1), FAULT);
    assert_eq!(works.traps(0, Primitive::Receive, Endpoint::ANY), Some(Ok(())));
    assert_eq!(message_of_vm(&works), said);

    for mut kernel in [waits, works] {
        assert!(!kernel.can_run(1));
        assert_eq!(kernel.asks(2, &CLEAR_FAULT), "kernel.vm_clear_page_fault = EPERM");
        assert_eq!(kernel.asks(0, &CLEAR_FAULT), "kernel.vm_clear_page_fault = {}");
        assert!(kernel.can_run(1));
        assert_eq!(
            kernel.processes.process(Slot::new(1)).context.message.tag,
            77,
            "its registers are its own"
        );
        assert_eq!(kernel.asks(0, &CLEAR_FAULT), "kernel.vm_clear_page_fault = EINVAL");
        assert_eq!(kernel.log_text(), "");
    }
}

#[test]
fn a_page_fault_can_be_cleared_before_vm_has_heard_of_it() {
    let mut kernel = with_vm();
    kernel.fault(Slot::new(1), FAULT);
    assert_eq!(kernel.asks(0, &CLEAR_FAULT), "kernel.vm_clear_page_fault = {}");
    assert_eq!(kernel.traps(0, Primitive::Receive, Endpoint::ANY), None);
}

#[test]
fn a_fault_that_vm_cannot_resolve_is_a_signal() {
    let mut kernel = with_vm();
    // VM's own, and that of one that VM waits for.
    assert_eq!(kernel.sends(0, Primitive::SendRec, at(1), 0), None);
    kernel.fault(Slot::new(1), FAULT);
    assert_eq!(kernel.machine.released, [1]);
    assert_eq!(kernel.returned(0), Some(Err(Errno::EDEADSRCDST)));
    kernel.fault(Slot::new(0), FAULT);
    assert_eq!(kernel.machine.released, [1, 0]);
    kernel.fault(Slot::new(2), FAULT);
    assert_eq!(kernel.machine.released, [1, 0, 2]);
    // One that has taken VM's request: the fault would be the answer to it.
    let mut kernel = with_vm();
    assert_eq!(kernel.traps(1, Primitive::Receive, Endpoint::ANY), None);
    assert_eq!(kernel.sends(0, Primitive::SendRec, at(1), 0), None);
    kernel.fault(Slot::new(1), FAULT);
    assert_eq!(kernel.machine.released, [1]);
    assert_eq!(kernel.returned(0), Some(Err(Errno::EDEADSRCDST)));
}

#[test]
fn when_vm_dies_faults_become_signals() {
    for has_heard in [false, true] {
        let mut kernel = kernel(&[server(0, Callers::VM), service(1), service(2), service(3)]);
        kernel.set_managers(managers(1, at(2), Endpoint::NONE)).unwrap();
        kernel.fault(Slot::new(1), FAULT);
        kernel.fault(Slot::new(3), FAULT);
        if has_heard {
            assert_eq!(kernel.traps(0, Primitive::Receive, at(1)), Some(Ok(())));
        }
        kernel.exit(Slot::new(0), 0);
        assert_eq!(kernel.asks(2, &GETKSIG), "kernel.getksig = { process: 1, signals: {SIGSEGV} }");
        assert_eq!(kernel.machine.released, [0, 3]);
    }
}

#[test]
fn a_vm_that_came_back_is_told_of_every_page_fault_once_more() {
    let mut kernel = kernel(&[server(0, Callers::VM), service(1), service(2), server(3, Callers::RS)]);
    kernel.fault(Slot::new(1), FAULT);
    kernel.fault(Slot::new(2), FAULT);
    assert_eq!(kernel.traps(0, Primitive::Receive, Endpoint::ANY), Some(Ok(())));
    let clear = calls::privilege_clear_ipc_refs::Request { process: at(0) };
    assert_eq!(kernel.asks(3, &clear), "kernel.privilege_clear_ipc_refs = {}");
    for slot in [1, 2] {
        assert_eq!(kernel.traps(0, Primitive::Receive, Endpoint::ANY), Some(Ok(())));
        assert_eq!(message_of_vm(&kernel), format!("{slot}: vm.page_fault {{ address: 16, access: Read }}"));
        assert_eq!(kernel.stops(slot), Stops::PAGE_FAULT);
    }
    assert_eq!(kernel.traps(0, Primitive::Receive, Endpoint::ANY), None);
}

#[test]
fn vm_waits_for_nobody_whose_faults_it_does_not_hear_of() {
    let mut kernel = kernel(&[server(0, Callers::VM), service(1)]);
    let rule = FilterRule { classes: Callers::KERNEL, ..FilterRule::default() };
    let filter = calls::ipc_filter_add::Request {
        kind: FilterKind::Black,
        rules: abi::Bytes::first_of(&rule.to_bytes()),
    };
    assert_eq!(kernel.asks(0, &filter), "kernel.ipc_filter_add = {}");
    assert_eq!(kernel.traps(0, Primitive::Receive, at(1)), None);
    page_fault(&mut kernel, 1);
    assert_eq!(kernel.returned(0), Some(Err(Errno::EDEADSRCDST)));
    assert!(kernel.processes.find(at(1)).is_none());
}
