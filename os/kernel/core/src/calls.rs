//! Kernel calls: one method per row of the kernel's protocol.

mod devices;
mod information;
mod lifecycle;
mod privileges;
mod signals;
mod trace;

use crate::Kernel;
use crate::ipc::filter::Filters;
use crate::log::Line;
use crate::machine::{Context, Machine};
use crate::memory::Progress;
use crate::memory::copy::answer;
use crate::privilege::Notifier;
use crate::process::{Ipc, Process, Slot, Stops};
use abi::protocols::{AlarmFrom, FilterRule, ProcessState, Scheduler, Width, kernel};
use abi::{Answer, Callers, Endpoint, Errno, Message, Ticket};

impl<M: Machine> Kernel<M> {
    /// Carries out the kernel call in the caller's message registers.
    pub(crate) fn call(&mut self, caller: Slot) {
        let process = self.processes.process(caller);
        let request =
            Message { source: process.endpoint, class: process.class, ..*process.context.message() };
        let answer = match self.check_call(caller, request.number) {
            Ok(()) => kernel::dispatch(&mut Call { kernel: self, caller }, &request),
            Err(error) => Some(Answer::refusal(&request, error)),
        };
        // A call may end its own caller, by a signal.
        if let Some(Answer { message: reply, .. }) = answer
            && self.processes.find(request.source).is_some()
        {
            let reply = Message { source: Endpoint::SYSTEM, class: Callers::KERNEL, ..reply };
            let process = self.processes.process_mut(caller);
            *process.context.message_mut() = reply;
            process.memory.call.progress = Progress::default();
        }
    }

    #[inline]
    fn check_call(&self, caller: Slot, number: u16) -> Result<(), Errno> {
        if number & 0xff00 == kernel::BASE && self.privileges_of(caller).may_call(number) {
            return Ok(());
        }
        Err(kernel::PROTOCOL.find(number).map_or(Errno::EBADREQUEST, |_| Errno::ECALLDENIED))
    }
}

/// The bits of all calls that there are.
pub(crate) const ALL: u128 = {
    let calls = kernel::PROTOCOL.calls;
    let (mut mask, mut index) = (0, 0);
    while index < calls.len() {
        assert!(calls[index].bit() != 0, "a kernel call has no bit in the mask");
        mask |= calls[index].bit();
        index += 1;
    }
    mask
};

/// The kernel as the server of one caller.
struct Call<'a, M: Machine> {
    kernel: &'a mut Kernel<M>,
    caller: Slot,
}

impl<M: Machine> Call<'_, M> {
    fn process(&self) -> &Process<M> {
        self.kernel.processes.process(self.caller)
    }

    /// The process that a request names; [`Endpoint::SELF`] for the caller.
    fn find(&self, endpoint: Endpoint) -> Result<Slot, Errno> {
        if endpoint == Endpoint::SELF {
            return Ok(self.caller);
        }
        self.kernel.processes.find(endpoint).ok_or(Errno::EINVAL)
    }

    /// The same for a call that nobody can make of itself.
    fn find_other(&self, endpoint: Endpoint) -> Result<Slot, Errno> {
        self.find(endpoint).ok().filter(|slot| *slot != self.caller).ok_or(Errno::EINVAL)
    }

    /// Takes a reason away that stops a process, if it is there.
    fn resume_from(&mut self, slot: Slot, reason: Stops) -> Result<(), Errno> {
        if !self.kernel.processes.process(slot).stops.contains(reason) {
            return Err(Errno::EINVAL);
        }
        self.kernel.resume(slot, reason);
        Ok(())
    }

    /// Checks that a whole register may be used.
    fn check_port(&self, port: u16, width: Width) -> Result<(), Errno> {
        let bytes = width as u16;
        if !self.kernel.privileges_of(self.caller).may_use_ports(port, bytes) {
            return Err(Errno::EPERM);
        }
        if port.is_multiple_of(bytes) { Ok(()) } else { Err(Errno::EINVAL) }
    }
}

/// Methods whose bodies are functions of the same names in the modules below.
macro_rules! carried_out_by {
    ($($module:ident: $($call:ident)+;)*) => { $( $(
        fn $call(&mut self, _: Endpoint, request: kernel::$call::Request) -> Result<kernel::$call::Reply, Errno> {
            $module::$call(self, request)
        }
    )+ )* };
}

/// The same of calls that reach memory, and wait for VM where they have to.
macro_rules! can_wait_in {
    ($($module:ident: $($call:ident)+;)*) => { $( $(
        fn $call(&mut self, ticket: Ticket<kernel::$call::Request>, request: kernel::$call::Request) -> Option<Answer> {
            answer(ticket, $module::$call(self, request))
        }
    )+ )* };
}

impl<M: Machine> kernel::Server for Call<'_, M> {
    carried_out_by! {
        signals: kill getksig endksig clear;
        lifecycle: fork exec run_stop run_resume vm_clear_page_fault vm_set_inhibited;
        privileges: privilege_allow privilege_disallow privilege_set_system privilege_set_user privilege_add_io
            privilege_add_memory privilege_add_irq privilege_query_memory privilege_update privilege_yield
            privilege_clear_ipc_refs privilege_add_target privilege_remove_target state_clear_ipc_refs update;
        devices: irq_disable irq_detach devio_batch;
        information: get_machine get_parameters get_load get_randomness get_irq_hook get_privileges get_port_range get_memory_range get_send_right log_stack log_read
            log_watch set_virtual_timer;
        trace: trace_stop trace_resume trace_read_register trace_write_register;
    }
    can_wait_in! {
        signals: sigsend sigreturn;
        lifecycle: get_machine_context set_machine_context;
        trace: trace_read trace_write trace_read_bytes trace_write_bytes;
    }

    fn whoami(&mut self, _: Endpoint, _: kernel::whoami::Request) -> Result<kernel::whoami::Reply, Errno> {
        let Process { endpoint, class, name, .. } = *self.process();
        Ok(kernel::whoami::Reply { endpoint, class, name })
    }

    fn exit(&mut self, _: Ticket<kernel::exit::Request>, request: kernel::exit::Request) -> Option<Answer> {
        self.kernel.exit(self.caller, request.status);
        None
    }

    fn diag(&mut self, _: Endpoint, request: kernel::diag::Request) -> Result<kernel::diag::Reply, Errno> {
        let line = Line::of(self.process().name, request.level);
        let Kernel { log, machine, .. } = self.kernel;
        log.bytes(machine, line, request.text.as_slice());
        if request.ends_line {
            log.end(machine);
        }
        Ok(kernel::diag::Reply {})
    }

    fn times(&mut self, _: Endpoint, _: kernel::times::Request) -> Result<kernel::times::Reply, Errno> {
        let uptime_ns = self.kernel.machine.uptime_ns();
        Ok(kernel::times::Reply {
            uptime_ns,
            real_ns: self.kernel.wall_clock.at(uptime_ns),
            user_ticks: self.process().user_ticks,
            tick_hz: self.kernel.machine.tick_hz(),
        })
    }

    fn get_process(
        &mut self,
        _: Endpoint,
        request: kernel::get_process::Request,
    ) -> Result<kernel::get_process::Reply, Errno> {
        let mut processes = self.kernel.processes.iter();
        let (slot, process) =
            processes.find(|(slot, _)| slot.number() >= request.slot).ok_or(Errno::ESRCH)?;
        let (state, blocked_on) = match process.ipc {
            Ipc::Idle if !process.stops.is_empty() => (ProcessState::Stopped, Endpoint::NONE),
            Ipc::Idle => (ProcessState::Runnable, Endpoint::NONE),
            Ipc::Sending { to, then_receives } => {
                let state = if then_receives { ProcessState::SendReceiving } else { ProcessState::Sending };
                (state, self.kernel.processes.process(to).endpoint)
            }
            Ipc::Receiving { from, in_sendrec: true } => (ProcessState::SendReceiving, from),
            Ipc::Receiving { from, in_sendrec: false } => (ProcessState::Receiving, from),
        };
        Ok(kernel::get_process::Reply {
            slot: slot.number(),
            endpoint: process.endpoint,
            class: process.class,
            state,
            blocked_on,
            user_ticks: process.user_ticks,
            name: process.name,
        })
    }

    fn devio_read(
        &mut self,
        _: Endpoint,
        request: kernel::devio_read::Request,
    ) -> Result<kernel::devio_read::Reply, Errno> {
        self.check_port(request.port, request.width)?;
        Ok(kernel::devio_read::Reply { value: self.kernel.machine.read_port(request.port, request.width) })
    }

    fn devio_write(
        &mut self,
        _: Endpoint,
        request: kernel::devio_write::Request,
    ) -> Result<kernel::devio_write::Reply, Errno> {
        self.check_port(request.port, request.width)?;
        if !devices::fits(request.value, request.width) {
            return Err(Errno::EINVAL);
        }
        self.kernel.machine.write_port(request.port, request.width, request.value);
        Ok(kernel::devio_write::Reply {})
    }

    fn devio_write_bytes(
        &mut self,
        _: Endpoint,
        request: kernel::devio_write_bytes::Request,
    ) -> Result<kernel::devio_write_bytes::Reply, Errno> {
        self.check_port(request.port, Width::Byte)?;
        for byte in request.bytes.as_slice() {
            self.kernel.machine.write_port(request.port, Width::Byte, u32::from(*byte));
        }
        Ok(kernel::devio_write_bytes::Reply {})
    }

    fn irq_attach(
        &mut self,
        _: Endpoint,
        request: kernel::irq_attach::Request,
    ) -> Result<kernel::irq_attach::Reply, Errno> {
        let kernel::irq_attach::Request { line, bit, reenable } = request;
        if !self.kernel.privileges_of(self.caller).may_attach(line) {
            return Err(Errno::EPERM);
        }
        let Kernel { interrupts, machine, .. } = self.kernel;
        interrupts.attach(machine, self.caller, line, bit, reenable)?;
        Ok(kernel::irq_attach::Reply {})
    }

    fn irq_enable(
        &mut self,
        _: Endpoint,
        request: kernel::irq_enable::Request,
    ) -> Result<kernel::irq_enable::Reply, Errno> {
        let Kernel { interrupts, machine, .. } = self.kernel;
        interrupts.enable(machine, self.caller, request.line)?;
        Ok(kernel::irq_enable::Reply {})
    }

    fn ipc_filter_add(
        &mut self,
        _: Endpoint,
        request: kernel::ipc_filter_add::Request,
    ) -> Result<kernel::ipc_filter_add::Reply, Errno> {
        let kernel::ipc_filter_add::Request { kind, rules } = request;
        let (rules, rest) = rules.as_slice().as_chunks::<{ FilterRule::SIZE }>();
        if rules.is_empty() || !rest.is_empty() {
            return Err(Errno::EINVAL);
        }
        let mut checked = [FilterRule::default(); 12];
        let checked = checked.get_mut(..rules.len()).ok_or(Errno::EINVAL)?;
        for (rule, bytes) in checked.iter_mut().zip(rules) {
            *rule = FilterRule::from_bytes(bytes).ok_or(Errno::EINVAL)?;
            let is_known = rule.source == Endpoint::NONE
                || Notifier::special(rule.source).is_some()
                || self.kernel.processes.find(rule.source).is_some();
            if !is_known {
                return Err(Errno::EINVAL);
            }
        }
        let process = self.kernel.processes.process_mut(self.caller);
        process.filters.append(kind, checked)?;
        Ok(kernel::ipc_filter_add::Reply {})
    }

    fn ipc_filter_clear(
        &mut self,
        _: Endpoint,
        _: kernel::ipc_filter_clear::Request,
    ) -> Result<kernel::ipc_filter_clear::Reply, Errno> {
        self.kernel.processes.process_mut(self.caller).filters = Filters::default();
        if self.kernel.vm() == Some(self.caller) {
            self.kernel.tell_vm_of_requests(self.caller);
        }
        Ok(kernel::ipc_filter_clear::Reply {})
    }

    fn set_alarm(
        &mut self,
        _: Endpoint,
        request: kernel::set_alarm::Request,
    ) -> Result<kernel::set_alarm::Reply, Errno> {
        let uptime_ns = self.kernel.machine.uptime_ns();
        let at_ns = match request.from {
            AlarmFrom::Start => Some(request.time_ns),
            AlarmFrom::Now => (request.time_ns > 0).then(|| uptime_ns.saturating_add(request.time_ns)),
        };
        let left_ns = self.kernel.set_alarm(self.caller, at_ns);
        Ok(kernel::set_alarm::Reply { left_ns, uptime_ns })
    }

    fn set_time(
        &mut self,
        _: Endpoint,
        request: kernel::set_time::Request,
    ) -> Result<kernel::set_time::Reply, Errno> {
        if request.real_ns < 0 {
            return Err(Errno::EINVAL);
        }
        let uptime_ns = self.kernel.machine.uptime_ns();
        self.kernel.wall_clock.set(uptime_ns, request.real_ns);
        Ok(kernel::set_time::Reply {})
    }

    fn adjust_time(
        &mut self,
        _: Endpoint,
        request: kernel::adjust_time::Request,
    ) -> Result<kernel::adjust_time::Reply, Errno> {
        let uptime_ns = self.kernel.machine.uptime_ns();
        let left_ns = self.kernel.wall_clock.adjust(uptime_ns, request.by_ns);
        Ok(kernel::adjust_time::Reply { left_ns })
    }

    fn schedule(
        &mut self,
        caller: Endpoint,
        request: kernel::schedule::Request,
    ) -> Result<kernel::schedule::Reply, Errno> {
        let slot = self.kernel.processes.find(request.process).ok_or(Errno::EINVAL)?;
        if self.kernel.processes.process(slot).scheduler != Some(caller) {
            return Err(Errno::EPERM);
        }
        self.kernel.schedule(slot, request.priority, request.quantum_ms)?;
        Ok(kernel::schedule::Reply {})
    }

    fn set_scheduler(
        &mut self,
        caller: Endpoint,
        request: kernel::set_scheduler::Request,
    ) -> Result<kernel::set_scheduler::Reply, Errno> {
        let slot = self.kernel.processes.find(request.process).ok_or(Errno::EINVAL)?;
        // Who waits for its own decision waits for ever.
        if slot == self.caller && request.scheduler == Scheduler::Caller {
            return Err(Errno::EINVAL);
        }
        let current = self.kernel.processes.process(slot).scheduler;
        let is_in_charge = match current {
            Some(scheduler) => scheduler == caller,
            None => {
                let class = self.process().class;
                self.kernel.privileges_of(slot).scheduler == caller
                    || class.admits(Callers::RS)
                    || class.admits(Callers::PM)
            }
        };
        if !is_in_charge {
            return Err(Errno::EPERM);
        }
        if request.scheduler == Scheduler::Caller && self.kernel.is_scheduled_by(caller, slot) {
            return Err(Errno::ELOCKED);
        }
        self.kernel.schedule(slot, request.priority, request.quantum_ms)?;
        self.kernel.processes.process_mut(slot).scheduler = match request.scheduler {
            Scheduler::Kernel => None,
            Scheduler::Caller => Some(caller),
        };
        Ok(kernel::set_scheduler::Reply {})
    }

    fn abort(
        &mut self,
        _: Ticket<kernel::abort::Request>,
        request: kernel::abort::Request,
    ) -> Option<Answer> {
        self.kernel.abort(self.caller, request.status);
        None
    }

    fn vircopy(
        &mut self,
        ticket: Ticket<kernel::vircopy::Request>,
        request: kernel::vircopy::Request,
    ) -> Option<Answer> {
        let outcome = self.kernel.vircopy(self.caller, &request);
        answer(ticket, outcome.map(|()| kernel::vircopy::Reply {}))
    }

    fn physcopy(
        &mut self,
        ticket: Ticket<kernel::physcopy::Request>,
        request: kernel::physcopy::Request,
    ) -> Option<Answer> {
        let outcome = self.kernel.physcopy(self.caller, &request);
        answer(ticket, outcome.map(|()| kernel::physcopy::Reply {}))
    }

    fn memset(
        &mut self,
        ticket: Ticket<kernel::memset::Request>,
        request: kernel::memset::Request,
    ) -> Option<Answer> {
        let outcome = self.kernel.memset(self.caller, &request);
        answer(ticket, outcome.map(|()| kernel::memset::Reply {}))
    }

    fn safecopy_from(
        &mut self,
        ticket: Ticket<kernel::safecopy_from::Request>,
        request: kernel::safecopy_from::Request,
    ) -> Option<Answer> {
        let outcome = self.kernel.safecopy_from(self.caller, &request);
        answer(ticket, outcome.map(|()| kernel::safecopy_from::Reply {}))
    }

    fn safecopy_to(
        &mut self,
        ticket: Ticket<kernel::safecopy_to::Request>,
        request: kernel::safecopy_to::Request,
    ) -> Option<Answer> {
        let outcome = self.kernel.safecopy_to(self.caller, &request);
        answer(ticket, outcome.map(|()| kernel::safecopy_to::Reply {}))
    }

    fn vsafecopy(
        &mut self,
        ticket: Ticket<kernel::vsafecopy::Request>,
        request: kernel::vsafecopy::Request,
    ) -> Option<Answer> {
        let outcome = self.kernel.vsafecopy(self.caller, &request);
        answer(ticket, outcome.map(|()| kernel::vsafecopy::Reply {}))
    }

    fn safe_memset(
        &mut self,
        ticket: Ticket<kernel::safe_memset::Request>,
        request: kernel::safe_memset::Request,
    ) -> Option<Answer> {
        let outcome = self.kernel.safe_memset(self.caller, &request);
        answer(ticket, outcome.map(|()| kernel::safe_memset::Reply {}))
    }

    fn devio_string(
        &mut self,
        ticket: Ticket<kernel::devio_string::Request>,
        request: kernel::devio_string::Request,
    ) -> Option<Answer> {
        let outcome = match self.check_port(request.port, request.width) {
            Ok(()) => self.kernel.devio_string(self.caller, &request),
            Err(error) => Err(error.into()),
        };
        answer(ticket, outcome.map(|()| kernel::devio_string::Reply {}))
    }

    fn umap(
        &mut self,
        ticket: Ticket<kernel::umap::Request>,
        request: kernel::umap::Request,
    ) -> Option<Answer> {
        answer(ticket, self.kernel.umap(self.caller, &request))
    }

    fn vumap(
        &mut self,
        ticket: Ticket<kernel::vumap::Request>,
        request: kernel::vumap::Request,
    ) -> Option<Answer> {
        answer(ticket, self.kernel.vumap(self.caller, &request))
    }

    fn setgrant(
        &mut self,
        _: Endpoint,
        request: kernel::setgrant::Request,
    ) -> Result<kernel::setgrant::Reply, Errno> {
        self.kernel
            .setgrant(self.caller, request)
            .map(|first_sequence| kernel::setgrant::Reply { first_sequence })
    }

    fn vm_memory_request_get(
        &mut self,
        _: Endpoint,
        _: kernel::vm_memory_request_get::Request,
    ) -> Result<kernel::vm_memory_request_get::Reply, Errno> {
        self.kernel.take_request(self.caller)
    }

    fn vm_memory_request_reply(
        &mut self,
        _: Endpoint,
        request: kernel::vm_memory_request_reply::Request,
    ) -> Result<kernel::vm_memory_request_reply::Reply, Errno> {
        let kernel::vm_memory_request_reply::Request { requestor, request, outcome } = request;
        self.kernel.finish_request(requestor, request, outcome)?;
        Ok(kernel::vm_memory_request_reply::Reply {})
    }

    fn vm_take_frames(
        &mut self,
        _: Endpoint,
        request: kernel::vm_take_frames::Request,
    ) -> Result<kernel::vm_take_frames::Reply, Errno> {
        self.kernel.vm_take_frames(request.count).map(|address| kernel::vm_take_frames::Reply { address })
    }

    fn vm_give_frames(
        &mut self,
        _: Endpoint,
        request: kernel::vm_give_frames::Request,
    ) -> Result<kernel::vm_give_frames::Reply, Errno> {
        self.kernel.vm_give_frames(request.address, request.count)?;
        Ok(kernel::vm_give_frames::Reply {})
    }

    fn vm_map_page(
        &mut self,
        _: Endpoint,
        request: kernel::vm_map_page::Request,
    ) -> Result<kernel::vm_map_page::Reply, Errno> {
        self.kernel.vm_map_page(&request).map(|()| kernel::vm_map_page::Reply {})
    }

    fn vm_map_device(
        &mut self,
        _: Endpoint,
        request: kernel::vm_map_device::Request,
    ) -> Result<kernel::vm_map_device::Reply, Errno> {
        self.kernel.vm_map_device(&request).map(|()| kernel::vm_map_device::Reply {})
    }

    fn vm_unmap_page(
        &mut self,
        _: Endpoint,
        request: kernel::vm_unmap_page::Request,
    ) -> Result<kernel::vm_unmap_page::Reply, Errno> {
        let frame = self.kernel.vm_unmap_page(request.process, request.address)?;
        Ok(kernel::vm_unmap_page::Reply { frame })
    }

    fn vm_protect_page(
        &mut self,
        _: Endpoint,
        request: kernel::vm_protect_page::Request,
    ) -> Result<kernel::vm_protect_page::Reply, Errno> {
        self.kernel.vm_protect_page(&request).map(|()| kernel::vm_protect_page::Reply {})
    }
}

#[cfg(test)]
mod lifecycle_tests;
#[cfg(test)]
pub(crate) mod random;
#[cfg(test)]
mod rights_tests;
#[cfg(test)]
mod roles_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod walk;
