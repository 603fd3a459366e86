//! libzmq as one uses it by hand: PUB and SUB, directly, through XSUB, XPUB and `zmq_proxy` in a process of its own, or
//! through our backplane.
//!
//! PUB and XPUB drop silently at their high-water mark, unless `ZMQ_XPUB_NODROP` makes them wait. That is how libzmq is
//! lossless by itself, and how it is measured, with high-water marks of 10,000 messages. The `-credit` contenders have
//! no high-water marks; there the subscribers open a window to the publisher (see [`Lossless::Credit`]) that bounds what
//! is on the way: 16,384 messages or 32 MiB. Then no socket ever has to wait, and it costs a short line now and then.

use super::{
    LOOK, Listener, Lossless, Middle, Parts, Place, Receiver, Sender, System, Until, WINDOW, check_against,
    multiplane, no_backplane,
};
use crate::BenchError;
use crate::role::{Publishing, Subscribing};
use crate::scenario::Scenario;
use multiplane_bus::measuring;
use zmq::{Context, DONTWAIT, PollItem, SNDMORE, Socket, SocketType};

const HIGH_WATER_MARK: i32 = 10_000;

/// From one of several sockets so much is taken before the next has its turn.
const TURN: usize = 1000;

pub(crate) static PROXY: System = System {
    name: "libzmq-proxy",
    lossless: Lossless::BackPressure,
    check: |scenario| match scenario {
        Scenario::Direct => Err("the proxy is a process between; use libzmq-direct"),
        _ => Ok(()),
    },
    parts: Parts::Processes { middle: Some(proxy), publish, subscribe },
};

pub(crate) static PROXY_CREDIT: System =
    System { name: "libzmq-proxy-credit", lossless: Lossless::Credit(WINDOW), ..PROXY };

pub(crate) static DIRECT: System = System {
    name: "libzmq-direct",
    check: |scenario| match scenario {
        Scenario::ManyBackplanes(2..) => Err("it has no backplane; use libzmq-proxy"),
        _ => Ok(()),
    },
    parts: Parts::Processes { middle: None, publish, subscribe },
    ..PROXY
};

pub(crate) static DIRECT_CREDIT: System =
    System { name: "libzmq-direct-credit", lossless: Lossless::Credit(WINDOW), ..DIRECT };

/// libzmq's ends through our backplane.
pub(crate) static NATIVE: System = System {
    name: "libzmq-native",
    check: |scenario| match scenario {
        Scenario::Direct => Err("the backplane is a process between; use libzmq-direct"),
        _ => Ok(()),
    },
    parts: Parts::Processes { middle: Some(multiplane::backplane), publish, subscribe },
    ..PROXY
};

/// libzmq's ends, by a backplane that runs already. PUB waits for its connection; what the backplane drops is lost.
pub(crate) static ENDS: System = System {
    name: "libzmq-ends",
    lossless: Lossless::Drops,
    check: check_against,
    parts: Parts::Processes { middle: Some(no_backplane), publish, subscribe },
};

/// `zmq_proxy` on a thread that lives as long as the process.
fn proxy(place: &Place) -> Result<Middle, BenchError> {
    let context = Context::new();
    let (incoming, from_publishers) = bind(place, &context, SocketType::XSUB)?;
    let (outgoing, to_subscribers) = bind(place, &context, SocketType::XPUB)?;
    let proxy = std::thread::Builder::new().name("proxy".to_owned());
    // It only ends with its context, which nobody ends: the process does.
    let started = proxy.spawn(move || zmq::proxy(&incoming, &outgoing));
    started.map_err(BenchError::doing("starting the proxy"))?;
    Ok(Middle::here(vec![from_publishers, to_subscribers], ()))
}

/// PUB, connected to the middle or listening.
pub(super) fn publish(place: &Place, role: Publishing) -> Result<(), BenchError> {
    let context = Context::new();
    if place.has_middle() {
        let socket = connect(place, &context, SocketType::PUB, place.port(0)?)?;
        role.run(Vec::new(), Talker { socket })
    } else {
        let (socket, port) = bind(place, &context, SocketType::PUB)?;
        role.run(vec![port], Talker { socket })
    }
}

/// A SUB for each backplane, and PUB beside it in ping-pong. Without a middle the one who begins there listens on both.
pub(super) fn subscribe(place: &Place, role: Subscribing) -> Result<(), BenchError> {
    let context = Context::new();
    let first = role.first();
    let (mut ports, mut answers) = (Vec::new(), None);
    let mut hearing = Vec::new();
    if place.has_middle() {
        if place.answers() {
            answers = Some(connect(place, &context, SocketType::PUB, place.port(0)?)?);
        }
        for ports in place.ports.chunks_exact(2) {
            hearing.push(connect(place, &context, SocketType::SUB, ports[1])?);
        }
    } else if first {
        let (talking, out) = bind(place, &context, SocketType::PUB)?;
        let (back, back_port) = bind(place, &context, SocketType::SUB)?;
        ports = vec![out, back_port];
        answers = Some(talking);
        hearing.push(back);
    } else if place.answers() {
        answers = Some(connect(place, &context, SocketType::PUB, place.port(1)?)?);
        hearing.push(connect(place, &context, SocketType::SUB, place.port(0)?)?);
    } else {
        let socket = socket(place, &context, SocketType::SUB)?;
        place.ports.iter().try_for_each(|port| dial(&socket, &place.host, *port))?;
        hearing.push(socket);
    }
    for topic in place.hears(first) {
        for socket in &hearing {
            socket.set_subscribe(topic.as_bytes()).map_err(BenchError::doing("subscribing"))?;
        }
    }
    role.run(ports, Hearer { hearing, answers, says: place.says(first) })
}

fn socket(place: &Place, context: &Context, kind: SocketType) -> Result<Socket, BenchError> {
    let credit = place.contender.lossless(place.scenario) != PROXY.lossless;
    let mark = if credit { 0 } else { HIGH_WATER_MARK };
    let make = || {
        let mut socket = context.socket(kind)?;
        let publishes = matches!(kind, SocketType::PUB | SocketType::XPUB);
        // Subscriptions beyond the mark would be lost silently, on their way from SUB and XSUB.
        socket.set_sndhwm(if publishes { mark } else { 0 })?;
        socket.set_rcvhwm(if publishes { 0 } else { mark })?;
        socket.set_linger(0)?;
        socket.set_ipv6(place.host.contains(':'))?;
        if publishes && !credit {
            measuring::set_xpub_nodrop(&mut socket)?;
        }
        Ok::<_, std::io::Error>(socket)
    };
    make().map_err(BenchError::doing("opening a libzmq socket"))
}

fn bind(place: &Place, context: &Context, kind: SocketType) -> Result<(Socket, u16), BenchError> {
    let socket = socket(place, context, kind)?;
    socket.bind("tcp://127.0.0.1:*").map_err(BenchError::doing("listening"))?;
    let endpoint = socket.get_last_endpoint().map_err(BenchError::doing("listening"))?;
    let port = endpoint.ok().and_then(|endpoint| endpoint.rsplit_once(':')?.1.parse().ok());
    Ok((socket, port.ok_or_else(|| BenchError::failed("listening", "libzmq does not say at which port"))?))
}

fn connect(place: &Place, context: &Context, kind: SocketType, port: u16) -> Result<Socket, BenchError> {
    let socket = socket(place, context, kind)?;
    dial(&socket, &place.host, port)?;
    Ok(socket)
}

fn dial(socket: &Socket, host: &str, port: u16) -> Result<(), BenchError> {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    socket.connect(&format!("tcp://{host}:{port}")).map_err(BenchError::doing("connecting"))
}

struct Talker {
    socket: Socket,
}

impl Sender for Talker {
    #[inline]
    fn send(&mut self, topic: &str, payload: &[u8]) -> Result<(), BenchError> {
        publish_on(&self.socket, topic, payload)
    }
}

#[inline]
fn publish_on(socket: &Socket, topic: &str, payload: &[u8]) -> Result<(), BenchError> {
    let sent = socket.send(topic, SNDMORE).and_then(|()| socket.send(payload, 0));
    sent.map_err(BenchError::doing("publishing"))
}

struct Hearer {
    hearing: Vec<Socket>,
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
        let mut message = zmq::Message::new();
        // One socket waits by itself; several are polled, and each that has something is drained.
        let alone = self.hearing.len() == 1;
        for socket in &self.hearing {
            socket.set_rcvtimeo(if alone { patience } else { 0 }).map_err(failed())?;
        }
        let mut items: Vec<PollItem<'_>> =
            self.hearing.iter().map(|socket| socket.as_poll_item(zmq::POLLIN)).collect();
        while !until.over() {
            if let (Some(opening), Some(answers), false) = (opening, &self.answers, until.heard()) {
                publish_on(answers, self.says, opening)?;
            }
            if !alone {
                zmq::poll(&mut items, i64::from(patience)).map_err(failed())?;
            }
            for (socket, item) in self.hearing.iter().zip(&items) {
                if !alone && !item.is_readable() {
                    continue;
                }
                for _ in 0..TURN {
                    match socket.recv(&mut message, 0) {
                        Err(zmq::Error::EAGAIN) => break,
                        topic => topic.map_err(failed())?,
                    }
                    // All frames of a message arrive together.
                    while message.get_more() {
                        socket.recv(&mut message, DONTWAIT).map_err(failed())?;
                    }
                    if let (Some(answer), Some(answers)) = (listener.hear(&message), &self.answers) {
                        publish_on(answers, self.says, answer)?;
                    }
                    if until.over() {
                        break;
                    }
                }
            }
        }
        Ok(listener)
    }
}
