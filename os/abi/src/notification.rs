//! What a notification looks like to its receiver.

use crate::{Endpoint, Message, Wire};

/// The number of a notification's message, which no call of a protocol has.
pub const NUMBER: u16 = 0x1000;

/// A bit of [`Notification::pending`] from [`Endpoint::SYSTEM`]: to VM, that memory requests wait.
/// Above those of kernel signals.
pub const MEMORY_REQUESTS: u64 = 1 << 63;

crate::fields! {
    /// A notification: who it is from stands in [`Message::source`].
    Notification {
        /// Nanoseconds since the system started.
        uptime_ns: u64,
        /// From [`Endpoint::HARDWARE`]: a bit for each interrupt hook that fired.
        /// From [`Endpoint::SYSTEM`]: the set of pending kernel signals, and [`MEMORY_REQUESTS`].
        /// Else zero.
        pending: u64,
    }
}

impl Notification {
    /// Builds the message that tells of it.
    #[must_use]
    pub fn to_message(&self, source: Endpoint) -> Message {
        let mut message = Message { source, number: NUMBER, ..Message::zeroed() };
        self.put(&mut message.payload[..Self::SIZE]);
        message
    }

    /// Reads a message, if it is a notification.
    ///
    /// Any process can send a message with this number; a server asks
    /// [`Status::primitive`](crate::ipc::Status::primitive) before it believes one.
    #[must_use]
    pub fn of(message: &Message) -> Option<Self> {
        if message.number != NUMBER {
            return None;
        }
        Self::get(&message.payload[..Self::SIZE])
    }
}
