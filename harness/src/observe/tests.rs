use super::lines::Lines;
use super::{KEPT_BYTES, Level, LogLine, Record, escape};

#[test]
fn ordinary_text_stays_as_it_is() {
    assert_eq!(escape(b"it's \"C:\\\", 5 > 4"), "it's \"C:\\\", 5 > 4");
    assert_eq!(escape("Grüße, 世界".as_bytes()), "Grüße, 世界");
}

#[test]
fn nothing_that_a_terminal_would_obey_gets_through() {
    assert_eq!(escape(b"\x1b[2J\x07\r\n\t\0\x7f"), r"\u{1b}[2J\u{7}\r\n\t\0\u{7f}");
    // C1 controls, a right-to-left override, a zero-width space, a byte order mark.
    assert_eq!(escape("\u{9b}\u{202e}\u{200b}\u{feff}".as_bytes()), r"\u{9b}\u{202e}\u{200b}\u{feff}");
}

#[test]
fn no_line_looks_like_another() {
    assert_eq!(Lines::new(100).add(b"\xff\n\\xff\n"), [r"\xff", r"\\xff"]);
}

#[test]
fn invalid_bytes_are_shown_as_such() {
    assert_eq!(escape(b"a\xff\xc3(\xe4\xb8"), r"a\xff\xc3(\xe4\xb8");
    let all: Vec<u8> = (0..=255).collect();
    assert!(escape(&all).chars().all(|character| !character.is_control()));
}

#[test]
fn lines_are_put_together_from_pieces() {
    let mut lines = Lines::new(100);
    assert_eq!(lines.add(b"one\r\ntw"), ["one"]);
    assert_eq!(lines.add(b"o\n\nthr"), ["two", ""]);
    assert_eq!(lines.add(b"ee"), [""; 0]);
    assert_eq!(lines.rest(), Some("three".into()));
    assert_eq!(lines.rest(), None);
    // A character that arrives in two pieces is one character.
    assert_eq!(lines.add(&"ü\n".as_bytes()[..1]), [""; 0]);
    assert_eq!(lines.add(&"ü\n".as_bytes()[1..]), ["ü"]);
    assert_eq!(lines.cut(), 0);
}

#[test]
fn endless_output_is_cut() {
    let mut lines = Lines::new(10);
    assert_eq!(lines.add(b"0123\n45678"), ["0123"]);
    assert_eq!(lines.add(&[b'x'; 1000]), [""; 0]);
    assert_eq!(lines.add(b"\nmore\n"), [""; 0]);
    assert_eq!((lines.rest(), lines.cut()), (Some("45678".into()), 1006));
}

#[test]
fn a_log_line_says_who_says_what() {
    let line = LogLine::parse(b"E ds: panic: no entry: 4");
    assert_eq!(
        (line.level, line.process.as_str(), line.text.as_str()),
        (Level::Error, "ds", "panic: no entry: 4")
    );
    assert_eq!(line.to_string(), "ds: panic: no entry: 4");
    assert_eq!(line.marked(), "E ds: panic: no entry: 4");
    assert_eq!(LogLine::parse(b"I kernel: up").level, Level::Info);
}

#[test]
fn a_malformed_log_line_is_a_complaint() {
    for line in [&b"hello"[..], b"W ds: x", b"E ds", b"E : x", b"E a b: x", b"", b"\xff\xff"] {
        assert_eq!(LogLine::parse(line).level, Level::Malformed, "{}", line.escape_ascii());
        assert_eq!(LogLine::parse(line).marked(), escape(line));
    }
    let mut record = Record::default();
    record.add_log(b"I kernel: up\nE tty: lost a byte\nrubbish\x1b\n");
    let complaints: Vec<String> = record.complaints().map(ToString::to_string).collect();
    assert_eq!(complaints, ["tty: lost a byte", r"not a log line: rubbish\u{1b}"]);
}

#[test]
fn an_endless_log_is_cut() {
    let mut record = Record::default();
    record.add_log(&b"I kernel: again\n".repeat(KEPT_BYTES));
    assert_eq!(record.log().count(), KEPT_BYTES / 16);
}
