//! Words and numbers as a page shows them.

use std::fmt::{self, Write};
use std::ops::Deref;

/// A text from outside. What it shows is harmless in HTML, as content and within quotes; so nothing of a result file
/// gets into the page in another way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Outside(String);

impl Outside {
    pub(super) fn new(text: &str) -> Self {
        Outside(text.to_owned())
    }

    /// Of a moment such as 2026-11-22T03:17:50Z the day; of anything else all.
    pub(super) fn day(&self) -> Outside {
        Outside::new(self.split_once('T').filter(|(day, _)| day.len() == 10).map_or(self, |(day, _)| day))
    }
}

/// For comparisons; never to be written.
impl Deref for Outside {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                // Controls mean nothing in a name, and directions of writing would reach beyond it.
                c if c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') => {
                    f.write_char('\u{fffd}')?;
                }
                // XML has no place for these two.
                '\u{fffe}' | '\u{ffff}' => f.write_char('\u{fffd}')?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// A whole number with its thousands apart.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Three digits that matter.
pub(super) fn short(number: f64) -> String {
    match number {
        99.95.. => format!("{number:.0}"),
        9.995.. => format!("{number:.1}"),
        _ => format!("{number:.2}"),
    }
}

/// The same without zeros that say nothing: for axes.
fn round(number: f64) -> String {
    let text = format!("{number:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn scaled(number: f64) -> (f64, &'static str) {
    match number {
        999.5e6.. => (number / 1e9, "\u{a0}G"),
        999.5e3.. => (number / 1e6, "\u{a0}M"),
        999.5.. => (number / 1e3, "\u{a0}k"),
        _ => (number, ""),
    }
}

/// 1.05 M, 812 k, 95.0
pub(super) fn amount(number: f64) -> String {
    let (number, unit) = scaled(number);
    if unit.is_empty() && number.fract() == 0.0 { format!("{number}") } else { short(number) + unit }
}

/// 1 M, 500 k, 20
pub(super) fn amount_tick(number: f64) -> String {
    let (number, unit) = scaled(number);
    round(number) + unit
}

fn timed(micros: f64) -> (f64, &'static str) {
    match micros {
        999_500.0.. => (micros / 1e6, "\u{a0}s"),
        999.5.. => (micros / 1e3, "\u{a0}ms"),
        0.9995.. => (micros, "\u{a0}µs"),
        _ => (micros * 1e3, "\u{a0}ns"),
    }
}

/// 85.3 µs, 1.40 ms
pub(super) fn duration(micros: f64) -> String {
    let (number, unit) = timed(micros);
    short(number) + unit
}

/// 50 µs, 1 ms
pub(super) fn duration_tick(micros: f64) -> String {
    let (number, unit) = timed(micros);
    round(number) + unit
}

/// Seconds of processor time for a million messages.
pub(super) fn cpu(seconds: f64) -> String {
    short(seconds) + "\u{a0}s"
}

/// 0.5 s
pub(super) fn cpu_tick(seconds: f64) -> String {
    round(seconds) + "\u{a0}s"
}

/// 16 bytes, 1 KiB
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        1_048_576.. if bytes.is_multiple_of(1_048_576) => format!("{} MiB", bytes / 1_048_576),
        1024.. if bytes.is_multiple_of(1024) => format!("{} KiB", bytes / 1024),
        _ => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_outside_stays_text() {
        let hostile = Outside::new("<b onload='x'>\"&\u{0}\u{202e}");
        assert_eq!(hostile.to_string(), "&lt;b onload=&#39;x&#39;&gt;&quot;&amp;\u{fffd}\u{fffd}");
    }

    /// A number and its unit stay on one line.
    fn plain(text: String) -> String {
        text.replace('\u{a0}', " ")
    }

    #[test]
    fn numbers_are_as_long_as_they_are_sure() {
        assert_eq!([0.0, 12.0, 999.4, 999.6].map(amount).map(plain), ["0", "12", "999", "1.00 k"]);
        assert_eq!(
            [1_049_000.0, 15.2e6, 812_345.0, 2e9].map(amount).map(plain),
            ["1.05 M", "15.2 M", "812 k", "2.00 G"]
        );
        assert_eq!(
            [0.25, 85.31, 1400.0, 2.1e6].map(duration).map(plain),
            ["250 ns", "85.3 µs", "1.40 ms", "2.10 s"]
        );
        assert_eq!([200_000.0, 1e6, 5.0].map(amount_tick).map(plain), ["200 k", "1 M", "5"]);
        assert_eq!([0.5, 50.0, 2000.0].map(duration_tick).map(plain), ["500 ns", "50 µs", "2 ms"]);
        assert_eq!(
            [16, 100, 1024, 65_536, 1_048_576].map(size),
            ["16 bytes", "100 bytes", "1 KiB", "64 KiB", "1 MiB"]
        );
        assert_eq!(grouped(1_234_567), "1,234,567");
    }
}
