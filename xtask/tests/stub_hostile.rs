//! gdb at the kernel's own stub, asked for what no sober person asks for: breakpoints in the code that the
//! debugger itself runs, on its way in and out, and where memory changes afterwards. And who isn't gdb at all, or is it no
//! longer: noise at the line, half a packet, a gdb that is killed, one that a line loses bytes of.
//!
//! These tests need QEMU and gdb; where they are missing they test nothing, except in CI, where that is an error.

mod bad_line;
mod debugged;
mod host;

use abi::boot::ExitCode;
use bad_line::{Harm, Line, Random};
use debugged::{Debugged, LIMIT, PROGRAM, Waiting};
use harness::gdb::Driven;
use harness::machine::{Machine, Next, Output};
use std::collections::BTreeSet;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// A machine whose program is debugged.
fn start(program: &str) -> Option<Debugged> {
    let mut debugged = Debugged::start(program)?;
    // In Rust's terms gdb can't say where a symbol without a type is.
    debugged.ask("set language c");
    Some(debugged)
}

// row I2
#[test]
fn a_breakpoint_in_code_of_the_kernels_that_the_debugger_runs_too_stops_the_kernel_only() {
    let Some(mut debugged) = start(PROGRAM) else { return };
    for function in ["memcpy", "kernel_exception", "kernel_x86_64::debug::handle"] {
        debugged.ask(&format!("break {function}"));
    }
    // What the debugger copies is no matter of gdb's; what the kernel copies is.
    for _ in 0..3 {
        debugged.ask_all(&["continue", "info threads"]);
    }
    insta::assert_snapshot!(debugged.ends_well());
}

// row I2
#[test]
fn what_leads_to_the_debugger_has_no_breakpoints() {
    let Some(mut debugged) = start(PROGRAM) else { return };
    for command in ["break *&vector_common", "hbreak *&vector_common", "hbreak *&vector_entries"] {
        debugged.ask_all(&[command, "continue", "delete"]);
    }
    // Nor have the kernel's constants and variables, which it would change.
    debugged.ask_all(&["break *&tessera_inspect", "continue", "delete"]);
    insta::assert_snapshot!(debugged.ends_well());
}

// row I2
#[test]
fn a_breakpoint_where_processes_enter_the_kernel_shows_the_memory_of_the_one_that_did() {
    let Some(mut debugged) = start(PROGRAM) else { return };
    debugged.ask("break *&system_call");
    for _ in 0..4 {
        debugged.ask("continue");
        // Nothing has left the stack pointer of the process yet.
        debugged.ask("x/1xg $rsp");
        let threads = debugged.ask("info threads");
        let root = |command: &str, debugged: &mut Debugged| {
            let said = debugged.ask(command);
            said.split(" = ").nth(1).map(|value| value.trim().to_owned())
        };
        let kernel = root("print/x $cr3", &mut debugged);
        let running = threads.lines().find(|line| line.contains(": running)")).expect("somebody runs");
        let thread = running.trim_start_matches(['*', ' ']).split(' ').next().expect("a number");
        debugged.ask(&format!("thread {thread}"));
        assert_eq!(root("print/x $cr3", &mut debugged), kernel, "{threads}");
        debugged.ask("thread 1");
    }
    debugged.ask("delete");
    insta::assert_snapshot!(debugged.ends_well());
}

// row I2
#[test]
fn a_stop_anywhere_in_the_middle_of_an_interrupt_is_answered_and_loses_none() {
    // Between the instruction that lets interrupts in and the one that waits for them; and between an interrupt and
    // its end, when no other gets through.
    for place in ["*&kernel_halt", "kernel_x86_64::apic::end_of_interrupt"] {
        let Some(mut debugged) = start("alarms_go_off_in_time") else { return };
        debugged.says(&format!("break {place}"), "Breakpoint");
        debugged.says("continue", "hit Breakpoint");
        debugged.says("stepi", "");
        debugged.says("print/x $pc", "0xffffffff");
        // The program waits 18 times; more waits than that are those that a debugger's byte ended, which come when they
        // like: no transcript is as the other.
        for _ in 0..12 {
            debugged.says("continue", "hit Breakpoint");
        }
        debugged.ask("delete");
        debugged.ends_well();
    }
}

// row I2
#[test]
fn a_thread_that_ends_in_its_step_leaves_gdb_with_the_others() {
    let Some(mut debugged) = start("a_fault_ends_only_its_process") else { return };
    debugged.ask_all(&["monitor catch none", "break a_fault_ends_only_its_process::panics", "continue"]);
    debugged.ask_all(&["delete", "break sys::exit", "continue", "delete"]);
    debugged.ask_all(&["stepi 200", "info threads"]);
    insta::assert_snapshot!(debugged.ends_well());
}

// row I2
#[test]
fn a_step_from_the_kernel_into_a_process_ends_there() {
    let Some(mut debugged) = start(PROGRAM) else { return };
    for _ in 0..2 {
        debugged.ask_all(&["break *&system_call", "continue", "delete", "stepi 5000", "info threads"]);
    }
    insta::assert_snapshot!(debugged.ends_well());
}

// row I2
#[test]
fn a_watchpoint_where_the_kernel_saves_registers_leaves_steps_and_registers_as_they_are() {
    let Some(mut debugged) = start(PROGRAM) else { return };
    debugged.ask_all(&["break ds::main", "continue", "delete"]);
    let ds = format!("thread {}", debugged.thread("ds"));
    debugged.ask("set var $context = *(long *)&current");
    // The first register that an exception saves, one in the middle, the last. Not the words behind them: the very last
    // instruction on the way to a process reads these, so that it would never come to its own.
    for offset in [0, 56, 112] {
        debugged.says(&format!("awatch -l *(long *)($context + {offset})"), "watchpoint");
        let mut places = BTreeSet::new();
        for _ in 0..12 {
            // Either the kernel has read it on its way to the process, or the step is over.
            debugged.ask_all(&[&ds, "stepi", &ds]);
            let place = debugged.ask("output/x $pc");
            assert!(place.len() < 12, "{place} is the kernel's: {}", debugged.gdb.transcript());
            places.insert(place);
        }
        assert!(places.len() > 3, "{places:?}\n{}", debugged.gdb.transcript());
        debugged.ask("delete");
    }
    debugged.ends_well();
}

// row I2
#[test]
fn the_stack_by_which_the_debugger_is_reached_is_not_watched() {
    let Some(mut debugged) = start(PROGRAM) else { return };
    // The kernel's own stack is the first of several with a guard page each; exceptions that the debugger is reached by
    // have the third, or the last while it works.
    const STACK: u64 = 0x9000;
    for (index, offset) in [(2, 8), (2, 40), (7, 100)] {
        let place = format!("(unsigned char *)&kernel_stack_top + {:#x}", index * STACK - offset);
        debugged.ask_all(&[&format!("watch -l *({place})"), "continue", "delete"]);
    }
    insta::assert_snapshot!(debugged.ends_well());
}

/// A program of which one process waits for another, which turns in a circle.
const SPINNING: &str = "a_machine_that_is_busy_for_too_long_is_ended";

// row I2
#[test]
fn a_gdb_that_is_killed_while_the_system_stands_leaves_it_to_the_next() {
    let Some(mut debugged) = Debugged::start(PROGRAM) else { return };
    debugged.ask_all(&[
        "break ds::{impl#1}::publish",
        "hbreak ds::{impl#1}::delete",
        "monitor trace on",
        "continue",
        "bt 1",
    ]);
    debugged.another_gdb();
    // It stands where it stood, and has nothing of what the first one wanted.
    debugged.ask_all(&["bt 1", "info threads", "break ds::{impl#1}::retrieve", "continue"]);
    debugged.another_gdb();
    debugged.ask("continue");
    insta::assert_snapshot!(debugged.told(ExitCode::Success));
}

// row I2
#[test]
fn a_gdb_that_is_killed_while_the_system_runs_leaves_it_to_the_next() {
    let Some(mut debugged) = Debugged::start(SPINNING) else { return };
    let spins = format!("break {SPINNING}::turns");
    debugged.ask_all(&[&spins, "continue", "delete", "next"]);
    debugged.gdb.tell("continue").expect("gdb takes commands");
    std::thread::sleep(Duration::from_millis(300));
    debugged.another_gdb();
    // Whoever turns in a circle is taken out of it.
    debugged.ask_all(&["info threads", "bt 1", "set confirm off", "return", "continue"]);
    insta::assert_snapshot!(debugged.told(ExitCode::Success));
}

/// The stub's line, at whose other end is no gdb.
struct Noise {
    stream: UnixStream,
    random: Random,
}

impl Noise {
    fn at(machine: &Machine, seed: u64) -> Self {
        let stream = UnixStream::connect(machine.debugger()).expect("a socket");
        stream.set_read_timeout(Some(Duration::from_millis(1))).expect("a timeout");
        stream.set_write_timeout(Some(LIMIT)).expect("a timeout");
        let mut noise = Self { stream, random: Random(seed) };
        noise.say(&packet(HELLO));
        noise
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.random.below(256)).expect("a byte")
    }

    fn say(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the machine takes it");
    }

    /// Asks who thread 1 is until it is told, as gdb asks again where a byte was lost.
    fn is_answered(&mut self) -> bool {
        const KERNEL: &[u8] = b"$6b65726e656c#";
        let (mut heard, end) = (Vec::new(), Instant::now() + LIMIT);
        let mut buffer = [0; 4096];
        while Instant::now() < end {
            self.say(&[packet(HELLO), packet(b"qThreadExtraInfo,p1.1")].concat());
            let again = Instant::now() + Duration::from_secs(1);
            while Instant::now() < again {
                match self.stream.read(&mut buffer) {
                    Ok(size @ 1..) => heard.extend_from_slice(&buffer[..size]),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    other => panic!("the machine hears no more: {other:?}"),
                }
                if heard.windows(KERNEL.len()).any(|window| window == KERNEL) {
                    return true;
                }
            }
        }
        false
    }
}

/// What gdb says first.
const HELLO: &[u8] = b"qSupported:multiprocess+;swbreak+;hwbreak+;vContSupported+";

fn packet(body: &[u8]) -> Vec<u8> {
    let sum = body.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    [b"$", body, format!("#{sum:02x}").as_bytes()].concat()
}

/// Packets that change nothing in the system.
const HARMLESS: [&[u8]; 12] = [
    b"?",
    b"g",
    b"m10000000,40",
    b"mffffffff80200000,40",
    b"m0,ffffffff",
    b"Hgp1.8",
    b"Z0,10000000,1",
    b"z0,10000000,1",
    b"qfThreadInfo",
    b"qXfer:features:read:target.xml:0,800",
    b"qRcmd,7073",
    b"p10",
];

// row I2
#[test]
fn whatever_comes_over_the_line_the_next_gdb_finds_the_system_as_it_was() {
    let Some(waiting) = Waiting::start(PROGRAM) else { return };
    for seed in 1..=6 {
        let mut noise = Noise::at(&waiting.machine, seed);
        for _ in 0..60 {
            let index = usize::try_from(noise.random.below(HARMLESS.len() as u64)).expect("an index");
            let mut bytes = packet(HARMLESS[index]);
            match noise.random.below(4) {
                // Bytes that belong to no packet.
                0 => bytes.extend((0..noise.random.below(20)).map(|_| noise.byte()).collect::<Vec<_>>()),
                // A byte is lost.
                1 => drop(
                    bytes.remove(usize::try_from(noise.random.below(bytes.len() as u64)).expect("an index")),
                ),
                // Another one came.
                2 => {
                    let place = usize::try_from(noise.random.below(bytes.len() as u64)).expect("an index");
                    bytes[place] = noise.byte();
                }
                _ => {}
            }
            noise.say(&bytes);
        }
        assert!(noise.is_answered(), "after the noise of {seed}");
        // It vanishes in the middle: of a packet, of its end, behind it.
        noise.say(
            [&b"$m1000"[..], b"$g#6", b"$vCont;c", b"$?#3f\x03", b"}", b"$X10000000,ffff:\0\0"]
                [usize::try_from(seed - 1).expect("small")],
        );
    }
    let mut debugged = waiting.attach(&[]);
    debugged.ask_all(&[
        "info threads",
        "bt 1",
        "monitor ps",
        "break ds::{impl#1}::publish",
        "continue",
        "bt 1",
    ]);
    insta::assert_snapshot!(debugged.ends_well());
}

/// A program that writes to the terminal without end.
const ENDLESS: &str = "endless_output_ends_the_machine";
/// Where it comes again and again.
const PLACE: &str = "console::Output::flush";
/// As many bad lines are tried.
const SEEDS: u64 = 3;
/// After that long word of a stop is taken for lost.
const PATIENCE: Duration = Duration::from_secs(5);
/// gdb's words for what it could not make out. Where a digit of a sum is another sign it doesn't ask again.
const ERRORS: [&str; 2] = ["Invalid hex digit", "Ignoring packet error"];
/// As many of them in a row are no accident.
const ATTEMPTS: usize = 8;

// row I2
#[test]
fn noise_without_end_keeps_nobody_from_running_and_no_gdb_from_attaching() {
    let Some(mut waiting) = Waiting::start(ENDLESS) else { return };
    let mut noise = Noise::at(&waiting.machine, 1);
    noise.say(&packet(b"vCont;c"));
    let mut line = noise.stream.try_clone().expect("a copy");
    // As fast as the machine takes it; it ends when the line does.
    let speaker = std::thread::spawn(move || while line.write_all(&[b'?'; 64]).is_ok() {});
    let (mut printed, end) = (0, Instant::now() + LIMIT);
    while printed < 100_000 {
        match waiting.machine.next(end) {
            Next::Output(Output::Console(bytes)) => printed += bytes.len(),
            Next::Output(_) => {}
            other => panic!("{other:?}: {printed} bytes were printed"),
        }
    }
    assert!(!speaker.is_finished());
    noise.stream.shutdown(Shutdown::Both).expect("it is open");
    speaker.join().expect("it ends");
    let mut debugged = waiting.attach(&[]);
    debugged.says("info threads", ENDLESS);
}

/// What is asked of a system that stands, over a good line and over a bad one.
const QUESTIONS: [&str; 5] =
    ["info threads", "bt -3", "info registers rip rsp rbx r12 cs ss fs_base cr3", "x/32xg $sp", "monitor ps"];

/// Puts the questions to one who may have to ask again: an answer is the right one, or gdb says that it isn't whole, or there
/// is none.
fn ask_again_and_again(gdb: &mut Driven, right: &[String]) {
    for (question, right) in QUESTIONS.iter().zip(right) {
        for attempt in 0.. {
            // What it has is what it got over the line.
            ask(gdb, "maintenance flush register-cache");
            let answer = ask(gdb, question);
            if answer == *right {
                break;
            }
            // What `monitor` prints comes in packets before the one that gdb waits for: it doesn't miss them.
            let is_missing = question.starts_with("monitor") && answer.is_empty();
            let is_error = ERRORS.iter().any(|error| answer.contains(error));
            assert!(
                (is_error || is_missing) && attempt < ATTEMPTS,
                "{question}: {answer}\n{right}\n{}",
                gdb.transcript()
            );
        }
    }
}

fn ask(gdb: &mut Driven, command: &str) -> String {
    gdb.ask(command).unwrap_or_else(|error| panic!("{command}: {error:#}\n{}", gdb.transcript()))
}

/// Has a gdb of little patience connect to a line, which may take more than one attempt.
fn connect(gdb: &mut Driven, line: &Line) {
    for setting in ["remotetimeout 1", "remote noack-packet off", "confirm off"] {
        ask(gdb, &format!("set {setting}"));
    }
    let connects = |gdb: &mut Driven| {
        let said = ask(gdb, &format!("target remote {}", line.path().display()));
        said.contains(PLACE)
    };
    assert!((0..ATTEMPTS).any(|_| connects(gdb)), "{}", gdb.transcript());
}

/// Goes on to the next breakpoint.
fn go_on(gdb: &mut Driven) -> String {
    gdb.tell("continue").expect("gdb takes commands");
    gdb.stop_after(PATIENCE).unwrap_or_else(|error| panic!("{error:#}\n{}", gdb.transcript()))
}

// row I2
#[test]
fn over_a_line_that_loses_bytes_gdb_gets_through_and_the_next_one_finds_the_system_good() {
    let Some(waiting) = Waiting::start(ENDLESS) else { return };
    let mut debugged = waiting.attach(&[]);
    let place = format!("break {PLACE}");
    for seed in 1..=SEEDS {
        debugged.ask(&place);
        debugged.says("continue", "hit Breakpoint 1, ");
        // Threads are numbered as they are met.
        debugged.another_gdb();
        let right = QUESTIONS.map(|question| debugged.ask(question));
        debugged.gdb.kill();
        let line = Line::to(debugged.machine.debugger(), Harm::Noise { seed });
        let mut gdb = debugged.unconnected_gdb();
        connect(&mut gdb, &line);
        ask_again_and_again(&mut gdb, &right);
        ask(&mut gdb, &place);
        let said = [go_on(&mut gdb), go_on(&mut gdb)].concat();
        assert!(said.contains("hit Breakpoint "), "{said}\n{}", gdb.transcript());
        let harmed = line.count.load(Ordering::Relaxed);
        assert!(harmed > 5, "it was a good line: {harmed}");
        drop(gdb);
        debugged.another_gdb();
    }
    let threads = debugged.ask("info threads");
    assert!(threads.contains("(tty, endpoint 5: ") && threads.contains("(ds, endpoint 6: "), "{threads}");
}

/// A gdb at a breakpoint in [`ENDLESS`], behind a line that does this to word of later stops.
fn behind(harm: Harm) -> Option<(Debugged, Line, Driven)> {
    let mut debugged = Waiting::start(ENDLESS)?.attach(&[]);
    let place = format!("break {PLACE}");
    debugged.ask(&place);
    debugged.says("continue", "hit Breakpoint 1, ");
    debugged.gdb.kill();
    let line = Line::to(debugged.machine.debugger(), harm);
    let mut gdb = debugged.unconnected_gdb();
    connect(&mut gdb, &line);
    ask(&mut gdb, &place);
    Some((debugged, line, gdb))
}

// row I2
#[test]
fn where_word_of_a_stop_is_lost_ctrl_c_brings_it() {
    let harm = Harm::LosesStops { times: 1 };
    let Some((_debugged, line, mut gdb)) = behind(harm) else { return };
    for _ in 0..2 {
        let said = go_on(&mut gdb);
        assert!(said.contains("hit Breakpoint 1, "), "{said}\n{}", gdb.transcript());
    }
    assert_eq!(line.count.load(Ordering::Relaxed), 1);
    let said = ask(&mut gdb, "info breakpoints");
    assert!(said.contains("breakpoint already hit 2 times"), "{said}");
}

// row I2
#[test]
fn where_word_of_a_stop_comes_twice_gdb_hears_it_once() {
    let Some((_debugged, line, mut gdb)) = behind(Harm::DoublesStops) else { return };
    for times in 1..=5 {
        let said = go_on(&mut gdb);
        assert!(said.contains("hit Breakpoint 1, "), "{said}\n{}", gdb.transcript());
        assert_eq!(line.count.load(Ordering::Relaxed), times);
    }
    let said = ask(&mut gdb, "info breakpoints");
    assert!(said.contains("breakpoint already hit 5 times"), "{said}");
}

// row I2
#[test]
fn where_word_of_a_stop_is_always_lost_gdb_gives_up_when_told_to_and_the_next_one_finds_the_system_stopped() {
    let harm = Harm::LosesStops { times: u32::MAX };
    let Some((mut debugged, line, mut gdb)) = behind(harm) else { return };
    let said = go_on(&mut gdb);
    assert!(said.contains("Disconnected from target."), "{said}");
    // Ctrl-C brought it once more.
    assert!(line.count.load(Ordering::Relaxed) > 1);
    drop(gdb);
    debugged.another_gdb();
    debugged.says("bt 1", PLACE);
    debugged.ask(&format!("break {PLACE}"));
    debugged.says("continue", "hit Breakpoint 1, ");
}
