//! Many scenarios, as many at a time as there are jobs.

use crate::run::{Outcome, Workshop};
use crate::scenario::Scenario;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

/// How scenarios are run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How many machines run at a time.
    pub jobs: usize,
    /// How long each may take, if not what it says itself.
    pub limit: Option<Duration>,
}

/// Runs scenarios, and shows each outcome to `reader` as soon as it is known.
///
/// They start in the given order. The outcomes are returned in that order too, so that what is
/// made of them doesn't depend on which machine was faster.
pub fn run(
    workshop: &Workshop,
    scenarios: &[Scenario],
    options: Options,
    mut reader: impl FnMut(&Outcome),
) -> Vec<Outcome> {
    let next = AtomicUsize::new(0);
    let (sender, outcomes) = channel();
    let mut finished: Vec<(usize, Outcome)> = std::thread::scope(|scope| {
        for _ in 0..options.jobs.clamp(1, scenarios.len().max(1)) {
            let (sender, next) = (sender.clone(), &next);
            // A machine stays on the thread that started it, see `machine::tied`.
            scope.spawn(move || {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(scenario) = scenarios.get(index) else { return };
                    let outcome = workshop.test(scenario, options.limit);
                    if sender.send((index, outcome)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        outcomes.iter().inspect(|(_, outcome)| reader(outcome)).collect()
    });
    finished.sort_by_key(|(index, _)| *index);
    finished.into_iter().map(|(_, outcome)| outcome).collect()
}
