//! What can be wrong with `os/system.toml`.

use std::fmt;

/// A mistake in `os/system.toml`, or a process that doesn't fit beside its services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SystemError {
    /// It is no TOML, or has keys that it should not have. The text shows the line.
    Toml(String),
    /// A process, program or file is called something that the kernel would refuse.
    BadName(String),
    /// Two processes have one name.
    NameTaken(String),
    /// There is no such slot.
    BadSlot {
        /// The service that asks for it.
        service: String,
        /// The slot.
        slot: u16,
    },
    /// Two services have one slot.
    SlotTaken {
        /// The second one.
        service: String,
        /// The first one.
        other: String,
        /// Their slot.
        slot: u16,
    },
    /// Clients would send to another slot.
    OtherAddress {
        /// The service.
        service: String,
        /// Its slot in the file.
        slot: u16,
        /// Its slot in `abi`.
        address: u16,
    },
    /// `send_to` names no service of the file.
    UnknownService {
        /// Whose `send_to`.
        from: String,
        /// What it names.
        name: String,
    },
    /// A service would wait for itself.
    SendsToItself(String),
    /// Services send each other requests in a circle, in which all could wait for ever.
    Cycle(Vec<String>),
    /// Services schedule each other in a circle.
    SchedulerCycle(Vec<String>),
    /// Services wait in a circle for each other, be it for an answer or for a quantum.
    MixedCycle(Vec<String>),
    /// A manager is no process.
    UnknownManager {
        /// Whose manager.
        owner: String,
        /// Which one.
        key: &'static str,
        /// What it names.
        name: String,
    },
    /// `traps` names no primitive.
    UnknownTrap {
        /// Whose `traps`.
        service: String,
        /// What it names.
        name: String,
    },
    /// `kernel_calls` names no kernel call.
    UnknownCall {
        /// Whose `kernel_calls`.
        from: String,
        /// What it names.
        name: String,
    },
    /// The kernel refuses this call to such a process whatever its mask says.
    CallOfOthers {
        /// Whose `kernel_calls`.
        from: String,
        /// The call.
        name: String,
        /// Who may make it.
        callers: abi::Callers,
    },
    /// Two services have one role.
    RoleTaken {
        /// The second one.
        service: String,
        /// The first one.
        other: String,
    },
    /// A size is no number of bytes, or more than 32 bits can say.
    BadSize {
        /// Whose size.
        owner: String,
        /// Which one.
        key: &'static str,
        /// What stands there.
        text: String,
    },
    /// A range of ports is malformed.
    BadPorts {
        /// Whose ports.
        service: String,
        /// What stands there.
        text: String,
    },
    /// There is no such interrupt line.
    BadIrq {
        /// Who asks for it.
        service: String,
        /// The line.
        line: u8,
    },
}

impl fmt::Display for SystemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Toml(text) => f.write_str(text),
            Self::BadName(name) => write!(
                f,
                "{name:?} can't be the name of a process: write 1 to {} printable ASCII characters without a space, \
                 and not \"kernel\"",
                abi::Name::SIZE
            ),
            Self::NameTaken(name) => write!(f, "two processes are called {name}: rename one of them"),
            Self::BadSlot { service, slot } => {
                write!(f, "{service} asks for slot {slot}, the last one is {}", abi::Endpoint::SLOTS - 1)
            }
            Self::SlotTaken { service, other, slot } => {
                write!(f, "{service} and {other} both have slot {slot}: give one of them another")
            }
            Self::OtherAddress { service, slot, address } => write!(
                f,
                "{service} has slot {slot}, but its clients send to slot {address}: \
                 change one of os/system.toml and os/abi/src/protocols.rs"
            ),
            Self::UnknownService { from, name } => {
                write!(f, "send_to of {from} names {name}, which is no service of this file")
            }
            Self::SendsToItself(service) => write!(f, "send_to of {service} names {service} itself"),
            Self::Cycle(names) => write!(
                f,
                "services send requests in a circle, in which all could wait for ever: {}; a reply needs no \
                 send_to, so let one of them answer, or notify, instead of asking",
                names.join(" -> ")
            ),
            Self::SchedulerCycle(names) => write!(
                f,
                "services are scheduled in a circle, in which nobody would give anybody a quantum: {}; let the kernel \
                 schedule one of them",
                names.join(" -> ")
            ),
            Self::MixedCycle(names) => write!(
                f,
                "services wait for an answer or a quantum in a circle, in which all could wait for ever: {}; let the \
                 kernel schedule one of them, or let one notify instead of asking",
                names.join(" -> ")
            ),
            Self::UnknownManager { owner, key, name } => {
                write!(f, "{key} of {owner} names {name}, which is nobody that can be it")
            }
            Self::UnknownTrap { service, name } => {
                write!(f, "traps of {service} names {name}, which is no IPC primitive")
            }
            Self::UnknownCall { from, name } => write!(
                f,
                "kernel_calls of {from} names {name}, which is none of the calls in \
                 os/abi/src/protocols/kernel_calls.rs"
            ),
            Self::CallOfOthers { from, name, callers } => {
                write!(f, "kernel_calls of {from} names {name}, which only these may make: {callers:?}")
            }
            Self::RoleTaken { service, other } => {
                write!(f, "{service} and {other} have the same role: take it from one of them")
            }
            Self::BadSize { owner, key, text } => {
                write!(f, "{key} of {owner} is {text:?}: write bytes, as in \"4096\", \"64K\" or \"1M\"")
            }
            Self::BadPorts { service, text } => {
                write!(f, "ports of {service} has {text:?}: write \"0x3f8-0x3ff\" or \"0x80\"")
            }
            Self::BadIrq { service, line } => {
                write!(f, "irqs of {service} has {line}, the last line is {}", super::IRQ_LINES - 1)
            }
        }
    }
}

impl std::error::Error for SystemError {}
