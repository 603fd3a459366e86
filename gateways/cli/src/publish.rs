//! `multiplane publish`: sends a message, or many.

use crate::clock::now;
use crate::failure::{Failure, say};
use crate::links::Links;
use crate::seconds::{rate, seconds};
use crate::shutdown::Shutdown;
use multiplane_bench::table::grouped;
use multiplane_bus::{BackplaneStats, PublishError, Publisher, StartError};
use multiplane_codec::{Limits, View, msgpack::json};
use std::io::Read;
use std::time::{Duration, Instant};

/// How long it waits for the backplanes to answer.
const START: Duration = Duration::from_secs(5);
/// How long the end may take to send what was accepted.
const FLUSH: Duration = Duration::from_millis(500);
/// How often it looks whether somebody wants it to end while a queue is full.
const TICK: Duration = Duration::from_millis(100);

/// Publish a message, or many
///
/// Publishes on every backplane that is linked to, and says on standard error how many messages were sent to each, and
/// how many were dropped and why. What nobody subscribes to is not sent.
///
/// Exit code: 1 when a backplane cannot be reached or a message could not be handed to it, 124 when --timeout or
/// --wait-for-subscriber ran out. That nobody subscribes is no error, unless it was waited for.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  multiplane publish echo '{\"message_number\": 1}'
  multiplane publish image @picture.json --routing spec.csv
  multiplane publish tick '\"now\"' --count 600 --rate 10
  multiplane publish echo '[1,2]' --wait-for-subscriber 5")]
pub(crate) struct Args {
    /// Topic of the message
    topic: String,

    /// Payload: JSON text, `@FILE` to read it from a file, `@-` from the standard input
    #[arg(allow_negative_numbers = true)]
    payload: String,

    /// What PAYLOAD is
    #[arg(long, value_enum, default_value_t = Format::Json)]
    format: Format,

    /// How many times to send it
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,

    /// Messages a second, on a fixed schedule: one that is late makes none of the others late [default: as fast as it goes]
    #[arg(long, value_name = "PER_SECOND", value_parser = rate)]
    rate: Option<f64>,

    /// First wait until somebody subscribes to the topic, on every backplane; SECONDS is 5 unless given
    ///
    /// Put it last, or write --wait-for-subscriber=SECONDS. Behind Python's own backplane it waits for nothing, because
    /// that asks for every topic itself.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "5", value_parser = seconds)]
    wait_for_subscriber: Option<Duration>,

    /// Let each message carry its publisher, number and send time, of which `multiplane echo` and all other Multiplane
    /// components tell what was lost and how long the rest took
    ///
    /// A third frame behind topic and payload; Python Banyan components never see it.
    #[arg(long)]
    trailer: bool,

    /// Give up after so many seconds in all
    #[arg(long, value_name = "S", value_parser = seconds)]
    timeout: Option<Duration>,

    #[command(flatten)]
    links: Links,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Format {
    /// JSON text, sent as MessagePack
    Json,
    /// MessagePack, checked and sent as it is; from a file or the standard input
    Msgpack,
    /// Bytes in hex, sent as they are, MessagePack or not
    Hex,
}

/// Why sending ended early.
enum Early {
    Interrupted,
    TimedOut,
    Refused(PublishError),
}

pub(crate) fn run(args: &Args, shutdown: &Shutdown) -> Result<(), Failure> {
    let payload = payload(args)?;
    let spec = args.links.publishing()?;
    let deadline = args.timeout.and_then(|timeout| now().checked_add(timeout));
    let bus =
        args.links.component("publish")?.routing(spec).start_deadline(args.timeout.unwrap_or(START)).start();
    let bus = bus.map_err(|error| match error {
        StartError::NotLive { .. } if args.timeout.is_some() => Failure::TimedOut(error.to_string()),
        _ => Failure::from(error),
    })?;
    let names = bus.routing().routes().iter().map(|route| bus.publisher(&route.name));
    let mut publishers = names.collect::<Result<Vec<_>, _>>()?;
    if args.trailer {
        publishers = publishers.into_iter().map(Publisher::with_trailer).collect();
    }
    wait_for_subscribers(args, &publishers, deadline)?;
    shutdown.watch();
    let sending = send(args, &payload, &publishers, deadline, shutdown);
    let report = bus.close(FLUSH);
    let mut lost = 0;
    for stats in &report.stats {
        say(format_args!("{}", summary(stats, &args.topic)));
        lost += stats.dropped.total() - stats.dropped.no_subscriber;
    }
    match sending {
        Err(Early::Interrupted) => Err(Failure::Interrupted),
        Err(Early::TimedOut) => Err(Failure::TimedOut(format!(
            "not all of {} messages were sent within --timeout; raise it, or lower --count",
            args.count
        ))),
        Err(Early::Refused(error)) => Err(Failure::Failed(format!("publish {}: {error}", args.topic))),
        Ok(()) if lost > 0 => Err(Failure::Failed(format!(
            "{} messages could not be handed to their backplane: see whether it is still running, and send them again",
            grouped(lost)
        ))),
        Ok(()) => Ok(()),
    }
}

fn payload(args: &Args) -> Result<Vec<u8>, Failure> {
    let unreadable = |place: &str, error| {
        Failure::Misuse(format!("PAYLOAD: cannot read {place}: {error}; correct the path after the @"))
    };
    let (place, bytes) = match args.payload.strip_prefix('@') {
        None => ("PAYLOAD", args.payload.clone().into_bytes()),
        Some("-") => {
            let mut bytes = Vec::new();
            let read = std::io::stdin().lock().read_to_end(&mut bytes);
            read.map_err(|error| unreadable("the standard input", error))?;
            ("the standard input", bytes)
        }
        Some(path) => (path, std::fs::read(path).map_err(|error| unreadable(path, error))?),
    };
    let mut payload = Vec::new();
    match args.format {
        Format::Json => {
            json::to_msgpack(&bytes, &mut payload, &Limits::default()).map_err(|error| {
                Failure::Misuse(format!(
                    "{place}: {error}; text needs quotes of its own, as in '\"text\"', and --format says what else it is"
                ))
            })?;
        }
        Format::Msgpack => {
            View::parse(&bytes, &Limits::default()).map_err(|error| {
                Failure::Misuse(format!("{place}: not MessagePack: {error}; --format hex sends any bytes"))
            })?;
            payload = bytes;
        }
        Format::Hex => {
            payload = unhex(&bytes).ok_or_else(|| {
                Failure::Misuse(format!(
                    "{place}: not hex: write two of 0-9 a-f for each byte, as in 81a16101"
                ))
            })?;
        }
    }
    Ok(payload)
}

/// Bytes of hex text, blanks and line ends left out.
fn unhex(text: &[u8]) -> Option<Vec<u8>> {
    let digits = text.iter().filter(|byte| !byte.is_ascii_whitespace());
    let digits = digits.map(|&byte| char::from(byte).to_digit(16)).collect::<Option<Vec<u32>>>()?;
    let pair = |pair: &[u32]| match pair {
        &[high, low] => u8::try_from(high * 16 + low).ok(),
        _ => None,
    };
    digits.chunks(2).map(pair).collect()
}

fn wait_for_subscribers(
    args: &Args,
    publishers: &[Publisher],
    deadline: Option<Instant>,
) -> Result<(), Failure> {
    let Some(patience) = args.wait_for_subscriber else { return Ok(()) };
    let until = now() + patience;
    let until = deadline.map_or(until, |deadline| deadline.min(until));
    for publisher in publishers {
        publisher.wait_for_subscriber(&args.topic, until.saturating_duration_since(now()))?;
    }
    Ok(())
}

fn send(
    args: &Args,
    payload: &[u8],
    publishers: &[Publisher],
    deadline: Option<Instant>,
    shutdown: &Shutdown,
) -> Result<(), Early> {
    let began = now();
    let late = || deadline.is_some_and(|deadline| now() >= deadline);
    for nth in 0..args.count {
        if let Some(rate) = args.rate {
            // Each from the beginning, so that no delay adds up.
            let after = Duration::try_from_secs_f64(nth as f64 / rate).unwrap_or(Duration::MAX);
            let due = began.checked_add(after).into_iter().chain(deadline).min();
            if due.is_some_and(|due| shutdown.wait_until(due)) {
                return Err(Early::Interrupted);
            }
        }
        for publisher in publishers {
            loop {
                if shutdown.requested() {
                    return Err(Early::Interrupted);
                }
                if late() {
                    return Err(Early::TimedOut);
                }
                match publisher.publish_raw_timeout(&args.topic, payload, TICK) {
                    Ok(()) => break,
                    Err(PublishError::Full { .. }) => {}
                    Err(error) => return Err(Early::Refused(error)),
                }
            }
        }
    }
    Ok(())
}

/// One line about one backplane.
fn summary(stats: &BackplaneStats, topic: &str) -> String {
    let dropped = &stats.dropped;
    let mut line = format!("{}: sent {}", stats.backplane, grouped(stats.sent));
    if dropped.total() > 0 {
        let reasons = [
            (dropped.no_subscriber, format!("nobody subscribes to {topic:?}")),
            (dropped.link_down, "the link was down".to_owned()),
            (dropped.transport, "the transport refused it".to_owned()),
            (dropped.unsent, "not sent in time".to_owned()),
        ];
        let reasons = reasons.into_iter().filter(|(count, _)| *count > 0);
        let reasons: Vec<String> =
            reasons.map(|(count, why)| format!("{why} ({})", grouped(count))).collect();
        line += &format!(", dropped {}: {}", grouped(dropped.total()), reasons.join(", "));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::unhex;

    #[test]
    fn hex_is_pairs_of_digits() {
        assert_eq!(unhex(b"81 a1\n61 0F"), Some(vec![0x81, 0xa1, 0x61, 0x0f]));
        assert_eq!(unhex(b""), Some(vec![]));
        assert!(unhex(b"8").is_none() && unhex(b"8g").is_none() && unhex("é".as_bytes()).is_none());
    }
}
