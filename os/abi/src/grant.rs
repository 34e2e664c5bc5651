//! Leave to use another process's memory.

use crate::Endpoint;
use core::fmt;

/// Names one entry of the granter's table, and which use of that entry is meant.
///
/// ```text
///  63              20 19          0
/// +------------------+-------------+
/// |     sequence     |    index    |
/// +------------------+-------------+
/// ```
///
/// No two grants made under one endpoint have the same sequence, so that a stale id never reaches the memory behind a
/// newer grant, not even that of a program which a service became by `exec`, or of the version that took its place.
/// For that the kernel hands out sequences in [blocks](Self::BLOCK), one each time a table is registered. They
/// count from 1, so the zero of an empty field names none.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(transparent)]
pub struct GrantId(u64);

impl GrantId {
    const INDEX_BITS: u32 = 20;
    const INDEX_MASK: u64 = (1 << Self::INDEX_BITS) - 1;
    /// One more than the highest index.
    pub const INDICES: u32 = 1 << Self::INDEX_BITS;
    /// One more than the highest sequence.
    pub const SEQUENCES: u64 = 1 << (64 - Self::INDEX_BITS);
    /// How many sequences the registration of a table brings: enough that hardly a granter needs a second block,
    /// and few enough that 4 million registrations have one.
    pub const BLOCK: u64 = 1 << 22;

    /// No grant.
    pub const NONE: Self = Self(0);

    /// Puts an id together, if both parts are in range.
    #[must_use]
    pub const fn new(index: u32, sequence: u64) -> Option<Self> {
        if index >= Self::INDICES || sequence >= Self::SEQUENCES {
            return None;
        }
        Some(Self(sequence << Self::INDEX_BITS | index as u64))
    }

    /// Where the entry is in the granter's table.
    #[must_use]
    pub const fn index(self) -> u32 {
        (self.0 & Self::INDEX_MASK) as u32
    }

    /// Which use of the entry is meant.
    #[must_use]
    pub const fn sequence(self) -> u64 {
        self.0 >> Self::INDEX_BITS
    }

    /// The 64 bits that travel in messages.
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// Reads 64 bits that came from somewhere else; the kernel checks them against the table.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
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

/// What a grant permits.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
#[repr(transparent)]
pub struct GrantAccess(pub u32);

impl GrantAccess {
    /// To read the memory.
    pub const READ: Self = Self(1);
    /// To write it.
    pub const WRITE: Self = Self(2);
    /// To map it.
    pub const MAP: Self = Self(4);
    /// Not to wait for pages that are missing: a copy through the grant fails with `EFAULT` at
    /// once and never involves VM, and the grant is [marked](GrantEntry::faulted).
    pub const TRY: Self = Self(0x10);

    pub(crate) const NAMES: [(Self, &'static str); 4] =
        [(Self::READ, "read"), (Self::WRITE, "write"), (Self::MAP, "map"), (Self::TRY, "try")];

    /// The union of two sets.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Tells whether all of `other` is in the set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl fmt::Debug for GrantAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (_, name) in Self::NAMES.iter().filter(|(access, _)| self.contains(*access)) {
            write!(f, "{separator}{name}")?;
            separator = "|";
        }
        if separator.is_empty() { f.write_str("nothing") } else { Ok(()) }
    }
}

crate::fields! {
    /// An entry of a granter's table, as it lies in the granter's memory.
    ///
    /// The granter writes [`flags`](Self::flags) last, so a half-written entry is never valid; the
    /// kernel copies an entry once and believes nothing of it.
    #[repr(C)]
    GrantEntry {
        /// [`GrantAccess`], exactly one kind, and [`GrantEntry::VALID`].
        flags: u32,
        /// Who may use it, or [`Endpoint::ANY`].
        grantee: Endpoint,
        /// Magic: whose memory. Indirect: who granted it to this granter. Direct: not used.
        owner: Endpoint,
        /// Zero.
        reserved: u32,
        /// What its grantee knows it by.
        id: GrantId,
        /// [`Self::id`] once a copy through it with [`GrantAccess::TRY`] has failed on a page. Written by the kernel.
        faulted: GrantId,
        /// Indirect: the grant of `owner`. Else not used.
        through: GrantId,
        /// Where the memory starts. Indirect: not used.
        start: u64,
        /// How many bytes. Indirect: not used.
        len: u64,
    }
}

const _: () = assert!(size_of::<GrantEntry>() == <GrantEntry as crate::Wire>::SIZE);

impl GrantEntry {
    /// Memory of the granter.
    pub const DIRECT: u32 = 0x200;
    /// What another process granted to the granter.
    pub const INDIRECT: u32 = 0x400;
    /// Memory of another process; takes a privilege.
    pub const MAGIC: u32 = 0x800;
    /// The entry is in use.
    pub const VALID: u32 = 0x1000;

    /// An entry that grants nothing.
    pub const EMPTY: Self = Self {
        flags: 0,
        grantee: Endpoint::NONE,
        owner: Endpoint::NONE,
        reserved: 0,
        id: GrantId::NONE,
        faulted: GrantId::NONE,
        through: GrantId::NONE,
        start: 0,
        len: 0,
    };
}
