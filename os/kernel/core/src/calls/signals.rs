//! Kernel calls about signals.

use super::{Call, Context, Machine};
use crate::exit::Doom;
use crate::memory::copy::Outcome;
use crate::process::Stops;
use abi::protocols::kernel::{clear, endksig, getksig, kill, sigreturn, sigsend};
use abi::registers::{FloatRegisters, Register, Registers, frame};
use abi::{Callers, Endpoint, Errno, Signals, Wire};

pub(super) fn kill<M: Machine>(call: &mut Call<'_, M>, request: kill::Request) -> Result<kill::Reply, Errno> {
    let kill::Request { process, signal } = request;
    let slot = call.find(process)?;
    if !signal.can_be_sent() {
        return Err(Errno::EINVAL);
    }
    if call.kernel.cause_signal(slot, signal).is_err() {
        if !Signals::TERMINATION.contains(signal) {
            return Err(Errno::ENOENT);
        }
        call.kernel.end_unmanaged(slot, signal, Doom::Signal(signal));
        call.kernel.settle_orphans();
    }
    Ok(kill::Reply {})
}

pub(super) fn getksig<M: Machine>(
    call: &mut Call<'_, M>,
    _: getksig::Request,
) -> Result<getksig::Reply, Errno> {
    let (process, signals) = call.kernel.take_signals(call.caller).unwrap_or((Endpoint::NONE, Signals::NONE));
    Ok(getksig::Reply { process, signals })
}

pub(super) fn endksig<M: Machine>(
    call: &mut Call<'_, M>,
    request: endksig::Request,
) -> Result<endksig::Reply, Errno> {
    let slot = call.find(request.process)?;
    if call.kernel.manager_of(slot) != Some(call.caller) {
        return Err(Errno::EPERM);
    }
    if call.kernel.end_signals(slot) { Ok(endksig::Reply {}) } else { Err(Errno::EINVAL) }
}

pub(super) fn clear<M: Machine>(
    call: &mut Call<'_, M>,
    request: clear::Request,
) -> Result<clear::Reply, Errno> {
    if call.kernel.processes.was_last(request.process) {
        return Ok(clear::Reply {});
    }
    let slot = call.find_other(request.process)?;
    let is_pm = call.process().class.admits(Callers::PM);
    if !is_pm && call.kernel.manager_of(slot) != Some(call.caller) {
        return Err(Errno::EPERM);
    }
    call.kernel.clear(slot);
    Ok(clear::Reply {})
}

/// What the System V ABI keeps for the function that runs, below its stack pointer (3.2.2).
const RED_ZONE: u64 = 128;

pub(super) fn sigsend<M: Machine>(
    call: &mut Call<'_, M>,
    request: sigsend::Request,
) -> Outcome<sigsend::Reply> {
    let sigsend::Request { process, signal, handler, restorer, stack, mask } = request;
    let slot = call.find_other(process)?;
    if !signal.can_be_sent() {
        return Err(Errno::EINVAL.into());
    }
    let process = call.kernel.processes.process(slot);
    if !process.is_between_primitives() {
        return Err(Errno::EBUSY.into());
    }
    let mut registers = process.context.registers();
    let rsp = registers[Register::Rsp as usize];
    let top = if stack == 0 { rsp.wrapping_sub(RED_ZONE) } else { stack };
    let frame = top.wrapping_sub(frame::SIZE as u64) & !15;
    let bottom = frame.wrapping_sub(8);

    let mut bytes = [0; 8 + frame::SIZE];
    restorer.put(&mut bytes[..8]);
    save(&mut bytes[8..], mask, &registers, &process.context.float());
    call.kernel.write_of(call.caller, slot, bottom, &bytes)?;

    // All copies are made: nothing fails from here on but the handler's address, which changes nothing.
    let process = call.kernel.processes.process_mut(slot);
    registers[Register::Rip as usize] = handler;
    registers[Register::Rsp as usize] = bottom;
    registers[Register::Rdi as usize] = u64::from(signal.number());
    registers[Register::Rsi as usize] = frame;
    registers[Register::Rdx as usize] = 0;
    // The direction flag is clear where a function starts (System V ABI, 3.2.1).
    registers[Register::Rflags as usize] = 0;
    process.context.set_registers(&registers).map_err(|_| Errno::EFAULT)?;
    process.context.reset_float();
    process.tracing.forget_stop();
    Ok(sigsend::Reply { frame })
}

/// Lays a frame out; see [`frame`].
fn save(into: &mut [u8], mask: Signals, registers: &Registers, float: &FloatRegisters) {
    frame::MAGIC.put(&mut into[..8]);
    mask.put(&mut into[frame::MASK..frame::REGISTERS]);
    for (value, out) in registers.iter().zip(into[frame::REGISTERS..frame::FLOAT].chunks_exact_mut(8)) {
        value.put(out);
    }
    into[frame::FLOAT..].copy_from_slice(float);
}

pub(super) fn sigreturn<M: Machine>(
    call: &mut Call<'_, M>,
    request: sigreturn::Request,
) -> Outcome<sigreturn::Reply> {
    let slot = call.find_other(request.process)?;
    let process = call.kernel.processes.process(slot);
    if process.is_in_a_call() || process.stops.contains(Stops::PAGE_FAULT) {
        return Err(Errno::EBUSY.into());
    }
    let mut bytes = [0; frame::SIZE];
    call.kernel.read_of(call.caller, slot, request.frame, &mut bytes)?;
    let (mask, registers, float) = load(&bytes).ok_or(Errno::EINVAL)?;

    let process = call.kernel.processes.process_mut(slot);
    let before = process.context.registers();
    process.context.set_registers(&registers).map_err(|_| Errno::EFAULT)?;
    if process.context.set_float(&float).is_err() {
        process.context.set_registers(&before).map_err(|_| Errno::EFAULT)?;
        return Err(Errno::EINVAL.into());
    }
    call.kernel.cancel(slot);
    Ok(sigreturn::Reply { mask })
}

/// Reads a frame, if it is one.
fn load(bytes: &[u8; frame::SIZE]) -> Option<(Signals, Registers, FloatRegisters)> {
    if u64::get(&bytes[..8])? != frame::MAGIC {
        return None;
    }
    let mask = Signals::get(&bytes[frame::MASK..frame::REGISTERS])?;
    let mut registers = Registers::default();
    for (value, bytes) in registers.iter_mut().zip(bytes[frame::REGISTERS..frame::FLOAT].chunks_exact(8)) {
        *value = u64::get(bytes)?;
    }
    Some((mask, registers, bytes[frame::FLOAT..].try_into().ok()?))
}
