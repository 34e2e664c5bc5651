//! Short byte strings and names that travel inside a message.

use core::fmt;

/// Up to `N` bytes, with their count.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Bytes<const N: usize> {
    len: u8,
    bytes: [u8; N],
}

impl<const N: usize> Bytes<N> {
    const FITS: () = assert!(N <= u8::MAX as usize, "the count of a byte string is one byte");

    /// No bytes.
    pub const EMPTY: Self = {
        let () = Self::FITS;
        Self { len: 0, bytes: [0; N] }
    };

    /// Takes as many bytes of `from` as there is room for.
    #[must_use]
    pub fn first_of(from: &[u8]) -> Self {
        let len = from.len().min(N);
        let mut taken = Self::EMPTY;
        taken.bytes[..len].copy_from_slice(&from[..len]);
        taken.len = u8::try_from(len).expect("N fits, see FITS");
        taken
    }

    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl<const N: usize> crate::Wire for Bytes<N> {
    const SIZE: usize = N + 1;
    fn put(&self, out: &mut [u8]) {
        out[0] = self.len;
        out[1..].copy_from_slice(&self.bytes);
    }
    fn get(from: &[u8]) -> Option<Self> {
        let (&len, bytes) = from.split_first()?;
        let unused = bytes.get(usize::from(len)..)?;
        // What lies behind the count is zero, so equal strings are equal messages.
        unused.iter().all(|byte| *byte == 0).then(|| Self::first_of(&bytes[..usize::from(len)]))
    }
}

impl<const N: usize> fmt::Debug for Bytes<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.as_slice().escape_ascii())
    }
}

/// The name of a process, or a key of the data store: printable ASCII without spaces.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name([u8; Name::SIZE]);

impl Name {
    /// Bytes of the longest name.
    pub const SIZE: usize = 48;

    /// Checks a name: 1 to 48 printable ASCII characters, no space.
    #[must_use]
    pub const fn new(name: &str) -> Option<Self> {
        let from = name.as_bytes();
        if from.is_empty() || from.len() > Self::SIZE {
            return None;
        }
        let mut bytes = [0; Self::SIZE];
        let mut i = 0;
        while i < from.len() {
            if !from[i].is_ascii_graphic() {
                return None;
            }
            bytes[i] = from[i];
            i += 1;
        }
        Some(Self(bytes))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let len = self.0.iter().position(|byte| *byte == 0).unwrap_or(Self::SIZE);
        core::str::from_utf8(&self.0[..len]).expect("a name is ASCII, see `new`")
    }
}

impl crate::Wire for Name {
    const SIZE: usize = Name::SIZE;
    fn put(&self, out: &mut [u8]) {
        out.copy_from_slice(&self.0);
    }
    fn get(from: &[u8]) -> Option<Self> {
        let len = from.iter().position(|byte| *byte == 0).unwrap_or(from.len());
        let (name, padding) = from.split_at(len);
        if padding.iter().any(|byte| *byte != 0) {
            return None;
        }
        Self::new(core::str::from_utf8(name).ok()?)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}
