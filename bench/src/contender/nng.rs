//! nng (nanomsg's successor), pub/sub over TCP without a process between; the library of the system.
//!
//! Its PUB never waits and drops what its queues have no room for. These hold 8,192 messages at most, so that it has a
//! smaller window of credit than others. The topic is the start of the message.

use super::server::free_port;
use super::{LOOK, Listener, Lossless, Parts, Place, Receiver, Sender, System, Until, peer};
use crate::BenchError;
use crate::role::{Publishing, Subscribing};
use nng::options::protocol::pubsub::Subscribe;
use nng::options::{Options, RecvBufferSize, RecvMaxSize, RecvTimeout, SendBufferSize};
use nng::{Error, Message, Protocol, Socket};

pub(super) static NNG: System = System {
    name: "nng",
    lossless: Lossless::Credit(QUEUE as usize / 2),
    check: peer::direct,
    parts: Parts::Processes { middle: None, publish, subscribe },
};

/// The longest queue that it allows.
const QUEUE: i32 = 8192;

fn publish(_place: &Place, role: Publishing) -> Result<(), BenchError> {
    let talking = socket(Protocol::Pub0)?;
    let port = listen(&talking)?;
    role.run(vec![port], Talker { talking })
}

/// SUB, and PUB beside it in ping-pong, where the one who begins listens on both.
fn subscribe(place: &Place, role: Subscribing) -> Result<(), BenchError> {
    let first = role.first();
    let hearing = socket(Protocol::Sub0)?;
    let (mut ports, mut answers) = (Vec::new(), None);
    if first {
        let talking = socket(Protocol::Pub0)?;
        ports = vec![listen(&talking)?, listen(&hearing)?];
        answers = Some(talking);
    } else if place.answers() {
        let talking = socket(Protocol::Pub0)?;
        dial(&talking, &[place.port(1)?])?;
        dial(&hearing, &[place.port(0)?])?;
        answers = Some(talking);
    } else {
        dial(&hearing, &place.ports)?;
    }
    let topics = place.hears(first);
    let skip = topics.first().map_or(0, String::len);
    for topic in topics {
        hearing.set_opt::<Subscribe>(topic.into_bytes()).map_err(BenchError::doing("subscribing"))?;
    }
    role.run(ports, Hearer { hearing, answers, says: place.says(first), skip })
}

fn socket(protocol: Protocol) -> Result<Socket, BenchError> {
    let make = || {
        let socket = Socket::new(protocol)?;
        match protocol {
            Protocol::Pub0 => socket.set_opt::<SendBufferSize>(QUEUE)?,
            _ => {
                socket.set_opt::<RecvBufferSize>(QUEUE)?;
                socket.set_opt::<RecvMaxSize>(0)?;
                socket.set_opt::<RecvTimeout>(Some(LOOK))?;
            }
        }
        Ok::<_, Error>(socket)
    };
    make().map_err(BenchError::doing("opening an nng socket"))
}

fn listen(socket: &Socket) -> Result<u16, BenchError> {
    let port = free_port()?;
    socket.listen(&format!("tcp://127.0.0.1:{port}")).map_err(BenchError::doing("listening"))?;
    Ok(port)
}

fn dial(socket: &Socket, ports: &[u16]) -> Result<(), BenchError> {
    let dialled = ports.iter().try_for_each(|port| socket.dial(&format!("tcp://127.0.0.1:{port}")));
    dialled.map_err(BenchError::doing("connecting"))
}

struct Talker {
    talking: Socket,
}

impl Sender for Talker {
    #[inline]
    fn send(&mut self, topic: &str, payload: &[u8]) -> Result<(), BenchError> {
        send(&self.talking, topic, payload)
    }
}

#[inline]
fn send(socket: &Socket, topic: &str, payload: &[u8]) -> Result<(), BenchError> {
    let mut message = Message::with_capacity(topic.len() + payload.len());
    message.push_back(topic.as_bytes());
    message.push_back(payload);
    socket.send(message).map_err(|(_, error)| BenchError::doing("publishing")(error))
}

struct Hearer {
    hearing: Socket,
    answers: Option<Socket>,
    says: &'static str,
    /// The topic's length.
    skip: usize,
}

impl Receiver for Hearer {
    fn receive<L: Listener>(
        self,
        mut listener: L,
        opening: Option<&[u8]>,
        until: &Until,
    ) -> Result<L, BenchError> {
        while !until.over() {
            if let (Some(opening), Some(answers), false) = (opening, &self.answers, until.heard()) {
                send(answers, self.says, opening)?;
            }
            let message = match self.hearing.recv() {
                Ok(message) => message,
                Err(Error::TimedOut) => continue,
                Err(error) => return Err(BenchError::doing("receiving")(error)),
            };
            let answer = message.get(self.skip..).and_then(|payload| listener.hear(payload));
            if let (Some(answer), Some(answers)) = (answer, &self.answers) {
                send(answers, self.says, answer)?;
            }
        }
        Ok(listener)
    }
}
