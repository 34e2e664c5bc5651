//! Packets of no sense in any order: the stub neither panics nor waits for anything but the next byte.

use super::{Debugged, HELLO, packet, replies};
use crate::machine::Trap;
use crate::{Happened, Reaction};
use kernel_core::Slot;
use kernel_core::fault::Fault;

/// Numbers that look random, the same each time (xorshift).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    fn choose<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }
}

const STARTS: [&str; 46] = [
    "?",
    "g",
    "G",
    "m",
    "M",
    "X",
    "p",
    "P",
    "H",
    "Hg",
    "Hc",
    "T",
    "Z0,",
    "Z1,",
    "Z2,",
    "Z3,",
    "Z4,",
    "z0,",
    "z1,",
    "z2,",
    "z4,",
    "vCont;c",
    "vCont;s:",
    "vCont;r",
    "vCont;C05",
    "vCont;t",
    "vCont?",
    "vMustReplyEmpty",
    "qXfer:features:read:target.xml:",
    "qXfer:memory-map:read::",
    "qRcmd,",
    "qfThreadInfo",
    "qsThreadInfo",
    "qThreadExtraInfo,",
    "qAttached",
    "qC",
    "qSupported",
    "QStartNoAckMode",
    "qOffsets",
    "qSymbol:",
    "s",
    "c",
    "!",
    "D",
    "vFile:open:",
    "qTStatus",
];
const PARTS: [&str; 30] = [
    "0",
    "1",
    "2",
    "10000000",
    "10001000",
    "10001fff",
    "ffffffff80100000",
    "ffffffff80101000",
    "8000000000000000",
    "ffffffffffffffff",
    "7fffffffffffffff",
    "p1.1",
    "p1.2",
    "p1.3",
    "p-1.-1",
    "p0.0",
    "p1.ffffffffffffffff",
    "-1",
    ",",
    ",1",
    ",8",
    ",1000",
    ",ffffffffffffffff",
    ":",
    ";",
    "=",
    "00",
    "cc",
    "7073",
    "}",
];

/// A packet that starts like one of gdb's.
fn body(random: &mut Random) -> Vec<u8> {
    let mut body = random.choose(&STARTS).as_bytes().to_vec();
    for _ in 0..random.below(6) {
        body.extend_from_slice(random.choose(&PARTS).as_bytes());
    }
    if random.below(8) == 0 {
        body.push(u8::try_from(random.below(256)).unwrap());
    }
    if random.below(16) == 0 {
        body.truncate(random.below(body.len() + 1));
    }
    // These would be the end of it, or another packet.
    body.retain(|byte| !b"$#".contains(byte));
    body
}

#[test]
fn a_debugger_out_of_its_mind_does_no_harm_that_it_could_not_ask_for() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..400 {
        let mut debugged = Debugged::new();
        debugged.wire.put(&packet(HELLO));
        for _ in 0..60 {
            let mut bytes = packet(&body(&mut random));
            match random.below(12) {
                0 => bytes.truncate(random.below(bytes.len())),
                1 => {
                    let at = random.below(bytes.len());
                    bytes[at] ^= 1 << random.below(8);
                }
                2 => bytes.insert(0, 3),
                3 => bytes.push(b'-'),
                _ => {}
            }
            debugged.hears(&bytes);
            happens(&mut debugged, &mut random);
        }
        let answers = debugged.answers(&[b"Tp1.2", b"qfThreadInfo", b"D;1"]);
        assert_eq!((answers[0].as_str(), answers[2].as_str()), ("OK", "OK"));
        assert!(!debugged.stub.is_attached());
    }
}

/// What may happen to a running system at any time.
fn happens(debugged: &mut Debugged, random: &mut Random) {
    debugged.running = Slot::new(u16::try_from(random.below(2)).unwrap());
    debugged.system.kernel.machine.debug_status = random.next() & 0x600f;
    let vector = [1, 3, 6, 13][random.below(4)];
    let happened = match random.below(3) {
        0 => Happened::Fault(Fault::Exception { vector, code: 0 }),
        1 => Happened::Asked,
        _ => Happened::Line,
    };
    let running = Some(debugged.running);
    if debugged.stub.look(&mut debugged.system, running, happened) == Reaction::Stop {
        debugged.pauses();
    }
    let trap = [Trap::Debug, Trap::Breakpoint, Trap::Exception(13)][random.below(3)];
    debugged.stub.trapped(&mut debugged.system, trap, &mut debugged.cpu);
    // The stub takes no more than it sends for.
    let sent = debugged.wire.take();
    replies(&sent);
}

#[test]
fn noise_is_no_debugger_and_takes_none_away() {
    let mut random = Random(0x0123_4567_89ab_cdef);
    for _ in 0..200 {
        let mut debugged = Debugged::new();
        let noise: Vec<u8> = (0..3000).map(|_| random.next().to_le_bytes()[0]).collect();
        debugged.hears(&noise);
        let start = [&noise[..], b"#00"].concat();
        debugged.survives(&start);
    }
}
