//! Every protocol of the system, and where its server is found.

mod devices;
mod kernel_calls;
mod memory;
mod servers;

pub use devices::tty;
pub use kernel_calls::{
    AlarmFrom, BATCH_ACCESS, Direction, FilterKind, FilterRule, KEEP_PRIORITY, KEEP_QUANTUM, Level, NO_ALARM,
    ProcessState, Scheduler, Tracing, VirtualTimer, Width, kernel,
};
pub use memory::{Access, vm};
pub use servers::{ds, sched};

use crate::{CallInfo, Endpoint, To};

/// All protocols, for tools.
pub const ALL: &[crate::Protocol] =
    &[kernel::PROTOCOL, tty::PROTOCOL, ds::PROTOCOL, sched::PROTOCOL, vm::PROTOCOL];

/// Where the servers of the boot image are found. `os/system.toml` gives them these slots,
/// and the build refuses one that differs.
pub mod address {
    use super::{Endpoint, To, ds, tty};

    /// The terminal driver.
    pub const TTY: To<tty::Service> = To::new(Endpoint::at_boot(5));
    /// The data store.
    pub const DS: To<ds::Service> = To::new(Endpoint::at_boot(6));

    /// The same by name, for the build.
    pub const ALL: &[(&str, Endpoint)] = &[("tty", TTY.endpoint), ("ds", DS.endpoint)];
}

/// Finds a call by its number.
#[must_use]
pub fn find(number: u16) -> Option<&'static CallInfo> {
    ALL.iter().flat_map(|protocol| protocol.calls).find(|call| call.number == number)
}

const _: () = {
    let mut a = 0;
    while a < ALL.len() {
        let mut b = a + 1;
        while b < ALL.len() {
            assert!(are_disjoint(ALL[a].calls, ALL[b].calls), "two protocols have a call of the same number");
            b += 1;
        }
        a += 1;
    }
};

const fn are_disjoint(these: &[CallInfo], those: &[CallInfo]) -> bool {
    let mut i = 0;
    while i < these.len() {
        let mut j = 0;
        while j < those.len() {
            if these[i].number == those[j].number {
                return false;
            }
            j += 1;
        }
        i += 1;
    }
    true
}

/// A hash of all calls and of the manifest's records. The kernel compares the boot image's with its own, and the
/// harness the kernel's: a number means the same to all of them or nothing starts.
pub const FINGERPRINT: u64 = {
    let mut hash = 0xcbf2_9ce4_8422_2325;
    let mut p = 0;
    while p < ALL.len() {
        let mut c = 0;
        while c < ALL[p].calls.len() {
            let call = &ALL[p].calls[c];
            hash = fnv(hash, call.name);
            hash = fnv(hash ^ call.number as u64, call.signature);
            c += 1;
        }
        p += 1;
    }
    use crate::boot::{Header, Irq, Managers, Pair, Ports, Process};
    let records =
        [Header::LAYOUT, Process::LAYOUT, Pair::LAYOUT, Ports::LAYOUT, Irq::LAYOUT, Managers::LAYOUT];
    let mut r = 0;
    while r < records.len() {
        hash = fnv(hash, records[r]);
        r += 1;
    }
    hash
};

/// FNV-1a, continued.
const fn fnv(mut hash: u64, text: &str) -> u64 {
    let mut i = 0;
    while i < text.len() {
        hash = (hash ^ text.as_bytes()[i] as u64).wrapping_mul(0x0100_0000_01b3);
        i += 1;
    }
    hash
}
