//! The memory and the processor of a machine that was stopped, from the ELF core that QEMU wrote.
//!
//! All of it is what a guest left there: every address may be nonsense, and every table may lead
//! anywhere. A read gives bytes or nothing.

mod compact;
#[cfg(test)]
pub(crate) mod tests;

pub use compact::compact;

use anyhow::{Context as _, Result, bail};
use object::Endianness;
use object::elf::{FileHeader64, PT_LOAD, PT_NOTE};
use object::read::elf::{FileHeader as _, ProgramHeader as _};
use object::read::{ReadCache, ReadRef as _};
use std::borrow::Cow;
use std::fs::File;
use std::path::Path;

/// A dump.
pub struct Dump {
    file: ReadCache<File>,
    memory: Vec<Piece>,
    /// The first processor.
    pub processor: Processor,
}

/// A piece of physical memory.
struct Piece {
    address: u64,
    size: u64,
    /// Where it is in the file.
    offset: u64,
    /// How much of it is. The rest is zeros.
    stored: u64,
}

/// The registers of a processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Processor {
    /// The next instruction.
    pub rip: u64,
    /// The frame pointer.
    pub rbp: u64,
    /// The code segment, whose lowest two bits are the privilege level.
    pub cs: u32,
    /// Bit 31 says whether addresses are translated.
    pub cr0: u64,
    /// The physical address of the root of the page tables.
    pub cr3: u64,
}

impl Processor {
    const PAGING: u64 = 1 << 31;

    /// Tells whether a process runs, and not the kernel.
    #[must_use]
    pub const fn is_in_user_mode(&self) -> bool {
        self.cs & 3 == 3
    }

    /// From the note that QEMU adds under its own name: its `QEMUCPUState`, of which version 1 is known.
    fn from_note(note: &[u8]) -> Option<Self> {
        const VERSION: usize = 0;
        const RBP: usize = 8 + 7 * 8;
        const RIP: usize = 8 + 16 * 8;
        const CS: usize = 8 + 18 * 8;
        // Ten segments of 24 bytes come between.
        const CR0: usize = CS + 10 * 24;
        const CR3: usize = CR0 + 3 * 8;
        let word = |at: usize| Some(u64::from_le_bytes(*note.get(at..)?.first_chunk()?));
        let half = |at: usize| Some(u32::from_le_bytes(*note.get(at..)?.first_chunk()?));
        (half(VERSION)? == 1).then_some(())?;
        Some(Self { rip: word(RIP)?, rbp: word(RBP)?, cs: half(CS)?, cr0: word(CR0)?, cr3: word(CR3)? })
    }
}

impl Dump {
    /// Opens a dump.
    ///
    /// # Errors
    /// If it can't be read, or isn't one.
    pub fn open(path: &Path) -> Result<Self> {
        let open = || -> Result<Self> {
            let file = ReadCache::new(File::open(path)?);
            let (memory, processor) = parse(&file)?;
            Ok(Self { file, memory, processor })
        };
        open().with_context(|| format!("failed to read the dump {}", path.display()))
    }

    /// The addresses that the processor sees.
    #[must_use]
    pub const fn space(&self) -> Space<'_> {
        let has_paging = self.processor.cr0 & Processor::PAGING != 0;
        Space { dump: self, root: if has_paging { Some(self.processor.cr3) } else { None } }
    }

    /// The addresses that page tables give, whose root has this physical address.
    #[must_use]
    pub const fn space_of(&self, root: u64) -> Space<'_> {
        Space { dump: self, root: Some(root) }
    }

    /// Reads physical memory that is in one piece and no larger than a page.
    fn physical(&self, address: u64, size: usize) -> Option<Cow<'_, [u8]>> {
        let last = self.memory.partition_point(|piece| piece.address <= address);
        let piece = self.memory.get(last.checked_sub(1)?)?;
        let start = address - piece.address;
        let end = start.checked_add(u64::try_from(size).ok()?)?;
        (end <= piece.size).then_some(())?;
        let stored = end.min(piece.stored).saturating_sub(start);
        let read =
            (&self.file).read_bytes_at(piece.offset.checked_add(start.min(piece.stored))?, stored).ok()?;
        if read.len() == size {
            return Some(Cow::Borrowed(read));
        }
        let mut bytes = read.to_vec();
        bytes.resize(size, 0);
        Some(Cow::Owned(bytes))
    }
}

/// What there may be of notes. QEMU writes two for a processor, all of them in one place.
const NOTES_BYTES: u64 = 1 << 20;

fn parse(file: &ReadCache<File>) -> Result<(Vec<Piece>, Processor)> {
    let header = FileHeader64::<Endianness>::parse(file)?;
    let endian = header.endian()?;
    let mut memory = Vec::new();
    let mut processor = None;
    let mut has_notes = false;
    for program in header.program_headers(endian, file)? {
        match program.p_type(endian) {
            PT_LOAD => memory.push(Piece {
                address: program.p_paddr(endian),
                size: program.p_memsz(endian).max(program.p_filesz(endian)),
                offset: program.p_offset(endian),
                stored: program.p_filesz(endian),
            }),
            // A file that has many such headers for the same notes would take for ever.
            PT_NOTE if !std::mem::replace(&mut has_notes, true) => {
                if program.p_filesz(endian) > NOTES_BYTES {
                    bail!("it has more notes than QEMU writes");
                }
                let Some(mut notes) = program.notes(endian, file)? else { continue };
                while let Some(note) = notes.next()? {
                    if note.name() == b"QEMU" && processor.is_none() {
                        processor = Processor::from_note(note.desc());
                    }
                }
            }
            _ => {}
        }
    }
    // What is mapped twice is there twice.
    memory.sort_by_key(|piece| (piece.address, std::cmp::Reverse(piece.size)));
    let mut known = None;
    memory.retain(|piece| {
        let end = piece.address.checked_add(piece.size);
        let is_new = end > known;
        known = known.max(end);
        is_new
    });
    match processor {
        Some(processor) => Ok((memory, processor)),
        None => bail!("it tells nothing of a processor"),
    }
}

/// An address space.
#[derive(Clone, Copy)]
pub struct Space<'a> {
    dump: &'a Dump,
    /// Physical address of the first table. Without one, addresses are physical.
    root: Option<u64>,
}

impl Space<'_> {
    /// Reads so many bytes, if all of them are there.
    #[must_use]
    pub fn bytes(&self, address: u64, size: usize) -> Option<Vec<u8>> {
        const PAGE: u64 = 4096;
        let mut bytes = Vec::new();
        while bytes.len() < size {
            let address = address.checked_add(u64::try_from(bytes.len()).ok()?)?;
            let in_page = usize::try_from(PAGE - address % PAGE).ok()?;
            let piece = in_page.min(size - bytes.len());
            bytes.extend_from_slice(&self.dump.physical(self.translate(address)?, piece)?);
        }
        Some(bytes)
    }

    /// Reads an array of bytes.
    #[must_use]
    pub fn array<const N: usize>(&self, address: u64) -> Option<[u8; N]> {
        self.bytes(address, N)?.try_into().ok()
    }

    /// Reads a number of 64 bits.
    #[must_use]
    pub fn word(&self, address: u64) -> Option<u64> {
        self.array(address).map(u64::from_le_bytes)
    }

    /// Finds the physical address (Intel SDM 3A, 4.5).
    #[must_use]
    pub fn translate(&self, address: u64) -> Option<u64> {
        const IS_PRESENT: u64 = 1;
        const IS_PAGE: u64 = 1 << 7;
        const FRAME: u64 = 0x000f_ffff_ffff_f000;
        let Some(root) = self.root else { return Some(address) };
        let is_canonical = matches!(address >> 47, 0 | 0x1_ffff);
        is_canonical.then_some(())?;
        let mut table = root & FRAME;
        for shift in [39, 30, 21, 12] {
            let entry = self.dump.physical(table + (address >> shift & 0x1ff) * 8, 8)?;
            let entry = u64::from_le_bytes(entry.as_ref().try_into().ok()?);
            (entry & IS_PRESENT != 0).then_some(())?;
            let is_page = shift == 12 || (shift != 39 && entry & IS_PAGE != 0);
            if is_page {
                let offset = (1 << shift) - 1;
                return Some((entry & FRAME & !offset) | (address & offset));
            }
            table = entry & FRAME;
        }
        None
    }
}

/// The return addresses on a stack, innermost first, by following frame pointers upwards.
#[must_use]
pub fn return_addresses(space: Space<'_>, frame_pointer: u64) -> Vec<u64> {
    const LIMIT: usize = 32;
    let mut found = Vec::new();
    let mut frame = frame_pointer;
    while found.len() < LIMIT && frame.is_multiple_of(8) {
        let Some(frame_bytes) = space.array::<16>(frame) else { break };
        let (next, address) = frame_bytes.split_at(8);
        let word = |bytes: &[u8]| bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
        let (next, address) = (word(next), word(address));
        if address == 0 {
            break;
        }
        found.push(address);
        // A stack grows down, so a frame that isn't above this one is none.
        if next <= frame {
            break;
        }
        frame = next;
    }
    found
}
