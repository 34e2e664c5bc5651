//! Segments, the task state, and the table of interrupt gates.

use crate::trap;
use core::cell::UnsafeCell;
use x86_64::PrivilegeLevel;
use x86_64::VirtAddr;
use x86_64::instructions::segmentation::{CS, DS, ES, SS, Segment};
use x86_64::instructions::tables::load_tss;
use x86_64::registers::model_specific::{LStar, SFMask, Star};
use x86_64::registers::rflags::RFlags;
use x86_64::structures::gdt::{Descriptor, GlobalDescriptorTable, SegmentSelector};
use x86_64::structures::idt::InterruptDescriptorTable;
use x86_64::structures::tss::TaskStateSegment;

/// Selectors, in the order that `syscall` and `sysret` want (Intel SDM 3A, 5.8.8).
const KERNEL_CODE: SegmentSelector = SegmentSelector::new(1, PrivilegeLevel::Ring0);
const KERNEL_DATA: SegmentSelector = SegmentSelector::new(2, PrivilegeLevel::Ring0);
/// What `cs` holds in a process.
pub(crate) const USER_CODE: u64 = 4 << 3 | 3;
/// What `ss` holds in a process.
pub(crate) const USER_DATA: u64 = 3 << 3 | 3;

/// `cs` and `ss` in a process, and in the kernel.
pub(crate) const USER_SEGMENTS: [u32; 2] = [4 << 3 | 3, 3 << 3 | 3];
/// See [`USER_SEGMENTS`].
pub(crate) const KERNEL_SEGMENTS: [u32; 2] = [1 << 3, 2 << 3];

/// Something that the processor uses after it has been set up once.
struct Table<T>(UnsafeCell<T>);
// SAFETY: there is one processor, and only `init` writes, before anything else looks.
unsafe impl<T> Sync for Table<T> {}

static GDT: Table<GlobalDescriptorTable> = Table(UnsafeCell::new(GlobalDescriptorTable::new()));
static TSS: Table<TaskStateSegment> = Table(UnsafeCell::new(TaskStateSegment::new()));
static IDT: Table<InterruptDescriptorTable> = Table(UnsafeCell::new(InterruptDescriptorTable::new()));

/// Gives the processor its tables. Called once.
pub(crate) fn init() {
    // SAFETY: called once, before interrupts; nobody else refers to the tables' contents.
    let tss = unsafe { &mut *TSS.0.get() };
    // Every vector runs on a stack of its own: code without a red zone can't be taken for granted.
    for (index, stack) in trap::interrupt_stacks().into_iter().enumerate() {
        tss.interrupt_stack_table[index] = stack;
    }
    tss.privilege_stack_table[0] = tss.interrupt_stack_table[0];

    // SAFETY: as above.
    let gdt = unsafe { &mut *GDT.0.get() };
    gdt.append(Descriptor::kernel_code_segment());
    gdt.append(Descriptor::kernel_data_segment());
    gdt.append(Descriptor::user_data_segment());
    gdt.append(Descriptor::user_code_segment());
    let task = gdt.append(Descriptor::tss_segment(tss));
    gdt.load();
    // SAFETY: the selectors name the segments just loaded.
    unsafe { CS::set_reg(KERNEL_CODE) };
    for set in [SS::set_reg, DS::set_reg, ES::set_reg] {
        // SAFETY: as above.
        unsafe { set(KERNEL_DATA) };
    }
    // SAFETY: the descriptor was made from the task state above.
    unsafe { load_tss(task) };

    // SAFETY: as above.
    let idt = unsafe { &mut *IDT.0.get() };
    fill(idt);
    idt.load();

    LStar::write(trap::system_call_entry());
    SFMask::write(
        RFlags::INTERRUPT_FLAG
            | RFlags::DIRECTION_FLAG
            | RFlags::TRAP_FLAG
            | RFlags::ALIGNMENT_CHECK
            | RFlags::NESTED_TASK,
    );
    // SAFETY: `syscall` loads the first of these and the one behind it, `sysret` the two behind the
    // other: the kernel's and the process's selectors, in the order of the table above.
    unsafe { Star::write_raw(2 << 3 | 3, 1 << 3) };
}

/// Gives exceptions other stacks than they have, or these again.
pub(crate) fn exchange_stacks() {
    // SAFETY: the processor reads the table when an interrupt comes, which none does now.
    let tss = unsafe { &mut *TSS.0.get() };
    for [vector, other] in trap::EXCHANGED_STACKS {
        let mut stacks = tss.interrupt_stack_table;
        stacks.swap(vector, other);
        tss.interrupt_stack_table = stacks;
    }
}

fn fill(idt: &mut InterruptDescriptorTable) {
    for vector in 0..=u8::MAX {
        let stack = trap::stack_of(vector);
        let options = trap::Gate { vector, stack, level: trap::level_of(vector) };
        set_gate(idt, &options);
    }
}

/// Writes one gate, which is laid out as Intel SDM 3A, figure 6-8 draws it.
fn set_gate(idt: &mut InterruptDescriptorTable, gate: &trap::Gate) {
    let entry: VirtAddr = trap::entry_of(gate.vector);
    let [low, middle, high, top] = split(entry.as_u64());
    const PRESENT_INTERRUPT_GATE: u16 = 0x8e00;
    let attributes = PRESENT_INTERRUPT_GATE | u16::from(gate.level) << 13 | u16::from(gate.stack + 1);
    let words: [u16; 8] = [low, KERNEL_CODE.0, attributes, middle, high, top, 0, 0];
    // SAFETY: the table is 256 gates of 16 bytes, and any gate may be written before interrupts are on.
    let gates = unsafe { &mut *(&raw mut *idt).cast::<[[u16; 8]; 256]>() };
    gates[usize::from(gate.vector)] = words;
}

fn split(value: u64) -> [u16; 4] {
    [0, 16, 32, 48].map(|shift| u16::try_from(value >> shift & 0xffff).expect("masked to 16 bits"))
}
