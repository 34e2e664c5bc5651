//! Signals, as the kernel and the managers of processes name them.
//!
//! The kernel raises a signal for a process; its signal manager takes it (`getksig`) and ends it
//! (`endksig`), and the process stands still in between. What POSIX makes of a signal is for the
//! manager of programs to say.

use core::fmt;

/// A signal, by its number: those of POSIX have the numbers of Linux on x86-64, the kernel's own
/// follow from 70 on and never reach a program.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Signal(u8);

macro_rules! signals {
    ($($(#[$doc:meta])* $name:ident = $number:literal;)*) => {
        impl Signal {
            $( $(#[$doc])* pub const $name: Self = Self($number); )*

            pub(crate) const NAMES: &[(Self, &'static str)] = &[$( (Self::$name, concat!("SIG", stringify!($name))) ),*];
        }
    };
}

signals! {
    /// The terminal is gone.
    HUP = 1;
    /// Interrupted at the terminal.
    INT = 2;
    /// Quit at the terminal.
    QUIT = 3;
    /// Not an instruction.
    ILL = 4;
    /// A breakpoint, or a step of a traced process.
    TRAP = 5;
    /// Ends the process by its own wish.
    ABRT = 6;
    /// An access that no memory answers.
    BUS = 7;
    /// An arithmetic error.
    FPE = 8;
    /// Ends the process, whatever it says.
    KILL = 9;
    /// For the process to give a meaning.
    USR1 = 10;
    /// An access to memory that is not its own.
    SEGV = 11;
    /// For the process to give a meaning.
    USR2 = 12;
    /// A write that nobody can read.
    PIPE = 13;
    /// An alarm.
    ALRM = 14;
    /// Asks the process to end.
    TERM = 15;
    /// A child has changed its state.
    CHLD = 17;
    /// Goes on.
    CONT = 18;
    /// Stops, whatever the process says.
    STOP = 19;
    /// Stopped at the terminal.
    TSTP = 20;
    /// Reads from the terminal in the background.
    TTIN = 21;
    /// Writes to the terminal in the background.
    TTOU = 22;
    /// A timer that runs while its process does has run out.
    VTALRM = 26;
    /// The same, for profiling.
    PROF = 27;
    /// The size of the terminal has changed.
    WINCH = 28;

    /// To a manager, of a process: the send that kept it from being stopped is over.
    SNDELAY = 70;
    /// To VM: kernel calls wait for memory.
    KMEM = 71;
    /// To who asked for it: there is new text in the kernel's log.
    KMESS = 72;
    /// To a service that manages itself: it has signals of its own.
    KSIGSM = 73;
    /// To a manager: a process that it manages has signals.
    KSIG = 74;
}

impl Signal {
    /// The highest number of a signal that a process can be sent.
    pub const LAST: u8 = 64;

    /// The signal of a number, if a process can be sent it.
    #[must_use]
    pub const fn new(number: u8) -> Option<Self> {
        if number == 0 || number > Self::LAST { None } else { Some(Self(number)) }
    }

    /// The number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// Tells whether a process can be sent it. The kernel's own signals can't be sent.
    #[must_use]
    pub const fn can_be_sent(self) -> bool {
        Self::new(self.0).is_some()
    }
}

/// `SIGSEGV`, or `signal 40`.
impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::NAMES.iter().find(|(signal, _)| signal == self) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "signal {}", self.0),
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A set of signals: a bit for each number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(transparent)]
pub struct Signals(u128);

impl Signals {
    /// No signal.
    pub const NONE: Self = Self(0);
    /// After these a process can't go on as if nothing had happened.
    pub const LETHAL: Self = Self::of(&[Signal::ILL, Signal::BUS, Signal::FPE, Signal::SEGV, Signal::ABRT]);
    /// These end a service. It learns of all others by a message.
    pub const TERMINATION: Self = Self(Self::LETHAL.0 | Self::of(&[Signal::KILL, Signal::PIPE]).0);

    /// The set of these signals.
    #[must_use]
    pub const fn of(signals: &[Signal]) -> Self {
        let (mut bits, mut index) = (0, 0);
        while index < signals.len() {
            bits |= Self::bit(signals[index]);
            index += 1;
        }
        Self(bits)
    }

    /// A number from outside that no signal has is in no set.
    const fn bit(signal: Signal) -> u128 {
        if (signal.0 as u32) < u128::BITS { 1 << signal.0 } else { 0 }
    }

    /// Tells whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Tells whether the signal is in the set.
    #[must_use]
    pub const fn contains(self, signal: Signal) -> bool {
        self.0 & Self::bit(signal) != 0
    }

    /// Tells whether the sets have a signal in common.
    #[must_use]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// This set and that.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Adds a signal.
    pub const fn insert(&mut self, signal: Signal) {
        self.0 |= Self::bit(signal);
    }

    /// The signals, in ascending order.
    pub fn iter(self) -> impl Iterator<Item = Signal> {
        (0..=Signal::KSIG.0).map(Signal).filter(move |signal| self.contains(*signal))
    }

    /// What the notification that tells of these kernel signals carries.
    #[must_use]
    pub const fn to_notification(self) -> u64 {
        // The lower half holds signals of processes, which `getksig` tells.
        let [.., a, b, c, d, e, f, g, h] = self.0.to_le_bytes();
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }

    /// Reads what a notification from [`Endpoint::SYSTEM`](crate::Endpoint::SYSTEM) carries.
    #[must_use]
    pub const fn of_notification(pending: u64) -> Self {
        Self((pending as u128) << 64)
    }

    /// The bits that travel in messages.
    #[must_use]
    pub const fn to_bits(self) -> u128 {
        self.0
    }

    /// Reads bits that came from somewhere else.
    #[must_use]
    pub const fn from_bits(bits: u128) -> Self {
        Self(bits)
    }
}

/// `{SIGABRT, SIGUSR1}`
impl fmt::Debug for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl crate::Wire for Signal {
    const SIZE: usize = 1;
    fn put(&self, out: &mut [u8]) {
        out[0] = self.0;
    }
    fn get(from: &[u8]) -> Option<Self> {
        u8::get(from).map(Self)
    }
}

impl crate::Wire for Signals {
    const SIZE: usize = 16;
    fn put(&self, out: &mut [u8]) {
        self.0.put(out);
    }
    fn get(from: &[u8]) -> Option<Self> {
        u128::get(from).map(Self)
    }
}
