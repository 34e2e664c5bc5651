//! Whatever 128 bytes arrive: nothing panics, servers see only what their calls declare, and
//! every answer can be read by who asked.

use abi::protocols::{self, ProcessState, ds, kernel, tty};
use abi::{
    Answer, Bytes, Call, CallInfo, Callers, Endpoint, Errno, MESSAGE_SIZE, Message, Name, PAYLOAD_SIZE,
    REPLY, Ticket, Wire, describe,
};
use std::collections::BTreeMap;

/// Marsaglia's xorshift with a fixed seed: every run sees the same messages.
#[derive(Clone)]
struct Random(u64);

impl Random {
    const fn new() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.next().to_le_bytes()[3])
    }

    fn below(&mut self, end: usize) -> usize {
        usize::from(u16::from_le_bytes(self.bytes())) % end
    }
}

/// Any 128 bytes, laid out as `Message` documents it.
fn message_of(bytes: &[u8; MESSAGE_SIZE]) -> Message {
    let (header, payload) = bytes.split_at(MESSAGE_SIZE - PAYLOAD_SIZE);
    Message {
        source: any(&header[..4]),
        number: any(&header[4..6]),
        class: any(&header[6..7]),
        flags: any(&header[7..8]),
        status: any(&header[8..12]),
        tag: any(&header[12..]),
        payload: payload.try_into().expect("the payload is the rest"),
    }
}

fn any<T: Wire>(bytes: &[u8]) -> T {
    T::get(bytes).expect("any bytes are a value of this type")
}

/// Implements the protocols of the system by chance, and writes down what it was asked and
/// what it answered.
struct Chance {
    random: Random,
    seen: BTreeMap<&'static str, usize>,
    last: Option<Exchange>,
}

struct Exchange {
    /// The request in the form that it has on the wire.
    request: Vec<u8>,
    /// The answer as `describe` should show it, and how many bytes of payload it takes.
    answer: String,
    answer_size: usize,
}

impl Chance {
    fn outcome<C: Call>(&mut self, request: &C, reply: C::Reply) -> Result<C::Reply, Errno> {
        *self.seen.entry(C::INFO.name).or_default() += 1;
        let errors: Vec<Errno> = CallInfo::COMMON_ERRORS.iter().chain(C::INFO.errors).copied().collect();
        let outcome = match errors.get(self.random.below(2 * errors.len())) {
            Some(error) => Err(*error),
            None => Ok(reply),
        };
        let (answer, answer_size) = match &outcome {
            Ok(reply) => (format!("{reply:?}"), C::Reply::SIZE),
            Err(error) => (format!("{error:?}"), 0),
        };
        let answer = match answer.strip_prefix("Reply") {
            Some("") => "{}",
            Some(fields) => fields.trim_start(),
            None => &answer,
        };
        let mut bytes = vec![0; C::SIZE];
        request.put(&mut bytes);
        self.last =
            Some(Exchange { request: bytes, answer: format!("{} = {answer}", C::INFO.name), answer_size });
        outcome
    }

    fn now_or_never<C: Call>(&mut self, ticket: Ticket<C>, request: &C, reply: C::Reply) -> Option<Answer> {
        let outcome = self.outcome(request, reply);
        (self.random.below(2) == 0).then(|| ticket.answer(outcome))
    }

    fn any<T: Wire>(&mut self) -> T {
        any(&self.random.bytes::<8>()[..T::SIZE])
    }

    fn name(&mut self) -> Name {
        let len = 1 + self.random.below(Name::SIZE);
        let text: String = (0..len).map(|_| char::from(b'!' + self.any::<u8>() % 94)).collect();
        Name::new(&text).expect("these are 1 to 48 printable characters")
    }

    fn byte_string<const N: usize>(&mut self) -> Bytes<N> {
        let len = self.random.below(N + 1);
        Bytes::first_of(&self.random.bytes::<N>()[..len])
    }
}

impl tty::Server for Chance {
    fn write(&mut self, _: Endpoint, request: tty::write::Request) -> Result<tty::write::Reply, Errno> {
        self.outcome(&request, tty::write::Reply {})
    }

    fn read(&mut self, ticket: Ticket<tty::read::Request>, request: tty::read::Request) -> Option<Answer> {
        let reply = tty::read::Reply { bytes: self.byte_string() };
        self.now_or_never(ticket, &request, reply)
    }
}

impl ds::Server for Chance {
    fn publish(&mut self, _: Endpoint, request: ds::publish::Request) -> Result<ds::publish::Reply, Errno> {
        self.outcome(&request, ds::publish::Reply {})
    }

    fn retrieve(
        &mut self,
        _: Endpoint,
        request: ds::retrieve::Request,
    ) -> Result<ds::retrieve::Reply, Errno> {
        let reply = ds::retrieve::Reply { value: self.any(), owner: self.any() };
        self.outcome(&request, reply)
    }

    fn delete(&mut self, _: Endpoint, request: ds::delete::Request) -> Result<ds::delete::Reply, Errno> {
        self.outcome(&request, ds::delete::Reply {})
    }
}

/// Methods of calls that are answered at once.
macro_rules! returning {
    ($(|$server:ident| $call:ident { $($field:ident: $value:expr),* })*) => { $(
        fn $call(
            &mut self,
            _: Endpoint,
            request: kernel::$call::Request,
        ) -> Result<kernel::$call::Reply, Errno> {
            let $server = self;
            let reply = kernel::$call::Reply { $($field: $value),* };
            $server.outcome(&request, reply)
        }
    )* };
}

/// Methods of calls that may keep their caller waiting.
macro_rules! suspending {
    ($(|$server:ident| $call:ident { $($field:ident: $value:expr),* })*) => { $(
        fn $call(
            &mut self,
            ticket: Ticket<kernel::$call::Request>,
            request: kernel::$call::Request,
        ) -> Option<Answer> {
            let $server = self;
            let reply = kernel::$call::Reply { $($field: $value),* };
            $server.now_or_never(ticket, &request, reply)
        }
    )* };
}

impl kernel::Server for Chance {
    suspending! {
        |server| safecopy_from {}
        |server| safecopy_to {}
        |server| vsafecopy {}
        |server| safe_memset {}
        |server| vircopy {}
        |server| physcopy {}
        |server| memset {}
        |server| umap { address: server.any(), len: server.any() }
        |server| vumap { count: server.any() }
    }

    returning! {
        |server| setgrant {}
        |server| vm_memory_request_get {
            requestor: server.any(), request: server.any(), target: server.any(),
            start: server.any(), len: server.any(), is_written: server.random.below(2) == 0
        }
        |server| vm_memory_request_reply {}
        |server| vm_take_frames { address: server.any() }
        |server| vm_give_frames {}
        |server| vm_map_page {}
        |server| vm_unmap_page { frame: server.any() }
        |server| vm_protect_page {}
    }

    fn whoami(
        &mut self,
        _: Endpoint,
        request: kernel::whoami::Request,
    ) -> Result<kernel::whoami::Reply, Errno> {
        let reply = kernel::whoami::Reply { endpoint: self.any(), class: self.any(), name: self.name() };
        self.outcome(&request, reply)
    }

    fn exit(
        &mut self,
        ticket: Ticket<kernel::exit::Request>,
        request: kernel::exit::Request,
    ) -> Option<Answer> {
        self.now_or_never(ticket, &request, kernel::exit::Reply {})
    }

    fn diag(&mut self, _: Endpoint, request: kernel::diag::Request) -> Result<kernel::diag::Reply, Errno> {
        self.outcome(&request, kernel::diag::Reply {})
    }

    fn times(&mut self, _: Endpoint, request: kernel::times::Request) -> Result<kernel::times::Reply, Errno> {
        let reply =
            kernel::times::Reply { uptime_ns: self.any(), user_ticks: self.any(), tick_hz: self.any() };
        self.outcome(&request, reply)
    }

    fn get_process(
        &mut self,
        _: Endpoint,
        request: kernel::get_process::Request,
    ) -> Result<kernel::get_process::Reply, Errno> {
        let reply = kernel::get_process::Reply {
            slot: self.any(),
            endpoint: self.any(),
            class: self.any(),
            state: ProcessState::SendReceiving,
            blocked_on: self.any(),
            user_ticks: self.any(),
            name: self.name(),
        };
        self.outcome(&request, reply)
    }

    fn devio_read(
        &mut self,
        _: Endpoint,
        request: kernel::devio_read::Request,
    ) -> Result<kernel::devio_read::Reply, Errno> {
        let reply = kernel::devio_read::Reply { value: self.any() };
        self.outcome(&request, reply)
    }

    fn devio_write(
        &mut self,
        _: Endpoint,
        request: kernel::devio_write::Request,
    ) -> Result<kernel::devio_write::Reply, Errno> {
        self.outcome(&request, kernel::devio_write::Reply {})
    }

    fn devio_write_bytes(
        &mut self,
        _: Endpoint,
        request: kernel::devio_write_bytes::Request,
    ) -> Result<kernel::devio_write_bytes::Reply, Errno> {
        self.outcome(&request, kernel::devio_write_bytes::Reply {})
    }

    fn irq_attach(
        &mut self,
        _: Endpoint,
        request: kernel::irq_attach::Request,
    ) -> Result<kernel::irq_attach::Reply, Errno> {
        self.outcome(&request, kernel::irq_attach::Reply {})
    }

    fn irq_enable(
        &mut self,
        _: Endpoint,
        request: kernel::irq_enable::Request,
    ) -> Result<kernel::irq_enable::Reply, Errno> {
        self.outcome(&request, kernel::irq_enable::Reply {})
    }

    fn abort(
        &mut self,
        ticket: Ticket<kernel::abort::Request>,
        request: kernel::abort::Request,
    ) -> Option<Answer> {
        self.now_or_never(ticket, &request, kernel::abort::Reply {})
    }
}

type Dispatch = fn(&mut Chance, &Message) -> Option<Answer>;

const DISPATCHERS: [(abi::Protocol, Dispatch); 3] = [
    (kernel::PROTOCOL, |server, message| kernel::dispatch(server, message)),
    (tty::PROTOCOL, |server, message| tty::dispatch(server, message)),
    (ds::PROTOCOL, |server, message| ds::dispatch(server, message)),
];

/// Gives one message to every server, and looks at what they make of it.
fn check(server: &mut Chance, message: &Message) {
    let text = describe(message).to_string();
    for (protocol, dispatch) in DISPATCHERS {
        server.last = None;
        let reply = dispatch(server, message).map(|answer| answer.message);
        let call = protocol.calls.iter().find(|call| call.number == message.number);
        let refusal = match (call, &server.last) {
            (Some(call), Some(exchange)) => {
                assert!(call.from.admits(message.class), "{text} from {:?}", message.class);
                assert!(!message.is_reply(), "{text} was taken for a request");
                let (fields, _) = message.payload.split_at(exchange.request.len());
                assert_eq!(exchange.request, fields, "{text} was read as another request");
                None
            }
            (Some(call), None) if !call.from.admits(message.class) => Some(format!("{} = EPERM", call.name)),
            (Some(call), None) => Some(format!("{} = EBADMSG", call.name)),
            (None, None) => {
                assert_eq!(reply.map(|reply| reply.status), Some(Errno::ENOSYS.to_status()), "{text}");
                None
            }
            (None, Some(_)) => panic!("{} carried out {text}", protocol.name),
        };
        let Some(reply) = reply else {
            assert!(call.is_some_and(|call| call.suspends) && server.last.is_some(), "{text} has no answer");
            continue;
        };
        assert_eq!((reply.number, reply.tag, reply.flags), (message.number, message.tag, REPLY), "{text}");
        assert_eq!((reply.source, reply.class), (Endpoint::NONE, Callers(0)), "{text}");
        let used = server.last.as_ref().map_or(0, |exchange| exchange.answer_size);
        assert!(reply.payload[used..].iter().all(|byte| *byte == 0), "{text} is answered with a rest");
        if let Some(expected) = refusal.as_ref().or(server.last.as_ref().map(|exchange| &exchange.answer)) {
            assert_eq!(describe(&reply).to_string(), *expected, "the answer to {text}");
        }
    }
}

fn chance() -> Chance {
    Chance { random: Random::new(), seen: BTreeMap::new(), last: None }
}

/// A well-formed request of each call, in the order of the tables.
fn requests() -> Vec<Message> {
    const NAME: Name = Name::new("a.name").unwrap();
    vec![
        kernel::whoami::Request {}.to_message(1),
        kernel::exit::Request { status: -1 }.to_message(2),
        kernel::diag::Request {
            level: protocols::Level::Error,
            ends_line: true,
            text: Bytes::first_of(b"text"),
        }
        .to_message(3),
        kernel::times::Request {}.to_message(4),
        kernel::get_process::Request { slot: 5 }.to_message(5),
        kernel::devio_read::Request { port: 0x3f8, width: protocols::Width::Byte }.to_message(6),
        kernel::devio_write::Request { port: 0x3f8, width: protocols::Width::Long, value: 7 }.to_message(7),
        kernel::devio_write_bytes::Request { port: 0x3f8, bytes: Bytes::first_of(&[7; 64]) }.to_message(8),
        kernel::irq_attach::Request { line: 4, bit: 1, reenable: false }.to_message(9),
        kernel::irq_enable::Request { line: 4 }.to_message(10),
        kernel::abort::Request { status: 0 }.to_message(11),
        zeros::<kernel::setgrant::Request>(),
        zeros::<kernel::safecopy_from::Request>(),
        zeros::<kernel::safecopy_to::Request>(),
        zeros::<kernel::vsafecopy::Request>(),
        zeros::<kernel::safe_memset::Request>(),
        zeros::<kernel::vircopy::Request>(),
        zeros::<kernel::physcopy::Request>(),
        zeros::<kernel::memset::Request>(),
        zeros::<kernel::umap::Request>(),
        zeros::<kernel::vumap::Request>(),
        zeros::<kernel::vm_memory_request_get::Request>(),
        zeros::<kernel::vm_memory_request_reply::Request>(),
        zeros::<kernel::vm_take_frames::Request>(),
        zeros::<kernel::vm_give_frames::Request>(),
        zeros::<kernel::vm_map_page::Request>(),
        zeros::<kernel::vm_unmap_page::Request>(),
        zeros::<kernel::vm_protect_page::Request>(),
        tty::write::Request { bytes: Bytes::first_of(&[b'x'; 96]) }.to_message(12),
        tty::read::Request { limit: 96 }.to_message(13),
        ds::publish::Request { key: NAME, value: 1, overwrite: true }.to_message(14),
        ds::retrieve::Request { key: NAME }.to_message(15),
        ds::delete::Request { key: NAME }.to_message(16),
    ]
}

/// A request whose fields are all zero.
fn zeros<C: Call>() -> Message {
    C::get(&[0; PAYLOAD_SIZE][..C::SIZE]).expect("zeros are a request of this call").to_message(0)
}

#[test]
fn any_bytes_are_a_message_that_can_be_described_and_dispatched() {
    let mut random = Random::new();
    let mut server = chance();
    for _ in 0..20_000 {
        check(&mut server, &message_of(&random.bytes()));
    }
}

#[test]
fn any_payload_from_anybody_is_answered_under_each_number_of_the_system() {
    let mut random = Random::new();
    let mut server = chance();
    for call in protocols::ALL.iter().flat_map(|protocol| protocol.calls) {
        for _ in 0..2_000 {
            let message = message_of(&random.bytes());
            let payload = if random.below(2) == 0 { message.payload } else { [0; PAYLOAD_SIZE] };
            check(&mut server, &Message { number: call.number, payload, ..message });
        }
    }
}

#[test]
fn requests_with_a_few_wrong_bytes_are_refused_or_read_as_they_are() {
    let requests = requests();
    let numbers: Vec<u16> = requests.iter().map(|request| request.number).collect();
    let calls: Vec<&CallInfo> = protocols::ALL.iter().flat_map(|protocol| protocol.calls).collect();
    assert_eq!(numbers, calls.iter().map(|call| call.number).collect::<Vec<_>>(), "a request for each call");

    let mut random = Random::new();
    let mut server = chance();
    for (request, call) in requests.into_iter().zip(&calls) {
        for _ in 0..2_000 {
            let mut message = Message { class: call.from, source: Endpoint::at_boot(9), ..request };
            for _ in 0..random.below(4) {
                message.payload[random.below(PAYLOAD_SIZE)] = random.bytes::<1>()[0];
            }
            match random.below(16) {
                0 => message.class = Callers(random.bytes::<1>()[0]),
                1 => message.flags = random.bytes::<1>()[0],
                2 => message.number ^= 1 << random.below(16),
                _ => {}
            }
            check(&mut server, &message);
        }
    }
    for call in calls {
        assert!(server.seen[call.name] > 300, "{} was hardly reached", call.name);
    }
}

#[test]
fn every_number_under_both_flags_is_described() {
    for number in 0..=u16::MAX {
        for flags in [0, REPLY] {
            for fill in [0, 1, 0xff] {
                let message = Message { number, flags, payload: [fill; PAYLOAD_SIZE], ..Message::zeroed() };
                assert!(!describe(&message).to_string().is_empty());
            }
        }
    }
}
