//! Whatever processes ask for, in whatever order: nothing panics, and the table stays sound.

use crate::fake::{Fake, kernel, program, service};
use crate::ipc::tests::check_invariants;
use crate::{Kernel, Next};
use abi::ipc::Primitive;
use abi::protocols::kernel as calls;
use abi::{Call, Endpoint, Message};

/// Marsaglia's xorshift with a fixed seed: every run is the same.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 8
    }

    fn below(&mut self, end: usize) -> usize {
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

    fn endpoint(&mut self) -> Endpoint {
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

#[test]
fn no_order_of_calls_and_primitives_breaks_the_table() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..400 {
        let mut kernel = everybody();
        for _ in 0..500 {
            let Next::Run(slot) = kernel.next() else { break };
            let ends = [calls::exit::Request::INFO.number, calls::abort::Request::INFO.number];
            let mut message = random.message();
            // Ending is rare, or the runs would be short.
            if ends.contains(&message.number) && random.below(30) > 0 {
                message.number = calls::PROTOCOL.calls[0].number;
            }
            kernel.processes.process_mut(slot).context.message = message;
            let number = match random.below(8) {
                0 => random.word(),
                1 => Primitive::SendA as u64 | (random.next() % 32) << 8,
                2..5 => Primitive::ALL[random.below(Primitive::ALL.len())] as u64,
                _ => Primitive::KernelCall as u64,
            };
            let endpoint = random.endpoint();
            kernel.trap(slot, number, endpoint);
            match random.below(8) {
                0 => kernel.tick(Some(slot).filter(|slot| kernel.processes.get(*slot).is_some())),
                1 => kernel.interrupt(u8::try_from(random.below(256)).unwrap()),
                _ => {}
            }
            check_invariants(&kernel);
        }
    }
}
