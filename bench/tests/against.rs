//! Loading a backplane that runs already: what it drops is told to the message.
#![allow(clippy::unwrap_used)] // Helpers of tests.

mod common;

use common::{launcher, plan};
use multiplane_bench::BenchError;
use multiplane_bench::contender::Contender;
use multiplane_bench::measure::{Against, Outcome, Plan, Round, Row, measure};
use multiplane_bench::report::{Origin, json_lines, table};
use multiplane_bench::scenario::Scenario;
use multiplane_bench::stamp::Stamp;
use multiplane_bus::{Backplane, Engine, OnSlow};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use zmq::{POLLIN, Socket, SocketType};

fn run(against: Against, contenders: &[Contender], scenarios: &[Scenario]) -> Result<Vec<Row>, BenchError> {
    let plan = Plan { against: Some(against), ..plan(contenders, scenarios) };
    measure(&plan, &launcher(), &|| false, &mut |_| ())
}

fn runs(row: &Row) -> Vec<&Outcome> {
    let rounds = row.rounds.as_ref().unwrap_or_else(|why| panic!("{}: {why}", row.contender));
    rounds.iter().flat_map(Round::runs).collect()
}

#[test]
fn all_that_a_running_backplane_forwards_is_counted() {
    for engine in [Engine::Native, Engine::Libzmq] {
        let backplane = Backplane::builder("running").publisher_port(0).subscriber_port(0).engine(engine);
        let backplane = backplane.on_slow(OnSlow::Block).start().unwrap();
        let against = Against {
            host: "127.0.0.1".to_owned(),
            publisher_port: backplane.publisher_port(),
            subscriber_port: backplane.subscriber_port(),
        };
        let scenarios =
            [Scenario::OneToOne, Scenario::FanOut(2), Scenario::FanIn(2), Scenario::ManyTopics(1100)];
        for row in run(against, &Contender::ends(), &scenarios).unwrap() {
            for outcome in runs(&row) {
                let copies = outcome.sent() * u64::from(row.scenario.subscribers());
                assert!(copies > 0, "{}", row.contender);
                assert_eq!((outcome.received(), outcome.lost()), (copies, 0), "{}", row.contender);
            }
        }
        drop(backplane);
    }
}

/// A backplane that drops every hundredth message that is measured, and counts them.
struct Leaky {
    against: Against,
    over: Arc<AtomicBool>,
    forwarding: Option<JoinHandle<u64>>,
}

impl Leaky {
    fn start() -> Self {
        let context = zmq::Context::new();
        let bind = |kind| {
            let socket = context.socket(kind).unwrap();
            socket.set_sndhwm(0).unwrap();
            socket.set_rcvhwm(0).unwrap();
            socket.bind("tcp://127.0.0.1:*").unwrap();
            let endpoint = socket.get_last_endpoint().unwrap().unwrap();
            (socket, endpoint.rsplit_once(':').unwrap().1.parse().unwrap())
        };
        let (incoming, publisher_port) = bind(SocketType::XSUB);
        let (outgoing, subscriber_port) = bind(SocketType::XPUB);
        let over = Arc::new(AtomicBool::new(false));
        let asked = over.clone();
        let forwarding = thread::spawn(move || forward(&incoming, &outgoing, &asked));
        let against = Against { host: "127.0.0.1".to_owned(), publisher_port, subscriber_port };
        Leaky { against, over, forwarding: Some(forwarding) }
    }

    fn dropped(mut self) -> u64 {
        self.over.store(true, Ordering::Release);
        self.forwarding.take().unwrap().join().unwrap()
    }
}

fn forward(incoming: &Socket, outgoing: &Socket, over: &AtomicBool) -> u64 {
    let (mut seen, mut dropped) = (0_u64, 0);
    let mut items = [incoming.as_poll_item(POLLIN), outgoing.as_poll_item(POLLIN)];
    while !over.load(Ordering::Acquire) {
        zmq::poll(&mut items, 20).unwrap();
        if items[1].is_readable() {
            incoming.send_multipart(outgoing.recv_multipart(0).unwrap(), 0).unwrap();
        }
        if items[0].is_readable() {
            let frames = incoming.recv_multipart(0).unwrap();
            let measured = Stamp::read(&frames[1]).is_some_and(|stamp| !stamp.is_probe());
            seen += u64::from(measured);
            if measured && seen.is_multiple_of(100) {
                dropped += 1;
            } else {
                outgoing.send_multipart(frames, 0).unwrap();
            }
        }
    }
    dropped
}

#[test]
fn what_a_backplane_drops_is_lost_to_the_message() {
    for contender in Contender::ends() {
        let leaky = Leaky::start();
        let rows = run(leaky.against.clone(), &[contender], &[Scenario::OneToOne]).unwrap();
        let lost: u64 = runs(&rows[0]).iter().map(|outcome| outcome.lost()).sum();
        assert!(lost > 0, "{contender}");
        assert_eq!(lost, leaky.dropped(), "{contender}");
        let origin = Origin::here();
        let line: Value = serde_json::from_str(&json_lines(&rows, &origin).unwrap()).unwrap();
        assert_eq!((&line["lost"], &line["lossless_by"]), (&Value::from(lost), &Value::from("drops")));
        assert!(line["against"].as_str().unwrap().starts_with("127.0.0.1:"));
        let table = table(&rows, &origin).unwrap();
        assert!(
            table.contains("drops") && table.contains(&multiplane_bench::table::grouped(lost)),
            "{table}"
        );
    }
}

#[test]
fn only_ends_run_against_a_backplane_and_only_against_one() {
    let against = Against { host: "127.0.0.1".to_owned(), publisher_port: 1, subscriber_port: 1 };
    let why = run(against, &["multiplane-native".parse().unwrap()], &[Scenario::OneToOne]).unwrap_err();
    assert!(why.to_string().contains("multiplane-ends"), "{why}");
}
