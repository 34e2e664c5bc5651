//! Messages on their way: what `SendA` and the kernel itself have sent and nobody has taken yet.
//!
//! The kernel keeps the messages, in the order in which they were sent to each receiver, so
//! there is no table in a sender's memory that could change under its hands. All are in one
//! pool, which has room for the [share](SHARE) of every sender there can be: nobody's letters can
//! take the place of another's.

use crate::privilege::Id;
use crate::process::Slot;
use abi::Message;
use abi::ipc::{AsyncFlags, Status};
use alloc::vec::Vec;
use core::num::NonZeroU32;

/// How many messages of one service can be on their way.
pub(crate) const SHARE: u16 = 64;

/// How many letters there can be among so many processes: the share of each service, and one of the
/// kernel's own about each process.
const fn most(processes: usize) -> usize {
    let services = if processes < Id::LIMIT { processes } else { Id::LIMIT };
    services * SHARE as usize + processes
}

/// Bytes that all the letters take that there can be.
#[must_use]
pub const fn bytes(processes: u16) -> usize {
    most(processes as usize) * size_of::<Place>()
}

/// A letter, or none; and the next one of the queue, or of the free places.
type Place = (Option<Letter>, Option<Index>);

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
    letters: Vec<Place>,
    free: Option<Index>,
}

/// What a sender has on its way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    /// Its own messages.
    own: u16,
    /// The kernel has sent one in its name.
    has_kernels: bool,
}

impl Sent {
    /// Tells whether there is none.
    pub(crate) const fn is_nothing(self) -> bool {
        self.own == 0 && !self.has_kernels
    }

    /// Counts a letter in, if the share has room for it.
    fn count_in(&mut self, letter: &Letter) -> Result<(), Full> {
        if letter.status.is_from_kernel() {
            return if core::mem::replace(&mut self.has_kernels, true) { Err(Full) } else { Ok(()) };
        }
        self.own = if self.own < SHARE { self.own + 1 } else { return Err(Full) };
        Ok(())
    }

    /// Counts a letter out that has left its queue.
    pub(crate) const fn count_out(&mut self, letter: &Letter) {
        if letter.status.is_from_kernel() {
            self.has_kernels = false;
        } else {
            self.own -= 1;
        }
    }
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

/// The sender's share has no room for another letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Pool {
    /// An empty pool for so many processes.
    pub(crate) fn new(processes: usize) -> Self {
        Self { letters: Vec::with_capacity(most(processes)), free: None }
    }

    /// Appends a letter to a queue, if its sender's share has room for it.
    pub(crate) fn push(&mut self, sent: &mut Sent, queue: &mut Queue, letter: Letter) -> Result<(), Full> {
        sent.count_in(&letter)?;
        let index = self.take_place();
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

    /// Takes all letters out of a queue of which `is_wanted` is true, in one pass, oldest first.
    pub(crate) fn take_all(
        &mut self,
        queue: &mut Queue,
        is_wanted: impl Fn(&Letter) -> bool,
        mut each: impl FnMut(&Letter),
    ) {
        let (mut previous, mut at) = (None, queue.head);
        while let Some(index) = at {
            let (letter, next) = self.place(index);
            at = *next;
            let Some(letter) = letter.take_if(|letter| is_wanted(letter)) else {
                previous = Some(index);
                continue;
            };
            match previous {
                Some(previous) => self.place(previous).1 = at,
                None => queue.head = at,
            }
            if queue.tail == Some(index) {
                queue.tail = previous;
            }
            self.place(index).1 = self.free;
            self.free = Some(index);
            each(&letter);
        }
    }

    fn take_place(&mut self) -> Index {
        if let Some(index) = self.free {
            self.free = self.place(index).1;
            return index;
        }
        assert!(self.letters.len() < self.letters.capacity(), "the pool has room for all shares");
        self.letters.push((None, None));
        let count = u32::try_from(self.letters.len()).expect("shares are counted in 32 bits");
        Index::MIN.saturating_add(count - 1)
    }

    fn place(&mut self, index: Index) -> &mut Place {
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

    #[test]
    fn a_full_share_leaves_room_for_everybody_elses_and_the_kernels() {
        let processes = 3;
        let mut pool = Pool::new(processes);
        let mut queue = Queue::default();
        for from in 0..3 {
            let mut sent = Sent::default();
            for tag in 0..u32::from(SHARE) {
                assert_eq!(pool.push(&mut sent, &mut queue, letter(from, tag)), Ok(()));
            }
            assert_eq!(pool.push(&mut sent, &mut queue, letter(from, 0)), Err(Full));
            let of_kernel =
                || Letter { status: Status::from_kernel(abi::ipc::Primitive::SendA), ..letter(from, 0) };
            assert_eq!(pool.push(&mut sent, &mut queue, of_kernel()), Ok(()));
            assert_eq!(pool.push(&mut sent, &mut queue, of_kernel()), Err(Full));
        }
        assert_eq!(queue.iter(&pool).count(), most(processes));
    }

    /// Every choice of six letters to be taken out at once, and what comes behind those that stay.
    #[test]
    fn letters_that_are_taken_out_at_once_leave_the_others_in_their_order() {
        for wanted in 0..1_u32 << 6 {
            let mut pool = Pool::new(2);
            let (mut sent, mut queue) = (Sent::default(), Queue::default());
            (0..6).for_each(|tag| pool.push(&mut sent, &mut queue, letter(0, tag)).unwrap());
            let mut taken = Vec::new();
            let is_wanted = |letter: &Letter| wanted & 1 << letter.message.tag != 0;
            pool.take_all(&mut queue, is_wanted, |letter| taken.push(letter.message.tag));
            pool.push(&mut sent, &mut queue, letter(0, 6)).unwrap();
            let (out, left): (Vec<u32>, Vec<u32>) = (0..6).partition(|tag| wanted & 1 << tag != 0);
            assert_eq!(taken, out);
            let tags: Vec<u32> = queue.iter(&pool).map(|letter| letter.message.tag).collect();
            assert_eq!(tags, [left, vec![6]].concat());
            assert!(pool.letters.len() <= 7 - out.len().min(1), "places are used again");
        }
    }

    /// Every order of up to six sends and takings, of two queues, against plain vectors.
    #[test]
    fn letters_come_in_their_order_and_their_places_are_used_again() {
        const ACTIONS: u32 = 8;
        for mut script in 0..ACTIONS.pow(6) {
            let mut pool = Pool::new(2);
            let mut sent = Sent::default();
            let mut queues = [Queue::default(); 2];
            let mut models: [Vec<(u16, u32)>; 2] = Default::default();
            for tag in 0..6 {
                let (action, queue, from) = (script % ACTIONS / 4, (script / 2 % 2) as usize, script % 2);
                let from = u16::try_from(from).unwrap();
                script /= ACTIONS;
                if action == 0 {
                    pool.push(&mut sent, &mut queues[queue], letter(from, tag)).unwrap();
                    models[queue].push((from, tag));
                } else {
                    let taken = pool.take(&mut queues[queue], |letter| letter.from == Slot::new(from));
                    let place = models[queue].iter().position(|(sender, _)| *sender == from);
                    let expected = place.map(|place| models[queue].remove(place).1);
                    assert_eq!(taken.map(|letter| letter.message.tag), expected);
                }
                let most_at_once = usize::try_from(tag).unwrap() + 1;
                assert!(pool.letters.len() <= most_at_once, "places are used again");
                for (queue, model) in queues.iter().zip(&models) {
                    let tags = queue.iter(&pool).map(|letter| letter.message.tag);
                    assert!(tags.eq(model.iter().map(|(_, tag)| *tag)));
                    assert_eq!(queue.is_empty(), model.is_empty());
                }
            }
        }
    }
}
