use super::{Found, PostMortem, Process, Tables, circle};
use crate::dump::{Dump, return_addresses};
use abi::inspect::Layout;
use abi::state::{Stops, Wait};
use abi::{Endpoint, Message};
use std::io::Write as _;
use tempfile::NamedTempFile;

const MEMORY: usize = 1 << 16;
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

fn open(memory: &[u8], cr0: u64, cr3: u64) -> Dump {
    Dump::open(core(memory, cr0, cr3).path()).expect("it is a core file")
}

fn put(memory: &mut [u8], at: u64, words: &[u64]) {
    let at = usize::try_from(at).expect("it is in memory");
    let bytes = words.iter().flat_map(|word| word.to_le_bytes());
    memory[at..].iter_mut().zip(bytes).for_each(|(to, byte)| *to = byte);
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

#[test]
fn tables_that_hold_anything_give_a_report() {
    let mut state = 1u64;
    let mut random = || {
        // Knuth's MMIX generator: the upper bits are good.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 32
    };
    for _ in 0..200 {
        let mut memory: Vec<u8> = (0..MEMORY).map(|_| random().to_le_bytes()[0]).collect();
        let small: [u64; Layout::WORDS] = std::array::from_fn(|_| random() % MEMORY as u64);
        let huge = small.map(|word| if random() % 4 == 0 { u64::MAX - word } else { word });
        let layout =
            Layout { magic: Layout::MAGIC, entry_count: 64, entry_bytes: 512, ..Layout::from_words(huge) };
        put(&mut memory, 0, &layout.to_words());
        let dump = open(&memory, 0, 0);
        match Tables::at(dump.space(), 0) {
            Ok(tables) => {
                assert!(tables.processes().len() <= 64);
                assert!(tables.events().len() <= 1 << 16);
            }
            Err(error) => assert!(error.to_string().contains("impossible"), "{error}"),
        }
    }
}

#[test]
fn a_kernel_that_has_not_started_says_nothing() {
    let dump = open(&[0; MEMORY], 0, 0);
    let error = Tables::at(dump.space(), 0).err().expect("there is no magic number");
    assert_eq!(error.to_string(), "the kernel hasn't written down where its tables are");
    assert!(Tables::at(dump.space(), u64::MAX - 8).is_err());
}

fn waiting(slot: u16, wait: Wait<'static>) -> Found {
    Found {
        endpoint: Endpoint::at_boot(slot),
        name: format!("p{slot}"),
        wait,
        message: Message::zeroed(),
        stops: Stops::NONE,
        root: 0,
        rip: 0,
        rbp: 0,
    }
}

#[test]
fn a_circle_is_found_and_those_who_wait_for_it_are_not_in_it() {
    let [three, four, five] = [3, 4, 5].map(Endpoint::at_boot);
    let send = |to| Wait::Sending { to, message: None };
    let receive = |from| Wait::Receiving { from };
    let all = [
        waiting(2, send(three)),
        waiting(3, receive(four)),
        waiting(4, send(five)),
        waiting(5, send(three)),
        waiting(6, receive(Endpoint::ANY)),
    ];
    assert_eq!(circle(&all), [three, four, five]);
    assert_eq!(circle(&all[..3]), []);
    assert_eq!(circle(&[waiting(3, receive(three))]), [three]);
}

#[test]
fn a_bundle_without_a_dump_is_an_error() {
    let project = crate::project::Project::at(env!("CARGO_MANIFEST_DIR")).expect("an absolute path");
    let directory = tempfile::tempdir().expect("a directory");
    let error = super::examine_bundle(&project, directory.path()).expect_err("it is empty");
    assert!(format!("{error:#}").contains("failed to read"), "{error:#}");
    let images = directory.path().join(crate::report::bundles::IMAGES);
    std::fs::create_dir(images).expect("a directory");
    let error = super::examine_bundle(&project, directory.path()).expect_err("it has no dump");
    assert!(format!("{error:#}").contains("memory.core"), "{error:#}");
}

#[test]
fn all_of_many_processes_are_shown() {
    let process = Process { state: "crowd(7): runnable".into(), stack: vec![] };
    let found = PostMortem { processes: vec![process; 1000], ..PostMortem::default() };
    assert_eq!(crate::report::inspected(&found).lines().count(), 1001);
}

#[test]
fn a_report_is_lines() {
    let process = Process { state: "ds(6): running".into(), stack: vec!["main at ds.rs:7".into()] };
    let circle = vec!["a(3)".into(), "b(4)".into()];
    let found = PostMortem { processes: vec![process], circle, ..PostMortem::default() };
    assert_eq!(
        crate::report::inspected(&found),
        "processes:\n  ds(6): running\n      main at ds.rs:7\nthey wait for each other: a(3) -> b(4) -> a(3)\n"
    );
}
