//! `multiplane log`: the lines of many clients in one file.

use crate::failure::{Failure, say};
use crate::seconds::seconds;
use crate::shutdown::Shutdown;
use crate::stream::{Clients, DRAIN, interrupted, served, unnamed};
use multiplane_bench::table::grouped;
use multiplane_bus::local::Backplane;
use multiplane_bus::raise_open_files_limit;
use multiplane_stream::{Framing, LineLogger, LogControl, LoggerError, Protocol};
use signal_hook::consts::SIGHUP;
use signal_hook::iterator::Signals;
use std::path::PathBuf;
use std::time::Duration;

/// The name of the stream within this process.
const STREAM: &str = "LOG";

/// Gather the lines of all TCP clients that connect in one file, which can be watched live
///
/// Lines stay whole and none is lost: who sends faster than the disk takes it has to wait. While the disk is full the log
/// goes on as well as it can, and says how many lines were dropped. SIGHUP opens the file anew, for `logrotate`. Ends on
/// Ctrl-C, and then says on standard error how many clients and lines there were.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  multiplane log --listen 1500 --file app.log                  then: ls | nc -N 127.0.0.1 1500
  multiplane log --listen 1500 --file app.log --serve 1501     and watch: nc 127.0.0.1 1501
  multiplane log --listen 1500 --file app.log --rotate 10M --keep 3")]
pub(crate) struct Args {
    /// Where to listen for those who send: PORT for this machine only, or ADDRESS:PORT; port 0 for any free one
    #[arg(long, value_name = "ADDR")]
    listen: String,

    /// The file to append to; it is made if it is missing
    #[arg(long, value_name = "FILE")]
    file: PathBuf,

    /// Where to listen for those who watch
    #[arg(long, value_name = "ADDR")]
    serve: Option<String>,

    /// Begin a new file before one gets longer than so many bytes; K, M and G stand for powers of 1024
    #[arg(long, value_name = "SIZE", value_parser = size)]
    rotate: Option<u64>,

    /// How many old files to keep: FILE.1 is the youngest
    #[arg(long, value_name = "N", default_value_t = 5, requires = "rotate")]
    keep: u32,

    /// How many seconds a line may wait to be written
    #[arg(long, value_name = "S", value_parser = seconds, default_value = "0.2")]
    flush: Duration,

    /// Wait for the disk each time that lines are written (fsync): what is in the file outlives a power cut
    #[arg(long)]
    sync: bool,

    /// Longest line in bytes; who sends a longer one is told so and cut off
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1..), default_value_t = 65536)]
    max_line: u32,

    #[command(flatten)]
    clients: Clients,
}

pub(crate) fn run(args: &Args, shutdown: &Shutdown) -> Result<(), Failure> {
    let _ = raise_open_files_limit();
    let _backplane = Backplane::new(STREAM).map_err(unnamed)?;
    let mut logger = LineLogger::builder(STREAM, &args.file).flush_interval(args.flush).sync(args.sync);
    if let Some(bytes) = args.rotate {
        logger = logger.rotate(bytes, args.keep);
    }
    let logger = logger.start().map_err(|error: LoggerError| Failure::Failed(error.to_string()))?;
    reopen_on_hangup(logger.control())?;
    let watch = match &args.serve {
        Some(listen) => Some(args.clients.server(Protocol::subscribe(STREAM), listen)?),
        None => None,
    };
    let lines = Protocol::publish(STREAM, Framing::Lines { limit: args.max_line as usize });
    let server = args.clients.server(lines, &args.listen)?;
    shutdown.watch();
    server.announce("logging", "nc -N");
    if let Some(watch) = &watch {
        watch.announce("serving the log", "nc");
    }
    // It ends with the backplane, which is ours.
    interrupted(shutdown, || false);
    let received = server.close(DRAIN);
    let logged = logger.close(DRAIN);
    let watched = watch.map(|watch| watch.close(DRAIN));
    let mut line = format!("clients {}, lines {}", grouped(received.accepted), grouped(received.published));
    line += &format!(", written {} of {} bytes", grouped(logged.written), grouped(logged.bytes));
    line += &format!(", dropped {}", grouped(logged.dropped));
    for (count, what) in [
        (received.cut_off, "clients cut off for a line that was too long"),
        (received.idle, "clients disconnected for being idle"),
        (received.turned_away, "clients turned away"),
        (logged.rotations, "files filled"),
    ] {
        if count > 0 {
            line += &format!(", {what} {}", grouped(count));
        }
    }
    say(format_args!("{line}"));
    if let Some(watched) = watched {
        say(format_args!("watched by: {}", served(&watched)));
    }
    Ok(())
}

/// Whoever rotates logs moves the file away and then says so.
fn reopen_on_hangup(log: LogControl) -> Result<(), Failure> {
    let unavailable = |error| Failure::Failed(format!("cannot listen for SIGHUP: {error}"));
    let mut signals = Signals::new([SIGHUP]).map_err(unavailable)?;
    let reopen = move || signals.forever().for_each(|_| log.reopen());
    std::thread::Builder::new().name("hangup".to_owned()).spawn(reopen).map_err(unavailable)?;
    Ok(())
}

/// Parses a number of bytes.
fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = match text.strip_suffix(['K', 'M', 'G']) {
        Some(number) => (number, &text[number.len()..]),
        None => (text, ""),
    };
    let unit = match unit {
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        _ => 1,
    };
    let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    bytes.filter(|&bytes| bytes > 0).ok_or_else(|| "write a number of bytes, such as 65536 or 10M".to_owned())
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_have_units() {
        assert_eq!((size("7"), size("2K"), size("3M")), (Ok(7), Ok(2048), Ok(3 << 20)));
        for wrong in ["", "0", "-1", "K", "1T", "1.5M", "99999999999999999999", "99999999999G"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }
}
