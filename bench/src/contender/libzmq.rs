//! libzmq as one uses it by hand: PUB and SUB, directly or through XSUB, XPUB and `zmq_proxy` in a process of its own.
//!
//! PUB and XPUB drop silently at their high-water mark. The option against that, `ZMQ_XPUB_NODROP`, has no setter in the
//! crate, so here the high-water marks are off and the subscribers open a window to the publisher (see
//! [`Contender::lossless_by`](super::Contender::lossless_by)) that bounds what is on the way: 16,384 messages or 32 MiB.
//! This is kinder than the option, for no socket ever has to wait, and it costs a short line now and then, on libzmq's
//! account. libzmq's sockets under `ZMQ_XPUB_NODROP` are inside of `multiplane-libzmq`.

use super::{BACK, LOOK, Listener, Middle, Place, Receiver, Sender, TOPIC, Until};
use crate::BenchError;
use zmq::{Context, DONTWAIT, SNDMORE, Socket, SocketType};

/// `zmq_proxy` on a thread that lives as long as the process.
pub(crate) fn middle(_place: &Place) -> Result<Middle, BenchError> {
    let context = Context::new();
    let (incoming, from_publishers) = bind(&context, SocketType::XSUB)?;
    let (outgoing, to_subscribers) = bind(&context, SocketType::XPUB)?;
    let proxy = std::thread::Builder::new().name("proxy".to_owned());
    // It only ends with its context, which nobody ends: the process does.
    let started = proxy.spawn(move || zmq::proxy(&incoming, &outgoing));
    started.map_err(BenchError::doing("starting the proxy"))?;
    Ok((vec![from_publishers, to_subscribers], Box::new(context)))
}

/// PUB, connected to the proxy or listening.
pub(crate) fn publisher(place: &Place) -> Result<(Vec<u16>, impl Sender), BenchError> {
    let context = Context::new();
    if place.has_middle() {
        let socket = connect(&context, SocketType::PUB, &[place.port(0)?])?;
        Ok((Vec::new(), Talker { socket }))
    } else {
        let (socket, port) = bind(&context, SocketType::PUB)?;
        Ok((vec![port], Talker { socket }))
    }
}

/// SUB, and PUB beside it in ping-pong. Without a proxy the one who begins there listens on both.
pub(crate) fn subscriber(place: &Place, first: bool) -> Result<(Vec<u16>, impl Receiver), BenchError> {
    let context = Context::new();
    let (hears, says) = if first { (BACK, TOPIC) } else { (TOPIC, BACK) };
    let (mut ports, mut answers) = (Vec::new(), None);
    let hearing = if place.has_middle() {
        if place.answers() {
            answers = Some(connect(&context, SocketType::PUB, &[place.port(0)?])?);
        }
        connect(&context, SocketType::SUB, &[place.port(1)?])?
    } else if first {
        let (talking, out) = bind(&context, SocketType::PUB)?;
        let (hearing, back) = bind(&context, SocketType::SUB)?;
        ports = vec![out, back];
        answers = Some(talking);
        hearing
    } else if place.answers() {
        answers = Some(connect(&context, SocketType::PUB, &[place.port(1)?])?);
        connect(&context, SocketType::SUB, &[place.port(0)?])?
    } else {
        connect(&context, SocketType::SUB, &place.ports)?
    };
    hearing.set_subscribe(hears.as_bytes()).map_err(BenchError::doing("subscribing"))?;
    Ok((ports, Hearer { hearing, answers, says }))
}

fn socket(context: &Context, kind: SocketType) -> Result<Socket, BenchError> {
    let make = || {
        let socket = context.socket(kind)?;
        socket.set_sndhwm(0)?;
        socket.set_rcvhwm(0)?;
        socket.set_linger(0)?;
        Ok::<_, zmq::Error>(socket)
    };
    make().map_err(BenchError::doing("opening a libzmq socket"))
}

fn bind(context: &Context, kind: SocketType) -> Result<(Socket, u16), BenchError> {
    let socket = socket(context, kind)?;
    socket.bind("tcp://127.0.0.1:*").map_err(BenchError::doing("listening"))?;
    let endpoint = socket.get_last_endpoint().map_err(BenchError::doing("listening"))?;
    let port = endpoint.ok().and_then(|endpoint| endpoint.rsplit_once(':')?.1.parse().ok());
    Ok((socket, port.ok_or_else(|| BenchError::failed("listening", "libzmq does not say at which port"))?))
}

fn connect(context: &Context, kind: SocketType, ports: &[u16]) -> Result<Socket, BenchError> {
    let socket = socket(context, kind)?;
    for port in ports {
        let connected = socket.connect(&format!("tcp://127.0.0.1:{port}"));
        connected.map_err(BenchError::doing("connecting"))?;
    }
    Ok(socket)
}

struct Talker {
    socket: Socket,
}

impl Sender for Talker {
    #[inline]
    fn send(&mut self, payload: &[u8]) -> Result<(), BenchError> {
        publish(&self.socket, TOPIC, payload)
    }
}

#[inline]
fn publish(socket: &Socket, topic: &str, payload: &[u8]) -> Result<(), BenchError> {
    let sent = socket.send(topic, SNDMORE).and_then(|()| socket.send(payload, 0));
    sent.map_err(BenchError::doing("publishing"))
}

struct Hearer {
    hearing: Socket,
    answers: Option<Socket>,
    says: &'static str,
}

impl Receiver for Hearer {
    fn receive<L: Listener>(
        self,
        mut listener: L,
        opening: Option<&[u8]>,
        until: &Until,
    ) -> Result<L, BenchError> {
        let failed = || BenchError::doing("receiving");
        let patience = i32::try_from(LOOK.as_millis()).unwrap_or(50);
        self.hearing.set_rcvtimeo(patience).map_err(failed())?;
        let mut message = zmq::Message::new();
        while !until.over() {
            if let (Some(opening), Some(answers), false) = (opening, &self.answers, until.heard()) {
                publish(answers, self.says, opening)?;
            }
            match self.hearing.recv(&mut message, 0) {
                Err(zmq::Error::EAGAIN) => continue,
                topic => topic.map_err(failed())?,
            }
            // All frames of a message arrive together.
            while message.get_more() {
                self.hearing.recv(&mut message, DONTWAIT).map_err(failed())?;
            }
            if let (Some(answer), Some(answers)) = (listener.hear(&message), &self.answers) {
                publish(answers, self.says, answer)?;
            }
        }
        Ok(listener)
    }
}
