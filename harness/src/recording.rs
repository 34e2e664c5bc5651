//! A recorded run: what is kept of it, and how it is run again.
//!
//! QEMU writes down all that came into a machine from outside, and a picture of the machine before
//! its first instruction, to which its gdb stub goes back for commands that run backwards.

use crate::determinism::Difference;
use crate::machine::{Firmware, IMAGE, KERNEL};
use crate::project::Project;
use crate::report::bundles::{self, IMAGES, SUMMARY};
use anyhow::{Context as _, Result, ensure};
use std::path::{Component, Path, PathBuf};

/// What QEMU wrote down, in a bundle.
pub const LOG: &str = "record.bin";
/// The disk that holds the picture of the machine, in a bundle.
pub const DISK: &str = "record.qcow2";
/// What of the machine is in no file of its own, in a bundle.
pub const MACHINE: &str = "machine.json";

/// A recorded run.
#[derive(Clone, Debug)]
pub struct Recording {
    /// What QEMU wrote down.
    pub log: Vec<u8>,
    /// The disk with the picture of the machine.
    pub disk: Vec<u8>,
    /// The machine's shape.
    pub machine: Shape,
    /// Where the recorded run differs from the one that failed, if it does.
    pub difference: Option<Difference>,
}

/// What of a machine must be the same in each run, besides the files it starts from.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Shape {
    /// Its memory.
    pub memory_mib: u32,
    /// What runs before the kernel.
    pub firmware: Firmware,
    /// The kernel's parameters.
    pub command_line: String,
}

impl Recording {
    /// Writes it into a bundle.
    ///
    /// # Errors
    /// If a file can't be written.
    pub fn write(&self, bundle: &Path) -> Result<()> {
        let machine = serde_json::to_vec_pretty(&self.machine).context("failed to describe a machine")?;
        for (name, contents) in [(LOG, &self.log), (DISK, &self.disk), (MACHINE, &machine)] {
            let path = bundle.join(name);
            std::fs::write(&path, contents).with_context(|| format!("failed to write {}", path.display()))?;
        }
        Ok(())
    }
}

/// The bundle with a test's record: that of its failure, else that of `--record`; or a bundle that is kept elsewhere.
#[must_use]
pub fn bundle(project: &Project, test: &Path) -> PathBuf {
    let [failed, recorded] = [project.failures(), project.records()].map(|directory| directory.join(test));
    let is_name = matches!(test.components().next_back(), Some(Component::Normal(_)));
    match () {
        () if !is_name => test.to_owned(),
        () if failed.exists() => failed,
        () if recorded.exists() => recorded,
        () if test.is_dir() => test.to_owned(),
        () => failed,
    }
}

/// The executables of a bundle, the kernel first.
///
/// # Errors
/// If the bundle has none.
pub fn images(bundle: &Path) -> Result<Vec<PathBuf>> {
    let directory = bundle.join(IMAGES);
    let unreadable = || format!("failed to read {}", directory.display());
    let entries = std::fs::read_dir(&directory).with_context(unreadable)?;
    let mut programs: Vec<PathBuf> =
        entries.map(|entry| Ok(entry.with_context(unreadable)?.path())).collect::<Result<_>>()?;
    programs.sort();
    programs.insert(0, bundle.join(KERNEL));
    Ok(programs)
}

/// Reads the shape of a bundle's machine, and makes sure that the files of the record are whole.
///
/// # Errors
/// If something isn't there, not understood, or not as it was written.
pub fn shape(bundle: &Path) -> Result<Shape> {
    let path = bundle.join(MACHINE);
    let text = std::fs::read(&path).with_context(|| match why_missing(bundle) {
        Some(reason) => format!("the run wasn't recorded: {reason}"),
        None => {
            let none = format!("there is no record of the run in {}", bundle.display());
            // A directory such as `..` has no name that could be a test's.
            let advice = bundle.file_name().map(|name| {
                format!(": `cargo xtask test --record --exact {}` makes one", crate::shell::quote(name))
            });
            none + &advice.unwrap_or_default()
        }
    })?;
    let shape =
        serde_json::from_slice(&text).with_context(|| format!("failed to understand {}", path.display()))?;
    verify(bundle)?;
    Ok(shape)
}

/// Compares files with what a bundle says of them. QEMU would take a record that has lost its end for one that ends
/// there, and a machine with another kernel runs somewhere else.
fn verify(bundle: &Path) -> Result<()> {
    let summary = summary(bundle).with_context(|| format!("failed to understand {SUMMARY}"))?;
    for (file, place) in
        [(KERNEL, "/kernel"), (IMAGE, "/image"), (LOG, "/record/log"), (DISK, "/record/disk")]
    {
        let Some(expected) = summary.pointer(place).filter(|expected| !expected.is_null()) else { continue };
        let path = bundle.join(file);
        let bytes = std::fs::read(&path).with_context(|| format!("failed to read {}", path.display()))?;
        let found = bundles::hash(&bytes);
        ensure!(
            found == *expected,
            "{} is not what was recorded: it has {} bytes, and had {}; or others",
            path.display(),
            found["bytes"],
            expected["bytes"]
        );
    }
    Ok(())
}

fn summary(bundle: &Path) -> Option<serde_json::Value> {
    serde_json::from_slice(&std::fs::read(bundle.join(SUMMARY)).ok()?).ok()
}

/// Where the record of a bundle is another run than the one that was judged, as far as the bundle says so.
#[must_use]
pub fn difference(bundle: &Path) -> Option<String> {
    let summary = summary(bundle)?;
    let record = summary.get("record")?;
    let is_other = record.get("same_events")?.as_bool() == Some(false);
    let text = record.get("difference").and_then(serde_json::Value::as_str).unwrap_or("it isn't known where");
    is_other.then(|| crate::observe::escape(text.as_bytes()))
}

/// What a bundle says of a record that it doesn't have.
fn why_missing(bundle: &Path) -> Option<String> {
    let summary = summary(bundle)?;
    let reason = summary.get("record")?.get("missing")?.as_str()?;
    Some(crate::observe::escape(reason.as_bytes()))
}

/// An empty disk in QEMU's format, for the picture of a machine.
///
/// docs/interop/qcow2.txt of QEMU: a header, the table of reference counts, one block of them, and
/// the table of a disk without data, a cluster each.
#[must_use]
pub fn empty_disk() -> Vec<u8> {
    const CLUSTER_BITS: u32 = 16;
    const CLUSTER: u64 = 1 << CLUSTER_BITS;
    const DISK_BYTES: u64 = 16 << 20;
    let mut header = Vec::new();
    let mut word = |value: u32| header.extend(value.to_be_bytes());
    // Magic, version, no backing file, size of clusters.
    [0x5146_49fb, 3, 0, 0, 0, CLUSTER_BITS].into_iter().for_each(&mut word);
    let mut long = |value: u64| header.extend(value.to_be_bytes());
    long(DISK_BYTES);
    // No encryption, and one entry in the table of the disk, which is the fourth cluster.
    long(1);
    long(3 * CLUSTER);
    // The table of reference counts is the second cluster, one long; there are no snapshots.
    long(CLUSTER);
    long(1 << 32);
    long(0);
    // No features; reference counts of 16 bits; the header's length.
    [0, 0, 0].into_iter().for_each(&mut long);
    long(4 << 32 | 104);
    let mut disk = vec![0; usize::try_from(4 * CLUSTER).expect("a quarter of a megabyte fits")];
    disk[..header.len()].copy_from_slice(&header);
    let mut put = |at: u64, bytes: &[u8]| {
        let at = usize::try_from(at).expect("a quarter of a megabyte fits");
        disk[at..at + bytes.len()].copy_from_slice(bytes);
    };
    put(CLUSTER, &(2 * CLUSTER).to_be_bytes());
    (0..4).for_each(|cluster| put(2 * CLUSTER + 2 * cluster, &1_u16.to_be_bytes()));
    disk
}
