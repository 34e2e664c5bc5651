//! What the times of device interrupts give of randomness, for a service that makes random numbers of it.

/// Bytes that are gathered at most until somebody takes them: what fits into a message.
const LIMIT: usize = 96;

/// The lowest bytes of the times at which devices interrupted.
#[derive(Debug)]
pub(crate) struct Entropy {
    samples: [u8; LIMIT],
    /// How many there are.
    len: usize,
}

impl Default for Entropy {
    fn default() -> Self {
        Self { samples: [0; LIMIT], len: 0 }
    }
}

impl Entropy {
    /// A device has interrupted. When, which takes a division to tell, is asked only while there is room.
    pub(crate) fn add(&mut self, uptime_ns: impl FnOnce() -> u64) {
        if let Some(free) = self.samples.get_mut(self.len) {
            *free = uptime_ns().to_le_bytes()[0];
            self.len += 1;
        }
    }

    /// What was gathered. Nobody is given the same again.
    pub(crate) fn take(&mut self) -> ([u8; LIMIT], usize) {
        let Self { samples, len } = core::mem::take(self);
        (samples, len)
    }
}
