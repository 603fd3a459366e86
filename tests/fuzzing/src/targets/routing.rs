//! The file that names backplanes.

use multiplane_core::RoutingSpec;

const HEADER: &[u8] = b"backplane_name,ip_address,subscriber_port,subscriber_topic,publisher_port\n";

/// It is a specification, or an error that shows where: a line each, and no character of the file that moves a cursor.
fn judge(bytes: &[u8]) {
    let error = match RoutingSpec::parse(bytes, "a.csv") {
        Ok(spec) => {
            assert!(spec.routes().iter().all(|route| spec.get(&route.name).is_some()));
            let _ = spec.lint();
            return;
        }
        Err(error) => error,
    };
    assert!(!error.problems().is_empty());
    assert!(!error.to_string().contains(char::is_control), "{error:?}");
    for place in error.problems().iter().filter_map(|problem| problem.place.as_ref()) {
        assert!(error.text().get(place.span.clone()).is_some(), "{place:?} splits a character");
        assert!(place.line >= 1 && place.column >= 1);
    }
}

/// As it is, and with a header that is right.
pub fn file(data: &[u8]) {
    judge(data);
    judge(&[HEADER, data].concat());
}
