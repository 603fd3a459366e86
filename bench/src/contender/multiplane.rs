//! Multiplane: components of this project through a backplane of this project, on either engine of the backplane.
//!
//! Subscribers are handlers, which is the fast way and the one the manual shows. Lossless by back-pressure: the
//! backplane runs with [`OnSlow::Block`], and `publish` waits for room.

use super::{BACK, Contender, LOOK, Listener, Middle, Place, Receiver, Sender, TOPIC, Until};
use crate::BenchError;
use multiplane_bus::{Backplane, Bus, Engine, OnSlow, Publisher, Route, RoutingSpec};
use std::sync::mpsc;
use std::time::Duration;

const NAME: &str = "bench";
const READY: Duration = Duration::from_secs(10);

/// A backplane.
pub(crate) fn middle(place: &Place) -> Result<Middle, BenchError> {
    let engine = match place.contender {
        Contender::MultiplaneLibzmq => Engine::Libzmq,
        _ => Engine::Native,
    };
    let builder = Backplane::builder(NAME).publisher_port(0).subscriber_port(0);
    let started = builder.on_slow(OnSlow::Block).engine(engine).start();
    let backplane = started.map_err(BenchError::doing("starting the backplane"))?;
    Ok((vec![backplane.publisher_port(), backplane.subscriber_port()], Box::new(backplane)))
}

/// A component that only publishes.
pub(crate) fn publisher(place: &Place) -> Result<(Vec<u16>, impl Sender), BenchError> {
    let bus = start(Route::new(NAME, "127.0.0.1").publisher_port(place.port(0)?))?;
    let publisher = bus.publisher(NAME).map_err(BenchError::doing("publishing"))?;
    Ok((Vec::new(), Talker { publisher, _bus: bus }))
}

/// A component that receives, and in ping-pong also publishes.
pub(crate) fn subscriber(place: &Place, first: bool) -> Result<(Vec<u16>, impl Receiver), BenchError> {
    let (hears, says) = if first { (BACK, TOPIC) } else { (TOPIC, BACK) };
    let mut route = Route::new(NAME, "127.0.0.1").subscriber_port(place.port(1)?).topics([hears]);
    if place.answers() {
        route = route.publisher_port(place.port(0)?);
    }
    Ok((Vec::new(), Hearer { bus: start(route)?, says }))
}

fn start(route: Route) -> Result<Bus, BenchError> {
    let routing = RoutingSpec::builder().backplane(route).build();
    let routing = routing.map_err(BenchError::doing("writing a routing specification"))?;
    let started = Bus::builder(NAME).routing(routing).start_deadline(READY).start();
    started.map_err(BenchError::doing("starting a component"))
}

struct Talker {
    publisher: Publisher,
    _bus: Bus,
}

impl Sender for Talker {
    #[inline]
    fn send(&mut self, payload: &[u8]) -> Result<(), BenchError> {
        self.publisher.publish_raw(TOPIC, payload).map_err(BenchError::doing("publishing"))
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
                    if let Some(answer) = listener.and_then(|listener| listener.hear(message.payload_bytes()))
                    {
                        outbox.publish_raw(message.backplane(), says, answer)?;
                    }
                    Ok(())
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
