//! What a process may do.
//!
//! Each service has privileges of its own; all programs share one set, so that a change of it
//! reaches every program at once.

use abi::Endpoint;
use abi::boot::KERNEL_PORTS;
use abi::ipc::Primitive;
use alloc::vec::Vec;

/// Index of a set of privileges.
// Kept as its bit in an `IdSet`, which is looked at for each message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id(u8);

impl Id {
    /// How many sets of privileges there can be.
    pub const LIMIT: usize = 250;

    /// The id of an index below [`Id::LIMIT`].
    #[must_use]
    pub fn new(index: usize) -> Option<Self> {
        let bit = u8::try_from(index).ok().filter(|id| usize::from(*id) < Self::LIMIT)?;
        bit.checked_add(Notifier::SPECIALS).map(Self)
    }

    /// The index.
    #[must_use]
    #[inline]
    pub const fn index(self) -> usize {
        self.0.wrapping_sub(Notifier::SPECIALS) as usize
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
    /// The kernel: asynchronous sends are over.
    Asynchronous,
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
    const SPECIALS: u8 = 4;

    /// The notifier that an endpoint without a process stands for.
    #[must_use]
    #[inline]
    pub fn special(endpoint: Endpoint) -> Option<Self> {
        match endpoint {
            Endpoint::ASYNCM => Some(Self::Asynchronous),
            Endpoint::CLOCK => Some(Self::Clock),
            Endpoint::SYSTEM => Some(Self::System),
            Endpoint::HARDWARE => Some(Self::Hardware),
            _ => None,
        }
    }

    #[inline]
    const fn bit(self) -> u8 {
        match self {
            Self::Asynchronous => 0,
            Self::Clock => 1,
            Self::System => 2,
            Self::Hardware => 3,
            Self::Service(id) => id.0,
        }
    }

    const fn from_bit(bit: u8) -> Self {
        match bit {
            0 => Self::Asynchronous,
            1 => Self::Clock,
            2 => Self::System,
            3 => Self::Hardware,
            _ => Self::Service(Id(bit)),
        }
    }
}

const _: () = assert!(Notifier::SPECIALS as usize + Id::LIMIT <= 256);

impl IdSet {
    /// Adds a member.
    #[inline]
    pub const fn insert(&mut self, member: Notifier) {
        self.0[(member.bit() / 64) as usize] |= 1 << (member.bit() % 64);
    }

    /// Takes a member out.
    #[inline]
    pub const fn remove(&mut self, member: Notifier) {
        self.0[(member.bit() / 64) as usize] &= !(1 << (member.bit() % 64));
    }

    /// Adds all members of another set.
    pub fn insert_all(&mut self, other: &Self) {
        for (word, more) in self.0.iter_mut().zip(other.0) {
            *word |= more;
        }
    }

    /// Tells whether it is a member.
    #[must_use]
    #[inline]
    pub const fn contains(&self, member: Notifier) -> bool {
        self.0[(member.bit() / 64) as usize] & (1 << (member.bit() % 64)) != 0
    }

    /// Tells whether there is no member.
    #[must_use]
    #[inline]
    pub const fn is_empty(&self) -> bool {
        let [a, b, c, d] = self.0;
        a | b | c | d == 0
    }

    /// All members, in order.
    pub fn iter(&self) -> impl Iterator<Item = Notifier> + use<> {
        (0..).step_by(64).zip(self.0).flat_map(|(first, mut bits)| {
            core::iter::from_fn(move || {
                let bit = (bits != 0).then(|| bits.trailing_zeros())?;
                bits &= bits - 1;
                u8::try_from(first + bit).ok().map(Notifier::from_bit)
            })
        })
    }

    /// The first member.
    #[must_use]
    pub fn first(&self) -> Option<Notifier> {
        self.iter().next()
    }
}

/// One set of privileges.
#[derive(Debug, Default)]
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
    /// Ranges of physical memory that may be mapped: start and size.
    pub memory: Vec<(u64, u64)>,
    /// Who takes the signals of their process: a process, [`Endpoint::SELF`], or [`Endpoint::NONE`].
    pub signal_manager: Endpoint,
    /// Who takes them when that one is gone.
    pub backup_manager: Endpoint,
    /// Who may become the scheduler of their process as long as the kernel is, or [`Endpoint::NONE`].
    pub scheduler: Endpoint,
    /// Other processes' memory may be granted.
    pub grants_magic: bool,
}

impl Privileges {
    /// Privileges with which a process can do nothing.
    #[must_use]
    pub fn nothing(owner: Endpoint) -> Self {
        Self { owner, ..Self::default() }
    }

    /// Says who deals with the signals of the owner, and who does once that one is gone. The owner's own name for its
    /// manager means [`Endpoint::SELF`]; its own backup is nobody.
    pub(crate) fn set_managers(&mut self, signal_manager: Endpoint, backup_manager: Endpoint) {
        let is_owner = |endpoint| endpoint == self.owner && endpoint != Endpoint::NONE;
        let backup_is_owner = is_owner(backup_manager) || backup_manager == Endpoint::SELF;
        self.signal_manager = if is_owner(signal_manager) { Endpoint::SELF } else { signal_manager };
        self.backup_manager = if backup_is_owner { Endpoint::NONE } else { backup_manager };
    }

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

    /// Tells whether all `count` ports from `port` on may be used. The kernel's own never are.
    #[must_use]
    pub fn may_use_ports(&self, port: u16, count: u16) -> bool {
        let Some(last) = port.checked_add(count.saturating_sub(1)) else { return false };
        if KERNEL_PORTS.iter().any(|kernels| port <= *kernels.end() && *kernels.start() <= last) {
            return false;
        }
        self.ports.iter().any(|(first, end)| *first <= port && last <= *end)
    }

    /// Tells whether all of a range of physical memory may be mapped.
    #[must_use]
    pub fn may_map(&self, start: u64, size: u64) -> bool {
        let Some(end) = start.checked_add(size).filter(|_| size > 0) else { return false };
        let covers = |&(first, bytes): &(u64, u64)| first <= start && end - first <= bytes;
        self.memory.iter().any(covers)
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
            traps: Primitive::SendRec.bit(),
            kernel_calls: 0b10 | 1 << 127,
            send_to: IdSet::default(),
            ports: alloc::vec![(0x3f8, 0x3ff), (0xffff, 0xffff)],
            irqs: 1 << 4 | 1 << 31,
            ..Privileges::nothing(Endpoint::NONE)
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

    // row I1
    #[test]
    fn who_may_use_all_ports_may_not_use_the_kernels() {
        let privileges = Privileges { ports: alloc::vec![(0, u16::MAX)], ..privileges() };
        let refused = |count| -> Vec<u16> {
            (0..=u16::MAX).filter(|port| !privileges.may_use_ports(*port, count)).collect()
        };
        assert_eq!(refused(1), [0xe9, 0xea, 0xf4, 0xf5, 0xf6, 0xf7, 0x441, 0x442, 0x443, 0x505]);
        let wide =
            (0xe6..=0xea).chain(0xf1..=0xf7).chain(0x43e..=0x443).chain(0x502..=0x505).chain(0xfffd..=0xffff);
        assert_eq!(refused(4), wide.collect::<Vec<u16>>());
    }

    #[test]
    fn devices_notify_before_services() {
        let mut set = IdSet::default();
        let last = Notifier::Service(Id::new(Id::LIMIT - 1).unwrap());
        let all = [
            Notifier::Asynchronous,
            Notifier::Clock,
            Notifier::System,
            Notifier::Hardware,
            Notifier::Service(Id::new(0).unwrap()),
            Notifier::Service(Id::new(70).unwrap()),
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
        assert!(set.is_empty());
        assert_eq!(Id::new(Id::LIMIT), None);
        assert!((0..Id::LIMIT).all(|index| Id::new(index).is_some_and(|id| id.index() == index)));
    }
}
