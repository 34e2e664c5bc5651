use super::watch_line;
use crate::observe::{Record, What, Wish};
use crate::serial::host::{Packed, Plan};
use crate::serial::line::{Line, Settings};
use crate::verdict::{End, Hang, judge};
use abi::boot::ExitCode;
use abi::protocols::FINGERPRINT;
use abi::report::{self, Exited, Report};
use abi::{Name, Wire, serial};
use fastrand::Rng;
use kernel_loader::{About, Loader, Memory, Unpacker};
use serialport::{SerialPort as _, TTYPort};
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use wire::{Item, Kind, Reader, Writer};

/// The kernel that machine and harness have.
const KERNEL: u32 = 7;
const RUN: u64 = 5;
/// For what comes for sure, however busy the host is.
const LONG: Duration = Duration::from_secs(60);
/// For what comes for sure, but only when all of this is over.
const LONG_ENOUGH: Duration = Duration::from_secs(5);
/// For what never comes.
const SHORT: Duration = Duration::from_millis(300);

/// What the kernel of the machine gives in a run.
enum Part {
    Print(Vec<u8>),
    Log(&'static [u8]),
    /// A record of the log, in whose middle the machine stands for so long.
    SlowLog(&'static [u8], Duration),
    Report(Report),
    /// A record that is lost on its way.
    Lost,
    /// What the machine itself says when it is ready, but printed.
    Ready,
    /// It does that for so long, reads what comes, and gives each question the answer of a machine that was reset.
    Answers(Duration),
}

/// What becomes of the machine after that.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    Restarts,
    Stands,
    /// Its end of the line is closed.
    Vanishes,
    /// It did so before it had anything to run.
    HasVanished,
    /// It never did more than say that it is ready.
    Ignores,
    /// It never took what was sent to it, and asked for more.
    Wants,
    /// It does so, but first somebody said that it has another kernel.
    RestartsAfterALie,
}

/// An image that has room, but in pieces.
const IN_PIECES: [u8; 999] = [0; 999];

#[derive(Debug)]
struct Room;

impl Memory for Room {
    type Block = Vec<u8>;

    fn room(&self) -> u32 {
        1000
    }

    fn take(&mut self, bytes: usize) -> Option<Vec<u8>> {
        (bytes != IN_PIECES.len()).then(|| vec![0; bytes])
    }

    fn give(&mut self, _: Vec<u8>) {}
}

/// A machine at the other end of a pseudo-terminal that gives these parts in its first run. It ends with the line.
struct Machine {
    port: TTYPort,
    started: Instant,
    kernel: u32,
}

impl Machine {
    /// A byte that came, if one did soon; an error if the line is gone.
    fn receive(&mut self) -> std::io::Result<Option<u8>> {
        let mut bytes = [0];
        match self.port.read(&mut bytes) {
            Ok(1) => Ok(Some(bytes[0])),
            Ok(_) => Err(ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() == ErrorKind::TimedOut => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Waits for something to run; its key.
    fn load(&mut self) -> std::io::Result<u64> {
        let mut unpacker = Unpacker::default();
        let mut loader = Loader::new(About { kernel: self.kernel, memory: 1 << 26 }, Room, &mut unpacker);
        loop {
            let byte = self.receive()?;
            let now_ms = u64::try_from(self.started.elapsed().as_millis()).expect("not so long");
            let mut said = Vec::new();
            let job = loader.turn(now_ms, byte, &mut |byte| said.push(byte));
            self.port.write_all(&said)?;
            if let Some(job) = job {
                return Ok(job.key);
            }
        }
    }

    fn run(&mut self, key: u64, parts: Vec<Part>) -> std::io::Result<()> {
        let mut writer = Writer::new(key);
        let mut bytes = Vec::new();
        let mut record = |kind, payload: &[u8], to: &mut Vec<u8>| {
            writer.record(Kind(kind), payload, &mut |byte| to.push(byte)).expect("it fits");
        };
        record(serial::STARTED, b"", &mut bytes);
        for part in parts {
            match part {
                Part::Print(text) => bytes.extend(text),
                Part::Log(text) => record(serial::LOG, text, &mut bytes),
                Part::SlowLog(text, time) => {
                    self.port.write_all(&std::mem::take(&mut bytes))?;
                    record(serial::LOG, text, &mut bytes);
                    let rest = bytes.split_off(bytes.len() / 2);
                    self.port.write_all(&std::mem::replace(&mut bytes, rest))?;
                    std::thread::sleep(time);
                }
                Part::Report(report) => {
                    let mut payload = [0; Report::PAYLOAD_LIMIT];
                    let (kind, payload) = report.put(&mut payload);
                    record(kind, payload, &mut bytes);
                }
                Part::Lost => record(serial::LOG, b"lost", &mut Vec::new()),
                Part::Ready => bytes.extend(ready(KERNEL, 0)),
                Part::Answers(time) => {
                    self.port.write_all(&std::mem::take(&mut bytes))?;
                    self.answer(time)?;
                }
            }
        }
        self.port.write_all(&bytes)
    }

    /// What a program does that wants to look like a machine that was reset.
    fn answer(&mut self, time: Duration) -> std::io::Result<()> {
        let end = Instant::now() + time;
        let mut reader = Reader::new(0);
        while Instant::now() < end {
            self.port.write_all(&ready(KERNEL, 0))?;
            let Some(byte) = self.receive()? else { continue };
            let mut answers = Vec::new();
            reader.push(&[byte], &mut |item| {
                if let Item::Record(record) = item
                    && let Some((start, _)) = serial::split::<serial::Start>(record.payload)
                {
                    answers.extend(ready(KERNEL, start.run));
                }
            });
            self.port.write_all(&answers)?;
        }
        Ok(())
    }

    fn serve(mut self, parts: Vec<Part>, then: Then) -> std::io::Result<()> {
        self.port.set_timeout(Duration::from_millis(5))?;
        match then {
            Then::HasVanished => {
                self.port.write_all(&ready(KERNEL, 0))?;
                // So long that it is heard, and given a run.
                while self.receive()?.is_none() {}
                return Err(ErrorKind::UnexpectedEof.into());
            }
            Then::Ignores => {
                self.port.write_all(&ready(KERNEL, 0))?;
                loop {
                    self.receive()?;
                }
            }
            Then::Wants => {
                self.port.write_all(&ready(KERNEL, 0))?;
                let want = wire_bytes(serial::WANT, &serial::Want { run: RUN, from: 0, to: 8000 });
                loop {
                    match self.port.write_all(&want) {
                        // The host doesn't take everything either.
                        Err(error) if error.kind() == ErrorKind::TimedOut => {}
                        written => written?,
                    }
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
            Then::RestartsAfterALie => self.port.write_all(&ready(KERNEL ^ 1, 0))?,
            Then::Restarts | Then::Stands | Then::Vanishes => {}
        }
        let key = self.load()?;
        self.run(key, parts)?;
        match then {
            Then::Stands => loop {
                self.receive()?;
            },
            Then::Vanishes => {
                // So long that all of it is heard.
                std::thread::sleep(Duration::from_millis(500));
                Err(ErrorKind::UnexpectedEof.into())
            }
            _ => self.load().map(drop),
        }
    }
}

/// A record of anybody's as it comes over the line.
fn wire_bytes<T: Wire>(kind: u8, fields: &T) -> Vec<u8> {
    let mut payload = vec![0; T::SIZE];
    fields.put(&mut payload);
    let mut bytes = Vec::new();
    Writer::new(0).record(Kind(kind), &payload, &mut |byte| bytes.push(byte)).expect("it fits");
    bytes
}

fn ready(kernel: u32, run: u64) -> Vec<u8> {
    let ready = serial::Ready {
        version: serial::VERSION,
        fingerprint: FINGERPRINT,
        kernel,
        memory: 1 << 26,
        room: 1_000_000,
        run,
        problem: serial::Problem::None,
    };
    wire_bytes(serial::READY, &ready)
}

fn exited() -> Part {
    Part::Report(Report::Exited(Exited { process: Name::new("hello").expect("a name"), status: 0 }))
}

fn end(code: ExitCode) -> Part {
    Part::Report(Report::End(report::End { code, busy_ns: 1, idle_ns: 2 }))
}

/// What becomes of a run on a machine whose kernel is this one, and that gives these parts.
fn watch(patience: Duration, kernel: u32, image: &[u8], parts: Vec<Part>, then: Then) -> (End, Record) {
    let (port, slave) = TTYPort::pair().expect("a pseudo-terminal");
    let path = PathBuf::from(slave.name().expect("a path"));
    // A port is for one at a time.
    drop(slave);
    let settings = Settings { kernel: KERNEL, patience, notice: Box::new(|_| {}) };
    let mut line = Line::open(&path, settings).expect("it opens");
    let machine = Machine { port, started: Instant::now(), kernel };
    let thread = std::thread::spawn(move || machine.serve(parts, then));
    let image = Some(Packed::new(image).expect("it is small"));
    let plan = Plan { run: RUN, key: RUN + 1, limit_ms: 100, command_line: vec![], image };
    let record = watch_line(&mut line, plan, |_| Wish::GoOn);
    drop(line);
    thread.join().expect("the machine doesn't panic").expect_err("it ends with its line");
    (judge(&record, Some("hello")), record)
}

/// What the guest printed.
fn console(record: &Record) -> String {
    let lines = record.events().iter().filter_map(|event| match &event.what {
        What::Console(line) | What::ConsoleRest(line) => Some(line.as_str()),
        _ => None,
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn reason(end: End) -> String {
    match end {
        End::HostTrouble(text) => text,
        other => panic!("{other:?} is no trouble"),
    }
}

// row I5
#[test]
fn an_end_needs_the_records_and_a_machine_that_comes_back() {
    let good = || {
        let print = |text: &str| Part::Print(text.into());
        vec![Part::Log(b"I kernel: up\n"), print("hel"), print("lo\r\n"), exited()]
    };
    let with_end = || good().into_iter().chain([end(ExitCode::Success)]).collect();
    let (judged, record) = watch(LONG, KERNEL, b"image", with_end(), Then::Restarts);
    assert_eq!(judged, End::Exited(0), "{record:?}");
    let shown: Vec<String> = record.events().iter().map(|event| event.what.to_string()).collect();
    let expected = [
        "kernel: up",
        "hello",
        "hello exited with status 0",
        "the end: success, 1 ns busy, 2 ns idle",
        "the machine has started anew",
    ];
    assert_eq!(shown, expected);
    let (judged, _) = watch(SHORT, KERNEL, b"image", with_end(), Then::Stands);
    assert!(reason(judged).contains("doesn't start anew"));
    let (judged, _) = watch(LONG_ENOUGH, KERNEL, b"image", good(), Then::Restarts);
    assert_eq!(judged, End::TripleFault);
}

#[test]
fn a_machine_that_falls_silent_is_trouble_and_no_hang() {
    for printed in [b"half a li".into(), b"flood\n".repeat(40_000)] {
        let (judged, _) = watch(SHORT, KERNEL, b"image", vec![Part::Print(printed)], Then::Stands);
        assert!(reason(judged).contains("not even the kernel says so"));
    }
}

#[test]
fn a_run_that_the_kernel_ends_hangs_and_has_last_words() {
    let out_of_time = |first: Part| {
        let last_words = Part::Log(b"I kernel: hello: runnable\n");
        let parts = [first, Part::Report(Report::Overran), last_words, end(ExitCode::Limit)];
        watch(LONG, KERNEL, b"image", parts.into(), Then::Restarts)
    };
    let (judged, record) = out_of_time(Part::Log(b"I kernel: up\n"));
    assert_eq!(judged, End::Hang(Hang::Limit));
    let last_words: Vec<String> = record.last_words().map(ToString::to_string).collect();
    assert_eq!(last_words, ["kernel: hello: runnable"]);
    // One that prints without end is the same, and what is kept of it is limited.
    let (judged, record) = out_of_time(Part::Print(b"flood\n".repeat(40_000)));
    assert_eq!(judged, End::Hang(Hang::EndlessOutput));
    assert!(record.events().len() < 30_000);
}

#[test]
fn a_lost_record_is_trouble_and_never_a_triple_fault() {
    let endings =
        [vec![Part::Lost, exited(), end(ExitCode::Success)], vec![Part::Lost, Part::Log(b"I kernel: up\n")]];
    for ending in endings {
        let (judged, _) = watch(LONG_ENOUGH, KERNEL, b"image", ending, Then::Restarts);
        let reason = reason(judged);
        assert!(reason.contains("record 2 where record 1 is due: take a shorter cable"), "{reason}");
    }
}

#[test]
fn a_record_whose_rest_comes_late_is_whole() {
    // As on a host that is so busy that its machine, or the harness, has no turn.
    let parts = vec![Part::SlowLog(b"I kernel: up\n", SHORT), exited(), end(ExitCode::Success)];
    let (judged, record) = watch(LONG, KERNEL, b"image", parts, Then::Restarts);
    assert_eq!(judged, End::Exited(0), "{record:?}");
    assert_eq!(record.events()[0].what.to_string(), "kernel: up");
}

#[test]
fn what_only_looks_like_the_start_of_a_record_hides_no_end() {
    // Of a payload that never comes.
    let mut start = Vec::new();
    Writer::new(0).record(Kind(serial::LOG), &[0; 1000], &mut |byte| start.push(byte)).expect("it fits");
    start.truncate(20);
    let parts = vec![Part::Print(start), exited(), end(ExitCode::Success)];
    let (judged, record) = watch(LONG, KERNEL, b"image", parts, Then::Restarts);
    assert_eq!(judged, End::Exited(0), "{record:?}");
}

#[test]
fn a_machine_that_goes_away_is_trouble_at_once() {
    let parts = || vec![Part::Log(b"I kernel: up\n"), Part::Print(b"hello\r\n".into())];
    let (judged, record) = watch(LONG, KERNEL, b"image", parts(), Then::Vanishes);
    assert!(reason(judged).contains("see that the adapter is plugged in"), "{record:?}");
    assert!(console(&record) == "hello", "{record:?}");
    let (judged, _) = watch(LONG, KERNEL, b"image", parts(), Then::HasVanished);
    assert!(reason(judged).contains("see that the adapter is plugged in"));
}

#[test]
fn a_machine_that_does_not_come_to_start_is_trouble_that_says_what_to_do() {
    let (judged, _) = watch(SHORT, KERNEL, b"image", vec![], Then::Ignores);
    assert!(reason(judged).contains("it doesn't answer: see that this host's transmit is its receive"));
    // However much it asks for, and however little it takes.
    let mut random = Rng::with_seed(1);
    let noise: Vec<u8> = (0..9000).map(|_| random.u8(..)).collect();
    let started = Instant::now();
    let (judged, _) = watch(SHORT, KERNEL, &noise, vec![], Then::Wants);
    assert!(reason(judged).contains("it doesn't answer"));
    assert!(started.elapsed() < LONG, "{:?}", started.elapsed());
    let (judged, _) = watch(LONG, KERNEL, &IN_PIECES, vec![], Then::Stands);
    assert!(reason(judged).contains("it has no room for the boot image: give it more memory"));
}

#[test]
fn a_guest_that_says_that_the_machine_is_ready_ends_nothing() {
    let parts = |last: Vec<Part>| {
        let print = |text: &str| Part::Print(text.into());
        [print("a"), Part::Ready, print("b\r\n")].into_iter().chain(last).collect()
    };
    let (judged, record) =
        watch(LONG, KERNEL, b"image", parts(vec![exited(), end(ExitCode::Success)]), Then::Restarts);
    assert_eq!(judged, End::Exited(0), "{record:?}");
    assert!(console(&record).starts_with(r"a\u{1e}T@"), "{record:?}");
    let (judged, record) = watch(SHORT, KERNEL, b"image", parts(vec![]), Then::Stands);
    assert!(reason(judged).contains("not even the kernel says so"));
    assert!(console(&record).ends_with('b'), "{record:?}");
}

#[test]
fn a_guest_that_reads_and_answers_what_comes_ends_nothing() {
    // It does so for longer than it may take, as the kernel may be late.
    let parts =
        vec![Part::Answers(Duration::from_millis(600)), Part::Report(Report::Overran), end(ExitCode::Limit)];
    let (judged, record) = watch(LONG, KERNEL, b"image", parts, Then::Restarts);
    assert_eq!(judged, End::Hang(Hang::Limit), "{record:?}");
    // A kernel that hangs has started nothing anew, whatever was printed before.
    let parts = vec![Part::Answers(Duration::from_millis(60))];
    let (judged, _) = watch(SHORT, KERNEL, b"image", parts, Then::Stands);
    assert!(reason(judged).contains("not even the kernel says so"));
    // However often that is printed, a hang is one.
    let last = [Part::Report(Report::Overran), end(ExitCode::Limit)];
    let flood = (0..4000).map(|_| Part::Ready).chain(last).collect();
    let (judged, _) = watch(LONG, KERNEL, b"image", flood, Then::Restarts);
    assert_eq!(judged, End::Hang(Hang::EndlessOutput));
}

#[test]
fn a_machine_that_cannot_run_it_is_told_nothing() {
    let (judged, _) = watch(LONG, KERNEL ^ 1, b"image", vec![], Then::Restarts);
    assert!(reason(judged).contains("another kernel"));
    // What is wrong once is not held against it.
    let parts = vec![exited(), end(ExitCode::Success)];
    let (judged, _) = watch(LONG, KERNEL, b"image", parts, Then::RestartsAfterALie);
    assert_eq!(judged, End::Exited(0));
    let (judged, _) = watch(LONG, KERNEL, &[0; 1001], vec![], Then::Restarts);
    assert!(reason(judged).contains("has 1001 bytes, and the machine has room for 1000"));
}
