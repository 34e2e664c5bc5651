//! Finds the records in what comes over a line.

use crate::{HEADER, Kind, PAYLOAD_LIMIT, RECORD_LIMIT, START, TAG, tag};

/// A record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its number among those of its writer.
    pub sequence: u32,
    /// What it is.
    pub kind: Kind,
    /// What it carries.
    pub payload: &'a [u8],
}

/// A part of what came over a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// A record.
    Record(Record<'a>),
    /// Bytes of no record; never none. A row of such bytes may come in several items.
    Bytes(&'a [u8]),
}

/// Takes bytes as they come, and gives records and other bytes in their order. No byte is lost: what starts
/// like a record and is none is given as it came, and what follows its first byte is looked at anew.
#[derive(Clone, Debug)]
pub struct Reader {
    key: u64,
    /// What may become a record: empty, or starts with the first byte of one.
    held: [u8; RECORD_LIMIT],
    len: usize,
    /// How many bytes there must be to tell more of them; more than there are.
    wanted: usize,
    /// How many bytes came so far.
    taken: u64,
}

/// What bytes are that start with the first byte of a record.
enum Found<'a> {
    /// A record, and how long it is.
    Record(Record<'a>, usize),
    /// No record, whatever follows.
    Nothing,
    /// They are too few: there must be so many.
    Start(usize),
}

impl Reader {
    /// A reader of a line with that key.
    #[must_use]
    pub const fn new(key: u64) -> Self {
        Self { key, held: [0; RECORD_LIMIT], len: 0, wanted: START.len(), taken: 0 }
    }

    /// If something is kept back: which byte of all that came it starts with.
    #[must_use]
    pub fn held_from(&self) -> Option<u64> {
        (self.len > 0).then(|| self.taken - self.len as u64)
    }

    /// Takes bytes, and gives to `give` what they are. Those that may be the start of a record are kept back, at
    /// most as many as a record has.
    pub fn push(&mut self, bytes: &[u8], give: &mut impl FnMut(Item<'_>)) {
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.len == 0 {
                let (others, from_start) = rest.split_at(next_start(rest, 0));
                self.taken += others.len() as u64;
                give_bytes(others, give);
                rest = from_start;
            }
            let (more, behind) = rest.split_at(rest.len().min(self.wanted - self.len));
            self.held[self.len..self.len + more.len()].copy_from_slice(more);
            self.len += more.len();
            self.taken += more.len() as u64;
            rest = behind;
            if self.len == self.wanted {
                self.settle(give);
            }
        }
    }

    /// Nothing more comes: gives what was kept back. The reader can then be used for another line.
    pub fn end(&mut self, give: &mut impl FnMut(Item<'_>)) {
        while self.len > 0 {
            // It is too short for a record, but there may be one in it.
            let end = next_start(&self.held[..self.len], 1);
            give_bytes(&self.held[..end], give);
            self.drop_first(end);
            self.settle(give);
        }
    }

    /// Gives all that is known of the bytes that are held.
    fn settle(&mut self, give: &mut impl FnMut(Item<'_>)) {
        let mut start = 0;
        while start < self.len {
            let bytes = &self.held[start..self.len];
            let (length, is_record) = match look(self.key, bytes) {
                Found::Start(wanted) => {
                    self.wanted = wanted;
                    break;
                }
                Found::Record(record, length) => {
                    give(Item::Record(record));
                    (length, true)
                }
                Found::Nothing => (1, false),
            };
            let end = next_start(bytes, length);
            give_bytes(&bytes[if is_record { length } else { 0 }..end], give);
            start += end;
        }
        self.drop_first(start);
    }

    fn drop_first(&mut self, count: usize) {
        self.held.copy_within(count..self.len, 0);
        self.len -= count;
        if self.len == 0 {
            self.wanted = START.len();
        }
    }
}

fn give_bytes(bytes: &[u8], give: &mut impl FnMut(Item<'_>)) {
    if !bytes.is_empty() {
        give(Item::Bytes(bytes));
    }
}

/// Where a record may start, not before `from`; the end if nowhere.
fn next_start(bytes: &[u8], from: usize) -> usize {
    let found = bytes[from..].iter().position(|byte| *byte == START[0]);
    found.map_or(bytes.len(), |place| from + place)
}

fn look(key: u64, bytes: &[u8]) -> Found<'_> {
    let Some(start) = bytes.first_chunk() else { return Found::Start(START.len()) };
    if *start != START {
        return Found::Nothing;
    }
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER>() else { return Found::Start(HEADER) };
    let [_, _, kind, a, b, c, d, low, high] = *header;
    let length = usize::from(u16::from_le_bytes([low, high]));
    if length > PAYLOAD_LIMIT {
        return Found::Nothing;
    }
    let end = HEADER + length + TAG;
    let Some((payload, rest)) = rest.split_at_checked(length) else { return Found::Start(end) };
    let Some(sent) = rest.first_chunk::<TAG>() else { return Found::Start(end) };
    if *sent != tag(key, &header[START.len()..], payload) {
        return Found::Nothing;
    }
    let sequence = u32::from_le_bytes([a, b, c, d]);
    Found::Record(Record { sequence, kind: Kind(kind), payload }, end)
}
