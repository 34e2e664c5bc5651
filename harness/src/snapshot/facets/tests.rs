use super::*;
use crate::observe::What;
use abi::protocols::{ds, vm};
use abi::report::Named;
use abi::{Bytes, Call, Name};

fn name(name: &str) -> Name {
    Name::new(name).expect("a name")
}

/// What the kernel reports, as a record.
fn record(reports: impl IntoIterator<Item = Report>) -> Record {
    let mut record = Record::default();
    reports.into_iter().for_each(|report| record.push(What::Result(report)));
    record
}

fn named(slot: u16, process: &str) -> Report {
    Report::Named(Named { endpoint: Endpoint::at_boot(slot), process: name(process) })
}

fn sent(from: Endpoint, to: Endpoint, message: Message) -> Report {
    Report::Delivered(Delivered { to, message: Message { source: from, ..message } })
}

fn answer<C: Call>(request: &Message, reply: C::Reply) -> Message {
    abi::Ticket::<C>::of(request).answer(Ok(reply)).message
}

#[test]
fn a_conversation_has_names_and_answers_beside_their_requests() {
    let [ds, main] = [6, 16].map(Endpoint::at_boot);
    let request = ds::retrieve::Request { key: name("key") }.to_message(7);
    let reply = answer::<ds::retrieve::Request>(
        &Message { source: main, ..request },
        ds::retrieve::Reply { value: 4, owner: main },
    );
    let fault = vm::page_fault::Request { address: 0x1234_5678, access: abi::protocols::Access::Write };
    let notification = Notification { uptime_ns: 12345, pending: 1 }.to_message(Endpoint::CLOCK);
    let own = Message { number: 0x7f00, tag: 3, ..Message::zeroed() };
    let record = record([
        named(16, "the_test"),
        named(6, "ds"),
        sent(main, ds, request),
        sent(ds, main, reply),
        // Asked by two at a time, it answers the first one later.
        sent(main, ds, request),
        sent(Endpoint::CLOCK, ds, notification),
        sent(ds, main, reply),
        sent(main, ds, own),
        sent(main, ds, fault.to_message(0)),
        Report::Untold,
    ]);
    let expected = "\
main -> ds: ds.retrieve { key: \"key\" } = { value: 4, owner: main }
main -> ds: ds.retrieve { key: \"key\" }
clock -> ds: notification { uptime_ns: [TIME], pending: 1 }
ds -> main: ds.retrieve = { value: 4, owner: main }
main -> ds: unknown call 0x7f00, tag 3
main -> ds: vm.page_fault { address: [ADDRESS], access: Write }
[more messages than are reported]
";
    assert_eq!(Facet::Ipc.render(&record, Some("the_test")), expected);
}

#[test]
fn who_shares_a_name_is_told_apart() {
    let [one, two] = [1, 2].map(Endpoint::at_boot);
    let sent = sent(one, two, Message::zeroed());
    let reports = [named(1, "disk"), named(2, "net"), sent, named(2, "disk"), sent];
    let expected =
        "disk(1) -> net: unknown call 0x0000, tag 0\ndisk(1) -> disk(2): unknown call 0x0000, tag 0\n";
    assert_eq!(Facet::Ipc.render(&record(reports), None), expected);
}

#[test]
fn a_name_in_a_text_is_not_taken_for_an_endpoint() {
    let [one, two] = [1, 2].map(Endpoint::at_boot);
    let request = abi::protocols::tty::write::Request { bytes: Bytes::first_of(b"\" owner: 1 address: 2 ") };
    let reports = [named(1, "one"), sent(one, two, request.to_message(0))];
    let expected = "one -> 2: tty.write { bytes: \"\\\" owner: 1 address: 2 \" }\n";
    assert_eq!(Facet::Ipc.render(&record(reports), None), expected);
}

fn cost(process: &str, busy_ns: u64, messages: u32) -> Report {
    Report::Cost(Cost { process: name(process), busy_ns, messages, kernel_calls: 2 })
}

#[test]
fn costs_are_those_of_each_process() {
    let record = record([cost("the_test", 1842, 3), cost("kernel", 1_000_000, 0)]);
    let expected = "main: 1842 instructions, 3 messages, 2 kernel calls\nkernel: 1000000 instructions, 0 messages, 2 kernel calls\n";
    assert_eq!(Facet::Cost.render(&record, Some("the_test")), expected);
}

#[test]
fn a_cost_may_differ_by_little_and_a_number_of_messages_not_at_all() {
    let text = |busy_ns, messages| costs(&record([cost("ds", busy_ns, messages)]), None);
    let settled = |known, busy_ns, messages| {
        let text = text(busy_ns, messages);
        Facet::Cost.settle(text.clone(), Some(&costs(&record([cost("ds", known, 3)]), None))) != text
    };
    for (known, near, far) in [(10_000, [10_500, 9_500], [10_501, 9_499]), (1000, [1200, 800], [1201, 799])] {
        assert!(near.iter().all(|now| settled(known, *now, 3)), "{known}");
        assert!(far.iter().all(|now| !settled(known, *now, 3)), "{known}");
        assert!(!settled(known, known, 4));
    }
    // Of another facet every letter counts, and where nothing was reviewed there is nothing to be close to.
    assert_eq!(Facet::Ipc.settle(text(1001, 3), Some(&text(1000, 3))), text(1001, 3));
    assert_eq!(Facet::Cost.settle(text(1001, 3), None), text(1001, 3));
}

#[test]
fn a_process_more_or_less_is_no_small_difference() {
    let one = costs(&record([cost("ds", 1000, 1)]), None);
    let two = costs(&record([cost("ds", 1000, 1), cost("tty", 0, 1)]), None);
    assert_eq!(Facet::Cost.settle(two.clone(), Some(&one)), two);
    assert_eq!(Facet::Cost.settle(one.clone(), Some(&two)), one);
}

#[test]
fn what_changed_is_told_in_percent() {
    let before = costs(&record([cost("pm", 1842, 1), cost("ds", 5, 1), cost("gone", 1, 1)]), None);
    let now = costs(&record([cost("pm", 2310, 1), cost("ds", 5, 1), cost("new", 1, 1)]), None);
    assert_eq!(changes(&before, &now), "pm: 1842 -> 2310 instructions (+25.4 %)\n");
    let [before, now] = [[10, 20], [10, 30]]
        .map(|[one, two]| costs(&record([cost("crowd", one, 1), cost("crowd", two, 1)]), None));
    assert_eq!(changes(&before, &now), "crowd: 20 -> 30 instructions (+50.0 %)\n");
}
