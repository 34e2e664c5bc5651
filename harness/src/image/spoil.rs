//! Boot images with something wrong in them, for machines that must refuse them.

use super::Image;
use abi::boot::Entry;
use anyhow::{Context, Result, bail};

/// What is wrong with a boot image.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Spoil {
    /// Nothing.
    #[default]
    Nothing,
    /// There is none.
    Missing,
    /// Only its first bytes are there.
    Truncate(usize),
    /// It is so many bytes of noise.
    Garbage(usize),
    /// Bytes of a file are others.
    Corrupt(Corruption),
    /// A file is missing that the manifest names.
    Without(String),
    /// The manifest starts a second process of this name.
    Twice(String),
    /// The manifest was made for other protocols than the kernel's, if true.
    OtherProtocols(bool),
    /// The manifest starts nothing, if true.
    NoProcesses(bool),
}

/// Bytes to put into a file.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Corruption {
    /// The file.
    pub file: String,
    /// Where the first byte goes.
    pub offset: usize,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl Spoil {
    /// Makes the archive of a spoiled image; `None` if there is to be none.
    ///
    /// # Errors
    /// If the image doesn't have what is to be spoiled.
    pub fn archive(&self, mut image: Image<'_>) -> Result<Option<Vec<u8>>> {
        match self {
            Self::Missing => return Ok(None),
            Self::Garbage(size) => return Ok(Some(noise(*size))),
            Self::Truncate(size) => return truncate(&image, *size).map(Some),
            Self::Corrupt(corruption) => corruption.apply(&mut image)?,
            Self::Without(file) => remove(&mut image, file)?,
            Self::Twice(name) => repeat(&mut image, name)?,
            Self::OtherProtocols(true) => image.fingerprint = !image.fingerprint,
            Self::NoProcesses(true) => image.entries.clear(),
            Self::Nothing | Self::OtherProtocols(false) | Self::NoProcesses(false) => {}
        }
        image.to_archive().map(Some)
    }
}

fn truncate(image: &Image<'_>, size: usize) -> Result<Vec<u8>> {
    let mut archive = image.to_archive()?;
    if size >= archive.len() {
        bail!("truncate = {size} leaves a boot image of {} bytes as it is: choose less", archive.len());
    }
    archive.truncate(size);
    Ok(archive)
}

impl Corruption {
    fn apply(&self, image: &mut Image<'_>) -> Result<()> {
        let (_, contents) =
            image.files.iter_mut().find(|(name, _)| *name == self.file).with_context(|| {
                format!("corrupt names {}, which is no file of the boot image", self.file)
            })?;
        let range = self.offset..self.offset.saturating_add(self.bytes.len());
        let size = contents.len();
        let place = contents.to_mut().get_mut(range).with_context(|| {
            format!("corrupt writes behind the end of {}, which has {size} bytes", self.file)
        })?;
        place.copy_from_slice(&self.bytes);
        Ok(())
    }
}

fn remove(image: &mut Image<'_>, file: &str) -> Result<()> {
    let count = image.files.len();
    image.files.retain(|(name, _)| name != file);
    if image.files.len() == count {
        bail!("without names {file}, which is no file of the boot image");
    }
    Ok(())
}

/// Adds a process that is like the named one but for its slot.
fn repeat(image: &mut Image<'_>, name: &str) -> Result<()> {
    let processes = || {
        image.entries.iter().filter_map(|entry| if let Entry::Process(p) = entry { Some(*p) } else { None })
    };
    let mut twin = processes()
        .find(|process| process.name.as_str() == name)
        .with_context(|| format!("twice names {name}, which is no process of the boot image"))?;
    twin.slot = processes().map(|process| process.slot).max().unwrap_or_default() + 1;
    twin.ends_machine = false;
    image.entries.push(Entry::Process(twin));
    Ok(())
}

/// The same noise for every run (Marsaglia's xorshift).
fn noise(size: usize) -> Vec<u8> {
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    std::iter::repeat_with(&mut next).take(size).collect()
}
