//! Page faults of processes, which VM resolves.
//!
//! A process that faults sends to VM as far as everybody else can see: it stands in VM's queue, and
//! what it says is written by the kernel when VM takes it. Its registers stay as they are, the message
//! registers among them.

use crate::Kernel;
use crate::fault::{self, Access, Fault};
use crate::ipc::Half;
use crate::machine::{Context, Machine};
use crate::process::{Ipc, Slot, Stops};
use abi::ipc::{Primitive, Status};
use abi::protocols::vm;
use abi::{Call, Callers, Errno, Message};
use core::fmt;

/// What VM's filters see of a page fault.
pub(crate) const CLASS_AND_NUMBER: (Callers, u16) =
    (Callers::KERNEL, <vm::page_fault::Request as Call>::INFO.number);

/// What a process could not use.
#[derive(Clone, Copy, Debug)]
pub struct PageFault {
    address: u64,
    access: Access,
}

impl Default for PageFault {
    fn default() -> Self {
        Self { address: 0, access: Access::Read }
    }
}

impl PageFault {
    /// As the processor reports it when nobody resolves it.
    pub(crate) const fn to_fault(self) -> Fault {
        Fault::Page { address: self.address, access: self.access }
    }
}

/// `reading 0x10`
impl fmt::Display for PageFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:#x}", fault::doing(self.access), self.address)
    }
}

impl<M: Machine> Kernel<M> {
    /// The memory manager, if it lives.
    pub(crate) fn vm(&self) -> Option<Slot> {
        self.processes.find(self.vm?)
    }

    /// Who is told of a page fault of that process. Nobody if there is no VM, if it is VM, or if VM waits for this very
    /// process and would [mistake](Self::mistakes_faults) its fault.
    pub(crate) fn vm_to_tell(&mut self, slot: Slot) -> Option<Slot> {
        let vm = self.vm().filter(|vm| !self.mistakes_faults(*vm, slot))?;
        self.can_help(vm, slot, Half::Sending).then_some(vm)
    }

    /// Tells whether VM waits for this very process, and for more than a page fault: for its answer, as which the fault would
    /// look, or with a filter that holds faults back.
    fn mistakes_faults(&self, vm: Slot, slot: Slot) -> bool {
        let (class, number) = CLASS_AND_NUMBER;
        let (vm, endpoint) = (self.processes.process(vm), self.processes.process(slot).endpoint);
        let in_sendrec = matches!(vm.ipc, Ipc::Receiving { in_sendrec: true, .. });
        let waits = matches!(vm.ipc, Ipc::Receiving { from, .. } if from == endpoint);
        waits && (in_sendrec || !vm.admits(endpoint, class, number))
    }

    /// Who has a page fault of which VM, since it has come to be VM, would mistake.
    pub(crate) fn mistaken_fault(&self) -> Option<Slot> {
        let vm = self.vm()?;
        let Ipc::Receiving { from, .. } = self.processes.process(vm).ipc else { return None };
        let slot = self.processes.find(from)?;
        let faults = self.processes.process(slot).stops.contains(Stops::PAGE_FAULT);
        (faults && self.mistakes_faults(vm, slot)).then_some(slot)
    }

    /// Stops a process until VM has resolved its page fault. `false` if [nobody is told](Self::vm_to_tell).
    pub(crate) fn tell_vm_of_fault(&mut self, slot: Slot, address: u64, access: Access) -> bool {
        let Some(vm) = self.vm_to_tell(slot) else { return false };
        self.stop(slot, Stops::PAGE_FAULT);
        let process = self.processes.process_mut(slot);
        process.page_fault = PageFault { address, access };
        let endpoint = process.endpoint;
        let (class, number) = CLASS_AND_NUMBER;
        let receiver = self.processes.process(vm);
        if receiver.would_receive_from(endpoint) && receiver.admits(endpoint, class, number) {
            self.deliver_page_fault(slot, vm);
            self.wake(vm);
        } else {
            self.block(slot, Ipc::Sending { to: vm, then_receives: false });
            self.processes.process_mut(vm).callers.push_back(&mut self.links, slot);
            self.end_circle(vm, Errno::ELOCKED);
        }
        true
    }

    /// Writes what a process that faulted has to say into VM's message registers.
    pub(crate) fn deliver_page_fault(&mut self, from: Slot, to: Slot) {
        let Some((from, to)) = self.processes.pair_mut(from, to) else { return };
        let PageFault { address, access } = from.page_fault;
        let message = vm::page_fault::Request { address, access }.to_message(0);
        let message = Message { source: from.endpoint, class: Callers::KERNEL, ..message };
        *to.context.message_mut() = message;
        to.context.set_status(Status::from_kernel(Primitive::Send));
        let endpoint = to.endpoint;
        self.record(message.source, endpoint, &message);
    }

    /// Tells VM of all page faults once more.
    pub(crate) fn repeat_page_faults(&mut self) {
        for slot in self.processes.slots() {
            let Some(process) = self.processes.get(slot) else { continue };
            let PageFault { address, access } = process.page_fault;
            if process.stops.contains(Stops::PAGE_FAULT) && self.vm_to_tell(slot).is_none() {
                self.page_fault_unresolved(slot);
            } else if self.clear_page_fault(slot) {
                self.tell_vm_of_fault(slot, address, access);
            }
        }
        self.settle_orphans();
    }

    /// A page fault that VM was told of is not resolved.
    pub(crate) fn page_fault_unresolved(&mut self, slot: Slot) {
        let fault = self.processes.process(slot).page_fault.to_fault();
        self.signal_raised(slot, fault.signal());
        self.clear_page_fault(slot);
        self.fault_unresolved(slot, fault);
    }

    /// Forgets the page fault of a process, whether VM has heard of it or not. `false` if it has none.
    pub(crate) fn clear_page_fault(&mut self, slot: Slot) -> bool {
        let process = self.processes.process(slot);
        if !process.stops.contains(Stops::PAGE_FAULT) {
            return false;
        }
        if let Ipc::Sending { to, .. } = process.ipc {
            self.processes.process_mut(to).callers.remove(&mut self.links, slot);
            self.wake(slot);
        }
        self.resume(slot, Stops::PAGE_FAULT);
        true
    }
}
