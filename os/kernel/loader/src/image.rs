//! A boot image that comes in parts, packed.

use abi::serial::Start;
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::{
    TINFL_FLAG_HAS_MORE_INPUT, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF,
};
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

use crate::WINDOW_BYTES;

/// What unpacks images, one after the other. It is a third of the kernel's stack, so it stays in one place.
pub struct Unpacker(DecompressorOxide);

impl Default for Unpacker {
    fn default() -> Self {
        Self(DecompressorOxide::new())
    }
}

impl Unpacker {
    /// Another image follows.
    pub(crate) fn start(&mut self) {
        self.0.init();
    }
}

impl core::fmt::Debug for Unpacker {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Unpacker")
    }
}

/// An image of which the rest is still to come. Parts are taken in their order, so that each is unpacked as it comes.
pub(crate) struct Incoming<B> {
    block: B,
    /// Bytes of the packed image, and how many of them have been taken.
    packed: u32,
    taken: u32,
    /// How many bytes have been unpacked.
    unpacked: usize,
    checksum: u32,
    /// One past the last byte that was asked for.
    asked: u32,
    /// The last part that was asked for came, and others before it did not.
    has_gap: bool,
}

/// What becomes of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It is taken, or of no use; there is more to come.
    Part,
    /// It was the last one, and the image is what was announced.
    All,
    /// The image is not what was announced.
    Bad,
}

impl<B: AsMut<[u8]>> Incoming<B> {
    /// `block` has as many bytes as the image.
    pub(crate) fn new(start: &Start, block: B) -> Self {
        Self {
            block,
            packed: start.packed,
            taken: 0,
            unpacked: 0,
            checksum: start.checksum,
            asked: 0,
            has_gap: false,
        }
    }

    pub(crate) fn into_block(self) -> B {
        self.block
    }

    /// What to ask for now.
    pub(crate) fn ask(&mut self) -> (u32, u32) {
        self.has_gap = false;
        self.asked = self.packed.min(self.taken.saturating_add(WINDOW_BYTES));
        (self.taken, self.asked)
    }

    /// Tells whether nothing more comes of what was asked for.
    pub(crate) fn is_due(&self) -> bool {
        self.taken >= self.asked || self.has_gap
    }

    pub(crate) fn take(&mut self, unpacker: &mut Unpacker, from: u32, bytes: &[u8]) -> Taken {
        let Some(end) = u32::try_from(bytes.len()).ok().and_then(|len| from.checked_add(len)) else {
            return Taken::Part;
        };
        if end > self.packed || bytes.is_empty() {
            return Taken::Part;
        }
        if from != self.taken {
            self.has_gap = from > self.taken && end >= self.asked;
            return Taken::Part;
        }
        self.taken = end;
        let is_last = end == self.packed;
        let more = if is_last { 0 } else { TINFL_FLAG_HAS_MORE_INPUT };
        let flags = TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF | more;
        let out = self.block.as_mut();
        let (status, used, written) = decompress(&mut unpacker.0, bytes, out, self.unpacked, flags);
        self.unpacked += written;
        match (status, is_last) {
            (TINFLStatus::Done, true) if used == bytes.len() && self.unpacked == out.len() => {
                if wire::CRC.checksum(out) == self.checksum { Taken::All } else { Taken::Bad }
            }
            (TINFLStatus::NeedsMoreInput, false) => Taken::Part,
            // So it is called when there is no room for more, although nothing more may come but the end.
            (TINFLStatus::HasMoreOutput, false) if used == bytes.len() => Taken::Part,
            _ => Taken::Bad,
        }
    }
}

impl<B> core::fmt::Debug for Incoming<B> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} of {} packed bytes", self.taken, self.packed)
    }
}
