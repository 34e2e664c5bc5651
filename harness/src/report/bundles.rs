//! All that is known of each failed test in a directory of its own, for CI servers to keep and for
//! people to start the machine again.
//!
//! | file | what is in it |
//! |---|---|
//! | `report.txt` | what the terminal shows |
//! | `bundle.json` | verdict, hashes of kernel and image (XXH64, as `xxh64sum` prints them), the line that repeats the test; `seed` is null, as nothing random goes into a machine |
//! | `console.txt`, `log.txt`, `results.txt` | the channels, line by line |
//! | `events.jsonl` | all events of the run, as `cargo xtask test --format json` has them |
//! | `kernel`, `boot.img` | what the machine was started with |
//! | `images/` | the programs beside the kernel with their debug information, where there is a dump or a record |
//! | `memory.core` | of a machine that had to be stopped, or that panicked: its memory, as gdb and `cargo xtask inspect` read it |
//! | `record.*`, `machine.json` | of a machine that ended by itself: the run again, recorded, for `cargo xtask replay` |
//! | `run.sh` | starts an equal machine with these files on a terminal, without the harness; its log is `log.again`, its results are `results.again` |

use super::{Reader, details, json, reason, repeat, word};
use crate::dump::compact;
use crate::machine::{IMAGE, KERNEL};
use crate::observe::{Channel, Event, What};
use crate::recording::Recording;
use crate::run::{Outcome, Setup, Verdict};
use crate::shell;
use crate::suite::News;
use anyhow::{Context, Result};
use serde_json::json;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use twox_hash::XxHash64;

/// The memory of a machine that had to be stopped, or that panicked.
pub const DUMP: &str = "memory.core";
/// What there is to say of the failure, for programs.
pub const SUMMARY: &str = "bundle.json";
/// The programs that it ran beside the kernel, with their debug information.
pub const IMAGES: &str = "images";

/// Writes `DIRECTORY/NAME/` for each test that failed, as soon as it has, and removes what earlier runs left of a test
/// when it is run again: another run in the same tree, of other tests, keeps what it has found. Without failures there
/// is no directory.
pub struct Bundles {
    /// The directory.
    pub path: PathBuf,
}

impl Reader for Bundles {
    fn read(&mut self, news: &News<'_>) -> Result<()> {
        match news {
            News::TestStarted(scenario) => self.remove(&scenario.name),
            News::TestEnded(outcome) if outcome.verdict() != Verdict::Passed => self.write(outcome),
            News::Ended { .. } => {
                tidy_up(&self.path);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl Bundles {
    /// Where the bundle of a test is, if it fails.
    #[must_use]
    pub fn of(&self, test: &str) -> PathBuf {
        self.path.join(test)
    }

    /// Removes what an earlier run left of a test.
    ///
    /// # Errors
    /// If there is something and it can't be removed.
    pub fn remove(&self, test: &str) -> Result<()> {
        empty(&self.of(test))
    }

    /// Writes what is known of a test that failed.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn write(&self, outcome: &Outcome) -> Result<()> {
        write(&self.of(&outcome.name), outcome)
    }
}

/// Writes the same as [`Bundles`] for each test that passed and was recorded, and removes earlier records of the tests
/// that are run.
pub struct Records {
    /// The directory.
    pub path: PathBuf,
}

impl Reader for Records {
    fn read(&mut self, news: &News<'_>) -> Result<()> {
        match news {
            News::TestStarted(scenario) => empty(&self.path.join(&scenario.name)),
            News::TestEnded(outcome)
                if outcome.verdict() == Verdict::Passed && outcome.recording().is_some_and(Result::is_ok) =>
            {
                write(&self.path.join(&outcome.name), outcome)
            }
            News::Ended { .. } => {
                tidy_up(&self.path);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn empty(directory: &Path) -> Result<()> {
    match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("failed to empty {}", directory.display()))
        }
        _ => Ok(()),
    }
}

/// Removes a directory that has nothing in it. One that isn't there, or has something, stays as it is.
fn tidy_up(directory: &Path) {
    let _ = std::fs::remove_dir(directory);
}

fn write(directory: &Path, outcome: &Outcome) -> Result<()> {
    std::fs::create_dir_all(directory)
        .with_context(|| format!("failed to create {}", directory.display()))?;
    let write = |name: &str, contents: &[u8]| {
        let path = directory.join(name);
        std::fs::write(&path, contents).with_context(|| format!("failed to write {}", path.display()))
    };
    write("report.txt", details(outcome).as_bytes())?;
    write(SUMMARY, format!("{:#}\n", summary(outcome)).as_bytes())?;
    write("console.txt", lines(outcome, Channel::Console).as_bytes())?;
    write("log.txt", lines(outcome, Channel::Log).as_bytes())?;
    write("results.txt", lines(outcome, Channel::Results).as_bytes())?;
    let mut events = String::new();
    for event in outcome.record.events() {
        events.push_str(&format!("{}\n", json::machine(&outcome.name, event)?));
    }
    write("events.jsonl", events.as_bytes())?;
    let Some(setup) = &outcome.setup else { return Ok(()) };
    if let Some(Ok(dump)) = &outcome.record.dump {
        let to = directory.join(DUMP);
        // One that isn't as QEMU writes them is kept as it is.
        compact(dump.path(), &to).or_else(|_| copy(dump.path(), &to))?;
        write_images(directory, &setup.programs)?;
    }
    write(KERNEL, &setup.kernel)?;
    if let Some(image) = &setup.image {
        write(IMAGE, image)?;
    }
    if let Ok(recording) = &setup.recording {
        recording.write(directory)?;
        write_images(directory, &setup.programs)?;
    }
    write("run.sh", script(outcome, setup).as_bytes())?;
    let path = directory.join("run.sh");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))
        .with_context(|| format!("failed to make {} a program", path.display()))
}

/// Keeps what the addresses of a dump or a record mean, even when other programs are built since.
fn write_images(directory: &Path, programs: &[PathBuf]) -> Result<()> {
    let images = directory.join(IMAGES);
    std::fs::create_dir_all(&images).with_context(|| format!("failed to create {}", images.display()))?;
    let mut named = programs.iter().filter_map(|program| Some((program, program.file_name()?)));
    named.try_for_each(|(program, name)| copy(program, &images.join(name)))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::copy(from, to).map(drop).with_context(|| format!("failed to write {}", to.display()))
}

/// A channel as it would be seen if the machine ran by hand.
fn lines(outcome: &Outcome, channel: Channel) -> String {
    let line = |event: &Event| match &event.what {
        What::Log(line) => line.marked() + "\n",
        what => format!("{what}\n"),
    };
    outcome.record.channel(channel).map(line).collect()
}

fn summary(outcome: &Outcome) -> serde_json::Value {
    let setup = outcome.setup.as_ref();
    json!({
        "name": outcome.name,
        "verdict": word(outcome),
        "reason": reason(outcome),
        "declared": outcome.declared.to_string(),
        "end": outcome.end.to_string(),
        "repeat": repeat(outcome),
        "kernel": setup.map(|setup| hash(&setup.kernel)),
        "image": setup.and_then(|setup| setup.image.as_deref()).map(hash),
        "seed": null,
        "command": setup.map(command),
        "record": setup.map(|setup| record(&setup.recording)),
    })
}

/// What is to say of a record: whether it is the run that failed, and if there is none, why.
fn record(recording: &Result<Recording, String>) -> serde_json::Value {
    match recording {
        Ok(Recording { difference, log, disk, .. }) => json!({
            "same_events": difference.is_none(),
            "difference": difference.as_ref().map(ToString::to_string),
            "log": hash(log),
            "disk": hash(disk),
        }),
        Err(reason) => json!({ "missing": reason }),
    }
}

/// What a file was when it was written.
pub(crate) fn hash(bytes: &[u8]) -> serde_json::Value {
    json!({ "xxh64": format!("{:016x}", XxHash64::oneshot(0, bytes)), "bytes": bytes.len() })
}

fn script(outcome: &Outcome, setup: &Setup) -> String {
    format!(
        "#!/bin/sh\n# The machine of the test {} with its console on this terminal. Through the harness: {}\n\
         cd \"$(dirname \"$0\")\" && exec {}\n",
        outcome.name,
        repeat(outcome),
        command(setup)
    )
}

/// The command as one would type it.
fn command(setup: &Setup) -> String {
    shell::line(&setup.command)
}
