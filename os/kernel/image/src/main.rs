//! The kernel: hands events from the processor to kernel-core, and its orders back.
#![no_std]
#![no_main]
#![expect(
    unsafe_code,
    reason = "the start-up code calls `kernel_main`, and debuggers find `tessera_inspect` and `tessera_names`, by symbol"
)]

#[cfg(not(feature = "debugger"))]
mod no_stub;

use abi::boot::{Entry, ExitCode};
use abi::inspect::{Layout, Names};
use abi::protocols::Level;
use abi::report::Report;
use core::fmt::Write;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use heap::Heap;
use kernel_core::command_line::{Boot, Debugger, Panic, Parameters, Watchdog};
use kernel_core::image::{BootImage, ImageError};
use kernel_core::machine::Machine as _;
use kernel_core::{Kernel, Next, OutOfTurn, Slot, command_line, load};
#[cfg(feature = "debugger")]
use kernel_debug::Stub;
use kernel_debug::machine::{Cpu, Trap};
use kernel_debug::{Happened, Reaction, System};
use kernel_loader::CommandLine;
use kernel_x86_64::debug::{self, Debugged};
use kernel_x86_64::{
    Block, BootInfo, Com2, Console, Context, Event, Exit, Hardware, PhysicalMemory, StartInfo, Struck,
    exception_address, idle_addresses, let_inspect, protections, provoke_exception, provoke_loop,
    provoke_triple_fault, report, stop, watchdog,
};
use memory_functions as _;
#[cfg(not(feature = "debugger"))]
use no_stub::Stub;

#[global_allocator]
static HEAP: Heap = Heap::empty();

/// The kernel's memory beside the process table.
const HEAP_BASE_BYTES: usize = 512 * 1024;
/// The kernel's memory for each process that there can be, beside the messages that are on their way.
const HEAP_BYTES_PER_PROCESS: usize = 4096;

/// Called once by the start-up code, in 64-bit mode, on the kernel's own stack.
#[unsafe(no_mangle)]
extern "C" fn kernel_main(start: StartInfo) -> ! {
    let info = BootInfo::read(start).unwrap_or_else(|problem| refuse(format_args!("start info: {problem}")));
    let parameters = command_line::parse(info.command_line)
        .unwrap_or_else(|problem| refuse(format_args!("command line: {problem}")));
    let Ok(mut memory) = PhysicalMemory::init(&info) else { refuse_for_memory() };
    kernel_x86_64::init();
    let Given { parameters, words, image, limit_ns } = match parameters.boot {
        Boot::Image => Given { parameters, words: None, image: info.image, limit_ns: None },
        Boot::Serial => over_line(&mut memory, parameters),
    };
    let heap_bytes = HEAP_BASE_BYTES
        + usize::from(parameters.processes) * HEAP_BYTES_PER_PROCESS
        + kernel_core::mail_bytes(parameters.processes);
    if memory.start_heap(&HEAP, heap_bytes).is_err() {
        refuse_for_memory();
    }
    let mut kernel = Kernel::new(Hardware::new(memory, parameters.timer), parameters.processes);
    kernel.keep_parameters(words.as_ref().map_or(info.command_line, CommandLine::as_slice));
    let mut tessera = Tessera { system: System::new(kernel), stub: None, limit_ns, panic: parameters.panic };
    publish(&tessera.system.kernel);
    announce(&mut tessera.system.kernel);
    if parameters.watchdog == Watchdog::Ib700 {
        watchdog::start();
    }
    if let Some(limit_ms) = parameters.limit_ms {
        tessera.system.kernel.set_limit_ms(limit_ms);
    }
    tessera.system.kernel.report_also(parameters.reports);
    attach_debugger(&mut tessera, parameters.debugger);
    main(&mut tessera, image)
}

/// What the machine is to do.
struct Given {
    parameters: Parameters,
    /// The command line, if it isn't that of the start.
    words: Option<CommandLine>,
    image: Option<&'static [u8]>,
    /// The uptime at which it must be over.
    limit_ns: Option<u64>,
}

/// Waits for what comes over the serial line. Not inlined, so that the stack that it takes is free afterwards.
#[inline(never)]
fn over_line(memory: &mut PhysicalMemory, parameters: Parameters) -> Given {
    let Some(job) = kernel_x86_64::load(memory, parameters.timer) else {
        refuse(format_args!("command line: boot=serial needs a first serial port, and there is none"));
    };
    let parameters = parameters
        .with(job.command_line.as_slice())
        .unwrap_or_else(|problem| refuse(format_args!("command line: {problem}")));
    let limit_ns = Some(u64::from(job.limit_ms) * 1_000_000);
    Given { parameters, words: Some(job.command_line), image: job.image.map(Block::leak), limit_ns }
}

/// The kernel, and the debugger's end in it.
struct Tessera {
    system: System<Hardware>,
    /// `None` unless the command line asks for it.
    stub: Option<Stub<Com2>>,
    /// The uptime at which it must be over, if there is one.
    limit_ns: Option<u64>,
    /// How it is to fail.
    panic: Panic,
}

impl Debugged for Tessera {
    fn trapped(&mut self, trap: Trap, cpu: &mut Cpu) -> bool {
        let Self { system, stub, .. } = self;
        stub.as_mut().is_some_and(|stub| stub.trapped(system, trap, cpu))
    }
}

/// Lets a debugger attach, or waits for one at the start of [`main`].
#[inline(never)]
fn attach_debugger(tessera: &mut Tessera, wanted: Debugger) {
    if wanted == Debugger::None {
        return;
    }
    let Some(line) = Com2::init() else {
        refuse(format_args!("command line: gdb= needs a second serial port, and there is none"));
    };
    let mut stub = Stub::new(&mut tessera.system, line);
    if wanted == Debugger::Wait {
        let start: fn(&mut Tessera, Option<&[u8]>) -> ! = main;
        stub.stop_at(&mut tessera.system, (start as *const ()).expose_provenance() as u64);
    }
    tessera.stub = Some(stub);
    debug::register(tessera);
    tessera.system.kernel.say(Level::Info, format_args!("a debugger can attach at COM2"));
}

/// Starts what the boot image holds, and runs it until the machine ends.
#[inline(never)]
fn main(tessera: &mut Tessera, image: Option<&[u8]>) -> ! {
    match tessera.panic {
        Panic::None => {}
        Panic::Start => panic!("the command line asks for a panic"),
        Panic::Exception => provoke_exception(),
        Panic::TripleFault => provoke_triple_fault(),
        Panic::Loop => provoke_loop(),
    }
    let kernel = &mut tessera.system.kernel;
    if let Err(problem) = start_image(kernel, image) {
        let free = kernel.machine.memory.free_bytes() / 1024;
        kernel.say(Level::Info, format_args!("{free} KiB of memory are free"));
        refuse(format_args!("boot image: {problem}"));
    }
    run(tessera)
}

/// See [`abi::inspect`]. Only ever written.
#[unsafe(export_name = "tessera_inspect")]
static LAYOUT: [AtomicU64; Layout::WORDS] = [const { AtomicU64::new(0) }; _];

/// See [`abi::inspect::Names`]. Only debuggers read it.
#[unsafe(export_name = "tessera_names")]
#[used]
static NAMES: Names = Names::ALL;

/// Says where everything is, for those who look into the kernel's memory.
fn publish(kernel: &Kernel<Hardware>) {
    let [idle, idle_hz] = idle_addresses();
    let layout = Layout { idle, idle_hz, exception: exception_address(), ..Context::LAYOUT };
    let words = kernel.layout(layout).to_words();
    LAYOUT.iter().zip(words).for_each(|(place, word)| place.store(word, Ordering::Relaxed));
}

fn announce(kernel: &mut Kernel<Hardware>) {
    const MIB: u64 = 1 << 20;
    let (total, free) = (kernel.machine.memory.total_bytes / MIB, kernel.machine.memory.free_bytes() / MIB);
    kernel.say(
        Level::Info,
        format_args!(
            "Tessera {} on x86-64: {total} MiB of memory, {free} MiB free",
            env!("CARGO_PKG_VERSION")
        ),
    );
    let mut names = protections();
    let names: [&str; 5] = core::array::from_fn(|_| names.next().unwrap_or_default());
    kernel.say(
        Level::Info,
        format_args!("protections: {} {} {} {} {}", names[0], names[1], names[2], names[3], names[4]),
    );
}

/// Loads the processes of the boot image and gives them their rights.
fn start_image(kernel: &mut Kernel<Hardware>, bytes: Option<&[u8]>) -> Result<(), ImageError> {
    let image = BootImage::parse(bytes.ok_or(ImageError::Missing)?)?;
    for entry in image.entries() {
        match entry {
            Entry::Process(process) => start_process(kernel, &image, &process)?,
            Entry::Pair(pair) => kernel.allow_pair(pair).map_err(ImageError::Right)?,
            Entry::Ports(ports) => kernel.allow_ports(ports).map_err(ImageError::Right)?,
            Entry::Irq(irq) => kernel.allow_irq(irq).map_err(ImageError::Right)?,
            Entry::Managers(managers) => kernel.set_managers(managers).map_err(ImageError::Right)?,
        }
    }
    Ok(())
}

fn start_process(
    kernel: &mut Kernel<Hardware>,
    image: &BootImage<'_>,
    process: &abi::boot::Process,
) -> Result<(), ImageError> {
    let because = |error| ImageError::Process { process: process.name, error };
    kernel.check(process).map_err(because)?;
    let executable = image.executable(process)?;
    let loaded = load::load(&mut kernel.machine.memory, process, &executable)
        .map_err(|load::OutOfMemory| ImageError::NoMemory { process: process.name })?;
    let context = Context::new(loaded.entry, loaded.stack, loaded.start);
    kernel.add(process, context, loaded.space).map_err(because)?;
    Ok(())
}

/// Runs processes until the machine ends. Apart from what comes before, which would take its registers; and what is
/// inlined here has no other caller, or it would not be.
#[inline(never)]
fn run(tessera: &mut Tessera) -> ! {
    loop {
        let kernel = &mut tessera.system.kernel;
        // To be found in each way apart: where ways meet, the compiler no longer knows that the process was found.
        let (slot, (machine, context, space)) = match kernel.next() {
            Next::Run(slot) => (slot, kernel.to_run(slot)),
            Next::Continue(slot) => {
                go_on(tessera, slot);
                continue;
            }
            Next::Idle => {
                wait(tessera);
                continue;
            }
            Next::OutOfTurn => match out_of_turn(tessera) {
                Some(slot) => (slot, tessera.system.kernel.to_run(slot)),
                None => continue,
            },
        };
        match machine.run(context, space) {
            Exit::Trap { number, endpoint } => tessera.system.kernel.trap(slot, number, endpoint),
            Exit::Struck(struck) => interrupted(tessera, slot, struck),
        }
    }
}

/// Takes what came up while a process ran.
#[inline(never)]
fn interrupted(tessera: &mut Tessera, slot: Slot, struck: Struck) {
    take(tessera, Some(slot), struck.event());
}

/// Waits for an interrupt.
#[inline(never)]
fn wait(tessera: &mut Tessera) {
    let kernel = &mut tessera.system.kernel;
    if kernel.tell_of_log() {
        return;
    }
    let wakes_ns = kernel.next_alarm_ns().into_iter().chain(tessera.limit_ns).min();
    let event = kernel.machine.wait(wakes_ns);
    take(tessera, None, event);
}

/// Goes on with the kernel call of a process.
#[inline(never)]
fn go_on(tessera: &mut Tessera, slot: Slot) {
    let kernel = &mut tessera.system.kernel;
    kernel.go_on(slot);
    let event = kernel.machine.poll();
    take(tessera, Some(slot), event);
}

/// Does what comes before the next turn, and tells whose that is.
#[cold]
#[inline(never)]
fn out_of_turn(tessera: &mut Tessera) -> Option<Slot> {
    match tessera.system.kernel.out_of_turn() {
        OutOfTurn::End(code) => stop(code),
        OutOfTurn::Run(slot) => return Some(slot),
        OutOfTurn::Continue(slot) => go_on(tessera, slot),
        OutOfTurn::Idle => wait(tessera),
        OutOfTurn::Debugger => {
            ask_debugger(tessera, None, Happened::Asked);
        }
    }
    None
}

/// Hands an event to those whom it concerns. Apart from the loop, whose shortest way it would make longer.
#[inline(never)]
fn take(tessera: &mut Tessera, running: Option<Slot>, event: Event) {
    match (event, running) {
        (Event::Fault(fault), Some(slot)) => {
            if ask_debugger(tessera, running, Happened::Fault(fault)) == Answer::AsEver {
                tessera.system.kernel.fault(slot, fault);
            }
        }
        // While the machine is busy there is always a tick or a device in the end.
        (Event::Tick, running) => {
            let kernel = &mut tessera.system.kernel;
            kernel.check_limit(running);
            kernel.tick(running);
            if tessera.limit_ns.is_some_and(|limit_ns| kernel.machine.uptime_ns() >= limit_ns) {
                kernel.end_for_time();
            }
        }
        (Event::Interrupt(line), running) => {
            tessera.system.kernel.check_limit(running);
            tessera.system.kernel.interrupt(line);
        }
        (Event::Debugger, running) => {
            ask_debugger(tessera, running, Happened::Line);
        }
        // Only a process faults.
        (Event::Spurious, _) | (Event::Fault(_), None) => {}
    }
    if let Some(slot) = running {
        tessera.system.kernel.count_preemption(slot);
    }
}

/// What the debugger says to what happened.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// What would be done without it.
    AsEver,
    /// Nothing more.
    Nothing,
}

/// Lets the debugger look at what happened, and stops for as long as it wants.
#[cold]
#[inline(never)]
fn ask_debugger(tessera: &mut Tessera, running: Option<Slot>, happened: Happened) -> Answer {
    let Tessera { system, stub, .. } = tessera;
    let Some(stub) = stub else { return Answer::AsEver };
    match stub.look(system, running, happened) {
        Reaction::None => return Answer::AsEver,
        Reaction::Done => return Answer::Nothing,
        Reaction::Stop => {}
    }
    debug::pause(tessera);
    let Tessera { system, stub, .. } = tessera;
    let passes = stub.as_mut().is_some_and(|stub| stub.passes_fault(system));
    if passes { Answer::AsEver } else { Answer::Nothing }
}

/// The same, because there is too little memory to say more.
fn refuse_for_memory() -> ! {
    refuse(format_args!("memory: there is none left for the kernel itself"))
}

/// Stops before anything has started, because what the kernel was started with is no good.
fn refuse(problem: core::fmt::Arguments<'_>) -> ! {
    // Writing to the console can't fail.
    let _ = writeln!(Console, "E kernel: cannot start: {problem}");
    report(&Report::Refused);
    stop(ExitCode::BadImage)
}

/// A defect of the kernel: says where, lets a debugger look, and stops.
#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    // What panics while it says why would do so for ever.
    static IS_PANICKING: AtomicBool = AtomicBool::new(false);
    if IS_PANICKING.swap(true, Ordering::Relaxed) {
        stop(ExitCode::KernelPanic);
    }
    report(&Report::Panicked);
    let mut console = Console;
    let _ = write!(console, "\nE kernel: panic: {}", info.message());
    if let Some(place) = info.location() {
        let _ = write!(console, " at {place}");
    }
    let _ = write!(console, "\nE kernel: stacktrace:");
    kernel_x86_64::stack_trace(|address| {
        let _ = write!(console, " {address:#x}");
    });
    let _ = writeln!(console);
    debug::panicked();
    let_inspect();
    stop(ExitCode::KernelPanic)
}
