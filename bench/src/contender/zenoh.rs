//! Zenoh, peer to peer over TCP and through a router. It may hold a publisher back (`CongestionControl::Block`), so it
//! loses nothing. Messages are heard in its callback, the fastest way.

use super::server::free_port;
use super::{
    BACK, LOOK, Listener, Lossless, Middle, Parts, Place, Receiver, Sender, System, TOPIC, Until, peer,
};
use crate::BenchError;
use crate::role::{Publishing, Subscribing};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use zenoh::pubsub::Publisher;
use zenoh::qos::CongestionControl;
use zenoh::sample::Sample;
use zenoh::{Config, Session, Wait};

pub(super) static PEER: System = System {
    name: "zenoh",
    lossless: Lossless::BackPressure,
    check: peer::direct,
    parts: Parts::Processes { middle: None, publish, subscribe },
};

pub(super) static ROUTER: System = System {
    name: "zenoh-router",
    lossless: Lossless::BackPressure,
    check: peer::through_a_server,
    parts: Parts::Processes { middle: Some(middle), publish, subscribe },
};

fn middle(_place: &Place) -> Result<Middle, BenchError> {
    let port = free_port()?;
    let session = open("router", &[port], &[])?;
    Ok(Middle::here(vec![port], session))
}

fn publish(place: &Place, role: Publishing) -> Result<(), BenchError> {
    let (session, ports) = join(place, true)?;
    role.run(ports, Talker { publishers: HashMap::new(), session })
}

fn subscribe(place: &Place, role: Subscribing) -> Result<(), BenchError> {
    let first = role.first();
    let (session, ports) = join(place, first)?;
    // What is said in answer must not wait for company.
    let says = if first { TOPIC } else { BACK };
    let answers = place.answers().then(|| publisher(&session, says, true)).transpose()?;
    let hears = place.hears(first);
    role.run(ports, Hearer { session, hears, answers: answers.map(Arc::new) })
}

/// A client of the router; without one, a peer, of whom those that speak first listen.
fn join(place: &Place, listens: bool) -> Result<(Session, Vec<u16>), BenchError> {
    if place.has_middle() {
        return Ok((open("client", &[], &[place.port(0)?])?, Vec::new()));
    }
    if listens {
        let port = free_port()?;
        return Ok((open("peer", &[port], &[])?, vec![port]));
    }
    Ok((open("peer", &[], &place.ports)?, Vec::new()))
}

fn open(mode: &str, listen: &[u16], connect: &[u16]) -> Result<Session, BenchError> {
    let failed = BenchError::doing("opening zenoh");
    let endpoints = |ports: &[u16]| {
        let all: Vec<_> = ports.iter().map(|port| format!("\"tcp/127.0.0.1:{port}\"")).collect();
        format!("[{}]", all.join(", "))
    };
    let make = || {
        let mut config = Config::default();
        config.insert_json5("mode", &format!("\"{mode}\""))?;
        config.insert_json5("scouting/multicast/enabled", "false")?;
        config.insert_json5("listen/endpoints", &endpoints(listen))?;
        config.insert_json5("connect/endpoints", &endpoints(connect))?;
        zenoh::open(config).wait()
    };
    make().map_err(failed)
}

fn publisher(session: &Session, topic: &str, express: bool) -> Result<Publisher<'static>, BenchError> {
    let declared = session
        .declare_publisher(topic.to_owned())
        .congestion_control(CongestionControl::Block)
        .express(express)
        .wait();
    declared.map_err(BenchError::doing("publishing"))
}

struct Talker {
    publishers: HashMap<String, Publisher<'static>>,
    session: Session,
}

impl Sender for Talker {
    #[inline]
    fn send(&mut self, topic: &str, payload: &[u8]) -> Result<(), BenchError> {
        let publisher = match self.publishers.get(topic) {
            Some(known) => known,
            None => {
                let new = publisher(&self.session, topic, false)?;
                self.publishers.entry(topic.to_owned()).or_insert(new)
            }
        };
        publisher.put(payload).wait().map_err(BenchError::doing("publishing"))
    }
}

struct Hearer {
    session: Session,
    hears: Vec<String>,
    answers: Option<Arc<Publisher<'static>>>,
}

impl Receiver for Hearer {
    fn receive<L: Listener>(
        self,
        listener: L,
        opening: Option<&[u8]>,
        until: &Until,
    ) -> Result<L, BenchError> {
        let shared = Arc::new(Mutex::new(Some(listener)));
        let mut subscribers = Vec::new();
        for topic in &self.hears {
            let (shared, answers) = (shared.clone(), self.answers.clone());
            let hear = move |sample: Sample| {
                let mut listener = shared.lock().unwrap_or_else(PoisonError::into_inner);
                let heard = listener.as_mut().map(|listener| listener.hear(&sample.payload().to_bytes()));
                if let (Some(Some(answer)), Some(answers)) = (heard, &answers) {
                    // A session that is closed ends the measurement by its silence.
                    let _ = answers.put(answer).wait();
                }
            };
            let declared = self.session.declare_subscriber(topic.clone()).callback(hear).wait();
            subscribers.push(declared.map_err(BenchError::doing("subscribing"))?);
        }
        let waiting = thread::current();
        until.then(move || waiting.unpark());
        while !until.over() {
            if let (Some(opening), Some(answers), false) = (opening, &self.answers, until.heard()) {
                answers.put(opening).wait().map_err(BenchError::doing("publishing"))?;
            }
            thread::park_timeout(LOOK);
        }
        let listener = shared.lock().unwrap_or_else(PoisonError::into_inner).take();
        listener.ok_or_else(|| BenchError::failed("receiving", "the listener is gone"))
    }
}
