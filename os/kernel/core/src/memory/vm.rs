//! What VM orders: frames, and which page of which process is where.
//!
//! The kernel keeps the tables, and knows of each frame whether it is VM's. So VM decides what is
//! where, and can't map the kernel's memory, or a page table, into a process by mistake.

use super::UserRange;
use crate::Kernel;
use crate::elf::PAGE_SIZE;
use crate::machine::Machine;
use crate::memory::PhysicalRange;
use crate::process::Slot;
use abi::protocols::kernel;
use abi::{Endpoint, Errno, PageAccess};

/// Frames that VM may take at once: the kernel zeroes them while nobody else runs.
const FRAMES_AT_ONCE: u32 = 512;

/// The address of a page that a process can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserPage(u64);

impl UserPage {
    /// Checks an address.
    fn new(address: u64) -> Result<Self, Errno> {
        if !address.is_multiple_of(PAGE_SIZE) {
            return Err(Errno::EINVAL);
        }
        UserRange::new(address, PAGE_SIZE).map(|_| Self(address)).ok_or(Errno::EFAULT)
    }

    /// Its first byte.
    #[must_use]
    pub const fn address(self) -> u64 {
        self.0
    }
}

impl<M: Machine> Kernel<M> {
    pub(crate) fn vm_take_frames(&mut self, count: u32) -> Result<u64, Errno> {
        if count == 0 || count > FRAMES_AT_ONCE {
            return Err(Errno::EINVAL);
        }
        self.machine.take_frames(count).ok_or(Errno::ENOMEM)
    }

    pub(crate) fn vm_give_frames(&mut self, address: u64, count: u32) -> Result<(), Errno> {
        self.machine.give_frames(frames(address, count)?)
    }

    pub(crate) fn vm_map_page(&mut self, request: &kernel::vm_map_page::Request) -> Result<(), Errno> {
        let &kernel::vm_map_page::Request { process, address, frame, access } = request;
        let slot = self.process_of(process)?;
        let page = UserPage::new(address)?;
        let frame = frames(frame, 1)?;
        let Self { machine, processes, .. } = self;
        machine.map_page(&mut processes.process_mut(slot).space, page, frame, access)?;
        self.space_changed();
        self.write_marks(slot);
        Ok(())
    }

    pub(crate) fn vm_map_device(&mut self, request: &kernel::vm_map_device::Request) -> Result<(), Errno> {
        let &kernel::vm_map_device::Request { process, address, device, access } = request;
        let slot = self.process_of(process)?;
        let page = UserPage::new(address)?;
        let device = frames(device, 1)?;
        if access == PageAccess::Execute {
            return Err(Errno::EINVAL);
        }
        if !self.privileges_of(slot).may_map(device.start(), device.len()) {
            return Err(Errno::EPERM);
        }
        let Self { machine, processes, .. } = self;
        machine.map_device(&mut processes.process_mut(slot).space, page, device, access)?;
        self.space_changed();
        Ok(())
    }

    pub(crate) fn vm_unmap_page(&mut self, process: Endpoint, address: u64) -> Result<u64, Errno> {
        let slot = self.process_of(process)?;
        let page = UserPage::new(address)?;
        let Self { machine, processes, .. } = self;
        let frame = machine.unmap_page(&mut processes.process_mut(slot).space, page).ok_or(Errno::ENOENT)?;
        self.space_changed();
        Ok(frame)
    }

    pub(crate) fn vm_protect_page(
        &mut self,
        request: &kernel::vm_protect_page::Request,
    ) -> Result<(), Errno> {
        let &kernel::vm_protect_page::Request { process, address, access } = request;
        let slot = self.process_of(process)?;
        let page = UserPage::new(address)?;
        let Self { machine, processes, .. } = self;
        machine.protect_page(&mut processes.process_mut(slot).space, page, access).ok_or(Errno::ENOENT)?;
        self.write_marks(slot);
        Ok(())
    }

    fn process_of(&self, endpoint: Endpoint) -> Result<Slot, Errno> {
        self.processes.find(endpoint).ok_or(Errno::EINVAL)
    }
}

/// The frames from an address on.
fn frames(address: u64, count: u32) -> Result<PhysicalRange, Errno> {
    let range = PhysicalRange::new(address, u64::from(count) * PAGE_SIZE).ok_or(Errno::EINVAL)?;
    if address.is_multiple_of(PAGE_SIZE) && count > 0 { Ok(range) } else { Err(Errno::EINVAL) }
}
