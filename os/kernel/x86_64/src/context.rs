//! The registers of a process while it does not run.

use abi::Message;
use abi::boot::Start;
use abi::ipc::Status;
use core::mem::offset_of;

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

const _: () = assert!(size_of::<FloatState>() == 512);
const _: () = assert!(FloatState::MESSAGE == 160 && FloatState::MXCSR == 24);
const _: () = assert!(offset_of!(Context, float).is_multiple_of(16));

impl Context {
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
}
