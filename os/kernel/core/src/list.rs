//! Queues of processes, linked through one table.
//!
//! A process is in one queue at most: it is ready, or it waits to send to somebody. So one
//! pair of links per slot serves all queues, entering and leaving cost the same for any
//! number of processes, and nothing is ever allocated.

use crate::Slot;
use alloc::vec::Vec;

/// The links of all slots.
#[derive(Debug)]
pub struct Links(Vec<Link>);

#[derive(Clone, Copy, Debug, Default)]
struct Link {
    previous: Option<Slot>,
    next: Option<Slot>,
}

impl Links {
    /// Links for slots below `slots`.
    #[must_use]
    pub fn new(slots: usize) -> Self {
        Self(alloc::vec![Link::default(); slots])
    }
}

/// A first-in-first-out queue of processes.
#[derive(Clone, Copy, Debug, Default)]
pub struct List {
    head: Option<Slot>,
    tail: Option<Slot>,
}

impl List {
    /// The process that has waited longest.
    #[must_use]
    #[inline]
    pub const fn front(&self) -> Option<Slot> {
        self.head
    }

    /// Appends a process, which must be in no queue.
    #[inline]
    pub fn push_back(&mut self, links: &mut Links, slot: Slot) {
        links.0[slot.index()] = Link { previous: self.tail, next: None };
        match self.tail {
            Some(tail) => links.0[tail.index()].next = Some(slot),
            None => self.head = Some(slot),
        }
        self.tail = Some(slot);
    }

    /// Puts one process, which must be in no queue, into the place of the only one of this queue;
    /// does nothing if that is not alone. Tells whether it is.
    #[inline]
    pub fn exchange_only(&mut self, out: Slot, into: Slot) -> bool {
        let is_alone = self.head == Some(out) && self.tail == Some(out);
        if is_alone {
            // The only one of a queue has no neighbours, and neither has one of no queue.
            (self.head, self.tail) = (Some(into), Some(into));
        }
        is_alone
    }

    /// Takes a process out, which must be in this queue.
    #[inline]
    pub fn remove(&mut self, links: &mut Links, slot: Slot) {
        let Link { previous, next } = core::mem::take(&mut links.0[slot.index()]);
        match previous {
            Some(previous) => links.0[previous.index()].next = next,
            None => self.head = next,
        }
        match next {
            Some(next) => links.0[next.index()].previous = previous,
            None => self.tail = previous,
        }
    }

    /// The processes of the queue, longest waiting first.
    pub fn iter<'a>(&self, links: &'a Links) -> impl Iterator<Item = Slot> + use<'a> {
        core::iter::successors(self.head, |slot| links.0[slot.index()].next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every order of up to five entries and exits, against a plain vector.
    #[test]
    fn a_list_is_a_queue_from_which_anyone_may_leave() {
        const SLOTS: u16 = 3;
        for mut script in 0..6_u32.pow(5) {
            let mut links = Links::new(usize::from(SLOTS));
            let mut list = List::default();
            let mut model: Vec<Slot> = Vec::new();
            for _ in 0..5 {
                let (action, slot) = (script % 6 / 3, Slot::new(u16::try_from(script % 3).unwrap()));
                script /= 6;
                match model.iter().position(|member| *member == slot) {
                    None if action == 0 => {
                        list.push_back(&mut links, slot);
                        model.push(slot);
                    }
                    Some(place) if action == 1 => {
                        list.remove(&mut links, slot);
                        model.remove(place);
                    }
                    _ => {}
                }
                assert_eq!(list.iter(&links).collect::<Vec<_>>(), model);
                assert_eq!(list.front(), model.first().copied());
            }
        }
    }
}
