//! Whatever processes ask for, in whatever order: nothing panics, and the table stays sound.

use crate::fake::{Fake, at, kernel, program, server, service, set_managers};
use crate::fault::{Access, Fault};
use crate::ipc::tests::check_invariants;
use crate::process::Process;
use crate::{Kernel, OutOfTurn};
use abi::boot::Managers;
use abi::ipc::Primitive;
use abi::protocols::{Tracing, kernel as calls};
use abi::registers::{self, Register};
use abi::{Call, Callers, Endpoint, Message, Wire};
use std::collections::BTreeSet;

/// Marsaglia's xorshift with a fixed seed: every run is the same.
pub(crate) struct Random {
    state: u64,
    /// Who is named most often, if anybody.
    pub(crate) living: Vec<Endpoint>,
}

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self { state: seed, living: Vec::new() }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state >> 8
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next()).unwrap() % end
    }

    /// Often small, sometimes at an edge, sometimes anything.
    fn word(&mut self) -> u64 {
        match self.below(4) {
            0 => self.next() % 8,
            1 => [0, 1, u64::MAX, 1 << 63, (1 << 47) - 1, 0xffff_ffff, 4096][self.below(7)],
            2 => u64::from(self.endpoint().to_bits()),
            _ => self.next(),
        }
    }

    pub(crate) fn endpoint(&mut self) -> Endpoint {
        if !self.living.is_empty() && self.below(8) > 0 {
            let index = self.below(self.living.len());
            return self.living[index];
        }
        match self.below(12) {
            0 => [Endpoint::ANY, Endpoint::NONE, Endpoint::SELF, Endpoint::SYSTEM][self.below(4)],
            1 => Endpoint::from_bits(u32::try_from(self.next() & 0xffff_ffff).unwrap()),
            _ => Endpoint::new(u16::try_from(self.below(8)).unwrap(), 1 + u32::from(self.below(8) == 0))
                .unwrap(),
        }
    }

    fn message(&mut self) -> Message {
        let known = calls::PROTOCOL.calls;
        let number = match self.below(16) {
            0 => u16::try_from(self.next() & 0xffff).unwrap(),
            _ => known[self.below(known.len())].number,
        };
        let mut message = Message { number, tag: 1, ..Message::zeroed() };
        let mut at = 0;
        while at < message.payload.len() {
            let size = [1, 2, 4, 8][self.below(4)];
            let bytes = self.word().to_le_bytes();
            let end = (at + size).min(message.payload.len());
            message.payload[at..end].copy_from_slice(&bytes[..end - at]);
            at = end;
        }
        message
    }
}

fn everybody() -> Kernel<Fake> {
    kernel(&[service(0), service(1), service(2), program(3), program(4)])
}

/// The same, but each service is a server, and they manage each other.
fn servers() -> Kernel<Fake> {
    let all = Callers::PM.or(Callers::RS);
    let processes = [server(0, all), server(1, Callers::VM), server(2, all), service(3), program(4)];
    let mut kernel = kernel(&processes);
    for (slot, signal_manager, backup_manager) in
        [(0, Endpoint::SELF, at(2)), (1, at(0), at(2)), (3, at(2), at(0)), (4, at(0), Endpoint::NONE)]
    {
        let scheduler = Endpoint::NONE;
        kernel.set_managers(Managers { slot, signal_manager, backup_manager, scheduler }).unwrap();
    }
    kernel.machine.next_space = 100;
    for space in 0..5 {
        kernel.machine.memory.map(space, 0x7000, true);
    }
    kernel
}

#[test]
fn no_order_of_calls_and_primitives_breaks_the_table() {
    explore(0x9e37_79b9_7f4a_7c15, 400, &everybody);
}

#[test]
fn no_order_of_calls_of_servers_breaks_the_table() {
    let succeeded = explore(0x2545_f491_4f6c_dd1d, 9000, &servers);
    let servers_calls = calls::PROTOCOL.calls.iter().filter(|call| call.number & 0xff >= 64);
    let missed = servers_calls.filter(|call| !succeeded.contains(&call.number));
    assert_eq!(missed.map(|call| call.name).collect::<Vec<_>>(), [""; 0]);
}

/// A call of a server that could be right.
pub(super) fn sensible(random: &mut Random) -> Message {
    let (process, other) = (random.endpoint(), random.endpoint());
    let flag = random.below(2) == 0;
    let address = 0x8000 - 8 * random.below(140) as u64;
    let register = Register::get(&[u8::try_from(random.below(18)).unwrap()]).unwrap();
    let how = Tracing::get(&[u8::try_from(random.below(3)).unwrap()]).unwrap();
    let (traps, kernel_calls) = (u32::MAX, u128::MAX);
    let managers = if flag { (Endpoint::SELF, Endpoint::NONE) } else { (other, random.endpoint()) };
    let (signal_manager, backup_manager) = managers;
    let class = Callers::SERVICE.or([Callers::PM, Callers::RS, Callers::VM][random.below(3)]);
    let slot = u16::try_from(random.below(9)).unwrap();
    let name = abi::Name::new("new").unwrap();
    // Where `sigsend` puts a frame below the stack that each starts with.
    let frame = (0x8000 - 128 - registers::frame::SIZE as u64) & !15;
    let signal = abi::Signal::USR1;
    match random.below(34) {
        0 => calls::fork::Request { parent: process, slot, inhibited: flag }.to_message(1),
        1 => calls::exec::Request { process, instruction: 1, stack: 0x8000, argument: 0, name }.to_message(1),
        2 => calls::run_stop::Request { process, delay: flag }.to_message(1),
        3 | 4 => calls::run_resume::Request { process }.to_message(1),
        5 => calls::get_machine_context::Request { process, address }.to_message(1),
        6 => calls::set_machine_context::Request { process, address }.to_message(1),
        7 => calls::vm_set_inhibited::Request { process, inhibited: flag }.to_message(1),
        8 => calls::trace_stop::Request { process }.to_message(1),
        9 => calls::trace_resume::Request { process, how }.to_message(1),
        10 => calls::trace_read::Request { process, address }.to_message(1),
        11 => calls::trace_write_register::Request { process, register, value: address }.to_message(1),
        12 => calls::privilege_disallow::Request { process }.to_message(1),
        13 | 14 => calls::privilege_allow::Request { process }.to_message(1),
        15 => calls::privilege_set_user::Request { process }.to_message(1),
        16 | 30 => calls::privilege_set_system::Request {
            process,
            class,
            traps,
            kernel_calls,
            signal_manager,
            backup_manager,
            scheduler: Endpoint::NONE,
            grants_magic: flag,
        }
        .to_message(1),
        17 => {
            let update = set_managers(0, signal_manager, backup_manager);
            calls::privilege_update::Request { process, ..update }.to_message(1)
        }
        18 => calls::privilege_yield::Request { process }.to_message(1),
        19 => calls::privilege_add_target::Request { process, target: other }.to_message(1),
        20 => calls::update::Request { source: process, target: other, rollback: flag }.to_message(1),
        21 | 29 => calls::sigreturn::Request { process, frame }.to_message(1),
        22 => calls::endksig::Request { process }.to_message(1),
        23 => calls::trace_write::Request { process, address, value: 0 }.to_message(1),
        24 => calls::privilege_add_memory::Request { process, start: 0, size: 8 }.to_message(1),
        25 => calls::privilege_query_memory::Request { process, start: 0, size: 8 }.to_message(1),
        26 => calls::privilege_remove_target::Request { process, target: other }.to_message(1),
        27 if random.below(8) == 0 => calls::clear::Request { process }.to_message(1),
        32 => calls::trace_read_bytes::Request { process, address, count: 8 }.to_message(1),
        33 => {
            let bytes = abi::Bytes::first_of(&[0; 8]);
            calls::trace_write_bytes::Request { process, address, bytes }.to_message(1)
        }
        28 => calls::kill::Request { process, signal }.to_message(1),
        _ => {
            let mask = abi::Signals::NONE;
            let request =
                calls::sigsend::Request { process, signal, handler: 1, restorer: 1, stack: 0, mask };
            request.to_message(1)
        }
    }
}

/// Calls that soon leave nobody to go on with.
pub(crate) const DEADLY: [u16; 5] = [
    calls::exit::Request::INFO.number,
    calls::abort::Request::INFO.number,
    calls::kill::Request::INFO.number,
    calls::clear::Request::INFO.number,
    calls::privilege_disallow::Request::INFO.number,
];

/// Runs at random, and gives the calls that have succeeded.
fn explore(seed: u64, runs: u32, make: &dyn Fn() -> Kernel<Fake>) -> BTreeSet<u16> {
    let mut random = Random::new(seed);
    let mut succeeded = BTreeSet::new();
    for _ in 0..runs {
        let mut kernel = make();
        for _ in 0..500 {
            let OutOfTurn::Run(slot) = kernel.turn() else { break };
            let mut message = random.message();
            // Ending is rare, or the runs would be short.
            if DEADLY.contains(&message.number) && random.below(30) > 0 {
                message.number = calls::PROTOCOL.calls[0].number;
            }
            if random.below(2) == 0 {
                message = sensible(&mut random);
            }
            kernel.processes.process_mut(slot).context.message = message;
            let number = match random.below(8) {
                0 => random.word(),
                1 => Primitive::SendA as u64 | (random.next() % 32) << 8,
                2..5 => Primitive::ALL[random.below(Primitive::ALL.len())] as u64,
                _ => Primitive::KernelCall as u64,
            };
            let endpoint = random.endpoint();
            if random.below(64) == 0 {
                let access = Access::Write;
                kernel.fault(slot, Fault::Page { address: random.word(), access });
            } else {
                kernel.trap(slot, number, endpoint);
            }
            if let Some(Process { context, .. }) = kernel.processes.get(slot)
                && context.message.is_reply()
                && context.message.status == 0
            {
                succeeded.insert(context.message.number);
            }
            match random.below(8) {
                0 => kernel.tick(Some(slot).filter(|slot| kernel.processes.get(*slot).is_some())),
                1 => kernel.interrupt(u8::try_from(random.below(256)).unwrap()),
                _ => {}
            }
            check_invariants(&kernel);
        }
    }
    succeeded
}
