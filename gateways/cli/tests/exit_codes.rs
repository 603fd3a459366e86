//! How commands end, and the one line with which they say why.

mod common;

use common::{Backplane, Ended, Multiplane, run, run_with_input, silent_port};

/// One line to standard error, and nothing else.
#[track_caller]
fn refused(ended: &Ended, code: i32, parts: &[&str]) {
    assert_eq!(ended.code, Some(code), "{ended:?}");
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    assert_eq!(ended.stdout, "", "{ended:?}");
    for part in parts {
        assert!(ended.stderr.contains(part), "{part:?} is not in {:?}", ended.stderr);
    }
}

#[test]
fn echo_that_gets_too_little_in_time_says_so() {
    let backplane = Backplane::start("");
    let links = backplane.flags();
    refused(&run(&format!("echo {links} --count 1 --timeout 0.3")), 124, &["0 of 1 messages", "--timeout"]);
    let without_count = run(&format!("echo {links} --timeout 0.3"));
    assert_eq!((without_count.code, &without_count.stderr[..]), (Some(0), ""));
}

#[test]
fn publish_without_a_backplane_names_the_port() {
    let port = silent_port();
    let ended = run(&format!("publish t 1 -p {port} --timeout 0.5"));
    refused(&ended, 124, &[&format!("tcp://127.0.0.1:{port}"), "multiplane backplane"]);
}

#[test]
fn publish_without_a_backplane_fails_after_five_seconds() {
    let port = silent_port();
    refused(&run(&format!("publish t 1 -p {port}")), 1, &[&format!("tcp://127.0.0.1:{port}"), "5s"]);
}

#[test]
fn nobody_subscribed_is_said_and_only_an_error_when_waited_for() {
    let backplane = Backplane::start("");
    let links = backplane.flags();
    let ended = run(&format!("publish t 1 {links} --count 3"));
    assert_eq!(ended.code, Some(0));
    assert_eq!(ended.stderr, "BP1: sent 0, dropped 3: nobody subscribes to \"t\" (3)\n");
    refused(
        &run(&format!("publish t 1 {links} --wait-for-subscriber 0.3")),
        124,
        &["nobody subscribed to \"t\" on BP1"],
    );
}

#[test]
fn publish_gives_up_in_the_middle_when_its_time_is_over() {
    let backplane = Backplane::start("");
    let ended = run(&format!("publish t 1 {} --count 1000 --rate 10 --timeout 1", backplane.flags()));
    assert_eq!(ended.code, Some(124));
    assert!(ended.stderr.contains("within --timeout"), "{ended:?}");
}

#[test]
fn a_backplane_that_goes_away_makes_publish_fail() {
    let backplane = Backplane::start("");
    let links = backplane.flags();
    let echo = Multiplane::start(&format!("echo {links}"));
    let publish =
        Multiplane::start(&format!("publish t 1 {links} --count 30 --rate 10 --wait-for-subscriber=20"));
    echo.line("t 1");
    drop(backplane);
    let ended = publish.ended();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("the link was down"), "{ended:?}");
    assert!(echo.runs());
}

#[test]
fn a_port_in_use_is_named() {
    let backplane = Backplane::start("");
    let port = backplane.publisher_port;
    let ended = run(&format!("backplane -s 0 -p {port}"));
    refused(&ended, 1, &[&format!("port {port}"), "in use", "-p"]);
    let port = backplane.subscriber_port;
    refused(&run(&format!("backplane -p 0 -s {port}")), 1, &[&format!("port {port}"), "in use", "-s"]);
}

#[test]
fn an_address_of_another_machine_is_refused() {
    refused(&run("backplane -p 0 -s 0 --bind 192.0.2.1 --insecure"), 1, &["192.0.2.1", "127.0.0.1"]);
}

#[test]
fn an_open_backplane_warns() {
    let open = "backplane -n open -p 0 -s 0 -t .001 --bind 0.0.0.0 --on-slow block";
    refused(&run(open), 2, &["0.0.0.0", "--curve-key FILE --allow FILE, or --insecure"]);
    let backplane = Multiplane::start(&format!("{open} --insecure"));
    backplane.line("open Backplane IP address: ");
    backplane.line("open to EVERYBODY");
    backplane.complaint("nothing asks who connects");
    assert_eq!(backplane.interrupted().code, Some(0));
}

#[test]
fn the_process_has_the_name_that_launchers_look_for() {
    let backplane = Backplane::start("");
    assert_eq!(backplane.process.name(), "backplane");
}

#[test]
fn the_banner_says_how_to_join() {
    let backplane = Multiplane::start("backplane -p 0 -s 0");
    backplane.line("Backplane IP address: 127.0.0.1");
    let [subscriber, publisher] =
        ["Subscriber Port = ", "Publisher  Port = "].map(|name| backplane.line(name).replace(name, ""));
    backplane.line(&format!("monitor -b 127.0.0.1 -s {subscriber} -p {publisher}"));
    backplane.line(&format!("BP1,127.0.0.1,{subscriber},\"[]\",{publisher}"));
}

#[test]
fn bad_input_is_refused_with_a_cure() {
    refused(&run("publish t hello"), 2, &["not JSON", "quotes"]);
    refused(&run("publish t @/no/such/file"), 2, &["/no/such/file", "No such file"]);
    refused(&run("publish t abc --format hex"), 2, &["not hex"]);
    refused(
        &run_with_input("publish t @- --format msgpack", b"\x92\x01"),
        2,
        &["not MessagePack", "the standard input"],
    );
    refused(&run("echo --backplane BP1"), 2, &["NAME=HOST"]);
    refused(&run("echo -b not..a..host"), 2, &["not..a..host"]);
    refused(&run("echo --routing /no/such.csv"), 2, &["/no/such.csv"]);
}

#[test]
fn wrong_use_is_one_line() {
    refused(&run("echo --nonsense"), 2, &["--nonsense", "--help"]);
    refused(&run("publish"), 2, &["<TOPIC>", "<PAYLOAD>"]);
    refused(&run("echo --timeout never"), 2, &["never", "seconds"]);
    refused(&run("echo -s 70000"), 2, &["70000", "65535"]);
    refused(&run("echo --count 0"), 2, &["0"]);
    refused(&run("echo --routing x.csv -p 1"), 2, &["--routing", "cannot be used with"]);
    let bare = run("");
    assert_eq!(bare.code, Some(2));
    assert!(bare.stderr.contains("Usage: multiplane <COMMAND>"), "{bare:?}");
}

#[test]
fn help_version_completions_and_manual_are_printed() {
    for (arguments, part) in [
        ("--help", "backplane"),
        ("echo --help", "Examples:"),
        ("--version", env!("CARGO_PKG_VERSION")),
        ("completions bash", "complete -F _multiplane"),
        ("completions fish", "complete -c multiplane"),
        ("man", ".TH multiplane 1"),
    ] {
        let ended = run(arguments);
        assert_eq!((ended.code, &ended.stderr[..]), (Some(0), ""), "{arguments}");
        assert!(ended.stdout.contains(part), "{arguments}: {part:?} is not in {}", ended.stdout);
    }
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(run(&format!("man {}/man1", directory.path().display())).code, Some(0));
    for page in ["multiplane.1", "multiplane-backplane.1", "multiplane-route-check.1"] {
        assert!(directory.path().join("man1").join(page).is_file(), "{page}");
    }
}
