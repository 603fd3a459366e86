//! Splits CSV text into cells and remembers where each byte of a cell came from.
//!
//! The dialect is that of Python's `csv` module with its defaults: a quote opens a quoted cell only as its first
//! character, `""` inside is one quote, what follows the closing quote is taken literally. Only a line end inside
//! quotes, which Python allows, is taken for a forgotten quote: no cell of ours may contain one, and the rows behind it
//! stay readable. Not the `csv` crate, because it tells where a record begins but not where a cell does, and an error
//! should point at the very character.

use std::ops::Range;

/// One cell: its meaning, and its place in the source.
#[derive(Debug, Clone)]
pub(super) struct Cell {
    /// Without quotes around and doubling inside.
    pub(super) text: String,
    /// Bytes of the source that it takes, quotes included.
    pub(super) span: Range<usize>,
    /// For each byte of `text` its offset in the source.
    origins: Vec<usize>,
}

impl Cell {
    fn new(start: usize) -> Self {
        Cell { text: String::new(), span: start..start, origins: Vec::new() }
    }

    fn push(&mut self, c: char, at: usize) {
        self.text.push(c);
        self.origins.extend(at..at + c.len_utf8());
    }

    /// Where a range of `text` is in the source; the whole cell for an empty range.
    pub(super) fn source_span(&self, range: Range<usize>) -> Range<usize> {
        match self.origins.get(range) {
            Some([first, .., last]) => *first..last + 1,
            Some([only]) => *only..only + 1,
            _ => self.span.clone(),
        }
    }
}

/// One line of the file. Has at least one cell.
pub(super) type Record = Vec<Cell>;

/// An iterator over the records of a text. An error is the offset of a quote that its line does not close.
#[derive(Debug)]
pub(super) struct Records<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Records<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Records { text, at: 0 }
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    /// Reads one cell and leaves `at` on the delimiter, line end or end of text behind it.
    fn cell(&mut self) -> Result<Cell, usize> {
        let start = self.at;
        let mut cell = Cell::new(start);
        let mut quoted = self.peek() == Some('"');
        self.at += usize::from(quoted);
        while let Some(c) = self.peek() {
            if matches!(c, '\n' | '\r') || (c == ',' && !quoted) {
                break;
            }
            if c == '"' && quoted {
                self.at += 1;
                quoted = self.peek() == Some('"');
                if !quoted {
                    continue;
                }
            }
            cell.push(c, self.at);
            self.at += c.len_utf8();
        }
        cell.span.end = self.at;
        if quoted { Err(start) } else { Ok(cell) }
    }
}

impl Iterator for Records<'_> {
    type Item = Result<Record, usize>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at == self.text.len() {
            return None;
        }
        let mut record = Vec::new();
        let outcome = loop {
            match self.cell() {
                Ok(cell) => record.push(cell),
                Err(quote) => break Err(quote),
            }
            if self.peek() != Some(',') {
                break Ok(record);
            }
            self.at += 1;
        };
        // CRLF ends two lines, the second of which is blank and so nothing.
        self.at += usize::from(self.at < self.text.len());
        Some(outcome)
    }
}
