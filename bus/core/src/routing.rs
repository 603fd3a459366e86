//! The routing specification: which backplanes a component links to, and with which topics.
//!
//! It is the CSV file of Python Banyan's multi-backplane components:
//!
//! ```text
//! backplane_name,ip_address,subscriber_port,subscriber_topic,publisher_port
//! BP1,192.168.2.194,43127,"[reply]",43126
//! BP3,192.168.2.177,43125,"[]",43124
//! BP4,192.168.2.199,43125,"[run_motors,light_leds]",
//! BP5,192.168.2.133,,,43124
//! ```
//! * The names in the header matter, their order does not.
//! * A row without `subscriber_port` receives nothing (its topics are ignored); one without `publisher_port`, which
//!   may also be cut off there, publishes nothing.
//! * `"[a,b]"` asks for the topics `a` and `b`, each a prefix. `"[]"` is *one* topic, the empty one: everything.
//!   `"[x,]"` is `x` and everything. `none` is no topic yet: the program will subscribe by itself.
//! * Blank lines and any line ends are fine; quotes mean what they mean to Python's `csv` module.
//!
//! **What is accepted here, Python accepts too** (IPv6 addresses and `none` apart), because one file often serves
//! both. So a UTF-8 byte order mark, on which Python fails, is refused here as well, with a message that names it;
//! and what Python takes but misunderstands (`"['x']"`, `"]x["`, a fifth comma) is refused before it does harm.
//! A mistake is reported with line, column and cure, all rows of a file at once: see [`RoutingError`].

mod cells;
mod check;
mod error;
mod lint;
mod parse;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

pub use error::{Place, Problem, RoutingError};
pub use lint::Warning;

use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// Bytes that a routing file may have: 1024 rows of a kilobyte.
pub const MAX_FILE_BYTES: usize = 1024 * 1024;
/// Bytes that a backplane's name may have.
pub const MAX_NAME_BYTES: usize = 255;

/// The topic cell of a route that receives nothing yet. An empty one would be taken for forgotten, and `"[]"` means
/// everything.
const NO_TOPICS: &str = "none";

/// The columns, in the order in which they are written.
pub const COLUMNS: [&str; 5] =
    ["backplane_name", "ip_address", "subscriber_port", "subscriber_topic", "publisher_port"];

/// How to reach one backplane, and what to ask it for: one row of a routing specification.
///
/// Plain data, checked when it becomes part of a [`RoutingSpec`].
///
/// ```
/// use multiplane_core::Route;
///
/// let route = Route::new("BP1", "127.0.0.1").subscriber_port(43125).topics(["echo"]).publisher_port(43124);
/// assert_eq!(route.name, "BP1");
/// assert_eq!(route.subscriber_endpoint().as_deref(), Some("tcp://127.0.0.1:43125"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Route {
    /// The name by which the component knows the backplane: unique in a specification, 1 to 255 bytes.
    pub name: String,
    /// IPv4 address, IPv6 address (bare or in brackets), or host name.
    pub host: String,
    /// The port to receive from (43125 by habit). `None`: receive nothing.
    pub subscriber_port: Option<u16>,
    /// The topic prefixes to ask for from the start; an empty one asks for everything. Ignored without a subscriber
    /// port.
    pub topics: Vec<String>,
    /// The port to publish into (43124 by habit). `None`: publish nothing.
    pub publisher_port: Option<u16>,
}

impl Route {
    /// A route with neither port; add at least one.
    #[must_use]
    pub fn new(name: impl Into<String>, host: impl Into<String>) -> Self {
        Route {
            name: name.into(),
            host: host.into(),
            subscriber_port: None,
            topics: Vec::new(),
            publisher_port: None,
        }
    }

    /// Receive from this port; say what with [`topics`](Self::topics).
    #[must_use]
    pub fn subscriber_port(mut self, port: u16) -> Self {
        self.subscriber_port = Some(port);
        self
    }

    /// Ask for these topics, instead of any given before. `[""]` asks for everything.
    #[must_use]
    pub fn topics<T: Into<String>>(mut self, topics: impl IntoIterator<Item = T>) -> Self {
        self.topics = topics.into_iter().map(Into::into).collect();
        self
    }

    /// Publish into this port.
    #[must_use]
    pub fn publisher_port(mut self, port: u16) -> Self {
        self.publisher_port = Some(port);
        self
    }

    /// Whether the route receives every message of its backplane, because it asks for the empty topic. In a file
    /// `"[]"` does that, which looks like "no topics"; so say it to the user.
    #[must_use]
    pub fn subscribes_to_everything(&self) -> bool {
        self.subscriber_port.is_some() && self.topics.iter().any(String::is_empty)
    }

    /// `tcp://host:port`, with an IPv6 address in brackets.
    ///
    /// ```
    /// # use multiplane_core::Route;
    /// assert_eq!(Route::new("BP1", "::1").endpoint(43124), "tcp://[::1]:43124");
    /// ```
    #[must_use]
    pub fn endpoint(&self, port: u16) -> String {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        if host.contains(':') { format!("tcp://[{host}]:{port}") } else { format!("tcp://{host}:{port}") }
    }

    /// The endpoint to receive from, if there is one.
    #[must_use]
    pub fn subscriber_endpoint(&self) -> Option<String> {
        self.subscriber_port.map(|port| self.endpoint(port))
    }

    /// The endpoint to publish into, if there is one.
    #[must_use]
    pub fn publisher_endpoint(&self) -> Option<String> {
        self.publisher_port.map(|port| self.endpoint(port))
    }
}

/// The backplanes of one component, checked: at least one and at most 1024, names unique, each with a port, every
/// host, port and topic well-formed. Whoever holds one need not look again.
///
/// ```
/// use multiplane_core::{Route, RoutingSpec};
///
/// let parsed: RoutingSpec = "\
/// backplane_name,ip_address,subscriber_port,subscriber_topic,publisher_port
/// BP1,127.0.0.1,43125,\"[echo]\",43124
/// ".parse()?;
/// let built = RoutingSpec::builder()
///     .backplane(Route::new("BP1", "127.0.0.1").subscriber_port(43125).topics(["echo"]).publisher_port(43124))
///     .build()?;
/// assert_eq!(parsed, built);
/// assert_eq!(built.to_string().parse(), Ok(parsed), "Display writes the file");
/// # Ok::<(), multiplane_core::RoutingError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoutingSpec {
    routes: Vec<Route>,
}

impl RoutingSpec {
    /// Begins a specification in code.
    pub fn builder() -> RoutingSpecBuilder {
        RoutingSpecBuilder { routes: Vec::new() }
    }

    /// Reads a file of at most 1 MiB.
    ///
    /// # Errors
    /// The file cannot be read, or is not a valid specification.
    pub fn from_path(path: impl AsRef<Path>) -> Result<Self, RoutingError> {
        parse::from_path(path.as_ref())
    }

    /// Reads text, or bytes that should be UTF-8; `source_name` is what errors call it.
    ///
    /// # Errors
    /// The text is not a valid specification.
    ///
    /// ```
    /// use multiplane_core::RoutingSpec;
    ///
    /// let text = "backplane_name,ip_address,subscriber_port,subscriber_topic,publisher_port\nBP1,10.0.0.1,,,0\n";
    /// let error = RoutingSpec::parse(text, "spec.csv").unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "spec.csv:2:16: publisher_port \"0\" is not a port; write a number from 1 to 65535, without blanks"
    /// );
    /// ```
    pub fn parse(text: impl AsRef<[u8]>, source_name: impl Into<String>) -> Result<Self, RoutingError> {
        parse::from_bytes(text.as_ref(), source_name.into())
    }

    /// The backplanes, in file order. Never empty.
    #[must_use]
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// The backplane of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Route> {
        self.routes.iter().find(|route| route.name == name)
    }

    /// What is legal but probably not meant.
    ///
    /// ```
    /// # use multiplane_core::{Route, RoutingSpec};
    /// let spec = RoutingSpec::builder()
    ///     .backplane(Route::new("BP1", "127.0.0.1").subscriber_port(43125).topics([""]))
    ///     .build()?;
    /// assert!(spec.lint()[0].to_string().starts_with("BP1: subscribes to everything"));
    /// # Ok::<(), multiplane_core::RoutingError>(())
    /// ```
    #[must_use]
    pub fn lint(&self) -> Vec<Warning> {
        lint::lint(&self.routes)
    }
}

impl FromStr for RoutingSpec {
    type Err = RoutingError;

    fn from_str(text: &str) -> Result<Self, RoutingError> {
        Self::parse(text, "routing specification")
    }
}

/// Writes the CSV file that parses into the same specification.
impl fmt::Display for RoutingSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", COLUMNS.join(","))?;
        for route in &self.routes {
            match route.name.contains([',', '"']) {
                true => write!(f, "\"{}\"", route.name.replace('"', "\"\""))?,
                false => f.write_str(&route.name)?,
            }
            write!(f, ",{},", route.host)?;
            route.subscriber_port.map_or(Ok(()), |port| write!(f, "{port}"))?;
            match (route.topics.is_empty(), route.subscriber_port) {
                (false, _) => write!(f, ",\"[{}]\"", route.topics.join(","))?,
                (true, Some(_)) => write!(f, ",{NO_TOPICS}")?,
                (true, None) => f.write_str(",")?,
            }
            f.write_str(",")?;
            route.publisher_port.map_or(Ok(()), |port| write!(f, "{port}"))?;
            writeln!(f)?;
        }
        Ok(())
    }
}

/// Collects routes for a [`RoutingSpec`]; made by [`RoutingSpec::builder`].
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct RoutingSpecBuilder {
    routes: Vec<Route>,
}

impl RoutingSpecBuilder {
    /// Adds a backplane.
    pub fn backplane(mut self, route: Route) -> Self {
        self.routes.push(route);
        self
    }

    /// Checks what a file would be checked for, so that every specification can also be written as one.
    ///
    /// # Errors
    /// All routes that break a rule; without line and column, but with the name of the backplane.
    pub fn build(self) -> Result<RoutingSpec, RoutingError> {
        check::routes(self.routes)
    }
}
