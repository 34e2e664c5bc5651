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
