//! What a run looked like, compared with what was reviewed.
//!
//! Snapshots are insta's, in one directory: `cargo insta review` and `INSTA_UPDATE` work as for
//! any other project, and insta writes nothing where `CI` is set. What else a test asks to be compared than how it
//! ends and what it prints is a [`Facet`], with a file of its own.

mod facets;
mod files;
mod redact;
mod review;
mod settings;
#[cfg(test)]
mod tests;

pub(crate) use facets::changes;
pub use facets::{BAND_INSTRUCTIONS, BAND_PERCENT, Facet};
pub use files::{Pending, pending, unreferenced};
pub(crate) use redact::redact;
pub use review::{Review, review};
pub use settings::{start_over, update_in_tests};

use crate::inspect::PostMortem;
use crate::observe::{Record, What};
use crate::verdict::{End, Hang};
use insta::internals::SnapshotContents;
use similar::TextDiff;
use std::cell::Cell;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Once;

/// The outcome of a comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// It is what was reviewed.
    Same,
    /// It is something else; the difference, line by line.
    Different(String),
    /// It was something else, and became what was reviewed; the difference, line by line.
    Accepted(String),
    /// Nothing was reviewed yet.
    New,
    /// There was nothing worth comparing.
    NotMade,
}

/// The text of a run that is compared: how it ended, its console, its complaints.
///
/// What guests wrote is indented, so none of it can look like another part.
#[must_use]
pub fn render(end: &End, record: &Record, found: Option<&PostMortem>) -> String {
    let mut text = format!("ends: {end}\n");
    section(&mut text, "console", console(record));
    let complaints = record.complaints().map(|line| redact(&line.to_string())).collect();
    section(&mut text, "complaints", complaints);
    // What is stopped while it runs isn't always stopped at the same place.
    let is_same = match end {
        End::Hang(hang) => matches!(hang, Hang::IdleForever | Hang::Limit),
        End::ServiceFault | End::KernelPanic | End::TripleFault => true,
        End::Exited(_) | End::BadImage | End::HostTrouble(_) => false,
    };
    if let Some(found) = found.filter(|_| is_same) {
        if !matches!(end, End::Hang(_)) {
            // How it comes to where processes are served changes with every change of it.
            let is_own = |frame: &&String| {
                frame.contains(" at os/kernel/image/") && !frame.contains("rust_begin_unwind")
            };
            let own = found.kernel.iter().filter(is_own);
            section(&mut text, KERNEL, own.map(|frame| redact(frame)).collect());
        }
        examined(&mut text, found);
    }
    text
}

fn examined(text: &mut String, found: &PostMortem) {
    let lines = found.processes.iter().flat_map(|process| {
        // Where others are changes with every change of their code.
        let mut own: Vec<&String> =
            process.stack.iter().filter(|frame| frame.contains(" at fixtures/guest/examples/")).collect();
        // How often a function has called itself follows the size of its frame.
        own.dedup();
        std::iter::once(process.state.clone()).chain(own.into_iter().map(|frame| format!("  {frame}")))
    });
    section(text, PROCESSES, lines.collect());
    section(text, CIRCLE, found.circle_line().into_iter().collect());
    section(text, MESSAGES, found.messages.clone());
}

/// How much of a console that was cut is worth reviewing.
const CUT_LINES: usize = 20;

fn console(record: &Record) -> Vec<String> {
    let lines = record.events().iter().filter_map(|event| match &event.what {
        // The kernel's last words, which are in its log as well.
        What::Console(line) if line.starts_with("E kernel: ") => Some(vec![redact(line)]),
        What::Console(line) => Some(vec![unlike_ours(line)]),
        What::ConsoleRest(rest) => Some(vec![unlike_ours(rest), NO_LINE_END.into()]),
        _ => None,
    });
    let mut lines: Vec<String> = lines.flatten().collect();
    if record.events().iter().any(|event| matches!(event.what, What::ConsoleCut(_))) {
        lines.truncate(CUT_LINES);
        lines.push(CUT.into());
    }
    // At the end of a file they would not count.
    lines.iter_mut().rev().take_while(|line| line.is_empty()).for_each(|line| line.push_str(r"\n"));
    lines
}

/// What stands for the missing end of the last line.
const NO_LINE_END: &str = "[no line end]";
/// What stands for the lines that are left out.
const CUT: &str = "[cut]";

/// A guest's line so that it differs from every other one also where spaces at the end don't count, and from what is not
/// the guest's.
fn unlike_ours(line: &str) -> String {
    if [NO_LINE_END, CUT].contains(&line) {
        return line.replacen('[', r"\u{5b}", 1);
    }
    line.strip_suffix(' ').map_or_else(|| line.to_owned(), |start| format!(r"{start}\u{{20}}"))
}

fn section(text: &mut String, name: &str, lines: Vec<String>) {
    if lines.is_empty() {
        return;
    }
    writeln!(text, "{name}:").expect("writing to a string succeeds");
    for line in lines {
        // No spaces at the end of an empty line: editors would remove them.
        let line = format!("  {line}");
        writeln!(text, "{}", line.trim_end()).expect("writing to a string succeeds");
    }
}

/// The headings of what is read from a dump.
const KERNEL: &str = "the kernel is in";
const PROCESSES: &str = "processes";
const CIRCLE: &str = "they wait for each other";
const MESSAGES: &str = "last messages";

/// The text of a run without what is read from a dump: what is known of a machine whose memory is out of reach.
fn without_dump(text: &str) -> String {
    let mut is_kept = true;
    let mut kept = String::new();
    for line in text.lines() {
        // What guests wrote is indented.
        if let Some(heading) = line.strip_suffix(':').filter(|heading| !heading.starts_with(' ')) {
            is_kept = ![KERNEL, PROCESSES, CIRCLE, MESSAGES].contains(&heading);
        }
        if is_kept {
            writeln!(kept, "{line}").expect("writing to a string succeeds");
        }
    }
    kept
}

/// A snapshot to compare with.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot<'a> {
    /// The directory of the snapshots.
    pub directory: &'a Path,
    /// The name of the file, without its extension.
    pub name: &'a str,
    /// What a reader of the file is told about it.
    pub description: &'a str,
}

impl Snapshot<'_> {
    /// Compares a text with what was reviewed. If it differs, insta keeps it for review, as far
    /// as `INSTA_UPDATE` and `CI` let it.
    #[must_use]
    pub fn compare(&self, text: &str) -> Comparison {
        let reviewed = self.reviewed();
        let mut settings = insta::Settings::new();
        settings.set_snapshot_path(self.directory);
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        if !self.description.is_empty() {
            settings.set_description(self.description);
        }
        let assertion = || settings.bind(|| insta::assert_snapshot!(self.name, text));
        let asserted = quietly(assertion);
        let changed = difference(reviewed.as_deref().unwrap_or_default(), text);
        // Insta can also be told to pass whatever it sees.
        let is_reviewed = |known: Option<&str>| known.is_some_and(|known| difference(known, text).is_empty());
        match reviewed {
            _ if asserted.is_ok() && is_reviewed(reviewed.as_deref()) => Comparison::Same,
            _ if asserted.is_ok() && is_reviewed(self.reviewed().as_deref()) => {
                // Insta leaves what an earlier run had put there for review.
                match self.discard() {
                    Ok(()) => Comparison::Accepted(changed),
                    Err(_) => Comparison::Different(changed),
                }
            }
            None => Comparison::New,
            Some(_) => Comparison::Different(changed),
        }
    }

    /// Compares the text of a run on a machine whose memory is out of reach with as much of what was reviewed. What
    /// differs is kept for nobody's review.
    #[must_use]
    pub fn compare_without_dump(&self, text: &str) -> Comparison {
        let Some(reviewed) = self.reviewed() else { return Comparison::New };
        match difference(&without_dump(&reviewed), text) {
            same if same.is_empty() => Comparison::Same,
            difference => Comparison::Different(difference),
        }
    }

    /// Removes what an earlier run left for review.
    ///
    /// # Errors
    /// If there is such a file and it can't be removed.
    pub fn discard(&self) -> anyhow::Result<()> {
        Pending::of(self.directory, self.name).discard()
    }

    /// The text that was reviewed, if there is one.
    #[must_use]
    pub fn reviewed(&self) -> Option<String> {
        let path = self.directory.join(format!("{}.snap", self.name));
        match insta::Snapshot::from_file(&path).ok()?.contents() {
            SnapshotContents::Text(text) => Some(text.to_string()),
            SnapshotContents::Binary(_) => None,
        }
    }
}

/// Shows what was added and removed, with a few lines around it.
fn difference(reviewed: &str, text: &str) -> String {
    let (reviewed, text) = (reviewed.trim_end(), text.trim_end());
    let diff = TextDiff::from_lines(reviewed, text);
    let mut shown = String::new();
    for hunk in diff.unified_diff().context_radius(3).iter_hunks() {
        for change in hunk.iter_changes() {
            writeln!(shown, "{}{}", change.tag(), change.value().trim_end_matches('\n'))
                .expect("writing to a string succeeds");
        }
    }
    shown
}

thread_local! {
    /// Whether this thread expects a panic.
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs an assertion whose failure is a result and is not printed.
fn quietly(assertion: impl FnOnce()) -> Result<(), ()> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !IS_QUIET.get() {
                print(panic);
            }
        }));
    });
    IS_QUIET.set(true);
    let outcome = catch_unwind(AssertUnwindSafe(assertion));
    IS_QUIET.set(false);
    outcome.map_err(drop)
}
