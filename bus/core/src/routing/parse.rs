//! From a file or text to a checked specification.

use super::cells::{Cell, Record, Records};
use super::check::{self, Flaw};
use super::error::{MAX_PROBLEMS, Problem, ProblemKind, RoutingError, show};
use super::{COLUMNS, MAX_FILE_BYTES, Route, RoutingSpec};
use crate::budget::BACKPLANES;
use std::collections::HashSet;
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;

const NAME: usize = 0;
const ADDRESS: usize = 1;
const SUBSCRIBER_PORT: usize = 2;
const TOPICS: usize = 3;
const PUBLISHER_PORT: usize = 4;

pub(super) fn from_path(path: &Path) -> Result<RoutingSpec, RoutingError> {
    let source_name = path.display().to_string();
    match read(path) {
        Ok(bytes) => from_bytes(&bytes, source_name),
        Err(error) => {
            let problem = Problem::without_place(&unreadable(&error), "");
            Err(RoutingError::new(source_name, String::new(), vec![problem]))
        }
    }
}

/// Reads one byte more than allowed, so that the parser sees that it is too much.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

pub(super) fn unreadable(error: &io::Error) -> ProblemKind {
    match error.kind() {
        io::ErrorKind::NotFound => ProblemKind::NotFound,
        io::ErrorKind::IsADirectory => ProblemKind::IsDirectory,
        io::ErrorKind::PermissionDenied => ProblemKind::NoPermission,
        _ => ProblemKind::Unreadable { reason: error.to_string() },
    }
}

pub(super) fn from_bytes(bytes: &[u8], source_name: String) -> Result<RoutingSpec, RoutingError> {
    if bytes.len() > MAX_FILE_BYTES {
        let problem = Problem::without_place(&ProblemKind::TooLarge, "");
        return Err(RoutingError::new(source_name, String::new(), vec![problem]));
    }
    let problems = match std::str::from_utf8(bytes) {
        Ok(text) => match from_text(text) {
            Ok(spec) => return Ok(spec),
            Err(problems) => problems,
        },
        Err(error) => {
            let at = error.valid_up_to();
            // In the lossy text, the bad byte is a replacement character at the same offset.
            let text = String::from_utf8_lossy(bytes);
            let span = at..at + char::REPLACEMENT_CHARACTER.len_utf8();
            vec![Problem::at(&ProblemKind::NotUtf8 { byte: bytes[at] }, &text, span)]
        }
    };
    Err(RoutingError::new(source_name, String::from_utf8_lossy(bytes).into_owned(), problems))
}

fn from_text(text: &str) -> Result<RoutingSpec, Vec<Problem>> {
    const BOM: char = '\u{feff}';
    if text.starts_with(BOM) {
        return Err(vec![Problem::at(&ProblemKind::ByteOrderMark, text, 0..BOM.len_utf8())]);
    }
    let mut records = Records::new(text);
    let first = records.next().transpose().map_err(|quote| vec![unclosed(text, quote)])?;
    let columns = Columns::from_header(first).map_err(|(kind, at)| vec![Problem::at(&kind, text, at)])?;

    let mut routes = Vec::new();
    let mut names = HashSet::new();
    let mut problems = Vec::new();
    let mut rows = 0;
    for record in records {
        if problems.len() == MAX_PROBLEMS {
            break;
        }
        let record = match record {
            Ok(record) => record,
            Err(quote) => {
                problems.push(unclosed(text, quote));
                continue;
            }
        };
        let span = whole(&record);
        if span.is_empty() {
            continue;
        }
        rows += 1;
        if rows > BACKPLANES {
            problems.push(Problem::at(&ProblemKind::TooManyBackplanes, text, span));
            break;
        }
        match columns.route(&record, &mut names) {
            Ok(route) => routes.push(route),
            Err((kind, at)) => problems.push(Problem::at(&kind, text, at)),
        }
    }
    if rows == 0 && problems.is_empty() {
        problems.push(Problem::at(&ProblemKind::NoBackplane, text, text.len()..text.len()));
    }
    if problems.is_empty() { Ok(RoutingSpec { routes }) } else { Err(problems) }
}

fn unclosed(text: &str, quote: usize) -> Problem {
    Problem::at(&ProblemKind::UnclosedQuote, text, quote..quote + 1)
}

/// From the first byte of a record to its last.
fn whole(record: &Record) -> Range<usize> {
    match (record.first(), record.last()) {
        (Some(first), Some(last)) => first.span.start..last.span.end,
        _ => 0..0,
    }
}

/// For each of [`COLUMNS`] its index in the file at hand.
#[derive(Debug)]
struct Columns([usize; COLUMNS.len()]);

impl Columns {
    fn from_header(header: Option<Record>) -> Result<Self, Flaw> {
        let header = header.unwrap_or_default();
        let mut indices = [None; COLUMNS.len()];
        if !header.iter().any(|cell| COLUMNS.contains(&cell.text.trim())) {
            return Err((ProblemKind::MissingHeader, whole(&header)));
        }
        for (index, cell) in header.iter().enumerate() {
            let Some(known) = COLUMNS.iter().position(|column| *column == cell.text) else {
                return Err((ProblemKind::UnknownColumn { text: show(&cell.text) }, cell.span.clone()));
            };
            if indices[known].replace(index).is_some() {
                return Err((ProblemKind::DuplicateColumn { column: COLUMNS[known] }, cell.span.clone()));
            }
        }
        let end = whole(&header).end;
        let mut columns = [0; COLUMNS.len()];
        for (known, index) in indices.into_iter().enumerate() {
            columns[known] =
                index.ok_or((ProblemKind::MissingColumn { column: COLUMNS[known] }, end..end))?;
        }
        Ok(Columns(columns))
    }

    fn cell<'a>(&self, record: &'a Record, column: usize) -> Option<&'a Cell> {
        record.get(self.0[column])
    }

    /// As `cell`, where the row must reach that far.
    fn required<'a>(&self, record: &'a Record, column: usize) -> Result<&'a Cell, Flaw> {
        let end = whole(record).end;
        self.cell(record, column).ok_or((ProblemKind::ShortRow { column: COLUMNS[column] }, end..end))
    }

    fn route(&self, record: &Record, names: &mut HashSet<String>) -> Result<Route, Flaw> {
        self.fitting(record)?;
        // In the order of the file, so that a row that is cut short is told by the first column it lacks.
        let mut in_file_order = [NAME, ADDRESS, SUBSCRIBER_PORT, TOPICS];
        in_file_order.sort_by_key(|&column| self.0[column]);
        for column in in_file_order {
            self.required(record, column)?;
        }

        let name = self.required(record, NAME)?;
        check::name(&name.text).map_err(in_source(name))?;
        if !names.insert(name.text.clone()) {
            return Err((ProblemKind::DuplicateName { text: show(&name.text) }, name.span.clone()));
        }
        let address = self.required(record, ADDRESS)?;
        let host = check::host(&address.text).map_err(in_source(address))?;
        let subscriber_port = self.port(record, SUBSCRIBER_PORT)?;
        let cell = self.required(record, TOPICS)?;
        let topics = match (check::topics(&cell.text), subscriber_port) {
            (Ok(topics), _) => topics,
            (Err(flaw), Some(_)) => return Err(in_source(cell)(flaw)),
            // Ignored, as in Python, whatever it is.
            (Err(_), None) => Vec::new(),
        };
        let publisher_port = self.port(record, PUBLISHER_PORT)?;
        if subscriber_port.is_none() && publisher_port.is_none() {
            return Err((ProblemKind::NoPort, whole(record)));
        }
        Ok(Route { name: name.text.clone(), host, subscriber_port, topics, publisher_port })
    }

    /// A list without its quotes falls apart at the commas and shifts the cells behind it.
    fn fitting(&self, record: &Record) -> Result<(), Flaw> {
        if let Some(cell) = self.cell(record, TOPICS)
            && cell.text.trim_start().trim_start_matches('"').starts_with('[')
            && !cell.text.contains(']')
            && let Some(last) = record[self.0[TOPICS]..].iter().find(|later| later.text.contains(']'))
        {
            return Err((ProblemKind::UnquotedList, cell.span.start..last.span.end));
        }
        match record.get(COLUMNS.len()) {
            Some(extra) => {
                Err((ProblemKind::LongRow { count: record.len() }, extra.span.start..whole(record).end))
            }
            None => Ok(()),
        }
    }

    fn port(&self, record: &Record, column: usize) -> Result<Option<u16>, Flaw> {
        match self.cell(record, column) {
            Some(cell) if !cell.text.is_empty() => {
                check::port(&cell.text, COLUMNS[column]).map(Some).map_err(in_source(cell))
            }
            _ => Ok(None),
        }
    }
}

/// Turns a range of a cell's text into one of the source.
fn in_source(cell: &Cell) -> impl Fn(Flaw) -> Flaw + '_ {
    |(kind, at)| (kind, cell.source_span(at))
}
