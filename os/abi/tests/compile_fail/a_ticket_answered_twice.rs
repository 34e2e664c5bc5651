use abi::protocols::tty::read::{Reply, Request};
use abi::{Answer, Bytes, Errno, Ticket};

fn answer_twice(ticket: Ticket<Request>) -> [Answer; 2] {
    [ticket.answer(Ok(Reply { bytes: Bytes::EMPTY })), ticket.answer(Err(Errno::EBUSY))]
}

fn main() {}
