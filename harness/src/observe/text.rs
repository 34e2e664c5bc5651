//! Bytes of a guest as text that is safe to print.

use std::fmt::Write as _;

/// Shows bytes as text: what is invalid, invisible or moves the cursor is escaped.
///
/// No terminal interprets the result, and it has no line ends.
#[must_use]
pub fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        chunk.valid().chars().for_each(|character| push(&mut text, character));
        for byte in chunk.invalid() {
            write!(text, "\\x{byte:02x}").expect("writing to a string succeeds");
        }
    }
    text
}

fn push(text: &mut String, character: char) {
    match character {
        // `escape_debug` would escape them, and they harm nobody.
        '"' | '\'' | '\\' => text.push(character),
        _ => text.extend(character.escape_debug()),
    }
}
