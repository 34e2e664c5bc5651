//! What a process may do.
//!
//! Each service has privileges of its own; all programs share one set, so that a change of it
//! reaches every program at once.

use abi::Endpoint;
use abi::ipc::Primitive;
use alloc::vec::Vec;

/// Index of a set of privileges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id(u8);

impl Id {
    /// How many sets of privileges there can be.
    pub const LIMIT: usize = 250;

    /// The id of an index below [`Id::LIMIT`].
    #[must_use]
    pub fn new(index: usize) -> Option<Self> {
        u8::try_from(index).ok().filter(|id| usize::from(*id) < Self::LIMIT).map(Self)
    }

    /// The index.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A set of sources of notifications, or of privileges, as bits.
///
/// Sources that are no process come first, so their notifications are delivered first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IdSet([u64; 4]);

/// Who notifies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notifier {
    /// The clock: an alarm.
    Clock,
    /// The kernel: a signal.
    System,
    /// A device: an interrupt.
    Hardware,
    /// A service.
    Service(Id),
}

impl Notifier {
    const SPECIALS: usize = 3;

    /// The notifier that an endpoint without a process stands for.
    #[must_use]
    #[inline]
    pub fn special(endpoint: Endpoint) -> Option<Self> {
        match endpoint {
            Endpoint::CLOCK => Some(Self::Clock),
            Endpoint::SYSTEM => Some(Self::System),
            Endpoint::HARDWARE => Some(Self::Hardware),
            _ => None,
        }
    }

    #[inline]
    const fn bit(self) -> usize {
        match self {
            Self::Clock => 0,
            Self::System => 1,
            Self::Hardware => 2,
            Self::Service(id) => Self::SPECIALS + id.index(),
        }
    }

    fn from_bit(bit: usize) -> Self {
        match bit {
            0 => Self::Clock,
            1 => Self::System,
            2 => Self::Hardware,
            _ => Self::Service(Id::new(bit - Self::SPECIALS).expect("only bits of notifiers are ever set")),
        }
    }
}

const _: () = assert!(Notifier::SPECIALS + Id::LIMIT <= 256);

impl IdSet {
    /// Adds a member.
    #[inline]
    pub fn insert(&mut self, member: Notifier) {
        self.0[member.bit() / 64] |= 1 << (member.bit() % 64);
    }

    /// Takes a member out.
    #[inline]
    pub fn remove(&mut self, member: Notifier) {
        self.0[member.bit() / 64] &= !(1 << (member.bit() % 64));
    }

    /// Tells whether it is a member.
    #[must_use]
    #[inline]
    pub const fn contains(&self, member: Notifier) -> bool {
        self.0[member.bit() / 64] & (1 << (member.bit() % 64)) != 0
    }

    /// The first member.
    #[must_use]
    #[inline]
    pub fn first(&self) -> Option<Notifier> {
        let word = self.0.iter().position(|word| *word != 0)?;
        Some(Notifier::from_bit(word * 64 + self.0[word].trailing_zeros() as usize))
    }
}

/// One set of privileges.
#[derive(Debug)]
pub struct Privileges {
    /// The service that has them; [`Endpoint::NONE`] for the programs' set.
    pub owner: Endpoint,
    /// A bit for each primitive that may be used.
    pub traps: u32,
    /// A bit for each kernel call that may be made.
    pub kernel_calls: u128,
    /// Whom one may send to.
    pub send_to: IdSet,
    /// Ports that may be used: first and last.
    pub ports: Vec<(u16, u16)>,
    /// A bit for each interrupt line that may be attached to.
    pub irqs: u32,
    /// Other processes' memory may be granted.
    pub grants_magic: bool,
}

impl Privileges {
    /// Tells whether the primitive may be used.
    #[must_use]
    #[inline]
    pub const fn may_use(&self, primitive: Primitive) -> bool {
        self.traps & primitive.bit() != 0
    }

    /// Tells whether the kernel call of that number may be made.
    #[must_use]
    #[inline]
    pub const fn may_call(&self, number: u16) -> bool {
        self.kernel_calls & abi::mask_bit(number) != 0
    }

    /// Tells whether all `count` ports from `port` on may be used.
    #[must_use]
    pub fn may_use_ports(&self, port: u16, count: u16) -> bool {
        let Some(last) = port.checked_add(count.saturating_sub(1)) else { return false };
        self.ports.iter().any(|(first, end)| *first <= port && last <= *end)
    }

    /// Tells whether the line may be attached to.
    #[must_use]
    pub fn may_attach(&self, line: u8) -> bool {
        self.irqs.checked_shr(u32::from(line)).is_some_and(|mask| mask & 1 != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn privileges() -> Privileges {
        Privileges {
            owner: Endpoint::NONE,
            traps: Primitive::SendRec.bit(),
            kernel_calls: 0b10 | 1 << 127,
            send_to: IdSet::default(),
            ports: alloc::vec![(0x3f8, 0x3ff), (0xffff, 0xffff)],
            irqs: 1 << 4 | 1 << 31,
            grants_magic: false,
        }
    }

    #[test]
    fn a_mask_allows_what_it_names_and_nothing_beyond_its_width() {
        let privileges = privileges();
        let calls: Vec<u16> = (0..256).filter(|number| privileges.may_call(*number)).collect();
        assert_eq!(calls, [1, 127]);
        let lines: Vec<u8> = (0..=255).filter(|line| privileges.may_attach(*line)).collect();
        assert_eq!(lines, [4, 31]);
        assert!(privileges.may_use(Primitive::SendRec) && !privileges.may_use(Primitive::Send));
    }

    #[test]
    fn a_port_range_covers_whole_registers() {
        let privileges = privileges();
        for (port, count, expected) in [
            (0x3f8, 1, true),
            (0x3ff, 1, true),
            (0x3fc, 4, true),
            (0x3fd, 4, false),
            (0x3f7, 1, false),
            (0x3f7, 2, false),
            (0x400, 1, false),
            (0xffff, 1, true),
            (0xffff, 2, false),
            (0xfffe, 2, false),
        ] {
            assert_eq!(privileges.may_use_ports(port, count), expected, "{port:#x}+{count}");
        }
    }

    #[test]
    fn devices_notify_before_services() {
        let mut set = IdSet::default();
        let last = Notifier::Service(Id::new(Id::LIMIT - 1).unwrap());
        let all = [
            Notifier::Clock,
            Notifier::System,
            Notifier::Hardware,
            Notifier::Service(Id(0)),
            Notifier::Service(Id(70)),
            last,
        ];
        all.iter().rev().for_each(|notifier| set.insert(*notifier));
        for notifier in all {
            assert_eq!(set.first(), Some(notifier));
            assert!(set.contains(notifier));
            set.remove(notifier);
            assert!(!set.contains(notifier));
        }
        assert_eq!(set, IdSet::default());
        assert_eq!(Id::new(Id::LIMIT), None);
    }
}
