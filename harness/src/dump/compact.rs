//! Dumps without their long runs of zeros, of which most of a machine's memory consists.
//!
//! A piece of memory that ends in zeros says so by a larger size in memory than in the file, as
//! everywhere in ELF. gdb reads zeros there (version 10 and later), unless the executable has
//! bytes for that address: so only runs are left out that are longer than all that the kernel's
//! file has of data that can change.

use anyhow::{Context as _, Result, ensure};
use object::elf::{FileHeader64, PT_LOAD, PT_NOTE, ProgramHeader64, ProgramType};
use object::pod::bytes_of;
use object::read::elf::{FileHeader as _, ProgramHeader as _};
use object::read::{ReadCache, ReadRef as _};
use object::{LittleEndian, U16, U32, U64};
use std::fs::File;
use std::io::{BufWriter, Read as _, Seek as _, SeekFrom, Write};
use std::path::Path;

type FileHeader = FileHeader64<LittleEndian>;
type ProgramHeader = ProgramHeader64<LittleEndian>;

const PAGE_BYTES: usize = 4096;
/// The same, as an offset.
const PAGE: u64 = PAGE_BYTES as u64;
/// Shorter runs of zeros stay.
const SHORTEST_RUN: u64 = 64 * PAGE;
const FILE_HEADER: u64 = size_of::<FileHeader>() as u64;
const PROGRAM_HEADER: u64 = size_of::<ProgramHeader>() as u64;
/// Files with more program headers have another format.
const MOST_PROGRAMS: usize = 0xfffe;

/// Writes a dump once more, as a smaller file that says the same.
///
/// # Errors
/// If a file can't be read or written, or it is no dump as QEMU writes them.
pub fn compact(from: &Path, to: &Path) -> Result<()> {
    let write = || -> Result<()> {
        let mut file = File::open(from)?;
        let size = file.metadata()?.len();
        let cache = ReadCache::new(file.try_clone()?);
        let header = FileHeader::parse(&cache)?;
        let endian = header.endian()?;
        let programs = header.program_headers(endian, &cache)?;
        let of_kind = |kind| programs.iter().filter(move |program| program.p_type(endian) == kind);
        let memory: Vec<Piece> = of_kind(PT_LOAD).map(Piece::of).collect();
        let notes: Vec<&[u8]> = of_kind(PT_NOTE)
            .map(|note| (&cache).read_bytes_at(note.p_offset(endian), note.p_filesz(endian)))
            .collect::<Result<_, ()>>()
            .ok()
            .context("a note lies outside of the file")?;
        ensure!(memory.iter().all(|piece| piece.is_within(size)), "memory lies outside of the file");
        let kept = Kept::find(&mut file, &memory)?;
        let memory: Vec<Piece> = memory.iter().flat_map(|piece| kept.split(piece)).collect();
        ensure!(notes.len() + memory.len() <= MOST_PROGRAMS, "it has too many pieces of memory");
        let mut out = BufWriter::new(File::create(to)?);
        write_all(&mut out, header, &notes, &memory, &kept)?;
        kept.copy(&mut file, &mut out)?;
        Ok(out.flush()?)
    };
    write().with_context(|| format!("failed to make {} of {}", to.display(), from.display()))
}

/// Writes all but the memory itself.
fn write_all(
    out: &mut impl Write,
    header: &FileHeader,
    notes: &[&[u8]],
    memory: &[Piece],
    kept: &Kept,
) -> Result<()> {
    let programs = u16::try_from(notes.len() + memory.len())?;
    let mut next = FILE_HEADER + u64::from(programs) * PROGRAM_HEADER;
    // It has no sections.
    let header = FileHeader {
        e_phoff: word(FILE_HEADER),
        e_shoff: word(0),
        e_phnum: U16::new(LittleEndian, programs),
        e_shentsize: U16::default(),
        e_shnum: U16::default(),
        e_shstrndx: U16::default(),
        ..*header
    };
    out.write_all(bytes_of(&header))?;
    for note in notes {
        let size = u64::try_from(note.len())?;
        let place = Piece { virtual_address: 0, address: 0, offset: next, stored: size, size };
        out.write_all(bytes_of(&place.program(PT_NOTE)))?;
        next += size;
    }
    for piece in memory {
        let place = Piece { offset: next + kept.place(piece.offset), ..*piece };
        out.write_all(bytes_of(&place.program(PT_LOAD)))?;
    }
    notes.iter().try_for_each(|note| Ok(out.write_all(note)?))
}

fn word(value: u64) -> U64<LittleEndian> {
    U64::new(LittleEndian, value)
}

/// A piece of memory, or a note.
#[derive(Clone, Copy)]
struct Piece {
    virtual_address: u64,
    address: u64,
    /// Where in the file its bytes are that aren't left out.
    offset: u64,
    stored: u64,
    /// How large it is.
    size: u64,
}

impl Piece {
    fn of(program: &ProgramHeader) -> Self {
        let stored = program.p_filesz(LittleEndian);
        Self {
            virtual_address: program.p_vaddr(LittleEndian),
            address: program.p_paddr(LittleEndian),
            offset: program.p_offset(LittleEndian),
            stored,
            size: program.p_memsz(LittleEndian).max(stored),
        }
    }

    /// With neither flags nor an alignment.
    fn program(&self, kind: ProgramType) -> ProgramHeader {
        ProgramHeader {
            p_type: U32::new(LittleEndian, kind),
            p_flags: U32::default(),
            p_offset: word(self.offset),
            p_vaddr: word(self.virtual_address),
            p_paddr: word(self.address),
            p_filesz: word(self.stored),
            p_memsz: word(self.size),
            p_align: word(0),
        }
    }

    fn is_within(&self, file_size: u64) -> bool {
        self.offset.checked_add(self.stored).is_some_and(|end| end <= file_size)
    }
}

/// Which parts of a file are kept: starts and ends, in order.
struct Kept(Vec<(u64, u64)>);

impl Kept {
    /// Looks for what isn't part of a long run of zeros.
    fn find(file: &mut File, memory: &[Piece]) -> Result<Self> {
        let start = memory.iter().map(|piece| piece.offset).min().unwrap_or(0);
        let end = memory.iter().map(|piece| piece.offset + piece.stored).max().unwrap_or(0);
        file.seek(SeekFrom::Start(start))?;
        let mut kept: Vec<(u64, u64)> = Vec::new();
        let mut page = [0; PAGE_BYTES];
        let mut at = start;
        while at < end {
            let size = PAGE.min(end - at);
            let page = &mut page[..usize::try_from(size)?];
            file.read_exact(page)?;
            if page.iter().any(|byte| *byte != 0) {
                match kept.last_mut() {
                    Some((_, last)) if at - *last < SHORTEST_RUN => *last = at + size,
                    _ => kept.push((at, at + size)),
                }
            }
            at += size;
        }
        Ok(Self(kept))
    }

    /// Cuts a piece so that each part ends with what is left out of it.
    fn split(&self, piece: &Piece) -> Vec<Piece> {
        let end = piece.offset + piece.stored;
        let within = |&(start, stop): &(u64, u64)| (start.max(piece.offset), stop.min(end));
        let inside = self.0.iter().map(within).filter(|(start, stop)| start < stop);
        // What is left out before the first of them is a part without bytes.
        let mut starts: Vec<(u64, u64)> = inside.collect();
        if starts.first().is_none_or(|(start, _)| *start > piece.offset) {
            starts.insert(0, (piece.offset, piece.offset));
        }
        let ends = starts.iter().skip(1).map(|(start, _)| *start).chain([piece.offset + piece.size]);
        let part = |(&(start, stop), next): (&(u64, u64), u64)| Piece {
            virtual_address: piece.virtual_address.wrapping_add(start - piece.offset),
            address: piece.address.wrapping_add(start - piece.offset),
            offset: start,
            stored: stop - start,
            size: next - start,
        };
        starts.iter().zip(ends).map(part).collect()
    }

    /// How much is kept before a place in the file.
    fn place(&self, offset: u64) -> u64 {
        let before = self.0.iter().take_while(|(start, _)| *start < offset);
        before.map(|(start, end)| offset.min(*end) - start).sum()
    }

    fn copy(&self, file: &mut File, out: &mut impl Write) -> Result<()> {
        for &(start, end) in &self.0 {
            file.seek(SeekFrom::Start(start))?;
            let copied = std::io::copy(&mut file.take(end - start), out)?;
            ensure!(copied == end - start, "the file becomes shorter while it is read");
        }
        Ok(())
    }
}
