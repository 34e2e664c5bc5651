//! Hostile ELF files: each lie of a header is an error, and no byte of one is a panic.

use super::*;

const BASE: u64 = 0x1000_0000;

/// What a program header says.
#[derive(Clone, Copy)]
struct Load {
    kind: u32,
    flags: u32,
    offset: u64,
    address: u64,
    file_size: u64,
    memory_size: u64,
}

const CODE: Load = Load { kind: 1, flags: 5, offset: 0, address: BASE, file_size: 0x100, memory_size: 0x100 };
const DATA: Load = Load { flags: 6, address: BASE + 0x1000, memory_size: 0x3000, ..CODE };

fn file(entry: u64, loads: &[Load]) -> Vec<u8> {
    let mut file = vec![0; 0x400];
    file[..8].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1, 1, 0]);
    file[16..20].copy_from_slice(&[2, 0, 62, 0]);
    file[24..32].copy_from_slice(&entry.to_le_bytes());
    file[32..40].copy_from_slice(&64_u64.to_le_bytes());
    file[54..58].copy_from_slice(&[56, 0, u8::try_from(loads.len()).unwrap(), 0]);
    for (index, load) in loads.iter().enumerate() {
        let at = 64 + index * 56;
        file[at..at + 4].copy_from_slice(&load.kind.to_le_bytes());
        file[at + 4..at + 8].copy_from_slice(&load.flags.to_le_bytes());
        for (field, value) in
            [(8, load.offset), (16, load.address), (32, load.file_size), (40, load.memory_size)]
        {
            file[at + field..at + field + 8].copy_from_slice(&value.to_le_bytes());
        }
    }
    file
}

fn check(loads: &[Load]) -> Result<usize, ElfError> {
    Image::parse(&file(BASE, loads)).map(|image| image.segments().count())
}

#[test]
fn a_sound_image_is_taken_apart_into_its_segments() {
    let note = Load { kind: 4, address: 0, ..CODE };
    let file = file(BASE + 0x10, &[CODE, note, DATA]);
    let image = Image::parse(&file).unwrap();
    let segments: Vec<_> =
        image.segments().map(|segment| (segment.access, segment.pages(), segment.bytes.len())).collect();
    let expected = [
        (Access::Execute, (BASE, BASE + 0x1000), 0x100),
        (Access::Write, (BASE + 0x1000, BASE + 0x4000), 0x100),
    ];
    assert_eq!(segments, expected);
}

#[test]
fn each_lie_is_an_error() {
    use ElfError::{
        BadEntryPoint, SegmentOutsideFile, SegmentOutsideUserSpace, SegmentsOverlap, WritableCode,
    };
    for (loads, expected) in [
        (vec![], BadEntryPoint),
        (vec![DATA], BadEntryPoint),
        (vec![Load { address: BASE + 0x1000, ..CODE }], BadEntryPoint),
        (vec![Load { flags: 7, ..CODE }], WritableCode),
        (vec![Load { offset: 0x301, ..CODE }], SegmentOutsideFile),
        (vec![Load { offset: u64::MAX, ..CODE }], SegmentOutsideFile),
        (vec![Load { file_size: u64::MAX, memory_size: u64::MAX, ..CODE }], SegmentOutsideFile),
        (vec![Load { memory_size: 0xff, ..CODE }], SegmentOutsideFile),
        (vec![CODE, Load { address: 0xffff_ffff_8000_0000, ..DATA }], SegmentOutsideUserSpace),
        (vec![CODE, Load { address: USER_END - 0x1000, ..DATA }], SegmentOutsideUserSpace),
        (vec![CODE, Load { address: u64::MAX - 0x10, ..DATA }], SegmentOutsideUserSpace),
        (vec![CODE, Load { address: 0xf000, ..DATA }], SegmentOutsideUserSpace),
        (vec![CODE, Load { memory_size: u64::MAX - BASE - 0x1000, ..DATA }], SegmentOutsideUserSpace),
        // Where stacks and heaps are.
        (vec![CODE, Load { address: IMAGE_END - 0x1000, ..DATA }], SegmentOutsideUserSpace),
        (vec![CODE, Load { address: 0x10_0000_0000, ..DATA }], SegmentOutsideUserSpace),
        (vec![CODE, Load { address: BASE + 0xff0, ..DATA }], SegmentsOverlap),
        (vec![DATA, CODE], SegmentsOverlap),
        (vec![CODE, CODE], SegmentsOverlap),
    ] {
        assert_eq!(check(&loads), Err(expected));
    }
}

#[test]
fn a_file_that_is_cut_short_anywhere_is_refused_or_whole() {
    let whole = file(BASE, &[CODE, DATA]);
    for length in 0..whole.len() {
        match Image::parse(&whole[..length]) {
            Ok(image) => assert!(image.segments().all(|segment| segment.bytes.len() == 0x100)),
            Err(error) => assert!(length < 0x100 || error != ElfError::NotElf),
        }
    }
}

#[test]
fn no_change_of_a_byte_leads_to_a_panic_or_a_segment_out_of_bounds() {
    let sound = file(BASE, &[CODE, DATA]);
    for at in 0..64 + 2 * 56 {
        for value in 0..=255 {
            let mut file = sound.clone();
            file[at] = value;
            let Ok(image) = Image::parse(&file) else { continue };
            for segment in image.segments() {
                let (start, end) = segment.pages();
                assert!(start >= USER_START && end <= USER_END + PAGE_SIZE && start < end);
                assert!(segment.bytes.len() as u64 <= segment.size);
            }
        }
    }
}
