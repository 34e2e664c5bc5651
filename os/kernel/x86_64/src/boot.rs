//! Start-up: from the 32-bit PVH entry to a 64-bit kernel in the upper half.
//!
//! QEMU's `-kernel` finds the note below (`XEN_ELFNOTE_PHYS32_ENTRY`), loads the image and
//! jumps to `pvh_start` in protected mode, paging off, with `ebx` pointing to a
//! `hvm_start_info` (Xen, public/arch-x86/hvm/start_info.h). The tables made here map the first
//! 4 GiB three times: as they are, as the direct map, and (the first of them) at the kernel's
//! own addresses. [`paging`](crate::paging) replaces them.

use crate::layout::{self, DIRECT_MAP};
use core::arch::global_asm;

global_asm!(
    r#"
.section .note.pvh,"a",@note
.align 4
.long 4
.long 4
.long 18
.asciz "Xen"
.long pvh_start

.section .boot,"ax",@progbits
.code32
.globl pvh_start
pvh_start:
    cld
    cli
    mov esi, ebx

    # One table of 2 MiB pages for each of the first 4 GiB.
    xor ecx, ecx
1:  mov eax, ecx
    shl eax, 21
    or eax, 0x83                        # present, writable, large
    mov [boot_pages + ecx*8], eax
    inc ecx
    cmp ecx, 2048
    jne 1b

    xor ecx, ecx
2:  mov eax, ecx
    shl eax, 12
    add eax, offset boot_pages
    or eax, 3
    mov [boot_low + ecx*8], eax
    inc ecx
    cmp ecx, 4
    jne 2b

    mov eax, offset boot_pages
    or eax, 3
    mov [boot_high + 510*8], eax        # 0xffffffff80000000
    mov eax, offset boot_low
    or eax, 3
    mov [boot_root], eax                # as it is
    mov [boot_root + 256*8], eax        # the direct map
    mov eax, offset boot_high
    or eax, 3
    mov [boot_root + 511*8], eax

    mov eax, offset boot_root
    mov cr3, eax
    mov eax, cr4
    or eax, 0x6a0                       # PAE, PGE, OSFXSR, OSXMMEXCPT
    mov cr4, eax
    mov ecx, 0xc0000080                 # EFER
    rdmsr
    or eax, 0x901                       # SCE, LME, NXE
    wrmsr
    mov eax, cr0
    and eax, 0x9ffffff3                 # no EM, TS, CD, NW
    or eax, 0x80010022                  # PG, WP, NE, MP
    mov cr0, eax
    lgdt [boot_gdt_pointer]
    ljmp 8, offset boot_long_mode

.code64
.type boot_long_mode,@function
boot_long_mode:
    .cfi_startproc
    .cfi_undefined rip
    mov ax, 16
    mov ds, ax
    mov es, ax
    mov ss, ax
    xor eax, eax
    mov fs, ax
    mov gs, ax
    # QEMU puts the boot image at the end of memory, over what is to be zero if there is little of it. The
    # kernel refuses to start there, and must come so far.
    movabs rdi, offset zeroed_start
    movabs rcx, offset kernel_end
    sub rcx, rdi
    shr rcx, 3
    xor eax, eax
    rep stosq
    mov edi, esi
    movabs rsp, offset kernel_stack_top
    xor ebp, ebp
    movabs rax, offset kernel_main
    call rax
    ud2
    .cfi_endproc
.size boot_long_mode, .-boot_long_mode

.align 8
boot_gdt:
    .quad 0
    .quad 0x00af9a000000ffff
    .quad 0x00cf92000000ffff
boot_gdt_pointer:
    .word 23
    .long boot_gdt

.section .boot.bss,"aw",@nobits
.align 4096
boot_root: .skip 4096
boot_low: .skip 4096
boot_high: .skip 4096
boot_pages: .skip 4*4096
.text
"#
);

/// The physical address of what QEMU tells at start-up.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct StartInfo(u64);

/// `hvm_start_info`, version 1.
#[repr(C)]
#[derive(Clone, Copy)]
struct RawStartInfo {
    magic: u32,
    version: u32,
    flags: u32,
    module_count: u32,
    modules: u64,
    command_line: u64,
    rsdp: u64,
    memory_map: u64,
    memory_map_entries: u32,
    reserved: u32,
}

/// `hvm_modlist_entry`
#[repr(C)]
#[derive(Clone, Copy)]
struct RawModule {
    address: u64,
    size: u64,
    command_line: u64,
    reserved: u64,
}

/// `hvm_memmap_table_entry`
#[repr(C)]
#[derive(Clone, Copy)]
struct RawMemory {
    address: u64,
    size: u64,
    kind: u32,
    reserved: u32,
}

/// A range of physical addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    /// The first address.
    pub(crate) start: u64,
    /// One past the last.
    pub(crate) end: u64,
}

/// What the kernel is started with.
#[derive(Debug)]
pub struct BootInfo {
    /// The words after `-append`.
    pub command_line: &'static [u8],
    /// The bytes of `-initrd`, or nothing.
    pub image: Option<&'static [u8]>,
    /// Where they are.
    pub(crate) image_range: Option<Range>,
    memory_map: u64,
    memory_map_entries: u32,
}

const MAGIC: u32 = 0x336e_c578;
/// The start-up tables map this much.
const MAPPED: u64 = 4 << 30;
/// A command line ends here at the latest.
const LONGEST_COMMAND_LINE: u64 = 4096;

/// Reads a value that may be unaligned, as qboot's module list is.
///
/// # Safety
/// `address` must be the physical address of a `T` below 4 GiB.
unsafe fn read<T: Copy>(address: u64) -> T {
    let pointer = core::ptr::with_exposed_provenance::<T>(crate::paging::to_usize(DIRECT_MAP + address));
    // SAFETY: the start-up tables map all of the first 4 GiB; the caller says that a `T` is there.
    unsafe { pointer.read_unaligned() }
}

impl BootInfo {
    /// Reads what QEMU left in memory.
    ///
    /// # Errors
    /// If it is not what the PVH protocol says.
    pub fn read(start: StartInfo) -> Result<Self, &'static str> {
        if start.0 >= MAPPED {
            return Err("the start info lies above 4 GiB");
        }
        // SAFETY: PVH passes the physical address of this struct.
        let info: RawStartInfo = unsafe { read(start.0) };
        if info.magic != MAGIC {
            return Err("the kernel was not started by PVH");
        }
        if info.version == 0 || info.memory_map_entries == 0 {
            return Err("the start info holds no memory map");
        }
        let image_range = match info.module_count {
            0 => None,
            _ => {
                // SAFETY: a count above zero says that there is such an entry.
                let module: RawModule = unsafe { read(info.modules) };
                let end = module.address.checked_add(module.size).filter(|end| *end <= MAPPED);
                Some(Range { start: module.address, end: end.ok_or("the boot image lies above 4 GiB")? })
            }
        };
        Ok(Self {
            command_line: command_line(info.command_line)?,
            image: image_range.map(|range| {
                // SAFETY: QEMU put the image there; `Frames` never hands out that memory, so it stays as it is.
                unsafe { bytes(range.start, range.end - range.start) }
            }),
            image_range,
            memory_map: info.memory_map,
            memory_map_entries: info.memory_map_entries,
        })
    }

    /// The ranges of usable memory, whole pages, in no particular order.
    pub(crate) fn usable_memory(&self) -> impl Iterator<Item = Range> + Clone + use<> {
        let (map, entries) = (self.memory_map, u64::from(self.memory_map_entries));
        // SAFETY: PVH says that the map has so many entries.
        (0..entries).filter_map(move |index| unsafe { usable(map + index * size_of::<RawMemory>() as u64) })
    }
}

/// The range of an entry of the memory map, if it is usable.
///
/// # Safety
/// The entry must be there.
#[inline(never)]
unsafe fn usable(entry: u64) -> Option<Range> {
    const USABLE: u32 = 1;
    // SAFETY: the caller's promise.
    let entry: RawMemory = unsafe { read(entry) };
    let start = entry.address.next_multiple_of(4096);
    let end = entry.address.saturating_add(entry.size).min(layout::DIRECT_MAP_LIMIT) & !4095;
    (entry.kind == USABLE && start < end).then_some(Range { start, end })
}

fn command_line(address: u64) -> Result<&'static [u8], &'static str> {
    if address == 0 {
        return Ok(&[]);
    }
    if address >= MAPPED - LONGEST_COMMAND_LINE {
        return Err("the command line lies above 4 GiB");
    }
    // SAFETY: mapped memory, any bytes are valid, and the end is looked for within it.
    let longest = unsafe { bytes(address, LONGEST_COMMAND_LINE) };
    let len = longest.iter().position(|byte| *byte == 0);
    len.map(|len| &longest[..len]).ok_or("the command line is longer than 4095 bytes")
}

/// Bytes of physical memory.
///
/// # Safety
/// They must lie below 4 GiB, and nobody may write to them from now on.
unsafe fn bytes(address: u64, len: u64) -> &'static [u8] {
    let start = core::ptr::with_exposed_provenance(crate::paging::to_usize(DIRECT_MAP + address));
    // SAFETY: the caller's promise.
    unsafe { core::slice::from_raw_parts(start, crate::paging::to_usize(len)) }
}
