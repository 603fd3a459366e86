//! Times on the command line.

use std::time::Duration;

/// More than this is meant as "for ever", which is what leaving the option out means.
const LONGEST: f64 = 1e9;

/// Parses seconds, fractions allowed.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds) if seconds > 0.0 && seconds <= LONGEST => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("write a number of seconds above 0, such as 2 or 0.5".to_owned()),
    }
}

/// Parses how often a second.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if rate > 0.0 && rate <= LONGEST => Ok(rate),
        _ => Err("write a number above 0, such as 100 or 0.5".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for wrong in ["0", "-1", "nan", "inf", "1e300", "", "2s"] {
            assert!(seconds(wrong).is_err() && rate(wrong).is_err(), "{wrong}");
        }
    }
}
