//! ELF images: what of a file is loaded, and where.
//!
//! The file may be hostile: everything that the loader relies on is checked here, and a
//! [`Segment`] can be mapped without looking further.

use core::fmt;
use goblin::elf64::header::{
    EI_CLASS, EI_DATA, ELFCLASS64, ELFDATA2LSB, ELFMAG, EM_X86_64, ET_EXEC, Header, SIZEOF_EHDR,
};
use goblin::elf64::program_header::{PF_W, PF_X, PT_LOAD, ProgramHeader, SIZEOF_PHDR};
use scroll::{LE, Pread};

/// Bytes of a page.
pub const PAGE_SIZE: u64 = 4096;
/// The first address that no process can use: the end of the lower half, less a page, so that
/// no instruction ends where addresses stop being canonical.
pub const USER_END: u64 = 0x0000_7fff_ffff_f000;
/// The first address that no image can use: above are stacks and heaps, see [`load`](crate::load).
pub const IMAGE_END: u64 = 0xe_0000_0000;
/// The lowest address of an image; below lie the pages that catch null pointers.
pub const USER_START: u64 = 0x1_0000;

/// A part of the image, in pages of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment<'a> {
    /// Where it is mapped.
    pub address: u64,
    /// Bytes in memory, of which those behind `bytes` are zero.
    pub size: u64,
    /// What it starts with.
    pub bytes: &'a [u8],
    /// What may be done with it.
    pub access: Access,
}

/// What a process may do with a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read it.
    Read,
    /// Read and write it.
    Write,
    /// Read and execute it.
    Execute,
}

/// Why an ELF file can't be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElfError {
    /// It has no ELF header.
    NotElf,
    /// It is not an executable for x86-64 with a fixed address.
    WrongKind,
    /// A header lies outside the file.
    HeaderOutsideFile,
    /// A segment's bytes lie outside the file.
    SegmentOutsideFile,
    /// A segment lies outside the addresses that an image can have.
    SegmentOutsideUserSpace,
    /// Two segments share a page, or don't come in the order of their addresses.
    SegmentsOverlap,
    /// A segment is both writable and executable.
    WritableCode,
    /// Nothing is executable where it starts.
    BadEntryPoint,
}

impl fmt::Display for ElfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotElf => "not an ELF file",
            Self::WrongKind => "not an executable for x86-64 with a fixed address",
            Self::HeaderOutsideFile => "an ELF header lies outside the file",
            Self::SegmentOutsideFile => "a segment lies outside the file",
            Self::SegmentOutsideUserSpace => "a segment lies outside the addresses of an image",
            Self::SegmentsOverlap => "two segments share a page or are out of order",
            Self::WritableCode => "a segment is both writable and executable",
            Self::BadEntryPoint => "there is no code where the image starts",
        })
    }
}

impl core::error::Error for ElfError {}

/// An image whose headers have been checked.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    file: &'a [u8],
    /// The first instruction.
    pub entry: u64,
    /// The table of program headers, whole.
    headers: &'a [u8],
}

impl<'a> Image<'a> {
    /// Checks a file.
    ///
    /// # Errors
    /// If any part of it could not be loaded.
    pub fn parse(file: &'a [u8]) -> Result<Self, ElfError> {
        if file.len() < SIZEOF_EHDR || !file.starts_with(ELFMAG) {
            return Err(ElfError::NotElf);
        }
        if file[EI_CLASS] != ELFCLASS64 || file[EI_DATA] != ELFDATA2LSB {
            return Err(ElfError::WrongKind);
        }
        let header: Header = file.pread_with(0, LE).map_err(|_| ElfError::NotElf)?;
        if header.e_type != ET_EXEC
            || header.e_machine != EM_X86_64
            || usize::from(header.e_phentsize) != SIZEOF_PHDR
        {
            return Err(ElfError::WrongKind);
        }
        let table_size = u64::from(header.e_phnum) * u64::from(header.e_phentsize);
        let headers = range(file, header.e_phoff, table_size).ok_or(ElfError::HeaderOutsideFile)?;
        let image = Self { file, entry: header.e_entry, headers };
        image.check_segments()?;
        Ok(image)
    }

    /// The segments to map.
    pub fn segments(&self) -> impl Iterator<Item = Segment<'a>> + use<'a> {
        let image = *self;
        image.headers().filter_map(move |header| image.segment(header).ok().flatten())
    }

    fn check_segments(&self) -> Result<(), ElfError> {
        let mut entry_is_code = false;
        let mut free_from = 0;
        for header in self.headers() {
            let Some(segment) = self.segment(header)? else { continue };
            // The order is the ELF specification's ("Program Header", PT_LOAD).
            let (start, end) = segment.pages();
            if start < free_from {
                return Err(ElfError::SegmentsOverlap);
            }
            free_from = end;
            let code = segment.address..segment.address + segment.size;
            entry_is_code |= segment.access == Access::Execute && code.contains(&self.entry);
        }
        if entry_is_code { Ok(()) } else { Err(ElfError::BadEntryPoint) }
    }

    fn headers(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.headers.chunks_exact(SIZEOF_PHDR)
    }

    /// The segment that a program header describes, if it is to be loaded.
    fn segment(&self, header: &[u8]) -> Result<Option<Segment<'a>>, ElfError> {
        let header: ProgramHeader = header.pread_with(0, LE).map_err(|_| ElfError::HeaderOutsideFile)?;
        if header.p_type != PT_LOAD || header.p_memsz == 0 {
            return Ok(None);
        }
        let bytes = range(self.file, header.p_offset, header.p_filesz).ok_or(ElfError::SegmentOutsideFile)?;
        if header.p_filesz > header.p_memsz {
            return Err(ElfError::SegmentOutsideFile);
        }
        let end = header.p_vaddr.checked_add(header.p_memsz).ok_or(ElfError::SegmentOutsideUserSpace)?;
        if header.p_vaddr < USER_START || end > IMAGE_END {
            return Err(ElfError::SegmentOutsideUserSpace);
        }
        let access = match (header.p_flags & PF_W != 0, header.p_flags & PF_X != 0) {
            (true, true) => return Err(ElfError::WritableCode),
            (true, false) => Access::Write,
            (false, true) => Access::Execute,
            (false, false) => Access::Read,
        };
        Ok(Some(Segment { address: header.p_vaddr, size: header.p_memsz, bytes, access }))
    }
}

/// The bytes at an offset of a file, if they are all there.
fn range(file: &[u8], offset: u64, len: u64) -> Option<&[u8]> {
    let start = usize::try_from(offset).ok()?;
    let end = start.checked_add(usize::try_from(len).ok()?)?;
    file.get(start..end)
}

impl Segment<'_> {
    /// The addresses of its pages: first, and one past the last.
    #[must_use]
    pub const fn pages(&self) -> (u64, u64) {
        (self.address & !(PAGE_SIZE - 1), (self.address + self.size).next_multiple_of(PAGE_SIZE))
    }
}

#[cfg(test)]
mod tests;
