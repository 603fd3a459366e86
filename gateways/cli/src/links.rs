//! Which backplanes a command links to.

use crate::failure::Failure;
use crate::keys::public_key;
use multiplane_bus::curve::{self, KeyPair, PublicKey};
use multiplane_bus::{Builder, Bus, Route, RoutingSpec};
use std::path::{Path, PathBuf};

const HOST: &str = "127.0.0.1";
pub(crate) const SUBSCRIBER_PORT: u16 = 43125;
pub(crate) const PUBLISHER_PORT: u16 = 43124;
/// What a single backplane is called when nobody gave it a name.
pub(crate) const NAME: &str = "BP1";

/// Without any of these: the backplane on this machine, on Banyan's ports, called BP1.
#[derive(clap::Args)]
#[command(next_help_heading = "Backplanes")]
pub(crate) struct Links {
    /// Routing specification: a CSV file with one backplane a row
    ///
    /// Its columns are backplane_name, ip_address, subscriber_port, subscriber_topic, publisher_port. The ports are
    /// taken from it, the topics from this command's arguments.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["address", "publisher_port", "subscriber_port"])]
    routing: Option<PathBuf>,

    /// A backplane by name and address, repeatable; with --routing, only the backplanes so NAMEd in the file
    ///
    /// The ports default to Banyan's, 43125 to receive from and 43124 to publish into. An IPv6 address is written in
    /// brackets: BP1=[::1]:43125:43124.
    #[arg(
        long,
        value_name = "NAME[=HOST[:SUBPORT[:PUBPORT]]]",
        conflicts_with_all = ["address", "publisher_port", "subscriber_port"]
    )]
    backplane: Vec<String>,

    /// Address of the one backplane to link to
    #[arg(short = 'b', long, default_value = HOST)]
    address: String,

    /// The port of that backplane that components publish into
    #[arg(short = 'p', long, value_name = "PORT", default_value_t = PUBLISHER_PORT)]
    publisher_port: u16,

    /// The port of that backplane that components receive from
    #[arg(short = 's', long, value_name = "PORT", default_value_t = SUBSCRIBER_PORT)]
    subscriber_port: u16,

    #[command(flatten)]
    security: Security,
}

/// Without these links are open to whoever is on their way.
#[derive(clap::Args)]
#[command(next_help_heading = "Security")]
struct Security {
    /// Seal all links by CURVE, with the keys of this file, made by `multiplane keys new`
    #[arg(long, value_name = "FILE", requires = "server_key")]
    curve_key: Option<PathBuf>,

    /// The public key of the backplanes: what `multiplane keys show` prints, or a file
    #[arg(long, value_name = "KEY", requires = "curve_key", allow_hyphen_values = true)]
    server_key: Option<String>,
}

/// Our keys, and that of the backplanes.
pub(crate) type Keys = (KeyPair, PublicKey);

impl Links {
    /// A component whose links are as secure as was asked for; its routing specification is still to be given.
    pub(crate) fn component(&self, name: &str) -> Result<Builder, Failure> {
        let builder = Bus::builder(name);
        Ok(match self.keys()? {
            Some((ours, server)) => builder.curve(ours, server),
            None => builder,
        })
    }

    /// What seals the links, if they are to be.
    pub(crate) fn keys(&self) -> Result<Option<Keys>, Failure> {
        let Security { curve_key: Some(keys), server_key: Some(server) } = &self.security else {
            return Ok(None);
        };
        Ok(Some((curve::read_keys(keys)?, public_key(server)?)))
    }

    /// The links to receive `topics` from all backplanes that have a subscriber port.
    pub(crate) fn receiving(&self, topics: &[String]) -> Result<RoutingSpec, Failure> {
        self.spec("subscriber_port", |route| Route { topics: topics.to_vec(), publisher_port: None, ..route })
    }

    /// The links to publish into all backplanes that have a publisher port.
    pub(crate) fn publishing(&self) -> Result<RoutingSpec, Failure> {
        self.spec("publisher_port", |route| Route { topics: Vec::new(), subscriber_port: None, ..route })
    }

    /// All links of all backplanes, without a topic.
    pub(crate) fn both(&self) -> Result<RoutingSpec, Failure> {
        self.spec("port", |route| Route { topics: Vec::new(), ..route })
    }

    /// The routing specification that was named.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.routing.as_deref()
    }

    fn spec(&self, needed: &str, narrow: impl Fn(Route) -> Route) -> Result<RoutingSpec, Failure> {
        let narrowed = self.routes()?.into_iter().map(narrow);
        let useful: Vec<Route> = narrowed
            .filter(|route| route.subscriber_port.is_some() || route.publisher_port.is_some())
            .collect();
        if useful.is_empty() {
            return Err(Failure::Misuse(format!(
                "no backplane of the routing specification has a {needed}; add one, or name another with --backplane"
            )));
        }
        Ok(useful.into_iter().fold(RoutingSpec::builder(), |spec, route| spec.backplane(route)).build()?)
    }

    fn routes(&self) -> Result<Vec<Route>, Failure> {
        let Some(file) = &self.routing else {
            return match self.backplane.is_empty() {
                true => Ok(vec![
                    Route::new(NAME, &self.address)
                        .subscriber_port(self.subscriber_port)
                        .publisher_port(self.publisher_port),
                ]),
                false => self.backplane.iter().map(|text| named(text)).collect(),
            };
        };
        let spec = RoutingSpec::from_path(file)?;
        if self.backplane.is_empty() {
            return Ok(spec.routes().to_vec());
        }
        let find = |name: &String| {
            spec.get(name).cloned().ok_or_else(|| {
                let known: Vec<&str> = spec.routes().iter().map(|route| route.name.as_str()).collect();
                Failure::Misuse(format!(
                    "--backplane {name}: {} names no such backplane; it has {}",
                    file.display(),
                    known.join(", ")
                ))
            })
        };
        self.backplane.iter().map(find).collect()
    }
}

/// Reads `NAME=HOST[:SUBPORT[:PUBPORT]]`.
fn named(text: &str) -> Result<Route, Failure> {
    let wrong = |why: &str| {
        Failure::Misuse(format!(
            "--backplane {text}: {why}; write NAME=HOST[:SUBPORT[:PUBPORT]], such as BP1=10.0.0.1:43125:43124"
        ))
    };
    let (name, place) = text.split_once('=').ok_or_else(|| wrong("there is no `=` and no --routing FILE"))?;
    let (host, subscriber, publisher) = address(place).map_err(wrong)?;
    Ok(Route::new(name, host).subscriber_port(subscriber).publisher_port(publisher))
}

/// Reads `HOST[:SUBPORT[:PUBPORT]]`: the address, the port to receive from and the one to publish into.
pub(crate) fn address(place: &str) -> Result<(&str, u16, u16), &'static str> {
    let (host, ports) = match place.strip_prefix('[').and_then(|place| place.split_once(']')) {
        Some((host, ports)) => (host, ports),
        None => place.split_at(place.find(':').unwrap_or(place.len())),
    };
    let mut numbers = ports.split(':');
    if numbers.next() != Some("") {
        return Err("something stands between the address and the port");
    }
    let mut port = |default| match numbers.next() {
        None => Ok(default),
        Some(number) => number.parse::<u16>().map_err(|_| "a port is a number from 1 to 65535"),
    };
    let (subscriber, publisher) = (port(SUBSCRIBER_PORT)?, port(PUBLISHER_PORT)?);
    if numbers.next().is_some() {
        return Err("there are more than two ports (an IPv6 address needs brackets)");
    }
    Ok((host, subscriber, publisher))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_backplane_has_defaults_for_what_is_left_out() {
        let read = |text| named(text).map(|route| (route.host, route.subscriber_port, route.publisher_port));
        let full = |host: &str, s, p| (host.to_owned(), Some(s), Some(p));
        assert_eq!(read("A=h").ok(), Some(full("h", 43125, 43124)));
        assert_eq!(read("A=h:1").ok(), Some(full("h", 1, 43124)));
        assert_eq!(read("A=h:1:2").ok(), Some(full("h", 1, 2)));
        assert_eq!(read("A=[::1]:1:2").ok(), Some(full("::1", 1, 2)));
        for wrong in ["A", "A=h:", "A=h:x", "A=h:1:2:3", "A=::1", "A=[::1]1", "A=h:65536"] {
            assert!(named(wrong).is_err(), "{wrong}");
        }
    }
}
