//! A machine that is already there, at the other end of a serial line. See [`abi::serial`].

pub mod host;
pub mod line;
#[cfg(test)]
mod tests;

use abi::protocols::FINGERPRINT;
use abi::serial::{COMMAND_LINE_BYTES, Ready, VERSION};
use anyhow::{Context as _, Result, bail};
use host::Plan;
use object::{Object as _, ObjectSection as _};
use std::path::Path;

/// What a kernel says of its code, see [`Ready::kernel`].
///
/// # Errors
/// If the file is no kernel.
pub fn kernel_checksum(kernel: &Path) -> Result<u32> {
    let read = || -> Result<u32> {
        let bytes = std::fs::read(kernel)?;
        let file = object::File::parse(bytes.as_slice())?;
        let code = file.section_by_name(".text").context("it has no code")?;
        Ok(wire::CRC.checksum(code.data()?))
    };
    read().with_context(|| format!("failed to read {}", kernel.display()))
}

/// Checks that a machine runs the kernel whose tests these are.
fn check(ready: &Ready, kernel: u32) -> Result<()> {
    if ready.version != VERSION {
        bail!(
            "the machine speaks version {} of this protocol, and the harness version {VERSION}: copy \
             target/kernel/kernel to where it boots from, and reset it",
            ready.version
        );
    }
    if ready.fingerprint != FINGERPRINT || ready.kernel != kernel {
        bail!(
            "the machine runs another kernel than the one that was just built: copy target/kernel/kernel to \
             where it boots from, and reset it"
        );
    }
    Ok(())
}

/// Checks that a machine can take a run.
///
/// # Errors
/// If it can't.
pub(crate) fn fits(ready: &Ready, plan: &Plan) -> Result<()> {
    if plan.command_line.len() > COMMAND_LINE_BYTES {
        bail!(
            "the command line has more than the {COMMAND_LINE_BYTES} bytes that go over a line: shorten it"
        );
    }
    match plan.image.as_ref().map(host::Packed::unpacked) {
        Some(bytes) if bytes > ready.room => {
            bail!(
                "the boot image has {bytes} bytes, and the machine has room for {}: give it more memory",
                ready.room
            )
        }
        _ => Ok(()),
    }
}
