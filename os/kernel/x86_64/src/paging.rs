//! Page tables: the kernel's half, and one lower half per process.
//!
//! Nothing that can be written can be executed, in no half. The kernel's half is the same in
//! all tables: its entries in the root never change after [`init`].

use crate::boot::BootInfo;
use crate::layout::{self, DEVICES, direct, direct_pointer};
use crate::memory::{Frame, PhysicalMemory};
use crate::trap;
use core::sync::atomic::{AtomicU64, Ordering};
use kernel_core::elf::Access;
use kernel_core::load::OutOfMemory;
use kernel_core::memory::UserPage;
use kernel_debug::machine::Pages;
use x86_64::PhysAddr;
use x86_64::registers::control::{Cr0, Cr0Flags, Cr3, Cr3Flags, Cr4, Cr4Flags};
use x86_64::structures::paging::page_table::PageTableEntry;
use x86_64::structures::paging::{PageTable, PageTableFlags as Flags, PhysFrame};

/// The kernel's own table, from which all others take their upper half.
static KERNEL_ROOT: AtomicU64 = AtomicU64::new(0);

/// An address or size as this machine's pointers hold it.
pub(crate) const fn to_usize(value: u64) -> usize {
    const _: () = assert!(usize::BITS == 64);
    #[expect(clippy::cast_possible_truncation, reason = "pointers have 64 bits here")]
    let value = value as usize;
    value
}

/// Levels of a walk: the root's entries cover 512 GiB, the last table's 4 KiB.
const ROOT: u32 = 3;
const LARGE: u32 = 1;
const LAST: u32 = 0;

const LARGE_PAGE: u64 = 2 << 20;
const PAGE: u64 = 4096;

fn index(address: u64, level: u32) -> usize {
    to_usize(address >> (12 + 9 * level) & 511)
}

/// A table in the direct map.
///
/// # Safety
/// `address` must be that of a page table that nobody else refers to.
unsafe fn table<'a>(address: PhysAddr) -> &'a mut PageTable {
    let pointer = core::ptr::with_exposed_provenance_mut(to_usize(direct(address).as_u64()));
    // SAFETY: the caller's promise; the direct map holds all of memory.
    unsafe { &mut *pointer }
}

/// What a page must permit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Permissions(u64);

impl Permissions {
    /// To be used for a process.
    pub(crate) fn user(is_written: bool) -> Self {
        Self(Self::kernel(is_written).0 | Flags::USER_ACCESSIBLE.bits())
    }

    /// To be used at all.
    pub(crate) fn kernel(is_written: bool) -> Self {
        let writable = if is_written { Flags::WRITABLE.bits() } else { 0 };
        Self(Flags::PRESENT.bits() | writable)
    }

    const fn are_in(self, entry: u64) -> bool {
        entry & (self.0 | DEVICE.bits()) == self.0
    }
}

/// The rest of a page, from some address on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Page {
    /// Where the address is in physical memory.
    pub(crate) address: u64,
    /// How many bytes follow in the page.
    pub(crate) bytes: u64,
}

/// A way through page tables that remembers the last table it came to, for the pages that follow.
#[derive(Debug)]
pub(crate) struct Walk {
    /// Physical, as all addresses of tables here: checked types cost more than the walk.
    root: u64,
    /// The 2 MiB that the last table is for.
    part: u64,
    last: u64,
}

impl Walk {
    const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
    /// No address is in this part.
    const NO_PART: u64 = u64::MAX;

    const fn from(root: PhysAddr) -> Self {
        Self { root: root.as_u64(), part: Self::NO_PART, last: 0 }
    }

    /// The page of an address, if it is there and permits what it must.
    #[inline]
    pub(crate) fn page(&mut self, address: u64, needs: Permissions) -> Option<Page> {
        if self.part != address / LARGE_PAGE
            && let Found::Large(page) = self.descend(address, needs)?
        {
            return Some(page);
        }
        let entry = read_entry(self.last, index(address, LAST));
        needs.are_in(entry).then(|| part_of(entry, address, PAGE))
    }

    /// How many bytes from `address` on, the start of a page, lie from `physical` on without a gap
    /// in pages that permit what they must. At most `limit`, and as far as the last table reaches.
    #[inline]
    pub(crate) fn following(&self, address: u64, physical: u64, needs: Permissions, limit: u64) -> u64 {
        if self.part != address / LARGE_PAGE {
            return 0;
        }
        let end = limit.min(LARGE_PAGE - address % LARGE_PAGE);
        let mut expected = physical | needs.0;
        let mut bytes = 0;
        while bytes < end {
            let entry = read_entry(self.last, index(address + bytes, LAST));
            // Right place, all that is needed, and no device, by one comparison.
            if entry & (Self::ADDRESS | needs.0 | DEVICE.bits()) != expected {
                break;
            }
            bytes += PAGE;
            expected += PAGE;
        }
        bytes.min(limit)
    }

    #[inline(never)]
    fn descend(&mut self, address: u64, needs: Permissions) -> Option<Found> {
        let mut table = self.root;
        for level in [ROOT, LARGE + 1, LARGE] {
            let entry = read_entry(table, index(address, level));
            if !needs.are_in(entry) {
                return None;
            }
            if entry & Flags::HUGE_PAGE.bits() != 0 {
                return Some(Found::Large(part_of(entry, address, PAGE << (9 * level))));
            }
            table = entry & Self::ADDRESS;
        }
        (self.part, self.last) = (address / LARGE_PAGE, table);
        Some(Found::Table)
    }
}

enum Found {
    /// A table of the last level: [`Walk::last`].
    Table,
    /// A page that is larger than usual.
    Large(Page),
}

#[inline]
fn part_of(entry: u64, address: u64, size: u64) -> Page {
    let offset = address & (size - 1);
    let frame = entry & Walk::ADDRESS & !(size - 1);
    Page { address: frame | offset, bytes: size - offset }
}

/// An entry of a table that [`Walk`] came to. Every address that it leads to is a table's.
#[inline]
fn read_entry(table: u64, index: usize) -> u64 {
    let pointer = direct_pointer::<u64>(table).wrapping_add(index & 511);
    // SAFETY: roots are tables, and a present entry above the last level leads to one; the direct map holds it.
    unsafe { pointer.read_volatile() }
}

/// A walk through what the kernel itself has mapped.
pub(crate) fn kernel_walk() -> Walk {
    Walk::from(PhysAddr::new(KERNEL_ROOT.load(Ordering::Relaxed)))
}

/// Finds the entry of an address at `level`, making tables on the way.
fn entry<'a>(
    root: &'a mut PageTable,
    address: u64,
    level: u32,
    memory: &mut PhysicalMemory,
) -> Result<&'a mut PageTableEntry, OutOfMemory> {
    let user = if address <= kernel_core::elf::USER_END { Flags::USER_ACCESSIBLE } else { Flags::empty() };
    let mut current = root;
    for at in (level + 1..=ROOT).rev() {
        let entry = &mut current[index(address, at)];
        if entry.is_unused() {
            entry.set_addr(memory.take()?.into_address(), Flags::PRESENT | Flags::WRITABLE | user);
        }
        // SAFETY: the entry of a table that we hold exclusively leads to one that only it leads to.
        current = unsafe { table(entry.addr()) };
    }
    Ok(&mut current[index(address, level)])
}

/// Replaces the start-up tables by ones that protect the kernel, and turns protections on.
pub(crate) fn init(info: &BootInfo, memory: &mut PhysicalMemory) -> Result<(), OutOfMemory> {
    let root = memory.take()?.into_address();
    // SAFETY: a fresh frame, all zero, is an empty table.
    let tables = unsafe { table(root) };
    map_image(tables, memory)?;
    map_memory(tables, info, memory)?;
    for register in crate::apic::REGISTERS {
        let uncached = Flags::PRESENT | Flags::WRITABLE | Flags::NO_EXECUTE | UNCACHED;
        entry(tables, device(register), LAST, memory)?.set_addr(PhysAddr::new(register), uncached);
    }
    KERNEL_ROOT.store(root.as_u64(), Ordering::Relaxed);
    protect();
    // SAFETY: the new tables map the kernel and its stack where they are.
    unsafe { load(root) };
    Ok(())
}

/// Where the registers at a physical address appear.
pub(crate) const fn device(address: u64) -> u64 {
    DEVICES + (address & 0xffff_ffff)
}

fn map_image(tables: &mut PageTable, memory: &mut PhysicalMemory) -> Result<(), OutOfMemory> {
    let base = Flags::PRESENT | Flags::GLOBAL;
    for (part, flags) in [
        (layout::text(), base),
        (layout::rodata(), base | Flags::NO_EXECUTE),
        (layout::data(), base | Flags::NO_EXECUTE | Flags::WRITABLE),
    ] {
        for page in (part.start..part.end).step_by(to_usize(PAGE)) {
            if !trap::guard_pages().any(|guard| guard == page) {
                entry(tables, page, LAST, memory)?
                    .set_addr(PhysAddr::new(page - layout::KERNEL_OFFSET), flags);
            }
        }
    }
    Ok(())
}

fn map_memory(
    tables: &mut PageTable,
    info: &BootInfo,
    memory: &mut PhysicalMemory,
) -> Result<(), OutOfMemory> {
    let flags = Flags::PRESENT | Flags::WRITABLE | Flags::NO_EXECUTE | Flags::GLOBAL;
    let image = layout::physical_image();
    for range in info.usable_memory() {
        let (start, end) = (range.start & !(LARGE_PAGE - 1), range.end.next_multiple_of(LARGE_PAGE));
        for large in (start..end).step_by(to_usize(LARGE_PAGE)) {
            let address = direct(PhysAddr::new(large)).as_u64();
            if large < image.end && image.start < large + LARGE_PAGE {
                map_memory_around_image(tables, large, flags, memory)?;
            } else {
                entry(tables, address, LARGE, memory)?
                    .set_addr(PhysAddr::new(large), flags | Flags::HUGE_PAGE);
            }
        }
    }
    Ok(())
}

/// Maps 2 MiB in small pages, without leave to write to the kernel's code and constants.
fn map_memory_around_image(
    tables: &mut PageTable,
    large: u64,
    flags: Flags,
    memory: &mut PhysicalMemory,
) -> Result<(), OutOfMemory> {
    let constants = layout::physical_constants();
    for page in (large..large + LARGE_PAGE).step_by(to_usize(PAGE)) {
        let flags = if constants.contains(page) { flags - Flags::WRITABLE } else { flags };
        entry(tables, direct(PhysAddr::new(page)).as_u64(), LAST, memory)?
            .set_addr(PhysAddr::new(page), flags);
    }
    Ok(())
}

/// The protections that the processor has beyond NX and WP, which every x86-64 has.
fn optional_protections() -> Cr4Flags {
    // Intel SDM 2A, CPUID leaf 7: EBX bit 7 SMEP, bit 20 SMAP; ECX bit 2 UMIP.
    let highest = core::arch::x86_64::__cpuid(0).eax;
    if highest < 7 {
        return Cr4Flags::empty();
    }
    let leaf = core::arch::x86_64::__cpuid_count(7, 0);
    let mut flags = Cr4Flags::empty();
    flags.set(Cr4Flags::SUPERVISOR_MODE_EXECUTION_PROTECTION, leaf.ebx & 1 << 7 != 0);
    flags.set(Cr4Flags::SUPERVISOR_MODE_ACCESS_PREVENTION, leaf.ebx & 1 << 20 != 0);
    flags.set(Cr4Flags::USER_MODE_INSTRUCTION_PREVENTION, leaf.ecx & 1 << 2 != 0);
    flags
}

fn protect() {
    let optional = optional_protections();
    // SAFETY: the kernel touches no page of a process by the process's own address.
    unsafe { Cr4::update(|flags| flags.insert(optional | Cr4Flags::PAGE_GLOBAL)) };
    // SAFETY: the kernel writes to no read-only page.
    unsafe { Cr0::update(|flags| flags.insert(Cr0Flags::WRITE_PROTECT)) };
}

/// The names of the protections that are on, read back from the processor.
pub fn protections() -> impl Iterator<Item = &'static str> {
    let (cr0, cr4) = (Cr0::read(), Cr4::read());
    let efer = x86_64::registers::model_specific::Efer::read();
    [
        ("nx", efer.contains(x86_64::registers::model_specific::EferFlags::NO_EXECUTE_ENABLE)),
        ("wp", cr0.contains(Cr0Flags::WRITE_PROTECT)),
        ("smep", cr4.contains(Cr4Flags::SUPERVISOR_MODE_EXECUTION_PROTECTION)),
        ("smap", cr4.contains(Cr4Flags::SUPERVISOR_MODE_ACCESS_PREVENTION)),
        ("umip", cr4.contains(Cr4Flags::USER_MODE_INSTRUCTION_PREVENTION)),
    ]
    .into_iter()
    .filter_map(|(name, is_on)| is_on.then_some(name))
}

/// Loads a root table, unless it is loaded: a load empties the TLB.
///
/// # Safety
/// The table must map the kernel as [`init`] does.
#[inline]
unsafe fn load(root: PhysAddr) {
    if Cr3::read().0.start_address() != root {
        // SAFETY: the caller's promise.
        unsafe { Cr3::write(PhysFrame::containing_address(root), Cr3Flags::empty()) };
    }
}

/// Marks an entry whose frame is VM's: it is not given back with the space, and others may map it, too.
const LENT: Flags = Flags::BIT_9;

/// Marks an entry whose page is a device's: it is in no frame, and the kernel does not reach it.
const DEVICE: Flags = Flags::BIT_10;

/// Past all caches, as the kernel's own devices are.
const UNCACHED: Flags = Flags::NO_CACHE.union(Flags::WRITE_THROUGH);

/// Tells whether a page of physical addresses is no memory, and no device of the kernel's own.
///
/// It may share 2 MiB of the direct map with memory, as a VGA's does. The kernel touches nothing there, and what a
/// processor reads ahead is not cached: its MTRRs say so of all that is no memory (Intel SDM 3A, 11.11).
pub(crate) fn is_free_device(memory: &PhysicalMemory, address: u64) -> bool {
    // AMD64 APM 3, CPUID Fn8000_0008: EAX bits 7-0 are how many bits an address has. The direct map has no place for
    // more than 46, and an entry with more bits than the processor has would fault.
    let bits = core::arch::x86_64::__cpuid(0x8000_0008).eax & 0xff;
    let is_address = address >> bits.min(46) == 0;
    let is_mapped = |at| kernel_walk().page(at, Permissions::kernel(false)).is_some();
    // Whoever stores there makes interrupts, of any vector (Intel SDM 3A, 11.11.1).
    let makes_interrupts = (0xfee0_0000..0xfef0_0000).contains(&address);
    let is_own = || makes_interrupts || address >> 32 == 0 && is_mapped(device(address));
    is_address && !memory.is_there(PhysAddr::new(address)) && !is_own()
}

/// What an entry of a process's page says.
fn flags_of(access: Access) -> Flags {
    let access = match access {
        Access::Read => Flags::NO_EXECUTE,
        Access::Write => Flags::NO_EXECUTE | Flags::WRITABLE,
        Access::Execute => Flags::empty(),
    };
    Flags::PRESENT | Flags::USER_ACCESSIBLE | access
}

/// The memory of one process: the lower half of a page table.
#[derive(Debug)]
pub struct AddressSpace {
    root: PhysAddr,
}

impl AddressSpace {
    /// Where the physical address of its first table stands in it.
    pub(crate) const ROOT: usize = core::mem::offset_of!(Self, root);

    /// A space with nothing in the lower half.
    pub(crate) fn new(memory: &mut PhysicalMemory) -> Result<Self, OutOfMemory> {
        let root = memory.take()?.into_address();
        // SAFETY: a fresh frame, all zero, is an empty table.
        let own = unsafe { table(root) };
        // SAFETY: the kernel's table never changes once it is in use, and is not held elsewhere.
        let kernel = unsafe { table(PhysAddr::new(KERNEL_ROOT.load(Ordering::Relaxed))) };
        for index in 256..512 {
            own[index] = kernel[index].clone();
        }
        Ok(Self { root })
    }

    /// Makes it the one that the processor uses.
    #[inline]
    pub(crate) fn load(&self) {
        // SAFETY: its upper half is the kernel's.
        unsafe { load(self.root) };
    }

    /// Maps a fresh page of the process, zeroed, and gives its bytes.
    pub(crate) fn map<'a>(
        &mut self,
        memory: &'a mut PhysicalMemory,
        address: u64,
        access: Access,
    ) -> Result<&'a mut [u8], OutOfMemory> {
        let flags = flags_of(access);
        let Some(entry) = self.vacant(memory, address)? else {
            panic!("{address:#x} is mapped already: the loader checked that nothing overlaps");
        };
        let frame = memory.take()?;
        memory.give_to_process(&frame);
        let frame = frame.into_address();
        entry.set_addr(frame, flags);
        let pointer = core::ptr::with_exposed_provenance_mut(to_usize(direct(frame).as_u64()));
        // SAFETY: the frame is fresh, and `memory` stays borrowed for as long as the bytes are.
        Ok(unsafe { core::slice::from_raw_parts_mut(pointer, to_usize(PAGE)) })
    }

    /// Maps a frame of VM's. `None` if there is a page already. A frame that can't be mapped once more
    /// counts as no memory.
    pub(crate) fn map_lent(
        &mut self,
        memory: &mut PhysicalMemory,
        page: UserPage,
        frame: PhysAddr,
        access: Access,
    ) -> Result<Option<()>, OutOfMemory> {
        let Some(entry) = self.vacant(memory, page.address())? else { return Ok(None) };
        if !memory.add_mapping(frame) {
            return Err(OutOfMemory);
        }
        entry.set_addr(frame, flags_of(access) | LENT);
        Ok(Some(()))
    }

    /// Maps a page of a device's. `None` if there is a page already.
    pub(crate) fn map_device(
        &mut self,
        memory: &mut PhysicalMemory,
        page: UserPage,
        device: PhysAddr,
        access: Access,
    ) -> Result<Option<()>, OutOfMemory> {
        let Some(entry) = self.vacant(memory, page.address())? else { return Ok(None) };
        entry.set_addr(device, flags_of(access) | DEVICE | UNCACHED);
        Ok(Some(()))
    }

    /// The entry of a page, with tables that lead there. `None` if there is a page already.
    fn vacant(
        &mut self,
        memory: &mut PhysicalMemory,
        address: u64,
    ) -> Result<Option<&mut PageTableEntry>, OutOfMemory> {
        // SAFETY: the lower half of this table belongs to this value alone.
        let root = unsafe { table(self.root) };
        let entry = entry(root, address, LAST, memory)?;
        Ok(entry.is_unused().then_some(entry))
    }

    /// Takes a page out, and gives its frame to VM, unless it is a device's; its address.
    pub(crate) fn unmap(&mut self, memory: &mut PhysicalMemory, page: UserPage) -> Option<u64> {
        let entry = self.find(page)?;
        let (address, flags) = (entry.addr(), entry.flags());
        entry.set_unused();
        self.flush(page);
        if flags.contains(DEVICE) {
            return Some(address.as_u64());
        }
        if flags.contains(LENT) {
            memory.remove_mapping(address);
            return Some(address.as_u64());
        }
        // SAFETY: `map` took the frame for this space alone, which has just lost it.
        Some(memory.hand_over(unsafe { Frame::from_address(address) }))
    }

    /// Takes all pages of devices out.
    pub(crate) fn unmap_devices(&mut self) {
        unmap_devices_below(self.root, ROOT);
        if Cr3::read().0.start_address() == self.root {
            x86_64::instructions::tlb::flush_all();
        }
    }

    /// Changes what the process may do to a page.
    pub(crate) fn protect(&mut self, page: UserPage, access: Access) -> Option<()> {
        let entry = self.find(page)?;
        let mut kept = entry.flags() & (LENT | DEVICE | UNCACHED);
        // Nobody runs what a device shows.
        kept.set(Flags::NO_EXECUTE, kept.contains(DEVICE));
        entry.set_flags(flags_of(access) | kept);
        self.flush(page);
        Some(())
    }

    /// The entry of a page that is there.
    fn find(&mut self, page: UserPage) -> Option<&mut PageTableEntry> {
        // SAFETY: the lower half of this table belongs to this value alone.
        let mut current = unsafe { table(self.root) };
        for level in (LAST + 1..=ROOT).rev() {
            let entry = &current[index(page.address(), level)];
            if entry.is_unused() {
                return None;
            }
            // SAFETY: the entry of a table that we hold exclusively leads to one that only it leads to.
            current = unsafe { table(entry.addr()) };
        }
        Some(&mut current[index(page.address(), LAST)]).filter(|entry| !entry.is_unused())
    }

    /// Lets the processor forget a page, if it may know it: another space's are gone from its TLB
    /// when that space is loaded, as there are no global pages in the lower half.
    fn flush(&self, page: UserPage) {
        if Cr3::read().0.start_address() == self.root {
            x86_64::instructions::tlb::flush(x86_64::VirtAddr::new_truncate(page.address()));
        }
    }

    /// Where its table is.
    pub(crate) fn root(&self) -> u64 {
        self.root.as_u64()
    }

    /// Calls `visit` with the ranges of its pages that follow each other and are alike.
    pub(crate) fn pages(&self, visit: &mut dyn FnMut(Pages)) {
        let mut open: Option<Pages> = None;
        each_page(self.root, ROOT, 0, &mut |address, flags| {
            let page = Pages {
                start: address,
                end: address + PAGE,
                is_writable: flags.contains(Flags::WRITABLE),
                is_executable: !flags.contains(Flags::NO_EXECUTE),
                is_lent: flags.contains(LENT),
            };
            match &mut open {
                Some(range)
                    if (Pages { start: range.start, end: page.end, ..page })
                        == (Pages { end: page.end, ..*range })
                        && range.end == page.start =>
                {
                    range.end = page.end;
                }
                _ => {
                    if let Some(range) = open.replace(page) {
                        visit(range);
                    }
                }
            }
        });
        if let Some(range) = open {
            visit(range);
        }
    }

    /// A walk through the process's pages. Tables must not change meanwhile.
    pub(crate) const fn walk(&self) -> Walk {
        Walk::from(self.root)
    }

    /// Reads 8 bytes of the process's memory, if they are mapped and aligned.
    pub(crate) fn read_u64(&self, address: u64) -> Option<u64> {
        if !address.is_multiple_of(8) || address >= kernel_core::elf::USER_END {
            return None;
        }
        let mut at = self.root;
        for level in (LAST..=ROOT).rev() {
            // SAFETY: reads a table of this space, which nobody changes meanwhile.
            let entry = unsafe { table(at) }[index(address, level)].clone();
            if !entry.flags().contains(Flags::PRESENT) || entry.flags().contains(DEVICE) {
                return None;
            }
            at = entry.addr();
        }
        let pointer = direct(at + (address & (PAGE - 1))).as_ptr::<u64>();
        // SAFETY: a present page of the process; it does not run while the kernel does.
        Some(unsafe { pointer.read_volatile() })
    }

    /// Gives all pages and tables back.
    pub(crate) fn release(self, memory: &mut PhysicalMemory) {
        let kernel = PhysAddr::new(KERNEL_ROOT.load(Ordering::Relaxed));
        if Cr3::read().0.start_address() == self.root {
            // SAFETY: the kernel's own table maps the kernel.
            unsafe { load(kernel) };
        }
        // SAFETY: no processor uses the table any longer, and this value was its only owner.
        let root = unsafe { table(self.root) };
        for entry in root.iter_mut().take(256).filter(|entry| !entry.is_unused()) {
            release_below(entry.addr(), ROOT - 1, memory);
        }
        // SAFETY: as above.
        memory.give(unsafe { Frame::from_address(self.root) });
    }
}

/// Calls `visit` with the address and flags of each page below a table of the lower half, in order.
fn each_page(address: PhysAddr, level: u32, start: u64, visit: &mut dyn FnMut(u64, Flags)) {
    // SAFETY: a table of a living space, which nobody changes meanwhile.
    let table = unsafe { table(address) };
    let entries = if level == ROOT { 256 } else { 512 };
    for (index, entry) in (0_u64..).zip(table.iter()).take(entries) {
        let at = start | index << (12 + 9 * level);
        match entry.flags() {
            flags if !flags.contains(Flags::PRESENT) => {}
            flags if level == LAST => visit(at, flags),
            _ => each_page(entry.addr(), level - 1, at, visit),
        }
    }
}

/// Takes the pages of devices out of a table of that level of the lower half, and of those that it leads to.
fn unmap_devices_below(address: PhysAddr, level: u32) {
    // SAFETY: a table of a living space, which the caller holds exclusively; only its entry above leads here.
    let table = unsafe { table(address) };
    let entries = if level == ROOT { 256 } else { 512 };
    for entry in table.iter_mut().take(entries).filter(|entry| !entry.is_unused()) {
        if level > LAST {
            unmap_devices_below(entry.addr(), level - 1);
        } else if entry.flags().contains(DEVICE) {
            entry.set_unused();
        }
    }
}

/// Gives back a table of that level, and all that it leads to.
fn release_below(address: PhysAddr, level: u32, memory: &mut PhysicalMemory) {
    // SAFETY: a table of the lower half of a space that is being released.
    let table = unsafe { table(address) };
    for entry in table.iter().filter(|entry| !entry.is_unused()) {
        if level > LAST {
            release_below(entry.addr(), level - 1, memory);
        } else if entry.flags().contains(DEVICE) {
            // It was nobody's.
        } else if entry.flags().contains(LENT) {
            memory.remove_mapping(entry.addr());
        } else {
            // SAFETY: a page that `map` took for this space alone.
            memory.give(unsafe { Frame::from_address(entry.addr()) });
        }
    }
    // SAFETY: the table itself, which `entry` took.
    memory.give(unsafe { Frame::from_address(address) });
}
