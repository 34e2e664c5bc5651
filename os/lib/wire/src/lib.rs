//! Records on a line of bytes, which may carry other bytes too, or noise.
//!
//! ```text
//! 0    1    2       3           7         9                 9+n       13+n
//! +----+----+-------+-----------+---------+------ ~ --------+---------+
//! | 1E | 54 | kind  | sequence  | n       | payload         | CRC-32C |      little-endian
//! +----+----+-------+-----------+---------+------ ~ --------+---------+
//! ```
//!
//! The checksum is that of a key of 64 bits, which is not sent, followed by everything from the kind
//! to the payload. On a line that nobody else writes to the key is 0. On a shared line both ends agree
//! on one for each run, so that nothing that others print looks like a record. That is no cryptography:
//! who has read a record from the line can make others.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

mod reader;
#[cfg(test)]
mod tests;

pub use reader::{Item, Reader, Record};

use core::fmt;
use crc::{CRC_32_ISCSI, Crc};

/// Bytes that a payload has at most.
pub const PAYLOAD_LIMIT: usize = 1024;

/// What each record starts with.
const START: [u8; 2] = [0x1e, b'T'];
/// Bytes before the payload.
const HEADER: usize = 9;
/// Bytes after the payload.
const CHECKSUM: usize = 4;
/// Bytes that a record has at most.
const RECORD_LIMIT: usize = HEADER + PAYLOAD_LIMIT + CHECKSUM;

/// The sum by which records, and what they carry in pieces, are known to be whole: CRC-32C.
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
        let checksum = checksum(self.key, &header[2..], payload).to_le_bytes();
        header.iter().chain(payload).chain(&checksum).for_each(|byte| put(*byte));
        self.next = self.next.wrapping_add(1);
        Ok(())
    }
}

fn checksum(key: u64, header: &[u8], payload: &[u8]) -> u32 {
    let mut digest = CRC.digest();
    digest.update(&key.to_le_bytes());
    digest.update(header);
    digest.update(payload);
    digest.finalize()
}
