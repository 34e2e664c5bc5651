//! Addresses as functions and lines of the source.
//!
//! The kernel and every program are linked at addresses of their own, so an address alone tells
//! which of them it belongs to.

use crate::project::Project;
use addr2line::Loader;
use object::{Object as _, ObjectSegment as _};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The debug information of the images of a machine, read when it is needed.
pub struct Symbols<'a> {
    project: &'a Project,
    files: Vec<PathBuf>,
    opened: BTreeMap<usize, Option<Image>>,
}

/// An opened executable.
struct Image {
    ranges: Vec<(u64, u64)>,
    loader: Loader,
}

impl<'a> Symbols<'a> {
    /// The symbols of these executables.
    #[must_use]
    pub fn new(project: &'a Project, files: Vec<PathBuf>) -> Self {
        Self { project, files, opened: BTreeMap::new() }
    }

    /// What there is to say about the addresses in a line of the log: a line for each that is in
    /// one of the images, and further ones for what was inlined there.
    pub fn explain(&mut self, text: &str) -> Vec<String> {
        let is_trace = text.contains(TRACE);
        let mut explained = Vec::new();
        for (index, address) in addresses(text).enumerate() {
            // All but the first address of a trace are where a call returns to, which may already
            // belong to the next line, or to the next function.
            let looked_up = if is_trace && index > 0 { address.saturating_sub(1) } else { address };
            explained.extend(self.frames(looked_up).into_iter().map(|frame| format!("{address:#x} {frame}")));
        }
        explained
    }

    /// A stack: where it is, and where the calls return to that led there.
    #[must_use]
    pub fn stack(&mut self, address: u64, returns: &[u64]) -> Vec<String> {
        // The instruction in front of a return address is the call.
        let returns = returns.iter().map(|address| address.saturating_sub(1));
        std::iter::once(address).chain(returns).flat_map(|address| self.frames(address)).collect()
    }

    /// The functions at an address, the innermost first.
    fn frames(&mut self, address: u64) -> Vec<String> {
        for index in 0..self.files.len() {
            let path = &self.files[index];
            let image = self.opened.entry(index).or_insert_with(|| Image::open(path));
            if let Some(image) = image.as_ref().filter(|image| image.has(address)) {
                return image.frames(self.project, address);
            }
        }
        Vec::new()
    }
}

impl Image {
    /// Opens an executable. One that can't be read has no symbols: that is no reason to fail.
    fn open(path: &Path) -> Option<Self> {
        let bytes = std::fs::read(path).ok()?;
        let file = object::File::parse(bytes.as_slice()).ok()?;
        let range = |start: u64, size: u64| (start, start.saturating_add(size));
        let ranges = file.segments().map(|segment| range(segment.address(), segment.size())).collect();
        Some(Self { ranges, loader: Loader::new(path).ok()? })
    }

    fn has(&self, address: u64) -> bool {
        self.ranges.iter().any(|(start, end)| (start..end).contains(&&address))
    }

    fn frames(&self, project: &Project, address: u64) -> Vec<String> {
        let mut frames = Vec::new();
        let Ok(mut found) = self.loader.find_frames(address) else { return frames };
        while let Ok(Some(frame)) = found.next() {
            let function = frame.function.as_ref().and_then(|name| Some(name.demangle().ok()?.into_owned()));
            let function = function.unwrap_or_else(|| "unknown function".into());
            let place = frame.location.and_then(|place| {
                Some(format!("{}:{}", shorten(project, place.file?), place.line.unwrap_or_default()))
            });
            frames.push(match place {
                Some(place) => format!("{function} at {place}"),
                None => function,
            });
        }
        if frames.is_empty() {
            frames.extend(self.loader.find_symbol(address).map(str::to_owned));
        }
        frames
    }
}

/// What a stack trace in the log starts with.
pub(crate) const TRACE: &str = "stacktrace:";

/// The hexadecimal numbers of a text.
fn addresses(text: &str) -> impl Iterator<Item = u64> {
    text.split(|character: char| !character.is_ascii_alphanumeric()).filter_map(|word| {
        let digits = word.strip_prefix("0x")?;
        u64::from_str_radix(digits, 16).ok()
    })
}

/// A path of the project, of a dependency or of the standard library, without what differs between machines.
fn shorten(project: &Project, path: &str) -> String {
    if let Some((_, library)) = path.split_once("/library/")
        && (path.starts_with("/rustc/") || path.contains("/rustlib/src/"))
    {
        return format!("library/{library}");
    }
    if let Some((_, dependency)) = path.split_once("/registry/src/")
        && let Some((_, dependency)) = dependency.split_once('/')
    {
        return dependency.to_owned();
    }
    project.shorten(Path::new(path)).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_in_any_text() {
        let text = "stacktrace: 0x40, 0x400123 (0xffffffff80001234), 0xzz 0x 12 0x11112222333344445";
        assert_eq!(addresses(text).collect::<Vec<_>>(), [0x40, 0x40_0123, 0xffff_ffff_8000_1234]);
    }

    #[test]
    fn paths_are_those_of_the_project() {
        let project = Project::at("/home/me/tessera").expect("an absolute path");
        assert_eq!(shorten(&project, "/home/me/tessera/os/abi/src/lib.rs"), "os/abi/src/lib.rs");
        assert_eq!(
            shorten(&project, "/rustc/abc/library/core/src/panicking.rs"),
            "library/core/src/panicking.rs"
        );
        let dependency = "/home/me/.cargo/registry/src/index.crates.io-1949cf/goblin-0.10.7/src/lib.rs";
        assert_eq!(shorten(&project, dependency), "goblin-0.10.7/src/lib.rs");
        assert_eq!(shorten(&project, "/elsewhere/library/x.rs"), "/elsewhere/library/x.rs");
    }

    #[test]
    fn a_function_of_this_very_program_is_found() {
        #[inline(never)]
        fn here() {}
        let project = Project::at(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).expect("an absolute path");
        let this = std::env::current_exe().expect("a test is a file");
        let elf = std::fs::read(&this).expect("it can be read");
        let elf = object::File::parse(elf.as_slice()).expect("it is an ELF file");
        use object::ObjectSymbol as _;
        let found = elf.symbols().find(|symbol| symbol.name().is_ok_and(|name| name.contains("shorten")));
        here();
        let address = found.expect("this module has a function of that name").address();
        let mut symbols = Symbols::new(&project, vec!["/nonexistent".into(), this]);
        let explained = symbols.explain(&format!("page fault at {address:#x}"));
        assert!(explained.iter().any(|line| line.contains("shorten")), "{explained:?}");
        assert_eq!(symbols.explain("page fault at 0x7fffffffffff0000"), [""; 0]);
    }
}
