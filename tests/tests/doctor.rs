//! `multiplane doctor` before ports of every kind: each finding with its cure, and the exit code that scripts see.
#![allow(clippy::unwrap_used)] // Helpers of tests.

use multiplane_bus::Backplane;
use multiplane_bus::codec::zmtp::greeting;
use multiplane_bus::curve::{AllowList, generate, write_keys};
use multiplane_tests::hub::{Around, Hub, Kind};
use multiplane_tests::place::free_port;
use multiplane_tests::programs::multiplane;
use serde_json::Value;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::thread;
use tempfile::TempDir;

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

#[test]
#[ignore = "needs the multiplane binary: tests/run"]
fn a_sealed_backplane_shows_itself_to_who_has_a_key() {
    let folder = TempDir::new().unwrap();
    let keys = |name: &str| {
        let (path, keys) = (folder.path().join(name), generate().unwrap());
        write_keys(&path, &keys).unwrap();
        (keys, path.to_str().unwrap().to_owned())
    };
    let [
        (server, server_file),
        (other, _),
        (friend, friend_file),
        (reader, reader_file),
        (stranger, stranger_file),
    ] = ["server", "other", "friend", "reader", "stranger"].map(keys);
    let allow = AllowList::new().allow("friend", *friend.public(), [""], [""]).allow(
        "reader",
        *reader.public(),
        [],
        ["t"],
    );
    let builder = Backplane::builder("BP1").publisher_port(0).subscriber_port(0);
    let sealed = builder.clone().curve(server.clone(), allow).start().unwrap();
    let open = builder.start().unwrap();
    let visit = |backplane: &Backplane, keys: &[&str]| {
        let (s, p) = (backplane.subscriber_port().to_string(), backplane.publisher_port().to_string());
        let (code, findings) = doctor(&[&["-s", &s, "-p", &p][..], keys].concat());
        let one = |port: &str| {
            let found = of(&findings, port);
            (found[0].0.to_owned(), found[0].1.to_owned())
        };
        for keys in [&server, &friend, &reader, &stranger] {
            assert!(!format!("{findings:?}").contains(keys.secret().reveal().as_str()));
        }
        (code, one(&s), one(&p))
    };
    let with = |ours: &str, server: &str| ["--curve-key", ours, "--server-key", server].map(str::to_owned);
    let look =
        |backplane: &Backplane, keys: [String; 4]| visit(backplane, &keys.each_ref().map(String::as_str));
    let wrong = |found: &(String, String), what: &str| found.0 == "wrong" && found.1.contains(what);

    let (code, near, far) = look(&sealed, with(&friend_file, &server_file));
    assert_eq!((code, near.0.as_str(), far.0.as_str()), (0, "ok", "ok"));
    for (found, kind) in [(near, "XPUB"), (far, "XSUB")] {
        assert!(found.1.starts_with(kind) && found.1.contains("answers in"), "{found:?}");
        assert!(found.1.ends_with("under CURVE"), "{found:?}");
    }

    let (code, near, far) = look(&sealed, with(&reader_file, &server_file));
    assert!(code == 1 && near.0 == "ok" && wrong(&far, "does not let our key in"), "{near:?} {far:?}");
    let (code, near, far) = look(&sealed, with(&stranger_file, &server_file));
    assert!(code == 1 && [near, far].iter().all(|found| wrong(found, "does not let our key in")));
    let (code, near, far) = look(&sealed, with(&friend_file, &other.public().to_string()));
    assert!(code == 1 && [near, far].iter().all(|found| wrong(found, "has another key")));
    let (code, near, far) = look(&open, with(&friend_file, &server_file));
    assert!(code == 1 && [near, far].iter().all(|found| wrong(found, "without security")));
    let (code, near, _) = visit(&sealed, &[]);
    assert!(code == 0 && near.1.contains("with --curve-key and --server-key more can be seen"), "{near:?}");

    // A key file that others may read is none.
    std::fs::set_permissions(&friend_file, PermissionsExt::from_mode(0o644)).unwrap();
    let ports = [sealed.subscriber_port(), sealed.publisher_port()].map(|port| port.to_string());
    let misuse =
        ["-s", &ports[0], "-p", &ports[1], "--curve-key", &friend_file, "--server-key", &server_file];
    assert_eq!(doctor(&misuse), (2, Vec::new()));
}

#[test]
#[ignore = "needs the multiplane binary: tests/run"]
fn the_engines_say_what_they_are_and_who_wants_a_password_is_no_backplane() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let answering = thread::spawn(move || {
        for _ in 0..2 {
            listener.accept().unwrap().0.write_all(&greeting("PLAIN", 1, true)).unwrap();
        }
    });
    let (code, findings) = doctor(&["-s", &port, "-p", &port]);
    answering.join().unwrap();
    assert_eq!(code, 1);
    assert!(of(&findings, &port).iter().all(|found| found.0 == "wrong" && found.1.contains("PLAIN")));
    assert!(of(&findings, "native engine")[0].1.contains("ZMTP 3.1 and 3.0, NULL and CURVE"));
    let libzmq = of(&findings, "libzmq engine")[0].1;
    assert!(libzmq.starts_with("libzmq 4.") && libzmq.contains("curve"), "{libzmq}");
}
