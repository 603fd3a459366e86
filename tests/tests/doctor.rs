//! `multiplane doctor` before ports of every kind: each finding with its cure, and the exit code that scripts see.
#![allow(clippy::unwrap_used)] // Helpers of tests.

use multiplane_tests::hub::{Around, Hub, Kind};
use multiplane_tests::place::free_port;
use multiplane_tests::programs::multiplane;
use serde_json::Value;
use std::io::Write;
use std::net::TcpListener;
use std::process::Command;
use std::thread;

/// Exit code and findings.
fn doctor(arguments: &[&str]) -> (i32, Vec<Value>) {
    let output = Command::new(multiplane()).args(["doctor", "--json"]).args(arguments).output().unwrap();
    let code = output.status.code().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (code, report["findings"].as_array().cloned().unwrap_or_default())
}

/// Those that concern one place; each that is not fine has a cure.
fn of<'a>(findings: &'a [Value], place: &str) -> Vec<(&'a str, &'a str)> {
    let text = |finding: &'a Value, key: &str| finding[key].as_str().unwrap();
    let mut found = Vec::new();
    for finding in findings.iter().filter(|finding| text(finding, "place").contains(place)) {
        let level = text(finding, "level");
        assert!(level == "ok" || !text(finding, "cure").is_empty(), "{finding}");
        found.push((level, text(finding, "what")));
    }
    found
}

#[test]
#[ignore = "needs the multiplane binary: tests/run"]
fn a_backplane_of_any_make_is_well() {
    for kind in [Kind::Multiplane, Kind::OnLibzmq, Kind::Plain] {
        let hub = Hub::start(kind, "BP1");
        let [subscriber, publisher] = hub.ports();
        let (code, findings) = doctor(&["-s", &subscriber, "-p", &publisher]);
        let (near, far) = (of(&findings, &subscriber), of(&findings, &publisher));
        assert!(
            near[0].0 == "ok" && near[0].1.contains("XPUB of ZMTP 3.1, answers in"),
            "{kind:?}: {near:?}"
        );
        assert!(far[0].0 == "ok" && far[0].1.contains("XSUB of ZMTP 3.1, answers in"), "{kind:?}: {far:?}");
        assert_eq!(code, 0, "{kind:?}: {findings:?}");
    }
}

#[test]
#[ignore = "needs the multiplane binary: tests/run"]
fn what_is_wrong_is_named_with_exit_code_1() {
    let hub = Hub::start(Kind::Multiplane, "BP1");
    let [subscriber, publisher] = hub.ports();
    let (code, findings) = doctor(&["-s", &publisher, "-p", &subscriber]);
    assert_eq!(code, 1);
    let swapped = of(&findings, &publisher);
    assert!(swapped[0].0 == "wrong" && swapped[0].1.contains("does not belong"), "{swapped:?}");

    let nobody = free_port().to_string();
    let (code, findings) = doctor(&["-s", &subscriber, "-p", &nobody]);
    assert_eq!((code, of(&findings, &nobody)), (1, vec![("wrong", "nobody listens there")]));
    assert_eq!(of(&findings, &subscriber)[0].0, "ok");

    let (code, findings) = doctor(&["-b", "no-such-host.invalid", "-s", &subscriber, "-p", &nobody]);
    assert_eq!(code, 1);
    assert!(of(&findings, &nobody)[0].1.contains("leads nowhere"), "{findings:?}");
}

/// Somebody who speaks something else, and somebody who says nothing.
#[test]
#[ignore = "needs the multiplane binary: tests/run"]
fn other_services_are_recognised() {
    let http = TcpListener::bind("127.0.0.1:0").unwrap();
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let [first, second] = [&http, &mute].map(|listener| listener.local_addr().unwrap().port().to_string());
    let answering = thread::spawn(move || {
        let (mut stream, _) = http.accept().unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
    });
    let (code, findings) = doctor(&["-s", &first, "-p", &second]);
    answering.join().unwrap();
    assert_eq!(code, 1);
    assert!(of(&findings, &first)[0].1.starts_with("no backplane: its first byte is 0x48"), "{findings:?}");
    assert_eq!(of(&findings, &second), [("wrong", "takes the connection and says nothing")]);
}

#[test]
#[ignore = "needs the multiplane binary: tests/run"]
fn an_open_port_is_warned_of() {
    let hub = Hub::start_as(
        Kind::Multiplane,
        "BP1",
        Around { before: "", flags: &["--bind", "0.0.0.0", "--insecure"] },
    );
    let [subscriber, publisher] = hub.ports();
    let (code, findings) = doctor(&["-s", &subscriber, "-p", &publisher]);
    assert_eq!(code, 0, "a warning is no failure");
    let open = of(&findings, &format!("port {subscriber}"));
    assert!(
        open.iter().any(|(level, what)| *level == "warning" && what.contains("all addresses")),
        "{open:?}"
    );
}

#[test]
#[ignore = "needs the multiplane binary: tests/run"]
fn a_routing_file_is_read_and_doubted() {
    let hub = Hub::start(Kind::Multiplane, "BP1");
    let [subscriber, publisher] = hub.ports();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spec.csv");
    let header = "backplane_name,ip_address,subscriber_port,subscriber_topic,publisher_port\n";
    let file = path.to_str().unwrap();

    std::fs::write(&path, format!("{header}BP1,127.0.0.1,{subscriber},[a],{publisher}\n")).unwrap();
    let (code, findings) = doctor(&["--routing", file]);
    assert_eq!((code, of(&findings, "routing")), (0, vec![("ok", "backplanes: 1")]), "{findings:?}");

    let twice = format!(
        "{header}A,127.0.0.1,{subscriber},[a],{publisher}\nB,127.0.0.1,{subscriber},[a],{publisher}\n"
    );
    std::fs::write(&path, twice).unwrap();
    let (code, findings) = doctor(&["--routing", file]);
    let doubts = of(&findings, "routing");
    assert!(
        code == 0 && doubts.iter().all(|doubt| doubt.0 == "warning") && !doubts.is_empty(),
        "{findings:?}"
    );

    std::fs::write(&path, format!("{header}BP1,127.0.0.1,99999,[a],1\n")).unwrap();
    assert_eq!(doctor(&["--routing", file]).0, 2);
    assert_eq!(doctor(&["--routing", "no such file"]).0, 2);
    assert_eq!(doctor(&["--no-such-flag"]).0, 2);
}

/// In 20 open files there is no room for 64 links.
#[test]
#[ignore = "needs the multiplane binary: tests/run"]
fn the_limit_of_open_files_is_seen() {
    let command = "ulimit -n 32; exec \"$0\" doctor --json -s 1 -p 1";
    let output = Command::new("sh").args(["-c", command]).arg(multiplane()).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = report["findings"].as_array().unwrap();
    let limit = of(findings, "open files");
    assert!(limit[0].0 == "wrong" && limit[0].1.starts_with("32 allowed"), "{limit:?}");
    assert_eq!(output.status.code(), Some(1));
}

/// For people: a line each, and a sum at the end.
#[test]
#[ignore = "needs the multiplane binary: tests/run"]
fn lines_are_for_people() {
    let nobody = free_port().to_string();
    let output = Command::new(multiplane()).args(["doctor", "-s", &nobody, "-p", &nobody]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("nobody listens there; cure: start one on that machine: multiplane backplane"),
        "{text}"
    );
    assert!(text.lines().last().unwrap().starts_with("2 wrong, "), "{text}");
}
