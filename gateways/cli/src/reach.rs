//! Who may reach what listens: this machine alone, unless it is told otherwise and there is something that asks who comes.

use crate::failure::{Failure, say};
use std::fmt;
use std::io::{self, Write};

/// For all that listens.
#[derive(clap::Args)]
pub(crate) struct Reach {
    /// Listen where other machines reach it although nothing asks who comes, or hides what is said
    #[arg(long)]
    insecure: bool,
}

/// How something that listens might be made safe.
pub(crate) struct Door<'a> {
    /// The address where it is to listen.
    pub(crate) host: &'a str,
    /// What asks who comes, and hides what is said.
    pub(crate) security: Option<&'static str>,
    /// How to have that, if it can be had.
    pub(crate) cure: Option<&'static str>,
}

/// Who reaches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reached {
    ThisMachine(Option<&'static str>),
    Others(&'static str),
    Anybody,
}

impl Reach {
    /// Whether it may listen there; before it does.
    pub(crate) fn check(&self, door: &Door<'_>) -> Result<Reached, Failure> {
        match door.security {
            security if is_loopback(door.host) => Ok(Reached::ThisMachine(security)),
            Some(security) => Ok(Reached::Others(security)),
            None if self.insecure => Ok(Reached::Anybody),
            None => {
                let cure = door.cure.map_or_else(String::new, |cure| format!("{cure}, or "));
                Err(Failure::Misuse(format!(
                    "other machines reach {}, and nothing would ask who comes: add {cure}--insecure to let everybody in",
                    door.host
                )))
            }
        }
    }
}

impl Reached {
    /// Says so to whoever started it, aloud if that is everybody; it listens at `address` now.
    pub(crate) fn announce(self, address: impl fmt::Display) {
        let mut out = io::stdout().lock();
        let _ = writeln!(out, "open to {self}").and_then(|()| out.flush());
        if self == Reached::Anybody {
            say(format_args!(
                "multiplane: warning: listening at {address}: nothing asks who connects and all is in clear text, so \
                 everybody who can reach this machine can read what passes, and take part; without an address only \
                 this machine can"
            ));
        }
    }
}

impl fmt::Display for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reached::ThisMachine(None) => f.write_str("this machine only"),
            Reached::ThisMachine(Some(security)) => write!(f, "this machine only, with {security}"),
            Reached::Others(security) => write!(f, "other machines, with {security}"),
            Reached::Anybody => f.write_str("EVERYBODY who reaches this machine (--insecure)"),
        }
    }
}

/// The address in `PORT`, which has none, or `HOST:PORT`; what is neither the listener refuses.
pub(crate) fn host(listen: &str) -> &str {
    listen.rsplit_once(':').map_or("", |(host, _)| host)
}

/// Whether only this machine reaches an address; none at all stands for that. A name may come to mean anything.
pub(crate) fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    matches!(host, "" | "localhost") || host.parse().is_ok_and(multiplane_bridge::is_loopback)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_others_takes_a_security_or_a_word() {
        let reach = |insecure, security, host| {
            Reach { insecure }.check(&Door { host, security, cure: Some("--key") }).ok()
        };
        for loopback in
            ["", "127.0.0.1", "127.1.2.3", "::1", "[::1]", "localhost", host("1500"), host("[::1]:1500")]
        {
            assert_eq!(reach(false, None, loopback), Some(Reached::ThisMachine(None)), "{loopback}");
        }
        for open in
            ["0.0.0.0", "*", "::", "10.0.0.1", "example.org", host("*:1"), host("[::]:0"), host("10.0.0.1:1")]
        {
            assert_eq!(reach(false, None, open), None, "{open}");
            assert_eq!(reach(true, None, open), Some(Reached::Anybody), "{open}");
            assert_eq!(reach(false, Some("CURVE"), open), Some(Reached::Others("CURVE")), "{open}");
        }
        let door = Door { host: "0.0.0.0", security: None, cure: Some("--key FILE") };
        let refused = Reach { insecure: false }
            .check(&door)
            .err()
            .and_then(|failure| failure.message().map(ToString::to_string));
        assert!(refused.is_some_and(|why| why.contains("add --key FILE, or --insecure")));
    }
}
