//! One declaration per call, from which both sides and the host's decoder are made.

use crate::{Callers, Endpoint, Errno, Message, REPLY, Wire};
use core::{fmt, marker::PhantomData};

/// A request type of some protocol.
pub trait Call: Wire + fmt::Debug {
    /// The protocol it belongs to.
    type Service;
    /// What it is answered with.
    type Reply: Wire + fmt::Debug;
    /// What tools know about it.
    const INFO: CallInfo;

    /// Builds the request message.
    fn to_message(&self, tag: u32) -> Message {
        let mut message = Message { number: Self::INFO.number, tag, ..Message::zeroed() };
        self.put(&mut message.payload[..Self::SIZE]);
        message
    }

    /// Reads the answer to this call.
    ///
    /// # Errors
    /// The one that the server answered with; [`Errno::EBADMSG`] if `reply` is no answer to
    /// this call, or its fields are no values of their types.
    fn outcome(reply: &Message) -> Result<Self::Reply, Errno> {
        if reply.number != Self::INFO.number || !reply.is_reply() {
            return Err(Errno::EBADMSG);
        }
        match reply.status {
            0 => Self::Reply::get(&reply.payload[..Self::Reply::SIZE]).ok_or(Errno::EBADMSG),
            status => Err(Errno::from_status(status)),
        }
    }
}

/// The address of a server that speaks one protocol.
///
/// A request of another protocol can't be built for it:
/// the compiler refuses `To<ds::Service>::request(&tty::write::Request { .. })`.
pub struct To<S> {
    /// Where the server runs now.
    pub endpoint: Endpoint,
    service: PhantomData<fn(S)>,
}

impl<S> To<S> {
    /// Addresses a server.
    #[must_use]
    pub const fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, service: PhantomData }
    }

    /// Builds a request that this server understands.
    #[must_use]
    pub fn request<C: Call<Service = S>>(&self, call: &C, tag: u32) -> Message {
        call.to_message(tag)
    }
}

impl<S> Clone for To<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for To<S> {}

/// The duty to answer one call: once, and with the right type.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "the caller stays blocked until its ticket is answered"]
pub struct Ticket<C> {
    /// Who waits for the answer.
    pub to: Endpoint,
    tag: u32,
    call: PhantomData<fn(C)>,
}

impl<C: Call> Ticket<C> {
    /// Takes on the duty. Only the dispatcher of a protocol calls this, once per request.
    #[doc(hidden)]
    pub const fn of(request: &Message) -> Self {
        Self { to: request.source, tag: request.tag, call: PhantomData }
    }

    /// Builds the answer.
    pub fn answer(self, outcome: Result<C::Reply, Errno>) -> Answer {
        let mut message =
            Message { number: C::INFO.number, flags: REPLY, tag: self.tag, ..Message::zeroed() };
        match outcome {
            Ok(reply) => reply.put(&mut message.payload[..C::Reply::SIZE]),
            Err(error) => {
                debug_assert!(C::INFO.may_fail_with(error), "{} fails with {error:?}", C::INFO.name);
                message.status = error.to_status();
            }
        }
        Answer { to: self.to, message }
    }
}

/// A reply on its way: the message, and who waits for it.
///
/// Only a ticket makes one, so it can't reach anybody but the one who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the caller stays blocked until its answer is sent"]
pub struct Answer {
    /// Who waits.
    pub to: Endpoint,
    /// What it gets.
    pub message: Message,
}

impl Answer {
    /// Refuses a message that is no request of the protocol, so that there is no ticket for it.
    pub fn refusal(request: &Message, error: Errno) -> Self {
        let message = Message {
            number: request.number,
            flags: REPLY,
            tag: request.tag,
            status: error.to_status(),
            ..Message::zeroed()
        };
        Self { to: request.source, message }
    }
}

/// What tools know about a call.
#[derive(Clone, Copy)]
pub struct CallInfo {
    /// Its number, unique in the system.
    pub number: u16,
    /// Its name, as `protocol.call`.
    pub name: &'static str,
    /// Its fields, as they were declared.
    pub signature: &'static str,
    /// Who may make it.
    pub from: Callers,
    /// The errors of its own, besides those of every call.
    pub errors: &'static [Errno],
    /// Whether the answer may come later than the next request.
    pub suspends: bool,
    /// Whether a restarted server may be sent it again.
    pub repeatable: bool,
    #[doc(hidden)]
    pub print: fn(&Message, &mut fmt::Formatter<'_>) -> fmt::Result,
}

impl CallInfo {
    /// Errors that any call can fail with: the wrong caller, a malformed request.
    pub const COMMON_ERRORS: [Errno; 2] = [Errno::EPERM, Errno::EBADMSG];

    /// The call's bit in a mask of its protocol's calls; zero if its number is too high for one.
    #[must_use]
    pub const fn bit(&self) -> u128 {
        mask_bit(self.number)
    }

    /// Tells whether the call is declared to fail with `error`.
    #[must_use]
    pub fn may_fail_with(&self, error: Errno) -> bool {
        Self::COMMON_ERRORS.contains(&error) || self.errors.contains(&error)
    }
}

/// What tools know about a protocol.
#[derive(Clone, Copy)]
pub struct Protocol {
    /// Its name.
    pub name: &'static str,
    /// Its calls, in order of declaration.
    pub calls: &'static [CallInfo],
}

impl Protocol {
    /// Finds a call by its number.
    #[must_use]
    pub fn find(&self, number: u16) -> Option<&'static CallInfo> {
        self.calls.iter().find(|call| call.number == number)
    }
}

/// The bit of a call of that number in a mask of its protocol's calls: protocols start at
/// multiples of 256, and the first 128 numbers have a bit.
#[must_use]
#[inline]
pub const fn mask_bit(number: u16) -> u128 {
    let index = number as u32 & 0xff;
    if index < u128::BITS { 1 << index } else { 0 }
}

/// Tells whether no two calls share a number; evaluated at compile time.
#[doc(hidden)]
#[must_use]
pub const fn has_unique_numbers(calls: &[CallInfo]) -> bool {
    let mut a = 0;
    while a < calls.len() {
        let mut b = a + 1;
        while b < calls.len() {
            if calls[a].number == calls[b].number {
                return false;
            }
            b += 1;
        }
        a += 1;
    }
    true
}

/// Reads a request. A message that says it is a reply is none: traces would show it as one.
#[doc(hidden)]
#[must_use]
pub fn decode<C: Call>(message: &Message) -> Option<C> {
    if message.is_reply() { None } else { C::get(&message.payload[..C::SIZE]) }
}

#[doc(hidden)]
pub fn print<C: Call>(message: &Message, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let name = C::INFO.name;
    if message.is_reply() {
        return match C::outcome(message) {
            Ok(reply) => write!(f, "{name} = {}", Fields(&reply)),
            Err(error) => write!(f, "{name} = {error:?}"),
        };
    }
    match decode::<C>(message) {
        Some(request) => write!(f, "{name} {}", Fields(&request)),
        None => write!(f, "{name} malformed {:02x?}", &message.payload[..C::SIZE]),
    }
}

/// Shows a request or reply without the name of its type: `{ key: "a", value: 1 }`.
struct Fields<'a, T>(&'a T);

impl<T: fmt::Debug> fmt::Display for Fields<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Passes on what follows the first space. The derived `Debug` writes the name of the
        /// type and that space in two pieces.
        struct SkipWord<'a, 'b>(&'a mut fmt::Formatter<'b>, bool);
        impl fmt::Write for SkipWord<'_, '_> {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                if self.1 {
                    return self.0.write_str(text);
                }
                let Some((_, rest)) = text.split_once(' ') else { return Ok(()) };
                self.1 = true;
                self.0.write_str(rest)
            }
        }
        if size_of::<T>() == 0 {
            return f.write_str("{}");
        }
        let mut rest = SkipWord(f, false);
        fmt::write(&mut rest, format_args!("{:?}", self.0))
    }
}

/// A message, shown as the call it is. See [`describe`].
#[derive(Clone, Copy)]
pub struct Described<'a> {
    message: &'a Message,
    protocols: &'a [Protocol],
}

impl fmt::Display for Described<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.message.number;
        if let Some(notification) = crate::notification::Notification::of(self.message) {
            return write!(f, "notification {}", Fields(&notification));
        }
        match self.protocols.iter().flat_map(|protocol| protocol.calls).find(|call| call.number == number) {
            Some(call) => (call.print)(self.message, f),
            None => write!(f, "unknown call {number:#06x}"),
        }
    }
}

/// Shows a message as the call it is, for traces and test failures.
///
/// Each message can be read alone: a reply names its call, and carries its status apart from
/// its data.
#[must_use]
pub fn describe(message: &Message) -> Described<'_> {
    describe_with(message, crate::protocols::ALL)
}

/// The same with other protocols than the system's, such as a test's own.
#[must_use]
pub const fn describe_with<'a>(message: &'a Message, protocols: &'a [Protocol]) -> Described<'a> {
    Described { message, protocols }
}

/// Declares the calls of one protocol.
///
/// ```
/// abi::protocol! {
///     /// Counts.
///     counter = 0x7f00;
///
///     /// Adds to the count.
///     1 add { amount: u32 } returns { count: u64 } fails [EOVERFLOW] from PROGRAM | SERVICE;
///
///     /// Waits until the count is reached. May be asked again of a restarted counter.
///     2 wait_for { count: u64 } suspends {} fails [] from SERVICE, repeatable;
/// }
/// # fn main() {
/// let request = counter::add::Request { amount: 3 };
/// assert_eq!(abi::Call::to_message(&request, 0).number, 0x7f01);
/// # }
/// ```
///
/// A row gives a number within the protocol, the request's fields, the verb, the reply's
/// fields, the errors of the call's own, and who may call. A call that `returns` is answered
/// at once; one that `suspends` may keep its caller waiting, so its handler gets a
/// [`Ticket`](crate::Ticket). A `repeatable` call may be sent again to a restarted server.
///
/// From the row follow `Request` and `Reply` in a module of the call's name, a method of the
/// trait `Server`, an arm of `dispatch`, and what [`describe`](crate::describe) prints.
/// A number used twice and a call that doesn't fit in a message don't compile.
#[macro_export]
macro_rules! protocol {
    (
        $(#[$doc:meta])*
        $protocol:ident = $base:literal;
        $(
            $(#[$call_doc:meta])*
            $number:literal $call:ident { $($(#[$qd:meta])* $q:ident: $qt:ty),* $(,)? }
            $verb:ident { $($(#[$rd:meta])* $r:ident: $rt:ty),* $(,)? }
            fails [$($(#[$error_doc:meta])* $error:ident),* $(,)?] from $($who:ident)|+ $(, $repeatable:ident)?;
        )*
    ) => {
        $(#[$doc])*
        pub mod $protocol {
            #[allow(clippy::allow_attributes, clippy::wildcard_imports, unused_imports, reason = "the types of fields are named as their protocol's file names them")]
            use super::*;

            /// Marks the address of a server of this protocol; see [`To`]($crate::To).
            #[derive(Debug)]
            pub enum Service {}

            $(
                $(#[$call_doc])*
                pub mod $call {
                    #[allow(clippy::allow_attributes, clippy::wildcard_imports, unused_imports, reason = "as above")]
                    use super::*;

                    $crate::fields! {
                        /// The request.
                        #[allow(clippy::allow_attributes, missing_docs, reason = "most names of fields say it all")]
                        Request { $($(#[$qd])* $q: $qt),* }
                    }
                    $crate::fields! {
                        /// The reply.
                        #[allow(clippy::allow_attributes, missing_docs, reason = "most names of fields say it all")]
                        Reply { $($(#[$rd])* $r: $rt),* }
                    }

                    const _: () = assert!(
                        <Request as $crate::Wire>::SIZE <= $crate::PAYLOAD_SIZE
                            && <Reply as $crate::Wire>::SIZE <= $crate::PAYLOAD_SIZE,
                        "the call does not fit in a message"
                    );

                    impl $crate::Call for Request {
                        type Service = Service;
                        type Reply = Reply;
                        const INFO: $crate::CallInfo = $crate::CallInfo {
                            number: $base + $number,
                            name: concat!(stringify!($protocol), ".", stringify!($call)),
                            signature: concat!(
                                $crate::protocol!(@signature $($q: $qt),*),
                                " ", stringify!($verb), " ",
                                $crate::protocol!(@signature $($r: $rt),*)
                            ),
                            from: $crate::Callers(0)$(.or($crate::Callers::$who))+,
                            errors: &[$($crate::Errno::$error),*],
                            suspends: $crate::protocol!(@suspends $verb),
                            repeatable: $crate::protocol!(@repeatable $($repeatable)?),
                            print: $crate::print::<Request>,
                        };
                    }
                }
            )*

            /// What a server of this protocol implements.
            pub trait Server {
                $( $crate::protocol! { @method $verb $(#[$call_doc])* $call } )*
            }

            /// Checks, decodes and carries out one request; `None` if it is answered later.
            pub fn dispatch(server: &mut impl Server, message: &$crate::Message) -> Option<$crate::Answer> {
                mod number {
                    $(
                        #[expect(non_upper_case_globals, reason = "named after calls")]
                        pub(super) const $call: u16 = <super::$call::Request as $crate::Call>::INFO.number;
                    )*
                }
                match message.number {
                    $( number::$call => {
                        let ticket = $crate::Ticket::<$call::Request>::of(message);
                        if !<$call::Request as $crate::Call>::INFO.from.admits(message.class) {
                            return Some(ticket.answer(Err($crate::Errno::EPERM)));
                        }
                        let Some(request) = $crate::decode::<$call::Request>(message) else {
                            return Some(ticket.answer(Err($crate::Errno::EBADMSG)));
                        };
                        $crate::protocol! { @carry_out $verb server $call ticket request }
                    } )*
                    _ => Some($crate::Answer::refusal(message, $crate::Errno::ENOSYS)),
                }
            }

            /// The same declarations, for tools.
            pub const PROTOCOL: $crate::Protocol = $crate::Protocol {
                name: stringify!($protocol),
                calls: &[$( <$call::Request as $crate::Call>::INFO ),*],
            };

            /// What the numbers of the protocol's calls are counted from.
            pub const BASE: u16 = $base;

            const _: () = assert!(
                $crate::has_unique_numbers(PROTOCOL.calls),
                "two calls of the protocol have the same number"
            );
        }
    };

    (@signature) => { "{}" };
    (@signature $field:ident: $type:ty $(, $fields:ident: $types:ty)*) => {
        concat!(
            "{ ", stringify!($field), ": ", stringify!($type),
            $( ", ", stringify!($fields), ": ", stringify!($types), )*
            " }"
        )
    };

    (@suspends returns) => { false };
    (@suspends suspends) => { true };
    (@repeatable) => { false };
    (@repeatable repeatable) => { true };

    (@method returns $(#[$doc:meta])* $call:ident) => {
        $(#[$doc])*
        #[allow(clippy::allow_attributes, clippy::missing_errors_doc, reason = "the row declares the errors")]
        fn $call(&mut self, caller: $crate::Endpoint, request: $call::Request) -> Result<$call::Reply, $crate::Errno>;
    };
    (@method suspends $(#[$doc:meta])* $call:ident) => {
        $(#[$doc])*
        fn $call(&mut self, ticket: $crate::Ticket<$call::Request>, request: $call::Request) -> Option<$crate::Answer>;
    };

    (@carry_out returns $server:ident $call:ident $ticket:ident $request:ident) => {{
        let outcome = $server.$call($ticket.to, $request);
        Some($ticket.answer(outcome))
    }};
    (@carry_out suspends $server:ident $call:ident $ticket:ident $request:ident) => {
        $server.$call($ticket, $request)
    };
}
