use abi::protocols::tty;
use abi::{Answer, Errno, Ticket};

fn answer(ticket: Ticket<tty::read::Request>, outcome: Result<tty::write::Reply, Errno>) -> Answer {
    ticket.answer(outcome)
}

fn main() {}
