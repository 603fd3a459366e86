//! The demo's page: lines, and one that is rewritten in place while something takes long.

use std::fmt::Arguments;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

pub(super) struct Screen {
    terminal: bool,
    next_progress: Option<Instant>,
}

impl Screen {
    pub(super) fn new() -> Self {
        Self { terminal: io::stdout().is_terminal(), next_progress: None }
    }

    pub(super) fn heading(&mut self, text: &str) -> io::Result<()> {
        self.line(format_args!("\n== {text}"))
    }

    pub(super) fn line(&mut self, line: Arguments<'_>) -> io::Result<()> {
        writeln!(io::stdout(), "{line}")
    }

    /// Whether it is time for a new progress line: a terminal shows ten a second in place, a file one a second.
    pub(super) fn wants_progress(&mut self, now: Instant) -> bool {
        let every = Duration::from_millis(if self.terminal { 100 } else { 1000 });
        let wanted = now >= *self.next_progress.get_or_insert(now + every);
        if wanted {
            self.next_progress = Some(now + every);
        }
        wanted
    }

    pub(super) fn progress(&mut self, line: Arguments<'_>) -> io::Result<()> {
        match self.terminal {
            true => {
                write!(io::stdout(), "\r\x1b[2K  {line}")?;
                io::stdout().flush()
            }
            false => self.line(format_args!("  {line}")),
        }
    }

    /// The last progress line, which stays.
    pub(super) fn progress_ends(&mut self, line: Arguments<'_>) -> io::Result<()> {
        self.next_progress = None;
        self.progress(line)?;
        if self.terminal { self.line(format_args!("")) } else { Ok(()) }
    }
}

/// A time as people say it: three digits that matter.
pub(super) fn readable(time: Duration) -> String {
    let micros = time.as_secs_f64() * 1e6;
    match micros {
        ..1e3 => format!("{micros:.0} µs"),
        ..1e6 => format!("{:.2} ms", micros / 1e3),
        _ => format!("{:.1} s", micros / 1e6),
    }
}
