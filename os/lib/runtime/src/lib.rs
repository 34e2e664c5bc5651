//! What an image needs before `main`: an entry point, a heap, a place for panics to go.
//!
//! A binary says once [`image!`]`(main)`, and is then a service or a program.
#![no_std]
#![expect(unsafe_code, reason = "the entry point and the allocator")]

use abi::boot::Start;
use abi::protocols::Level;
use core::fmt::Write;
use core::panic::PanicInfo;

#[doc(hidden)]
pub use {heap::Heap, memory_functions};

/// The exit status of an image that panicked, as for any Rust program.
pub const PANICKED: i32 = 101;

/// Gives the heap its memory. The entry point calls it, once.
#[doc(hidden)]
pub fn start(heap: &Heap, start: Start) {
    let (Ok(address), Ok(bytes)) = (usize::try_from(start.heap), usize::try_from(start.heap_bytes)) else {
        return;
    };
    if bytes > 0 {
        // SAFETY: the kernel mapped these bytes for the heap, and the entry point runs once.
        unsafe { heap.init(core::ptr::with_exposed_provenance_mut(address), bytes) };
    }
}

/// Logs what went wrong and where, and ends the process. The kernel adds the stack.
#[doc(hidden)]
pub fn panicked(info: &PanicInfo<'_>) -> ! {
    {
        let mut line = sys::LogLine(Level::Error);
        let _ = write!(line, "panic: {}", info.message());
        if let Some(place) = info.location() {
            let _ = write!(line, " at {place}");
        }
    }
    sys::exit(PANICKED)
}

/// Makes an image of a binary: `runtime::image!(main);`
#[macro_export]
macro_rules! image {
    ($main:path) => {
        use $crate::memory_functions as _;

        #[global_allocator]
        static HEAP: $crate::Heap = $crate::Heap::empty();

        // The kernel starts an image with its heap in `rdi` and `rsi`, see `abi::boot::Start`.
        ::core::arch::global_asm!(
            ".globl _start",
            ".type _start,@function",
            "_start:",
            ".cfi_startproc",
            ".cfi_undefined rip",
            "xor ebp, ebp",
            "call {start}",
            "ud2",
            ".cfi_endproc",
            ".size _start, .-_start",
            start = sym start,
        );

        extern "C" fn start(heap: u64, heap_bytes: u64) -> ! {
            $crate::start(&HEAP, $crate::StartParameters { heap, heap_bytes });
            $main();
            $crate::exit(0)
        }

        #[panic_handler]
        fn panic(info: &::core::panic::PanicInfo<'_>) -> ! {
            $crate::panicked(info)
        }
    };
}

#[doc(hidden)]
pub use abi::boot::Start as StartParameters;
#[doc(hidden)]
pub use sys::exit;
