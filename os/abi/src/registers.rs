//! Registers of a process, as a debugger and a signal handler see them.

crate::choices! {
    /// A register of a process.
    Register {
        /// `r15`
        R15 = 0,
        /// `r14`
        R14 = 1,
        /// `r13`
        R13 = 2,
        /// `r12`
        R12 = 3,
        /// `r11`
        R11 = 4,
        /// `r10`
        R10 = 5,
        /// `r9`
        R9 = 6,
        /// `r8`
        R8 = 7,
        /// `rdi`
        Rdi = 8,
        /// `rsi`
        Rsi = 9,
        /// `rbp`
        Rbp = 10,
        /// `rbx`
        Rbx = 11,
        /// `rdx`
        Rdx = 12,
        /// `rcx`
        Rcx = 13,
        /// `rax`
        Rax = 14,
        /// The instruction pointer.
        Rip = 15,
        /// The flags. Only those that a program can set can be written.
        Rflags = 16,
        /// The stack pointer.
        Rsp = 17,
    }
}

/// All registers, each at the index that is its number in [`Register`].
pub type Registers = [u64; 18];

/// Vector and x87 registers, as `fxsave64` stores them (Intel SDM 1, 10.5.1).
pub type FloatRegisters = [u8; 512];

/// What a signal handler's stack holds for the way back, and where in it.
///
/// ```text
///  rsp at the handler's first instruction
///  v
///  +----------------+-------+----------+------+-----------+----------------+
///  | return address | magic | reserved | mask | registers | FloatRegisters |
///  +----------------+-------+----------+------+-----------+----------------+
///                   ^ the frame, at a multiple of 16; the handler's second argument
/// ```
pub mod frame {
    use super::{FloatRegisters, Registers};

    /// What a frame starts with.
    pub const MAGIC: u64 = u64::from_le_bytes(*b"sigframe");
    /// Where the mask is: [`Signals`](crate::signal::Signals).
    pub const MASK: usize = 16;
    /// Where the registers are.
    pub const REGISTERS: usize = MASK + 16;
    /// Where vector and x87 registers are.
    pub const FLOAT: usize = REGISTERS + size_of::<Registers>();
    /// Bytes of a frame.
    pub const SIZE: usize = FLOAT + size_of::<FloatRegisters>();

    const _: () = assert!(FLOAT.is_multiple_of(16) && SIZE.is_multiple_of(16));
}
