//! How the kernel gets its boot image over a serial line: the machine's half of [`abi::serial`].
//!
//! All of it is decided here, without a device: the crate is safe, and the harness tests it against the
//! host's half, over lines that lose, damage and repeat bytes. The kernel gives it bytes and the time.
//!
//! Nothing that comes over the line makes it panic or wait for ever: whatever is not understood is ignored, a
//! host that falls silent leads back to the start, and an image is used only when all of it is right.
#![no_std]
#![forbid(unsafe_code)]

mod image;

use abi::Wire;
use abi::serial::{self, Chunk, Problem, Ready, Run, Start, Want, split};
pub use image::Unpacker;
use image::{Incoming, Taken};
use wire::{Item, Kind, Reader, Record, Writer};

/// How often the machine says that it is ready.
const READY_MS: u64 = 250;
/// Between the bytes of a record there is no such time: what looks like the start of one may be a damaged one that hides
/// others behind it.
const PAUSE_MS: u64 = 150;
/// How long it waits for an answer before it asks again.
const ANSWER_MS: u64 = 400;
/// A host from which nothing comes for so long has gone.
const SILENCE_MS: u64 = 3000;
/// How long the line must be silent before what comes over it is for those who run.
const QUIET_MS: u64 = 100;
/// A line that is never silent is full of noise, and that is nobody's to wait for.
const NOISE_MS: u64 = 1000;
/// Bytes that are asked for at a time. The more, the less does the way to the host and back count; the less, the
/// less is sent again when something was lost.
const WINDOW_BYTES: u32 = 8 * serial::CHUNK_BYTES;

/// Memory for an image.
pub trait Memory {
    /// A part of memory.
    type Block: AsMut<[u8]> + core::fmt::Debug;

    /// Bytes of the largest part that can be had.
    fn room(&self) -> u32;
    /// Takes so many bytes, if they can be had.
    fn take(&mut self, bytes: usize) -> Option<Self::Block>;
    /// Takes a part back.
    fn give(&mut self, block: Self::Block);
}

/// What the machine is, for [`Ready`].
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// CRC-32C of the kernel's code.
    pub kernel: u32,
    /// Bytes of memory.
    pub memory: u64,
}

/// What there is to run.
#[derive(Debug)]
pub struct Job<B> {
    /// The key of the run's records.
    pub key: u64,
    /// How long it may take, in milliseconds.
    pub limit_ms: u32,
    /// The boot image, if there is one.
    pub image: Option<B>,
    /// The command line.
    pub command_line: CommandLine,
}

/// A command line, which may hold any bytes.
#[derive(Clone, Copy, Debug)]
pub struct CommandLine {
    bytes: [u8; serial::COMMAND_LINE_BYTES],
    len: usize,
}

impl CommandLine {
    fn new(from: &[u8]) -> Option<Self> {
        let mut bytes = [0; serial::COMMAND_LINE_BYTES];
        bytes.get_mut(..from.len())?.copy_from_slice(from);
        Some(Self { bytes, len: from.len() })
    }

    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// The machine's half of the line.
#[derive(Debug)]
pub struct Loader<'a, M: Memory> {
    reader: Reader,
    /// When the last byte came.
    byte_at: u64,
    machine: Waiting<'a, M>,
}

/// What it waits for.
#[derive(Debug)]
struct Waiting<'a, M: Memory> {
    about: About,
    memory: M,
    unpacker: &'a mut Unpacker,
    writer: Writer,
    /// The run of the last start, and its command line.
    run: u64,
    command_line: CommandLine,
    state: State<M::Block>,
    /// When it speaks next, if nothing comes before.
    speaks_at: u64,
    /// When something last came that was meant for it.
    heard_at: u64,
}

#[derive(Debug)]
enum State<B> {
    /// It waits for a start.
    Ready(Problem),
    /// It waits for the rest of the image.
    Loading(Pending, Incoming<B>),
    /// It has all, and waits for leave to start.
    Loaded(Pending, Option<B>),
    /// It starts as soon as the line is silent.
    Starting(Pending, Option<B>, Times),
}

/// When a run starts: as soon as one of the two has come.
#[derive(Clone, Copy, Debug)]
struct Times {
    silent: u64,
    latest: u64,
}

/// A run that has not started yet.
#[derive(Clone, Copy, Debug)]
struct Pending {
    run: u64,
    key: u64,
    limit_ms: u32,
}

impl<'a, M: Memory> Loader<'a, M> {
    /// A loader that has heard nothing yet.
    #[must_use]
    pub fn new(about: About, memory: M, unpacker: &'a mut Unpacker) -> Self {
        let machine = Waiting {
            about,
            memory,
            unpacker,
            writer: Writer::new(0),
            run: 0,
            command_line: CommandLine { bytes: [0; _], len: 0 },
            state: State::Ready(Problem::None),
            speaks_at: 0,
            heard_at: 0,
        };
        Self { reader: Reader::new(0), byte_at: 0, machine }
    }

    /// Takes what came over the line, if anything did, and says what is to be said now. Gives what there is to
    /// run when all of it is there and the line is silent; the loader is of no use then.
    ///
    /// `now_ms` never goes back.
    pub fn turn(&mut self, now_ms: u64, byte: Option<u8>, say: &mut impl FnMut(u8)) -> Option<Job<M::Block>> {
        let Self { reader, byte_at, machine } = self;
        if let State::Starting(_, _, times) = &mut machine.state {
            if byte.is_some() {
                times.silent = now_ms + QUIET_MS;
            }
            return if now_ms >= times.silent.min(times.latest) { machine.start() } else { None };
        }
        if let Some(byte) = byte {
            *byte_at = now_ms;
            machine.expect_more(now_ms);
            reader.push(&[byte], &mut |item| machine.see(now_ms, item, say));
        } else if now_ms >= *byte_at + PAUSE_MS {
            reader.end(&mut |item| machine.see(now_ms, item, say));
        }
        if now_ms >= machine.speaks_at {
            machine.speak(now_ms, say);
        }
        None
    }
}

impl<M: Memory> Waiting<'_, M> {
    fn see(&mut self, now_ms: u64, item: Item<'_>, say: &mut impl FnMut(u8)) {
        let Item::Record(Record { kind: Kind(kind), payload, .. }) = item else { return };
        let heard = match kind {
            serial::START => self.prepare(payload),
            serial::CHUNK => self.take(payload),
            serial::GO => self.go(now_ms, payload),
            _ => Heard::Nothing,
        };
        if heard == Heard::Nothing {
            return;
        }
        self.heard_at = now_ms;
        match heard {
            Heard::Enough => self.speak(now_ms, say),
            Heard::Nothing | Heard::More => self.speaks_at = now_ms + ANSWER_MS,
        }
    }

    /// Something comes: it may be what was asked for, on its slow way.
    fn expect_more(&mut self, now_ms: u64) {
        if !matches!(self.state, State::Ready(_)) && now_ms < self.heard_at + SILENCE_MS {
            self.speaks_at = now_ms + ANSWER_MS;
        }
    }

    fn prepare(&mut self, payload: &[u8]) -> Heard {
        // Who is being loaded goes on with that: it comes late, or from another host.
        let State::Ready(_) = self.state else { return Heard::Nothing };
        self.state = self.accept(payload).unwrap_or_else(State::Ready);
        Heard::Enough
    }

    fn accept(&mut self, payload: &[u8]) -> Result<State<M::Block>, Problem> {
        let start = split::<Start>(payload);
        self.run = start.map_or(0, |(start, _)| start.run);
        let (start, words) = start.ok_or(Problem::Unknown)?;
        self.command_line = CommandLine::new(words).ok_or(Problem::Unknown)?;
        if start.version != serial::VERSION
            || start.run == 0
            || start.key == 0
            || (start.has_image && start.packed == 0)
        {
            return Err(Problem::Unknown);
        }
        let pending = Pending { run: start.run, key: start.key, limit_ms: start.limit_ms };
        if !start.has_image {
            return Ok(State::Loaded(pending, None));
        }
        let bytes = usize::try_from(start.unpacked).ok().filter(|_| start.unpacked <= self.memory.room());
        let block = bytes.and_then(|bytes| self.memory.take(bytes)).ok_or(Problem::TooLarge)?;
        self.unpacker.start();
        Ok(State::Loading(pending, Incoming::new(&start, block)))
    }

    fn take(&mut self, payload: &[u8]) -> Heard {
        let State::Loading(pending, incoming) = &mut self.state else { return Heard::Nothing };
        let Some((chunk, bytes)) = split::<Chunk>(payload).filter(|(chunk, _)| chunk.run == pending.run)
        else {
            return Heard::Nothing;
        };
        match incoming.take(self.unpacker, chunk.from, bytes) {
            Taken::Part if !incoming.is_due() => return Heard::More,
            Taken::Part => {}
            Taken::All => {
                self.state = match core::mem::take(&mut self.state) {
                    State::Loading(pending, incoming) => State::Loaded(pending, Some(incoming.into_block())),
                    other => other,
                }
            }
            Taken::Bad => self.give_up(Problem::Damaged),
        }
        Heard::Enough
    }

    fn go(&mut self, now_ms: u64, payload: &[u8]) -> Heard {
        let asked = Run::get(payload);
        let times = Times { silent: now_ms + QUIET_MS, latest: now_ms + NOISE_MS };
        self.state = match core::mem::take(&mut self.state) {
            State::Loaded(pending, image) if asked == Some(Run { run: pending.run }) => {
                State::Starting(pending, image, times)
            }
            other => other,
        };
        if matches!(self.state, State::Starting(..)) { Heard::More } else { Heard::Nothing }
    }

    fn start(&mut self) -> Option<Job<M::Block>> {
        match core::mem::take(&mut self.state) {
            State::Starting(Pending { key, limit_ms, .. }, image, _) => {
                Some(Job { key, limit_ms, image, command_line: self.command_line })
            }
            other => {
                self.state = other;
                None
            }
        }
    }

    fn give_up(&mut self, problem: Problem) {
        let block = match core::mem::replace(&mut self.state, State::Ready(problem)) {
            State::Loading(_, incoming) => Some(incoming.into_block()),
            State::Loaded(_, block) | State::Starting(_, block, _) => block,
            State::Ready(_) => None,
        };
        if let Some(block) = block {
            self.memory.give(block);
        }
    }

    /// Says what it waits for.
    fn speak(&mut self, now_ms: u64, say: &mut impl FnMut(u8)) {
        if now_ms >= self.heard_at + SILENCE_MS && !matches!(self.state, State::Ready(_)) {
            self.give_up(Problem::Silence);
        }
        self.speaks_at = now_ms + ANSWER_MS;
        match &mut self.state {
            State::Ready(problem) => {
                self.speaks_at = now_ms + READY_MS;
                let ready = Ready {
                    version: serial::VERSION,
                    fingerprint: abi::protocols::FINGERPRINT,
                    kernel: self.about.kernel,
                    memory: self.about.memory,
                    room: self.memory.room(),
                    run: self.run,
                    problem: *problem,
                };
                put(&mut self.writer, serial::READY, &ready, say);
            }
            State::Loading(Pending { run, .. }, incoming) => {
                let (from, to) = incoming.ask();
                put(&mut self.writer, serial::WANT, &Want { run: *run, from, to }, say);
            }
            State::Loaded(Pending { run, .. }, _) => {
                put(&mut self.writer, serial::LOADED, &Run { run: *run }, say);
            }
            State::Starting(..) => {}
        }
    }
}

impl<B> Default for State<B> {
    fn default() -> Self {
        Self::Ready(Problem::None)
    }
}

fn put<T: Wire>(writer: &mut Writer, kind: u8, fields: &T, say: &mut impl FnMut(u8)) {
    let mut payload = [0; 64];
    fields.put(&mut payload[..T::SIZE]);
    writer.record(Kind(kind), &payload[..T::SIZE], say).expect("a record has room for 64 bytes");
}

/// What a record means for what is said next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    /// Nothing.
    Nothing,
    /// It was waited for, and so is more.
    More,
    /// Something is to be said at once.
    Enough,
}
