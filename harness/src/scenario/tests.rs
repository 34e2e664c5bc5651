use super::{Class, Kind, SECTION, Scenario, with_machines};
use crate::image::{Corruption, Spoil};
use crate::machine::{Firmware, Timing};
use crate::snapshot::Facet;
use crate::system::Role;
use crate::verdict::Ends;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

/// A relocatable ELF file with one section.
fn elf(section: &str, contents: &[u8]) -> Vec<u8> {
    let names = format!("\0{section}\0.shstrtab\0");
    let section_offset = 64;
    let names_offset = section_offset + contents.len();
    let headers_offset = names_offset + names.len();
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let mut put = |bytes: &[u8]| elf.extend_from_slice(bytes);
    [1_u16, 62].iter().for_each(|half| put(&half.to_le_bytes()));
    put(&1_u32.to_le_bytes());
    [0_u64, 0, headers_offset as u64].iter().for_each(|long| put(&long.to_le_bytes()));
    put(&0_u32.to_le_bytes());
    [64_u16, 56, 0, 64, 3, 2].iter().for_each(|half| put(&half.to_le_bytes()));
    put(contents);
    put(names.as_bytes());
    let mut header = |name: usize, kind: u32, offset: usize, size: usize| {
        put(&u32::try_from(name).expect("a short name").to_le_bytes());
        put(&kind.to_le_bytes());
        // Flags, address, offset, size, link and info, alignment, size of an entry.
        [0, 0, offset as u64, size as u64, 0, 1, 0].iter().for_each(|long| put(&long.to_le_bytes()));
    };
    header(0, 0, 0, 0);
    header(1, 1, section_offset, contents.len());
    header(section.len() + 2, 3, names_offset, names.len());
    elf
}

fn program(text: &str) -> anyhow::Result<Scenario> {
    Scenario::of_program("hello", &elf(SECTION, text.as_bytes()))
}

fn machine(text: &str) -> anyhow::Result<Scenario> {
    Scenario::of_machine("m", text, &[program("kind = \"test\"\nclass = \"service\"").expect("a program")])
}

/// The whole chain of an error.
fn refusal(scenario: anyhow::Result<Scenario>) -> String {
    format!("{:#}", scenario.expect_err("must be refused"))
}

#[test]
fn a_program_says_what_it_is() {
    let text = r#"
        kind = "bench"
        rows = ["F1", "A3"]
        class = "service"
        processes = ["pong", "ping"]
        ends = "exit 3"
        memory_mib = 32
        firmware = "seabios"
        command_line = "a=b c"
        limit_ms = 1500
    "#;
    let scenario = program(text).expect("a description");
    assert_eq!((scenario.name.as_str(), scenario.kind), ("hello", Kind::Bench));
    assert_eq!(scenario.rows, ["F1", "A3"]);
    assert_eq!((scenario.ends, scenario.memory_mib), (Ends::Exited(3), 32));
    assert_eq!((scenario.firmware, scenario.command_line.as_str()), (Firmware::SeaBios, "a=b c"));
    assert_eq!(scenario.limit, Some(Duration::from_millis(1500)));
    let guests = scenario.program.expect("a program").guests();
    let guests: Vec<_> = guests
        .iter()
        .map(|guest| (guest.name.as_str(), guest.file.as_str(), guest.class, guest.ends_machine))
        .collect();
    let expected = [
        ("pong", "hello", Class::Service, false),
        ("ping", "hello", Class::Service, false),
        ("hello", "hello", Class::Service, true),
    ];
    assert_eq!(guests, expected);
}

#[test]
fn most_can_be_left_out() {
    let scenario = program("kind = \"test\"").expect("a description");
    assert_eq!(
        (scenario.ends, scenario.memory_mib, scenario.firmware),
        (Ends::Exited(0), 64, Firmware::Qboot)
    );
    assert_eq!((scenario.spoil, scenario.command_line.as_str(), scenario.limit), (Spoil::Nothing, "", None));
    assert_eq!(scenario.program.expect("a program").class, Class::Program);
}

#[test]
fn padding_behind_the_text_is_ignored() {
    assert!(program("kind = \"test\"\n\0\0\0").is_ok());
}

#[test]
fn mistakes_of_a_program_are_named() {
    assert!(refusal(program("")).contains("kind"));
    assert!(refusal(program("kind = \"tset\"")).contains("tset"));
    assert!(refusal(program("kind = \"test\"\nrow = []")).contains("unknown field `row`"));
    assert!(refusal(program("kind = \"test\"\nends = \"well\"")).contains("ends = \"well\" is no end"));
    assert!(refusal(program("kind = \"test\"\nfirmware = \"uefi\"")).contains("uefi"));
    assert!(refusal(program("kind = \"test\"\nmemory_mib = 0")).contains("too little"));
    assert!(refusal(program("kind = \"test\"\ncommand_line = \"a\\nb\"")).contains("control characters"));
    assert!(refusal(Scenario::of_program("x", &elf(SECTION, b"\xff"))).contains("no text"));
    assert!(refusal(Scenario::of_program("x", &elf(".other", b""))).contains("no section .tessera.test"));
    assert!(refusal(Scenario::of_program("x", b"junk")).contains("guest program x"));
}

#[test]
fn a_machine_can_run_a_program_or_none() {
    let none = machine("").expect("nothing is needed");
    assert_eq!((none.program, none.spoil, none.kind), (None, Spoil::Nothing, Kind::Test));
    let some = machine("program = \"hello\"\nfirmware = \"seabios\"").expect("there is such a program");
    assert_eq!((some.main(), some.name.as_str()), (Some("hello"), "m"));
    // The program is what it says itself.
    assert_eq!(some.program.expect("a program").class, Class::Service);
    assert!(refusal(machine("program = \"bye\"")).contains("program = \"bye\" is no guest program"));
}

#[test]
fn a_machine_says_what_is_wrong_with_its_image() {
    let spoil = |text: &str| machine(&format!("image = {text}")).map(|scenario| scenario.spoil);
    let is = |text: &str, expected: Spoil| assert_eq!(spoil(text).expect(text), expected);
    is("\"missing\"", Spoil::Missing);
    is("{ truncate = 700 }", Spoil::Truncate(700));
    is("{ garbage = 4096 }", Spoil::Garbage(4096));
    is("{ without = \"ds\" }", Spoil::Without("ds".into()));
    is("{ twice = \"ds\" }", Spoil::Twice("ds".into()));
    is("{ other_protocols = true }", Spoil::OtherProtocols(true));
    is("{ no_processes = true }", Spoil::NoProcesses(true));
    let corruption = Corruption { file: "ds".into(), offset: 8, bytes: vec![1, 255] };
    is("{ corrupt = { file = \"ds\", offset = 8, bytes = [1, 255] } }", Spoil::Corrupt(corruption));
    for wrong in ["\"lost\"", "{ truncate = -1 }", "{ corrupt = { file = \"ds\" } }", "{ burnt = true }", "7"]
    {
        assert!(spoil(wrong).is_err(), "{wrong}");
    }
    assert!(refusal(machine("kind = \"test\"")).contains("unknown field `kind`"));
}

#[test]
fn names_and_rows_are_what_filters_look_at() {
    let scenario = program("kind = \"test\"\nrows = [\"F1\"]").expect("a description");
    assert!(scenario.matches("ell") && scenario.matches("F1") && scenario.matches(""));
    assert!(!scenario.matches("F") && !scenario.matches("F12") && !scenario.matches("Hello"));
}

#[test]
fn machines_are_listed_beside_programs_under_names_of_their_own() {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("a_first.toml"), "image = \"missing\"\nends = \"bad image\"")
        .expect("a file");
    std::fs::write(directory.path().join("README.md"), "no machine").expect("a file");
    let programs = vec![program("kind = \"test\"").expect("a program")];
    let listed = with_machines(programs.clone(), directory.path()).expect("a listing");
    let names: Vec<&str> = listed.iter().map(|scenario| scenario.name.as_str()).collect();
    assert_eq!(names, ["a_first", "hello"]);
    std::fs::write(directory.path().join("hello.toml"), "").expect("a file");
    let error = with_machines(programs.clone(), directory.path()).expect_err("hello is taken");
    assert!(error.to_string().starts_with("two tests are called hello"), "{error}");
    for bad in ["...toml", "a b.toml", "a@ipc.toml"] {
        let path = directory.path().join(bad);
        std::fs::write(&path, "").expect("a file");
        let error = with_machines(vec![], directory.path()).expect_err("no name");
        assert!(format!("{error:#}").contains("letters, digits and underscores"), "{error:#}");
        std::fs::remove_file(path).expect("the file");
    }
    std::fs::write(directory.path().join("hello.toml"), "imag = 1").expect("a file");
    let error = with_machines(programs, directory.path()).expect_err("a mistake");
    assert!(error.to_string().contains("hello.toml"), "{error}");
}

#[test]
fn the_machines_of_the_project_are_understood() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures");
    let sources = std::fs::read_dir(fixtures.join("guest/examples")).expect("the guest programs");
    let programs = sources.flatten().map(|source| {
        let name = source.path().file_stem().expect("a name").to_string_lossy().into_owned();
        Scenario::of_program(&name, &elf(SECTION, b"kind = \"test\"")).expect("a program")
    });
    with_machines(programs.collect(), &fixtures.join("machines")).expect("fixtures/machines");
}

#[test]
fn processes_play_servers_and_manage_each_other() {
    let text = |more: &str| format!("kind = \"test\"\nprocesses = [\"pm\", \"victim\"]\n{more}");
    let scenario = program(&text(
        "roles = { pm = \"pm\", main = \"vm\" }\nmanagers = { victim = \"pm\", pm = \"self\", main = \"pm\" }",
    ));
    let guests = scenario.expect("a description").program.expect("a program").guests();
    let said: Vec<_> = guests
        .iter()
        .map(|guest| (guest.name.as_str(), guest.role, guest.signal_manager.as_deref()))
        .collect();
    let expected = [
        ("pm", Some(Role::Pm), Some("self")),
        ("victim", None, Some("pm")),
        ("hello", Some(Role::Vm), Some("pm")),
    ];
    assert_eq!(said, expected);
    for wrong in ["roles = { nobody = \"vm\" }", "managers = { nobody = \"pm\" }"] {
        let message = refusal(program(&text(wrong)));
        assert!(
            message.contains("roles or managers names nobody, which is no process of the test"),
            "{message}"
        );
    }
    assert!(refusal(program(&text("roles = { pm = \"init\" }"))).contains("init"));
}

#[test]
fn a_test_whose_runs_may_differ_says_why() {
    let text = "kind = \"test\"\nclock = \"host\"\nnondeterministic = \"a disk answers when it likes\"";
    let scenario = program(text).expect("a description");
    assert_eq!(scenario.clock, Timing::RealTime);
    assert_eq!(scenario.nondeterministic.as_deref(), Some("a disk answers when it likes"));
    let silent = machine("clock = \"host\"");
    assert!(refusal(silent).contains("say in nondeterministic why"));
    assert!(refusal(machine("nondeterministic = \" \"")).contains("must say why"));
    assert!(refusal(machine("canary = true")).contains("a canary must say"));
    assert_eq!(machine("").expect("a machine").clock, Timing::Deterministic);
}

#[test]
fn a_crowd_starts_behind_the_main_process_and_only_waits() {
    let scenario = program("kind = \"bench\"\nprocesses = [\"echo\"]\ncrowd = 2").expect("a description");
    let guests = scenario.program.expect("a program").guests();
    let said: Vec<_> = guests.iter().map(|guest| (guest.name.as_str(), guest.class)).collect();
    let expected = [
        ("echo", Class::Service),
        ("hello", Class::Program),
        ("crowd-1", Class::Idle),
        ("crowd-2", Class::Idle),
    ];
    assert_eq!(said, expected);
    assert!(refusal(program("kind = \"test\"\nclass = \"idle\"")).contains("idle"));
}

#[test]
fn a_test_says_how_much_heap_it_needs() {
    let scenario = program("kind = \"test\"\nprocesses = [\"a\"]\nheap_mib = 4").expect("a description");
    let guests = scenario.program.expect("a program").guests();
    assert!(guests.iter().all(|guest| guest.heap_bytes == Some(4 << 20)));
}

// row I4
#[test]
fn a_test_asks_for_facets_and_has_a_snapshot_of_each() {
    let scenario = program("kind = \"test\"\ncommand_line = \"processes=8\"\nfacets = [\"cost\", \"ipc\"]");
    let scenario = scenario.expect("a description");
    assert_eq!(scenario.facets, BTreeSet::from([Facet::Ipc, Facet::Cost]));
    assert_eq!(scenario.snapshots().collect::<Vec<_>>(), ["hello", "hello@ipc", "hello@cost"]);
    assert_eq!(scenario.showing(Facet::Ipc).command_line, "processes=8 report=ipc");
    assert_eq!(Scenario::plain("hello").showing(Facet::Cost).command_line, "report=cost");
    let refusals = [
        (program("kind = \"bench\"\nfacets = [\"ipc\"]"), "nothing is compared of a benchmark"),
        (program("kind = \"test\"\nfacets = [\"time\"]"), "unknown variant"),
        (machine("facets = [\"ipc\"]\nnondeterministic = \"a disk\""), "whose runs may differ"),
        (machine("facets = [\"ipc\"]\nends = \"triple fault\"\nbare = [244]"), "a bare machine has none"),
        (machine("facets = [\"cost\"]\nends = \"hang\""), "ends with \"hang\""),
    ];
    for (refused, why) in refusals {
        let said = refusal(refused);
        assert!(said.contains(why), "{said}");
    }
}
