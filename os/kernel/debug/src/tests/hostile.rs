//! Packets that no debugger should send, or that a line has damaged.

use super::fake::{DATA, KERNEL_DATA, KERNEL_TEXT, PAGE, STACK, TEXT};
use super::{Debugged, HELLO, packet};
use crate::machine::PLACES;
use crate::packets::SIZE;
use crate::{Happened, Reaction};

/// What a packet is answered with, by a debugger of its own.
fn answer(body: &[u8]) -> String {
    let answers = Debugged::new().survives(&packet(body));
    assert_eq!(answers.len(), 1, "{}: {answers:?}", body.escape_ascii());
    answers.into_iter().next().unwrap()
}

#[test]
fn nobody_is_there_until_a_debugger_greets() {
    let mut debugged = Debugged::new();
    let noise: Vec<u8> = (0..=u8::MAX).cycle().take(10_000).collect();
    for bytes in [&noise[..], b"\x03", b"$?#3f", b"$k#6b", b"$vKill;1#6e", b"---+++", b"$#00", b"####"] {
        assert_eq!(debugged.hears(bytes), b"", "{}", bytes.escape_ascii());
        assert!(!debugged.stub.is_attached());
    }
    assert_eq!(debugged.answers(&[b"?"]).len(), 1);
}

#[test]
fn bytes_that_are_no_packet_are_passed_over() {
    for bytes in [&b""[..], b"garbage", b"\0\0\0\xff\xff", b"\x03\x03\x03", b"#00", b"}}}}", b"+-+"] {
        let answers = Debugged::new().survives(bytes);
        assert!(answers.len() <= bytes.len(), "{answers:?}");
    }
}

#[test]
fn a_packet_with_a_wrong_checksum_is_asked_for_again_and_has_no_effect() {
    let poke = format!("M{DATA:x},1:ff");
    let wrong = format!("${poke}#00");
    for bytes in [wrong.as_bytes(), b"$D#00", b"$k#zz", b"$vCont;c#", b"$vCont;c#0"] {
        let mut debugged = Debugged::new();
        assert_eq!(debugged.survives(bytes), [""; 0], "{}", bytes.escape_ascii());
    }
    let mut debugged = Debugged::new();
    debugged.wire.put(&packet(HELLO));
    let output = debugged.hears(b"$?#00");
    assert_eq!(output.last(), Some(&b'-'));
}

#[test]
fn a_packet_without_an_end_gives_way_to_the_next() {
    let mut debugged = Debugged::new();
    let whole = packet(b"Tp1.2");
    for cut in 1..whole.len() {
        let answers = debugged.survives(&[&whole[..cut], &whole].concat());
        assert_eq!(answers, ["OK"], "cut behind {cut}");
    }
}

#[test]
fn a_packet_that_is_too_long_is_refused_and_the_next_is_read() {
    for len in [SIZE, 10 * SIZE, 1 << 20] {
        let long = [&b"M10001000,1:"[..], &vec![b'0'; len]].concat();
        let answers = Debugged::new().survives(&[packet(&long), packet(b"Tp1.2")].concat());
        assert_eq!(answers, ["E16", "OK"], "{len}");
    }
}

#[test]
fn packets_of_the_size_that_is_announced_are_taken_and_none_that_is_longer() {
    // row I2
    let hello = super::replies(&Debugged::new().hears(&packet(HELLO)));
    let announced = hello[0].split(';').find_map(|word| word.strip_prefix("PacketSize="));
    let size = usize::from_str_radix(announced.expect("a size"), 16).unwrap();
    for (kind, digits) in [('M', 2), ('X', 1)] {
        let start = format!("{kind}{DATA:x},7f4:").len();
        for len in [1, (size - start - 4) / digits, (size - start - 4) / digits + 1] {
            let data = if kind == 'M' { "61".repeat(len) } else { "a".repeat(len) };
            let write = packet(format!("{kind}{DATA:x},{len:03x}:{data}").as_bytes());
            let mut debugged = Debugged::new();
            let answers = debugged.survives(&[packet(b"Hgp1.2"), write.clone()].concat());
            let is_taken = write.len() <= size;
            assert_eq!(answers[1], if is_taken { "OK" } else { "E16" }, "{kind} of {} bytes", write.len());
            let last = debugged.system.kernel.machine.byte(Some(0), DATA + len as u64 - 1);
            assert_eq!(last, Some(if is_taken { b'a' } else { 0 }));
        }
    }
}

#[test]
fn the_description_of_the_target_can_be_read_at_any_offset() {
    let whole = answer(b"qXfer:features:read:target.xml:0,fff");
    assert!(whole.starts_with("m<?xml") || whole.starts_with("l<?xml"), "{whole}");
    for at in ["10000,100", "ffffffffffffffff,1", "ffffffffffffffff,ffffffffffffffff", "7fffffffffffffff,1"] {
        let text = answer(format!("qXfer:features:read:target.xml:{at}").as_bytes());
        assert!(text == "l" || text.starts_with('E'), "{at}: {text}");
    }
    for request in ["qXfer:features:read:target.xml:0,ffffffffffffffff", "qXfer:features:read:target.xml:0,0"]
    {
        let text = answer(request.as_bytes());
        assert!(text.len() < 2 * SIZE, "{} bytes", text.len());
    }
    for wrong in [
        "",
        ":",
        "::::",
        ":features:read::",
        ":features:read:../../kernel:0,1",
        ":features:write:target.xml:0",
    ] {
        let text = answer(format!("qXfer{wrong}").as_bytes());
        assert!(text.is_empty() || text == "l" || text.starts_with('E'), "{wrong}: {text}");
    }
}

#[test]
fn what_gdb_asks_for_that_there_is_not_is_answered_and_not_unknown() {
    // row I2
    for (packet, expected) in
        [("qSymbol::", "OK"), ("qTStatus", "T0;tnotrun:0"), ("qTfP", "l"), ("qTfV", "l"), ("qTBuffer", "")]
    {
        assert_eq!(answer(packet.as_bytes()), expected, "{packet}");
    }
}

#[test]
fn memory_that_is_not_there_is_not_read() {
    for (address, len) in [
        (0, 1),
        (DATA + PAGE, 1),
        (KERNEL_DATA + PAGE, 8),
        (1 << 47, 1),
        (0x8000_0000_0000_0000, 4096),
        (u64::MAX, 1),
        (u64::MAX, u64::MAX),
        (DATA, u64::MAX),
        (DATA, 1 << 40),
    ] {
        for thread in ["Hgp1.1", "Hgp1.2"] {
            let read = format!("m{address:x},{len:x}");
            let answers =
                Debugged::new().survives(&[packet(thread.as_bytes()), packet(read.as_bytes())].concat());
            assert_eq!(answers, ["OK", "E0e"], "{thread} {read}");
        }
    }
    // What is there before a hole is read.
    let read = format!("m{:x},10", DATA + PAGE - 2);
    let answers = Debugged::new().survives(&[packet(b"Hgp1.2"), packet(read.as_bytes())].concat());
    assert_eq!(answers, ["OK", "0000"]);
}

#[test]
fn what_can_t_be_written_by_its_owner_is_not_written() {
    for (thread, address) in [
        ("Hgp1.1", KERNEL_TEXT),
        ("Hgp1.2", KERNEL_TEXT),
        ("Hgp1.2", TEXT),
        ("Hgp1.2", DATA + PAGE),
        ("Hgp1.2", DATA + PAGE - 1),
        ("Hgp1.3", 0),
        ("Hgp1.3", u64::MAX),
    ] {
        let mut debugged = Debugged::new();
        let write = format!("M{address:x},2:cccc");
        let answers = debugged.answers(&[thread.as_bytes(), write.as_bytes()]);
        assert_eq!(answers[1], "E0e", "{thread} {write}");
        let text = debugged.system.kernel.machine.byte(Some(0), TEXT);
        assert_eq!((text, debugged.system.kernel.machine.byte(None, KERNEL_TEXT)), (Some(0x90), Some(0x90)));
    }
    // Bytes that are not as many as it says, or none.
    for wrong in
        ["M10001000,ffff:00", "M10001000,0:ff", "M10001000,2:0", "M10001000,1:zz", "M,:", "M10001000,2"]
    {
        let answer = answer(wrong.as_bytes());
        assert!(answer.is_empty() || answer.starts_with('E'), "{wrong}: {answer}");
    }
}

#[test]
fn binary_writes_have_as_many_bytes_as_they_say() {
    let cases = [
        (&b"X10001000,2:ab"[..], "OK", "6162"),
        // An escaped `#`, and an empty one that asks whether there are such packets.
        (b"X10001000,2:}\x03b", "OK", "2362"),
        (b"X10001000,0:", "OK", "0000"),
        (b"X10001000,3:ab", "E16", "0000"),
        (b"X10001000,1:ab", "E16", "0000"),
        (b"X10001000,ffffffffffffffff:ab", "E16", "0000"),
        (b"X10001000,1:}", "E16", "0000"),
        (b"X10001000", "E16", "0000"),
        (b"X", "E16", "0000"),
        (b"X10000000,1:a", "E0e", "0000"),
    ];
    for (write, expected, bytes) in cases {
        let packets = [&b"Hgp1.2"[..], write, b"m10001000,2"].map(packet).concat();
        let answers = Debugged::new().survives(&packets);
        assert_eq!(answers[1..], [expected, bytes], "{}", write.escape_ascii());
    }
}

#[test]
fn an_answer_that_was_lost_comes_again() {
    let mut debugged = Debugged::new();
    let output = debugged.hears(&[&packet(HELLO), &packet(b"Tp1.2")[..], b"--"].concat());
    assert!(output.ends_with(&packet(b"OK").repeat(3)), "{}", output.escape_ascii());
    // Also that to an interrupt.
    let output = debugged.hears(&[&packet(HELLO), &packet(b"Tp1.2"), &packet(b"vCont;c")[..]].concat());
    assert!(output.ends_with(b"+"), "{}", output.escape_ascii());
    assert_eq!(super::replies(&debugged.hears(b"\x03-")), ["T02thread:p01.02;"; 2]);
}

#[test]
fn threads_that_do_not_live_are_refused_and_do_not_run() {
    for thread in
        ["p1.4", "p1.9", "p1.7fff", "p1.ffff", "p1.10001", "p1.7fffffffffffffff", "p1.ffffffffffffffff"]
    {
        for body in [format!("T{thread}"), format!("qThreadExtraInfo,{thread}")] {
            let text = answer(body.as_bytes());
            assert!(text != "OK" && (text.is_empty() || text.starts_with('E')), "{body}: {text}");
        }
        // Whatever it says to that, gdb can stop the system again and look around.
        for action in ["c", "s", "C05", "r10000000,10000008", "r10000008,10000000", "t"] {
            Debugged::new().survives(&packet(format!("vCont;{action}:{thread}").as_bytes()));
        }
        for memory in ["g", "p0", "m10000000,4"] {
            let bodies = [format!("Hg{thread}"), memory.to_owned()];
            let answers = Debugged::new().survives(&bodies.map(|body| packet(body.as_bytes())).concat());
            assert_eq!(answers.len(), 2, "{thread} {memory}: {answers:?}");
        }
    }
}

#[test]
fn registers_that_the_processor_refuses_are_not_set() {
    let before = answer(b"g");
    for (thread, body) in [
        // Kernel code in a process, and a process's in the kernel.
        ("Hgp1.2", "P10=0000108000ffffff"),
        ("Hgp1.1", "P10=0000001000000000"),
        ("Hgp1.1", "P7=0000000000000000"),
        // Segments, control registers, and ones that there are not.
        ("Hgp1.2", "P12=00000000"),
        ("Hgp1.2", "P3d=0000000000000000"),
        ("Hgp1.2", "Pffff=00"),
        ("Hgp1.2", "P10=00"),
        ("Hgp1.2", "P10="),
        ("Hgp1.2", "G00"),
        ("Hgp1.2", "G"),
    ] {
        let answers =
            Debugged::new().survives(&[packet(thread.as_bytes()), packet(body.as_bytes())].concat());
        let refused = answers.last().is_some_and(|text| text.is_empty() || text.starts_with('E'));
        assert!(refused, "{thread} {body}: {answers:?}");
    }
    assert_eq!(answer(b"g"), before);
}

#[test]
fn an_interrupt_of_what_stands_brings_word_of_the_stop_again_until_the_debugger_asks_for_something() {
    // row I2
    let hears = |after: &[u8]| {
        let mut debugged = Debugged::new();
        debugged.hears(&[packet(HELLO), packet(b"Z0,10000008,1"), packet(b"vCont;c")].concat());
        super::replies(&debugged.hears(after))
    };
    let stop = "T02thread:p01.02;";
    assert_eq!(hears(&[3; 5]), [stop; 5]);
    // It stops once: one packet lets it go on.
    assert_eq!(hears(&[&[3; 5], &packet(b"vCont;c")[..], b"\x03"].concat()), [stop; 6]);
    // Whoever asks has heard of it.
    assert_eq!(hears(&[b"\x03", &packet(b"Tp1.2")[..], &[3; 5]].concat()), [stop, "OK"]);
    assert_eq!(hears(&[b"\x03", &packet(HELLO)[..], &[3; 5]].concat()).len(), 2);
    // Nobody waits to hear of a stop that was there before.
    assert_eq!(super::replies(&Debugged::new().hears(&[&packet(HELLO)[..], &[3; 5]].concat())).len(), 1);
}

#[test]
fn word_of_a_breakpoint_comes_again_at_an_interrupt() {
    // row I2
    let mut debugged = Debugged::new();
    debugged.hears(&[packet(HELLO), packet(b"Z1,10000000,1"), packet(b"vCont;c")].concat());
    debugged.system.kernel.machine.debug_status = 1;
    let fault = kernel_core::fault::Fault::Exception { vector: 1, code: 0 };
    let running = Some(debugged.running);
    assert_eq!(debugged.stub.look(&mut debugged.system, running, Happened::Fault(fault)), Reaction::Stop);
    debugged.wire.put(b"\x03");
    debugged.pauses();
    assert_eq!(super::replies(&debugged.wire.take()), ["T05thread:p01.02;hwbreak:;"; 2]);
}

#[test]
fn an_interrupt_in_the_middle_of_a_packet_is_none() {
    let answers = Debugged::new().survives(b"$Tp1\x03.2#00");
    assert_eq!(answers, [""; 0]);
}

#[test]
fn a_debugger_that_vanishes_gives_way_to_the_next() {
    for last in [&b"$vCont;c#a8"[..], b"$m1000", b"$Z0,10000000,1#", b"$vCont;s:p1.2#"] {
        let mut debugged = Debugged::new();
        debugged.hears(&[&packet(HELLO), &packet(b"Z0,10000000,1"), last].concat());
        // The second one knows nothing of the first's breakpoints.
        let answers = debugged.answers(&[b"m10000000,1", b"D;1"]);
        assert_eq!(answers[1], "OK", "{}", last.escape_ascii());
        assert!(!debugged.stub.is_attached());
        assert_eq!(debugged.system.kernel.machine.byte(Some(0), TEXT), Some(0x90));
        assert_eq!(debugged.system.kernel.machine.hardware, [None; 4]);
    }
}

#[test]
fn a_system_that_is_let_go_goes_on() {
    let mut debugged = Debugged::new();
    debugged.answers(&[b"Z0,10000000,1", b"Z2,10001000,8", b"D;1"]);
    assert!(!debugged.stub.is_attached());
    assert!(matches!(debugged.system.kernel.next(), kernel_core::Next::Run(_)));
    let fault = kernel_core::fault::Fault::Exception { vector: 3, code: 0 };
    let slot = kernel_core::Slot::new(0);
    // A breakpoint instruction is the process's own now.
    assert_eq!(debugged.stub.look(&mut debugged.system, Some(slot), Happened::Fault(fault)), Reaction::None);
}

#[test]
fn a_kill_ends_the_machine_as_a_failure() {
    for kill in [&b"k"[..], b"vKill;1"] {
        let mut debugged = Debugged::new();
        debugged.hears(&[packet(HELLO), packet(kill)].concat());
        let expected = kernel_core::OutOfTurn::End(abi::boot::ExitCode::Failure);
        assert!(
            matches!(debugged.system.kernel.next(), kernel_core::Next::OutOfTurn),
            "{}",
            kill.escape_ascii()
        );
        assert_eq!(debugged.system.kernel.out_of_turn(), expected);
    }
}

#[test]
fn more_points_than_there_are_debug_registers_are_refused() {
    let bodies = [
        &b"Z2,10001000,8"[..],
        b"Z2,10001008,8",
        b"Z2,10001010,8",
        b"Z2,10001018,8",
        b"Z2,10001020,8",
        b"Z1,10000000,1",
        b"Z2,10001000,40",
        b"Z2,ffffffffffffffff,8",
        b"Z2,10001000,0",
        b"z2,10001030,8",
    ];
    let answers = Debugged::new().answers(&bodies);
    assert_eq!(answers[..4], ["OK"; 4]);
    assert!(answers[4..].iter().all(|text| text.starts_with('E')), "{answers:?}");
}

#[test]
fn the_last_bytes_of_memory_can_be_watched() {
    // They start at a multiple of eight, but there are no eight bytes.
    let answers = Debugged::new().answers(&[b"Z2,fffffffffffffff8,4", b"Z2,fffffffffffffffc,3"]);
    assert_eq!(answers, ["OK", "OK"]);
}

#[test]
fn there_is_a_limit_to_breakpoints_and_gdb_hears_of_it() {
    let mut debugged = Debugged::new();
    let bodies: Vec<_> = (0..1100).map(|index| format!("Z0,{:x},1", TEXT + index)).collect();
    let bodies: Vec<_> = bodies.iter().map(|body| body.as_bytes()).collect();
    let answers = debugged.answers(&bodies);
    assert_eq!(answers.iter().filter(|text| *text == "OK").count(), 1024);
    assert!(answers[1024..].iter().all(|text| text.starts_with('E')));
}

#[test]
fn there_is_a_limit_to_the_places_of_breakpoints_and_gdb_hears_of_it() {
    // row I2
    const COUNT: u16 = 10;
    let mut debugged = Debugged::with_processes(COUNT);
    let last = PLACES as u64 / u64::from(COUNT);
    let text = |index| TEXT + index;
    let mut bodies: Vec<_> = (0..=last).map(|index| format!("Z0,{:x},1", text(index))).collect();
    // The kernel has its code alone, and what is taken back leaves room.
    bodies.push(format!("Z0,{:x},1", KERNEL_TEXT + 0x20));
    bodies.push(format!("z0,{:x},1", text(0)));
    bodies.push(format!("Z0,{:x},1", text(last)));
    bodies.push("vCont;c".to_owned());
    let packets: Vec<u8> = bodies.iter().flat_map(|body| packet(body.as_bytes())).collect();
    let answers = super::replies(&debugged.hears(&[packet(HELLO), packets].concat()));
    let (taken, others) = answers[1..].split_at(usize::try_from(last).unwrap());
    assert!(taken.iter().all(|text| text == "OK"), "{answers:?}");
    assert_eq!(others, ["E16", "OK", "OK", "OK"]);
    // What gdb heard to be there is there.
    for space in 0..COUNT {
        let is_there =
            |index: &u64| debugged.system.kernel.machine.byte(Some(space), text(*index)) == Some(0xcc);
        assert_eq!((0..=last).filter(|index| !is_there(index)).collect::<Vec<_>>(), [0], "{space}");
    }
}

#[test]
fn monitor_commands_that_there_are_not_are_answered_with_those_that_there_are() {
    for command in
        ["", " ", "nosuch", "grants", "maps nobody", "maps 99999.1", "trace maybe", "catch \u{7f}", "ps ps"]
    {
        let hex: String = command.bytes().map(|byte| format!("{byte:02x}")).collect();
        let answers = Debugged::new().survives(&packet(format!("qRcmd,{hex}").as_bytes()));
        assert_eq!(answers.last().map(String::as_str), Some("OK"), "{command}: {answers:?}");
    }
    for wrong in ["qRcmd,f", "qRcmd,zz", "qRcmd,ff", "qRcmd", "qRcmd,"] {
        let answers = Debugged::new().survives(&packet(wrong.as_bytes()));
        assert!(!answers.is_empty(), "{wrong}");
    }
}

#[test]
fn a_packet_that_makes_no_sense_changes_no_selection() {
    // row I2
    for wrong in [&b"vCont;s:zz"[..], b"Z0,", b"P", b"Hg"] {
        let mut debugged = Debugged::new();
        let (write, read) = (format!("M{DATA:x},1:ab"), format!("m{DATA:x},1"));
        let answers = debugged.answers(&[b"Hgp1.3", write.as_bytes(), wrong, read.as_bytes()]);
        assert_eq!(answers[3], "ab", "{}: {answers:?}", wrong.escape_ascii());
    }
}

#[test]
fn a_long_read_is_answered_as_far_as_an_answer_goes_and_up_to_the_first_hole() {
    // row I2
    let read = |debugged: &mut Debugged, address: u64, len: u64| {
        let answers = debugged.answers(&[b"Hgp1.2", format!("m{address:x},{len:x}").as_bytes()]);
        answers[1].clone()
    };
    let mut debugged = Debugged::new();
    let page = usize::try_from(PAGE).unwrap();
    for len in [PAGE, PAGE - 1, PAGE / 2 + 1] {
        let answer = read(&mut debugged, TEXT, len);
        assert!(answer.len() >= page - 100 && answer.len() <= 2 * page, "{} digits of {len}", answer.len());
        assert!(answer.len() <= SIZE && answer.bytes().all(|digit| b"90".contains(&digit)), "{answer}");
    }
    // Code and data follow each other; behind the data is nothing, so what is there before it is the answer.
    assert_eq!(read(&mut debugged, DATA + PAGE - 100, PAGE), "00".repeat(100));
    assert_eq!(read(&mut debugged, DATA + PAGE, PAGE), "E0e");
    // A hole with memory behind it.
    debugged.system.kernel.machine.unmap(0, DATA);
    debugged.system.kernel.machine.map(Some(0), DATA + PAGE, 0x55, true);
    for start in [1, 10, 100, PAGE / 2] {
        let expected = "90".repeat(usize::try_from(start).unwrap());
        let answer = read(&mut debugged, DATA - start, PAGE);
        assert!(
            answer == expected || expected.starts_with(&answer) && answer.len() > page - 100,
            "{start}: {answer}"
        );
    }
}

#[test]
fn calls_are_logged_no_longer_when_the_debugger_is_gone() {
    // row I2
    for end in [&b"D;1"[..], b"qSupported:multiprocess+"] {
        let mut debugged = Debugged::new();
        // `trace on`
        debugged.hears(&[packet(HELLO), packet(b"qRcmd,7472616365206f6e"), packet(b"vCont;c")].concat());
        assert!(debugged.system.kernel.are_calls_traced());
        debugged.hears(&[&b"\x03"[..], &packet(end)].concat());
        assert!(!debugged.system.kernel.are_calls_traced(), "{}", end.escape_ascii());
    }
}

#[test]
fn the_stack_by_which_the_debugger_is_reached_is_not_watched() {
    // row I2
    let end = KERNEL_DATA + PAGE;
    for (address, len, expected) in [
        (end - STACK - 8, 8, "OK"),
        (end - STACK - 8, 16, "E16"),
        (end - STACK, 1, "E16"),
        (end - 1, 1, "E16"),
    ] {
        let answer = answer(format!("Z2,{address:x},{len:x}").as_bytes());
        assert_eq!(answer, expected, "{len} bytes at the end but {}", end - address);
    }
}
