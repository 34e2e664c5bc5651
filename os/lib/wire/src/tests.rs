use super::{HEADER, Item, Kind, PAYLOAD_LIMIT, Reader, TAG, TooLong, Writer};
use std::cell::Cell;

const KEY: u64 = 0x1234_5678_9abc_def0;

/// A record, or bytes of none, however many items they came in.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Record(u32, u8, Vec<u8>),
    Bytes(Vec<u8>),
}

/// How many bytes it has on the line.
fn size_of_item(item: &Item<'_>) -> u64 {
    let bytes = match item {
        Item::Record(record) => HEADER + record.payload.len() + TAG,
        Item::Bytes(bytes) => bytes.len(),
    };
    bytes as u64
}

/// What a reader gives for bytes that come in these pieces.
fn read<'a>(key: u64, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Part> {
    let mut reader = Reader::new(key);
    let mut parts = vec![];
    let (mut pushed, given) = (0, Cell::new(0));
    let mut give = |item: Item<'_>| {
        given.set(given.get() + size_of_item(&item));
        match (item, parts.last_mut()) {
            (Item::Record(record), _) => {
                parts.push(Part::Record(record.sequence, record.kind.0, record.payload.to_vec()));
            }
            (Item::Bytes(bytes), Some(Part::Bytes(before))) => before.extend(bytes),
            (Item::Bytes(bytes), _) => parts.push(Part::Bytes(bytes.to_vec())),
        }
    };
    for piece in pieces {
        reader.push(piece, &mut give);
        pushed += piece.len() as u64;
        assert_eq!(reader.held_from(), (given.get() < pushed).then(|| given.get()));
    }
    reader.end(&mut give);
    assert_eq!((reader.held_from(), given.get()), (None, pushed));
    assert!(!parts.contains(&Part::Bytes(vec![])));
    parts
}

fn read_whole(key: u64, bytes: &[u8]) -> Vec<Part> {
    read(key, [bytes])
}

/// The bytes of these parts, if their records are numbered as those of a writer.
fn bytes_of(key: u64, parts: &[Part]) -> Vec<u8> {
    let mut writer = Writer::new(key);
    let mut line = vec![];
    for part in parts {
        match part {
            Part::Record(sequence, kind, payload) => {
                writer.next = *sequence;
                writer.record(Kind(*kind), payload, &mut |byte| line.push(byte)).expect("it fits");
            }
            Part::Bytes(bytes) => line.extend(bytes),
        }
    }
    line
}

fn record(sequence: u32, kind: u8, payload: &[u8]) -> Part {
    Part::Record(sequence, kind, payload.to_vec())
}

fn bytes(bytes: &[u8]) -> Part {
    Part::Bytes(bytes.to_vec())
}

/// Records with other bytes between and around them.
fn mixed() -> Vec<Part> {
    vec![
        bytes(b"login: \x1e"),
        record(0, 1, b""),
        record(1, 0xff, b"\x1eT\x1eT\x1e"),
        bytes(b"\x1eX\x1e\x1e"),
        record(2, 7, &[0x1e; 40]),
        bytes(b"bye\r\n\x1eT"),
    ]
}

/// Numbers as good as random, the same in each run (xorshift64).
fn random(seed: u64) -> impl Iterator<Item = u64> {
    std::iter::successors(Some(seed), |last| {
        let mut next = *last;
        next ^= next << 13;
        next ^= next >> 7;
        Some(next ^ next << 17)
    })
}

#[test]
fn a_record_is_as_the_drawing_says() {
    // Checked against another implementation of SipHash-2-4.
    let line = bytes_of(KEY, &[record(0x0403_0201, 5, b"hello")]);
    assert_eq!(line[..HEADER], [0x1e, 0x54, 5, 1, 2, 3, 4, 5, 0]);
    assert_eq!(&line[HEADER..14], b"hello");
    assert_eq!(line[14..], 0x72d4_553f_u32.to_le_bytes());
}

#[test]
fn what_was_written_is_read() {
    assert_eq!(read_whole(KEY, &bytes_of(KEY, &mixed())), mixed());
    assert_eq!(read_whole(0, &bytes_of(0, &mixed())), mixed());
    let largest = [record(0, 3, &[0x1e; PAYLOAD_LIMIT])];
    assert_eq!(read_whole(KEY, &bytes_of(KEY, &largest)), largest);
}

#[test]
fn a_writer_numbers_its_records_and_refuses_what_is_too_long() {
    let mut line = vec![];
    let mut writer = Writer::new(KEY);
    let mut put = |byte| line.push(byte);
    assert_eq!(writer.record(Kind(1), b"a", &mut put), Ok(()));
    for length in [PAYLOAD_LIMIT + 1, 1 << 16, (1 << 16) + 1] {
        assert_eq!(writer.record(Kind(1), &vec![0; length], &mut put), Err(TooLong));
    }
    writer.next = u32::MAX;
    assert_eq!(writer.record(Kind(2), b"b", &mut put), Ok(()));
    assert_eq!(writer.record(Kind(3), b"c", &mut put), Ok(()));
    let expected = [record(0, 1, b"a"), record(u32::MAX, 2, b"b"), record(0, 3, b"c")];
    assert_eq!(read_whole(KEY, &line), expected);
}

#[test]
fn it_does_not_matter_in_which_pieces_bytes_come() {
    let line = bytes_of(KEY, &mixed());
    for first in 0..=line.len() {
        for second in first..=line.len() {
            let pieces = [&line[..first], &line[first..second], &line[second..]];
            assert_eq!(read(KEY, pieces), mixed(), "split at {first} and {second}");
        }
    }
    assert_eq!(read(KEY, line.chunks(1)), mixed());
}

#[test]
fn a_flipped_bit_makes_no_other_record_and_loses_no_byte() {
    let parts = mixed();
    let line = bytes_of(KEY, &parts);
    for bit in 0..line.len() * 8 {
        let mut damaged = line.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let read = read_whole(KEY, &damaged);
        for part in read.iter().filter(|part| matches!(part, Part::Record(..))) {
            assert!(parts.contains(part), "bit {bit} makes {part:?}");
        }
        let lost = parts.iter().filter(|part| matches!(part, Part::Record(..)) && !read.contains(part));
        assert!(lost.count() <= 1, "bit {bit} takes more than the record that it is in");
        assert_eq!(bytes_of(KEY, &read), damaged, "bit {bit}");
    }
}

#[test]
fn a_record_with_another_key_is_bytes() {
    for key in [0, KEY ^ 1, KEY ^ 1 << 63, !KEY] {
        let line = bytes_of(key, &[record(0, 1, b"forged"), record(1, 2, b"")]);
        assert_eq!(read_whole(KEY, &line), [bytes(&line)]);
    }
}

#[test]
fn what_is_too_short_for_a_record_comes_as_it_is() {
    let line = bytes_of(KEY, &[record(0, 1, b"truncated")]);
    for length in 1..line.len() {
        assert_eq!(read_whole(KEY, &line[..length]), [bytes(&line[..length])]);
        // Nor does the rest of it make one.
        assert_eq!(read_whole(KEY, &line[length..]), [bytes(&line[length..])]);
    }
    assert_eq!(read_whole(KEY, b""), []);
}

#[test]
fn what_starts_like_a_record_does_not_hide_the_one_behind_it() {
    let inner = bytes_of(KEY, &[record(4, 1, b"inner")]);
    let fronts: [&[u8]; 7] = [
        b"\x1e",
        b"\x1eT",
        b"\x1eT\x1eT\x1eT\x1e",
        // Headers of records that are longer than all that follows, of some that end in it, and of one that is too long.
        b"\x1eT\x01\0\0\0\0\0\x04",
        b"\x1eT\x01\0\0\0\0\x05\0",
        b"\x1eT\x01\0\0\0\0\0\0\x1eT\x01\0\0\0\0\0\x02",
        b"\x1eT\x01\0\0\0\0\x01\x04",
    ];
    for front in fronts {
        let line = [front, &inner, b"after"].concat();
        let expected = [bytes(front), record(4, 1, b"inner"), bytes(b"after")];
        assert_eq!(read_whole(KEY, &line), expected, "{}", front.escape_ascii());
        assert_eq!(read(KEY, line.chunks(1)), expected, "{}", front.escape_ascii());
    }
    // A record in the payload of another one is its payload.
    let outer = [record(0, 1, &inner)];
    assert_eq!(read_whole(KEY, &bytes_of(KEY, &outer)), outer);
}

#[test]
fn what_can_be_no_record_is_given_at_once() {
    let mut given = vec![];
    let mut reader = Reader::new(KEY);
    for piece in [&b"a"[..], b"\x1e", b"b", b"\x1eT\0\0\0\0\0\xff", b"\xff", b"c"] {
        reader.push(piece, &mut |item| given.push(format!("{item:?}")));
        given.push("-".into());
    }
    let expected = ["Bytes([97])", "-", "-", "Bytes([30, 98])", "-", "-"];
    assert_eq!(given[..6], expected);
    assert_eq!(given[6..], ["Bytes([30, 84, 0, 0, 0, 0, 0, 255, 255])", "-", "Bytes([99])", "-"]);
}

#[test]
fn a_reader_that_came_to_an_end_starts_anew() {
    let line = bytes_of(KEY, &[record(0, 1, b"first")]);
    let mut reader = Reader::new(KEY);
    let mut records = 0;
    let mut count = |item: Item<'_>| records += u32::from(matches!(item, Item::Record(_)));
    reader.push(&line[..10], &mut count);
    reader.end(&mut count);
    reader.push(&line, &mut count);
    reader.end(&mut count);
    assert_eq!(records, 1);
}

#[test]
fn noise_comes_through_unchanged() {
    let mut numbers = random(0x7e55_e7a1);
    for round in 0..40 {
        // Half of it looks like the start of records, which is the worst that noise can be.
        let mut noise: Vec<u8> = vec![];
        let mut last = vec![];
        while noise.len() < 100_000 {
            let number = numbers.next().expect("there is always one more");
            let kind = if round % 2 == 0 { 0 } else { number % 4 };
            match kind {
                1 => noise.extend(b"\x1eT"),
                2 => noise.extend([
                    0x1e,
                    b'T',
                    0,
                    0,
                    0,
                    0,
                    0,
                    number.to_le_bytes()[1],
                    number.to_le_bytes()[2] % 5,
                ]),
                _ => noise.extend(number.to_le_bytes()),
            }
            last = number.to_le_bytes().to_vec();
        }
        let size = 1 + usize::from(last[3]) * 5;
        assert_eq!(read(KEY, noise.chunks(size)), [bytes(&noise)], "round {round}");
    }
}

/// Of a checksum one could calculate back from one record to what all of them start with.
#[test]
fn records_that_were_read_help_nobody_to_make_others() {
    let tag = |key, payload: &[u8]| {
        let line = bytes_of(key, &[record(0, 1, payload)]);
        u32::from_le_bytes(*line.last_chunk().expect("it is longer"))
    };
    let differences = [KEY, KEY + 1, !KEY].map(|key| tag(key, b"one") ^ tag(key, b"two"));
    assert!(differences[0] != differences[1] && differences[0] != differences[2], "{differences:x?}");
}
