//! The registers as gdb numbers them.

use crate::machine::{Control, Cpu};
use abi::registers::{FloatRegisters, Register, Registers as General};
use core::num::NonZeroUsize;
use gdbstub::arch::{Arch, RegId, Registers};

/// x86-64 with what a kernel's debugger wants to see.
#[derive(Clone, Copy, Debug)]
pub enum X86_64 {}

impl Arch for X86_64 {
    type Usize = u64;
    type Registers = Block;
    type BreakpointKind = usize;
    type RegId = Number;

    fn target_description_xml() -> Option<&'static str> {
        Some(include_str!("target.xml"))
    }
}

/// The number of a register in `target.xml`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number(pub usize);

impl RegId for Number {
    fn from_raw_id(id: usize) -> Option<(Self, Option<NonZeroUsize>)> {
        let group = LAYOUT.iter().find(|group| (group.first..group.first + group.count).contains(&id))?;
        Some((Self(id), NonZeroUsize::new(group.bytes)))
    }
}

/// Registers of one size that follow each other.
struct Group {
    first: usize,
    count: usize,
    bytes: usize,
}

/// All registers in the order of `target.xml`, each behind the one before.
const LAYOUT: [Group; 9] = [
    Group { first: 0, count: 17, bytes: 8 },
    // eflags, cs, ss, ds, es, fs, gs
    Group { first: 17, count: 7, bytes: 4 },
    Group { first: 24, count: 8, bytes: 10 },
    // fctrl, fstat, ftag, fiseg, fioff, foseg, fooff, fop
    Group { first: 32, count: 8, bytes: 4 },
    Group { first: 40, count: 16, bytes: 16 },
    // mxcsr
    Group { first: 56, count: 1, bytes: 4 },
    // fs_base, gs_base
    Group { first: 57, count: 2, bytes: 8 },
    // cr0, cr2, cr3, cr4
    Group { first: 59, count: 4, bytes: 8 },
    Group { first: END, count: 0, bytes: 0 },
];
const END: usize = 63;

/// Bytes of all registers.
const BYTES: usize = {
    let mut bytes = 0;
    let mut index = 0;
    while index < LAYOUT.len() {
        bytes += LAYOUT[index].count * LAYOUT[index].bytes;
        index += 1;
    }
    bytes
};

/// Where a register is in a [`Block`], and its size.
fn place(number: usize) -> Option<core::ops::Range<usize>> {
    let mut start = 0;
    for group in &LAYOUT {
        if let Some(index) = number.checked_sub(group.first).filter(|index| *index < group.count) {
            start += index * group.bytes;
            return Some(start..start + group.bytes);
        }
        start += group.count * group.bytes;
    }
    None
}

/// All registers, as a packet has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block(pub(crate) [u8; BYTES]);

impl Default for Block {
    fn default() -> Self {
        Self([0; BYTES])
    }
}

impl Registers for Block {
    type ProgramCounter = u64;

    fn pc(&self) -> u64 {
        let bytes = self.get(RIP).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u64::from_le_bytes)
    }

    fn gdb_serialize(&self, write_byte: impl FnMut(Option<u8>)) {
        self.0.iter().copied().map(Some).for_each(write_byte);
    }

    fn gdb_deserialize(&mut self, bytes: &[u8]) -> Result<(), ()> {
        self.0 = bytes.try_into().map_err(|_| ())?;
        Ok(())
    }
}

/// The general registers in gdb's order.
const GENERAL: [Register; 18] = {
    use Register::{
        R8, R9, R10, R11, R12, R13, R14, R15, Rax, Rbp, Rbx, Rcx, Rdi, Rdx, Rflags, Rip, Rsi, Rsp,
    };
    [Rax, Rbx, Rcx, Rdx, Rsi, Rdi, Rbp, Rsp, R8, R9, R10, R11, R12, R13, R14, R15, Rip, Rflags]
};
const RIP: usize = 16;
const SEGMENTS: usize = 18;
const STACK: usize = 24;
const CONTROL_WORD: usize = 32;
const VECTORS: usize = 40;
const MXCSR: usize = 56;
const FS_BASE: usize = 57;
const CR0: usize = 59;
const CR3: usize = 61;

/// Where `fxsave64` has what gdb asks for (Intel SDM 1, table 10-2).
mod fx {
    pub(super) const CONTROL_WORD: usize = 0;
    pub(super) const STATUS_WORD: usize = 2;
    pub(super) const TAGS: usize = 4;
    pub(super) const OPCODE: usize = 6;
    pub(super) const INSTRUCTION: usize = 8;
    pub(super) const OPERAND: usize = 16;
    pub(super) const MXCSR: usize = 24;
    pub(super) const STACK: usize = 32;
    pub(super) const VECTORS: usize = 160;
}

/// Where a thread's code runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ring {
    Kernel,
    User,
}

impl Block {
    /// The bytes of a register.
    pub(crate) fn get(&self, number: usize) -> Option<&[u8]> {
        self.0.get(place(number)?)
    }

    fn set(&mut self, number: usize, value: u64) {
        let bytes = value.to_le_bytes();
        if let Some(to) = place(number).and_then(|place| self.0.get_mut(place)) {
            let len = to.len().min(bytes.len());
            to[..len].copy_from_slice(&bytes[..len]);
        }
    }

    /// Changes a register; `false` if there is none of that size.
    pub(crate) fn write(&mut self, number: usize, value: &[u8]) -> bool {
        let to = place(number).and_then(|place| self.0.get_mut(place));
        to.filter(|to| to.len() == value.len()).map(|to| to.copy_from_slice(value)).is_some()
    }

    /// Puts a thread's registers together.
    pub(crate) fn of(cpu: &Cpu, control: &Control, root: u64, ring: Ring) -> Self {
        let mut block = Self::default();
        for (number, register) in GENERAL.iter().enumerate() {
            block.set(number, cpu.registers[*register as usize]);
        }
        let [cs, ss] = if ring == Ring::User { control.user_segments } else { control.kernel_segments };
        for (index, segment) in [cs, ss].into_iter().enumerate() {
            block.set(SEGMENTS + index, u64::from(segment));
        }
        for index in 0..8 {
            block.copy(STACK + index, &cpu.float, fx::STACK + 16 * index);
        }
        let word = |at: usize| u64::from(u16::from_le_bytes([cpu.float[at], cpu.float[at + 1]]));
        let long = |at: usize| word(at) | word(at + 2) << 16;
        let words = [
            word(fx::CONTROL_WORD),
            word(fx::STATUS_WORD),
            full_tags(word(fx::TAGS)),
            long(fx::INSTRUCTION + 4),
            long(fx::INSTRUCTION),
            long(fx::OPERAND + 4),
            long(fx::OPERAND),
            word(fx::OPCODE),
        ];
        for (index, word) in words.into_iter().enumerate() {
            block.set(CONTROL_WORD + index, word);
        }
        for index in 0..16 {
            block.copy(VECTORS + index, &cpu.float, fx::VECTORS + 16 * index);
        }
        block.set(MXCSR, long(fx::MXCSR));
        block.set(FS_BASE, control.fs_base);
        block.set(FS_BASE + 1, control.gs_base);
        for (index, value) in [control.cr0, control.cr2, root, control.cr4].into_iter().enumerate() {
            block.set(CR0 + index, value);
        }
        const _: () = assert!(CR3 == CR0 + 2);
        block
    }

    fn copy(&mut self, number: usize, float: &FloatRegisters, at: usize) {
        if let Some(to) = place(number).and_then(|place| self.0.get_mut(place)) {
            let len = to.len();
            to.copy_from_slice(&float[at..at + len]);
        }
    }

    /// Takes a thread's registers apart. Segments, bases, control registers and where the last x87 instruction was
    /// can't be changed: what says otherwise is refused by who compares.
    pub(crate) fn apply(&self, cpu: &mut Cpu) {
        for (number, register) in GENERAL.iter().enumerate() {
            cpu.registers[*register as usize] = self.value(number);
        }
        for index in 0..8 {
            self.paste(STACK + index, &mut cpu.float, fx::STACK + 16 * index);
        }
        for (number, at) in [(CONTROL_WORD, fx::CONTROL_WORD), (CONTROL_WORD + 1, fx::STATUS_WORD)] {
            cpu.float[at..at + 2].copy_from_slice(&self.value(number).to_le_bytes()[..2]);
        }
        for index in 0..16 {
            self.paste(VECTORS + index, &mut cpu.float, fx::VECTORS + 16 * index);
        }
        cpu.float[fx::MXCSR..fx::MXCSR + 4].copy_from_slice(&self.value(MXCSR).to_le_bytes()[..4]);
    }

    fn value(&self, number: usize) -> u64 {
        let mut bytes = [0; 8];
        let from = self.get(number).unwrap_or_default();
        let len = from.len().min(8);
        bytes[..len].copy_from_slice(&from[..len]);
        u64::from_le_bytes(bytes)
    }

    fn paste(&self, number: usize, float: &mut FloatRegisters, at: usize) {
        let from = self.get(number).unwrap_or_default();
        float[at..at + from.len()].copy_from_slice(from);
    }
}

/// `fxsave64` has a bit for each register that is in use; gdb wants two, of which 11 is an empty one.
fn full_tags(tags: u64) -> u64 {
    (0..8).filter(|index| tags & 1 << index == 0).fold(0, |full, index| full | 3 << (2 * index))
}

/// An empty state, as general registers have it at the start.
pub(crate) const fn no_registers() -> Cpu {
    Cpu { registers: [0; size_of::<General>() / 8], float: [0; 512] }
}
