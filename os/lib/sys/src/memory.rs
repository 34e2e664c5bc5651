//! Kernel calls that move memory, over slices instead of addresses.

use crate::kernel_call;
use abi::protocols::kernel;
use abi::{CopyFlags, Endpoint, Errno, GrantId};

/// Where bytes are that the kernel reads.
fn address(bytes: &[u8]) -> u64 {
    bytes.as_ptr().expose_provenance() as u64
}

/// Where bytes are that the kernel writes.
fn address_mut(bytes: &mut [u8]) -> u64 {
    bytes.as_mut_ptr().expose_provenance() as u64
}

/// Makes a call that moves bytes, unless there are none.
fn unless_empty<C: abi::Call<Service = kernel::Service>>(len: u64, call: &C) -> Result<(), Errno> {
    if len == 0 { Ok(()) } else { kernel_call(call).map(|_| ()) }
}

/// Copies from a process's memory.
///
/// # Errors
/// Those of [`kernel::vircopy`].
pub fn copy_from(from: Endpoint, from_address: u64, into: &mut [u8], flags: CopyFlags) -> Result<(), Errno> {
    let (len, to_address) = (into.len() as u64, address_mut(into));
    let call = kernel::vircopy::Request { from, to: Endpoint::SELF, flags, from_address, to_address, len };
    unless_empty(len, &call)
}

/// Copies to a process's memory.
///
/// # Errors
/// Those of [`kernel::vircopy`].
pub fn copy_to(bytes: &[u8], to: Endpoint, to_address: u64, flags: CopyFlags) -> Result<(), Errno> {
    let (len, from_address) = (bytes.len() as u64, address(bytes));
    let call = kernel::vircopy::Request { from: Endpoint::SELF, to, flags, from_address, to_address, len };
    unless_empty(len, &call)
}

/// Copies from granted memory.
///
/// # Errors
/// Those of [`kernel::safecopy_from`].
pub fn safecopy_from(granter: Endpoint, grant: GrantId, offset: u64, into: &mut [u8]) -> Result<(), Errno> {
    let (len, address) = (into.len() as u64, address_mut(into));
    unless_empty(len, &kernel::safecopy_from::Request { granter, grant, offset, address, len })
}

/// Copies to granted memory.
///
/// # Errors
/// Those of [`kernel::safecopy_to`].
pub fn safecopy_to(bytes: &[u8], granter: Endpoint, grant: GrantId, offset: u64) -> Result<(), Errno> {
    let (len, address) = (bytes.len() as u64, address(bytes));
    unless_empty(len, &kernel::safecopy_to::Request { granter, grant, offset, address, len })
}
