//! Page frames of physical memory: who owns each, and which are free.
//!
//! Everything that is done to a frame by its number asks here first: what VM may map, what a copy of
//! physical memory may reach, which of its own a device can show, what can be given back. Memory of nobody
//! else's is the kernel's, page tables among it.

use core::ops::Range;

/// Who owns a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The kernel, for itself: its image, its heap, page tables, and what no one may touch.
    Kernel,
    /// Who has the device or the firmware that is there, if anything is: it is no memory that the machine gives
    /// to its system.
    NoMemory,
    /// Nobody.
    Nobody,
    /// One process, into which the kernel has mapped it.
    Process,
    /// VM, which has it mapped in so many places.
    Vm {
        /// Entries of page tables that lead to it.
        mappings: u32,
    },
}

/// Why frames can't be given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotGiven {
    /// One is not VM's.
    NotVms,
    /// One is still mapped.
    Mapped,
}

/// What is kept of a frame that is not free: an [`Owner`] in a word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State(u32);

impl State {
    const KERNEL: Self = Self(0);
    const PROCESS: Self = Self(1);
    /// VM's, mapped nowhere. Each mapping adds one.
    const VM: Self = Self(2);
    /// More than VM's frames can have mappings.
    const NO_MEMORY: Self = Self(u32::MAX);

    const fn owner(self) -> Owner {
        match self.0 {
            0 => Owner::Kernel,
            1 => Owner::Process,
            u32::MAX => Owner::NoMemory,
            mapped => Owner::Vm { mappings: mapped - Self::VM.0 },
        }
    }
}

/// All frames of the machine.
#[derive(Debug)]
pub struct Frames<'a> {
    /// Says nothing of a frame that is free.
    states: &'a mut [State],
    /// A set bit is a free frame; frame 0 is bit 0 of word 0. Found 64 at a time.
    free_words: &'a mut [u64],
    free: usize,
    /// No word before this one has a free frame.
    hint: usize,
}

impl<'a> Frames<'a> {
    /// Words needed for `frames` frames.
    #[must_use]
    pub const fn words_for(frames: usize) -> usize {
        frames.div_ceil(64)
    }

    /// Starts with the usable frames free, and all others no memory. What states and bits hold
    /// before doesn't matter; there are as many frames as states, and bits enough for them.
    ///
    /// Machines have few frames that are not usable, so this is quick.
    pub fn new(
        states: &'a mut [State],
        free_words: &'a mut [u64],
        usable: impl Iterator<Item = Range<usize>>,
    ) -> Self {
        free_words.fill(0);
        let mut frames = Self { states, free_words, free: 0, hint: 0 };
        usable.for_each(|range| frames.give(range));
        for (states, word) in frames.states.chunks_mut(64).zip(&*frames.free_words) {
            if *word != u64::MAX {
                states
                    .iter_mut()
                    .enumerate()
                    .filter(|(bit, _)| word & 1 << bit == 0)
                    .for_each(|(_, state)| *state = State::NO_MEMORY);
            }
        }
        frames
    }

    /// How many frames are free.
    #[must_use]
    pub const fn free(&self) -> usize {
        self.free
    }

    /// Who owns a frame. Beyond the last there is no memory.
    #[must_use]
    pub fn owner(&self, frame: usize) -> Owner {
        if self.is_free(frame) { Owner::Nobody } else { self.state(frame).owner() }
    }

    /// Tells whether all of these frames belong to processes or VM: memory whose contents the kernel
    /// doesn't depend on.
    #[must_use]
    pub fn are_user(&self, mut frames: Range<usize>) -> bool {
        frames.all(|frame| matches!(self.owner(frame), Owner::Process | Owner::Vm { .. }))
    }

    /// Frees frames, whoever owned them; those that are free already, or beyond the last, stay as they are.
    pub fn give(&mut self, frames: Range<usize>) {
        let frames = frames.start..frames.end.min(self.states.len());
        for (word, mask) in masks(frames, self.free_words.len()) {
            self.free += (mask & !self.free_words[word]).count_ones() as usize;
            self.free_words[word] |= mask;
            self.hint = self.hint.min(word);
        }
    }

    /// Makes frames that were free the kernel's; others stay as they are.
    pub fn reserve(&mut self, frames: Range<usize>) {
        for frame in frames.start..frames.end.min(self.states.len()) {
            if self.is_free(frame) {
                self.states[frame] = State::KERNEL;
            }
        }
        for (word, mask) in masks(frames, self.free_words.len()) {
            self.free -= (mask & self.free_words[word]).count_ones() as usize;
            self.free_words[word] &= !mask;
        }
    }

    /// Takes the lowest free frame, for the kernel.
    pub fn take(&mut self) -> Option<usize> {
        let word = (self.hint..self.free_words.len()).find(|word| self.free_words[*word] != 0)?;
        self.hint = word;
        let bit = self.free_words[word].trailing_zeros() as usize;
        self.free_words[word] &= self.free_words[word] - 1;
        self.free -= 1;
        self.states[word * 64 + bit] = State::KERNEL;
        Some(word * 64 + bit)
    }

    /// Takes the lowest run of `count` free frames, for the kernel.
    pub fn take_run(&mut self, count: usize) -> Option<usize> {
        let mut run = self.hint * 64..self.hint * 64;
        for frame in run.start..self.free_words.len() * 64 {
            run = if self.is_free(frame) { run.start..frame + 1 } else { frame + 1..frame + 1 };
            if run.len() == count {
                self.reserve(run.clone());
                return Some(run.start);
            }
        }
        None
    }

    /// Gives a frame of the kernel's to a process.
    ///
    /// # Panics
    /// If it was not the kernel's.
    pub fn give_to_process(&mut self, frame: usize) {
        self.change_owner(frame, Owner::Kernel, State::PROCESS);
    }

    /// Gives a frame of the kernel's, or of a process that has just lost it, to VM.
    ///
    /// # Panics
    /// If it was somebody else's.
    pub fn give_to_vm(&mut self, frame: usize, from: Owner) {
        self.change_owner(frame, from, State::VM);
    }

    fn change_owner(&mut self, frame: usize, from: Owner, to: State) {
        let owner = self.owner(frame);
        assert!(owner == from, "frame {frame:#x} is {owner:?}'s and can't pass from {from:?}");
        self.states[frame] = to;
    }

    /// Counts another mapping of a frame. `false` if it is not VM's, or has as many as can be counted.
    #[must_use]
    pub fn add_mapping(&mut self, frame: usize) -> bool {
        match self.owner(frame) {
            Owner::Vm { mappings } if mappings < State::NO_MEMORY.0 - State::VM.0 - 1 => {
                self.states[frame].0 += 1;
                true
            }
            _ => false,
        }
    }

    /// A mapping of a frame of VM's is gone.
    ///
    /// # Panics
    /// If it had none.
    pub fn remove_mapping(&mut self, frame: usize) {
        let owner = self.owner(frame);
        assert!(
            matches!(owner, Owner::Vm { mappings: 1.. }),
            "frame {frame:#x} lost a mapping, but is {owner:?}'s"
        );
        self.states[frame].0 -= 1;
    }

    /// Takes frames back from VM. Nothing has changed if that fails.
    ///
    /// # Errors
    /// If one is not VM's, or is mapped.
    pub fn take_back(&mut self, frames: Range<usize>) -> Result<(), NotGiven> {
        if !frames.clone().all(|frame| matches!(self.owner(frame), Owner::Vm { .. })) {
            return Err(NotGiven::NotVms);
        }
        if !frames.clone().all(|frame| self.owner(frame) == Owner::Vm { mappings: 0 }) {
            return Err(NotGiven::Mapped);
        }
        self.give(frames);
        Ok(())
    }

    fn state(&self, frame: usize) -> State {
        self.states.get(frame).copied().unwrap_or(State::NO_MEMORY)
    }

    fn is_free(&self, frame: usize) -> bool {
        self.free_words.get(frame / 64).is_some_and(|word| word & 1 << (frame % 64) != 0)
    }
}

/// The words that frames lie in, each with the bits that are theirs.
fn masks(frames: Range<usize>, words: usize) -> impl Iterator<Item = (usize, u64)> {
    let (start, end) = (frames.start, frames.end.min(words * 64));
    let touched = if start < end { start / 64..end.div_ceil(64) } else { 0..0 };
    touched.map(move |word| {
        let first = start.saturating_sub(word * 64);
        let last = (end - 1 - word * 64).min(63);
        (word, u64::MAX << first & u64::MAX >> (63 - last))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lowest run of that many frames of nobody's.
    fn lowest_run(model: &[Owner], count: usize) -> Option<usize> {
        (0..=model.len() - count)
            .find(|start| model[*start..start + count].iter().all(|owner| *owner == Owner::Nobody))
    }

    #[test]
    fn each_frame_has_one_owner_who_alone_can_pass_it_on() {
        const COUNT: usize = 192;
        let (mut states, mut words) = ([State(77); COUNT], [u64::MAX; COUNT / 64]);
        let usable = [3..70, 128..500];
        let mut frames = Frames::new(&mut states, &mut words, usable.iter().cloned());
        let mut model: [Owner; COUNT] = std::array::from_fn(|frame| {
            if usable.iter().any(|range| range.contains(&frame)) { Owner::Nobody } else { Owner::NoMemory }
        });
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        for _ in 0..40_000 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let start = usize::try_from(random % 220).unwrap();
            let range = start..start + usize::try_from(random >> 32 & 15).unwrap();
            let there = range.start.min(COUNT)..range.end.min(COUNT);
            match random >> 60 {
                0 => {
                    frames.give(range.clone());
                    model[there].fill(Owner::Nobody);
                }
                1 => {
                    frames.reserve(range.clone());
                    model[there]
                        .iter_mut()
                        .filter(|owner| **owner == Owner::Nobody)
                        .for_each(|owner| *owner = Owner::Kernel);
                }
                2 => {
                    let expected = lowest_run(&model, 1);
                    assert_eq!(frames.take(), expected);
                    expected.into_iter().for_each(|frame| model[frame] = Owner::Kernel);
                }
                3 => {
                    let count = range.len() + 1;
                    let expected = lowest_run(&model, count);
                    assert_eq!(frames.take_run(count), expected);
                    expected.into_iter().for_each(|start| model[start..start + count].fill(Owner::Kernel));
                }
                4..8 => {
                    for frame in there.filter(|frame| model[*frame] == Owner::Kernel).collect::<Vec<_>>() {
                        frames.give_to_vm(frame, Owner::Kernel);
                        model[frame] = Owner::Vm { mappings: 0 };
                    }
                }
                8 => {
                    for frame in there.filter(|frame| model[*frame] == Owner::Kernel).collect::<Vec<_>>() {
                        frames.give_to_process(frame);
                        model[frame] = Owner::Process;
                    }
                }
                9 => {
                    for frame in there.filter(|frame| model[*frame] == Owner::Process).collect::<Vec<_>>() {
                        frames.give_to_vm(frame, Owner::Process);
                        model[frame] = Owner::Vm { mappings: 0 };
                    }
                }
                10 | 11 => {
                    for frame in range {
                        let owner = model.get_mut(frame);
                        let expected = if let Some(Owner::Vm { mappings }) = owner {
                            *mappings += 1;
                            true
                        } else {
                            false
                        };
                        assert_eq!(frames.add_mapping(frame), expected);
                    }
                }
                12 | 13 => {
                    for frame in there {
                        if let Owner::Vm { mappings: mappings @ 1.. } = &mut model[frame] {
                            frames.remove_mapping(frame);
                            *mappings -= 1;
                        }
                    }
                }
                _ => {
                    let owner = |frame: usize| model.get(frame).copied().unwrap_or(Owner::Kernel);
                    let expected = if !range.clone().all(|frame| matches!(owner(frame), Owner::Vm { .. })) {
                        Err(NotGiven::NotVms)
                    } else if !range.clone().all(|frame| owner(frame) == Owner::Vm { mappings: 0 }) {
                        Err(NotGiven::Mapped)
                    } else {
                        Ok(())
                    };
                    assert_eq!(frames.take_back(range.clone()), expected);
                    if expected.is_ok() {
                        model[there].fill(Owner::Nobody);
                    }
                }
            }
            let owners: Vec<Owner> = (0..COUNT).map(|frame| frames.owner(frame)).collect();
            assert_eq!(owners, model);
            assert_eq!(frames.free(), model.iter().filter(|owner| **owner == Owner::Nobody).count());
            let probe = start..start + usize::try_from(random >> 40 & 3).unwrap();
            let is_user = |frame| matches!(model.get(frame), Some(Owner::Process | Owner::Vm { .. }));
            assert_eq!(frames.are_user(probe.clone()), probe.clone().all(is_user));
        }
    }

    #[test]
    fn a_frame_that_has_all_the_mappings_that_can_be_counted_gets_no_more() {
        let (mut states, mut words) = ([State(0); 64], [0]);
        let mut frames = Frames::new(&mut states, &mut words, std::iter::once(3..4));
        assert_eq!(frames.take(), Some(3));
        frames.give_to_vm(3, Owner::Kernel);
        frames.states[3] = State(u32::MAX - 1);
        assert!(!frames.add_mapping(3));
        assert_eq!(frames.take_back(3..4), Err(NotGiven::Mapped));
        frames.remove_mapping(3);
        assert!(frames.add_mapping(3));
    }
}
