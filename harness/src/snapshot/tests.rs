use super::redact::redact;
use super::{Comparison, Snapshot, difference, quietly, render};
use crate::observe::{Record, What};
use crate::verdict::{End, Hang};

#[test]
fn a_run_is_its_end_its_console_and_its_complaints() {
    let mut record = Record::default();
    record.push(What::Console("hello".into()));
    record.push(What::Qemu("a warning of this host's".into()));
    record.push(What::Console(String::new()));
    record.push(What::Console("complaints:".into()));
    record.add_log(b"I kernel: 64 MiB of memory\nE ds: lost at 0xffff1234\n");
    let expected = "\
ends: exit 1
console:
  hello

  complaints:
complaints:
  ds: lost at [ADDRESS]
";
    assert_eq!(render(&End::Exited(1), &record), expected);
}

#[test]
fn last_words_of_the_kernel_are_complaints_on_the_console_too() {
    let mut record = Record::default();
    record.push(What::Console("E kernel: panic: no at src/main.rs:12:3".into()));
    record.push(What::Console("at src/main.rs:12:3".into()));
    let expected =
        "ends: kernel panic\nconsole:\n  E kernel: panic: no at src/main.rs:[LINE]\n  at src/main.rs:12:3\n";
    assert_eq!(render(&End::KernelPanic, &record), expected);
}

#[test]
fn parts_that_are_empty_are_left_out() {
    assert_eq!(render(&End::Hang(Hang::Limit), &Record::default()), "ends: hang\n");
}

#[test]
fn a_console_that_does_not_end_well_shows_it() {
    let mut record = Record::default();
    record.push(What::ConsoleRest("prompt>".into()));
    record.push(What::ConsoleCut(7));
    assert_eq!(
        render(&End::TripleFault, &record),
        "ends: triple fault\nconsole:\n  prompt>\n  [no line end]\n  [cut]\n"
    );
}

#[test]
fn what_a_rebuild_changes_is_taken_out_of_complaints() {
    assert_eq!(
        redact("page fault reading 0x400123 at 0xFFFFffff80001000"),
        "page fault reading [ADDRESS] at [ADDRESS]"
    );
    assert_eq!(redact("panic: at src/main.rs:12:34: no"), "panic: at src/main.rs:[LINE]: no");
    assert_eq!(redact("no memory (62900 KiB are free)"), "no memory ([SIZE] KiB are free)");
    assert_eq!(redact("src/main.rs:12"), "src/main.rs:[LINE]");
    assert_eq!(redact("tty: stacktrace: 0x1 0x2"), "tty: stacktrace: [ADDRESSES]");
    for same in ["port 0x3f8", "0x", "x.rs:", "x.rs:y", "ünï 0xüü", ""] {
        assert_eq!(redact(same), same);
    }
}

#[test]
fn a_difference_shows_what_changed() {
    assert_eq!(difference("a\nb\nc", "a\nB\nc\n"), " a\n-b\n+B\n c\n");
    assert_eq!(difference("a\n", "a"), "");
}

#[test]
fn a_text_is_compared_with_what_was_reviewed() {
    let directory = tempfile::tempdir().expect("a directory");
    let snapshot = Snapshot { directory: directory.path(), name: "hello", description: "A1" };
    assert_eq!(snapshot.compare("ends: exit 0\n"), Comparison::New);
    std::fs::write(directory.path().join("hello.snap"), "---\nsource: harness\n---\nends: exit 0\n")
        .expect("a file");
    assert_eq!(snapshot.compare("ends: exit 0\n"), Comparison::Same);
    assert_eq!(
        snapshot.compare("ends: exit 1\n"),
        Comparison::Different("-ends: exit 0\n+ends: exit 1\n".into())
    );
}

#[test]
fn a_panic_of_an_assertion_is_a_result() {
    assert_eq!(quietly(|| panic!("not printed")), Err(()));
    assert_eq!(quietly(|| ()), Ok(()));
}
