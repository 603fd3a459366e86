//! A message per line, ended by `\n`.
//!
//! ```
//! use multiplane_codec::framing::lines::{Decoder, encode};
//!
//! let mut decoder = Decoder::new(80);
//! decoder.feed(b"first\r\nsec");
//! assert_eq!(decoder.next_line()?, Some(&b"first"[..]));
//! assert_eq!(decoder.next_line()?, None);
//! decoder.feed(b"ond\nlast");
//! assert_eq!(decoder.next_line()?, Some(&b"second"[..]));
//! assert_eq!(decoder.next_line()?, None);
//! assert_eq!(decoder.finish(), Some(&b"last"[..]));
//!
//! let mut stream = Vec::new();
//! encode(b"first", &mut stream)?;
//! assert_eq!(stream, b"first\n");
//! # Ok::<(), multiplane_codec::framing::FramingError>(())
//! ```

use super::{Backlog, FramingError};

/// Appends `line` and a newline.
///
/// # Errors
/// [`FramingError::NewlineInside`] where it would arrive as several; then nothing is written.
pub fn encode(line: &[u8], out: &mut Vec<u8>) -> Result<(), FramingError> {
    if let Some(at) = line.iter().position(|&byte| byte == b'\n') {
        return Err(FramingError::NewlineInside { at });
    }
    out.extend_from_slice(line);
    out.push(b'\n');
    Ok(())
}

/// Finds lines in a stream that arrives in chunks.
#[derive(Debug)]
pub struct Decoder {
    limit: usize,
    keep_cr: bool,
    backlog: Backlog,
    /// Bytes of the backlog known to hold no newline.
    searched: usize,
    /// Inside a line that was already reported as too long.
    skipping: bool,
}

impl Decoder {
    /// A decoder of lines up to `limit` bytes, their ending not counted. A `\r` before the `\n` belongs to
    /// the ending.
    pub fn new(limit: usize) -> Self {
        Decoder { limit, keep_cr: false, backlog: Backlog::default(), searched: 0, skipping: false }
    }

    /// Keeps a `\r` before the `\n` as part of the line.
    pub fn keep_cr(mut self) -> Self {
        self.keep_cr = true;
        self
    }

    /// Adds what arrived.
    pub fn feed(&mut self, chunk: &[u8]) {
        self.backlog.feed(chunk);
    }

    /// The next complete line without its ending, or `None` until more is fed.
    ///
    /// # Errors
    /// [`FramingError::LineTooLong`], once per such line; the call after it goes on behind that line.
    pub fn next_line(&mut self) -> Result<Option<&[u8]>, FramingError> {
        let Some(length) = self.find_newline()? else { return Ok(None) };
        let line = self.backlog.take(length + 1);
        Ok(Some(without_cr(&line[..length], self.keep_cr)))
    }

    /// Bytes before the newline of the next line within the limit; drops what belongs to longer ones.
    fn find_newline(&mut self) -> Result<Option<usize>, FramingError> {
        let too_long = FramingError::LineTooLong { limit: self.limit };
        loop {
            let rest = self.backlog.rest();
            let Some(length) = rest[self.searched..].iter().position(|&byte| byte == b'\n') else { break };
            let length = self.searched + length;
            self.searched = 0;
            if !self.skipping && without_cr(&rest[..length], self.keep_cr).len() <= self.limit {
                return Ok(Some(length));
            }
            self.backlog.take(length + 1);
            if !std::mem::take(&mut self.skipping) {
                return Err(too_long);
            }
        }
        self.searched = self.backlog.rest().len();
        // One byte past the limit may still turn out to be the `\r` of the ending.
        let over = self.searched > self.limit.saturating_add(usize::from(!self.keep_cr));
        if over || self.skipping {
            self.backlog.take(usize::MAX);
            self.searched = 0;
        }
        if over && !std::mem::replace(&mut self.skipping, true) {
            return Err(too_long);
        }
        Ok(None)
    }

    /// At the end of the stream: the last line if it has no newline and is not empty. Take the complete lines
    /// first.
    pub fn finish(&mut self) -> Option<&[u8]> {
        let keep_cr = self.keep_cr;
        let skipping = std::mem::take(&mut self.skipping);
        self.searched = 0;
        let line = without_cr(self.backlog.take(usize::MAX), keep_cr);
        (!skipping && !line.is_empty() && line.len() <= self.limit).then_some(line)
    }
}

fn without_cr(line: &[u8], keep_cr: bool) -> &[u8] {
    match line {
        [line @ .., b'\r'] if !keep_cr => line,
        line => line,
    }
}
