//! The primitives: every error in its order, every order of delivery, and all short runs of
//! three processes.

use crate::fake::{Fake, at, kernel, program, service};
use crate::process::Ipc;
use crate::{Kernel, Next, Slot};
use abi::ipc::Primitive::{Notify, Receive, Send, SendRec};
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
    ] {
        assert_eq!(
            kernel.traps(caller, primitive, endpoint),
            Some(Err(expected)),
            "{caller} {primitive:?} {endpoint}"
        );
    }
    for number in [0, 5, 6, 8, 1 << 32 | 1, u64::MAX] {
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
fn check_invariants(kernel: &Kernel<Fake>) {
    let mut waiting = 0;
    for (slot, process) in kernel.processes.iter() {
        for sender in process.callers.iter(&kernel.links) {
            waiting += 1;
            let ipc = kernel.processes.process(sender).ipc;
            assert!(
                matches!(ipc, Ipc::Sending { to, .. } if to == slot),
                "{sender:?} queues at {slot:?} but is {ipc:?}"
            );
            assert!(
                !process.would_receive_from(kernel.processes.process(sender).endpoint),
                "a rendezvous was missed"
            );
        }
        if let Ipc::Receiving { from, in_sendrec } = process.ipc {
            assert!(from == Endpoint::ANY || kernel.processes.find(from).is_some(), "waits for the dead");
            assert!(
                in_sendrec || from != Endpoint::ANY || process.notifications.first().is_none(),
                "a notification was missed"
            );
        }
    }
    let sending = kernel.processes.iter().filter(|(_, process)| matches!(process.ipc, Ipc::Sending { .. }));
    assert_eq!(sending.count(), waiting, "each sender is in one queue");
    let runnable = kernel.processes.iter().any(|(_, process)| process.is_ready());
    assert_eq!(matches!(kernel.next(), Next::Run(_)), runnable);
    assert_no_circle(kernel);
}

/// No process waits for itself, through however many others.
fn assert_no_circle(kernel: &Kernel<Fake>) {
    for (start, _) in kernel.processes.iter() {
        let mut at = start;
        for _ in 0..kernel.processes.len() {
            let Some((next, _)) = kernel.waits_for(at) else { break };
            assert_ne!(next, start, "a circle of waiting processes");
            at = next;
        }
    }
}

/// Runs every sequence of `depth` operations, each by any process that can run.
fn explore(make: &dyn Fn() -> Kernel<Fake>, script: &mut Vec<(u16, u16)>, depth: usize, runs: &mut u64) {
    let mut kernel = make();
    for (actor, operation) in script.iter() {
        act(&mut kernel, *actor, *operation);
        check_invariants(&kernel);
    }
    *runs += 1;
    if depth == 0 {
        return;
    }
    for actor in 0..3 {
        let is_runnable =
            kernel.processes.get(Slot::new(actor)).is_some_and(|process| process.ipc == Ipc::Idle);
        for operation in (0..OPERATIONS).filter(|_| is_runnable) {
            script.push((actor, operation));
            explore(make, script, depth - 1, runs);
            script.pop();
        }
    }
}

const OPERATIONS: u16 = 10;

fn act(kernel: &mut Kernel<Fake>, actor: u16, operation: u16) {
    let (left, right) = (at((actor + 1) % 3), at((actor + 2) % 3));
    match operation {
        0 => drop(kernel.sends(actor, Send, left, 0)),
        1 => drop(kernel.sends(actor, Send, right, 0)),
        2 => drop(kernel.sends(actor, SendRec, left, 0)),
        3 => drop(kernel.sends(actor, SendRec, right, 0)),
        4 => drop(kernel.traps(actor, Receive, Endpoint::ANY)),
        5 => drop(kernel.traps(actor, Receive, left)),
        6 => drop(kernel.traps(actor, Receive, right)),
        7 => drop(kernel.traps(actor, Notify, left)),
        8 => drop(kernel.traps(actor, Notify, right)),
        _ => kernel.exit(Slot::new(actor), 0),
    }
}

#[test]
fn no_short_run_of_three_processes_breaks_the_table() {
    let mut runs = 0;
    explore(&three, &mut Vec::new(), 4, &mut runs);
    assert!(runs > 100_000, "only {runs} runs");
}

#[test]
fn no_long_random_run_breaks_the_table() {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..2_000 {
        let mut kernel = three();
        for _ in 0..60 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let actor = u16::try_from(random % 3).unwrap();
            // Ending is rare, or the runs would be short.
            let operation = u16::try_from(random >> 16 & 127).unwrap();
            let operation = if operation == 127 { 9 } else { operation % 9 };
            let can_run =
                kernel.processes.get(Slot::new(actor)).is_some_and(|process| process.ipc == Ipc::Idle);
            if can_run {
                act(&mut kernel, actor, operation);
                check_invariants(&kernel);
            }
        }
    }
}
