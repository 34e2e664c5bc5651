//! The boot image: finds what the manifest names, and checks all of it before anything starts.

use crate::elf::{ElfError, Image};
use crate::kernel::AddError;
use abi::Name;
use abi::boot::{self, Entry, ManifestError};
use core::fmt;
use tar_no_std::{CorruptDataError, TarArchiveRef};

/// Why a boot image is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageError {
    /// QEMU was given no initrd.
    Missing,
    /// The archive is damaged.
    Archive(CorruptDataError),
    /// The archive doesn't start with a manifest.
    NoManifest,
    /// The manifest can't be read.
    Manifest(ManifestError),
    /// The manifest names no process.
    NoProcesses,
    /// A process's file is not in the archive.
    NoFile {
        /// The process.
        process: Name,
        /// The file.
        file: Name,
    },
    /// A process's file is no image that can be loaded.
    Elf {
        /// The process.
        process: Name,
        /// What is wrong.
        error: ElfError,
    },
    /// A process can't be added.
    Process {
        /// The process.
        process: Name,
        /// What is wrong.
        error: AddError,
    },
    /// A right is given to a process that can't have it.
    Right(AddError),
    /// Memory is short.
    NoMemory {
        /// The process that did not fit.
        process: Name,
    },
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("there is none (QEMU takes it as -initrd)"),
            Self::Archive(error) => write!(f, "truncated or damaged: {error}"),
            Self::NoManifest => f.write_str("its first file is not the manifest"),
            Self::Manifest(error) => error.fmt(f),
            Self::NoProcesses => f.write_str("the manifest names no process"),
            Self::NoFile { process, file } => write!(f, "{process}: there is no file {file}"),
            Self::Elf { process, error } => write!(f, "{process}: {error}"),
            Self::Process { process, error } => write!(f, "{process}: {error}"),
            Self::Right(error) => error.fmt(f),
            Self::NoMemory { process } => write!(f, "{process}: not enough memory to load it"),
        }
    }
}

impl core::error::Error for ImageError {}

/// A boot image whose archive and manifest have been checked.
#[derive(Clone, Debug)]
pub struct BootImage<'a> {
    archive: TarArchiveRef<'a>,
    manifest: &'a [u8],
}

impl<'a> BootImage<'a> {
    /// Checks an archive.
    ///
    /// # Errors
    /// If it is damaged, or its manifest can't be read.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ImageError> {
        let archive = TarArchiveRef::new(bytes).map_err(ImageError::Archive)?;
        let first = archive.entries().next().ok_or(ImageError::NoManifest)?;
        if first.filename().as_str() != Ok(boot::MANIFEST) {
            return Err(ImageError::NoManifest);
        }
        let image = Self { archive, manifest: first.data() };
        let mut processes = 0;
        for entry in boot::entries(image.manifest).map_err(ImageError::Manifest)? {
            processes += usize::from(matches!(entry.map_err(ImageError::Manifest)?, Entry::Process(_)));
        }
        if processes == 0 { Err(ImageError::NoProcesses) } else { Ok(image) }
    }

    /// The manifest's entries, in order.
    pub fn entries(&self) -> impl Iterator<Item = Entry> + '_ {
        boot::entries(self.manifest).into_iter().flatten().flatten()
    }

    /// The image of a process.
    ///
    /// # Errors
    /// If there is no such file, or it can't be loaded.
    pub fn executable(&self, process: &boot::Process) -> Result<Image<'a>, ImageError> {
        let mut files = self.archive.entries();
        let file = files.find(|file| file.filename().as_str() == Ok(process.file.as_str()));
        let file = file.ok_or(ImageError::NoFile { process: process.name, file: process.file })?;
        Image::parse(file.data()).map_err(|error| ImageError::Elf { process: process.name, error })
    }
}
