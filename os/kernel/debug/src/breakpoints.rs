//! Breakpoints in code, and the debug registers.
//!
//! Breakpoint instructions stand in memory only while the system runs: the debugger's own code may have one in it,
//! and nobody who reads memory in between is to see any.
//!
//! An address is not enough to say which code is meant: programs share theirs. A breakpoint is put into each process
//! that has the same code there as the one that gdb looked at, and gdb itself lets those go on that are not meant.

use crate::machine::{Access, BREAKPOINTS, Debuggable, HARDWARE, Hardware, PLACES};
use abi::Endpoint;
use alloc::vec::Vec;
use kernel_core::elf::USER_END;
use kernel_core::{Kernel, Slot};

/// `int3`
const BREAKPOINT: u8 = 0xcc;
/// Bytes by which code is told apart.
const CODE: usize = 16;

#[derive(Clone, Copy, Debug)]
struct Breakpoint {
    address: u64,
    /// What is there, as far as it was mapped, once a process has it. Nothing for the kernel, which has it alone.
    code: Option<Code>,
    /// How many processes had that code when gdb asked.
    places: usize,
}

#[derive(Clone, Copy, Debug)]
struct Code {
    bytes: [u8; CODE],
    len: usize,
}

impl Code {
    /// Tells whether both are the same as far as both are known: the page behind comes and goes.
    fn is_like(&self, other: &Self) -> bool {
        let len = self.len.min(other.len);
        self.bytes[..len] == other.bytes[..len]
    }
}

/// What gdb wants to be told of by a debug register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Point {
    /// What is watched.
    pub(crate) hardware: Hardware,
    /// As gdb knows it.
    pub(crate) asked: Asked,
    /// Whose memory it is, if it is a process's.
    pub(crate) owner: Option<Endpoint>,
}

/// A request of gdb's for one or more debug registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) address: u64,
    pub(crate) len: u64,
    pub(crate) access: Access,
    /// gdb wants to hear of reads only, which the processor doesn't tell from writes.
    pub(crate) is_read: bool,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Breakpoints {
    code: Vec<Breakpoint>,
    points: [Option<Point>; HARDWARE],
    /// Whose memory was meant by what gdb took back since the system stopped: it takes all back at each stop, and asks
    /// again before the system goes on.
    owners: [Option<(Asked, Endpoint)>; HARDWARE],
    is_armed: bool,
}

impl Breakpoints {
    pub(crate) fn new() -> Self {
        Self { code: Vec::new(), points: [None; HARDWARE], owners: [None; HARDWARE], is_armed: false }
    }

    /// Takes the memory that it may need: nothing can be allocated while the kernel stands anywhere.
    pub(crate) fn reserve(&mut self) {
        self.code.reserve_exact(BREAKPOINTS);
    }

    /// Adds one; `false` if there are too many, or too many places of processes' memory where they would stand. `slot` is
    /// whose code gdb looks at.
    pub(crate) fn add<M: Debuggable>(
        &mut self,
        kernel: &mut Kernel<M>,
        slot: Option<Slot>,
        address: u64,
    ) -> bool {
        if self.code.len() >= self.code.capacity() {
            return false;
        }
        if self.has(address) {
            return true;
        }
        // The kernel is there from the start: what it doesn't have it never will.
        if !is_user(address) && !kernel.machine.can_stop_kernel_at(address) {
            return false;
        }
        let code = slot.filter(|_| is_user(address)).and_then(|slot| read(kernel, slot, address));
        let places = if is_user(address) { places(kernel, address, code) } else { 0 };
        let taken: usize = self.code.iter().map(|breakpoint| breakpoint.places).sum();
        if taken + places > PLACES {
            return false;
        }
        self.code.push(Breakpoint { address, code, places });
        true
    }

    /// Removes one; `false` if it isn't there.
    pub(crate) fn remove(&mut self, address: u64) -> bool {
        let before = self.code.len();
        self.code.retain(|breakpoint| breakpoint.address != address);
        self.code.len() != before
    }

    /// Tells whether there is one.
    pub(crate) fn has(&self, address: u64) -> bool {
        self.code.iter().any(|breakpoint| breakpoint.address == address)
    }

    /// Tells whether there are any in memory of processes.
    pub(crate) fn are_in_processes(&self) -> bool {
        self.code.iter().any(|breakpoint| is_user(breakpoint.address))
    }

    /// Gives debug registers to a request; `false` if there are too few, or it can't be watched.
    pub(crate) fn add_point(&mut self, asked: Asked, owner: Option<Endpoint>) -> bool {
        let known = self.owners.iter().flatten().find(|(known, _)| *known == asked);
        let owner = known.map_or(owner, |(_, owner)| Some(*owner)).filter(|_| is_user(asked.address));
        let free = self.points.iter().filter(|point| point.is_none()).count();
        let mut parts = [None; HARDWARE];
        let Some(count) = split(asked, &mut parts).filter(|count| *count <= free) else { return false };
        let free = self.points.iter_mut().filter(|point| point.is_none());
        for (point, hardware) in free.zip(parts.into_iter().take(count)) {
            *point = hardware.map(|hardware| Point { hardware, asked, owner });
        }
        true
    }

    /// Takes a request back; `false` if it isn't there.
    pub(crate) fn remove_point(&mut self, asked: Asked) -> bool {
        let mut removed = None;
        for point in &mut self.points {
            removed = point.take_if(|point| point.asked == asked).or(removed);
        }
        if let Some(owner) = removed.and_then(|point| point.owner) {
            self.remember(asked, owner);
        }
        removed.is_some()
    }

    fn remember(&mut self, asked: Asked, owner: Endpoint) {
        let is_same = |known: &Option<(Asked, Endpoint)>| known.is_some_and(|(known, _)| known == asked);
        let same = self.owners.iter().position(is_same);
        // What is not known already becomes the newest, instead of the oldest.
        self.owners[same.unwrap_or(0)] = Some((asked, owner));
        self.owners[same.unwrap_or(0)..].rotate_left(1);
    }

    /// gdb reads a process's memory. What it is to watch it reads as a whole before: it doesn't tell of a watchpoint
    /// that is deleted while the system stands, only of the next one by the same address.
    pub(crate) fn is_read(&mut self, reader: Endpoint, address: u64, len: u64) {
        for (asked, owner) in self.owners.iter_mut().flatten() {
            if (asked.address, asked.len) == (address, len) {
                *owner = reader;
            }
        }
    }

    /// Forgets whose memory was meant by what gdb didn't ask for again.
    pub(crate) fn forget_owners(&mut self) {
        self.owners = [None; HARDWARE];
    }

    /// The requests that a debug exception is about, as `dr6` tells.
    pub(crate) fn hits(&self, dr6: u64) -> impl Iterator<Item = Point> {
        let hits = self.points.iter().enumerate().filter(move |(index, _)| dr6 & 1 << index != 0);
        hits.filter_map(|(_, point)| *point)
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.code.clear();
        self.points = [None; HARDWARE];
        self.forget_owners();
    }

    /// Puts all in place; again, for processes whose memory has changed since.
    pub(crate) fn arm<M: Debuggable>(&mut self, kernel: &mut Kernel<M>) {
        kernel.machine.clear_processes();
        for index in 0..self.code.len() {
            let Some(breakpoint) = self.code.get(index).copied() else { break };
            if !is_user(breakpoint.address) {
                kernel.machine.break_kernel(breakpoint.address);
                continue;
            }
            for slot in (0..kernel.slots()).map(Slot::new) {
                let Some(here) = self.code_of(kernel, slot, breakpoint.address) else { continue };
                let code = *self.code[index].code.get_or_insert(here);
                if let Some((machine, process)) = kernel.inside(slot).filter(|_| code.is_like(&here)) {
                    machine.break_process(&process.space, breakpoint.address, code.bytes[0]);
                }
            }
        }
        let hardware = self.points.map(|point| point.map(|point| point.hardware));
        kernel.machine.set_hardware(&hardware);
        self.is_armed = true;
    }

    /// Takes all out of memory.
    pub(crate) fn disarm<M: Debuggable>(&mut self, kernel: &mut Kernel<M>) {
        if !core::mem::take(&mut self.is_armed) {
            return;
        }
        kernel.machine.set_hardware(&[None; HARDWARE]);
        kernel.machine.clear_kernel();
        kernel.machine.clear_processes();
    }

    /// What a process has at an address, but for breakpoints.
    fn code_of<M: Debuggable>(&self, kernel: &mut Kernel<M>, slot: Slot, address: u64) -> Option<Code> {
        let mut code = read(kernel, slot, address)?;
        for breakpoint in &self.code {
            let Some(offset) =
                breakpoint.address.checked_sub(address).and_then(|at| usize::try_from(at).ok())
            else {
                continue;
            };
            let byte = code.bytes[..code.len].get_mut(offset).filter(|byte| **byte == BREAKPOINT);
            if let Some((byte, known)) = byte.zip(breakpoint.code) {
                *byte = known.bytes[0];
            }
        }
        Some(code)
    }
}

/// Tells whether an address is one of processes.
pub(crate) const fn is_user(address: u64) -> bool {
    address < USER_END
}

fn read<M: Debuggable>(kernel: &mut Kernel<M>, slot: Slot, address: u64) -> Option<Code> {
    let mut bytes = [0; CODE];
    let (machine, process) = kernel.inside(slot)?;
    let len = machine.peek(Some(&process.space), address, &mut bytes);
    // What was read before a page that is missing doesn't count.
    bytes[len..].fill(0);
    (len > 0).then_some(Code { bytes, len })
}

/// How many processes have that code there, while no breakpoint is in memory.
fn places<M: Debuggable>(kernel: &mut Kernel<M>, address: u64, mut code: Option<Code>) -> usize {
    let slots = (0..kernel.slots()).map(Slot::new);
    let found = slots.filter_map(|slot| read(kernel, slot, address));
    found.filter(|here| code.get_or_insert(*here).is_like(here)).count()
}

/// Divides what is to be watched into what debug registers can watch: 1, 2, 4 or 8 bytes, aligned. How many these are.
fn split(asked: Asked, parts: &mut [Option<Hardware>; HARDWARE]) -> Option<usize> {
    let Asked { mut address, len, access, .. } = asked;
    if access == Access::Execute {
        parts[0] = Some(Hardware { address, access, len: 1 });
        return Some(1);
    }
    let end = address.checked_add(len).filter(|end| *end > address)?;
    let mut count = 0;
    while address < end {
        let len = [8_u8, 4, 2, 1]
            .into_iter()
            .find(|len| address.is_multiple_of(u64::from(*len)) && u64::from(*len) <= end - address)?;
        *parts.get_mut(count)? = Some(Hardware { address, access, len });
        address += u64::from(len);
        count += 1;
    }
    Some(count)
}
