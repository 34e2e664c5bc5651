//! Records on a line of bytes, which may carry other bytes too, or noise.
//!
//! ```text
//! 0    1    2       3           7         9                 9+n       13+n
//! +----+----+-------+-----------+---------+------ ~ --------+---------+
//! | 1E | 54 | kind  | sequence  | n       | payload         | tag     |      little-endian
//! +----+----+-------+-----------+---------+------ ~ --------+---------+
//! ```
//!
//! The tag is the lower half of the SipHash-2-4 of everything from the kind to the payload, by a key of 64 bits that is
//! not sent. On a line that nobody else writes to the key is 0, and the tag tells whether a record is whole. On a shared
//! line both ends agree on a key for each run, so that nothing that others print looks like a record: not even who has
//! read records from the line can make others, as he could if the tag were a checksum that anybody can calculate back.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

mod reader;
#[cfg(test)]
mod tests;

pub use reader::{Item, Reader, Record};

use core::fmt;
use core::hash::Hasher as _;
use crc::{CRC_32_ISCSI, Crc};
use siphasher::sip::SipHasher24;

/// Bytes that a payload has at most.
pub const PAYLOAD_LIMIT: usize = 1024;

/// What each record starts with.
const START: [u8; 2] = [0x1e, b'T'];
/// Bytes before the payload.
const HEADER: usize = 9;
/// Bytes after the payload.
const TAG: usize = 4;
/// Bytes that a record has at most.
const RECORD_LIMIT: usize = HEADER + PAYLOAD_LIMIT + TAG;

/// The sum by which what records carry in pieces is known to be whole: CRC-32C.
pub static CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// What a record is. What its number means is a matter of those who use the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind(pub u8);

/// A payload has more than [`PAYLOAD_LIMIT`] bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a record holds {PAYLOAD_LIMIT} bytes at most")
    }
}

impl core::error::Error for TooLong {}

/// Makes records, and numbers them from 0 on.
#[derive(Clone, Debug)]
pub struct Writer {
    key: u64,
    next: u32,
}

impl Writer {
    /// A writer to a line with that key.
    #[must_use]
    pub const fn new(key: u64) -> Self {
        Self::from(key, 0)
    }

    /// A writer that goes on where another one has left off: its first record has the number `next`.
    #[must_use]
    pub const fn from(key: u64, next: u32) -> Self {
        Self { key, next }
    }

    /// Gives the bytes of a record to `put`.
    ///
    /// # Errors
    /// If the payload is too long; nothing is written then.
    pub fn record(&mut self, kind: Kind, payload: &[u8], put: &mut impl FnMut(u8)) -> Result<(), TooLong> {
        let length = u16::try_from(payload.len()).map_err(|_| TooLong)?;
        if payload.len() > PAYLOAD_LIMIT {
            return Err(TooLong);
        }
        let mut header = [0; HEADER];
        header[..2].copy_from_slice(&START);
        header[2] = kind.0;
        header[3..7].copy_from_slice(&self.next.to_le_bytes());
        header[7..].copy_from_slice(&length.to_le_bytes());
        let tag = tag(self.key, &header[2..], payload);
        header.iter().chain(payload).chain(&tag).for_each(|byte| put(*byte));
        self.next = self.next.wrapping_add(1);
        Ok(())
    }
}

fn tag(key: u64, header: &[u8], payload: &[u8]) -> [u8; TAG] {
    let mut hasher = SipHasher24::new_with_keys(key, 0);
    hasher.write(header);
    hasher.write(payload);
    let [tag @ .., _, _, _, _] = hasher.finish().to_le_bytes();
    tag
}
