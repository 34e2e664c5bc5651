//! Physical memory: what there is, and who has which page.

use crate::boot::{BootInfo, Range};
use crate::layout::{self, direct};
use crate::paging::{self, AddressSpace, to_usize};
use kernel_core::elf::Access;
use kernel_core::frames::Frames;
use kernel_core::load::{Memory, OutOfMemory};
use kernel_core::memory::PhysicalRange;
use x86_64::PhysAddr;

/// A page of memory that its holder alone uses.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame(usize);

impl Frame {
    /// Its physical address.
    pub(crate) fn address(&self) -> PhysAddr {
        PhysAddr::new(self.0 as u64 * 4096)
    }

    /// Its bytes.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8; 4096] {
        let pointer = core::ptr::with_exposed_provenance_mut(to_usize(direct(self.address()).as_u64()));
        // SAFETY: `PhysicalMemory` hands a frame out once, and the direct map holds all of memory.
        unsafe { &mut *pointer }
    }

    /// Gives up the value; whoever stores the address owns the frame.
    pub(crate) fn into_address(self) -> PhysAddr {
        self.address()
    }

    /// Takes a frame up again.
    ///
    /// # Safety
    /// The address must come from [`Frame::into_address`], and nobody may use it any longer.
    pub(crate) unsafe fn from_address(address: PhysAddr) -> Self {
        Self(to_usize(address.as_u64() / 4096))
    }
}

/// All memory that nobody uses.
#[derive(Debug)]
pub struct PhysicalMemory {
    frames: Frames<'static>,
    /// Those that VM has, as a set: it may map what is in it.
    lent: Frames<'static>,
    /// What the kernel keeps for itself: its image, the bits above, its heap.
    kernels: [Range; 3],
    /// Bytes that the machine has.
    pub total_bytes: u64,
}

impl PhysicalMemory {
    /// Finds out what memory there is, replaces the start-up page tables, and sets up the heap.
    ///
    /// # Errors
    /// If there is not even memory for that.
    pub fn init(info: &BootInfo, heap: &heap::Heap, heap_bytes: usize) -> Result<Self, OutOfMemory> {
        let mut memory = Self::of(info)?;
        paging::init(info, &mut memory)?;
        let pages = heap_bytes.div_ceil(4096);
        let start = memory.frames.take_run(pages).ok_or(OutOfMemory)?;
        let first = start as u64 * 4096;
        memory.kernels[2] = Range { start: first, end: first + pages as u64 * 4096 };
        let address = direct(PhysAddr::new(first)).as_u64();
        // SAFETY: the run was taken for good, is mapped, and this is the heap's only memory.
        unsafe { heap.init(core::ptr::with_exposed_provenance_mut(to_usize(address)), pages * 4096) };
        Ok(memory)
    }

    fn of(info: &BootInfo) -> Result<Self, OutOfMemory> {
        let usable = info.usable_memory();
        let end = usable.clone().map(|range| range.end).max().ok_or(OutOfMemory)?;
        let total_bytes = usable.clone().map(|range| range.end - range.start).sum();
        let words = Frames::words_for(to_usize(end / 4096));
        let image = layout::physical_image();
        let taken = [
            // The first MiB: QEMU's tables, and the firmware's.
            Range { start: 0, end: 1 << 20 },
            Range { start: image.start, end: image.end },
            info.image_range.unwrap_or(Range { start: 0, end: 0 }),
        ];
        let bits = place(usable.clone(), &taken, 2 * words as u64 * 8).ok_or(OutOfMemory)?;
        let pointer =
            core::ptr::with_exposed_provenance_mut(to_usize(direct(PhysAddr::new(bits.start)).as_u64()));
        // SAFETY: usable memory below 4 GiB that nothing else is in, as `place` found; reserved below.
        let words_of_both = unsafe { core::slice::from_raw_parts_mut(pointer, 2 * words) };
        let (free, lent) = words_of_both.split_at_mut(words);
        let (mut frames, lent) = (Frames::new(free), Frames::new(lent));
        for range in usable {
            frames.give(to_usize(range.start / 4096)..to_usize(range.end / 4096));
        }
        for range in taken.into_iter().chain([bits]) {
            frames.reserve(to_usize(range.start / 4096)..to_usize(range.end.div_ceil(4096)));
        }
        let kernels = [taken[1], bits, Range { start: 0, end: 0 }];
        Ok(Self { frames, lent, kernels, total_bytes })
    }

    /// Takes a page, zeroed.
    pub(crate) fn take(&mut self) -> Result<Frame, OutOfMemory> {
        let mut frame = Frame(self.frames.take().ok_or(OutOfMemory)?);
        frame.bytes_mut().fill(0);
        Ok(frame)
    }

    /// Takes a page back.
    pub(crate) fn give(&mut self, frame: Frame) {
        self.frames.give(frame.0..frame.0 + 1);
    }

    /// Takes frames for VM that follow each other, zeroed; the address of the first.
    pub(crate) fn lend(&mut self, count: usize) -> Option<u64> {
        let first = self.frames.take_run(count)?;
        for frame in first..first + count {
            Frame(frame).bytes_mut().fill(0);
        }
        self.lent.give(first..first + count);
        Some(first as u64 * 4096)
    }

    /// Takes frames back from VM, if all of them are VM's.
    pub(crate) fn take_back(&mut self, frames: PhysicalRange) -> bool {
        let frames = frames_of(frames);
        let are_lent = self.lent.are_free(frames.clone());
        if are_lent {
            self.lent.reserve(frames.clone());
            self.frames.give(frames);
        }
        are_lent
    }

    /// Tells whether frames are VM's.
    pub(crate) fn are_lent(&self, frames: PhysicalRange) -> bool {
        self.lent.are_free(frames_of(frames))
    }

    /// Gives VM a frame that the kernel had mapped into a process.
    pub(crate) fn hand_over(&mut self, frame: Frame) -> u64 {
        self.lent.give(frame.0..frame.0 + 1);
        frame.into_address().as_u64()
    }

    /// Tells whether a part of a range is what the kernel keeps for itself, page tables apart.
    pub(crate) fn is_kernels(&self, range: PhysicalRange) -> bool {
        let (start, end) = (range.start(), range.start() + range.len());
        self.kernels.iter().any(|kernels| kernels.start < end && start < kernels.end.next_multiple_of(4096))
    }

    /// Bytes that nobody uses.
    #[must_use]
    pub fn free_bytes(&self) -> u64 {
        self.frames.free() as u64 * 4096
    }
}

/// The numbers of the frames in a range.
fn frames_of(range: PhysicalRange) -> core::ops::Range<usize> {
    to_usize(range.start() / 4096)..to_usize((range.start() + range.len()).div_ceil(4096))
}

/// Finds room below 4 GiB that overlaps nothing that is taken.
fn place(usable: impl Iterator<Item = Range>, taken: &[Range], bytes: u64) -> Option<Range> {
    const MAPPED: u64 = 4 << 30;
    for range in usable {
        let mut start = range.start;
        // Each turn moves past one taken range, so this ends.
        while let Some(obstacle) = taken.iter().find(|taken| taken.start < start + bytes && start < taken.end)
        {
            start = obstacle.end.next_multiple_of(4096);
        }
        if start + bytes <= range.end.min(MAPPED) {
            return Some(Range { start, end: start + bytes });
        }
    }
    None
}

impl Memory for PhysicalMemory {
    type Space = AddressSpace;

    fn new_space(&mut self) -> Result<Self::Space, OutOfMemory> {
        AddressSpace::new(self)
    }

    fn map(
        &mut self,
        space: &mut Self::Space,
        address: u64,
        access: Access,
    ) -> Result<&mut [u8], OutOfMemory> {
        space.map(self, address, access)
    }

    fn discard(&mut self, space: Self::Space) {
        space.release(self);
    }
}
