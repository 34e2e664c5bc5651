//! The machine, as kernel-core sees it.

use crate::apic::{self, Repeat};
use crate::context::Context;
use crate::copy;
use crate::debug;
use crate::descriptors;
use crate::memory::PhysicalMemory;
use crate::paging::AddressSpace;
use crate::port;
use crate::report;
use crate::timer::{self, Frequencies};
use crate::trap::{self, SYSTEM_CALL};
use crate::watchdog;
use abi::protocols::Width;
use abi::report::Report;
use abi::{Endpoint, Errno, PageAccess};
use kernel_core::command_line::Timer;
use kernel_core::elf::Access;
use kernel_core::fault::Fault;
use kernel_core::frames::NotGiven;
use kernel_core::load::OutOfMemory;
use kernel_core::machine::Machine;
use kernel_core::memory::{CopyFault, PhysicalRange, Place, Side, UserPage};
use x86_64::PhysAddr;

/// The processor, its interrupt controllers, and all of memory.
#[derive(Debug)]
pub struct Hardware {
    /// Memory that nobody uses.
    pub memory: PhysicalMemory,
    frequencies: Frequencies,
    is_ticking: bool,
}

/// What ended a stretch of a process.
#[derive(Clone, Copy, Debug)]
pub enum Exit {
    /// It asked for an IPC primitive.
    Trap {
        /// Which.
        number: u64,
        /// Its endpoint.
        endpoint: Endpoint,
    },
    /// Anything else, which it didn't ask for.
    Struck(Struck),
}

/// A vector that ended a stretch of a process. Nothing more, so that the shortest way through the kernel, on which
/// there is none, keeps it in registers.
#[derive(Clone, Copy, Debug)]
pub struct Struck(trap::Exit);

/// What happened while a process ran, or nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The processor refused an instruction of the process.
    Fault(Fault),
    /// The clock ticked.
    Tick,
    /// A device raised its line.
    Interrupt(u8),
    /// There is something on the debugger's line.
    Debugger,
    /// Nothing that anybody waits for.
    Spurious,
}

/// Sets up the processor's tables and the interrupt controllers. Called once, when memory is set up.
pub fn init() {
    descriptors::init();
    apic::init();
}

impl Hardware {
    /// Ticks a second.
    const TICK_HZ: u32 = 1000;

    /// Sets up the timers.
    #[must_use]
    pub fn new(memory: PhysicalMemory, timer: Timer) -> Self {
        let frequencies = Frequencies::find(timer);
        timer::start(frequencies);
        Self { memory, frequencies, is_ticking: false }
    }

    /// Runs a process until something happens.
    #[inline]
    pub fn run(&mut self, context: &mut Context, space: &AddressSpace) -> Exit {
        if !self.is_ticking {
            self.start_ticking();
        }
        space.load();
        // SAFETY: the process's own space was just loaded, and `Context` gives its flags and segments only as it made them.
        let exit = unsafe { trap::run(context) };
        if exit.vector == SYSTEM_CALL {
            return Exit::Trap { number: context.rax, endpoint: endpoint(context.rdi) };
        }
        Exit::Struck(Struck(exit))
    }

    #[inline(never)]
    fn start_ticking(&mut self) {
        self.is_ticking = true;
        let count = self.frequencies.apic_timer_hz / u64::from(Self::TICK_HZ);
        apic::start_timer(Repeat::Forever, u32::try_from(count).unwrap_or(u32::MAX).max(1));
    }

    /// Waits until a device interrupts, or until the uptime `until_ns`, which is a tick. The clock
    /// doesn't tick meanwhile: nobody is there whose quantum could run out.
    pub fn wait(&mut self, until_ns: Option<u64>) -> Event {
        self.is_ticking = false;
        watchdog::rest();
        match until_ns {
            None => apic::stop_timer(),
            Some(until_ns) => apic::start_timer(Repeat::Once, self.counts_until(until_ns)),
        }
        let vector = timer::idle(trap::wait_for_interrupt);
        watchdog::set_back();
        interrupt(vector)
    }

    /// How far the timer has to count to reach a time, or as far as it can.
    fn counts_until(&mut self, until_ns: u64) -> u32 {
        let left_ns = u128::from(until_ns.saturating_sub(self.uptime_ns()));
        // Rounded up: a tick that comes too early would be another wait.
        let counts = (left_ns * u128::from(self.frequencies.apic_timer_hz)).div_ceil(1_000_000_000);
        u32::try_from(counts).unwrap_or(u32::MAX).max(1)
    }

    /// Lets a device interrupt in the middle of a long kernel call.
    pub fn poll(&mut self) -> Event {
        interrupt(trap::poll_interrupt())
    }
}

const fn access_of(access: PageAccess) -> Access {
    match access {
        PageAccess::Read => Access::Read,
        PageAccess::Write => Access::Write,
        PageAccess::Execute => Access::Execute,
    }
}

/// Vectors that say nothing about the process that ran.
const NMI: u64 = trap::NMI as u64;
const DOUBLE_FAULT: u64 = 8;
const MACHINE_CHECK: u64 = 18;

/// The endpoint in a register: one with more than 32 bits is nobody's.
#[inline]
fn endpoint(register: u64) -> Endpoint {
    u32::try_from(register).map_or(Endpoint::NONE, Endpoint::from_bits)
}

impl Struck {
    /// What the vector means.
    #[must_use]
    pub fn event(self) -> Event {
        let Self(trap::Exit { vector, code }) = self;
        match vector {
            NMI if watchdog::has_struck_early() => Event::Spurious,
            NMI => panic!("{}", trap::STUCK),
            DOUBLE_FAULT | MACHINE_CHECK => panic!("the machine reports trouble by vector {vector}"),
            0..32 => {
                debug::watch_again();
                Event::Fault(fault(vector, code))
            }
            _ => interrupt(vector),
        }
    }
}

fn fault(vector: u64, code: u64) -> Fault {
    use kernel_core::fault::Access;
    const PAGE_FAULT: u64 = 14;
    if vector != PAGE_FAULT {
        return Fault::Exception { vector: u8::try_from(vector).unwrap_or(u8::MAX), code };
    }
    // Intel SDM 3A, 4.7: bit 1 tells of a write, bit 4 of an instruction fetch.
    let access = match (code & 1 << 4 != 0, code & 1 << 1 != 0) {
        (true, _) => Access::Execute,
        (false, true) => Access::Write,
        (false, false) => Access::Read,
    };
    Fault::Page { address: x86_64::registers::control::Cr2::read_raw(), access }
}

/// Tells the controller that the interrupt is being dealt with, and what it means.
fn interrupt(vector: u64) -> Event {
    let Ok(vector) = u8::try_from(vector) else { return Event::Spurious };
    let lines = apic::FIRST_LINE..apic::FIRST_LINE + apic::LINES;
    let event = match vector {
        apic::TIMER => {
            watchdog::set_back();
            Event::Tick
        }
        apic::DEBUGGER => Event::Debugger,
        vector if lines.contains(&vector) => Event::Interrupt(vector - apic::FIRST_LINE),
        _ => return Event::Spurious,
    };
    apic::end_of_interrupt();
    event
}

impl Machine for Hardware {
    type Context = Context;
    type Space = AddressSpace;

    fn uptime_ns(&mut self) -> u64 {
        timer::uptime_ns()
    }

    fn busy_and_idle_ns(&mut self) -> (u64, u64) {
        timer::busy_and_idle_ns()
    }

    fn tick_hz(&self) -> u32 {
        Self::TICK_HZ
    }

    fn log(&mut self, byte: u8) {
        port::log(byte);
    }

    fn let_inspect(&mut self) {
        port::let_inspect();
    }

    fn report(&mut self, report: &Report) {
        report::report(report);
    }

    fn read_port(&mut self, port: u16, width: Width) -> u32 {
        match width {
            Width::Byte => u32::from(port::read_u8(port)),
            Width::Word => u32::from(port::read_u16(port)),
            Width::Long => port::read_u32(port),
        }
    }

    fn write_port(&mut self, port: u16, width: Width, value: u32) {
        let [low, high, ..] = value.to_le_bytes();
        match width {
            Width::Byte => port::write_u8(port, low),
            Width::Word => port::write_u16(port, u16::from_le_bytes([low, high])),
            Width::Long => port::write_u32(port, value),
        }
    }

    fn irq_lines(&self) -> u8 {
        apic::LINES
    }

    fn set_irq_enabled(&mut self, line: u8, enabled: bool) {
        apic::set_line(line, enabled);
    }

    fn release(&mut self, space: Self::Space) {
        debug::clear_frames();
        space.release(&mut self.memory);
    }

    fn new_space(&mut self) -> Option<Self::Space> {
        AddressSpace::new(&mut self.memory).ok()
    }

    fn trace(&self, context: &Context, space: &Self::Space, visit: &mut dyn FnMut(u64)) {
        let mut frame = context.rbp;
        for _ in 0..64 {
            let Some((next, address)) = space.read_u64(frame).zip(space.read_u64(frame.wrapping_add(8)))
            else {
                return;
            };
            if address == 0 {
                return;
            }
            visit(address);
            if next <= frame {
                return;
            }
            frame = next;
        }
    }

    fn copy(&mut self, from: Place<'_, AddressSpace>, to: Place<'_, AddressSpace>) -> Result<(), CopyFault> {
        copy::copy(&self.memory, &from, &to)
    }

    fn fill(&mut self, to: Place<'_, AddressSpace>, byte: u8) -> Result<(), CopyFault> {
        copy::fill(&self.memory, &to, byte)
    }

    fn read(&mut self, from: Place<'_, AddressSpace>, into: &mut [u8]) -> Result<(), CopyFault> {
        copy::read(&self.memory, &from, into)
    }

    fn write(&mut self, from: &[u8], to: Place<'_, AddressSpace>) -> Result<(), CopyFault> {
        copy::write(&self.memory, from, &to)
    }

    fn translate(&mut self, place: &Place<'_, AddressSpace>, side: Side) -> Result<PhysicalRange, CopyFault> {
        copy::translate(&self.memory, place, side)
    }

    fn take_frames(&mut self, count: u32) -> Option<u64> {
        self.memory.lend(usize::try_from(count).ok()?)
    }

    fn give_frames(&mut self, frames: PhysicalRange) -> Result<(), Errno> {
        self.memory.take_back(frames).map_err(|why| match why {
            NotGiven::NotVms => Errno::EPERM,
            NotGiven::Mapped => Errno::EBUSY,
        })
    }

    fn map_page(
        &mut self,
        space: &mut AddressSpace,
        page: UserPage,
        frame: PhysicalRange,
        access: PageAccess,
    ) -> Result<(), Errno> {
        if !self.memory.are_vms(frame) {
            return Err(Errno::EPERM);
        }
        let frame = PhysAddr::new(frame.start());
        let mapped = space.map_lent(&mut self.memory, page, frame, access_of(access));
        mapped.map_err(|OutOfMemory| Errno::ENOMEM)?.ok_or(Errno::EEXIST)
    }

    fn map_device(
        &mut self,
        space: &mut AddressSpace,
        page: UserPage,
        device: PhysicalRange,
        access: PageAccess,
    ) -> Result<(), Errno> {
        if !crate::paging::is_free_device(&self.memory, device.start()) {
            return Err(Errno::EPERM);
        }
        let device = PhysAddr::new(device.start());
        let mapped = space.map_device(&mut self.memory, page, device, access_of(access));
        mapped.map_err(|OutOfMemory| Errno::ENOMEM)?.ok_or(Errno::EEXIST)
    }

    fn unmap_page(&mut self, space: &mut AddressSpace, page: UserPage) -> Option<u64> {
        debug::clear_frames();
        space.unmap(&mut self.memory, page)
    }

    fn unmap_devices(&mut self, space: &mut AddressSpace) {
        space.unmap_devices();
    }

    fn protect_page(&mut self, space: &mut AddressSpace, page: UserPage, access: PageAccess) -> Option<()> {
        space.protect(page, access_of(access))
    }
}
