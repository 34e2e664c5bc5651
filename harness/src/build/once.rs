//! One build for a run of many processes: cargo-nextest starts one for each test.
//!
//! Even a build in which nothing has changed takes two calls of cargo, one process after the other.
//! So the first process of a run writes down what was built, and the others take that. What is
//! edited meanwhile is for the next run.

use super::{Build, build};
use crate::project::Project;
use crate::system::System;
use anyhow::{Context as _, Result};
use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};

/// What was built, and in which run.
#[derive(serde::Serialize, serde::Deserialize)]
struct Kept {
    run: String,
    build: Build,
}

/// How many runs may go on at the same time without building more than once.
const RUNS: usize = 8;

/// Builds all images, but only once in a run, which is any text. A run without a name always builds.
///
/// # Errors
/// As for [`build`]; and if what was built can't be written down.
pub fn build_once(project: &Project, system: &System, run: Option<&str>) -> Result<Build> {
    let Some(run) = run else { return build(project, system) };
    let path = project.artefacts()?.join("builds-of-runs.json");
    once(&path, run, || build(project, system))
        .with_context(|| format!("failed to build once for all tests, see {}", path.display()))
}

fn once(path: &std::path::Path, run: &str, build: impl FnOnce() -> Result<Build>) -> Result<Build> {
    let mut file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
    // Whoever comes first builds, and the others wait. The lock goes with the process that has it.
    file.lock()?;
    let mut text = String::new();
    // What somebody was killed over is no text, or no JSON, and is made anew.
    let kept =
        file.read_to_string(&mut text).ok().and_then(|_| serde_json::from_str::<Vec<Kept>>(&text).ok());
    let mut kept = kept.unwrap_or_default();
    if let Some(kept) = kept.iter().find(|kept| kept.run == run) {
        return Ok(kept.build.clone());
    }
    let build = build()?;
    kept.insert(0, Kept { run: run.to_owned(), build: build.clone() });
    kept.truncate(RUNS);
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(&serde_json::to_vec(&kept)?)?;
    Ok(build)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::BuildFailed;
    use std::cell::Cell;

    #[test]
    fn a_run_builds_once() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("kept");
        let count = Cell::new(0);
        let build = |run: &str| {
            once(&path, run, || {
                count.set(count.get() + 1);
                Ok(Build { kernel: format!("kernel {}", count.get()).into(), ..Build::default() })
            })
        };
        for (run, kernel) in [("a", "kernel 1"), ("a", "kernel 1"), ("b", "kernel 2"), ("a", "kernel 1")] {
            assert_eq!(build(run).expect("a build").kernel.to_str(), Some(kernel), "{run}");
        }
        (0..RUNS).for_each(|run| drop(build(&run.to_string())));
        let made = count.get();
        assert!(build("a").is_ok() && count.get() == made + 1, "old runs are forgotten");
        // Somebody was killed while it was written.
        for rest in [&b"[{\"run\": \"a\""[..], b"\xff", b""] {
            std::fs::write(&path, rest).expect("a file");
            let made = count.get();
            assert_eq!(build("a").expect("a build"), build("a").expect("a build"));
            assert_eq!(count.get(), made + 1);
        }
    }

    #[test]
    fn a_build_that_fails_is_tried_again() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("kept");
        assert!(once(&path, "a", || Err(BuildFailed.into())).is_err());
        assert!(once(&path, "a", || Ok(Build::default())).is_ok());
    }
}
