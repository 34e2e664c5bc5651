//! The registers of a process while it does not run.

use abi::Message;
use abi::boot::Start;
use abi::inspect::Layout;
use abi::ipc::Status;
use abi::registers::{FloatRegisters, Registers};
use core::mem::offset_of;
use kernel_core::machine::BadContext;

/// All registers. The assembly in `trap.rs` knows this layout.
///
/// A process that trapped of its own will keeps what the System V ABI lets it expect: the
/// registers that a callee saves, and the message. The others hold old values of its own.
#[derive(Clone, Debug)]
#[repr(C, align(16))]
pub struct Context {
    pub(crate) r15: u64,
    pub(crate) r14: u64,
    pub(crate) r13: u64,
    pub(crate) r12: u64,
    pub(crate) r11: u64,
    pub(crate) r10: u64,
    pub(crate) r9: u64,
    pub(crate) r8: u64,
    pub(crate) rdi: u64,
    pub(crate) rsi: u64,
    pub(crate) rbp: u64,
    pub(crate) rbx: u64,
    pub(crate) rdx: u64,
    pub(crate) rcx: u64,
    pub(crate) rax: u64,
    // As `iretq` takes them.
    pub(crate) rip: u64,
    pub(crate) cs: u64,
    pub(crate) rflags: u64,
    pub(crate) rsp: u64,
    pub(crate) ss: u64,
    /// How it came into the kernel: [`BY_SYSCALL`], or by an interrupt or exception. Whoever changes more than
    /// the result of a primitive sets it to [`BY_INTERRUPT`].
    pub(crate) entered: u64,
    pub(crate) float: FloatState,
}

/// The process is in the kernel by `syscall`: it expects no more than a call would keep.
pub(crate) const BY_SYSCALL: u64 = 1;
/// The process was interrupted, or has never run: all of its registers are to be loaded.
pub(crate) const BY_INTERRUPT: u64 = 0;

/// What `fxsave64` stores (Intel SDM 1, 10.5.1). The first eight vector registers are the message.
#[derive(Clone, Debug)]
#[repr(C, align(16))]
pub(crate) struct FloatState {
    control: u16,
    status: u16,
    tags: u16,
    opcode: u16,
    instruction: u64,
    operand: u64,
    mxcsr: u32,
    mxcsr_mask: u32,
    stack: [u8; 128],
    message: Message,
    upper_vectors: [u8; 128],
    reserved: [u8; 96],
}

/// Interrupts on, and the bit that is always set.
const USER_FLAGS: u64 = 0x202;
/// The flags that a program can set by itself and that only it cares for: carry, parity, auxiliary carry,
/// zero, sign, direction, overflow (Intel SDM 1, 3.4.3).
const STATUS_FLAGS: u64 = 0xcd5;
/// Raises a debug exception after each instruction.
const TRAP_FLAG: u64 = 1 << 8;
/// All that a program can change: NT, RF, AC and ID beside those. No I/O privilege level, and interrupts stay on.
const PROGRAMS_FLAGS: u64 = STATUS_FLAGS | TRAP_FLAG | 1 << 14 | 1 << 16 | 1 << 18 | 1 << 21;
/// Bytes of the `syscall` instruction.
const SYSCALL_BYTES: u64 = 2;

impl FloatState {
    /// Where `xmm0` is stored.
    pub(crate) const MESSAGE: usize = offset_of!(Self, message);
    /// Where `mxcsr` is stored.
    pub(crate) const MXCSR: usize = offset_of!(Self, mxcsr);

    /// The state that the System V ABI wants at process entry (3.4.1).
    const fn initial() -> Self {
        Self {
            control: 0x37f,
            status: 0,
            tags: 0,
            opcode: 0,
            instruction: 0,
            operand: 0,
            mxcsr: 0x1f80,
            mxcsr_mask: 0,
            stack: [0; 128],
            message: Message::zeroed(),
            upper_vectors: [0; 128],
            reserved: [0; 96],
        }
    }
}

impl FloatState {
    /// The bits of `mxcsr` that the processor has; setting another one is an exception (Intel
    /// SDM 1, 11.6.6). It says so each time it saves all registers.
    const fn allowed_mxcsr(&self) -> u32 {
        const DEFAULT: u32 = 0xffbf;
        if self.mxcsr_mask == 0 { DEFAULT } else { self.mxcsr_mask }
    }
}

const _: () = assert!(size_of::<FloatState>() == 512);
const _: () = assert!(FloatState::MESSAGE == 160 && FloatState::MXCSR == 24);
const _: () = assert!(offset_of!(Context, float).is_multiple_of(16));

impl Context {
    /// Where the registers are that debuggers want, and what else they must know of this machine.
    pub const LAYOUT: Layout = Layout {
        message: (offset_of!(Self, float) + FloatState::MESSAGE) as u64,
        rip: offset_of!(Self, rip) as u64,
        rsp: offset_of!(Self, rsp) as u64,
        rbp: offset_of!(Self, rbp) as u64,
        root: crate::paging::AddressSpace::ROOT as u64,
        direct_map: crate::layout::DIRECT_MAP,
        ..Layout::from_words([0; Layout::WORDS])
    };

    /// The registers of a process that is about to execute its first instruction.
    #[must_use]
    pub fn new(entry: u64, stack: u64, start: Start) -> Self {
        Self {
            r15: 0,
            r14: 0,
            r13: 0,
            r12: 0,
            r11: 0,
            r10: 0,
            r9: 0,
            r8: 0,
            rdi: start.heap,
            rsi: start.heap_bytes,
            rbp: 0,
            rbx: 0,
            rdx: 0,
            rcx: 0,
            rax: 0,
            rip: entry,
            cs: crate::descriptors::USER_CODE,
            rflags: USER_FLAGS,
            rsp: stack,
            ss: crate::descriptors::USER_DATA,
            entered: BY_INTERRUPT,
            float: FloatState::initial(),
        }
    }
}

impl kernel_core::machine::Context for Context {
    #[inline]
    fn message(&self) -> &Message {
        &self.float.message
    }

    #[inline]
    fn message_mut(&mut self) -> &mut Message {
        &mut self.float.message
    }

    #[inline]
    fn set_result(&mut self, result: i32) {
        self.rax = i64::from(result).cast_unsigned();
    }

    #[inline]
    fn set_status(&mut self, status: Status) {
        self.rdx = status.0;
    }

    #[inline]
    fn instruction_pointer(&self) -> u64 {
        self.rip
    }

    fn registers(&self) -> Registers {
        let Self { r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax, .. } = *self;
        let Self { rip, rflags, rsp, .. } = *self;
        [r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax, rip, rflags, rsp]
    }

    fn set_registers(&mut self, registers: &Registers) -> Result<(), BadContext> {
        let [r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax, rip, flags, rsp] =
            *registers;
        // `iretq` to an address that is not canonical is an exception in the kernel. Any stack
        // pointer will do: it is looked at when the process uses it.
        if rip >= kernel_core::elf::USER_END {
            return Err(BadContext);
        }
        // Even if something had set others.
        let kept = self.rflags & PROGRAMS_FLAGS & !STATUS_FLAGS;
        let rflags = USER_FLAGS | kept | flags & STATUS_FLAGS;
        let (cs, ss, float) = (self.cs, self.ss, self.float.clone());
        let entered = BY_INTERRUPT;
        *self = Self {
            r15,
            r14,
            r13,
            r12,
            r11,
            r10,
            r9,
            r8,
            rdi,
            rsi,
            rbp,
            rbx,
            rdx,
            rcx,
            rax,
            rip,
            cs,
            rflags,
            rsp,
            ss,
            entered,
            float,
        };
        Ok(())
    }

    fn float(&self) -> FloatRegisters {
        // SAFETY: both are 512 bytes, and the state is integers without padding.
        unsafe { core::mem::transmute(self.float.clone()) }
    }

    fn set_float(&mut self, float: &FloatRegisters) -> Result<(), BadContext> {
        // SAFETY: both are 512 bytes, and any bytes are integers.
        let float = unsafe { core::mem::transmute::<FloatRegisters, FloatState>(*float) };
        if float.mxcsr & !self.float.allowed_mxcsr() != 0 {
            return Err(BadContext);
        }
        self.float = FloatState { mxcsr_mask: self.float.mxcsr_mask, reserved: [0; 96], ..float };
        Ok(())
    }

    fn reset_float(&mut self) {
        self.float = FloatState { mxcsr_mask: self.float.mxcsr_mask, ..FloatState::initial() };
    }

    fn set_single_step(&mut self, on: bool) {
        self.rflags = if on { self.rflags | TRAP_FLAG } else { self.rflags & !TRAP_FLAG };
        // `sysretq` would raise the exception before the process has made its step.
        self.entered = BY_INTERRUPT;
    }

    fn repeat_trap(&mut self) {
        self.rip = self.rip.wrapping_sub(SYSCALL_BYTES);
        // It needs the endpoint of the call, which a return from it would not keep.
        self.entered = BY_INTERRUPT;
    }
}
