//! A line between gdb and a machine that loses, changes and doubles bytes, in both directions.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// One of so many packets and acknowledgements is harmed.
const RARITY: u64 = 20;

/// What a line does to what goes over it.
#[derive(Clone, Copy)]
pub(crate) enum Harm {
    /// One of [`RARITY`] packets and acknowledgements has one byte lost, changed or doubled. The same ones for the same seed.
    Noise { seed: u64 },
    /// Word that the system has stopped is lost, so often.
    LosesStops { times: u32 },
    /// It arrives twice, as when gdb interrupts a system that has just stopped by itself.
    DoublesStops,
}

/// A line between gdb and a machine that isn't what it should be.
pub(crate) struct Line {
    directory: tempfile::TempDir,
    /// How often it did harm.
    pub(crate) count: Arc<AtomicU32>,
}

impl Line {
    pub(crate) fn to(machine: PathBuf, harm: Harm) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let listener = UnixListener::bind(directory.path().join("line")).expect("a socket");
        let count = Arc::new(AtomicU32::new(0));
        let wires = [0, 1].map(|index| Wire::new(harm, index, &count));
        // It ends with the test.
        std::thread::spawn(move || carry(&listener, &machine, wires));
        Self { directory, count }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("line")
    }
}

/// Carries what each gdb that connects and the machine say to each other, one gdb after the other.
fn carry(listener: &UnixListener, machine: &Path, [forth, back]: [Wire; 2]) {
    let (mut forth, mut back) = (forth, back);
    while let Ok((gdb, _)) = listener.accept() {
        let Ok(machine) = UnixStream::connect(machine) else { return };
        std::thread::scope(|scope| {
            scope.spawn(|| back.carry(&machine, &gdb));
            forth.carry(&gdb, &machine);
        });
    }
}

/// One direction of a line.
struct Wire {
    harm: Harm,
    random: Random,
    count: Arc<AtomicU32>,
}

impl Wire {
    fn new(harm: Harm, index: u64, count: &Arc<AtomicU32>) -> Self {
        let seed = if let Harm::Noise { seed } = harm { seed } else { 0 };
        Self { harm, random: Random(2 * seed + index + 1), count: Arc::clone(count) }
    }

    /// Carries bytes until one end hangs up, which the other is told.
    fn carry(&mut self, mut from: &UnixStream, mut to: &UnixStream) {
        let (mut waiting, mut buffer) = (Vec::new(), [0; 4096]);
        while let Ok(size @ 1..) = from.read(&mut buffer) {
            waiting.extend_from_slice(&buffer[..size]);
            while let Some(end) = end_of_first(&waiting) {
                let whole: Vec<u8> = waiting.drain(..end).collect();
                // Where nobody hears it any longer, the other direction ends as well, and closes this one.
                let _ = to.write_all(&self.as_it_arrives(whole));
            }
        }
        for end in [from, to] {
            // It fails only if it is closed.
            let _ = end.shutdown(Shutdown::Both);
        }
    }

    /// What arrives of a packet, or of a byte outside of one. One byte of it is harmed at most: two could leave the sum as
    /// it was.
    fn as_it_arrives(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        let harm = self.harm;
        match harm {
            Harm::Noise { .. } if self.random.below(RARITY) == 0 => {
                let place = usize::try_from(self.random.below(bytes.len() as u64)).expect("an index");
                match self.random.below(3) {
                    0 => drop(bytes.remove(place)),
                    1 => bytes[place] ^= 1 << self.random.below(7),
                    _ => bytes.insert(place, bytes[place]),
                }
            }
            // What gdb asks for when it attaches it gets.
            _ if !bytes.starts_with(STOP_AT_BREAKPOINT) => return bytes,
            Harm::LosesStops { times } if self.count.load(Ordering::Relaxed) < times => bytes.clear(),
            Harm::DoublesStops => bytes = bytes.repeat(2),
            _ => return bytes,
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        bytes
    }
}

/// What looks random and is the same each time (Marsaglia's xorshift).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// How word of a breakpoint that was met begins.
const STOP_AT_BREAKPOINT: &[u8] = b"$T05thread:p01.12;swbreak";

/// Where the first packet of these bytes ends, or the first byte that is in none.
fn end_of_first(bytes: &[u8]) -> Option<usize> {
    if *bytes.first()? != b'$' {
        return Some(1);
    }
    let end = bytes.iter().position(|byte| *byte == b'#')? + 3;
    (bytes.len() >= end).then_some(end)
}
