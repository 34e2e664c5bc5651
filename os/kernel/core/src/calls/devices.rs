//! Kernel calls of drivers, beside the simplest.

use super::{Call, Kernel, Machine};
use abi::protocols::kernel::{devio_batch, irq_detach, irq_disable};
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

/// Tells whether a register of that width can hold a value.
pub(super) fn fits(value: u32, width: Width) -> bool {
    match width {
        Width::Byte => u8::try_from(value).is_ok(),
        Width::Word => u16::try_from(value).is_ok(),
        Width::Long => true,
    }
}
