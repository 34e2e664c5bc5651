//! The data store through its front door: messages in, messages out.

use crate::{KEYS_PER_OWNER, Store};
use abi::protocols::ds::{delete, dispatch, publish, retrieve};
use abi::{Call, Callers, Endpoint, Message, Name, describe};

const ONE: Endpoint = Endpoint::at_boot(10);
const OTHER: Endpoint = Endpoint::at_boot(11);

fn key(name: &str) -> Name {
    Name::new(name).unwrap()
}

fn publish(name: &str, value: u64, overwrite: bool) -> publish::Request {
    publish::Request { key: key(name), value, overwrite }
}

/// What the store answers, as a trace shows it.
fn ask(store: &mut Store, caller: Endpoint, call: &impl Call) -> String {
    let request = Message { source: caller, class: Callers::PROGRAM, ..call.to_message(0) };
    let answer = dispatch(store, &request).expect("the store answers at once");
    describe(&answer.message).to_string()
}

#[test]
fn a_published_value_can_be_retrieved_by_anybody() {
    let mut store = Store::default();
    assert_eq!(ask(&mut store, ONE, &publish("b", 2, false)), "ds.publish = {}");
    assert_eq!(ask(&mut store, ONE, &publish("a", 1, false)), "ds.publish = {}");
    assert_eq!(
        ask(&mut store, OTHER, &retrieve::Request { key: key("b") }),
        "ds.retrieve = { value: 2, owner: 10 }"
    );
    assert_eq!(ask(&mut store, OTHER, &retrieve::Request { key: key("c") }), "ds.retrieve = ENOENT");
}

#[test]
fn only_its_owner_changes_a_key() {
    let mut store = Store::default();
    assert_eq!(ask(&mut store, ONE, &publish("a", 1, true)), "ds.publish = {}");
    assert_eq!(ask(&mut store, ONE, &publish("a", 2, false)), "ds.publish = EEXIST");
    assert_eq!(ask(&mut store, OTHER, &publish("a", 3, false)), "ds.publish = EEXIST");
    assert_eq!(ask(&mut store, OTHER, &publish("a", 3, true)), "ds.publish = EPERM");
    assert_eq!(ask(&mut store, OTHER, &delete::Request { key: key("a") }), "ds.delete = EPERM");
    assert_eq!(ask(&mut store, ONE, &publish("a", 2, true)), "ds.publish = {}");
    assert_eq!(
        ask(&mut store, ONE, &retrieve::Request { key: key("a") }),
        "ds.retrieve = { value: 2, owner: 10 }"
    );
    assert_eq!(ask(&mut store, ONE, &delete::Request { key: key("a") }), "ds.delete = {}");
    assert_eq!(ask(&mut store, ONE, &delete::Request { key: key("a") }), "ds.delete = ENOENT");
}

#[test]
fn one_client_cannot_use_up_the_store() {
    let mut store = Store::default();
    for index in 0..KEYS_PER_OWNER {
        assert_eq!(ask(&mut store, ONE, &publish(&format!("key.{index}"), 0, false)), "ds.publish = {}");
    }
    assert_eq!(ask(&mut store, ONE, &publish("one.more", 0, false)), "ds.publish = ENOMEM");
    assert_eq!(ask(&mut store, ONE, &publish("key.7", 7, true)), "ds.publish = {}");
    assert_eq!(ask(&mut store, OTHER, &publish("one.more", 0, false)), "ds.publish = {}");
}
