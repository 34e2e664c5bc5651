//! Kernel calls: one method per row of the kernel's protocol.

use crate::Kernel;
use crate::log::Line;
use crate::machine::{Context, Machine};
use crate::memory::Progress;
use crate::memory::copy::answer;
use crate::process::{Ipc, Process, Slot};
use abi::protocols::{ProcessState, Width, kernel};
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
        if let Some(Answer { message: reply, .. }) = answer {
            let reply = Message { source: Endpoint::SYSTEM, class: Callers::KERNEL, ..reply };
            let process = self.processes.process_mut(caller);
            *process.context.message_mut() = reply;
            process.memory.progress = Progress::default();
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

    /// Checks that a whole register may be used.
    fn check_port(&self, port: u16, width: Width) -> Result<(), Errno> {
        let bytes = width as u16;
        if !self.kernel.privileges_of(self.caller).may_use_ports(port, bytes) {
            return Err(Errno::EPERM);
        }
        if port.is_multiple_of(bytes) { Ok(()) } else { Err(Errno::EINVAL) }
    }
}

impl<M: Machine> kernel::Server for Call<'_, M> {
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
        Ok(kernel::times::Reply {
            uptime_ns: self.kernel.machine.uptime_ns(),
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
        let fits = match request.width {
            Width::Byte => u8::try_from(request.value).is_ok(),
            Width::Word => u16::try_from(request.value).is_ok(),
            Width::Long => true,
        };
        if !fits {
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
        self.kernel.setgrant(self.caller, request).map(|()| kernel::setgrant::Reply {})
    }

    fn vm_memory_request_get(
        &mut self,
        _: Endpoint,
        _: kernel::vm_memory_request_get::Request,
    ) -> Result<kernel::vm_memory_request_get::Reply, Errno> {
        self.kernel.take_request()
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
mod tests;
