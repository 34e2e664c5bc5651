//! Commands as one would type them.

use std::ffi::OsStr;

/// The words of a command in one line, which a POSIX shell splits into the same words.
#[must_use]
pub fn line(words: &[impl AsRef<OsStr>]) -> String {
    words.iter().map(|word| quote(word.as_ref())).collect::<Vec<_>>().join(" ")
}

/// A word as a POSIX shell takes it for one.
#[must_use]
pub fn quote(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "-_=+,.:/".contains(character);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.into_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_words_that_a_shell_would_change_are_quoted() {
        assert_eq!(line(&["gdb", "-ex", "info threads", "", "it's"]), r"gdb -ex 'info threads' '' 'it'\''s'");
    }
}
