//! How a command ends when it does not end well, and how it says so.

use multiplane_bus::curve::CurveError;
use multiplane_bus::{BackplaneError, BusError, RoutingError, StartError};
use std::fmt::Arguments;
use std::io::{self, Write};

/// The message is one line: what, where, cure.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It was asked for rightly and did not work.
    Failed(String),
    /// It was asked for wrongly, or with bad input.
    Misuse(String),
    /// The time given was not enough.
    TimedOut(String),
    /// Ctrl-C came before it was done.
    Interrupted,
    /// Whoever read the output has seen enough, as `head` does.
    PipeClosed,
    /// All has been said already.
    Told(u8),
}

impl Failure {
    pub(crate) fn code(&self) -> u8 {
        match self {
            Failure::PipeClosed => 0,
            Failure::Failed(_) => 1,
            Failure::Misuse(_) => 2,
            Failure::TimedOut(_) => 124,
            Failure::Interrupted => 130,
            Failure::Told(code) => *code,
        }
    }

    /// Of which backplane it is.
    pub(crate) fn about(self, name: &str) -> Self {
        let about = |message: String| format!("{name}: {message}");
        match self {
            Failure::Failed(message) => Failure::Failed(about(message)),
            Failure::Misuse(message) => Failure::Misuse(about(message)),
            Failure::TimedOut(message) => Failure::TimedOut(about(message)),
            other => other,
        }
    }

    pub(crate) fn message(&self) -> Option<&str> {
        match self {
            Failure::Failed(message) | Failure::Misuse(message) | Failure::TimedOut(message) => Some(message),
            Failure::Interrupted | Failure::PipeClosed | Failure::Told(_) => None,
        }
    }
}

/// Of writing to the standard output; what else reads or writes says itself what it was doing.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::PipeClosed,
            _ => Failure::Failed(format!("cannot write to the standard output: {error}")),
        }
    }
}

impl From<RoutingError> for Failure {
    fn from(error: RoutingError) -> Self {
        Failure::Misuse(error.to_string())
    }
}

impl From<CurveError> for Failure {
    fn from(error: CurveError) -> Self {
        Failure::Misuse(error.to_string())
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        Failure::Failed(error.to_string())
    }
}

impl From<BackplaneError> for Failure {
    fn from(error: BackplaneError) -> Self {
        Failure::Failed(error.to_string())
    }
}

impl From<BusError> for Failure {
    fn from(error: BusError) -> Self {
        match error {
            BusError::NoSubscriber { .. } => Failure::TimedOut(error.to_string()),
            _ => Failure::Failed(error.to_string()),
        }
    }
}

/// A line to standard error. When that is closed there is nobody to tell.
pub(crate) fn say(line: Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{line}");
}
