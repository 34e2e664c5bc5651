//! The IPC primitives: what a trap instruction can ask for.
//!
//! A primitive takes its number in `rax` (bits 0 to 7; [`AsyncFlags`] from bit 8 on), an endpoint
//! in `rdi` and the message in `xmm0` to `xmm7`; it gives zero or a negated [`Errno`](crate::Errno) in `rax`, the [`Status`] of a
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
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Primitive { $( $(#[$doc])* $name = $number, )* }

        impl Primitive {
            /// All primitives.
            pub const ALL: &[Self] = &[$( Self::$name ),*];

            /// Reads the number of a primitive.
            #[must_use]
            #[inline]
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
    /// Sends if the receiver waits for it; else fails with `ENOTREADY`.
    SendNb = 5;
    /// Makes a kernel call; the endpoint is not used.
    KernelCall = 7;
    /// Answers as `SendNb` does, then receives from anybody: a server's whole loop in one trap. An
    /// answer for one who has died or does not wait is dropped.
    ReplyReceive = 8;
    /// Hands the message to the kernel, which delivers it when the receiver takes it. For services.
    SendA = 16;
}

/// What `SendA` promises, and asks for (MINIX `AMF_` flags).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct AsyncFlags(u64);

impl AsyncFlags {
    /// Nothing special.
    pub const NONE: Self = Self(0);
    /// Notify the sender, from [`Endpoint::ASYNCM`], once the message has been taken or is lost.
    pub const NOTIFY: Self = Self(4);
    /// The message is no answer: a receiver that is in `sendrec` gets it later.
    pub const NO_REPLY: Self = Self(8);
    /// Notify the sender, from [`Endpoint::ASYNCM`], if the message is lost.
    pub const NOTIFY_ERROR: Self = Self(16);

    const ALL: u64 = Self::NOTIFY.0 | Self::NO_REPLY.0 | Self::NOTIFY_ERROR.0;
    const SHIFT: u32 = 8;

    /// These flags and those.
    #[must_use]
    pub const fn with(self, flags: Self) -> Self {
        Self(self.0 | flags.0)
    }

    /// Tells whether one of those flags is set.
    #[must_use]
    #[inline]
    pub const fn contains(self, flags: Self) -> bool {
        self.0 & flags.0 != 0
    }

    /// What goes into `rax` for [`Primitive::SendA`] with these flags.
    #[must_use]
    pub const fn to_trap(self) -> u64 {
        Primitive::SendA as u64 | self.0 << Self::SHIFT
    }

    /// Reads `rax`, if it asks for [`Primitive::SendA`] and no unknown flag is set.
    #[must_use]
    pub const fn from_trap(number: u64) -> Option<Self> {
        let flags = number >> Self::SHIFT;
        if number & 0xff == Primitive::SendA as u64 && flags & !Self::ALL == 0 {
            Some(Self(flags))
        } else {
            None
        }
    }
}

impl Primitive {
    /// The primitive's bit in a trap mask.
    #[must_use]
    #[inline]
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
    #[inline]
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
