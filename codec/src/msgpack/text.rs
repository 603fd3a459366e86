//! A walk over a value in the order in which text is written, and the text for people that is made of it.

use std::fmt::{self, Display, Write};

use super::token::{self, Token};
use super::view::View;

/// One step of [`walk`].
pub(super) enum Step<'a> {
    /// A scalar or the opening of a container.
    Value {
        token: Token<'a>,
        /// What stands between this and the step before it: nothing, a comma or a colon.
        before: &'static str,
        key: bool,
        at: usize,
    },
    Close {
        map: bool,
    },
}

struct Open {
    left: u64,
    map: bool,
    fresh: bool,
}

/// Calls `visit` for every value of `view`, containers opening and closing; a loop over a stack that the
/// depth limit bounds.
pub(super) fn walk<'a, E>(view: View<'a>, mut visit: impl FnMut(Step<'a>) -> Result<(), E>) -> Result<(), E> {
    let mut open: Vec<Open> = Vec::new();
    let mut rest = view.bytes();
    // A `View` was checked, so reading it does not fail.
    while let Ok((token, size)) = token::read(rest) {
        let (mut key, mut before) = (false, "");
        if let Some(top) = open.last_mut() {
            key = top.map && top.left.is_multiple_of(2);
            before = match (top.fresh, top.map && !key) {
                (_, true) => ":",
                (true, _) => "",
                (false, _) => ",",
            };
            top.left -= 1;
            top.fresh = false;
        }
        let at = view.offset() + view.bytes().len() - rest.len();
        visit(Step::Value { token, before, key, at })?;
        rest = &rest[size..];
        if token.is_container() {
            open.push(Open { left: token.children(), map: matches!(token, Token::Map(_)), fresh: true });
        }
        while let Some(Open { left: 0, map, .. }) = open.last() {
            visit(Step::Close { map: *map })?;
            open.pop();
        }
        if open.is_empty() {
            break;
        }
    }
    Ok(())
}

/// Text much like JSON: bytes as `b"..."`, extensions as `ext(type, b"...")`, floats in full, keys of any
/// kind, every character that could disturb a terminal escaped.
impl Display for View<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(*self, f, usize::MAX)
    }
}

/// As `Display`, for logs: it stops after about a kilobyte.
impl fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(*self, f, 1024)
    }
}

/// Stops, with an ellipsis, once `cap` bytes of the value were shown.
fn show(view: View<'_>, f: &mut fmt::Formatter<'_>, cap: usize) -> fmt::Result {
    let mut left = cap;
    // `None` stops the walk because enough was shown.
    let shown = walk(view, |step| match step {
        Step::Close { map } => f.write_char(if map { '}' } else { ']' }).map_err(Some),
        Step::Value { token, before, .. } => {
            f.write_str(before).and_then(|()| show_token(token, f, left)).map_err(Some)?;
            let size = match token {
                Token::Str(bytes) | Token::Bin(bytes) | Token::Ext(_, bytes) => bytes.len() + 1,
                _ => 1,
            };
            left = left.checked_sub(size).ok_or(None)?;
            Ok(())
        }
    });
    match shown {
        Ok(()) => Ok(()),
        Err(None) => f.write_char('…'),
        Err(Some(error)) => Err(error),
    }
}

fn show_token(token: Token<'_>, f: &mut fmt::Formatter<'_>, cap: usize) -> fmt::Result {
    let capped = |bytes: &[u8]| cap.min(bytes.len());
    match token {
        Token::Nil => f.write_str("null"),
        Token::Bool(yes) => write!(f, "{yes}"),
        Token::Uint(n) => write!(f, "{n}"),
        Token::Int(n) => write!(f, "{n}"),
        Token::F32(x) => write!(f, "{x:?}"),
        Token::F64(x) => write!(f, "{x:?}"),
        Token::Str(bytes) => text(f, &bytes[..capped(bytes)]),
        Token::Bin(bytes) => write!(f, "b\"{}\"", bytes[..capped(bytes)].escape_ascii()),
        Token::Ext(kind, bytes) => write!(f, "ext({kind}, b\"{}\")", bytes[..capped(bytes)].escape_ascii()),
        Token::Array(_) => f.write_char('['),
        Token::Map(_) => f.write_char('{'),
    }
}

fn text(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    f.write_char('"')?;
    for chunk in bytes.utf8_chunks() {
        write!(f, "{}{}", chunk.valid().escape_debug(), chunk.invalid().escape_ascii())?;
    }
    f.write_char('"')
}
