//! The trap instruction, and typed calls over it.
//!
//! Errors come back as themselves: nothing here knows an `errno` variable.
#![no_std]
#![expect(unsafe_code, reason = "the trap instruction is inline assembly")]

pub mod memory;

use abi::ipc::{AsyncFlags, Primitive, Status};
use abi::protocols::{Level, kernel};
use abi::{Bytes, Call, Endpoint, Errno, Message, To};
use core::arch::asm;
use core::arch::x86_64::__m128i;

/// Makes a trap: the message goes and comes in the message registers.
#[inline]
fn trap(primitive: u64, endpoint: u64, message: &mut Message) -> Result<Status, Errno> {
    // SAFETY: both are 128 bytes of integers, aligned to 16.
    let mut words: [__m128i; 8] = unsafe { core::mem::transmute(*message) };
    let [w0, w1, w2, w3, w4, w5, w6, w7] = &mut words;
    let (result, status): (i64, u64);
    // SAFETY: the kernel takes no pointer, writes no memory of ours, and keeps what the ABI says a callee keeps.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") primitive => result,
            inlateout("rdi") endpoint => _,
            lateout("rdx") status,
            inlateout("xmm0") *w0,
            inlateout("xmm1") *w1,
            inlateout("xmm2") *w2,
            inlateout("xmm3") *w3,
            inlateout("xmm4") *w4,
            inlateout("xmm5") *w5,
            inlateout("xmm6") *w6,
            inlateout("xmm7") *w7,
            clobber_abi("sysv64"),
            options(nostack),
        );
    }
    // SAFETY: as above; any 128 bytes are a message.
    *message = unsafe { core::mem::transmute::<[__m128i; 8], Message>(words) };
    match i32::try_from(result) {
        Ok(0) => Ok(Status(status)),
        Ok(error) => Err(Errno::from_status(error)),
        Err(_) => Err(Errno::EBADMSG),
    }
}

#[inline]
fn primitive(primitive: Primitive, endpoint: Endpoint, message: &mut Message) -> Result<Status, Errno> {
    trap(primitive as u64, u64::from(endpoint.to_bits()), message)
}

/// Makes any trap: for programs that test what the kernel refuses.
///
/// # Errors
/// Whatever the kernel answers.
pub fn raw_trap(number: u64, endpoint: u64, message: &mut Message) -> Result<Status, Errno> {
    trap(number, endpoint, message)
}

/// Sends, and waits until the message has been taken.
///
/// # Errors
/// `EDEADSRCDST`, `ECALLDENIED`, `ETRAPDENIED`, `ELOCKED`, `EINVAL`: see `abi::Errno`.
pub fn send(to: Endpoint, message: &Message) -> Result<(), Errno> {
    primitive(Primitive::Send, to, &mut { *message }).map(|_| ())
}

/// Waits for a message.
///
/// # Errors
/// `EDEADSRCDST` if `from` is or becomes dead, `ELOCKED` if it waits for the caller.
pub fn receive(from: Endpoint) -> Result<(Message, Status), Errno> {
    let mut message = Message::zeroed();
    let status = primitive(Primitive::Receive, from, &mut message)?;
    Ok((message, status))
}

/// Sends if the receiver waits for it.
///
/// # Errors
/// As [`send`]; `ENOTREADY` if the receiver does not wait for a message of the caller's.
pub fn send_nb(to: Endpoint, message: &Message) -> Result<(), Errno> {
    primitive(Primitive::SendNb, to, &mut { *message }).map(|_| ())
}

/// Hands a message to the kernel, which delivers it when the receiver takes it. Messages to one
/// receiver come in the order in which they were sent.
///
/// # Errors
/// `EPERM` for programs, `EDEADSRCDST`, `ECALLDENIED`, `ETRAPDENIED`; `ENOBUFS` if as many of the
/// caller's messages are on their way as can be, however many others have sent; `EBADCALL` for
/// unknown flags.
pub fn send_async(to: Endpoint, message: &Message, flags: AsyncFlags) -> Result<(), Errno> {
    trap(flags.to_trap(), u64::from(to.to_bits()), &mut { *message }).map(|_| ())
}

/// Sends an answer to a process that waits for it, and receives the next message from anybody,
/// which replaces it. An answer for one who has died or does not wait is dropped.
///
/// # Errors
/// `EINVAL`, `ECALLDENIED`, `ETRAPDENIED`: nothing was received then.
#[inline]
pub fn reply_receive(to: Endpoint, message: &mut Message) -> Result<Status, Errno> {
    primitive(Primitive::ReplyReceive, to, message)
}

/// Sends a request and receives the answer, which replaces it.
///
/// # Errors
/// As [`send`] and [`receive`].
pub fn sendrec(to: Endpoint, message: &mut Message) -> Result<(), Errno> {
    primitive(Primitive::SendRec, to, message).map(|_| ())
}

/// Tells a process that something happened.
///
/// # Errors
/// `EDEADSRCDST`, `ECALLDENIED`, `ETRAPDENIED`.
pub fn notify(to: Endpoint) -> Result<(), Errno> {
    primitive(Primitive::Notify, to, &mut Message::zeroed()).map(|_| ())
}

/// Makes a call of a server and waits for the answer.
///
/// # Errors
/// Those of the call; those of [`sendrec`] if the server can't be reached.
pub fn call<C: Call>(to: To<C::Service>, request: &C) -> Result<C::Reply, Errno> {
    let mut message = to.request(request, 0);
    sendrec(to.endpoint, &mut message)?;
    C::outcome(&message)
}

/// Makes a kernel call.
///
/// # Errors
/// Those of the call; `ECALLDENIED` and `EBADREQUEST` as for every kernel call.
pub fn kernel_call<C: Call<Service = kernel::Service>>(request: &C) -> Result<C::Reply, Errno> {
    let mut message = request.to_message(0);
    primitive(Primitive::KernelCall, Endpoint::NONE, &mut message)?;
    C::outcome(&message)
}

/// The processor's time-stamp counter.
#[must_use]
pub fn time_stamp() -> u64 {
    // SAFETY: every x86-64 has the counter, and the kernel lets everybody read it.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Ends the caller.
pub fn exit(status: i32) -> ! {
    // Whatever comes back, there is nothing left to do.
    let _ = kernel_call(&kernel::exit::Request { status });
    loop {
        core::hint::spin_loop();
    }
}

/// A line of the kernel's log, under the caller's name.
///
/// Dropping it ends the line.
#[derive(Debug)]
pub struct LogLine(pub Level);

impl LogLine {
    fn diag(&self, text: &[u8], ends_line: bool) {
        // The log is best effort: who may not write to it goes on without.
        let _ = kernel_call(&kernel::diag::Request { level: self.0, ends_line, text: Bytes::first_of(text) });
    }
}

impl core::fmt::Write for LogLine {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        text.as_bytes().chunks(96).for_each(|piece| self.diag(piece, false));
        Ok(())
    }
}

impl Drop for LogLine {
    fn drop(&mut self) {
        self.diag(b"", true);
    }
}
