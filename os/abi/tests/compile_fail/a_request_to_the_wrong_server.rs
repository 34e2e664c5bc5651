use abi::protocols::{address, tty};

fn main() {
    let _ = address::DS.request(&tty::read::Request { limit: 1 }, 0);
}
