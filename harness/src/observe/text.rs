//! Bytes of a guest as text that is safe to print.

use std::fmt::Write as _;

/// Shows bytes as text: what is invalid, invisible or moves the cursor is escaped.
///
/// No terminal interprets the result, and it has no line ends.
#[must_use]
pub fn escape(bytes: &[u8]) -> String {
    show(bytes, "\\")
}

/// The same, but no two texts give the same: a backslash is two.
pub(super) fn escape_exactly(bytes: &[u8]) -> String {
    show(bytes, r"\\")
}

fn show(bytes: &[u8], backslash: &str) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                // `escape_debug` would escape them, and they harm nobody.
                '"' | '\'' => text.push(character),
                '\\' => text.push_str(backslash),
                _ => text.extend(character.escape_debug()),
            }
        }
        for byte in chunk.invalid() {
            write!(text, "\\x{byte:02x}").expect("writing to a string succeeds");
        }
    }
    text
}
