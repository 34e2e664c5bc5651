//! What the debugger does to the processor: debug registers, breakpoints in code, the way from an exception
//! in the kernel to the debugger and back.
//!
//! While the debugger works, exceptions have other stacks, so that what it does can't overwrite the registers that it
//! was called with; no breakpoint is in the kernel's code, and the processor watches nothing; and no interrupt but the
//! line's gets through.

use crate::apic::{self, Register};
use crate::descriptors;
use crate::layout;
use crate::machine::Hardware;
use crate::paging::{AddressSpace, Page, Permissions, kernel_walk, to_usize};
use crate::{timer, trap, watchdog};
use abi::registers::{FloatRegisters, Register as Name};
use core::arch::asm;
use core::cell::Cell;
use kernel_core::elf::USER_END;
use kernel_debug::machine::{Access, BREAKPOINTS, Control, Cpu, Debuggable, HARDWARE, PLACES, Pages, Trap};
use x86_64::registers::control::{Cr0, Cr2, Cr3, Cr4};
use x86_64::registers::model_specific::{FsBase, GsBase};

/// Who is called when an exception strikes the kernel: gets what the kernel registered, and tells whether the
/// kernel is to go on.
type Handler = fn(*mut (), Trap, &mut Cpu) -> bool;

/// The way to the debugger.
struct Door {
    handler: Cell<Option<(Handler, *mut ())>>,
    /// The debugger works.
    is_open: Cell<bool>,
}
// SAFETY: there is one processor, and interrupts are off in the kernel.
unsafe impl Sync for Door {}

static DOOR: Door = Door { handler: Cell::new(None), is_open: Cell::new(false) };

/// What a debugger has asked for that strikes the kernel. The assembly code between an exception in the kernel and
/// the debugger takes it back and puts it in place again: the debugger runs functions that the rest of the kernel runs,
/// too, and could not begin to if one of them had a breakpoint.
#[repr(C)]
pub(crate) struct InKernel {
    /// What `dr7` is to hold.
    pub(crate) watched: Cell<u64>,
    /// How many breakpoints there are.
    pub(crate) count: Cell<u32>,
    /// Where they are.
    pub(crate) addresses: [Cell<u64>; BREAKPOINTS],
    /// What belongs there, a byte each.
    pub(crate) bytes: [Cell<u32>; BREAKPOINTS],
}
// SAFETY: as above.
unsafe impl Sync for InKernel {}

pub(crate) static IN_KERNEL: InKernel = InKernel {
    watched: Cell::new(DR7_NONE),
    count: Cell::new(0),
    addresses: [const { Cell::new(0) }; _],
    bytes: [const { Cell::new(0) }; _],
};

impl InKernel {
    /// The breakpoints: where, and what belongs there.
    fn breakpoints(&self) -> impl Iterator<Item = (u64, u8)> {
        let count = crate::paging::to_usize(self.count.get().into());
        let bytes = self.bytes.iter().map(|byte| byte.get().to_le_bytes()[0]);
        self.addresses.iter().map(Cell::get).zip(bytes).take(count)
    }
}

/// Breakpoints in memory of processes. Others may come to have a frame by then, so these go by frames.
struct InFrames {
    /// How many there are.
    count: Cell<usize>,
    /// Where they are in physical memory.
    addresses: [Cell<u64>; PLACES],
    /// What belongs there.
    bytes: [Cell<u8>; PLACES],
}
// SAFETY: as above.
unsafe impl Sync for InFrames {}

static IN_FRAMES: InFrames = InFrames {
    count: Cell::new(0),
    addresses: [const { Cell::new(0) }; _],
    bytes: [const { Cell::new(0) }; _],
};

impl InFrames {
    /// Puts one in place; `false` if there are too many.
    fn add(&self, address: u64, belongs: u8) -> bool {
        let code = layout::direct_pointer::<u8>(address);
        let count = self.count.get();
        // SAFETY: a byte of a process's memory, which the direct map holds.
        let byte = unsafe { code.read_volatile() };
        if byte == INT3 && self.addresses[..count].iter().any(|known| known.get() == address) {
            return true;
        }
        let Some(place) = self.addresses.get(count) else { return false };
        place.set(address);
        self.bytes[count].set(if byte == INT3 { belongs } else { byte });
        self.count.set(count + 1);
        // SAFETY: as above; it is the start of an instruction, or gdb is wrong.
        unsafe { code.write_volatile(INT3) };
        true
    }
}

/// Takes all breakpoints out of the memory of processes, before a frame goes from hand to hand.
pub(crate) fn clear_frames() {
    let count = IN_FRAMES.count.replace(0);
    for (address, belongs) in IN_FRAMES.addresses.iter().zip(&IN_FRAMES.bytes).take(count) {
        let code = layout::direct_pointer::<u8>(address.get());
        // SAFETY: a byte of a frame that processes or VM have had since `add`, or this would have been called.
        let byte = unsafe { code.read_volatile() };
        if byte == INT3 {
            // SAFETY: as above.
            unsafe { code.write_volatile(belongs.get()) };
        }
    }
}

/// No debug register is on (Intel SDM 3B, 17.2.4: bit 10 is always set).
pub(crate) const DR7_NONE: u64 = 1 << 10;
/// `int3`
pub(crate) const INT3: u8 = 0xcc;

/// Something that the kernel can stop and hand to its debugger.
pub trait Debugged {
    /// The kernel has stopped by `trap`, with these registers, which it goes on with afterwards. `false` if nobody
    /// debugs that: a defect.
    fn trapped(&mut self, trap: Trap, cpu: &mut Cpu) -> bool;
}

/// Has exceptions in the kernel reach `debugged`, wherever they strike. It lives as long as the kernel.
pub fn register<T: Debugged>(debugged: &mut T) {
    fn call<T: Debugged>(debugged: *mut (), trap: Trap, cpu: &mut Cpu) -> bool {
        // SAFETY: `register` got it for as long as the kernel lives, and the code that holds it stands still at the
        // instruction that trapped, as it would for a debugger outside of the machine.
        let debugged = unsafe { &mut *debugged.cast::<T>() };
        debugged.trapped(trap, cpu)
    }
    DOOR.handler.set(Some((call::<T>, (&raw mut *debugged).cast())));
}

/// Stops the kernel here, as by a breakpoint.
#[inline(never)]
pub fn pause<T: Debugged>(debugged: &mut T) {
    // SAFETY: the debugger changes what it was registered with, which is given to it here once more; registers and
    // flags stay as they are.
    unsafe { asm!("call kernel_pause", in("rdi") &raw mut *debugged, clobber_abi("sysv64")) };
}

/// Stops the kernel in its debugger, if one is there, for it has panicked. It goes on when the debugger lets it.
#[inline(never)]
pub fn panicked() {
    // On the stack of an exception there is no room for another one; and of that the debugger has heard, if one is there.
    if !crate::trap::has_faulted() {
        // SAFETY: without a debugger nothing happens; with one, registers and flags stay as they are.
        unsafe { asm!("call kernel_panicked", clobber_abi("sysv64")) };
    }
}

unsafe extern "C" {
    static kernel_pause: u8;
    static kernel_panicked: u8;
}

/// Registers of the kernel as `vector_common` stores them, and the words that the processor pushes.
#[repr(C)]
pub(crate) struct KernelFrame {
    general: [u64; 15],
    pub(crate) vector: u64,
    pub(crate) code: u64,
    pub(crate) rip: u64,
    cs: u64,
    rflags: u64,
    pub(crate) rsp: u64,
    ss: u64,
}

impl KernelFrame {
    /// The frame pointer.
    pub(crate) const fn rbp(&self) -> u64 {
        self.general[Name::Rbp as usize]
    }

    fn cpu(&self, float: &FloatRegisters) -> Cpu {
        let mut registers = [0; 18];
        registers[..15].copy_from_slice(&self.general);
        registers[Name::Rip as usize] = self.rip;
        registers[Name::Rflags as usize] = self.rflags;
        registers[Name::Rsp as usize] = self.rsp;
        Cpu { registers, float: *float }
    }

    fn set(&mut self, cpu: &Cpu) {
        self.general.copy_from_slice(&cpu.registers[..15]);
        self.rip = cpu.registers[Name::Rip as usize];
        self.rflags = cpu.registers[Name::Rflags as usize];
        self.rsp = cpu.registers[Name::Rsp as usize];
    }
}

/// Hands an exception in the kernel to the debugger. `false` if there is none, or it is the debugger's own.
pub(crate) fn handle(frame: &mut KernelFrame, float: &mut FloatRegisters) -> bool {
    const DEBUG: u64 = 1;
    const BREAKPOINT: u64 = 3;
    let Some((handler, debugged)) = DOOR.handler.get() else { return false };
    if DOOR.is_open.replace(true) {
        return false;
    }
    descriptors::exchange_stacks();
    let started_at = timer::time_stamp();
    let ticks = [Register::Timer, Register::TimerInitial].map(apic::read);
    apic::stop_timer();
    let watched = watchdog::rest();
    let pause = (&raw const kernel_pause).addr() as u64;
    let trap = match frame.vector {
        BREAKPOINT if frame.rip == pause + 1 => Trap::Pause,
        BREAKPOINT if is_panic(frame) => Trap::Panic,
        BREAKPOINT => Trap::Breakpoint,
        DEBUG => Trap::Debug,
        vector => Trap::Exception(u8::try_from(vector).unwrap_or(u8::MAX)),
    };
    let mut cpu = frame.cpu(float);
    let goes_on = handler(debugged, trap, &mut cpu);
    if goes_on {
        frame.set(&cpu);
        *float = cpu.float;
    }
    apic::write(Register::Timer, ticks[0]);
    apic::write(Register::TimerInitial, ticks[1]);
    timer::skip(timer::time_stamp() - started_at);
    if watched {
        watchdog::set_back();
    }
    descriptors::exchange_stacks();
    DOOR.is_open.set(false);
    goes_on
}

/// Tells whether the kernel says that it has [panicked], which is over when it has.
pub(crate) fn is_panic(frame: &KernelFrame) -> bool {
    frame.rip == (&raw const kernel_panicked).addr() as u64 + 1
}

/// Changes a byte of the kernel's code.
fn write_code(address: u64, byte: u8) {
    use x86_64::registers::control::Cr0Flags;
    let to = core::ptr::with_exposed_provenance_mut::<u8>(to_usize(address));
    // SAFETY: interrupts are off, and write protection is on again before anything else happens.
    unsafe { Cr0::update(|flags| flags.remove(Cr0Flags::WRITE_PROTECT)) };
    // SAFETY: `break_kernel` found a byte of code there; it is the start of an instruction, or gdb is wrong.
    unsafe { to.write_volatile(byte) };
    // SAFETY: as it was.
    unsafe { Cr0::update(|flags| flags.insert(Cr0Flags::WRITE_PROTECT)) };
}

/// Has the processor watch again what a debugger has asked for, after an exception of a process for which it was off.
pub(crate) fn watch_again() {
    write_dr7(IN_KERNEL.watched.get());
}

fn write_dr7(value: u64) {
    // SAFETY: what a debug register causes is an exception, which `vector_common` deals with.
    unsafe { asm!("mov dr7, {}", in(reg) value, options(nomem, nostack, preserves_flags)) };
}

/// Reads memory that a walk finds, up to the first page that is missing. How many bytes.
fn walk(
    space: Option<&AddressSpace>,
    address: u64,
    len: usize,
    is_written: bool,
    mut visit: impl FnMut(usize, Page),
) -> usize {
    let is_user = address < USER_END;
    let (mut walk, needs) = match space {
        Some(space) if is_user => (space.walk(), Permissions::user(is_written)),
        _ if !is_user => (kernel_walk(), Permissions::kernel(is_written)),
        _ => return 0,
    };
    let mut done = 0;
    while done < len {
        let Some(at) = address.checked_add(done as u64) else { break };
        // Addresses between the halves lead nowhere, and device registers have effects when they are read.
        let is_there = at < USER_END || at >= layout::DIRECT_MAP && !layout::is_device(at);
        let Some(page) = is_there.then(|| walk.page(at, needs)).flatten() else { break };
        let bytes = to_usize(page.bytes).min(len - done);
        visit(done, Page { address: page.address, bytes: bytes as u64 });
        done += bytes;
    }
    done
}

impl Debuggable for Hardware {
    fn peek(&mut self, space: Option<&AddressSpace>, address: u64, into: &mut [u8]) -> usize {
        walk(space, address, into.len(), false, |done, page| {
            let from = layout::direct_pointer::<u8>(page.address);
            let to = &mut into[done..done + to_usize(page.bytes)];
            for (index, byte) in to.iter_mut().enumerate() {
                // SAFETY: memory that a page table leads to, which the direct map holds. Others may refer to it, but
                // stand still.
                *byte = unsafe { from.wrapping_add(index).read_volatile() };
            }
        })
    }

    fn poke(&mut self, space: Option<&AddressSpace>, address: u64, from: &[u8]) -> usize {
        if walk(space, address, from.len(), true, |_, _| {}) < from.len() {
            return 0;
        }
        walk(space, address, from.len(), true, |done, page| {
            let to = layout::direct_pointer::<u8>(page.address);
            for (index, byte) in from[done..done + to_usize(page.bytes)].iter().enumerate() {
                // SAFETY: as in `peek`; what a debugger writes there is its user's responsibility.
                unsafe { to.wrapping_add(index).write_volatile(*byte) };
            }
        })
    }

    fn break_process(&mut self, space: &AddressSpace, address: u64, belongs: u8) -> bool {
        let mut is_there = false;
        walk(Some(space), address, 1, false, |_, page| is_there = IN_FRAMES.add(page.address, belongs));
        is_there
    }

    fn clear_processes(&mut self) {
        clear_frames();
    }

    fn can_stop_kernel_at(&self, address: u64) -> bool {
        layout::text().contains(address) && !trap::is_way_to_debugger(address)
    }

    fn can_watch_kernel_at(&self, address: u64, len: u64) -> bool {
        !trap::vector_stacks().any(|stack| address < stack.end && stack.start < address.saturating_add(len))
    }

    fn break_kernel(&mut self, address: u64) -> bool {
        if IN_KERNEL.breakpoints().any(|(known, _)| known == address) {
            return true;
        }
        let mut byte = [0];
        let index = crate::paging::to_usize(IN_KERNEL.count.get().into());
        if !self.can_stop_kernel_at(address)
            || index >= BREAKPOINTS
            || self.peek(None, address, &mut byte) == 0
        {
            return false;
        }
        IN_KERNEL.addresses[index].set(address);
        IN_KERNEL.bytes[index].set(byte[0].into());
        IN_KERNEL.count.update(|count| count + 1);
        if !DOOR.is_open.get() {
            write_code(address, INT3);
        }
        true
    }

    fn clear_kernel(&mut self) {
        if !DOOR.is_open.get() {
            IN_KERNEL.breakpoints().for_each(|(address, byte)| write_code(address, byte));
        }
        IN_KERNEL.count.set(0);
    }

    fn set_hardware(&mut self, points: &[Option<kernel_debug::machine::Hardware>; HARDWARE]) {
        let mut control = DR7_NONE;
        let mut addresses = [0; HARDWARE];
        for (index, point) in points.iter().enumerate() {
            let Some(point) = point else { continue };
            addresses[index] = point.address;
            // Intel SDM 3B, 17.2.4: global enable, then type and length, two bits each.
            let access = match point.access {
                Access::Execute => 0b00,
                Access::Write => 0b01,
                Access::ReadWrite => 0b11,
            };
            let len = match point.len {
                2 => 0b01,
                4 => 0b11,
                8 => 0b10,
                _ => 0b00,
            };
            control |= 2 << (2 * index) | (access | len << 2) << (16 + 4 * index);
        }
        let [dr0, dr1, dr2, dr3] = addresses;
        write_dr7(DR7_NONE);
        // SAFETY: nothing is watched at the moment.
        unsafe { asm!("mov dr0, {}", in(reg) dr0, options(nomem, nostack, preserves_flags)) };
        // SAFETY: as above.
        unsafe { asm!("mov dr1, {}", in(reg) dr1, options(nomem, nostack, preserves_flags)) };
        // SAFETY: as above.
        unsafe { asm!("mov dr2, {}", in(reg) dr2, options(nomem, nostack, preserves_flags)) };
        // SAFETY: as above.
        unsafe { asm!("mov dr3, {}", in(reg) dr3, options(nomem, nostack, preserves_flags)) };
        IN_KERNEL.watched.set(control);
        if !DOOR.is_open.get() {
            write_dr7(control);
        }
    }

    fn take_debug_status(&mut self) -> u64 {
        const NOTHING: u64 = 0xffff_0ff0;
        let status: u64;
        // SAFETY: reads a register.
        unsafe { asm!("mov {}, dr6", out(reg) status, options(nomem, nostack, preserves_flags)) };
        // SAFETY: the register only tells what happened.
        unsafe { asm!("mov dr6, {}", in(reg) NOTHING, options(nomem, nostack, preserves_flags)) };
        status
    }

    fn control(&self) -> Control {
        Control {
            cr0: Cr0::read_raw(),
            cr2: Cr2::read_raw(),
            cr4: Cr4::read_raw(),
            fs_base: FsBase::read().as_u64(),
            gs_base: GsBase::read().as_u64(),
            user_segments: descriptors::USER_SEGMENTS,
            kernel_segments: descriptors::KERNEL_SEGMENTS,
        }
    }

    fn root(&self, space: Option<&AddressSpace>) -> u64 {
        space.map_or_else(|| Cr3::read().0.start_address().as_u64(), AddressSpace::root)
    }

    fn pages(&self, space: &AddressSpace, visit: &mut dyn FnMut(Pages)) {
        space.pages(visit);
    }

    fn reset(&mut self) -> ! {
        crate::report::reset()
    }
}
