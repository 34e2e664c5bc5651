//! What a process is doing, in the words that debugger, post-mortem report and log have in common.
//!
//! ```
//! use abi::{Endpoint, state::{State, Stops, Wait}};
//!
//! let ds = Endpoint::at_boot(6);
//! let state = State { wait: Wait::Receiving { from: ds }, stops: Stops::STOPPED };
//! let names = |endpoint, f: &mut core::fmt::Formatter| match endpoint == ds {
//!     true => f.write_str("ds"),
//!     false => core::fmt::Display::fmt(&endpoint, f),
//! };
//! assert_eq!(state.named(&names).to_string(), "receiving from ds; stopped by its manager");
//! ```

use crate::{Endpoint, Message, describe};
use core::fmt;

/// Reasons why a process may not run although it waits for nobody. It runs when there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(transparent)]
pub struct Stops(u16);

macro_rules! stops {
    ($($(#[$doc:meta])* $name:ident = $bit:literal, $words:literal;)*) => {
        impl Stops {
            $( $(#[$doc])* pub const $name: Self = Self(1 << $bit); )*

            /// All reasons, each with the words for it.
            pub(crate) const WORDS: &[(Self, &'static str)] = &[$( (Self::$name, $words) ),*];
        }
    };
}

stops! {
    /// Its scheduler has not yet given it another quantum.
    NO_QUANTUM = 0, "out of quantum";
    /// VM works on memory that a kernel call of its needs.
    MEMORY_REQUEST = 1, "kernel call waits for memory";
    /// VM works on a page fault of its.
    PAGE_FAULT = 2, "page fault";
    /// A kernel signal has arrived that its manager has not taken yet.
    SIGNALLED = 3, "signalled";
    /// Its manager works on a kernel signal.
    SIGNAL_PENDING = 4, "signal in its manager's hands";
    /// Its manager stopped it.
    STOPPED = 5, "stopped by its manager";
    /// It is being traced and stopped.
    TRACED = 6, "stopped by its tracer";
    /// It has not been given privileges.
    NO_PRIVILEGES = 7, "without privileges";
    /// VM has not given it an address space, or is changing it.
    NO_SPACE = 8, "without an address space";
    /// It has ended and is kept until its manager clears it.
    ENDED = 9, "ended";
}

impl Stops {
    /// No reason.
    pub const NONE: Self = Self(0);

    /// Reads bits that stood in the kernel's memory.
    #[must_use]
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }

    /// Tells whether there is no reason.
    #[must_use]
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Tells whether one of these reasons is there.
    #[must_use]
    #[inline]
    pub const fn contains(self, reasons: Self) -> bool {
        self.0 & reasons.0 != 0
    }

    /// These reasons and those.
    #[must_use]
    #[inline]
    pub const fn with(self, reasons: Self) -> Self {
        Self(self.0 | reasons.0)
    }

    /// Those of these reasons that are there.
    #[must_use]
    #[inline]
    pub const fn only(self, reasons: Self) -> Self {
        Self(self.0 & reasons.0)
    }

    /// These reasons but for those.
    #[must_use]
    #[inline]
    pub const fn without(self, reasons: Self) -> Self {
        Self(self.0 & !reasons.0)
    }
}

/// `page fault, signalled`; nothing if there is no reason.
impl fmt::Display for Stops {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (_, words) in Self::WORDS.iter().filter(|(reason, _)| self.contains(*reason)) {
            write!(f, "{separator}{words}")?;
            separator = ", ";
        }
        let known = Self::WORDS.iter().fold(Self::NONE, |known, (reason, _)| known.with(*reason));
        match self.without(known) {
            Self::NONE => Ok(()),
            unknown => write!(f, "{separator}unknown reason {:#x}", unknown.0),
        }
    }
}

/// Whom a process waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait<'a> {
    /// Nobody.
    Nobody,
    /// Until `to` takes its message.
    Sending {
        /// The receiver.
        to: Endpoint,
        /// What it says; nothing is shown of a message that isn't the process's own.
        message: Option<&'a Message>,
    },
    /// For the answer of `to`, which may or may not have taken its request.
    SendReceiving {
        /// The receiver.
        to: Endpoint,
        /// What it asks.
        message: Option<&'a Message>,
    },
    /// For a message.
    Receiving {
        /// From whom, or [`Endpoint::ANY`].
        from: Endpoint,
    },
}

impl Wait<'_> {
    /// The one whom it waits for; [`Endpoint::ANY`] if it is anybody.
    #[must_use]
    pub const fn on(&self) -> Option<Endpoint> {
        match *self {
            Self::Nobody => None,
            Self::Sending { to, .. } | Self::SendReceiving { to, .. } => Some(to),
            Self::Receiving { from } => Some(from),
        }
    }
}

/// What a process is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State<'a> {
    /// Whom it waits for.
    pub wait: Wait<'a>,
    /// What else keeps it from running.
    pub stops: Stops,
}

impl<'a> State<'a> {
    /// The state as text, where `names` writes who an endpoint is.
    #[must_use]
    pub const fn named<F>(&'a self, names: &'a F) -> Named<'a, F>
    where
        F: Fn(Endpoint, &mut fmt::Formatter<'_>) -> fmt::Result,
    {
        Named { state: self, names }
    }
}

/// See [`State::named`].
pub struct Named<'a, F> {
    state: &'a State<'a>,
    names: &'a F,
}

/// `sendrec to pm, wait { .. }; page fault`
impl<F> fmt::Display for Named<'_, F>
where
    F: Fn(Endpoint, &mut fmt::Formatter<'_>) -> fmt::Result,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let State { wait, stops } = self.state;
        let message = match wait {
            Wait::Nobody if stops.is_empty() => return f.write_str("runnable"),
            Wait::Nobody => return stops.fmt(f),
            Wait::Receiving { .. } => {
                f.write_str("receiving from ")?;
                None
            }
            Wait::Sending { message, .. } => {
                f.write_str("sending to ")?;
                *message
            }
            Wait::SendReceiving { message, .. } => {
                f.write_str("sendrec to ")?;
                *message
            }
        };
        if let Some(peer) = wait.on() {
            (self.names)(peer, f)?;
        }
        if let Some(message) = message {
            write!(f, ", {}", describe(message))?;
        }
        if stops.is_empty() { Ok(()) } else { write!(f, "; {stops}") }
    }
}
