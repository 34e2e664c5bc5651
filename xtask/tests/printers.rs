//! How gdb shows the system's types: `os/gdb/tessera.py` in a real gdb.

mod debugged;
mod host;

use abi::protocols::{self, ds};
use abi::state::Stops;
use abi::{
    Call as _, Callers, Endpoint, Errno, GrantAccess, GrantId, Message, Name, REPLY, Signal, Wire as _,
    describe,
};
use debugged::{Debugged, PROGRAM};
use std::fmt::Write as _;

// row I2
#[test]
fn processes_messages_and_errors_are_shown_by_what_they_mean() {
    let Some(mut debugged) = Debugged::start(PROGRAM) else { return };
    debugged.ask_all(&["process ds", "break ds::{impl#1}::publish", "continue", "info args"]);
    debugged.ask_all(&[
        "process ds",
        "print $process.endpoint",
        "print $process.name",
        "print $process.class",
    ]);
    debugged.ask_all(&[
        "process tty",
        "print $process.ipc",
        "print $process.signals",
        "print/r $process.ipc",
    ]);
    debugged.ask_all(&["print $process.notifications", "print $process.stops", "process 16", "process none"]);
    debugged.ask_all(&["thread 4", "print *message", "print/r *message"]);
    insta::assert_snapshot!(debugged.transcript());
}

// row I2
#[test]
fn no_value_makes_them_fail() {
    let Some(mut debugged) = Debugged::start(PROGRAM) else { return };
    debugged.ask_all(&["break ds::{impl#1}::publish", "continue"]);
    // Much of it is optimised out, or not yet written.
    let program = debugged.thread(PROGRAM);
    let stacks = debugged.ask(&format!("thread apply 2 {program} -q bt -full 12"));
    assert!(stacks.contains("<optimized out>") && stacks.contains("in _start"), "{stacks}");
    assert_sober(&stacks);
    let count = debugged
        .ask("python import tessera; print(len(tessera.TEXTS))")
        .trim()
        .parse::<usize>()
        .expect("a number");
    let garbage = debugged.ask(
        "python
import random
random.seed(1)
count = 0
for name in tessera.TEXTS:
    try:
        kind = gdb.lookup_type(tessera.Processes.PROCESS if tessera.Processes.PROCESS.startswith(name) else name)
    except gdb.error:
        continue
    count += 1
    for fill in [lambda: 0, lambda: 255, lambda: 1, lambda: random.randrange(256), lambda: random.randrange(4)] * 4:
        str(gdb.Value(bytes(fill() for _ in range(kind.sizeof)), kind))
print('shown', count)
end",
    );
    assert_sober(&garbage);
    // Types that no image here uses are in no debug information.
    let shown: usize =
        garbage.trim().strip_prefix("shown ").expect("it comes to the end").parse().expect("a number");
    assert!(shown + 3 >= count && shown > 12, "{shown} of {count}");
    // A table that is damaged is no process table.
    debugged.ask_all(&["set var kernel::LAYOUT[1].v.value = 0x1234", "process ds"]);
    let said = debugged.ask("process ds");
    assert_sober(&said);
    let endpoint = debugged.ask("print caller");
    assert!(endpoint.contains(" = 16"), "{endpoint}");
}

/// gdb shows a failure of a printer as a Python exception.
fn assert_sober(said: &str) {
    for word in ["Traceback", "Python Exception", "Error occurred in Python"] {
        assert!(!said.contains(word), "{said}");
    }
}

/// What gdb says of values of a type that have these bytes, one a line.
fn shown(debugged: &mut Debugged, kind: &str, values: &[Vec<u8>]) -> String {
    let mut list = String::new();
    for value in values {
        value.iter().for_each(|byte| write!(list, "{byte:02x}").expect("writing to a string succeeds"));
        list.push(' ');
    }
    let kind = format!("gdb.lookup_type('{kind}')");
    debugged.ask(&format!(
        "python for text in '{}'.split(' '): print(gdb.Value(bytes.fromhex(text), {kind}))",
        list.trim_end()
    ))
}

fn lines(texts: impl IntoIterator<Item = String>) -> String {
    texts.into_iter().map(|text| text + "\n").collect()
}

/// The names stand in the kernel, so they can't be others than abi's; here is that they are read rightly.
// row I2
#[test]
fn numbers_are_called_what_abi_calls_them() {
    // Nobody has an endpoint yet, where the kernel starts.
    let Some(mut debugged) = Debugged::start(PROGRAM) else { return };
    let bytes = |size: usize, numbers: &[u64]| -> Vec<Vec<u8>> {
        numbers.iter().map(|number| number.to_le_bytes()[..size].to_vec()).collect()
    };
    let all: Vec<u64> = (0..=255).collect();
    let signals: Vec<u64> = (0..128).collect();
    assert_eq!(
        shown(&mut debugged, "abi::signal::Signal", &bytes(1, &signals)),
        lines((0..128).map(|number| format!("{:?}", Signal::get(&[number]).expect("any byte is one"))))
    );
    assert_eq!(
        shown(&mut debugged, "abi::errno::Errno", &bytes(1, &all)),
        lines((0..=255).map(|number| match Errno::from_number(number) {
            Some(errno) => errno.name().to_owned(),
            None => number.to_string(),
        }))
    );
    let callers: Vec<u64> = (0..=255).filter(|bits| bits & 64 == 0).collect();
    assert_eq!(
        shown(&mut debugged, "abi::message::Callers", &bytes(1, &callers)),
        lines(callers.iter().map(|bits| format!("{:?}", Callers(u8::try_from(*bits).expect("a byte")))))
    );
    let stops = [1_u16, 2, 4, 8, 16, 32, 64, 128, 256, 512];
    let stops: Vec<u16> = stops.into_iter().chain([3, 0x3ff]).collect();
    assert_eq!(
        shown(
            &mut debugged,
            "abi::state::Stops",
            &stops.iter().map(|bits| bits.to_le_bytes().to_vec()).collect::<Vec<_>>()
        ),
        lines(stops.iter().map(|bits| Stops::from_bits(*bits).to_string().replace(", ", "|")))
    );
    let access: Vec<u64> = (0..8).chain(16..24).collect();
    assert_eq!(
        shown(&mut debugged, "abi::grant::GrantAccess", &bytes(4, &access)),
        lines(access.iter().map(|bits| format!("{:?}", GrantAccess(u32::try_from(*bits).expect("small")))))
    );
    let endpoints = [0, 6, 0x7f01, 0x7f06, 0x7f07, 0x8006, 0x1_8006, 0xffff_ffff];
    assert_eq!(
        shown(&mut debugged, "abi::endpoint::Endpoint", &bytes(4, &endpoints)),
        lines(
            endpoints
                .iter()
                .map(|bits| Endpoint::from_bits(u32::try_from(*bits).expect("32 bits")).to_string())
        )
    );
    let grants = [0, 1, 0x10_0003, u64::MAX];
    assert_eq!(
        shown(&mut debugged, "abi::grant::GrantId", &bytes(8, &grants)),
        lines(grants.iter().map(|bits| format!("{:?}", GrantId::from_bits(*bits))))
    );
}

/// gdb has a decoder of its own, made of the debug information. It says what abi's says, of every call.
// row I2
#[test]
fn every_call_is_decoded_as_abi_decodes_it() {
    let Some(mut debugged) = Debugged::start(PROGRAM) else { return };
    let mut messages = Vec::new();
    for call in protocols::ALL.iter().flat_map(|protocol| protocol.calls) {
        for (flags, status) in [(0, 0), (REPLY, 0), (REPLY, Errno::EPERM.to_status())] {
            for seed in 0..6 {
                let payload = core::array::from_fn(|index| byte(seed, index));
                messages.push(Message { number: call.number, flags, status, payload, ..Message::zeroed() });
            }
        }
    }
    let name = |name| Name::new(name).expect("a name");
    messages.push(ds::publish::Request { key: name("answer"), value: 42, overwrite: true }.to_message(0));
    messages.push(abi::notification::Notification { uptime_ns: 5, pending: 1 }.to_message(Endpoint::NONE));
    messages.push(Message { number: 0x7777, ..Message::zeroed() });
    let values: Vec<Vec<u8>> = messages.iter().map(bytes_of).collect();
    let shown = shown(&mut debugged, "abi::message::Message", &values);
    let shown: Vec<&str> = shown.lines().collect();
    assert_eq!(shown.len(), messages.len());
    let mut whole = 0;
    for (message, shown) in messages.iter().zip(shown) {
        let described = describe(message).to_string();
        // What is behind these words is bytes, of which gdb leaves out zeros.
        let known = ["malformed", "= EBADMSG", "unknown call 0x7777"]
            .iter()
            .find_map(|words| described.find(words).map(|at| at + words.len()));
        match known {
            Some(end) => assert_eq!(shown.get(..end), described.get(..end)),
            None => {
                assert_eq!(shown, described);
                whole += 1;
            }
        }
    }
    assert!(whole * 2 > messages.len(), "{whole} of {}", messages.len());
}

/// A byte of a payload: zeros, ones, digits, and what has no bits that mean nothing.
fn byte(seed: u8, index: usize) -> u8 {
    match seed {
        0 => 0,
        1 => u8::from(index.is_multiple_of(2)),
        2 => b'5',
        _ => u8::try_from((index + 3) * (index + usize::from(seed)) * 7919 % 64).expect("below 64"),
    }
}

fn bytes_of(message: &Message) -> Vec<u8> {
    let mut bytes = message.source.to_bits().to_le_bytes().to_vec();
    bytes.extend(message.number.to_le_bytes());
    bytes.extend([message.class.0, message.flags]);
    bytes.extend(message.status.to_le_bytes());
    bytes.extend(message.tag.to_le_bytes());
    bytes.extend(message.payload);
    bytes
}
