//! A machine of plain data, for tests: what the kernel does to it can be read back.

use crate::machine::{BadContext, Context, Machine};
use crate::memory::{CopyFault, PhysicalRange, Place, Side, UserPage};
use crate::process::Stops;
use crate::{Kernel, Next, OutOfTurn, Slot};
use abi::boot::{self, Pair};
use abi::ipc::{AsyncFlags, Primitive, Status};
use abi::protocols::Width;
use abi::protocols::kernel::{privilege_set_system, privilege_update};
use abi::registers::{FloatRegisters, Register, Registers as General};
use abi::report::Report;
use abi::{Call, Callers, Endpoint, Errno, Message, Name, PageAccess};
use std::collections::{BTreeMap, BTreeSet};

mod memory;

pub(crate) use memory::Memory;

/// The machine.
#[derive(Debug, Default)]
pub(crate) struct Fake {
    pub(crate) log: Vec<u8>,
    /// How many spaces were released each time that the machine could be looked at.
    pub(crate) inspections: Vec<usize>,
    pub(crate) busy_ns: u64,
    pub(crate) reports: Vec<Report>,
    pub(crate) ports: BTreeMap<u16, Vec<u32>>,
    pub(crate) open_lines: BTreeSet<u8>,
    pub(crate) released: Vec<u16>,
    pub(crate) memory: Memory,
    /// The next space that is asked for; 0 when memory is short.
    pub(crate) next_space: u16,
}

/// Registers.
#[derive(Clone, Debug)]
pub(crate) struct Registers {
    pub(crate) message: Message,
    /// `None` while the primitive has not returned.
    pub(crate) result: Option<i32>,
    pub(crate) status: Status,
    pub(crate) general: General,
    pub(crate) float: Float,
    pub(crate) single_step: bool,
}

/// Vector registers, of which only the first byte counts: 0xff is none that a processor has.
#[derive(Clone, Debug)]
pub(crate) struct Float(pub(crate) FloatRegisters);

impl Default for Registers {
    fn default() -> Self {
        let mut general = General::default();
        general[Register::Rip as usize] = 0x1000_0000;
        general[Register::Rsp as usize] = 0x8000;
        Self {
            message: Message::zeroed(),
            result: None,
            status: Status::default(),
            general,
            float: Float([0; 512]),
            single_step: false,
        }
    }
}

impl Context for Registers {
    fn message(&self) -> &Message {
        &self.message
    }
    fn message_mut(&mut self) -> &mut Message {
        &mut self.message
    }
    fn set_result(&mut self, result: i32) {
        self.result = Some(result);
    }
    fn set_status(&mut self, status: Status) {
        self.status = status;
    }
    fn instruction_pointer(&self) -> u64 {
        self.general[Register::Rip as usize]
    }
    fn registers(&self) -> General {
        self.general
    }
    fn set_registers(&mut self, registers: &General) -> Result<(), BadContext> {
        if registers[Register::Rip as usize] >= crate::elf::USER_END {
            return Err(BadContext);
        }
        self.general = *registers;
        Ok(())
    }
    fn float(&self) -> FloatRegisters {
        self.float.0
    }
    fn set_float(&mut self, float: &FloatRegisters) -> Result<(), BadContext> {
        if float[0] == 0xff {
            return Err(BadContext);
        }
        self.float.0 = *float;
        Ok(())
    }
    fn reset_float(&mut self) {
        self.float.0 = [0; 512];
    }
    fn set_single_step(&mut self, on: bool) {
        self.single_step = on;
    }
    fn repeat_trap(&mut self) {
        let at = &mut self.general[Register::Rip as usize];
        *at = at.wrapping_sub(2);
    }
}

impl Machine for Fake {
    type Context = Registers;
    /// The slot whose space it is.
    type Space = u16;

    fn uptime_ns(&mut self) -> u64 {
        1_000_000
    }
    fn busy_and_idle_ns(&mut self) -> (u64, u64) {
        (self.busy_ns, 100_000)
    }
    fn tick_hz(&self) -> u32 {
        1000
    }
    fn log(&mut self, byte: u8) {
        self.log.push(byte);
    }
    fn let_inspect(&mut self) {
        self.inspections.push(self.released.len());
    }
    fn report(&mut self, report: &Report) {
        self.reports.push(*report);
    }
    fn read_port(&mut self, port: u16, _: Width) -> u32 {
        u32::from(port)
    }
    fn write_port(&mut self, port: u16, _: Width, value: u32) {
        self.ports.entry(port).or_default().push(value);
    }
    fn irq_lines(&self) -> u8 {
        24
    }
    fn set_irq_enabled(&mut self, line: u8, enabled: bool) {
        if enabled {
            self.open_lines.insert(line);
        } else {
            self.open_lines.remove(&line);
        }
    }
    fn release(&mut self, space: u16) {
        self.released.push(space);
    }
    fn new_space(&mut self) -> Option<u16> {
        (self.next_space != 0).then(|| {
            self.next_space += 1;
            self.next_space - 1
        })
    }
    fn trace(&self, _: &Registers, _: &u16, visit: &mut dyn FnMut(u64)) {
        visit(0x1000_0010);
    }
    fn copy(&mut self, from: Place<'_, u16>, to: Place<'_, u16>) -> Result<(), CopyFault> {
        self.memory.copy(&from, &to)
    }
    fn fill(&mut self, to: Place<'_, u16>, byte: u8) -> Result<(), CopyFault> {
        self.memory.fill(&to, byte)
    }
    fn read(&mut self, from: Place<'_, u16>, into: &mut [u8]) -> Result<(), CopyFault> {
        self.memory.read(&from, into)
    }
    fn write(&mut self, from: &[u8], to: Place<'_, u16>) -> Result<(), CopyFault> {
        self.memory.write(from, &to)
    }
    fn translate(&mut self, place: &Place<'_, u16>, side: Side) -> Result<PhysicalRange, CopyFault> {
        self.memory.translate(place, side)
    }
    fn take_frames(&mut self, count: u32) -> Option<u64> {
        Some(self.memory.take_frames(count))
    }
    fn give_frames(&mut self, frames: PhysicalRange) -> Result<(), Errno> {
        self.memory.give_frames(frames)
    }
    fn map_page(
        &mut self,
        space: &mut u16,
        page: UserPage,
        frame: PhysicalRange,
        access: PageAccess,
    ) -> Result<(), Errno> {
        self.memory.map_page(*space, page, frame, access)
    }
    fn map_device(
        &mut self,
        space: &mut u16,
        page: UserPage,
        device: PhysicalRange,
        _: PageAccess,
    ) -> Result<(), Errno> {
        self.memory.map_device(*space, page, device)
    }
    fn unmap_page(&mut self, space: &mut u16, page: UserPage) -> Option<u64> {
        self.memory.unmap_page(*space, page)
    }
    fn unmap_devices(&mut self, space: &mut u16) {
        self.memory.devices.retain(|(of, _), _| of != space);
    }
    fn protect_page(&mut self, space: &mut u16, page: UserPage, access: PageAccess) -> Option<()> {
        if self.memory.devices.contains_key(&(*space, page.address())) {
            return Some(());
        }
        let page = self.memory.pages.get_mut(&(*space, page.address()))?;
        page.is_writable = access == PageAccess::Write;
        Some(())
    }
}

/// What a test service may do unless it says otherwise: everything.
pub(crate) fn service(slot: u16) -> boot::Process {
    boot::Process {
        name: Name::new(&format!("s{slot}")).unwrap(),
        file: Name::new("file").unwrap(),
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

/// Makes another service of a process, which may do everything.
pub(crate) fn set_system(slot: u16, class: Callers, manager: u16) -> privilege_set_system::Request {
    privilege_set_system::Request {
        process: at(slot),
        class,
        traps: u32::MAX,
        kernel_calls: u128::MAX,
        signal_manager: at(manager),
        backup_manager: Endpoint::NONE,
        scheduler: Endpoint::NONE,
        grants_magic: false,
    }
}

/// Gives a process, which may do everything, other managers.
pub(crate) fn set_managers(slot: u16, manager: Endpoint, backup: Endpoint) -> privilege_update::Request {
    privilege_update::Request {
        process: at(slot),
        traps: u32::MAX,
        kernel_calls: u128::MAX,
        signal_manager: manager,
        backup_manager: backup,
        scheduler: Endpoint::NONE,
        grants_magic: false,
    }
}

/// A program in a slot.
pub(crate) fn program(slot: u16) -> boot::Process {
    boot::Process {
        class: Callers::PROGRAM,
        traps: boot::PROGRAM_TRAPS,
        kernel_calls: 0b110,
        ..service(slot)
    }
}

/// A service that plays a server.
pub(crate) fn server(slot: u16, role: Callers) -> boot::Process {
    boot::Process { class: Callers::SERVICE.or(role), ..service(slot) }
}

/// A kernel with these processes, of which everybody may send to everybody.
pub(crate) fn kernel(processes: &[boot::Process]) -> Kernel<Fake> {
    let mut kernel = Kernel::new(Fake::default(), 8);
    for process in processes {
        kernel.add(process, Registers::default(), process.slot).unwrap();
    }
    for from in processes {
        for to in processes {
            kernel.allow_pair(Pair { from: from.slot, to: to.slot }).unwrap();
        }
    }
    kernel
}

/// The endpoint that slot has at boot.
pub(crate) fn at(slot: u16) -> Endpoint {
    Endpoint::at_boot(slot)
}

impl Kernel<Fake> {
    /// Makes a process trap; what it returns at once, or `None` if it waits.
    pub(crate) fn traps(
        &mut self,
        slot: u16,
        primitive: Primitive,
        endpoint: Endpoint,
    ) -> Option<Result<(), Errno>> {
        let caller = Slot::new(slot);
        self.tell_of_delays();
        self.processes.process_mut(caller).context.result = None;
        self.trap(caller, primitive as u64, endpoint);
        self.tell_of_delays();
        self.returned(slot)
    }

    /// Makes a process send asynchronously.
    pub(crate) fn sends_async(
        &mut self,
        slot: u16,
        to: Endpoint,
        flags: AsyncFlags,
    ) -> Option<Result<(), Errno>> {
        self.processes.process_mut(Slot::new(slot)).context.result = None;
        self.trap(Slot::new(slot), flags.to_trap(), to);
        self.tell_of_delays();
        self.returned(slot)
    }

    /// The same, with a message of that tag.
    pub(crate) fn sends(
        &mut self,
        slot: u16,
        primitive: Primitive,
        to: Endpoint,
        tag: u32,
    ) -> Option<Result<(), Errno>> {
        self.processes.process_mut(Slot::new(slot)).context.message = Message { tag, ..Message::zeroed() };
        self.traps(slot, primitive, to)
    }

    /// Makes a process make a kernel call; the answer as a trace shows it.
    pub(crate) fn asks(&mut self, caller: u16, call: &impl Call) -> String {
        self.tell_of_delays();
        self.processes.process_mut(Slot::new(caller)).context.message = call.to_message(1);
        self.trap(Slot::new(caller), Primitive::KernelCall as u64, Endpoint::NONE);
        self.tell_of_delays();
        let Some(process) = self.processes.get(Slot::new(caller)) else { return "no more".into() };
        abi::describe(&process.context.message).to_string()
    }

    /// What the machine does next, whatever there is to it.
    pub(crate) fn turn(&mut self) -> OutOfTurn {
        match self.next() {
            Next::Run(slot) => OutOfTurn::Run(slot),
            Next::Continue(slot) => OutOfTurn::Continue(slot),
            Next::Idle => OutOfTurn::Idle,
            Next::OutOfTurn => self.out_of_turn(),
        }
    }

    /// What stops a process.
    pub(crate) fn stops(&self, slot: u16) -> Stops {
        self.processes.process(Slot::new(slot)).stops
    }

    /// Whose turn it could be.
    pub(crate) fn can_run(&self, slot: u16) -> bool {
        self.processes.get(Slot::new(slot)).is_some_and(crate::process::Process::is_ready)
    }

    /// What a process's primitive returned, if it is over.
    pub(crate) fn returned(&self, slot: u16) -> Option<Result<(), Errno>> {
        let process = self.processes.get(Slot::new(slot))?;
        if process.ipc != crate::process::Ipc::Idle {
            return None;
        }
        process
            .context
            .result
            .map(|result| if result == 0 { Ok(()) } else { Err(Errno::from_status(result)) })
    }

    /// Source, tag and primitive of the message that a process holds.
    pub(crate) fn received(&self, slot: u16) -> (Endpoint, u32, Option<Primitive>) {
        let context = &self.processes.process(Slot::new(slot)).context;
        (context.message.source, context.message.tag, context.status.primitive())
    }

    /// The log as text.
    pub(crate) fn log_text(&self) -> String {
        String::from_utf8_lossy(&self.machine.log).into_owned()
    }
}
