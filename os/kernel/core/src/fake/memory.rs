//! Memory of plain data: physical bytes, and which page of which process is where.

use crate::memory::{CopyFault, PhysicalRange, Place, Side, UserPage};
use abi::{Errno, PageAccess};
use std::collections::{BTreeMap, BTreeSet};

/// Bytes of a page.
pub(crate) const PAGE: u64 = 4096;

/// A page of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    /// Its physical address.
    pub(crate) frame: u64,
    pub(crate) is_writable: bool,
}

/// All memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    /// By space and address of the page.
    pub(crate) pages: BTreeMap<(u16, u64), Page>,
    /// Physical memory, from address 0 on.
    pub(crate) bytes: Vec<u8>,
    /// Pages of devices, with the physical address, by space and address of the page.
    pub(crate) devices: BTreeMap<(u16, u64), u64>,
    /// Addresses of frames that are VM's.
    pub(crate) lent: BTreeSet<u64>,
}

impl Memory {
    /// Gives a process a fresh page.
    pub(crate) fn map(&mut self, space: u16, address: u64, is_writable: bool) {
        let frame = self.bytes.len() as u64;
        self.bytes.resize(self.bytes.len() + usize::try_from(PAGE).unwrap(), 0);
        self.pages.insert((space, address), Page { frame, is_writable });
    }

    /// Puts bytes where the process itself would write them.
    pub(crate) fn poke(&mut self, space: u16, address: u64, bytes: &[u8]) {
        for (at, byte) in (address..).zip(bytes) {
            let place = self.find(space, at, false).expect("a page is there");
            self.bytes[place] = *byte;
        }
    }

    /// What the process would read.
    pub(crate) fn peek(&self, space: u16, address: u64, len: usize) -> Vec<u8> {
        (address..)
            .take(len)
            .map(|at| self.bytes[self.find(space, at, false).expect("a page is there")])
            .collect()
    }

    fn find(&self, space: u16, address: u64, is_written: bool) -> Option<usize> {
        let page = self.pages.get(&(space, address & !(PAGE - 1)))?;
        let is_allowed = page.is_writable || !is_written;
        is_allowed.then(|| usize::try_from(page.frame + (address & (PAGE - 1))).unwrap())
    }

    /// Tells whether a frame belongs to a process or VM.
    fn is_user(&self, frame: u64) -> bool {
        self.lent.contains(&frame) || self.pages.values().any(|page| page.frame == frame)
    }

    /// Where a byte of a place is.
    fn locate(&self, place: &Place<'_, u16>, side: Side, done: u64) -> Result<usize, CopyFault> {
        let (address, found) = match *place {
            Place::Process { space, range } => {
                let address = range.start() + done;
                (address, self.find(*space, address, side == Side::Target))
            }
            Place::Physical(range) => {
                let address = range.start() + done;
                let is_user = self.is_user(address & !(PAGE - 1));
                (address, usize::try_from(address).ok().filter(|_| is_user))
            }
        };
        found.ok_or(CopyFault { side, address, done })
    }

    pub(crate) fn translate(&self, place: &Place<'_, u16>, side: Side) -> Result<PhysicalRange, CopyFault> {
        let start = self.locate(place, side, 0)?;
        let follows =
            |done: &u64| self.locate(place, side, *done).is_ok_and(|at| at as u64 == start as u64 + done);
        let len = (0..place.len()).take_while(follows).count();
        Ok(PhysicalRange::new(start as u64, len as u64).unwrap())
    }

    pub(crate) fn take_frames(&mut self, count: u32) -> u64 {
        let first = self.bytes.len() as u64;
        let end = first + u64::from(count) * PAGE;
        self.bytes.resize(usize::try_from(end).unwrap(), 0);
        self.lent.extend((0..u64::from(count)).map(|index| first + index * PAGE));
        first
    }

    pub(crate) fn give_frames(&mut self, frames: PhysicalRange) -> Result<(), Errno> {
        let frames = || (0..frames.len() / PAGE).map(|index| frames.start() + index * PAGE);
        if !frames().all(|frame| self.lent.contains(&frame)) {
            return Err(Errno::EPERM);
        }
        if self.pages.values().any(|page| frames().any(|frame| frame == page.frame)) {
            return Err(Errno::EBUSY);
        }
        self.lent.retain(|lent| !frames().any(|frame| frame == *lent));
        Ok(())
    }

    pub(crate) fn map_page(
        &mut self,
        space: u16,
        page: UserPage,
        frame: PhysicalRange,
        access: PageAccess,
    ) -> Result<(), Errno> {
        if !self.lent.contains(&frame.start()) {
            return Err(Errno::EPERM);
        }
        self.check_free(space, page)?;
        let page_there = Page { frame: frame.start(), is_writable: access == PageAccess::Write };
        self.pages.insert((space, page.address()), page_there);
        Ok(())
    }

    fn check_free(&self, space: u16, page: UserPage) -> Result<(), Errno> {
        let place = (space, page.address());
        let is_taken = self.pages.contains_key(&place) || self.devices.contains_key(&place);
        if is_taken { Err(Errno::EEXIST) } else { Ok(()) }
    }

    /// Memory is all that lies below the last frame.
    pub(crate) fn map_device(
        &mut self,
        space: u16,
        page: UserPage,
        device: PhysicalRange,
    ) -> Result<(), Errno> {
        if device.start() < self.bytes.len() as u64 {
            return Err(Errno::EPERM);
        }
        self.check_free(space, page)?;
        self.devices.insert((space, page.address()), device.start());
        Ok(())
    }

    pub(crate) fn unmap_page(&mut self, space: u16, page: UserPage) -> Option<u64> {
        if let Some(device) = self.devices.remove(&(space, page.address())) {
            return Some(device);
        }
        let frame = self.pages.remove(&(space, page.address()))?.frame;
        self.lent.insert(frame);
        Some(frame)
    }

    pub(crate) fn copy(&mut self, from: &Place<'_, u16>, to: &Place<'_, u16>) -> Result<(), CopyFault> {
        assert_eq!(from.len(), to.len());
        for done in 0..from.len() {
            let source = self.locate(from, Side::Source, done)?;
            let target = self.locate(to, Side::Target, done)?;
            self.bytes[target] = self.bytes[source];
        }
        Ok(())
    }

    pub(crate) fn fill(&mut self, to: &Place<'_, u16>, byte: u8) -> Result<(), CopyFault> {
        for done in 0..to.len() {
            let target = self.locate(to, Side::Target, done)?;
            self.bytes[target] = byte;
        }
        Ok(())
    }

    pub(crate) fn read(&self, from: &Place<'_, u16>, into: &mut [u8]) -> Result<(), CopyFault> {
        assert_eq!(from.len(), into.len() as u64);
        for (done, byte) in (0..).zip(into) {
            *byte = self.bytes[self.locate(from, Side::Source, done)?];
        }
        Ok(())
    }

    pub(crate) fn write(&mut self, from: &[u8], to: &Place<'_, u16>) -> Result<(), CopyFault> {
        assert_eq!(to.len(), from.len() as u64);
        for (done, byte) in (0..).zip(from) {
            let target = self.locate(to, Side::Target, done)?;
            self.bytes[target] = *byte;
        }
        Ok(())
    }
}
