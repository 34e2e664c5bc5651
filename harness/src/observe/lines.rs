//! Bytes that arrive in pieces, as lines.

use super::text::escape_exactly;

/// Puts lines together, and keeps a limited number of bytes.
pub(super) struct Lines {
    /// The line that has no end yet.
    open: Vec<u8>,
    /// How many more bytes are kept.
    room: usize,
    cut: u64,
}

impl Lines {
    pub(super) fn new(room: usize) -> Self {
        Self { open: Vec::new(), room, cut: 0 }
    }

    /// Takes bytes, and gives the lines that end in them.
    pub(super) fn add(&mut self, bytes: &[u8]) -> Vec<String> {
        let (kept, cut) = bytes.split_at(bytes.len().min(self.room));
        self.room -= kept.len();
        self.cut = self.cut.saturating_add(cut.len().try_into().unwrap_or(u64::MAX));
        let mut pieces = kept.split(|byte| *byte == b'\n');
        let last = pieces.next_back().unwrap_or_default();
        let mut lines = Vec::new();
        for piece in pieces {
            self.open.extend_from_slice(piece);
            lines.push(line(&self.open));
            self.open.clear();
        }
        self.open.extend_from_slice(last);
        lines
    }

    /// What came after the last line end.
    pub(super) fn rest(&mut self) -> Option<String> {
        let rest = std::mem::take(&mut self.open);
        (!rest.is_empty()).then(|| escape_exactly(&rest))
    }

    /// How many bytes were not kept.
    pub(super) fn cut(&self) -> u64 {
        self.cut
    }
}

/// Terminals want `\r\n`; the `\r` is no part of the line.
fn line(bytes: &[u8]) -> String {
    escape_exactly(bytes.strip_suffix(b"\r").unwrap_or(bytes))
}
