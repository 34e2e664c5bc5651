//! What the kernel offers to be read by those who look into its memory: a post-mortem report, a debugger.
//!
//! The kernel doesn't help them: it may hang, or have panicked. So it says once, when it starts,
//! where things are: [`Layout`], little-endian numbers of 64 bits at the kernel's symbol
//! [`SYMBOL`]. Whoever reads them must believe nothing: all of it may be damaged.

use crate::state::Stops;
use crate::{Callers, Endpoint, GrantAccess, Protocol, Signal};

/// The kernel's symbol.
pub const SYMBOL: &str = "tessera_inspect";

macro_rules! layout {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Where things are in the kernel's memory. Offsets are in bytes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
        pub struct Layout { $( $(#[$doc])* pub $name: u64, )* }

        impl Layout {
            /// How many numbers it is.
            pub const WORDS: usize = [$( stringify!($name) ),*].len();

            /// The numbers, in order.
            #[must_use]
            pub const fn to_words(&self) -> [u64; Self::WORDS] { [$( self.$name ),*] }

            /// Reads the numbers.
            #[must_use]
            pub const fn from_words(words: [u64; Self::WORDS]) -> Self {
                let [$( $name ),*] = words;
                Self { $( $name ),* }
            }
        }
    };
}

layout! {
    /// [`Layout::MAGIC`].
    magic,
    /// Address of the first entry of the process table.
    entries,
    /// How many there are.
    entry_count,
    /// Size of each.
    entry_bytes,
    /// In an entry: the endpoint of its process, or of the next one.
    entry_endpoint,
    /// In an entry: its process. There is one if it has the entry's endpoint.
    entry_process,
    /// In a process: its endpoint.
    endpoint,
    /// Its name, padded with zeros.
    name,
    /// Whom it waits for: a byte that is 0 if for nobody, 1 if it sends (then `true` for
    /// `sendrec`, and the receiver's slot plus one in the third and fourth byte), 2 if it receives (then
    /// `true` for `sendrec`, and the sender's endpoint in the fifth to eighth byte).
    ipc,
    /// Its [`Stops`].
    stops,
    /// Its registers.
    context,
    /// Physical address of its page tables' root.
    root,
    /// In the registers: the message.
    message,
    /// In the registers.
    rip,
    /// In the registers.
    rsp,
    /// In the registers.
    rbp,
    /// Where physical address 0 is mapped.
    direct_map,
    /// Address of the flight recorder's sources, a number of 32 bits for each [`Event`].
    event_sources,
    /// Of its receivers.
    event_receivers,
    /// Of its numbers of calls, of 16 bits each.
    event_calls,
    /// How many events there can be. The recorder is a ring.
    event_count,
    /// Address of the index of the next one, a byte.
    next_event,
    /// Address of the endpoint of the process for which the kernel ended the machine, [`Endpoint::NONE`] if for none.
    culprit,
    /// Address of how long the processor has waited for interrupts since the kernel's start, in counts of 64 bits.
    idle,
    /// Address of how many such counts make a second, 0 as long as that isn't known.
    idle_hz,
    /// Address of where an exception struck the kernel, its instruction and its frame pointer, 64 bits each: zeros if none did.
    exception,
}

impl Layout {
    /// Tells a layout from something else; changes with its meaning.
    pub const MAGIC: u64 = u64::from_le_bytes(*b"TESSERA2");
}

/// What numbers are called, for a debugger that has the kernel's debug information: it needs no list of its own
/// that could say something else.
#[derive(Clone, Copy)]
pub struct Names {
    /// Calls by their numbers. What prints one is called after the type of the request.
    pub protocols: &'static [Protocol],
    /// The number of a notification.
    pub notification: u16,
    /// Endpoints of no process.
    pub endpoints: &'static [(Endpoint, &'static str)],
    /// Kinds of callers, as bits.
    pub callers: &'static [(Callers, &'static str)],
    /// Signals.
    pub signals: &'static [(Signal, &'static str)],
    /// Why processes stand still, as bits.
    pub stops: &'static [(Stops, &'static str)],
    /// What grants permit, as bits.
    pub access: &'static [(GrantAccess, &'static str)],
}

impl Names {
    /// The kernel's symbol.
    pub const SYMBOL: &str = "tessera_names";

    /// All of them.
    pub const ALL: Self = Self {
        protocols: crate::protocols::ALL,
        notification: crate::notification::NUMBER,
        endpoints: &Endpoint::NAMES,
        callers: &Callers::NAMES,
        signals: Signal::NAMES,
        stops: Stops::WORDS,
        access: &GrantAccess::NAMES,
    };
}

/// A message that was delivered, as the flight recorder keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Who sent it; [`Endpoint::NONE`] if there was no event yet.
    pub source: Endpoint,
    /// Who got it.
    pub to: Endpoint,
    /// Which call it is. Requests and replies of a call have the same number.
    pub number: u16,
}
