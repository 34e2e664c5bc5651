//! What a declared protocol does: message in, message out.

use abi::protocols::{self, address};
use abi::{
    Answer, Bytes, Call, CallInfo, Callers, Endpoint, Errno, Message, Name, Protocol, REPLY, Ticket, To,
    Wire, describe, describe_with, notification,
};
use std::collections::BTreeSet;

abi::choices! {
    /// What a tool is good for.
    Condition {
        /// Work.
        Sound = 1,
        /// Scrap.
        Broken = 4,
    }
}

abi::protocol! {
    /// A shed that lends tools to its neighbours.
    shed = 0x7f00;

    /// Lends a tool that is there.
    1 lend { tool: Name, days: u16 } returns { shelf: u8, condition: Condition } fails [
        /// Somebody has it.
        EBUSY,
        ENOENT,
    ] from PROGRAM | SERVICE, repeatable;

    /// Waits until a tool is brought back.
    2 wait_for { tool: Name, sound: bool } suspends { by: Endpoint, note: Bytes<4> } fails [ETIMEDOUT] from PROGRAM;

    /// Locks the door.
    3 lock {} returns {} fails [] from PM | RS;

    /// Fills a message to its last byte, both ways.
    0xff store { pile: Bytes<111> } returns { pile: Bytes<111> } fails [] from SERVICE;
}

const NEIGHBOUR: Endpoint = Endpoint::at_boot(7);
const TAG: u32 = 0xdead_beef;
const SAW: Name = Name::new("saw").unwrap();

/// A shed that owns one saw, and counts what it is asked.
#[derive(Default)]
struct Shed {
    calls: usize,
    waiting: Vec<Ticket<shed::wait_for::Request>>,
}

impl shed::Server for Shed {
    fn lend(&mut self, _: Endpoint, request: shed::lend::Request) -> Result<shed::lend::Reply, Errno> {
        self.calls += 1;
        if request.tool != SAW {
            return Err(Errno::ENOENT);
        }
        Ok(shed::lend::Reply { shelf: 3, condition: Condition::Broken })
    }

    fn wait_for(
        &mut self,
        ticket: Ticket<shed::wait_for::Request>,
        request: shed::wait_for::Request,
    ) -> Option<Answer> {
        self.calls += 1;
        if request.sound {
            return Some(ticket.answer(Err(Errno::ETIMEDOUT)));
        }
        self.waiting.push(ticket);
        None
    }

    fn lock(&mut self, caller: Endpoint, _: shed::lock::Request) -> Result<shed::lock::Reply, Errno> {
        self.calls += 1;
        assert_eq!(caller, NEIGHBOUR);
        Ok(shed::lock::Reply {})
    }

    fn store(&mut self, _: Endpoint, request: shed::store::Request) -> Result<shed::store::Reply, Errno> {
        self.calls += 1;
        Ok(shed::store::Reply { pile: request.pile })
    }
}

/// The request as the kernel delivers it.
fn delivered(class: Callers, call: &impl Call) -> Message {
    Message { source: NEIGHBOUR, class, ..call.to_message(TAG) }
}

fn answer(message: &Message) -> Message {
    shed::dispatch(&mut Shed::default(), message).expect("the shed answers this at once").message
}

fn lend(tool: Name) -> Message {
    delivered(Callers::PROGRAM, &shed::lend::Request { tool, days: 2 })
}

fn wait_for(tool: Name) -> Message {
    delivered(Callers::PROGRAM, &shed::wait_for::Request { tool, sound: false })
}

#[test]
fn a_call_that_returns_is_answered_at_once() {
    let reply = answer(&lend(SAW));
    assert_eq!(
        shed::lend::Request::outcome(&reply),
        Ok(shed::lend::Reply { shelf: 3, condition: Condition::Broken })
    );
    assert!(reply.is_reply());
    assert_eq!((reply.number, reply.tag), (0x7f01, TAG));
}

#[test]
fn an_error_of_the_server_reaches_the_caller_without_data() {
    let reply = answer(&lend(Name::new("axe").unwrap()));
    assert_eq!(shed::lend::Request::outcome(&reply), Err(Errno::ENOENT));
    assert_eq!(reply.status, -2);
    assert_eq!(reply.payload, Message::zeroed().payload);
}

#[test]
fn a_suspended_call_is_answered_later_with_the_reply_of_its_own() {
    let mut server = Shed::default();
    assert_eq!(shed::dispatch(&mut server, &wait_for(SAW)), None);
    assert!(shed::dispatch(&mut server, &lend(SAW)).is_some());

    let ticket = server.waiting.remove(0);
    assert_eq!(ticket.to, NEIGHBOUR);
    let brought = shed::wait_for::Reply { by: Endpoint::at_boot(9), note: Bytes::first_of(b"ty") };
    let reply = ticket.answer(Ok(brought)).message;
    assert_eq!(shed::wait_for::Request::outcome(&reply), Ok(brought));
    assert_eq!((reply.number, reply.tag), (0x7f02, TAG));
}

#[test]
fn a_call_that_may_suspend_can_be_answered_at_once() {
    let request = shed::wait_for::Request { tool: SAW, sound: true };
    let reply = answer(&delivered(Callers::PROGRAM, &request));
    assert_eq!(shed::wait_for::Request::outcome(&reply), Err(Errno::ETIMEDOUT));
}

#[test]
fn a_caller_of_the_wrong_class_is_refused_before_the_server_sees_the_call() {
    for class in [Callers(0), Callers::PROGRAM, Callers::SERVICE, Callers::VFS, Callers::VM, Callers::KERNEL]
    {
        let mut server = Shed::default();
        let reply = shed::dispatch(&mut server, &delivered(class, &shed::lock::Request {})).unwrap().message;
        assert_eq!(shed::lock::Request::outcome(&reply), Err(Errno::EPERM), "{class:?}");
        assert_eq!((server.calls, reply.tag), (0, TAG), "{class:?}");
    }
    for class in [Callers::PM, Callers::RS, Callers::PM.or(Callers::SERVICE)] {
        let reply = answer(&delivered(class, &shed::lock::Request {}));
        assert_eq!(shed::lock::Request::outcome(&reply), Ok(shed::lock::Reply {}), "{class:?}");
    }
}

#[test]
fn the_wrong_class_learns_nothing_about_the_form_of_a_request() {
    let mut message = Message { class: Callers::RS, ..wait_for(SAW) };
    message.payload[48] = 2;
    assert_eq!(shed::wait_for::Request::outcome(&answer(&message)), Err(Errno::EPERM));
}

#[test]
fn bytes_that_are_no_value_of_their_type_are_refused_before_the_server_sees_them() {
    // A tool without a name, a name with a space, one with bytes behind its end, and a bool of 2.
    for (offset, byte) in [(0, 0), (1, b' '), (40, b'x'), (48, 2)] {
        let mut server = Shed::default();
        let mut message = wait_for(SAW);
        message.payload[offset] = byte;
        let reply = shed::dispatch(&mut server, &message).unwrap().message;
        assert_eq!(shed::wait_for::Request::outcome(&reply), Err(Errno::EBADMSG), "byte {offset}");
        assert_eq!((server.calls, reply.tag), (0, TAG), "byte {offset}");
    }
}

#[test]
fn a_message_that_says_it_is_a_reply_is_no_request() {
    let mut server = Shed::default();
    let message = Message { flags: REPLY, ..lend(SAW) };
    let reply = shed::dispatch(&mut server, &message).unwrap().message;
    assert_eq!(shed::lend::Request::outcome(&reply), Err(Errno::EBADMSG));
    assert_eq!(server.calls, 0);
}

#[test]
fn an_unknown_number_is_answered_under_that_number() {
    for number in [0, 1, 0x7f00, 0x7f04, 0x7f81, 0x8001, notification::NUMBER, u16::MAX] {
        let mut server = Shed::default();
        let reply = shed::dispatch(&mut server, &Message { number, ..lend(SAW) }).unwrap().message;
        let expected = Message { number, flags: REPLY, tag: TAG, status: -38, ..Message::zeroed() };
        assert_eq!((reply, server.calls), (expected, 0));
    }
}

#[test]
fn a_call_that_this_server_lacks_fails_for_who_asked() {
    let unknown = Message { number: 0x7f01, ..answer(&Message { number: 0x7f44, ..lend(SAW) }) };
    assert_eq!(shed::lend::Request::outcome(&unknown), Err(Errno::ENOSYS));
}

#[test]
fn all_of_a_message_that_the_call_does_not_use_is_zero() {
    let request = lend(SAW);
    assert_eq!(shed::lend::Request::SIZE, 50);
    assert_eq!(request.payload[..3], *b"saw");
    assert_eq!(request.payload[48..50], [2, 0]);
    assert!(request.payload[50..].iter().all(|byte| *byte == 0));
    assert_eq!((request.flags, request.status), (0, 0));

    let reply = answer(&request);
    assert_eq!(reply.payload[..2], [3, 4]);
    assert!(reply.payload[2..].iter().all(|byte| *byte == 0));
    assert_eq!((reply.source, reply.class, reply.status), (Endpoint::NONE, Callers(0), 0));
}

#[test]
fn a_call_can_fill_its_message_to_the_last_byte() {
    let pile = Bytes::first_of(&[0xa5; 111]);
    let request = delivered(Callers::SERVICE, &shed::store::Request { pile });
    let reply = answer(&request);
    assert_eq!((request.payload[111], reply.payload[111]), (0xa5, 0xa5));
    assert_eq!(shed::store::Request::outcome(&reply), Ok(shed::store::Reply { pile }));
}

#[test]
fn what_is_no_answer_to_the_call_is_refused() {
    let reply = answer(&lend(SAW));
    assert_eq!(shed::lock::Request::outcome(&reply), Err(Errno::EBADMSG), "the reply of another call");
    assert_eq!(shed::lend::Request::outcome(&lend(SAW)), Err(Errno::EBADMSG), "the request itself");
    assert_eq!(shed::lend::Request::outcome(&Message::zeroed()), Err(Errno::EBADMSG), "nothing");

    let mut malformed = reply;
    malformed.payload[1] = 2;
    assert_eq!(shed::lend::Request::outcome(&malformed), Err(Errno::EBADMSG), "a condition that is none");
}

#[test]
fn every_status_but_zero_is_an_error() {
    let outcome = |status| shed::lend::Request::outcome(&Message { status, ..answer(&lend(SAW)) });
    assert!(outcome(0).is_ok());
    for error in Errno::ALL {
        assert_eq!(outcome(error.to_status()), Err(*error));
    }
    for status in [1, 2, i32::MAX, -255, -256, -258, i32::MIN + 1, i32::MIN] {
        assert_eq!(outcome(status), Err(Errno::EBADMSG), "{status}");
    }
}

#[test]
fn a_typed_address_builds_the_request_that_its_server_takes() {
    let address: To<shed::Service> = To::new(Endpoint::at_boot(20));
    let call = shed::lend::Request { tool: SAW, days: 2 };
    assert_eq!(address.request(&call, TAG), call.to_message(TAG));
    let copy = address;
    assert_eq!(copy.endpoint, address.endpoint);
}

#[test]
#[cfg(debug_assertions)]
#[should_panic(expected = "shed.lock fails with ENOMEM")]
fn a_server_that_fails_with_an_undeclared_error_is_told_so() {
    let request = delivered(Callers::PM, &shed::lock::Request {});
    let _ = Ticket::<shed::lock::Request>::of(&request).answer(Err(Errno::ENOMEM));
}

#[test]
fn the_table_says_what_the_declaration_says() {
    let line = |call: &CallInfo| {
        format!(
            "{:#06x} {} {} fails {:?} from {:?}, suspends {}, repeatable {}",
            call.number, call.name, call.signature, call.errors, call.from, call.suspends, call.repeatable
        )
    };
    assert_eq!(shed::PROTOCOL.name, "shed");
    assert_eq!(
        shed::PROTOCOL.calls.iter().map(line).collect::<Vec<_>>(),
        [
            "0x7f01 shed.lend { tool: Name, days: u16 } returns { shelf: u8, condition: Condition } \
             fails [EBUSY, ENOENT] from program|service, suspends false, repeatable true",
            "0x7f02 shed.wait_for { tool: Name, sound: bool } suspends { by: Endpoint, note: Bytes<4> } \
             fails [ETIMEDOUT] from program, suspends true, repeatable false",
            "0x7f03 shed.lock {} returns {} fails [] from rs|pm, suspends false, repeatable false",
            "0x7fff shed.store { pile: Bytes<111> } returns { pile: Bytes<111> } \
             fails [] from service, suspends false, repeatable false",
        ]
    );
    assert_eq!(shed::PROTOCOL.find(0x7fff).unwrap().bit(), 0);
    assert_eq!(shed::PROTOCOL.find(0x7f03).unwrap().bit(), 1 << 3);
    assert!(shed::PROTOCOL.find(0x7f04).is_none());
}

#[track_caller]
fn check_described(message: &Message, expected: &str) {
    assert_eq!(describe_with(message, &[shed::PROTOCOL]).to_string(), expected);
}

#[test]
fn a_trace_reads_like_a_conversation() {
    let axe = lend(Name::new("axe").unwrap());
    check_described(&lend(SAW), r#"shed.lend { tool: "saw", days: 2 }"#);
    check_described(&answer(&lend(SAW)), "shed.lend = { shelf: 3, condition: Broken }");
    check_described(&axe, r#"shed.lend { tool: "axe", days: 2 }"#);
    check_described(&answer(&axe), "shed.lend = ENOENT");
    check_described(&wait_for(SAW), r#"shed.wait_for { tool: "saw", sound: false }"#);

    let brought =
        shed::wait_for::Reply { by: Endpoint::new(9, 4).unwrap(), note: Bytes::first_of(b"a\n\"\xff") };
    let reply = Ticket::<shed::wait_for::Request>::of(&wait_for(SAW)).answer(Ok(brought)).message;
    check_described(&reply, r#"shed.wait_for = { by: 9.4, note: "a\n\"\xff" }"#);
}

#[test]
fn a_call_without_fields_is_described_by_empty_braces() {
    let lock = delivered(Callers::PM, &shed::lock::Request {});
    check_described(&lock, "shed.lock {}");
    check_described(&answer(&lock), "shed.lock = {}");
}

#[test]
fn a_malformed_request_is_described_by_the_bytes_of_its_call() {
    let mut message = wait_for(SAW);
    message.payload[48] = 7;
    let bytes: Vec<String> = message.payload[..49].iter().map(|byte| format!("{byte:02x}")).collect();
    check_described(&message, &format!("shed.wait_for malformed [{}]", bytes.join(", ")));
    check_described(&answer(&message), "shed.wait_for = EBADMSG");
}

#[test]
fn a_reply_that_cannot_be_read_is_described_as_what_its_caller_gets() {
    let reply = answer(&lend(SAW));
    check_described(&Message { status: 5, ..reply }, "shed.lend = EBADMSG");
    check_described(&Message { status: -212, ..reply }, "shed.lend = EBADREQUEST");
}

#[test]
fn a_notification_is_described_with_or_without_protocols() {
    let message = notification::Notification { uptime_ns: 12, pending: 5 }.to_message(Endpoint::HARDWARE);
    check_described(&message, "notification { uptime_ns: 12, pending: 5 }");
    assert_eq!(describe_with(&message, &[]).to_string(), "notification { uptime_ns: 12, pending: 5 }");
    assert_eq!(describe(&message).to_string(), "notification { uptime_ns: 12, pending: 5 }");
}

#[test]
fn an_unknown_number_is_described_by_itself() {
    check_described(&Message { number: 0x7f04, ..lend(SAW) }, "unknown call 0x7f04");
    check_described(&Message::zeroed(), "unknown call 0x0000");
    assert_eq!(describe(&lend(SAW)).to_string(), "unknown call 0x7f01", "the system has no shed");
}

#[test]
fn the_calls_of_the_system_are_described_without_naming_their_protocols() {
    let publish = protocols::ds::publish::Request { key: SAW, value: 7, overwrite: true };
    let read = protocols::tty::read::Request { limit: 3 };
    assert_eq!(
        describe(&publish.to_message(0)).to_string(),
        r#"ds.publish { key: "saw", value: 7, overwrite: true }"#
    );
    assert_eq!(describe(&read.to_message(0)).to_string(), "tty.read { limit: 3 }");
}

#[test]
fn a_notification_is_read_from_the_message_that_tells_of_it() {
    let told = notification::Notification { uptime_ns: u64::MAX, pending: 1 << 63 };
    let message = told.to_message(Endpoint::CLOCK);
    assert_eq!((message.source, message.number), (Endpoint::CLOCK, notification::NUMBER));
    assert_eq!(notification::Notification::of(&message), Some(told));
    assert_eq!(notification::Notification::of(&lend(SAW)), None);
}

fn calls() -> impl Iterator<Item = (&'static Protocol, &'static CallInfo)> {
    protocols::ALL.iter().flat_map(|protocol| protocol.calls.iter().map(move |call| (protocol, call)))
}

#[test]
fn the_names_and_numbers_of_the_system_are_unique() {
    let count = calls().count();
    assert_eq!(calls().map(|(_, call)| call.name).collect::<BTreeSet<_>>().len(), count);
    assert_eq!(calls().map(|(_, call)| call.number).collect::<BTreeSet<_>>().len(), count);
    let names: BTreeSet<_> = protocols::ALL.iter().map(|protocol| protocol.name).collect();
    assert_eq!(names.len(), protocols::ALL.len());
}

#[test]
fn the_calls_of_a_protocol_share_the_upper_half_of_their_numbers_with_no_other() {
    let mut taken = BTreeSet::from([notification::NUMBER >> 8]);
    for protocol in protocols::ALL {
        let uppers: BTreeSet<_> = protocol.calls.iter().map(|call| call.number >> 8).collect();
        assert_eq!(uppers.len(), 1, "{} strays from its range", protocol.name);
        assert!(uppers.is_disjoint(&taken), "{} uses the range of another", protocol.name);
        taken.extend(uppers);
        for call in protocol.calls {
            assert_ne!(call.number & 0xff, 0, "{} has the number of its protocol", call.name);
        }
    }
}

#[test]
fn each_call_of_the_system_is_found_by_its_number() {
    for (protocol, call) in calls() {
        let found = protocols::find(call.number).unwrap();
        assert_eq!(found.name, call.name);
        assert_eq!(protocol.find(call.number).unwrap().name, call.name);
        assert!(
            call.name.strip_prefix(protocol.name).is_some_and(|rest| rest.starts_with('.')),
            "{}",
            call.name
        );
    }
    for number in [0, notification::NUMBER, u16::MAX] {
        assert!(protocols::find(number).is_none());
    }
}

#[test]
fn each_call_of_the_system_has_callers_and_declares_only_errors_of_its_own() {
    for (_, call) in calls() {
        assert_ne!(call.from, Callers(0), "nobody may call {}", call.name);
        for (index, error) in call.errors.iter().enumerate() {
            assert!(!call.errors[..index].contains(error), "{} declares {error:?} twice", call.name);
            assert!(!CallInfo::COMMON_ERRORS.contains(error), "{} declares {error:?}", call.name);
            assert!(call.may_fail_with(*error));
        }
        assert!(CallInfo::COMMON_ERRORS.iter().all(|error| call.may_fail_with(*error)));
    }
}

#[test]
fn a_kernel_call_has_a_bit_in_the_mask_of_a_manifest() {
    let mask = protocols::kernel::PROTOCOL.calls.iter().fold(0, |mask: u128, call| mask | call.bit());
    assert_eq!(mask.count_ones() as usize, protocols::kernel::PROTOCOL.calls.len());
}

#[test]
fn no_two_servers_have_one_address() {
    let endpoints: BTreeSet<_> = address::ALL.iter().map(|(_, endpoint)| *endpoint).collect();
    assert_eq!(endpoints.len(), address::ALL.len());
    for (name, _) in address::ALL {
        assert!(protocols::ALL.iter().any(|protocol| protocol.name == *name), "{name} speaks no protocol");
    }
}
