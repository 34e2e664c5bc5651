//! Kernel calls about the life of a process: its birth, what it runs, and whether it runs.

use super::{Call, Context, Machine, Slot};
use crate::log;
use crate::memory::copy::Outcome;
use crate::process::{Identity, Ipc, Process, Stops};
use abi::protocols::kernel::{
    exec, fork, get_machine_context, run_resume, run_stop, set_machine_context, vm_clear_page_fault,
    vm_set_inhibited,
};
use abi::registers::{FloatRegisters, Register};
use abi::{Callers, Errno, Name};

pub(super) fn fork<M: Machine>(call: &mut Call<'_, M>, request: fork::Request) -> Result<fork::Reply, Errno> {
    let parent_slot = call.find_other(request.parent)?;
    let slot = Slot::new(request.slot);
    let kernel = &mut *call.kernel;
    let endpoint = kernel.processes.free_endpoint(slot).ok_or(Errno::EINVAL)?;
    let is_program = kernel.processes.process(parent_slot).class.admits(Callers::PROGRAM);
    // The child waits as its parent does, and whoever was asked answers both. A message is never for two.
    if !matches!(kernel.processes.process(parent_slot).ipc, Ipc::Receiving { in_sendrec: true, .. }) {
        return Err(Errno::EINVAL);
    }
    let privileges = kernel.programs_privileges().ok_or(Errno::ENOSPC)?;
    let space = kernel.machine.new_space().ok_or(Errno::ENOMEM)?;
    let parent = kernel.processes.process(parent_slot);
    // A signal, a fault or a tracer that stops the parent is no matter of the child's.
    let mut stops = if parent.stops.contains(Stops::STOPPED) { Stops::STOPPED } else { Stops::NONE };
    if parent.scheduler.is_some_and(|scheduler| kernel.processes.find(scheduler).is_some()) {
        // Its scheduler has yet to hear of it.
        stops = stops.with(Stops::NO_QUANTUM);
    }
    if request.inhibited {
        stops = stops.with(Stops::NO_SPACE);
    }
    if !is_program {
        stops = stops.with(Stops::NO_PRIVILEGES);
    }
    let (name, class) = (name_of_child(parent.name), Callers::PROGRAM);
    let identity = Identity { endpoint, name, class, privileges };
    // Nothing is copied but what is named here: never who waits for the parent.
    let mut child: Process<M> = Process {
        ipc: parent.ipc,
        stops,
        priority: parent.priority,
        quantum_ticks: parent.quantum_ticks,
        quantum_left: parent.quantum_ticks,
        scheduler: parent.scheduler,
        ..Process::new(identity, parent.context.clone(), space)
    };
    child.context.set_result(0);
    child.step_for_tracer(false);
    kernel.processes.insert(slot, child);
    kernel.space_changed();
    Ok(fork::Reply { child: endpoint })
}

/// `sh*F` for the child of `sh`, if it fits.
fn name_of_child(parent: Name) -> Name {
    const MARK: &[u8] = b"*F";
    let name = parent.as_str().as_bytes();
    let mut bytes = [0; Name::SIZE];
    let (end, len) = (name.len(), name.len() + MARK.len());
    if len > bytes.len() || name.ends_with(MARK) {
        return parent;
    }
    bytes[..end].copy_from_slice(name);
    bytes[end..len].copy_from_slice(MARK);
    core::str::from_utf8(&bytes[..len]).ok().and_then(Name::new).unwrap_or(parent)
}

pub(super) fn exec<M: Machine>(call: &mut Call<'_, M>, request: exec::Request) -> Result<exec::Reply, Errno> {
    let exec::Request { process, instruction, stack, argument, name } = request;
    let slot = call.find_other(process)?;
    // A new version of a service bears its name; a program that did could speak for it in the log.
    let is_program = call.kernel.processes.process(slot).class.admits(Callers::PROGRAM);
    let is_services = {
        let mut others = call.kernel.processes.iter().filter(|(other, _)| *other != slot);
        others.any(|(_, other)| other.name == name && other.class.admits(Callers::SERVICE))
    };
    if name.as_str() == log::KERNEL || is_program && is_services {
        return Err(Errno::EINVAL);
    }
    let process = call.kernel.processes.process_mut(slot);
    let mut registers = abi::registers::Registers::default();
    registers[Register::Rip as usize] = instruction;
    registers[Register::Rsp as usize] = stack;
    registers[Register::Rdi as usize] = argument;
    process.context.set_registers(&registers).map_err(|_| Errno::EFAULT)?;
    process.context.reset_float();
    process.step_for_tracer(false);
    process.tracing.forget_stop();
    process.name = name;
    call.kernel.forget_call(slot);
    call.kernel.clear_page_fault(slot);
    call.kernel.cancel(slot);
    call.kernel.forget_wishes(slot);
    Ok(exec::Reply {})
}

pub(super) fn run_stop<M: Machine>(
    call: &mut Call<'_, M>,
    request: run_stop::Request,
) -> Result<run_stop::Reply, Errno> {
    let slot = call.find_other(request.process)?;
    let process = call.kernel.processes.process_mut(slot);
    if request.delay && !process.can_be_stopped() {
        process.signals.delay();
        return Err(Errno::EBUSY);
    }
    call.kernel.stop(slot, Stops::STOPPED);
    Ok(run_stop::Reply {})
}

pub(super) fn run_resume<M: Machine>(
    call: &mut Call<'_, M>,
    request: run_resume::Request,
) -> Result<run_resume::Reply, Errno> {
    let slot = call.find(request.process)?;
    call.resume_from(slot, Stops::STOPPED).map(|()| run_resume::Reply {})
}

pub(super) fn get_machine_context<M: Machine>(
    call: &mut Call<'_, M>,
    request: get_machine_context::Request,
) -> Outcome<get_machine_context::Reply> {
    let slot = call.find(request.process)?;
    let float = call.kernel.processes.process(slot).context.float();
    call.kernel.write_of(call.caller, slot, request.address, &float)?;
    Ok(get_machine_context::Reply {})
}

pub(super) fn set_machine_context<M: Machine>(
    call: &mut Call<'_, M>,
    request: set_machine_context::Request,
) -> Outcome<set_machine_context::Reply> {
    let slot = call.find_other(request.process)?;
    if !call.kernel.processes.process(slot).is_between_primitives() {
        return Err(Errno::EBUSY.into());
    }
    let mut float: FloatRegisters = [0; size_of::<FloatRegisters>()];
    call.kernel.read_of(call.caller, slot, request.address, &mut float)?;
    call.kernel.processes.process_mut(slot).context.set_float(&float).map_err(|_| Errno::EINVAL)?;
    Ok(set_machine_context::Reply {})
}

pub(super) fn vm_clear_page_fault<M: Machine>(
    call: &mut Call<'_, M>,
    request: vm_clear_page_fault::Request,
) -> Result<vm_clear_page_fault::Reply, Errno> {
    let slot = call.find(request.process)?;
    if !call.kernel.clear_page_fault(slot) {
        return Err(Errno::EINVAL);
    }
    Ok(vm_clear_page_fault::Reply {})
}

pub(super) fn vm_set_inhibited<M: Machine>(
    call: &mut Call<'_, M>,
    request: vm_set_inhibited::Request,
) -> Result<vm_set_inhibited::Reply, Errno> {
    let slot = call.find_other(request.process)?;
    let is_inhibited = call.kernel.processes.process(slot).is_held();
    if is_inhibited == request.inhibited {
        return Err(Errno::EINVAL);
    }
    if request.inhibited {
        call.kernel.stop(slot, Stops::NO_SPACE);
    } else {
        call.kernel.resume(slot, Stops::NO_SPACE);
        call.kernel.write_marks(slot);
        call.kernel.release(slot);
    }
    Ok(vm_set_inhibited::Reply {})
}
