//! The last words of a gateway.

use multiplane_bus::CloseReport;
use std::fmt;

/// The final numbers of a gateway.
#[derive(Clone, Debug)]
pub struct Report<S> {
    /// The gateway's.
    pub stats: S,
    /// The bus's.
    pub bus: CloseReport,
}

/// Writes the counts that are not zero, each behind a comma and what it counts.
///
/// # Errors
/// The formatter's.
pub fn tell_counts<'a>(
    f: &mut fmt::Formatter<'_>,
    counts: impl IntoIterator<Item = (u64, &'a str)>,
) -> fmt::Result {
    for (count, what) in counts {
        if count > 0 {
            write!(f, ", {what} {count}")?;
        }
    }
    Ok(())
}
