//! What is found, and its cure. No socket and no clock here: facts go in, findings come out.

use super::probe::{Side, Visit};
use multiplane_bench::table::grouped;
use std::time::Duration;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Fine,
    /// Works, and may surprise.
    Warning,
    /// Does not work.
    Wrong,
}

impl Level {
    pub(super) fn name(self) -> &'static str {
        match self {
            Level::Fine => "ok",
            Level::Warning => "warning",
            Level::Wrong => "wrong",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) level: Level,
    /// What was looked at.
    pub(super) place: String,
    pub(super) what: String,
    /// Empty where nothing is to be done.
    pub(super) cure: String,
}

pub(super) fn finding(
    level: Level,
    place: impl Into<String>,
    what: impl Into<String>,
    cure: impl Into<String>,
) -> Finding {
    Finding { level, place: place.into(), what: what.into(), cure: cure.into() }
}

/// A port, and what the visit there found.
pub(super) fn port(backplane: &str, host: &str, port: u16, side: Side, visit: &Visit) -> Finding {
    let place = format!("{backplane} {} {host}:{port}", side.name());
    let flag = match side {
        Side::Subscriber => "-s",
        Side::Publisher => "-p",
    };
    match visit {
        Visit::NoAddress(error) => finding(
            Level::Wrong,
            place,
            format!("{host} leads nowhere: {error}"),
            "correct the address, or write its number",
        ),
        Visit::Refused => finding(
            Level::Wrong,
            place,
            "nobody listens there",
            format!(
                "start one on that machine: multiplane backplane {flag} {port}; from elsewhere it needs --bind as well, with --curve-key or --insecure"
            ),
        ),
        Visit::Unreachable(error) => finding(
            Level::Wrong,
            place,
            format!("cannot be reached: {error}"),
            "see whether the machine is on, and whether a firewall lets this port through",
        ),
        Visit::Silent => finding(
            Level::Wrong,
            place,
            "takes the connection and says nothing",
            "see whether that process hangs or is stopped, and whether it is a backplane at all",
        ),
        Visit::Foreign(what) => finding(
            Level::Wrong,
            place,
            format!("no backplane: {what}"),
            format!("correct the port; `ss -ltnp 'sport = :{port}'` shows whose it is"),
        ),
        Visit::Secured => finding(
            Level::Fine,
            place,
            "speaks ZMTP under CURVE; with --curve-key and --server-key more can be seen",
            "",
        ),
        Visit::Unsecured => finding(
            Level::Wrong,
            place,
            "speaks ZMTP without security: links with a key do not come in",
            "start it with --curve-key and --allow, or link without a key",
        ),
        Visit::NotItself => finding(
            Level::Wrong,
            place,
            "has another key than --server-key says",
            "see whether it is the right backplane; `multiplane keys show` prints the key of its file",
        ),
        Visit::NotLetIn => finding(
            Level::Wrong,
            place,
            "does not let our key in, or not by this port",
            "let it in there: multiplane keys allow, with --publish or --subscribe, and start that backplane again",
        ),
        Visit::Peer { minor, socket_type, round_trip, sealed } => {
            let mut found = peer(place, side, *minor, socket_type, *round_trip);
            found.what += if *sealed { ", under CURVE" } else { "" };
            found
        }
    }
}

fn peer(place: String, side: Side, minor: u8, socket_type: &str, round_trip: Option<Duration>) -> Finding {
    if !side.fits(socket_type) {
        return finding(
            Level::Wrong,
            place,
            format!("{socket_type} is there, which does not belong at a {}", side.name()),
            "swap subscriber and publisher port",
        );
    }
    match (minor, round_trip) {
        (0, _) => finding(
            Level::Warning,
            place,
            format!(
                "a {socket_type} of ZMTP 3.0: knows no signs of life, so that a dead one is noticed late"
            ),
            "let a backplane of Multiplane or libzmq 4.3 stand there",
        ),
        (_, Some(time)) => {
            finding(Level::Fine, place, format!("{socket_type} of ZMTP 3.{minor}, answers in {time:.1?}"), "")
        }
        (_, None) => finding(
            Level::Warning,
            place,
            format!("{socket_type} of ZMTP 3.{minor} that does not answer a PING"),
            "see whether a stalled subscriber holds it back: `--on-slow block` allows that",
        ),
    }
}

/// Somebody on this machine listens at all addresses.
pub(super) fn exposed(port: u16) -> Finding {
    finding(
        Level::Warning,
        format!("port {port}"),
        "listens at all addresses of this machine: whoever can reach it may read and publish",
        "start it without --bind, or with --curve-key, or behind a firewall",
    )
}

/// How many files this process may have open, now and at most; `links` are what the routing specification needs.
pub(super) fn open_files(now: u64, most: u64, links: u64) -> Finding {
    let place = "open files";
    let needed = links + 64;
    if most < needed {
        let what = format!("{most} allowed, and {needed} are needed for {links} links");
        return finding(
            Level::Wrong,
            place,
            what,
            format!("raise the limit: ulimit -n {}", needed.next_power_of_two()),
        );
    }
    if most < 10_000 {
        let what = format!("{most} allowed: a backplane here takes no more connections than that");
        return finding(
            Level::Warning,
            place,
            what,
            "raise the hard limit, in limits.conf or LimitNOFILE=, if thousands come",
        );
    }
    finding(Level::Fine, place, format!("{now} allowed now, up to {most} when a backplane asks"), "")
}

/// Seconds since 1970, and whether the system says that somebody sets the clock.
pub(super) fn clock(seconds: u64, synchronised: Option<bool>) -> Finding {
    /// Before this was written.
    const EARLIEST: u64 = 1_760_000_000;
    let place = "clock";
    if seconds < EARLIEST {
        let what = "stands in the past: latencies and log files will be wrong";
        return finding(Level::Wrong, place, what, "set it: timedatectl set-ntp true");
    }
    match synchronised {
        Some(true) => finding(Level::Fine, place, "synchronised", ""),
        Some(false) => finding(
            Level::Warning,
            place,
            "nobody sets it: latencies between machines are as wrong as it is",
            "timedatectl set-ntp true",
        ),
        None => finding(
            Level::Fine,
            place,
            "plausible; this system does not tell whether it is synchronised, which only latencies between machines need",
            "",
        ),
    }
}

/// What the wire cannot tell.
pub(super) fn high_water_marks(ours: usize) -> Finding {
    let what = format!(
        "ours hold {} messages a link; foreign ends do not tell theirs, and libzmq's default is 1,000, beyond which it \
         drops without a word",
        grouped(ours as u64)
    );
    finding(Level::Fine, "high-water marks", what, "")
}

/// The worst of them.
pub(super) fn worst(findings: &[Finding]) -> Level {
    findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Fine)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(side: Side, visit: Visit) -> Finding {
        port("BP1", "h", 1, side, &visit)
    }

    fn a(socket_type: &str, minor: u8, round_trip: Option<Duration>) -> Visit {
        Visit::Peer { minor, socket_type: socket_type.to_owned(), round_trip, sealed: false }
    }

    #[test]
    fn each_visit_has_its_finding() {
        let quick = Some(Duration::from_micros(100));
        assert_eq!(at(Side::Subscriber, a("XPUB", 1, quick)).level, Level::Fine);
        assert_eq!(at(Side::Publisher, a("XSUB", 1, quick)).level, Level::Fine);
        assert_eq!(at(Side::Publisher, a("XSUB", 1, None)).level, Level::Warning);
        assert_eq!(at(Side::Publisher, a("SUB", 0, None)).level, Level::Warning);
        let swapped = at(Side::Publisher, a("XPUB", 1, quick));
        assert_eq!((swapped.level, &swapped.cure[..]), (Level::Wrong, "swap subscriber and publisher port"));
        assert_eq!(at(Side::Publisher, Visit::Secured).level, Level::Fine);
        let bad = [
            Visit::NoAddress(String::new()),
            Visit::Refused,
            Visit::Unreachable(String::new()),
            Visit::Silent,
            Visit::Foreign(String::new()),
            Visit::Unsecured,
            Visit::NotItself,
            Visit::NotLetIn,
        ];
        for visit in bad {
            let found = at(Side::Subscriber, visit);
            assert!(found.level == Level::Wrong && !found.cure.is_empty(), "{found:?}");
        }
    }

    #[test]
    fn whatever_is_not_fine_has_a_cure() {
        let found = [
            exposed(1),
            open_files(1024, 1024, 4000),
            open_files(1024, 4096, 2),
            clock(0, None),
            clock(u64::MAX, Some(false)),
        ];
        assert!(found.iter().all(|found| found.level > Level::Fine && !found.cure.is_empty()));
        assert_eq!(worst(&found), Level::Wrong);
        let fine = [
            open_files(1024, 20_000, 2),
            clock(u64::MAX, None),
            clock(u64::MAX, Some(true)),
            high_water_marks(1),
        ];
        assert_eq!(worst(&fine), Level::Fine);
        assert_eq!(worst(&[]), Level::Fine);
    }
}
