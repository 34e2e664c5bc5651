use super::redact::redact;
use super::{
    Comparison, Pending, Review, Snapshot, difference, pending, quietly, render, review, unreferenced,
    without_dump,
};
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
    assert_eq!(render(&End::Exited(1), &record, None), expected);
}

#[test]
fn no_console_looks_like_another() {
    let text = |events: &[What]| {
        let mut record = Record::default();
        events.iter().for_each(|event| record.push(event.clone()));
        // As insta compares.
        render(&End::Exited(0), &record, None).trim_end().to_owned()
    };
    let line = |text: &str| What::Console(text.into());
    let consoles = [
        vec![line("a")],
        vec![line("a ")],
        vec![line("a  ")],
        vec![line("a"), line("")],
        vec![line("a"), line(""), line("")],
        vec![line("a"), line("[no line end]")],
        vec![What::ConsoleRest("a".into())],
        vec![line("a"), line("[cut]")],
        vec![line("a"), What::ConsoleCut(1)],
        vec![],
    ];
    let texts: std::collections::BTreeSet<String> = consoles.iter().map(|console| text(console)).collect();
    assert_eq!(texts.len(), consoles.len(), "{texts:#?}");
}

#[test]
fn last_words_of_the_kernel_are_complaints_on_the_console_too() {
    let mut record = Record::default();
    record.push(What::Console("E kernel: panic: no at src/main.rs:12:3".into()));
    record.push(What::Console("at src/main.rs:12:3".into()));
    let expected =
        "ends: kernel panic\nconsole:\n  E kernel: panic: no at src/main.rs:[LINE]\n  at src/main.rs:12:3\n";
    assert_eq!(render(&End::KernelPanic, &record, None), expected);
}

#[test]
fn parts_that_are_empty_are_left_out() {
    assert_eq!(render(&End::Hang(Hang::Limit), &Record::default(), None), "ends: hang\n");
}

#[test]
fn a_console_that_does_not_end_well_shows_it() {
    let mut record = Record::default();
    record.push(What::ConsoleRest("prompt>".into()));
    record.push(What::ConsoleCut(7));
    assert_eq!(
        render(&End::TripleFault, &record, None),
        "ends: triple fault\nconsole:\n  prompt>\n  [no line end]\n  [cut]\n"
    );
}

#[test]
fn a_console_without_end_is_shown_by_its_start() {
    let mut record = Record::default();
    (0..1000).for_each(|line| record.push(What::Console(line.to_string())));
    record.push(What::ConsoleCut(7));
    let text = render(&End::Hang(Hang::EndlessOutput), &record, None);
    assert!(text.starts_with("ends: hang\nconsole:\n  0\n") && text.ends_with("  19\n  [cut]\n"), "{text}");
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

/// A directory with these files, in insta's format.
fn snapshots(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    for (name, text) in files {
        let text = format!(
            "---\nsource: harness/src/snapshot.rs\nassertion_line: 7\ndescription: A1\n---\n{text}\n"
        );
        std::fs::write(directory.path().join(name), text).expect("a file");
    }
    directory
}

fn names(pending: &[Pending]) -> Vec<&str> {
    pending.iter().map(|one| one.name.as_str()).collect()
}

#[test]
fn snapshots_of_no_test_are_found() {
    let directory = snapshots(&[("a.snap", "x"), ("b.snap", "x"), ("c.snap.new", "x"), ("d.snap.new", "x")]);
    std::fs::write(directory.path().join("README.md"), "").expect("a file");
    let orphans = unreferenced(directory.path(), &["a".into(), "c".into()]).expect("a directory");
    assert_eq!(orphans, [directory.path().join("b.snap"), directory.path().join("d.snap.new")]);
    assert!(unreferenced(&directory.path().join("none"), &[]).expect("nothing").is_empty());
}

#[test]
fn a_review_shows_each_and_does_what_it_is_told() {
    let directory = snapshots(&[
        ("changed.snap", "old"),
        ("changed.snap.new", "new"),
        ("fresh.snap.new", "first"),
        ("skipped.snap.new", "x"),
        ("wrong.snap.new", "x"),
    ]);
    let found = pending(directory.path()).expect("a directory");
    assert_eq!(names(&found), ["changed", "fresh", "skipped", "wrong"]);
    let mut out = Vec::new();
    let done = review(&found, &b"what?\na\naccept\ns\nr\n"[..], &mut out).expect("a review");
    assert_eq!(done, Review { accepted: 2, rejected: 1, left: 1 });
    let shown = String::from_utf8(out).expect("text");
    assert!(
        shown.starts_with("[1/4] changed\n-old\n+new\n\n(a)ccept, (r)eject, (s)kip, (q)uit: "),
        "{shown}"
    );
    assert!(shown.contains("[2/4] fresh\n+first\n"), "{shown}");
    assert_eq!(names(&pending(directory.path()).expect("a directory")), ["skipped"]);
    let accepted = std::fs::read_to_string(directory.path().join("changed.snap")).expect("a snapshot");
    assert_eq!(accepted, "---\nsource: harness/src/snapshot.rs\ndescription: A1\n---\nnew\n");
    assert!(!directory.path().join("wrong.snap").exists());
}

#[test]
fn a_review_without_answers_leaves_everything() {
    let directory = snapshots(&[("a.snap.new", "x"), ("b.snap.new", "x")]);
    let found = pending(directory.path()).expect("a directory");
    for answers in ["", "q\n", "nonsense"] {
        let done = review(&found, answers.as_bytes(), Vec::new()).expect("a review");
        assert_eq!(done, Review { accepted: 0, rejected: 0, left: 2 }, "{answers:?}");
    }
    assert_eq!(pending(directory.path()).expect("a directory"), found);
}

#[test]
fn what_a_dump_tells_is_left_out_where_there_is_none() {
    let console = "ends: hang\nconsole:\n  hello\n\n  processes:\n";
    let complaints = "complaints:\n  ds: lost\n";
    let dump = "the kernel is in:\n  main\nprocesses:\n  ds(6): runnable\n    main\nlast messages:\n  none\n";
    assert_eq!(without_dump(&format!("{console}{dump}{complaints}")), format!("{console}{complaints}"));
    let directory = tempfile::tempdir().expect("a directory");
    let snapshot = Snapshot { directory: directory.path(), name: "a", description: "" };
    assert_eq!(snapshot.compare_without_dump(console), Comparison::New);
    let file = format!("---\nsource: here\n---\n{console}{dump}");
    std::fs::write(directory.path().join("a.snap"), file).expect("a file");
    assert_eq!(snapshot.compare_without_dump(console), Comparison::Same);
    assert!(matches!(snapshot.compare_without_dump("ends: exit 0\n"), Comparison::Different(_)));
    assert_eq!(std::fs::read_dir(directory.path()).expect("a directory").count(), 1);
}
