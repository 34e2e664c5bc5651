//! The host's half of [`abi::serial`]: answers what a machine says, and tells what it gives.
//!
//! It waits for nothing and repeats nothing by itself, as the machine does that; it only answers.

use abi::Wire;
use abi::report::Report;
use abi::serial::{self, Chunk, Ready, Run, Start, Want};
use wire::{Item, Kind, Reader, Record, Writer};

/// A run to be made.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its number, never 0.
    pub run: u64,
    /// The key of its records, never 0.
    pub key: u64,
    /// How long it may take, in milliseconds.
    pub limit_ms: u32,
    /// The kernel's parameters.
    pub command_line: Vec<u8>,
    /// The boot image, if there is one.
    pub image: Option<Packed>,
}

/// A boot image as it is sent.
#[derive(Clone, Debug)]
pub struct Packed {
    pub(super) bytes: Vec<u8>,
    pub(super) unpacked: u32,
    pub(super) checksum: u32,
}

impl Packed {
    /// Packs an image; `None` if no machine could take it.
    #[must_use]
    pub fn new(image: &[u8]) -> Option<Self> {
        /// Of 10, and what is above gains nothing.
        const LEVEL: u8 = 9;
        let bytes = miniz_oxide::deflate::compress_to_vec(image, LEVEL);
        u32::try_from(bytes.len()).ok()?;
        let unpacked = u32::try_from(image.len()).ok()?;
        Some(Self { bytes, unpacked, checksum: wire::CRC.checksum(image) })
    }

    /// Bytes that go over the line.
    #[must_use]
    pub fn packed(&self) -> u32 {
        u32::try_from(self.bytes.len()).expect("`new` has checked it")
    }

    /// Bytes of the image.
    #[must_use]
    pub fn unpacked(&self) -> u32 {
        self.unpacked
    }
}

/// What a machine gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It waits for a run. During a run: it was reset, and has answered a question that was asked by [`Host::ask`].
    Ready(Ready),
    /// It has started the run.
    Started,
    /// Bytes of the run's console.
    Console(Vec<u8>),
    /// Bytes of no run.
    Noise(Vec<u8>),
    /// Bytes of the kernel's log.
    Log(Vec<u8>),
    /// The kernel reports something. The last one of a run is [`Report::End`].
    Report(Report),
    /// A record of the run's kernel means nothing.
    Unknown {
        /// The number of its kind.
        kind: u8,
        /// Bytes of its payload.
        bytes: usize,
    },
    /// Records of the run were lost.
    Lost {
        /// The number of the first of them.
        expected: u32,
        /// The number of the one behind them.
        found: u32,
    },
}

/// The host's end of a line.
#[derive(Debug)]
pub struct Host {
    /// For records of anybody's.
    open: Reader,
    /// For those of the run, if there is one.
    keyed: Option<Reader>,
    answers: Answers,
}

#[derive(Debug)]
struct Answers {
    writer: Writer,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    /// There is nothing to run.
    Idle {
        /// The machine was ready when it was last heard of.
        is_ready: bool,
    },
    /// The machine is given what it shall run.
    Loading(Plan),
    /// It was told to start, and may have.
    Going(Plan),
    /// It runs.
    Running(Running),
    /// The run is over.
    Ended,
}

#[derive(Debug)]
struct Running {
    /// The number of its next record.
    next: u32,
    /// What came since the machine was said to be ready: it was reset, or that was printed.
    doubtful: Vec<u8>,
    /// How much of it may come: a machine that was reset says no more before it is asked.
    doubtful_limit: usize,
    /// What it was asked since then, see [`serial::PROBE`].
    questions: Vec<u64>,
}

/// What firmware and boot loader of a machine may say when it was reset.
const DOUBTFUL_BYTES: usize = 64 * 1024;

impl Running {
    fn new(plan: &Plan) -> Self {
        // A machine that is ready says less than a byte a millisecond.
        let while_ready = usize::try_from(plan.limit_ms).unwrap_or(usize::MAX);
        let doubtful_limit = DOUBTFUL_BYTES.saturating_add(while_ready);
        Self { next: 0, doubtful: Vec::new(), doubtful_limit, questions: Vec::new() }
    }

    /// It still runs, so everything was printed.
    fn trust(&mut self, tell: &mut impl FnMut(Heard)) {
        self.questions.clear();
        if !self.doubtful.is_empty() {
            tell(Heard::Console(std::mem::take(&mut self.doubtful)));
        }
    }

    fn see_bytes(&mut self, bytes: Vec<u8>, tell: &mut impl FnMut(Heard)) {
        if self.doubtful.is_empty() {
            return tell(Heard::Console(bytes));
        }
        self.doubt(bytes, tell);
    }

    fn doubt(&mut self, bytes: Vec<u8>, tell: &mut impl FnMut(Heard)) {
        self.doubtful.extend(bytes);
        if self.doubtful.len() > self.doubtful_limit {
            self.trust(tell);
        }
    }
}

impl Default for Host {
    fn default() -> Self {
        let answers = Answers { writer: Writer::new(0), phase: Phase::Idle { is_ready: false } };
        Self { open: Reader::new(0), keyed: None, answers }
    }
}

impl Host {
    /// Gives the machine something to run, now or as soon as it is ready.
    pub fn offer(&mut self, plan: Plan, say: &mut impl FnMut(&[u8])) {
        self.keyed = Some(Reader::new(plan.key));
        if let Phase::Idle { is_ready: true } = self.answers.phase {
            self.answers.start(&plan, say);
        }
        self.answers.phase = Phase::Loading(plan);
    }

    /// Takes bytes, says what is to be answered, and tells what they mean.
    pub fn hear(&mut self, bytes: &[u8], say: &mut impl FnMut(&[u8]), tell: &mut impl FnMut(Heard)) {
        let Self { open, keyed, answers } = self;
        match keyed {
            Some(keyed) => keyed.push(bytes, &mut |item| answers.sort(open, item, say, tell)),
            None => open.push(bytes, &mut |item| answers.see(item, say, tell)),
        }
    }

    /// Asks whether the machine has started anew, if it was said to be ready since the run's last record; tells whether
    /// it did ask. Whoever else reads the question could answer it, so it must be asked when no program runs any more: when
    /// the kernel would have ended the run, and said so. `question` is a number that nobody knows.
    pub fn ask(&mut self, question: u64, say: &mut impl FnMut(&[u8])) -> bool {
        match &mut self.answers.phase {
            Phase::Running(running) if !running.doubtful.is_empty() => running.questions.push(question),
            _ => return false,
        }
        self.answers.put(serial::START, &Start { run: question, ..PROBE }, &[], say);
        true
    }

    /// The run is given up: what may have been printed was. A machine that gets ready later is not to be given it.
    pub fn give_up(&mut self, tell: &mut impl FnMut(Heard)) {
        self.pause(&mut |_| {}, tell);
        match &mut self.answers.phase {
            Phase::Running(running) => running.trust(tell),
            Phase::Loading(_) | Phase::Going(_) => {}
            Phase::Idle { .. } | Phase::Ended => return,
        }
        self.answers.phase = Phase::Idle { is_ready: false };
    }

    /// If a record of the run may have begun and has no end yet: which byte of all that came since the run was offered
    /// it starts with.
    #[must_use]
    pub fn held_from(&self) -> Option<u64> {
        self.keyed.as_ref().and_then(Reader::held_from)
    }

    /// Nothing came for a while: what may be the start of a record is none.
    pub fn pause(&mut self, say: &mut impl FnMut(&[u8]), tell: &mut impl FnMut(Heard)) {
        let Self { open, keyed, answers } = self;
        if let Some(keyed) = keyed {
            keyed.end(&mut |item| answers.sort(open, item, say, tell));
        }
        open.end(&mut |item| answers.see(item, say, tell));
    }
}

impl Answers {
    /// Takes what is the run's, and hands on what isn't.
    fn sort(
        &mut self,
        open: &mut Reader,
        item: Item<'_>,
        say: &mut impl FnMut(&[u8]),
        tell: &mut impl FnMut(Heard),
    ) {
        match item {
            Item::Bytes(bytes) => open.push(bytes, &mut |item| self.see(item, say, tell)),
            Item::Record(record) => {
                // What came before it is no part of it.
                open.end(&mut |item| self.see(item, say, tell));
                self.see_of_run(record, tell);
            }
        }
    }

    fn see_of_run(&mut self, record: Record<'_>, tell: &mut impl FnMut(Heard)) {
        if let Phase::Going(plan) = &self.phase {
            self.phase = Phase::Running(Running::new(plan));
            tell(Heard::Started);
        }
        // Before it was told to, no machine starts; and behind the end there is nothing.
        let Phase::Running(running) = &mut self.phase else { return };
        running.trust(tell);
        let Record { sequence, kind: Kind(kind), payload } = record;
        let expected = running.next;
        let lost = sequence.wrapping_sub(expected);
        // One that came twice. None of a run are so many that half of all numbers are lost.
        if lost > u32::MAX / 2 {
            return;
        }
        if lost > 0 {
            tell(Heard::Lost { expected, found: sequence });
        }
        running.next = sequence.wrapping_add(1);
        match (kind, Report::get(kind, payload)) {
            (serial::STARTED, _) => {}
            (serial::LOG, _) => tell(Heard::Log(payload.to_vec())),
            (_, Some(report)) => {
                if matches!(report, Report::End(_)) {
                    self.phase = Phase::Ended;
                }
                tell(Heard::Report(report));
            }
            (kind, None) => tell(Heard::Unknown { kind, bytes: payload.len() }),
        }
    }

    fn see(&mut self, item: Item<'_>, say: &mut impl FnMut(&[u8]), tell: &mut impl FnMut(Heard)) {
        match (item, &mut self.phase) {
            (Item::Bytes(bytes), Phase::Running(running)) => running.see_bytes(bytes.to_vec(), tell),
            (Item::Bytes(bytes), _) => tell(Heard::Noise(bytes.to_vec())),
            (Item::Record(record), Phase::Running(_)) => self.see_in_run(record, say, tell),
            (Item::Record(Record { kind: Kind(kind), payload, .. }), _) => match kind {
                serial::READY => {
                    if let Some(ready) = Ready::get(payload) {
                        self.ready(ready, say, tell);
                    }
                }
                serial::WANT => self.want(payload, say),
                serial::LOADED => self.loaded(payload, say),
                _ => {}
            },
        }
    }

    /// A record of anybody's comes in the middle of the run.
    fn see_in_run(&mut self, record: Record<'_>, say: &mut impl FnMut(&[u8]), tell: &mut impl FnMut(Heard)) {
        let Phase::Running(running) = &mut self.phase else { return };
        let ready = if record.kind == Kind(serial::READY) { Ready::get(record.payload) } else { None };
        match ready {
            Some(ready) if running.questions.contains(&ready.run) => self.ready(ready, say, tell),
            Some(_) => running.doubt(bytes_of(record), tell),
            None => running.see_bytes(bytes_of(record), tell),
        }
    }

    fn take_phase(&mut self) -> Phase {
        std::mem::replace(&mut self.phase, Phase::Idle { is_ready: false })
    }

    fn ready(&mut self, ready: Ready, say: &mut impl FnMut(&[u8]), tell: &mut impl FnMut(Heard)) {
        self.phase = match self.take_phase() {
            Phase::Loading(plan) | Phase::Going(plan) => {
                self.start(&plan, say);
                Phase::Loading(plan)
            }
            Phase::Running(_) | Phase::Ended | Phase::Idle { .. } => Phase::Idle { is_ready: true },
        };
        tell(Heard::Ready(ready));
    }

    fn start(&mut self, plan: &Plan, say: &mut impl FnMut(&[u8])) {
        let image = plan.image.as_ref();
        let start = Start {
            version: serial::VERSION,
            run: plan.run,
            key: plan.key,
            limit_ms: plan.limit_ms,
            has_image: image.is_some(),
            packed: image.map_or(0, Packed::packed),
            unpacked: image.map_or(0, Packed::unpacked),
            checksum: image.map_or(0, |image| image.checksum),
        };
        self.put(serial::START, &start, &plan.command_line, say);
    }

    fn want(&mut self, payload: &[u8], say: &mut impl FnMut(&[u8])) {
        let Phase::Loading(Plan { run, image: Some(image), .. }) = &self.phase else { return };
        let (run, Some(want)) = (*run, Want::get(payload).filter(|want| want.run == *run)) else { return };
        let range = usize::try_from(want.from).ok().zip(usize::try_from(want.to).ok());
        let Some(bytes) = range.and_then(|(from, to)| image.bytes.get(from..to)) else { return };
        let bytes = bytes.to_vec();
        let mut from = want.from;
        for part in bytes.chunks(CHUNK_BYTES) {
            self.put(serial::CHUNK, &Chunk { run, from }, part, say);
            from += serial::CHUNK_BYTES;
        }
    }

    fn loaded(&mut self, payload: &[u8], say: &mut impl FnMut(&[u8])) {
        self.phase = match self.take_phase() {
            Phase::Loading(plan) | Phase::Going(plan) if Run::get(payload) == Some(Run { run: plan.run }) => {
                self.put(serial::GO, &Run { run: plan.run }, &[], say);
                Phase::Going(plan)
            }
            other => other,
        };
    }

    fn put<T: Wire>(&mut self, kind: u8, fields: &T, more: &[u8], say: &mut impl FnMut(&[u8])) {
        let mut payload = vec![0; T::SIZE];
        fields.put(&mut payload);
        payload.extend_from_slice(more);
        let mut bytes = Vec::new();
        // What doesn't fit is what no machine would take: it says nothing to it, and that is told.
        if self.writer.record(Kind(kind), &payload, &mut |byte| bytes.push(byte)).is_ok() {
            say(&bytes);
        }
    }
}

/// The bytes of a record of anybody's, as they came.
fn bytes_of(record: Record<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let put = &mut |byte| bytes.push(byte);
    let written = Writer::from(0, record.sequence).record(record.kind, record.payload, put);
    written.expect("it was a record before");
    bytes
}

/// A start of nothing.
const PROBE: Start = Start {
    version: serial::PROBE,
    run: 0,
    key: 0,
    limit_ms: 0,
    has_image: false,
    packed: 0,
    unpacked: 0,
    checksum: 0,
};

const CHUNK_BYTES: usize = 1000;
const _: () = assert!(CHUNK_BYTES as u64 == serial::CHUNK_BYTES as u64);
