//! `route check` finds mistakes, points at them, and says what a good file means.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use common::{Ended, command, run};

const HEADER: &str = "backplane_name,ip_address,subscriber_port,subscriber_topic,publisher_port\n";

fn check(rows: &str) -> Ended {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("spec.csv"), format!("{HEADER}{rows}")).unwrap();
    let output = command("route check spec.csv").current_dir(directory.path()).output().unwrap();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Ended { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

#[test]
fn a_good_file_is_explained() {
    let ended = check("BP1,127.0.0.1,43125,\"[echo,x]\",43124\nBP2,::1,,,43126\n");
    assert_eq!((ended.code, &ended.stderr[..]), (Some(0), ""));
    assert_eq!(
        ended.stdout,
        "spec.csv: 2 backplanes\n\
         \x20 backplane  address    receives from  topics  publishes into\n\
         \x20 BP1        127.0.0.1  43125          echo x  43124\n\
         \x20 BP2        ::1        nothing                43126\n"
    );
}

#[test]
fn every_mistake_has_a_line_and_an_arrow() {
    let ended = check("BP1,127.0.0.1,43125,\"[a, b]\",43124\nBP1,127.0.0.1,,,0\n");
    assert_eq!((ended.code, &ended.stdout[..]), (Some(2), ""));
    let lines: Vec<&str> = ended.stderr.lines().collect();
    assert_eq!(lines.len(), 6, "{lines:#?}");
    assert!(lines[0].starts_with("spec.csv:2:"), "{lines:#?}");
    assert_eq!(lines[1], "    BP1,127.0.0.1,43125,\"[a, b]\",43124");
    assert_eq!(lines[2].trim_matches(' ').trim_matches('^'), "");
    assert!(lines[3].starts_with("spec.csv:3:"), "{lines:#?}");
}

#[test]
fn a_warning_is_no_error() {
    let ended = check("BP1,127.0.0.1,43125,\"[a,ab]\",43124\nBP2,127.0.0.1,43127,\"[]\",\n");
    assert_eq!(ended.code, Some(0));
    let lines: Vec<&str> = ended.stderr.lines().collect();
    assert!(lines[0].starts_with("spec.csv: warning: BP1: topic \"ab\" begins with \"a\""), "{lines:#?}");
    assert!(lines[1].starts_with("spec.csv: warning: BP2: subscribes to everything"), "{lines:#?}");
    assert!(ended.stdout.contains("(every topic)"), "{}", ended.stdout);
}

#[test]
fn no_file_is_one_line() {
    let ended = run("route check /no/such.csv");
    assert_eq!((ended.code, ended.stderr.lines().count()), (Some(2), 1), "{ended:?}");
    assert!(ended.stderr.starts_with("/no/such.csv: "), "{ended:?}");
}
