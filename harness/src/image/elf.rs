//! The part of an executable that is loaded.

use object::LittleEndian;
use object::elf::{FileHeader64, PT_LOAD, SHN_UNDEF};
use object::read::elf::{FileHeader as _, ProgramHeader as _};
use std::fmt;

/// A file that a kernel could not load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotLoadable {
    /// It is no 64-bit little-endian ELF file.
    Malformed(String),
    /// Nothing of it is loaded.
    Empty,
    /// A segment lies outside the file.
    Outside,
}

impl fmt::Display for NotLoadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(why) => write!(f, "it is no 64-bit ELF file: {why}"),
            Self::Empty => f.write_str("it has no segment to load"),
            Self::Outside => f.write_str("a segment lies outside the file"),
        }
    }
}

impl std::error::Error for NotLoadable {}

/// Leaves out what the kernel doesn't read: all behind the last loaded segment, sections and debug
/// information with it. Their place in the header becomes zero, so that nobody looks for them.
///
/// # Errors
/// If it is no file that can be loaded.
pub fn loadable(elf: &[u8]) -> Result<Vec<u8>, NotLoadable> {
    let malformed = |error: object::Error| NotLoadable::Malformed(error.to_string());
    let header = FileHeader64::<LittleEndian>::parse(elf).map_err(malformed)?;
    let endian = header.endian().map_err(malformed)?;
    let segments = header.program_headers(endian, elf).map_err(malformed)?;
    let ends = segments.iter().filter(|segment| segment.p_type(endian) == PT_LOAD).map(|segment| {
        let (start, size) = segment.file_range(endian);
        start.checked_add(size).and_then(|end| usize::try_from(end).ok()).ok_or(NotLoadable::Outside)
    });
    let end = ends.collect::<Result<Vec<_>, _>>()?.into_iter().max().ok_or(NotLoadable::Empty)?;
    let mut kept = elf.get(..end).ok_or(NotLoadable::Outside)?.to_vec();
    let (header, _) = object::pod::from_bytes_mut::<FileHeader64<LittleEndian>>(&mut kept)
        .map_err(|()| NotLoadable::Malformed("its header is not loaded".into()))?;
    header.e_shoff.set(endian, 0);
    header.e_shnum.set(endian, 0);
    header.e_shstrndx.set(endian, SHN_UNDEF);
    Ok(kept)
}
