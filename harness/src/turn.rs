//! Runs of tests take turns: they keep what they find in one place (failed tests, records, the latest run, snapshots that
//! wait for review), and each starts by emptying it.

use crate::project::Project;
use anyhow::{Context, Result};
use std::fs::{File, TryLockError};

/// The right to run tests in a tree, for as long as it is kept. The system takes it back when its process ends,
/// however it does.
#[derive(Debug)]
pub struct Turn {
    _lock: File,
}

/// Who else may run tests meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// Nobody.
    None,
    /// Those that let others, too: each of them keeps to what belongs to its own tests.
    Sharing,
}

impl Turn {
    /// Waits until nobody else is in the way. If there is somebody, `notice` is told once before.
    ///
    /// # Errors
    /// If the file that is locked can't be made or locked.
    pub fn take(project: &Project, others: Others, notice: impl FnOnce()) -> Result<Self> {
        let path = project.artefacts()?.join("turn");
        let lock = File::options().create(true).truncate(false).write(true).open(&path);
        let lock = lock.with_context(|| format!("failed to create {}", path.display()))?;
        let (tried, wait): (_, fn(&File) -> std::io::Result<()>) = match others {
            Others::None => (lock.try_lock(), File::lock),
            Others::Sharing => (lock.try_lock_shared(), File::lock_shared),
        };
        let taken = match tried {
            Ok(()) => Ok(()),
            Err(TryLockError::WouldBlock) => {
                notice();
                wait(&lock)
            }
            Err(TryLockError::Error(error)) => Err(error),
        };
        taken.with_context(|| format!("failed to lock {}", path.display()))?;
        Ok(Self { _lock: lock })
    }
}

/// What is said to who has to wait.
pub const WAITS: &str = "    Blocking waiting for another run of tests in this tree";

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn a_run_waits_for_the_one_before() {
        let directory = tempfile::tempdir().expect("a directory");
        let project = Project::with_target(directory.path(), directory.path());
        let never = || panic!("nobody is in the way");
        let sharing = [(); 2].map(|()| Turn::take(&project, Others::Sharing, never).expect("a turn"));
        let (sender, said) = channel();
        let (other, done) = (project.clone(), channel());
        let waiting = std::thread::spawn(move || {
            let turn = Turn::take(&other, Others::None, || sender.send(()).expect("a listener"));
            done.0.send(()).expect("a listener");
            turn
        });
        said.recv().expect("it says that it waits");
        assert!(done.1.try_recv().is_err());
        drop(sharing);
        done.1.recv().expect("it goes on");
        let alone = waiting.join().expect("no panic").expect("a turn");
        drop(alone);
        Turn::take(&project, Others::None, never).expect("a turn");
    }
}
