//! The IPC primitives: what a trap instruction can ask for.
//!
//! A primitive takes its number in `rax`, an endpoint in `rdi` and the message in `xmm0` to
//! `xmm7`; it gives zero or a negated [`Errno`](crate::Errno) in `rax`, the [`Status`] of a
//! received message in `rdx`, and the message in the same registers. There is no pointer among
//! the operands, so a primitive can't fault and a bad message pointer can't exist:
//!
//! ```compile_fail
//! // A primitive's operands are an endpoint and a message, nothing that could point anywhere.
//! let operands = abi::ipc::Operands { endpoint: abi::Endpoint::ANY, message: 0xdead_beef as *const abi::Message };
//! ```

use crate::{Endpoint, Message};

/// All that a primitive takes.
#[derive(Clone, Copy, Debug)]
pub struct Operands {
    /// Whom to send to or receive from.
    pub endpoint: Endpoint,
    /// What to send, or the kernel call to make.
    pub message: Message,
}

macro_rules! primitives {
    ($($(#[$doc:meta])* $name:ident = $number:literal;)*) => {
        /// An IPC primitive, by the number that goes into `rax`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Primitive { $( $(#[$doc])* $name = $number, )* }

        impl Primitive {
            /// All primitives.
            pub const ALL: &[Self] = &[$( Self::$name ),*];

            /// Reads the number of a primitive.
            #[must_use]
            pub const fn from_number(number: u64) -> Option<Self> {
                match number { $( $number => Some(Self::$name), )* _ => None }
            }

            /// The name in lower case, as `os/system.toml` spells it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $( Self::$name => stringify!($name), )* }
            }
        }
    };
}

primitives! {
    /// Sends and waits until the receiver took the message.
    Send = 1;
    /// Waits for a message from one process, or from any.
    Receive = 2;
    /// Sends, then receives the answer from the same process.
    SendRec = 3;
    /// Tells another process that something happened; never waits.
    Notify = 4;
    /// Makes a kernel call; the endpoint is not used.
    KernelCall = 7;
}

impl Primitive {
    /// The primitive's bit in a trap mask.
    #[must_use]
    pub const fn bit(self) -> u32 {
        1 << self as u8
    }
}

/// How a received message was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Status(pub u64);

impl Status {
    /// The kernel wrote the message on behalf of its source.
    const FROM_KERNEL: u64 = 1 << 16;

    /// The status of a message sent by `primitive`.
    #[must_use]
    pub const fn sent_by(primitive: Primitive) -> Self {
        Self(primitive as u64)
    }

    /// The same, of a message that the kernel wrote.
    #[must_use]
    pub const fn from_kernel(primitive: Primitive) -> Self {
        Self(primitive as u64 | Self::FROM_KERNEL)
    }

    /// The primitive that the sender used. [`Primitive::SendRec`] means that it waits for the answer.
    #[must_use]
    pub const fn primitive(self) -> Option<Primitive> {
        Primitive::from_number(self.0 & 0x3f)
    }

    /// Tells whether the kernel wrote the message, so that it can't be forged.
    #[must_use]
    pub const fn is_from_kernel(self) -> bool {
        self.0 & Self::FROM_KERNEL != 0
    }
}
