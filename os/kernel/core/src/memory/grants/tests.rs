//! Grants through their door: tables in memory, calls, and what they bring. Random tables are
//! compared with a model that reads the same entries.

use super::Use;
use crate::elf::USER_END;
use crate::fake::{Fake, at, kernel, service};
use crate::memory::copy::{Misses, Party, SLICE, Stop};
use crate::memory::tests::{answer, ask};
use crate::{Kernel, Slot};
use abi::boot;
use abi::protocols::kernel as calls;
use abi::{Callers, CopyElement, Endpoint, Errno, GrantAccess, GrantEntry, GrantId, PageAccess, Wire};
use std::mem::offset_of;

const TABLE: u64 = 0x20_0000;
const MEMORY: u64 = 0x30_0000;
const READ_WRITE: GrantAccess = GrantAccess::READ.or(GrantAccess::WRITE);

/// Services 0 to 3, each with a page for its table, which has 8 entries, and a page of memory.
/// Service 3 may not grant by magic.
fn four() -> Kernel<Fake> {
    let humble = boot::Process { grants_magic: false, ..service(3) };
    let mut kernel = kernel(&[service(0), service(1), service(2), humble]);
    for slot in 0..4 {
        kernel.machine.memory.map(slot, TABLE, true);
        kernel.machine.memory.map(slot, MEMORY, true);
        let byte = u8::try_from(slot).unwrap();
        kernel.machine.memory.poke(slot, MEMORY, &[byte; 4096]);
        let table = calls::setgrant::Request { address: TABLE, entries: 8 };
        assert_eq!(ask(&mut kernel, slot, &table).as_deref(), Some("{ first_sequence: 1 }"));
    }
    kernel
}

fn bytes<T: Wire>(value: &T) -> Vec<u8> {
    let mut bytes = vec![0; T::SIZE];
    value.put(&mut bytes);
    bytes
}

/// Writes an entry, of sequence 1 if it doesn't say.
fn put(kernel: &mut Kernel<Fake>, granter: u16, index: u32, entry: &GrantEntry) {
    let place = TABLE + u64::from(index) * GrantEntry::SIZE as u64;
    let id = if entry.id == GrantId::NONE { id(index, 1) } else { entry.id };
    kernel.machine.memory.poke(granter, place, &bytes(&GrantEntry { id, ..*entry }));
}

fn id(index: u32, sequence: u64) -> GrantId {
    GrantId::new(index, sequence).unwrap()
}

fn direct(grantee: Endpoint, access: GrantAccess) -> GrantEntry {
    GrantEntry {
        flags: GrantEntry::VALID | GrantEntry::DIRECT | access.0,
        grantee,
        start: MEMORY,
        len: 100,
        ..GrantEntry::EMPTY
    }
}

fn indirect(grantee: Endpoint, owner: Endpoint, through: GrantId) -> GrantEntry {
    GrantEntry {
        flags: GrantEntry::VALID | GrantEntry::INDIRECT,
        grantee,
        owner,
        through,
        ..GrantEntry::EMPTY
    }
}

fn from(granter: u16, grant: GrantId, offset: u64, len: u64) -> calls::safecopy_from::Request {
    calls::safecopy_from::Request { granter: at(granter), grant, offset, address: MEMORY + 2000, len }
}

fn to(granter: u16, grant: GrantId, offset: u64, len: u64) -> calls::safecopy_to::Request {
    calls::safecopy_to::Request { granter: at(granter), grant, offset, address: MEMORY + 2000, len }
}

// row A1, row A2
#[test]
fn memory_that_vm_holds_is_waited_for_unless_the_grant_has_try_which_is_marked() {
    let access = READ_WRITE.or(GrantAccess::TRY);
    let magic = |access: GrantAccess| {
        let flags = GrantEntry::VALID | GrantEntry::MAGIC | access.0;
        GrantEntry { flags, owner: at(1), ..direct(at(0), access) }
    };
    // Who is held, whose grant is used, and which.
    for (held, granter, grant, waits) in
        [(1, 1, 0, true), (1, 1, 1, true), (1, 2, 2, false), (1, 2, 3, true), (2, 2, 2, true)]
    {
        let mut kernel = four();
        put(&mut kernel, 1, 0, &direct(at(0), access));
        put(&mut kernel, 1, 1, &direct(at(0), READ_WRITE));
        put(&mut kernel, 2, 2, &magic(access));
        put(&mut kernel, 2, 3, &magic(READ_WRITE));
        kernel.vm = Some(at(3));
        kernel.processes.process_mut(Slot::new(3)).class = Callers::SERVICE.or(Callers::VM);
        let hold = |inhibited| calls::vm_set_inhibited::Request { process: at(held), inhibited };
        assert_eq!(ask(&mut kernel, 3, &hold(true)).as_deref(), Some("{}"));
        let fill = calls::safe_memset::Request {
            granter: at(granter),
            grant: id(grant, 1),
            offset: 0,
            len: 8,
            byte: 1,
        };
        let answers = if waits { None } else { Some("EFAULT") };
        let case = format!("{held} is held, grant {grant} of {granter}");
        assert_eq!(ask(&mut kernel, 0, &fill).as_deref(), answers, "{case}");
        if granter != held {
            let mark =
                TABLE + u64::from(grant) * GrantEntry::SIZE as u64 + offset_of!(GrantEntry, faulted) as u64;
            let expected = if waits { 0 } else { id(grant, 1).to_bits() };
            assert_eq!(kernel.machine.memory.peek(granter, mark, 8), expected.to_le_bytes(), "{case}");
        }
        assert_eq!(ask(&mut kernel, 3, &hold(false)).as_deref(), Some("{}"));
        if waits {
            assert!(kernel.processes.process(Slot::new(0)).memory.call.parked.goes_on(), "{case}");
            kernel.go_on(Slot::new(0));
            assert_eq!(answer(&kernel, 0).as_deref(), Some("{}"), "{case}");
        }
        assert_eq!(ask(&mut kernel, 0, &fill).as_deref(), Some("{}"), "{case}");
    }
}

// row A1, row F2
#[test]
fn a_mark_comes_when_the_granters_table_can_be_written_again() {
    let place = |table, index: u32| {
        table + u64::from(index) * GrantEntry::SIZE as u64 + offset_of!(GrantEntry, faulted) as u64
    };
    let faulted =
        |kernel: &Kernel<Fake>, at| GrantId::get(&kernel.machine.memory.peek(1, at, 8)).expect("eight bytes");
    // The page may be written again, or is another one, or the table is elsewhere.
    for way in 0..3 {
        let mut kernel = four();
        kernel.vm = Some(at(3));
        kernel.processes.process_mut(Slot::new(3)).class = Callers::SERVICE.or(Callers::VM);
        let nowhere = |index| GrantEntry {
            start: MEMORY + 0x10_0000,
            id: id(index, u64::from(index) + 1),
            ..direct(at(0), READ_WRITE.or(GrantAccess::TRY))
        };
        for index in 0..2 {
            put(&mut kernel, 1, index, &nowhere(index));
        }
        kernel.machine.memory.pages.get_mut(&(1, TABLE)).unwrap().is_writable = false;
        for _ in 0..40 {
            let answer = ask(&mut kernel, 0, &from(1, id(0, 1), 0, 8));
            assert_eq!(answer.as_deref(), Some("EFAULT"));
        }
        assert_eq!(ask(&mut kernel, 0, &from(1, id(1, 2), 0, 8)).as_deref(), Some("EFAULT"));
        assert_eq!(faulted(&kernel, place(TABLE, 0)), GrantId::NONE);
        let (process, address, access) = (at(1), TABLE, PageAccess::Write);
        let mut table = TABLE;
        match way {
            0 => {
                let request = calls::vm_protect_page::Request { process, address, access };
                assert_eq!(ask(&mut kernel, 3, &request).as_deref(), Some("{}"));
            }
            1 => {
                let request = calls::vm_unmap_page::Request { process, address };
                assert!(ask(&mut kernel, 3, &request).is_some_and(|answer| answer.starts_with("{ frame")));
                let frame = *kernel.machine.memory.lent.first().expect("the frame is VM's now");
                let request = calls::vm_map_page::Request { process, address, frame, access };
                assert_eq!(ask(&mut kernel, 3, &request).as_deref(), Some("{}"));
            }
            _ => {
                table = MEMORY + 2048;
                let copy = kernel.machine.memory.peek(1, TABLE, 8 * GrantEntry::SIZE);
                kernel.machine.memory.poke(1, table, &copy);
                let request = calls::setgrant::Request { address: table, entries: 8 };
                let first = GrantId::BLOCK + 1;
                assert_eq!(ask(&mut kernel, 1, &request), Some(format!("{{ first_sequence: {first} }}")));
            }
        }
        for index in 0..2 {
            assert_eq!(faulted(&kernel, place(table, index)), id(index, u64::from(index) + 1), "way {way}");
        }
        // It is written once: what the granter does with the entry then stays.
        kernel.machine.memory.poke(1, place(table, 0), &[0; 8]);
        let request = calls::vm_protect_page::Request { process, address, access };
        assert_eq!(ask(&mut kernel, 3, &request).as_deref(), Some("{}"));
        assert_eq!(faulted(&kernel, place(table, 0)), GrantId::NONE);
    }
}

#[test]
fn a_copy_whose_mark_has_no_room_fails_otherwise() {
    let mut kernel = four();
    let table = calls::setgrant::Request { address: TABLE, entries: 32 };
    assert!(ask(&mut kernel, 1, &table).is_some_and(|answer| answer.starts_with('{')));
    for index in 0..6 {
        let entry =
            GrantEntry { start: MEMORY + 0x10_0000, ..direct(at(0), READ_WRITE.or(GrantAccess::TRY)) };
        put(&mut kernel, 1, index, &entry);
    }
    kernel.machine.memory.pages.get_mut(&(1, TABLE)).unwrap().is_writable = false;
    for index in 0..6 {
        let expected = if index < 5 { "EFAULT" } else { "ENOTREADY" };
        assert_eq!(ask(&mut kernel, 0, &from(1, id(index, 1), 0, 8)).as_deref(), Some(expected), "{index}");
    }
    // Nobody sees them who takes the table away.
    let none = calls::setgrant::Request { entries: 0, ..table };
    assert_eq!(ask(&mut kernel, 1, &none).as_deref(), Some("{ first_sequence: 0 }"));
    assert!(kernel.processes.process(Slot::new(1)).memory.marks.is_empty());
}

#[test]
fn a_grant_gives_what_it_says_and_no_more() {
    let mut kernel = four();
    put(&mut kernel, 1, 0, &direct(at(0), GrantAccess::READ));
    put(&mut kernel, 1, 1, &direct(at(0), GrantAccess::WRITE));
    put(&mut kernel, 1, 2, &direct(Endpoint::ANY, READ_WRITE));
    put(&mut kernel, 1, 3, &GrantEntry { flags: 0, ..direct(at(0), READ_WRITE) });
    for (caller, index, offset, len, read, written) in [
        (0, 0, 0, 100, "{}", "EPERM"),
        (0, 1, 0, 100, "EPERM", "{}"),
        (0, 0, 99, 1, "{}", "EPERM"),
        (0, 2, 99, 2, "EPERM", "EPERM"),
        (0, 2, u64::MAX, 2, "EPERM", "EPERM"),
        (0, 2, 1, u64::MAX, "EPERM", "EPERM"),
        (0, 2, 0, 0, "EDOM", "EDOM"),
        (2, 0, 0, 1, "EPERM", "EPERM"),
        (2, 2, 0, 1, "{}", "{}"),
        (0, 3, 0, 1, "EPERM", "EPERM"),
        (0, 4, 0, 1, "EPERM", "EPERM"),
        (0, 8, 0, 1, "EPERM", "EPERM"),
        (0, GrantId::INDICES - 1, 0, 1, "EPERM", "EPERM"),
    ] {
        let answer = ask(&mut kernel, caller, &from(1, id(index, 1), offset, len));
        assert_eq!(answer.as_deref(), Some(read), "from {index}+{offset} by {caller}");
        let answer = ask(&mut kernel, caller, &to(1, id(index, 1), offset, len));
        assert_eq!(answer.as_deref(), Some(written), "to {index}+{offset} by {caller}");
    }
    // A stale id, and ids of no grant.
    for id in [id(0, 2), id(0, 0), GrantId::NONE, GrantId::from_bits(u64::MAX)] {
        assert_eq!(ask(&mut kernel, 0, &from(1, id, 0, 1)).as_deref(), Some("EPERM"), "{id:?}");
    }
    let dead = calls::safecopy_from::Request { granter: at(1).successor(), ..from(1, id(0, 1), 0, 1) };
    assert_eq!(ask(&mut kernel, 0, &dead).as_deref(), Some("EINVAL"));
    let nobody = calls::safecopy_from::Request { granter: Endpoint::NONE, ..dead };
    assert_eq!(ask(&mut kernel, 0, &nobody).as_deref(), Some("EFAULT"));
    let kernels = calls::safecopy_from::Request { address: 0xffff_8000_0000_0000, ..from(1, id(0, 1), 0, 1) };
    assert_eq!(ask(&mut kernel, 0, &kernels).as_deref(), Some("EFAULT"));
}

#[test]
fn a_grant_of_what_is_no_memory_is_of_no_use() {
    for (start, len, expected) in [
        (u64::MAX - 10, 100, "EPERM"),
        (0xffff_8000_0000_0000, 100, "EFAULT"),
        (USER_END - 4, 100, "EFAULT"),
        (0, 100, "EFAULT"),
        (MEMORY + 0x10_0000, 100, "EFAULT"),
    ] {
        let mut kernel = four();
        put(&mut kernel, 1, 0, &GrantEntry { start, len, ..direct(at(0), READ_WRITE) });
        assert_eq!(ask(&mut kernel, 0, &from(1, id(0, 1), 0, 8)).as_deref(), Some(expected), "{start:#x}");
        let fill =
            calls::safe_memset::Request { granter: at(1), grant: id(0, 1), offset: 0, len: 8, byte: 1 };
        assert_eq!(ask(&mut kernel, 0, &fill).as_deref(), Some(expected), "{start:#x}");
    }
}

#[test]
fn a_chain_leads_through_five_grants_and_rights_come_from_its_end() {
    for hops in 0..8_u32 {
        let mut kernel = four();
        // Entry 0 of service 1 grants memory to service 2; then 2 and 1 grant it to each other in turns.
        put(&mut kernel, 1, 0, &direct(at(2), GrantAccess::READ));
        for hop in 1..=hops {
            let (granter, owner) = if hop % 2 == 1 { (2, 1) } else { (1, 2) };
            // The last link is for service 0; the flags of a link permit nothing by themselves.
            let grantee = if hop == hops { at(0) } else { at(owner) };
            let link = indirect(grantee, at(owner), id(hop - 1, 1));
            put(&mut kernel, granter, hop, &GrantEntry { flags: link.flags | READ_WRITE.0, ..link });
        }
        if hops == 0 {
            put(&mut kernel, 1, 0, &direct(at(0), GrantAccess::READ));
        }
        let granter = if hops % 2 == 1 { 2 } else { 1 };
        let expected = if hops > 5 { "ELOOP" } else { "{}" };
        let answer = ask(&mut kernel, 0, &from(granter, id(hops, 1), 0, 4));
        assert_eq!(answer.as_deref(), Some(expected), "{hops} hops");
        let answer = ask(&mut kernel, 0, &to(granter, id(hops, 1), 0, 4));
        assert_eq!(answer.as_deref(), Some(if hops > 5 { "ELOOP" } else { "EPERM" }), "{hops} hops");
    }
    let mut kernel = four();
    put(&mut kernel, 1, 0, &indirect(Endpoint::ANY, at(1), id(0, 1)));
    assert_eq!(ask(&mut kernel, 0, &from(1, id(0, 1), 0, 4)).as_deref(), Some("ELOOP"));
    put(&mut kernel, 1, 0, &indirect(Endpoint::ANY, at(7), id(0, 1)));
    assert_eq!(ask(&mut kernel, 0, &from(1, id(0, 1), 0, 4)).as_deref(), Some("EINVAL"));
}

#[test]
fn magic_takes_a_privilege() {
    let mut kernel = four();
    let magic = GrantEntry {
        flags: GrantEntry::VALID | GrantEntry::MAGIC | READ_WRITE.0,
        owner: at(2),
        ..direct(at(0), READ_WRITE)
    };
    put(&mut kernel, 1, 0, &magic);
    put(&mut kernel, 3, 0, &magic);
    assert_eq!(ask(&mut kernel, 0, &from(1, id(0, 1), 0, 4)).as_deref(), Some("{}"));
    assert_eq!(kernel.machine.memory.peek(0, MEMORY + 2000, 5), [2, 2, 2, 2, 0]);
    assert_eq!(ask(&mut kernel, 0, &from(3, id(0, 1), 0, 4)).as_deref(), Some("EPERM"));
    put(&mut kernel, 1, 0, &GrantEntry { owner: at(2).successor(), ..magic });
    assert_eq!(ask(&mut kernel, 0, &from(1, id(0, 1), 0, 4)).as_deref(), Some("EINVAL"));
}

#[test]
fn a_failed_copy_with_try_marks_the_last_grant_of_the_chain() {
    let mut kernel = four();
    let gone = GrantEntry { start: MEMORY + 4096 - 8, ..direct(at(2), READ_WRITE.or(GrantAccess::TRY)) };
    put(&mut kernel, 1, 5, &gone);
    put(&mut kernel, 2, 3, &indirect(at(0), at(1), id(5, 1)));
    let faulted = |kernel: &Kernel<Fake>, granter: u16, index: u64| {
        let place = TABLE + index * GrantEntry::SIZE as u64 + offset_of!(GrantEntry, faulted) as u64;
        u64::get(&kernel.machine.memory.peek(granter, place, 8)).unwrap()
    };
    assert_eq!(ask(&mut kernel, 0, &from(2, id(3, 1), 0, 8)).as_deref(), Some("{}"));
    assert_eq!((faulted(&kernel, 1, 5), faulted(&kernel, 2, 3)), (0, 0));
    assert_eq!(ask(&mut kernel, 0, &from(2, id(3, 1), 0, 9)).as_deref(), Some("EFAULT"));
    assert_eq!((faulted(&kernel, 1, 5), faulted(&kernel, 2, 3)), (id(5, 1).to_bits(), 0));
    // A table that can't be written is no reason to fail otherwise.
    kernel.machine.memory.pages.get_mut(&(1, TABLE)).unwrap().is_writable = false;
    assert_eq!(ask(&mut kernel, 0, &from(2, id(3, 1), 0, 9)).as_deref(), Some("EFAULT"));
}

#[test]
fn a_table_may_be_anything() {
    let mut kernel = four();
    for (address, entries, expected) in [
        (TABLE + 4, 1, "EINVAL"),
        (TABLE, GrantId::INDICES + 1, "EINVAL"),
        (TABLE, u32::MAX, "EINVAL"),
        (0, 1, "EFAULT"),
        (u64::MAX - 7, 1, "EFAULT"),
        (USER_END - 32, 1, "EFAULT"),
        (0xffff_8000_0000_0000, 1, "EFAULT"),
        // Where no memory is: nobody can use such a grant.
        (TABLE + 0x10_0000, GrantId::INDICES, "{ first_sequence: 4194305 }"),
    ] {
        let table = calls::setgrant::Request { address, entries };
        assert_eq!(ask(&mut kernel, 1, &table).as_deref(), Some(expected), "{address:#x} {entries}");
    }
    assert_eq!(ask(&mut kernel, 0, &from(1, id(0, 1), 0, 1)).as_deref(), Some("EPERM"));
    let none = calls::setgrant::Request { address: u64::MAX, entries: 0 };
    assert_eq!(ask(&mut kernel, 1, &none).as_deref(), Some("{ first_sequence: 0 }"));
    assert_eq!(ask(&mut kernel, 0, &from(1, id(0, 1), 0, 1)).as_deref(), Some("EPERM"));
    // The table of a process that took over the memory of another: until it registers its own.
    let mut kernel = four();
    put(&mut kernel, 1, 0, &direct(at(0), READ_WRITE));
    kernel.processes.process_mut(Slot::new(1)).memory.grants.as_mut().unwrap().owner = at(5);
    assert_eq!(ask(&mut kernel, 0, &from(1, id(0, 1), 0, 1)).as_deref(), Some("ENOTREADY"));
}

#[test]
fn a_vector_of_copies_stops_at_the_first_that_fails() {
    const VECTOR: u64 = MEMORY + 1000;
    let mut kernel = four();
    put(&mut kernel, 1, 0, &direct(at(0), READ_WRITE));
    put(&mut kernel, 2, 0, &direct(at(0), GrantAccess::READ));
    let take = |granter, address| CopyElement {
        from: at(granter),
        to: Endpoint::SELF,
        grant: id(0, 1),
        offset: 3,
        address,
        len: 2,
    };
    let give = CopyElement { from: Endpoint::SELF, to: at(2), ..take(2, MEMORY) };
    let both = CopyElement { from: Endpoint::SELF, ..take(1, MEMORY) };
    let neither = CopyElement { to: at(2), ..take(1, MEMORY) };
    for (last, expected) in
        [(take(2, MEMORY + 14), "{}"), (give, "EPERM"), (both, "EINVAL"), (neither, "EINVAL")]
    {
        let vector = [take(1, MEMORY + 10), take(2, MEMORY + 12), last];
        let vector: Vec<u8> = vector.iter().flat_map(bytes).collect();
        kernel.machine.memory.poke(0, VECTOR, &vector);
        kernel.machine.memory.poke(0, MEMORY, &[0; 20]);
        let call = calls::vsafecopy::Request { address: VECTOR, count: 3 };
        assert_eq!(ask(&mut kernel, 0, &call).as_deref(), Some(expected), "{last:?}");
        assert_eq!(
            kernel.machine.memory.peek(0, MEMORY + 9, 6),
            [0, 1, 1, 2, 2, if expected == "{}" { 2 } else { 0 }]
        );
    }
    for (address, count, expected) in [
        (VECTOR, 0, "EINVAL"),
        (VECTOR, 65, "E2BIG"),
        (VECTOR, u32::MAX, "E2BIG"),
        (u64::MAX, 1, "EFAULT"),
        (USER_END - 39, 1, "EFAULT"),
        (MEMORY + 4096 - 39, 1, "EFAULT"),
        (MEMORY + 0x10_0000, 64, "EFAULT"),
    ] {
        let call = calls::vsafecopy::Request { address, count };
        assert_eq!(ask(&mut kernel, 0, &call).as_deref(), Some(expected), "{address:#x} {count}");
    }
}

#[test]
fn others_have_their_turn_between_long_copies_of_a_vector() {
    const VECTOR: u64 = MEMORY + 1000;
    const FAR: u64 = 0x100_0000;
    let mut kernel = four();
    for page in 0..SLICE / 4096 {
        kernel.machine.memory.map(0, FAR + page * 4096, true);
        kernel.machine.memory.map(1, FAR + page * 4096, true);
    }
    put(&mut kernel, 1, 0, &GrantEntry { start: FAR, len: SLICE, ..direct(at(0), READ_WRITE) });
    let half = CopyElement {
        from: at(1),
        to: Endpoint::SELF,
        grant: id(0, 1),
        offset: 0,
        address: FAR,
        len: SLICE / 2,
    };
    let vector: Vec<u8> = [half; 5].iter().flat_map(bytes).collect();
    kernel.machine.memory.poke(0, VECTOR, &vector);
    assert_eq!(ask(&mut kernel, 0, &calls::vsafecopy::Request { address: VECTOR, count: 5 }), None);
    assert!(kernel.processes.process(Slot::new(0)).is_in_a_call());
    kernel.go_on(Slot::new(0));
    assert_eq!(answer(&kernel, 0), None, "there is one left");
    kernel.go_on(Slot::new(0));
    assert_eq!(answer(&kernel, 0).as_deref(), Some("{}"));
    // What fills a slice and has nothing behind it is over.
    assert_eq!(
        ask(&mut kernel, 0, &calls::vsafecopy::Request { address: VECTOR, count: 2 }).as_deref(),
        Some("{}")
    );
}

/// Marsaglia's xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) % end
    }

    fn one_of<T: Copy>(&mut self, values: &[T]) -> T {
        values[usize::try_from(self.below(values.len() as u64)).unwrap()]
    }
}

/// An entry that is right in most fields, so that chains come about.
fn random_entry(random: &mut Random, index: u32) -> GrantEntry {
    let kind = random.one_of(&[
        GrantEntry::DIRECT,
        GrantEntry::MAGIC,
        GrantEntry::INDIRECT,
        GrantEntry::INDIRECT,
        GrantEntry::INDIRECT,
        GrantEntry::INDIRECT | GrantEntry::DIRECT,
        0,
    ]);
    let valid = random.one_of(&[
        GrantEntry::VALID,
        GrantEntry::VALID,
        GrantEntry::VALID,
        0,
        GrantEntry::VALID | 1 << 20,
    ]);
    GrantEntry {
        flags: kind | valid | random.one_of(&[1, 2, 3, 3, 0x13, 7, 0]),
        reserved: random.one_of(&[0, 0, 0, 0, 0, 0, 1]),
        id: random.one_of(&[
            id(index, 1),
            id(index, 1),
            id(index, 1),
            id(index, 1),
            id(index, 1),
            id(index, 1),
            id(index, 2),
            id(index, 0),
            id(index ^ 1, 1),
            GrantId::from_bits(u64::MAX),
        ]),
        grantee: random.one_of(&[at(0), at(1), at(2), at(3), Endpoint::ANY, Endpoint::ANY, Endpoint::NONE]),
        faulted: GrantId::NONE,
        owner: random.one_of(&[at(0), at(1), at(2), at(3), at(9), Endpoint::NONE]),
        through: id(u32::try_from(random.below(4)).unwrap(), random.one_of(&[1, 1, 1, 2])),
        start: random.one_of(&[MEMORY, MEMORY, MEMORY + 5, u64::MAX - 4]),
        len: random.one_of(&[10, 20, 0]),
    }
}

/// What the specification says of a use, read off the entries: owner, start, and whether it tries.
fn model(
    tables: &[[GrantEntry; 4]; 4],
    grantee: Endpoint,
    wanted: &Use,
    hops: u32,
) -> Result<(Endpoint, u64, bool), Errno> {
    let granter = usize::from(wanted.granter.slot().filter(|slot| *slot < 4).ok_or(Errno::EINVAL)?);
    let index = usize::try_from(wanted.grant.index()).unwrap();
    let entry = tables[granter].get(index).ok_or(Errno::EPERM)?;
    let is_good = entry.flags & !0x1e17 == 0
        && entry.flags & 0x1000 != 0
        && entry.reserved == 0
        && entry.id == wanted.grant
        && entry.id.sequence() != 0
        && [grantee, Endpoint::ANY].contains(&entry.grantee);
    if !is_good {
        return Err(Errno::EPERM);
    }
    match entry.flags & 0xe00 {
        0x400 if hops == 5 => Err(Errno::ELOOP),
        0x400 => {
            let next = Use { granter: entry.owner, grant: entry.through, ..*wanted };
            model(tables, wanted.granter, &next, hops + 1)
        }
        kind => {
            let is_allowed = entry.flags & wanted.access.0 == wanted.access.0
                && u128::from(entry.start) + u128::from(entry.len) <= u128::from(u64::MAX)
                && u128::from(wanted.offset) + u128::from(wanted.len) <= u128::from(entry.len);
            let owner = match kind {
                _ if !is_allowed => return Err(Errno::EPERM),
                0x200 => wanted.granter,
                0x800 if granter == 3 => return Err(Errno::EPERM),
                0x800 => entry.owner,
                _ => return Err(Errno::EPERM),
            };
            owner.slot().filter(|slot| *slot < 4).ok_or(Errno::EINVAL)?;
            Ok((owner, entry.start + wanted.offset, entry.flags & 0x10 != 0))
        }
    }
}

#[test]
fn random_tables_are_read_as_the_model_reads_them() {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let (mut kernel, mut passed, mut loops) = (four(), 0, 0);
    for _ in 0..4_000 {
        let tables: [[GrantEntry; 4]; 4] =
            std::array::from_fn(|_| [0, 1, 2, 3].map(|index| random_entry(&mut random, index)));
        for (granter, table) in (0..).zip(&tables) {
            let table: Vec<u8> = table.iter().flat_map(bytes).collect();
            kernel.machine.memory.poke(granter, TABLE, &table);
        }
        for _ in 0..40 {
            let user = u16::try_from(random.below(4)).unwrap();
            let wanted = Use {
                granter: random.one_of(&[at(0), at(1), at(2), at(3), at(9)]),
                grant: id(u32::try_from(random.below(4)).unwrap(), random.one_of(&[1, 1, 1, 2, 0])),
                offset: random.one_of(&[0, 0, 3, 10, u64::MAX]),
                len: random.one_of(&[5, 10, 11, 0]),
                access: random.one_of(&[GrantAccess::READ, GrantAccess::WRITE]),
            };
            let found = kernel.verify(Slot::new(user), &wanted).map(|granted| {
                let Party::Process(owner) = granted.span.party else { panic!("a grant of physical memory") };
                (at(owner.number()), granted.span.start, matches!(granted.misses, Misses::Mark(_)))
            });
            let expected = model(&tables, at(user), &wanted, 0).map_err(Stop::Fails);
            assert_eq!(found, expected, "{wanted:?} by {user}\n{tables:#?}");
            passed += u32::from(found.is_ok());
            loops += u32::from(found == Err(Stop::Fails(Errno::ELOOP)));
        }
    }
    assert!(passed > 500 && loops > 20, "{passed} uses were permitted, {loops} chains too long");
}
