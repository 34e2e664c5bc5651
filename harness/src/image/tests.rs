use super::{Corruption, Image, NotLoadable, Spoil, loadable};
use abi::boot::{Entry, ManifestError, Pair, Process, entries};
use abi::{Callers, Name};
use std::borrow::Cow;
use std::io::Read as _;

const BODY: &[u8] = b"the bytes that are loaded";

/// An ELF file with one loaded segment, and debug information and section headers behind it.
fn elf() -> Vec<u8> {
    let segment = [
        &1_u32.to_le_bytes()[..],           // p_type: PT_LOAD
        &4_u32.to_le_bytes(),               // p_flags: readable
        &120_u64.to_le_bytes(),             // p_offset
        &0x40_0000_u64.to_le_bytes(),       // p_vaddr
        &0_u64.to_le_bytes(),               // p_paddr
        &(BODY.len() as u64).to_le_bytes(), // p_filesz
        &0x2000_u64.to_le_bytes(),          // p_memsz
        &0x1000_u64.to_le_bytes(),          // p_align
    ];
    let header = [
        &b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0"[..],
        &2_u16.to_le_bytes(),         // e_type: ET_EXEC
        &62_u16.to_le_bytes(),        // e_machine: x86-64
        &1_u32.to_le_bytes(),         // e_version
        &0x40_0000_u64.to_le_bytes(), // e_entry
        &64_u64.to_le_bytes(),        // e_phoff
        &1120_u64.to_le_bytes(),      // e_shoff
        &0_u32.to_le_bytes(),         // e_flags
        &64_u16.to_le_bytes(),        // e_ehsize
        &56_u16.to_le_bytes(),        // e_phentsize
        &1_u16.to_le_bytes(),         // e_phnum
        &64_u16.to_le_bytes(),        // e_shentsize
        &3_u16.to_le_bytes(),         // e_shnum
        &2_u16.to_le_bytes(),         // e_shstrndx
    ];
    [&header.concat(), &segment.concat(), BODY, &[0xdb; 1000]].concat()
}

fn process(name: &str, slot: u16) -> Entry {
    let name = Name::new(name).expect("a name");
    Entry::Process(Process {
        name,
        file: name,
        slot,
        class: Callers::SERVICE,
        priority: 1,
        quantum_ms: 100,
        stack_bytes: 4096,
        heap_bytes: 4096,
        traps: 1,
        kernel_calls: 2,
        grants_magic: false,
        ends_machine: false,
    })
}

fn image() -> Image<'static> {
    let entries = vec![process("tty", 5), process("ds", 6), Entry::Pair(Pair { from: 5, to: 6 })];
    let file = |name: &str, contents: &'static [u8]| (name.to_owned(), Cow::Borrowed(contents));
    Image::new(entries, vec![file("tty", b"tty's code"), file("ds", b"ds's code")])
}

/// The files of an archive.
fn files(archive: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut archive = tar::Archive::new(archive);
    let files = archive.entries().expect("an archive").map(|entry| {
        let mut entry = entry.expect("a header");
        let mut contents = Vec::new();
        entry.read_to_end(&mut contents).expect("the contents");
        (String::from_utf8(entry.path_bytes().into_owned()).expect("a path"), contents)
    });
    files.collect()
}

fn spoiled(spoil: &Spoil) -> Vec<u8> {
    spoil.archive(image()).expect("the image has it").expect("there is an image")
}

fn manifest(archive: &[u8]) -> Result<Vec<Entry>, ManifestError> {
    entries(&files(archive)[0].1)?.collect()
}

#[test]
fn an_image_starts_with_its_manifest_and_holds_each_file_once() {
    let archive = image().to_archive().expect("an archive");
    let files = files(&archive);
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["manifest", "tty", "ds"]);
    assert_eq!(files[2].1, b"ds's code");
    assert_eq!(entries(&files[0].1).expect("a manifest").collect::<Result<Vec<_>, _>>(), Ok(image().entries));
    assert!(archive.ends_with(&[0; 1024]), "an archive ends with two empty blocks");
    assert_eq!(archive.len() % 512, 0);
}

#[test]
fn equal_images_are_equal_bytes() {
    assert_eq!(image().to_archive().expect("an archive"), image().to_archive().expect("an archive"));
}

#[test]
fn only_what_is_loaded_stays_of_an_elf_file() {
    let elf = elf();
    let kept = loadable(&elf).expect("an ELF file");
    assert!(kept.ends_with(BODY));
    assert_eq!(kept.len() + 1000, elf.len());
    assert_eq!(kept[0x28..0x30], [0; 8], "the place of the section headers");
    assert_eq!(kept[0x3c..0x40], [0; 4], "their number, and the one with their names");
    assert_eq!(loadable(&kept), Ok(kept.clone()), "nothing is left to remove");
}

#[test]
fn what_is_no_elf_file_is_refused() {
    let whole = elf();
    assert!(matches!(loadable(b"#!/bin/sh"), Err(NotLoadable::Malformed(_))));
    assert!(matches!(loadable(b""), Err(NotLoadable::Malformed(_))));
    let mut other = whole.clone();
    other[0] = 0;
    assert!(matches!(loadable(&other), Err(NotLoadable::Malformed(_))));
    // Cut short anywhere, it never is a file that would load half.
    let kept = loadable(&whole).expect("an ELF file").len();
    assert!((0..kept).all(|size| loadable(&whole[..size]).is_err()));
}

#[test]
fn a_segment_outside_the_file_is_refused() {
    let mut elf = elf();
    elf[64 + 32..64 + 40].copy_from_slice(&u64::MAX.to_le_bytes());
    assert_eq!(loadable(&elf), Err(NotLoadable::Outside));
    elf[64 + 32..64 + 40].copy_from_slice(&0x10_0000_u64.to_le_bytes());
    assert_eq!(loadable(&elf), Err(NotLoadable::Outside));
    elf[64] = 0;
    assert_eq!(loadable(&elf), Err(NotLoadable::Empty));
}

#[test]
fn an_image_can_be_missing_cut_or_noise() {
    assert_eq!(Spoil::Missing.archive(image()).expect("nothing to find"), None);
    let whole = image().to_archive().expect("an archive");
    assert_eq!(spoiled(&Spoil::Truncate(700)), whole[..700]);
    let noise = spoiled(&Spoil::Garbage(5000));
    assert_eq!(noise.len(), 5000);
    assert_eq!(noise, spoiled(&Spoil::Garbage(5000)), "the same for every run");
    assert!(Spoil::Truncate(whole.len()).archive(image()).is_err(), "nothing would be cut");
}

#[test]
fn a_files_bytes_can_be_others() {
    let corrupt = Corruption { file: "ds".into(), offset: 1, bytes: vec![0, 255] };
    assert_eq!(files(&spoiled(&Spoil::Corrupt(corrupt.clone())))[2].1, b"d\0\xffs code");
    for offset in [8, usize::MAX] {
        let outside = Spoil::Corrupt(Corruption { offset, ..corrupt.clone() });
        let error = outside.archive(image()).expect_err("there are 9 bytes");
        assert_eq!(error.to_string(), "corrupt writes behind the end of ds, which has 9 bytes");
    }
}

#[test]
fn files_can_be_missing_and_processes_doubled() {
    let without = spoiled(&Spoil::Without("ds".into()));
    assert_eq!(files(&without).len(), 2);
    assert_eq!(manifest(&without), Ok(image().entries));
    let twice = manifest(&spoiled(&Spoil::Twice("tty".into()))).expect("a manifest");
    let Entry::Process(twin) = twice[3] else { panic!("a fourth entry, {:?}", twice[3]) };
    assert_eq!((twin.name.as_str(), twin.slot), ("tty", 7));
}

#[test]
fn the_manifest_can_be_for_others_or_empty() {
    assert_eq!(manifest(&spoiled(&Spoil::OtherProtocols(true))), Err(ManifestError::OtherProtocols));
    assert_eq!(manifest(&spoiled(&Spoil::NoProcesses(true))), Ok(vec![]));
}

#[test]
fn what_is_to_be_spoiled_must_be_there() {
    let refusal = |spoil: Spoil| spoil.archive(image()).expect_err("there is no such thing").to_string();
    let corrupt = Corruption { file: "vm".into(), offset: 0, bytes: vec![] };
    assert_eq!(refusal(Spoil::Corrupt(corrupt)), "corrupt names vm, which is no file of the boot image");
    assert_eq!(refusal(Spoil::Without("vm".into())), "without names vm, which is no file of the boot image");
    assert_eq!(refusal(Spoil::Twice("vm".into())), "twice names vm, which is no process of the boot image");
}
