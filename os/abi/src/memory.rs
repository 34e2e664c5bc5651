//! Fields of the kernel calls that move memory.

use crate::{Endpoint, GrantId};

/// What a copy does about a page that is missing, or that may not be written.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
#[repr(transparent)]
pub struct CopyFlags(pub u32);

impl CopyFlags {
    /// Waits until VM has seen to the page.
    pub const WAIT: Self = Self(0);
    /// Fails with `EFAULT` at once, and never involves VM.
    pub const TRY: Self = Self(1);

    /// Tells whether the copy fails at once. `None` if a flag is set that means nothing.
    #[must_use]
    pub const fn is_try(self) -> Option<bool> {
        match self {
            Self::WAIT => Some(false),
            Self::TRY => Some(true),
            _ => None,
        }
    }
}

impl core::fmt::Debug for CopyFlags {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match *self {
            Self::WAIT => f.write_str("wait"),
            Self::TRY => f.write_str("try"),
            Self(unknown) => write!(f, "invalid {unknown:#x}"),
        }
    }
}

crate::fields! {
    /// One copy of a `vsafecopy`, as it lies in the caller's memory.
    CopyElement {
        /// The granter, and the copy reads its memory; or `SELF`, and it writes it.
        from: Endpoint,
        /// The other one of the two: exactly one is `SELF`.
        to: Endpoint,
        /// The grant.
        grant: GrantId,
        /// Where in the granted memory.
        offset: u64,
        /// Where in the caller's.
        address: u64,
        /// How many bytes.
        len: u64,
    }
}

crate::fields! {
    /// Memory that a `vumap` looks up, as it lies in the caller's memory.
    VumapInput {
        /// An address, or the bits of a [`GrantId`].
        start: u64,
        /// How many bytes.
        len: u64,
    }
}

crate::fields! {
    /// Memory that a device can use, as a `vumap` writes it to the caller's memory.
    PhysicalPiece {
        /// Where it starts.
        address: u64,
        /// How many bytes.
        len: u64,
    }
}

/// How many elements the vector of a call can have.
pub const VECTOR_LIMIT: u32 = 64;

crate::choices! {
    /// What a device does to memory.
    DeviceAccess {
        /// It reads it.
        Read = 0,
        /// It writes it.
        Write = 1,
        /// Both.
        ReadWrite = 2,
    }
}

crate::choices! {
    /// What a process may do to a page.
    PageAccess {
        /// Read it.
        Read = 0,
        /// Read and write it.
        Write = 1,
        /// Read and execute it.
        Execute = 2,
    }
}

crate::choices! {
    /// What became of a memory request.
    RequestOutcome {
        /// All of the range is there.
        Ready = 0,
        /// A part of it is no memory of the process, or not to be written: `EFAULT`.
        Illegal = 1,
        /// There is no memory left: `ENOMEM`.
        OutOfMemory = 2,
        /// A part of it could not be read in: `EIO`.
        Unreadable = 3,
    }
}
