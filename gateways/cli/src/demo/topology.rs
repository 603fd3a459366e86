//! Who takes part in the demo: two backplanes, a server on both, a client on the first, a notifier on the second.

use super::books::Books;
use super::failed;
use crate::failure::Failure;
use multiplane_bus::{Backplane, Bus, BusError, Route, RoutingSpec, StopHandle, Subscriber};
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::thread::JoinHandle;
use std::time::Duration;
use tempfile::NamedTempFile;

/// How long everybody may take to hear of everybody else.
const READY: Duration = Duration::from_secs(5);
/// How long each may take to end.
const CLOSE: Duration = Duration::from_millis(200);

#[derive(Serialize, Deserialize)]
pub(super) struct Numbered {
    pub(super) message_number: u64,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Notice {
    pub(super) message: String,
    pub(super) id: String,
}

pub(super) struct Topology {
    pub(super) client: Bus,
    pub(super) notices: Subscriber,
    /// What each component says of its links.
    pub(super) banners: Vec<String>,
    notifier: Bus,
    server: Server,
    backplanes: (Backplane, Backplane),
    /// Removed at the end.
    _routing: NamedTempFile,
}

/// The echo server, on a thread of its own.
struct Server {
    stop: StopHandle,
    thread: Option<JoinHandle<(Bus, Result<(), BusError>)>>,
}

pub(super) fn backplanes() -> Result<(Backplane, Backplane), Failure> {
    let start = |name| Backplane::builder(name).publisher_port(0).subscriber_port(0).start();
    Ok((start("BP1")?, start("BP2")?))
}

/// Writes the server's routing specification: it receives `echo` from BP1, and only publishes on BP2.
pub(super) fn routing_file((bp1, bp2): &(Backplane, Backplane)) -> Result<NamedTempFile, Failure> {
    let spec = RoutingSpec::builder()
        .backplane(bp1.route().topics(["echo"]))
        .backplane(Route { subscriber_port: None, ..bp2.route() })
        .build()?;
    let write = || {
        let mut file = tempfile::Builder::new().prefix("multiplane-demo-").suffix(".csv").tempfile()?;
        file.write_all(spec.to_string().as_bytes()).map(|()| file)
    };
    write().map_err(|error: std::io::Error| {
        Failure::Failed(format!(
            "cannot write a routing specification to {}: {error}; name another directory in TMPDIR",
            std::env::temp_dir().display()
        ))
    })
}

impl Topology {
    pub(super) fn start(backplanes: (Backplane, Backplane), routing: NamedTempFile) -> Result<Self, Failure> {
        let (bp1, bp2) = (&backplanes.0, &backplanes.1);
        let server =
            Bus::builder("MultiEchoServer").routing(RoutingSpec::from_path(routing.path())?).start()?;
        let client = component("EchoClient", bp1.route().topics(["reply"]))?;
        let notifier =
            component("Notifier", Route { publisher_port: None, ..bp2.route().topics(["notice"]) })?;
        let notices = notifier.subscriber()?;
        client.publisher("BP1")?.wait_for_subscriber("echo", READY)?;
        server.publisher("BP1")?.wait_for_subscriber("reply", READY)?;
        server.publisher("BP2")?.wait_for_subscriber("notice", READY)?;
        let banners = vec![server.banner(), client.banner(), notifier.banner()];
        let server = Server::run(server)?;
        Ok(Self { client, notices, banners, notifier, server, backplanes, _routing: routing })
    }

    /// Ends everybody, components first, and takes the counters of all of them. `answered` replies arrived.
    pub(super) fn close(self, replies: Subscriber, answered: u64) -> Result<Books, Failure> {
        let mut echo_server = self.server;
        let (server, outcome) = echo_server.end().ok_or_else(|| failed("the echo server panicked"))?;
        outcome?;
        let (bp1, bp2) = self.backplanes;
        let server = server.close(CLOSE).stats;
        let client = self.client.close(CLOSE).stats;
        let notifier = self.notifier.close(CLOSE).stats;
        drop((replies, self.notices));
        Ok(Books::new(
            &client,
            &server,
            &notifier,
            &[("BP1", bp1.close(CLOSE)), ("BP2", bp2.close(CLOSE))],
            answered,
        ))
    }
}

impl Server {
    /// Banyan's multi_echo_server: answers where the message came from, and tells BP2 of message 0.
    fn run(bus: Bus) -> Result<Self, Failure> {
        let notice = bus.publisher("BP2")?;
        let stop = bus.stop_handle();
        let serve = move || {
            let outcome = bus.run(move |message, outbox| {
                outbox.publish_raw(message.backplane(), "reply", message.payload_bytes())?;
                if message.payload()?.get("message_number")?.as_u64() == Some(0) {
                    let got_it = Notice { message: "got it".to_owned(), id: "b".to_owned() };
                    outbox.publish(&notice, "notice", &got_it)?;
                }
                Ok(())
            });
            (bus, outcome)
        };
        let thread =
            std::thread::Builder::new().name("echo-server".to_owned()).spawn(serve).map_err(failed)?;
        Ok(Self { stop, thread: Some(thread) })
    }

    /// Its bus, and how it ended; `None` if it panicked.
    fn end(&mut self) -> Option<(Bus, Result<(), BusError>)> {
        self.stop.stop();
        self.thread.take()?.join().ok()
    }
}

/// When the demo ends early, the server goes before its backplanes do, or it would complain of losing them.
impl Drop for Server {
    fn drop(&mut self) {
        drop(self.end());
    }
}

fn component(name: &str, route: Route) -> Result<Bus, Failure> {
    let routing = RoutingSpec::builder().backplane(route).build()?;
    Ok(Bus::builder(name).routing(routing).start()?)
}
