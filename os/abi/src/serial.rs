//! How a machine is given what it runs over a serial line, if it was started without a boot image.
//!
//! The machine asks and the host answers, so that only the machine has to notice that something was lost:
//! it asks again, and what comes twice does no harm. All of it are records of the crate `wire`.
//!
//! ```text
//! machine                          host
//! Ready, again and again       ->
//!                              <-  Start, then the words of a command line
//! Want 0..8000                 ->
//!                              <-  Chunk 0, Chunk 1000, .. Chunk 7000, each then the bytes
//! Want 8000..9500              ->
//!                              <-  Chunk 8000, Chunk 9000
//! Loaded, until it is answered ->
//!                              <-  Go
//! STARTED, with the run's key  ->
//! the run: console bytes, and records with the run's key, of which the last one tells how it ended
//! Ready, as the machine was reset and has started anew
//! ```
//!
//! Until the run has started the key of all records is 0. The run's key is the host's choice for this run, so that
//! nothing that runs on the machine can make a record that looks like the kernel's. It goes over the line in the [`Start`]
//! only, which no program of the run can read: a host says all it has to say of a start before it gives leave to go. What
//! may still be on its way when the run has started, a [`GO`] that was asked for twice, has only the run's number.
//!
//! But whatever runs there can print a [`Ready`], and read what the host says. A host that hears one during a run asks
//! whether it is true, but only when the kernel would have ended the run: by a [`Start`] of the version [`PROBE`] with a
//! run that was never told. A machine that has started anew refuses it, and says of which run it speaks.

use crate::Wire;

/// Whoever doesn't know this version says so, and does nothing.
pub const VERSION: u16 = 2;

/// In place of a version that any machine knows: it only has the machine say that it is ready.
pub const PROBE: u16 = 0;

/// The machine waits for a [`Start`]; a [`Ready`].
pub const READY: u8 = 0x40;
/// The machine wants a part of the image; a [`Want`].
pub const WANT: u8 = 0x41;
/// The machine has all of the image; a [`Run`].
pub const LOADED: u8 = 0x42;
/// The machine starts the image; without a payload, and the first record with the run's key.
pub const STARTED: u8 = 0x43;
/// Bytes of the kernel's log; with the run's key.
pub const LOG: u8 = 0x44;
/// What there is to run; a [`Start`] and then a command line.
pub const START: u8 = 0x48;
/// A part of the image; a [`Chunk`] and then the bytes.
pub const CHUNK: u8 = 0x49;
/// The machine shall start the image; a [`Run`].
pub const GO: u8 = 0x4a;

/// Bytes of the image in a chunk, but for the last one.
pub const CHUNK_BYTES: u32 = 1000;
/// Bytes of a run's command line at most.
pub const COMMAND_LINE_BYTES: usize = 900;

crate::choices! {
    /// Why a run didn't come to start.
    Problem {
        /// There was none, or it did start.
        None = 0,
        /// The machine doesn't understand this version, or the record at all.
        Unknown = 1,
        /// There is no room for the image.
        TooLarge = 2,
        /// The image is not what was announced: it doesn't unpack, or to something else.
        Damaged = 3,
        /// The host said nothing for too long.
        Silence = 4,
    }
}

crate::fields! {
    /// A machine, and what it can take.
    Ready {
        /// [`VERSION`].
        version: u16,
        /// [`FINGERPRINT`](crate::protocols::FINGERPRINT) of the kernel.
        fingerprint: u64,
        /// CRC-32C of the kernel's code, by which the host tells whether it is the kernel that it knows.
        kernel: u32,
        /// Bytes of memory that the machine has.
        memory: u64,
        /// Bytes of an image that the machine has room for.
        room: u32,
        /// The number of the run that it was last told of since it was started; 0 if there is none.
        run: u64,
        /// Why that one didn't come to start.
        problem: Problem,
    }
}

crate::fields! {
    /// A run, in front of the words of its command line.
    Start {
        /// [`VERSION`].
        version: u16,
        /// Its number, never 0, by which the two speak of it.
        run: u64,
        /// The key of its records, never 0.
        key: u64,
        /// How long it may take, in milliseconds; then the kernel ends it.
        limit_ms: u32,
        /// Whether there is an image.
        has_image: bool,
        /// Bytes of the image as it is sent: packed, as raw DEFLATE (RFC 1951).
        packed: u32,
        /// Bytes of the image.
        unpacked: u32,
        /// CRC-32C of the image.
        checksum: u32,
    }
}

crate::fields! {
    /// A part of the packed image that the machine wants, in chunks from `from` on.
    Want {
        /// The run's number.
        run: u64,
        /// The first byte.
        from: u32,
        /// One past the last byte.
        to: u32,
    }
}

crate::fields! {
    /// Where a chunk belongs.
    Chunk {
        /// The run's number.
        run: u64,
        /// The first byte's place in the packed image.
        from: u32,
    }
}

crate::fields! {
    /// A run.
    Run {
        /// Its number.
        run: u64,
    }
}

/// Splits a payload into its fields and what follows them.
#[must_use]
pub fn split<T: Wire>(payload: &[u8]) -> Option<(T, &[u8])> {
    let (fields, rest) = payload.split_at_checked(T::SIZE)?;
    T::get(fields).map(|fields| (fields, rest))
}
