//! The kernel beside the [model](super::model): whatever happens to one happens to the other.

use super::check_invariants;
use super::model::{Filter, Model, Notice, Operation, PROCESSES, Received, Source, Step, VM};
use crate::fake::{Fake, Registers, at, server, service};
use crate::fault::{Access, Fault};
use crate::{Kernel, Slot};
use abi::boot::Pair;
use abi::ipc::AsyncFlags;
use abi::ipc::Primitive::{KernelCall, Notify, Receive, ReplyReceive, Send, SendNb, SendRec};
use abi::notification::Notification;
use abi::protocols::{FilterKind, FilterRule, kernel as calls};
use abi::{Bytes, Call, Callers, Endpoint, Errno, Message, Name};
use std::hash::{DefaultHasher, Hash, Hasher};

/// Who does to processes what they don't do themselves: it is RS and PM, and no part of the model.
const RS: u16 = 3;

/// The kernel, the model, and how they came where they are.
pub(super) struct Both {
    kernel: Kernel<Fake>,
    pub(super) model: Model,
    script: Vec<Step>,
}

fn slot(who: usize) -> u16 {
    u16::try_from(who).unwrap()
}

impl Both {
    pub(super) fn new() -> Self {
        let mut kernel = Kernel::new(Fake::default(), RS + 1);
        let rs = server(RS, Callers::RS.or(Callers::PM));
        for process in [service(0), service(1), server(slot(VM), Callers::VM), rs] {
            kernel.add(&process, Registers::default(), process.slot).unwrap();
        }
        for (from, to) in [(0, 1), (1, 2), (2, 0)] {
            kernel.allow_pair(Pair { from, to }).unwrap();
        }
        Self { kernel, model: Model::new(), script: Vec::new() }
    }

    /// Lets something happen that [can](Model::can_happen).
    pub(super) fn step(&mut self, step: Step) {
        self.script.push(step);
        let content = u32::try_from(self.script.len()).unwrap();
        self.model.step(step, u64::from(content));
        match step {
            Step::By(who, operation) => self.operate(slot(who), operation, content),
            Step::Fault(who) => {
                let fault = Fault::Page { address: 0x9000, access: Access::Read };
                self.kernel.fault(Slot::new(slot(who)), fault);
            }
            Step::Kill(who) => self.call(RS, &calls::clear::Request { process: at(slot(who)) }),
            Step::Cancel(who) => {
                let (process, name) = (at(slot(who)), Name::new("new").unwrap());
                let exec = calls::exec::Request { process, instruction: 1, stack: 8, argument: 0, name };
                self.call(RS, &exec);
            }
            Step::ClearReferences(who) => {
                self.call(RS, &calls::privilege_clear_ipc_refs::Request { process: at(slot(who)) });
            }
            Step::Leave { one, other, may_send } => {
                let (process, target) = (at(slot(one)), at(slot(other)));
                if may_send {
                    self.call(RS, &calls::privilege_add_target::Request { process, target });
                } else {
                    self.call(RS, &calls::privilege_remove_target::Request { process, target });
                }
            }
        }
    }

    fn operate(&mut self, who: u16, operation: Operation, tag: u32) {
        let context = &mut self.kernel.processes.process_mut(Slot::new(who)).context;
        context.message = Message { tag, ..Message::zeroed() };
        let mut trap = |primitive, to| {
            let _ = self.kernel.traps(who, primitive, to);
        };
        match operation {
            Operation::Send(to) => trap(Send, at(slot(to))),
            Operation::SendNb(to) => trap(SendNb, at(slot(to))),
            Operation::SendRec(to) => trap(SendRec, at(slot(to))),
            Operation::ReplyReceive(to) => trap(ReplyReceive, at(slot(to))),
            Operation::Notify(to) => trap(Notify, at(slot(to))),
            Operation::Receive(Some(Source::Process(from))) => trap(Receive, at(slot(from))),
            Operation::Receive(Some(Source::Asyncm)) => trap(Receive, Endpoint::ASYNCM),
            Operation::Receive(None) => trap(Receive, Endpoint::ANY),
            Operation::SendA { to, no_reply, notice } => {
                let flags = match notice {
                    Notice::Nothing => AsyncFlags::NONE,
                    Notice::Loss => AsyncFlags::NOTIFY_ERROR,
                    Notice::End => AsyncFlags::NOTIFY,
                };
                let flags = if no_reply { flags.with(AsyncFlags::NO_REPLY) } else { flags };
                let _ = self.kernel.sends_async(who, at(slot(to)), flags);
            }
            Operation::Filter(filter) => self.filter(who, filter),
            Operation::ClearReferences => self.call(who, &calls::state_clear_ipc_refs::Request {}),
            Operation::Resolve(faulting) => {
                self.call(who, &calls::vm_clear_page_fault::Request { process: at(slot(faulting)) });
            }
            Operation::Exit => self.call(who, &calls::exit::Request { status: 0 }),
        }
    }

    fn filter(&mut self, who: u16, filter: Option<Filter>) {
        self.call(who, &calls::ipc_filter_clear::Request {});
        let from = |source: usize| FilterRule { source: at(slot(source)), ..FilterRule::default() };
        let (kind, rule) = match filter {
            None => return,
            Some(Filter::Only(source)) => (FilterKind::White, from(source)),
            Some(Filter::NothingFrom(source)) => (FilterKind::Black, from(source)),
            Some(Filter::NoNotifications) => {
                (FilterKind::Black, FilterRule { number: Notification::NUMBER, ..FilterRule::default() })
            }
        };
        self.call(who, &calls::ipc_filter_add::Request { kind, rules: Bytes::first_of(&rule.to_bytes()) });
    }

    fn call(&mut self, who: u16, call: &impl Call) {
        self.kernel.processes.process_mut(Slot::new(who)).context.message = call.to_message(0);
        let _ = self.kernel.traps(who, KernelCall, Endpoint::NONE);
    }

    /// What the last message of a process is, as the model tells it.
    fn received(&self, who: u16) -> Option<Received> {
        let context = &self.kernel.processes.process(Slot::new(who)).context;
        let primitive = context.status.primitive()?;
        let source = match context.message.source {
            Endpoint::ASYNCM => Source::Asyncm,
            process => Source::Process(usize::from(process.slot()?)),
        };
        let content = match Notification::of(&context.message) {
            Some(notification) => notification.pending,
            None => u64::from(context.message.tag),
        };
        Some(Received { source, primitive, content })
    }

    /// The model's state, as a number. That two are the same by chance is as good as impossible.
    pub(super) fn state(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.model.hash(&mut hasher);
        hasher.finish()
    }

    /// Looks for a difference.
    pub(super) fn compare(&self) {
        let Self { kernel, model, script } = self;
        check_invariants(kernel);
        for who in 0..PROCESSES {
            let slot = slot(who);
            assert_eq!(kernel.processes.get(Slot::new(slot)).is_some(), model.lives(who), "{script:?}");
            if !model.lives(who) {
                continue;
            }
            assert_eq!(kernel.can_run(slot), model.can_run(who), "{who} after {script:?}");
            let result = kernel.returned(slot).map(|result| result.map_err(Errno::number));
            assert_eq!(result, model.result(who), "{who} after {script:?}");
            if model.result(who).is_some() {
                assert_eq!(self.received(slot), model.received(who), "{who} after {script:?}");
            }
        }
        let letters: usize =
            kernel.processes.iter().map(|(_, process)| process.mailbox.iter(&kernel.mail).count()).sum();
        assert_eq!(letters, model.letters(), "{script:?}");
    }
}
