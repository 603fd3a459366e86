//! The head of a request: who may come in, and what those get who want a page. No socket.

mod page;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use httparse::{EMPTY_HEADER, Header, Request, Status};
use std::net::IpAddr;
use tungstenite::handshake::derive_accept_key;

/// Bytes and lines of a head.
const LONGEST: usize = 8 * 1024;
const LINES: usize = 64;

/// Who may come in.
#[derive(Debug)]
pub(crate) struct Gate {
    /// Whether only this machine reaches the port.
    pub(crate) loopback: bool,
    /// Whether a session needs a token.
    pub(crate) token: bool,
    /// Pages from elsewhere that may connect.
    pub(crate) origins: Vec<String>,
}

/// What comes of the bytes so far.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The head is not whole.
    More,
    /// Say this and end; `refused` is why, where that is worth a word.
    Answer { bytes: Vec<u8>, refused: Option<String> },
    /// Say this and be a WebSocket; behind so many bytes of what came its frames begin.
    Upgrade { bytes: Vec<u8>, taken: usize },
}

/// An answer that ends the connection.
fn answer(status: &str, more: &str, body: &str) -> Step {
    let head = page::head(status, "text/plain; charset=utf-8", body.len() + 1, more);
    Step::Answer {
        bytes: format!("{head}\r\n{body}\n").into_bytes(),
        refused: Some(format!("{status}: {body}")),
    }
}

/// What came is no request, and never will be one.
fn unreadable(why: &str) -> Step {
    answer("400 Bad Request", "", &format!("this port speaks HTTP/1.1 and WebSocket: {why}"))
}

/// The head did not come in time.
pub(crate) fn late() -> Vec<u8> {
    bytes_of(answer("408 Request Timeout", "", "the request did not come in time"))
}

/// There is no place left.
pub(crate) fn full() -> Vec<u8> {
    bytes_of(answer(
        "503 Service Unavailable",
        "Retry-After: 5\r\n",
        "too many are connected; come again later",
    ))
}

fn bytes_of(step: Step) -> Vec<u8> {
    match step {
        Step::Answer { bytes, .. } | Step::Upgrade { bytes, .. } => bytes,
        Step::More => Vec::new(),
    }
}

impl Gate {
    /// Judges the bytes that came so far.
    pub(crate) fn judge(&self, came: &[u8]) -> Step {
        let mut headers = [EMPTY_HEADER; LINES];
        let mut request = Request::new(&mut headers);
        match request.parse(came) {
            Ok(Status::Complete(taken)) if taken <= LONGEST => {
                self.decide(&request, taken).unwrap_or_else(|no| no)
            }
            Ok(Status::Partial) if came.len() < LONGEST => Step::More,
            Ok(_) | Err(httparse::Error::TooManyHeaders) => {
                let body = format!("the head of a request may have {LINES} lines and {LONGEST} bytes");
                answer("431 Request Header Fields Too Large", "", &body)
            }
            Err(httparse::Error::Version) => {
                answer("505 HTTP Version Not Supported", "", "this port speaks HTTP/1.1")
            }
            Err(error) => unreadable(&error.to_string()),
        }
    }

    fn decide(&self, request: &Request<'_, '_>, taken: usize) -> Result<Step, Step> {
        let host = self.host(request)?;
        let path = request.path.unwrap_or_default();
        let path = path.split('?').next().unwrap_or_default();
        let method = request.method.unwrap_or_default();
        if get(request, "transfer-encoding")?.is_some()
            || get(request, "content-length")?.is_some_and(|n| n != "0")
        {
            return Err(unreadable("a request here has no body"));
        }
        let wants_socket = get(request, "upgrade")?.is_some_and(|value| has(value, "websocket"));
        if wants_socket {
            return self.upgrade(request, host, taken);
        }
        let known = get(request, "if-none-match")?;
        match (method, page::find(path)) {
            ("GET" | "HEAD", Some(file)) => {
                Ok(Step::Answer { bytes: file.answer(host, known, method == "HEAD"), refused: None })
            }
            ("GET" | "HEAD", None) => {
                Err(answer("404 Not Found", "", "there is no such page; the one there is, is /"))
            }
            _ => Err(answer("405 Method Not Allowed", "Allow: GET, HEAD\r\n", "pages are only read here")),
        }
    }

    /// The name under which the gateway was called. A name that somebody made lead here lets the pages of that somebody
    /// in, for a browser takes them for the gateway's own; so only addresses count, and names that were allowed.
    fn host<'h>(&self, request: &Request<'_, 'h>) -> Result<&'h str, Step> {
        let whole = get(request, "host")?.ok_or_else(|| unreadable("there is no Host"))?;
        let name = match whole.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => whole.split(':').next().unwrap_or_default(),
        };
        let port = whole.rsplit(']').next().unwrap_or_default().split_once(':').map_or("0", |(_, port)| port);
        let allowed = match name.parse::<IpAddr>() {
            Ok(address) => !self.loopback || multiplane_bridge::is_loopback(address),
            Err(_) => {
                name.eq_ignore_ascii_case("localhost")
                    || self.origins.iter().any(|origin| host_of(origin).eq_ignore_ascii_case(name))
            }
        };
        match allowed && port.parse::<u16>().is_ok() {
            true => Ok(whole),
            false => Err(answer(
                "421 Misdirected Request",
                "",
                "call the gateway by its address or localhost; another name needs an --origin with it",
            )),
        }
    }

    fn upgrade(&self, request: &Request<'_, '_>, host: &str, taken: usize) -> Result<Step, Step> {
        if request.method != Some("GET") || request.version != Some(1) {
            return Err(unreadable("a WebSocket begins with GET and HTTP/1.1"));
        }
        if !get(request, "connection")?.is_some_and(|value| has(value, "upgrade")) {
            return Err(unreadable("a WebSocket needs `Connection: Upgrade`"));
        }
        if get(request, "sec-websocket-version")? != Some("13") {
            let version = "Sec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n";
            return Err(answer(
                "426 Upgrade Required",
                version,
                "this gateway speaks version 13 of WebSocket",
            ));
        }
        let key = get(request, "sec-websocket-key")?.unwrap_or_default();
        if !STANDARD.decode(key).is_ok_and(|key| key.len() == 16) {
            return Err(unreadable("Sec-WebSocket-Key is missing, or not 16 bytes in base64"));
        }
        match get(request, "origin")? {
            Some(origin) if self.is_welcome(origin, host) => {}
            Some(origin) => {
                // Header lines may hold tabs, which no line of a log may.
                let origin = origin.escape_debug();
                let body = format!("pages of {origin} may not connect; --origin {origin} would let them");
                return Err(answer("403 Forbidden", "", &body));
            }
            None if self.loopback || self.token => {}
            None => {
                return Err(answer(
                    "403 Forbidden",
                    "",
                    "without an Origin only those with a token may connect",
                ));
            }
        }
        let accept = derive_accept_key(key.as_bytes());
        let bytes = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        Ok(Step::Upgrade { bytes: bytes.into_bytes(), taken })
    }

    /// A page may connect if it came from here, or was allowed.
    fn is_welcome(&self, origin: &str, host: &str) -> bool {
        let own = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        own.is_some_and(|own| own.eq_ignore_ascii_case(host))
            || self.origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin))
    }
}

/// The name in an origin.
fn host_of(origin: &str) -> &str {
    let rest = origin.split_once("://").map_or(origin, |(_, rest)| rest);
    rest.rsplit_once(':').map_or(rest, |(host, _)| host)
}

/// The one line of that name: what may be said twice may be read in two ways.
fn get<'h>(request: &Request<'_, 'h>, name: &str) -> Result<Option<&'h str>, Step> {
    let is_it = |header: &&Header<'h>| header.name.eq_ignore_ascii_case(name);
    let mut found = request.headers.iter().filter(is_it).map(|header| header.value);
    let value = found.next().map(std::str::from_utf8).transpose();
    let value = value.map_err(|_| unreadable(&format!("{name} is not UTF-8")))?;
    match found.next() {
        Some(_) => Err(unreadable(&format!("{name} stands there twice"))),
        None => Ok(value.map(str::trim)),
    }
}

fn has(list: &str, word: &str) -> bool {
    list.split(',').any(|one| one.trim().eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests;
