//! The page of `multiplane gateway websocket` in a real Chromium.
#![allow(clippy::unwrap_used)] // Helpers of tests.

use multiplane_bus::{Bus, Publisher, Subscriber};
use multiplane_tests::clock::{DEADLINE, eventually};
use multiplane_tests::component;
use multiplane_tests::hub::{Hub, Kind};
use multiplane_tests::place::{await_listener, free_port};
use multiplane_tests::process::Process;
use multiplane_tests::programs::{multiplane, python};
use serde_json::{Value, json};
use std::process::Command;

/// A browser.
struct Page(Process);

impl Page {
    fn open(port: u16) -> Self {
        let mut process = python("page.py", []);
        process.after("READY");
        let mut page = Self(process);
        page.order(&json!(["open", format!("http://127.0.0.1:{port}/")]));
        page
    }

    #[track_caller]
    fn order(&mut self, order: &Value) -> Value {
        self.0.say(&order.to_string());
        let answer = self.0.line("an answer", |line| line.starts_with("DONE") || line.starts_with("FAILED"));
        let value = answer.strip_prefix("DONE").unwrap_or_else(|| panic!("{order}: {answer}"));
        serde_json::from_str(value).unwrap()
    }

    /// Waits until an expression of the page is true; its value.
    #[track_caller]
    fn wait(&mut self, expression: &str) -> Value {
        self.order(&json!(["wait", expression]))
    }

    /// Waits until what `selector` finds has this text somewhere.
    #[track_caller]
    fn wait_text(&mut self, selector: &str, text: &str) {
        self.wait(&format!(
            "document.querySelector({}).textContent.includes({})",
            json!(selector),
            json!(text)
        ));
    }

    #[track_caller]
    fn wait_state(&mut self, state: &str) {
        self.wait(&format!("document.querySelector('#state').dataset.state == '{state}'"));
    }

    #[track_caller]
    fn evaluate(&mut self, expression: &str) -> Value {
        self.order(&json!(["evaluate", expression]))
    }

    fn click(&mut self, selector: &str) {
        self.order(&json!(["click", selector]));
    }

    fn write(&mut self, selector: &str, text: &str) {
        self.order(&json!(["write", selector, text]));
    }

    fn key(&mut self, name: &str) {
        self.order(&json!(["key", name]));
    }

    /// Chooses the only topic that passes this filter.
    #[track_caller]
    fn choose(&mut self, topic: &str) {
        self.write("#filter", topic);
        self.wait("document.querySelectorAll('button.name').length == 1");
        self.click("button.name");
        self.wait("!document.querySelector('#topic').hidden");
    }

    /// Errors in the console, what the policy forbade, dialogs, requests to others: there are none.
    #[track_caller]
    fn has_no_faults(&mut self, port: u16) {
        assert_eq!(self.faults(port), Vec::<String>::new());
    }

    /// Breaks none of the rules that axe-core has for WCAG 2.1, A and AA: light and dark, on a desk and on a phone.
    #[track_caller]
    fn is_accessible(&mut self) {
        for (width, height) in [(390, 844), (1280, 900)] {
            for scheme in ["dark", "light"] {
                self.order(&json!(["window", width, height, scheme]));
                let judged = self.order(&json!(["accessibility"]));
                assert_eq!(judged["broken"], json!([]), "{width}, {scheme}");
                assert!(judged["kept"].as_u64() > Some(20), "it has judged little: {judged}");
            }
        }
    }

    fn faults(&mut self, port: u16) -> Vec<String> {
        serde_json::from_value(self.order(&json!(["faults", format!("127.0.0.1:{port}")]))).unwrap()
    }
}

/// The gateway, linked to one backplane.
fn gateway(hub: &Hub, port: u16, arguments: &[&str]) -> Process {
    let [subscriber, publisher] = hub.ports();
    let port_text = port.to_string();
    let mut command = Command::new(multiplane());
    command.args(["gateway", "websocket", "--listen", &port_text, "-s", &subscriber, "-p", &publisher]);
    let process = Process::start("gateway", command.args(arguments));
    await_listener(port);
    process
}

/// What stands on the other side of the backplane.
struct Bench {
    hub: Hub,
    port: u16,
    gateway: Process,
    bus: Bus,
    publisher: Publisher,
    heard: Subscriber,
}

impl Bench {
    fn new(arguments: &[&str]) -> Self {
        let hub = Hub::start(Kind::Multiplane, "BP1");
        let port = free_port();
        let gateway = gateway(&hub, port, arguments);
        let bus = component("bench", [hub.route(["to_bench"])]);
        let (publisher, heard) = (bus.publisher("BP1").unwrap(), bus.subscriber().unwrap());
        Self { hub, port, gateway, bus, publisher, heard }
    }

    /// A page that is live, with a gateway that takes everything for it.
    fn page(&self) -> Page {
        let mut page = Page::open(self.port);
        page.wait_state("live");
        self.publisher.wait_for_subscriber("any", DEADLINE).unwrap();
        page
    }
}

#[test]
#[ignore = "needs Chromium: tests/run"]
fn it_shows_values_that_change_and_publishes() {
    let bench = Bench::new(&[]);
    let mut page = bench.page();
    page.wait_text("#gateway", "WsGateway");
    page.wait_text("#topics-empty", "multiplane publish");
    page.wait_text("#links", "up");
    page.wait_text("#clients", "JSON");

    bench.publisher.publish("lab/oven", &json!({"celsius": 20.5, "door": {"open": false}})).unwrap();
    page.wait_text("#topics-table tbody", "lab/oven");
    page.wait_text("#topics-table tbody", "20.5");
    page.wait_text("#backplanes", "BP1");
    page.wait("document.querySelector('#traffic path.line').getAttribute('d').includes('L')");
    page.choose("oven");
    page.wait_text("#topic-value", "open false");
    bench.publisher.publish("lab/oven", &json!({"celsius": 21.5, "door": {"open": true}})).unwrap();
    page.wait_text("#topic-value", "open true");
    page.wait_text("#topic-series", "21.5");
    page.click("#topic-series li:nth-child(3) button");
    page.wait_text("#topic-chart figcaption", "celsius");

    // What is paused stands still, and then catches up.
    page.click("#pause");
    bench.publisher.publish("lab/oven", &json!({"celsius": 22.5})).unwrap();
    page.click("#topic-watch");
    page.wait_text("#subscriptions", "lab/oven");
    bench.publisher.wait_for_subscriber("lab/oven", DEADLINE).unwrap();
    assert_eq!(page.evaluate("document.querySelector('#topic-series').textContent.includes('22.5')"), false);
    page.click("#pause");
    page.wait_text("#topic-series", "22.5");

    // The subscription was answered or is on its way: messages come until one is there.
    eventually("a message is shown", || {
        bench.publisher.publish("lab/oven", &json!({"celsius": 23.5})).unwrap();
        page.evaluate("document.querySelector('#messages').textContent.includes('23.5')") == true
    });

    page.write("#publish-topic", "to_bench");
    page.write("#publish-payload", "{'a': 1}");
    page.click("#publish button.main");
    page.wait_text("#publish-answer", "double quotes");
    page.write("#publish-payload", r#"{"float": 1.0, "id": 9007199254740993}"#);
    page.click("#publish button.main");
    page.wait_text("#publish-answer", "Published");
    let message = bench.heard.recv_timeout(DEADLINE).unwrap();
    // The float is still one, and the integer that no double can hold is exact.
    let expected: &[u8] = b"\x82\xa5float\xcb\x3f\xf0\0\0\0\0\0\0\xa2id\xcf\0\x20\0\0\0\0\0\x01";
    assert_eq!(message.topic(), "to_bench");
    assert_eq!(&message.payload_bytes()[..], expected);
    page.is_accessible();
    page.has_no_faults(bench.port);
}

#[test]
#[ignore = "needs Chromium: tests/run"]
fn what_is_hostile_is_only_text() {
    let bench = Bench::new(&[]);
    let mut page = bench.page();
    let bad = "<img src=x onerror=alert(1)><script>alert(2)</script>";
    let payloads =
        [json!({bad: bad, "__proto__": {"x": 1}, "constructor": null}), json!(bad), json!([[bad]])];
    page.click("#subscribe button.main");
    page.wait_text("#subscriptions", "every topic");
    for (n, payload) in payloads.iter().enumerate() {
        bench.publisher.publish(&format!("{bad}{n}"), payload).unwrap();
    }
    bench.publisher.publish_raw("not/msgpack", b"\xc1 <b>raw</b>").unwrap();
    page.wait_text("#topics-table tbody", "not MessagePack");
    page.wait_text("#topics-table tbody", "<script>alert(2)</script>");
    page.choose("0");
    page.wait_text("#topic-title", bad);
    page.wait_text("#topic-value", bad);
    page.evaluate("document.querySelectorAll('#messages details').forEach(d => d.open = true)");
    assert_eq!(page.evaluate("document.querySelectorAll('img, main script, main b:not(.big b)').length"), 0);
    assert_eq!(page.evaluate("({}).x === undefined"), true);
    page.has_no_faults(bench.port);
}

#[test]
#[ignore = "needs Chromium: tests/run"]
fn it_comes_back_after_the_gateway_and_says_when_a_link_is_down() {
    let mut bench = Bench::new(&[]);
    let mut page = bench.page();
    page.write("#subscribe-topic", "after");
    page.click("#subscribe button.main");
    page.wait_text("#subscriptions", "after");
    page.has_no_faults(bench.port);

    bench.gateway.kill();
    page.wait_state("waiting");
    page.wait_text("#state-detail", "trying again");
    page.write("#publish-topic", "to_bench");
    page.click("#publish button.main");
    page.wait_text("#publish-answer", "not connected");
    bench.gateway = gateway(&bench.hub, bench.port, &[]);
    page.wait_state("live");
    eventually("the topic and its message are shown", || {
        bench.publisher.publish("after/it", &json!({"n": 7})).unwrap();
        let shown = "['#topics-table tbody', '#messages'].every(s => document.querySelector(s).textContent.includes('after/it'))";
        page.evaluate(shown) == true
    });

    bench.hub.kill();
    page.wait_text("#attention", "link is down");
    page.wait_text("#links", "down");
    bench.hub.restart();
    page.wait("document.querySelector('#attention').hidden");
    page.wait_state("live");
    // That nobody answered is no fault of the page.
    let mut faults = page.faults(bench.port);
    faults.retain(|fault| !fault.contains("ERR_CONNECTION_REFUSED"));
    assert_eq!(faults, Vec::<String>::new());
    drop(bench.bus);
}

#[test]
#[ignore = "needs Chromium: tests/run"]
fn it_asks_for_a_token_and_keeps_it_to_itself() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "correct horse\n").unwrap();
    let bench = Bench::new(&["--token-file", file.to_str().unwrap()]);
    let mut page = Page::open(bench.port);
    page.wait("document.querySelector('#token-dialog').open");
    page.write("#token", "wrong horse");
    page.key("Enter");
    page.wait_text("#token-reason", "not right");
    page.wait("document.querySelector('#token-dialog').open");
    page.write("#token", "correct horse");
    page.key("Enter");
    page.wait_state("live");
    assert_eq!(page.evaluate("document.querySelector('#token-dialog').open"), false);
    assert_eq!(
        page.evaluate("location.href + document.cookie + JSON.stringify(localStorage)")
            .as_str()
            .unwrap()
            .find("horse"),
        None
    );
    page.evaluate("location.reload()");
    page.wait_state("live");
    page.has_no_faults(bench.port);
}

#[test]
#[ignore = "needs Chromium: tests/run"]
fn a_thousand_topics_by_keyboard_and_on_a_phone() {
    const TOPICS: usize = 1000;
    let bench = Bench::new(&[]);
    let mut page = bench.page();
    for n in 0..TOPICS {
        bench.publisher.publish(&format!("sensor/{n:04}"), &json!({"n": n})).unwrap();
    }
    page.wait("document.querySelector('#topics-count').textContent == '1,000'");
    let rows = page.evaluate("document.querySelectorAll('#topics-table tbody tr').length").as_u64().unwrap();
    assert!(rows < 100, "{rows} rows are in the page");

    page.key("/");
    page.order(&json!(["write", "#filter", "sensor/09"]));
    page.wait("document.querySelector('#topics-count').textContent == '100 of 1,000'");
    page.evaluate("document.querySelector('button.name[tabindex=\"0\"]').focus()");
    page.key("End");
    page.wait("document.activeElement.textContent.includes('sensor/0999')");
    page.key("Enter");
    page.wait_text("#topic-title", "sensor/0999");
    page.key("Escape");
    page.wait("document.querySelector('#topic').hidden");
    page.wait("document.activeElement.textContent.includes('sensor/0999')");

    page.order(&json!(["window", 360, 740, "dark"]));
    page.choose("sensor/0500");
    page.wait_text("#topic-value", "n 500");
    assert_eq!(page.evaluate("document.documentElement.scrollWidth"), 360);
    page.has_no_faults(bench.port);
}
