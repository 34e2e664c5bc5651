//! Boots Tessera in QEMU, watches it, and judges what it did.
//!
//! The parts, from the source tree to the report:
//!
//! * [`project`], [`build`]: where things are; the cargo call that makes the images.
//! * [`system`], [`image`]: `os/system.toml`, checked and resolved; the archive that the kernel boots.
//! * [`scenario`], [`list`], [`partition`]: what there is to run, read from the guest programs and
//!   from `fixtures/machines`; its list, and a share of it.
//! * [`machine`]: one QEMU process and its channels. It knows nothing of what they carry.
//! * [`observe`]: the bytes of a run as one stream of typed events.
//! * [`verdict`], [`snapshot`], [`determinism`], [`symbols`]: readers of that stream: how it ended,
//!   whether it is what was reviewed, whether it repeats, where in the source a complaint comes from.
//! * [`dump`], [`inspect`]: memory of a machine that had to be stopped, and what everybody was doing there.
//! * [`run`], [`suite`], [`report`], [`mod@bench`]: one scenario; many, in parallel; and their reports.
//! * [`recording`], [`travel`]: a run that was recorded; going to an instruction of it, and who wrote something.
//! * [`gdb`]: the debugger as a process of ours: its symbols, its commands, its end.
//! * [`shell`], [`tools`], [`doctor`], [`ci`]: commands as one would type them, what the host must
//!   have, and all checks in a row.
//!
//! Whatever a guest does ends in a value here: no output of a guest makes the harness panic or wait
//! for ever, and QEMU never outlives it.
#![forbid(unsafe_code)]

pub mod bench;
pub mod build;
pub mod ci;
pub mod determinism;
pub mod doctor;
pub mod dump;
pub mod gdb;
pub mod image;
pub mod inspect;
pub mod list;
pub mod machine;
pub mod observe;
pub mod partition;
pub mod project;
pub mod recording;
pub mod report;
pub mod run;
pub mod scenario;
pub mod serial;
pub mod shell;
pub mod snapshot;
pub mod suite;
pub mod symbols;
pub mod system;
pub mod tools;
pub mod travel;
pub mod verdict;
