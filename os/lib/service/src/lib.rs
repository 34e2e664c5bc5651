//! The service framework (SEF): the loop that every service runs.
//!
//! A service implements [`Service`] and calls [`run`] from its `main`. The framework receives,
//! tells notifications from requests, and sends the answers; a service never receives by itself,
//! so what the system has to say to a service always finds the framework listening.
#![no_std]
#![forbid(unsafe_code)]

use abi::ipc::{Primitive, Status};
use abi::notification::Notification;
use abi::protocols::{Level, kernel};
use abi::{Answer, Callers, Endpoint, Errno, Message, Name};
use core::fmt::Write;

pub use sys::{call, kernel_call};

/// Who a service is.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// Its endpoint.
    pub endpoint: Endpoint,
    /// Its name.
    pub name: Name,
    /// Its class.
    pub class: Callers,
}

/// A message that means nothing to the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped;

/// What a service does.
pub trait Service {
    /// Carries out a request: usually its protocol's `dispatch`. `None` if it is answered later,
    /// by [`reply`].
    fn request(&mut self, message: &Message) -> Option<Answer>;

    /// Learns of a message that was sent asynchronously, by a process or, if
    /// [`is_from_kernel`](Status::is_from_kernel), by the kernel on behalf of one, as page faults are. Nobody waits
    /// for an answer.
    ///
    /// # Errors
    /// If it means nothing to the service.
    fn asynchronous(&mut self, message: &Message, status: Status) -> Result<(), Dropped> {
        let _ = (message, status);
        Err(Dropped)
    }

    /// Learns of a notification: an interrupt, an alarm, another service's event.
    fn notification(&mut self, source: Endpoint, notification: Notification) {
        let _ = (source, notification);
    }
}

/// Starts a service and runs it for ever.
///
/// # Panics
/// If the service can't start: nothing of it would work.
pub fn run<S: Service>(start: impl FnOnce(Identity) -> Result<S, Errno>) -> ! {
    let identity = identity().expect("every service may ask who it is");
    let mut service = start(identity).unwrap_or_else(|error| panic!("cannot start: {error}"));
    log(Level::Info, format_args!("started"));
    let mut next = None;
    let mut dropped = 0;
    loop {
        let (message, status) = match next.take() {
            None => sys::receive(Endpoint::ANY),
            Some(Answer { to, mut message }) => match sys::reply_receive(to, &mut message) {
                // Who asked has lost its leave to talk to us meanwhile, or we ours.
                Err(Errno::ECALLDENIED) => sys::receive(Endpoint::ANY),
                status => status.map(|status| (message, status)),
            },
        }
        .expect("every service may receive");
        match status.primitive() {
            Some(Primitive::Notify) if status.is_from_kernel() => {
                if let Some(notification) = Notification::of(&message) {
                    service.notification(message.source, notification);
                }
            }
            Some(Primitive::SendRec) => {
                next = service.request(&message);
            }
            Some(Primitive::SendA) if service.asynchronous(&message, status).is_ok() => {}
            Some(Primitive::Send)
                if status.is_from_kernel() && service.asynchronous(&message, status).is_ok() => {}
            // Who sends without waiting for an answer would make us wait to give one: nothing
            // of ours is sent like that, so it is dropped.
            _ => {
                dropped += 1;
                log_dropped(dropped, &message);
            }
        }
    }
}

/// Tells of messages that nobody wanted, ever less often: they must not fill the log.
fn log_dropped(count: u64, last: &Message) {
    if count.is_power_of_two() {
        log(
            Level::Error,
            format_args!("dropped message {count} that expects no answer, from {}", last.source),
        );
    }
}

/// Asks the kernel who the caller is.
///
/// # Errors
/// `ECALLDENIED` if the caller may not even ask that.
pub fn identity() -> Result<Identity, Errno> {
    let kernel::whoami::Reply { endpoint, class, name } = kernel_call(&kernel::whoami::Request {})?;
    Ok(Identity { endpoint, class, name })
}

/// Sends an answer to a process that waits for it in `sendrec`.
///
/// One that has died meanwhile, or was told to wait no longer, gets none: it never keeps the service waiting.
pub fn reply(answer: Answer) {
    let _ = sys::send_nb(answer.to, &answer.message);
}

/// Writes a line to the kernel's log.
pub fn log(level: Level, text: core::fmt::Arguments<'_>) {
    let _ = sys::LogLine(level).write_fmt(text);
}
