//! Messages on their way: what `SendA` and the kernel itself have sent and nobody has taken yet.
//!
//! The kernel keeps the messages, in the order in which they were sent to each receiver, so
//! there is no table in a sender's memory that could change under its hands. All are in one
//! pool that never grows beyond its capacity; what a sender can fill of it is bounded.

use crate::process::Slot;
use abi::Message;
use abi::ipc::{AsyncFlags, Status};
use alloc::vec::Vec;
use core::num::NonZeroU32;

/// Index of a letter in the pool, plus one.
type Index = NonZeroU32;

/// A message on its way.
#[derive(Clone, Debug)]
pub(crate) struct Letter {
    pub(crate) message: Message,
    pub(crate) status: Status,
    pub(crate) from: Slot,
    pub(crate) flags: AsyncFlags,
}

/// All messages on their way.
#[derive(Debug)]
pub(crate) struct Pool {
    letters: Vec<(Option<Letter>, Option<Index>)>,
    free: Option<Index>,
    capacity: usize,
}

/// The letters for one receiver, oldest first.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Queue {
    head: Option<Index>,
    tail: Option<Index>,
}

/// What became of a sender's letters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Over {
    /// All.
    pub(crate) over: u32,
    /// Those that nobody got.
    pub(crate) lost: u32,
}

impl Over {
    /// As a notification tells of it, see `abi::notification`.
    pub(crate) const fn to_pending(self) -> u64 {
        self.over as u64 | (self.lost as u64) << 32
    }
}

/// There is no room for another letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Pool {
    /// An empty pool for so many letters.
    pub(crate) const fn new(capacity: usize) -> Self {
        Self { letters: Vec::new(), free: None, capacity }
    }

    /// Appends a letter to a queue.
    pub(crate) fn push(&mut self, queue: &mut Queue, letter: Letter) -> Result<(), Full> {
        let index = self.take_place()?;
        *self.place(index) = (Some(letter), None);
        match queue.tail {
            Some(tail) => self.place(tail).1 = Some(index),
            None => queue.head = Some(index),
        }
        queue.tail = Some(index);
        Ok(())
    }

    /// Takes the oldest letter out of a queue of which `is_wanted` is true.
    pub(crate) fn take(&mut self, queue: &mut Queue, is_wanted: impl Fn(&Letter) -> bool) -> Option<Letter> {
        let (mut previous, mut at) = (None, queue.head?);
        loop {
            let (letter, next) = self.place(at);
            let next = *next;
            if letter.as_ref().is_some_and(&is_wanted) {
                let letter = letter.take();
                match previous {
                    Some(previous) => self.place(previous).1 = next,
                    None => queue.head = next,
                }
                if queue.tail == Some(at) {
                    queue.tail = previous;
                }
                self.place(at).1 = self.free;
                self.free = Some(at);
                return letter;
            }
            (previous, at) = (Some(at), next?);
        }
    }

    fn take_place(&mut self) -> Result<Index, Full> {
        if let Some(index) = self.free {
            self.free = self.place(index).1;
            return Ok(index);
        }
        if self.letters.len() >= self.capacity || self.letters.try_reserve(1).is_err() {
            return Err(Full);
        }
        self.letters.push((None, None));
        u32::try_from(self.letters.len()).ok().and_then(Index::new).ok_or(Full)
    }

    fn place(&mut self, index: Index) -> &mut (Option<Letter>, Option<Index>) {
        &mut self.letters[index.get() as usize - 1]
    }
}

impl Queue {
    /// Tells whether there is no letter.
    #[inline]
    pub(crate) const fn is_empty(&self) -> bool {
        self.head.is_none()
    }

    /// The letters, oldest first.
    #[cfg(test)]
    pub(crate) fn iter<'a>(&self, pool: &'a Pool) -> impl Iterator<Item = &'a Letter> + use<'a> {
        let place = |index: Index| &pool.letters[index.get() as usize - 1];
        let places = core::iter::successors(self.head.map(place), move |(_, next)| next.map(place));
        places.filter_map(|(letter, _)| letter.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(from: u16, tag: u32) -> Letter {
        let message = Message { tag, ..Message::zeroed() };
        Letter { message, status: Status::default(), from: Slot::new(from), flags: AsyncFlags::NONE }
    }

    /// Every order of up to five sends and takings, of two queues, against plain vectors.
    #[test]
    fn letters_come_in_their_order_and_their_places_are_used_again() {
        const ACTIONS: u32 = 8;
        const CAPACITY: usize = 3;
        for mut script in 0..ACTIONS.pow(6) {
            let mut pool = Pool::new(CAPACITY);
            let mut queues = [Queue::default(); 2];
            let mut models: [Vec<(u16, u32)>; 2] = Default::default();
            for tag in 0..6 {
                let (action, queue, from) = (script % ACTIONS / 4, (script / 2 % 2) as usize, script % 2);
                let from = u16::try_from(from).unwrap();
                script /= ACTIONS;
                if action == 0 {
                    let is_full = models[0].len() + models[1].len() == CAPACITY;
                    let pushed = pool.push(&mut queues[queue], letter(from, tag));
                    assert_eq!(pushed, if is_full { Err(Full) } else { Ok(()) });
                    if !is_full {
                        models[queue].push((from, tag));
                    }
                } else {
                    let taken = pool.take(&mut queues[queue], |letter| letter.from == Slot::new(from));
                    let place = models[queue].iter().position(|(sender, _)| *sender == from);
                    let expected = place.map(|place| models[queue].remove(place).1);
                    assert_eq!(taken.map(|letter| letter.message.tag), expected);
                }
                for (queue, model) in queues.iter().zip(&models) {
                    let tags = queue.iter(&pool).map(|letter| letter.message.tag);
                    assert!(tags.eq(model.iter().map(|(_, tag)| *tag)));
                    assert_eq!(queue.is_empty(), model.is_empty());
                }
            }
        }
    }
}
