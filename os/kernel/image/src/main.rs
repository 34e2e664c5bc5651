//! The kernel: hands events from the processor to kernel-core, and its orders back.
#![no_std]
#![no_main]
#![expect(
    unsafe_code,
    reason = "the start-up code calls `kernel_main`, and debuggers find `tessera_inspect`, by symbol"
)]

use abi::boot::{Entry, ExitCode};
use abi::inspect::Layout;
use abi::protocols::Level;
use core::fmt::Write;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use heap::Heap;
use kernel_core::image::{BootImage, ImageError};
use kernel_core::{Kernel, Next, command_line, load};
use kernel_x86_64::{
    BootInfo, Console, Context, Event, Hardware, PhysicalMemory, StartInfo, protections, stop,
};
use memory_functions as _;

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
    let heap_bytes = HEAP_BASE_BYTES
        + usize::from(parameters.processes) * HEAP_BYTES_PER_PROCESS
        + kernel_core::mail_bytes(parameters.processes);
    let Ok(memory) = PhysicalMemory::init(&info, &HEAP, heap_bytes) else {
        refuse(format_args!("memory: there is none left for the kernel itself"));
    };
    let mut kernel = Kernel::new(Hardware::new(memory, parameters.timer), parameters.processes);
    publish(&kernel);
    announce(&mut kernel);
    assert!(!parameters.panics, "the command line asks for a panic");
    if let Err(problem) = start_image(&mut kernel, info.image) {
        let free = kernel.machine.memory.free_bytes() / 1024;
        kernel.say(Level::Info, format_args!("{free} KiB of memory are free"));
        refuse(format_args!("boot image: {problem}"));
    }
    run(&mut kernel)
}

/// See [`abi::inspect`]. Only ever written.
#[unsafe(export_name = "tessera_inspect")]
static LAYOUT: [AtomicU64; Layout::WORDS] = [const { AtomicU64::new(0) }; _];

/// Says where everything is, for those who look into the kernel's memory.
fn publish(kernel: &Kernel<Hardware>) {
    let words = kernel.layout(Context::LAYOUT).to_words();
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

/// Runs processes until the machine ends.
fn run(kernel: &mut Kernel<Hardware>) -> ! {
    loop {
        match kernel.next() {
            Next::Run(slot) => {
                let (machine, context, space) = kernel.to_run(slot);
                match machine.run(context, space) {
                    Event::Trap { number, endpoint } => kernel.trap(slot, number, endpoint),
                    event => take(kernel, Some(slot), event),
                }
            }
            Next::Continue(slot) => {
                kernel.go_on(slot);
                let event = kernel.machine.poll();
                take(kernel, Some(slot), event);
            }
            Next::Idle => {
                let alarm_ns = kernel.next_alarm_ns();
                let event = kernel.machine.wait(alarm_ns);
                take(kernel, None, event);
            }
            Next::End(code) => stop(code),
        }
    }
}

/// Hands an event to those whom it concerns. Apart from the loop, whose shortest way it would make longer.
#[inline(never)]
fn take(kernel: &mut Kernel<Hardware>, running: Option<kernel_core::Slot>, event: Event) {
    match (event, running) {
        (Event::Fault(fault), Some(slot)) => kernel.fault(slot, fault),
        (Event::Tick, running) => kernel.tick(running),
        (Event::Interrupt(line), _) => kernel.interrupt(line),
        // Only a process traps or faults, and the loop takes its traps.
        (Event::Spurious | Event::Trap { .. }, _) | (Event::Fault(_), None) => {}
    }
}

/// Stops before anything has started, because what the kernel was started with is no good.
fn refuse(problem: core::fmt::Arguments<'_>) -> ! {
    // Writing to the console can't fail.
    let _ = writeln!(Console, "E kernel: cannot start: {problem}");
    stop(ExitCode::BadImage)
}

/// A defect of the kernel: says where, and stops.
#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    // What panics while it says why would do so for ever.
    static IS_PANICKING: AtomicBool = AtomicBool::new(false);
    if IS_PANICKING.swap(true, Ordering::Relaxed) {
        stop(ExitCode::KernelPanic);
    }
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
    stop(ExitCode::KernelPanic)
}
