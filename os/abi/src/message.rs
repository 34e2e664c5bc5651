//! The fixed-size message.

use crate::Endpoint;
use core::fmt;

/// Size of every message, header included.
pub const MESSAGE_SIZE: usize = 128;
/// Bytes of a message that belong to the call.
pub const PAYLOAD_SIZE: usize = MESSAGE_SIZE - 16;
/// The flag that tells a reply from a request.
pub const REPLY: u8 = 1;

/// One message, as the kernel moves it from process to process.
///
/// ```text
///  0        4      6     7     8        12     16                     128
/// +--------+------+-----+-----+--------+------+--------- ~ ------------+
/// | source |number|class|flags| status | tag  |        payload         |
/// +--------+------+-----+-----+--------+------+--------- ~ ------------+
/// ```
///
/// It travels in `xmm0` to `xmm7`, so no primitive takes a pointer and none can fault.
/// A message starts as zeros and typed writes never leave the fields of the call: nothing of
/// the sender's memory leaks, and equal messages are equal byte for byte. All fields are
/// integers or arrays of them, so any 128 bytes are a valid message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(16))]
pub struct Message {
    /// Who sent it. The kernel overwrites this on delivery.
    pub source: Endpoint,
    /// Which call this is, in requests and replies alike.
    pub number: u16,
    /// What the sender is. The kernel overwrites this on delivery.
    pub class: Callers,
    /// [`REPLY`] or zero.
    pub flags: u8,
    /// Zero, or a negated [`Errno`](crate::Errno), in replies.
    pub status: i32,
    /// Chosen by the requester, repeated in the reply.
    pub tag: u32,
    /// The fields of the call, little-endian and without padding.
    pub payload: [u8; PAYLOAD_SIZE],
}

const _: () = assert!(size_of::<Message>() == MESSAGE_SIZE);
const _: () = assert!(core::mem::offset_of!(Message, payload) == MESSAGE_SIZE - PAYLOAD_SIZE);

impl Message {
    /// Returns an all-zero message.
    #[must_use]
    pub const fn zeroed() -> Self {
        Self {
            source: Endpoint::NONE,
            number: 0,
            class: Callers(0),
            flags: 0,
            status: 0,
            tag: 0,
            payload: [0; PAYLOAD_SIZE],
        }
    }

    /// Tells a reply from a request.
    #[must_use]
    pub const fn is_reply(&self) -> bool {
        self.flags & REPLY != 0
    }
}

impl Default for Message {
    fn default() -> Self {
        Self::zeroed()
    }
}

/// A set of kinds of callers.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
#[repr(transparent)]
pub struct Callers(pub u8);

impl Callers {
    /// Programs: unprivileged processes.
    pub const PROGRAM: Self = Self(1);
    /// Servers, drivers and file systems.
    pub const SERVICE: Self = Self(2);
    /// The reincarnation server.
    pub const RS: Self = Self(4);
    /// The process manager.
    pub const PM: Self = Self(8);
    /// The virtual file system.
    pub const VFS: Self = Self(16);
    /// The memory manager.
    pub const VM: Self = Self(32);
    /// The kernel itself.
    pub const KERNEL: Self = Self(128);

    pub(crate) const NAMES: [(Self, &'static str); 7] = [
        (Self::PROGRAM, "program"),
        (Self::SERVICE, "service"),
        (Self::RS, "rs"),
        (Self::PM, "pm"),
        (Self::VFS, "vfs"),
        (Self::VM, "vm"),
        (Self::KERNEL, "kernel"),
    ];

    /// Tells whether a caller that is `other` is in the set.
    #[must_use]
    pub const fn admits(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The union of two sets.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// `program|service`
impl fmt::Debug for Callers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (_, name) in Self::NAMES.iter().filter(|(caller, _)| self.admits(*caller)) {
            write!(f, "{separator}{name}")?;
            separator = "|";
        }
        if separator.is_empty() { f.write_str("nobody") } else { Ok(()) }
    }
}
