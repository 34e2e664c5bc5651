//! Protocols of device drivers.

use crate::Bytes;

crate::protocol! {
    /// The terminal: bytes to and from the console.
    tty = 0x0400;

    /// Writes bytes. Answered when the device has taken them all.
    1 write { bytes: Bytes<96> } returns {} fails [
        /// The device takes no more bytes.
        EIO,
    ] from PROGRAM | SERVICE;

    /// Reads what was typed: a line at most, newline included, as soon as there is one.
    2 read {
        /// How many bytes the caller wants, 1 to 96.
        limit: u8,
    } suspends { bytes: Bytes<96> } fails [
        /// The limit is out of range.
        EINVAL,
        /// Somebody else is reading.
        EBUSY,
    ] from PROGRAM | SERVICE;
}
