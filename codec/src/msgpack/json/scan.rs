//! JSON's structure (RFC 8259) in one loop. Where a string or number ends is found here; what it says, and
//! whether it is well formed, serde_json knows.

use super::JsonError;
use crate::msgpack::limits::Limits;
use memchr::memchr2;

pub(super) enum Event<'a> {
    Open,
    Close(Container),
    Nil,
    Bool(bool),
    /// A string, a key or a value, with its quotes.
    Text(&'a [u8]),
    Number(&'a [u8]),
}

/// An array or a map that is open.
#[derive(Clone, Copy)]
pub(super) struct Container {
    pub(super) map: bool,
    /// Where the caller has put its head.
    pub(super) head: usize,
    /// Values directly inside so far, keys included.
    pub(super) values: usize,
}

/// What may come next.
#[derive(Clone, Copy, PartialEq)]
enum Expect {
    Value,
    FirstItem,
    FirstKey,
    Key,
    Colon,
    Next,
}

pub(super) struct Scanner<'a> {
    json: &'a [u8],
    at: usize,
    expect: Expect,
    open: Vec<Container>,
    items: usize,
    limits: Limits,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(json: &'a [u8], limits: &Limits) -> Result<Self, JsonError> {
        if json.len() > limits.bytes {
            return Err(JsonError::TooLarge { length: json.len(), limit: limits.bytes });
        }
        Ok(Scanner { json, at: 0, expect: Expect::Value, open: Vec::new(), items: 0, limits: *limits })
    }

    /// The next event and where it starts; `None` after one complete value and nothing else. A container that opens has its
    /// head at `head`.
    pub(super) fn next(&mut self, head: usize) -> Result<Option<(usize, Event<'a>)>, JsonError> {
        loop {
            let rest = &self.json[self.at..];
            self.at += rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count();
            let at = self.at;
            let byte = self.json.get(at).copied();
            match (self.expect, byte) {
                (Expect::Next, None) if self.open.is_empty() => return Ok(None),
                (Expect::Next, Some(b',')) if !self.open.is_empty() => {
                    self.at += 1;
                    self.expect = if self.in_map() { Expect::Key } else { Expect::Value };
                }
                (Expect::Colon, Some(b':')) => {
                    self.at += 1;
                    self.expect = Expect::Value;
                }
                (Expect::Next | Expect::FirstItem, Some(b']')) if !self.open.is_empty() && !self.in_map() => {
                    return Ok(self.close());
                }
                (Expect::Next | Expect::FirstKey, Some(b'}')) if self.in_map() => return Ok(self.close()),
                (Expect::Key | Expect::FirstKey, Some(b'"')) => {
                    self.expect = Expect::Colon;
                    return self.counted(at, |scanner| scanner.text(at));
                }
                (Expect::Value | Expect::FirstItem, Some(byte)) => {
                    self.expect = Expect::Next;
                    return self.counted(at, |scanner| scanner.value(at, byte, head));
                }
                (expect, _) => {
                    return Err(JsonError::Syntax { at, expected: expect.describe(self.open.is_empty()) });
                }
            }
        }
    }

    fn in_map(&self) -> bool {
        self.open.last().is_some_and(|container| container.map)
    }

    fn close(&mut self) -> Option<(usize, Event<'a>)> {
        let at = self.at;
        self.at += 1;
        self.expect = Expect::Next;
        Some((at, Event::Close(self.open.pop()?)))
    }

    fn counted(
        &mut self,
        at: usize,
        read: impl FnOnce(&mut Self) -> Result<Event<'a>, JsonError>,
    ) -> Result<Option<(usize, Event<'a>)>, JsonError> {
        self.items += 1;
        if self.items > self.limits.items {
            return Err(JsonError::TooManyItems { at, limit: self.limits.items });
        }
        if let Some(around) = self.open.last_mut() {
            around.values += 1;
        }
        Ok(Some((at, read(self)?)))
    }

    fn value(&mut self, at: usize, byte: u8, head: usize) -> Result<Event<'a>, JsonError> {
        match byte {
            b'"' => self.text(at),
            b'{' | b'[' => {
                if self.open.len() >= self.limits.capped_depth() {
                    return Err(JsonError::TooDeep { at, limit: self.limits.capped_depth() });
                }
                let map = byte == b'{';
                self.at += 1;
                self.open.push(Container { map, head, values: 0 });
                self.expect = if map { Expect::FirstKey } else { Expect::FirstItem };
                Ok(Event::Open)
            }
            b'-' | b'0'..=b'9' => {
                let rest = &self.json[at..];
                let length = rest
                    .iter()
                    .take_while(|byte| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'))
                    .count();
                self.at += length;
                Ok(Event::Number(&rest[..length]))
            }
            _ => [(&b"null"[..], Event::Nil), (b"true", Event::Bool(true)), (b"false", Event::Bool(false))]
                .into_iter()
                .find(|(word, _)| self.json[at..].starts_with(word))
                .map(|(word, event)| {
                    self.at += word.len();
                    event
                })
                .ok_or(JsonError::Syntax { at, expected: Expect::Value.describe(false) }),
        }
    }

    fn text(&mut self, at: usize) -> Result<Event<'a>, JsonError> {
        let mut end = at + 1;
        while let Some(length) = self.json.get(end..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
            end += length + 1;
            if self.json[end - 1] == b'"' {
                self.at = end;
                return Ok(Event::Text(&self.json[at..end]));
            }
            // What is escaped, whatever it is.
            end += 1;
        }
        Err(JsonError::Malformed { at, reason: "the string has no end".to_owned() })
    }
}

impl Expect {
    fn describe(self, outside: bool) -> &'static str {
        match self {
            Expect::Value => "a value",
            Expect::FirstItem => "a value or `]`",
            Expect::FirstKey => "a key in quotes or `}`",
            Expect::Key => "a key in quotes",
            Expect::Colon => "a `:`",
            Expect::Next if outside => "nothing more: one value per text",
            Expect::Next => "a `,` or the container's end",
        }
    }
}
