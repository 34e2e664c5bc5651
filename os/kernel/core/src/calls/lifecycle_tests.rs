//! Birth, start and stop of processes, their tracing, and their privileges, as tables.

use crate::fake::{Fake, Registers, at, kernel, program, server, service};
use crate::fault::Fault;
use crate::process::Stops;
use crate::{Kernel, Slot};
use abi::boot::Managers;
use abi::ipc::Primitive::{Receive, Send, SendRec};
use abi::protocols::{Tracing, kernel as calls};
use abi::registers::{Register, frame};
use abi::{Callers, Endpoint, Errno, Name, Signal, Signals};

const PM: u16 = 0;
const VM: u16 = 1;
const SERVICE: u16 = 2;
const PROGRAM: u16 = 3;

fn four() -> Kernel<Fake> {
    let everything = Callers::PM.or(Callers::RS);
    let mut kernel =
        kernel(&[server(PM, everything), server(VM, Callers::VM), service(SERVICE), program(PROGRAM)]);
    let managers = Managers {
        slot: PROGRAM,
        signal_manager: at(PM),
        backup_manager: Endpoint::NONE,
        scheduler: Endpoint::NONE,
    };
    kernel.set_managers(managers).unwrap();
    kernel.machine.next_space = 100;
    kernel
}

fn context(kernel: &Kernel<Fake>, slot: u16) -> &Registers {
    &kernel.processes.process(Slot::new(slot)).context
}

fn fork(parent: u16, slot: u16) -> calls::fork::Request {
    calls::fork::Request { parent: at(parent), slot, inhibited: true }
}

#[test]
fn a_child_is_its_parent_but_for_what_is_the_parents_own() {
    let mut kernel = four();
    assert_eq!(kernel.asks(VM, &fork(PROGRAM, 5)), "kernel.fork = EINVAL", "the parent does not wait");
    assert_eq!(kernel.sends(PROGRAM, SendRec, at(PM), 7), None);
    assert_eq!(kernel.asks(VM, &fork(PROGRAM, 5)), "kernel.fork = EINVAL", "it has yet to send");
    assert_eq!(kernel.traps(PM, Receive, Endpoint::ANY), Some(Ok(())));
    assert_eq!(kernel.sends(SERVICE, Send, at(PROGRAM), 9), None);
    kernel.processes.process_mut(Slot::new(PROGRAM)).context.float.0 = [3; 512];
    assert_eq!(kernel.asks(VM, &fork(PROGRAM, 5)), "kernel.fork = { child: 5 }");
    assert_eq!(context(&kernel, 5).float.0, [3; 512]);

    let child = kernel.processes.process(Slot::new(5));
    assert!(child.callers.front().is_none(), "who waits for the parent waits for nobody else");
    assert_eq!((child.name.as_str(), child.class, child.space), ("s3*F", Callers::PROGRAM, 100));
    assert_eq!(child.stops, Stops::NO_SPACE);
    // Both wait for PM, which answers both.
    for slot in [PROGRAM, 5] {
        assert_eq!(kernel.sends(PM, Send, at(slot), 8), Some(Ok(())));
        assert_eq!(kernel.received(slot), (at(PM), 8, Some(Send)));
    }
    assert!(kernel.can_run(PROGRAM) && !kernel.can_run(5));
    let let_go = calls::vm_set_inhibited::Request { process: at(5), inhibited: false };
    assert_eq!(kernel.asks(VM, &let_go), "kernel.vm_set_inhibited = {}");
    assert!(kernel.can_run(5));
    assert_eq!(kernel.asks(VM, &let_go), "kernel.vm_set_inhibited = EINVAL");
    // The sender is where it was.
    assert_eq!(kernel.processes.process(Slot::new(PROGRAM)).callers.front(), Some(Slot::new(SERVICE)));
}

#[test]
fn only_who_waits_for_an_answer_has_a_child() {
    let mut kernel = four();
    for from in [Endpoint::ANY, at(PM), at(PROGRAM)] {
        assert_eq!(kernel.traps(SERVICE, Receive, from), None);
        assert_eq!(kernel.asks(VM, &fork(SERVICE, 5)), "kernel.fork = EINVAL", "it receives from {from:?}");
        kernel.cancel(Slot::new(SERVICE));
    }
}

// row F9
#[test]
fn a_program_takes_no_living_services_name() {
    let mut kernel = four();
    let exec = |process, name| {
        let name = Name::new(name).unwrap();
        calls::exec::Request { process: at(process), instruction: 1, stack: 0, argument: 0, name }
    };
    assert_eq!(kernel.asks(PM, &exec(PROGRAM, "s2")), "kernel.exec = EINVAL");
    assert_eq!(kernel.asks(PM, &exec(PROGRAM, "kernel")), "kernel.exec = EINVAL");
    // A service may: it is a new version, say. And programs may be called alike.
    assert_eq!(kernel.asks(PM, &exec(SERVICE, "s1")), "kernel.exec = {}");
    assert_eq!(kernel.asks(PM, &exec(PROGRAM, "s2")), "kernel.exec = {}");
    assert_eq!(kernel.asks(PM, &exec(PROGRAM, "s2")), "kernel.exec = {}");
}

#[test]
fn a_tracer_moves_bytes_up_to_the_end_of_a_page() {
    let mut kernel = four();
    let (page, end) = (0x10_0000, 0x10_1000);
    kernel.machine.memory.map(PROGRAM, page, true);
    let process = at(PROGRAM);
    let write = |address, bytes: &[u8]| {
        let bytes = abi::Bytes::first_of(bytes);
        calls::trace_write_bytes::Request { process, address, bytes }
    };
    let read = |address, count| calls::trace_read_bytes::Request { process, address, count };
    assert_eq!(kernel.asks(PM, &write(end - 3, b"end")), "kernel.trace_write_bytes = {}");
    assert_eq!(kernel.machine.memory.peek(PROGRAM, end - 4, 4), b"\0end");
    assert_eq!(kernel.asks(PM, &read(end - 3, 3)), "kernel.trace_read_bytes = { bytes: \"end\" }");
    assert!(kernel.asks(PM, &read(page, 96)).contains("bytes"));
    for (address, count, expected) in
        [(page, 0, "EINVAL"), (page, 97, "EINVAL"), (page, u16::MAX, "EINVAL"), (u64::MAX, 1, "EFAULT")]
    {
        assert_eq!(kernel.asks(PM, &read(address, count)), format!("kernel.trace_read_bytes = {expected}"));
    }
    assert_eq!(kernel.asks(PM, &write(page, b"")), "kernel.trace_write_bytes = EINVAL");
    assert_eq!(kernel.asks(PM, &write(0xffff_8000_0000_0000, b"x")), "kernel.trace_write_bytes = EFAULT");
    assert_eq!(kernel.asks(SERVICE, &read(page, 1)), "kernel.trace_read_bytes = EPERM");
}

#[test]
fn a_slot_is_used_again_under_another_name() {
    let mut kernel = four();
    assert_eq!(kernel.sends(PROGRAM, SendRec, at(PM), 7), None);
    assert_eq!(kernel.traps(PM, Receive, Endpoint::ANY), Some(Ok(())));
    for child in ["5", "5.2", "5.3"] {
        assert_eq!(kernel.asks(VM, &fork(PROGRAM, 5)), format!("kernel.fork = {{ child: {child} }}"));
        let process = kernel.processes.process(Slot::new(5)).endpoint;
        assert_eq!(kernel.asks(PM, &calls::clear::Request { process }), "kernel.clear = {}");
        assert_eq!(kernel.asks(PM, &calls::clear::Request { process }), "kernel.clear = {}");
    }
    assert_eq!(kernel.asks(PM, &calls::clear::Request { process: at(5) }), "kernel.clear = EINVAL");
    for (parent, slot) in
        [(PROGRAM, PM), (PROGRAM, PROGRAM), (PROGRAM, 8), (PROGRAM, u16::MAX), (7, 5), (VM, 5)]
    {
        assert_eq!(kernel.asks(VM, &fork(parent, slot)), "kernel.fork = EINVAL", "{parent} {slot}");
    }
    kernel.machine.next_space = 0;
    assert_eq!(kernel.asks(VM, &fork(PROGRAM, 5)), "kernel.fork = ENOMEM");
    assert_eq!(kernel.asks(PM, &fork(PROGRAM, 5)), "kernel.fork = EPERM");
}

#[test]
fn the_child_of_a_service_is_a_program_until_it_is_told_what_it_may_do() {
    let mut kernel = four();
    assert_eq!(kernel.sends(SERVICE, SendRec, at(PM), 7), None);
    assert_eq!(kernel.traps(PM, Receive, Endpoint::ANY), Some(Ok(())));
    let request = calls::fork::Request { inhibited: false, ..fork(SERVICE, 5) };
    assert_eq!(kernel.asks(VM, &request), "kernel.fork = { child: 5 }");
    assert_eq!(kernel.stops(5), Stops::NO_PRIVILEGES);
    let shared = kernel.processes.process(Slot::new(PROGRAM)).privileges;
    assert_eq!(kernel.processes.process(Slot::new(5)).privileges, shared);

    let set = |class, signal_manager| calls::privilege_set_system::Request {
        process: at(5),
        class,
        traps: u32::MAX,
        kernel_calls: u128::MAX,
        signal_manager,
        backup_manager: Endpoint::NONE,
        scheduler: Endpoint::NONE,
        grants_magic: false,
    };
    for (class, manager) in [
        (Callers::PROGRAM, at(PM)),
        (Callers::KERNEL.or(Callers::SERVICE), at(PM)),
        (Callers::RS, at(PM)),
        (Callers(0), at(PM)),
        (Callers::SERVICE, at(7)),
        (Callers::SERVICE, Endpoint::ANY),
    ] {
        assert_eq!(kernel.asks(PM, &set(class, manager)), "kernel.privilege_set_system = EINVAL");
    }
    assert_eq!(kernel.asks(PM, &set(Callers::SERVICE, at(PM))), "kernel.privilege_set_system = {}");
    assert_ne!(kernel.processes.process(Slot::new(5)).privileges, shared);
    assert!(!kernel.can_run(5));
    let allow = calls::privilege_allow::Request { process: at(5) };
    let disallow = calls::privilege_disallow::Request { process: at(5) };
    assert_eq!(kernel.asks(PM, &disallow), "kernel.privilege_disallow = EPERM");
    assert_eq!(kernel.asks(PM, &allow), "kernel.privilege_allow = {}");
    assert_eq!(kernel.asks(PM, &allow), "kernel.privilege_allow = EPERM");
    assert_eq!(kernel.asks(PM, &set(Callers::SERVICE, at(PM))), "kernel.privilege_set_system = EPERM");
    // It waits for PM, as its parent does; nobody has said that they may talk otherwise.
    assert_eq!(kernel.sends(PM, Send, at(5), 1), Some(Err(Errno::ECALLDENIED)));
    let target = calls::privilege_add_target::Request { process: at(5), target: at(PM) };
    assert_eq!(kernel.asks(PM, &target), "kernel.privilege_add_target = {}");
    assert_eq!(kernel.sends(PM, Send, at(5), 1), Some(Ok(())));
    assert_eq!(kernel.sends(5, Send, at(SERVICE), 1), Some(Err(Errno::ECALLDENIED)));
    let target = calls::privilege_remove_target::Request { process: at(PM), target: at(5) };
    assert_eq!(kernel.asks(PM, &target), "kernel.privilege_remove_target = {}");
    assert_eq!(kernel.sends(5, Send, at(PM), 1), Some(Err(Errno::ECALLDENIED)));

    assert_eq!(kernel.asks(PM, &disallow), "kernel.privilege_disallow = {}");
    let user = calls::privilege_set_user::Request { process: at(5) };
    assert_eq!(kernel.asks(PM, &user), "kernel.privilege_set_user = {}");
    assert_eq!(kernel.processes.process(Slot::new(5)).privileges, shared);
    assert_eq!(kernel.processes.process(Slot::new(5)).class, Callers::PROGRAM);
}

#[test]
fn resources_are_given_to_services_that_may_run() {
    let mut kernel = four();
    let io = |slot, first, last| calls::privilege_add_io::Request { process: at(slot), first, last };
    let memory = |slot, start, size| calls::privilege_add_memory::Request { process: at(slot), start, size };
    let irq = |slot, line| calls::privilege_add_irq::Request { process: at(slot), line };
    let query = |slot, start, size| calls::privilege_query_memory::Request { process: at(slot), start, size };
    for (slot, first, last, expected) in [
        (SERVICE, 0x80, 0x80, "{}"),
        (SERVICE, 0x80, 0x80, "{}"),
        (SERVICE, 0x81, 0x80, "EINVAL"),
        (PROGRAM, 0x80, 0x80, "EPERM"),
        (7, 0x80, 0x80, "EINVAL"),
    ] {
        assert_eq!(kernel.asks(PM, &io(slot, first, last)), format!("kernel.privilege_add_io = {expected}"));
    }
    for (slot, start, size, expected) in [
        (SERVICE, 0x1000, 0x1000, "{}"),
        (SERVICE, u64::MAX, 1, "EINVAL"),
        (SERVICE, 0, 0, "EINVAL"),
        (PROGRAM, 0, 1, "EPERM"),
    ] {
        let answer = kernel.asks(PM, &memory(slot, start, size));
        assert_eq!(answer, format!("kernel.privilege_add_memory = {expected}"));
    }
    for (slot, line, expected) in [(SERVICE, 5, "{}"), (SERVICE, 24, "EINVAL"), (PROGRAM, 5, "EPERM")] {
        assert_eq!(kernel.asks(PM, &irq(slot, line)), format!("kernel.privilege_add_irq = {expected}"));
    }
    for (start, size, expected) in [
        (0x1000, 0x1000, "{}"),
        (0x1fff, 1, "{}"),
        (0x1fff, 2, "EPERM"),
        (0xfff, 2, "EPERM"),
        (0x1000, 0, "EPERM"),
        (u64::MAX, 2, "EPERM"),
    ] {
        let answer = kernel.asks(VM, &query(SERVICE, start, size));
        assert_eq!(answer, format!("kernel.privilege_query_memory = {expected}"), "{start:#x} {size:#x}");
    }
    assert!(kernel.privileges_of(Slot::new(SERVICE)).may_use_ports(0x80, 1));
    let added = (0..100).filter(|port| kernel.asks(PM, &io(SERVICE, *port, *port)).ends_with("{}")).count();
    assert_eq!(added, 63);
    kernel.stop(Slot::new(SERVICE), Stops::NO_PRIVILEGES);
    assert_eq!(kernel.asks(PM, &irq(SERVICE, 6)), "kernel.privilege_add_irq = EPERM");
    assert_eq!(kernel.asks(VM, &irq(SERVICE, 6)), "kernel.privilege_add_irq = EPERM");
}

#[test]
fn an_update_of_privileges_reaches_all_who_share_them() {
    let mut kernel = four();
    let update = |signal_manager| calls::privilege_update::Request {
        process: at(PROGRAM),
        traps: SendRec.bit() | abi::ipc::Primitive::KernelCall.bit(),
        kernel_calls: 0b10_0110,
        signal_manager,
        backup_manager: Endpoint::NONE,
        scheduler: Endpoint::NONE,
        grants_magic: false,
    };
    assert_eq!(kernel.asks(PM, &update(at(7))), "kernel.privilege_update = EINVAL");
    assert_eq!(
        kernel.asks(PROGRAM, &calls::get_process::Request { slot: 0 }),
        "kernel.get_process = ECALLDENIED"
    );
    assert_eq!(kernel.asks(PM, &update(at(SERVICE))), "kernel.privilege_update = {}");
    assert!(kernel.asks(PROGRAM, &calls::get_process::Request { slot: 0 }).contains("endpoint: 0"));
    // A signal that the old manager had not ended goes to the new one.
    let kill = calls::kill::Request { process: at(PROGRAM), signal: Signal::USR1 };
    assert_eq!(kernel.asks(PM, &kill), "kernel.kill = {}");
    let getksig = calls::getksig::Request {};
    assert!(kernel.asks(SERVICE, &getksig).contains("SIGUSR1"));
    assert_eq!(kernel.asks(PM, &update(at(PM))), "kernel.privilege_update = {}");
    assert!(kernel.asks(PM, &getksig).contains("SIGUSR1"));
    assert_eq!(kernel.asks(PM, &update(Endpoint::NONE)), "kernel.privilege_update = {}");
    assert!(kernel.can_run(PROGRAM));
}

#[test]
fn rs_hands_over_to_its_replica_in_one_step() {
    let mut kernel = kernel(&[server(0, Callers::RS), server(1, Callers::RS), service(2)]);
    let to = |slot| calls::privilege_yield::Request { process: at(slot) };
    assert_eq!(kernel.asks(0, &to(1)), "kernel.privilege_yield = EPERM");
    assert_eq!(kernel.asks(0, &to(0)), "kernel.privilege_yield = EINVAL");
    kernel.stop(Slot::new(1), Stops::NO_PRIVILEGES);
    assert_eq!(kernel.asks(0, &to(1)), "kernel.privilege_yield = {}");
    assert!(kernel.can_run(1) && !kernel.can_run(0));
    assert_eq!(kernel.asks(1, &to(0)), "kernel.privilege_yield = {}");
    assert!(kernel.can_run(0) && !kernel.can_run(1));
}

#[test]
fn a_new_program_starts_with_nothing_of_the_old_one() {
    let mut kernel = four();
    assert_eq!(kernel.sends(PROGRAM, SendRec, at(PM), 7), None);
    assert_eq!(kernel.traps(PM, Receive, Endpoint::ANY), Some(Ok(())));
    kernel.processes.process_mut(Slot::new(PROGRAM)).context.general[Register::R15 as usize] = 5;
    kernel.processes.process_mut(Slot::new(PROGRAM)).context.float.0[0] = 5;
    let exec = |instruction, name| calls::exec::Request {
        process: at(PROGRAM),
        instruction,
        stack: 0x9000,
        argument: 0x77,
        name: Name::new(name).unwrap(),
    };
    assert_eq!(kernel.asks(PM, &exec(0x4000, "kernel")), "kernel.exec = EINVAL");
    for outside in [0xffff_8000_0000_0000, 0x8000_0000_0000, u64::MAX, crate::elf::USER_END] {
        assert_eq!(kernel.asks(PM, &exec(outside, "new")), "kernel.exec = EFAULT");
    }
    assert_eq!(kernel.asks(PM, &exec(0x4000, "new")), "kernel.exec = {}");
    assert_eq!(
        context(&kernel, PROGRAM).float.0,
        [0; 512],
        "a handler starts with vector registers of its own"
    );
    let general = context(&kernel, PROGRAM).general;
    let register = |register: Register| general[register as usize];
    assert_eq!(
        (register(Register::Rip), register(Register::Rsp), register(Register::Rdi), register(Register::R15)),
        (0x4000, 0x9000, 0x77, 0)
    );
    assert_eq!(context(&kernel, PROGRAM).float.0, [0; 512]);
    assert!(kernel.can_run(PROGRAM), "there is no answer to wait for");
    assert_eq!(kernel.processes.process(Slot::new(PROGRAM)).name.as_str(), "new");
    assert_eq!(kernel.asks(SERVICE, &exec(0x4000, "new")), "kernel.exec = EPERM");
    // What it was about to say is not said.
    assert_eq!(kernel.sends(PROGRAM, SendRec, at(PM), 8), None);
    assert_eq!(kernel.asks(PM, &exec(0x4000, "new")), "kernel.exec = {}");
    assert_eq!(kernel.traps(PM, Receive, Endpoint::ANY), None);
}

#[test]
fn a_handler_runs_and_the_way_back_is_on_the_stack() {
    let mut kernel = four();
    kernel.machine.memory.map(PROGRAM, 0x7000, true);
    kernel.processes.process_mut(Slot::new(PROGRAM)).context.float.0 = [3; 512];
    let before = context(&kernel, PROGRAM).general;
    let send = |handler, stack| calls::sigsend::Request {
        process: at(PROGRAM),
        signal: Signal::USR1,
        handler,
        restorer: 0x5000,
        stack,
        mask: Signals::of(&[Signal::HUP]),
    };
    assert_eq!(kernel.asks(PM, &send(u64::MAX, 0)), "kernel.sigsend = EFAULT");
    assert_eq!(kernel.asks(PM, &send(0x4000, 0x100)), "kernel.sigsend = EFAULT");
    assert_eq!(kernel.asks(PM, &send(0x4000, 1)), "kernel.sigsend = EFAULT");
    assert_eq!(context(&kernel, PROGRAM).general, before, "nothing has changed so far");
    assert_eq!(kernel.asks(SERVICE, &send(0x4000, 0)), "kernel.sigsend = EPERM");
    let at_frame = (0x8000 - 128 - frame::SIZE as u64) & !15;
    assert_eq!(kernel.asks(PM, &send(0x4000, 0)), format!("kernel.sigsend = {{ frame: {at_frame} }}"));
    let general = context(&kernel, PROGRAM).general;
    let register = |register: Register| general[register as usize];
    assert_eq!(register(Register::Rip), 0x4000);
    assert_eq!(register(Register::Rsp), at_frame - 8);
    assert_eq!((register(Register::Rdi), register(Register::Rsi)), (10, at_frame));
    assert_eq!(kernel.machine.memory.peek(PROGRAM, at_frame - 7, 1), [0x50]);

    // The handler has called PM, which gives it nothing but its former self.
    assert_eq!(kernel.sends(PROGRAM, SendRec, at(PM), 0), None);
    assert_eq!(kernel.asks(PM, &send(0x4000, 0)), "kernel.sigsend = EBUSY");
    assert_eq!(kernel.traps(PM, Receive, Endpoint::ANY), Some(Ok(())));
    let back = |frame| calls::sigreturn::Request { process: at(PROGRAM), frame };
    assert_eq!(kernel.asks(PM, &back(0x10)), "kernel.sigreturn = EFAULT");
    assert_eq!(kernel.asks(PM, &back(at_frame + 8)), "kernel.sigreturn = EINVAL");
    // Contexts that no process can have.
    let rip = at_frame + frame::REGISTERS as u64 + 8 * Register::Rip as u64;
    for (byte, value, expected) in
        [(rip + 7, 0xff, "EFAULT"), (at_frame + frame::FLOAT as u64, 0xff, "EINVAL")]
    {
        let before = kernel.machine.memory.peek(PROGRAM, byte, 1);
        kernel.machine.memory.poke(PROGRAM, byte, &[value]);
        assert_eq!(kernel.asks(PM, &back(at_frame)), format!("kernel.sigreturn = {expected}"));
        assert_eq!(context(&kernel, PROGRAM).general, general);
        kernel.machine.memory.poke(PROGRAM, byte, &before);
    }
    assert!(!kernel.can_run(PROGRAM));
    assert_eq!(kernel.asks(PM, &back(at_frame)), "kernel.sigreturn = { mask: {SIGHUP} }");
    assert_eq!(context(&kernel, PROGRAM).general, before);
    assert_eq!(context(&kernel, PROGRAM).float.0, [3; 512]);
    assert!(kernel.can_run(PROGRAM));
}

#[test]
fn a_fault_that_vm_has_yet_to_hear_of_is_no_reason_to_keep_a_handler_from_running() {
    let mut kernel = four();
    kernel.machine.memory.map(PROGRAM, 0x7000, true);
    let access = crate::fault::Access::Read;
    kernel.fault(Slot::new(PROGRAM), Fault::Page { address: 0x9000, access });
    let stop = calls::run_stop::Request { process: at(PROGRAM), delay: true };
    assert_eq!(kernel.asks(PM, &stop), "kernel.run_stop = {}");
    let send = calls::sigsend::Request {
        process: at(PROGRAM),
        signal: Signal::USR1,
        handler: 0x4000,
        restorer: 0,
        stack: 0,
        mask: Signals::NONE,
    };
    assert!(kernel.asks(PM, &send).starts_with("kernel.sigsend = { frame"));
    // What it needed is none of the handler's business.
    assert_eq!(kernel.traps(VM, Receive, at(PROGRAM)), Some(Ok(())));
    let resolved = calls::vm_clear_page_fault::Request { process: at(PROGRAM) };
    assert_eq!(kernel.asks(VM, &resolved), "kernel.vm_clear_page_fault = {}");
    let resume = calls::run_resume::Request { process: at(PROGRAM) };
    assert_eq!(kernel.asks(PM, &resume), "kernel.run_resume = {}");
    assert!(kernel.can_run(PROGRAM));
    assert_eq!(context(&kernel, PROGRAM).general[Register::Rip as usize], 0x4000);
}

#[test]
fn stops_are_ended_by_what_began_them() {
    let mut kernel = four();
    let stop = |process| calls::run_stop::Request { process, delay: false };
    let resume = calls::run_resume::Request { process: at(PROGRAM) };
    let trace_stop = calls::trace_stop::Request { process: at(PROGRAM) };
    let trace_resume = calls::trace_resume::Request { process: at(PROGRAM), how: Tracing::Free };
    assert_eq!(kernel.asks(PM, &resume), "kernel.run_resume = EINVAL");
    assert_eq!(kernel.asks(PM, &trace_resume), "kernel.trace_resume = EINVAL");
    assert_eq!(kernel.asks(PM, &stop(Endpoint::SELF)), "kernel.run_stop = EINVAL");
    assert_eq!(kernel.asks(PM, &stop(Endpoint::SYSTEM)), "kernel.run_stop = EINVAL");
    assert_eq!(kernel.asks(PM, &stop(at(PROGRAM))), "kernel.run_stop = {}");
    assert_eq!(kernel.asks(PM, &trace_stop), "kernel.trace_stop = {}");
    assert_eq!(kernel.asks(PM, &resume), "kernel.run_resume = {}");
    assert!(!kernel.can_run(PROGRAM));
    assert_eq!(kernel.asks(PM, &trace_resume), "kernel.trace_resume = {}");
    assert!(kernel.can_run(PROGRAM));
    assert_eq!(kernel.asks(SERVICE, &stop(at(PROGRAM))), "kernel.run_stop = EPERM");
}

#[test]
fn a_tracer_sees_words_registers_steps_and_calls() {
    let mut kernel = four();
    kernel.machine.memory.map(PROGRAM, 0x7000, true);
    let read = |address| calls::trace_read::Request { process: at(PROGRAM), address };
    let write = |address| calls::trace_write::Request { process: at(PROGRAM), address, value: 258 };
    assert_eq!(kernel.asks(PM, &write(0x7003)), "kernel.trace_write = {}");
    assert_eq!(kernel.asks(PM, &read(0x7003)), "kernel.trace_read = { value: 258 }");
    assert_eq!(kernel.asks(PM, &read(u64::MAX - 3)), "kernel.trace_read = EFAULT");
    assert_eq!(kernel.asks(PM, &write(1 << 47)), "kernel.trace_write = EFAULT");
    let set =
        |register, value| calls::trace_write_register::Request { process: at(PROGRAM), register, value };
    let get = |register| calls::trace_read_register::Request { process: at(PROGRAM), register };
    assert_eq!(kernel.asks(PM, &set(Register::R8, 3)), "kernel.trace_write_register = {}");
    assert_eq!(kernel.asks(PM, &get(Register::R8)), "kernel.trace_read_register = { value: 3 }");
    assert_eq!(kernel.asks(PM, &set(Register::Rip, u64::MAX)), "kernel.trace_write_register = EFAULT");

    let getksig = calls::getksig::Request {};
    let endksig = calls::endksig::Request { process: at(PROGRAM) };
    let trapped = "kernel.getksig = { process: 3, signals: {SIGTRAP} }";
    let go = |kernel: &mut Kernel<Fake>, how| {
        let stop = calls::trace_stop::Request { process: at(PROGRAM) };
        assert_eq!(kernel.asks(PM, &stop), "kernel.trace_stop = {}");
        let resume = calls::trace_resume::Request { process: at(PROGRAM), how };
        assert_eq!(kernel.asks(PM, &resume), "kernel.trace_resume = {}");
    };
    go(&mut kernel, Tracing::Step);
    assert!(context(&kernel, PROGRAM).single_step);
    kernel.fault(Slot::new(PROGRAM), Fault::Exception { vector: 1, code: 0 });
    assert!(!context(&kernel, PROGRAM).single_step);
    assert_eq!(kernel.asks(PM, &getksig), trapped);
    assert_eq!(kernel.asks(PM, &endksig), "kernel.endksig = {}");

    go(&mut kernel, Tracing::Calls);
    let rip = |kernel: &Kernel<Fake>| context(kernel, PROGRAM).general[Register::Rip as usize];
    let at_call = rip(&kernel);
    assert_eq!(kernel.sends(PROGRAM, SendRec, at(PM), 7), None);
    assert_eq!(rip(&kernel), at_call - 2, "it will trap once more");
    assert_eq!(kernel.asks(PM, &getksig), trapped);
    assert_eq!(kernel.asks(PM, &endksig), "kernel.endksig = {}");
    assert_eq!(kernel.sends(PROGRAM, SendRec, at(PM), 7), None);
    assert_eq!(kernel.traps(PM, Receive, at(PROGRAM)), Some(Ok(())));
    assert_eq!(kernel.received(PM), (at(PROGRAM), 7, Some(SendRec)));
    assert!(context(&kernel, PROGRAM).single_step, "the stop behind the call");
    go(&mut kernel, Tracing::Free);
    assert!(!context(&kernel, PROGRAM).single_step);
}

#[test]
fn vector_registers_are_read_and_written_whole_or_not_at_all() {
    const AT: u64 = 0x7e00;
    let mut kernel = four();
    kernel.machine.memory.map(PROGRAM, 0x7000, true);
    kernel.machine.memory.poke(PROGRAM, AT, &[3; 512]);
    let set = |address| calls::set_machine_context::Request { process: at(PROGRAM), address };
    let get = |address| calls::get_machine_context::Request { process: at(PROGRAM), address };
    assert_eq!(kernel.asks(PM, &set(AT)), "kernel.set_machine_context = {}");
    assert_eq!(context(&kernel, PROGRAM).float.0, [3; 512]);
    assert_eq!(kernel.asks(PM, &set(1 << 47)), "kernel.set_machine_context = EFAULT");
    kernel.machine.memory.poke(PROGRAM, AT, &[0xff]);
    assert_eq!(kernel.asks(PM, &set(AT)), "kernel.set_machine_context = EINVAL");
    assert_eq!(kernel.asks(PM, &get(AT)), "kernel.get_machine_context = {}");
    assert_eq!(kernel.machine.memory.peek(PROGRAM, AT, 1), [3]);
    assert_eq!(kernel.asks(PM, &get(1 << 47)), "kernel.get_machine_context = EFAULT");
    assert_eq!(kernel.sends(PROGRAM, SendRec, at(PM), 0), None);
    assert_eq!(kernel.asks(PM, &set(AT)), "kernel.set_machine_context = EBUSY");
}
