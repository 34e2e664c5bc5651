#![deny(unused_must_use)]

use abi::Ticket;
use abi::protocols::tty::read::Request;

fn forget_the_first(waiting: &mut Vec<Ticket<Request>>) {
    waiting.remove(0);
}

fn main() {}
