//! What is legal but probably not meant.

use super::Route;
use super::error::show;
use std::collections::HashMap;
use std::fmt;

/// libzmq 4.3.4 writes the wrong length for subscriptions of these many bytes, and the connection never recovers.
const CORRUPTED_BY_LIBZMQ: std::ops::RangeInclusive<usize> = 246..=255;

/// Something about a valid specification that a person should look at. `Display` is `NAME: message`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Name of the backplane.
    pub backplane: String,
    /// What, and what to do if it is not meant; one line.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.backplane, self.message)
    }
}

pub(super) fn lint(routes: &[Route]) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let mut subscribed = HashMap::new();
    let mut published = HashMap::new();
    for route in routes {
        let mut warn = |message| warnings.push(Warning { backplane: route.name.clone(), message });
        if route.subscriber_port.is_some() {
            topics(route, &mut warn);
        } else if route.topics.iter().any(|topic| !topic.is_empty()) {
            warn(
                "its topics are ignored, because it has no subscriber_port; set one, or remove them"
                    .to_owned(),
            );
        }
        let host = route.host.to_ascii_lowercase();
        if let Some(port) = route.subscriber_port
            && let Some(other) = subscribed.insert((host.clone(), port), &route.name)
        {
            warn(format!(
                "subscribes to the same {} as {}: a message that both ask for comes twice; use one row",
                route.endpoint(port),
                show(other)
            ));
        }
        if let Some(port) = route.publisher_port
            && let Some(other) = published.insert((host, port), &route.name)
        {
            warn(format!(
                "publishes into the same {} as {}: a broadcast arrives there twice; use one row",
                route.endpoint(port),
                show(other)
            ));
        }
    }
    warnings
}

/// What to say about the topics of a route that does subscribe.
fn topics(route: &Route, warn: &mut impl FnMut(String)) {
    if route.subscribes_to_everything() {
        warn(
            "subscribes to everything, because \"[]\" or an empty topic means that; to receive nothing, leave \
             subscriber_port empty"
                .to_owned(),
        );
    }
    for topic in route.topics.iter().filter(|topic| CORRUPTED_BY_LIBZMQ.contains(&topic.len())) {
        warn(format!(
            "topic {} has {} bytes: with 246 to 255 libzmq 4.3.4 breaks the connection; Multiplane avoids it, other \
             components do not; use up to 245",
            show(topic),
            topic.len()
        ));
    }
    // In sorted order a topic follows its prefixes, so those still open lie on a stack.
    let mut sorted: Vec<&str> = route.topics.iter().map(String::as_str).filter(|t| !t.is_empty()).collect();
    sorted.sort_unstable();
    let mut open: Vec<&str> = Vec::new();
    for topic in sorted {
        while open.last().is_some_and(|prefix| !topic.starts_with(prefix)) {
            open.pop();
        }
        match open.last() {
            Some(prefix) if *prefix == topic => warn(format!("topic {} is asked for twice", show(topic))),
            Some(prefix) => warn(format!(
                "topic {} begins with {}, which asks for it already, and for everything else that begins so",
                show(topic),
                show(prefix)
            )),
            None => {}
        }
        open.push(topic);
    }
}
