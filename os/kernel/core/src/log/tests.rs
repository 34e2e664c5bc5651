use super::*;
use crate::fake::{at, kernel, service};
use crate::process::Slot;
use abi::ipc::Primitive::Receive;
use abi::notification::Notification;
use abi::protocols::kernel as calls;
use abi::{Bytes, Endpoint, Signals};

fn diag(text: &[u8]) -> calls::diag::Request {
    calls::diag::Request { level: Level::Info, ends_line: true, text: Bytes::first_of(text) }
}

/// All that can be read from a position on.
fn read(kernel: &Kernel<crate::fake::Fake>, mut position: u64) -> (u64, Vec<u8>) {
    let (first, mut all) = (kernel.log.read(position, &mut [0; 96]).0, Vec::new());
    position = first;
    loop {
        let mut piece = [0; 96];
        let (start, text) = kernel.log.read(position, &mut piece);
        assert_eq!(start, position, "nothing was logged meanwhile");
        if text.is_empty() {
            return (first, all);
        }
        all.extend_from_slice(text);
        position += text.len() as u64;
    }
}

#[test]
fn what_is_read_is_what_was_logged_and_then_the_last_of_it() {
    let mut kernel = kernel(&[service(0)]);
    assert_eq!(read(&kernel, 0), (0, Vec::new()));
    for number in 0..2000_u32 {
        kernel.asks(0, &diag(&number.to_le_bytes()));
        let all = kernel.machine.log.as_slice();
        let kept = &all[all.len().saturating_sub(KEPT)..];
        let first = (all.len() - kept.len()) as u64;
        assert_eq!(read(&kernel, 0), (first, kept.to_vec()));
        let end = all.len() as u64;
        assert_eq!(read(&kernel, end - 1), (end - 1, b"\n".to_vec()));
        for beyond in [end, end + 1, u64::MAX] {
            assert_eq!(read(&kernel, beyond), (end, Vec::new()));
        }
    }
    assert!(kernel.machine.log.len() > 2 * KEPT, "it went round");
}

/// Whether a process is told of the log now.
fn is_told(kernel: &mut Kernel<crate::fake::Fake>, slot: u16) -> bool {
    if kernel.traps(slot, Receive, Endpoint::SYSTEM).is_none() {
        kernel.cancel(Slot::new(slot));
        return false;
    }
    let notification = Notification::of(&kernel.processes.process(Slot::new(slot)).context.message);
    Signals::of_notification(notification.unwrap().pending) == Signals::of(&[Signal::KMESS])
}

#[test]
fn who_watches_is_told_once_for_all_that_is_new() {
    let mut kernel = kernel(&[service(0), service(1), service(2)]);
    kernel.asks(0, &diag(b"nobody watches"));
    assert!(!kernel.tell_of_log());
    for slot in [1, 2] {
        assert_eq!(kernel.asks(slot, &calls::log_watch::Request { on: true }), "kernel.log_watch = {}");
    }
    assert!(!kernel.tell_of_log(), "nothing is new");
    kernel.asks(0, &diag(b"one"));
    kernel.asks(0, &diag(b"two"));
    kernel.asks(2, &calls::log_watch::Request { on: false });
    kernel.tick(None);
    assert!(!kernel.tell_of_log(), "a tick has told it");
    assert_eq!([0, 1, 2].map(|slot| is_told(&mut kernel, slot)), [false, true, false]);
    assert!(!is_told(&mut kernel, 1));
    kernel.say(Level::Error, format_args!("the kernel itself"));
    assert!(kernel.tell_of_log());
    assert!(is_told(&mut kernel, 1));
    let unfinished = calls::diag::Request { ends_line: false, ..diag(b"half") };
    kernel.asks(0, &unfinished);
    assert!(!kernel.tell_of_log(), "a line that isn't over is no news");
    assert_eq!(kernel.processes.process(Slot::new(1)).endpoint, at(1));
}
