use super::{Memory, Register, Revoked, Slot, Table};
use abi::{Endpoint, Errno, GrantAccess, GrantEntry, GrantId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

const TO: Endpoint = Endpoint::at_boot(5);
const ACCESS: GrantAccess = GrantAccess::READ.or(GrantAccess::TRY);
/// What the first table gets.
const FIRST: u64 = GrantId::BLOCK + 1;

fn id((index, sequence): (u32, u64)) -> GrantId {
    GrantId::new(index, sequence).unwrap()
}

/// Remembers what it was told, and refuses when it is told to.
#[derive(Debug, Default)]
struct Told {
    tables: Vec<(u64, u32)>,
    refuses: bool,
}

impl Register for Told {
    fn register(&mut self, address: u64, entries: u32) -> Result<u64, Errno> {
        if self.refuses {
            return Err(Errno::EFAULT);
        }
        self.tables.push((address, entries));
        Ok(self.tables.len() as u64 * GrantId::BLOCK + 1)
    }
}

fn table() -> Table<Told> {
    Table::with(Told::default())
}

/// The entry of a grant, as the kernel finds it, or `None` if the id is not valid.
fn entry(table: &Table<Told>, id: GrantId) -> Option<(u32, u32, u64, u64, u64)> {
    let slot = table.slots.get(usize::try_from(id.index()).unwrap())?;
    let load = |word: &std::sync::atomic::AtomicU32| word.load(Ordering::Relaxed);
    let long = |long: &std::sync::atomic::AtomicU64| long.load(Ordering::Relaxed);
    let is_valid = load(&slot.flags) & GrantEntry::VALID != 0 && long(&slot.id) == id.to_bits();
    let Slot { flags, owner, through, start, len, .. } = slot;
    is_valid.then(|| (load(flags), load(owner), long(through), long(start), long(len)))
}

/// What the kernel does when a copy fails.
fn mark(table: &Table<Told>, id: GrantId) {
    table.slots[usize::try_from(id.index()).unwrap()].faulted.store(id.to_bits(), Ordering::Relaxed);
}

#[test]
fn each_kind_of_grant_is_written_as_the_kernel_reads_it() {
    let mut table = table();
    let owner = Endpoint::at_boot(9);
    let other = GrantId::new(3, 7).unwrap();
    let direct = table.grant_direct(TO, Memory::at(0x1000, 16), ACCESS).unwrap();
    let indirect = table.grant_indirect(TO, owner, other).unwrap();
    let magic = table.grant_magic(TO, owner, Memory::at(0x2000, 32), GrantAccess::WRITE).unwrap();
    assert_eq!(entry(&table, direct), Some((0x1211, 0, 0, 0x1000, 16)));
    assert_eq!(entry(&table, indirect), Some((0x1400, owner.to_bits(), other.to_bits(), 0, 0)));
    assert_eq!(entry(&table, magic), Some((0x1802, owner.to_bits(), 0, 0x2000, 32)));
    assert_eq!([direct, indirect, magic], [(0, FIRST), (1, FIRST + 1), (2, FIRST + 2)].map(id));
    for access in [GrantAccess(0), GrantAccess::TRY, GrantAccess(8), GrantAccess(0x201)] {
        assert_eq!(table.grant_direct(TO, Memory::at(0, 1), access), Err(Errno::EINVAL), "{access:?}");
    }
}

#[test]
fn a_revocation_tells_of_a_fault_once_and_only_of_its_own() {
    let mut table = table();
    let grant =
        |table: &mut Table<Told>, access| table.grant_direct(TO, Memory::at(0x1000, 16), access).unwrap();
    let first = grant(&mut table, ACCESS);
    mark(&table, first);
    assert_eq!(table.revoke(first), Ok(Revoked { faulted: true }));
    assert_eq!(table.revoke(first), Err(Errno::EINVAL));
    let second = grant(&mut table, ACCESS);
    assert_eq!((first, second), (id((0, FIRST)), id((0, FIRST + 1))));
    assert_eq!(table.revoke(second), Ok(Revoked { faulted: false }));
    let third = grant(&mut table, GrantAccess::READ);
    mark(&table, third);
    assert_eq!(table.revoke(third), Ok(Revoked { faulted: false }), "without TRY there are no marks");
    assert_eq!(table.revoke(GrantId::NONE), Err(Errno::EINVAL));
    assert_eq!(table.revoke(GrantId::from_bits(u64::MAX)), Err(Errno::EINVAL));
}

// row F2
#[test]
fn a_granter_that_has_used_its_sequences_up_gets_more() {
    let mut table = table();
    let grant = |table: &mut Table<Told>| table.grant_indirect(TO, TO, GrantId::NONE);
    let kept = grant(&mut table).unwrap();
    for sequence in FIRST + 1..FIRST + GrantId::BLOCK {
        let made = grant(&mut table).unwrap();
        assert_eq!(made, id((1, sequence)));
        table.revoke(made).unwrap();
    }
    table.register.refuses = true;
    assert_eq!(grant(&mut table), Err(Errno::EFAULT));
    table.register.refuses = false;
    assert_eq!(grant(&mut table), Ok(id((1, FIRST + GrantId::BLOCK))));
    assert_eq!(table.register.tables.len(), 2);
    assert_eq!(table.register.tables[0], table.register.tables[1]);
    assert_eq!(table.revoke(kept), Ok(Revoked { faulted: false }), "what was granted before still is");
}

// row F2
#[test]
fn a_process_that_got_another_name_grants_nothing_that_it_granted_before() {
    let mut table = table();
    let grant = |table: &mut Table<Told>| table.grant_direct(TO, Memory::at(0x1000, 16), ACCESS).unwrap();
    let before: Vec<GrantId> = (0..3).map(|_| grant(&mut table)).collect();
    table.revoke(before[1]).unwrap();
    table.reload().unwrap();
    for id in before {
        assert_eq!((entry(&table, id), table.revoke(id)), (None, Err(Errno::EINVAL)), "{id:?}");
    }
    table.register.refuses = true;
    assert_eq!(table.reload(), Err(Errno::EFAULT));
    table.register.refuses = false;
    let after: Vec<GrantId> = (0..3).map(|_| grant(&mut table)).collect();
    assert_eq!(after, (0..3).map(|n| id((n, 3 * GrantId::BLOCK + 1 + u64::from(n)))).collect::<Vec<_>>());
}

#[test]
fn a_table_that_the_kernel_refuses_is_not_used() {
    let mut table = table();
    let ids: Vec<GrantId> =
        (0..8).map(|_| table.grant_direct(TO, Memory::at(0x1000, 16), ACCESS).unwrap()).collect();
    table.register.refuses = true;
    assert_eq!(table.grant_indirect(TO, TO, GrantId::NONE), Err(Errno::EFAULT));
    assert_eq!(table.slots.len(), 8);
    table.register.refuses = false;
    mark(&table, ids[0]);
    let ninth = table.grant_indirect(TO, TO, GrantId::NONE).unwrap();
    assert_eq!((ninth.index(), table.slots.len()), (8, 16));
    assert!(ids.iter().all(|id| entry(&table, *id).is_some()));
    assert_eq!(table.revoke(ids[0]), Ok(Revoked { faulted: true }), "the mark has moved with the grant");
}

/// Random grants, revocations and faults against a model: which ids are valid, and what they grant.
#[test]
fn no_run_gives_an_id_twice_or_revives_a_stale_one() {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = |end: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 20) % end
    };
    for round in 0..40 {
        let mut table = table();
        let mut valid: BTreeMap<u64, (u64, bool, bool)> = BTreeMap::new();
        let mut given = BTreeSet::new();
        for _ in 0..1_500 {
            // Rounds differ in how many grants there are at once.
            match below(8) + u64::from(valid.len() as u64 > 1 + round * 3) * 2 {
                0..4 => {
                    let start = below(1 << 40);
                    let tries = below(2) == 0;
                    let access = if tries { ACCESS } else { GrantAccess::READ };
                    let id = table.grant_direct(TO, Memory::at(start, 8), access).unwrap();
                    assert!(given.insert(id.to_bits()), "{id:?} was given before");
                    valid.insert(id.to_bits(), (start, tries, false));
                }
                4 => {
                    let Some(bits) = given.iter().nth(usize::try_from(below(64)).unwrap()).copied() else {
                        continue;
                    };
                    if let Some((_, _, faulted)) = valid.get_mut(&bits) {
                        mark(&table, GrantId::from_bits(bits));
                        *faulted = true;
                    }
                }
                _ => {
                    let nth = usize::try_from(below(given.len() as u64 + 1)).unwrap();
                    let bits = given.iter().nth(nth).copied().unwrap_or(u64::MAX);
                    let expected = valid
                        .remove(&bits)
                        .map(|(_, tries, faulted)| Revoked { faulted: tries && faulted })
                        .ok_or(Errno::EINVAL);
                    assert_eq!(table.revoke(GrantId::from_bits(bits)), expected);
                }
            }
            assert_eq!(
                table.register.tables.last().map(|(_, entries)| *entries),
                u32::try_from(table.slots.len()).ok().filter(|len| *len > 0)
            );
            if let Some((address, _)) = table.register.tables.last() {
                assert_eq!(*address, table.slots.as_ptr().addr() as u64, "the kernel knows the table in use");
            }
        }
        for bits in given {
            let found = entry(&table, GrantId::from_bits(bits)).map(|(_, _, _, start, _)| start);
            assert_eq!(found, valid.get(&bits).map(|(start, _, _)| *start));
        }
    }
}
