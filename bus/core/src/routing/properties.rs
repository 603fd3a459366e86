//! What holds for every file and every builder.

use super::tests::{HEADER, parse};
use super::*;
use proptest::prelude::*;

prop_compose! {
    fn any_route()(
        name in "[A-Za-z\"',.ü\\]]([ -~ü]{0,8}[!-~ü])?",
        host in prop_oneof!["[a-z][a-z0-9]{0,5}(\\.[a-z]{1,5}){0,2}", "[1-9][0-9]?(\\.[1-9][0-9]?){3}", "::[1-9a-f]{1,4}"],
        ports in (prop::option::of(1u16..), prop::option::of(1u16..)).prop_filter("a port", |p| *p != (None, None)),
        topics in prop::collection::vec("[!-~äß]{0,6}", 0..5),
    ) -> Route {
        let forbidden = |c: char| matches!(c, ',' | '\'' | '"');
        let topics = topics.iter().map(|topic| topic.replace(forbidden, "")).collect();
        Route { name, host, subscriber_port: ports.0, topics, publisher_port: ports.1 }
    }
}

/// Text that often gets past the header and into the rules for rows.
fn nearly_csv() -> impl Strategy<Value = String> {
    let cells = prop_oneof![
        "[ -~ü\\t]{0,6}",
        "[0-9]{1,5}",
        "\"\\[[a-z,' ]{0,6}\\]\"?",
        Just("none".to_owned()),
        Just("h".to_owned()),
        Just(String::new())
    ];
    let rows = prop::collection::vec(prop::collection::vec(cells, 0..7), 0..6);
    (rows, prop_oneof![Just("\n"), Just("\r\n"), Just("\r"), Just("\n\n")]).prop_map(|(rows, end)| {
        let rows: Vec<String> = rows.iter().map(|cells| cells.join(",")).collect();
        format!("{HEADER}{}", rows.join(end))
    })
}

/// Either a specification, or an error whose every place can be drawn.
fn is_drawable(bytes: &[u8]) -> Result<(), TestCaseError> {
    let Err(error) = parse(bytes) else { return Ok(()) };
    prop_assert!(!error.problems().is_empty());
    prop_assert!(!error.to_string().contains(char::is_control));
    for problem in error.problems() {
        let place = problem.place.as_ref().unwrap();
        prop_assert!(error.text().get(place.span.clone()).is_some(), "{place:?} splits a character");
        prop_assert!(place.line >= 1 && place.column >= 1);
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_bytes_are_accepted_or_refused_with_a_place(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        is_drawable(&bytes)?;
        is_drawable(&[HEADER.as_bytes(), &bytes].concat())?;
    }

    #[test]
    fn nearly_right_files_are_accepted_or_refused_with_a_place(text in nearly_csv()) {
        is_drawable(text.as_bytes())?;
    }

    #[test]
    fn what_is_accepted_survives_writing_and_reading(text in nearly_csv()) {
        if let Ok(spec) = parse(&text) {
            prop_assert_eq!(parse(spec.to_string()), Ok(spec));
        }
    }

    #[test]
    fn what_is_built_survives_writing_and_reading(routes in prop::collection::vec(any_route(), 1..6)) {
        let mut routes = routes;
        for (i, route) in routes.iter_mut().enumerate() {
            route.name += &i.to_string();
        }
        let builder = routes.iter().cloned().fold(RoutingSpec::builder(), RoutingSpecBuilder::backplane);
        let spec = builder.build().unwrap();
        prop_assert_eq!(spec.routes(), &routes);
        prop_assert_eq!(parse(spec.to_string()), Ok(spec));
    }
}
