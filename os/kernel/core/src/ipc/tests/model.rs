//! What the primitives promise, written down a second time and as plainly as possible: the kernel
//! is compared with this.

use abi::Errno;
use abi::ipc::Primitive;
use std::collections::BTreeSet;

/// How many processes there are. All are services and may send to each other.
pub(super) const PROCESSES: usize = 3;

/// Something that a process asks for. Peers are indices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Send(usize),
    SendNb(usize),
    SendRec(usize),
    ReplyReceive(usize),
    SendA {
        to: usize,
        no_reply: bool,
        notify: bool,
    },
    Notify(usize),
    /// From one process, or from any.
    Receive(Option<usize>),
    Exit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Wait {
    No,
    Send { to: usize, then_receive: bool },
    Receive { from: Option<usize>, in_sendrec: bool },
}

/// Who a message is from, as a receiver sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Source {
    /// The kernel, about asynchronous sends: how many are over, and how many of them lost.
    Asyncm(u32, u32),
    Process(usize),
}

/// What a process was given last: from whom, and how it was sent.
pub(super) type Received = (Source, Primitive);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Letter {
    from: usize,
    no_reply: bool,
    notify: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Process {
    lives: bool,
    wait: Wait,
    /// What its last primitive returned, once it is over.
    result: Option<Result<(), u8>>,
    received: Option<Received>,
    notified_by: BTreeSet<usize>,
    /// Asynchronous sends that it has yet to hear of.
    over: (u32, u32),
    letters: Vec<Letter>,
    /// Who waits to send to it.
    queue: Vec<usize>,
}

/// The processes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Model([Process; PROCESSES]);

impl Model {
    pub(super) fn new() -> Self {
        Self(std::array::from_fn(|_| Process {
            lives: true,
            wait: Wait::No,
            result: None,
            received: None,
            notified_by: BTreeSet::new(),
            over: (0, 0),
            letters: Vec::new(),
            queue: Vec::new(),
        }))
    }

    pub(super) fn can_run(&self, who: usize) -> bool {
        self.0[who].lives && self.0[who].wait == Wait::No
    }

    pub(super) fn lives(&self, who: usize) -> bool {
        self.0[who].lives
    }

    /// What its last primitive returned; `None` while it waits.
    pub(super) fn result(&self, who: usize) -> Option<Result<(), u8>> {
        if self.0[who].wait == Wait::No { self.0[who].result } else { None }
    }

    pub(super) fn received(&self, who: usize) -> Option<Received> {
        self.0[who].received
    }

    /// The state without what has become of it already.
    pub(super) fn key(&self) -> Self {
        let mut key = self.clone();
        for process in &mut key.0 {
            (process.result, process.received) = (None, None);
        }
        key
    }

    /// Messages that the kernel keeps.
    pub(super) fn letters(&self) -> usize {
        self.0.iter().map(|process| process.letters.len()).sum()
    }

    pub(super) fn step(&mut self, who: usize, operation: Operation) {
        self.0[who].result = None;
        let outcome = match operation {
            Operation::Send(to) => self.send(who, to, Primitive::Send, false),
            Operation::SendNb(to) => self.send_now(who, to, Primitive::SendNb),
            Operation::SendRec(to) => self.sendrec(who, to),
            Operation::ReplyReceive(to) => match self.send_now(who, to, Primitive::SendNb) {
                Ok(()) | Err(Errno::ENOTREADY | Errno::EDEADSRCDST) => self.receive(who, None, false),
                Err(error) => Err(error),
            },
            Operation::SendA { to, no_reply, notify } => self.send_a(who, to, no_reply, notify),
            Operation::Notify(to) => self.notify(who, to),
            Operation::Receive(from) => match from {
                Some(from) if !self.0[from].lives => Err(Errno::EDEADSRCDST),
                _ => self.receive(who, from, false),
            },
            Operation::Exit => {
                self.exit(who);
                return;
            }
        };
        if outcome.is_err() || self.0[who].wait == Wait::No {
            self.0[who].result = Some(outcome.map_err(Errno::number));
        }
    }

    fn takes(&self, to: usize, from: usize) -> bool {
        matches!(self.0[to].wait, Wait::Receive { from: wanted, .. } if wanted.is_none_or(|wanted| wanted == from))
    }

    fn give(&mut self, to: usize, from: usize, primitive: Primitive) {
        self.0[to].received = Some((Source::Process(from), primitive));
        self.finish(to, Ok(()));
    }

    fn finish(&mut self, who: usize, result: Result<(), Errno>) {
        self.0[who].wait = Wait::No;
        self.0[who].result = Some(result.map_err(Errno::number));
    }

    fn send_now(&mut self, who: usize, to: usize, primitive: Primitive) -> Result<(), Errno> {
        if !self.0[to].lives {
            return Err(Errno::EDEADSRCDST);
        }
        if who == to {
            return Err(Errno::ECALLDENIED);
        }
        if !self.takes(to, who) {
            return Err(Errno::ENOTREADY);
        }
        self.give(to, who, primitive);
        Ok(())
    }

    fn send(&mut self, who: usize, to: usize, primitive: Primitive, then_receive: bool) -> Result<(), Errno> {
        match self.send_now(who, to, primitive) {
            Err(Errno::ENOTREADY) if self.closes_circle(who, to, true) => Err(Errno::ELOCKED),
            Err(Errno::ENOTREADY) => {
                self.0[who].wait = Wait::Send { to, then_receive };
                self.0[to].queue.push(who);
                Ok(())
            }
            outcome => outcome,
        }
    }

    fn sendrec(&mut self, who: usize, to: usize) -> Result<(), Errno> {
        self.send(who, to, Primitive::SendRec, true)?;
        if self.0[who].wait == Wait::No { self.receive(who, Some(to), true) } else { Ok(()) }
    }

    fn send_a(&mut self, who: usize, to: usize, no_reply: bool, notify: bool) -> Result<(), Errno> {
        if !self.0[to].lives {
            return Err(Errno::EDEADSRCDST);
        }
        let letter = Letter { from: who, no_reply, notify };
        let is_for_later = matches!(self.0[to].wait, Wait::Receive { in_sendrec: true, .. }) && no_reply;
        if self.takes(to, who) && !is_for_later {
            self.give(to, who, Primitive::SendA);
            self.over(&letter, false);
        } else {
            self.0[to].letters.push(letter);
        }
        Ok(())
    }

    fn over(&mut self, letter: &Letter, is_lost: bool) {
        if !letter.notify {
            return;
        }
        let sender = &mut self.0[letter.from];
        sender.over.0 += 1;
        sender.over.1 += u32::from(is_lost);
        if sender.wait == (Wait::Receive { from: None, in_sendrec: false }) {
            self.take_over_notice(letter.from);
            self.finish(letter.from, Ok(()));
        }
    }

    fn take_over_notice(&mut self, who: usize) {
        let (over, lost) = std::mem::take(&mut self.0[who].over);
        self.0[who].received = Some((Source::Asyncm(over, lost), Primitive::Notify));
    }

    fn notify(&mut self, who: usize, to: usize) -> Result<(), Errno> {
        if !self.0[to].lives {
            return Err(Errno::EDEADSRCDST);
        }
        if who == to {
            return Err(Errno::ECALLDENIED);
        }
        if self.takes(to, who) && !matches!(self.0[to].wait, Wait::Receive { in_sendrec: true, .. }) {
            self.give(to, who, Primitive::Notify);
        } else {
            self.0[to].notified_by.insert(who);
        }
        Ok(())
    }

    fn receive(&mut self, who: usize, from: Option<usize>, in_sendrec: bool) -> Result<(), Errno> {
        let is_wanted = |source: usize| from.is_none_or(|from| from == source);
        if !in_sendrec {
            if from.is_none() && self.0[who].over != (0, 0) {
                self.take_over_notice(who);
                return Ok(());
            }
            let notifier = self.0[who].notified_by.iter().copied().find(|source| is_wanted(*source));
            if let Some(notifier) = notifier {
                self.0[who].notified_by.remove(&notifier);
                self.0[who].received = Some((Source::Process(notifier), Primitive::Notify));
                return Ok(());
            }
        }
        if self.take_letter(who, from, in_sendrec) {
            return Ok(());
        }
        if let Some(place) = self.0[who].queue.iter().position(|sender| is_wanted(*sender)) {
            let sender = self.0[who].queue.remove(place);
            let Wait::Send { then_receive, .. } = self.0[sender].wait else {
                panic!("{sender} queues and does not send")
            };
            let primitive = if then_receive { Primitive::SendRec } else { Primitive::Send };
            self.0[who].received = Some((Source::Process(sender), primitive));
            if then_receive {
                self.0[sender].wait = Wait::Receive { from: Some(who), in_sendrec: true };
                if self.take_letter(sender, Some(who), true) {
                    self.finish(sender, Ok(()));
                }
            } else {
                self.finish(sender, Ok(()));
            }
            return Ok(());
        }
        if from.is_some_and(|from| self.closes_circle(who, from, false)) {
            return Err(Errno::ELOCKED);
        }
        self.0[who].wait = Wait::Receive { from, in_sendrec };
        Ok(())
    }

    fn take_letter(&mut self, who: usize, from: Option<usize>, in_sendrec: bool) -> bool {
        let mut letters = self.0[who].letters.iter();
        let place = letters.position(|letter| {
            from.is_none_or(|from| from == letter.from) && !(in_sendrec && letter.no_reply)
        });
        let Some(place) = place else { return false };
        let letter = self.0[who].letters.remove(place);
        self.0[who].received = Some((Source::Process(letter.from), Primitive::SendA));
        self.over(&letter, false);
        true
    }

    /// A circle of processes that wait for each other, unless it is one that sends and one that receives.
    fn closes_circle(&self, who: usize, peer: usize, sends: bool) -> bool {
        let (mut at, mut length) = (peer, 2);
        loop {
            let (next, next_sends) = match self.0[at].wait {
                Wait::Send { to, .. } => (to, true),
                Wait::Receive { from: Some(from), .. } => (from, false),
                Wait::No | Wait::Receive { from: None, .. } => return false,
            };
            if next == who {
                return length > 2 || sends == next_sends;
            }
            if length > PROCESSES {
                return true;
            }
            (at, length) = (next, length + 1);
        }
    }

    fn exit(&mut self, who: usize) {
        self.0[who].lives = false;
        if let Wait::Send { to, .. } = self.0[who].wait {
            self.0[to].queue.retain(|sender| *sender != who);
        }
        for process in &mut self.0 {
            process.letters.retain(|letter| letter.from != who);
            process.notified_by.remove(&who);
        }
        for letter in std::mem::take(&mut self.0[who].letters) {
            self.over(&letter, true);
        }
        for other in (0..PROCESSES).filter(|other| *other != who) {
            let is_stuck = match self.0[other].wait {
                Wait::Send { to, .. } => to == who,
                Wait::Receive { from, .. } => from == Some(who),
                Wait::No => false,
            };
            if is_stuck {
                self.finish(other, Err(Errno::EDEADSRCDST));
            }
        }
        self.0[who].queue.clear();
        self.0[who].notified_by.clear();
        self.0[who].over = (0, 0);
        self.0[who].wait = Wait::No;
        self.0[who].received = None;
    }
}
