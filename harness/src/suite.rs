//! Many scenarios, as many at a time as there are jobs, and the one stream of what happens in them.

#[cfg(test)]
mod tests;

use crate::run::{How, Outcome, Verdict, Workshop};
use crate::scenario::Scenario;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

/// How scenarios are run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How many machines run at a time.
    pub jobs: usize,
    /// How each is tested.
    pub how: How,
    /// How often a test that fails is tried again, if it says that its runs may differ.
    pub retries: u32,
    /// What a failure means for the tests that have not started yet.
    pub at_failure: AtFailure,
}

/// What a failure means for the tests that have not started yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtFailure {
    /// Nothing: whoever changed something wants to see all that it broke.
    GoOn,
    /// They are not run.
    Stop,
}

/// Something that happens in a run. All reports are made of these, and of nothing else.
#[derive(Clone, Copy, Debug)]
pub enum News<'a> {
    /// The first machines are about to be booted.
    Started {
        /// How many tests there are.
        tests: usize,
        /// How many machines run at a time.
        jobs: usize,
    },
    /// A test can't be run on the machine that there is.
    TestSkipped(&'a Skipped),
    /// A test's machine is about to be booted.
    TestStarted(&'a Scenario),
    /// A test failed and is tried again.
    TestRetried(&'a Outcome),
    /// A test is over. Its outcome holds the events of its machine, and here also the files that it was started with.
    TestEnded(&'a Outcome),
    /// All tests are over, or will not be run.
    Ended {
        /// The outcomes, in the order in which the tests were given.
        outcomes: &'a [Outcome],
        /// The tests that were not run, because another had failed.
        not_run: &'a [&'a Scenario],
        /// The tests that can't be run on the machine that there is.
        skipped: &'a [Skipped],
        /// How long all of it took.
        took: Duration,
    },
}

/// A test that can't be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Its name.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// Runs scenarios, and tells `reader` what happens as soon as it does.
///
/// They start in the given order. The outcomes are returned in that order too, so that what is
/// made of them doesn't depend on which machine was faster.
pub fn run(
    workshop: &Workshop,
    scenarios: &[Scenario],
    skipped: &[Skipped],
    options: Options,
    reader: impl FnMut(&News<'_>),
) -> Vec<Outcome> {
    schedule(scenarios, skipped, options, |scenario| workshop.test(scenario, options.how), reader)
}

/// Takes those out that can't run on a machine at the other end of a serial line.
#[must_use]
pub fn for_line(scenarios: Vec<Scenario>) -> (Vec<Scenario>, Vec<Skipped>) {
    let mut skipped = Vec::new();
    let mut left = scenarios;
    left.retain(|scenario| match scenario.why_not_over_line() {
        None => true,
        Some(reason) => {
            skipped.push(Skipped { name: scenario.name.clone(), reason });
            false
        }
    });
    (left, skipped)
}

/// What a job tells: of which scenario, and what.
type Message = (usize, Progress);

enum Progress {
    Started,
    Retried(Box<Outcome>),
    Ended(Box<Outcome>),
}

fn schedule(
    scenarios: &[Scenario],
    skipped: &[Skipped],
    options: Options,
    test: impl Fn(&Scenario) -> Outcome + Sync,
    mut reader: impl FnMut(&News<'_>),
) -> Vec<Outcome> {
    let started = Instant::now();
    let jobs = options.jobs.clamp(1, scenarios.len().max(1));
    reader(&News::Started { tests: scenarios.len(), jobs });
    skipped.iter().for_each(|skipped| reader(&News::TestSkipped(skipped)));
    let next = AtomicUsize::new(0);
    let is_over = AtomicBool::new(false);
    let work = |sender: &Sender<Message>| {
        while !is_over.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(scenario) = scenarios.get(index) else { return };
            let tell = |progress| sender.send((index, progress)).is_ok();
            if !tell(Progress::Started) {
                return;
            }
            let retries = if scenario.nondeterministic.is_some() { options.retries } else { 0 };
            let mut outcome = test(scenario);
            for attempt in 2..=retries.saturating_add(1) {
                if outcome.verdict() == Verdict::Passed {
                    break;
                }
                if !tell(Progress::Retried(Box::new(outcome))) {
                    return;
                }
                outcome = Outcome { attempt, ..test(scenario) };
            }
            if options.at_failure == AtFailure::Stop && outcome.verdict() != Verdict::Passed {
                is_over.store(true, Ordering::Relaxed);
            }
            if !tell(Progress::Ended(Box::new(outcome))) {
                return;
            }
        }
    };
    let (sender, messages) = channel();
    let mut finished: Vec<(usize, Outcome)> = Vec::new();
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            // A machine stays on the thread that started it, see `machine::tied`.
            let (sender, work) = (sender.clone(), &work);
            scope.spawn(move || work(&sender));
        }
        drop(sender);
        for (index, progress) in messages {
            match progress {
                Progress::Started => reader(&News::TestStarted(&scenarios[index])),
                Progress::Retried(outcome) => reader(&News::TestRetried(&outcome)),
                Progress::Ended(mut outcome) => {
                    reader(&News::TestEnded(&outcome));
                    outcome.forget_files();
                    finished.push((index, *outcome));
                }
            }
        }
    });
    finished.sort_by_key(|(index, _)| *index);
    let was_run = |index: &usize| finished.binary_search_by_key(index, |(index, _)| *index).is_ok();
    let not_run: Vec<&Scenario> =
        (0..).zip(scenarios).filter(|(index, _)| !was_run(index)).map(|(_, scenario)| scenario).collect();
    let outcomes: Vec<Outcome> = finished.into_iter().map(|(_, outcome)| outcome).collect();
    reader(&News::Ended { outcomes: &outcomes, not_run: &not_run, skipped, took: started.elapsed() });
    outcomes
}
