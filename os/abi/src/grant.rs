//! Leave to use another process's memory.

use core::fmt;

/// Names one entry of the granter's table, and which use of that entry is meant.
///
/// ```text
///  31      20 19          0
/// +----------+-------------+
/// | sequence |    index    |
/// +----------+-------------+
/// ```
///
/// The sequence changes each time the entry is used anew, so that a stale id never reaches
/// the memory behind a newer grant.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(transparent)]
pub struct GrantId(u32);

impl GrantId {
    const INDEX_BITS: u32 = 20;
    /// One more than the highest index.
    pub const INDICES: u32 = 1 << Self::INDEX_BITS;
    /// One more than the highest sequence.
    pub const SEQUENCES: u32 = 1 << (32 - Self::INDEX_BITS);

    /// Puts an id together, if both parts are in range.
    #[must_use]
    pub const fn new(index: u32, sequence: u32) -> Option<Self> {
        if index >= Self::INDICES || sequence >= Self::SEQUENCES {
            return None;
        }
        Some(Self(sequence << Self::INDEX_BITS | index))
    }

    /// Where the entry is in the granter's table.
    #[must_use]
    pub const fn index(self) -> u32 {
        self.0 & (Self::INDICES - 1)
    }

    /// Which use of the entry is meant.
    #[must_use]
    pub const fn sequence(self) -> u32 {
        self.0 >> Self::INDEX_BITS
    }

    /// The 32 bits that travel in messages.
    #[must_use]
    pub const fn to_bits(self) -> u32 {
        self.0
    }

    /// Reads 32 bits that came from somewhere else; the kernel checks them against the table.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }
}

impl fmt::Debug for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.index(), self.sequence())
    }
}

/// A grant as it is handed to its user: the id, and how many bytes it covers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Grant {
    /// The entry in the granter's table.
    pub id: GrantId,
    /// Bytes covered, from offset 0 of the grant on.
    pub len: u32,
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "grant {:?} of {} bytes", self.id, self.len)
    }
}
