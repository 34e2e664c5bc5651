//! Strings of port accesses: `devio_string`, between one port and memory.
//!
//! What a device gives can't be given back, so all of the memory is looked at before the device is
//! touched. Until then the call can wait for VM, and it starts anew after that.

use super::copy::Outcome;
use super::translate::Lookup;
use crate::Kernel;
use crate::machine::Machine;
use crate::process::Slot;
use abi::protocols::kernel::devio_string;
use abi::protocols::{Direction, Width};
use abi::{DeviceAccess, Errno};

/// Bytes that one call may move, while interrupts are off.
const MOST: u32 = 65536;
/// How much is moved between memory and the kernel at once.
const PIECE: usize = 512;

impl<M: Machine> Kernel<M> {
    /// Carries out a call that may use its port.
    pub(crate) fn devio_string(&mut self, caller: Slot, request: &devio_string::Request) -> Outcome {
        let &devio_string::Request { direction, port, width, granter, grant, start, bytes } = request;
        if bytes == 0 || bytes > MOST || !bytes.is_multiple_of(width as u32) {
            return Err(Errno::EINVAL.into());
        }
        let access = match direction {
            Direction::In => DeviceAccess::Write,
            Direction::Out => DeviceAccess::Read,
        };
        let len = u64::from(bytes);
        let sought = self.look_up(caller, &Lookup { granter, grant, start, len, access })?;
        let mut seen = 0;
        while seen < len {
            seen += self.piece(caller, &sought, seen)?.len();
        }

        let Self { machine, processes, .. } = self;
        let mut buffer = [0; PIECE];
        let mut done = 0;
        while done < len {
            let count = usize::try_from(len - done).unwrap_or(PIECE).min(PIECE);
            let part = &mut buffer[..count];
            let place = sought.span.place(processes, done, count as u64)?;
            match direction {
                Direction::In => {
                    read_port(machine, port, width, part);
                    machine.write(part, place).map_err(|_| Errno::EFAULT)?;
                }
                Direction::Out => {
                    machine.read(place, part).map_err(|_| Errno::EFAULT)?;
                    write_port(machine, port, width, part);
                }
            }
            done += count as u64;
        }
        Ok(())
    }
}

fn read_port<M: Machine>(machine: &mut M, port: u16, width: Width, into: &mut [u8]) {
    for register in into.chunks_mut(width as usize) {
        let value = machine.read_port(port, width).to_le_bytes();
        register.copy_from_slice(&value[..register.len()]);
    }
}

fn write_port<M: Machine>(machine: &mut M, port: u16, width: Width, from: &[u8]) {
    for register in from.chunks(width as usize) {
        let mut value = [0; 4];
        value[..register.len()].copy_from_slice(register);
        machine.write_port(port, width, u32::from_le_bytes(value));
    }
}
