//! Copies through their door: a call in the caller's registers, memory before and after.

use super::{PhysicalRange, UserRange};
use crate::fake::{Fake, at, kernel, program, service};
use crate::{Kernel, Slot};
use abi::boot;
use abi::ipc::Primitive;
use abi::protocols::kernel as calls;
use abi::{Call, CopyFlags, Endpoint, describe};

/// Addresses that tests use: a page that is there, and its neighbours.
const HERE: u64 = 0x10_0000;
const PAGE: u64 = 4096;

/// Makes a call; the answer as a trace shows it, without the name, or `None` if the caller waits.
pub(crate) fn ask(kernel: &mut Kernel<Fake>, caller: u16, call: &impl Call) -> Option<String> {
    kernel.processes.process_mut(Slot::new(caller)).context.message = call.to_message(1);
    assert_eq!(kernel.traps(caller, Primitive::KernelCall, Endpoint::NONE), Some(Ok(())));
    answer(kernel, caller)
}

/// The answer that a process holds, if its call is over.
pub(crate) fn answer(kernel: &Kernel<Fake>, caller: u16) -> Option<String> {
    let message = &kernel.processes.get(Slot::new(caller))?.context.message;
    let text = describe(message).to_string();
    message.is_reply().then(|| text.split_once(" = ").map_or(text.clone(), |(_, answer)| answer.to_owned()))
}

/// Three services, of which 0 calls; 1 and 2 have three pages each, from `HERE` on.
fn three() -> Kernel<Fake> {
    let mut kernel = kernel(&[service(0), service(1), service(2)]);
    for page in 0..3 {
        kernel.machine.memory.map(1, HERE + page * PAGE, true);
        kernel.machine.memory.map(2, HERE + page * PAGE, true);
    }
    kernel
}

fn vircopy(from_address: u64, to_address: u64, len: u64) -> calls::vircopy::Request {
    calls::vircopy::Request { from: at(1), to: at(2), flags: CopyFlags::TRY, from_address, to_address, len }
}

#[test]
fn a_range_is_one_that_a_process_could_use() {
    const END: u64 = crate::elf::USER_END;
    for (start, len, is_range) in [
        (PAGE, 0, true),
        (PAGE, END - PAGE, true),
        (END, 0, true),
        (END - 1, 1, true),
        (0, 1, false),
        (PAGE - 1, 1, false),
        (PAGE, END - PAGE + 1, false),
        (END - 1, 2, false),
        (END, 1, false),
        (1 << 47, 1, false),
        (0xffff_8000_0000_0000, 1, false),
        (u64::MAX, 0, false),
        (u64::MAX, 1, false),
        (PAGE, u64::MAX, false),
        (u64::MAX, u64::MAX, false),
    ] {
        assert_eq!(UserRange::new(start, len).is_some(), is_range, "{start:#x}+{len:#x}");
    }
    assert!(PhysicalRange::new(0, 1 << 52).is_some() && PhysicalRange::new(u64::MAX, 0).is_none());
    assert!(PhysicalRange::new(1, 1 << 52).is_none() && PhysicalRange::new(1, u64::MAX).is_none());
}

#[test]
fn a_copy_moves_what_it_names_and_nothing_else() {
    for (offset, target, len) in [(0, 0, 1), (5, 4091, 10), (4090, 3, 4100), (1, 1, 3 * PAGE - 1)] {
        let mut kernel = three();
        let pattern: Vec<u8> = (0..3 * PAGE).map(|at| u8::try_from(at % 251).unwrap() + 1).collect();
        kernel.machine.memory.poke(1, HERE, &pattern);
        let answer = ask(&mut kernel, 0, &vircopy(HERE + offset, HERE + target, len));
        assert_eq!(answer.as_deref(), Some("{}"));
        let [offset, target, len] = [offset, target, len].map(|number| usize::try_from(number).unwrap());
        let mut expected = vec![0; pattern.len()];
        expected[target..target + len].copy_from_slice(&pattern[offset..offset + len]);
        assert_eq!(kernel.machine.memory.peek(2, HERE, expected.len()), expected);
    }
}

/// Every combination of three pages on each side being there, read-only or missing.
#[test]
fn a_copy_with_try_reaches_to_the_first_page_that_is_not_there() {
    for case in 0..3_u32.pow(6) {
        let state = |side: u32, page: u32| case / 3_u32.pow(side * 3 + page) % 3;
        let mut kernel = kernel(&[service(0), service(1), service(2)]);
        for page in 0..3 {
            let address = HERE + u64::from(page) * PAGE;
            kernel.machine.memory.map(1, address, state(0, page) != 1);
            kernel.machine.memory.map(2, address, true);
            kernel.machine.memory.poke(1, address, &[7; 4096]);
            kernel.machine.memory.pages.get_mut(&(2, address)).unwrap().is_writable = state(1, page) != 1;
        }
        let all = kernel.machine.memory.pages.clone();
        for page in 0..3 {
            let address = HERE + u64::from(page) * PAGE;
            for (side, space) in [(0, 1), (1, 2)] {
                if state(side, page) == 2 {
                    kernel.machine.memory.pages.remove(&(space, address));
                }
            }
        }
        // The source starts 100 bytes into its first page, so pages of the sides end at different places.
        let len = 3 * PAGE - 200;
        let answer = ask(&mut kernel, 0, &vircopy(HERE + 100, HERE, len));
        let first = |is_bad: &dyn Fn(u32) -> bool, skipped: u64| {
            let page = (0..3).find(|page| is_bad(*page))?;
            Some((u64::from(page) * PAGE).saturating_sub(skipped))
        };
        let source = first(&|page| state(0, page) == 2, 100);
        let target = first(&|page| state(1, page) != 0, 0);
        let done = source.into_iter().chain(target).min().filter(|done| *done < len);
        assert_eq!(answer.as_deref(), Some(if done.is_some() { "EFAULT" } else { "{}" }), "case {case}");
        kernel.machine.memory.pages = all;
        let copied = kernel.machine.memory.peek(2, HERE, 3 * 4096).iter().filter(|byte| **byte == 7).count();
        assert_eq!(copied as u64, done.unwrap_or(len), "case {case}");
    }
}

#[test]
fn what_is_wrong_with_a_copy_is_said() {
    let mut kernel = three();
    let good = vircopy(HERE, HERE, 8);
    let dead = at(1).successor();
    for (call, expected) in [
        (calls::vircopy::Request { from: dead, ..good }, "EINVAL"),
        (calls::vircopy::Request { to: dead, ..good }, "EINVAL"),
        (calls::vircopy::Request { to: at(7), ..good }, "EINVAL"),
        (calls::vircopy::Request { from: Endpoint::ANY, ..good }, "EINVAL"),
        (calls::vircopy::Request { from: Endpoint::SYSTEM, ..good }, "EINVAL"),
        (calls::vircopy::Request { from: Endpoint::NONE, ..good }, "EPERM"),
        (calls::vircopy::Request { to: Endpoint::NONE, ..good }, "EPERM"),
        (calls::vircopy::Request { flags: CopyFlags(2), ..good }, "EINVAL"),
        (calls::vircopy::Request { flags: CopyFlags(u32::MAX), ..good }, "EINVAL"),
        (calls::vircopy::Request { from: Endpoint::SELF, ..good }, "EFAULT"),
        (vircopy(HERE, HERE, 0), "EDOM"),
        (vircopy(0, HERE, 8), "EFAULT"),
        (vircopy(HERE, 8, 8), "EFAULT"),
        (vircopy(HERE, HERE, u64::MAX), "EFAULT"),
        (vircopy(u64::MAX - 3, HERE, 8), "EFAULT"),
        (vircopy(HERE, 0xffff_8000_0000_0000, 8), "EFAULT"),
        (vircopy(0xffff_ffff_8020_0000, HERE, 8), "EFAULT"),
        (vircopy(HERE, crate::elf::USER_END - 4, 8), "EFAULT"),
        // Without anybody who manages memory, waiting would be for ever.
        (calls::vircopy::Request { flags: CopyFlags::WAIT, ..vircopy(HERE - 8, HERE, 16) }, "EFAULT"),
        (calls::vircopy::Request { flags: CopyFlags::WAIT, ..good }, "{}"),
    ] {
        assert_eq!(ask(&mut kernel, 0, &call).as_deref(), Some(expected), "{call:?}");
    }
}

#[test]
fn physical_memory_takes_a_right_of_its_own() {
    let without =
        boot::Process { kernel_calls: !<calls::physcopy::Request as Call>::INFO.bit(), ..service(1) };
    let mut kernel = kernel(&[service(0), without, program(2)]);
    kernel.machine.memory.map(0, HERE, true);
    kernel.machine.memory.poke(0, HERE, b"over the physical side");
    let copy = |from, to, from_address, to_address, len| calls::physcopy::Request {
        from,
        to,
        flags: CopyFlags::WAIT,
        from_address,
        to_address,
        len,
    };
    let set = calls::memset::Request {
        process: Endpoint::NONE,
        flags: CopyFlags::WAIT,
        address: 100,
        len: 4,
        byte: b'.',
    };
    let (own, physical) = (Endpoint::SELF, Endpoint::NONE);
    for (caller, answers) in
        [(0, ["{}", "{}", "{}", "{}"]), (1, ["ECALLDENIED", "ECALLDENIED", "ECALLDENIED", "EPERM"])]
    {
        assert_eq!(
            ask(&mut kernel, caller, &copy(own, physical, HERE, 200, 22)).as_deref(),
            Some(answers[0])
        );
        assert_eq!(
            ask(&mut kernel, caller, &copy(physical, physical, 200, 100, 22)).as_deref(),
            Some(answers[1])
        );
        assert_eq!(
            ask(&mut kernel, caller, &copy(physical, own, 100, HERE + 5, 22)).as_deref(),
            Some(answers[2])
        );
        assert_eq!(ask(&mut kernel, caller, &set).as_deref(), Some(answers[3]));
    }
    assert_eq!(kernel.machine.memory.peek(0, HERE, 27), b"over over the physical side"[..27]);
    assert_eq!(kernel.machine.memory.bytes[100..104], *b"....");
    for (address, len) in [(0, PAGE + 1), (PAGE, 1), (u64::MAX, 1), (1 << 51, 1 << 51), (1, u64::MAX)] {
        let answer = ask(&mut kernel, 0, &copy(physical, physical, address, 0, len));
        assert_eq!(answer.as_deref(), Some("EFAULT"), "{address:#x}+{len:#x}");
    }
    let program = calls::memset::Request { process: Endpoint::SELF, ..set };
    assert_eq!(ask(&mut kernel, 2, &program).as_deref(), Some("ECALLDENIED"));
}

#[test]
fn memory_is_filled_as_far_as_it_is_there() {
    let mut kernel = three();
    let set = |address, len| calls::memset::Request {
        process: at(2),
        flags: CopyFlags::TRY,
        address,
        len,
        byte: 9,
    };
    assert_eq!(ask(&mut kernel, 0, &set(HERE + 4000, 200)).as_deref(), Some("{}"));
    assert_eq!(kernel.machine.memory.peek(2, HERE + 3999, 202), [&[0][..], &[9; 200], &[0]].concat());
    assert_eq!(ask(&mut kernel, 0, &set(HERE + 3 * PAGE - 1, 2)).as_deref(), Some("EFAULT"));
    assert_eq!(kernel.machine.memory.peek(2, HERE + 3 * PAGE - 1, 1), [9]);
    assert_eq!(ask(&mut kernel, 0, &set(HERE, 0)).as_deref(), Some("EDOM"));
    assert_eq!(ask(&mut kernel, 0, &set(u64::MAX, 1)).as_deref(), Some("EFAULT"));
}
