//! How images are linked: what the `build.rs` of a service, a program or the kernel calls.
//!
//! Images are built for the host's own target, so that plain `cargo build`, `clippy` and
//! rust-analyzer work on all of the workspace without a flag. What makes an image of a package
//! are arguments of the link, and those that a build script asks for touch that package's images only.
//!
//! Every service is linked at addresses of its own. So an address alone tells which service and
//! which function it belongs to, in a stack trace as in a debugger that holds all symbols at once.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use toml::de::DeTable;

/// Where a service's image starts: 16 MiB for each slot, and a little more, so that the same
/// offset in two services doesn't meet in one entry of a direct-mapped TLB.
#[must_use]
pub const fn service_address(slot: u16) -> u64 {
    0x1000_0000 + slot as u64 * 0x0101_1000
}

/// Where programs start.
pub const PROGRAM_ADDRESS: u64 = 0x6000_0000;

/// Services have slots below this one, so that their images end before programs start.
pub const SERVICE_SLOTS: u16 = 64;

const _: () = assert!(service_address(SERVICE_SLOTS) < PROGRAM_ADDRESS);

/// Links the package's binary as the service that `os/system.toml` describes for it.
///
/// # Panics
/// If it describes none, or can't be read: the build stops with the reason.
pub fn service() {
    let package = std::env::var("CARGO_PKG_NAME").expect("cargo sets CARGO_PKG_NAME for build scripts");
    let file = scripts().join("../../system.toml");
    println!("cargo::rerun-if-changed={}", file.display());
    let text = std::fs::read_to_string(&file).expect("os/system.toml is readable");
    let slot = slot_of(&text, &package).unwrap_or_else(|problem| panic!("os/system.toml: {problem}"));
    user(Kind::Binaries, service_address(slot));
}

/// Links the package's binaries as programs.
pub fn program() {
    user(Kind::Binaries, PROGRAM_ADDRESS);
}

/// Links the package's examples as programs, as the guest tests are.
pub fn guest_tests() {
    user(Kind::Examples, PROGRAM_ADDRESS);
}

/// Links the package's binary by a linker script of its own.
pub fn with_script(script: &Path) {
    arguments(Kind::Binaries, script);
}

/// Which of a package's targets are images.
#[derive(Clone, Copy)]
enum Kind {
    Binaries,
    Examples,
}

impl Kind {
    fn argument(self, argument: &str) {
        let kind = match self {
            Self::Binaries => "bins",
            Self::Examples => "examples",
        };
        println!("cargo::rustc-link-arg-{kind}={argument}");
    }
}

fn user(kind: Kind, address: u64) {
    arguments(kind, &scripts().join("user.ld"));
    kind.argument(&format!("-Wl,--defsym=IMAGE_ADDRESS={address:#x}"));
}

fn arguments(kind: Kind, script: &Path) {
    println!("cargo::rerun-if-changed={}", script.display());
    for argument in [
        "-nostartfiles",
        "-nostdlib",
        "-static",
        "-no-pie",
        "-Wl,--build-id=none",
        "-Wl,-z,norelro",
        "-Wl,-z,nognustack",
        "-Wl,--gc-sections",
    ] {
        kind.argument(argument);
    }
    kind.argument(&format!("-Wl,-T,{}", script.display()));
}

fn scripts() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The slot of the service whose `package` is the given one.
fn slot_of(system: &str, package: &str) -> Result<u16, String> {
    let system = DeTable::parse(system).map_err(|error| format!("{error}"))?;
    let services = system.get_ref().get("service").and_then(|services| services.get_ref().as_table());
    let services = services.ok_or("there is no [service.NAME]")?;
    let mut services = services.values().map(|service| service.get_ref());
    let service = services
        .find(|service| service.get("package").and_then(|name| name.get_ref().as_str()) == Some(package));
    let slot = service.and_then(|service| service.get("slot")?.get_ref().as_integer());
    let slot = slot.and_then(|slot| i64::from_str_radix(slot.as_str(), slot.radix()).ok());
    let slot = slot.ok_or_else(|| format!("no service with a slot has package = \"{package}\""))?;
    u16::try_from(slot).ok().filter(|slot| *slot < SERVICE_SLOTS).ok_or_else(|| {
        format!("the slot of {package} is not below {SERVICE_SLOTS}, where the addresses of programs start")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_without_a_usable_slot_is_refused() {
        let system =
            "[service.ds]\npackage = \"ds\"\nslot = 6\n[service.far]\npackage = \"far\"\nslot = 64\n";
        assert_eq!(slot_of(system, "ds"), Ok(6));
        assert!(slot_of(system, "far").unwrap_err().contains("not below 64"));
        assert!(slot_of(system, "tty").unwrap_err().contains("package = \"tty\""));
        assert!(slot_of("service = 3", "ds").is_err());
        assert!(slot_of("][", "ds").is_err());
    }

    #[test]
    fn no_two_services_start_at_one_place_of_a_small_tlb() {
        let places: std::collections::BTreeSet<u64> =
            (0..15).map(|slot| service_address(slot) / 4096 % 256).collect();
        assert_eq!(places.len(), 15);
    }
}
