//! The contract between the kernel, the services, the programs and the host tools.
//!
//! Everything that crosses a protection boundary is defined here, once. The crate has no
//! dependency, no `unsafe` and no code for one target: the kernel, the images and the harness
//! all use the same source, so a message that the harness prints is the message that was sent.
#![no_std]
#![forbid(unsafe_code)]

#[macro_use]
mod fields;
#[macro_use]
mod protocol;
pub mod boot;
mod endpoint;
mod errno;
mod grant;
pub mod inspect;
pub mod ipc;
mod memory;
mod message;
pub mod notification;
pub mod protocols;
pub mod registers;
pub mod report;
pub mod serial;
pub mod signal;
pub mod state;
mod text;
mod wire;

pub use endpoint::{Endpoint, Pid};
pub use errno::Errno;
pub use grant::{Grant, GrantAccess, GrantEntry, GrantId};
pub use memory::{
    CopyElement, CopyFlags, DeviceAccess, PageAccess, PhysicalPiece, RequestOutcome, VECTOR_LIMIT, VumapInput,
};
pub use message::{Callers, MESSAGE_SIZE, Message, PAYLOAD_SIZE, REPLY};
pub use protocol::{
    Answer, Call, CallInfo, Described, Protocol, Ticket, To, describe, describe_with, mask_bit,
};
pub use signal::{Signal, Signals};
pub use text::{Bytes, Name};
pub use wire::Wire;

#[doc(hidden)]
pub use protocol::{decode, has_unique_numbers, print};
