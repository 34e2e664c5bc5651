//! The flight recorder: the last messages that were delivered, for whoever looks into the
//! kernel's memory when something has gone wrong, and for what is reported when somebody asks for it.
//!
//! It is always on, so it is part of the price of each message: seven instructions. There is no
//! time stamp, since reading the clock costs more than all of it; order is enough.

use abi::{Endpoint, Message};

/// A ring of events. An array for each part, as an index into one of numbers is part of an instruction.
pub(crate) struct Recorder {
    pub(crate) sources: [Endpoint; Self::EVENTS],
    pub(crate) receivers: [Endpoint; Self::EVENTS],
    pub(crate) calls: [u16; Self::EVENTS],
    /// Where the next one goes. Of this type, so that it is never out of bounds.
    pub(crate) next: u8,
}

impl Recorder {
    pub(crate) const EVENTS: usize = 1 << u8::BITS;

    /// One that has recorded nothing.
    pub(crate) const fn new() -> Self {
        Self {
            sources: [Endpoint::NONE; Self::EVENTS],
            receivers: [Endpoint::NONE; Self::EVENTS],
            calls: [0; Self::EVENTS],
            next: 0,
        }
    }

    /// Takes down that a message of `source` is with its receiver.
    #[inline]
    pub(crate) fn record(&mut self, source: Endpoint, to: Endpoint, message: &Message) {
        let index = usize::from(self.next);
        self.sources[index] = source;
        self.receivers[index] = to;
        self.calls[index] = message.number;
        self.next = self.next.wrapping_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_event_makes_room_for_the_newest() {
        let mut recorder = Recorder::new();
        for number in 0..300 {
            let message = Message { number, ..Message::zeroed() };
            recorder.record(Endpoint::CLOCK, Endpoint::at_boot(7), &message);
        }
        assert_eq!((recorder.next, recorder.calls[43], recorder.calls[44]), (44, 299, 44));
        assert_eq!((recorder.sources[43], recorder.receivers[43]), (Endpoint::CLOCK, Endpoint::at_boot(7)));
    }
}
