//! What insta is told before a process makes its first comparison.

use crate::tools;
use anyhow::{Context as _, Result};
use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

const UPDATE: &str = "INSTA_UPDATE";

/// What becomes of snapshots that differ, if that isn't as the user says: nothing is accepted where
/// nobody looks, but what differs may be kept for review.
#[must_use]
pub fn update_in_tests() -> Option<&'static str> {
    match std::env::var(UPDATE).ok().as_deref() {
        Some("new") => Some("new"),
        _ if tools::is_ci() => Some("no"),
        _ => None,
    }
}

/// Insta reads its settings from the environment, and a process can't safely change its own. So
/// this one starts over with them, and comes back only when it has: no call of cargo for the
/// workspace's root, and no printing, because the report does that.
///
/// `update` is what becomes of snapshots that differ, if that isn't as the user says.
///
/// # Errors
/// If this program can't be run again.
pub fn start_over(root: &Path, update: Option<&str>) -> Result<()> {
    let wanted = settings(root, update);
    if wanted.iter().all(|(name, value)| std::env::var_os(name).as_ref() == Some(value)) {
        return Ok(());
    }
    let program = std::env::current_exe().context("failed to find the path of this program")?;
    let error = Command::new(program).args(std::env::args_os().skip(1)).envs(wanted).exec();
    Err(error).context("failed to start over with insta's settings")
}

fn settings(root: &Path, update: Option<&str>) -> Vec<(&'static str, OsString)> {
    let update = update.map(|update| (UPDATE, OsStr::new(update)));
    let fixed = [("INSTA_OUTPUT", OsStr::new("none")), ("INSTA_WORKSPACE_ROOT", root.as_os_str())];
    fixed.into_iter().chain(update).map(|(name, value)| (name, value.to_owned())).collect()
}
