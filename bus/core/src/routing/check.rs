//! What a name, a host, a port, a topic and a list of them must look like. Files and builders pass the same gate.

use super::error::{Problem, ProblemKind, RoutingError, show};
use super::{MAX_FILE_BYTES, MAX_NAME_BYTES, NO_TOPICS, Route, RoutingSpec};
use crate::budget::{BACKPLANES, SUBSCRIPTION_TOPIC_BYTES};
use std::collections::HashSet;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;

/// What is wrong, and which bytes of the checked text are to blame.
pub(super) type Flaw = (ProblemKind, Range<usize>);

/// The first character that `wrong` dislikes, as a byte range.
fn find(text: &str, wrong: impl Fn(char) -> bool) -> Option<(char, Range<usize>)> {
    text.char_indices().find(|&(_, c)| wrong(c)).map(|(at, c)| (c, at..at + c.len_utf8()))
}

pub(super) fn name(text: &str) -> Result<(), Flaw> {
    if text.is_empty() {
        return Err((ProblemKind::EmptyName, 0..0));
    }
    if text.len() > MAX_NAME_BYTES {
        return Err((ProblemKind::NameTooLong { length: text.len() }, 0..text.len()));
    }
    if let Some((_, at)) = find(text, char::is_control) {
        return Err((ProblemKind::BadName { text: show(text) }, at));
    }
    if text.trim() != text {
        let leading = text.len() - text.trim_start().len();
        let at = if leading > 0 { 0..leading } else { text.trim_end().len()..text.len() };
        return Err((ProblemKind::BadName { text: show(text) }, at));
    }
    Ok(())
}

/// Answers the host without brackets.
pub(super) fn host(text: &str) -> Result<String, Flaw> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = bare.unwrap_or(text);
    // A link-local address may name its interface, as in fe80::1%eth0.
    let (ip, zone) = address.split_once('%').unwrap_or((address, "none"));
    let zone_is_fine = (1..16).contains(&zone.len())
        && zone.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.'));
    if ip.parse::<Ipv6Addr>().is_ok() && zone_is_fine {
        return Ok(address.to_owned());
    }
    if text.parse::<Ipv4Addr>().is_ok() || is_host_name(text) {
        return Ok(text.to_owned());
    }
    if text.is_empty() {
        return Err((ProblemKind::EmptyAddress, 0..0));
    }
    let outlaw =
        |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']' | '%'));
    let at = find(text, outlaw).map_or(0..text.len(), |(_, at)| at);
    Err((ProblemKind::BadAddress { text: show(text) }, at))
}

/// RFC 1123, plus the underscore that Docker Compose puts into its service names. The last label must not be a number,
/// or `111.222.333.444` would be a host name and fail only at run time.
fn is_host_name(text: &str) -> bool {
    let label_is_fine = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    text.len() <= 253 && text.split('.').all(label_is_fine) && !last.bytes().all(|c| c.is_ascii_digit())
}

pub(super) fn port(text: &str, column: &'static str) -> Result<u16, Flaw> {
    // Digits only: Rust would take "+1", which Python's peers do not.
    let digits = text.bytes().all(|c| c.is_ascii_digit());
    match text.parse::<u16>() {
        Ok(port) if digits && port != 0 => Ok(port),
        _ => {
            let at = find(text, |c| !c.is_ascii_digit()).map_or(0..text.len(), |(_, at)| at);
            Err((ProblemKind::BadPort { column, text: show(text) }, at))
        }
    }
}

/// One topic of a list.
fn topic(text: &str) -> Result<(), Flaw> {
    if let Some((c, at)) = find(text, |c| c.is_whitespace() || c.is_control()) {
        return Err((ProblemKind::BlankInTopics { character: c }, at));
    }
    if let Some((c, at)) = find(text, |c| matches!(c, '"' | '\'')) {
        return Err((ProblemKind::QuoteInTopics { character: c }, at));
    }
    if text.len() > SUBSCRIPTION_TOPIC_BYTES {
        return Err((ProblemKind::TopicTooLong { length: text.len() }, 0..text.len()));
    }
    Ok(())
}

/// A topic cell: `[a,b]`, or `none`.
pub(super) fn topics(cell: &str) -> Result<Vec<String>, Flaw> {
    if cell == NO_TOPICS {
        return Ok(Vec::new());
    }
    if cell.is_empty() {
        return Err((ProblemKind::EmptyTopics, 0..0));
    }
    let shift = |by: usize| move |(kind, at): Flaw| (kind, at.start + by..at.end + by);
    // Blanks first: one before the bracket is the commonest reason why the bracket is missing.
    if let Some((c, at)) = find(cell, char::is_whitespace) {
        return Err((ProblemKind::BlankInTopics { character: c }, at));
    }
    let last = cell.char_indices().next_back().map_or(0, |(at, _)| at);
    let bracket = |at| (ProblemKind::MissingBracket { text: show(cell) }, at);
    let list =
        cell.strip_prefix('[').ok_or_else(|| bracket(0..cell.chars().next().map_or(0, char::len_utf8)))?;
    let list = list.strip_suffix(']').ok_or_else(|| bracket(last..cell.len()))?;
    let mut start = 1;
    let mut topics = Vec::new();
    for text in list.split(',') {
        topic(text).map_err(shift(start))?;
        topics.push(text.to_owned());
        start += text.len() + 1;
    }
    Ok(topics)
}

/// The check of a builder: as [`super::parse`], but nothing has a place.
pub(super) fn routes(mut routes: Vec<Route>) -> Result<RoutingSpec, RoutingError> {
    let mut problems = Vec::new();
    let mut names = HashSet::new();
    for route in &mut routes {
        if let Err((kind, _)) = self::route(route, &mut names) {
            problems.push(Problem::without_place(&kind, &route.name));
        }
    }
    let whole = match routes.len() {
        0 => Some(ProblemKind::NoBackplane),
        BACKPLANES.. if routes.len() > BACKPLANES => Some(ProblemKind::TooManyBackplanes),
        _ => None,
    };
    problems.extend(whole.map(|kind| Problem::without_place(&kind, "")));
    let spec = RoutingSpec { routes };
    if problems.is_empty() && spec.to_string().len() > MAX_FILE_BYTES {
        problems.push(Problem::without_place(&ProblemKind::TooLarge, ""));
    }
    match problems.is_empty() {
        true => Ok(spec),
        false => Err(RoutingError::new("routing builder".to_owned(), String::new(), problems)),
    }
}

fn route(route: &mut Route, names: &mut HashSet<String>) -> Result<(), Flaw> {
    name(&route.name)?;
    if !names.insert(route.name.clone()) {
        return Err((ProblemKind::DuplicateName { text: show(&route.name) }, 0..0));
    }
    route.host = host(&route.host)?;
    for (column, value) in
        [("subscriber_port", route.subscriber_port), ("publisher_port", route.publisher_port)]
    {
        if let Some(number) = value {
            port(&number.to_string(), column)?;
        }
    }
    for text in &route.topics {
        if text.contains(',') {
            return Err((ProblemKind::CommaInTopic { text: show(text) }, 0..0));
        }
        topic(text)?;
    }
    if route.subscriber_port.is_none() && route.publisher_port.is_none() {
        return Err((ProblemKind::NoPort, 0..0));
    }
    Ok(())
}
