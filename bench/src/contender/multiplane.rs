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
use multiplane_bus::curve::{AllowList, KeyPair, SecretKey};
use multiplane_bus::{
    Backplane, BackplaneBuilder, BackplaneId, Builder, Bus, Engine, HandlerError, OnSlow, Outbox, Publisher,
    Route, RoutingSpec, Wait,
};
use std::sync::mpsc;
use std::time::Duration;

const NAME: &str = "bench";
/// Seeds of keys: the processes of a run need not tell each other theirs, for nothing here is secret.
const BACKPLANE: u8 = 1;
const COMPONENT: u8 = 2;
const READY: Duration = Duration::from_secs(10);

/// How components and backplane are made.
#[derive(Clone, Copy)]
struct Kind {
    engine: Engine,
    /// Whether a backplane offers its shortcut to a Unix socket.
    unix: bool,
    /// Whether everything is sealed by CURVE.
    curve: bool,
    /// How components wait.
    wait: Wait,
}

const PLAIN: Kind = Kind { engine: Engine::Native, unix: false, curve: false, wait: Wait::Block };
const BY_UNIX: Kind = Kind { unix: true, ..PLAIN };
const SEALED: Kind = Kind { curve: true, ..PLAIN };
const SPINNING: Kind = Kind { wait: Wait::Spin { before_block: Duration::from_micros(50) }, ..PLAIN };
const BY_LIBZMQ: Kind = Kind { engine: Engine::Libzmq, ..PLAIN };

pub(crate) static NATIVE: System = System {
    name: "multiplane-native",
    lossless: Lossless::BackPressure,
    check: |_| Ok(()),
    parts: Parts::Processes { middle: Some(|_| PLAIN.backplane()), publish, subscribe },
};

/// As [`NATIVE`], with the shortcut to a Unix socket.
pub(crate) static UNIX: System = System {
    name: "multiplane-native-unix",
    parts: Parts::Processes {
        middle: Some(|_| BY_UNIX.backplane()),
        publish: |place, role| BY_UNIX.publish(place, role),
        subscribe,
    },
    ..NATIVE
};

/// As [`NATIVE`], with CURVE on every connection: what that costs.
pub(crate) static CURVE: System = System {
    name: "multiplane-native-curve",
    parts: Parts::Processes {
        middle: Some(|_| SEALED.backplane()),
        publish: |place, role| SEALED.publish(place, role),
        subscribe: |place, role| SEALED.subscribe(place, role),
    },
    ..NATIVE
};

/// As [`NATIVE`], but components look again and again for a while before they sleep. A backplane has no such choice.
pub(crate) static SPIN: System = System {
    name: "multiplane-native-spin",
    check: |scenario| match scenario {
        Scenario::OneToOne | Scenario::PingPong => Ok(()),
        _ => Err("spinning is for one peer that answers at once: it is measured in one_to_one and ping_pong"),
    },
    parts: Parts::Processes {
        middle: Some(|_| SPINNING.backplane()),
        publish: |place, role| SPINNING.publish(place, role),
        subscribe: |place, role| SPINNING.subscribe(place, role),
    },
    ..NATIVE
};

pub(crate) static LIBZMQ: System = System {
    name: "multiplane-libzmq",
    check,
    parts: Parts::Processes {
        middle: Some(|_| BY_LIBZMQ.backplane()),
        publish: |place, role| BY_LIBZMQ.publish(place, role),
        subscribe: |place, role| BY_LIBZMQ.subscribe(place, role),
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

/// A native backplane in a process of its own.
pub(super) fn backplane(_: &Place) -> Result<Middle, BenchError> {
    PLAIN.backplane()
}

/// A component of ours that publishes by a backplane.
pub(super) fn talker(place: &Place) -> Result<impl Sender, BenchError> {
    PLAIN.talker(place)
}

/// A component of ours that receives.
pub(super) fn hearer(place: &Place) -> Result<impl Receiver, BenchError> {
    PLAIN.hearer(place, false)
}

fn publish(place: &Place, role: Publishing) -> Result<(), BenchError> {
    PLAIN.publish(place, role)
}

fn subscribe(place: &Place, role: Subscribing) -> Result<(), BenchError> {
    PLAIN.subscribe(place, role)
}

fn keys(seed: u8) -> KeyPair {
    KeyPair::new(SecretKey::from_bytes(&[seed; 32]))
}

impl Kind {
    /// It holds publishers back rather than lose a message.
    fn backplane_builder(self) -> BackplaneBuilder {
        let builder = Backplane::builder(NAME).publisher_port(0).subscriber_port(0).on_slow(OnSlow::Block);
        let builder = builder.engine(self.engine).unix_shortcut(self.unix);
        if !self.curve {
            return builder;
        }
        let allow = AllowList::new().allow("component", *keys(COMPONENT).public(), [""], [""]);
        builder.curve(keys(BACKPLANE), allow)
    }

    /// A backplane in a process of its own.
    fn backplane(self) -> Result<Middle, BenchError> {
        let backplane =
            self.backplane_builder().start().map_err(BenchError::doing("starting the backplane"))?;
        Ok(Middle::here(vec![backplane.publisher_port(), backplane.subscriber_port()], backplane))
    }

    /// A component that only publishes; without a middle it hosts the backplane.
    fn publish(self, place: &Place, role: Publishing) -> Result<(), BenchError> {
        if place.has_middle() {
            return role.run(Vec::new(), self.talker(place)?);
        }
        let started = self.component().host(self.backplane_builder()).start();
        let bus = started.map_err(BenchError::doing("hosting a backplane"))?;
        let ports = bus.hosted(NAME).map(|here| vec![here.publisher_port(), here.subscriber_port()]);
        role.run(ports.unwrap_or_default(), Talker::new(bus)?)
    }

    fn talker(self, place: &Place) -> Result<Talker, BenchError> {
        Talker::new(self.start([Route::new(NAME, &place.host).publisher_port(place.port(0)?)])?)
    }

    /// A component that receives, and in ping-pong also publishes.
    fn subscribe(self, place: &Place, role: Subscribing) -> Result<(), BenchError> {
        let hearer = self.hearer(place, role.first())?;
        role.run(Vec::new(), hearer)
    }

    fn hearer(self, place: &Place, first: bool) -> Result<Hearer, BenchError> {
        let hears = place.hears(first);
        let (named, further) = hears.split_at(1);
        let routes = place.ports.chunks_exact(2).enumerate().map(|(nth, ports)| {
            let name = if nth == 0 { NAME.to_owned() } else { format!("idle{nth}") };
            let route = Route::new(name, &place.host).subscriber_port(ports[1]).topics(named);
            if place.answers() { route.publisher_port(ports[0]) } else { route }
        });
        let bus = self.start(routes)?;
        // A routing specification has no room for a hundred thousand.
        for topic in further {
            bus.subscribe(NAME, topic).map_err(BenchError::doing("subscribing"))?;
        }
        Ok(Hearer { bus, says: place.says(first) })
    }

    fn start(self, routes: impl IntoIterator<Item = Route>) -> Result<Bus, BenchError> {
        let spec = RoutingSpec::builder();
        let routing = routes.into_iter().fold(spec, |spec, route| spec.backplane(route)).build();
        let routing = routing.map_err(BenchError::doing("writing a routing specification"))?;
        let started = self.component().routing(routing).engine(self.engine).start();
        started.map_err(BenchError::doing("starting a component"))
    }

    fn component(self) -> Builder {
        let component = Bus::builder(NAME).wait(self.wait).start_deadline(READY);
        match self.curve {
            true => component.curve(keys(COMPONENT), *keys(BACKPLANE).public()),
            false => component,
        }
    }
}

struct Talker {
    publisher: Publisher,
    _bus: Bus,
}

impl Talker {
    fn new(bus: Bus) -> Result<Self, BenchError> {
        let publisher = bus.publisher(NAME).map_err(BenchError::doing("publishing"))?;
        Ok(Talker { publisher, _bus: bus })
    }
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
