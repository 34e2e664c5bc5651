//! The shape of `os/system.toml`, as it is written.

use serde::de::{Deserializer, MapAccess, Visitor};
use std::fmt;

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) programs: Programs,
    #[serde(default, deserialize_with = "in_order")]
    pub(super) service: Vec<(String, Service)>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Programs {
    pub(super) send_to: Vec<String>,
    pub(super) kernel_calls: Vec<String>,
    pub(super) priority: u8,
    pub(super) quantum_ms: u32,
    pub(super) stack: String,
    pub(super) heap: String,
    pub(super) signal_manager: Option<String>,
    pub(super) backup_manager: Option<String>,
    pub(super) scheduler: Option<String>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Service {
    pub(super) package: String,
    pub(super) slot: u16,
    pub(super) role: Option<super::Role>,
    pub(super) priority: u8,
    pub(super) quantum_ms: u32,
    pub(super) stack: String,
    pub(super) heap: String,
    pub(super) send_to: Vec<String>,
    pub(super) kernel_calls: Vec<String>,
    #[serde(default)]
    pub(super) ports: Vec<String>,
    #[serde(default)]
    pub(super) irqs: Vec<u8>,
    pub(super) traps: Option<Vec<String>>,
    pub(super) signal_manager: Option<String>,
    pub(super) backup_manager: Option<String>,
    pub(super) scheduler: Option<String>,
    #[serde(default)]
    pub(super) grants_magic: bool,
}

/// Keeps the order of the file, which is the order in which services start.
fn in_order<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(String, Service)>, D::Error> {
    struct InOrder;
    impl<'de> Visitor<'de> for InOrder {
        type Value = Vec<(String, Service)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a table of services")
        }

        fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
            let mut services = Vec::new();
            while let Some(entry) = map.next_entry()? {
                services.push(entry);
            }
            Ok(services)
        }
    }
    deserializer.deserialize_map(InOrder)
}
