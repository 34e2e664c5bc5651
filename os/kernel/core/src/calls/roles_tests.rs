//! What a process has as a service, and what becomes of it when it is another service, or none.

use crate::fake::{Fake, at, kernel, program, server, service};
use crate::fault::{Access, Fault};
use crate::privilege::Notifier;
use crate::process::Stops;
use crate::{AddError, Kernel, Slot};
use abi::boot::{self, Managers};
use abi::ipc::AsyncFlags;
use abi::ipc::Primitive::{Notify, Receive, SendRec};
use abi::protocols::{
    AlarmFrom, FilterKind, FilterRule, KEEP_PRIORITY, KEEP_QUANTUM, Scheduler, kernel as calls,
};
use abi::{Bytes, Callers, Endpoint, Errno, Signal};

const RS: u16 = 0;
const OLD: u16 = 1;
const OTHER: u16 = 2;
const THIRD: u16 = 3;

fn four() -> Kernel<Fake> {
    kernel(&[server(RS, Callers::RS.or(Callers::PM)), service(OLD), service(OTHER), service(THIRD)])
}

fn managed(kernel: &mut Kernel<Fake>, slot: u16, manager: u16, backup: u16) {
    let (signal_manager, backup_manager) = (at(manager), at(backup));
    let managers = Managers { slot, signal_manager, backup_manager, scheduler: Endpoint::NONE };
    kernel.set_managers(managers).unwrap();
}

fn set_system(slot: u16, class: Callers, manager: u16) -> calls::privilege_set_system::Request {
    calls::privilege_set_system::Request {
        process: at(slot),
        class,
        traps: u32::MAX,
        kernel_calls: u128::MAX,
        signal_manager: at(manager),
        backup_manager: Endpoint::NONE,
        grants_magic: false,
    }
}

/// Makes a process another service, or a program.
fn becomes(kernel: &mut Kernel<Fake>, slot: u16, service: Option<Callers>) {
    kernel.stop(Slot::new(slot), Stops::NO_PRIVILEGES);
    let answer = match service {
        Some(class) => kernel.asks(RS, &set_system(slot, class, RS)),
        None => kernel.asks(RS, &calls::privilege_set_user::Request { process: at(slot) }),
    };
    assert!(answer.ends_with("= {}"), "{answer}");
}

const GETKSIG: calls::getksig::Request = calls::getksig::Request {};

#[test]
fn who_is_another_keeps_nothing_of_what_it_had() {
    for service in [Some(Callers::SERVICE), None] {
        let mut kernel = four();
        kernel.allow_irq(boot::Irq { slot: OLD, line: 4 }).unwrap();
        let attach = calls::irq_attach::Request { line: 4, bit: 0, reenable: false };
        assert_eq!(kernel.asks(OLD, &attach), "kernel.irq_attach = {}");
        let alarm = calls::set_alarm::Request { time_ns: 5, from: AlarmFrom::Now };
        assert!(kernel.asks(OLD, &alarm).starts_with("kernel.set_alarm = {"));
        let rule = FilterRule { source: at(OTHER), ..FilterRule::default() };
        let filter = calls::ipc_filter_add::Request {
            kind: FilterKind::Black,
            rules: Bytes::first_of(&rule.to_bytes()),
        };
        assert_eq!(kernel.asks(OLD, &filter), "kernel.ipc_filter_add = {}");
        let grants = calls::setgrant::Request { address: 0x7000, entries: 1 };
        assert_eq!(kernel.asks(OLD, &grants), "kernel.setgrant = {}");
        assert_eq!(kernel.sends_async(OLD, at(OTHER), AsyncFlags::NONE), Some(Ok(())));
        assert_eq!(kernel.traps(OTHER, Notify, at(OLD)), Some(Ok(())));
        assert_eq!(kernel.sends(THIRD, SendRec, at(OLD), 1), None);
        kernel.interrupt(4);

        becomes(&mut kernel, OLD, service);
        assert!(kernel.machine.open_lines.is_empty());
        assert_eq!(kernel.next_alarm_ns(), None);
        assert_eq!(
            kernel.asks(RS, &calls::get_irq_hook::Request { index: 0 }),
            "kernel.get_irq_hook = ESRCH"
        );
        assert_eq!(kernel.traps(OTHER, Receive, Endpoint::ANY), None, "its message is gone");
        assert_eq!(kernel.returned(THIRD), Some(Err(Errno::EDEADSRCDST)));
        let process = kernel.processes.process(Slot::new(OLD));
        assert!(process.filters.is_empty() && process.memory.grants.is_none() && process.has_no_mail());
        assert_eq!(process.irqs_pending, 0);
    }
}

#[test]
fn who_is_vm_no_more_lets_all_go_that_wait_for_it() {
    for (role, is_vm) in
        [(None, false), (Some(Callers::SERVICE), false), (Some(Callers::SERVICE.or(Callers::VM)), true)]
    {
        let mut kernel = kernel(&[
            server(RS, Callers::RS.or(Callers::PM)),
            server(OLD, Callers::VM),
            service(OTHER),
            program(THIRD),
        ]);
        managed(&mut kernel, THIRD, RS, RS);
        kernel.fault(Slot::new(THIRD), Fault::Page { address: 0x9000, access: Access::Read });
        let fill = calls::memset::Request {
            process: Endpoint::SELF,
            address: 0x9000,
            len: 1,
            byte: 0,
            flags: abi::CopyFlags::default(),
        };
        kernel.asks(OTHER, &fill);
        assert!(kernel.stops(OTHER).contains(Stops::MEMORY_REQUEST));
        becomes(&mut kernel, OLD, role);
        assert_eq!(kernel.vm(), is_vm.then_some(Slot::new(OLD)));
        assert_eq!(kernel.stops(OTHER).contains(Stops::MEMORY_REQUEST), is_vm);
        assert_eq!(kernel.stops(THIRD).contains(Stops::PAGE_FAULT), is_vm);
        let expected = if is_vm { "none, signals: {}" } else { "3, signals: {SIGSEGV}" };
        assert_eq!(kernel.asks(RS, &GETKSIG), format!("kernel.getksig = {{ process: {expected} }}"));
        // Somebody else can be VM then.
        becomes(&mut kernel, OTHER, Some(Callers::SERVICE.or(Callers::VM)));
        assert_eq!(kernel.vm(), Some(Slot::new(if is_vm { OLD } else { OTHER })));
    }
}

#[test]
fn signals_go_to_the_manager_that_a_process_gets() {
    let mut kernel = four();
    managed(&mut kernel, OLD, OTHER, OTHER);
    let kill = calls::kill::Request { process: at(OLD), signal: Signal::USR1 };
    assert_eq!(kernel.asks(RS, &kill), "kernel.kill = {}");
    assert_eq!(kernel.asks(OTHER, &GETKSIG), "kernel.getksig = { process: 1, signals: {SIGUSR1} }");
    becomes(&mut kernel, OLD, Some(Callers::SERVICE));
    assert_eq!(kernel.asks(RS, &GETKSIG), "kernel.getksig = { process: 1, signals: {SIGUSR1} }");
    // The same manager is not told twice.
    assert_eq!(kernel.asks(RS, &set_system(OLD, Callers::SERVICE, RS)), "kernel.privilege_set_system = {}");
    assert_eq!(kernel.asks(RS, &GETKSIG), "kernel.getksig = { process: none, signals: {} }");
}

#[test]
fn a_program_manages_and_schedules_nobody() {
    let mut kernel = four();
    managed(&mut kernel, OTHER, OLD, RS);
    let kill = calls::kill::Request { process: at(OTHER), signal: Signal::USR1 };
    assert_eq!(kernel.asks(RS, &kill), "kernel.kill = {}");
    kernel.processes.process_mut(Slot::new(THIRD)).scheduler = Some(at(OLD));
    kernel.stop(Slot::new(THIRD), Stops::NO_QUANTUM);
    becomes(&mut kernel, OLD, None);
    assert_eq!(kernel.asks(RS, &GETKSIG), "kernel.getksig = { process: 2, signals: {SIGUSR1} }");
    assert!(kernel.can_run(THIRD));
    kernel.stop(Slot::new(OTHER), Stops::NO_PRIVILEGES);
    let request = set_system(OTHER, Callers::SERVICE, OLD);
    assert_eq!(kernel.asks(RS, &request), "kernel.privilege_set_system = EINVAL");
}

#[test]
fn only_what_can_be_vm_takes_the_place_of_vm() {
    for (class, expected) in [(Callers::SERVICE, "EPERM"), (Callers::SERVICE.or(Callers::VM), "{}")] {
        let mut kernel = kernel(&[server(RS, Callers::RS), server(OLD, Callers::VM), service(OTHER)]);
        kernel.processes.process_mut(Slot::new(OTHER)).class = class;
        kernel.stop(Slot::new(OLD), Stops::NO_PRIVILEGES);
        kernel.stop(Slot::new(OTHER), Stops::NO_PRIVILEGES);
        for (source, target) in [(at(OLD), at(OTHER)), (at(OTHER), at(OLD))] {
            let update = calls::update::Request { source, target, rollback: false };
            assert_eq!(kernel.asks(RS, &update), format!("kernel.update = {expected}"));
        }
        assert_eq!(kernel.vm(), Some(Slot::new(OLD)));
    }
}

#[test]
fn the_right_to_magic_grants_is_given_taken_and_handed_on() {
    let mut kernel = kernel(&[server(RS, Callers::RS), service(OLD), service(OTHER), program(THIRD)]);
    let update = |slot, grants_magic| calls::privilege_update::Request {
        process: at(slot),
        traps: u32::MAX,
        kernel_calls: u128::MAX,
        signal_manager: Endpoint::NONE,
        backup_manager: Endpoint::NONE,
        grants_magic,
    };
    let has = |kernel: &Kernel<Fake>, slot| kernel.privileges_of(Slot::new(slot)).grants_magic;
    assert_eq!(kernel.asks(RS, &update(THIRD, true)), "kernel.privilege_update = EINVAL");
    for grants_magic in [false, true] {
        for slot in [OLD, OTHER] {
            assert_eq!(
                kernel.asks(RS, &update(slot, grants_magic && slot == OLD)),
                "kernel.privilege_update = {}"
            );
        }
        assert_eq!((has(&kernel, OLD), has(&kernel, OTHER)), (grants_magic, false));
    }
    for slot in [OLD, OTHER] {
        kernel.stop(Slot::new(slot), Stops::NO_PRIVILEGES);
    }
    let exchange = calls::update::Request { source: at(OLD), target: at(OTHER), rollback: false };
    assert_eq!(kernel.asks(RS, &exchange), "kernel.update = {}");
    assert!(has(&kernel, OLD), "the new version has the old one's rights");
    becomes(&mut kernel, OLD, Some(Callers::SERVICE));
    assert!(!has(&kernel, OLD));
    kernel.stop(Slot::new(OLD), Stops::NO_PRIVILEGES);
    let set =
        calls::privilege_set_system::Request { grants_magic: true, ..set_system(OLD, Callers::SERVICE, RS) };
    assert_eq!(kernel.asks(RS, &set), "kernel.privilege_set_system = {}");
    assert!(has(&kernel, OLD));
}

#[test]
fn an_update_gives_nobody_leave_to_answer_who_can_only_receive() {
    let mut kernel = four();
    let silent = kernel.processes.process(Slot::new(THIRD)).privileges;
    kernel.privileges[silent.index()].traps = Receive.bit();
    let old = kernel.processes.process(Slot::new(OLD)).privileges;
    kernel.privileges[silent.index()].send_to.remove(Notifier::Service(old));
    for slot in [OLD, OTHER] {
        kernel.stop(Slot::new(slot), Stops::NO_PRIVILEGES);
    }
    let exchange = calls::update::Request { source: at(OLD), target: at(OTHER), rollback: false };
    assert_eq!(kernel.asks(RS, &exchange), "kernel.update = {}");
    assert!(kernel.privileges[old.index()].send_to.contains(Notifier::Service(silent)));
    assert!(!kernel.privileges[silent.index()].send_to.contains(Notifier::Service(old)));
}

#[test]
fn nobody_is_scheduled_by_one_that_it_schedules() {
    let mut kernel = four();
    let take = |slot| calls::set_scheduler::Request {
        process: at(slot),
        scheduler: Scheduler::Caller,
        priority: KEEP_PRIORITY,
        quantum_ms: KEEP_QUANTUM,
    };
    assert_eq!(kernel.asks(OLD, &take(OTHER)), "kernel.set_scheduler = {}");
    assert_eq!(kernel.asks(OTHER, &take(THIRD)), "kernel.set_scheduler = {}");
    assert_eq!(kernel.asks(OTHER, &take(OLD)), "kernel.set_scheduler = ELOCKED");
    assert_eq!(kernel.asks(THIRD, &take(OLD)), "kernel.set_scheduler = ELOCKED");
    assert_eq!(kernel.asks(RS, &take(OLD)), "kernel.set_scheduler = {}");
    let managers = |slot, scheduler: u16| Managers {
        slot,
        signal_manager: Endpoint::NONE,
        backup_manager: Endpoint::NONE,
        scheduler: at(scheduler),
    };
    assert_eq!(kernel.set_managers(managers(RS, THIRD)), Err(AddError::SchedulerCircle));
    assert_eq!(kernel.set_managers(managers(RS, RS)), Err(AddError::SchedulerCircle));
    // Whoever bore the name before had been asked.
    kernel.stop(Slot::new(THIRD), Stops::NO_QUANTUM);
    assert_eq!(
        kernel.asks(OTHER, &calls::state_clear_ipc_refs::Request {}),
        "kernel.state_clear_ipc_refs = {}"
    );
    assert!(kernel.can_run(THIRD));
}
