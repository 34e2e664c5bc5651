//! What the primitives promise, written down a second time and as plainly as possible: the kernel
//! is compared with this.

use abi::Errno;
use abi::ipc::Primitive;
use std::hash::{Hash, Hasher};

/// How many processes there are. All are services.
pub(super) const PROCESSES: usize = 3;
/// Who resolves page faults, in a system that has a VM.
pub(super) const VM: usize = 2;

/// Something that happens. Processes are indices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A process that can run asks for something.
    By(usize, Operation),
    /// A process that can run touches memory that is not there.
    Fault(usize),
    /// A process ends, whatever it is doing.
    Kill(usize),
    /// A process that waits starts anew.
    Cancel(usize),
    /// Whoever waits for a process is to do so no longer.
    ClearReferences(usize),
    /// Two processes may send to each other from now on, or not.
    Leave { one: usize, other: usize, may_send: bool },
}

/// Something that a process asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Send(usize),
    SendNb(usize),
    SendRec(usize),
    ReplyReceive(usize),
    SendA {
        to: usize,
        no_reply: bool,
        notice: Notice,
    },
    Notify(usize),
    /// From one source, or from any.
    Receive(Option<Source>),
    /// Receives nothing but this from now on, or everything if there is no such process.
    Filter(Option<Filter>),
    /// Clears the references to itself.
    ClearReferences,
    /// As VM: lets a process go on that faulted.
    Resolve(usize),
    Exit,
}

/// What the sender of an asynchronous message wants to be told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Notice {
    Nothing,
    Loss,
    End,
}

/// What a process is willing to receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Filter {
    Only(usize),
    NothingFrom(usize),
    NoNotifications,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Wait {
    No,
    Send { to: usize, then_receive: bool },
    Receive { from: Option<Source>, in_sendrec: bool },
}

/// Who a message is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Source {
    /// The kernel, about asynchronous sends.
    Asyncm,
    Process(usize),
}

/// What a process was given last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Received {
    pub(super) source: Source,
    pub(super) primitive: Primitive,
    /// The tag of a message, or what a notification tells of.
    pub(super) content: u64,
}

/// Something on which nothing depends that happens later, so that it does not tell states apart.
#[derive(Clone, Copy, Debug)]
struct Past<T>(T);

impl<T> Hash for Past<T> {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

#[derive(Clone, Debug, Hash)]
struct Letter {
    from: usize,
    no_reply: bool,
    notice: Notice,
    content: Past<u64>,
}

#[derive(Clone, Debug, Hash)]
struct Process {
    lives: bool,
    wait: Wait,
    /// It has a page fault that is not yet resolved.
    faults: bool,
    notified_by: [bool; PROCESSES],
    /// Asynchronous sends that it has yet to hear of: all, and those that were lost.
    over: (u32, u32),
    letters: Vec<Letter>,
    /// Who waits to send to it.
    queue: Vec<usize>,
    filter: Option<Filter>,
    may_send_to: [bool; PROCESSES],
    /// What it sends.
    content: Past<u64>,
    /// What its last primitive returned, once it is over.
    result: Past<Option<Result<(), u8>>>,
    received: Past<Option<Received>>,
}

/// The processes.
#[derive(Clone, Debug, Hash)]
pub(super) struct Model([Process; PROCESSES]);

impl Model {
    /// Processes that may send to each other.
    pub(super) fn new() -> Self {
        Self(std::array::from_fn(|who| Process {
            lives: true,
            wait: Wait::No,
            faults: false,
            notified_by: [false; PROCESSES],
            over: (0, 0),
            letters: Vec::new(),
            queue: Vec::new(),
            filter: None,
            may_send_to: std::array::from_fn(|to| to != who),
            content: Past(0),
            result: Past(None),
            received: Past(None),
        }))
    }

    pub(super) fn lives(&self, who: usize) -> bool {
        self.0[who].lives
    }

    pub(super) fn can_run(&self, who: usize) -> bool {
        self.0[who].lives && self.0[who].wait == Wait::No && !self.0[who].faults
    }

    pub(super) fn may_send(&self, one: usize, other: usize) -> bool {
        self.0[one].may_send_to[other]
    }

    /// What its last primitive returned; `None` while it waits.
    pub(super) fn result(&self, who: usize) -> Option<Result<(), u8>> {
        if self.0[who].wait == Wait::No { self.0[who].result.0 } else { None }
    }

    pub(super) fn received(&self, who: usize) -> Option<Received> {
        self.0[who].received.0
    }

    /// Messages that the kernel keeps.
    pub(super) fn letters(&self) -> usize {
        self.0.iter().map(|process| process.letters.len()).sum()
    }

    /// Tells whether something can happen now.
    pub(super) fn can_happen(&self, step: Step) -> bool {
        match step {
            Step::By(who, _) | Step::Fault(who) => self.can_run(who),
            Step::Kill(who) | Step::ClearReferences(who) => self.lives(who),
            Step::Cancel(who) => self.lives(who) && !self.can_run(who),
            Step::Leave { one, other, may_send } => {
                self.lives(one) && self.lives(other) && self.may_send(one, other) != may_send
            }
        }
    }

    /// Lets something happen. `content` tells its message from all others.
    pub(super) fn step(&mut self, step: Step, content: u64) {
        match step {
            Step::By(who, operation) => self.operate(who, operation, content),
            Step::Fault(who) => self.fault(who),
            Step::Kill(who) => self.end(who),
            Step::Cancel(who) => {
                self.cancel(who);
                self.0[who].filter = None;
            }
            Step::ClearReferences(who) => self.clear_references(who),
            Step::Leave { one, other, may_send } => {
                self.0[one].may_send_to[other] = may_send;
                self.0[other].may_send_to[one] = may_send;
            }
        }
    }

    fn operate(&mut self, who: usize, operation: Operation, content: u64) {
        let process = &mut self.0[who];
        (process.result, process.received, process.content) = (Past(None), Past(None), Past(content));
        let outcome = match operation {
            Operation::Send(to) => self.send(who, to, Primitive::Send, false),
            Operation::SendNb(to) => self.send_now(who, to, Primitive::SendNb),
            Operation::SendRec(to) => self.sendrec(who, to),
            Operation::ReplyReceive(to) => match self.send_now(who, to, Primitive::SendNb) {
                Ok(()) | Err(Errno::ENOTREADY | Errno::EDEADSRCDST) => self.receive(who, None, false),
                Err(error) => Err(error),
            },
            Operation::SendA { to, no_reply, notice } => self.send_a(who, to, no_reply, notice),
            Operation::Notify(to) => self.notify(who, to),
            Operation::Receive(from) => match from {
                Some(Source::Process(from)) if !self.0[from].lives => Err(Errno::EDEADSRCDST),
                _ => self.receive(who, from, false),
            },
            Operation::Filter(filter) => {
                let is_of_the_dead = match filter {
                    Some(Filter::Only(from) | Filter::NothingFrom(from)) => !self.0[from].lives,
                    Some(Filter::NoNotifications) | None => false,
                };
                self.0[who].filter = filter.filter(|_| !is_of_the_dead);
                Ok(())
            }
            Operation::ClearReferences => {
                self.clear_references(who);
                Ok(())
            }
            Operation::Resolve(faulting) => {
                self.resolve(faulting);
                Ok(())
            }
            Operation::Exit => return self.end(who),
        };
        if outcome.is_err() || self.0[who].wait == Wait::No {
            self.0[who].result = Past(Some(outcome.map_err(Errno::number)));
        }
    }

    fn waits_for_message_of(&self, to: usize, source: Source) -> bool {
        matches!(self.0[to].wait, Wait::Receive { from, .. } if from.is_none_or(|from| from == source))
    }

    fn waits_for_notification_of(&self, to: usize, source: Source) -> bool {
        let is_deaf = matches!(self.0[to].wait, Wait::Receive { in_sendrec: true, .. });
        self.waits_for_message_of(to, source) && !is_deaf && self.admits(to, source, true)
    }

    fn admits(&self, to: usize, source: Source, is_notification: bool) -> bool {
        match self.0[to].filter {
            None => true,
            Some(Filter::Only(from)) => source == Source::Process(from),
            Some(Filter::NothingFrom(from)) => source != Source::Process(from),
            Some(Filter::NoNotifications) => !is_notification,
        }
    }

    fn takes(&self, to: usize, from: usize) -> bool {
        let source = Source::Process(from);
        self.waits_for_message_of(to, source) && self.admits(to, source, false)
    }

    fn give(&mut self, to: usize, from: usize, primitive: Primitive, content: u64) {
        self.0[to].received = Past(Some(Received { source: Source::Process(from), primitive, content }));
    }

    fn finish(&mut self, who: usize, result: Result<(), Errno>) {
        self.0[who].wait = Wait::No;
        self.0[who].result = Past(Some(result.map_err(Errno::number)));
    }

    fn check_send(&self, who: usize, to: usize) -> Result<(), Errno> {
        if !self.0[to].lives {
            return Err(Errno::EDEADSRCDST);
        }
        if self.0[who].may_send_to[to] { Ok(()) } else { Err(Errno::ECALLDENIED) }
    }

    fn send_now(&mut self, who: usize, to: usize, primitive: Primitive) -> Result<(), Errno> {
        self.check_send(who, to)?;
        if !self.takes(to, who) {
            return Err(Errno::ENOTREADY);
        }
        self.give(to, who, primitive, self.0[who].content.0);
        self.finish(to, Ok(()));
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
        if self.0[who].wait == Wait::No { self.receive(who, Some(Source::Process(to)), true) } else { Ok(()) }
    }

    fn send_a(&mut self, who: usize, to: usize, no_reply: bool, notice: Notice) -> Result<(), Errno> {
        if to != who {
            self.check_send(who, to)?;
        }
        let letter = Letter { from: who, no_reply, notice, content: self.0[who].content };
        let is_for_later = matches!(self.0[to].wait, Wait::Receive { in_sendrec: true, .. }) && no_reply;
        if self.takes(to, who) && !is_for_later {
            self.give(to, who, Primitive::SendA, letter.content.0);
            self.finish(to, Ok(()));
            self.over(&letter, false);
        } else {
            self.0[to].letters.push(letter);
        }
        Ok(())
    }

    fn over(&mut self, letter: &Letter, is_lost: bool) {
        match letter.notice {
            Notice::Nothing => return,
            Notice::Loss if !is_lost => return,
            Notice::Loss | Notice::End => {}
        }
        let sender = &mut self.0[letter.from];
        sender.over.0 += 1;
        sender.over.1 += u32::from(is_lost);
        if self.waits_for_notification_of(letter.from, Source::Asyncm) {
            self.take_over_notice(letter.from);
            self.finish(letter.from, Ok(()));
        }
    }

    fn take_over_notice(&mut self, who: usize) {
        let (over, lost) = std::mem::take(&mut self.0[who].over);
        let content = u64::from(over) | u64::from(lost) << 32;
        self.0[who].received =
            Past(Some(Received { source: Source::Asyncm, primitive: Primitive::Notify, content }));
    }

    fn notify(&mut self, who: usize, to: usize) -> Result<(), Errno> {
        self.check_send(who, to)?;
        if self.waits_for_notification_of(to, Source::Process(who)) {
            self.give(to, who, Primitive::Notify, 0);
            self.finish(to, Ok(()));
        } else {
            self.0[to].notified_by[who] = true;
        }
        Ok(())
    }

    fn receive(&mut self, who: usize, from: Option<Source>, in_sendrec: bool) -> Result<(), Errno> {
        let is_wanted = |source| from.is_none_or(|from| from == source);
        if !in_sendrec {
            let is_told = |source| is_wanted(source) && self.admits(who, source, true);
            if self.0[who].over != (0, 0) && is_told(Source::Asyncm) {
                self.take_over_notice(who);
                return Ok(());
            }
            let mut notifiers = (0..PROCESSES).filter(|source| self.0[who].notified_by[*source]);
            if let Some(notifier) = notifiers.find(|source| is_told(Source::Process(*source))) {
                self.0[who].notified_by[notifier] = false;
                self.give(who, notifier, Primitive::Notify, 0);
                return Ok(());
            }
        }
        if self.take_letter(who, from, in_sendrec) {
            return Ok(());
        }
        let is_taken =
            |sender| is_wanted(Source::Process(sender)) && self.admits(who, Source::Process(sender), false);
        if let Some(place) = self.0[who].queue.iter().position(|sender| is_taken(*sender)) {
            let sender = self.0[who].queue.remove(place);
            self.take_from(sender, who);
            return Ok(());
        }
        if let Some(Source::Process(from)) = from
            && self.closes_circle(who, from, false)
        {
            return Err(Errno::ELOCKED);
        }
        self.0[who].wait = Wait::Receive { from, in_sendrec };
        Ok(())
    }

    /// Takes the message of one who waited for that.
    fn take_from(&mut self, sender: usize, to: usize) {
        let content = self.0[sender].content.0;
        let Wait::Send { then_receive, .. } = self.0[sender].wait else {
            panic!("{sender} queues and does not send")
        };
        if self.0[sender].faults {
            self.give(to, sender, Primitive::Send, 0);
            self.0[sender].wait = Wait::No;
        } else if then_receive {
            self.give(to, sender, Primitive::SendRec, content);
            self.0[sender].wait = Wait::Receive { from: Some(Source::Process(to)), in_sendrec: true };
            if self.take_letter(sender, Some(Source::Process(to)), true) {
                self.finish(sender, Ok(()));
            }
        } else {
            self.give(to, sender, Primitive::Send, content);
            self.finish(sender, Ok(()));
        }
    }

    fn take_letter(&mut self, who: usize, from: Option<Source>, in_sendrec: bool) -> bool {
        let mut letters = self.0[who].letters.iter();
        let place = letters.position(|letter| {
            let source = Source::Process(letter.from);
            from.is_none_or(|from| from == source)
                && !(in_sendrec && letter.no_reply)
                && self.admits(who, source, false)
        });
        let Some(place) = place else { return false };
        let letter = self.0[who].letters.remove(place);
        self.give(who, letter.from, Primitive::SendA, letter.content.0);
        self.over(&letter, false);
        true
    }

    /// A circle of processes that wait for each other, unless it is one that sends and one that receives. Who has a
    /// fault that VM has taken waits for VM, and meets nobody.
    fn closes_circle(&self, who: usize, peer: usize, sends: bool) -> bool {
        let (mut at, mut length) = (peer, 2);
        loop {
            let faults = self.0[at].faults && self.0[at].wait == Wait::No;
            let (next, next_sends) = match self.0[at].wait {
                Wait::No if faults => (VM, false),
                Wait::Send { to, .. } => (to, true),
                Wait::Receive { from: Some(Source::Process(from)), .. } => (from, false),
                Wait::No | Wait::Receive { .. } => return false,
            };
            if next == who {
                return length > 2 || sends == next_sends || faults;
            }
            if length > PROCESSES {
                return true;
            }
            (at, length) = (next, length + 1);
        }
    }

    /// A process that faults sends to VM, as far as others can see. Nothing becomes of its registers.
    fn fault(&mut self, who: usize) {
        let waits_for_more = match self.0[VM].wait {
            Wait::Receive { from: Some(Source::Process(from)), in_sendrec } if from == who => {
                in_sendrec || !self.admits(VM, Source::Process(who), false)
            }
            _ => false,
        };
        if who == VM || !self.0[VM].lives || waits_for_more || self.closes_circle(who, VM, true) {
            return self.end(who);
        }
        self.0[who].faults = true;
        if self.takes(VM, who) {
            self.give(VM, who, Primitive::Send, 0);
            self.finish(VM, Ok(()));
        } else {
            self.0[who].wait = Wait::Send { to: VM, then_receive: false };
            self.0[VM].queue.push(who);
        }
    }

    /// `false` if there is no fault.
    fn resolve(&mut self, who: usize) -> bool {
        if !self.0[who].faults {
            return false;
        }
        self.0[VM].queue.retain(|sender| *sender != who);
        (self.0[who].faults, self.0[who].wait) = (false, Wait::No);
        true
    }

    fn cancel(&mut self, who: usize) {
        if self.resolve(who) {
            return;
        }
        if let Wait::Send { to, .. } = self.0[who].wait {
            self.0[to].queue.retain(|sender| *sender != who);
        }
        self.finish(who, Ok(()));
    }

    fn clear_references(&mut self, who: usize) {
        self.lose_letters_to(who);
        self.release_waiting(who);
        for process in &mut self.0 {
            process.notified_by[who] = false;
        }
        for faulting in (0..PROCESSES).filter(|_| who == VM) {
            if self.resolve(faulting) {
                self.fault(faulting);
            }
        }
    }

    fn lose_letters_to(&mut self, who: usize) {
        for letter in std::mem::take(&mut self.0[who].letters) {
            self.over(&letter, true);
        }
    }

    fn release_waiting(&mut self, who: usize) {
        for other in (0..PROCESSES).filter(|other| *other != who) {
            match self.0[other].wait {
                Wait::Send { to, .. } if to == who => {}
                Wait::Receive { from: Some(Source::Process(from)), .. } if from == who => {}
                _ => continue,
            }
            if self.0[other].faults {
                self.0[other].wait = Wait::No;
            } else {
                self.finish(other, Err(Errno::EDEADSRCDST));
            }
        }
        self.0[who].queue.clear();
    }

    fn end(&mut self, who: usize) {
        if let Wait::Send { to, .. } = self.0[who].wait {
            self.0[to].queue.retain(|sender| *sender != who);
        }
        for process in &mut self.0 {
            process.letters.retain(|letter| letter.from != who);
            process.notified_by[who] = false;
        }
        self.lose_letters_to(who);
        self.release_waiting(who);
        let nobody = Self::new().0[who].clone();
        self.0[who] = Process { lives: false, may_send_to: [false; PROCESSES], ..nobody };
        for process in &mut self.0 {
            process.may_send_to[who] = false;
        }
        // Nobody else sees to these.
        for faulting in (0..PROCESSES).filter(|_| who == VM) {
            if self.0[faulting].faults {
                self.end(faulting);
            }
        }
    }
}
