use super::host::{Heard, Host, Packed, Plan};
use abi::boot::ExitCode;
use abi::report::{End, Report};
use abi::serial::{self, Problem, Ready};
use fastrand::Rng;
use kernel_loader::{About, Job, Loader, Memory, Unpacker};
use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;
use wire::{Kind, Writer};

const RUN: u64 = 0x0123_4567_89ab_cdef;
const KEY: u64 = 0xfedc_ba98_7654_3210;
const PROBE: u64 = 0xfedc_ba98_7654_3210;
const LIMIT_MS: u32 = 20_000;
const COMMAND_LINE: &[u8] = b"processes=64 \xff";
const ROOM: u32 = 100_000;
/// As many bytes as a line of 115200 bits a second carries in a millisecond.
const BYTES_A_MS: usize = 11;

/// Memory that counts what has been taken of it.
#[derive(Debug, Default)]
struct Room(Rc<Cell<usize>>);

impl Memory for Room {
    type Block = Vec<u8>;

    fn room(&self) -> u32 {
        ROOM
    }

    fn take(&mut self, bytes: usize) -> Option<Vec<u8>> {
        self.0.set(self.0.get() + 1);
        Some(vec![0xee; bytes])
    }

    fn give(&mut self, _: Vec<u8>) {
        self.0.set(self.0.get() - 1);
    }
}

/// Bytes that don't pack, the same in each run.
fn noise(random: &mut Rng, count: usize) -> Vec<u8> {
    (0..count).map(|_| random.u8(..)).collect()
}

/// What becomes of a byte on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    Lost,
    Flipped(u8),
    Twice,
    /// It comes behind the one that follows it.
    Swapped,
    /// Others come before it.
    Noise(u8),
}

/// One direction of the line: the bytes on their way, and how many have been sent.
#[derive(Default)]
struct Wire {
    bytes: VecDeque<u8>,
    sent: usize,
    held: Option<u8>,
}

impl Wire {
    fn send(&mut self, byte: u8, fault: Fault) {
        self.sent += 1;
        let held = self.held.take();
        match fault {
            Fault::None => self.bytes.push_back(byte),
            Fault::Lost => {}
            Fault::Flipped(bit) => self.bytes.push_back(byte ^ 1 << bit),
            Fault::Twice => self.bytes.extend([byte, byte]),
            Fault::Swapped => self.held = Some(byte),
            Fault::Noise(noise) => self.bytes.extend([0x1e, b'T', noise, byte]),
        }
        self.bytes.extend(held);
    }

    fn take(&mut self) -> Vec<u8> {
        self.bytes.drain(..self.bytes.len().min(BYTES_A_MS)).collect()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    ToMachine,
    ToHost,
}

/// A machine and a host with a line between them, and a clock.
struct Bench<'a> {
    now_ms: u64,
    loader: Loader<'a, Room>,
    taken: Rc<Cell<usize>>,
    host: Host,
    heard: Vec<Heard>,
    to_machine: Wire,
    to_host: Wire,
    silent_ms: u64,
}

impl<'a> Bench<'a> {
    fn new(unpacker: &'a mut Unpacker) -> Self {
        let taken = Rc::new(Cell::new(0));
        let loader = Loader::new(About { kernel: 7, memory: 1 << 26 }, Room(Rc::clone(&taken)), unpacker);
        Self {
            now_ms: 0,
            loader,
            taken,
            host: Host::default(),
            heard: vec![],
            to_machine: Wire::default(),
            to_host: Wire::default(),
            silent_ms: 0,
        }
    }

    fn offer(&mut self, plan: Plan) {
        self.host.offer(plan, &mut |_| panic!("the machine has not said that it is ready"));
    }

    /// A millisecond passes.
    fn turn(&mut self, fault: &mut impl FnMut(Direction, usize) -> Fault) -> Option<Job<Vec<u8>>> {
        self.now_ms += 1;
        let mut job = None;
        let Self { loader, to_machine, to_host, now_ms, host, heard, silent_ms, .. } = self;
        let mut to = |wire: &mut Wire, direction, byte| {
            let fault = fault(direction, wire.sent);
            wire.send(byte, fault);
        };
        for byte in to_machine.take().into_iter().map(Some).chain([None]) {
            let turned = loader.turn(*now_ms, byte, &mut |byte| to(to_host, Direction::ToHost, byte));
            job = job.or(turned);
        }
        let bytes = to_host.take();
        let mut say =
            |bytes: &[u8]| bytes.iter().for_each(|byte| to(to_machine, Direction::ToMachine, *byte));
        let mut tell = |event| {
            if !matches!(event, Heard::Noise(_)) {
                heard.push(event);
            }
        };
        *silent_ms = if bytes.is_empty() { *silent_ms + 1 } else { 0 };
        host.hear(&bytes, &mut say, &mut tell);
        if *silent_ms > 0 && silent_ms.is_multiple_of(100) {
            host.pause(&mut say, &mut tell);
        }
        job
    }

    /// Lets time pass until there is something to run, but not more than `limit_ms`.
    fn load(
        &mut self,
        limit_ms: u64,
        mut fault: impl FnMut(Direction, usize) -> Fault,
    ) -> Option<Job<Vec<u8>>> {
        (0..limit_ms).find_map(|_| self.turn(&mut fault))
    }
}

fn plan(image: Option<&[u8]>) -> Plan {
    let image = image.map(|image| Packed::new(image).expect("it is small"));
    Plan { run: RUN, key: KEY, limit_ms: LIMIT_MS, command_line: COMMAND_LINE.to_vec(), image }
}

/// Loads an image over a line with faults, and checks that it arrives. How long that took, and how many bytes went where.
fn check_load(image: Option<&[u8]>, fault: impl FnMut(Direction, usize) -> Fault) -> (u64, usize, usize) {
    let mut unpacker = Unpacker::default();
    let mut bench = Bench::new(&mut unpacker);
    bench.offer(plan(image));
    let job = bench.load(100_000, fault).expect("the image arrives");
    assert_eq!((job.key, job.limit_ms, job.command_line.as_slice()), (KEY, LIMIT_MS, COMMAND_LINE));
    assert_eq!(job.image.as_deref(), image);
    assert_eq!(bench.taken.get(), usize::from(image.is_some()), "memory is lost");
    (bench.now_ms, bench.to_machine.sent, bench.to_host.sent)
}

fn no_fault(_: Direction, _: usize) -> Fault {
    Fault::None
}

#[test]
fn an_image_of_any_size_arrives() {
    let noise = noise(&mut Rng::with_seed(1), 30_000);
    for size in [0, 1, 990, 1000, 1001, 7995, 8000, 8001, 30_000] {
        check_load(Some(&noise[..size]), no_fault);
    }
    check_load(Some(&[0; ROOM as usize]), no_fault);
    // The end of what is packed falls on any place of the last chunk, and of the one before it.
    for size in 985..1010 {
        check_load(Some(&noise[..size]), no_fault);
        let text: Vec<u8> = noise[..size * 2].iter().map(|byte| byte & 0xf).collect();
        check_load(Some(&text), no_fault);
    }
    check_load(None, no_fault);
}

#[test]
fn a_line_is_used_well() {
    let noise = noise(&mut Rng::with_seed(2), 60_000);
    let (ms, to_machine, to_host) = check_load(Some(&noise), no_fault);
    // A byte more in a hundred, and little time in which the line is idle.
    assert!(to_machine < 62_000 && to_host < 500, "{to_machine} bytes there, {to_host} back");
    assert!(ms < 6000, "{ms} ms");
}

#[test]
fn any_single_fault_is_healed() {
    let image = noise(&mut Rng::with_seed(3), 1100);
    let (_, to_machine, to_host) = check_load(Some(&image), no_fault);
    for (direction, count) in [(Direction::ToMachine, to_machine), (Direction::ToHost, to_host)] {
        for place in 0..count {
            let bit = u8::try_from(place % 8).expect("below 8");
            let faults = [Fault::Lost, Fault::Flipped(bit), Fault::Twice, Fault::Swapped, Fault::Noise(bit)];
            for fault in faults {
                let hits = |at, sent| if (at, sent) == (direction, place) { fault } else { Fault::None };
                let (ms, ..) = check_load(Some(&image), hits);
                assert!(ms < 3000, "{ms} ms after {fault:?} at {place} {direction:?}");
            }
        }
    }
}

#[test]
fn lines_with_many_faults_are_healed() {
    for seed in 1..60 {
        let mut random = Rng::with_seed(seed);
        let size = random.usize(..20_000);
        let image = noise(&mut random, size);
        let every = random.u32(4000..44_000);
        check_load(Some(&image), |_, _| match random.u32(..every) {
            0 => Fault::Lost,
            1 => Fault::Flipped(random.u8(..8)),
            2 => Fault::Twice,
            3 => Fault::Swapped,
            4 => Fault::Noise(random.u8(..)),
            _ => Fault::None,
        });
    }
}

#[test]
fn a_break_of_any_length_is_healed() {
    let image = noise(&mut Rng::with_seed(4), 3000);
    for start in (0..3600).step_by(90) {
        for length in [3, 40, 700, 1500] {
            let fault = |direction, sent: usize| match direction {
                Direction::ToMachine if (start..start + length).contains(&sent) => Fault::Lost,
                _ => Fault::None,
            };
            check_load(Some(&image), fault);
        }
    }
}

#[test]
fn a_machine_whose_host_has_gone_is_ready_for_the_next_one() {
    let image = noise(&mut Rng::with_seed(5), 4000);
    let (_, sent, _) = check_load(Some(&image), no_fault);
    // Behind the start, without which it has heard of no run.
    for last in (70..sent - 1).step_by(61) {
        let mut unpacker = Unpacker::default();
        let mut bench = Bench::new(&mut unpacker);
        bench.offer(plan(Some(&image)));
        let cut = |direction, at| match direction {
            Direction::ToMachine if at >= last => Fault::Lost,
            _ => Fault::None,
        };
        assert!(bench.load(6000, cut).is_none());
        let Some(Heard::Ready(ready)) = bench.heard.last() else { panic!("{:?}", bench.heard) };
        assert_eq!((ready.problem, bench.taken.get()), (Problem::Silence, 0), "cut at {last}");
        // The next host has another image, and finds the line as it is.
        bench.host = Host::default();
        bench.offer(plan(Some(b"another one")));
        let job = bench.load(6000, no_fault).expect("it arrives");
        assert_eq!(job.image.as_deref(), Some(&b"another one"[..]));
        assert_eq!(bench.taken.get(), 1);
    }
}

#[test]
fn a_line_full_of_old_bytes_is_no_obstacle() {
    let mut random = Rng::with_seed(6);
    let image = noise(&mut random, 2000);
    for _ in 0..40 {
        let mut unpacker = Unpacker::default();
        let mut bench = Bench::new(&mut unpacker);
        let count = random.usize(..5000);
        let mut old = noise(&mut random, count);
        // Half a record, which claims that many bytes follow.
        old.extend(b"\x1eT\x49\0\0\0\0\xff\x03");
        bench.to_machine.bytes.extend(&old);
        bench.to_host.bytes.extend(&old);
        bench.offer(plan(Some(&image)));
        let job = bench.load(10_000, no_fault).expect("it arrives");
        assert_eq!(job.image.as_deref(), Some(&image[..]));
    }
}

/// The bytes of a record.
fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![];
    Writer::new(0).record(Kind(kind), payload, &mut |byte| bytes.push(byte)).expect("it fits");
    bytes
}

#[test]
fn a_machine_refuses_what_it_cannot_take() {
    let start = |change: fn(&mut serial::Start)| {
        let mut start = serial::Start {
            version: serial::VERSION,
            run: RUN,
            key: KEY,
            limit_ms: 1,
            has_image: true,
            packed: 100,
            unpacked: 200,
            checksum: 0,
        };
        change(&mut start);
        let mut payload = [0; <serial::Start as abi::Wire>::SIZE];
        abi::Wire::put(&start, &mut payload);
        payload.to_vec()
    };
    let with_long_line = [start(|_| {}), vec![b' '; serial::COMMAND_LINE_BYTES + 1]].concat();
    let cases = [
        (start(|start| start.version = serial::VERSION + 1), Problem::Unknown),
        (start(|start| start.run = 0), Problem::Unknown),
        (start(|start| start.key = 0), Problem::Unknown),
        (start(|start| start.packed = 0), Problem::Unknown),
        (start(|start| start.unpacked = ROOM + 1), Problem::TooLarge),
        (start(|start| start.unpacked = u32::MAX), Problem::TooLarge),
        (start(|_| {})[1..].to_vec(), Problem::Unknown),
        (with_long_line, Problem::Unknown),
    ];
    for (payload, problem) in cases {
        let mut unpacker = Unpacker::default();
        let mut bench = Bench::new(&mut unpacker);
        bench.to_machine.bytes.extend(record(serial::START, &payload));
        assert!(bench.load(1000, no_fault).is_none());
        let Some(Heard::Ready(ready)) = bench.heard.last() else { panic!("{:?}", bench.heard) };
        assert_eq!((ready.problem, bench.taken.get()), (problem, 0));
    }
}

#[test]
fn an_image_that_is_not_what_was_announced_does_not_start() {
    let image = noise(&mut Rng::with_seed(7), 2500);
    let damage: [fn(&mut Packed); 5] = [
        |packed| packed.checksum ^= 1,
        |packed| packed.unpacked += 1,
        |packed| packed.unpacked -= 1,
        |packed| packed.bytes.truncate(2400),
        |packed| packed.bytes.push(0),
    ];
    for damage in damage {
        let mut unpacker = Unpacker::default();
        let mut bench = Bench::new(&mut unpacker);
        let mut plan = plan(Some(&image));
        damage(plan.image.as_mut().expect("there is one"));
        bench.offer(plan);
        assert!(bench.load(2000, no_fault).is_none());
        let is_refused =
            |heard: &Heard| matches!(heard, Heard::Ready(Ready { problem: Problem::Damaged, .. }));
        assert!(bench.heard.iter().any(is_refused));
    }
}

#[test]
fn noise_starts_nothing_and_fills_nothing() {
    for seed in 1..20 {
        let mut random = Rng::with_seed(seed);
        let mut unpacker = Unpacker::default();
        let mut bench = Bench::new(&mut unpacker);
        bench.offer(plan(Some(b"image")));
        for _ in 0..2000 {
            let mut bytes = noise(&mut random, BYTES_A_MS);
            if random.u8(..3) == 0 {
                bytes.splice(..2, *b"\x1eT");
            }
            assert!(bench.loader.turn(bench.now_ms, bytes.first().copied(), &mut |_| {}).is_none());
            bench.host.hear(&bytes, &mut |_| panic!("it asked for nothing"), &mut |heard| {
                assert!(matches!(heard, Heard::Noise(_)), "{heard:?}");
            });
            bench.now_ms += 1;
        }
        // Both go on as if nothing had been.
        assert!(bench.load(10_000, no_fault).is_some());
    }
}

/// A program that has started may read what the host says late.
#[test]
fn the_key_goes_over_the_line_in_the_start_only() {
    let has_key = |said: &[u8]| said.windows(8).any(|bytes| bytes == KEY.to_le_bytes());
    let mut host = Host::default();
    host.offer(plan(Some(&[1; 3000])), &mut |_| panic!("the machine has not said that it is ready"));
    let mut answer = |bytes: &[u8]| {
        let mut said = vec![];
        host.hear(bytes, &mut |bytes| said.extend_from_slice(bytes), &mut |_| {});
        assert!(!said.is_empty());
        said
    };
    assert!(has_key(&answer(&ready_bytes(0))));
    let mut want = [0; <serial::Want as abi::Wire>::SIZE];
    abi::Wire::put(&serial::Want { run: RUN, from: 0, to: 1 }, &mut want);
    for asked in [record(serial::WANT, &want), record(serial::LOADED, &RUN.to_le_bytes())] {
        // However often it asks.
        for _ in 0..2 {
            assert!(!has_key(&answer(&asked)));
        }
    }
}

/// A run as the kernel gives it: `parts` are records with a kind, or bytes.
struct Kernel {
    writer: Writer,
    bytes: Vec<u8>,
}

impl Kernel {
    fn new(run: u64) -> Self {
        Self { writer: Writer::new(run), bytes: vec![] }
    }

    fn record(mut self, kind: u8, payload: &[u8]) -> Self {
        let Self { writer, bytes } = &mut self;
        writer.record(Kind(kind), payload, &mut |byte| bytes.push(byte)).expect("it fits");
        self
    }

    fn print(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend(bytes);
        self
    }

    fn end(self) -> Self {
        let mut payload = [0; Report::PAYLOAD_LIMIT];
        let (kind, payload) = END.put(&mut payload);
        self.record(kind, payload)
    }
}

const END: Report = Report::End(End { code: ExitCode::Success, busy_ns: 1, idle_ns: 2 });

/// What a host tells of a machine that was told to go and says this. Nothing is said to a machine that runs.
fn hear_run(pieces: &[&[u8]]) -> Vec<Heard> {
    let mut unpacker = Unpacker::default();
    let mut bench = Bench::new(&mut unpacker);
    bench.offer(plan(None));
    assert!(bench.load(2000, no_fault).is_some());
    bench.heard.clear();
    let (host, heard) = (&mut bench.host, &mut bench.heard);
    let mut tell = |event| match (heard.last_mut(), event) {
        (Some(Heard::Console(before)), Heard::Console(bytes)) => before.extend(bytes),
        (_, Heard::Noise(_)) => {}
        (_, event) => heard.push(event),
    };
    for piece in pieces {
        host.hear(piece, &mut |_| panic!("a program may read it"), &mut tell);
    }
    host.give_up(&mut tell);
    bench.heard
}

#[test]
fn a_run_is_told_in_order() {
    let run = Kernel::new(KEY)
        .print(b"before")
        .record(serial::STARTED, b"")
        .record(serial::LOG, b"I kernel: hello\n");
    let run =
        run.print(b"console \x1eT\x05").record(serial::LOG, b"more").print(b"rest").end().print(b"firmware");
    let expected = [
        Heard::Started,
        Heard::Log(b"I kernel: hello\n".to_vec()),
        Heard::Console(b"console \x1eT\x05".to_vec()),
        Heard::Log(b"more".to_vec()),
        Heard::Console(b"rest".to_vec()),
        Heard::Report(END),
    ];
    assert_eq!(hear_run(&[&run.bytes]), expected);
    let bytes: Vec<&[u8]> = run.bytes.chunks(1).collect();
    assert_eq!(hear_run(&bytes), expected);
}

/// What a machine says when it is ready.
fn ready(run: u64) -> Ready {
    Ready { version: 1, fingerprint: 2, kernel: 3, memory: 4, room: 5, run, problem: Problem::Unknown }
}

/// The same as it comes over the line.
fn ready_bytes(run: u64) -> Vec<u8> {
    let mut payload = [0; <Ready as abi::Wire>::SIZE];
    abi::Wire::put(&ready(run), &mut payload);
    record(serial::READY, &payload)
}

#[test]
fn no_output_of_a_guest_is_a_record_of_the_kernel() {
    let forged = [
        Kernel::new(RUN).end().bytes,
        Kernel::new(KEY ^ 1).end().bytes,
        Kernel::new(0).end().bytes,
        record(serial::READY, b"it is too short"),
        record(serial::LOADED, &RUN.to_le_bytes()),
    ];
    for forged in forged {
        let run = Kernel::new(KEY).record(serial::STARTED, b"").print(&forged).print(b".").end();
        let printed = [forged.as_slice(), b"."].concat();
        let expected = vec![Heard::Started, Heard::Console(printed), Heard::Report(END)];
        assert_eq!(hear_run(&[&run.bytes]), expected);
    }
}

#[test]
fn a_machine_that_is_said_to_be_ready_is_asked_when_its_time_is_over() {
    let started = || Kernel::new(KEY).record(serial::STARTED, b"").print(b"a");
    let forged = ready_bytes(RUN);
    let printed = Heard::Console([b"a", forged.as_slice(), b"b"].concat());
    // A record of the run, or its end without one, tells that it was printed.
    let goes_on = started().print(&forged).print(b"b").end().bytes;
    assert_eq!(hear_run(&[&goes_on]), [Heard::Started, printed.clone(), Heard::Report(END)]);
    let falls_silent = started().print(&forged).print(b"b").bytes;
    assert_eq!(hear_run(&[&falls_silent]), [Heard::Started, printed]);
    // Only a machine that was asked knows what to say.
    let mut unpacker = Unpacker::default();
    let mut bench = Bench::new(&mut unpacker);
    bench.offer(plan(None));
    assert!(bench.load(2000, no_fault).is_some());
    let Bench { host, heard, .. } = &mut bench;
    let mut hear = |host: &mut Host, bytes: &[u8]| {
        host.hear(bytes, &mut |_| panic!("nothing is asked"), &mut |event| heard.push(event));
        std::mem::take(heard)
    };
    hear(host, &started().bytes);
    assert!(!host.ask(PROBE, &mut |_| panic!("nobody says that it is ready")));
    assert_eq!(hear(host, &[forged.as_slice(), b"firmware", &ready_bytes(PROBE)].concat()), []);
    let mut asked = 0;
    assert!(host.ask(PROBE, &mut |_| asked += 1) && host.ask(PROBE ^ 1, &mut |_| asked += 1));
    assert_eq!(asked, 2);
    assert_eq!(hear(host, &ready_bytes(PROBE ^ 2)), []);
    // The answer to the first question may be late.
    assert_eq!(hear(host, &ready_bytes(PROBE)), [Heard::Ready(ready(PROBE))]);
    // So much is not kept for an answer, whatever it is.
    let room = 64 * 1024 + usize::try_from(LIMIT_MS).expect("it is small");
    let flood = [forged.clone(), vec![b'f'; room]].concat();
    let readies = forged.repeat(room / forged.len() + 1);
    for flood in [flood, readies] {
        let heard = hear_run_without_end(&started().print(&flood).bytes);
        assert_eq!(heard, 1 + flood.len());
    }
}

/// Bytes of the console that are told of a run that goes on.
fn hear_run_without_end(bytes: &[u8]) -> usize {
    let mut unpacker = Unpacker::default();
    let mut bench = Bench::new(&mut unpacker);
    bench.offer(plan(None));
    assert!(bench.load(2000, no_fault).is_some());
    let mut told = 0;
    bench.host.hear(bytes, &mut |_| {}, &mut |heard| {
        if let Heard::Console(bytes) = heard {
            told += bytes.len();
        }
    });
    told
}

#[test]
fn a_run_that_is_given_up_is_not_given_to_a_machine_that_gets_ready_later() {
    let mut unpacker = Unpacker::default();
    let mut bench = Bench::new(&mut unpacker);
    bench.offer(plan(Some(b"image")));
    bench.host.give_up(&mut |heard| panic!("{heard:?}"));
    assert!(bench.load(2000, no_fault).is_none());
    assert_eq!(bench.to_machine.sent, 0);
}

#[test]
fn lost_records_are_noticed() {
    let run = Kernel::new(KEY).record(serial::STARTED, b"").record(serial::LOG, b"lost").end();
    let start = run.bytes.windows(4).position(|bytes| bytes == b"lost").expect("it is there");
    let mut damaged = run.bytes.clone();
    damaged[start] ^= 1;
    let heard = hear_run(&[&damaged]);
    assert_eq!(heard.last(), Some(&Heard::Report(END)));
    assert!(heard.contains(&Heard::Lost { expected: 1, found: 2 }), "{heard:?}");
    // One that comes twice is one.
    let twice = [run.bytes.as_slice(), &run.bytes].concat();
    let expected = vec![Heard::Started, Heard::Log(b"lost".to_vec()), Heard::Report(END)];
    assert_eq!(hear_run(&[&twice]), expected);
    // Without the first one it has started all the same.
    let heard = hear_run(&[&run.bytes[1..]]);
    assert_eq!(heard[..2], [Heard::Started, Heard::Lost { expected: 0, found: 1 }]);
}

#[test]
fn a_machine_that_was_reset_during_its_run_is_recognized() {
    let check = |fault: &mut dyn FnMut(Direction, usize) -> Fault| {
        let (mut unpacker, mut next_unpacker) = (Unpacker::default(), Unpacker::default());
        let mut bench = Bench::new(&mut unpacker);
        bench.offer(plan(None));
        assert!(bench.load(2000, no_fault).is_some());
        bench.heard.clear();
        bench.to_host.bytes.extend(Kernel::new(KEY).record(serial::STARTED, b"").print(b"half a li").bytes);
        let about = About { kernel: 7, memory: 1 << 26 };
        bench.loader = Loader::new(about, Room::default(), &mut next_unpacker);
        (bench.to_machine.sent, bench.to_host.sent) = (0, 0);
        for question in PROBE..PROBE + 8 {
            assert!(bench.load(250, &mut *fault).is_none());
            let Bench { host, to_machine, .. } = &mut bench;
            let mut say = |bytes: &[u8]| {
                for byte in bytes {
                    to_machine.send(*byte, fault(Direction::ToMachine, to_machine.sent));
                }
            };
            host.ask(question, &mut say);
        }
        let heard = bench.heard.clone();
        assert_eq!(heard[..2], [Heard::Started, Heard::Console(b"half a li".to_vec())]);
        let found = heard.iter().position(|heard| matches!(heard, Heard::Ready(ready) if ready.run >= PROBE));
        found.unwrap_or_else(|| panic!("{heard:?}"))
    };
    assert_eq!(check(&mut |_, _| Fault::None), 2, "the machine's answer is no output");
    for place in 0..120 {
        for direction in [Direction::ToMachine, Direction::ToHost] {
            check(&mut |at, sent| if (at, sent) == (direction, place) { Fault::Lost } else { Fault::None });
        }
    }
}
