//! Physical memory: what there is, and who has which page.

use crate::boot::{BootInfo, Range};
use crate::layout::{self, direct};
use crate::paging::{self, AddressSpace, to_usize};
use kernel_core::elf::Access;
use kernel_core::frames::{Frames, NotGiven, Owner, State};
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
        Self(frame_of(address))
    }
}

/// All memory.
#[derive(Debug)]
pub struct PhysicalMemory {
    frames: Frames<'static>,
    /// Bytes that the machine has.
    pub total_bytes: u64,
}

impl PhysicalMemory {
    /// Finds out what memory there is, and replaces the start-up page tables.
    ///
    /// # Errors
    /// If there is not even memory for that.
    pub fn init(info: &BootInfo) -> Result<Self, OutOfMemory> {
        let mut memory = Self::of(info)?;
        paging::init(info, &mut memory)?;
        Ok(memory)
    }

    /// Gives the heap its memory.
    ///
    /// # Errors
    /// If there is not so much.
    pub fn start_heap(&mut self, heap: &heap::Heap, bytes: usize) -> Result<(), OutOfMemory> {
        let pages = bytes.div_ceil(4096);
        let start = self.frames.take_run(pages).ok_or(OutOfMemory)?;
        let address = direct(PhysAddr::new(start as u64 * 4096)).as_u64();
        // SAFETY: the run was taken for good, is mapped, and this is the heap's only memory.
        unsafe { heap.init(core::ptr::with_exposed_provenance_mut(to_usize(address)), pages * 4096) };
        Ok(())
    }

    fn of(info: &BootInfo) -> Result<Self, OutOfMemory> {
        let usable = info.usable_memory();
        let end = usable.clone().map(|range| range.end).max().ok_or(OutOfMemory)?;
        let total_bytes = usable.clone().map(|range| range.end - range.start).sum();
        let count = to_usize(end / 4096);
        let words = Frames::words_for(count);
        let image = layout::physical_image();
        let taken = [
            // The first MiB: QEMU's tables, and the firmware's.
            Range { start: 0, end: 1 << 20 },
            Range { start: image.start, end: image.end },
            info.image_range.unwrap_or(Range { start: 0, end: 0 }),
        ];
        let (words_size, states_size) = (words * size_of::<u64>(), count * size_of::<State>());
        let table = place(usable.clone(), &taken, (words_size + states_size) as u64).ok_or(OutOfMemory)?;
        let start = to_usize(direct(PhysAddr::new(table.start)).as_u64());
        // SAFETY: usable memory below 4 GiB that nothing else is in, as `place` found; reserved below.
        let free =
            unsafe { core::slice::from_raw_parts_mut(core::ptr::with_exposed_provenance_mut(start), words) };
        let states = core::ptr::with_exposed_provenance_mut::<State>(start + words_size);
        // SAFETY: as above, and behind the words; a state may be any number.
        let states = unsafe { core::slice::from_raw_parts_mut(states, count) };
        let usable = usable.map(|range| to_usize(range.start / 4096)..to_usize(range.end / 4096));
        let mut frames = Frames::new(states, free, usable);
        for range in taken.into_iter().chain([table]) {
            frames.reserve(to_usize(range.start / 4096)..to_usize(range.end.div_ceil(4096)));
        }
        Ok(Self { frames, total_bytes })
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
        (first..first + count).for_each(|frame| self.frames.give_to_vm(frame, Owner::Kernel));
        Some(first as u64 * 4096)
    }

    /// Takes frames back from VM. Nothing has changed if that fails.
    pub(crate) fn take_back(&mut self, frames: PhysicalRange) -> Result<(), NotGiven> {
        self.frames.take_back(frames_of(frames))
    }

    /// Tells whether all frames are VM's.
    pub(crate) fn are_vms(&self, frames: PhysicalRange) -> bool {
        frames_of(frames).all(|frame| matches!(self.frames.owner(frame), Owner::Vm { .. }))
    }

    /// Tells whether there is memory at all in a page.
    pub(crate) fn is_there(&self, page: PhysAddr) -> bool {
        self.frames.owner(frame_of(page)) != Owner::NoMemory
    }

    /// Counts a mapping of a frame of VM's. `false` if there are too many.
    #[must_use]
    pub(crate) fn add_mapping(&mut self, frame: PhysAddr) -> bool {
        self.frames.add_mapping(frame_of(frame))
    }

    /// A mapping of a frame of VM's is gone.
    pub(crate) fn remove_mapping(&mut self, frame: PhysAddr) {
        self.frames.remove_mapping(frame_of(frame));
    }

    /// Makes a frame that was taken a process's.
    pub(crate) fn give_to_process(&mut self, frame: &Frame) {
        self.frames.give_to_process(frame.0);
    }

    /// Gives VM a frame that a process had.
    pub(crate) fn hand_over(&mut self, frame: Frame) -> u64 {
        self.frames.give_to_vm(frame.0, Owner::Process);
        frame.into_address().as_u64()
    }

    /// Tells whether all of a range belongs to processes and VM, so that it may be anything.
    pub(crate) fn is_user(&self, range: PhysicalRange) -> bool {
        self.frames.are_user(frames_of(range))
    }

    /// Bytes that nobody uses.
    #[must_use]
    pub fn free_bytes(&self) -> u64 {
        self.frames.free() as u64 * 4096
    }
}

/// Frames that follow each other, which their holder alone uses.
#[derive(Debug)]
pub struct Block {
    start: usize,
    /// How many bytes of them are used.
    bytes: usize,
}

impl Block {
    fn frames(&self) -> core::ops::Range<usize> {
        self.start..self.start + self.bytes.div_ceil(4096).max(1)
    }

    /// Keeps the frames for good.
    #[must_use]
    pub fn leak(mut self) -> &'static [u8] {
        let bytes: *const [u8] = self.as_mut();
        // SAFETY: nobody can give the frames back any more.
        unsafe { &*bytes }
    }
}

impl AsMut<[u8]> for Block {
    fn as_mut(&mut self) -> &mut [u8] {
        let address = direct(PhysAddr::new(self.start as u64 * 4096)).as_u64();
        let start = core::ptr::with_exposed_provenance_mut(to_usize(address));
        // SAFETY: `PhysicalMemory` hands a frame out once, and the direct map holds all of memory.
        unsafe { core::slice::from_raw_parts_mut(start, self.bytes) }
    }
}

impl kernel_loader::Memory for &mut PhysicalMemory {
    type Block = Block;

    fn room(&self) -> u32 {
        // Half of it, so that what is in the image has room, too.
        u32::try_from(self.free_bytes() / 2).unwrap_or(u32::MAX)
    }

    fn take(&mut self, bytes: usize) -> Option<Block> {
        let start = self.frames.take_run(bytes.div_ceil(4096).max(1))?;
        Some(Block { start, bytes })
    }

    fn give(&mut self, block: Block) {
        self.frames.give(block.frames());
    }
}

/// The number of the frame that an address is in.
fn frame_of(address: PhysAddr) -> usize {
    to_usize(address.as_u64() / 4096)
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
