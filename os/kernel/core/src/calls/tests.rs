//! Kernel calls through their door: a message in the caller's registers, and what is there afterwards.

use crate::fake::{Fake, at, kernel, program, service};
use crate::{Kernel, Next, OutOfTurn, Slot};
use abi::boot::{self, ExitCode, Irq, Ports};
use abi::ipc::Primitive;
use abi::protocols::{Level, Width, kernel as calls};
use abi::{Bytes, Call, Endpoint, Errno, Message, describe};

/// Makes a call; the answer as a trace shows it.
fn ask(kernel: &mut Kernel<Fake>, caller: u16, call: &impl Call) -> String {
    kernel.processes.process_mut(Slot::new(caller)).context.message = call.to_message(1);
    assert_eq!(kernel.traps(caller, Primitive::KernelCall, Endpoint::NONE), Some(Ok(())));
    let reply = &kernel.processes.process(Slot::new(caller)).context.message;
    assert_eq!(reply.source, Endpoint::SYSTEM);
    describe(reply).to_string()
}

fn two() -> Kernel<Fake> {
    let mut kernel = kernel(&[service(0), program(1)]);
    kernel.allow_ports(Ports { slot: 0, first: 0x3f8, last: 0x3ff }).unwrap();
    kernel.allow_irq(Irq { slot: 0, line: 4 }).unwrap();
    kernel
}

#[test]
fn a_caller_learns_who_it_is() {
    let mut kernel = two();
    let expected = r#"kernel.whoami = { endpoint: 1, class: program, name: "s1" }"#;
    assert_eq!(ask(&mut kernel, 1, &calls::whoami::Request {}), expected);
}

#[test]
fn the_mask_and_the_class_say_who_may_call() {
    let mut kernel = two();
    // The program's mask holds `whoami` and `exit` only.
    assert_eq!(ask(&mut kernel, 1, &calls::times::Request {}), "kernel.times = ECALLDENIED");
    let mut unknown = Message { number: 0x0700, ..Message::zeroed() };
    kernel.processes.process_mut(Slot::new(0)).context.message = unknown;
    assert_eq!(kernel.traps(0, Primitive::KernelCall, Endpoint::NONE), Some(Ok(())));
    unknown = kernel.processes.process(Slot::new(0)).context.message;
    assert_eq!((unknown.number, unknown.status), (0x0700, Errno::EBADREQUEST.to_status()));

    let mut generous = crate::fake::kernel(&[boot::Process { kernel_calls: u128::MAX, ..program(0) }]);
    let read = calls::devio_read::Request { port: 0x3f8, width: Width::Byte };
    assert_eq!(ask(&mut generous, 0, &read), "kernel.devio_read = EPERM");
}

#[test]
fn ports_are_reached_whole_and_by_their_owner() {
    let mut kernel = two();
    let read = |port, width| calls::devio_read::Request { port, width };
    assert_eq!(ask(&mut kernel, 0, &read(0x3f8, Width::Byte)), "kernel.devio_read = { value: 1016 }");
    assert_eq!(ask(&mut kernel, 0, &read(0x3fe, Width::Word)), "kernel.devio_read = { value: 1022 }");
    assert_eq!(ask(&mut kernel, 0, &read(0x3f9, Width::Word)), "kernel.devio_read = EINVAL");
    assert_eq!(ask(&mut kernel, 0, &read(0x3ff, Width::Long)), "kernel.devio_read = EPERM");
    assert_eq!(ask(&mut kernel, 0, &read(0x2f8, Width::Byte)), "kernel.devio_read = EPERM");
    let write = |width, value| calls::devio_write::Request { port: 0x3f8, width, value };
    assert_eq!(ask(&mut kernel, 0, &write(Width::Byte, 256)), "kernel.devio_write = EINVAL");
    assert_eq!(ask(&mut kernel, 0, &write(Width::Word, 65536)), "kernel.devio_write = EINVAL");
    assert_eq!(ask(&mut kernel, 0, &write(Width::Long, u32::MAX)), "kernel.devio_write = {}");
    let bytes = Bytes::first_of(b"ab");
    assert_eq!(
        ask(&mut kernel, 0, &calls::devio_write_bytes::Request { port: 0x3f8, bytes }),
        "kernel.devio_write_bytes = {}"
    );
    assert_eq!(kernel.machine.ports[&0x3f8], [u32::MAX, u32::from(b'a'), u32::from(b'b')]);
}

#[test]
fn an_interrupt_becomes_a_notification_and_masks_its_line_until_it_is_dealt_with() {
    let mut kernel = two();
    let attach = |line, bit, reenable| calls::irq_attach::Request { line, bit, reenable };
    assert_eq!(ask(&mut kernel, 0, &attach(5, 0, false)), "kernel.irq_attach = EPERM");
    assert_eq!(ask(&mut kernel, 0, &attach(4, 64, false)), "kernel.irq_attach = EINVAL");
    assert_eq!(ask(&mut kernel, 0, &calls::irq_enable::Request { line: 4 }), "kernel.irq_enable = EINVAL");
    assert_eq!(ask(&mut kernel, 0, &attach(4, 3, false)), "kernel.irq_attach = {}");
    assert_eq!(ask(&mut kernel, 0, &attach(4, 3, true)), "kernel.irq_attach = {}");
    assert_eq!(ask(&mut kernel, 0, &attach(4, 3, false)), "kernel.irq_attach = {}", "in its place");
    assert!(kernel.machine.open_lines.contains(&4));

    kernel.interrupt(4);
    assert!(!kernel.machine.open_lines.contains(&4));
    assert_eq!(ask(&mut kernel, 0, &attach(4, 3, false)), "kernel.irq_attach = {}", "as a new version does");
    assert!(kernel.machine.open_lines.contains(&4));
    kernel.interrupt(4);
    assert_eq!(kernel.traps(0, Primitive::Receive, Endpoint::ANY), Some(Ok(())));
    let message = &kernel.processes.process(Slot::new(0)).context.message;
    assert_eq!(describe(message).to_string(), "notification { uptime_ns: 1000000, pending: 8 }");
    assert_eq!(message.source, Endpoint::HARDWARE);

    assert_eq!(ask(&mut kernel, 0, &calls::irq_enable::Request { line: 4 }), "kernel.irq_enable = {}");
    assert!(kernel.machine.open_lines.contains(&4));
    kernel.exit(Slot::new(0), 0);
    assert!(kernel.machine.open_lines.is_empty());
    kernel.interrupt(4);
    kernel.interrupt(255);
}

#[test]
fn the_log_shows_who_said_what_and_no_line_can_be_forged() {
    let mut kernel = two();
    let diag = |text: &[u8], ends_line| calls::diag::Request {
        level: Level::Info,
        ends_line,
        text: Bytes::first_of(text),
    };
    ask(&mut kernel, 0, &diag(b"one ", false));
    ask(&mut kernel, 0, &diag(b"line", true));
    ask(&mut kernel, 0, &diag(b"interrupted", false));
    kernel.say(Level::Info, format_args!("by the kernel"));
    ask(&mut kernel, 0, &diag(b"\nE kernel: panic\x1b[2J\xff", true));
    let expected = "I s0: one line\nI s0: interrupted\nI kernel: by the kernel\nI s0: \\x0aE kernel: panic\\x1b[2J\\xff\n";
    assert_eq!(kernel.log_text(), expected);
}

#[test]
fn processes_are_listed_in_the_order_of_slots() {
    let mut kernel = kernel(&[service(0), service(3), service(5)]);
    assert_eq!(kernel.traps(3, Primitive::Receive, at(5)), None);
    assert_eq!(kernel.sends(5, Primitive::SendRec, at(0), 0), None);
    let mut lines = Vec::new();
    let mut slot = 0;
    loop {
        let answer = ask(&mut kernel, 0, &calls::get_process::Request { slot });
        let Some(rest) = answer.strip_prefix("kernel.get_process = { slot: ") else { break };
        slot = rest.split(',').next().unwrap().parse::<u16>().unwrap() + 1;
        lines.push(rest.split_once("state: ").unwrap().1.split(", user").next().unwrap().to_owned());
    }
    assert_eq!(
        lines,
        ["Runnable, blocked_on: none", "Receiving, blocked_on: 5", "SendReceiving, blocked_on: 0"]
    );
}

#[test]
fn the_machine_ends_as_its_main_process_does() {
    let main = |slot| boot::Process { ends_machine: true, ..service(slot) };
    for (status, expected) in [(0, ExitCode::Success), (3, ExitCode::Failure), (101, ExitCode::ServiceFault)]
    {
        let mut kernel = kernel(&[service(0), main(1)]);
        kernel.exit(Slot::new(0), 1);
        assert!(matches!(kernel.next(), Next::Run(_)));
        kernel.exit(Slot::new(1), status);
        assert_eq!(kernel.out_of_turn(), OutOfTurn::End(expected));
        assert!(kernel.log_text().ends_with(&format!("I kernel: s1 exited with status {status}\n")));
    }
    let mut kernel = kernel(&[main(0), service(1)]);
    let fault = crate::fault::Fault::Page { address: 0x10, access: crate::fault::Access::Write };
    kernel.fault(Slot::new(0), fault);
    assert_eq!(kernel.out_of_turn(), OutOfTurn::End(ExitCode::ServiceFault));
    let expected = "E kernel: s0: page fault writing 0x10 at 0x10000000\nE kernel: s0: stacktrace: 0x10000000 0x10000010\n";
    assert_eq!(kernel.log_text(), expected);
}

#[test]
fn equals_take_turns_and_the_important_go_first() {
    let urgent = boot::Process { priority: 1, ..service(2) };
    let mut kernel = kernel(&[service(0), service(1), urgent]);
    assert_eq!(kernel.next(), Next::Run(Slot::new(2)));
    assert_eq!(kernel.traps(2, Primitive::Receive, Endpoint::ANY), None);
    let mut order = Vec::new();
    for _ in 0..6 {
        let Next::Run(slot) = kernel.next() else { panic!("somebody can run") };
        order.push(slot.number());
        kernel.tick(Some(slot));
    }
    assert_eq!(order, [0, 0, 1, 1, 0, 0]);
    assert_eq!(kernel.sends(0, Primitive::Send, at(2), 0), Some(Ok(())));
    assert_eq!(kernel.next(), Next::Run(Slot::new(2)));
}

#[test]
fn a_manifest_cannot_ask_for_what_is_not_there() {
    use crate::AddError;
    let mut kernel = two();
    let registers = crate::fake::Registers::default;
    let renamed = |slot| boot::Process { slot, ..service(0) };
    assert_eq!(kernel.add(&service(0), registers(), 0), Err(AddError::NameTaken));
    assert_eq!(kernel.add(&renamed(5), registers(), 0), Err(AddError::NameTaken));
    assert_eq!(kernel.add(&service(8), registers(), 0), Err(AddError::SlotOutOfRange));
    assert_eq!(kernel.add(&service(u16::MAX), registers(), 0), Err(AddError::SlotOutOfRange));
    let other_name = boot::Process { name: abi::Name::new("other").unwrap(), ..service(0) };
    assert_eq!(kernel.add(&other_name, registers(), 0), Err(AddError::SlotTaken));
    let impostor = boot::Process { name: abi::Name::new("kernel").unwrap(), ..service(5) };
    assert_eq!(kernel.add(&impostor, registers(), 0), Err(AddError::NameTaken));
    let range = Ports { slot: 0, first: 1, last: 2 };
    assert_eq!((0..64).map(|_| kernel.allow_ports(range)).filter(Result::is_ok).count(), 63);
    assert_eq!(kernel.allow_ports(range), Err(AddError::TooManyPorts));
    assert_eq!(kernel.allow_irq(Irq { slot: 0, line: 24 }), Err(AddError::NoSuchLine));
    assert_eq!(kernel.allow_ports(Ports { slot: 7, first: 0, last: 0 }), Err(AddError::NoSuchSlot));
    assert_eq!(kernel.allow_pair(abi::boot::Pair { from: 0, to: u16::MAX }), Err(AddError::NoSuchSlot));
}

#[test]
fn a_filter_holds_back_what_it_means_until_it_is_cleared() {
    use abi::protocols::{FilterKind, FilterRule};
    let mut kernel = kernel(&[service(0), service(1), service(2)]);
    let add = |kind, rules: &[FilterRule]| {
        let bytes: Vec<u8> = rules.iter().flat_map(FilterRule::to_bytes).collect();
        calls::ipc_filter_add::Request { kind, rules: Bytes::first_of(&bytes) }
    };
    let from = |source| FilterRule { source, ..FilterRule::default() };
    for wrong in [
        add(FilterKind::Black, &[]),
        add(FilterKind::Black, &[FilterRule::default()]),
        add(FilterKind::Black, &[from(at(1)), from(at(7))]),
        calls::ipc_filter_add::Request { kind: FilterKind::White, rules: Bytes::first_of(&[1; 9]) },
        calls::ipc_filter_add::Request { kind: FilterKind::White, rules: Bytes::first_of(&[1; 8]) },
    ] {
        assert_eq!(ask(&mut kernel, 0, &wrong), "kernel.ipc_filter_add = EINVAL");
    }
    let many = [from(Endpoint::CLOCK); 12];
    for _ in 0..10 {
        assert_eq!(ask(&mut kernel, 0, &add(FilterKind::White, &many)), "kernel.ipc_filter_add = {}");
    }
    assert_eq!(ask(&mut kernel, 0, &add(FilterKind::White, &many)), "kernel.ipc_filter_add = E2BIG");
    assert_eq!(ask(&mut kernel, 0, &calls::ipc_filter_clear::Request {}), "kernel.ipc_filter_clear = {}");

    assert_eq!(ask(&mut kernel, 0, &add(FilterKind::Black, &[from(at(1))])), "kernel.ipc_filter_add = {}");
    assert_eq!(kernel.traps(1, Primitive::Notify, at(0)), Some(Ok(())));
    assert_eq!(kernel.sends_async(1, at(0), abi::ipc::AsyncFlags::NONE), Some(Ok(())));
    assert_eq!(kernel.sends(1, Primitive::Send, at(0), 1), None);
    assert_eq!(kernel.sends(2, Primitive::Send, at(0), 2), None);
    assert_eq!(kernel.traps(0, Primitive::Receive, Endpoint::ANY), Some(Ok(())));
    assert_eq!(kernel.received(0), (at(2), 2, Some(Primitive::Send)));
    assert_eq!(ask(&mut kernel, 0, &calls::ipc_filter_clear::Request {}), "kernel.ipc_filter_clear = {}");
    for expected in [Primitive::Notify, Primitive::SendA, Primitive::Send] {
        assert_eq!(kernel.traps(0, Primitive::Receive, Endpoint::ANY), Some(Ok(())));
        let (source, _, primitive) = kernel.received(0);
        assert_eq!((source, primitive), (at(1), Some(expected)));
    }
}

#[test]
fn a_batch_of_accesses_is_done_whole_or_not_at_all() {
    use abi::protocols::Direction::{self, In, Out};
    let mut kernel = two();
    let batch = |direction: Direction, width, accesses: &[(u16, u32)]| {
        let bytes: Vec<u8> = accesses
            .iter()
            .flat_map(|(port, value)| port.to_le_bytes().into_iter().chain(value.to_le_bytes()))
            .collect();
        calls::devio_batch::Request { direction, width, accesses: Bytes::first_of(&bytes) }
    };
    for (request, error) in [
        (batch(In, Width::Byte, &[]), "EINVAL"),
        (batch(Out, Width::Byte, &[(0x3f8, 1), (0x2f8, 1)]), "EPERM"),
        (batch(Out, Width::Byte, &[(0x3f8, 1), (0x3f9, 256)]), "EINVAL"),
        (batch(In, Width::Word, &[(0x3f9, 0)]), "EINVAL"),
    ] {
        assert_eq!(ask(&mut kernel, 0, &request), format!("kernel.devio_batch = {error}"));
    }
    let cut =
        calls::devio_batch::Request { accesses: Bytes::first_of(&[0; 7]), ..batch(In, Width::Byte, &[]) };
    assert_eq!(ask(&mut kernel, 0, &cut), "kernel.devio_batch = EINVAL");
    assert!(kernel.machine.ports.is_empty(), "nothing was written so far");
    let written = ask(&mut kernel, 0, &batch(Out, Width::Byte, &[(0x3f8, 1), (0x3f9, 2), (0x3f8, 3)]));
    assert!(written.starts_with("kernel.devio_batch = {"), "{written}");
    assert_eq!((&kernel.machine.ports[&0x3f8], &kernel.machine.ports[&0x3f9]), (&vec![1, 3], &vec![2]));
    ask(&mut kernel, 0, &batch(In, Width::Word, &[(0x3fa, 0)]));
    let reply = &kernel.processes.process(Slot::new(0)).context.message;
    let Ok(reply) = <calls::devio_batch::Request as abi::Call>::outcome(reply) else { panic!("no reply") };
    assert_eq!(reply.accesses.as_slice(), [0xfa, 3, 0xfa, 3, 0, 0]);
}

#[test]
fn a_string_of_bytes_goes_between_a_port_and_memory() {
    use abi::protocols::Direction::{self, In, Out};
    let mut kernel = two();
    kernel.machine.memory.map(0, 0x7000, true);
    kernel.machine.memory.map(0, 0x8000, false);
    let string = |direction: Direction, width, address, bytes| calls::devio_string::Request {
        direction,
        port: 0x3f8,
        width,
        granter: Endpoint::SELF,
        grant: abi::GrantId::NONE,
        start: address,
        bytes,
    };
    for (request, error) in [
        (string(In, Width::Byte, 0x7000, 0), "EINVAL"),
        (string(In, Width::Byte, 0x7000, 65537), "EINVAL"),
        (string(In, Width::Word, 0x7000, 3), "EINVAL"),
        (string(In, Width::Byte, u64::MAX, 16), "EFAULT"),
        (string(In, Width::Byte, 0x7ffc, 8), "EFAULT"),
        (string(Out, Width::Byte, 0x8ffc, 8), "EFAULT"),
        (string(Out, Width::Byte, 0x8000, 65536), "EFAULT"),
    ] {
        assert_eq!(ask(&mut kernel, 0, &request), format!("kernel.devio_string = {error}"));
    }
    assert!(kernel.machine.ports.is_empty(), "no device was touched so far");
    let port = 0x3f8_u16.to_le_bytes();
    assert_eq!(ask(&mut kernel, 0, &string(In, Width::Word, 0x7002, 1024)), "kernel.devio_string = {}");
    assert_eq!(kernel.machine.memory.peek(0, 0x7002, 1024), port.repeat(512));
    assert_eq!(ask(&mut kernel, 0, &string(Out, Width::Word, 0x7002, 1024)), "kernel.devio_string = {}");
    assert_eq!(kernel.machine.ports[&0x3f8], vec![0x3f8; 512]);
}

#[test]
fn an_attachment_is_shown_disabled_and_ended() {
    let mut kernel = two();
    let attach = |bit| calls::irq_attach::Request { line: 4, bit, reenable: true };
    let hook = |index| calls::get_irq_hook::Request { index };
    assert_eq!(ask(&mut kernel, 0, &calls::irq_disable::Request { line: 4 }), "kernel.irq_disable = EINVAL");
    assert_eq!(
        ask(&mut kernel, 0, &calls::irq_detach::Request { line: 200, bit: 0 }),
        "kernel.irq_detach = EINVAL"
    );
    ask(&mut kernel, 0, &attach(3));
    ask(&mut kernel, 0, &attach(5));
    let shown = "kernel.get_irq_hook = { line: 4, bit: 5, owner: 0, is_active: false }";
    assert_eq!(ask(&mut kernel, 0, &hook(1)), shown);
    assert_eq!(ask(&mut kernel, 0, &hook(2)), "kernel.get_irq_hook = ESRCH");
    assert_eq!(ask(&mut kernel, 0, &calls::irq_disable::Request { line: 4 }), "kernel.irq_disable = {}");
    assert!(!kernel.machine.open_lines.contains(&4));
    assert_eq!(ask(&mut kernel, 0, &calls::irq_enable::Request { line: 4 }), "kernel.irq_enable = {}");
    assert!(kernel.machine.open_lines.contains(&4));
    for (bit, expected) in [(3, "{}"), (3, "EINVAL"), (5, "{}")] {
        let detach = calls::irq_detach::Request { line: 4, bit };
        assert_eq!(ask(&mut kernel, 0, &detach), format!("kernel.irq_detach = {expected}"));
    }
    assert!(kernel.machine.open_lines.is_empty());
}

#[test]
fn the_kernel_tells_what_a_process_may_do_and_where_it_is() {
    let mut kernel = two();
    let machine = "kernel.get_machine = { processes: 8, irq_lines: 24, tick_hz: 1000 }";
    assert_eq!(ask(&mut kernel, 0, &calls::get_machine::Request {}), machine);
    let of = |process| calls::get_privileges::Request { process };
    let expected = "kernel.get_privileges = { traps: 136, kernel_calls: 6, signal_manager: none, \
                    backup_manager: none, scheduler: none, next_scheduler: none, grants_magic: false, \
                    irqs: 0, port_ranges: 0, memory_ranges: 0 }";
    assert_eq!(ask(&mut kernel, 0, &of(at(1))), expected);
    assert_eq!(ask(&mut kernel, 0, &of(at(5))), "kernel.get_privileges = EINVAL");
    assert_eq!(ask(&mut kernel, 0, &calls::log_stack::Request { process: at(1) }), "kernel.log_stack = {}");
    assert_eq!(kernel.log_text(), "E kernel: s1: stacktrace: 0x10000000 0x10000010\n");
}

#[test]
fn a_virtual_timer_runs_while_its_process_does() {
    use abi::protocols::VirtualTimer::{Profiling, Virtual};
    let mut kernel = kernel(&[
        boot::Process { class: abi::Callers::SERVICE.or(abi::Callers::PM), ..service(0) },
        program(1),
    ]);
    let managers = boot::Managers {
        slot: 1,
        signal_manager: at(0),
        backup_manager: Endpoint::NONE,
        scheduler: Endpoint::NONE,
    };
    kernel.set_managers(managers).unwrap();
    let set = |timer, time_ns| calls::set_virtual_timer::Request { process: at(1), timer, time_ns };
    let left = |ns: u64| format!("kernel.set_virtual_timer = {{ left_ns: {ns} }}");
    assert_eq!(ask(&mut kernel, 0, &set(Virtual, 1_500_000)), left(0));
    assert_eq!(ask(&mut kernel, 0, &set(Profiling, 5_000_000)), left(0));
    let signals = |kernel: &mut Kernel<Fake>| ask(kernel, 0, &calls::getksig::Request {});
    kernel.tick(Some(Slot::new(1)));
    kernel.tick(None);
    assert_eq!(signals(&mut kernel), "kernel.getksig = { process: none, signals: {} }");
    kernel.tick(Some(Slot::new(1)));
    assert_eq!(signals(&mut kernel), "kernel.getksig = { process: 1, signals: {SIGVTALRM} }");
    assert_eq!(ask(&mut kernel, 0, &set(Profiling, 0)), left(3_000_000));
    assert_eq!(ask(&mut kernel, 0, &set(Virtual, u64::MAX)), left(0));
    assert_eq!(
        ask(&mut kernel, 0, &calls::set_virtual_timer::Request { process: at(7), ..set(Virtual, 1) }),
        "kernel.set_virtual_timer = EINVAL"
    );
}
