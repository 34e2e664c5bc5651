//! Copies between address spaces, through the direct map.
//!
//! Page tables are walked in software, so a page that is missing is found before it is touched.
//! Pages that follow each other in physical memory are copied as one.

use crate::layout::{DIRECT_MAP, direct_pointer};
use crate::memory::PhysicalMemory;
use crate::paging::{self, AddressSpace, Permissions, Walk, to_usize};
use kernel_core::memory::{CopyFault, PhysicalRange, Place, Side};

/// Bytes that follow each other in the direct map.
#[derive(Clone, Copy)]
struct Run {
    /// Physical.
    at: u64,
    bytes: u64,
}

impl Run {
    const EMPTY: Self = Self { at: 0, bytes: 0 };

    fn pointer(self) -> *mut u8 {
        direct_pointer(self.at)
    }

    fn after(self, bytes: u64) -> Self {
        Self { at: self.at + bytes, bytes: self.bytes - bytes }
    }
}

/// One side of a copy, on its way from its first byte to its last.
struct Cursor {
    walk: Walk,
    needs: Permissions,
    side: Side,
    /// The next address, as the tables of the walk know it.
    next: u64,
    /// What the tables call address 0 of the side.
    base: u64,
    /// How many bytes are to come, from `next` on.
    left: u64,
    /// What was found already, and is not used up.
    run: Run,
}

impl Cursor {
    fn new(place: &Place<'_, AddressSpace>, side: Side, memory: &PhysicalMemory) -> Result<Self, CopyFault> {
        let is_written = side == Side::Target;
        let (walk, needs, base, start, left) = match *place {
            Place::Process { space, range } => {
                (space.walk(), Permissions::user(is_written), 0, range.start(), range.len())
            }
            Place::Physical(range) => {
                // Devices are no memory, and belong to nobody here.
                if !memory.is_user(range) {
                    return Err(CopyFault { side, address: range.start(), done: 0 });
                }
                (
                    paging::kernel_walk(),
                    Permissions::kernel(is_written),
                    DIRECT_MAP,
                    range.start(),
                    range.len(),
                )
            }
        };
        Ok(Self { walk, needs, side, next: base + start, base, left, run: Run::EMPTY })
    }

    /// What to copy next, at least one byte.
    #[inline]
    fn run(&mut self, done: u64) -> Result<Run, CopyFault> {
        if self.run.bytes == 0 {
            self.run = self.find().ok_or_else(|| CopyFault {
                side: self.side,
                address: self.next - self.base,
                done,
            })?;
        }
        Ok(self.run)
    }

    /// Finds the page of the next address, and those that lie behind it in physical memory, too.
    fn find(&mut self) -> Option<Run> {
        let page = self.walk.page(self.next, self.needs)?;
        let mut run = Run { at: page.address, bytes: page.bytes.min(self.left) };
        let rest = self.left - run.bytes;
        run.bytes += self.walk.following(self.next + run.bytes, run.at + run.bytes, self.needs, rest);
        self.next += run.bytes;
        self.left -= run.bytes;
        Some(run)
    }

    fn advance(&mut self, bytes: u64) {
        self.run = self.run.after(bytes);
    }
}

/// Copies what one place holds to another; see [`Machine::copy`](kernel_core::machine::Machine::copy).
pub(crate) fn copy(
    memory: &PhysicalMemory,
    from: &Place<'_, AddressSpace>,
    to: &Place<'_, AddressSpace>,
) -> Result<(), CopyFault> {
    let len = from.len().min(to.len());
    let mut source = Cursor::new(from, Side::Source, memory)?;
    let mut target = Cursor::new(to, Side::Target, memory)?;
    let mut done = 0;
    while done < len {
        let (here, there) = (source.run(done)?, target.run(done)?);
        let count = here.bytes.min(there.bytes).min(len - done);
        // SAFETY: `find` gave memory that is mapped in the direct map, to be written in the target's case, and of
        // which the kernel holds no reference: memory of processes and VM.
        unsafe { core::ptr::copy(here.pointer(), there.pointer(), to_usize(count)) };
        source.advance(count);
        target.advance(count);
        done += count;
    }
    Ok(())
}

/// Calls `visit` with the pieces of a place, in order, and how many bytes lie before each.
fn pieces(
    memory: &PhysicalMemory,
    place: &Place<'_, AddressSpace>,
    side: Side,
    mut visit: impl FnMut(Run, u64),
) -> Result<(), CopyFault> {
    let mut cursor = Cursor::new(place, side, memory)?;
    let mut done = 0;
    while done < place.len() {
        let run = cursor.run(done)?;
        visit(run, done);
        cursor.advance(run.bytes);
        done += run.bytes;
    }
    Ok(())
}

/// The physical memory that a place starts with, as far as it follows each other.
pub(crate) fn translate(
    memory: &PhysicalMemory,
    place: &Place<'_, AddressSpace>,
    side: Side,
) -> Result<PhysicalRange, CopyFault> {
    let mut cursor = Cursor::new(place, side, memory)?;
    let fault = CopyFault { side, address: cursor.next - cursor.base, done: 0 };
    let run = cursor.run(0)?;
    PhysicalRange::new(run.at, run.bytes).ok_or(fault)
}

/// Fills a place with a byte.
pub(crate) fn fill(memory: &PhysicalMemory, to: &Place<'_, AddressSpace>, byte: u8) -> Result<(), CopyFault> {
    pieces(memory, to, Side::Target, |run, _| {
        // SAFETY: as in `copy`.
        unsafe { core::ptr::write_bytes(run.pointer(), byte, to_usize(run.bytes)) };
    })
}

/// Copies what a place holds into the kernel.
pub(crate) fn read(
    memory: &PhysicalMemory,
    from: &Place<'_, AddressSpace>,
    into: &mut [u8],
) -> Result<(), CopyFault> {
    pieces(memory, from, Side::Source, |run, done| {
        let Some(into) = into.get_mut(to_usize(done)..) else { return };
        let count = into.len().min(to_usize(run.bytes));
        // SAFETY: as in `copy`; `into` is the kernel's own memory, so it is no part of the run.
        unsafe { core::ptr::copy_nonoverlapping(run.pointer(), into.as_mut_ptr(), count) };
    })
}

/// Copies bytes of the kernel to a place.
pub(crate) fn write(
    memory: &PhysicalMemory,
    from: &[u8],
    to: &Place<'_, AddressSpace>,
) -> Result<(), CopyFault> {
    pieces(memory, to, Side::Target, |run, done| {
        let Some(from) = from.get(to_usize(done)..) else { return };
        let count = from.len().min(to_usize(run.bytes));
        // SAFETY: as in `copy`; `from` is the kernel's own memory, so it is no part of the run.
        unsafe { core::ptr::copy_nonoverlapping(from.as_ptr(), run.pointer(), count) };
    })
}
