//! OMQ (omq-tokio), ZeroMQ in Rust: PUB and SUB connected to each other. Its PUB drops by default what has no room;
//! with `xpub_nodrop` it waits instead, as its own benchmarks do.

use super::{LOOK, Listener, Lossless, Parts, Place, Receiver, Sender, System, Until, peer};
use crate::BenchError;
use crate::role::{Publishing, Subscribing};
use bytes::Bytes;
use omq_tokio::blocking::{BlockingRecvCancel, Socket};
use omq_tokio::endpoint::{Endpoint, Host};
use omq_tokio::error::Error;
use omq_tokio::{Context, Message, Options, SocketType};
use std::sync::Arc;

pub(super) static OMQ: System = System {
    name: "omq",
    lossless: Lossless::BackPressure,
    check: peer::direct,
    parts: Parts::Processes { middle: None, publish, subscribe },
};

/// Messages that are taken together.
const BATCH: usize = 256;

fn publish(_place: &Place, role: Publishing) -> Result<(), BenchError> {
    let context = Context::new();
    let (socket, port) = bind(&context, SocketType::Pub)?;
    role.run(vec![port], Talker { socket, topic: Bytes::new() })
}

/// SUB, and PUB beside it in ping-pong, where the one who begins listens on both.
fn subscribe(place: &Place, role: Subscribing) -> Result<(), BenchError> {
    let context = Context::new();
    let first = role.first();
    let (mut ports, mut answers) = (Vec::new(), None);
    let hearing = if first {
        let (talking, out) = bind(&context, SocketType::Pub)?;
        let (hearing, back) = bind(&context, SocketType::Sub)?;
        ports = vec![out, back];
        answers = Some(talking);
        hearing
    } else if place.answers() {
        answers = Some(connect(&context, SocketType::Pub, &[place.port(1)?])?);
        connect(&context, SocketType::Sub, &[place.port(0)?])?
    } else {
        connect(&context, SocketType::Sub, &place.ports)?
    };
    for topic in place.hears(first) {
        hearing.subscribe(topic).map_err(BenchError::doing("subscribing"))?;
    }
    let says = Bytes::from_static(place.says(first).as_bytes());
    role.run(ports, Hearer { hearing, answers, says })
}

fn socket(context: &Context, kind: SocketType) -> Socket {
    context.blocking_socket(kind, Options { xpub_nodrop: true, ..Options::default() })
}

fn local(port: u16) -> Endpoint {
    Endpoint::Tcp { host: Host::Ip([127, 0, 0, 1].into()), port }
}

fn bind(context: &Context, kind: SocketType) -> Result<(Socket, u16), BenchError> {
    let socket = socket(context, kind);
    match socket.bind(local(0)).map_err(BenchError::doing("listening"))? {
        Endpoint::Tcp { port, .. } => Ok((socket, port)),
        other => Err(BenchError::failed("listening", format!("omq listens at {other}"))),
    }
}

fn connect(context: &Context, kind: SocketType, ports: &[u16]) -> Result<Socket, BenchError> {
    let socket = socket(context, kind);
    for &port in ports {
        socket.connect(local(port)).map_err(BenchError::doing("connecting"))?;
    }
    Ok(socket)
}

struct Talker {
    socket: Socket,
    topic: Bytes,
}

impl Sender for Talker {
    #[inline]
    fn send(&mut self, topic: &str, payload: &[u8]) -> Result<(), BenchError> {
        if self.topic != topic {
            self.topic = Bytes::copy_from_slice(topic.as_bytes());
        }
        send(&self.socket, &self.topic, payload)
    }
}

#[inline]
fn send(socket: &Socket, topic: &Bytes, payload: &[u8]) -> Result<(), BenchError> {
    let message = Message::multipart([topic.clone(), Bytes::copy_from_slice(payload)]);
    socket.send(message).map_err(BenchError::doing("publishing"))
}

struct Hearer {
    hearing: Socket,
    answers: Option<Socket>,
    says: Bytes,
}

impl Receiver for Hearer {
    fn receive<L: Listener>(
        self,
        mut listener: L,
        opening: Option<&[u8]>,
        until: &Until,
    ) -> Result<L, BenchError> {
        let over = Arc::new(BlockingRecvCancel::new());
        let cancel = over.clone();
        until.then(move || cancel.cancel());
        let mut batch = Vec::with_capacity(BATCH);
        while !until.over() {
            let received =
                if let (Some(opening), Some(answers), false) = (opening, &self.answers, until.heard()) {
                    send(answers, &self.says, opening)?;
                    self.hearing.recv_many_timeout_into(BATCH, LOOK, &mut batch).map(Some)
                } else {
                    self.hearing.recv_many_cancelable_into(BATCH, &over, &mut batch)
                };
            match received {
                Ok(_) | Err(Error::Timeout | Error::WouldBlock) => {}
                Err(error) => return Err(BenchError::doing("receiving")(error)),
            }
            for message in batch.drain(..) {
                let answer = message.part_slice(1).and_then(|payload| listener.hear(payload));
                if let (Some(answer), Some(answers)) = (answer, &self.answers) {
                    send(answers, &self.says, answer)?;
                }
            }
        }
        Ok(listener)
    }
}
