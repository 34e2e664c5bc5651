//! The kernel's half of the address space.
//!
//! ```text
//! 0xffff_8000_0000_0000   all physical memory, never executable; the kernel's code and
//!                         constants are read-only here too
//! 0xffff_ff00_0000_0000   registers of the interrupt controllers, uncached
//! 0xffff_ffff_8020_0000   the kernel's image, at physical 0x20_0000
//! ```

use x86_64::{PhysAddr, VirtAddr};

/// Where physical address 0 appears.
pub(crate) const DIRECT_MAP: u64 = 0xffff_8000_0000_0000;
/// Where device registers appear.
pub(crate) const DEVICES: u64 = 0xffff_ff00_0000_0000;
/// Kernel image addresses less physical ones.
pub(crate) const KERNEL_OFFSET: u64 = 0xffff_ffff_8000_0000;
/// Physical memory that the direct map can hold: up to where the devices' registers appear.
pub(crate) const DIRECT_MAP_LIMIT: u64 = 1 << 46;

/// Tells whether an address is one of the devices' registers.
pub(crate) const fn is_device(address: u64) -> bool {
    DEVICES <= address && address < KERNEL_OFFSET
}

/// Where a physical address appears in the direct map.
pub(crate) fn direct(address: PhysAddr) -> VirtAddr {
    VirtAddr::new(DIRECT_MAP + address.as_u64())
}

/// The same of an address below [`DIRECT_MAP_LIMIT`], without checks, for the innermost loops.
#[inline]
pub(crate) const fn direct_pointer<T>(address: u64) -> *mut T {
    core::ptr::with_exposed_provenance_mut(crate::paging::to_usize(DIRECT_MAP | address))
}

unsafe extern "C" {
    static text_start: u8;
    static text_end: u8;
    static rodata_start: u8;
    static data_start: u8;
    static kernel_end: u8;
    static boot_start: u8;
}

/// A part of the kernel's image, by its addresses.
#[derive(Clone, Copy)]
pub(crate) struct Part {
    pub(crate) start: u64,
    pub(crate) end: u64,
}

impl Part {
    pub(crate) const fn contains(self, address: u64) -> bool {
        self.start <= address && address < self.end
    }

    const fn physical(self) -> Self {
        Self { start: self.start - KERNEL_OFFSET, end: self.end - KERNEL_OFFSET }
    }
}

/// The kernel's code.
pub(crate) fn text() -> Part {
    Part { start: (&raw const text_start).addr() as u64, end: (&raw const rodata_start).addr() as u64 }
}

/// The bytes of the kernel's code.
pub(crate) fn code() -> &'static [u8] {
    let (start, end) = ((&raw const text_start), (&raw const text_end));
    // SAFETY: the linker puts code between the two, which is mapped, and which nothing writes while this is used.
    unsafe { core::slice::from_raw_parts(start, end.addr() - start.addr()) }
}

/// The kernel's constants.
pub(crate) fn rodata() -> Part {
    Part { start: (&raw const rodata_start).addr() as u64, end: (&raw const data_start).addr() as u64 }
}

/// The kernel's variables and stacks.
pub(crate) fn data() -> Part {
    Part { start: (&raw const data_start).addr() as u64, end: (&raw const kernel_end).addr() as u64 }
}

/// The physical memory of the whole image, start-up code included.
pub(crate) fn physical_image() -> Part {
    Part { start: (&raw const boot_start).addr() as u64, end: data().physical().end }
}

/// The physical memory of code and constants, which nothing may write.
pub(crate) fn physical_constants() -> Part {
    Part { start: text().physical().start, end: rodata().physical().end }
}
