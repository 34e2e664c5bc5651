//! What a process has as a service, and what becomes of it when it is another service, or none.

use crate::fake::{Fake, Registers, at, kernel, program, server, service, set_managers, set_system};
use crate::fault::{Access, Fault};
use crate::privilege::Notifier;
use crate::process::{Ipc, Process, Stops};
use crate::{AddError, Kernel, OutOfTurn, Slot};
use abi::boot::{self, Managers};
use abi::ipc::AsyncFlags;
use abi::ipc::Primitive::{Notify, Receive, SendRec};
use abi::protocols::{
    AlarmFrom, FilterKind, FilterRule, KEEP_PRIORITY, KEEP_QUANTUM, Scheduler, kernel as calls,
};
use abi::{Bytes, Callers, CopyFlags, Endpoint, Errno, GrantId, Name, Signal};

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

/// Makes a process another service, or a program.
fn becomes(kernel: &mut Kernel<Fake>, slot: u16, service: Option<Callers>) {
    kernel.stop(Slot::new(slot), Stops::NO_PRIVILEGES);
    let answer = match service {
        Some(class) => kernel.asks(RS, &set_system(slot, class, RS)),
        None => kernel.asks(RS, &calls::privilege_set_user::Request { process: at(slot) }),
    };
    assert!(answer.ends_with("= {}"), "{answer}");
}

/// What needs a page that is missing.
const FILL: calls::memset::Request = calls::memset::Request {
    process: Endpoint::SELF,
    address: 0x9000,
    len: 1,
    byte: 0,
    flags: CopyFlags::WAIT,
};

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
        assert_eq!(kernel.asks(OLD, &grants), "kernel.setgrant = { first_sequence: 1 }");
        assert_eq!(kernel.sends_async(OLD, at(OTHER), AsyncFlags::NONE), Some(Ok(())));
        assert_eq!(kernel.traps(OTHER, Notify, at(OLD)), Some(Ok(())));
        assert_eq!(kernel.sends(THIRD, SendRec, at(OLD), 1), None);
        kernel.interrupt(4);
        kernel.machine.memory.devices.extend([((OLD, 0x8000), 0xfed0_0000), ((OTHER, 0x8000), 0xfed0_0000)]);

        becomes(&mut kernel, OLD, service);
        assert_eq!(kernel.machine.memory.devices.keys().collect::<Vec<_>>(), [&(OTHER, 0x8000)]);
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

// row F2
#[test]
fn no_two_tables_of_an_endpoint_get_the_same_sequences() {
    let mut kernel = four();
    let register = |kernel: &mut Kernel<Fake>, slot: u16| {
        let table = calls::setgrant::Request { address: 0x7000, entries: 1 };
        let answer = kernel.asks(slot, &table);
        let first = answer.strip_prefix("kernel.setgrant = { first_sequence: ");
        let first = first.and_then(|first| first.strip_suffix(" }")?.parse::<u64>().ok());
        first.unwrap_or_else(|| panic!("{answer}"))
    };
    let first = |kernel: &mut Kernel<Fake>| register(kernel, OLD);
    assert_eq!(first(&mut kernel), 1);
    assert_eq!(first(&mut kernel), 1 + GrantId::BLOCK, "a larger one");
    let none = calls::setgrant::Request { address: 0, entries: 0 };
    assert_eq!(kernel.asks(OLD, &none), "kernel.setgrant = { first_sequence: 0 }");
    assert_eq!(first(&mut kernel), 1 + 2 * GrantId::BLOCK, "one after none");
    let name = Name::new("anew").unwrap();
    let (process, argument) = (at(OLD), 0);
    let exec = calls::exec::Request { process, instruction: 0x7000, stack: 0x7000, argument, name };
    assert_eq!(kernel.asks(RS, &exec), "kernel.exec = {}");
    assert_eq!(first(&mut kernel), 1 + 3 * GrantId::BLOCK, "one of another program");
    becomes(&mut kernel, OLD, None);
    becomes(&mut kernel, OLD, Some(Callers::SERVICE));
    let allow = calls::privilege_allow::Request { process: at(OLD) };
    assert_eq!(kernel.asks(RS, &allow), "kernel.privilege_allow = {}");
    assert_eq!(first(&mut kernel), 1 + 4 * GrantId::BLOCK, "one of another role");

    // The new version has registered a table under its own endpoint, which the old one goes by from then on.
    assert_eq!(register(&mut kernel, OTHER), 1);
    for slot in [OLD, OTHER] {
        kernel.stop(Slot::new(slot), Stops::NO_PRIVILEGES);
    }
    let update = calls::update::Request { source: at(OTHER), target: at(OLD), rollback: false };
    assert_eq!(kernel.asks(RS, &update), "kernel.update = {}");
    for slot in [OLD, OTHER] {
        kernel.resume(Slot::new(slot), Stops::NO_PRIVILEGES);
    }
    assert_eq!(first(&mut kernel), 1 + 5 * GrantId::BLOCK, "one of another version");
    assert_eq!(register(&mut kernel, OTHER), 1 + GrantId::BLOCK);

    // The last block is followed by none.
    let process = kernel.processes.process_mut(Slot::new(OLD));
    process.memory.registrations = u32::try_from(GrantId::SEQUENCES / GrantId::BLOCK - 2).unwrap();
    let last = first(&mut kernel) + GrantId::BLOCK - 1;
    assert!(GrantId::new(0, last).is_some() && GrantId::new(0, last + GrantId::BLOCK).is_none());
    let table = calls::setgrant::Request { address: 0x7000, entries: 1 };
    assert_eq!(kernel.asks(OLD, &table), "kernel.setgrant = ENOSPC");
    assert_eq!(kernel.asks(OLD, &none), "kernel.setgrant = { first_sequence: 0 }");
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
        kernel.asks(OTHER, &FILL);
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
        scheduler: Endpoint::NONE,
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

/// RS says who may become somebody's scheduler.
fn name_scheduler(kernel: &mut Kernel<Fake>, of: u16, scheduler: Option<u16>) {
    let request = calls::privilege_update::Request {
        process: at(of),
        traps: u32::MAX,
        kernel_calls: u128::MAX,
        signal_manager: Endpoint::NONE,
        backup_manager: Endpoint::NONE,
        scheduler: scheduler.map_or(Endpoint::NONE, at),
        grants_magic: false,
    };
    assert_eq!(kernel.asks(RS, &request), "kernel.privilege_update = {}");
}

// row F1
#[test]
fn only_whom_rs_names_becomes_a_scheduler_and_rs_and_pm_themselves() {
    let set = |slot, scheduler| calls::set_scheduler::Request {
        process: at(slot),
        scheduler,
        priority: KEEP_PRIORITY,
        quantum_ms: KEEP_QUANTUM,
    };
    let mut kernel =
        kernel(&[server(RS, Callers::RS), service(OLD), service(OTHER), server(THIRD, Callers::PM)]);
    for scheduler in [Scheduler::Caller, Scheduler::Kernel] {
        for victim in [RS, OTHER, THIRD] {
            let expected = "kernel.set_scheduler = EPERM";
            assert_eq!(kernel.asks(OLD, &set(victim, scheduler)), expected, "{victim}");
        }
    }
    for caller in [RS, THIRD] {
        assert_eq!(kernel.asks(caller, &set(OTHER, Scheduler::Caller)), "kernel.set_scheduler = {}");
        assert_eq!(kernel.asks(caller, &set(OTHER, Scheduler::Kernel)), "kernel.set_scheduler = {}");
    }
    name_scheduler(&mut kernel, OTHER, Some(OLD));
    assert_eq!(kernel.asks(OLD, &set(OTHER, Scheduler::Caller)), "kernel.set_scheduler = {}");
    assert_eq!(kernel.asks(OLD, &set(THIRD, Scheduler::Caller)), "kernel.set_scheduler = EPERM");
    // Who has a scheduler keeps it until that one gives it back.
    name_scheduler(&mut kernel, OTHER, None);
    assert_eq!(kernel.asks(RS, &set(OTHER, Scheduler::Caller)), "kernel.set_scheduler = EPERM");
    assert_eq!(kernel.asks(OLD, &set(OTHER, Scheduler::Kernel)), "kernel.set_scheduler = {}");
    assert_eq!(kernel.asks(OLD, &set(OTHER, Scheduler::Caller)), "kernel.set_scheduler = EPERM");
    let unknown =
        calls::privilege_set_system::Request { scheduler: at(7), ..set_system(OTHER, Callers::SERVICE, RS) };
    kernel.stop(Slot::new(OTHER), Stops::NO_PRIVILEGES);
    assert_eq!(kernel.asks(RS, &unknown), "kernel.privilege_set_system = EINVAL");
    // At boot, the scheduler that a service has is the one that it may have.
    let managers = |scheduler| Managers {
        slot: RS,
        signal_manager: Endpoint::NONE,
        backup_manager: Endpoint::NONE,
        scheduler,
    };
    kernel.set_managers(managers(at(OLD))).unwrap();
    assert_eq!(kernel.asks(OLD, &set(RS, Scheduler::Kernel)), "kernel.set_scheduler = {}");
    assert_eq!(kernel.asks(OLD, &set(RS, Scheduler::Caller)), "kernel.set_scheduler = {}");
}

// row F5
#[test]
fn who_is_another_is_told_at_once_what_its_filter_held_back() {
    let mut kernel = four();
    managed(&mut kernel, OTHER, OLD, RS);
    let rule = FilterRule { source: Endpoint::SYSTEM, ..FilterRule::default() };
    let rules = Bytes::first_of(&rule.to_bytes());
    let filter = calls::ipc_filter_add::Request { kind: FilterKind::Black, rules };
    assert_eq!(kernel.asks(OLD, &filter), "kernel.ipc_filter_add = {}");
    assert_eq!(kernel.traps(OLD, Receive, Endpoint::ANY), None);
    let kill = calls::kill::Request { process: at(OTHER), signal: Signal::USR1 };
    assert_eq!(kernel.asks(RS, &kill), "kernel.kill = {}");
    assert_eq!(kernel.returned(OLD), None, "its filter holds the notification back");
    becomes(&mut kernel, OLD, Some(Callers::SERVICE));
    assert_eq!(kernel.returned(OLD), Some(Ok(())));
    assert_eq!(kernel.received(OLD).0, Endpoint::SYSTEM);
    assert!(!kernel.can_run(OLD), "RS has yet to allow it to run");
}

// row F1
#[test]
fn what_a_process_may_do_is_told_in_full() {
    let mut kernel = four();
    kernel.allow_irq(boot::Irq { slot: OLD, line: 4 }).unwrap();
    kernel.allow_ports(boot::Ports { slot: OLD, first: 0x3f8, last: 0x3ff }).unwrap();
    let add = calls::privilege_add_memory::Request { process: at(OLD), start: 0xfed0_0000, size: 4096 };
    assert_eq!(kernel.asks(RS, &add), "kernel.privilege_add_memory = {}");
    name_scheduler(&mut kernel, OLD, Some(THIRD));
    let all = kernel.asks(OTHER, &calls::get_privileges::Request { process: at(OLD) });
    for field in
        ["next_scheduler: 3,", "scheduler: none,", "irqs: 16,", "port_ranges: 1,", "memory_ranges: 1 "]
    {
        assert!(all.contains(field), "{field} is not in {all}");
    }
    let ports = |process, index| calls::get_port_range::Request { process, index };
    let memory = |process, index| calls::get_memory_range::Request { process, index };
    assert_eq!(kernel.asks(OTHER, &ports(at(OLD), 0)), "kernel.get_port_range = { first: 1016, last: 1023 }");
    assert_eq!(kernel.asks(OTHER, &ports(at(OLD), 1)), "kernel.get_port_range = ESRCH");
    assert_eq!(kernel.asks(OTHER, &ports(at(7), 0)), "kernel.get_port_range = EINVAL");
    let range = "kernel.get_memory_range = { start: 4275044352, size: 4096 }";
    assert_eq!(kernel.asks(OTHER, &memory(at(OLD), 0)), range);
    assert_eq!(kernel.asks(OTHER, &memory(at(OLD), u16::MAX)), "kernel.get_memory_range = ESRCH");
    assert_eq!(kernel.asks(OTHER, &memory(at(7), 0)), "kernel.get_memory_range = EINVAL");
    let may = |process, target| calls::get_send_right::Request { process, target };
    let told = |may_send| format!("kernel.get_send_right = {{ may_send: {may_send} }}");
    assert_eq!(kernel.asks(RS, &may(at(OLD), at(OTHER))), told(true));
    assert_eq!(kernel.asks(RS, &may(at(OLD), at(OLD))), told(false));
    let remove = calls::privilege_remove_target::Request { process: at(OTHER), target: at(OLD) };
    assert_eq!(kernel.asks(RS, &remove), "kernel.privilege_remove_target = {}");
    assert_eq!(kernel.asks(RS, &may(at(OLD), at(OTHER))), told(false));
    assert_eq!(kernel.asks(RS, &may(at(7), at(OTHER))), "kernel.get_send_right = EINVAL");
    assert_eq!(kernel.asks(RS, &may(at(OTHER), at(7))), "kernel.get_send_right = EINVAL");
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
    for (of, scheduler) in [(OTHER, OLD), (THIRD, OTHER)] {
        name_scheduler(&mut kernel, of, Some(scheduler));
        assert_eq!(kernel.asks(scheduler, &take(of)), "kernel.set_scheduler = {}");
    }
    for scheduler in [OTHER, THIRD] {
        name_scheduler(&mut kernel, OLD, Some(scheduler));
        assert_eq!(kernel.asks(scheduler, &take(OLD)), "kernel.set_scheduler = ELOCKED");
    }
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

// row F8
#[test]
fn a_scheduler_that_waits_for_a_process_is_not_asked_for_its_quanta() {
    let take = |slot| calls::set_scheduler::Request {
        process: at(slot),
        scheduler: Scheduler::Caller,
        priority: KEEP_PRIORITY,
        quantum_ms: 1,
    };
    let mut kernel = four();
    name_scheduler(&mut kernel, OTHER, Some(OLD));
    assert_eq!(kernel.asks(OLD, &take(OTHER)), "kernel.set_scheduler = {}");
    assert_eq!(kernel.traps(OTHER, Receive, Endpoint::ANY), None);
    assert_eq!(kernel.sends(OLD, SendRec, at(OTHER), 1), None);
    (0..3).for_each(|_| kernel.tick(Some(Slot::new(OTHER))));
    assert!(kernel.can_run(OTHER), "{}", kernel.stops(OTHER));
    // One that waits for just this is.
    let mut kernel = four();
    name_scheduler(&mut kernel, OTHER, Some(OLD));
    assert_eq!(kernel.asks(OLD, &take(OTHER)), "kernel.set_scheduler = {}");
    assert_eq!(kernel.traps(OLD, Receive, at(OTHER)), None);
    (0..3).for_each(|_| kernel.tick(Some(Slot::new(OTHER))));
    assert_eq!((kernel.returned(OLD), kernel.stops(OTHER)), (Some(Ok(())), Stops::NO_QUANTUM));
    // And one that waits for its quantum gets it before it is waited for.
    let mut kernel = four();
    name_scheduler(&mut kernel, OTHER, Some(OLD));
    assert_eq!(kernel.asks(OLD, &take(OTHER)), "kernel.set_scheduler = {}");
    (0..3).for_each(|_| kernel.tick(Some(Slot::new(OTHER))));
    assert_eq!(kernel.stops(OTHER), Stops::NO_QUANTUM);
    assert_eq!(kernel.sends(OLD, SendRec, at(OTHER), 1), None);
    assert!(kernel.can_run(OTHER));
}

#[test]
fn a_new_version_of_a_manager_is_told_what_the_old_one_had_in_hands() {
    let mut kernel = kernel(&[
        server(RS, Callers::RS),
        server(OLD, Callers::PM),
        server(OTHER, Callers::PM),
        program(THIRD),
    ]);
    managed(&mut kernel, THIRD, OLD, RS);
    let kill = calls::kill::Request { process: at(THIRD), signal: Signal::USR1 };
    assert_eq!(kernel.asks(RS, &kill), "kernel.kill = {}");
    let told = "kernel.getksig = { process: 3, signals: {SIGUSR1} }";
    assert_eq!(kernel.asks(OLD, &GETKSIG), told);
    for slot in [OLD, OTHER] {
        kernel.stop(Slot::new(slot), Stops::NO_PRIVILEGES);
    }
    let update = calls::update::Request { source: at(OTHER), target: at(OLD), rollback: false };
    assert_eq!(kernel.asks(RS, &update), "kernel.update = {}");
    kernel.resume(Slot::new(OLD), Stops::NO_PRIVILEGES);
    let clear = calls::state_clear_ipc_refs::Request {};
    assert_eq!(kernel.asks(OLD, &clear), "kernel.state_clear_ipc_refs = {}");
    assert_eq!(kernel.asks(OLD, &GETKSIG), told);
}

#[test]
fn a_new_version_of_a_manager_stands_still_for_nobody() {
    let mut kernel =
        kernel(&[server(RS, Callers::RS), server(OLD, Callers::PM), service(OTHER), service(THIRD)]);
    managed(&mut kernel, OTHER, OLD, OLD);
    assert_eq!(kernel.sends(OTHER, SendRec, at(THIRD), 1), None);
    let stop = calls::run_stop::Request { process: at(OTHER), delay: true };
    assert_eq!(kernel.asks(OLD, &stop), "kernel.run_stop = EBUSY");
    for slot in [OLD, OTHER] {
        kernel.stop(Slot::new(slot), Stops::NO_PRIVILEGES);
    }
    // It ends what the new version was about to send, which tells the old one that it can be stopped now.
    let update = calls::update::Request { source: at(OTHER), target: at(OLD), rollback: true };
    assert_eq!(kernel.asks(RS, &update), "kernel.update = {}");
    for slot in [OLD, OTHER] {
        kernel.resume(Slot::new(slot), Stops::NO_PRIVILEGES);
    }
    assert!(kernel.can_run(OLD), "{}", kernel.stops(OLD));
}

#[test]
fn vm_that_has_ended_is_gone_when_it_becomes_vm_that_nobody_manages() {
    let mut kernel = kernel(&[server(RS, Callers::RS), server(OLD, Callers::VM), service(OTHER)]);
    managed(&mut kernel, OLD, RS, RS);
    kernel.asks(OLD, &calls::exit::Request { status: 0 });
    let disallow = calls::privilege_disallow::Request { process: at(OLD) };
    assert_eq!(kernel.asks(RS, &disallow), "kernel.privilege_disallow = {}");
    let set = calls::privilege_set_system::Request {
        signal_manager: Endpoint::NONE,
        ..set_system(OLD, Callers::SERVICE.or(Callers::VM), RS)
    };
    assert_eq!(kernel.asks(RS, &set), "kernel.privilege_set_system = {}");
    assert!(kernel.processes.find(at(OLD)).is_none());
}

#[test]
fn a_stop_that_was_to_be_delayed_is_told_to_the_manager_of_a_new_role() {
    let mut kernel =
        kernel(&[server(RS, Callers::RS.or(Callers::PM)), service(OLD), service(OTHER), program(THIRD)]);
    for slot in [OLD, THIRD] {
        managed(&mut kernel, slot, RS, RS);
    }
    assert_eq!(kernel.sends(OLD, SendRec, at(OTHER), 1), None);
    let stop = calls::run_stop::Request { process: at(OLD), delay: true };
    assert_eq!(kernel.asks(RS, &stop), "kernel.run_stop = EBUSY");
    becomes(&mut kernel, OLD, None);
    assert_eq!(kernel.asks(RS, &GETKSIG), "kernel.getksig = { process: 1, signals: {SIGSNDELAY} }");
}

#[test]
fn what_a_process_waits_to_send_goes_with_its_role() {
    for service in [Some(Callers::SERVICE), None] {
        let mut kernel = four();
        assert_eq!(kernel.sends(OLD, SendRec, at(OTHER), 7), None);
        becomes(&mut kernel, OLD, service);
        assert_eq!(kernel.returned(OLD), Some(Err(Errno::EDEADSRCDST)));
        assert_eq!(kernel.traps(OTHER, Receive, Endpoint::ANY), None);
    }
}

#[test]
fn a_program_that_starts_anew_hears_of_nothing_that_the_one_before_asked_for() {
    let mut kernel = four();
    kernel.allow_irq(boot::Irq { slot: OLD, line: 4 }).unwrap();
    let attach = calls::irq_attach::Request { line: 4, bit: 0, reenable: false };
    assert_eq!(kernel.asks(OLD, &attach), "kernel.irq_attach = {}");
    kernel.interrupt(4);
    let alarm = calls::set_alarm::Request { time_ns: 5_000_000_000, from: AlarmFrom::Now };
    assert!(kernel.asks(OLD, &alarm).starts_with("kernel.set_alarm = {"));
    let rule = FilterRule { source: at(OTHER), ..FilterRule::default() };
    let rules = Bytes::first_of(&rule.to_bytes());
    let filter = calls::ipc_filter_add::Request { kind: FilterKind::Black, rules };
    assert_eq!(kernel.asks(OLD, &filter), "kernel.ipc_filter_add = {}");
    assert_eq!(kernel.asks(OLD, &calls::log_watch::Request { on: true }), "kernel.log_watch = {}");
    let (process, name, argument) = (at(OLD), Name::new("anew").unwrap(), 0);
    let exec = calls::exec::Request { process, instruction: 0x7000, stack: 0x7000, argument, name };
    assert_eq!(kernel.asks(RS, &exec), "kernel.exec = {}");
    assert!(kernel.machine.open_lines.is_empty());
    assert_eq!(kernel.next_alarm_ns(), None);
    let process = kernel.processes.process(Slot::new(OLD));
    assert!(process.filters.is_empty() && process.has_no_mail() && !process.watches_log);
}

#[test]
fn vm_hears_of_no_request_while_its_filters_hold_back_what_tells_of_them() {
    let mut kernel = kernel(&[server(RS, Callers::RS), server(OLD, Callers::VM), service(OTHER)]);
    let rule = FilterRule { source: Endpoint::SYSTEM, ..FilterRule::default() };
    let rules = Bytes::first_of(&rule.to_bytes());
    let filter = calls::ipc_filter_add::Request { kind: FilterKind::Black, rules };
    assert_eq!(kernel.asks(OLD, &filter), "kernel.ipc_filter_add = {}");
    kernel.asks(OTHER, &FILL);
    let get = calls::vm_memory_request_get::Request {};
    assert_eq!(kernel.asks(OLD, &get), "kernel.vm_memory_request_get = ENOENT");
    kernel.processes.process_mut(Slot::new(OLD)).notifications = crate::privilege::IdSet::default();
    let clear = calls::ipc_filter_clear::Request {};
    assert_eq!(kernel.asks(OLD, &clear), "kernel.ipc_filter_clear = {}");
    assert_eq!(kernel.traps(OLD, Receive, Endpoint::SYSTEM), Some(Ok(())), "it is told again");
    assert!(kernel.asks(OLD, &get).starts_with("kernel.vm_memory_request_get = { requestor: 2,"));
}

#[test]
fn one_that_has_ended_is_gone_when_it_becomes_one_that_nobody_manages() {
    for manager in [Endpoint::NONE, Endpoint::SELF] {
        let mut kernel = four();
        managed(&mut kernel, OLD, OTHER, OTHER);
        kernel.asks(OLD, &calls::exit::Request { status: 0 });
        let disallow = calls::privilege_disallow::Request { process: at(OLD) };
        assert_eq!(kernel.asks(RS, &disallow), "kernel.privilege_disallow = {}");
        let another = calls::privilege_set_system::Request {
            signal_manager: manager,
            ..set_system(OLD, Callers::SERVICE, OTHER)
        };
        assert_eq!(kernel.asks(RS, &another), "kernel.privilege_set_system = {}");
        assert!(kernel.processes.find(at(OLD)).is_none());
    }
}

#[test]
fn vm_stays_in_its_managers_hands_when_it_becomes_vm_once_more() {
    let vm = Callers::SERVICE.or(Callers::VM);
    let mut kernel =
        kernel(&[server(RS, Callers::RS.or(Callers::PM)), service(OLD), server(OTHER, Callers::VM)]);
    managed(&mut kernel, OTHER, RS, RS);
    // Its privileges come to be others than before.
    kernel.asks(OLD, &calls::exit::Request { status: 0 });
    let kill = calls::kill::Request { process: at(OTHER), signal: Signal::SEGV };
    assert_eq!(kernel.asks(RS, &kill), "kernel.kill = {}");
    assert_eq!(
        kernel.asks(RS, &calls::getksig::Request {}),
        "kernel.getksig = { process: 2, signals: {SIGSEGV} }"
    );
    let disallow = calls::privilege_disallow::Request { process: at(OTHER) };
    assert_eq!(kernel.asks(RS, &disallow), "kernel.privilege_disallow = {}");
    assert_eq!(kernel.asks(RS, &set_system(OTHER, vm, RS)), "kernel.privilege_set_system = {}");
    let stops = kernel.processes.process(Slot::new(OTHER)).stops;
    assert!(stops.contains(Stops::SIGNAL_PENDING.with(Stops::SIGNALLED)));
}

/// To say once more what the manager of VM has in hands ends VM, whose manager that is. Its faults are nobody's then, or
/// the new one's, once a debugger has heard of the first.
#[test]
fn a_vm_that_ends_while_another_becomes_vm_leaves_nobody_behind() {
    const VM: u16 = OLD;
    for is_watched in [false, true] {
        let mut kernel = kernel(&[
            server(RS, Callers::RS),
            server(VM, Callers::VM),
            service(OTHER),
            service(THIRD),
            service(4),
        ]);
        for (slot, manager) in [(VM, OTHER), (OTHER, RS)] {
            let (signal_manager, backup_manager) = (at(manager), Endpoint::NONE);
            let managers = Managers { slot, signal_manager, backup_manager, scheduler: Endpoint::NONE };
            kernel.set_managers(managers).unwrap();
        }
        kernel.catch_faults(is_watched);
        for faulting in [THIRD, 4] {
            kernel.fault(Slot::new(faulting), Fault::Page { address: 0x9000, access: Access::Read });
        }
        for (process, signal) in [(at(OTHER), Signal::STOP), (at(VM), Signal::SEGV)] {
            assert_eq!(kernel.asks(RS, &calls::kill::Request { process, signal }), "kernel.kill = {}");
        }
        let disallow = calls::privilege_disallow::Request { process: at(OTHER) };
        assert_eq!(kernel.asks(RS, &disallow), "kernel.privilege_disallow = {}");
        let set = set_system(OTHER, Callers::SERVICE.or(Callers::VM), VM);
        assert_eq!(kernel.asks(RS, &set), "kernel.privilege_set_system = {}");
        assert!(kernel.processes.find(at(VM)).is_none());
        assert_eq!(kernel.vm(), Some(Slot::new(OTHER)));
        while kernel.turn() == OutOfTurn::Debugger {
            kernel.take_news();
        }
        assert!(kernel.processes.get(Slot::new(THIRD)).is_none());
        let is_told = |process: &Process<Fake>| matches!(process.ipc, Ipc::Sending { to, .. } if Some(to) == kernel.vm());
        assert_eq!(kernel.processes.get(Slot::new(4)).map(is_told), is_watched.then_some(true));
    }
}

#[test]
fn a_vm_that_was_told_of_its_end_ends_when_it_is_vm_no_longer() {
    const VM: u16 = OLD;
    for becomes_program in [false, true] {
        let mut kernel = kernel(&[server(RS, Callers::RS), server(VM, Callers::VM), service(OTHER)]);
        let nobody = Endpoint::NONE;
        let managers =
            Managers { slot: VM, signal_manager: Endpoint::SELF, backup_manager: nobody, scheduler: nobody };
        kernel.set_managers(managers).unwrap();
        let kill = calls::kill::Request { process: at(VM), signal: Signal::KILL };
        assert_eq!(kernel.asks(RS, &kill), "kernel.kill = {}");
        let update = set_managers(VM, nobody, nobody);
        assert_eq!(kernel.asks(RS, &update), "kernel.privilege_update = {}");
        let disallow = calls::privilege_disallow::Request { process: at(VM) };
        assert_eq!(kernel.asks(RS, &disallow), "kernel.privilege_disallow = {}");
        let answer = if becomes_program {
            kernel.asks(RS, &calls::privilege_set_user::Request { process: at(VM) })
        } else {
            let set = set_system(VM, Callers::SERVICE, RS);
            kernel.asks(RS, &calls::privilege_set_system::Request { signal_manager: nobody, ..set })
        };
        assert!(answer.ends_with(" = {}"), "{answer}");
        assert!(kernel.processes.find(at(VM)).is_none());
    }
}

/// The new role makes it the manager of its manager: that is a circle as soon as nobody waits for a quantum of it.
#[test]
fn a_scheduler_that_comes_to_be_managed_by_who_it_manages_ends_with_it() {
    let mut kernel = kernel(&[server(RS, Callers::RS), service(OLD), service(OTHER)]);
    let nobody = Endpoint::NONE;
    for (slot, manager, scheduler) in [(OLD, RS, nobody), (OTHER, OLD, at(OLD))] {
        let managers = Managers { slot, signal_manager: at(manager), backup_manager: nobody, scheduler };
        kernel.set_managers(managers).unwrap();
    }
    for _ in 0..2 {
        kernel.tick(Some(Slot::new(OTHER)));
    }
    assert_eq!(kernel.stops(OTHER), Stops::NO_QUANTUM);
    for process in [at(OLD), at(OTHER)] {
        let kill = calls::kill::Request { process, signal: Signal::SEGV };
        assert_eq!(kernel.asks(RS, &kill), "kernel.kill = {}");
    }
    kernel.stop(Slot::new(OLD), Stops::NO_PRIVILEGES);
    assert_eq!(
        kernel.asks(RS, &set_system(OLD, Callers::SERVICE, OTHER)),
        "kernel.privilege_set_system = {}"
    );
    assert!([OLD, OTHER].iter().all(|slot| kernel.processes.find(at(*slot)).is_none()));
}

#[test]
fn whoever_becomes_a_service_may_be_named_as_its_own_manager() {
    let mut kernel = kernel(&[server(RS, Callers::RS), program(OLD)]);
    kernel.stop(Slot::new(OLD), Stops::NO_PRIVILEGES);
    assert_eq!(kernel.asks(RS, &set_system(OLD, Callers::SERVICE, OLD)), "kernel.privilege_set_system = {}");
    assert_eq!(kernel.privileges_of(Slot::new(OLD)).signal_manager, Endpoint::SELF);
}

#[test]
fn a_program_is_no_manager_of_programs() {
    let mut kernel = kernel(&[server(RS, Callers::RS), service(OLD), program(OTHER), program(THIRD)]);
    let none = Endpoint::NONE;
    assert_eq!(kernel.asks(RS, &set_managers(OTHER, at(OLD), none)), "kernel.privilege_update = {}");
    for (manager, backup) in [(at(OTHER), none), (none, at(OTHER))] {
        let update = set_managers(OTHER, manager, backup);
        assert_eq!(kernel.asks(RS, &update), "kernel.privilege_update = EINVAL");
    }
    assert_eq!(kernel.manager_of(Slot::new(THIRD)), Some(Slot::new(OLD)));
}

#[test]
fn a_backup_of_nobody_is_the_manager_and_may_run() {
    let mut kernel = four();
    for slot in [OLD, OTHER] {
        kernel.stop(Slot::new(slot), Stops::NO_PRIVILEGES);
    }
    let none = Endpoint::NONE;
    assert_eq!(kernel.asks(RS, &set_managers(THIRD, none, at(OLD))), "kernel.privilege_update = {}");
    assert_eq!(kernel.stops(OLD), Stops::NONE);
    assert_eq!(kernel.privileges_of(Slot::new(THIRD)).signal_manager, at(OLD));
    // So it is for a new role.
    kernel.stop(Slot::new(OLD), Stops::NO_PRIVILEGES);
    let set = set_system(OTHER, Callers::SERVICE, RS);
    let set = calls::privilege_set_system::Request { signal_manager: none, backup_manager: at(OLD), ..set };
    assert_eq!(kernel.asks(RS, &set), "kernel.privilege_set_system = {}");
    assert_eq!(kernel.stops(OLD), Stops::NONE);
    assert_eq!(kernel.privileges_of(Slot::new(OTHER)).signal_manager, at(OLD));
}

#[test]
fn who_needs_privileges_that_all_others_have_gets_none() {
    let full = |first: &[boot::Process]| {
        let mut kernel = Kernel::new(Fake::default(), 300);
        kernel.machine.next_space = 300;
        let services = (2..).map(service);
        let all = first.iter().copied().chain(services);
        all.map(|process| kernel.add(&process, Registers::default(), process.slot))
            .find_map(Result::err)
            .unwrap();
        kernel
    };
    let mut kernel = full(&[server(RS, Callers::RS), program(OLD)]);
    kernel.stop(Slot::new(OLD), Stops::NO_PRIVILEGES);
    let set = set_system(OLD, Callers::SERVICE, RS);
    assert_eq!(kernel.asks(RS, &set), "kernel.privilege_set_system = ENOSPC");
    // Nobody is a program yet.
    let mut kernel = full(&[server(RS, Callers::RS.or(Callers::VM)), service(OLD)]);
    kernel.stop(Slot::new(OLD), Stops::NO_PRIVILEGES);
    let set = calls::privilege_set_user::Request { process: at(OLD) };
    assert_eq!(kernel.asks(RS, &set), "kernel.privilege_set_user = ENOSPC");
    assert_eq!(kernel.processes.process(Slot::new(OLD)).class, Callers::SERVICE);
    kernel.allow_pair(boot::Pair { from: 3, to: OTHER }).unwrap();
    assert_eq!(kernel.traps(OTHER, Receive, Endpoint::ANY), None);
    assert_eq!(kernel.sends(3, SendRec, at(OTHER), 1), None);
    let fork = calls::fork::Request { parent: at(3), slot: 299, inhibited: false };
    assert_eq!(kernel.asks(RS, &fork), "kernel.fork = ENOSPC");
}
