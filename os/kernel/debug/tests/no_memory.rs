//! The stub takes no memory once it is there: the kernel may have been stopped in its allocator.
#![expect(unsafe_code, reason = "an allocator that counts is one")]

#[expect(dead_code, reason = "other tests use the rest")]
#[path = "../src/tests/fake.rs"]
mod fake;

use abi::registers::Register;
use fake::{DATA, Fake, KERNEL_DATA, KERNEL_TEXT, Registers, Wire, service};
use kernel_core::fault::Fault;
use kernel_core::{Kernel, Slot};
use kernel_debug::machine::{Cpu, Trap};
use kernel_debug::{Happened, Reaction, Stub, System, machine};
use std::alloc::{GlobalAlloc, Layout, System as Allocator};
use std::cell::Cell;

/// The host's allocator, which counts how often it is asked.
struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

#[global_allocator]
static COUNTING: Counting = Counting;

// SAFETY: all is the host's, which keeps the promises.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise.
        unsafe { Allocator.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise.
        unsafe { Allocator.dealloc(pointer, layout) }
    }
}

const HELLO: &str = "qSupported:multiprocess+;swbreak+;hwbreak+;vContSupported+";
const PROCESSES: u16 = 2;

struct Debugged {
    system: System<Fake>,
    stub: Stub<Wire>,
    wire: Wire,
    cpu: Cpu,
}

impl Debugged {
    fn new() -> Self {
        let mut kernel = Kernel::new(Fake::with_processes(PROCESSES), 8);
        for slot in 0..PROCESSES {
            kernel.add(&service(slot), Registers::new(), slot).expect("a free slot");
        }
        let mut system = System::new(kernel);
        let wire = Wire::new();
        let stub = Stub::new(&mut system, wire);
        let mut cpu = Cpu { registers: [0; 18], float: [0; 512] };
        cpu.registers[Register::Rip as usize] = KERNEL_TEXT + 0x10;
        cpu.registers[Register::Rsp as usize] = KERNEL_DATA + 0x800;
        Self { system, stub, wire, cpu }
    }

    /// Sends packets and lets the system run whenever it may. How often memory was asked for, and what came back.
    fn hears(&mut self, bodies: &[&str]) -> (usize, String) {
        for body in bodies {
            let sum = body.bytes().fold(0_u8, u8::wrapping_add);
            self.wire.put(format!("${body}#{sum:02x}").as_bytes());
        }
        let before = COUNT.get();
        while !self.wire.is_read() {
            let running = Some(Slot::new(0));
            if self.stub.look(&mut self.system, running, Happened::Line) == Reaction::Stop {
                self.stub.trapped(&mut self.system, Trap::Pause, &mut self.cpu);
            }
        }
        let count = COUNT.get() - before;
        (count, self.wire.take().escape_ascii().to_string())
    }
}

fn monitor(command: &str) -> String {
    let hex: String = command.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("qRcmd,{hex}")
}

#[test]
fn whatever_a_debugger_asks_for_takes_no_memory() {
    // row I2
    let write = format!("M{DATA:x},700:{}", "00".repeat(0x700));
    let many = format!("vCont{}", ";s:p1.2;c:p1.3".repeat(100));
    let packets = [
        "?",
        "g",
        "G00",
        "p10",
        "P10=0000001000000000",
        "Hgp1.2",
        "m10000000,1000",
        &write,
        "X10001000,1:a",
        "qXfer:features:read:target.xml:0,fff",
        "qfThreadInfo",
        "qsThreadInfo",
        "qThreadExtraInfo,p1.3",
        "Tp1.3",
        "Z0,10000008,1",
        "Z0,ffffffff80100020,1",
        "Z1,10000010,1",
        "Z2,10001000,8",
        "z0,10000008,1",
        "Z0,10000008,1",
        "qSymbol::",
        "Z0,",
        "vCont;c",
        HELLO,
        &many,
        HELLO,
        "vCont;c",
        HELLO,
        "Hgp1.7777",
        "D;1",
    ];
    let mut debugged = Debugged::new();
    for body in [&[HELLO][..], &packets].concat() {
        let (count, said) = debugged.hears(&[body]);
        assert_eq!(count, 0, "{body}: {said}");
    }
    for command in
        ["help", "ps", "ipc", "irq", "timers", "maps s0", "grants s0", "trace on", "catch all", "x"]
    {
        let (count, said) = debugged.hears(&[HELLO, &monitor(command)]);
        assert_eq!(count, 0, "{command}: {said}");
    }
    debugged.hears(&["k"]);
}

#[test]
fn stops_take_no_memory() {
    // row I2
    let mut debugged = Debugged::new();
    debugged.hears(&[HELLO, "Hgp1.2", "m10000000,1", "Z0,10000008,1", "Z0,ffffffff80100020,1", "vCont;c"]);
    let slot = Slot::new(0);
    for vector in [1, 3, 6, 13] {
        debugged.system.kernel.machine.debug_status = 1;
        debugged.wire.put(b"$vCont;c#a8");
        let before = COUNT.get();
        let fault = Happened::Fault(Fault::Exception { vector, code: 0 });
        if debugged.stub.look(&mut debugged.system, Some(slot), fault) == Reaction::Stop {
            debugged.stub.trapped(&mut debugged.system, Trap::Pause, &mut debugged.cpu);
        }
        debugged.stub.look(&mut debugged.system, None, Happened::Asked);
        debugged.stub.trapped(&mut debugged.system, Trap::Exception(vector), &mut debugged.cpu);
        assert_eq!(COUNT.get(), before, "{vector}");
        debugged.wire.take();
    }
}
