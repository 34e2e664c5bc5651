//! Free physical memory, a bit per page frame.
//!
//! The kernel loads the boot image from it; what is left over is for the memory manager.

use core::ops::Range;

/// Which page frames are free.
#[derive(Debug)]
pub struct Frames<'a> {
    /// A set bit is a free frame; frame 0 is bit 0 of word 0.
    words: &'a mut [u64],
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

    /// Starts with every frame in use.
    pub fn new(words: &'a mut [u64]) -> Self {
        words.fill(0);
        Self { words, free: 0, hint: 0 }
    }

    /// How many frames are free.
    #[must_use]
    pub const fn free(&self) -> usize {
        self.free
    }

    /// Frees frames; those that are free already, or beyond the bits, stay as they are.
    pub fn give(&mut self, frames: Range<usize>) {
        for (word, mask) in masks(frames, self.words.len()) {
            self.free += (mask & !self.words[word]).count_ones() as usize;
            self.words[word] |= mask;
            self.hint = self.hint.min(word);
        }
    }

    /// Marks frames as used; those that are used already stay as they are.
    pub fn reserve(&mut self, frames: Range<usize>) {
        for (word, mask) in masks(frames, self.words.len()) {
            self.free -= (mask & self.words[word]).count_ones() as usize;
            self.words[word] &= !mask;
        }
    }

    /// Tells whether all of these frames are free.
    #[must_use]
    pub fn are_free(&self, mut frames: Range<usize>) -> bool {
        frames.all(|frame| self.words.get(frame / 64).is_some_and(|word| word & 1 << (frame % 64) != 0))
    }

    /// Takes the lowest free frame.
    pub fn take(&mut self) -> Option<usize> {
        let word = (self.hint..self.words.len()).find(|word| self.words[*word] != 0)?;
        self.hint = word;
        let bit = self.words[word].trailing_zeros() as usize;
        self.words[word] &= self.words[word] - 1;
        self.free -= 1;
        Some(word * 64 + bit)
    }

    /// Takes the lowest run of `count` free frames.
    pub fn take_run(&mut self, count: usize) -> Option<usize> {
        let mut run = self.hint * 64..self.hint * 64;
        for frame in run.start..self.words.len() * 64 {
            let is_free = self.words[frame / 64] & (1 << (frame % 64)) != 0;
            run = if is_free { run.start..frame + 1 } else { frame + 1..frame + 1 };
            if run.len() == count {
                self.reserve(run.clone());
                return Some(run.start);
            }
        }
        None
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
    use alloc::collections::BTreeSet;

    #[test]
    fn frames_behave_like_a_set_of_numbers() {
        let mut words = [u64::MAX; 3];
        let mut frames = Frames::new(&mut words);
        let mut model = BTreeSet::new();
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        for _ in 0..20_000 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let start = usize::try_from(random % 220).unwrap();
            let range = start..start + usize::try_from(random >> 32 & 15).unwrap();
            match random >> 60 & 3 {
                0 => {
                    frames.give(range.clone());
                    model.extend(range.clone().filter(|frame| *frame < 192));
                }
                1 => {
                    frames.reserve(range.clone());
                    model.retain(|frame| !range.contains(frame));
                }
                2 => assert_eq!(frames.take(), model.pop_first()),
                _ => {
                    let count = range.len() + 1;
                    let expected =
                        (0..192).find(|start| (*start..start + count).all(|frame| model.contains(&frame)));
                    assert_eq!(frames.take_run(count), expected);
                    expected
                        .into_iter()
                        .for_each(|start| model.retain(|frame| !(start..start + count).contains(frame)));
                }
            }
            assert_eq!(frames.free(), model.len());
            let probe = start..start + range.len() % 4;
            let are_free = probe.clone().all(|frame| model.contains(&frame));
            assert_eq!(frames.are_free(probe), are_free);
        }
    }
}
