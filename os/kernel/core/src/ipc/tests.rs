//! The primitives: every error in its order, every order of delivery, and all short runs of
//! three processes compared with a model.

mod both;
mod explore;
mod model;

use super::mail::SHARE;
use super::suits;
use crate::fake::{Fake, at, kernel, program, service};
use crate::privilege::Notifier;
use crate::process::Ipc;
use crate::{Kernel, Slot};
use abi::boot::Process;
use abi::ipc::AsyncFlags;
use abi::ipc::Primitive::{Notify, Receive, ReplyReceive, Send, SendNb, SendRec};
use abi::notification::Notification;
use abi::{Endpoint, Errno};

fn three() -> Kernel<Fake> {
    kernel(&[service(0), service(1), service(2)])
}

#[test]
fn a_send_meets_a_receive_in_either_order() {
    let mut kernel = three();
    assert_eq!(kernel.sends(0, Send, at(1), 7), None);
    assert_eq!(kernel.traps(1, Receive, Endpoint::ANY), Some(Ok(())));
    assert_eq!(kernel.received(1), (at(0), 7, Some(Send)));
    assert_eq!(kernel.returned(0), Some(Ok(())));

    assert_eq!(kernel.traps(1, Receive, at(0)), None);
    assert_eq!(kernel.sends(0, Send, at(1), 8), Some(Ok(())));
    assert_eq!(kernel.returned(1), Some(Ok(())));
    assert_eq!(kernel.received(1), (at(0), 8, Some(Send)));
}

#[test]
fn a_sendrec_ends_with_the_answer_of_the_one_it_asked() {
    let mut kernel = three();
    assert_eq!(kernel.sends(0, SendRec, at(1), 1), None);
    assert_eq!(kernel.traps(1, Receive, Endpoint::ANY), Some(Ok(())));
    assert_eq!(kernel.received(1), (at(0), 1, Some(SendRec)));
    // Somebody else's message has to wait: the caller is deaf to it.
    assert_eq!(kernel.sends(2, Send, at(0), 3), None);
    assert_eq!(kernel.returned(0), None);
    assert_eq!(kernel.sends(1, Send, at(0), 2), Some(Ok(())));
    assert_eq!(kernel.returned(0), Some(Ok(())));
    assert_eq!(kernel.received(0), (at(1), 2, Some(Send)));
    assert_eq!(kernel.traps(0, Receive, Endpoint::ANY), Some(Ok(())));
    assert_eq!(kernel.received(0), (at(2), 3, Some(Send)));
}

#[test]
fn senders_are_served_first_come_first_served_or_by_name() {
    let mut kernel = three();
    assert_eq!(kernel.sends(1, Send, at(0), 1), None);
    assert_eq!(kernel.sends(2, Send, at(0), 2), None);
    assert_eq!(kernel.traps(0, Receive, at(2)), Some(Ok(())));
    assert_eq!(kernel.received(0).0, at(2));
    assert_eq!(kernel.sends(2, Send, at(0), 3), None);
    assert_eq!(kernel.traps(0, Receive, Endpoint::ANY), Some(Ok(())));
    assert_eq!(kernel.received(0).0, at(1));
}

#[test]
fn notifications_come_first_and_once() {
    let mut kernel = three();
    assert_eq!(kernel.sends(1, Send, at(0), 1), None);
    for _ in 0..2 {
        assert_eq!(kernel.traps(2, Notify, at(0)), Some(Ok(())));
    }
    assert_eq!(kernel.traps(0, Receive, Endpoint::ANY), Some(Ok(())));
    assert_eq!(kernel.received(0), (at(2), 0, Some(Notify)));
    assert!(Notification::of(&kernel.processes.process(Slot::new(0)).context.message).is_some());
    assert_eq!(kernel.traps(0, Receive, Endpoint::ANY), Some(Ok(())));
    assert_eq!(kernel.received(0).0, at(1));
    assert_eq!(kernel.traps(0, Receive, Endpoint::ANY), None);
    assert_eq!(kernel.traps(1, Notify, at(0)), Some(Ok(())));
    assert_eq!(kernel.returned(0), Some(Ok(())));
}

#[test]
fn a_notification_waits_until_a_sendrec_is_over() {
    let mut kernel = three();
    assert_eq!(kernel.sends(0, SendRec, at(1), 1), None);
    assert_eq!(kernel.traps(1, Receive, Endpoint::ANY), Some(Ok(())));
    assert_eq!(kernel.traps(1, Notify, at(0)), Some(Ok(())));
    assert_eq!(kernel.returned(0), None);
    assert_eq!(kernel.sends(1, Send, at(0), 2), Some(Ok(())));
    assert_eq!(kernel.received(0), (at(1), 2, Some(Send)));
    assert_eq!(kernel.traps(0, Receive, at(1)), Some(Ok(())));
    assert_eq!(kernel.received(0), (at(1), 0, Some(Notify)));
}

#[test]
fn a_receive_by_name_is_not_ended_by_who_has_none() {
    let mut kernel = kernel(&[service(0), Process { traps: u32::MAX, ..program(1) }]);
    // Programs have one set of privileges, so that a notification does not tell which of them it is from.
    assert_eq!(kernel.traps(1, Notify, at(0)), Some(Ok(())));
    assert_eq!(kernel.traps(0, Receive, at(1)), None);
    assert_eq!(kernel.traps(1, Notify, at(0)), Some(Ok(())));
    assert_eq!(kernel.returned(0), None);
    assert_eq!(kernel.sends(1, Send, at(0), 7), Some(Ok(())));
    assert_eq!(kernel.received(0), (at(1), 7, Some(Send)));
    assert_eq!(kernel.traps(0, Receive, Endpoint::ANY), Some(Ok(())));
    assert_eq!(kernel.received(0), (Endpoint::NONE, 0, Some(Notify)));
}

#[test]
fn the_first_check_that_fails_gives_the_error() {
    let mut kernel = kernel(&[service(0), service(1), program(2), program(3)]);
    let later = at(1).successor();
    for (caller, primitive, endpoint, expected) in [
        (0, Send, Endpoint::ANY, Errno::EINVAL),
        (2, Send, Endpoint::ANY, Errno::EINVAL),
        (0, Send, later, Errno::EDEADSRCDST),
        (2, Send, later, Errno::EDEADSRCDST),
        (0, Receive, later, Errno::EDEADSRCDST),
        (0, Receive, Endpoint::NONE, Errno::EDEADSRCDST),
        (0, Receive, Endpoint::SELF, Errno::EDEADSRCDST),
        (0, Send, at(7), Errno::EDEADSRCDST),
        (0, Send, at(9), Errno::EDEADSRCDST),
        (0, Send, at(0), Errno::ECALLDENIED),
        (0, Send, Endpoint::SYSTEM, Errno::ECALLDENIED),
        (2, SendRec, at(3), Errno::ECALLDENIED),
        (2, SendRec, at(2), Errno::ECALLDENIED),
        (2, Notify, at(3), Errno::ECALLDENIED),
        (2, Send, at(1), Errno::ETRAPDENIED),
        (2, Notify, at(1), Errno::ETRAPDENIED),
        (2, Receive, Endpoint::ANY, Errno::ETRAPDENIED),
        (2, SendNb, at(1), Errno::ETRAPDENIED),
        (2, ReplyReceive, at(1), Errno::ETRAPDENIED),
        (2, ReplyReceive, later, Errno::ETRAPDENIED),
        (2, ReplyReceive, at(3), Errno::ECALLDENIED),
        (0, ReplyReceive, Endpoint::ANY, Errno::EINVAL),
    ] {
        assert_eq!(
            kernel.traps(caller, primitive, endpoint),
            Some(Err(expected)),
            "{caller} {primitive:?} {endpoint}"
        );
    }
    for number in [0, 6, 9, 1 << 32 | 1, 16 | 1 << 8, u64::MAX] {
        kernel.trap(Slot::new(0), number, at(1));
        assert_eq!(kernel.returned(0), Some(Err(Errno::EBADCALL)), "{number}");
    }
}

#[test]
fn a_circle_of_waiting_processes_is_refused_to_the_one_that_would_close_it() {
    let mut two_senders = three();
    assert_eq!(two_senders.sends(0, SendRec, at(1), 0), None);
    assert_eq!(two_senders.sends(1, SendRec, at(0), 0), Some(Err(Errno::ELOCKED)));

    let mut two_receivers = three();
    assert_eq!(two_receivers.traps(0, Receive, at(1)), None);
    assert_eq!(two_receivers.traps(1, Receive, at(0)), Some(Err(Errno::ELOCKED)));

    let mut circle = three();
    assert_eq!(circle.sends(0, Send, at(1), 0), None);
    assert_eq!(circle.traps(1, Receive, at(2)), None);
    assert_eq!(circle.sends(2, Send, at(0), 0), Some(Err(Errno::ELOCKED)));
    assert_eq!(circle.sends(2, Send, at(1), 0), Some(Ok(())));
}

#[test]
fn the_dead_release_those_who_wait_for_them() {
    let mut kernel = three();
    assert_eq!(kernel.sends(1, Send, at(0), 0), None);
    assert_eq!(kernel.sends(2, SendRec, at(0), 0), None);
    assert_eq!(kernel.traps(0, Notify, at(1)), Some(Ok(())));
    kernel.exit(Slot::new(0), 0);
    for waiting in [1, 2] {
        assert_eq!(kernel.returned(waiting), Some(Err(Errno::EDEADSRCDST)));
        assert_eq!(kernel.traps(waiting, Receive, at(0)), Some(Err(Errno::EDEADSRCDST)));
        assert_eq!(kernel.traps(waiting, Notify, at(0)), Some(Err(Errno::EDEADSRCDST)));
    }
    assert_eq!(kernel.machine.released, [0]);
    assert!(kernel.processes.process(Slot::new(1)).notifications.first().is_none());
}

#[test]
fn a_queue_survives_the_death_of_one_in_its_middle() {
    let mut kernel = kernel(&[service(0), service(1), service(2), service(3)]);
    for sender in 1..4 {
        assert_eq!(kernel.sends(sender, Send, at(0), u32::from(sender)), None);
    }
    kernel.exit(Slot::new(2), 0);
    for expected in [at(1), at(3)] {
        assert_eq!(kernel.traps(0, Receive, Endpoint::ANY), Some(Ok(())));
        assert_eq!(kernel.received(0).0, expected);
    }
    assert_eq!(kernel.traps(0, Receive, Endpoint::ANY), None);
}

/// Everything that the table promises, whatever has happened.
pub(crate) fn check_invariants(kernel: &Kernel<Fake>) {
    let mut waiting = 0;
    for (slot, process) in kernel.processes.iter() {
        for sender in process.callers.iter(&kernel.links) {
            waiting += 1;
            let ipc = kernel.processes.process(sender).ipc;
            assert!(
                matches!(ipc, Ipc::Sending { to, .. } if to == slot),
                "{sender:?} queues at {slot:?} but is {ipc:?}"
            );
            let sender = kernel.processes.process(sender);
            let (class, number) = sender.says();
            let is_wanted =
                process.would_receive_from(sender.endpoint) && process.admits(sender.endpoint, class, number);
            assert!(!is_wanted, "a rendezvous was missed");
        }
        if let Ipc::Receiving { from, in_sendrec } = process.ipc {
            let is_special = from == Endpoint::ANY || Notifier::special(from).is_some();
            assert!(is_special || kernel.processes.find(from).is_some(), "waits for the dead");
            assert!(
                in_sendrec || kernel.pending_notification(slot, from).is_none(),
                "a notification was missed"
            );
            let mut letters = process.mailbox.iter(&kernel.mail);
            assert!(letters.all(|letter| !suits(process, letter, from, in_sendrec)), "a letter was missed");
        }
    }
    let sending = kernel.processes.iter().filter(|(_, process)| matches!(process.ipc, Ipc::Sending { .. }));
    assert_eq!(sending.count(), waiting, "each sender is in one queue");
    let runnable = kernel.processes.iter().filter(|(_, process)| process.is_ready());
    let runnable: Vec<_> = runnable.map(|(slot, process)| (slot, process.priority)).collect();
    assert_eq!(kernel.ready.members(&kernel.links), runnable);
    assert_no_circle(kernel);
}

/// No process waits for itself through others. That one may receive from itself is MINIX's rule; who
/// receives from one that its own filters hold back has itself to blame.
fn assert_no_circle(kernel: &Kernel<Fake>) {
    for (start, _) in kernel.processes.iter() {
        let mut at = start;
        for _ in 0..kernel.processes.len() {
            let is_open = kernel.processes.process(at).filters.is_empty();
            let Some((next, _)) = kernel.waits_for(at).filter(|(next, _)| is_open && *next != at) else {
                break;
            };
            assert_ne!(next, start, "a circle of waiting processes: {}", circle(kernel, start));
            at = next;
        }
    }
}

/// Who waits for whom, from a process of a circle on.
fn circle(kernel: &Kernel<Fake>, start: Slot) -> String {
    let mut text = String::new();
    let mut at = start;
    loop {
        let process = kernel.processes.process(at);
        let (next, half) = kernel.waits_for(at).expect("it is in a circle");
        text += &format!("{at:?} ({:?}, {}) -> {half:?} ", process.ipc, process.stops);
        at = next;
        if at == start {
            return text;
        }
    }
}

#[test]
fn a_scheduler_learns_of_asynchronous_messages_too() {
    let mut kernel = kernel(&[service(0), service(1)]);
    for count in 1..=3 {
        assert_eq!(kernel.sends_async(0, at(1), AsyncFlags::NONE), Some(Ok(())));
        assert_eq!(kernel.processes.process(Slot::new(0)).usage.messages, count);
    }
    assert_eq!(kernel.sends_async(0, at(7), AsyncFlags::NONE), Some(Err(Errno::EDEADSRCDST)));
    assert_eq!(kernel.processes.process(Slot::new(0)).usage.messages, 3);
}

#[test]
fn what_a_sender_has_on_its_way_is_bounded_and_its_own_doing() {
    let mut kernel = kernel(&[service(0), service(1), service(2), program(3)]);
    let flags = AsyncFlags::NONE;
    assert_eq!(kernel.sends_async(3, at(0), flags), Some(Err(Errno::EPERM)));
    assert_eq!(kernel.sends_async(0, at(7), flags), Some(Err(Errno::EDEADSRCDST)));
    assert_eq!(kernel.sends_async(0, Endpoint::SYSTEM, flags), Some(Err(Errno::ECALLDENIED)));
    for _ in 0..SHARE {
        assert_eq!(kernel.sends_async(0, at(1), flags), Some(Ok(())));
    }
    assert_eq!(kernel.sends_async(0, at(2), flags), Some(Err(Errno::ENOBUFS)));
    assert_eq!(kernel.sends_async(2, at(1), flags), Some(Ok(())));
    // What is taken at once needs no room.
    assert_eq!(kernel.traps(2, Receive, Endpoint::ANY), None);
    assert_eq!(kernel.sends_async(0, at(2), flags), Some(Ok(())));
    assert_eq!(kernel.traps(1, Receive, Endpoint::ANY), Some(Ok(())));
    assert_eq!(kernel.sends_async(0, Endpoint::SELF, flags), Some(Ok(())));
    assert_eq!(kernel.sends_async(0, at(1), flags), Some(Err(Errno::ENOBUFS)));
    kernel.exit(Slot::new(1), 0);
    for _ in 1..SHARE {
        assert_eq!(kernel.sends_async(0, at(2), flags), Some(Ok(())));
    }
    assert_eq!(kernel.sends_async(0, at(2), flags), Some(Err(Errno::ENOBUFS)));
}

#[test]
fn nobody_can_fill_the_share_of_another() {
    let mut kernel = kernel(&[service(0), service(1), service(2), service(3), service(4), service(5)]);
    for hostile in 1..5 {
        let sent = core::iter::repeat_with(|| kernel.sends_async(hostile, at(0), AsyncFlags::NONE));
        assert_eq!(sent.take(1000).filter(|outcome| *outcome == Some(Ok(()))).count(), SHARE as usize);
    }
    for _ in 0..SHARE {
        assert_eq!(kernel.sends_async(5, at(0), AsyncFlags::NONE), Some(Ok(())));
    }
}

#[test]
fn an_asynchronous_send_is_a_primitive_that_may_be_forbidden() {
    let traps = !abi::ipc::Primitive::SendA.bit();
    let mut kernel = kernel(&[Process { traps, ..service(0) }, service(1)]);
    for (to, error) in [
        (at(7), Errno::EDEADSRCDST),
        (Endpoint::SYSTEM, Errno::ECALLDENIED),
        (at(1), Errno::ETRAPDENIED),
        (Endpoint::SELF, Errno::ETRAPDENIED),
    ] {
        assert_eq!(kernel.sends_async(0, to, AsyncFlags::NONE), Some(Err(error)));
    }
}
