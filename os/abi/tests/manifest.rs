//! The manifest of a boot image: what is read from one, and how a broken one is refused.

use abi::boot::{
    self, ENTRY_SIZE, Entry, ExitCode, Header, Irq, MAGIC, Managers, ManifestError, Pair, Ports, Process,
};
use abi::{Callers, Endpoint, Name, Wire, protocols};
use std::collections::BTreeSet;

const TTY: Process = Process {
    name: Name::new("tty").unwrap(),
    file: Name::new("drivers/tty").unwrap(),
    slot: 5,
    class: Callers::SERVICE,
    priority: 1,
    quantum_ms: 200,
    stack_bytes: 0x4000,
    heap_bytes: 0x10_0000,
    traps: 0b1110,
    kernel_calls: u128::MAX,
    grants_magic: true,
    ends_machine: true,
};

const ENTRIES: [Entry; 5] = [
    Entry::Process(TTY),
    Entry::Pair(Pair { from: 5, to: 0x7eff }),
    Entry::Ports(Ports { slot: 5, first: 0x3f8, last: 0x3ff }),
    Entry::Irq(Irq { slot: 5, line: 4 }),
    Entry::Managers(Managers {
        slot: 5,
        signal_manager: Endpoint::SELF,
        backup_manager: Endpoint::at_boot(2),
        scheduler: Endpoint::NONE,
    }),
];

const HEADER: Header = Header { magic: MAGIC, fingerprint: protocols::FINGERPRINT, entries: 5 };

fn bytes_of<T: Wire>(value: &T) -> Vec<u8> {
    let mut bytes = vec![0xee; T::SIZE];
    value.put(&mut bytes);
    bytes
}

/// The entries under a header.
fn manifest(header: &Header) -> Vec<u8> {
    let mut bytes = bytes_of(header);
    bytes.extend(ENTRIES.iter().flat_map(bytes_of));
    bytes
}

/// Reads to the end, or to the first error.
fn read(manifest: &[u8]) -> Result<Vec<Entry>, ManifestError> {
    boot::entries(manifest)?.collect()
}

#[test]
fn entries_are_read_as_they_were_written() {
    assert_eq!(read(&manifest(&HEADER)), Ok(ENTRIES.to_vec()));
}

#[test]
fn each_entry_fills_its_place_whatever_was_there() {
    for entry in ENTRIES {
        let bytes = bytes_of(&entry);
        assert_eq!(bytes.len(), ENTRY_SIZE);
        assert_eq!(bytes.last(), Some(&0));
        assert_eq!(Entry::get(&bytes), Some(entry));
    }
}

#[test]
fn a_manifest_can_be_empty_of_entries() {
    assert_eq!(read(&bytes_of(&Header { entries: 0, ..HEADER })), Ok(Vec::new()));
}

#[test]
fn what_follows_the_last_entry_is_not_read() {
    assert_eq!(read(&manifest(&Header { entries: 2, ..HEADER })), Ok(ENTRIES[..2].to_vec()));
    let mut padded = manifest(&HEADER);
    padded.resize(padded.len() + 512, 0xff);
    assert_eq!(read(&padded), Ok(ENTRIES.to_vec()));
}

#[test]
fn a_manifest_that_ends_anywhere_early_is_truncated() {
    let whole = manifest(&HEADER);
    for len in 0..whole.len() {
        assert_eq!(read(&whole[..len]), Err(ManifestError::Truncated), "{len} bytes");
    }
}

#[test]
fn a_count_of_more_entries_than_there_are_is_truncated() {
    for entries in [6, 0xffff, u32::MAX / 2, u32::MAX] {
        assert_eq!(
            read(&manifest(&Header { entries, ..HEADER })),
            Err(ManifestError::Truncated),
            "{entries}"
        );
    }
    // 2^32 times the size of an entry must not wrap to something small.
    let header_alone = bytes_of(&Header { entries: u32::MAX, ..HEADER });
    assert_eq!(read(&header_alone), Err(ManifestError::Truncated));
}

#[test]
fn each_bit_of_the_magic_and_of_the_fingerprint_counts() {
    for bit in 0..64 {
        let magic = Header { magic: MAGIC ^ 1 << bit, ..HEADER };
        assert_eq!(read(&manifest(&magic)), Err(ManifestError::NotAManifest));
        let fingerprint = Header { fingerprint: HEADER.fingerprint ^ 1 << bit, ..HEADER };
        assert_eq!(read(&manifest(&fingerprint)), Err(ManifestError::OtherProtocols));
    }
    assert_eq!(manifest(&HEADER)[..8], *b"Tessera\0");
}

#[test]
fn an_unknown_kind_of_entry_is_refused_by_its_index() {
    for kind in (0..=0).chain(6..=u8::MAX) {
        let mut bytes = manifest(&HEADER);
        bytes[Header::SIZE + 2 * ENTRY_SIZE] = kind;
        assert_eq!(read(&bytes), Err(ManifestError::BadEntry(2)), "kind {kind}");
    }
}

#[test]
fn entries_before_a_bad_one_are_read_and_so_are_those_behind_it() {
    let mut bytes = manifest(&HEADER);
    bytes[Header::SIZE + ENTRY_SIZE] = 0;
    let items: Vec<_> = boot::entries(&bytes).unwrap().collect();
    assert_eq!(
        items,
        [Ok(ENTRIES[0]), Err(ManifestError::BadEntry(1)), Ok(ENTRIES[2]), Ok(ENTRIES[3]), Ok(ENTRIES[4])]
    );
}

#[test]
fn padding_that_is_not_zero_is_refused() {
    let sizes = [Process::SIZE, Pair::SIZE, Ports::SIZE, Irq::SIZE, Managers::SIZE];
    for (index, size) in sizes.into_iter().enumerate() {
        for offset in 1 + size..ENTRY_SIZE {
            let mut bytes = manifest(&HEADER);
            bytes[Header::SIZE + index * ENTRY_SIZE + offset] = 1;
            assert_eq!(read(&bytes), Err(ManifestError::BadEntry(index)), "byte {offset}");
        }
    }
}

#[test]
fn fields_that_are_no_values_are_refused() {
    // The first characters of the two names, and the bool at the end.
    for offset in [1, 49, Process::SIZE] {
        let mut bytes = manifest(&HEADER);
        bytes[Header::SIZE + offset] = b' ';
        assert_eq!(read(&bytes), Err(ManifestError::BadEntry(0)), "byte {offset}");
    }
}

#[test]
fn any_byte_can_be_wrong_without_a_panic() {
    let whole = manifest(&HEADER);
    for index in 0..whole.len() {
        for byte in 0..=u8::MAX {
            let mut bytes = whole.clone();
            bytes[index] = byte;
            let Ok(entries) = read(&bytes) else { continue };
            let read_again: Vec<u8> =
                bytes_of(&HEADER).into_iter().chain(entries.iter().flat_map(bytes_of)).collect();
            let count = Header::SIZE - 4..Header::SIZE;
            assert!(count.contains(&index) || read_again == bytes, "byte {index} = {byte} was ignored");
        }
    }
}

#[test]
fn an_entry_of_another_size_is_none() {
    let bytes = bytes_of(&ENTRIES[0]);
    for len in 0..=Process::SIZE {
        assert_eq!(Entry::get(&bytes[..len]), None, "{len} bytes");
    }
}

#[test]
fn only_a_program_is_a_program() {
    assert!(!TTY.is_program());
    assert!(Process { class: Callers::PROGRAM, ..TTY }.is_program());
}

#[test]
fn an_error_says_what_is_wrong_with_the_image() {
    let texts = [
        ManifestError::Truncated,
        ManifestError::NotAManifest,
        ManifestError::OtherProtocols,
        ManifestError::BadEntry(3),
    ]
    .map(|error| error.to_string());
    assert_eq!(
        texts,
        [
            "the manifest is truncated",
            "the manifest is none",
            "the image was built for other protocols than this kernel's",
            "entry 3 of the manifest is malformed",
        ]
    );
}

#[test]
fn the_exit_codes_of_a_machine_are_told_apart_and_from_those_of_qemu_itself() {
    let codes: BTreeSet<u8> = ExitCode::ALL.iter().map(|code| code.of_qemu()).collect();
    assert_eq!(codes, BTreeSet::from([0x21, 0x23, 0x25, 0x27, 0x29, 0x2b]));
}
