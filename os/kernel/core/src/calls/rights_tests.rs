//! Who may make which kernel call: each row, for each kind of caller, with and without its bit in the mask.

use crate::fake::{Fake, at, kernel, service};
use crate::{Kernel, Slot};
use abi::boot::Process;
use abi::ipc::Primitive::KernelCall;
use abi::protocols::kernel::PROTOCOL;
use abi::{Callers, Endpoint, Errno, Message, REPLY};

/// All that a caller can be.
const CLASSES: [Callers; 6] = [
    Callers::PROGRAM,
    Callers::SERVICE,
    Callers::SERVICE.or(Callers::RS),
    Callers::SERVICE.or(Callers::PM),
    Callers::SERVICE.or(Callers::VFS),
    Callers::SERVICE.or(Callers::VM),
];

fn caller(class: Callers, kernel_calls: u128) -> Kernel<Fake> {
    kernel(&[Process { class, kernel_calls, ..service(0) }])
}

/// Why a call is refused. It says that it is a reply, so that none is carried out that may be made.
fn refusal(kernel: &mut Kernel<Fake>, number: u16) -> Errno {
    let message = Message { number, flags: REPLY, ..Message::zeroed() };
    kernel.processes.process_mut(Slot::new(0)).context.message = message;
    assert_eq!(kernel.traps(0, KernelCall, Endpoint::NONE), Some(Ok(())));
    let answer = &kernel.processes.process(Slot::new(0)).context.message;
    assert_eq!((answer.source, answer.number), (Endpoint::SYSTEM, number));
    Errno::from_status(answer.status)
}

#[test]
fn each_call_is_for_those_whom_its_row_names_and_whose_mask_has_its_bit() {
    for class in CLASSES {
        for call in PROTOCOL.calls {
            let is_named = call.from.admits(class);
            let with_bit = if is_named { Errno::EBADMSG } else { Errno::EPERM };
            for (mask, expected) in [
                (call.bit(), with_bit),
                (u128::MAX, with_bit),
                (!call.bit(), Errno::ECALLDENIED),
                (0, Errno::ECALLDENIED),
            ] {
                let mut kernel = caller(class, mask);
                assert_eq!(refusal(&mut kernel, call.number), expected, "{} by {class:?}", call.name);
                assert!(kernel.processes.find(at(0)).is_some() && kernel.can_run(0), "{}", call.name);
            }
        }
    }
}

#[test]
fn a_call_without_a_row_is_nobodys() {
    for class in CLASSES {
        let mut kernel = caller(class, u128::MAX);
        for number in (0..=u16::MAX).filter(|number| PROTOCOL.find(*number).is_none()) {
            assert_eq!(refusal(&mut kernel, number), Errno::EBADREQUEST, "{number:#x} by {class:?}");
        }
    }
}

/// What a row says is a promise to those who read it: nothing of a server's may become everybody's by a slip.
#[test]
fn programs_may_make_the_calls_that_need_no_right_and_no_others() {
    let calls = |class: Callers| {
        let rows = PROTOCOL.calls.iter().filter(|call| call.from.admits(class));
        rows.map(|call| call.name.trim_start_matches("kernel.")).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(calls(Callers::PROGRAM), "whoami exit diag times get_process");
}
