//! What a process is doing, in words.

use abi::protocols::ds;
use abi::state::{State, Stops, Wait};
use abi::{Call, Endpoint, Name};
use core::fmt::{Display, Formatter, Result};

fn names(endpoint: Endpoint, f: &mut Formatter<'_>) -> Result {
    if endpoint == Endpoint::at_boot(6) { f.write_str("ds") } else { endpoint.fmt(f) }
}

fn words(wait: Wait<'_>, stops: Stops) -> String {
    State { wait, stops }.named(&names).to_string()
}

#[test]
fn a_state_names_partner_and_message() {
    let key = Name::new("answer").expect("a name");
    let request = ds::publish::Request { key, value: 42, overwrite: false }.to_message(0);
    let (to, message) = (Endpoint::at_boot(6), Some(&request));
    let publish = "ds.publish { key: \"answer\", value: 42, overwrite: false }";
    assert_eq!(words(Wait::Nobody, Stops::NONE), "runnable");
    assert_eq!(words(Wait::Receiving { from: Endpoint::ANY }, Stops::NONE), "receiving from any");
    assert_eq!(words(Wait::SendReceiving { to, message }, Stops::NONE), format!("sendrec to ds, {publish}"));
    assert_eq!(
        words(Wait::Sending { to: Endpoint::at_boot(9), message: None }, Stops::PAGE_FAULT),
        "sending to 9; page fault"
    );
}

#[test]
fn reasons_that_nobody_knows_are_shown() {
    let stops = Stops::from_bits(1 << 15).with(Stops::NO_QUANTUM);
    assert_eq!(words(Wait::Nobody, stops), "out of quantum, unknown reason 0x8000");
}
