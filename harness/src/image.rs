//! The boot image: a manifest and the programs it names, in a tar archive.

pub mod bare;
mod elf;
mod spoil;
#[cfg(test)]
mod tests;

pub use elf::{NotLoadable, loadable};
pub use spoil::{Corruption, Spoil};

use abi::Wire;
use abi::boot::{Entry, Header, MAGIC, MANIFEST};
use abi::protocols::FINGERPRINT;
use anyhow::{Context, Result};
use std::borrow::Cow;

/// What goes into a boot image, before it becomes bytes.
#[derive(Clone, Debug)]
pub struct Image<'a> {
    /// What the manifest says, in order.
    pub entries: Vec<Entry>,
    /// The files: their names in the archive, and what of them is loaded (see [`loadable`]).
    pub files: Vec<(String, Cow<'a, [u8]>)>,
    fingerprint: u64,
}

impl<'a> Image<'a> {
    /// An image for this build's kernel.
    #[must_use]
    pub fn new(entries: Vec<Entry>, files: Vec<(String, Cow<'a, [u8]>)>) -> Self {
        Self { entries, files, fingerprint: FINGERPRINT }
    }

    /// Packs everything into an archive, the manifest first.
    ///
    /// # Errors
    /// If a name doesn't fit into an archive's header.
    pub fn to_archive(&self) -> Result<Vec<u8>> {
        let mut archive = tar::Builder::new(Vec::new());
        append(&mut archive, MANIFEST, &self.manifest()?)?;
        for (name, contents) in &self.files {
            append(&mut archive, name, contents)?;
        }
        archive.into_inner().context("failed to end the boot image")
    }

    fn manifest(&self) -> Result<Vec<u8>> {
        let count =
            u32::try_from(self.entries.len()).context("failed to count the entries of the manifest")?;
        let header = Header { magic: MAGIC, fingerprint: self.fingerprint, entries: count };
        let mut manifest = vec![0; Header::SIZE + self.entries.len() * Entry::SIZE];
        let (start, rest) = manifest.split_at_mut(Header::SIZE);
        header.put(start);
        for (entry, out) in self.entries.iter().zip(rest.chunks_exact_mut(Entry::SIZE)) {
            entry.put(out);
        }
        Ok(manifest)
    }
}

/// Adds a file whose header says nothing about this host, so that equal images are equal bytes.
fn append(archive: &mut tar::Builder<Vec<u8>>, name: &str, contents: &[u8]) -> Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_path(name).with_context(|| format!("failed to name a file of the boot image {name:?}"))?;
    header.set_size(u64::try_from(contents.len()).context("failed to size a file of the boot image")?);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    archive.append(&header, contents).with_context(|| format!("failed to add {name} to the boot image"))
}
