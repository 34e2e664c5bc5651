//! Machine code that runs in place of a kernel, for machines that do what no kernel of ours would.

/// Where the file is loaded, and its code starts: the same as the kernel's.
const ADDRESS: u32 = 0x20_0000;
const FILE_HEADER: u16 = 64;
const PROGRAM_HEADER: u16 = 56;
/// "PVH entry point" of Xen's ELF notes, which is how QEMU finds the start of a kernel.
const ENTRY_NOTE: u32 = 18;
const NOTE_NAME: &[u8; 4] = b"Xen\0";
const NOTE_SIZE: u64 = 24;

/// An ELF file that QEMU takes as a kernel. It starts `code` in 32-bit mode, without interrupts.
#[must_use]
pub fn kernel(code: &[u8]) -> Vec<u8> {
    let headers = u64::from(FILE_HEADER) + 2 * u64::from(PROGRAM_HEADER);
    let code_offset = headers + NOTE_SIZE;
    let size = code_offset + u64::try_from(code.len()).unwrap_or(u64::MAX);
    let entry = u64::from(ADDRESS) + code_offset;
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let mut put = |bytes: &[u8]| file.extend_from_slice(bytes);
    // An executable for x86-64, of version 1.
    put(&2_u16.to_le_bytes());
    put(&62_u16.to_le_bytes());
    put(&1_u32.to_le_bytes());
    // Entry, program headers, no section headers; flags.
    [entry, FILE_HEADER.into(), 0].iter().for_each(|field| put(&field.to_le_bytes()));
    put(&0_u32.to_le_bytes());
    [FILE_HEADER, PROGRAM_HEADER, 2, 0, 0, 0].iter().for_each(|field| put(&field.to_le_bytes()));
    let mut segment = |kind: u32, offset: u64, size: u64| {
        put(&kind.to_le_bytes());
        // Readable, writable, executable.
        put(&7_u32.to_le_bytes());
        let address = u64::from(ADDRESS) + offset;
        [offset, address, address, size, size, 4].iter().for_each(|field| put(&field.to_le_bytes()));
    };
    // The whole file is loaded; a part of it is the note.
    segment(1, 0, size);
    segment(4, headers, NOTE_SIZE);
    [4, 8, ENTRY_NOTE].iter().for_each(|field: &u32| put(&field.to_le_bytes()));
    put(NOTE_NAME);
    put(&entry.to_le_bytes());
    put(code);
    file
}

#[cfg(test)]
mod tests {
    use super::*;
    use object::{Object as _, ObjectSegment as _};

    #[test]
    fn the_file_is_well_formed() {
        let bytes = kernel(&[0xf4]);
        let file = object::File::parse(bytes.as_slice()).expect("an ELF file");
        let segments: Vec<_> = file.segments().collect();
        assert_eq!(segments.len(), 1, "the note isn't loaded a second time");
        let entry = usize::try_from(file.entry() - segments[0].address()).expect("it is in the segment");
        assert_eq!(segments[0].data().expect("data")[entry..], [0xf4]);
    }
}
