//! Protocols of servers.

use crate::{Endpoint, Name};

crate::protocol! {
    /// Data store: values that services publish for each other, and keep across their restarts.
    ds = 0x0800;

    /// Publishes a number under a key. The publisher owns the key.
    1 publish {
        key: Name,
        value: u64,
        /// Replace a value that the caller published before.
        overwrite: bool,
    } returns {} fails [
        /// The key is taken, and `overwrite` was not asked for.
        EEXIST,
        /// There is no room for another key.
        ENOMEM,
    ] from PROGRAM | SERVICE;

    /// Retrieves the number under a key.
    2 retrieve { key: Name } returns {
        value: u64,
        /// Who published it.
        owner: Endpoint,
    } fails [ENOENT] from PROGRAM | SERVICE, repeatable;

    /// Deletes a key of the caller's.
    3 delete { key: Name } returns {} fails [ENOENT] from PROGRAM | SERVICE;
}

crate::protocol! {
    /// What the kernel tells a scheduler. The process that a message is about is its source.
    sched = 0x0f00;

    /// The source has used up its quantum, and does not run before the scheduler says so by the
    /// kernel call `schedule`. Never answered. (MINIX `SCHEDULING_NO_QUANTUM`.)
    1 no_quantum {
        /// The queue that it was in.
        priority: u8,
        /// Clock ticks that found it running, since its last quantum began.
        ticks: u32,
        /// Times that it came to wait.
        waits: u32,
        /// Times that an interrupt put a more urgent process in its place.
        preemptions: u32,
        /// Messages that it sent and that were taken.
        messages: u32,
    } suspends {} fails [] from KERNEL;
}
