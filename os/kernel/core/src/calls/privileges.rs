//! Kernel calls about what processes may do.

use super::{Call, Kernel, Machine, Slot};
use crate::ipc::filter::Filters;
use crate::ipc::mail;
use crate::kernel::{MEMORY_RANGES, PORT_RANGES};
use crate::memory::grants;
use crate::privilege::{Id, IdSet, Notifier, Privileges};
use crate::process::{Ipc, Stops};
use abi::protocols::kernel::{
    privilege_add_io, privilege_add_irq, privilege_add_memory, privilege_add_target, privilege_allow,
    privilege_clear_ipc_refs, privilege_disallow, privilege_query_memory, privilege_remove_target,
    privilege_set_system, privilege_set_user, privilege_update, privilege_yield, state_clear_ipc_refs,
    update,
};
use abi::{Callers, Endpoint, Errno};

/// What a service can be.
const SERVICES: Callers = Callers::SERVICE.or(Callers::RS).or(Callers::PM).or(Callers::VFS).or(Callers::VM);

impl<M: Machine> Call<'_, M> {
    fn may_run(&self, slot: Slot) -> bool {
        !self.kernel.processes.process(slot).stops.contains(Stops::NO_PRIVILEGES)
    }

    /// The process of a request that it may only be made for while it may not run.
    fn find_without_privileges(&self, endpoint: Endpoint) -> Result<Slot, Errno> {
        let slot = self.find(endpoint)?;
        if self.may_run(slot) { Err(Errno::EPERM) } else { Ok(slot) }
    }

    /// The privileges of a service that may run.
    fn privileges_of_service(&mut self, endpoint: Endpoint) -> Result<&mut Privileges, Errno> {
        let slot = self.find(endpoint)?;
        let process = self.kernel.processes.process(slot);
        if !process.class.admits(Callers::SERVICE) || !self.may_run(slot) {
            return Err(Errno::EPERM);
        }
        Ok(&mut self.kernel.privileges[process.privileges.index()])
    }

    fn check_manager(&self, manager: Endpoint) -> Result<(), Errno> {
        if manager == Endpoint::SELF { Ok(()) } else { self.check_scheduler(manager) }
    }

    fn check_scheduler(&self, scheduler: Endpoint) -> Result<(), Errno> {
        let is_known = scheduler == Endpoint::NONE || self.kernel.find_service(scheduler).is_some();
        if is_known { Ok(()) } else { Err(Errno::EINVAL) }
    }
}

pub(super) fn privilege_allow<M: Machine>(
    call: &mut Call<'_, M>,
    request: privilege_allow::Request,
) -> Result<privilege_allow::Reply, Errno> {
    let slot = call.find_without_privileges(request.process)?;
    call.kernel.resume(slot, Stops::NO_PRIVILEGES);
    Ok(privilege_allow::Reply {})
}

pub(super) fn privilege_disallow<M: Machine>(
    call: &mut Call<'_, M>,
    request: privilege_disallow::Request,
) -> Result<privilege_disallow::Reply, Errno> {
    let slot = call.find_other(request.process)?;
    if !call.may_run(slot) {
        return Err(Errno::EPERM);
    }
    call.kernel.stop(slot, Stops::NO_PRIVILEGES);
    Ok(privilege_disallow::Reply {})
}

pub(super) fn privilege_set_system<M: Machine>(
    call: &mut Call<'_, M>,
    request: privilege_set_system::Request,
) -> Result<privilege_set_system::Reply, Errno> {
    let privilege_set_system::Request { process, class, traps, kernel_calls, .. } = request;
    let privilege_set_system::Request { signal_manager, backup_manager, scheduler, grants_magic, .. } =
        request;
    let slot = call.find_without_privileges(process)?;
    // It is about to be a service, which may have its own name for its manager.
    for manager in [signal_manager, backup_manager].into_iter().filter(|manager| *manager != process) {
        call.check_manager(manager)?;
    }
    call.check_scheduler(scheduler)?;
    if !class.admits(Callers::SERVICE) || class.or(SERVICES) != SERVICES {
        return Err(Errno::EINVAL);
    }
    let kernel = &mut *call.kernel;
    let owner = kernel.processes.process(slot).endpoint;
    let manager = kernel.manager_of(slot);
    kernel.leave_privileges(slot);
    let id = kernel.unused_privileges().ok_or(Errno::ENOSPC)?;
    let privileges = &mut kernel.privileges[id.index()];
    *privileges = Privileges {
        traps,
        kernel_calls: kernel_calls & super::ALL,
        scheduler,
        grants_magic,
        ..Privileges::nothing(owner)
    };
    privileges.set_managers(signal_manager, backup_manager);
    kernel.become_another(slot, id, class, manager);
    Ok(privilege_set_system::Reply {})
}

pub(super) fn privilege_set_user<M: Machine>(
    call: &mut Call<'_, M>,
    request: privilege_set_user::Request,
) -> Result<privilege_set_user::Reply, Errno> {
    let slot = call.find_without_privileges(request.process)?;
    let kernel = &mut *call.kernel;
    let id = kernel.programs_privileges().ok_or(Errno::ENOSPC)?;
    let manager = kernel.manager_of(slot);
    kernel.leave_privileges(slot);
    kernel.become_another(slot, id, Callers::PROGRAM, manager);
    Ok(privilege_set_user::Reply {})
}

pub(super) fn privilege_add_io<M: Machine>(
    call: &mut Call<'_, M>,
    request: privilege_add_io::Request,
) -> Result<privilege_add_io::Reply, Errno> {
    let privilege_add_io::Request { process, first, last } = request;
    let privileges = call.privileges_of_service(process)?;
    if first > last {
        return Err(Errno::EINVAL);
    }
    add(&mut privileges.ports, (first, last), PORT_RANGES)?;
    Ok(privilege_add_io::Reply {})
}

pub(super) fn privilege_add_memory<M: Machine>(
    call: &mut Call<'_, M>,
    request: privilege_add_memory::Request,
) -> Result<privilege_add_memory::Reply, Errno> {
    let privilege_add_memory::Request { process, start, size } = request;
    let privileges = call.privileges_of_service(process)?;
    if size == 0 || start.checked_add(size).is_none() {
        return Err(Errno::EINVAL);
    }
    add(&mut privileges.memory, (start, size), MEMORY_RANGES)?;
    Ok(privilege_add_memory::Reply {})
}

/// Adds a range that is not there yet.
fn add<T: PartialEq>(ranges: &mut alloc::vec::Vec<T>, range: T, limit: usize) -> Result<(), Errno> {
    if ranges.contains(&range) {
        return Ok(());
    }
    if ranges.len() >= limit {
        return Err(Errno::ENOMEM);
    }
    ranges.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
    ranges.push(range);
    Ok(())
}

pub(super) fn privilege_add_irq<M: Machine>(
    call: &mut Call<'_, M>,
    request: privilege_add_irq::Request,
) -> Result<privilege_add_irq::Reply, Errno> {
    let lines = call.kernel.machine.irq_lines();
    let privileges = call.privileges_of_service(request.process)?;
    if request.line >= lines {
        return Err(Errno::EINVAL);
    }
    privileges.irqs |= 1 << request.line;
    Ok(privilege_add_irq::Reply {})
}

pub(super) fn privilege_query_memory<M: Machine>(
    call: &mut Call<'_, M>,
    request: privilege_query_memory::Request,
) -> Result<privilege_query_memory::Reply, Errno> {
    let slot = call.find(request.process)?;
    if call.kernel.privileges_of(slot).may_map(request.start, request.size) {
        Ok(privilege_query_memory::Reply {})
    } else {
        Err(Errno::EPERM)
    }
}

pub(super) fn privilege_update<M: Machine>(
    call: &mut Call<'_, M>,
    request: privilege_update::Request,
) -> Result<privilege_update::Reply, Errno> {
    let privilege_update::Request { process, traps, kernel_calls, .. } = request;
    let privilege_update::Request { signal_manager, backup_manager, scheduler, grants_magic, .. } = request;
    let slot = call.find(process)?;
    if grants_magic && !call.kernel.processes.process(slot).class.admits(Callers::SERVICE) {
        return Err(Errno::EINVAL);
    }
    call.check_manager(signal_manager)?;
    call.check_manager(backup_manager)?;
    call.check_scheduler(scheduler)?;
    let manager = call.kernel.manager_of(slot);
    let id = call.kernel.processes.process(slot).privileges;
    let privileges = &mut call.kernel.privileges[id.index()];
    privileges.traps = traps;
    privileges.kernel_calls = kernel_calls & super::ALL;
    privileges.grants_magic = grants_magic;
    privileges.scheduler = scheduler;
    privileges.set_managers(signal_manager, backup_manager);
    call.kernel.promote_for_nobody(slot);
    if call.kernel.manager_of(slot) != manager {
        call.kernel.change_manager(id);
    }
    Ok(privilege_update::Reply {})
}

pub(super) fn privilege_yield<M: Machine>(
    call: &mut Call<'_, M>,
    request: privilege_yield::Request,
) -> Result<privilege_yield::Reply, Errno> {
    let other = call.find_other(request.process)?;
    let slot = call.find_without_privileges(call.kernel.processes.process(other).endpoint)?;
    call.kernel.stop(call.caller, Stops::NO_PRIVILEGES);
    call.kernel.resume(slot, Stops::NO_PRIVILEGES);
    Ok(privilege_yield::Reply {})
}

pub(super) fn privilege_clear_ipc_refs<M: Machine>(
    call: &mut Call<'_, M>,
    request: privilege_clear_ipc_refs::Request,
) -> Result<privilege_clear_ipc_refs::Reply, Errno> {
    let slot = call.find(request.process)?;
    call.kernel.clear_ipc_references(slot);
    Ok(privilege_clear_ipc_refs::Reply {})
}

pub(super) fn state_clear_ipc_refs<M: Machine>(
    call: &mut Call<'_, M>,
    _: state_clear_ipc_refs::Request,
) -> Result<state_clear_ipc_refs::Reply, Errno> {
    call.kernel.clear_ipc_references(call.caller);
    Ok(state_clear_ipc_refs::Reply {})
}

pub(super) fn privilege_add_target<M: Machine>(
    call: &mut Call<'_, M>,
    request: privilege_add_target::Request,
) -> Result<privilege_add_target::Reply, Errno> {
    let (process, target) = targets(call, request.process, request.target)?;
    call.kernel.let_send(process, target);
    Ok(privilege_add_target::Reply {})
}

pub(super) fn privilege_remove_target<M: Machine>(
    call: &mut Call<'_, M>,
    request: privilege_remove_target::Request,
) -> Result<privilege_remove_target::Reply, Errno> {
    let (process, target) = targets(call, request.process, request.target)?;
    let privileges = &mut call.kernel.privileges;
    privileges[process.index()].send_to.remove(Notifier::Service(target));
    privileges[target.index()].send_to.remove(Notifier::Service(process));
    Ok(privilege_remove_target::Reply {})
}

/// The privileges of two processes, which are two.
fn targets<M: Machine>(call: &Call<'_, M>, one: Endpoint, other: Endpoint) -> Result<(Id, Id), Errno> {
    let id = |endpoint| call.find(endpoint).map(|slot| call.kernel.processes.process(slot).privileges);
    let (one, other) = (id(one)?, id(other)?);
    if one == other { Err(Errno::EINVAL) } else { Ok((one, other)) }
}

pub(super) fn update<M: Machine>(
    call: &mut Call<'_, M>,
    request: update::Request,
) -> Result<update::Reply, Errno> {
    let source = call.find(request.source)?;
    let target = call.find(request.target)?;
    if source == target {
        return Err(Errno::EINVAL);
    }
    call.kernel.exchange(call.caller, (source, target), request.rollback)?;
    Ok(update::Reply {})
}

impl<M: Machine> Kernel<M> {
    /// Gives a process that may not run other privileges. What it has as the service that it was is gone,
    /// and nobody waits for that one any longer. Whose message it waits for itself stays.
    fn become_another(&mut self, slot: Slot, id: Id, class: Callers, manager: Option<Slot>) {
        let process = self.processes.process(slot);
        let (endpoint, old) = (process.endpoint, process.privileges);
        if self.vm() == Some(slot) && !class.admits(Callers::VM) {
            self.forget_requests(slot);
            self.vm = None;
        }
        self.drop_letters(slot, |letter| !letter.status.is_from_kernel());
        // Before anybody is released who may have been the last that waited: the old set is nobody's any more.
        let process = self.processes.process_mut(slot);
        process.privileges = id;
        process.class = class;
        self.promote_for_nobody(slot);
        let process = self.processes.process(slot);
        if matches!(process.ipc, Ipc::Sending { .. }) && !process.stops.contains(Stops::PAGE_FAULT) {
            self.cancel_with(slot, Errno::EDEADSRCDST);
        }
        self.clear_ipc_references_of(slot, old);
        // Who is told once more may have nobody to manage it any longer, be it this one, or VM, whose place this one may take.
        self.settle_orphans();
        if self.processes.get(slot).is_none() {
            return;
        }
        if !class.admits(Callers::SERVICE) {
            self.schedule_without(endpoint);
        }
        let Self { machine, processes, .. } = self;
        machine.unmap_devices(&mut processes.process_mut(slot).space);
        self.space_changed();
        self.forget_wishes(slot);
        let process = self.processes.process_mut(slot);
        process.memory.grants = None;
        process.memory.marks = grants::Marks::default();
        process.mail_over = mail::Over::default();
        // What it is told of those that it manages is still so.
        let is_told = process.notifications.contains(Notifier::System);
        process.notifications = IdSet::default();
        if is_told {
            process.notifications.insert(Notifier::System);
        }
        let is_new_vm = class.admits(Callers::VM) && self.vm().is_none();
        if is_new_vm {
            self.vm = Some(endpoint);
        }
        if self.manager_of(slot) != manager {
            self.find_manager(slot);
        }
        // What its manager of before had in hands, and nobody has now, may have ended it.
        if self.processes.get(slot).is_some() {
            self.hand_own_signals_over(slot);
        }
        if self.processes.get(slot).is_some() {
            // Its filter may have held back what it is told of its processes.
            self.receive_again(slot);
        }
        self.settle_orphans();
        if is_new_vm {
            // Those that a debugger was to hear of first: there is a VM for them now.
            self.repeat_page_faults();
        }
    }

    /// Forgets what a process wanted to hear of, and what it didn't.
    pub(super) fn forget_wishes(&mut self, slot: Slot) {
        self.interrupts.detach(&mut self.machine, slot);
        self.alarms.cancel(slot);
        let process = self.processes.process_mut(slot);
        process.filters = Filters::default();
        process.irqs_pending = 0;
        process.watches_log = false;
        // What came of that already.
        for notifier in [Notifier::Hardware, Notifier::Clock] {
            process.notifications.remove(notifier);
        }
    }

    /// A set of privileges that nobody has.
    fn unused_privileges(&mut self) -> Option<Id> {
        let is_unused =
            |id: &Id| self.privileges[id.index()].owner == Endpoint::NONE && Some(*id) != self.programs;
        if let Some(id) = (0..self.privileges.len()).filter_map(Id::new).find(is_unused) {
            return Some(id);
        }
        let id = Id::new(self.privileges.len())?;
        self.privileges.push(Privileges::nothing(Endpoint::NONE));
        Some(id)
    }

    /// The privileges that all programs share.
    pub(super) fn programs_privileges(&mut self) -> Option<Id> {
        if self.programs.is_none() {
            let id = self.unused_privileges()?;
            self.privileges[id.index()].traps = abi::boot::PROGRAM_TRAPS;
            self.programs = Some(id);
        }
        self.programs
    }

    /// Frees the privileges that a process alone has, before it gets others.
    fn leave_privileges(&mut self, slot: Slot) {
        let process = self.processes.process(slot);
        let id = process.privileges;
        if self.privileges[id.index()].owner == process.endpoint {
            self.free_privileges(id);
        }
    }
}
