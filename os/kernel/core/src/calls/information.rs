//! Kernel calls that tell about the system, and timers of processes.

use super::{Call, Machine};
use crate::privilege::Notifier;
use abi::protocols::VirtualTimer;
use abi::protocols::kernel::{
    get_irq_hook, get_load, get_machine, get_memory_range, get_parameters, get_port_range, get_privileges,
    get_randomness, get_send_right, log_read, log_stack, log_watch, set_virtual_timer,
};
use abi::{Bytes, Endpoint, Errno};

pub(super) fn get_machine<M: Machine>(
    call: &mut Call<'_, M>,
    _: get_machine::Request,
) -> Result<get_machine::Reply, Errno> {
    let machine = &call.kernel.machine;
    Ok(get_machine::Reply {
        processes: u16::try_from(call.kernel.processes.len()).unwrap_or(u16::MAX),
        irq_lines: machine.irq_lines(),
        tick_hz: machine.tick_hz(),
    })
}

pub(super) fn get_parameters<M: Machine>(
    call: &mut Call<'_, M>,
    request: get_parameters::Request,
) -> Result<get_parameters::Reply, Errno> {
    let parameters = &call.kernel.parameters;
    let length = u16::try_from(parameters.len()).unwrap_or(u16::MAX);
    let rest = parameters.get(usize::from(request.at)..).unwrap_or_default();
    Ok(get_parameters::Reply { length, text: Bytes::first_of(rest) })
}

pub(super) fn get_load<M: Machine>(
    call: &mut Call<'_, M>,
    _: get_load::Request,
) -> Result<get_load::Reply, Errno> {
    let (busy_ns, idle_ns) = call.kernel.machine.busy_and_idle_ns();
    Ok(get_load::Reply { busy_ns, idle_ns, ready_ticks: call.kernel.ready_ticks })
}

pub(super) fn get_randomness<M: Machine>(
    call: &mut Call<'_, M>,
    _: get_randomness::Request,
) -> Result<get_randomness::Reply, Errno> {
    let (samples, len) = call.kernel.entropy.take();
    Ok(get_randomness::Reply { samples: Bytes::first_of(&samples[..len]) })
}

pub(super) fn log_read<M: Machine>(
    call: &mut Call<'_, M>,
    request: log_read::Request,
) -> Result<log_read::Reply, Errno> {
    let mut text = [0; 96];
    let (position, text) = call.kernel.log.read(request.position, &mut text);
    Ok(log_read::Reply { position, text: Bytes::first_of(text) })
}

pub(super) fn log_watch<M: Machine>(
    call: &mut Call<'_, M>,
    request: log_watch::Request,
) -> Result<log_watch::Reply, Errno> {
    call.kernel.processes.process_mut(call.caller).watches_log = request.on;
    Ok(log_watch::Reply {})
}

pub(super) fn get_irq_hook<M: Machine>(
    call: &mut Call<'_, M>,
    request: get_irq_hook::Request,
) -> Result<get_irq_hook::Reply, Errno> {
    let hook = call.kernel.interrupts.hooks().nth(usize::from(request.index));
    let (line, owner, bit, is_active) = hook.ok_or(Errno::ESRCH)?;
    let owner = call.kernel.processes.process(owner).endpoint;
    Ok(get_irq_hook::Reply { line, bit, owner, is_active })
}

pub(super) fn get_privileges<M: Machine>(
    call: &mut Call<'_, M>,
    request: get_privileges::Request,
) -> Result<get_privileges::Reply, Errno> {
    let slot = call.find(request.process)?;
    let privileges = call.kernel.privileges_of(slot);
    Ok(get_privileges::Reply {
        traps: privileges.traps,
        kernel_calls: privileges.kernel_calls,
        signal_manager: privileges.signal_manager,
        backup_manager: privileges.backup_manager,
        scheduler: call.kernel.processes.process(slot).scheduler.unwrap_or(Endpoint::NONE),
        next_scheduler: privileges.scheduler,
        grants_magic: privileges.grants_magic,
        irqs: privileges.irqs,
        port_ranges: u16::try_from(privileges.ports.len()).unwrap_or(u16::MAX),
        memory_ranges: u16::try_from(privileges.memory.len()).unwrap_or(u16::MAX),
    })
}

pub(super) fn get_port_range<M: Machine>(
    call: &mut Call<'_, M>,
    request: get_port_range::Request,
) -> Result<get_port_range::Reply, Errno> {
    let privileges = call.kernel.privileges_of(call.find(request.process)?);
    let &(first, last) = privileges.ports.get(usize::from(request.index)).ok_or(Errno::ESRCH)?;
    Ok(get_port_range::Reply { first, last })
}

pub(super) fn get_memory_range<M: Machine>(
    call: &mut Call<'_, M>,
    request: get_memory_range::Request,
) -> Result<get_memory_range::Reply, Errno> {
    let privileges = call.kernel.privileges_of(call.find(request.process)?);
    let &(start, size) = privileges.memory.get(usize::from(request.index)).ok_or(Errno::ESRCH)?;
    Ok(get_memory_range::Reply { start, size })
}

pub(super) fn get_send_right<M: Machine>(
    call: &mut Call<'_, M>,
    request: get_send_right::Request,
) -> Result<get_send_right::Reply, Errno> {
    let privileges = call.kernel.privileges_of(call.find(request.process)?);
    let target = call.kernel.processes.process(call.find(request.target)?).privileges;
    Ok(get_send_right::Reply { may_send: privileges.send_to.contains(Notifier::Service(target)) })
}

pub(super) fn log_stack<M: Machine>(
    call: &mut Call<'_, M>,
    request: log_stack::Request,
) -> Result<log_stack::Reply, Errno> {
    let slot = call.find(request.process)?;
    call.kernel.log_stack(slot);
    Ok(log_stack::Reply {})
}

pub(super) fn set_virtual_timer<M: Machine>(
    call: &mut Call<'_, M>,
    request: set_virtual_timer::Request,
) -> Result<set_virtual_timer::Reply, Errno> {
    let set_virtual_timer::Request { process, timer, time_ns } = request;
    let slot = call.find(process)?;
    let tick_ns = 1_000_000_000 / u64::from(call.kernel.machine.tick_hz());
    let timers = &mut call.kernel.processes.process_mut(slot).timers;
    let left = match timer {
        VirtualTimer::Virtual => &mut timers.virtual_ticks,
        VirtualTimer::Profiling => &mut timers.profiling_ticks,
    };
    // Rounded up: no timer goes off before its time.
    let before = core::mem::replace(left, time_ns.div_ceil(tick_ns));
    Ok(set_virtual_timer::Reply { left_ns: before.saturating_mul(tick_ns) })
}
