use super::*;

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

fn gate() -> Gate {
    Gate { loopback: true, token: false, origins: vec!["https://friend.example:8443".to_owned()] }
}

fn socket(more: &str) -> String {
    format!(
        "GET /ws HTTP/1.1\r\nHost: localhost:9000\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{more}\r\n"
    )
}

fn status(gate: &Gate, request: &str) -> String {
    match gate.judge(request.as_bytes()) {
        Step::More => "more".to_owned(),
        step => String::from_utf8(bytes_of(step)).unwrap()[9..12].to_owned(),
    }
}

#[test]
fn a_socket_is_opened_as_the_standard_says() {
    let request = socket("");
    let Step::Upgrade { bytes, taken } = gate().judge(format!("{request}frames").as_bytes()) else {
        panic!()
    };
    assert!(
        String::from_utf8(bytes).unwrap().contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n")
    );
    assert_eq!(taken, request.len());
    for end in 0..request.len() {
        assert_eq!(gate().judge(&request.as_bytes()[..end]), Step::More, "{end}");
    }
}

#[test]
fn requests_are_answered_by_the_table() {
    let get = |more: &str| format!("GET / HTTP/1.1\r\nHost: 127.0.0.1:9000\r\n{more}\r\n");
    for (request, expected) in [
        (get(""), "200"),
        (get("").replace("GET", "HEAD"), "200"),
        (get("").replace("GET /", "GET /?a=b"), "200"),
        (get("").replace("GET /", "GET /other"), "404"),
        (get("").replace("GET /", "GET /../../etc/passwd"), "404"),
        (get("").replace("GET", "POST"), "405"),
        (get("").replace("HTTP/1.1", "HTTP/2.0"), "505"),
        (get("If-None-Match: *\r\n"), "304"),
        (get("Content-Length: 5\r\n"), "400"),
        (get("Transfer-Encoding: chunked\r\n"), "400"),
        (get("Host: 127.0.0.1\r\n"), "400"),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), "400"),
        (get("").replace("127.0.0.1:9000", "evil.example"), "421"),
        (get("").replace("127.0.0.1:9000", "10.0.0.1"), "421"),
        (get("").replace("127.0.0.1:9000", "127.0.0.1:x"), "421"),
        (get("").replace("127.0.0.1:9000", "127.0.0.1:1; script-src *"), "421"),
        (get("").replace("127.0.0.1:9000", "[::1]:9000"), "200"),
        (get("").replace("127.0.0.1:9000", "friend.example"), "200"),
        ("\x16\x03\x01\x02\x00\x01".to_owned(), "400"),
        ("SSH-2.0-x\r\n".to_owned(), "400"),
        (format!("GET /{} HTTP/1.1\r\n", "x".repeat(LONGEST)), "431"),
        (get(&"X: y\r\n".repeat(LINES)), "431"),
        (socket("Origin: http://localhost:9000\r\n"), "101"),
        (socket("Origin: https://friend.example:8443\r\n"), "101"),
        (socket("Origin: https://friend.example\r\n"), "403"),
        (socket("Origin: http://localhost:9001\r\n"), "403"),
        (socket("Origin: null\r\n"), "403"),
        (socket("Origin: http://localhost:9000\r\nOrigin: x\r\n"), "400"),
        (socket("").replace(": 13", ": 8"), "426"),
        (socket("").replace(KEY, "short"), "400"),
        (socket("").replace("Connection: keep-alive, Upgrade", "Connection: close"), "400"),
        (socket("").replace("GET", "POST"), "400"),
        (socket("").replace("HTTP/1.1", "HTTP/1.0"), "400"),
    ] {
        assert_eq!(status(&gate(), &request), expected, "{request}");
    }
}

#[test]
fn beyond_this_machine_programs_need_a_token() {
    let gate = |token| Gate { loopback: false, token, origins: Vec::new() };
    let request = socket("").replace("localhost", "10.0.0.1");
    assert_eq!(status(&gate(false), &request), "403");
    assert_eq!(status(&gate(true), &request), "101");
    assert_eq!(status(&gate(true), &socket("").replace("localhost", "rebound.example")), "421");
}

#[test]
fn a_known_page_is_not_sent_again() {
    let text = |request: &str| String::from_utf8(bytes_of(gate().judge(request.as_bytes()))).unwrap();
    let request = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let first = text(request);
    assert!(first.contains("connect-src 'self' ws://localhost wss://localhost;"), "{first}");
    assert!(first.contains("<!doctype html>") || first.contains("<!DOCTYPE html>"));
    let tag = first.lines().find_map(|line| line.strip_prefix("ETag: ")).unwrap();
    let again = text(&format!("GET / HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: {tag}\r\n\r\n"));
    assert!(again.starts_with("HTTP/1.1 304") && again.ends_with("\r\n\r\n"));
    let head = text(&request.replace("GET", "HEAD"));
    assert!(head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"));
}

#[test]
fn an_origin_brings_no_control_characters_into_the_log() {
    let request = socket("Origin: http://loc\tlhost:9000\r\n");
    let Step::Answer { refused: Some(line), .. } = gate().judge(request.as_bytes()) else {
        panic!("it is refused");
    };
    assert!(line.contains("http://loc\\tlhost:9000") && !line.contains(char::is_control), "{line:?}");
}
