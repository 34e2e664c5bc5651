//! A machine of plain data and a line of plain bytes: what a debugger does to them can be read back.

use crate::machine::{BREAKPOINTS, Control, Debuggable, HARDWARE, Hardware, Line, PLACES, Pages};
use abi::ipc::Status;
use abi::protocols::Width;
use abi::registers::{FloatRegisters, Register, Registers as General};
use abi::{Callers, Errno, Message, Name, PageAccess, boot};
use kernel_core::elf::USER_END;
use kernel_core::machine::{BadContext, Context, Machine};
use kernel_core::memory::{CopyFault, PhysicalRange, Place, Side, UserPage};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};

pub(crate) const PAGE: u64 = 4096;
/// The kernel's code, which it can't write.
pub(crate) const KERNEL_TEXT: u64 = 0xffff_ffff_8010_0000;
/// As much of its start leads to the debugger.
pub(crate) const DEBUGGER_CODE: u64 = 16;
/// The kernel's data; behind it is nothing.
pub(crate) const KERNEL_DATA: u64 = KERNEL_TEXT + PAGE;
/// As much of the end of that is the stack by which the debugger is reached.
pub(crate) const STACK: u64 = 64;
/// A process's code, which it can't write.
pub(crate) const TEXT: u64 = 0x1000_0000;
/// A process's data; behind it is nothing.
pub(crate) const DATA: u64 = TEXT + PAGE;

/// A page, and whether it can be written by whose it is.
#[derive(Clone, Debug)]
struct Page {
    bytes: Vec<u8>,
    is_writable: bool,
}

/// What a process is that may do everything.
pub(crate) fn service(slot: u16) -> boot::Process {
    boot::Process {
        name: Name::new(&format!("s{slot}")).expect("a name"),
        file: Name::new("file").expect("a name"),
        slot,
        class: Callers::SERVICE,
        priority: 7,
        quantum_ms: 2,
        stack_bytes: 0,
        heap_bytes: 0,
        traps: u32::MAX,
        kernel_calls: u128::MAX,
        grants_magic: true,
        ends_machine: false,
    }
}

/// The machine. A space is the number of a process; the kernel has none. It takes no memory while it works.
#[derive(Debug)]
pub(crate) struct Fake {
    log: Vec<u8>,
    pages: BTreeMap<(Option<u16>, u64), Page>,
    /// Breakpoints in the kernel, and what belongs there.
    in_kernel: Vec<(u64, u8)>,
    /// The same in processes.
    in_processes: Vec<(u16, u64, u8)>,
    /// Code of processes that have ended.
    pub(crate) released: Vec<u8>,
    pub(crate) hardware: [Option<Hardware>; HARDWARE],
    pub(crate) debug_status: u64,
    /// The space that the processor has.
    pub(crate) loaded: Option<u16>,
}

impl Fake {
    /// Has a kernel and these processes, each with a page of code and one of data.
    pub(crate) fn with_processes(count: u16) -> Self {
        let mut fake = Self {
            log: Vec::with_capacity(1 << 16),
            pages: BTreeMap::new(),
            in_kernel: Vec::with_capacity(BREAKPOINTS),
            in_processes: Vec::with_capacity(PLACES),
            released: Vec::new(),
            hardware: [None; HARDWARE],
            debug_status: 0,
            loaded: None,
        };
        fake.map(None, KERNEL_TEXT, 0x90, false);
        fake.map(None, KERNEL_DATA, 0, true);
        for space in 0..count {
            fake.map(Some(space), TEXT, 0x90, false);
            fake.map(Some(space), DATA, 0, true);
        }
        fake
    }

    pub(crate) fn map(&mut self, space: Option<u16>, address: u64, byte: u8, is_writable: bool) {
        let bytes = vec![byte; usize::try_from(PAGE).expect("a page is small")];
        self.pages.insert((space, address), Page { bytes, is_writable });
    }

    pub(crate) fn unmap(&mut self, space: u16, address: u64) {
        self.pages.remove(&(Some(space), address)).expect("a page is there");
    }

    /// Writes a byte of a process's, wherever it is.
    pub(crate) fn set_byte(&mut self, space: u16, address: u64, byte: u8) {
        *self.byte_mut(Some(&space), address, false).expect("a page is there") = byte;
    }

    /// The byte there, for whoever may look.
    pub(crate) fn byte(&self, space: Option<u16>, address: u64) -> Option<u8> {
        let page = self.pages.get(&(space, address & !(PAGE - 1)))?;
        page.bytes.get(usize::try_from(address % PAGE).ok()?).copied()
    }

    fn byte_mut(&mut self, space: Option<&u16>, address: u64, is_written: bool) -> Option<&mut u8> {
        if space.is_some() != (address < USER_END) {
            return None;
        }
        let page = self.pages.get_mut(&(space.copied(), address & !(PAGE - 1)))?;
        let is_allowed = page.is_writable || !is_written;
        page.bytes.get_mut(usize::try_from(address % PAGE).ok()?).filter(|_| is_allowed)
    }

    /// All code, to be compared.
    pub(crate) fn code(&self) -> Vec<(Option<u16>, u64, Vec<u8>)> {
        let code = self.pages.iter().filter(|(_, page)| !page.is_writable);
        code.map(|((space, address), page)| (*space, *address, page.bytes.clone())).collect()
    }
}

impl Debuggable for Fake {
    fn peek(&mut self, space: Option<&u16>, address: u64, into: &mut [u8]) -> usize {
        for (done, to) in into.iter_mut().enumerate() {
            let from = address.checked_add(done as u64).and_then(|at| self.byte_mut(space, at, false));
            let Some(from) = from else { return done };
            *to = *from;
        }
        into.len()
    }
    fn poke(&mut self, space: Option<&u16>, address: u64, from: &[u8]) -> usize {
        let place = |done: usize| address.checked_add(u64::try_from(done).ok()?);
        let is_there = |done| place(done).is_some_and(|at| self.byte_mut(space, at, true).is_some());
        if !(0..from.len()).all(is_there) {
            return 0;
        }
        for (done, byte) in from.iter().enumerate() {
            let to = place(done).and_then(|at| self.byte_mut(space, at, true));
            to.into_iter().for_each(|to| *to = *byte);
        }
        from.len()
    }
    fn break_process(&mut self, space: &u16, address: u64, belongs: u8) -> bool {
        if self.in_processes.iter().any(|(owner, known, _)| (owner, *known) == (space, address)) {
            return true;
        }
        if self.in_processes.len() >= PLACES {
            return false;
        }
        let Some(byte) = self.byte_mut(Some(space), address, false) else { return false };
        let before = core::mem::replace(byte, 0xcc);
        self.in_processes.push((*space, address, if before == 0xcc { belongs } else { before }));
        true
    }
    fn clear_processes(&mut self) {
        while let Some((space, address, belongs)) = self.in_processes.pop() {
            let byte = self.byte_mut(Some(&space), address, false);
            byte.into_iter().filter(|byte| **byte == 0xcc).for_each(|byte| *byte = belongs);
        }
    }
    fn can_stop_kernel_at(&self, address: u64) -> bool {
        (KERNEL_TEXT + DEBUGGER_CODE..KERNEL_DATA).contains(&address)
    }
    fn can_watch_kernel_at(&self, address: u64, len: u64) -> bool {
        address.saturating_add(len) <= KERNEL_DATA + PAGE - STACK || address >= KERNEL_DATA + PAGE
    }
    fn break_kernel(&mut self, address: u64) -> bool {
        if !self.can_stop_kernel_at(address) {
            return false;
        }
        if self.in_kernel.iter().any(|(known, _)| *known == address) {
            return true;
        }
        let Some(byte) = self.byte_mut(None, address, false) else { return false };
        let before = core::mem::replace(byte, 0xcc);
        self.in_kernel.push((address, before));
        true
    }
    fn clear_kernel(&mut self) {
        while let Some((address, before)) = self.in_kernel.pop() {
            self.byte_mut(None, address, false).into_iter().for_each(|byte| *byte = before);
        }
    }
    fn set_hardware(&mut self, points: &[Option<Hardware>; HARDWARE]) {
        self.hardware = *points;
    }
    fn take_debug_status(&mut self) -> u64 {
        core::mem::take(&mut self.debug_status)
    }
    fn control(&self) -> Control {
        Control { cr0: 1, cr2: 2, cr4: 4, user_segments: [0x23, 0x1b], ..Control::default() }
    }
    fn root(&self, space: Option<&u16>) -> u64 {
        space.copied().or(self.loaded).map_or(0x1000, |space| 0x10_0000 + u64::from(space) * PAGE)
    }
    fn pages(&self, space: &u16, visit: &mut dyn FnMut(Pages)) {
        for ((_, start), page) in self.pages.iter().filter(|((owner, _), _)| *owner == Some(*space)) {
            visit(Pages {
                start: *start,
                end: start + PAGE,
                is_writable: page.is_writable,
                is_executable: !page.is_writable,
                is_lent: false,
            });
        }
    }
    fn reset(&mut self) -> ! {
        panic!("the machine is reset");
    }
}

/// Registers of a process. Float registers that begin with 0xff are such as no processor has.
#[derive(Clone, Debug)]
pub(crate) struct Registers {
    message: Message,
    general: General,
    float: FloatRegisters,
}

impl Registers {
    pub(crate) fn new() -> Self {
        let mut general = General::default();
        general[Register::Rip as usize] = TEXT;
        general[Register::Rsp as usize] = DATA + 0x800;
        Self { message: Message::zeroed(), general, float: [0; 512] }
    }
}

impl Context for Registers {
    fn message(&self) -> &Message {
        &self.message
    }
    fn message_mut(&mut self) -> &mut Message {
        &mut self.message
    }
    fn set_result(&mut self, _: i32) {}
    fn set_status(&mut self, _: Status) {}
    fn instruction_pointer(&self) -> u64 {
        self.general[Register::Rip as usize]
    }
    fn registers(&self) -> General {
        self.general
    }
    fn set_registers(&mut self, registers: &General) -> Result<(), BadContext> {
        if registers[Register::Rip as usize] >= USER_END {
            return Err(BadContext);
        }
        self.general = *registers;
        Ok(())
    }
    fn float(&self) -> FloatRegisters {
        self.float
    }
    fn set_float(&mut self, float: &FloatRegisters) -> Result<(), BadContext> {
        if float[0] == 0xff {
            return Err(BadContext);
        }
        self.float = *float;
        Ok(())
    }
    fn reset_float(&mut self) {
        self.float = [0; 512];
    }
    fn set_single_step(&mut self, on: bool) {
        let flags = &mut self.general[Register::Rflags as usize];
        *flags = if on { *flags | 0x100 } else { *flags & !0x100 };
    }
    fn repeat_trap(&mut self) {}
}

/// What nobody asks for where only a debugger does anything.
const UNUSED: &str = "a debugger doesn't do that";

impl Machine for Fake {
    type Context = Registers;
    type Space = u16;

    fn uptime_ns(&mut self) -> u64 {
        1_000_000
    }
    fn busy_and_idle_ns(&mut self) -> (u64, u64) {
        (900_000, 100_000)
    }
    fn tick_hz(&self) -> u32 {
        1000
    }
    fn report(&mut self, _: &abi::report::Report) {}
    fn let_inspect(&mut self) {}
    fn log(&mut self, byte: u8) {
        self.log.push(byte);
    }
    fn read_port(&mut self, _: u16, _: Width) -> u32 {
        unimplemented!("{UNUSED}")
    }
    fn write_port(&mut self, _: u16, _: Width, _: u32) {
        unimplemented!("{UNUSED}")
    }
    fn irq_lines(&self) -> u8 {
        24
    }
    fn set_irq_enabled(&mut self, _: u8, _: bool) {}
    fn release(&mut self, space: u16) {
        self.clear_processes();
        let code = self.pages.extract_if(.., |(owner, _), page| *owner == Some(space) && !page.is_writable);
        self.released.extend(code.flat_map(|(_, page)| page.bytes));
    }
    fn new_space(&mut self) -> Option<u16> {
        None
    }
    fn trace(&self, _: &Registers, _: &u16, _: &mut dyn FnMut(u64)) {}
    fn copy(&mut self, _: Place<'_, u16>, _: Place<'_, u16>) -> Result<(), CopyFault> {
        unimplemented!("{UNUSED}")
    }
    fn fill(&mut self, _: Place<'_, u16>, _: u8) -> Result<(), CopyFault> {
        unimplemented!("{UNUSED}")
    }
    fn read(&mut self, from: Place<'_, u16>, into: &mut [u8]) -> Result<(), CopyFault> {
        let Place::Process { space, range } = from else { unimplemented!("{UNUSED}") };
        let done = self.peek(Some(space), range.start(), into) as u64;
        let fault = CopyFault { side: Side::Source, address: range.start() + done, done };
        if done == range.len() { Ok(()) } else { Err(fault) }
    }
    fn write(&mut self, _: &[u8], _: Place<'_, u16>) -> Result<(), CopyFault> {
        unimplemented!("{UNUSED}")
    }
    fn translate(&mut self, _: &Place<'_, u16>, _: Side) -> Result<PhysicalRange, CopyFault> {
        unimplemented!("{UNUSED}")
    }
    fn take_frames(&mut self, _: u32) -> Option<u64> {
        None
    }
    fn give_frames(&mut self, _: PhysicalRange) -> Result<(), Errno> {
        Err(Errno::EPERM)
    }
    fn map_page(&mut self, _: &mut u16, _: UserPage, _: PhysicalRange, _: PageAccess) -> Result<(), Errno> {
        Err(Errno::ENOMEM)
    }
    fn map_device(&mut self, _: &mut u16, _: UserPage, _: PhysicalRange, _: PageAccess) -> Result<(), Errno> {
        Err(Errno::ENOMEM)
    }
    fn unmap_page(&mut self, _: &mut u16, _: UserPage) -> Option<u64> {
        None
    }
    fn unmap_devices(&mut self, _: &mut u16) {}
    fn protect_page(&mut self, _: &mut u16, _: UserPage, _: PageAccess) -> Option<()> {
        None
    }
}

/// A line whose other end is a test.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wire(&'static RefCell<Bytes>);

#[derive(Debug)]
struct Bytes {
    to_kernel: VecDeque<u8>,
    from_kernel: Vec<u8>,
}

impl Wire {
    /// A line as the kernel has it: for as long as it runs.
    pub(crate) fn new() -> Self {
        let bytes = Bytes { to_kernel: VecDeque::new(), from_kernel: Vec::with_capacity(1 << 20) };
        Self(Box::leak(Box::new(RefCell::new(bytes))))
    }

    pub(crate) fn put(&self, bytes: &[u8]) {
        self.0.borrow_mut().to_kernel.extend(bytes);
    }

    pub(crate) fn is_read(&self) -> bool {
        self.0.borrow().to_kernel.is_empty()
    }

    /// What the kernel has sent since it was last asked.
    pub(crate) fn take(&self) -> Vec<u8> {
        self.0.borrow_mut().from_kernel.drain(..).collect()
    }
}

impl Line for Wire {
    fn send(&mut self, byte: u8) {
        self.0.borrow_mut().from_kernel.push(byte);
    }
    fn receive(&mut self) -> Option<u8> {
        self.0.borrow_mut().to_kernel.pop_front()
    }
    /// Whoever has nothing more to say has gone.
    fn wait(&mut self) -> bool {
        !self.is_read()
    }
    fn take_interrupt(&mut self) {}
    fn interrupt_again(&mut self) {}
}
