//! Kernel calls of drivers, beside the simplest.

use super::{Call, Kernel, Machine};
use crate::memory;
use abi::protocols::kernel::{devio_batch, devio_string, irq_detach, irq_disable};
use abi::protocols::{BATCH_ACCESS, Direction, Width};
use abi::{Bytes, Errno};

pub(super) fn irq_disable<M: Machine>(
    call: &mut Call<'_, M>,
    request: irq_disable::Request,
) -> Result<irq_disable::Reply, Errno> {
    let Kernel { interrupts, machine, .. } = &mut *call.kernel;
    interrupts.disable(machine, call.caller, request.line)?;
    Ok(irq_disable::Reply {})
}

pub(super) fn irq_detach<M: Machine>(
    call: &mut Call<'_, M>,
    request: irq_detach::Request,
) -> Result<irq_detach::Reply, Errno> {
    let Kernel { interrupts, machine, .. } = &mut *call.kernel;
    interrupts.detach_one(machine, call.caller, request.line, request.bit)?;
    Ok(irq_detach::Reply {})
}

pub(super) fn devio_batch<M: Machine>(
    call: &mut Call<'_, M>,
    request: devio_batch::Request,
) -> Result<devio_batch::Reply, Errno> {
    let devio_batch::Request { direction, width, accesses } = request;
    let (accesses, rest) = accesses.as_slice().as_chunks::<BATCH_ACCESS>();
    if accesses.is_empty() || !rest.is_empty() {
        return Err(Errno::EINVAL);
    }
    let parts = |[a, b, c, d, e, f]: [u8; BATCH_ACCESS]| {
        (u16::from_le_bytes([a, b]), u32::from_le_bytes([c, d, e, f]))
    };
    for access in accesses {
        let (port, value) = parts(*access);
        call.check_port(port, width)?;
        if direction == Direction::Out && !fits(value, width) {
            return Err(Errno::EINVAL);
        }
    }
    let mut done = [0; 96];
    for (access, out) in accesses.iter().zip(done.as_chunks_mut::<BATCH_ACCESS>().0) {
        let (port, mut value) = parts(*access);
        match direction {
            Direction::In => value = call.kernel.machine.read_port(port, width),
            Direction::Out => call.kernel.machine.write_port(port, width, value),
        }
        out[..2].copy_from_slice(&port.to_le_bytes());
        out[2..].copy_from_slice(&value.to_le_bytes());
    }
    let length = accesses.len() * BATCH_ACCESS;
    Ok(devio_batch::Reply { accesses: Bytes::first_of(&done[..length]) })
}

pub(super) fn devio_string<M: Machine>(
    call: &mut Call<'_, M>,
    request: devio_string::Request,
) -> Result<devio_string::Reply, Errno> {
    const MOST: u32 = 65536;
    let devio_string::Request { direction, port, width, address, bytes } = request;
    call.check_port(port, width)?;
    let size = width as u32;
    if bytes == 0 || bytes > MOST || !bytes.is_multiple_of(size) {
        return Err(Errno::EINVAL);
    }
    let Kernel { machine, processes, .. } = &mut *call.kernel;
    let process = processes.process(call.caller);
    let range = memory::UserRange::new(address, u64::from(bytes)).ok_or(Errno::EFAULT)?;
    // Before the device is touched: what it gives can't be given back.
    match direction {
        Direction::In => {
            let space = process.memory_space()?;
            machine.fill(memory::Place::Process { space, range }, 0).map_err(|_| Errno::EFAULT)?;
        }
        Direction::Out => {
            let mut buffer = [0; 512];
            for (at, piece) in pieces(address, bytes, buffer.len()) {
                memory::read_user(machine, process, at, &mut buffer[..piece])?;
            }
        }
    }
    let mut buffer = [0; 512];
    for (at, piece) in pieces(address, bytes, buffer.len()) {
        let part = &mut buffer[..piece];
        if direction == Direction::Out {
            memory::read_user(machine, process, at, part)?;
        }
        for register in part.chunks_mut(size as usize) {
            let mut value = [0; 4];
            match direction {
                Direction::In => {
                    value = machine.read_port(port, width).to_le_bytes();
                    register.copy_from_slice(&value[..register.len()]);
                }
                Direction::Out => {
                    value[..register.len()].copy_from_slice(register);
                    machine.write_port(port, width, u32::from_le_bytes(value));
                }
            }
        }
        if direction == Direction::In {
            memory::write_user(machine, process, at, part)?;
        }
    }
    Ok(devio_string::Reply {})
}

/// Cuts memory into pieces: where each starts, and how long it is.
fn pieces(address: u64, bytes: u32, longest: usize) -> impl Iterator<Item = (u64, usize)> {
    (0..bytes as usize)
        .step_by(longest)
        .map(move |done| (address + done as u64, (bytes as usize - done).min(longest)))
}

/// Tells whether a register of that width can hold a value.
pub(super) fn fits(value: u32, width: Width) -> bool {
    match width {
        Width::Byte => u8::try_from(value).is_ok(),
        Width::Word => u16::try_from(value).is_ok(),
        Width::Long => true,
    }
}
