//! A debugger that sends what none should, and one that is a debugger.

mod fake;
mod hostile;
mod random;
mod stops;

use crate::machine::{Cpu, Trap};
use crate::packets::{body, checksum};
use crate::{Happened, Reaction, Stub, System, arch};
use abi::Name;
use abi::boot::Pair;
use abi::registers::Register;
use fake::{DATA, Fake, KERNEL_DATA, KERNEL_TEXT, Registers, TEXT, Wire, service};
use kernel_core::machine::Context as _;
use kernel_core::{Kernel, Slot};

/// A system with a debugger at its line.
struct Debugged {
    system: System<Fake>,
    stub: Stub<Wire>,
    wire: Wire,
    cpu: Cpu,
    /// The process that runs.
    running: Slot,
}

/// Processes that there are: threads 2 and 3.
const PROCESSES: u16 = 2;
const HELLO: &[u8] = b"qSupported:multiprocess+;swbreak+;hwbreak+;vContSupported+";

impl Debugged {
    fn new() -> Self {
        Self::with_processes(PROCESSES)
    }

    /// The same with so many processes, which have the same code.
    fn with_processes(count: u16) -> Self {
        let mut kernel = Kernel::new(Fake::with_processes(count), count.max(8));
        for slot in 0..count {
            kernel.add(&service(slot), Registers::new(), slot).unwrap();
            (0..slot).for_each(|to| kernel.allow_pair(Pair { from: slot, to }).unwrap());
        }
        let mut system = System::new(kernel);
        let wire = Wire::new();
        let stub = Stub::new(&mut system, wire);
        let mut cpu = arch::no_registers();
        cpu.registers[Register::Rip as usize] = KERNEL_TEXT + 0x10;
        cpu.registers[Register::Rsp as usize] = KERNEL_DATA + 0x800;
        Self { system, stub, wire, cpu, running: Slot::new(0) }
    }

    /// Sends bytes, and lets the system run whenever it may. What came back.
    fn hears(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.wire.put(bytes);
        while !self.wire.is_read() {
            let reaction = self.stub.look(&mut self.system, Some(self.running), Happened::Line);
            if reaction == Reaction::Stop {
                self.pauses();
            }
        }
        self.wire.take()
    }

    fn pauses(&mut self) {
        assert!(self.stub.trapped(&mut self.system, Trap::Pause, &mut self.cpu));
    }

    /// A debugger comes and says these packets: the answer to each.
    fn answers(&mut self, bodies: &[&[u8]]) -> Vec<String> {
        let mut bytes = packet(HELLO);
        bodies.iter().for_each(|body| bytes.extend(packet(body)));
        let replies = replies(&self.hears(&bytes));
        assert_eq!(replies.len(), bodies.len() + 1, "each packet has one answer: {replies:?}");
        replies.into_iter().skip(1).collect()
    }

    /// A debugger comes, says these bytes, and finds everything in order afterwards: no process is gone, the
    /// breakpoints are out of memory, and the stub answers.
    fn survives(&mut self, bytes: &[u8]) -> Vec<String> {
        let before = self.system.kernel.machine.code();
        let mut all = packet(HELLO);
        all.extend_from_slice(bytes);
        let output = self.hears(&all);
        assert_eq!(self.answers(&[b"qfThreadInfo", b"qsThreadInfo"]), ["mp01.02,p01.01,p01.03", "l"]);
        assert_eq!(self.system.kernel.machine.code(), before);
        replies(&output).into_iter().skip(1).collect()
    }
}

fn packet(body: &[u8]) -> Vec<u8> {
    [b"$", body, b"#", &checksum(body)].concat()
}

/// The bodies of the packets among these bytes, of which all must be whole.
fn replies(bytes: &[u8]) -> Vec<String> {
    let mut replies = Vec::new();
    let mut rest = bytes;
    while let Some(start) = rest.iter().position(|byte| *byte == b'$') {
        assert!(
            rest[..start].iter().all(|byte| b"+-".contains(byte)),
            "noise: {}",
            rest[..start].escape_ascii()
        );
        rest = &rest[start..];
        let end = rest.iter().position(|byte| *byte == b'#').expect("a packet has an end") + 3;
        let text = body(&rest[..end]);
        assert_eq!(rest[end - 2..end], checksum(text));
        replies.push(expanded(text).escape_ascii().to_string());
        rest = &rest[end..];
    }
    replies
}

/// A body without run lengths: `0* ` is `0000`.
fn expanded(body: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    let mut bytes = body.iter();
    while let Some(byte) = bytes.next() {
        match (byte, text.last().copied()) {
            (b'*', Some(last)) => {
                let count = bytes.next().expect("a run has a length").checked_sub(29).expect("a length");
                text.extend(std::iter::repeat_n(last, usize::from(count)));
            }
            (byte, _) => text.push(*byte),
        }
    }
    text
}

/// What hexadecimal digits say.
fn text(hex: &str) -> String {
    let bytes = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap());
    String::from_utf8(bytes.collect()).unwrap()
}

#[test]
fn a_debugger_sees_each_process_as_a_thread() {
    // row I2
    let mut debugged = Debugged::new();
    let answers = debugged.answers(&[
        b"qfThreadInfo",
        b"qThreadExtraInfo,p1.1",
        b"qThreadExtraInfo,p1.2",
        b"qThreadExtraInfo,p1.3",
        b"Tp1.3",
    ]);
    let names: Vec<_> = answers[1..4].iter().map(|hex| text(hex)).collect();
    assert_eq!(names, ["kernel", "s0, endpoint 0: running", "s1, endpoint 1: runnable"]);
    assert_eq!(answers[4], "OK");
}

#[test]
fn a_breakpoint_stops_who_comes_to_it_and_is_in_memory_only_while_the_system_runs() {
    // row I2
    let mut debugged = Debugged::new();
    let break_at = format!("Z0,{:x},1", TEXT + 8);
    debugged.wire.put(&[packet(HELLO), packet(b"Hgp1.2"), packet(b"m10000000,1")].concat());
    debugged.hears(&[packet(break_at.as_bytes()), packet(b"vCont;c")].concat());
    let byte = |debugged: &Debugged, space| debugged.system.kernel.machine.byte(Some(space), TEXT + 8);
    assert_eq!((byte(&debugged, 0), byte(&debugged, 1)), (Some(0xcc), Some(0xcc)));
    let slot = Slot::new(1);
    let (_, process) = debugged.system.kernel.inside(slot).unwrap();
    let mut registers = process.context.registers();
    registers[Register::Rip as usize] = TEXT + 9;
    process.context.set_registers(&registers).unwrap();
    let fault = kernel_core::fault::Fault::Exception { vector: 3, code: 0 };
    debugged.running = slot;
    let reaction = debugged.stub.look(&mut debugged.system, Some(slot), Happened::Fault(fault));
    assert_eq!(reaction, Reaction::Stop);
    debugged.wire.put(&packet(b"p10"));
    debugged.pauses();
    let replies = replies(&debugged.wire.take());
    assert_eq!(replies[0], "T05thread:p01.03;swbreak:;");
    assert_eq!(replies[1], "0800001000000000");
    assert_eq!((byte(&debugged, 0), byte(&debugged, 1)), (Some(0x90), Some(0x90)));
}

#[test]
fn a_breakpoint_is_only_in_who_has_the_same_code_there() {
    // row I2
    let mut debugged = Debugged::new();
    debugged.system.kernel.machine.set_byte(1, TEXT + 8, 0x91);
    let packets = [&b"Hgp1.2"[..], b"m10000000,1", b"Z0,10000008,1", b"vCont;c"].map(packet).concat();
    debugged.hears(&[packet(HELLO), packets].concat());
    let byte = |debugged: &Debugged, space| debugged.system.kernel.machine.byte(Some(space), TEXT + 8);
    assert_eq!((byte(&debugged, 0), byte(&debugged, 1)), (Some(0xcc), Some(0x91)));
    debugged.answers(&[b"D;1"]);
    assert_eq!((byte(&debugged, 0), byte(&debugged, 1)), (Some(0x90), Some(0x91)));
}

#[test]
fn a_breakpoint_instruction_of_a_programs_own_is_a_fault_behind_which_it_stands() {
    // row I2
    let mut debugged = Debugged::new();
    debugged.hears(&[&packet(HELLO), &packet(b"Z0,10000008,1"), &packet(b"vCont;c")[..]].concat());
    let (slot, fault) = (Slot::new(0), kernel_core::fault::Fault::Exception { vector: 3, code: 0 });
    let reaction = debugged.stub.look(&mut debugged.system, Some(slot), Happened::Fault(fault));
    assert_eq!(reaction, Reaction::Stop);
    let before = debugged.system.kernel.processes().get(slot).unwrap().context.instruction_pointer();
    debugged.pauses();
    assert_eq!(replies(&debugged.wire.take())[0], "T05thread:p01.02;");
    let after = debugged.system.kernel.processes().get(slot).unwrap().context.instruction_pointer();
    assert_eq!(after, before);
}

#[test]
fn of_the_kernels_flags_only_those_of_programs_are_set() {
    // row I2
    let mut debugged = Debugged::new();
    debugged.answers(&[b"Hgp1.1", b"P11=ffffffff"]);
    assert_eq!(debugged.cpu.registers[Register::Rflags as usize] & !0xcd5, 0);
}

#[test]
fn of_several_processes_with_one_name_the_monitor_shows_each() {
    // row I2
    let mut debugged = Debugged::new();
    for slot in 0..PROCESSES {
        // As `exec` does.
        debugged.system.kernel.inside(Slot::new(slot)).unwrap().1.name = Name::new("twin").unwrap();
    }
    let command: String = b"grants twin".iter().map(|byte| format!("{byte:02x}")).collect();
    let output = debugged.hears(&[packet(HELLO), packet(format!("qRcmd,{command}").as_bytes())].concat());
    let said: String = replies(&output)
        .iter()
        .filter_map(|reply| reply.strip_prefix('O').filter(|hex| *hex != "K"))
        .map(text)
        .collect();
    assert_eq!(
        said,
        "twin, endpoint 0:\nit has no table of grants\ntwin, endpoint 1:\nit has no table of grants\n"
    );
}

#[test]
fn memory_is_that_of_the_thread_that_was_chosen() {
    // row I2
    let mut debugged = Debugged::new();
    let (write, read) = (format!("M{DATA:x},2:abcd"), format!("m{DATA:x},2"));
    let answers =
        debugged.answers(&[b"Hgp1.3", write.as_bytes(), read.as_bytes(), b"Hgp1.2", read.as_bytes()]);
    assert_eq!(answers, ["OK", "OK", "abcd", "OK", "0000"]);
}
