//! What can be wrong with a routing specification, where, and what to do about it.

use super::{COLUMNS, MAX_FILE_BYTES, MAX_NAME_BYTES};
use crate::budget::{BACKPLANES, SUBSCRIPTION_TOPIC_BYTES};
use std::fmt;
use std::ops::Range;

/// A person mends some and tries again; a megabyte of garbage must not make a million messages.
pub(super) const MAX_PROBLEMS: usize = 20;

/// A routing specification that was refused: every problem found, with the source to draw them into.
///
/// `Display` is one line for the first problem, `SOURCE:LINE:COLUMN: what; cure`; the others are in
/// [`problems`](Self::problems). `Debug` is the same line, because that is what a `main` that returns it prints.
///
/// ```
/// use multiplane_core::RoutingSpec;
///
/// let error = RoutingSpec::parse("backplane_name,port\n", "spec.csv").unwrap_err();
/// assert_eq!((error.line(), error.column(), error.span()), (Some(1), Some(16), Some(15..19)));
/// assert!(error.to_string().starts_with("spec.csv:1:16: unknown column \"port\"; the columns are backplane_name,"));
/// ```
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.one_line())]
pub struct RoutingError {
    source_name: String,
    text: String,
    problems: Vec<Problem>,
}

impl RoutingError {
    /// `problems` must not be empty.
    pub(super) fn new(source_name: String, text: String, mut problems: Vec<Problem>) -> Self {
        problems.truncate(MAX_PROBLEMS);
        // A file name may contain anything, an error is one line.
        let source_name = source_name.replace(char::is_control, "?");
        RoutingError { source_name, text, problems }
    }

    fn one_line(&self) -> String {
        let mut line = self.source_name.clone();
        let Some(first) = self.problems.first() else { return line };
        if let Some(place) = &first.place {
            line += &format!(":{}:{}", place.line, place.column);
        }
        line += &format!(": {first}");
        match self.problems.len() - 1 {
            0 => {}
            1 => line += " (and 1 more problem)",
            more => line += &format!(" (and {more} more problems)"),
        }
        line
    }

    /// Every problem, in file order; at least one, at most twenty, one per row.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// What the specification was read from: the path, or the name given to the parser.
    #[must_use]
    pub fn source_name(&self) -> &str {
        &self.source_name
    }

    /// The text that was read; spans are byte offsets into it. Empty if there was none. Bytes that were not UTF-8
    /// appear as `U+FFFD`.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Line of the first problem, from 1. `None` if it is not about a place in a text.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        self.first_place().map(|place| place.line)
    }

    /// Column of the first problem, in characters, from 1.
    #[must_use]
    pub fn column(&self) -> Option<usize> {
        self.first_place().map(|place| place.column)
    }

    /// Bytes of [`text`](Self::text) to which the first problem points; may be empty, where something is missing.
    #[must_use]
    pub fn span(&self) -> Option<Range<usize>> {
        self.first_place().map(|place| place.span.clone())
    }

    fn first_place(&self) -> Option<&Place> {
        self.problems.first()?.place.as_ref()
    }
}

impl fmt::Debug for RoutingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RoutingError({self})")
    }
}

/// A place in a routing file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// In bytes.
    pub span: Range<usize>,
}

impl Place {
    /// Counts lines as an editor does: LF, CRLF and a lone CR each end one.
    pub(super) fn new(text: &str, span: Range<usize>) -> Self {
        let before = &text[..span.start];
        let ends = before
            .char_indices()
            .filter(|&(at, c)| c == '\n' || (c == '\r' && !text[at..].starts_with("\r\n")));
        let (lines, start) = ends.fold((0, 0), |(lines, _), (at, _)| (lines + 1, at + 1));
        Place { line: lines + 1, column: before[start..].chars().count() + 1, span }
    }
}

/// One thing that is wrong. `Display` is "what; cure", in one line, without the place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong. Texts from the file are quoted, escaped and cut, so that it can be printed as it is.
    pub what: String,
    /// What to do about it.
    pub cure: String,
    /// Where it is; `None` for a specification built in code, or a file that could not be read.
    pub place: Option<Place>,
    /// The backplane concerned, quoted, when there is no place to find it by.
    pub backplane: Option<String>,
}

impl Problem {
    pub(super) fn at(kind: &ProblemKind, text: &str, span: Range<usize>) -> Self {
        Problem {
            what: kind.to_string(),
            cure: kind.cure(),
            place: Some(Place::new(text, span)),
            backplane: None,
        }
    }

    pub(super) fn without_place(kind: &ProblemKind, backplane: &str) -> Self {
        let backplane = (!backplane.is_empty()).then(|| show(backplane));
        Problem { what: kind.to_string(), cure: kind.cure(), place: None, backplane }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.backplane {
            write!(f, "backplane {name}: ")?;
        }
        write!(f, "{}; {}", self.what, self.cure)
    }
}

/// Everything that can be wrong: `Display` says what, `cure` what to do. Texts in it come from [`show`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ProblemKind {
    #[error("no such file")]
    NotFound,
    #[error("this is a directory, not a file")]
    IsDirectory,
    #[error("no permission to read this file")]
    NoPermission,
    #[error("the file cannot be read ({reason})")]
    Unreadable { reason: String },
    #[error("larger than {MAX_FILE_BYTES} bytes, so hardly a routing file")]
    TooLarge,
    #[error("byte 0x{byte:02x} is not UTF-8")]
    NotUtf8 { byte: u8 },
    #[error("the file begins with a UTF-8 byte order mark, on which Python components fail")]
    ByteOrderMark,
    #[error("a quote is opened here and not closed on this line")]
    UnclosedQuote,
    #[error("the header is missing")]
    MissingHeader,
    #[error("unknown column {text}")]
    UnknownColumn { text: String },
    #[error("column {column} appears twice")]
    DuplicateColumn { column: &'static str },
    #[error("column {column} is missing from the header")]
    MissingColumn { column: &'static str },
    #[error("the row ends before its {column}")]
    ShortRow { column: &'static str },
    #[error("the row has {count} cells, not {}", COLUMNS.len())]
    LongRow { count: usize },
    #[error("a list with commas needs quotes around it")]
    UnquotedList,
    #[error("the backplane has no name")]
    EmptyName,
    #[error("the backplane's name has {length} bytes")]
    NameTooLong { length: usize },
    #[error("backplane name {text} has a control character, or blanks around it")]
    BadName { text: String },
    #[error("backplane name {text} is used twice")]
    DuplicateName { text: String },
    #[error("the address is empty")]
    EmptyAddress,
    #[error("{text} is not an IP address or a host name")]
    BadAddress { text: String },
    #[error("{column} {text} is not a port")]
    BadPort { column: &'static str, text: String },
    #[error("subscriber_port is set but subscriber_topic is empty")]
    EmptyTopics,
    #[error("topics {text} do not begin with \"[\" and end with \"]\"")]
    MissingBracket { text: String },
    #[error("{character:?} among the topics")]
    BlankInTopics { character: char },
    #[error("a quote ({character}) among the topics")]
    QuoteInTopics { character: char },
    #[error("a comma in the topic {text}")]
    CommaInTopic { text: String },
    #[error("a topic of {length} bytes")]
    TopicTooLong { length: usize },
    #[error("neither subscriber_port nor publisher_port is set, so the backplane is of no use")]
    NoPort,
    #[error("there is no backplane")]
    NoBackplane,
    #[error("more than {BACKPLANES} backplanes")]
    TooManyBackplanes,
}

impl ProblemKind {
    fn cure(&self) -> String {
        let columns = COLUMNS.join(",");
        match self {
            Self::NotFound => "check the path, and the directory that it starts from".into(),
            Self::IsDirectory => "name the CSV file in it".into(),
            Self::NoPermission => "make it readable (chmod a+r) or run as its owner".into(),
            Self::Unreadable { .. } => "check the disk, or name another file".into(),
            Self::TooLarge => "name the right file, or divide the component".into(),
            Self::NotUtf8 { .. } => "save the file as UTF-8".into(),
            Self::ByteOrderMark => {
                "save it as UTF-8 without BOM (in Excel as \"CSV\", not \"CSV UTF-8\")".into()
            }
            Self::UnclosedQuote => "put a \" at the end of the cell, as in \"[x,y]\"".into(),
            Self::MissingHeader => format!("the first line must be {columns}"),
            Self::UnknownColumn { .. } => format!("the columns are {columns}, without blanks"),
            Self::DuplicateColumn { .. } => "remove one of them".into(),
            Self::MissingColumn { .. } => format!("the columns are {columns}"),
            Self::ShortRow { .. } => {
                "write every cell up to there; a cell may be empty, its comma may not".into()
            }
            Self::LongRow { .. } => {
                "remove what follows the last; a list of topics goes into quotes: \"[x,y]\"".into()
            }
            Self::UnquotedList => {
                "write \"[x,y]\", with the quotes directly between the commas of the row".into()
            }
            Self::EmptyName => "give it one that is unique in the file".into(),
            Self::NameTooLong { .. } => format!("use at most {MAX_NAME_BYTES}"),
            Self::BadName { .. } => "remove it: the name must be easy to write in a program".into(),
            Self::DuplicateName { .. } => {
                "rename one; a message's origin and a publisher's aim are told by it".into()
            }
            Self::EmptyAddress => "write an address such as 127.0.0.1, or a host name".into(),
            Self::BadAddress { .. } => {
                "write it like 192.168.2.194, fe80::1 or robot.local, without tcp://, port or blanks".into()
            }
            Self::BadPort { .. } => "write a number from 1 to 65535, without blanks".into(),
            Self::EmptyTopics => {
                "write \"[topic]\", or \"[]\" for everything, or none for nothing yet, or empty subscriber_port"
                    .into()
            }
            Self::MissingBracket { .. } => "write \"[x]\" or \"[x,y]\", with the quotes".into(),
            Self::BlankInTopics { .. } => "remove it: topics hold no blanks, and none follows a comma".into(),
            Self::QuoteInTopics { .. } => "write \"[x,y]\": it would be part of the topic's name".into(),
            Self::CommaInTopic { .. } => "a comma separates topics; subscribe to this one at run time".into(),
            Self::TopicTooLong { .. } => {
                format!(
                    "use at most {SUBSCRIPTION_TOPIC_BYTES}; a topic is a prefix, so its beginning will do"
                )
            }
            Self::NoPort => "set one, or remove it".into(),
            Self::NoBackplane => "add a row such as BP1,127.0.0.1,43125,\"[echo]\",43124".into(),
            Self::TooManyBackplanes => "divide the component".into(),
        }
    }
}

/// Quotes a text from outside for a message: escaped, and cut to what a person reads.
pub(super) fn show(text: &str) -> String {
    const SHOWN: usize = 40;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{:?}...", &text[..end]),
        None => format!("{text:?}"),
    }
}
