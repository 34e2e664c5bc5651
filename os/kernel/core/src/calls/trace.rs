//! Kernel calls of a tracer.

use super::{Call, Context, Machine};
use crate::memory::copy::Outcome;
use crate::process::Stops;
use abi::protocols::kernel::{
    trace_read, trace_read_bytes, trace_read_register, trace_resume, trace_stop, trace_write,
    trace_write_bytes, trace_write_register,
};
use abi::{Bytes, Errno};

pub(super) fn trace_stop<M: Machine>(
    call: &mut Call<'_, M>,
    request: trace_stop::Request,
) -> Result<trace_stop::Reply, Errno> {
    let slot = call.find_other(request.process)?;
    call.kernel.stop(slot, Stops::TRACED);
    Ok(trace_stop::Reply {})
}

pub(super) fn trace_resume<M: Machine>(
    call: &mut Call<'_, M>,
    request: trace_resume::Request,
) -> Result<trace_resume::Reply, Errno> {
    let slot = call.find(request.process)?;
    call.resume_from(slot, Stops::TRACED)?;
    call.kernel.trace(slot, request.how);
    Ok(trace_resume::Reply {})
}

pub(super) fn trace_read<M: Machine>(
    call: &mut Call<'_, M>,
    request: trace_read::Request,
) -> Outcome<trace_read::Reply> {
    let slot = call.find(request.process)?;
    let mut word = [0; 8];
    call.kernel.read_of(call.caller, slot, request.address, &mut word)?;
    Ok(trace_read::Reply { value: u64::from_le_bytes(word) })
}

pub(super) fn trace_write<M: Machine>(
    call: &mut Call<'_, M>,
    request: trace_write::Request,
) -> Outcome<trace_write::Reply> {
    let slot = call.find(request.process)?;
    call.kernel.write_of(call.caller, slot, request.address, &request.value.to_le_bytes())?;
    Ok(trace_write::Reply {})
}

pub(super) fn trace_read_bytes<M: Machine>(
    call: &mut Call<'_, M>,
    request: trace_read_bytes::Request,
) -> Outcome<trace_read_bytes::Reply> {
    let slot = call.find(request.process)?;
    let mut bytes = [0; 96];
    let bytes = bytes.get_mut(..usize::from(request.count)).filter(|bytes| !bytes.is_empty());
    let bytes = bytes.ok_or(Errno::EINVAL)?;
    call.kernel.read_of(call.caller, slot, request.address, bytes)?;
    Ok(trace_read_bytes::Reply { bytes: Bytes::first_of(bytes) })
}

pub(super) fn trace_write_bytes<M: Machine>(
    call: &mut Call<'_, M>,
    request: trace_write_bytes::Request,
) -> Outcome<trace_write_bytes::Reply> {
    let trace_write_bytes::Request { process, address, bytes } = request;
    let slot = call.find(process)?;
    if bytes.as_slice().is_empty() {
        return Err(Errno::EINVAL.into());
    }
    call.kernel.write_of(call.caller, slot, address, bytes.as_slice())?;
    Ok(trace_write_bytes::Reply {})
}

pub(super) fn trace_read_register<M: Machine>(
    call: &mut Call<'_, M>,
    request: trace_read_register::Request,
) -> Result<trace_read_register::Reply, Errno> {
    let slot = call.find(request.process)?;
    let registers = call.kernel.processes.process(slot).context.registers();
    Ok(trace_read_register::Reply { value: registers[request.register as usize] })
}

pub(super) fn trace_write_register<M: Machine>(
    call: &mut Call<'_, M>,
    request: trace_write_register::Request,
) -> Result<trace_write_register::Reply, Errno> {
    let slot = call.find_other(request.process)?;
    let context = &mut call.kernel.processes.process_mut(slot).context;
    let mut registers = context.registers();
    registers[request.register as usize] = request.value;
    context.set_registers(&registers).map_err(|_| Errno::EFAULT)?;
    Ok(trace_write_register::Reply {})
}
