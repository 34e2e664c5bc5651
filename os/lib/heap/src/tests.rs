//! Blocks of a heap: where they lie, that they are apart, and that they come back. Miri runs these, too.

use super::Heap;
use core::alloc::{GlobalAlloc, Layout};

const BYTES: usize = 4096;

/// A heap, and the memory that is its own.
struct Owned {
    heap: Heap,
    memory: *mut u8,
}

impl Owned {
    const LAYOUT: Layout = match Layout::from_size_align(BYTES, 16) {
        Ok(layout) => layout,
        Err(_) => panic!("a sound layout"),
    };

    fn new() -> Self {
        // SAFETY: the layout has a size.
        let memory = unsafe { std::alloc::alloc(Self::LAYOUT) };
        assert!(!memory.is_null());
        let heap = Heap::empty();
        // SAFETY: the memory is nobody else's until `drop`.
        unsafe { heap.init(memory, BYTES) };
        Self { heap, memory }
    }

    fn take(&self, size: usize, align: usize) -> Option<Block> {
        let layout = Layout::from_size_align(size, align).unwrap();
        // SAFETY: the layout has a size.
        let start = unsafe { self.heap.alloc(layout) };
        if start.is_null() {
            return None;
        }
        let end = start.addr() + size;
        assert!(start.addr().is_multiple_of(align), "{layout:?}");
        assert!(self.memory.addr() <= start.addr() && end <= self.memory.addr() + BYTES, "{layout:?}");
        Some(Block { start, layout })
    }

    fn give_back(&self, block: Block) {
        let Block { start, layout } = block;
        // SAFETY: the block came from this heap with this layout, and is gone now.
        unsafe { self.heap.dealloc(start, layout) };
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: taken in `new`; nobody has a block any longer.
        unsafe { std::alloc::dealloc(self.memory, Self::LAYOUT) };
    }
}

struct Block {
    start: *mut u8,
    layout: Layout,
}

impl Block {
    fn fill(&self, byte: u8) {
        // SAFETY: the block is ours, for so many bytes.
        unsafe { self.start.write_bytes(byte, self.layout.size()) };
    }

    fn holds(&self, byte: u8) -> bool {
        // SAFETY: the block is ours and filled.
        let bytes = unsafe { core::slice::from_raw_parts(self.start, self.layout.size()) };
        bytes.iter().all(|it| *it == byte)
    }
}

#[test]
fn blocks_are_aligned_inside_the_memory_and_apart() {
    let owned = Owned::new();
    let shapes = [(1, 1), (7, 2), (24, 8), (100, 16), (64, 64), (3, 256), (500, 4)];
    let blocks: Vec<Block> =
        shapes.iter().map(|(size, align)| owned.take(*size, *align).expect("there is room")).collect();
    for (byte, block) in (0..).zip(&blocks) {
        block.fill(byte);
    }
    for (byte, block) in (0..).zip(&blocks) {
        assert!(block.holds(byte), "{:?}", block.layout);
    }
    blocks.into_iter().for_each(|block| owned.give_back(block));
}

#[test]
fn a_heap_that_is_full_gives_nothing_and_all_again_when_it_is_empty() {
    let owned = Owned::new();
    assert!(owned.take(BYTES + 1, 1).is_none());
    for _ in 0..3 {
        let mut blocks = Vec::new();
        while let Some(block) = owned.take(96, 16) {
            blocks.push(block);
        }
        assert!(blocks.len() > 30, "only {} blocks", blocks.len());
        assert!(owned.take(96, 16).is_none());
        blocks.into_iter().for_each(|block| owned.give_back(block));
    }
    let all = owned.take(BYTES - 64, 8).expect("the pieces have become one again");
    owned.give_back(all);
}

#[test]
fn in_no_order_of_taking_and_giving_back_do_blocks_meet() {
    let owned = Owned::new();
    let mut random = 0x9e37_79b9_u32;
    let mut below = |end: u32| {
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        random % end
    };
    let mut blocks: Vec<(u8, Block)> = Vec::new();
    for round in 0..400_u32 {
        let byte = u8::try_from(round % 251).unwrap();
        if below(3) > 0
            && let Some(block) = owned.take(usize::try_from(1 + below(200)).unwrap(), 1 << below(7))
        {
            block.fill(byte);
            blocks.push((byte, block));
        } else if !blocks.is_empty() {
            let index = usize::try_from(below(u32::try_from(blocks.len()).unwrap())).unwrap();
            let (byte, block) = blocks.swap_remove(index);
            assert!(block.holds(byte), "round {round}");
            owned.give_back(block);
        }
    }
    for (byte, block) in blocks {
        assert!(block.holds(byte));
        owned.give_back(block);
    }
}

#[test]
fn nothing_is_given_back_to_nobody() {
    let owned = Owned::new();
    // SAFETY: there is no block, which the heap sees.
    unsafe { owned.heap.dealloc(core::ptr::null_mut(), Layout::new::<u8>()) };
    let block = owned.take(8, 8).expect("it is as it was");
    owned.give_back(block);
}
