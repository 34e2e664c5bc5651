//! What the processor refuses to do for a process.

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

/// A kind of memory access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading data.
    Read,
    /// Writing data.
    Write,
    /// Fetching an instruction.
    Execute,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Page { address, access } => {
                let access = match access {
                    Access::Read => "reading",
                    Access::Write => "writing",
                    Access::Execute => "executing",
                };
                write!(f, "page fault {access} {address:#x}")
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
