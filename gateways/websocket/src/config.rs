//! What a gateway is told.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;
use subtle::ConstantTimeEq;

/// All that a gateway is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it listens: `PORT` of this machine only, `HOST:PORT`, or `[IPV6]:PORT`.
    pub listen: String,
    /// Whether it may listen beyond this machine although anybody could come in, or listen in.
    pub insecure: bool,
    /// What clients must know.
    pub token: Option<Token>,
    /// Web pages from elsewhere that may connect, such as `https://example.org`. The gateway's own always may.
    pub origins: Vec<String>,
    /// Encryption; none by default.
    pub tls: Option<Tls>,
    /// Whether the ids of Banyan clients are read as Python Banyan does: every `to` becomes `from`.
    pub compat: bool,
    /// Only topics that begin so are sent to Banyan clients; all if there is none.
    pub banyan_topics: Vec<String>,
    /// Ids that Banyan clients may have; any if there is none.
    pub ids: Vec<String>,
    /// Clients may publish only on topics that begin so; on all if there is none.
    pub publish: Vec<String>,
    /// Clients may get only topics that begin so; all if there is none.
    pub subscribe: Vec<String>,
    /// What is listened to while somebody watches: topics that begin so. All that clients may get if there is none.
    pub watch: Vec<String>,
    /// Clients that may be connected at a time. 1,000 by default.
    pub connections: usize,
    /// Of these, clients from one address of another host. 250 by default.
    pub connections_per_address: usize,
    /// Messages that wait for one client; beyond, its oldest make way and are counted. 16,384 by default, which take
    /// 4 MiB at most.
    pub queue: usize,
    /// Messages a second that are taken from one client; one that sends more waits. No limit by default.
    pub rate: Option<u32>,
    /// Bytes of a client's message. 1 MiB by default.
    pub message: usize,
    /// How long a client may take for the head of its request, and again for its first message. Ten seconds by default.
    pub patience: Duration,
    /// A client that was silent for so long is asked by a ping; silent for as long again, it is given up. Twenty
    /// seconds by default.
    pub ping: Duration,
    /// Sends each message back and does nothing else with it, for judges of the protocol that know of no bus.
    #[doc(hidden)]
    pub echo: bool,
}

impl Config {
    /// Listens there; all else as usual.
    #[must_use]
    pub fn new(listen: &str) -> Self {
        Self {
            listen: listen.to_owned(),
            insecure: false,
            token: None,
            origins: Vec::new(),
            tls: None,
            compat: false,
            banyan_topics: Vec::new(),
            ids: Vec::new(),
            publish: Vec::new(),
            subscribe: Vec::new(),
            watch: Vec::new(),
            connections: 1000,
            connections_per_address: 250,
            queue: 16_384,
            rate: None,
            message: 1024 * 1024,
            patience: Duration::from_secs(10),
            ping: Duration::from_secs(20),
            echo: false,
        }
    }

    /// Whether it may listen where others reach it.
    pub(crate) fn check_reach(&self, loopback: bool) -> Result<(), ConfigError> {
        match loopback || self.insecure || self.token.is_some() && self.tls.is_some() {
            true => Ok(()),
            false => Err(ConfigError::Open { address: self.listen.clone() }),
        }
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        for origin in &self.origins {
            let rest = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
            if rest.is_none_or(|host| host.is_empty() || host.contains(['/', '?', '#', ' ', '*'])) {
                return Err(ConfigError::Origin { origin: origin.clone() });
            }
        }
        match self.watch.iter().find(|topic| !allows(&self.subscribe, topic)) {
            Some(topic) => Err(ConfigError::Watch { topic: topic.clone() }),
            None => Ok(()),
        }
    }

    /// What is listened to while somebody watches; everything if there is nothing.
    pub(crate) fn watched(&self) -> &[String] {
        if self.watch.is_empty() { &self.subscribe } else { &self.watch }
    }
}

/// Whether a list of prefixes allows this topic, or all that begin with it.
pub(crate) fn allows(prefixes: &[String], topic: &str) -> bool {
    prefixes.is_empty() || prefixes.iter().any(|prefix| topic.starts_with(prefix))
}

/// Where the certificate is; a file in PEM form each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The certificate, and those that vouch for it.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// A secret that clients must know. Never shown.
#[derive(Clone)]
pub struct Token(Vec<u8>);

impl Token {
    /// At least eight bytes, without line ends.
    ///
    /// # Errors
    /// [`ConfigError::Token`].
    pub fn new(secret: &str) -> Result<Self, ConfigError> {
        match secret.len() < 8 || secret.contains(['\n', '\r']) {
            true => Err(ConfigError::Token),
            false => Ok(Self(secret.as_bytes().to_vec())),
        }
    }

    /// Takes as long for a wrong one of the same length as for the right one.
    pub(crate) fn matches(&self, given: &str) -> bool {
        self.0.ct_eq(given.as_bytes()).into()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// What a gateway was told does not go; the message says what does.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Everybody could come in.
    #[error(
        "listening at {address} lets everybody in who reaches this machine: give a token and a certificate for TLS, or say that it may be insecure"
    )]
    Open {
        /// Where it should listen.
        address: String,
    },
    /// No origin of a page.
    #[error("{origin:?} is no origin: write SCHEME://HOST[:PORT], such as https://example.org:8080")]
    Origin {
        /// What was given.
        origin: String,
    },
    /// Who watches would see more than clients may get.
    #[error("clients may not get what begins with {topic:?}, so it cannot be watched either")]
    Watch {
        /// What was to be watched.
        topic: String,
    },
    /// No secret.
    #[error("the token is shorter than eight characters, or more than one line")]
    Token,
    /// No certificate, or no key, or none that fit.
    #[error("{file}: {reason}")]
    Tls {
        /// Which file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_this_machine_it_takes_a_token_and_tls_or_a_word() {
        let tls = Tls { certificate: "c".into(), key: "k".into() };
        let token = Token::new("12345678").unwrap();
        for (loopback, insecure, with_token, with_tls, expected) in [
            (true, false, false, false, true),
            (false, false, false, false, false),
            (false, true, false, false, true),
            (false, false, true, false, false),
            (false, false, false, true, false),
            (false, false, true, true, true),
        ] {
            let mut config = Config { insecure, ..Config::new("9000") };
            config.token = with_token.then(|| token.clone());
            config.tls = with_tls.then(|| tls.clone());
            assert_eq!(config.check_reach(loopback).is_ok(), expected, "{config:?}");
        }
    }

    #[test]
    fn a_token_matches_itself_and_hides() {
        let token = Token::new("correct horse").unwrap();
        assert!(token.matches("correct horse"));
        for wrong in ["", "correct hors", "correct horse ", "Correct horse"] {
            assert!(!token.matches(wrong), "{wrong:?}");
        }
        assert!(!format!("{token:?}").contains("horse"));
        assert!(Token::new("short").is_err() && Token::new("two\nlines of it").is_err());
    }

    #[test]
    fn origins_are_checked() {
        for (origin, good) in [
            ("https://example.org", true),
            ("http://localhost:8080", true),
            ("example.org", false),
            ("https://", false),
            ("https://example.org/", false),
            ("*", false),
        ] {
            let config = Config { origins: vec![origin.to_owned()], ..Config::new("9000") };
            assert_eq!(config.check().is_ok(), good, "{origin}");
        }
    }

    #[test]
    fn nobody_watches_what_he_may_not_get() {
        let list = |topics: &[&str]| topics.iter().map(|topic| (*topic).to_owned()).collect::<Vec<_>>();
        for (subscribe, watch, watched) in [
            (&[][..], &[][..], Some(&[][..])),
            (&["a.", "b"], &[], Some(&["a.", "b"])),
            (&["a.", "b"], &["a.x", "b"], Some(&["a.x", "b"])),
            (&[], &["a"], Some(&["a"])),
            (&["a."], &["a"], None),
            (&["a."], &[""], None),
        ] {
            let config = Config { subscribe: list(subscribe), watch: list(watch), ..Config::new("9000") };
            let found = config.check().is_ok().then(|| config.watched().to_vec());
            assert_eq!(found, watched.map(list), "{subscribe:?} {watch:?}");
        }
    }
}
