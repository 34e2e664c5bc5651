//! Puts an image into an address space of its own.
//!
//! ```text
//!  0x1000_0000 ..  the image, linked there           one address per service, see os/lib/link
//!  HEAP - gap ..   stack, growing down                 \  own addresses per slot, so that no two
//!  HEAP ..         heap, as much as the manifest says  /   processes' stacks look alike in a debugger
//! ```

use crate::elf::{Access, Image, PAGE_SIZE};
use abi::boot::{self, Start};

/// Memory that address spaces are made of.
pub trait Memory {
    /// An address space.
    type Space;

    /// An address space with nothing of a process in it.
    ///
    /// # Errors
    /// If memory is short.
    fn new_space(&mut self) -> Result<Self::Space, OutOfMemory>;

    /// Maps a fresh page, zeroed, and gives its bytes to be filled.
    ///
    /// # Errors
    /// If memory is short.
    fn map(
        &mut self,
        space: &mut Self::Space,
        address: u64,
        access: Access,
    ) -> Result<&mut [u8], OutOfMemory>;

    /// Takes a space back that no process came to use.
    fn discard(&mut self, space: Self::Space);
}

/// There is no free page left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory;

/// A loaded image: its memory, and how it starts.
#[derive(Debug)]
pub struct Loaded<S> {
    /// Its address space.
    pub space: S,
    /// The first instruction.
    pub entry: u64,
    /// Where the stack starts: its highest address, aligned to 16 bytes.
    pub stack: u64,
    /// What the first instruction is told.
    pub start: Start,
}

/// Where the heap of slot 0 starts; the others follow.
const HEAPS: u64 = 0x10_0000_0000;
/// From heap to heap. Not a multiple of 1 MiB: two processes' pages then rarely compete for
/// the same entry of a direct-mapped TLB, QEMU's among them.
const HEAP_STRIDE: u64 = 0x1_0001_1000;
/// Unmapped bytes between a stack and the heap above it, and below it at least as many.
const GAP: u64 = 0x1_0000;

/// No image reaches the lowest stack, however large the manifest makes it.
const _: () = assert!(crate::elf::IMAGE_END <= HEAPS - GAP - u32::MAX as u64 - PAGE_SIZE);
/// The heap of the last slot ends in user space, and a heap ends before the next one's stack.
const _: () = assert!(HEAPS + (abi::Endpoint::SLOTS as u64 + 1) * HEAP_STRIDE < crate::elf::USER_END);

/// Loads a process of the boot image.
///
/// # Errors
/// If memory is short; what had been taken is given back.
pub fn load<M: Memory>(
    memory: &mut M,
    process: &boot::Process,
    image: &Image<'_>,
) -> Result<Loaded<M::Space>, OutOfMemory> {
    let mut space = memory.new_space()?;
    match fill(memory, &mut space, process, image) {
        Ok((stack, start)) => Ok(Loaded { space, entry: image.entry, stack, start }),
        Err(OutOfMemory) => {
            memory.discard(space);
            Err(OutOfMemory)
        }
    }
}

fn fill<M: Memory>(
    memory: &mut M,
    space: &mut M::Space,
    process: &boot::Process,
    image: &Image<'_>,
) -> Result<(u64, Start), OutOfMemory> {
    for segment in image.segments() {
        let (start, end) = segment.pages();
        for page in pages(start, end) {
            let target = memory.map(space, page, segment.access)?;
            copy_overlap(target, page, segment.bytes, segment.address);
        }
    }
    let heap = HEAPS + u64::from(process.slot) * HEAP_STRIDE;
    let heap_bytes = u64::from(process.heap_bytes).next_multiple_of(PAGE_SIZE);
    let stack_bytes = u64::from(process.stack_bytes).next_multiple_of(PAGE_SIZE);
    let stack = heap - GAP;
    for page in pages(stack - stack_bytes, stack).chain(pages(heap, heap + heap_bytes)) {
        memory.map(space, page, Access::Write)?;
    }
    Ok((stack, Start { heap, heap_bytes }))
}

/// The addresses of the pages from `start` to `end`, both multiples of the page size.
fn pages(start: u64, end: u64) -> impl Iterator<Item = u64> {
    (0..(end - start) / PAGE_SIZE).map(move |index| start + index * PAGE_SIZE)
}

/// Copies the bytes that fall into the page. `bytes` belong at `address`.
fn copy_overlap(target: &mut [u8], page: u64, bytes: &[u8], address: u64) {
    let skipped = usize::try_from(page.saturating_sub(address)).unwrap_or(usize::MAX);
    let offset = usize::try_from(address.saturating_sub(page)).unwrap_or(usize::MAX);
    if let (Some(from), Some(to)) = (bytes.get(skipped..), target.get_mut(offset..)) {
        let count = from.len().min(to.len());
        to[..count].copy_from_slice(&from[..count]);
    }
}

#[cfg(test)]
mod tests {
    use super::copy_overlap;

    #[test]
    fn a_segment_lands_in_its_pages_byte_for_byte() {
        let bytes: alloc::vec::Vec<u8> = (1..=40).collect();
        for address in 0..24_u64 {
            let mut memory = [0_u8; 64];
            for (page, target) in memory.chunks_mut(16).enumerate() {
                copy_overlap(target, page as u64 * 16, &bytes, address);
            }
            let mut expected = [0_u8; 64];
            let start = usize::try_from(address).unwrap();
            expected[start..start + 40].copy_from_slice(&bytes);
            assert_eq!(memory, expected, "at {address}");
        }
    }
}
