//! Multiplane: components of this project through a backplane of this project, all on one engine. In `direct` the
//! publisher hosts the backplane.
//!
//! Subscribers are handlers, which is the fast way and the one the manual shows. Lossless by back-pressure: the
//! backplane runs with [`OnSlow::Block`], and `publish` waits for room.

use super::{
    LOOK, Listener, Lossless, Middle, Parts, Place, Receiver, Sender, System, Until, check_against,
    no_backplane,
};
use crate::BenchError;
use crate::role::{Publishing, Subscribing};
use crate::scenario::Scenario;
use multiplane_bus::{
    Backplane, BackplaneBuilder, BackplaneId, Bus, Engine, HandlerError, OnSlow, Outbox, Publisher, Route,
    RoutingSpec,
};
use std::sync::mpsc;
use std::time::Duration;

const NAME: &str = "bench";
const READY: Duration = Duration::from_secs(10);

pub(crate) static NATIVE: System = System {
    name: "multiplane-native",
    lossless: Lossless::BackPressure,
    check: |_| Ok(()),
    parts: Parts::Processes { middle: Some(|_| backplane(Engine::Native)), publish, subscribe },
};

/// As [`NATIVE`], without the shortcut to a Unix socket.
pub(crate) static TCP: System = System {
    name: "multiplane-native-tcp",
    parts: Parts::Processes {
        middle: Some(|_| start_backplane(builder(Engine::Native).unix_shortcut(false))),
        publish: |place, role| publish_on(Engine::Native, false, place, role),
        subscribe,
    },
    ..NATIVE
};

pub(crate) static LIBZMQ: System = System {
    name: "multiplane-libzmq",
    check,
    parts: Parts::Processes {
        middle: Some(|_| backplane(Engine::Libzmq)),
        publish: |place, role| publish_on(Engine::Libzmq, false, place, role),
        subscribe: |place, role| subscribe_on(Engine::Libzmq, place, role),
    },
    ..NATIVE
};

/// Our components, by a backplane that runs already.
pub(crate) static ENDS: System = System {
    name: "multiplane-ends",
    lossless: Lossless::Drops,
    check: check_against,
    parts: Parts::Processes { middle: Some(no_backplane), publish, subscribe },
};

fn check(scenario: Scenario) -> Result<(), &'static str> {
    match scenario {
        Scenario::Direct => Err("only the native engine hosts a backplane in a component"),
        _ => Ok(()),
    }
}

/// It holds publishers back rather than lose a message.
fn builder(engine: Engine) -> BackplaneBuilder {
    Backplane::builder(NAME).publisher_port(0).subscriber_port(0).on_slow(OnSlow::Block).engine(engine)
}

/// A backplane in a process of its own.
pub(super) fn backplane(engine: Engine) -> Result<Middle, BenchError> {
    start_backplane(builder(engine))
}

fn start_backplane(builder: BackplaneBuilder) -> Result<Middle, BenchError> {
    let started = builder.start();
    let backplane = started.map_err(BenchError::doing("starting the backplane"))?;
    Ok(Middle::here(vec![backplane.publisher_port(), backplane.subscriber_port()], backplane))
}

fn publish(place: &Place, role: Publishing) -> Result<(), BenchError> {
    publish_on(Engine::Native, true, place, role)
}

/// A component that only publishes. `unix`: whether a backplane that it hosts offers the shortcut.
fn publish_on(engine: Engine, unix: bool, place: &Place, role: Publishing) -> Result<(), BenchError> {
    let (bus, ports) = if place.has_middle() {
        (start(engine, [Route::new(NAME, &place.host).publisher_port(place.port(0)?)])?, Vec::new())
    } else {
        let started =
            Bus::builder(NAME).host(builder(engine).unix_shortcut(unix)).start_deadline(READY).start();
        let bus = started.map_err(BenchError::doing("hosting a backplane"))?;
        let ports = bus.hosted(NAME).map(|here| vec![here.publisher_port(), here.subscriber_port()]);
        (bus, ports.unwrap_or_default())
    };
    let publisher = bus.publisher(NAME).map_err(BenchError::doing("publishing"))?;
    role.run(ports, Talker { publisher, _bus: bus })
}

fn subscribe(place: &Place, role: Subscribing) -> Result<(), BenchError> {
    subscribe_on(Engine::Native, place, role)
}

/// A component that receives, and in ping-pong also publishes.
fn subscribe_on(engine: Engine, place: &Place, role: Subscribing) -> Result<(), BenchError> {
    let first = role.first();
    let hears = place.hears(first);
    let (named, further) = hears.split_at(1);
    let routes = place.ports.chunks_exact(2).enumerate().map(|(nth, ports)| {
        let name = if nth == 0 { NAME.to_owned() } else { format!("idle{nth}") };
        let route = Route::new(name, &place.host).subscriber_port(ports[1]).topics(named);
        if place.answers() { route.publisher_port(ports[0]) } else { route }
    });
    let bus = start(engine, routes)?;
    // A routing specification has no room for a hundred thousand.
    for topic in further {
        bus.subscribe(NAME, topic).map_err(BenchError::doing("subscribing"))?;
    }
    role.run(Vec::new(), Hearer { bus, says: place.says(first) })
}

fn start(engine: Engine, routes: impl IntoIterator<Item = Route>) -> Result<Bus, BenchError> {
    let spec = RoutingSpec::builder();
    let routing = routes.into_iter().fold(spec, |spec, route| spec.backplane(route)).build();
    let routing = routing.map_err(BenchError::doing("writing a routing specification"))?;
    let started = Bus::builder(NAME).routing(routing).engine(engine).start_deadline(READY).start();
    started.map_err(BenchError::doing("starting a component"))
}

struct Talker {
    publisher: Publisher,
    _bus: Bus,
}

impl Sender for Talker {
    #[inline]
    fn send(&mut self, topic: &str, payload: &[u8]) -> Result<(), BenchError> {
        self.publisher.publish_raw(topic, payload).map_err(BenchError::doing("publishing"))
    }
}

struct Hearer {
    bus: Bus,
    says: &'static str,
}

impl Receiver for Hearer {
    fn receive<L: Listener>(
        self,
        listener: L,
        opening: Option<&[u8]>,
        until: &Until,
    ) -> Result<L, BenchError> {
        let (home, returned) = mpsc::channel();
        let mut lent = Lent { listener: Some(listener), home };
        let (stop, says) = (self.bus.stop_handle(), self.says);
        until.then(move || stop.stop());
        std::thread::scope(|scope| {
            let running = scope.spawn(|| {
                self.bus.run(move |message, outbox| {
                    let listener = lent.listener.as_mut();
                    match listener.and_then(|listener| listener.hear(message.payload_bytes())) {
                        Some(answer) => say(outbox, message.backplane(), says, answer),
                        None => Ok(()),
                    }
                })
            });
            if let Some(opening) = opening {
                let publisher = self.bus.publisher(NAME).map_err(BenchError::doing("publishing"))?;
                while !until.heard() && !until.over() {
                    publisher.publish_raw(says, opening).map_err(BenchError::doing("publishing"))?;
                    // Nobody says when the answer has come but the answer itself.
                    std::thread::park_timeout(LOOK);
                }
            }
            let ended =
                running.join().map_err(|_| BenchError::failed("receiving", "the handler panicked"))?;
            ended.map_err(BenchError::doing("receiving"))
        })?;
        returned.recv_timeout(READY).map_err(BenchError::doing("ending the handler"))
    }
}

/// Not inlined, so that who only counts need not make room for what this needs.
#[inline(never)]
fn say(outbox: &mut Outbox<'_>, to: BackplaneId, topic: &str, answer: &[u8]) -> Result<(), HandlerError> {
    Ok(outbox.publish_raw(to, topic, answer)?)
}

/// The bus drops its handler when it is done; then the listener comes back.
struct Lent<L> {
    listener: Option<L>,
    home: mpsc::Sender<L>,
}

impl<L> Drop for Lent<L> {
    fn drop(&mut self) {
        if let Some(listener) = self.listener.take() {
            let _ = self.home.send(listener);
        }
    }
}
