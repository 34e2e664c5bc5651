//! Names of processes: endpoints inside the system, process ids for programs.

use core::fmt;

/// A slot of the process table together with its generation.
///
/// ```text
///  31              15 14             0
/// +------------------+----------------+
/// |    generation    |      slot      |
/// +------------------+----------------+
/// ```
///
/// A slot is reused under a new generation, so an old endpoint never names a new process.
/// Living processes have generations from 1 on; generation 0 holds the special endpoints
/// below, and the zero of an empty message field names nobody.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct Endpoint(u32);

impl Endpoint {
    const SLOT_BITS: u32 = 15;
    const SLOT_MASK: u32 = (1 << Self::SLOT_BITS) - 1;

    /// One more than the highest slot that a process can have.
    pub const SLOTS: u16 = 0x7f00;
    /// The highest generation; the next one is 1.
    pub const LAST_GENERATION: u32 = u32::MAX >> Self::SLOT_BITS;

    /// Nobody. The value of a field that was not set.
    pub const NONE: Self = Self(0);
    /// In `receive`: whoever sends first.
    pub const ANY: Self = Self::special(1);
    /// The caller itself.
    pub const SELF: Self = Self::special(2);
    /// Source of interrupt notifications.
    pub const HARDWARE: Self = Self::special(3);
    /// Source of alarm notifications.
    pub const CLOCK: Self = Self::special(4);
    /// Source of kernel signals to services, and of replies to kernel calls.
    pub const SYSTEM: Self = Self::special(5);

    /// Source of notifications that asynchronous sends are over.
    pub const ASYNCM: Self = Self::special(6);

    pub(crate) const NAMES: [(Self, &'static str); 7] = [
        (Self::NONE, "none"),
        (Self::ANY, "any"),
        (Self::SELF, "self"),
        (Self::HARDWARE, "hardware"),
        (Self::CLOCK, "clock"),
        (Self::SYSTEM, "system"),
        (Self::ASYNCM, "asyncm"),
    ];

    const fn special(number: u32) -> Self {
        Self(Self::SLOTS as u32 + number)
    }

    /// The endpoint that the process of `slot` has when the system starts.
    ///
    /// # Panics
    /// If `slot` is no slot of a process.
    #[must_use]
    pub const fn at_boot(slot: u16) -> Self {
        match Self::new(slot, 1) {
            Some(endpoint) => endpoint,
            None => panic!("not a slot of a process"),
        }
    }

    /// Puts an endpoint together, if both parts are in range.
    #[must_use]
    pub const fn new(slot: u16, generation: u32) -> Option<Self> {
        if slot >= Self::SLOTS || generation == 0 || generation > Self::LAST_GENERATION {
            return None;
        }
        Some(Self(generation << Self::SLOT_BITS | slot as u32))
    }

    /// The slot, if this can be the endpoint of a process.
    #[must_use]
    pub const fn slot(self) -> Option<u16> {
        let slot = self.0 & Self::SLOT_MASK;
        if self.generation() == 0 || slot >= Self::SLOTS as u32 {
            return None;
        }
        Some(slot as u16)
    }

    /// The slot's bits, which mean a slot only if there is a [`slot`](Self::slot).
    #[must_use]
    #[inline]
    pub const fn slot_bits(self) -> u16 {
        (self.0 & Self::SLOT_MASK) as u16
    }

    /// The generation; 0 for special endpoints.
    #[must_use]
    pub const fn generation(self) -> u32 {
        self.0 >> Self::SLOT_BITS
    }

    /// The endpoint that the slot's next process gets.
    #[must_use]
    pub const fn successor(self) -> Self {
        let generation = if self.generation() >= Self::LAST_GENERATION { 1 } else { self.generation() + 1 };
        Self(generation << Self::SLOT_BITS | self.0 & Self::SLOT_MASK)
    }

    /// The 32 bits that travel in messages and registers.
    #[must_use]
    pub const fn to_bits(self) -> u32 {
        self.0
    }

    /// Reads 32 bits that came from somewhere else. Any value is accepted: whether it
    /// names a living process is for the kernel to find out.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }
}

/// `7` for the first process of slot 7, `7.3` for its third, a word for the special ones.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((_, name)) = Self::NAMES.iter().find(|(special, _)| special == self) {
            return f.write_str(name);
        }
        match (self.slot(), self.generation()) {
            (Some(slot), 1) => write!(f, "{slot}"),
            (Some(slot), generation) => write!(f, "{slot}.{generation}"),
            (None, _) => write!(f, "invalid {:#010x}", self.0),
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A process number as programs see it (POSIX `pid_t`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct Pid(pub i32);
