//! Why there is no result.

use std::fmt::Display;

/// A measurement did not happen, or not to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BenchError {
    /// It was asked for in words that mean nothing here.
    #[error("{0}")]
    Misuse(String),
    /// This contender cannot do that.
    #[error("{contender} does not run {scenario}: {why}")]
    NotOffered {
        /// Who.
        contender: String,
        /// What.
        scenario: String,
        /// Why not.
        why: &'static str,
    },
    /// A part of the machinery failed.
    #[error("{what}: {why}")]
    Failed {
        /// What was being done.
        what: String,
        /// What came of it.
        why: String,
    },
    /// Somebody asked to stop.
    #[error("interrupted")]
    Interrupted,
}

impl BenchError {
    /// For `map_err`: names what was being done.
    pub(crate) fn doing<E: Display>(what: &str) -> impl FnOnce(E) -> Self {
        move |why| Self::failed(what, why)
    }

    #[cold]
    pub(crate) fn failed(what: &str, why: impl Display) -> Self {
        BenchError::Failed { what: what.to_owned(), why: why.to_string() }
    }
}
