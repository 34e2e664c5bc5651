//! What differs between builds that behave alike, taken out of complaints.

use crate::symbols::TRACE;

/// Replaces addresses, stack traces, positions in source files and amounts of memory.
pub(crate) fn redact(complaint: &str) -> String {
    let (text, trace) = match complaint.find(TRACE) {
        Some(start) => (&complaint[..start], "stacktrace: [ADDRESSES]"),
        None => (complaint, ""),
    };
    let mut redacted = String::new();
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let (replacement, size) = address(rest)
            .or_else(|| position(rest))
            .or_else(|| memory(rest))
            .unwrap_or((None, character.len_utf8()));
        redacted.push_str(replacement.unwrap_or(&rest[..size]));
        rest = &rest[size..];
    }
    redacted + trace
}

/// What stands in place of the start of a text, and how long that start is.
type Replacement = (Option<&'static str>, usize);

/// `0x` and at least four digits.
fn address(text: &str) -> Option<Replacement> {
    let size = count(text.strip_prefix("0x")?, |byte| byte.is_ascii_hexdigit());
    (size >= 4).then_some((Some("[ADDRESS]"), size + 2))
}

/// `.rs:12` or `.rs:12:34`
fn position(text: &str) -> Option<Replacement> {
    const START: &str = ".rs:";
    let number = |text: &str| Some(count(text, |byte| byte.is_ascii_digit())).filter(|size| *size > 0);
    let line = number(text.strip_prefix(START)?)?;
    let rest = &text[START.len() + line..];
    let column = rest.strip_prefix(':').and_then(number).map_or(0, |size| size + 1);
    Some((Some(".rs:[LINE]"), START.len() + line + column))
}

/// `12 KiB`: how much memory is used or free follows the size of the programs.
fn memory(text: &str) -> Option<Replacement> {
    let digits = count(text, |byte| byte.is_ascii_digit());
    (digits > 0 && text[digits..].starts_with(" KiB")).then_some((Some("[SIZE]"), digits))
}

fn count(text: &str, is_counted: impl Fn(u8) -> bool) -> usize {
    text.bytes().take_while(|byte| is_counted(*byte)).count()
}
