//! The way into a process, and the ways out of it.
//!
//! [`run`] looks like a call: it gives the processor to a process and returns when that process
//! traps, faults or is interrupted. Underneath, the ways out save the process's registers in its
//! [`Context`] and take up the kernel's stack where [`run`] left it.
//!
//! An exception in the kernel itself is for the debugger, if one is there; else a defect that ends in a panic. An interrupt reaches the
//! kernel only while it waits in [`wait_for_interrupt`].

use crate::context::{BY_INTERRUPT, BY_SYSCALL, Context, FloatState};
use crate::debug::{self, InKernel, KernelFrame};
use abi::registers::FloatRegisters;
use core::arch::{asm, global_asm};
use core::mem::offset_of;
use core::sync::atomic::{AtomicU64, Ordering};
use x86_64::VirtAddr;
use x86_64::instructions::tables::lidt;
use x86_64::structures::DescriptorTablePointer;

/// Why [`run`] returned: a vector, or [`SYSTEM_CALL`].
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Exit {
    pub(crate) vector: u64,
    /// The error code that the processor gave, or 0.
    pub(crate) code: u64,
}

/// Stands for the `syscall` instruction where vectors stand.
pub(crate) const SYSTEM_CALL: u64 = 256;

const STACK_SIZE: usize = 32 * 1024;
const PAGE: usize = 4096;

/// A stack above a page that is never mapped.
#[repr(C, align(4096))]
struct Stack {
    guard: [u8; PAGE],
    bytes: [u8; STACK_SIZE],
}

impl Stack {
    const EMPTY: Self = Self { guard: [0; PAGE], bytes: [0; STACK_SIZE] };
}

/// The kernel's own stack, then those of the vectors.
#[repr(C)]
struct Stacks {
    kernel: Stack,
    vectors: [Stack; VECTOR_STACKS],
}

/// Which stack a vector runs on: all others share the first one.
const VECTOR_STACKS: usize = 7;
/// Pairs of stacks: what vectors have, and what they have while the debugger works.
pub(crate) const EXCHANGED_STACKS: [[usize; 2]; 2] = [[0, 5], [1, 6]];
const DEBUG: u8 = 1;
pub(crate) const NMI: u8 = 2;
const BREAKPOINT: u8 = 3;
const DOUBLE_FAULT: u8 = 8;
const MACHINE_CHECK: u8 = 18;

/// In a section of its own: the start-up code zeroes what stands behind it.
#[unsafe(link_section = ".bss.stacks")]
static mut STACKS: Stacks = Stacks { kernel: Stack::EMPTY, vectors: [Stack::EMPTY; VECTOR_STACKS] };

/// The tops of the stacks that vectors run on.
pub(crate) fn interrupt_stacks() -> [VirtAddr; VECTOR_STACKS] {
    let first = (&raw const STACKS).addr() + size_of::<Stack>();
    core::array::from_fn(|index| VirtAddr::new((first + (index + 1) * size_of::<Stack>()) as u64))
}

/// Where the stacks that vectors run on are.
pub(crate) fn vector_stacks() -> impl Iterator<Item = core::ops::Range<u64>> {
    let size = size_of::<Stack>() as u64;
    interrupt_stacks().into_iter().map(move |top| top.as_u64() - size..top.as_u64())
}

/// The pages below each stack.
pub(crate) fn guard_pages() -> impl Iterator<Item = u64> {
    let first = (&raw const STACKS).addr();
    (0..=VECTOR_STACKS).map(move |index| (first + index * size_of::<Stack>()) as u64)
}

/// Index of the stack that a vector runs on.
pub(crate) const fn stack_of(vector: u8) -> u8 {
    match vector {
        DEBUG | BREAKPOINT => 1,
        NMI => 2,
        DOUBLE_FAULT => 3,
        MACHINE_CHECK => 4,
        _ => 0,
    }
}

/// The lowest ring that may raise a vector by an instruction: `int3` and `into` are for programs.
pub(crate) const fn level_of(vector: u8) -> u8 {
    match vector {
        BREAKPOINT | 4 => 3,
        _ => 0,
    }
}

/// A gate of the interrupt table.
pub(crate) struct Gate {
    pub(crate) vector: u8,
    pub(crate) stack: u8,
    pub(crate) level: u8,
}

// The entries are 16 bytes each, so that the gate of a vector can be computed.
global_asm!(
    r#"
.section .text.trap,"ax",@progbits
.balign 16
.globl vector_entries
vector_entries:
.set vector, 0
.rept 256
    .balign 16
    .if (vector == 8) | ((vector >= 10) & (vector <= 14)) | (vector == 17) | (vector == 21) | (vector == 29) | (vector == 30)
    .else
    push 0
    .endif
    push vector
    .if (vector == {debug}) | (vector == {breakpoint})
    jmp debug_entry
    .else
    jmp vector_common
    .endif
    .set vector, vector + 1
.endr

# What a debugger watches must not strike from here on: the exception would have the same stack, and overwrite what
# this one was called with. It is on again when the kernel is back, or has found out what this one is.
debug_entry:
    push rax
    mov eax, {watch_nothing}
    mov dr7, rax
    pop rax
    jmp vector_common

# On the stack: vector, error code, rip, cs, rflags, rsp, ss.
.type vector_common,@function
vector_common:
    .cfi_startproc
    .cfi_signal_frame
    .cfi_def_cfa rsp, 24
    .cfi_offset rip, -8
    test byte ptr [rsp + 24], 3
    jz 3f

    # From a process: save all of it.
    push rax
    mov rax, [rip + current]
    mov [rax + {r15}], r15
    mov [rax + {r14}], r14
    mov [rax + {r13}], r13
    mov [rax + {r12}], r12
    mov [rax + {r11}], r11
    mov [rax + {r10}], r10
    mov [rax + {r9}], r9
    mov [rax + {r8}], r8
    mov [rax + {rdi}], rdi
    mov [rax + {rsi}], rsi
    mov [rax + {rbp}], rbp
    mov [rax + {rbx}], rbx
    mov [rax + {rdx}], rdx
    mov [rax + {rcx}], rcx
    pop rcx
    mov [rax + {rax}], rcx
    fxsave64 [rax + {float}]
    mov rcx, [rsp + 16]
    mov [rax + {rip}], rcx
    mov rcx, [rsp + 32]
    mov [rax + {rflags}], rcx
    mov rcx, [rsp + 40]
    mov [rax + {rsp}], rcx
    mov qword ptr [rax + {entered}], {by_interrupt}
    mov rax, [rsp]
    mov rdx, [rsp + 8]
    mov rsp, [rip + kernel_rsp]
    push 2
    popfq
    jmp leave_process

    # From the kernel. An interrupt ends its wait; anything else is a defect.
3:  cmp qword ptr [rsp], 32
    jb 4f
    push rax
    mov rax, [rsp + 8]
    mov [rip + waited_for], rax
    # A debugger that stops the kernel behind `sti` lets interrupts in before `hlt`, which would wait for
    # another one then.
    lea rax, [rip + kernel_halt]
    cmp rax, [rsp + 24]
    jne 6f
    inc qword ptr [rsp + 24]
6:  pop rax
    add rsp, 16
    and qword ptr [rsp + 16], -513      # interrupts stay off after the return
    iretq

# All of its registers, as `KernelFrame` has them: a debugger may want to see and to change them.
4:  push rax
    push rcx
    push rdx
    push rbx
    push rbp
    push rsi
    push rdi
    push r8
    push r9
    push r10
    push r11
    push r12
    push r13
    push r14
    push r15
    .cfi_def_cfa rsp, 144
    .cfi_offset rax, -32
    .cfi_offset rcx, -40
    .cfi_offset rdx, -48
    .cfi_offset rbx, -56
    .cfi_offset rbp, -64
    .cfi_offset rsi, -72
    .cfi_offset rdi, -80
    .cfi_offset r8, -88
    .cfi_offset r9, -96
    .cfi_offset r10, -104
    .cfi_offset r11, -112
    .cfi_offset r12, -120
    .cfi_offset r13, -128
    .cfi_offset r14, -136
    .cfi_offset r15, -144
    # Nothing that a debugger has asked for strikes while it works, as much of its code is the kernel's, too.
    mov eax, {watch_nothing}
    mov dr7, rax
    cld
    xor edx, edx
    call put_breakpoints
    mov rdi, rsp
    # The processor aligns the stack before it pushes seven words less two, and here are fifteen.
    sub rsp, 512
    fxsave64 [rsp]
    mov rsi, rsp
    call kernel_exception
    fxrstor64 [rsp]
    add rsp, 512
    mov edx, 1
    call put_breakpoints
    mov rax, [rip + {breakpoints} + {watched}]
    mov dr7, rax
    pop r15
    pop r14
    pop r13
    pop r12
    pop r11
    pop r10
    pop r9
    pop r8
    pop rdi
    pop rsi
    pop rbp
    pop rbx
    pop rdx
    pop rcx
    pop rax
    add rsp, 16
    iretq
    .cfi_endproc
.size vector_common, .-vector_common

# Has each breakpoint of the kernel's code in it if edx is 1, or what belongs there if it is 0.
.type put_breakpoints,@function
put_breakpoints:
    .cfi_startproc
    lea rsi, [rip + {breakpoints}]
    mov ecx, [rsi + {count}]
    test ecx, ecx
    jz 8f
    mov r8, cr0
    mov rax, r8
    btr rax, 16                         # code is read-only
    mov cr0, rax
7:  mov rdi, [rsi + rcx * 8 + {addresses} - 8]
    mov al, {int3}
    test edx, edx
    cmovz eax, [rsi + rcx * 4 + {bytes} - 4]
    mov [rdi], al
    dec ecx
    jnz 7b
    mov cr0, r8
8:  ret
    .cfi_endproc
.size put_breakpoints, .-put_breakpoints

# Stops the kernel in the debugger.
.type kernel_pause,@function
.globl kernel_pause
kernel_pause:
    .cfi_startproc
    int3
    ret
    .cfi_endproc
.size kernel_pause, .-kernel_pause

# Stops the kernel in the debugger, if there is one.
.type kernel_panicked,@function
.globl kernel_panicked
kernel_panicked:
    .cfi_startproc
    int3
    ret
    .cfi_endproc
.size kernel_panicked, .-kernel_panicked

# A process's `syscall`: rip in rcx, rflags in r11, and no stack of ours yet.
.type system_call,@function
.globl system_call
system_call:
    .cfi_startproc
    .cfi_undefined rip
    mov [rip + user_rsp], rsp
    mov rsp, [rip + current]
    mov [rsp + {rip}], rcx
    mov [rsp + {rflags}], r11
    mov [rsp + {rax}], rax
    mov [rsp + {rdi}], rdi
    mov [rsp + {rbx}], rbx
    mov [rsp + {rbp}], rbp
    mov [rsp + {r12}], r12
    mov [rsp + {r13}], r13
    mov [rsp + {r14}], r14
    mov [rsp + {r15}], r15
    mov rax, [rip + user_rsp]
    mov [rsp + {rsp}], rax
    movaps [rsp + {float} + {message}], xmm0
    movaps [rsp + {float} + {message} + 16], xmm1
    movaps [rsp + {float} + {message} + 32], xmm2
    movaps [rsp + {float} + {message} + 48], xmm3
    movaps [rsp + {float} + {message} + 64], xmm4
    movaps [rsp + {float} + {message} + 80], xmm5
    movaps [rsp + {float} + {message} + 96], xmm6
    movaps [rsp + {float} + {message} + 112], xmm7
    stmxcsr [rsp + {float} + {mxcsr}]
    fnstcw [rsp + {float}]
    mov dword ptr [rsp + {float} + 2], 0    # the ABI says: an empty register stack
    mov qword ptr [rsp + {entered}], {by_syscall}
    mov rsp, [rip + kernel_rsp]
    mov eax, {system_call}
    .cfi_endproc

# Takes up the kernel's stack as `enter_process` left it; rax and rdx are the result.
leave_process:
    .cfi_startproc
    ret
    .cfi_endproc
.size system_call, .-system_call

# Runs the process whose context rdi points to, until it comes back to `leave_process`. Nothing but
# rsp is kept.
.type enter_process,@function
.globl enter_process
enter_process:
    .cfi_startproc
    mov [rip + kernel_rsp], rsp
    mov [rip + current], rdi
    # What `fxrstor64` and `iretq` leave as another process had it: where its last x87
    # instruction was and what it worked on, and the data segments, which mean nothing here.
    fninit
    fxrstor64 [rdi + {float}]
    xor eax, eax
    mov ds, eax
    mov es, eax
    mov fs, eax
    mov gs, eax
    cmp qword ptr [rdi + {entered}], {by_syscall}
    jne 5f

    # `sysretq` reads no descriptors. It must not meet an address that isn't canonical, and doesn't: it
    # returns behind a `syscall`, and no code of a process ends where canonical addresses do.
    mov rcx, [rdi + {rip}]
    mov r11, [rdi + {rflags}]
    mov rax, [rdi + {rax}]
    mov rdx, [rdi + {rdx}]
    mov rbx, [rdi + {rbx}]
    mov rbp, [rdi + {rbp}]
    mov r12, [rdi + {r12}]
    mov r13, [rdi + {r13}]
    mov r14, [rdi + {r14}]
    mov r15, [rdi + {r15}]
    mov rsp, [rdi + {rsp}]
    # What a call doesn't keep holds nothing of the kernel's.
    xor edi, edi
    xor esi, esi
    xor r8d, r8d
    xor r9d, r9d
    xor r10d, r10d
    sysretq

5:  mov rsp, rdi
    pop r15
    pop r14
    pop r13
    pop r12
    pop r11
    pop r10
    pop r9
    pop r8
    pop rdi
    pop rsi
    pop rbp
    pop rbx
    pop rdx
    pop rcx
    pop rax
    iretq
    .cfi_endproc
.size enter_process, .-enter_process

# Halts the processor until an interrupt comes.
.type kernel_wait,@function
kernel_wait:
    .cfi_startproc
    sti
kernel_halt:
    hlt
    cli
    ret
    .cfi_endproc
.size kernel_wait, .-kernel_wait

.section .bss.trap,"aw",@nobits
.balign 8
current: .skip 8
kernel_rsp: .skip 8
user_rsp: .skip 8
.globl waited_for
waited_for: .skip 8

.globl kernel_stack_top
.set kernel_stack_top, {stacks} + {stack_size}
.text
"#,
    r15 = const offset_of!(Context, r15),
    r14 = const offset_of!(Context, r14),
    r13 = const offset_of!(Context, r13),
    r12 = const offset_of!(Context, r12),
    r11 = const offset_of!(Context, r11),
    r10 = const offset_of!(Context, r10),
    r9 = const offset_of!(Context, r9),
    r8 = const offset_of!(Context, r8),
    rdi = const offset_of!(Context, rdi),
    rsi = const offset_of!(Context, rsi),
    rbp = const offset_of!(Context, rbp),
    rbx = const offset_of!(Context, rbx),
    rdx = const offset_of!(Context, rdx),
    rcx = const offset_of!(Context, rcx),
    rax = const offset_of!(Context, rax),
    rip = const offset_of!(Context, rip),
    rflags = const offset_of!(Context, rflags),
    rsp = const offset_of!(Context, rsp),
    entered = const offset_of!(Context, entered),
    by_syscall = const BY_SYSCALL,
    by_interrupt = const BY_INTERRUPT,
    float = const offset_of!(Context, float),
    message = const FloatState::MESSAGE,
    mxcsr = const FloatState::MXCSR,
    system_call = const SYSTEM_CALL,
    breakpoints = sym debug::IN_KERNEL,
    count = const offset_of!(InKernel, count),
    addresses = const offset_of!(InKernel, addresses),
    bytes = const offset_of!(InKernel, bytes),
    watched = const offset_of!(InKernel, watched),
    watch_nothing = const debug::DR7_NONE,
    debug = const DEBUG,
    breakpoint = const BREAKPOINT,
    int3 = const debug::INT3,
    stacks = sym STACKS,
    stack_size = const size_of::<Stack>(),
);

unsafe extern "C" {
    static vector_entries: u8;
    static system_call: u8;
    static mut waited_for: u64;
    fn enter_process();
}

/// Where the gate of a vector leads.
pub(crate) fn entry_of(vector: u8) -> VirtAddr {
    VirtAddr::new((&raw const vector_entries).addr() as u64 + u64::from(vector) * 16)
}

/// Where `syscall` leads.
pub(crate) fn system_call_entry() -> VirtAddr {
    VirtAddr::new((&raw const system_call).addr() as u64)
}

/// Runs a process until it traps, faults or is interrupted.
///
/// # Safety
/// Its address space must be loaded, and its segments and flags must be those of ring 3.
#[inline]
pub(crate) unsafe fn run(context: &mut Context) -> Exit {
    let (vector, code);
    // SAFETY: the context is ours alone while the process runs, and no register but `rsp` is taken to
    // be kept; the rest is the caller's promise.
    unsafe {
        asm!(
            "push rbx",
            "push rbp",
            "call {enter}",
            "pop rbp",
            "pop rbx",
            enter = sym enter_process,
            inlateout("rdi") context => _,
            lateout("rax") vector,
            lateout("rdx") code,
            out("r12") _,
            out("r13") _,
            out("r14") _,
            out("r15") _,
            clobber_abi("sysv64"),
        );
    }
    Exit { vector, code }
}

/// Halts the processor until a device interrupts; gives the vector.
pub(crate) fn wait_for_interrupt() -> u64 {
    // SAFETY: the kernel runs on one processor, and interrupts are off here.
    unsafe { waited_for = 0 };
    // SAFETY: the interrupt's handler touches nothing but `waited_for`, and leaves interrupts off.
    unsafe { asm!("call kernel_wait") };
    // SAFETY: interrupts are off again.
    unsafe { waited_for }
}

/// The same, in the middle of somebody else's wait.
pub(crate) fn wait_aside() -> u64 {
    aside(wait_for_interrupt)
}

/// [`poll_interrupt`], in the middle of somebody else's wait.
pub(crate) fn poll_aside() -> u64 {
    aside(poll_interrupt)
}

fn aside(wait: fn() -> u64) -> u64 {
    // SAFETY: the kernel runs on one processor, and interrupts are off here.
    let before = unsafe { waited_for };
    let vector = wait();
    // SAFETY: as above.
    unsafe { waited_for = before };
    vector
}

/// Lets one interrupt through that waits already; gives its vector, or 0.
pub(crate) fn poll_interrupt() -> u64 {
    // SAFETY: the kernel runs on one processor, and interrupts are off here.
    unsafe { waited_for = 0 };
    // Interrupts are taken after the instruction that follows `sti` (Intel SDM 2B, STI).
    // SAFETY: the interrupt's handler touches nothing but `waited_for`, and leaves interrupts off.
    unsafe { asm!("sti", "nop", "cli") };
    // SAFETY: interrupts are off again.
    unsafe { waited_for }
}

/// Tells whether an address is in the code by which exceptions reach the debugger and leave it.
pub(crate) fn is_way_to_debugger(address: u64) -> bool {
    let start = (&raw const vector_entries).addr() as u64;
    let end = (&raw const system_call).addr() as u64;
    (start..end).contains(&address)
}

/// What a non-maskable interrupt means: the watchdog gives one, and a machine that is broken.
pub(crate) const STUCK: &str =
    "non-maskable interrupt: no clock tick was taken for 2 s, or the machine is broken";

/// An exception in the kernel: the debugger's business, or a defect.
#[unsafe(no_mangle)]
extern "C" fn kernel_exception(frame: &mut KernelFrame, float: &mut FloatRegisters) {
    let address = x86_64::registers::control::Cr2::read_raw();
    if debug::handle(frame, float) || debug::is_panic(frame) {
        return;
    }
    let KernelFrame { vector, code, rip, rsp, .. } = *frame;
    FAULTED_AT.iter().zip([rip, frame.rbp()]).for_each(|(place, word)| place.store(word, Ordering::Relaxed));
    if vector == u64::from(NMI) {
        panic!("{STUCK}");
    }
    panic!("exception {vector} (code {code:#x}) at {rip:#x}, stack {rsp:#x}, address {address:#x}");
}

/// Where the kernel was when an exception struck it, for its stack trace: instruction and frame. Zeros if none did.
static FAULTED_AT: [AtomicU64; 2] = [const { AtomicU64::new(0) }; _];

/// Tells whether an exception in the kernel was a defect of it.
pub(crate) fn has_faulted() -> bool {
    FAULTED_AT[0].load(Ordering::Relaxed) != 0
}

/// See [`Layout::exception`](abi::inspect::Layout::exception).
#[must_use]
pub fn exception_address() -> u64 {
    FAULTED_AT.as_ptr().addr() as u64
}

/// Does what no kernel should, for an exception in it.
pub fn provoke_exception() {
    // SAFETY: an undefined instruction has no effect but the exception.
    unsafe { asm!("ud2", options(nomem, nostack)) };
}

/// Does the same for ever, and takes no interrupt.
pub fn provoke_loop() -> ! {
    loop {
        // In long stretches, for which QEMU is fast.
        // SAFETY: these instructions have no effect.
        unsafe { asm!(".rept 250", "nop", ".endr", options(nomem, nostack, preserves_flags)) };
    }
}

/// Takes the processor's table of handlers away and needs one.
pub fn provoke_triple_fault() {
    let nothing = DescriptorTablePointer { limit: 0, base: VirtAddr::zero() };
    // SAFETY: without handlers the machine ends with the next exception, which breaks nothing before.
    unsafe { lidt(&nothing) };
    provoke_exception();
}

/// Calls `visit` with the return addresses on the kernel's stack, innermost first.
pub fn stack_trace(mut visit: impl FnMut(u64)) {
    let mut frame: u64;
    let [rip, rbp] = FAULTED_AT.each_ref().map(|word| word.load(Ordering::Relaxed));
    if rip != 0 {
        visit(rip);
        frame = rbp;
    } else {
        // SAFETY: reads a register.
        unsafe { asm!("mov {}, rbp", out(reg) frame, options(nomem, nostack, preserves_flags)) };
    }
    let stacks = (&raw const STACKS).addr() as u64;
    let stacks = stacks..stacks + size_of::<Stacks>() as u64 - 15;
    // Both words of a frame must lie in a stack: the second could be the first of a guard page.
    let is_mapped = |address: u64| guard_pages().all(|guard| address & !4095 != guard);
    for _ in 0..64 {
        if !stacks.contains(&frame) || !frame.is_multiple_of(8) || !is_mapped(frame) || !is_mapped(frame + 8)
        {
            return;
        }
        let at = core::ptr::with_exposed_provenance::<[u64; 2]>(crate::paging::to_usize(frame));
        // SAFETY: an aligned address inside one of the kernel's stacks, above its guard page.
        let [next, address] = unsafe { at.read() };
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
