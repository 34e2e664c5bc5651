//! Endpoints, grants, errors, names and byte strings: what is a value of them and what is not.

use abi::{Bytes, Callers, Endpoint, Errno, Grant, GrantId, Name, Pid, Wire};
use std::collections::BTreeSet;

const SPECIALS: [(Endpoint, &str); 6] = [
    (Endpoint::NONE, "none"),
    (Endpoint::ANY, "any"),
    (Endpoint::SELF, "self"),
    (Endpoint::HARDWARE, "hardware"),
    (Endpoint::CLOCK, "clock"),
    (Endpoint::SYSTEM, "system"),
];

fn bytes_of<T: Wire>(value: &T) -> Vec<u8> {
    let mut bytes = vec![0xee; T::SIZE];
    value.put(&mut bytes);
    bytes
}

#[test]
fn an_endpoint_keeps_its_slot_and_its_generation() {
    for slot in 0..Endpoint::SLOTS {
        for generation in
            [1, 2, 3, 0x7fff, 0x8000, 0x1_0000, Endpoint::LAST_GENERATION - 1, Endpoint::LAST_GENERATION]
        {
            let endpoint = Endpoint::new(slot, generation).unwrap();
            assert_eq!((endpoint.slot(), endpoint.generation()), (Some(slot), generation));
            assert_eq!(Endpoint::from_bits(endpoint.to_bits()), endpoint);
            assert!(SPECIALS.iter().all(|(special, _)| *special != endpoint));
        }
    }
}

#[test]
fn an_endpoint_out_of_range_cannot_be_put_together() {
    for slot in Endpoint::SLOTS..=u16::MAX {
        assert_eq!(Endpoint::new(slot, 1), None);
    }
    assert_eq!(Endpoint::new(0, 0), None);
    assert_eq!(Endpoint::new(0, Endpoint::LAST_GENERATION + 1), None);
    assert_eq!(Endpoint::new(Endpoint::SLOTS - 1, u32::MAX), None);
}

#[test]
fn the_processes_of_the_boot_image_are_the_first_of_their_slots() {
    assert_eq!(Some(Endpoint::at_boot(5)), Endpoint::new(5, 1));
}

#[test]
#[should_panic(expected = "not a slot of a process")]
fn no_process_of_the_boot_image_has_a_special_slot() {
    let _ = Endpoint::at_boot(Endpoint::SLOTS);
}

#[test]
fn the_successor_is_another_process_of_the_same_slot() {
    let first = Endpoint::at_boot(9);
    assert_eq!(Some(first.successor()), Endpoint::new(9, 2));
    let mut endpoint = first;
    let mut generations = 0;
    while generations == 0 || endpoint != first {
        endpoint = endpoint.successor();
        generations += 1;
        assert_eq!(endpoint.slot(), Some(9), "generation 0 would have no slot");
    }
    assert_eq!(generations, Endpoint::LAST_GENERATION, "all generations have their turn");
}

#[test]
fn the_last_generation_is_followed_by_the_first() {
    for slot in 0..Endpoint::SLOTS {
        let last = Endpoint::new(slot, Endpoint::LAST_GENERATION).unwrap();
        assert_eq!(last.successor(), Endpoint::at_boot(slot));
    }
}

#[test]
fn special_endpoints_are_no_processes() {
    for (endpoint, text) in SPECIALS {
        assert_eq!((endpoint.slot(), endpoint.generation()), (None, 0), "{text}");
        assert_eq!(endpoint.to_string(), text);
    }
    let distinct: BTreeSet<_> = SPECIALS.iter().map(|(endpoint, _)| *endpoint).collect();
    assert_eq!(distinct.len(), SPECIALS.len());
    assert_eq!(Endpoint::default(), Endpoint::NONE);
}

#[test]
fn all_32_bits_can_be_looked_at() {
    // Both halves take every value, against a few of the other.
    let halves = (0..=u16::MAX).map(u32::from);
    let others = [0, 1, 0x7eff, 0x7f00, 0x7f01, 0x7fff, 0x8000, 0xff05, 0xffff];
    for bits in halves
        .flat_map(|half| others.into_iter().flat_map(move |other| [half << 16 | other, other << 16 | half]))
    {
        let endpoint = Endpoint::from_bits(bits);
        assert_eq!(endpoint.to_bits(), bits);
        match endpoint.slot() {
            Some(slot) => assert_eq!(Endpoint::new(slot, endpoint.generation()), Some(endpoint)),
            None => assert!(endpoint.generation() == 0 || bits & 0x7fff >= 0x7f00),
        }
        assert_ne!(endpoint.successor().generation(), 0);
        assert_eq!(Endpoint::get(&bytes_of(&endpoint)), Some(endpoint));
    }
}

#[test]
fn an_endpoint_is_shown_as_short_as_it_can_be_told_apart() {
    let check = |endpoint: Endpoint, expected: &str| {
        assert_eq!(endpoint.to_string(), expected);
        assert_eq!(format!("{endpoint:?}"), expected);
    };
    check(Endpoint::at_boot(0), "0");
    check(Endpoint::at_boot(7), "7");
    check(Endpoint::at_boot(7).successor().successor(), "7.3");
    check(Endpoint::new(0x7eff, Endpoint::LAST_GENERATION).unwrap(), "32511.131071");
    check(Endpoint::from_bits(7), "invalid 0x00000007");
    check(Endpoint::from_bits(0xffff_ffff), "invalid 0xffffffff");
}

#[test]
fn a_grant_id_keeps_its_index_and_its_sequence() {
    for index in [0, 1, 0xffff, GrantId::INDICES - 1] {
        for sequence in [0, 1, GrantId::BLOCK, u32::MAX.into(), GrantId::SEQUENCES - 1] {
            let id = GrantId::new(index, sequence).unwrap();
            assert_eq!((id.index(), id.sequence()), (index, sequence));
            assert_eq!(GrantId::from_bits(id.to_bits()), id);
        }
    }
    assert_eq!(GrantId::new(GrantId::INDICES, 0), None);
    assert_eq!(GrantId::new(0, GrantId::SEQUENCES), None);
    assert_eq!(GrantId::new(u32::MAX, u64::MAX), None);
}

#[test]
fn all_64_bits_are_a_grant_id() {
    for bits in [0, 1, 0x000f_ffff, 0x0010_0000, 0x8000_0000, 1 << 63, u64::MAX] {
        let id = GrantId::from_bits(bits);
        assert_eq!(GrantId::new(id.index(), id.sequence()), Some(id));
    }
}

#[test]
fn a_grant_is_shown_as_what_it_covers() {
    let grant = Grant { id: GrantId::new(3, 11).unwrap(), len: 512 };
    assert_eq!(format!("{grant:?}"), "grant 3#11 of 512 bytes");
    assert_eq!(bytes_of(&grant), [3, 0, 0xb0, 0, 0, 0, 0, 0, 0, 2, 0, 0]);
    assert_eq!(Grant::get(&bytes_of(&grant)), Some(grant));
}

/// `/usr/include/asm-generic/errno-base.h` and `errno.h` of Linux, which x86-64 uses.
const LINUX: &str = "
    EPERM 1 ENOENT 2 ESRCH 3 EINTR 4 EIO 5 ENXIO 6 E2BIG 7 ENOEXEC 8 EBADF 9 ECHILD 10 EAGAIN 11 ENOMEM 12
    EACCES 13 EFAULT 14 ENOTBLK 15 EBUSY 16 EEXIST 17 EXDEV 18 ENODEV 19 ENOTDIR 20 EISDIR 21 EINVAL 22
    ENFILE 23 EMFILE 24 ENOTTY 25 ETXTBSY 26 EFBIG 27 ENOSPC 28 ESPIPE 29 EROFS 30 EMLINK 31 EPIPE 32 EDOM 33
    ERANGE 34 EDEADLK 35 ENAMETOOLONG 36 ENOLCK 37 ENOSYS 38 ENOTEMPTY 39 ELOOP 40 ENODATA 61 ETIME 62
    EPROTO 71 EBADMSG 74 EOVERFLOW 75 EILSEQ 84 ENOTSOCK 88 EDESTADDRREQ 89 EMSGSIZE 90 EPROTOTYPE 91
    ENOPROTOOPT 92 EPROTONOSUPPORT 93 EOPNOTSUPP 95 EAFNOSUPPORT 97 EADDRINUSE 98 EADDRNOTAVAIL 99
    ENETDOWN 100 ENETUNREACH 101 ECONNABORTED 103 ECONNRESET 104 ENOBUFS 105 EISCONN 106 ENOTCONN 107
    ETIMEDOUT 110 ECONNREFUSED 111 EHOSTUNREACH 113 EALREADY 114 EINPROGRESS 115 ESTALE 116 EDQUOT 122
    ECANCELED 125 EOWNERDEAD 130 ENOTRECOVERABLE 131";

#[test]
fn the_numbers_of_errors_are_those_of_linux() {
    let ours: Vec<String> = Errno::ALL
        .iter()
        .filter(|error| error.number() < 200)
        .flat_map(|error| [error.name().to_owned(), error.number().to_string()])
        .collect();
    assert_eq!(ours, LINUX.split_whitespace().collect::<Vec<_>>());
}

#[test]
fn errors_have_numbers_names_and_texts_of_their_own() {
    let numbers: Vec<u8> = Errno::ALL.iter().map(|error| error.number()).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b));
    assert_eq!(Errno::ALL.iter().map(|error| error.name()).collect::<BTreeSet<_>>().len(), numbers.len());
    for error in Errno::ALL {
        assert_eq!(Errno::from_number(error.number()), Some(*error));
        let is_fragment = !error.text().is_empty() && !error.text().starts_with(char::is_uppercase);
        assert!(is_fragment && !error.text().ends_with('.'), "{error:?}");
    }
    for number in (0..=u8::MAX).filter(|number| !numbers.contains(number)) {
        assert_eq!(Errno::from_number(number), None);
    }
}

#[test]
fn an_error_is_shown_by_its_meaning_and_its_name() {
    assert_eq!(Errno::ENOENT.to_string(), "no such file or entry (ENOENT)");
    assert_eq!(format!("{:?}", Errno::ENOENT), "ENOENT");
}

#[test]
fn a_status_that_no_error_has_is_a_bad_message() {
    for error in Errno::ALL {
        assert!(error.to_status() < 0);
        assert_eq!(Errno::from_status(error.to_status()), *error);
    }
    for status in [0, 1, 74, i32::MAX, -41, -132, -199, -217, -255, -256, -257, -258, i32::MIN + 1, i32::MIN]
    {
        assert_eq!(Errno::from_status(status), Errno::EBADMSG, "{status}");
    }
}

#[test]
fn a_name_has_1_to_48_printable_characters() {
    let longest = "n".repeat(48);
    for name in ["a", "!", "~", "tty.5/a_B", &longest] {
        assert_eq!(Name::new(name).unwrap().as_str(), name);
        assert_eq!(Name::new(name).unwrap().to_string(), name);
    }
    for none in ["", " ", "a b", "a\0", "\0", "a\n", "\x7f", "ü", "naïve", &"n".repeat(49), &"n".repeat(300)]
    {
        assert_eq!(Name::new(none), None, "{none:?}");
    }
}

#[test]
fn names_are_shown_quoted_for_debugging_and_padded_on_request() {
    let name = Name::new("d\"s").unwrap();
    assert_eq!(format!("{name:?}"), r#""d\"s""#);
    assert_eq!(format!("[{name:5}] [{name:>5}]"), "[d\"s  ] [  d\"s]");
}

#[test]
fn names_are_ordered_as_text() {
    let mut names = ["b", "ab", "a", "B"].map(|name| Name::new(name).unwrap());
    names.sort_unstable();
    assert_eq!(names.map(|name| name.to_string()), ["B", "a", "ab", "b"]);
}

#[test]
fn a_name_travels_padded_with_zeros() {
    for len in 1..=Name::SIZE {
        let name = Name::new(&"n".repeat(len)).unwrap();
        let bytes = bytes_of(&name);
        assert!(bytes[len..].iter().all(|byte| *byte == 0));
        assert_eq!(Name::get(&bytes), Some(name));
        for behind_the_end in len + 1..Name::SIZE {
            let mut bytes = bytes.clone();
            bytes[behind_the_end] = b'x';
            assert_eq!(Name::get(&bytes), None, "byte {behind_the_end} of a name of {len}");
        }
    }
}

#[test]
fn bytes_that_are_no_name_are_refused() {
    let with = |index: usize, byte| {
        let mut bytes = bytes_of(&Name::new(&"n".repeat(48)).unwrap());
        bytes[index] = byte;
        Name::get(&bytes)
    };
    for byte in (0..=b' ').chain(0x7f..=0xff) {
        assert_eq!(with(0, byte), None, "{byte:#x} first");
        assert_eq!(with(20, byte), None, "{byte:#x} inside");
        assert_eq!(with(47, byte).is_some(), byte == 0, "{byte:#x} last");
    }
    assert_eq!(Name::get(&[0; 48]), None);
}

#[test]
fn a_byte_string_takes_what_there_is_room_for() {
    let check = |from: &[u8], expected: &[u8]| assert_eq!(Bytes::<4>::first_of(from).as_slice(), expected);
    check(b"", b"");
    check(b"abcd", b"abcd");
    check(b"abcde", b"abcd");
    check(b"a\0", b"a\0");
    assert_eq!(Bytes::<0>::first_of(b"a"), Bytes::EMPTY);
    assert_eq!(Bytes::<255>::first_of(&[7; 256]).as_slice(), [7; 255]);
}

#[test]
fn byte_strings_differ_by_the_zeros_that_they_end_with() {
    assert_ne!(Bytes::<4>::first_of(b"a"), Bytes::first_of(b"a\0"));
    assert_eq!(format!("{:?}", Bytes::<4>::first_of(b"\"\n\x80")), r#""\"\n\x80""#);
}

#[test]
fn a_byte_string_travels_with_its_count_in_front() {
    for len in 0..=4 {
        let value = Bytes::<4>::first_of(&[0xff; 4][..len]);
        let bytes = bytes_of(&value);
        assert_eq!((bytes.len(), usize::from(bytes[0])), (5, len));
        assert_eq!(Bytes::<4>::get(&bytes), Some(value));
    }
    assert_eq!(Bytes::<255>::get(&[255; 256]), Some(Bytes::first_of(&[255; 255])));
    assert_eq!(Bytes::<0>::get(&[0]), Some(Bytes::EMPTY));
}

#[test]
fn a_byte_string_of_more_bytes_than_there_are_is_refused() {
    for count in 5..=u8::MAX {
        assert_eq!(Bytes::<4>::get(&[count, 0, 0, 0, 0]), None, "{count}");
    }
    assert_eq!(Bytes::<0>::get(&[1]), None);
    assert_eq!(Bytes::<4>::get(&[]), None);
}

#[test]
fn a_byte_string_with_something_behind_its_end_is_refused() {
    for count in 0..4 {
        let mut bytes = [count, 0, 0, 0, 0];
        assert!(Bytes::<4>::get(&bytes).is_some());
        bytes[4] = 1;
        assert_eq!(Bytes::<4>::get(&bytes), None, "{count}");
    }
}

#[test]
fn a_bool_is_0_or_1() {
    assert_eq!(bytes_of(&true), [1]);
    assert_eq!((bool::get(&[0]), bool::get(&[1])), (Some(false), Some(true)));
    for byte in 2..=u8::MAX {
        assert_eq!(bool::get(&[byte]), None);
    }
}

#[test]
fn integers_travel_with_their_low_byte_first() {
    assert_eq!(bytes_of(&0x0102_u16), [2, 1]);
    assert_eq!(bytes_of(&-2_i32), [0xfe, 0xff, 0xff, 0xff]);
    assert_eq!(bytes_of(&Pid(-1)), [0xff; 4]);
    assert_eq!(i64::get(&bytes_of(&i64::MIN)), Some(i64::MIN));
    assert_eq!(u32::get(&[1, 2, 3]), None);
}

#[test]
fn callers_are_a_set() {
    let both = Callers::PROGRAM.or(Callers::SERVICE);
    assert!(both.admits(Callers::PROGRAM) && both.admits(Callers::SERVICE) && !both.admits(Callers::RS));
    assert!(!both.admits(Callers(0)) && !Callers(0).admits(both));
    assert_eq!(format!("{both:?} {:?} {:?}", Callers(0), Callers::KERNEL), "program|service nobody kernel");
    // Bit 6 belongs to no kind of caller.
    assert_eq!(format!("{:?}", Callers(0xff)), "program|service|rs|pm|vfs|vm|kernel");
}
