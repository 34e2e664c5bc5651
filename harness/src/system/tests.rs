use super::{Class, Guest, System, SystemError};
use abi::boot::{Entry, Irq, PROGRAM_TRAPS, Pair, Ports, Process};
use abi::ipc::Primitive;
use abi::protocols::kernel;
use abi::{Callers, Endpoint, Name};

const PROGRAMS: &str = r#"
[programs]
send_to = ["tty", "ds"]
kernel_calls = ["whoami", "exit"]
priority = 7
quantum_ms = 200
stack = "64K"
heap = "1M"
"#;
const TTY: &str = r#"
[service.tty]
package = "tty-driver"
slot = 5
priority = 1
quantum_ms = 50
stack = "32K"
heap = "4096"
send_to = []
kernel_calls = ["devio_read"]
ports = ["0x3f8-0x3ff", "0x80"]
irqs = [4]
"#;
const DS: &str = r#"
[service.ds]
package = "ds"
slot = 6
priority = 4
quantum_ms = 500
stack = "32K"
heap = "256K"
send_to = ["tty"]
kernel_calls = []
"#;

fn text() -> String {
    format!("{PROGRAMS}{TTY}{DS}")
}

fn system() -> System {
    System::parse(&text()).expect("the test's file is right")
}

/// The message for the file after one change.
fn refusal(from: &str, to: &str) -> String {
    assert!(text().contains(from), "{from} is not in the file");
    System::parse(&text().replacen(from, to, 1)).expect_err("the change must be refused").to_string()
}

fn guest(name: &str, class: Class) -> Guest {
    Guest {
        name: name.into(),
        file: "bin".into(),
        class,
        ends_machine: false,
        role: None,
        signal_manager: None,
        heap_bytes: None,
    }
}

fn processes(entries: &[Entry]) -> Vec<Process> {
    entries
        .iter()
        .filter_map(|entry| if let Entry::Process(process) = entry { Some(*process) } else { None })
        .collect()
}

fn pairs(entries: &[Entry]) -> Vec<(u16, u16)> {
    let pair =
        |entry: &Entry| if let Entry::Pair(Pair { from, to }) = entry { Some((*from, *to)) } else { None };
    entries.iter().filter_map(pair).collect()
}

fn bit(call: &str) -> u128 {
    let name = format!("kernel.{call}");
    kernel::PROTOCOL.calls.iter().find(|known| known.name == name).expect("a kernel call").bit()
}

const EVERY_PRIMITIVE: u32 = {
    let mut mask = 0;
    let mut i = 0;
    while i < Primitive::ALL.len() {
        mask |= Primitive::ALL[i].bit();
        i += 1;
    }
    mask
};

#[test]
fn the_file_of_the_project_is_right() {
    let text = include_str!("../../../os/system.toml");
    let system = System::parse(text).expect("os/system.toml");
    assert!(!system.services().is_empty());
    for (name, _) in abi::protocols::address::ALL {
        assert!(
            system.services().iter().any(|service| service.name() == *name),
            "{name} has an address, but no entry"
        );
    }
}

#[test]
fn a_service_becomes_a_process_with_what_the_file_gives_it() {
    let entries = system().entries(&[]).expect("no guests, no conflicts");
    let names = [
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
    let basic = names.into_iter().fold(0, |mask, name| mask | bit(name));
    let tty = Process {
        name: Name::new("tty").expect("a name"),
        file: Name::new("tty-driver").expect("a name"),
        slot: 5,
        class: Callers::SERVICE,
        priority: 1,
        quantum_ms: 50,
        stack_bytes: 32 << 10,
        heap_bytes: 4096,
        traps: EVERY_PRIMITIVE,
        kernel_calls: basic | bit("devio_read"),
        grants_magic: false,
        ends_machine: false,
    };
    assert_eq!(processes(&entries)[0], tty);
    assert_eq!(processes(&entries)[1].kernel_calls, basic);
    assert!(entries.contains(&Entry::Ports(Ports { slot: 5, first: 0x3f8, last: 0x3ff })));
    assert!(entries.contains(&Entry::Ports(Ports { slot: 5, first: 0x80, last: 0x80 })));
    assert!(entries.contains(&Entry::Irq(Irq { slot: 5, line: 4 })));
}

#[test]
fn services_start_in_the_order_of_the_file() {
    let names = |text: &str| -> Vec<String> {
        let system = System::parse(text).expect("the order is free");
        system.services().iter().map(|service| service.name().to_owned()).collect()
    };
    assert_eq!(names(&format!("{PROGRAMS}{TTY}{DS}")), ["tty", "ds"]);
    assert_eq!(names(&format!("{PROGRAMS}{DS}{TTY}")), ["ds", "tty"]);
}

#[test]
fn a_program_gets_the_shared_privileges_and_the_first_free_slot() {
    let main = Guest { ends_machine: true, ..guest("main", Class::Program) };
    let entries = system().entries(&[main]).expect("no conflicts");
    let last = *processes(&entries).last().expect("a process");
    assert_eq!((last.name.as_str(), last.file.as_str(), last.slot), ("main", "bin", 16));
    assert_eq!((last.class, last.traps), (Callers::PROGRAM, PROGRAM_TRAPS));
    assert_eq!(last.kernel_calls, bit("whoami") | bit("exit"));
    assert_eq!(
        (last.priority, last.quantum_ms, last.stack_bytes, last.heap_bytes),
        (7, 200, 64 << 10, 1 << 20)
    );
    assert!(last.ends_machine);
}

#[test]
fn a_guest_service_may_do_everything() {
    let entries = system().entries(&[guest("all", Class::Service)]).expect("no conflicts");
    let last = *processes(&entries).last().expect("a process");
    assert_eq!((last.class, last.traps), (Callers::SERVICE, EVERY_PRIMITIVE));
    assert_eq!(last.kernel_calls, kernel::PROTOCOL.calls.iter().fold(0, |mask, call| mask | call.bit()));
}

#[test]
fn guests_step_aside_for_services_in_high_slots() {
    let pm = DS.replace("[service.ds]", "[service.pm]").replace("slot = 6", "slot = 16");
    let system = System::parse(&format!("{}{pm}", text())).expect("a third service");
    let entries =
        system.entries(&[guest("a", Class::Program), guest("b", Class::Program)]).expect("no conflicts");
    let slots: Vec<u16> = processes(&entries).iter().map(|process| process.slot).collect();
    assert_eq!(slots, [5, 6, 16, 17, 18]);
}

#[test]
fn a_pair_is_listed_once() {
    assert_eq!(pairs(&system().entries(&[]).expect("no guests")), [(6, 5)]);
}

#[test]
fn programs_reach_the_services_of_their_list_and_guest_services_reach_all() {
    let entries = system()
        .entries(&[guest("pong", Class::Service), guest("main", Class::Program)])
        .expect("no conflicts");
    assert_eq!(pairs(&entries), [(6, 5), (16, 5), (16, 6), (16, 17), (17, 5), (17, 6)]);
}

#[test]
fn guests_need_names_of_their_own() {
    let refused = |guests: &[Guest]| system().entries(guests).expect_err("must be refused");
    assert_eq!(refused(&[guest("ds", Class::Program)]), SystemError::NameTaken("ds".into()));
    let twins = [guest("a", Class::Service), guest("a", Class::Program)];
    assert_eq!(refused(&twins), SystemError::NameTaken("a".into()));
    assert_eq!(refused(&[guest("a b", Class::Program)]), SystemError::BadName("a b".into()));
    // Its log lines would look like the kernel's own.
    assert_eq!(refused(&[guest("kernel", Class::Program)]), SystemError::BadName("kernel".into()));
}

#[test]
fn unknown_keys_are_shown_with_their_line() {
    let message = refusal("heap = \"256K\"", "heep = \"256K\"");
    assert!(message.contains("heep") && message.contains("TOML parse error at line"), "{message}");
    assert!(refusal("[programs]", "[programms]").contains("programms"));
    assert!(refusal("slot = 5", "slot = ").contains("line"));
}

#[test]
fn a_missing_key_is_named() {
    assert!(refusal("quantum_ms = 500\n", "").contains("quantum_ms"));
}

#[test]
fn two_services_of_one_name_are_refused() {
    let message = refusal("[service.ds]", "[service.tty]");
    assert!(message.contains("tty") && message.contains("duplicate"), "{message}");
}

#[test]
fn two_services_in_one_slot_are_refused() {
    let pm = DS.replace("[service.ds]", "[service.pm]");
    let error = System::parse(&format!("{}{pm}", text())).expect_err("slot 6 is taken");
    assert_eq!(error.to_string(), "pm and ds both have slot 6: give one of them another");
}

#[test]
fn a_slot_must_be_the_one_that_clients_send_to() {
    assert_eq!(
        refusal("slot = 6", "slot = 7"),
        "ds has slot 7, but its clients send to slot 6: change one of os/system.toml and os/abi/src/protocols.rs"
    );
}

#[test]
fn a_slot_must_exist() {
    let pm = DS.replace("[service.ds]", "[service.pm]").replace("slot = 6", "slot = 40000");
    let error = System::parse(&format!("{}{pm}", text())).expect_err("there is no slot 40000");
    assert_eq!(error.to_string(), "pm asks for slot 40000, the last one is 32511");
    assert!(refusal("slot = 6", "slot = 70000").contains("70000"));
    assert!(refusal("slot = 6", "slot = -1").contains("-1"));
}

#[test]
fn send_to_must_name_services() {
    assert_eq!(
        refusal("send_to = [\"tty\"]", "send_to = [\"vfs\"]"),
        "send_to of ds names vfs, which is no service of this file"
    );
    assert_eq!(
        refusal("send_to = [\"tty\", \"ds\"]", "send_to = [\"pm\"]"),
        "send_to of programs names pm, which is no service of this file"
    );
    assert_eq!(refusal("send_to = [\"tty\"]", "send_to = [\"ds\"]"), "send_to of ds names ds itself");
}

#[test]
fn kernel_calls_must_exist_and_suit_the_caller() {
    assert!(refusal("\"devio_read\"", "\"devio_reed\"").starts_with("kernel_calls of tty names devio_reed"));
    assert_eq!(
        refusal("\"whoami\"", "\"devio_read\""),
        "kernel_calls of programs names devio_read, which only these may make: service"
    );
}

#[test]
fn sizes_are_bytes() {
    for wrong in ["", "K", "64k", "64 K", "-1", "+1", "0", "0M", "4096M", "1.5M", "99999999999"] {
        let message = refusal("heap = \"256K\"", &format!("heap = \"{wrong}\""));
        assert_eq!(
            message,
            format!("heap of ds is {wrong:?}: write bytes, as in \"4096\", \"64K\" or \"1M\"")
        );
    }
    assert!(refusal("heap = \"256K\"", "heap = \"ü\"").contains("heap of ds"));
    assert!(refusal("stack = \"64K\"", "stack = \"lots\"").starts_with("stack of programs"));
}

#[test]
fn ports_are_hexadecimal_ranges() {
    for wrong in ["", "0x3ff-0x3f8", "1016-1023", "0x3f8-", "0x10000", "0x3f8-0x3ff-0x400", "0x-0x1", "0x+80"]
    {
        let message = refusal("\"0x80\"", &format!("{wrong:?}"));
        assert_eq!(message, format!("ports of tty has {wrong:?}: write \"0x3f8-0x3ff\" or \"0x80\""));
    }
}

#[test]
fn irqs_are_pins_of_the_io_apic() {
    assert_eq!(refusal("irqs = [4]", "irqs = [24]"), "irqs of tty has 24, the last line is 23");
    assert!(refusal("irqs = [4]", "irqs = [256]").contains("256"));
}

#[test]
fn names_are_those_that_a_message_can_carry() {
    for wrong in ["a b", "", "ü", "kernel", &"x".repeat(49)] {
        let message = refusal("[service.ds]", &format!("[service.{wrong:?}]"));
        assert!(message.starts_with(&format!("{wrong:?} can't be the name of a process")), "{message}");
    }
    assert!(refusal("package = \"ds\"", "package = \"d s\"").starts_with("\"d s\" can't"));
}

const PM: &str = r#"
[service.pm]
package = "pm"
slot = 0
priority = 4
quantum_ms = 500
stack = "32K"
heap = "256K"
send_to = ["ds"]
kernel_calls = []
"#;

#[test]
fn nobody_waits_in_a_circle_of_requests() {
    let circle = |send_to: &str| {
        let text = format!("{}{PM}", text()).replacen("send_to = []", send_to, 1);
        let error = System::parse(&text).expect_err("a circle");
        error.to_string().split(": ").nth(1).and_then(|rest| rest.split(';').next()).map(str::to_owned)
    };
    let two = circle("send_to = [\"ds\"]");
    assert_eq!(two.as_deref(), Some("tty -> ds -> tty"));
    let three = circle("send_to = [\"pm\"]");
    assert_eq!(three.as_deref(), Some("tty -> pm -> ds -> tty"));
    assert!(System::parse(&format!("{}{PM}", text())).is_ok(), "a chain is no circle");
}

#[test]
fn nobody_is_scheduled_in_a_circle() {
    let text = |ds_scheduler: &str| {
        format!("{}{PM}scheduler = \"ds\"\n", text()).replacen("package = \"ds\"", ds_scheduler, 1)
    };
    let error =
        System::parse(&text("package = \"ds\"\nscheduler = \"pm\"")).expect_err("a circle").to_string();
    let circle = error.split(": ").nth(1).and_then(|rest| rest.split(';').next());
    assert_eq!(circle, Some("ds -> pm -> ds"), "{error}");
    assert!(System::parse(&text("package = \"ds\"")).is_ok(), "a chain is no circle");
}

#[test]
fn a_service_may_use_the_primitives_that_it_names() {
    let with = |traps: &str| format!("{PROGRAMS}{TTY}{DS}{traps}");
    let entries = |text: &str| System::parse(text).expect("right").entries(&[]).expect("no guests");
    let traps = processes(&entries(&with("traps = [\"receive\", \"send\"]\n")))[1].traps;
    assert_eq!(traps, Primitive::Receive.bit() | Primitive::Send.bit());
    assert_eq!(processes(&entries(&with("traps = []\n")))[1].traps, 0);
    let error = System::parse(&with("traps = [\"recieve\"]\n")).expect_err("a mistake");
    assert_eq!(error.to_string(), "traps of ds names recieve, which is no IPC primitive");
}

fn managers(entries: &[Entry]) -> Vec<(u16, Endpoint, Endpoint, Endpoint)> {
    let managers = |entry: &Entry| match entry {
        Entry::Managers(of) => Some((of.slot, of.signal_manager, of.backup_manager, of.scheduler)),
        _ => None,
    };
    entries.iter().filter_map(managers).collect()
}

#[test]
fn managers_are_services_by_name() {
    let keys = "signal_manager = \"tty\"\nbackup_manager = \"ds\"\nscheduler = \"tty\"\n";
    let file =
        format!("{}{TTY}{DS}signal_manager = \"self\"\nscheduler = \"kernel\"\n", PROGRAMS.to_owned() + keys);
    let system = System::parse(&file).expect("right");
    let entries = system.entries(&[guest("main", Class::Program)]).expect("no conflicts");
    let (none, at) = (Endpoint::NONE, Endpoint::at_boot);
    assert_eq!(managers(&entries), [(6, Endpoint::SELF, none, none), (16, at(5), at(6), at(5))]);

    for (key, name) in [
        ("signal_manager", "nobody"),
        ("backup_manager", "nobody"),
        ("backup_manager", "self"),
        ("scheduler", "nobody"),
        ("scheduler", "self"),
    ] {
        let error = System::parse(&format!("{}{key} = \"{name}\"\n", text())).expect_err("a mistake");
        assert_eq!(error.to_string(), format!("{key} of ds names {name}, which is nobody that can be it"));
    }
}

#[test]
fn a_guest_can_play_a_server_and_manage_another() {
    let manager = Guest { role: Some(super::Role::Pm), ..guest("manager", Class::Service) };
    let main = Guest { signal_manager: Some("manager".into()), ..guest("main", Class::Program) };
    let entries = system().entries(&[manager, main]).expect("no conflicts");
    let manager = processes(&entries)[2];
    assert_eq!(manager.class, Callers::SERVICE.or(Callers::PM));
    assert_eq!(managers(&entries), [(17, Endpoint::at_boot(16), Endpoint::NONE, Endpoint::NONE)]);
    let lost = Guest { signal_manager: Some("nobody".into()), ..guest("main", Class::Program) };
    let error = system().entries(&[lost]).expect_err("nobody is nobody");
    assert_eq!(error.to_string(), "signal_manager of main names nobody, which is nobody that can be it");
}

#[test]
fn services_may_grant_anything_and_each_guest_has_the_heap_it_asks_for() {
    let guests = [guest("service", Class::Service), guest("program", Class::Program)];
    let entries = system().entries(&guests).expect("no conflicts");
    let all = processes(&entries);
    let placed: Vec<_> =
        all.iter().filter(|process| process.slot >= 16).map(|p| (p.class, p.grants_magic)).collect();
    assert_eq!(placed, [(Callers::SERVICE, true), (Callers::PROGRAM, false)]);
    let with_more = Guest { heap_bytes: Some(8 << 20), ..guest("large", Class::Program) };
    let entries = system().entries(&[with_more]).expect("no conflicts");
    assert_eq!(processes(&entries).last().expect("a process").heap_bytes, 8 << 20);
}

// row A10
#[test]
fn a_service_with_a_role_may_make_the_calls_of_that_role() {
    let with = |role: &str, call: &str| {
        let changed =
            text().replacen("kernel_calls = []", &format!("kernel_calls = [\"{call}\"]\n{role}"), 1);
        System::parse(&changed)
    };
    let system = with("role = \"vm\"", "vm_take_frames").expect("it is VM");
    let ds = system.entries(&[]).expect("a manifest").into_iter().find_map(|entry| match entry {
        Entry::Process(process) if process.name.as_str() == "ds" => Some(process),
        _ => None,
    });
    assert_eq!(ds.map(|ds| ds.class), Some(Callers::SERVICE.or(Callers::VM)));
    let refusal = |role, call| with(role, call).expect_err("it must be refused").to_string();
    assert_eq!(
        refusal("", "vm_take_frames"),
        "kernel_calls of ds names vm_take_frames, which only these may make: vm"
    );
    assert!(refusal("role = \"pm\"", "vm_take_frames").contains("only these may make: vm"));
    assert!(refusal("role = \"king\"", "kill").contains("king"));
    let twice = text().replace("[service.tty]\n", "[service.tty]\nrole = \"rs\"\n");
    let twice = twice.replace("[service.ds]\n", "[service.ds]\nrole = \"rs\"\n");
    let twice = System::parse(&twice).expect_err("there is one RS").to_string();
    assert_eq!(twice, "ds and tty have the same role: take it from one of them");
}

#[test]
fn a_scheduler_that_asks_its_client_is_a_circle() {
    let text = text().replacen("package = \"tty-driver\"", "package = \"tty-driver\"\nscheduler = \"ds\"", 1);
    let error =
        System::parse(&text).expect_err("DS waits for TTY's answer, and TTY for its quantum").to_string();
    assert!(error.contains("for an answer or a quantum in a circle"), "{error}");
}
