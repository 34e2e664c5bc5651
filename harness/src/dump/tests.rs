use super::{Dump, compact, return_addresses};
use std::io::Write as _;
use tempfile::NamedTempFile;

pub(crate) const MEMORY: usize = 1 << 16;
/// Where the tests put their page tables.
const ROOT: u64 = 0x1000;
const PAGING: u64 = 1 << 31;

/// A core file of a machine with this memory from address 0, as QEMU writes them.
fn core(memory: &[u8], cr0: u64, cr3: u64) -> NamedTempFile {
    const NOTE: usize = 64 + 2 * 56;
    let mut note = vec![0; 8 + 18 * 8 + 10 * 24 + 5 * 8];
    note[0] = 1;
    note[392..400].copy_from_slice(&cr0.to_le_bytes());
    note[416..424].copy_from_slice(&cr3.to_le_bytes());
    let mut header = Vec::new();
    for word in [5, u32::try_from(note.len()).expect("it is short"), 0] {
        header.extend_from_slice(&word.to_le_bytes());
    }
    header.extend_from_slice(b"QEMU\0\0\0\0");
    let note = [header, note].concat();
    let program = |kind: u32, offset: usize, size: usize| {
        let words = [offset, 0, 0, size, size, 0].map(|word| word as u64);
        [kind.to_le_bytes().to_vec(), vec![0; 4], words.map(u64::to_le_bytes).concat()].concat()
    };
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    file.extend_from_slice(&[4, 0, 62, 0, 1, 0, 0, 0]);
    file.extend_from_slice(&[0, 64, 0].map(u64::to_le_bytes).concat());
    file.extend_from_slice(&[0, 0, 0, 0]);
    file.extend_from_slice(&[64, 56, 2, 64, 0, 0u16].map(u16::to_le_bytes).concat());
    file.extend(program(4, NOTE, note.len()));
    file.extend(program(1, NOTE + note.len(), memory.len()));
    let mut to = NamedTempFile::new().expect("a file");
    to.write_all(&[file, note, memory.to_vec()].concat()).expect("it takes bytes");
    to
}

pub(crate) fn open(memory: &[u8], cr0: u64, cr3: u64) -> Dump {
    Dump::open(core(memory, cr0, cr3).path()).expect("it is a core file")
}

pub(crate) fn put(memory: &mut [u8], at: u64, words: &[u64]) {
    let at = usize::try_from(at).expect("it is in memory");
    let bytes = words.iter().flat_map(|word| word.to_le_bytes());
    memory[at..].iter_mut().zip(bytes).for_each(|(to, byte)| *to = byte);
}

#[test]
fn a_file_of_nothing_but_notes_is_refused_at_once() {
    // As many headers as there can be, each for the same notes without a name.
    const COUNT: u16 = u16::MAX - 1;
    // A note without anything has 12 bytes.
    const SIZE: u64 = (1 << 20) / 12 * 12;
    let notes = vec![0; 1 << 20];
    let offset = 64 + 56 * u64::from(COUNT);
    let file = |bytes: u64| {
        let mut file = b"\x7fELF\x02\x01\x01".to_vec();
        file.resize(16, 0);
        file.extend_from_slice(&[4, 0, 62, 0, 1, 0, 0, 0]);
        file.extend_from_slice(&[0, 64, 0].map(u64::to_le_bytes).concat());
        file.extend_from_slice(&[0, 0, 0, 0]);
        file.extend_from_slice(&[64, 56, COUNT, 64, 0, 0].map(u16::to_le_bytes).concat());
        let words = [4, offset, 0, 0, bytes, bytes, 0].map(u64::to_le_bytes).concat();
        (0..COUNT).for_each(|_| file.extend_from_slice(&words));
        let mut to = NamedTempFile::new().expect("a file");
        to.write_all(&[file, notes.clone()].concat()).expect("it takes bytes");
        to
    };
    let started = std::time::Instant::now();
    for (bytes, reason) in [(SIZE, "tells nothing of a processor"), (1 << 21, "more notes than QEMU writes")]
    {
        let file = file(bytes);
        let error = Dump::open(file.path()).err().expect("there is no processor");
        assert!(format!("{error:#}").contains(reason), "{error:#}");
    }
    assert!(started.elapsed().as_secs() < 10, "took {:?}", started.elapsed());
}

#[test]
fn page_tables_are_followed_and_may_lead_anywhere() {
    let mut memory = vec![0xaa; MEMORY];
    // Its own table on each level; the last entry lies outside of memory.
    put(&mut memory, ROOT, &[ROOT | 1, 0x7fff_ffff_f000 | 1, 0]);
    put(&mut memory, 0xff8, &[42]);
    let dump = open(&memory, PAGING, ROOT);
    assert_eq!(dump.space().word(8), Some(0x7fff_ffff_f001), "the table is a page, too");
    assert_eq!(dump.space().word(0x1000), None, "outside of memory");
    assert_eq!(dump.space().word(0x2000), None, "not present");
    assert_eq!(dump.space().word(1 << 47), None, "no address at all");
    assert_eq!(dump.space().word(u64::MAX - 3), None, "past the last address");
    let physical = open(&memory, 0, ROOT);
    assert_eq!(physical.space().word(0xff8), Some(42));
    assert_eq!(physical.space().bytes(0xff8, 16).map(|bytes| bytes[8]), Some(1), "across two pages");
    assert_eq!(physical.space().word(MEMORY as u64 - 7), None);
}

#[test]
fn a_stack_that_leads_back_or_nowhere_ends() {
    let mut memory = vec![0; MEMORY];
    put(&mut memory, 0x100, &[0x200, 1]);
    put(&mut memory, 0x200, &[0x100, 2]);
    put(&mut memory, 0x300, &[!7, 3]);
    for frame in (0x1000..0x8000).step_by(16) {
        put(&mut memory, frame, &[frame + 16, 4]);
    }
    let dump = open(&memory, 0, 0);
    let returns = |frame| return_addresses(dump.space(), frame);
    assert_eq!(returns(0x100), [1, 2]);
    assert_eq!(returns(0x300), [3]);
    assert_eq!(returns(0x104), [0; 0]);
    assert_eq!(returns(!7), [0; 0]);
    assert_eq!(returns(0x1000).len(), 32);
}

#[test]
fn a_file_that_is_no_dump_is_refused() {
    for contents in [&b""[..], b"\x7fELF", &[0xff; 4096]] {
        let mut file = NamedTempFile::new().expect("a file");
        file.write_all(contents).expect("it takes bytes");
        assert!(Dump::open(file.path()).is_err());
    }
    let whole = std::fs::read(core(&[7; 64], 0, 0).path()).expect("a file");
    for size in (0..whole.len()).step_by(7) {
        let mut file = NamedTempFile::new().expect("a file");
        file.write_all(&whole[..size]).expect("it takes bytes");
        // Of a file that was cut, what is there can be read.
        if let Ok(dump) = Dump::open(file.path()) {
            assert_eq!(dump.space().bytes(0, 64), None);
        }
    }
}

fn compacted(dump: &NamedTempFile) -> NamedTempFile {
    let to = NamedTempFile::new().expect("a file");
    compact(dump.path(), to.path()).expect("it is a core file");
    to
}

// row I3
#[test]
fn a_compact_dump_is_small_and_says_the_same() {
    const PAGE: usize = 4096;
    let mut memory = vec![0; 1024 * PAGE];
    // The first page, the last one, and two that are close to each other.
    for page in [0, 500, 503, 1023] {
        memory[page * PAGE..][..PAGE].fill(u8::try_from(page % 251 + 1).expect("it is a byte"));
    }
    let whole = core(&memory, 0, 7);
    let small = compacted(&whole);
    let size = std::fs::metadata(small.path()).expect("a file").len();
    assert!(size < 7 * PAGE as u64, "{size} bytes");
    let small = Dump::open(small.path()).expect("it is a core file");
    assert_eq!(small.processor, Dump::open(whole.path()).expect("it is a core file").processor);
    for page in 0..1024 {
        let expected = &memory[page * PAGE..][..PAGE];
        assert_eq!(small.space().bytes((page * PAGE) as u64, PAGE).as_deref(), Some(expected), "{page}");
    }
    assert_eq!(small.space().bytes((1024 * PAGE) as u64, 1), None, "outside of memory");
}

#[test]
fn memory_that_starts_with_zeros_or_is_nothing_else_is_kept_too() {
    for (size, byte) in [(600 * 4096, Some(500 * 4096)), (100 * 4096 + 8, None), (0, None), (1, Some(0))] {
        let mut memory = vec![0; size];
        byte.into_iter().for_each(|at| memory[at] = 1);
        let small = compacted(&core(&memory, 0, 0));
        let small = Dump::open(small.path()).expect("it is a core file");
        let read: Vec<u8> = (0..size)
            .step_by(8)
            .flat_map(|at| small.space().bytes(at as u64, 8.min(size - at)).expect("it is in memory"))
            .collect();
        assert!(read == memory, "{size}");
    }
}

#[test]
fn what_is_no_dump_is_not_made_smaller() {
    let to = NamedTempFile::new().expect("a file");
    let whole = std::fs::read(core(&[7; 64], 0, 0).path()).expect("a file");
    for size in (0..whole.len()).step_by(7) {
        let mut file = NamedTempFile::new().expect("a file");
        file.write_all(&whole[..size]).expect("it takes bytes");
        assert!(compact(file.path(), to.path()).is_err(), "{size}");
    }
}
