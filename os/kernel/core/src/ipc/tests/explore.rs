//! Small systems of three processes in all orders, and long runs at random: whatever happens, becomes of the
//! kernel and of the [model](super::model) the same.
//!
//! Without asynchronous messages there are finitely many states. All of them are tried, with every operation,
//! death, page fault and cleared reference in each: runs of any length, and so those of four operations of each
//! process. Leave to send is changed for one pair there, and filters are VM's, each in a test of its own.
//!
//! Asynchronous messages make states without end, and more than can be tried even of four operations
//! of each process. So a process has few operations to choose from, and all four times: in a ring for each kind of
//! message, and around a server. Beside these there are systems of which each process has four operations, chosen by
//! lot from all; of these, too, all orders are tried, with the death of any process at any time.
//!
//! Everything together happens in the long runs only.

use super::both::Both;
use super::model::{Filter, Notice, Operation, PROCESSES, Source, Step, VM};
use std::collections::{HashMap, VecDeque};

/// Three processes, and what they do.
struct System {
    operations: Operations,
    /// What happens to them between any two operations, as often as it can.
    at_any_time: Vec<Step>,
}

/// For each process, what it does.
enum Operations {
    /// Any of these, so many times at the most.
    Any { of: [Vec<Operation>; PROCESSES], times: u8 },
    /// All of these, one after the other.
    Programs([Vec<Operation>; PROCESSES]),
}

/// How many operations each process has left.
type Left = [u8; PROCESSES];

/// No end of operations.
const ENDLESS: u8 = u8::MAX;

impl Operations {
    fn start(&self) -> Left {
        match self {
            Self::Any { times, .. } => [*times; PROCESSES],
            Self::Programs(programs) => programs.each_ref().map(|all| u8::try_from(all.len()).unwrap()),
        }
    }

    /// What a process can do that has so many left.
    fn next(&self, who: usize, left: u8) -> &[Operation] {
        match self {
            _ if left == 0 => &[],
            Self::Any { of, .. } => &of[who],
            Self::Programs(programs) => {
                let done = programs[who].len() - usize::from(left);
                &programs[who][done..=done]
            }
        }
    }

    /// Tells whether whatever can follow with one can follow with the other.
    fn cover(&self, known: Left, left: Left) -> bool {
        match self {
            Self::Any { .. } => known.iter().zip(left).all(|(known, left)| *known >= left),
            Self::Programs(_) => known == left,
        }
    }
}

/// How much of what can happen has been tried.
#[derive(Debug, Default)]
struct Covered {
    steps: usize,
    states: usize,
}

impl Covered {
    fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        self.states += other.states;
    }

    /// Sees to it that a change of what can happen does not go unnoticed.
    fn check(&self, least: &Self) {
        assert!(self.steps >= least.steps && self.states >= least.states, "only {self:?}");
    }
}

impl System {
    /// Tries all that can happen, in every order: each step in every state that steps lead to.
    ///
    /// States that the model can't tell apart are one. Who has got somewhere with operations to spare need not
    /// go on from there with fewer.
    fn explore(&self) -> Covered {
        let start = self.operations.start();
        // Of each state, with how many operations left it has been reached.
        let mut seen: HashMap<u64, Vec<Left>> = HashMap::from([(Both::new().state(), vec![start])]);
        let mut ways = Ways(vec![(0, None)]);
        let mut open = VecDeque::from([(0, start)]);
        let mut covered = Covered { steps: 0, states: 1 };
        while let Some((way, left)) = open.pop_front() {
            let before = ways.go(way);
            let state = before.state();
            if !seen[&state].contains(&left) {
                continue;
            }
            let mut here = Some(before);
            for step in self.steps(left) {
                let mut both = here.take().unwrap_or_else(|| ways.go(way));
                if !both.model.can_happen(step) {
                    here = Some(both);
                    continue;
                }
                both.step(step);
                both.compare();
                covered.steps += 1;
                let left = left_after(&both, step, left);
                let after = both.state();
                let known = seen.entry(after).or_default();
                covered.states += usize::from(known.is_empty());
                if !known.iter().any(|known| self.operations.cover(*known, left)) {
                    known.retain(|known| !self.operations.cover(left, *known));
                    known.push(left);
                    open.push_back((ways.add(way, step), left));
                }
                // Nothing has changed: the next step can be taken here as well.
                here = (after == state).then_some(both);
            }
        }
        covered
    }

    fn steps(&self, left: Left) -> impl Iterator<Item = Step> {
        let by = move |who: usize| {
            self.operations.next(who, left[who]).iter().map(move |operation| Step::By(who, *operation))
        };
        (0..PROCESSES).flat_map(by).chain(self.at_any_time.iter().copied())
    }
}

/// What is left of operations after a step.
fn left_after(both: &Both, step: Step, mut left: Left) -> Left {
    if let Step::By(who, _) = step
        && left[who] != ENDLESS
    {
        left[who] -= 1;
    }
    std::array::from_fn(|who| if both.model.lives(who) { left[who] } else { 0 })
}

/// Ways from the start, each as the one that it goes on from, and its last step.
struct Ways(Vec<(usize, Option<Step>)>);

impl Ways {
    fn add(&mut self, before: usize, step: Step) -> usize {
        self.0.push((before, Some(step)));
        self.0.len() - 1
    }

    fn go(&self, way: usize) -> Both {
        let mut steps = Vec::new();
        let mut at = way;
        while let (before, Some(step)) = self.0[at] {
            steps.push(step);
            at = before;
        }
        let mut both = Both::new();
        steps.into_iter().rev().for_each(|step| both.step(step));
        both
    }
}

fn others(who: usize) -> [usize; 2] {
    [(who + 1) % PROCESSES, (who + 2) % PROCESSES]
}

/// What a process can do without asynchronous messages.
fn synchronous(who: usize) -> Vec<Operation> {
    let mut all = vec![Operation::Receive(None), Operation::Exit];
    for to in others(who) {
        all.extend([
            Operation::Send(to),
            Operation::SendNb(to),
            Operation::SendRec(to),
            Operation::ReplyReceive(to),
            Operation::Notify(to),
            Operation::Receive(Some(Source::Process(to))),
        ]);
    }
    all
}

const NOTICES: [Notice; 3] = [Notice::Nothing, Notice::Loss, Notice::End];

/// Everything that a process can do but end.
fn everything(who: usize) -> Vec<Operation> {
    let mut all = synchronous(who);
    all.retain(|operation| *operation != Operation::Exit);
    all.extend([
        Operation::Receive(Some(Source::Asyncm)),
        Operation::Receive(Some(Source::Process(who))),
        Operation::ClearReferences,
        Operation::Filter(None),
        Operation::Filter(Some(Filter::NoNotifications)),
    ]);
    for to in 0..PROCESSES {
        for notice in NOTICES {
            all.extend([false, true].map(|no_reply| Operation::SendA { to, no_reply, notice }));
        }
    }
    for from in others(who) {
        all.extend(
            [Filter::Only(from), Filter::NothingFrom(from)].map(|filter| Operation::Filter(Some(filter))),
        );
    }
    if who == VM {
        all.extend(others(who).map(Operation::Resolve));
    }
    all
}

fn to_all(steps: &[fn(usize) -> Step]) -> Vec<Step> {
    steps.iter().flat_map(|step| (0..PROCESSES).map(step)).collect()
}

#[test]
fn the_kernel_does_what_the_model_says_in_synchronous_runs_of_any_length() {
    let mut of = [0, 1, 2].map(synchronous);
    of[VM].extend(others(VM).map(Operation::Resolve));
    let at_any_time = to_all(&[Step::Kill, Step::ClearReferences, Step::Cancel, Step::Fault]);
    let covered = System { operations: Operations::Any { of, times: ENDLESS }, at_any_time }.explore();
    covered.check(&Covered { steps: 330_000, states: 13_500 });
}

#[test]
fn the_kernel_does_what_the_model_says_when_leave_to_send_comes_and_goes() {
    let of = [0, 1, 2].map(synchronous);
    let mut at_any_time = to_all(&[Step::Kill, Step::ClearReferences]);
    at_any_time.extend([false, true].map(|may_send| Step::Leave { one: 0, other: 1, may_send }));
    let covered = System { operations: Operations::Any { of, times: ENDLESS }, at_any_time }.explore();
    covered.check(&Covered { steps: 450_000, states: 20_000 });
}

/// `SendNb` and `ReplyReceive` of such messages are left to the programs and to the long runs below.
#[test]
fn the_kernel_does_what_the_model_says_when_messages_are_held_back() {
    let mut of = [0, 1, 2].map(synchronous);
    for all in &mut of {
        all.retain(|operation| !matches!(operation, Operation::SendNb(_) | Operation::ReplyReceive(_)));
    }
    of[VM].extend(others(VM).map(Operation::Resolve));
    let filters = [Filter::Only(0), Filter::NothingFrom(0), Filter::NoNotifications];
    of[VM].extend(filters.map(|filter| Operation::Filter(Some(filter))));
    of[VM].push(Operation::Filter(None));
    let at_any_time = to_all(&[Step::Kill, Step::Fault]);
    let covered = System { operations: Operations::Any { of, times: ENDLESS }, at_any_time }.explore();
    covered.check(&Covered { steps: 1_000_000, states: 72_000 });
}

/// All that three processes can come to by four of these operations each, and the death of any at any time.
/// Each asks the next, and has messages for the one before, which may or may not be answers.
#[test]
fn the_kernel_does_what_the_model_says_in_all_orders_of_four_operations_each_in_a_ring() {
    let mut covered = Covered::default();
    for (no_reply, notice) in NOTICES.into_iter().flat_map(|notice| [(false, notice), (true, notice)]) {
        let of = [0, 1, 2].map(|who| {
            let [next, previous] = others(who);
            let letter = Operation::SendA { to: previous, no_reply, notice };
            vec![Operation::Receive(None), letter, Operation::SendRec(next), Operation::Notify(previous)]
        });
        let at_any_time = to_all(&[Step::Kill]);
        covered.add(&System { operations: Operations::Any { of, times: 4 }, at_any_time }.explore());
    }
    covered.check(&Covered { steps: 700_000, states: 90_000 });
}

/// The same of two clients and a server that answers them, which is sometimes replaced.
#[test]
fn the_kernel_does_what_the_model_says_in_all_orders_of_four_operations_each_around_a_server() {
    let client = |to_server| vec![Operation::Receive(None), Operation::SendRec(2), to_server];
    let to = |to, no_reply, notice| Operation::SendA { to, no_reply, notice };
    let answer = Operation::ReplyReceive;
    let of = [
        client(to(2, true, Notice::Loss)),
        client(to(2, false, Notice::End)),
        vec![Operation::Receive(None), answer(0), answer(1), to(0, false, Notice::End)],
    ];
    let at_any_time = to_all(&[Step::Kill, Step::ClearReferences]);
    let covered = System { operations: Operations::Any { of, times: 4 }, at_any_time }.explore();
    covered.check(&Covered { steps: 800_000, states: 80_000 });
}

/// Four operations of each process, of all that there are, chosen by lot: in each order, and with the death of
/// any at any time.
#[test]
fn the_kernel_does_what_the_model_says_in_all_orders_of_programs_of_four_operations() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut covered = Covered::default();
    for _ in 0..500 {
        let programs = [0, 1, 2].map(|who| {
            let all = everything(who);
            (0..4).map(|_| all[random.below(all.len())]).collect()
        });
        let at_any_time = to_all(&[Step::Kill]);
        covered.add(&System { operations: Operations::Programs(programs), at_any_time }.explore());
    }
    covered.check(&Covered { steps: 550_000, states: 80_000 });
}

#[test]
fn the_kernel_does_what_the_model_says_in_long_random_runs() {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let mut steps = to_all(&[Step::Fault, Step::Kill, Step::Cancel, Step::ClearReferences]);
    for who in 0..PROCESSES {
        steps.extend(everything(who).into_iter().map(|operation| Step::By(who, operation)));
        let [other, _] = others(who);
        steps.extend([false, true].map(|may_send| Step::Leave { one: who, other, may_send }));
    }
    let mut taken = 0;
    for _ in 0..20_000 {
        let mut both = Both::new();
        for _ in 0..300 {
            let step = steps[random.below(steps.len())];
            // Ending is rare, or the runs would be short; and so is setting free, or nobody would wait.
            let is_rare = match step {
                Step::Kill(_) | Step::Fault(VM) => random.below(20) > 0,
                Step::Cancel(_) | Step::ClearReferences(_) => random.below(4) > 0,
                _ => false,
            };
            if is_rare || !both.model.can_happen(step) {
                continue;
            }
            both.step(step);
            both.compare();
            taken += 1;
        }
    }
    assert!(taken > 1_000_000, "only {taken} steps");
}

/// Marsaglia's xorshift with a fixed seed: every run is the same.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap() % end
    }
}
