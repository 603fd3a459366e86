//! iceoryx2: shared memory, of which only places move. Nothing wakes a receiver unless both sides pay for it with each
//! message, so it is used as it is fastest: the reader looks again and again and takes a core for it; a publisher
//! that finds no room does the same.

use super::{Listener, Lossless, Parts, Place, Receiver, Sender, System, Until, peer};
use crate::BenchError;
use crate::role::{Publishing, Subscribing};
use crate::scenario::Scenario;
use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::prelude::*;
use std::{process, thread};

pub(super) static ICEORYX2: System = System {
    name: "iceoryx2",
    lossless: Lossless::BackPressure,
    check: |scenario| match scenario {
        Scenario::FanIn(2..) => Err("it is measured with one publisher"),
        scenario => peer::direct(scenario),
    },
    parts: Parts::Processes { middle: None, publish, subscribe },
};

/// Samples that wait in all queues together: each may be as long as the longest payload.
const SAMPLES: usize = 256;

/// Looks at an empty queue before others get the core.
const SPINS: usize = 100;

type Bytes<Port> = (Node<ipc::Service>, Port);
type Talking = Publisher<ipc::Service, [u8], ()>;
type Hearing = Subscriber<ipc::Service, [u8], ()>;

fn publish(place: &Place, role: Publishing) -> Result<(), BenchError> {
    let name = name();
    let (node, port) = publisher(place, &name, super::TOPIC)?;
    role.run(name, Talker { port, _node: node })
}

fn subscribe(place: &Place, role: Subscribing) -> Result<(), BenchError> {
    let first = role.first();
    let (name, ports) = if first { (name(), name()) } else { (place.ports.clone(), Vec::new()) };
    let topic = place.hears(first).into_iter().next().unwrap_or_default();
    let (node, hearing) = subscriber(place, &name, &topic)?;
    let answers = place.answers().then(|| publisher(place, &name, place.says(first))).transpose()?;
    let answers = answers.map(|(node, port)| Talker { port, _node: node });
    role.run(ports, Hearer { hearing, answers, says: place.says(first), _node: node })
}

/// Services have names, not ports: this process's number tells apart those of measurements that run at once.
fn name() -> Vec<u16> {
    let id = process::id();
    vec![(id >> 16) as u16, id as u16]
}

fn publisher(place: &Place, name: &[u16], topic: &str) -> Result<Bytes<Talking>, BenchError> {
    let (node, service) = service(place, name, topic)?;
    let port = service
        .publisher_builder()
        .initial_max_slice_len(crate::stamp::BYTES)
        .allocation_strategy(AllocationStrategy::PowerOfTwo)
        .backpressure_strategy(BackpressureStrategy::RetryUntilDelivered)
        .create();
    Ok((node, port.map_err(BenchError::doing("publishing"))?))
}

fn subscriber(place: &Place, name: &[u16], topic: &str) -> Result<Bytes<Hearing>, BenchError> {
    let (node, service) = service(place, name, topic)?;
    let port = service.subscriber_builder().create();
    Ok((node, port.map_err(BenchError::doing("subscribing"))?))
}

type Service = iceoryx2::service::port_factory::publish_subscribe::PortFactory<ipc::Service, [u8], ()>;

fn service(place: &Place, name: &[u16], topic: &str) -> Result<(Node<ipc::Service>, Service), BenchError> {
    const OPENING: &str = "opening an iceoryx2 service";
    set_log_level(LogLevel::Error);
    let name: Vec<_> = name.iter().map(u16::to_string).collect();
    let name = ServiceName::new(&format!("multiplane-{}/{topic}", name.join("-")))
        .map_err(BenchError::doing(OPENING))?;
    let node = NodeBuilder::new().signal_handling_mode(SignalHandlingMode::Disabled);
    let node = node.create::<ipc::Service>().map_err(BenchError::doing(OPENING))?;
    let subscribers = place.scenario.subscribers() as usize;
    let service = node
        .service_builder(&name)
        .publish_subscribe::<[u8]>()
        .enable_safe_overflow(false)
        .history_size(0)
        .max_publishers(1)
        .max_subscribers(subscribers)
        .max_nodes(subscribers + 2)
        .subscriber_max_buffer_size(SAMPLES / subscribers)
        .open_or_create();
    Ok((node, service.map_err(BenchError::doing(OPENING))?))
}

struct Talker {
    port: Talking,
    _node: Node<ipc::Service>,
}

impl Sender for Talker {
    #[inline]
    fn send(&mut self, _topic: &str, payload: &[u8]) -> Result<(), BenchError> {
        let sample = self.port.loan_slice_uninit(payload.len()).map_err(BenchError::doing("publishing"))?;
        sample.write_from_slice(payload).send().map_err(BenchError::doing("publishing"))?;
        Ok(())
    }
}

struct Hearer {
    hearing: Hearing,
    answers: Option<Talker>,
    says: &'static str,
    _node: Node<ipc::Service>,
}

impl Receiver for Hearer {
    fn receive<L: Listener>(
        mut self,
        mut listener: L,
        opening: Option<&[u8]>,
        until: &Until,
    ) -> Result<L, BenchError> {
        let mut looked = 0;
        while !until.over() {
            if let Some(sample) = self.hearing.receive().map_err(BenchError::doing("receiving"))? {
                looked = 0;
                if let (Some(answer), Some(answers)) = (listener.hear(sample.payload()), &mut self.answers) {
                    answers.send(self.says, answer)?;
                }
                continue;
            }
            looked += 1;
            if looked >= SPINS {
                looked = 0;
                if let (Some(opening), Some(answers), false) = (opening, &mut self.answers, until.heard()) {
                    answers.send(self.says, opening)?;
                }
                thread::yield_now();
            }
        }
        Ok(listener)
    }
}
