//! Fields of the kernel calls that move memory.

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
