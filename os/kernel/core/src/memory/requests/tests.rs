//! Waiting for VM: what it is asked, what each outcome does, and all short runs in which callers
//! wait, VM answers, and anybody dies.

use crate::fake::{Fake, at, kernel, service};
use crate::fault::{Access, Fault};
use crate::memory::Parked;
use crate::memory::copy::SLICE;
use crate::memory::tests::{answer, ask};
use crate::process::{Ipc, Process, Stops};
use crate::{AddError, Kernel, Next, Slot};
use abi::boot;
use abi::ipc::Primitive;
use abi::notification::Notification;
use abi::protocols::kernel as calls;
use abi::{Callers, CopyFlags, DeviceAccess, Endpoint, PageAccess, RequestOutcome, Signal, Signals};

const HERE: u64 = 0x10_0000;
const PAGE: u64 = 4096;

/// Service 0 and 1 copy, 2 is VM, 3 has the memory.
const VM: u16 = 2;
const OWNER: u16 = 3;
/// In one test, 1 is PM.
const PM: u16 = 1;

fn four() -> Kernel<Fake> {
    let vm = boot::Process { class: Callers::SERVICE.or(Callers::VM), ..service(VM) };
    let mut kernel = kernel(&[service(0), service(1), vm, service(OWNER)]);
    for slot in [0, 1] {
        kernel.machine.memory.map(slot, HERE, true);
        kernel.machine.memory.map(slot, HERE + PAGE, true);
    }
    kernel.machine.memory.map(OWNER, HERE, true);
    kernel.machine.memory.poke(OWNER, HERE, &[7; 4096]);
    kernel
}

/// A copy from the owner, whose second page is missing.
fn take() -> calls::vircopy::Request {
    calls::vircopy::Request {
        from: at(OWNER),
        to: Endpoint::SELF,
        flags: CopyFlags::WAIT,
        from_address: HERE + 96,
        to_address: HERE,
        len: 2 * PAGE - 96,
    }
}

fn get(kernel: &mut Kernel<Fake>) -> String {
    ask(kernel, VM, &calls::vm_memory_request_get::Request {}).expect("VM never waits")
}

fn reply(kernel: &mut Kernel<Fake>, requestor: Endpoint, request: u64, outcome: RequestOutcome) -> String {
    ask(kernel, VM, &calls::vm_memory_request_reply::Request { requestor, request, outcome })
        .expect("VM never waits")
}

/// Nobody waits for VM but those who have asked it for something, and it can't take anything twice.
pub(crate) fn check_requests(kernel: &Kernel<Fake>) {
    let queue: Vec<_> = kernel.requests.queue.iter(&kernel.requests.links).collect();
    for (slot, process) in kernel.processes.iter() {
        let parked = &process.memory.call.parked;
        assert_eq!(parked.needs_vm(), process.stops.contains(Stops::MEMORY_REQUEST), "{slot:?}: {parked:?}");
        if parked.needs_vm() {
            assert!(kernel.vm().is_some_and(|vm| vm != slot), "{slot:?} waits for no VM");
        }
        if let Parked::ForRelease { held, .. } = *parked {
            let is_held = kernel.processes.get(held).is_some_and(Process::is_held);
            assert!(is_held, "{slot:?} waits for what isn't held");
        }
        if parked.is_parked() {
            assert_eq!(process.ipc, Ipc::Idle, "{slot:?} is in a call and in a primitive");
        }
        let is_untaken = parked.request().is_some_and(|request| !request.is_taken);
        assert_eq!(queue.contains(&slot), is_untaken, "{slot:?}: {parked:?}");
    }
}

/// Requests that VM has yet to answer, and who made them.
pub(crate) fn taken(kernel: &Kernel<Fake>) -> Vec<(Endpoint, u64)> {
    let requests = kernel.processes.iter().filter_map(|(_, process)| {
        let request = process.memory.call.parked.request().filter(|request| request.is_taken)?;
        Some((process.endpoint, request.number))
    });
    requests.collect()
}

/// Lets calls go on until no one can.
fn go_on(kernel: &mut Kernel<Fake>) {
    for slot in (0..4).map(Slot::new) {
        while kernel
            .processes
            .get(slot)
            .is_some_and(|process| process.memory.call.parked.goes_on() && process.stops.is_empty())
        {
            kernel.go_on(slot);
        }
    }
}

#[test]
fn a_missing_page_is_asked_for_on_its_side_and_the_copy_goes_on_from_there() {
    let mut kernel = four();
    assert_eq!(kernel.traps(VM, Primitive::Receive, Endpoint::ANY), None);
    assert_eq!(ask(&mut kernel, 0, &take()), None);
    assert!(kernel.processes.process(Slot::new(0)).stops.contains(Stops::MEMORY_REQUEST));
    // VM is told, and asked to make the source readable, from the first address on.
    let message = kernel.processes.process(Slot::new(VM)).context.message;
    assert_eq!(message.source, Endpoint::SYSTEM);
    assert_eq!(
        Notification::of(&message).map(|told| told.pending),
        Some(Signals::of(&[Signal::KMEM]).to_notification())
    );
    let expected = "{ requestor: 0, request: 1, target: 3, start: 1052672, len: 4096, is_written: false }";
    assert_eq!(get(&mut kernel), expected);
    assert_eq!(get(&mut kernel), "ENOENT");

    // What is copied already is not copied again: it can change without effect.
    kernel.machine.memory.poke(OWNER, HERE, &[8; 4096]);
    kernel.machine.memory.map(OWNER, HERE + PAGE, false);
    kernel.machine.memory.poke(OWNER, HERE + PAGE, &[9; 4096]);
    assert_eq!(reply(&mut kernel, at(0), 1, RequestOutcome::Ready), "{}");
    assert_eq!(answer(&kernel, 0), None, "it goes on when it is its turn");
    assert!(matches!(kernel.next(), Next::Run(_) | Next::Continue(_)));
    go_on(&mut kernel);
    assert_eq!(answer(&kernel, 0).as_deref(), Some("{}"));
    assert_eq!(kernel.machine.memory.peek(0, HERE + 3999, 2), [7, 9]);
    assert_eq!(reply(&mut kernel, at(0), 1, RequestOutcome::Ready), "ESRCH");
}

#[test]
fn a_target_that_is_missing_or_read_only_is_asked_for_to_be_written() {
    for is_there in [false, true] {
        let mut kernel = four();
        if is_there {
            kernel.machine.memory.map(OWNER, HERE + PAGE, false);
        }
        let give = calls::vircopy::Request {
            from: Endpoint::SELF,
            to: at(OWNER),
            from_address: HERE,
            to_address: HERE + PAGE - 8,
            len: 16,
            ..take()
        };
        assert_eq!(ask(&mut kernel, 0, &give), None);
        let expected = "{ requestor: 0, request: 1, target: 3, start: 1052672, len: 8, is_written: true }";
        assert_eq!(get(&mut kernel), expected);
        kernel.machine.memory.map(OWNER, HERE + PAGE, true);
        assert_eq!(reply(&mut kernel, at(0), 1, RequestOutcome::Ready), "{}");
        go_on(&mut kernel);
        assert_eq!(answer(&kernel, 0).as_deref(), Some("{}"));
    }
}

#[test]
fn a_device_is_not_touched_before_all_of_the_memory_is_there() {
    use abi::protocols::{Direction, Width};
    for direction in [Direction::In, Direction::Out] {
        let mut kernel = four();
        kernel.allow_ports(boot::Ports { slot: 0, first: 0x3f8, last: 0x3f8 }).unwrap();
        let page = kernel.machine.memory.pages.remove(&(0, HERE + PAGE)).unwrap();
        let string = calls::devio_string::Request {
            direction,
            port: 0x3f8,
            width: Width::Byte,
            granter: Endpoint::SELF,
            grant: abi::GrantId::NONE,
            start: HERE + PAGE - 1000,
            bytes: 2000,
        };
        assert_eq!(ask(&mut kernel, 0, &string), None);
        assert!(get(&mut kernel).contains("len: 1000"));
        assert!(kernel.machine.ports.is_empty());
        assert_eq!(kernel.machine.memory.peek(0, HERE + PAGE - 1000, 1000), [0; 1000]);
        kernel.machine.memory.pages.insert((0, HERE + PAGE), page);
        assert_eq!(reply(&mut kernel, at(0), 1, RequestOutcome::Ready), "{}");
        go_on(&mut kernel);
        assert_eq!(answer(&kernel, 0).as_deref(), Some("{}"));
        match direction {
            Direction::In => {
                assert_eq!(kernel.machine.memory.peek(0, HERE + PAGE - 1000, 2000), [0xf8; 2000])
            }
            Direction::Out => assert_eq!(kernel.machine.ports[&0x3f8], [0; 2000]),
        }
    }
}

#[test]
fn each_outcome_is_an_error_of_the_call() {
    for (outcome, expected) in [
        (RequestOutcome::Illegal, "EFAULT"),
        (RequestOutcome::OutOfMemory, "ENOMEM"),
        (RequestOutcome::Unreadable, "EIO"),
    ] {
        let mut kernel = four();
        assert_eq!(ask(&mut kernel, 0, &take()), None);
        get(&mut kernel);
        assert_eq!(reply(&mut kernel, at(0), 1, outcome), "{}");
        assert_eq!(answer(&kernel, 0).as_deref(), Some(expected));
        // The next call starts from nothing.
        kernel.machine.memory.map(OWNER, HERE + PAGE, false);
        assert_eq!(ask(&mut kernel, 0, &take()).as_deref(), Some("{}"));
        assert_eq!(kernel.machine.memory.peek(0, HERE, 1), [7]);
    }
}

#[test]
fn requests_are_taken_in_the_order_they_were_made_and_only_then_answered() {
    let mut kernel = four();
    assert_eq!(ask(&mut kernel, 1, &take()), None);
    assert_eq!(ask(&mut kernel, 0, &take()), None);
    assert_eq!(reply(&mut kernel, at(1), 1, RequestOutcome::Ready), "ESRCH", "it was not taken");
    assert!(get(&mut kernel).starts_with("{ requestor: 1, request: 1,"));
    assert!(get(&mut kernel).starts_with("{ requestor: 0, request: 2,"));
    assert_eq!(reply(&mut kernel, at(0), 1, RequestOutcome::Ready), "ESRCH", "another's number");
    assert_eq!(reply(&mut kernel, at(9), 1, RequestOutcome::Ready), "ESRCH");
    // VM said it is ready, but it isn't: the call asks again, under a new number.
    assert_eq!(reply(&mut kernel, at(0), 2, RequestOutcome::Ready), "{}");
    go_on(&mut kernel);
    assert!(get(&mut kernel).starts_with("{ requestor: 0, request: 3,"));
}

#[test]
fn whoever_tries_and_vm_itself_never_wait() {
    let mut kernel = four();
    let call = calls::vircopy::Request { flags: CopyFlags::TRY, ..take() };
    assert_eq!(ask(&mut kernel, 0, &call).as_deref(), Some("EFAULT"));
    kernel.machine.memory.map(VM, HERE, true);
    kernel.machine.memory.map(VM, HERE + PAGE, true);
    assert_eq!(ask(&mut kernel, VM, &take()).as_deref(), Some("EFAULT"));
    assert_eq!(get(&mut kernel), "ENOENT");
    let other = boot::Process { class: Callers::VM, ..service(5) };
    assert_eq!(kernel.check(&other), Err(AddError::SecondVm));
    // And nobody else may do what VM does.
    for caller in [0, OWNER] {
        let call = calls::vm_memory_request_get::Request {};
        assert_eq!(ask(&mut kernel, caller, &call).as_deref(), Some("EPERM"));
    }
}

#[test]
fn a_long_copy_lets_others_run_in_between() {
    let mut kernel = four();
    let pages = 3 * SLICE / PAGE;
    for page in 0..pages {
        for slot in [0, OWNER] {
            kernel.machine.memory.pages.remove(&(slot, HERE + page * PAGE));
            kernel.machine.memory.map(slot, HERE + page * PAGE, true);
        }
    }
    kernel.machine.memory.poke(OWNER, HERE, &vec![5; usize::try_from(3 * SLICE).unwrap()]);
    let call = calls::vircopy::Request { from_address: HERE, len: 3 * SLICE, ..take() };
    assert_eq!(ask(&mut kernel, 0, &call), None);
    assert_eq!(kernel.next(), Next::Continue(Slot::new(0)));
    kernel.go_on(Slot::new(0));
    assert_eq!(kernel.next(), Next::Continue(Slot::new(0)));
    kernel.go_on(Slot::new(0));
    assert_eq!(kernel.next(), Next::Run(Slot::new(0)));
    assert_eq!(answer(&kernel, 0).as_deref(), Some("{}"));
    let copied = kernel.machine.memory.peek(0, HERE, usize::try_from(3 * SLICE).unwrap());
    assert!(copied.iter().all(|byte| *byte == 5));
}

#[test]
fn devices_get_addresses_of_pages_that_are_there_for_them() {
    let mut kernel = four();
    let umap = |access, start, len| calls::umap::Request {
        granter: Endpoint::SELF,
        grant: abi::GrantId::NONE,
        start,
        len,
        access,
    };
    // Frames of the fake follow each other as they were mapped: 0 and 1 are the caller's.
    assert_eq!(
        ask(&mut kernel, 0, &umap(DeviceAccess::ReadWrite, HERE + 8, 5000)).as_deref(),
        Some("{ address: 8, len: 5000 }")
    );
    assert_eq!(
        ask(&mut kernel, 0, &umap(DeviceAccess::Read, HERE + 4100, 9)).as_deref(),
        Some("{ address: 4100, len: 9 }")
    );
    for (start, len, expected) in
        [(HERE, 0, "EDOM"), (u64::MAX, 2, "EFAULT"), (0xffff_8000_0000_0000, 8, "EFAULT")]
    {
        assert_eq!(ask(&mut kernel, 0, &umap(DeviceAccess::Read, start, len)).as_deref(), Some(expected));
    }
    // A page that the device would write, but the process may not: VM is asked.
    kernel.machine.memory.map(0, HERE + 2 * PAGE, false);
    assert!(ask(&mut kernel, 0, &umap(DeviceAccess::Read, HERE + 2 * PAGE, 9)).is_some());
    assert_eq!(ask(&mut kernel, 0, &umap(DeviceAccess::Write, HERE + 2 * PAGE, 9)), None);
    assert!(get(&mut kernel).ends_with("len: 9, is_written: true }"));
    assert_eq!(reply(&mut kernel, at(0), 1, RequestOutcome::Illegal), "{}");
    assert_eq!(answer(&kernel, 0).as_deref(), Some("EFAULT"));

    let input = HERE + 100;
    let numbers = [HERE + 4000, 200, HERE + 50, 10];
    let bytes: Vec<u8> = numbers.iter().flat_map(|number: &u64| number.to_le_bytes()).collect();
    kernel.machine.memory.poke(0, input, &bytes);
    let vumap = calls::vumap::Request {
        granter: Endpoint::SELF,
        access: DeviceAccess::Write,
        input,
        count: 2,
        offset: 5,
        output: HERE + 1000,
        limit: 8,
    };
    assert_eq!(ask(&mut kernel, 0, &vumap).as_deref(), Some("{ count: 2 }"));
    let expected: Vec<u8> = [4005_u64, 195, 50, 10].iter().flat_map(|number| number.to_le_bytes()).collect();
    assert_eq!(kernel.machine.memory.peek(0, HERE + 1000, 32), expected);
    assert_eq!(
        ask(&mut kernel, 0, &calls::vumap::Request { limit: 1, ..vumap }).as_deref(),
        Some("{ count: 1 }")
    );
    for (call, expected) in [
        (calls::vumap::Request { count: 0, ..vumap }, "EINVAL"),
        (calls::vumap::Request { limit: 0, ..vumap }, "EINVAL"),
        (calls::vumap::Request { count: 65, ..vumap }, "E2BIG"),
        (calls::vumap::Request { limit: u32::MAX, ..vumap }, "E2BIG"),
        (calls::vumap::Request { offset: 200, ..vumap }, "EINVAL"),
        (calls::vumap::Request { offset: u64::MAX, ..vumap }, "EINVAL"),
        (calls::vumap::Request { input: u64::MAX - 8, ..vumap }, "EFAULT"),
        (calls::vumap::Request { output: 0xffff_8000_0000_0000, ..vumap }, "EFAULT"),
        (calls::vumap::Request { granter: at(9), ..vumap }, "EINVAL"),
    ] {
        assert_eq!(ask(&mut kernel, 0, &call).as_deref(), Some(expected), "{call:?}");
    }
}

#[test]
fn vm_maps_its_own_frames_and_no_others() {
    let mut kernel = four();
    let take = |count| calls::vm_take_frames::Request { count };
    for count in [0, 513, u32::MAX] {
        assert_eq!(ask(&mut kernel, VM, &take(count)).as_deref(), Some("EINVAL"));
    }
    let frame = kernel.machine.memory.bytes.len() as u64;
    assert_eq!(ask(&mut kernel, VM, &take(2)), Some(format!("{{ address: {frame} }}")));
    let map = calls::vm_map_page::Request {
        process: at(OWNER),
        address: HERE + PAGE,
        frame,
        access: PageAccess::Read,
    };
    for (call, expected) in [
        (calls::vm_map_page::Request { process: at(9), ..map }, "EINVAL"),
        (calls::vm_map_page::Request { process: Endpoint::NONE, ..map }, "EINVAL"),
        (calls::vm_map_page::Request { address: HERE + 8, ..map }, "EINVAL"),
        (calls::vm_map_page::Request { address: 0, ..map }, "EFAULT"),
        (calls::vm_map_page::Request { address: 0xffff_8000_0000_0000, ..map }, "EFAULT"),
        (calls::vm_map_page::Request { frame: frame + 8, ..map }, "EINVAL"),
        (calls::vm_map_page::Request { frame: !4095, ..map }, "EINVAL"),
        (calls::vm_map_page::Request { frame: 0, ..map }, "EPERM"),
        (calls::vm_map_page::Request { address: HERE, ..map }, "EEXIST"),
        (map, "{}"),
        (map, "EEXIST"),
    ] {
        assert_eq!(ask(&mut kernel, VM, &call).as_deref(), Some(expected), "{call:?}");
    }
    let protect = calls::vm_protect_page::Request {
        process: at(OWNER),
        address: HERE + PAGE,
        access: PageAccess::Write,
    };
    assert_eq!(ask(&mut kernel, VM, &protect).as_deref(), Some("{}"));
    assert!(kernel.machine.memory.pages[&(OWNER, HERE + PAGE)].is_writable);
    let give = |count| calls::vm_give_frames::Request { address: frame, count };
    assert_eq!(ask(&mut kernel, VM, &give(2)).as_deref(), Some("EBUSY"), "what is mapped stays VM's");
    let unmap = calls::vm_unmap_page::Request { process: at(OWNER), address: HERE + PAGE };
    assert_eq!(ask(&mut kernel, VM, &unmap), Some(format!("{{ frame: {frame} }}")));
    assert_eq!(ask(&mut kernel, VM, &unmap).as_deref(), Some("ENOENT"));
    assert_eq!(ask(&mut kernel, VM, &protect).as_deref(), Some("ENOENT"));
    for (count, expected) in [(0, "EINVAL"), (3, "EPERM"), (u32::MAX, "EPERM"), (2, "{}"), (1, "EPERM")] {
        assert_eq!(ask(&mut kernel, VM, &give(count)).as_deref(), Some(expected), "{count}");
    }
    assert_eq!(ask(&mut kernel, 0, &take(1)).as_deref(), Some("EPERM"));
}

/// Reaches for the owner's memory in one of the ways that need no grant, the second with `TRY`; the answer.
fn reach(kernel: &mut Kernel<Fake>, way: u32) -> Option<String> {
    let process = at(OWNER);
    let set = calls::memset::Request { process, flags: CopyFlags::WAIT, address: HERE, len: 1, byte: 0 };
    let write = calls::trace_write::Request { process, address: HERE, value: 0 };
    let get = calls::get_machine_context::Request { process, address: HERE };
    match way {
        0 => ask(kernel, 0, &calls::vircopy::Request { len: 8, ..take() }),
        1 => ask(kernel, 0, &calls::vircopy::Request { len: 8, flags: CopyFlags::TRY, ..take() }),
        2 => ask(kernel, 0, &set),
        3 => ask(kernel, PM, &calls::trace_read::Request { process, address: HERE }),
        4 => ask(kernel, PM, &write),
        _ => ask(kernel, PM, &get),
    }
}

#[test]
fn a_device_is_mapped_only_where_it_is_none_of_the_systems_memory_and_rs_permits() {
    let mut kernel = four();
    const DEVICE: u64 = 0xfed0_0000;
    let id = kernel.processes.process(Slot::new(OWNER)).privileges;
    kernel.privileges[id.index()].memory = vec![(DEVICE, 2 * PAGE), (0, PAGE)];
    let address = HERE + 4 * PAGE;
    let map = calls::vm_map_device::Request {
        process: at(OWNER),
        address,
        device: DEVICE,
        access: PageAccess::Write,
    };
    for (call, expected) in [
        (calls::vm_map_device::Request { process: at(9), ..map }, "EINVAL"),
        (calls::vm_map_device::Request { address: address + 8, ..map }, "EINVAL"),
        (calls::vm_map_device::Request { address: 0xffff_8000_0000_0000, ..map }, "EFAULT"),
        (calls::vm_map_device::Request { device: DEVICE + 8, ..map }, "EINVAL"),
        (calls::vm_map_device::Request { access: PageAccess::Execute, ..map }, "EINVAL"),
        (calls::vm_map_device::Request { device: DEVICE + 2 * PAGE, ..map }, "EPERM"),
        (calls::vm_map_device::Request { device: DEVICE - PAGE, ..map }, "EPERM"),
        (calls::vm_map_device::Request { process: at(0), ..map }, "EPERM"),
        (calls::vm_map_device::Request { device: 0, ..map }, "EPERM"),
        (calls::vm_map_device::Request { address: HERE, ..map }, "EEXIST"),
        (map, "{}"),
        (map, "EEXIST"),
    ] {
        assert_eq!(ask(&mut kernel, VM, &call).as_deref(), Some(expected), "{call:?}");
    }
    // No copy gets there, and the page is nobody's frame.
    let copy = calls::vircopy::Request { from_address: address, len: 4, flags: CopyFlags::TRY, ..take() };
    assert_eq!(ask(&mut kernel, 0, &copy).as_deref(), Some("EFAULT"));
    let unmap = calls::vm_unmap_page::Request { process: at(OWNER), address };
    assert_eq!(ask(&mut kernel, VM, &unmap), Some(format!("{{ frame: {DEVICE} }}")));
    let give = calls::vm_give_frames::Request { address: DEVICE, count: 1 };
    assert_eq!(ask(&mut kernel, VM, &give).as_deref(), Some("EPERM"));
    assert_eq!(ask(&mut kernel, 0, &map).as_deref(), Some("EPERM"));
}

fn hold(kernel: &mut Kernel<Fake>, inhibited: bool) {
    let request = calls::vm_set_inhibited::Request { process: at(OWNER), inhibited };
    assert_eq!(ask(kernel, VM, &request).as_deref(), Some("{}"));
}

// row A2
#[test]
fn whoever_reaches_for_memory_that_vm_holds_waits_until_vm_lets_go_of_it() {
    for way in 0..6 {
        let mut kernel = four();
        kernel.processes.process_mut(Slot::new(PM)).class = Callers::SERVICE.or(Callers::PM);
        hold(&mut kernel, true);
        let before = kernel.machine.memory.clone();
        let caller = if way < 3 { 0 } else { PM };
        let first = reach(&mut kernel, way);
        if way == 1 {
            assert_eq!(first.as_deref(), Some("EFAULT"), "it tries");
        } else {
            assert_eq!(first, None, "way {way}");
            assert!(kernel.stops(caller).contains(Stops::MEMORY_REQUEST));
        }
        go_on(&mut kernel);
        assert_eq!(kernel.machine.memory.bytes, before.bytes);
        assert_eq!(get(&mut kernel), "ENOENT", "VM knows, and is not asked");
        hold(&mut kernel, false);
        go_on(&mut kernel);
        let expected = if way == 1 { "EFAULT" } else { "{" };
        assert!(answer(&kernel, caller).is_some_and(|answer| answer.starts_with(expected)), "way {way}");
        assert!(reach(&mut kernel, way).is_some_and(|answer| answer.starts_with('{')));
    }
}

// row A2
#[test]
fn a_copy_that_waits_for_a_page_waits_on_while_vm_holds_the_memory() {
    let mut kernel = four();
    assert_eq!(ask(&mut kernel, 0, &take()), None);
    get(&mut kernel);
    hold(&mut kernel, true);
    kernel.machine.memory.map(OWNER, HERE + PAGE, true);
    assert_eq!(reply(&mut kernel, at(0), 1, RequestOutcome::Ready), "{}");
    go_on(&mut kernel);
    assert_eq!(answer(&kernel, 0), None);
    hold(&mut kernel, false);
    go_on(&mut kernel);
    assert_eq!(answer(&kernel, 0).as_deref(), Some("{}"));
    assert_eq!(kernel.machine.memory.peek(0, HERE + 3999, 2), [7, 0]);
}

// row A2
#[test]
fn vm_itself_and_a_system_without_vm_do_not_wait_for_memory_that_is_held() {
    let mut kernel = four();
    hold(&mut kernel, true);
    kernel.machine.memory.map(VM, HERE, true);
    assert_eq!(
        ask(&mut kernel, VM, &calls::vircopy::Request { len: 8, ..take() }).as_deref(),
        Some("EFAULT")
    );
    kernel.exit(Slot::new(VM), 0);
    assert_eq!(ask(&mut kernel, 0, &calls::vircopy::Request { len: 8, ..take() }).as_deref(), Some("EFAULT"));
}

// row F1
#[test]
fn nobody_waits_for_a_vm_that_waits_for_it() {
    let short = calls::vircopy::Request { from_address: HERE, len: 8, ..take() };
    let missing = calls::vircopy::Request { from_address: HERE + PAGE, len: 8, ..take() };
    // VM waits for 0, for who waits for 0, or for a message of 0's alone; then 0 wants something of VM.
    for (case, held) in [(0, false), (1, false), (2, false), (0, true), (1, true), (2, true)] {
        let mut kernel = four();
        let request = if held { &short } else { &missing };
        if held {
            hold(&mut kernel, true);
        }
        if case == 1 {
            assert_eq!(kernel.traps(1, Primitive::SendRec, at(0)), None);
        }
        let (primitive, whom) =
            [(Primitive::SendRec, 0), (Primitive::SendRec, 1), (Primitive::Receive, 0)][case];
        assert_eq!(kernel.traps(VM, primitive, at(whom)), None);
        assert_eq!(ask(&mut kernel, 0, request).as_deref(), Some("EFAULT"), "case {case}, held: {held}");
    }
    // The other way round: 0 waits already when VM comes to wait for it.
    for (case, held) in [(0, false), (1, false), (2, false), (0, true), (1, true), (2, true)] {
        let mut kernel = four();
        if held {
            hold(&mut kernel, true);
        }
        assert_eq!(ask(&mut kernel, 0, if held { &short } else { &missing }), None);
        if case == 1 {
            assert_eq!(kernel.traps(1, Primitive::SendRec, at(0)), None);
        } else if !held {
            get(&mut kernel);
        }
        let (primitive, whom) =
            [(Primitive::SendRec, 0), (Primitive::SendRec, 1), (Primitive::Receive, 0)][case];
        let refused = Some(Err(abi::Errno::ELOCKED));
        // A request that VM has not taken is told of by a notification, which a receive from 0 does not take.
        assert_eq!(kernel.traps(VM, primitive, at(whom)), refused, "case {case}, held: {held}");
    }
    // A page fault that VM has taken is such a wait, too.
    let mut kernel = four();
    assert_eq!(kernel.traps(VM, Primitive::Receive, Endpoint::ANY), None);
    kernel.fault(Slot::new(0), Fault::Page { address: HERE + 9 * PAGE, access: Access::Read });
    assert_eq!(kernel.traps(VM, Primitive::SendRec, at(0)), Some(Err(abi::Errno::ELOCKED)));
}

/// What can happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    /// A caller copies from the owner.
    Copy(u16),
    /// VM takes a request.
    Get,
    /// VM brings the page and says so, to a caller.
    Ready(u16),
    /// VM refuses a caller.
    Refuse(u16),
    /// VM holds the owner's memory, or lets go of it.
    Hold,
    /// It is a caller's turn.
    Turn(u16),
    /// A process dies.
    Death(u16),
}

const EVENTS: [Event; 14] = [
    Event::Copy(0),
    Event::Copy(1),
    Event::Get,
    Event::Hold,
    Event::Ready(0),
    Event::Ready(1),
    Event::Refuse(0),
    Event::Refuse(1),
    Event::Turn(0),
    Event::Turn(1),
    Event::Death(0),
    Event::Death(1),
    Event::Death(VM),
    Event::Death(OWNER),
];

/// Carries out an event, if it can happen now.
fn happen(kernel: &mut Kernel<Fake>, event: Event) -> bool {
    let is_alive = |kernel: &Kernel<Fake>, slot| kernel.processes.get(Slot::new(slot)).is_some();
    let state = |kernel: &Kernel<Fake>, slot: u16| {
        kernel.processes.get(Slot::new(slot)).map(|process| (process.memory, process.stops))
    };
    match event {
        Event::Copy(slot) => {
            let can = state(kernel, slot)
                .is_some_and(|(memory, stops)| !memory.call.parked.goes_on() && stops.is_empty());
            if can {
                ask(
                    kernel,
                    slot,
                    &calls::vircopy::Request { from_address: HERE + PAGE - 8, len: 16, ..take() },
                );
            }
            can
        }
        Event::Get => is_alive(kernel, VM) && get(kernel) != "ENOENT",
        Event::Hold => {
            let can = is_alive(kernel, VM) && is_alive(kernel, OWNER);
            if can {
                let is_held = kernel.processes.process(Slot::new(OWNER)).is_held();
                hold(kernel, !is_held);
            }
            can
        }
        Event::Ready(slot) | Event::Refuse(slot) => {
            let Some((memory, _)) = state(kernel, slot) else { return false };
            let Some(request) = memory.call.parked.request().copied().filter(|_| is_alive(kernel, VM)) else {
                return false;
            };
            let outcome =
                if event == Event::Ready(slot) { RequestOutcome::Ready } else { RequestOutcome::Illegal };
            if outcome == RequestOutcome::Ready && request.is_taken {
                kernel.machine.memory.map(OWNER, HERE + PAGE, false);
            }
            let expected = if request.is_taken { "{}" } else { "ESRCH" };
            assert_eq!(reply(kernel, at(slot), request.number, outcome), expected);
            request.is_taken
        }
        Event::Turn(slot) => {
            let can = state(kernel, slot)
                .is_some_and(|(memory, stops)| memory.call.parked.goes_on() && stops.is_empty());
            if can {
                kernel.go_on(Slot::new(slot));
            }
            can
        }
        Event::Death(slot) => {
            let can = is_alive(kernel, slot);
            if can {
                kernel.exit(Slot::new(slot), 0);
            }
            can
        }
    }
}

fn check(kernel: &Kernel<Fake>, script: &[Event]) {
    let queue: Vec<Slot> = kernel.requests.queue.iter(&kernel.requests.links).collect();
    let mut numbers = Vec::new();
    for slot in &queue {
        let request =
            kernel.processes.process(*slot).memory.call.parked.request().expect("who is in the queue waits");
        assert!(!request.is_taken, "{script:?}");
        numbers.push(request.number);
    }
    assert!(numbers.is_sorted(), "first come, first served: {script:?}");
    let is_alive = |slot: u16| kernel.processes.get(Slot::new(slot)).is_some();
    for (slot, process) in kernel.processes.iter() {
        let memory = process.memory;
        assert_eq!(
            memory.call.parked.needs_vm(),
            process.stops.contains(Stops::MEMORY_REQUEST),
            "{script:?}"
        );
        if let Parked::ForRelease { held, .. } = memory.call.parked {
            let is_held = kernel.processes.get(held).is_some_and(Process::is_held);
            assert!(is_held && is_alive(VM), "nobody waits for what is not held: {script:?}");
        }
        if let Some(request) = memory.call.parked.request() {
            assert_eq!(queue.contains(&slot), !request.is_taken, "{script:?}");
            assert!(is_alive(VM) && is_alive(OWNER), "nobody waits for the dead: {script:?}");
        } else if slot.number() < 2 && !memory.call.parked.is_parked() && process.context.message.number != 0
        {
            let answer = answer(kernel, slot.number()).expect("who does not wait has an answer");
            let may_be: &[&str] = match (is_alive(VM), is_alive(OWNER)) {
                (true, true) => &["{}", "EFAULT"],
                _ => &["{}", "EFAULT", "EINVAL"],
            };
            assert!(may_be.contains(&answer.as_str()), "{answer} after {script:?}");
            if answer == "{}" {
                assert_eq!(kernel.machine.memory.peek(slot.number(), HERE + 7, 2), [7, 0], "{script:?}");
            }
        }
    }
}

fn explore(script: &mut Vec<Event>, depth: usize, runs: &mut u32) {
    for event in EVENTS {
        let mut kernel = four();
        for before in script.iter() {
            happen(&mut kernel, *before);
        }
        if !happen(&mut kernel, event) {
            continue;
        }
        *runs += 1;
        script.push(event);
        check(&kernel, script);
        if depth > 1 {
            explore(script, depth - 1, runs);
        }
        script.pop();
    }
}

#[test]
fn no_short_run_leaves_anybody_waiting_for_nothing() {
    let mut runs = 0;
    explore(&mut Vec::new(), 6, &mut runs);
    assert!(runs > 14_000, "only {runs} runs");
}

#[test]
fn the_death_of_a_party_ends_the_wait_with_the_error_that_the_dead_give() {
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum For {
        Vm,
        TakenRequest,
        Release,
    }
    for (waits, dies, expected) in [
        (For::Vm, OWNER, Some("EINVAL")),
        (For::TakenRequest, OWNER, Some("EINVAL")),
        (For::Release, OWNER, Some("EINVAL")),
        (For::Vm, VM, Some("EFAULT")),
        (For::TakenRequest, VM, Some("EFAULT")),
        (For::Release, VM, Some("EFAULT")),
        (For::Vm, 0, None),
        (For::TakenRequest, 0, None),
        (For::Release, 0, None),
    ] {
        let mut kernel = four();
        if waits == For::Release {
            hold(&mut kernel, true);
        }
        assert_eq!(ask(&mut kernel, 0, &take()), None);
        if waits == For::TakenRequest {
            get(&mut kernel);
        }
        kernel.exit(Slot::new(dies), 0);
        assert_eq!(answer(&kernel, 0).as_deref(), expected, "{dies} dies, waits for {waits:?}");
        if dies != VM {
            assert_eq!(reply(&mut kernel, at(0), 1, RequestOutcome::Ready), "ESRCH");
            assert_eq!(get(&mut kernel), "ENOENT");
        }
    }
}

#[test]
fn a_vm_that_starts_anew_is_asked_again_for_what_the_one_before_it_took() {
    let mut kernel = four();
    assert_eq!(ask(&mut kernel, 0, &take()), None);
    let expected = get(&mut kernel);
    assert_eq!(ask(&mut kernel, VM, &calls::state_clear_ipc_refs::Request {}).as_deref(), Some("{}"));
    assert_eq!(reply(&mut kernel, at(0), 1, RequestOutcome::Ready), "ESRCH", "it has yet to take it");
    assert_eq!(kernel.traps(VM, Primitive::Receive, Endpoint::ANY), Some(Ok(())));
    assert_eq!(get(&mut kernel), expected);
    assert_eq!(reply(&mut kernel, at(0), 1, RequestOutcome::Illegal), "{}");
    assert_eq!(answer(&kernel, 0).as_deref(), Some("EFAULT"));
}

#[test]
fn nobody_changes_the_registers_of_a_call_that_waits() {
    for goes_on in [false, true] {
        let mut kernel = four();
        kernel.processes.process_mut(Slot::new(1)).class = Callers::SERVICE.or(Callers::PM).or(Callers::RS);
        assert_eq!(ask(&mut kernel, 0, &take()), None);
        get(&mut kernel);
        if goes_on {
            assert_eq!(reply(&mut kernel, at(0), 1, RequestOutcome::Ready), "{}");
        }
        let sigsend = calls::sigsend::Request {
            process: at(0),
            signal: Signal::USR1,
            handler: HERE,
            restorer: HERE,
            stack: HERE + PAGE,
            mask: Signals::NONE,
        };
        let set = calls::set_machine_context::Request { process: at(0), address: HERE };
        let sigreturn = calls::sigreturn::Request { process: at(0), frame: HERE };
        assert_eq!(ask(&mut kernel, 1, &sigsend).as_deref(), Some("EBUSY"));
        assert_eq!(ask(&mut kernel, 1, &set).as_deref(), Some("EBUSY"));
        assert_eq!(ask(&mut kernel, 1, &sigreturn).as_deref(), Some("EBUSY"));
    }
}

#[test]
fn a_process_that_starts_anew_has_neither_call_nor_grants() {
    for goes_on in [false, true] {
        let mut kernel = four();
        kernel.processes.process_mut(Slot::new(1)).class = Callers::SERVICE.or(Callers::PM).or(Callers::RS);
        let grants = calls::setgrant::Request { address: HERE, entries: 1 };
        assert_eq!(ask(&mut kernel, 0, &grants).as_deref(), Some("{ first_sequence: 1 }"));
        assert_eq!(ask(&mut kernel, 0, &take()), None);
        if goes_on {
            get(&mut kernel);
            assert_eq!(reply(&mut kernel, at(0), 1, RequestOutcome::Ready), "{}");
        }
        let name = abi::Name::new("anew").unwrap();
        let exec = calls::exec::Request { process: at(0), instruction: HERE, stack: HERE, argument: 0, name };
        assert_eq!(ask(&mut kernel, 1, &exec).as_deref(), Some("{}"));
        let process = kernel.processes.process(Slot::new(0));
        assert!(process.memory.grants.is_none() && !process.is_in_a_call());
        assert!(kernel.can_run(0), "nothing that the old image asked for stops the new one");
        assert_eq!(get(&mut kernel), "ENOENT");
    }
}

#[test]
fn a_vm_that_becomes_another_keeps_the_call_that_waits_for_its_turn() {
    let mut kernel = four();
    kernel.processes.process_mut(Slot::new(VM)).memory.call.parked =
        Parked::ForTurn(super::Parties::default());
    kernel.forget_requests(Slot::new(VM));
    assert!(kernel.processes.process(Slot::new(VM)).memory.call.parked.goes_on());
}

/// A request of PM's that reaches a page that is missing, and what it is answered with when VM has brought it.
#[track_caller]
fn waits_for_a_page<C: abi::Call>(missing: u64, request: &C, expected: &str) -> Kernel<Fake> {
    let pm = boot::Process { class: Callers::SERVICE.or(Callers::PM), ..service(PM) };
    let vm = boot::Process { class: Callers::SERVICE.or(Callers::VM), ..service(VM) };
    let mut kernel = kernel(&[service(0), pm, vm, service(OWNER)]);
    kernel.stop(Slot::new(OWNER), Stops::SIGNAL_PENDING);
    // Illegal, out of memory, unreadable, and there.
    for (outcome, error) in [
        (RequestOutcome::Illegal, "EFAULT"),
        (RequestOutcome::OutOfMemory, "ENOMEM"),
        (RequestOutcome::Unreadable, "EIO"),
    ] {
        assert_eq!(ask(&mut kernel, PM, request), None, "{}", C::INFO.name);
        let (_, number) = asked(&mut kernel, missing);
        assert_eq!(reply(&mut kernel, at(PM), number, outcome), "{}");
        assert_eq!(answer(&kernel, PM).as_deref(), Some(error), "{}", C::INFO.name);
    }
    assert_eq!(ask(&mut kernel, PM, request), None, "{}", C::INFO.name);
    let (_, number) = asked(&mut kernel, missing);
    kernel.machine.memory.map(OWNER, missing & !(PAGE - 1), true);
    assert_eq!(reply(&mut kernel, at(PM), number, RequestOutcome::Ready), "{}");
    go_on(&mut kernel);
    assert_eq!(answer(&kernel, PM).as_deref(), Some(expected), "{}", C::INFO.name);
    kernel
}

/// What VM is asked for: whether to be written, and the number of the request.
#[track_caller]
fn asked(kernel: &mut Kernel<Fake>, start: u64) -> (bool, u64) {
    let request = get(kernel);
    let field = |name: &str| {
        let (_, rest) = request.split_once(&format!(" {name}: ")).expect(name);
        rest.split([',', ' ']).next().expect("a value").to_owned()
    };
    assert_eq!(field("start"), start.to_string(), "{request}");
    (field("is_written") == "true", field("request").parse().expect("a number"))
}

// row A2
#[test]
fn signals_contexts_and_tracers_wait_for_pages_too() {
    let process = at(OWNER);
    let word = calls::trace_write::Request { process, address: HERE, value: 7 };
    let kernel = waits_for_a_page(HERE, &word, "{}");
    assert_eq!(kernel.machine.memory.peek(OWNER, HERE, 8), 7_u64.to_le_bytes());
    waits_for_a_page(HERE, &calls::trace_read::Request { process, address: HERE }, "{ value: 0 }");
    waits_for_a_page(HERE, &calls::get_machine_context::Request { process, address: HERE }, "{}");
    waits_for_a_page(HERE, &calls::set_machine_context::Request { process, address: HERE }, "{}");
    // A page of zeros is no frame.
    waits_for_a_page(HERE, &calls::sigreturn::Request { process, frame: HERE }, "EINVAL");
    let (signal, mask) = (Signal::USR1, Signals::NONE);
    let stack = HERE + PAGE;
    let sigsend = calls::sigsend::Request { process, signal, handler: 0x4000, restorer: 0, stack, mask };
    let frame = (stack - abi::registers::frame::SIZE as u64) & !15;
    let expected = format!("{{ frame: {frame} }}");
    let kernel = waits_for_a_page(frame - 8, &sigsend, &expected);
    let registers = kernel.processes.process(Slot::new(OWNER)).context.general;
    assert_eq!(registers[abi::registers::Register::Rip as usize], 0x4000);
}
