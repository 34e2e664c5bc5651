//! Stops of the kernel and of processes, where memory, processes or the processor have changed since gdb asked.

use super::fake::{DATA, DEBUGGER_CODE, KERNEL_DATA, KERNEL_TEXT, PAGE, TEXT};
use super::{Debugged, HELLO, packet, replies};
use crate::machine::Trap;
use crate::{Happened, Reaction};
use abi::registers::Register;
use kernel_core::Slot;
use kernel_core::fault::Fault;
use kernel_core::machine::Context as _;

const STEPPED: u64 = 1 << 14;
const DEBUG: Fault = Fault::Exception { vector: 1, code: 0 };

#[test]
fn the_kernel_has_breakpoints_in_its_code_only_and_not_where_it_leads_to_the_debugger() {
    // row I2
    let end = KERNEL_TEXT + DEBUGGER_CODE;
    for (address, expected) in [
        (KERNEL_TEXT, "E16"),
        (end - 1, "E16"),
        (end, "OK"),
        (KERNEL_DATA - 1, "OK"),
        (KERNEL_DATA, "E16"),
        (u64::MAX, "E16"),
        (1 << 47, "E16"),
    ] {
        for kind in ["Z0", "Z1"] {
            let body = format!("{kind},{address:x},1");
            assert_eq!(Debugged::new().answers(&[body.as_bytes()]), [expected], "{body}");
        }
    }
}

#[test]
fn a_breakpoint_of_the_kernels_is_there_while_it_runs() {
    // row I2
    let mut debugged = Debugged::new();
    let at = KERNEL_TEXT + 0x20;
    debugged.hears(&[packet(HELLO), packet(format!("Z0,{at:x},1").as_bytes()), packet(b"vCont;c")].concat());
    assert_eq!(debugged.system.kernel.machine.byte(None, at), Some(0xcc));
    debugged.cpu.registers[Register::Rip as usize] = at + 1;
    debugged.wire.put(&packet(format!("m{at:x},1").as_bytes()));
    assert!(debugged.stub.trapped(&mut debugged.system, Trap::Breakpoint, &mut debugged.cpu));
    assert_eq!(replies(&debugged.wire.take()), ["T05thread:p01.01;swbreak:;", "90"]);
    assert_eq!(debugged.cpu.registers[Register::Rip as usize], at);
}

#[test]
fn a_breakpoint_is_taken_out_when_the_page_behind_it_is_gone() {
    // row I2
    let mut debugged = Debugged::new();
    let at = TEXT + PAGE - 2;
    let place = format!("Z0,{at:x},1");
    let packets = [&b"Hgp1.2"[..], b"m10000000,1", place.as_bytes(), b"vCont;c"].map(packet).concat();
    debugged.hears(&[packet(HELLO), packets].concat());
    assert_eq!(debugged.system.kernel.machine.byte(Some(0), at), Some(0xcc));
    debugged.system.kernel.machine.unmap(0, DATA);
    debugged.hears(b"\x03");
    assert_eq!(debugged.system.kernel.machine.byte(Some(0), at), Some(0x90));
}

#[test]
fn a_process_that_ends_leaves_no_breakpoint_and_others_keep_theirs() {
    // row I2
    let mut debugged = Debugged::new();
    let at = TEXT + 8;
    let packets = [&b"Hgp1.2"[..], b"m10000000,1", b"Z0,10000008,1", b"vCont;c"].map(packet).concat();
    debugged.hears(&[packet(HELLO), packets].concat());
    debugged.system.kernel.fault(Slot::new(0), Fault::Exception { vector: 6, code: 0 });
    let released = &debugged.system.kernel.machine.released;
    assert!(!released.is_empty() && released.iter().all(|byte| *byte == 0x90));
    // Before anybody runs.
    assert_eq!(debugged.system.kernel.out_of_turn(), kernel_core::OutOfTurn::Debugger);
    assert_eq!(debugged.stub.look(&mut debugged.system, None, Happened::Asked), Reaction::Done);
    assert_eq!(debugged.system.kernel.machine.byte(Some(1), at), Some(0xcc));
}

#[test]
fn the_kernel_where_it_stops_has_the_memory_that_the_processor_has() {
    // row I2
    let mut debugged = Debugged::new();
    debugged.answers(&[b"Hgp1.3", b"M10001000,1:ab", b"D;1"]);
    for (loaded, expected) in [(Some(1), "ab"), (Some(0), "00"), (None, "E0e")] {
        // Whoever ran when something last happened.
        debugged.running = Slot::new(0);
        debugged.hears(&[packet(HELLO), packet(b"vCont;c")].concat());
        debugged.system.kernel.machine.loaded = loaded;
        debugged.wire.put(&[packet(b"Hgp1.1"), packet(b"m10001000,1")].concat());
        assert!(debugged.stub.trapped(&mut debugged.system, Trap::Exception(6), &mut debugged.cpu));
        assert_eq!(replies(&debugged.wire.take())[1..], ["OK", expected], "{loaded:?}");
    }
}

#[test]
fn steps_that_nobody_debugged_are_no_news_to_the_next_debugger() {
    // row I2
    let mut debugged = Debugged::new();
    let (one, other) = (Slot::new(0), Slot::new(1));
    debugged.system.kernel.machine.debug_status = STEPPED;
    let look = |debugged: &mut Debugged, slot| {
        debugged.stub.look(&mut debugged.system, Some(slot), Happened::Fault(DEBUG))
    };
    // A tracer's.
    assert_eq!(look(&mut debugged, one), Reaction::None);
    let packets = [&b"Hgp1.2"[..], b"m10000000,1", b"Z2,10001000,8", b"vCont;c"].map(packet).concat();
    debugged.hears(&[packet(HELLO), packets].concat());
    // What the processor says stays until it is taken. The other's memory is not watched.
    debugged.system.kernel.machine.debug_status |= 1;
    assert_eq!(look(&mut debugged, other), Reaction::Done);
}

/// The watchpoint of the first debug register is hit by a process.
fn is_hit(debugged: &mut Debugged, slot: u16) -> bool {
    debugged.system.kernel.machine.debug_status |= 1;
    debugged.stub.look(&mut debugged.system, Some(Slot::new(slot)), Happened::Fault(DEBUG)) == Reaction::Stop
}

#[test]
fn a_watchpoint_is_for_the_process_in_which_it_was_set_last() {
    // row I2
    const SET: &str = "Hgp1.2 m10001000,8 Z2,10001000,8 vCont;c";
    const AGAIN: &str = "z2,10001000,8 Hgp1.3 m10000000,1 Z2,10001000,8 vCont;c";
    const IN_OTHER: &str = "z2,10001000,8 Hgp1.3 m10001000,8 Z2,10001000,8 vCont;c";
    const DELETED: &str = "z2,10001000,8 vCont;c";
    const UNREAD: &str = "Hgp1.3 m10001000,1 Z2,10001000,8 vCont;c";
    for (stops, owner, what) in [
        (&[SET, AGAIN, AGAIN][..], 0, "gdb asks again, and looks at another thread"),
        (&[SET, AGAIN, IN_OTHER], 1, "it was deleted and set in another process at one stop"),
        (&[SET, DELETED, UNREAD], 1, "it was deleted before"),
    ] {
        let mut debugged = Debugged::new();
        for (index, stop) in stops.iter().enumerate() {
            let first = if index == 0 { packet(HELLO) } else { b"\x03".to_vec() };
            let packets: Vec<u8> = stop.split(' ').flat_map(|body| packet(body.as_bytes())).collect();
            debugged.hears(&[first, packets].concat());
        }
        for slot in 0..2 {
            assert_eq!(is_hit(&mut debugged, slot), slot == owner, "{what}");
        }
    }
}

#[test]
fn of_two_watchpoints_that_one_instruction_hits_that_of_its_process_stops() {
    // row I2
    let mut debugged = Debugged::new();
    let asked = "Hgp1.2 m10001000,8 Z2,10001000,8 Hgp1.3 m10001004,4 Z2,10001004,4 vCont;c";
    let packets: Vec<u8> = asked.split(' ').flat_map(|body| packet(body.as_bytes())).collect();
    debugged.hears(&[packet(HELLO), packets].concat());
    debugged.system.kernel.machine.debug_status |= 3;
    assert!(is_hit(&mut debugged, 1));
    debugged.pauses();
    assert_eq!(replies(&debugged.wire.take()), ["T05thread:p01.03;watch:10001004;"]);
}

#[test]
fn who_ends_in_its_step_is_not_who_stops() {
    // row I2
    let mut debugged = Debugged::new();
    debugged.hears(&[packet(HELLO), packet(b"vCont;s:p1.2")].concat());
    debugged.system.kernel.fault(Slot::new(0), Fault::Exception { vector: 6, code: 0 });
    assert!(debugged.system.kernel.processes().get(Slot::new(0)).is_none());
    let reaction = debugged.stub.look(&mut debugged.system, None, Happened::Asked);
    assert_eq!(reaction, Reaction::Stop);
    debugged.wire.put(&packet(b"p10"));
    debugged.pauses();
    let replies = replies(&debugged.wire.take());
    assert_eq!(replies[0], "T05thread:p01.01;");
    assert!(!replies[1].starts_with('E'), "{replies:?}");
}

#[test]
fn a_step_from_the_kernel_into_a_process_ends_there() {
    // row I2
    let mut debugged = Debugged::new();
    debugged.system.kernel.machine.loaded = Some(1);
    debugged.hears(&[packet(HELLO), packet(b"vCont;c")].concat());
    debugged.wire.put(&packet(b"vCont;s:p1.1"));
    assert!(debugged.stub.trapped(&mut debugged.system, Trap::Exception(6), &mut debugged.cpu));
    let slot = Slot::new(1);
    let is_stepped = |debugged: &Debugged| {
        let process = debugged.system.kernel.processes().get(slot).unwrap();
        process.context.registers()[Register::Rflags as usize] & 0x100 != 0
    };
    assert!(is_stepped(&debugged));
    debugged.wire.take();
    debugged.system.kernel.machine.debug_status = STEPPED;
    let reaction = debugged.stub.look(&mut debugged.system, Some(slot), Happened::Fault(DEBUG));
    assert_eq!(reaction, Reaction::Stop);
    debugged.wire.put(&packet(b"p10"));
    debugged.pauses();
    assert_eq!(replies(&debugged.wire.take())[0], "T05thread:p01.03;");
    assert!(!is_stepped(&debugged));
}

#[test]
fn a_kernel_that_loops_stops_where_somebody_asks_for_it_or_by_itself() {
    // row I2
    let strikes = |debugged: &mut Debugged| {
        debugged.stub.trapped(&mut debugged.system, Trap::Exception(2), &mut debugged.cpu)
    };
    assert!(!strikes(&mut Debugged::new()), "nobody is there");
    for (said, expected) in [(&b"\x03"[..], "T02thread:p01.01;"), (b"", "T18thread:p01.01;")] {
        let mut debugged = Debugged::new();
        debugged.hears(&[packet(HELLO), packet(b"vCont;c")].concat());
        // It is not heard while the kernel loops.
        debugged.wire.put(&[said, &packet(b"p10")].concat());
        assert!(strikes(&mut debugged));
        assert_eq!(replies(&debugged.wire.take())[0], expected);
    }
    // A debugger that comes to such a kernel.
    let mut debugged = Debugged::new();
    debugged.wire.put(&[packet(HELLO), packet(b"?")].concat());
    assert!(strikes(&mut debugged));
    assert_eq!(replies(&debugged.wire.take())[1], "T05thread:p01.01;");
}

#[test]
fn a_line_that_is_never_quiet_keeps_nobody_from_running() {
    // row I2
    let mut debugged = Debugged::new();
    let noise = vec![b'?'; 100_000];
    debugged.wire.put(&noise);
    let running = Some(debugged.running);
    let looks = core::iter::from_fn(|| {
        let reaction = debugged.stub.look(&mut debugged.system, running, Happened::Line);
        assert_eq!(reaction, Reaction::Done);
        (!debugged.wire.is_read()).then_some(())
    });
    assert!(looks.count() > 100);
}

/// The process of the first slot has made a step.
fn steps(debugged: &mut Debugged) -> Reaction {
    debugged.system.kernel.machine.debug_status = STEPPED;
    debugged.stub.look(&mut debugged.system, Some(Slot::new(0)), Happened::Fault(DEBUG))
}

fn registers_of(debugged: &mut Debugged) -> abi::registers::Registers {
    debugged.system.kernel.inside(Slot::new(0)).unwrap().1.context.registers()
}

fn set_register(debugged: &mut Debugged, register: Register, value: u64) {
    let mut registers = registers_of(debugged);
    registers[register as usize] = value;
    debugged.system.kernel.inside(Slot::new(0)).unwrap().1.context.set_registers(&registers).unwrap();
}

#[test]
fn a_step_does_not_show_in_the_flags_that_a_program_reads() {
    // row I2
    for (code, is_shown) in
        [([0x9c, 0x90], false), ([0x48, 0x9c], false), ([0x66, 0x9c], false), ([0x90, 0x9c], true)]
    {
        let mut debugged = Debugged::new();
        (0..).zip(code).for_each(|(at, byte)| debugged.system.kernel.machine.set_byte(0, TEXT + at, byte));
        debugged.hears(&[packet(HELLO), packet(b"vCont;s:p1.2")].concat());
        // What the instruction does.
        set_register(&mut debugged, Register::Rsp, DATA + 0x7f8);
        debugged.system.kernel.machine.set_byte(0, DATA + 0x7f9, 0x03);
        assert_eq!(steps(&mut debugged), Reaction::Stop);
        let pushed = debugged.system.kernel.machine.byte(Some(0), DATA + 0x7f9);
        assert_eq!(pushed, Some(if is_shown { 0x03 } else { 0x02 }), "{code:x?}");
    }
    for (r11, expected) in [(0x302, 0x202), (0x100, 0x100)] {
        let mut debugged = Debugged::new();
        set_register(&mut debugged, Register::Rflags, 0x202);
        (0..)
            .zip([0x0f, 0x05])
            .for_each(|(at, byte)| debugged.system.kernel.machine.set_byte(0, TEXT + at, byte));
        debugged.hears(&[packet(HELLO), packet(b"vCont;s:p1.2")].concat());
        set_register(&mut debugged, Register::R11, r11);
        assert_eq!(steps(&mut debugged), Reaction::Stop);
        assert_eq!(registers_of(&mut debugged)[Register::R11 as usize], expected);
    }
}

#[test]
fn a_step_goes_on_behind_an_instruction_that_sets_the_flags() {
    // row I2
    let mut debugged = Debugged::new();
    debugged
        .hears(&[packet(HELLO), packet(format!("vCont;r{TEXT:x},{:x}:p1.2", TEXT + 8).as_bytes())].concat());
    set_register(&mut debugged, Register::Rflags, 0x202);
    assert_eq!(steps(&mut debugged), Reaction::Done);
    assert_eq!(registers_of(&mut debugged)[Register::Rflags as usize], 0x302);
    set_register(&mut debugged, Register::Rip, TEXT + 8);
    assert_eq!(steps(&mut debugged), Reaction::Stop);
    debugged.pauses();
    assert_eq!(registers_of(&mut debugged)[Register::Rflags as usize], 0x202);
}

#[test]
fn the_next_process_of_a_slot_is_another_thread_with_no_watchpoint_of_the_last() {
    // row I2
    let mut debugged = Debugged::new();
    let packets = [&b"Hgp1.2"[..], b"m10001000,8", b"Z2,10001000,8", b"vCont;c"].map(packet).concat();
    debugged.hears(&[packet(HELLO), packets].concat());
    debugged.system.kernel.fault(Slot::new(0), Fault::Exception { vector: 6, code: 0 });
    debugged.system.kernel.add(&super::service(0), super::Registers::new(), 0).unwrap();
    assert!(!is_hit(&mut debugged, 0));
    let answers =
        replies(&debugged.hears(&[&b"\x03"[..], &packet(b"Tp1.2"), &packet(b"qfThreadInfo")].concat()));
    assert_eq!(answers[0], "T02thread:p01.8002;");
    assert!(answers[1].starts_with('E') && answers[2].contains("p01.8002"), "{answers:?}");
}

#[test]
fn a_step_that_a_tracer_asked_for_is_the_tracers() {
    // row I2
    let mut debugged = Debugged::new();
    debugged.hears(&[packet(HELLO), packet(b"vCont;c")].concat());
    debugged.system.kernel.inside(Slot::new(0)).unwrap().1.step_for_tracer(true);
    assert_eq!(steps(&mut debugged), Reaction::None);
    // What it did not ask for, the program did to itself.
    debugged.system.kernel.inside(Slot::new(0)).unwrap().1.step_for_tracer(false);
    assert_eq!(steps(&mut debugged), Reaction::Stop);
}

#[test]
fn a_tracers_step_and_the_debuggers_are_apart() {
    // row I2
    // Before the debugger's step, and in the middle of it.
    for (before, meanwhile) in [(false, true), (true, false), (true, true), (false, false)] {
        let mut debugged = Debugged::new();
        let trace = |debugged: &mut Debugged, on| {
            debugged.system.kernel.inside(Slot::new(0)).unwrap().1.step_for_tracer(on);
        };
        let is_stepped =
            |debugged: &mut Debugged| registers_of(debugged)[Register::Rflags as usize] & 0x100 != 0;
        trace(&mut debugged, before);
        debugged.hears(&[packet(HELLO), packet(b"vCont;r10000000,10000100:p1.2;c")].concat());
        trace(&mut debugged, meanwhile);
        assert!(is_stepped(&mut debugged), "the debugger wants it");
        debugged.hears(&[&b"\x03"[..], &packet(b"D;1")].concat());
        assert_eq!(is_stepped(&mut debugged), meanwhile, "before: {before}");
    }
}

#[test]
fn a_step_that_a_program_makes_by_itself_outlives_the_debuggers() {
    // row I2
    let mut debugged = Debugged::new();
    set_register(&mut debugged, Register::Rflags, 0x302);
    debugged.hears(&[packet(HELLO), packet(b"vCont;r10000000,10000100:p1.2;c")].concat());
    debugged.hears(&[&b"\x03"[..], &packet(b"D;1")].concat());
    assert_eq!(registers_of(&mut debugged)[Register::Rflags as usize], 0x302);
}
