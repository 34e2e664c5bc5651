//! Signals, sets of them, and what of them fits in a notification.

use abi::{Signal, Signals, Wire};

#[test]
fn a_process_can_be_sent_the_signals_of_posix() {
    for number in 0..=u8::MAX {
        let read = Signal::get(&[number]).unwrap();
        assert_eq!(read.number(), number);
        assert_eq!(read.can_be_sent(), (1..=64).contains(&number), "{number}");
        assert_eq!(Signal::new(number), read.can_be_sent().then_some(read));
    }
    for signal in [Signal::SNDELAY, Signal::KMEM, Signal::KMESS, Signal::KSIGSM, Signal::KSIG] {
        assert!(!signal.can_be_sent(), "{signal}");
    }
}

#[test]
fn any_bits_are_a_set_of_signals() {
    for bits in [0, 1, 1 << 9, 1 << 74, 1 << 127, u128::MAX] {
        let set = Signals::from_bits(bits);
        assert_eq!(set.to_bits(), bits);
        let mut bytes = [0; Signals::SIZE];
        set.put(&mut bytes);
        assert_eq!(Signals::get(&bytes), Some(set));
        assert!(!format!("{set:?}").is_empty());
    }
    assert!(
        !Signals::from_bits(u128::MAX).contains(Signal::get(&[200]).unwrap()),
        "a number that no signal has"
    );
}

#[test]
fn a_set_is_what_was_put_into_it() {
    let mut set = Signals::of(&[Signal::USR1, Signal::HUP]);
    assert!(set.contains(Signal::HUP) && !set.contains(Signal::INT) && !set.is_empty());
    set.insert(Signal::KILL);
    assert_eq!(set.iter().map(Signal::number).collect::<Vec<_>>(), [1, 9, 10]);
    assert_eq!(format!("{set:?}"), "{SIGHUP, SIGKILL, SIGUSR1}");
    assert_eq!(format!("{:?}", Signal::new(40).unwrap()), "signal 40");
    assert!(set.intersects(Signals::TERMINATION) && !set.intersects(Signals::LETHAL));
    assert_eq!(set.union(Signals::LETHAL).iter().count(), 8);
}

#[test]
fn a_notification_carries_the_kernels_own_signals() {
    let kernels = Signals::of(&[Signal::KSIG, Signal::SNDELAY, Signal::KMEM]);
    assert_eq!(Signals::of_notification(kernels.to_notification()), kernels);
    assert_eq!(Signals::of(&[Signal::USR1]).to_notification(), 0, "getksig tells those");
}
