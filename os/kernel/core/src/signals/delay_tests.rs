//! Stops that are put off until their process is in the middle of nothing, and are told of then: before the next turn,
//! whatever ended what the process was in.

use crate::fake::{Fake, Registers, at, kernel, server, service};
use crate::privilege::Notifier;
use crate::process::Stops;
use crate::{Kernel, Next, Slot};
use abi::boot::{Managers, Pair};
use abi::ipc::Primitive;
use abi::protocols::kernel as calls;
use abi::{Callers, CopyFlags, Endpoint, Errno, Signal};

const GETKSIG: calls::getksig::Request = calls::getksig::Request {};
const ENDKSIG: calls::endksig::Request = calls::endksig::Request { process: Endpoint::at_boot(2) };

fn managed(kernel: &mut Kernel<Fake>, slot: u16, manager: u16) {
    let (signal_manager, backup_manager) = (at(manager), Endpoint::NONE);
    let managers = Managers { slot, signal_manager, backup_manager, scheduler: Endpoint::NONE };
    kernel.set_managers(managers).unwrap();
}

/// Asks to stop a process that is in the middle of something.
fn put_off(kernel: &mut Kernel<Fake>, slot: u16) {
    let stop = calls::run_stop::Request { process: at(slot), delay: true };
    assert_eq!(kernel.asks(0, &stop), "kernel.run_stop = EBUSY");
}

/// A kernel call that waits for memory.
fn memset() -> calls::memset::Request {
    let (process, address, flags) = (Endpoint::SELF, 0x9000, CopyFlags::WAIT);
    calls::memset::Request { process, address, len: 1, byte: 0, flags }
}

#[test]
fn a_process_that_is_about_to_send_is_stopped_when_it_has() {
    for primitive in [Primitive::Send, Primitive::SendRec] {
        let mut kernel = kernel(&[server(0, Callers::PM), service(1), service(2)]);
        managed(&mut kernel, 2, 0);
        let stop = |delay| calls::run_stop::Request { process: at(2), delay };
        assert_eq!(kernel.sends(2, primitive, at(1), 1), None);
        assert_eq!(kernel.asks(0, &stop(true)), "kernel.run_stop = EBUSY");
        assert_eq!(kernel.asks(0, &stop(true)), "kernel.run_stop = EBUSY");
        assert_eq!(kernel.asks(0, &GETKSIG), "kernel.getksig = { process: none, signals: {} }");
        assert_eq!(kernel.traps(1, Primitive::Receive, Endpoint::ANY), Some(Ok(())));
        let delayed = "kernel.getksig = { process: 2, signals: {SIGSNDELAY} }";
        assert_eq!(kernel.asks(0, &GETKSIG), delayed);
        assert_eq!(kernel.asks(0, &stop(true)), "kernel.run_stop = {}");
        assert_eq!(kernel.asks(0, &ENDKSIG), "kernel.endksig = {}");
        assert!(!kernel.can_run(2));
    }
    let mut kernel = kernel(&[server(0, Callers::PM), service(1), service(2)]);
    managed(&mut kernel, 2, 0);
    assert_eq!(kernel.sends(2, Primitive::Send, at(1), 1), None);
    let stop = calls::run_stop::Request { process: at(2), delay: true };
    assert_eq!(kernel.asks(0, &stop), "kernel.run_stop = EBUSY");
    kernel.exit(Slot::new(1), 0);
    assert_eq!(kernel.asks(0, &GETKSIG), "kernel.getksig = { process: 2, signals: {SIGSNDELAY} }");
}

/// PM, a service that takes nothing, and one that PM manages and that sends to it.
fn delayed() -> Kernel<Fake> {
    let mut kernel = kernel(&[server(0, Callers::PM.or(Callers::RS)), service(1), service(2)]);
    managed(&mut kernel, 2, 0);
    assert_eq!(kernel.sends(2, Primitive::SendRec, at(1), 1), None);
    let stop = calls::run_stop::Request { process: at(2), delay: true };
    assert_eq!(kernel.asks(0, &stop), "kernel.run_stop = EBUSY");
    kernel
}

const DELAYED: &str = "kernel.getksig = { process: 2, signals: {SIGSNDELAY} }";

#[test]
fn who_was_put_off_hears_of_a_send_that_is_taken_back_and_only_once() {
    let name = abi::Name::new("new").unwrap();
    let exec = calls::exec::Request { process: at(2), instruction: 1, stack: 0, argument: 0, name };
    let mut kernel = delayed();
    assert_eq!(kernel.asks(0, &exec), "kernel.exec = {}");
    assert_eq!(kernel.asks(0, &GETKSIG), DELAYED);
    assert_eq!(kernel.asks(0, &ENDKSIG), "kernel.endksig = {}");
    // The next send has nothing to do with it.
    assert_eq!(kernel.sends(2, Primitive::Send, at(1), 1), None);
    assert_eq!(kernel.traps(1, Primitive::Receive, Endpoint::ANY), Some(Ok(())));
    assert_eq!(kernel.asks(0, &GETKSIG), "kernel.getksig = { process: none, signals: {} }");

    let mut kernel = delayed();
    kernel.stop(Slot::new(2), Stops::NO_PRIVILEGES);
    assert_eq!(kernel.traps(1, Primitive::Receive, at(0)), None);
    let rollback = calls::update::Request { source: at(2), target: at(1), rollback: true };
    assert_eq!(kernel.asks(0, &rollback), "kernel.update = EBUSY", "it waits for what it would become");
    let mut kernel = delayed();
    kernel.clear_ipc_references(Slot::new(1));
    assert_eq!(kernel.asks(0, &GETKSIG), DELAYED);
}

#[test]
fn a_kernel_call_that_waits_for_vm_delays_a_stop() {
    for outcome in [abi::RequestOutcome::Illegal, abi::RequestOutcome::Ready] {
        let vm = server(1, Callers::VM);
        let mut kernel = kernel(&[server(0, Callers::PM), vm, service(2)]);
        managed(&mut kernel, 2, 0);
        kernel.machine.memory.map(2, 0x7000, true);
        let copy = calls::vircopy::Request {
            from: Endpoint::SELF,
            from_address: 0x7000,
            to: Endpoint::SELF,
            to_address: 0x9000,
            len: 8,
            flags: abi::CopyFlags::default(),
        };
        kernel.asks(2, &copy);
        assert!(kernel.stops(2).contains(Stops::MEMORY_REQUEST));
        let stop = calls::run_stop::Request { process: at(2), delay: true };
        assert_eq!(kernel.asks(0, &stop), "kernel.run_stop = EBUSY");
        let asked = kernel.asks(1, &calls::vm_memory_request_get::Request {});
        assert!(asked.contains("request: 1"), "{asked}");
        kernel.machine.memory.map(2, 0x9000, true);
        let reply = calls::vm_memory_request_reply::Request { requestor: at(2), request: 1, outcome };
        assert_eq!(kernel.asks(1, &reply), "kernel.vm_memory_request_reply = {}");
        if outcome == abi::RequestOutcome::Ready {
            assert_eq!(kernel.asks(0, &GETKSIG), "kernel.getksig = { process: none, signals: {} }");
            kernel.go_on(Slot::new(2));
        }
        assert_eq!(kernel.asks(0, &GETKSIG), DELAYED);
        assert_eq!(kernel.asks(0, &stop), "kernel.run_stop = {}");
    }
}

#[test]
fn a_manager_that_dies_while_one_of_its_processes_sends_to_it_runs_no_more() {
    let mut kernel = kernel(&[server(0, Callers::PM), service(1), service(2)]);
    managed(&mut kernel, 2, 1);
    assert_eq!(kernel.traps(1, Primitive::Receive, Endpoint::SYSTEM), None);
    assert_eq!(kernel.sends(2, Primitive::Send, at(1), 1), None);
    let stop = calls::run_stop::Request { process: at(2), delay: true };
    assert_eq!(kernel.asks(0, &stop), "kernel.run_stop = EBUSY");
    assert_eq!(kernel.asks(0, &calls::clear::Request { process: at(1) }), "kernel.clear = {}");
    assert_eq!(kernel.traps(0, Primitive::Receive, Endpoint::SYSTEM), None);
    assert_eq!(kernel.next(), Next::Run(Slot::new(2)));
    assert_eq!(kernel.returned(2), Some(Err(Errno::EDEADSRCDST)));
}

/// Whose turns come until nobody has one, each being stopped then.
fn turns(kernel: &mut Kernel<Fake>) -> Vec<u16> {
    let mut turns = Vec::new();
    kernel.tell_of_delays();
    while let Next::Run(slot) = kernel.next() {
        assert!(turns.len() < 9, "{turns:?}");
        turns.push(slot.number());
        kernel.stop(slot, Stops::STOPPED);
    }
    turns
}

/// What an update ends lets a manager hear of it that is the other one of the two.
#[test]
fn an_update_wakes_nobody_whom_it_is_about_to_exchange() {
    const PM: u16 = 0;
    let system = || {
        let roles = Callers::PM.or(Callers::RS);
        let mut kernel =
            kernel(&[server(PM, roles), service(1), service(2), service(3), server(4, Callers::VM)]);
        managed(&mut kernel, 2, 1);
        kernel
    };
    let update = |rollback| calls::update::Request { source: at(2), target: at(1), rollback };
    // It takes back a message, or ends a kernel call.
    for sends in [true, false] {
        let mut kernel = system();
        if sends {
            assert_eq!(kernel.sends(2, Primitive::SendRec, at(3), 1), None);
        } else {
            kernel.asks(2, &memset());
        }
        put_off(&mut kernel, 2);
        kernel.stop(Slot::new(2), Stops::NO_PRIVILEGES);
        assert_eq!(kernel.traps(1, Primitive::Receive, Endpoint::ANY), None);
        assert_eq!(kernel.asks(PM, &update(sends)), "kernel.update = {}");
        // What waited for a message is 2 now, and waits on, and 1 may not run.
        assert_eq!(turns(&mut kernel), [0, 3, 4], "sends {sends}");
    }
    // Its manager dies, and the backup may run from then on.
    let mut kernel = system();
    let managers =
        Managers { slot: 2, signal_manager: at(3), backup_manager: at(1), scheduler: Endpoint::NONE };
    kernel.set_managers(managers).unwrap();
    assert_eq!(kernel.sends(2, Primitive::SendRec, at(4), 1), None);
    put_off(&mut kernel, 2);
    for slot in [1, 2] {
        kernel.stop(Slot::new(slot), Stops::NO_PRIVILEGES);
    }
    kernel.exit(Slot::new(3), 0);
    assert_eq!(kernel.asks(PM, &update(true)), "kernel.update = {}");
    assert_eq!(turns(&mut kernel), [0, 4]);
}

#[test]
fn a_stop_that_was_put_off_is_told_by_the_name_that_was_to_stop() {
    let mut kernel = kernel(&[server(0, Callers::PM.or(Callers::RS)), service(1), service(2), service(3)]);
    managed(&mut kernel, 2, 0);
    managed(&mut kernel, 3, 0);
    assert_eq!(kernel.sends(2, Primitive::SendRec, at(1), 1), None);
    put_off(&mut kernel, 2);
    for slot in [2, 3] {
        kernel.stop(Slot::new(slot), Stops::NO_PRIVILEGES);
    }
    let update = calls::update::Request { source: at(2), target: at(3), rollback: false };
    assert_eq!(kernel.asks(0, &update), "kernel.update = {}");
    assert_eq!(kernel.asks(0, &GETKSIG), DELAYED);
}

/// Each is the manager of the one before, waits to send, and is to be told of when it does not. The kernel's stack is
/// smaller than this one.
#[test]
fn a_chain_of_managers_needs_no_more_stack_than_one() {
    const LENGTH: u16 = 250;
    let chain = || {
        let mut kernel = Kernel::new(Fake::default(), LENGTH);
        for slot in 0..LENGTH {
            let role = if slot == 0 { Callers::PM } else { Callers::default() };
            kernel.add(&server(slot, role), Registers::default(), slot).unwrap();
        }
        for slot in 1..LENGTH {
            for to in [0, 1] {
                kernel.allow_pair(Pair { from: slot, to }).unwrap();
            }
            if slot + 1 < LENGTH {
                managed(&mut kernel, slot, slot + 1);
            }
        }
        for slot in 2..LENGTH {
            assert_eq!(kernel.sends(slot, Primitive::SendRec, at(1), 1), None);
            put_off(&mut kernel, slot);
        }
        let kill = calls::kill::Request { process: at(1), signal: Signal::USR1 };
        assert_eq!(kernel.asks(0, &kill), "kernel.kill = {}");
        assert!(!kernel.can_run(LENGTH - 2) && kernel.can_run(LENGTH - 1));
    };
    std::thread::Builder::new().stack_size(64 * 1024).spawn(chain).unwrap().join().unwrap();
}

/// VM waits for 5, 3 for memory and a quantum, its scheduler for PM: when PM asks 2, which stands still for 3, VM's wait is
/// the one that ends.
#[test]
fn whoever_is_told_of_a_wait_that_ended_hears_nothing_else_in_its_place() {
    let pm = server(0, Callers::PM);
    let mut kernel = kernel(&[pm, server(1, Callers::VM), service(2), service(3), service(4), service(5)]);
    for (slot, manager) in [(1, 2), (2, 3), (5, 3)] {
        managed(&mut kernel, slot, manager);
    }
    let none = Endpoint::NONE;
    let managers = Managers { slot: 3, signal_manager: none, backup_manager: none, scheduler: at(4) };
    kernel.set_managers(managers).unwrap();
    assert_eq!(kernel.traps(2, Primitive::Receive, Endpoint::ANY), None);
    kernel.asks(3, &memset());
    for _ in 0..2 {
        kernel.tick(Some(Slot::new(3)));
    }
    assert_eq!(kernel.stops(3), Stops::MEMORY_REQUEST.with(Stops::NO_QUANTUM));
    assert_eq!(kernel.sends(1, Primitive::SendRec, at(5), 1), None);
    put_off(&mut kernel, 1);
    assert_eq!(kernel.sends(4, Primitive::SendRec, at(0), 1), None);
    for process in [at(2), at(5)] {
        let kill = calls::kill::Request { process, signal: Signal::USR1 };
        assert_eq!(kernel.asks(0, &kill), "kernel.kill = {}");
    }
    assert_eq!(kernel.sends(0, Primitive::SendRec, at(2), 77), None);
    assert_eq!(kernel.returned(1), Some(Err(Errno::ELOCKED)));
    assert!(kernel.stops(1).contains(Stops::SIGNALLED));
    assert!(kernel.processes.process(Slot::new(2)).notifications.contains(Notifier::System));
    assert_eq!(kernel.received(2), (at(0), 77, Some(Primitive::SendRec)));
}
