//! What the processor refuses to do for a process.

pub use abi::protocols::Access;

use abi::Signal;
use core::fmt;

/// What the processor refused to do for a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A memory access.
    Page {
        /// The address.
        address: u64,
        /// What was tried.
        access: Access,
    },
    /// Another exception, by its vector (Intel SDM 3A, table 6-1).
    Exception {
        /// The vector.
        vector: u8,
        /// The error code, or 0.
        code: u64,
    },
}

impl Fault {
    /// The exception after which the processor goes on: a step or a breakpoint.
    pub(crate) const DEBUG_VECTOR: u8 = 1;

    /// The signal that it raises.
    #[must_use]
    pub const fn signal(&self) -> Signal {
        match self {
            Self::Page { .. } => Signal::SEGV,
            Self::Exception { vector, .. } => match vector {
                0 | 4 | 7 | 16 | 19 => Signal::FPE,
                &Self::DEBUG_VECTOR | 3 => Signal::TRAP,
                6 => Signal::ILL,
                11 | 12 | 17 => Signal::BUS,
                _ => Signal::SEGV,
            },
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Page { address, access } => {
                write!(f, "page fault {} {address:#x}", doing(*access))
            }
            Self::Exception { vector, code } => {
                let name = match vector {
                    0 => "divide error",
                    1 => "debug exception",
                    3 => "breakpoint",
                    4 => "overflow",
                    5 => "bound range exceeded",
                    6 => "invalid opcode",
                    7 => "device not available",
                    10 => "invalid task state",
                    11 => "segment not present",
                    12 => "stack-segment fault",
                    13 => "general protection fault",
                    16 => "x87 floating-point error",
                    17 => "alignment check",
                    19 => "SIMD floating-point exception",
                    _ => "exception",
                };
                write!(f, "{name} (vector {vector}, error code {code:#x})")
            }
        }
    }
}

/// What a process was doing when it could not have an access.
pub(crate) const fn doing(access: Access) -> &'static str {
    match access {
        Access::Read => "reading",
        Access::Write => "writing",
        Access::Execute => "executing",
    }
}
