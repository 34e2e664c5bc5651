//! Time: alarms, and what the wall clock shows.

use crate::Kernel;
use crate::machine::Machine;
use crate::privilege::Notifier;
use crate::process::Slot;
use abi::protocols::NO_ALARM;
use alloc::vec::Vec;

/// The alarms that are set, at most one for each process, the next one last.
#[derive(Debug)]
pub(crate) struct Alarms(Vec<Alarm>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Alarm {
    at_ns: u64,
    owner: Slot,
}

impl Alarms {
    /// No alarms, and room for one of each process.
    pub(crate) fn new(processes: usize) -> Self {
        Self(Vec::with_capacity(processes))
    }

    /// Sets a process's alarm; gives when the one before would have gone off.
    pub(crate) fn set(&mut self, owner: Slot, at_ns: u64) -> Option<u64> {
        let before = self.cancel(owner);
        // Alarms of one time go off in the order in which they were set.
        let place = self.0.partition_point(|alarm| alarm.at_ns > at_ns);
        self.0.insert(place, Alarm { at_ns, owner });
        before
    }

    /// Takes a process's alarm back; gives when it would have gone off.
    pub(crate) fn cancel(&mut self, owner: Slot) -> Option<u64> {
        let place = self.0.iter().position(|alarm| alarm.owner == owner)?;
        Some(self.0.remove(place).at_ns)
    }

    /// When the next one goes off.
    pub(crate) fn next(&self) -> Option<u64> {
        self.0.last().map(|alarm| alarm.at_ns)
    }

    /// All of them, the next one first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, Slot)> {
        self.0.iter().rev().map(|alarm| (alarm.at_ns, alarm.owner))
    }

    /// Takes out the next one if its time has come.
    fn expired(&mut self, now_ns: u64) -> Option<Slot> {
        self.0.pop_if(|alarm| alarm.at_ns <= now_ns).map(|alarm| alarm.owner)
    }
}

/// What the wall clock shows: nanoseconds since 1970, UTC, as a function of the uptime.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct WallClock {
    /// What it shows more than the uptime.
    ahead_ns: i64,
    /// What is yet to be added bit by bit, from when on.
    adjusting_ns: i64,
    since_ns: u64,
}

impl WallClock {
    /// Part of a second by which a clock that is being adjusted runs faster or slower.
    const SLEW: i64 = 2;

    /// What it shows at that uptime.
    pub(crate) fn at(&self, uptime_ns: u64) -> i64 {
        signed(uptime_ns).saturating_add(self.ahead_ns).saturating_add(self.adjusted(uptime_ns))
    }

    /// Sets it.
    pub(crate) fn set(&mut self, uptime_ns: u64, now_ns: i64) {
        *self = Self { ahead_ns: now_ns.saturating_sub(signed(uptime_ns)), ..Self::default() };
    }

    /// Lets it run faster or slower until it has made up for that much; gives what is left of the
    /// last adjustment, which ends here (adjtime).
    pub(crate) fn adjust(&mut self, uptime_ns: u64, by_ns: i64) -> i64 {
        let done = self.adjusted(uptime_ns);
        let left = self.adjusting_ns.saturating_sub(done);
        *self =
            Self { ahead_ns: self.ahead_ns.saturating_add(done), adjusting_ns: by_ns, since_ns: uptime_ns };
        left
    }

    fn adjusted(&self, uptime_ns: u64) -> i64 {
        let most = signed(uptime_ns.saturating_sub(self.since_ns)) / Self::SLEW;
        self.adjusting_ns.clamp(-most, most)
    }
}

fn signed(ns: u64) -> i64 {
    i64::try_from(ns).unwrap_or(i64::MAX)
}

impl<M: Machine> Kernel<M> {
    /// When the machine has to wake, if nothing else happens before.
    #[must_use]
    pub fn next_alarm_ns(&self) -> Option<u64> {
        self.alarms.next()
    }

    /// Notifies those whose alarms have gone off.
    pub(crate) fn expire_alarms(&mut self) {
        if self.alarms.next().is_none() {
            return;
        }
        let now_ns = self.machine.uptime_ns();
        while let Some(owner) = self.alarms.expired(now_ns) {
            self.notify(Notifier::Clock, owner);
        }
    }

    /// Sets the alarm of a process to a time, or cancels it; gives what was left of the one before.
    pub(crate) fn set_alarm(&mut self, owner: Slot, at_ns: Option<u64>) -> u64 {
        let before = match at_ns {
            Some(at_ns) => self.alarms.set(owner, at_ns),
            None => self.alarms.cancel(owner),
        };
        let now_ns = self.machine.uptime_ns();
        let left = before.map_or(NO_ALARM, |at_ns| at_ns.saturating_sub(now_ns));
        self.expire_alarms();
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alarms_go_off_in_the_order_of_their_times_and_once() {
        let slot = Slot::new;
        let mut alarms = Alarms::new(4);
        assert_eq!(alarms.next(), None);
        assert_eq!(alarms.set(slot(1), 30), None);
        assert_eq!(alarms.set(slot(2), 10), None);
        assert_eq!(alarms.set(slot(3), 30), None);
        assert_eq!(alarms.set(slot(2), 20), Some(10));
        assert_eq!(alarms.set(slot(0), 40), None);
        assert_eq!(alarms.cancel(slot(0)), Some(40));
        assert_eq!(alarms.cancel(slot(0)), None);
        assert_eq!((alarms.expired(19), alarms.next()), (None, Some(20)));
        let order: Vec<_> = core::iter::from_fn(|| alarms.expired(30)).collect();
        assert_eq!(order, [slot(2), slot(1), slot(3)]);
        assert_eq!(alarms.next(), None);
    }

    #[test]
    fn a_wall_clock_is_set_at_once_and_adjusted_bit_by_bit() {
        let mut clock = WallClock::default();
        assert_eq!(clock.at(5), 5);
        clock.set(100, 1_000);
        assert_eq!((clock.at(100), clock.at(150)), (1_000, 1_050));
        assert_eq!(clock.adjust(150, 20), 0);
        assert_eq!([150, 160, 190, 500].map(|at| clock.at(at)), [1_050, 1_065, 1_110, 1_420]);
        assert_eq!(clock.adjust(170, -20), 10);
        assert_eq!([170, 180, 210, 300].map(|at| clock.at(at)), [1_080, 1_085, 1_100, 1_190]);
        // It never runs backwards.
        assert!((170..300).all(|at| clock.at(at) <= clock.at(at + 1)));
        clock.set(u64::MAX, i64::MIN);
        assert!(clock.at(u64::MAX) < 0);
        clock.set(0, i64::MAX);
        clock.adjust(0, i64::MAX);
        assert_eq!(clock.at(u64::MAX), i64::MAX);
    }
}
