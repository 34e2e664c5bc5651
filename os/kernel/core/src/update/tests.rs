//! The exchange of two services: what moves, what stays, and when it is refused.

use crate::fake::{Fake, at, kernel, server, service};
use crate::fault::{Access, Fault};
use crate::ipc::tests::check_invariants;
use crate::memory::copy::SLICE;
use crate::memory::tests::{answer, ask};
use crate::process::Stops;
use crate::{Kernel, Slot};
use abi::boot::{Irq, Managers, Ports};
use abi::ipc::Primitive::{Notify, Receive, Send, SendRec};
use abi::protocols::{FilterKind, FilterRule, kernel as calls};
use abi::{Bytes, Callers, Endpoint, Errno, Signal};

const RS: u16 = 0;
const OLD: u16 = 1;
const NEW: u16 = 2;
const CLIENT: u16 = 3;

fn update(rollback: bool) -> calls::update::Request {
    calls::update::Request { source: at(OLD), target: at(NEW), rollback }
}

/// RS, two versions of a service that both wait for RS, and a client.
fn waiting() -> Kernel<Fake> {
    let mut kernel = kernel(&[server(RS, Callers::RS), service(OLD), service(NEW), service(CLIENT)]);
    kernel.allow_ports(Ports { slot: OLD, first: 1, last: 2 }).unwrap();
    kernel.allow_irq(Irq { slot: OLD, line: 4 }).unwrap();
    assert_eq!(kernel.traps(OLD, Receive, at(RS)), None);
    assert_eq!(kernel.traps(NEW, Receive, Endpoint::ANY), None);
    kernel
}

#[test]
fn clients_find_the_new_version_behind_the_endpoint_that_they_know() {
    let mut kernel = waiting();
    assert_eq!(kernel.sends(CLIENT, SendRec, at(OLD), 7), None);
    assert_eq!(kernel.asks(RS, &update(false)), "kernel.update = {}");
    // The new version wanted a message from anybody, and there is one.
    let slot = Slot::new(OLD);
    assert_eq!(kernel.processes.process(slot).name.as_str(), "s2");
    assert_eq!(kernel.processes.process(slot).endpoint, at(OLD));
    assert_eq!(kernel.received(OLD), (at(CLIENT), 7, Some(SendRec)));
    assert_eq!(kernel.sends(OLD, Send, at(CLIENT), 8), Some(Ok(())));
    assert_eq!(kernel.received(CLIENT), (at(OLD), 8, Some(Send)));
    // The old one still waits for RS, behind the other endpoint.
    assert_eq!(kernel.sends(RS, Send, at(NEW), 9), Some(Ok(())));
    assert_eq!(kernel.received(NEW), (at(RS), 9, Some(Send)));
    // What belongs to the kernel's books has moved with it.
    assert_eq!(kernel.processes.process(slot).space, NEW);
    let privileges = kernel.privileges_of(slot);
    assert!(privileges.may_use_ports(1, 2) && privileges.may_attach(4));
    assert_eq!(privileges.owner, at(OLD));
}

#[test]
fn back_again_is_the_same_call() {
    let mut kernel = waiting();
    assert_eq!(kernel.traps(CLIENT, Notify, at(OLD)), Some(Ok(())));
    assert_eq!(kernel.asks(RS, &update(false)), "kernel.update = {}");
    assert_eq!(kernel.received(OLD), (at(CLIENT), 0, Some(Notify)));
    assert_eq!(kernel.traps(OLD, Receive, Endpoint::ANY), None);
    assert_eq!(kernel.asks(RS, &update(true)), "kernel.update = {}");
    assert_eq!(kernel.processes.process(Slot::new(OLD)).name.as_str(), "s1");
    assert_eq!(kernel.sends(RS, Send, at(OLD), 1), Some(Ok(())));
    assert_eq!(kernel.sends(CLIENT, SendRec, at(OLD), 1), None);
    for (slot, other) in [(OLD, NEW), (NEW, OLD)] {
        let id = kernel.processes.process(Slot::new(other)).privileges;
        let privileges = kernel.privileges_of(Slot::new(slot));
        assert!(privileges.send_to.contains(crate::privilege::Notifier::Service(id)), "they may still talk");
    }
}

#[test]
fn what_could_run_or_waits_for_the_other_is_busy() {
    let refused = |prepare: &dyn Fn(&mut Kernel<Fake>), expected: &str| {
        let mut kernel = kernel(&[server(RS, Callers::RS), service(OLD), service(NEW), service(CLIENT)]);
        prepare(&mut kernel);
        assert_eq!(kernel.asks(RS, &update(false)), format!("kernel.update = {expected}"));
    };
    let waits = |kernel: &mut Kernel<Fake>, slot: u16, from: Endpoint| {
        assert_eq!(kernel.traps(slot, Receive, from), None);
    };
    refused(&|_| (), "EBUSY");
    refused(&|kernel| waits(kernel, OLD, Endpoint::ANY), "EBUSY");
    refused(
        &|kernel| {
            waits(kernel, OLD, Endpoint::ANY);
            waits(kernel, NEW, at(OLD));
        },
        "EBUSY",
    );
    refused(
        &|kernel| {
            waits(kernel, OLD, at(RS));
            assert_eq!(kernel.sends(NEW, Send, at(CLIENT), 0), None);
        },
        "EBUSY",
    );
    refused(
        &|kernel| {
            waits(kernel, OLD, at(RS));
            waits(kernel, NEW, at(RS));
            kernel.stop(Slot::new(OLD), Stops::PAGE_FAULT);
        },
        "EBUSY",
    );
    refused(
        &|kernel| {
            kernel.stop(Slot::new(OLD), Stops::NO_PRIVILEGES);
            kernel.stop(Slot::new(NEW), Stops::SIGNAL_PENDING);
        },
        "{}",
    );
    for (source, target, expected) in [
        (at(OLD), at(OLD), "EINVAL"),
        (at(OLD), at(7), "EINVAL"),
        (Endpoint::ANY, at(NEW), "EINVAL"),
        (Endpoint::SELF, at(NEW), "EBUSY"),
    ] {
        let request = calls::update::Request { source, target, rollback: false };
        assert_eq!(waiting().asks(RS, &request), format!("kernel.update = {expected}"));
    }
    let mut with_program = kernel(&[server(RS, Callers::RS), service(OLD), crate::fake::program(NEW)]);
    assert_eq!(with_program.asks(RS, &update(false)), "kernel.update = EPERM");
    assert_eq!(waiting().asks(CLIENT, &update(false)), "kernel.update = EPERM");
}

/// Where the two versions and the client have memory, of which the old version lacks the second page.
const HERE: u64 = 0x10_0000;
const PAGE: u64 = 4096;
const VM: u16 = 4;

/// The same with VM, and with memory; the versions hold different bytes.
fn with_memory(pages: u64) -> Kernel<Fake> {
    let mut kernel = kernel(&[
        server(RS, Callers::RS),
        service(OLD),
        service(NEW),
        service(CLIENT),
        server(VM, Callers::VM),
    ]);
    for page in 0..pages {
        for slot in [OLD, NEW, CLIENT] {
            kernel.machine.memory.map(slot, HERE + page * PAGE, true);
            kernel.machine.memory.poke(slot, HERE + page * PAGE, &[u8::try_from(slot).unwrap(); 4096]);
        }
    }
    for slot in [OLD, NEW] {
        assert_eq!(kernel.traps(slot, Receive, at(RS)), None);
    }
    kernel
}

fn copy(from: u16, to: u16, len: u64) -> calls::vircopy::Request {
    calls::vircopy::Request {
        from: at(from),
        to: at(to),
        flags: abi::CopyFlags::WAIT,
        from_address: HERE,
        to_address: HERE,
        len,
    }
}

#[test]
fn a_copy_that_waits_for_a_page_sees_one_version_only() {
    for (from, to, update) in [
        (OLD, CLIENT, update(false)),
        (CLIENT, OLD, update(false)),
        (OLD, CLIENT, calls::update::Request { source: at(NEW), target: at(OLD), rollback: true }),
    ] {
        let mut kernel = with_memory(2);
        let page = kernel.machine.memory.pages.remove(&(OLD, HERE + PAGE)).unwrap();
        assert_eq!(ask(&mut kernel, CLIENT, &copy(from, to, 2 * PAGE)), None);
        assert_eq!(kernel.asks(RS, &update), "kernel.update = EBUSY");
        let taken = kernel.asks(VM, &calls::vm_memory_request_get::Request {});
        assert!(taken.contains("request: 1"), "{taken}");
        assert_eq!(kernel.asks(RS, &update), "kernel.update = EBUSY");
        kernel.machine.memory.pages.insert((OLD, HERE + PAGE), page);
        let ready = calls::vm_memory_request_reply::Request {
            requestor: at(CLIENT),
            request: 1,
            outcome: abi::RequestOutcome::Ready,
        };
        assert_eq!(kernel.asks(VM, &ready), "kernel.vm_memory_request_reply = {}");
        assert_eq!(kernel.asks(RS, &update), "kernel.update = EBUSY", "the copy has yet to go on");
        kernel.go_on(Slot::new(CLIENT));
        assert_eq!(answer(&kernel, CLIENT).as_deref(), Some("{}"));
        let copied = [u8::try_from(from).unwrap(); 2 * 4096];
        assert_eq!(kernel.machine.memory.peek(to, HERE, copied.len()), copied);
        assert_eq!(kernel.asks(RS, &update), "kernel.update = {}", "nothing is left of the copy");
    }
}

#[test]
fn a_long_copy_sees_one_version_only() {
    let len = SLICE + PAGE;
    let set =
        calls::memset::Request { process: at(NEW), flags: abi::CopyFlags::TRY, address: HERE, len, byte: 9 };
    for from in [Some(OLD), None] {
        let mut kernel = with_memory(len / PAGE);
        let begun = match from {
            Some(from) => ask(&mut kernel, CLIENT, &copy(from, CLIENT, len)),
            None => ask(&mut kernel, CLIENT, &set),
        };
        assert_eq!(begun, None);
        assert_eq!(kernel.asks(RS, &update(false)), "kernel.update = EBUSY");
        kernel.go_on(Slot::new(CLIENT));
        assert_eq!(answer(&kernel, CLIENT).as_deref(), Some("{}"));
        assert_eq!(kernel.asks(RS, &update(false)), "kernel.update = {}");
    }
}

// row F7
#[test]
fn a_version_that_was_ended_in_the_middle_of_its_own_call_is_no_obstacle() {
    let take = |kernel: &mut Kernel<Fake>| kernel.asks(VM, &calls::vm_memory_request_get::Request {});
    let ready = calls::vm_memory_request_reply::Request {
        requestor: at(OLD),
        request: 1,
        outcome: abi::RequestOutcome::Ready,
    };
    // VM has not heard of its call, works on it, or is done with it.
    for vm_did in 0..3 {
        let mut kernel = with_memory(2);
        // It goes on, to copy what isn't there.
        kernel.cancel(Slot::new(OLD));
        let page = kernel.machine.memory.pages.remove(&(CLIENT, HERE + PAGE)).unwrap();
        assert_eq!(ask(&mut kernel, OLD, &copy(CLIENT, OLD, 2 * PAGE)), None);
        if vm_did > 0 {
            take(&mut kernel);
        }
        if vm_did > 1 {
            kernel.machine.memory.pages.insert((CLIENT, HERE + PAGE), page);
            assert_eq!(kernel.asks(VM, &ready), "kernel.vm_memory_request_reply = {}");
        }
        assert_eq!(kernel.asks(RS, &update(false)), "kernel.update = EBUSY", "it may go on");
        kernel.stop(Slot::new(OLD), Stops::SIGNAL_PENDING);
        assert_eq!(kernel.asks(RS, &update(false)), "kernel.update = {}");
        // Its call has ended, and nobody waits for VM any longer.
        assert_eq!(answer(&kernel, NEW).as_deref(), Some("EFAULT"));
        assert_eq!(take(&mut kernel), "kernel.vm_memory_request_get = ENOENT");
        assert_eq!(kernel.asks(VM, &ready), "kernel.vm_memory_request_reply = ESRCH");
    }
}

#[test]
fn a_sender_keeps_its_message_and_a_rollback_takes_it_back() {
    let make = || {
        let mut kernel = kernel(&[server(RS, Callers::RS), service(OLD), service(NEW), service(CLIENT)]);
        assert_eq!(kernel.sends(OLD, Send, at(CLIENT), 5), None);
        kernel.stop(Slot::new(OLD), Stops::NO_PRIVILEGES);
        assert_eq!(kernel.traps(NEW, Receive, at(RS)), None);
        kernel
    };
    let mut kept = make();
    assert_eq!(kept.asks(RS, &update(false)), "kernel.update = {}");
    assert_eq!(kept.traps(CLIENT, Receive, Endpoint::ANY), Some(Ok(())));
    assert_eq!(kept.received(CLIENT), (at(NEW), 5, Some(Send)));

    let mut taken_back = make();
    assert_eq!(taken_back.asks(RS, &update(true)), "kernel.update = {}");
    assert_eq!(taken_back.traps(CLIENT, Receive, Endpoint::ANY), None);
    assert_eq!(taken_back.returned(NEW), Some(Err(Errno::EDEADSRCDST)));
}

#[test]
fn rights_that_do_not_fit_are_no_update() {
    let mut kernel = waiting();
    for first in 10..74 {
        kernel.allow_ports(Ports { slot: NEW, first, last: first }).unwrap();
    }
    assert_eq!(kernel.asks(RS, &update(false)), "kernel.update = ENOMEM");
    assert_eq!(kernel.processes.process(Slot::new(OLD)).name.as_str(), "s1");
}

#[test]
fn everybody_who_waits_for_a_driver_that_came_back_goes_on() {
    for by_rs in [false, true] {
        let mut kernel = kernel(&[server(RS, Callers::RS), service(OLD), service(NEW), service(CLIENT)]);
        assert_eq!(kernel.sends(CLIENT, SendRec, at(OLD), 1), None);
        assert_eq!(kernel.traps(OLD, Receive, Endpoint::ANY), Some(Ok(())));
        assert_eq!(kernel.sends(NEW, Send, at(OLD), 2), None);
        if by_rs {
            let request = calls::privilege_clear_ipc_refs::Request { process: at(OLD) };
            assert_eq!(kernel.asks(RS, &request), "kernel.privilege_clear_ipc_refs = {}");
        } else {
            let request = calls::state_clear_ipc_refs::Request {};
            assert_eq!(kernel.asks(OLD, &request), "kernel.state_clear_ipc_refs = {}");
        }
        for slot in [CLIENT, NEW] {
            assert_eq!(kernel.returned(slot), Some(Err(Errno::EDEADSRCDST)));
        }
        assert_eq!(kernel.traps(OLD, Receive, Endpoint::ANY), None);
        assert_eq!(kernel.sends(CLIENT, SendRec, at(OLD), 3), None);
        assert_eq!(kernel.received(OLD), (at(CLIENT), 3, Some(SendRec)));
    }
}

#[test]
fn a_quantum_is_waited_for_by_who_bears_the_name_that_the_scheduler_knows() {
    let mut kernel = waiting();
    let held = Stops::NO_QUANTUM.with(Stops::NO_PRIVILEGES);
    kernel.processes.process_mut(Slot::new(OLD)).scheduler = Some(at(CLIENT));
    kernel.cancel(Slot::new(OLD));
    kernel.stop(Slot::new(OLD), held);
    assert_eq!(kernel.asks(RS, &update(false)), "kernel.update = {}");
    assert!(kernel.stops(OLD).contains(Stops::NO_QUANTUM), "its scheduler will answer");
    assert_eq!(kernel.stops(NEW), Stops::NO_PRIVILEGES, "nobody would");
}

#[test]
fn who_waits_for_a_name_takes_what_its_new_bearer_had_sent() {
    let mut kernel = waiting();
    // The old version sends to the client, which waits for the new one's name.
    assert_eq!(kernel.sends(RS, Send, at(OLD), 1), Some(Ok(())));
    assert_eq!(kernel.sends(OLD, Send, at(CLIENT), 5), None);
    kernel.stop(Slot::new(OLD), Stops::NO_PRIVILEGES);
    assert_eq!(kernel.traps(CLIENT, Receive, at(NEW)), None);
    assert_eq!(kernel.asks(RS, &update(false)), "kernel.update = {}");
    assert_eq!(kernel.received(CLIENT), (at(NEW), 5, Some(Send)));
    check_invariants(&kernel);
}

#[test]
fn a_wait_that_an_update_makes_part_of_a_circle_ends() {
    let mut kernel = waiting();
    for slot in [OLD, NEW] {
        assert_eq!(kernel.sends(RS, Send, at(slot), 1), Some(Ok(())));
    }
    assert_eq!(kernel.sends(OLD, SendRec, at(CLIENT), 5), None);
    for slot in [OLD, NEW] {
        kernel.stop(Slot::new(slot), Stops::NO_PRIVILEGES);
    }
    assert_eq!(kernel.sends(CLIENT, SendRec, at(NEW), 6), None);
    assert_eq!(kernel.asks(RS, &update(false)), "kernel.update = {}");
    // The old version has the new one's name now, for which the client waits.
    assert_eq!(kernel.returned(NEW), Some(Err(Errno::ELOCKED)));
    check_invariants(&kernel);
}

#[test]
fn a_service_that_takes_its_managers_place_manages_itself() {
    let managed = || {
        let mut kernel = waiting();
        let (signal_manager, backup_manager) = (at(NEW), at(NEW));
        let managers = Managers { slot: OLD, signal_manager, backup_manager, scheduler: Endpoint::NONE };
        kernel.set_managers(managers).unwrap();
        kernel
    };
    let mut kernel = managed();
    assert_eq!(kernel.asks(RS, &update(false)), "kernel.update = {}");
    let privileges = kernel.privileges_of(Slot::new(NEW));
    assert_eq!((privileges.signal_manager, privileges.backup_manager), (Endpoint::SELF, Endpoint::NONE));
    // Not while its manager has yet to end a signal of its: nobody would.
    let mut kernel = managed();
    let kill = calls::kill::Request { process: at(OLD), signal: Signal::USR1 };
    assert_eq!(kernel.asks(RS, &kill), "kernel.kill = {}");
    assert_eq!(kernel.asks(RS, &update(false)), "kernel.update = EBUSY");
}

#[test]
fn a_manager_ends_what_it_has_in_hands_by_the_name_that_it_knows() {
    const MANAGER: u16 = CLIENT;
    let managed = |manager| {
        let mut kernel = waiting();
        for slot in [OLD, NEW] {
            let (signal_manager, backup_manager) = (at(manager), Endpoint::NONE);
            let managers = Managers { slot, signal_manager, backup_manager, scheduler: Endpoint::NONE };
            kernel.set_managers(managers).unwrap();
        }
        kernel
    };
    let kill = calls::kill::Request { process: at(OLD), signal: Signal::USR1 };
    let (exit, getksig) = (calls::exit::Request { status: 0 }, calls::getksig::Request {});
    let endksig = |slot| calls::endksig::Request { process: at(slot) };
    // It has taken the signal, or the end, and ends or clears who is called so.
    for ends in [false, true] {
        let mut kernel = managed(MANAGER);
        if ends {
            kernel.asks(OLD, &exit);
        } else {
            assert_eq!(kernel.asks(RS, &kill), "kernel.kill = {}");
        }
        assert!(kernel.asks(MANAGER, &getksig).contains("process: 1"));
        assert_eq!(kernel.asks(RS, &update(false)), "kernel.update = EBUSY");
        assert_eq!(kernel.asks(MANAGER, &endksig(OLD)), "kernel.endksig = {}");
        assert_eq!(
            kernel.asks(RS, &update(false)),
            ["kernel.update = {}", "kernel.update = EBUSY"][usize::from(ends)]
        );
    }
    // It is told the name of today when it takes it.
    let mut kernel = managed(MANAGER);
    assert_eq!(kernel.asks(RS, &kill), "kernel.kill = {}");
    assert_eq!(kernel.asks(RS, &update(false)), "kernel.update = {}");
    assert_eq!(kernel.asks(MANAGER, &getksig), "kernel.getksig = { process: 2, signals: {SIGUSR1} }");
    // Whoever updates knows.
    let mut kernel = managed(RS);
    assert_eq!(kernel.asks(CLIENT, &kill), "kernel.kill = {}");
    assert_eq!(kernel.asks(RS, &getksig), "kernel.getksig = { process: 1, signals: {SIGUSR1} }");
    assert_eq!(kernel.asks(RS, &update(false)), "kernel.update = {}");
    assert_eq!(kernel.asks(RS, &endksig(NEW)), "kernel.endksig = {}");
    assert_eq!(kernel.stops(NEW), Stops::NONE);
}

#[test]
fn signals_that_a_service_takes_itself_are_for_who_bears_its_name() {
    let mut kernel = waiting();
    for slot in [OLD, NEW] {
        let (signal_manager, backup_manager) = (Endpoint::SELF, Endpoint::NONE);
        kernel
            .set_managers(Managers { slot, signal_manager, backup_manager, scheduler: Endpoint::NONE })
            .unwrap();
    }
    let term = calls::kill::Request { process: at(OLD), signal: Signal::TERM };
    assert_eq!(kernel.asks(RS, &term), "kernel.kill = {}");
    assert_eq!(kernel.asks(RS, &update(false)), "kernel.update = {}");
    assert_eq!(kernel.received(OLD).0, Endpoint::SYSTEM);
    // It may not have been there yet when that was told.
    let clear = calls::privilege_clear_ipc_refs::Request { process: at(OLD) };
    assert_eq!(kernel.asks(RS, &clear), "kernel.privilege_clear_ipc_refs = {}");
    assert_eq!(kernel.traps(OLD, Receive, Endpoint::SYSTEM), Some(Ok(())));
    let getksig = calls::getksig::Request {};
    assert_eq!(kernel.asks(OLD, &getksig), "kernel.getksig = { process: 1, signals: {SIGTERM} }");
}

#[test]
fn a_machine_that_runs_for_a_service_ends_with_who_bears_the_name() {
    let mut kernel = waiting();
    kernel.processes.process_mut(Slot::new(OLD)).ends_machine = true;
    for slot in [OLD, NEW] {
        let (signal_manager, backup_manager) = (at(RS), Endpoint::NONE);
        let managers = Managers { slot, signal_manager, backup_manager, scheduler: Endpoint::NONE };
        kernel.set_managers(managers).unwrap();
    }
    assert_eq!(kernel.asks(RS, &update(false)), "kernel.update = {}");
    assert_eq!(kernel.asks(RS, &calls::clear::Request { process: at(NEW) }), "kernel.clear = {}");
    assert_eq!(kernel.ended, None);
    assert_eq!(kernel.asks(RS, &calls::clear::Request { process: at(OLD) }), "kernel.clear = {}");
    assert!(kernel.ended.is_some());
}

/// It waits for one that faults: for the answer to what it has sent it, or with a filter that holds faults back.
#[test]
fn who_becomes_vm_takes_a_page_fault_for_nothing_else() {
    const VM: u16 = OLD;
    let vm = server(VM, Callers::VM);
    for sends in [true, false] {
        let mut kernel = kernel(&[server(RS, Callers::RS), vm, service(NEW), service(CLIENT)]);
        kernel.processes.process_mut(Slot::new(NEW)).class = Callers::SERVICE.or(Callers::VM);
        if sends {
            assert_eq!(kernel.traps(CLIENT, Receive, Endpoint::ANY), None);
            assert_eq!(kernel.sends(NEW, SendRec, at(CLIENT), 7), None);
        } else {
            let rule = FilterRule { classes: Callers::KERNEL, ..FilterRule::default() };
            let rules = Bytes::first_of(&rule.to_bytes());
            let filter = calls::ipc_filter_add::Request { kind: FilterKind::Black, rules };
            assert_eq!(kernel.asks(NEW, &filter), "kernel.ipc_filter_add = {}");
            assert_eq!(kernel.traps(NEW, Receive, at(CLIENT)), None);
        }
        kernel.fault(Slot::new(CLIENT), Fault::Page { address: 0x9000, access: Access::Read });
        kernel.stop(Slot::new(VM), Stops::NO_PRIVILEGES);
        let update = calls::update::Request { source: at(NEW), target: at(VM), rollback: false };
        assert_eq!(kernel.asks(RS, &update), "kernel.update = {}");
        assert_eq!(kernel.returned(VM), Some(Err(Errno::EDEADSRCDST)), "sends {sends}");
        assert!(kernel.processes.find(at(CLIENT)).is_none());
    }
}

#[test]
fn what_is_left_of_a_service_that_has_ended_can_be_exchanged() {
    let mut kernel = waiting();
    let (signal_manager, backup_manager) = (at(RS), Endpoint::NONE);
    let managers = Managers { slot: OLD, signal_manager, backup_manager, scheduler: Endpoint::NONE };
    kernel.set_managers(managers).unwrap();
    kernel.cancel(Slot::new(OLD));
    kernel.asks(OLD, &calls::exit::Request { status: 0 });
    assert!(kernel.asks(RS, &calls::getksig::Request {}).contains("process: 1"));
    assert_eq!(kernel.asks(RS, &calls::endksig::Request { process: at(OLD) }), "kernel.endksig = {}");
    assert_eq!(kernel.asks(RS, &update(false)), "kernel.update = {}");
    assert!(kernel.stops(NEW).contains(Stops::ENDED) && !kernel.stops(OLD).contains(Stops::ENDED));
}

/// What it isn't waiting for in particular stays as it is: a fault that its manager has, and who comes first.
#[test]
fn an_update_of_vm_leaves_page_faults_alone() {
    const VM: u16 = OLD;
    const MANAGER: u16 = CLIENT;
    let system = || {
        let vm = server(VM, Callers::VM);
        let mut kernel = kernel(&[server(RS, Callers::RS), vm, service(NEW), service(MANAGER), service(4)]);
        kernel.processes.process_mut(Slot::new(NEW)).class = Callers::SERVICE.or(Callers::VM);
        kernel
    };
    let fault = |kernel: &mut Kernel<Fake>| {
        kernel.fault(Slot::new(MANAGER), Fault::Page { address: 0x9000, access: Access::Read });
        kernel.stop(Slot::new(VM), Stops::NO_PRIVILEGES);
        let update = calls::update::Request { source: at(NEW), target: at(VM), rollback: false };
        assert_eq!(kernel.asks(RS, &update), "kernel.update = {}");
    };
    let mut kernel = system();
    for (slot, manager) in [(NEW, MANAGER), (MANAGER, RS)] {
        let (signal_manager, backup_manager) = (at(manager), Endpoint::NONE);
        let managers = Managers { slot, signal_manager, backup_manager, scheduler: Endpoint::NONE };
        kernel.set_managers(managers).unwrap();
    }
    assert_eq!(kernel.traps(VM, Receive, Endpoint::ANY), None);
    let kill = calls::kill::Request { process: at(NEW), signal: Signal::USR1 };
    assert_eq!(kernel.asks(RS, &kill), "kernel.kill = {}");
    fault(&mut kernel);
    assert_eq!(kernel.stops(MANAGER), Stops::PAGE_FAULT);
    assert!(kernel.can_run(VM), "the signal is no matter of who waits for a page of it");

    let mut kernel = system();
    assert_eq!(kernel.traps(NEW, Receive, Endpoint::ANY), None);
    assert_eq!(kernel.traps(4, Notify, at(VM)), Some(Ok(())));
    fault(&mut kernel);
    assert_eq!(kernel.received(VM), (at(4), 0, Some(Notify)));
}
