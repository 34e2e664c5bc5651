//! What differs between builds that behave alike, taken out of transcripts.

use crate::project::Project;
use crate::snapshot;

/// Replaces the project's directory, addresses, offsets from symbols, hashes in symbols,
/// positions in source files, and how long a machine has run.
#[must_use]
pub fn redact(transcript: &str, project: &Project) -> String {
    let root = format!("{}/", project.root().display());
    let line = |line: &str| {
        let line = snapshot::redact(&line.replace(&root, ""));
        let line = without_source_line(&line);
        let marks = [(", line ", "[LINE]"), ("+", "[OFFSET]"), ("uptime ", "[TIME]")];
        marks.iter().fold(line, |line, (mark, replacement)| after_each(&line, mark, replacement))
    };
    transcript.lines().map(|text| without_hashes(&line(text)).trim_end().to_owned() + "\n").collect()
}

/// `12\ttext`, and `0x1234\t12\ttext`, as gdb shows a line of the source.
fn without_source_line(line: &str) -> String {
    const ADDRESS: &str = "[ADDRESS]\t";
    let (address, rest) = line.strip_prefix(ADDRESS).map_or(("", line), |rest| (ADDRESS, rest));
    match rest.split_once('\t') {
        Some((number, text)) if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("{address}[LINE]\t{text}")
        }
        _ => line.to_owned(),
    }
}

/// Replaces the number behind each `mark` that has one.
fn after_each(line: &str, mark: &str, replacement: &str) -> String {
    let mut pieces = line.split(mark);
    let mut redacted = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        redacted.push_str(mark);
        let rest = piece.trim_start_matches(|character: char| character.is_ascii_digit());
        redacted.push_str(if rest.len() < piece.len() { replacement } else { "" });
        redacted.push_str(rest);
    }
    redacted
}

/// Marks before hashes, how many digits these have, and what follows: in legacy names of functions, in readable ones,
/// and in the paths of the standard library.
const HASHES: [(&str, usize, &str); 3] = [("17h", 16, "E"), ("::h", 16, ""), ("/rustc/", 40, "/")];

fn without_hashes(line: &str) -> String {
    HASHES.iter().fold(line.to_owned(), |line, (mark, digits, end)| without_hash(&line, mark, *digits, end))
}

fn without_hash(line: &str, mark: &str, digits: usize, end: &str) -> String {
    let mut pieces = line.split(mark);
    let mut redacted = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        redacted.push_str(mark);
        let is_hash = |hash: &str| hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        match (piece.get(..digits), piece.get(digits..)) {
            (Some(hash), Some(rest)) if is_hash(hash) && rest.starts_with(end) => {
                redacted.push_str("[HASH]");
                redacted.push_str(rest);
            }
            _ => redacted.push_str(piece),
        }
    }
    redacted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_between_builds_is_taken_out() {
        let project = Project::at("/home/me/tessera").expect("an absolute path");
        let redacted = |text: &str| redact(text, &project).trim_end().to_owned();
        for (text, expected) in [
            (
                "=> 0x60000026 <_ZN4main17h5e7677bad3e86c51E+6>:\tpush   %rbx",
                "=> [ADDRESS] <_ZN4main17h[HASH]E+[OFFSET]>:\tpush   %rbx",
            ),
            (
                "#1  0x00000000600005aa in guest::run (parts=...) at /home/me/tessera/fixtures/lib.rs:52",
                "#1  [ADDRESS] in guest::run (parts=...) at fixtures/lib.rs:[LINE]",
            ),
            (
                "Breakpoint 1 at 0x6000002b: file src/main.rs, line 13.",
                "Breakpoint 1 at [ADDRESS]: file src/main.rs, line [LINE].",
            ),
            ("0x0000000060000027\t12\tfn main() {", "[ADDRESS]\t[LINE]\tfn main() {"),
            (
                "<kernel::STACKS::h3ce7113adbf3ee9a+33784> at /rustc/59807616e1fa2540724bfbac14d7976d7e4a3860/library/core.rs:3",
                "<kernel::STACKS::h[HASH]+[OFFSET]> at /rustc/[HASH]/library/core.rs:[LINE]",
            ),
            ("22\t        Self { len: 0 }", "[LINE]\t        Self { len: 0 }"),
            ("uptime 17 ms", "uptime [TIME] ms"),
            ("$1 = 17", "$1 = 17"),
            ("a + b\tc", "a + b\tc"),
        ] {
            assert_eq!(redacted(text), expected);
        }
    }
}
