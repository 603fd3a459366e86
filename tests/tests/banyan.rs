//! Real Python Banyan components, with our backplanes and with theirs.
#![allow(clippy::unwrap_used)] // Helpers of tests.

use multiplane_bus::codec::encode::Writer;
use multiplane_bus::codec::msgpack::numpy::{self, ArrayView};
use multiplane_bus::{Publisher, RoutingSpec};
use multiplane_tests::clock::DEADLINE;
use multiplane_tests::hub::{Hub, Kind};
use multiplane_tests::process::Process;
use multiplane_tests::programs::{example, python};
use multiplane_tests::{component, spec};
use std::process::Command;

/// A Python program that is linked to one backplane.
fn python_at(program: &str, hub: &Hub) -> Process {
    python(program, hub.ports().iter().map(String::as_str))
}

/// Echo client (Python) - BP1 - multi_echo_server (ours) - BP2 - notifier (Python).
fn ten_messages_and_the_notice(first: Kind, second: Kind) {
    let (bp1, bp2) = (Hub::start(first, "BP1"), Hub::start(second, "BP2"));
    let folder = tempfile::tempdir().unwrap();
    let csv = folder.path().join("spec.csv");
    std::fs::write(&csv, spec([bp1.route(["echo"]), bp2.publishing_route()]).to_string()).unwrap();

    let mut notifier = python_at("notifier.py", &bp2);
    notifier.line("READY", |line| line == "READY");
    let _server = Process::start(
        "multi_echo_server",
        Command::new(example("multi_echo_server")).arg(&csv).current_dir(folder.path()),
    );
    let mut client = python_at("echo_client.py", &bp1);
    for number in (0..10).rev() {
        assert_eq!(client.after("REPLY "), format!("reply {number}"), "{client}");
    }
    assert_eq!(notifier.after("NOTICE "), "[('id', 'b'), ('message', 'got it')]", "{notifier}");
}

#[test]
#[ignore = "needs python-banyan: tests/run"]
fn ten_messages_and_the_notice_on_our_backplanes() {
    ten_messages_and_the_notice(Kind::Multiplane, Kind::Multiplane);
}

#[test]
#[ignore = "needs python-banyan: tests/run"]
fn ten_messages_and_the_notice_on_python_backplanes() {
    ten_messages_and_the_notice(Kind::Banyan, Kind::Banyan);
}

#[test]
#[ignore = "needs python-banyan: tests/run"]
fn ten_messages_and_the_notice_from_a_python_backplane_to_ours() {
    ten_messages_and_the_notice(Kind::Banyan, Kind::Multiplane);
}

#[test]
#[ignore = "needs python-banyan: tests/run"]
fn ten_messages_and_the_notice_from_our_backplane_to_a_python_one() {
    ten_messages_and_the_notice(Kind::Multiplane, Kind::Banyan);
}

fn publish_array(to: &Publisher, shape: &[usize], data: &[i32]) {
    let mut payload = Vec::new();
    Writer::new(&mut payload).map(1).str("array").unwrap();
    numpy::encode(&mut payload, shape, data).unwrap();
    to.publish_raw("array", &payload).unwrap();
}

/// What Python reads is what we sent; what it answers with, in another layout, byte order and type, is read right.
#[test]
#[ignore = "needs python-banyan: tests/run"]
fn arrays_to_a_multi_component_and_back() {
    let (bp1, bp2) = (Hub::start(Kind::Multiplane, "BP1"), Hub::start(Kind::Multiplane, "BP2"));
    let bus = component("arrays", [bp1.publishing_route(), bp2.route(["answer"])]);
    let (publisher, answers) = (bus.publisher("BP1").unwrap(), bus.subscriber().unwrap());

    let folder = tempfile::tempdir().unwrap();
    let csv = folder.path().join("spec.csv");
    std::fs::write(&csv, spec([bp1.route(["array"]), bp2.publishing_route()]).to_string()).unwrap();
    let mut peer = python("arrays.py", [csv.to_str().unwrap()]);
    peer.after("READY");
    publisher.wait_for_subscriber("array", DEADLINE).unwrap();

    publish_array(&publisher, &[2, 3], &[1, -2, 3, 40_000, -70_000, 6]);
    assert_eq!(peer.after("ARRAY "), "<i4 [2, 3] [[1, -2, 3], [40000, -70000, 6]]", "{peer}");

    let answer = answers.recv_timeout(DEADLINE).unwrap();
    assert_eq!((answer.backplane().name(), answer.topic()), ("BP2", "answer"));
    let payload = answer.payload().unwrap();
    let array = |name| ArrayView::from_view(payload.get(name).unwrap()).unwrap().unwrap();
    let described = |array: &ArrayView<'_>| (array.dtype().to_string(), array.shape().collect::<Vec<_>>());

    let turned = array("turned");
    assert_eq!(described(&turned), ("<i4".to_owned(), vec![3, 2]));
    assert_eq!(turned.to_vec::<i32>().unwrap(), [1, 40_000, -2, -70_000, 3, 6]);
    let halves = array("halves");
    assert_eq!(described(&halves), ("<f4".to_owned(), vec![2, 3]));
    assert_eq!(halves.to_vec::<f32>().unwrap(), [0.5, -1.0, 1.5, 20_000.0, -35_000.0, 3.0]);
    let big = array("big");
    assert_eq!(described(&big), (">i2".to_owned(), vec![2, 3]));
    assert_eq!(big.to_vec::<i16>().unwrap(), [1, -2, 3, 40_000_i32 as i16, -70_000_i32 as i16, 6]);
    let count = array("count");
    assert!(count.is_scalar());
    assert_eq!(count.to_vec::<i64>().unwrap(), [6]);

    publish_array(&publisher, &[0, 4], &[]);
    assert_eq!(peer.after("ARRAY "), "<i4 [0, 4] []", "{peer}");
    let answer = answers.recv_timeout(DEADLINE).unwrap();
    let empty = ArrayView::from_view(answer.payload().unwrap().get("turned").unwrap()).unwrap().unwrap();
    assert_eq!(described(&empty), ("<i4".to_owned(), vec![4, 0]));
}

#[test]
#[ignore = "needs python-banyan: tests/run"]
fn questions_to_an_asyncio_component() {
    let hub = Hub::start(Kind::Multiplane, "BP1");
    let bus = component("asks", [hub.route(["answer"])]);
    let (publisher, answers) = (bus.publisher("BP1").unwrap(), bus.subscriber().unwrap());
    let mut peer = python_at("aio.py", &hub);
    peer.after("READY");
    publisher.wait_for_subscriber("question", DEADLINE).unwrap();
    for number in 0..100_u32 {
        let topic = format!("question/{number}");
        publisher.publish(&topic, &std::collections::BTreeMap::from([("number", number)])).unwrap();
        let answer = answers.recv_timeout(DEADLINE).unwrap();
        let payload = answer.payload().unwrap();
        assert_eq!(payload.get("square").unwrap().as_u64(), Some(u64::from(number * number)));
        assert_eq!(payload.get("heard").unwrap().as_str(), Some(topic.as_str()));
    }
}

/// A component without an address finds a backplane by its command line; with no such process it gives up.
#[test]
#[ignore = "needs python-banyan: tests/run"]
fn a_python_component_discovers_our_backplane() {
    let mut hub = Hub::start(Kind::Multiplane, "BP1");
    let [subscriber, publisher] = hub.ports();
    let (this, that) = (std::process::id().to_string(), hub.process().id().to_string());

    let mut lost = python("discovery.py", [subscriber.as_str(), &publisher, &this]);
    assert_eq!(lost.after("REFUSED "), "Backplane is not running - please start it.", "{lost}");

    let mut finder = python("discovery.py", [subscriber.as_str(), &publisher, &this, &that]);
    assert_eq!(finder.after("FOUND "), "found {'found': True}", "{finder}");
    assert!(finder.exit().success());
}

/// The tests of Python Banyan for its components of many backplanes pass beside ours, and we judge their routing
/// specifications as they do. (They look at a component from inside, and would pass where nobody forwards, too; what goes
/// through our backplanes, the others here look at.)
#[test]
#[ignore = "needs python-banyan: tests/run"]
fn banyans_own_tests_of_many_backplanes_pass_and_we_agree_on_their_files() {
    let hub = Hub::start(Kind::Multiplane, "BP");
    let folder = tempfile::tempdir().unwrap();
    let ports = hub.ports();
    let mut tests = python("banyan_tests.py", [&*ports[0], &*ports[1], folder.path().to_str().unwrap()]);
    let verdict = tests.line("the verdict", |line| line.starts_with("PASSED") || line.starts_with("FAILED"));
    assert_eq!(verdict, "PASSED 25", "{tests}");
    let mut accepted = Vec::new();
    for file in folder.path().join("test_specs").read_dir().unwrap() {
        let path = file.unwrap().path();
        match RoutingSpec::from_path(&path) {
            Ok(_) => accepted.push(path.file_name().unwrap().to_owned()),
            Err(error) => assert!(!error.to_string().contains('\n'), "{error}"),
        }
    }
    assert_eq!(accepted, ["sample.csv"], "all the others have a mistake");
}
