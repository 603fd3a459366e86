use super::*;
use jiff::tz::TimeZone;
use std::time::Duration;

fn packed(json: &str) -> Vec<u8> {
    let mut out = Vec::new();
    json::to_msgpack(json.as_bytes(), &mut out, &Limits::default()).unwrap();
    out
}

fn view(packed: &[u8]) -> View<'_> {
    View::parse(packed, &Limits::default()).unwrap()
}

fn shown(reply: Reply) -> String {
    let mut text = Vec::new();
    json::from_msgpack_tagged(view(&reply.unwrap()), &mut text).unwrap();
    String::from_utf8(text).unwrap()
}

#[test]
fn the_first_message_tells_who_it_is() {
    for (message, expected) in [
        (r#"{"id":"to_x"}"#, Some(First::Banyan { id: "to_x", token: None })),
        (r#"{"id":"to_x","token":"t"}"#, Some(First::Banyan { id: "to_x", token: Some("t") })),
        (r#"{"op":"hello"}"#, Some(First::Enveloped)),
        (r#"{"op":"hello","id":"to_x"}"#, Some(First::Enveloped)),
        (r#"{"id":7}"#, None),
        (r#"{"other":"to_x"}"#, None),
        ("{}", None),
        ("[1]", None),
        ("\"to_x\"", None),
        ("null", None),
    ] {
        assert_eq!(first(&view(&packed(message))), expected, "{message}");
    }
}

#[test]
fn ids_lead_to_topics() {
    for (id, compat, expected) in [
        ("to_arduino_gateway", false, Some("from_arduino_gateway")),
        ("to_motor", false, Some("from_motor")),
        ("to_motor", true, Some("from_mofromr")),
        ("motor", false, None),
        ("motor", true, Some("mofromr")),
        ("", false, None),
    ] {
        assert_eq!(reports_of(id, compat).as_deref(), expected, "{id} {compat}");
    }
}

#[test]
fn requests_are_understood_or_refused_with_the_cure() {
    let seconds = Duration::from_secs_f64;
    let subscribe = |pace| Request::Subscribe { topic: "t", backplane: None, pace };
    for (message, expected) in [
        (r#"{"op":"hello","token":"x"}"#, Ok(Request::Hello { token: Some("x") })),
        (r#"{"op":"subscribe","topic":"t"}"#, Ok(subscribe(None))),
        (r#"{"op":"subscribe","topic":"t","rate":10}"#, Ok(subscribe(Some(seconds(0.1))))),
        (
            r#"{"op":"subscribe","topic":"t","rate":null,"conflate":true}"#,
            Ok(subscribe(Some(Duration::ZERO))),
        ),
        (r#"{"op":"subscribe","topic":"t","rate":0}"#, Err("0.01 to 1000")),
        (r#"{"op":"subscribe","topic":"t","rate":1e308}"#, Err("0.01 to 1000")),
        (r#"{"op":"subscribe","topic":"t","conflate":1}"#, Err("true or false")),
        (r#"{"op":"subscribe"}"#, Err("needs a `topic`")),
        (r#"{"op":"subscribe","topic":5}"#, Err("needs a `topic`")),
        (
            r#"{"op":"unsubscribe","topic":"","backplane":"B"}"#,
            Ok(Request::Unsubscribe { topic: "", backplane: Some("B") }),
        ),
        (r#"{"op":"unsubscribe","topic":"","backplane":5}"#, Err("`backplane` is the name")),
        (r#"{"op":"publish","topic":"t"}"#, Err("`payload`")),
        (r#"{"op":"watch","every":0.5}"#, Ok(Request::Watch { every: Some(seconds(0.5)) })),
        (r#"{"op":"watch","every":0}"#, Ok(Request::Watch { every: None })),
        (r#"{"op":"watch","every":-1}"#, Err("0.1 to 60")),
        (r#"{"op":"watch"}"#, Err("0.1 to 60")),
        (r#"{"op":"other"}"#, Err("`op` is")),
        (r#"{"op":"hello","ref":[]}"#, Err("`ref`")),
        (r#"{"id":"to_x"}"#, Err("a map with `op`")),
        ("[]", Err("a map with `op`")),
    ] {
        let message_packed = packed(message);
        let (request, _) = parse(&view(&message_packed));
        match (request, expected) {
            (Ok(request), Ok(expected)) => {
                assert_eq!(format!("{request:?}"), format!("{expected:?}"), "{message}")
            }
            (Err(error), Err(part)) => assert!(error.contains(part), "{message}: {error}"),
            (request, _) => panic!("{message}: {request:?}"),
        }
    }
    let message = packed(r#"{"op":"hello","ref":"r1"}"#);
    assert_eq!(parse(&view(&message)).1, Some(&b"\xa2r1"[..]));
    let long = packed(&format!(r#"{{"op":"hello","ref":"{}"}}"#, "r".repeat(300)));
    assert!(parse(&view(&long)).0.is_err());
}

#[test]
fn bodies_that_are_none_are_told_from_those_that_are() {
    let deep = [b"[".repeat(1_000_000), b"]".repeat(1_000_000)].concat();
    let many = [&b"["[..], &b"0,".repeat(300_000), b"0]"].concat();
    let mut buffer = Vec::new();
    for (form, body) in [
        (Form::Json, &b""[..]),
        (Form::Json, b"{"),
        (Form::Json, b"NaN"),
        (Form::Json, b"{\"a\":NaN}"),
        (Form::Json, b"\"\xff\""),
        (Form::Json, &deep),
        (Form::Json, &many),
        (Form::Msgpack, b""),
        (Form::Msgpack, b"\xc1"),
        (Form::Msgpack, b"\x01\x02"),
        (Form::Msgpack, b"\xdf\xff\xff\xff\xff"),
        (Form::Msgpack, &[0x91; 5000]),
    ] {
        assert!(body_of(form, body, &mut buffer).is_err(), "{form:?} {:?}", &body[..body.len().min(20)]);
    }
    assert_eq!(body_of(Form::Json, b" [1] ", &mut buffer).unwrap().bytes(), b"\x91\x01");
    assert_eq!(body_of(Form::Msgpack, b"\x91\x01", &mut buffer).unwrap().bytes(), b"\x91\x01");
}

#[test]
fn bytes_can_be_published_from_json() {
    for (form, payload, expected) in [
        (Form::Json, r#"{"$bytes":"AP8="}"#, Ok(&b"\xc4\x02\0\xff"[..])),
        (Form::Json, r#"{"$bytes":5}"#, Err(())),
        (Form::Json, r#"{"$bytes":"?"}"#, Err(())),
        (Form::Json, r#"{"a":1}"#, Ok(b"\x81\xa1a\x01")),
        (Form::Json, "null", Ok(b"\xc0")),
        (Form::Msgpack, r#"{"$bytes":5}"#, Ok(b"\x81\xa6$bytes\x05")),
    ] {
        let payload = packed(payload);
        let published = payload_of(form, &view(&payload));
        assert_eq!(published.as_deref().map_err(|_| ()), expected, "{form:?}");
    }
}

#[test]
fn a_timestamp_becomes_local_time() {
    let zone = TimeZone::fixed(jiff::tz::offset(2));
    for (payload, expected) in [
        (r#"{"a":1,"timestamp":0,"b":2}"#, Some(r#"{"a":1,"timestamp":"1970-01-01 02:00:00","b":2}"#)),
        (r#"{"timestamp":1700000000.75}"#, Some(r#"{"timestamp":"2023-11-15 00:13:20"}"#)),
        (r#"{"timestamp":"text"}"#, None),
        (r#"{"timestamp":1e300}"#, None),
        (r#"{"a":{"timestamp":0}}"#, None),
        ("[1]", None),
        ("7", None),
    ] {
        let dated = outgoing::dated(&view(&packed(payload)), &zone);
        assert_eq!(dated.map(|dated| shown(Ok(dated))).as_deref(), expected, "{payload}");
    }
}

#[test]
fn answers_are_maps_with_op() {
    assert_eq!(shown(ok(b"\x07")), r#"{"op":"ok","ref":7}"#);
    assert_eq!(shown(error("no", None)), r#"{"op":"error","reason":"no"}"#);
    assert_eq!(shown(error("no", Some(b"\xa1r"))), r#"{"op":"error","reason":"no","ref":"r"}"#);
    assert_eq!(shown(dropped(12)), r#"{"op":"dropped","count":12}"#);
    assert_eq!(Form::Json.frame_of(&ok(b"\x07").unwrap())[..], *b"\x81\x13{\"op\":\"ok\",\"ref\":7}");
    assert_eq!(Form::Msgpack.frame(&[0; 126])[..4], *b"\x82\x7e\0\x7e");
}
