//! Whether two runs of a test are equal, event by event.
//!
//! A machine that counts time in instructions does the same thing each time, so two runs differ
//! only if something from the host has got in, and then no snapshot of them can be trusted.

#[cfg(test)]
mod tests;

use crate::observe::{Channel, Event, Record, What};
use std::fmt;

/// What was seen of that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repetition {
    /// It was run once.
    NotTried,
    /// Two runs were as the test says: equal, or different if it is meant to differ.
    AsDeclared,
    /// Two runs differ.
    Different(Box<Difference>),
    /// Two runs are equal although they are meant to differ, so the check can't see anything.
    Blind,
}

/// The first event that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Where.
    pub channel: Channel,
    /// Its place among the events of the channel, counted from 1.
    pub place: usize,
    /// What the first run had there, if it had anything.
    pub first: Option<What>,
    /// What the second run had there.
    pub second: Option<What>,
}

/// Where the runs differ, in a line.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "two runs differ at event {} of the channel \"{}\"", self.place, self.channel)
    }
}

impl Difference {
    /// What each run had there, a line each.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let text = |what: &Option<What>| what.as_ref().map_or_else(|| "[nothing]".into(), What::to_string);
        vec![format!("first run:  {}", text(&self.first)), format!("second run: {}", text(&self.second))]
    }
}

/// Compares two runs of one test.
///
/// When something happened doesn't count: that is the host's time. QEMU's own messages don't count
/// either. Of a machine that was stopped when its time was over, only what both had come to does.
#[must_use]
pub fn first_difference(first: &Record, second: &Record) -> Option<Difference> {
    let was_cut = [first, second].into_iter().any(was_cut);
    let channels = [Channel::Console, Channel::Log, Channel::Results, Channel::Machine];
    channels.into_iter().find_map(|channel| {
        let mut first = events(first, channel, was_cut);
        let mut second = events(second, channel, was_cut);
        if was_cut && channel != Channel::Machine {
            let common = first.len().min(second.len());
            first.truncate(common);
            second.truncate(common);
        }
        let differs = |place: &usize| match (first.get(*place), second.get(*place)) {
            // How far it came by then is the host's doing.
            (Some(What::TimedOut(_)), Some(What::TimedOut(_))) => false,
            (first, second) => first != second,
        };
        let place = (0..first.len().max(second.len())).find(differs)?;
        let what = |events: &[&What]| events.get(place).map(|what| (*what).clone());
        Some(Difference { channel, place: place + 1, first: what(&first), second: what(&second) })
    })
}

/// Tells whether the machine was stopped while it might have gone on.
fn was_cut(record: &Record) -> bool {
    record.channel(Channel::Machine).any(|event| matches!(event.what, What::TimedOut(_) | What::Flooded))
}

/// The events of a channel. Without its end, if that is where the host cut it off.
fn events(record: &Record, channel: Channel, was_cut: bool) -> Vec<&What> {
    let is_whole =
        |what: &&What| !matches!(what, What::ConsoleRest(_) | What::ConsoleCut(_) | What::LogCut(_));
    let events = record.channel(channel).map(|event: &Event| &event.what);
    if !was_cut {
        return events.collect();
    }
    let mut events: Vec<&What> = events.filter(is_whole).collect();
    // The log has no mark for a line without an end.
    if channel == Channel::Log {
        events.pop();
    }
    events
}
