//! What stands between the bus and a foreign world: our gateways and Python Banyan's, each with a backplane of its own
//! kind, and what does the same without a bus.
//!
//! Whoever publishes and whoever counts is ours on either side, so that neither is what is measured. Topics are the
//! defaults of Python Banyan's gateways.

mod body;
pub(super) mod browser;
pub(super) mod clients;
mod device;

use super::wire::{Reader, Writer};
use super::{
    LOOK, Lossless, Middle, Parts, Place, Sender, System, WINDOW, banyan, mosquitto, multiplane, server,
};
use crate::role::{Publishing, Subscribing};
use crate::scenario::{Scenario, Way, World};
use crate::{BenchError, clock};
use body::{Form, Reading, Writing};
use device::{Receiving, Sending};
use multiplane_bus::{Backplane, Bus, OnSlow, RoutingSpec};
use std::fs;
use std::thread;
use std::time::Duration;

/// What a gateway keeps for a foreign side that is slow is what has room in its queue; what comes from there it leaves in the
/// connection until the bus takes it.
pub(super) static MULTIPLANE: System = System {
    name: "multiplane-gateway",
    lossless: Lossless::CreditOnBus(WINDOW / 2),
    check: |_| Ok(()),
    parts: Parts::Processes { middle: Some(ours), publish, subscribe },
};

/// Python Banyan's. Its sockets drop beyond 1000 messages.
pub(super) static BANYAN: System = System {
    name: "banyan-gateway",
    lossless: Lossless::Credit(400),
    parts: Parts::Processes { middle: Some(pythons), publish: publish_to_python, subscribe },
    ..MULTIPLANE
};

/// A broker and nothing else: no client program either.
pub(super) static BROKER: System = System {
    name: "mosquitto-alone",
    lossless: Lossless::Credit(WINDOW),
    check: check_mqtt,
    parts: Parts::Processes {
        middle: Some(mosquitto::middle),
        publish: |place, role| {
            let writer = Writer::<mosquitto::Mqtt>::connect(place.port(0)?)?;
            role.run(Vec::new(), Writing::new(Form::Json, writer))
        },
        subscribe: |place, role| {
            let reader = Reader::<mosquitto::Mqtt>::connect(place.port(0)?, &place.topics())?;
            role.run(Vec::new(), Reading(reader))
        },
    },
};

/// A device, and who reads it without a bus: one stream of bytes.
pub(super) static STREAM: System = System {
    name: "base-frames",
    lossless: Lossless::BackPressure,
    check: |scenario| match scenario {
        Scenario::Gateway(World::Tcp, _) => Ok(()),
        _ => Err("it is what devices speak"),
    },
    parts: Parts::Processes {
        middle: None,
        publish: |_, role| {
            let (device, port) = Sending::listen(0)?;
            role.run(vec![port], Writing::new(Form::MessagePack, device))
        },
        subscribe: |place, role| {
            let reader = Reader::<device::Frames>::connect(place.port(0)?, &[])?;
            role.run(Vec::new(), Reading(reader))
        },
    },
};

const STARTING: &str = "starting a gateway";

/// Where Python's gateway listens for web clients; it cannot be told another port.
const PYTHONS_WEB: u16 = 9000;

/// How long a gateway may take to find its device, and then to notice.
const PATIENCE: Duration = Duration::from_secs(20);
const SETTLE: Duration = Duration::from_millis(300);

fn check_mqtt(scenario: Scenario) -> Result<(), &'static str> {
    match scenario {
        Scenario::Gateway(World::Mqtt, _) => Ok(()),
        _ => Err("it speaks MQTT"),
    }
}

fn world(place: &Place) -> Result<(World, Way), BenchError> {
    match place.scenario {
        Scenario::Gateway(world, way) => Ok((world, way)),
        _ => Err(BenchError::failed("starting", "a gateway leads to a foreign world")),
    }
}

/// Its ports: both of the backplane, then that of the broker, or of a device that is to come.
fn ours(place: &Place) -> Result<Middle, BenchError> {
    let backplane = Backplane::builder("bench").publisher_port(0).subscriber_port(0).on_slow(OnSlow::Block);
    let backplane = backplane.start().map_err(BenchError::doing(STARTING))?;
    let routing =
        RoutingSpec::builder().backplane(backplane.route()).build().map_err(BenchError::doing(STARTING))?;
    let ports = vec![backplane.publisher_port(), backplane.subscriber_port()];
    let component = Bus::builder("gateway").routing(routing);
    match world(place)?.0 {
        World::Mqtt => {
            use multiplane_mqtt::{Config, FromMqtt, Mapping, ToMqtt, start};
            let broker = mosquitto::middle(place)?;
            let mapping = Mapping {
                to_mqtt: vec![ToMqtt::new("to_mqtt", "from_banyan")],
                from_mqtt: vec![FromMqtt::new("mqtt_network", "from_mqtt")],
            };
            let config = Config::new(&format!("127.0.0.1:{}", broker.ports[0]), mapping);
            let gateway = start(component, config, |_| ()).map_err(BenchError::doing(STARTING))?;
            Ok(Middle::here(ports, (gateway, backplane)).and(broker))
        }
        World::Tcp => {
            use multiplane_tcp::{Config, Device, Place, start};
            let port = server::quiet_port()?;
            let device = Device::new(Place::Connect(format!("127.0.0.1:{port}")));
            let config = Config::new([device.from("from_pico").to("figura")]);
            let gateway = start(component, config, |_| ()).map_err(BenchError::doing(STARTING))?;
            Ok(Middle::here([ports, vec![port]].concat(), (gateway, backplane)))
        }
        World::WebSocket => {
            use multiplane_websocket::{Config, start};
            let port = server::free_port()?;
            let config = Config::new(&port.to_string());
            let gateway = start(component, config, |_| ()).map_err(BenchError::doing(STARTING))?;
            Ok(Middle::here([ports, vec![port]].concat(), (gateway, backplane)))
        }
    }
}

const SCRIPT: &str = include_str!("../../peers/gateway.py");

fn pythons(place: &Place) -> Result<Middle, BenchError> {
    let backplane = banyan::middle(place)?;
    let (kind, broker, port) = match world(place)?.0 {
        World::Mqtt => {
            let broker = mosquitto::middle(place)?;
            let port = broker.ports[0];
            ("mqtt", broker, port)
        }
        World::Tcp => {
            let port = server::quiet_port()?;
            ("tcp", Middle::here(vec![port], ()), port)
        }
        World::WebSocket => ("websocket", Middle::here(Vec::new(), ()), PYTHONS_WEB),
    };
    let python = banyan::interpreter()?;
    let ready = if kind == "websocket" { port } else { server::free_port()? };
    let [ready_text, publishers, subscribers, foreign] =
        [ready, backplane.ports[0], backplane.ports[1], port].map(|port| port.to_string());
    let command = [&python, "-c", SCRIPT, kind, &ready_text, &publishers, &subscribers, &foreign];
    let gateway = Middle::server(&command, vec![ready])?;
    Ok(backplane.and(broker).and(gateway))
}

fn publish(place: &Place, role: Publishing) -> Result<(), BenchError> {
    let foreign = place.port(2)?;
    match world(place)? {
        (_, Way::To) => role.run(Vec::new(), Writing::new(Form::MessagePack, multiplane::talker(place)?)),
        (World::Mqtt, Way::From) => {
            let writer = Writer::<mosquitto::Mqtt>::connect(foreign)?;
            role.run(Vec::new(), Writing::new(Form::Json, writer))
        }
        (World::Tcp, Way::From) => {
            role.run(Vec::new(), Writing::new(Form::MessagePack, Sending::listen(foreign)?.0))
        }
        (World::WebSocket, Way::From) => {
            let writer = Writer::<browser::Text>::over(browser::connect(foreign)?)?;
            role.run(Vec::new(), Writing::new(Form::Json, writer))
        }
    }
}

fn subscribe(place: &Place, role: Subscribing) -> Result<(), BenchError> {
    let foreign = place.port(2)?;
    match world(place)? {
        (_, Way::From) => {
            // The ports behind are of the foreign side.
            let backplane = Place { ports: place.ports[..2].to_vec(), ..place.clone() };
            role.run(Vec::new(), Reading(multiplane::hearer(&backplane)?))
        }
        (World::Mqtt, Way::To) => {
            let reader = Reader::<mosquitto::Mqtt>::connect(foreign, &place.hears(false))?;
            role.run(Vec::new(), Reading(reader))
        }
        (World::Tcp, Way::To) => role.run(Vec::new(), Reading(Receiving::listen(foreign)?)),
        (World::WebSocket, Way::To) => {
            let reader = Reader::<browser::Text>::over(browser::connect(foreign)?, &[])?;
            role.run(Vec::new(), Reading(reader))
        }
    }
}

/// Python's gateway to TCP never forgives a message that comes before its device does.
fn publish_to_python(place: &Place, role: Publishing) -> Result<(), BenchError> {
    match world(place)? {
        (World::Tcp, Way::To) => {
            let talker = Patient { sender: multiplane::talker(place)?, device: Some(place.port(2)?) };
            role.run(Vec::new(), Writing::new(Form::MessagePack, talker))
        }
        _ => publish(place, role),
    }
}

/// Sends nothing before somebody is connected to the device.
struct Patient<S> {
    sender: S,
    device: Option<u16>,
}

impl<S: Sender> Sender for Patient<S> {
    #[inline]
    fn send(&mut self, topic: &str, payload: &[u8]) -> Result<(), BenchError> {
        if let Some(device) = self.device.take() {
            await_connection(device)?;
        }
        self.sender.send(topic, payload)
    }

    fn flush(&mut self) -> Result<(), BenchError> {
        self.sender.flush()
    }
}

fn await_connection(port: u16) -> Result<(), BenchError> {
    let (local, established) = (format!(":{port:04X}"), "01");
    let deadline = clock::now() + PATIENCE.as_nanos() as u64;
    loop {
        let table =
            fs::read_to_string("/proc/net/tcp").map_err(BenchError::doing("looking at connections"))?;
        let connected = table.lines().any(|line| {
            let mut fields = line.split_whitespace().skip(1);
            fields.next().is_some_and(|address| address.ends_with(&local))
                && fields.nth(1) == Some(established)
        });
        if connected {
            // What is known of is the connection, not that Python has been told of it.
            thread::park_timeout(SETTLE);
            return Ok(());
        }
        if clock::now() > deadline {
            return Err(BenchError::failed("publishing", "the gateway does not connect to its device"));
        }
        thread::park_timeout(LOOK);
    }
}
