//! `demo` does all that it promises.

mod common;

use common::Multiplane;

#[test]
fn everything_happens_and_the_books_close() {
    let ended = Multiplane::start("demo --seconds 2").ended();
    assert_eq!((ended.code, &ended.stderr[..]), (Some(0), ""), "{}", ended.stdout);
    let mut rest = ended.stdout.as_str();
    let echoes = (0..10).rev().map(|n| format!("->  reply {{\"message_number\":{n}}}"));
    let in_order = ["backplane_name,ip_address", "MultiEchoServer using BP1", "MultiEchoServer using BP2"]
        .map(str::to_owned)
        .into_iter()
        .chain(echoes)
        .chain(
            ["Notification received by BP2", "found the highest rate", "books closed: yes", "p99.9"]
                .map(str::to_owned),
        );
    for part in in_order {
        let at = rest.find(&part).unwrap_or_else(|| panic!("{part:?} is missing in {}", ended.stdout));
        rest = &rest[at + part.len()..];
    }
    let file = ended.stdout.split(['(', ')']).find(|text| text.ends_with(".csv")).unwrap();
    assert!(!std::path::Path::new(file).exists(), "{file} was left behind");
}
