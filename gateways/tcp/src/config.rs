//! Which devices there are, and what goes where.

use multiplane_codec::framing::length_prefix::Width;
use std::time::Duration;

/// All that a gateway is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// The devices.
    pub devices: Vec<Device>,
    /// Bytes of the length in front of a payload. One by default.
    pub width: Width,
    /// Bytes of a device's payload at most, where the width allows more. 16 MiB by default.
    pub limit: usize,
    /// Bytes of payloads that have come in part, of all devices; who brings more is disconnected. 64 MiB by default.
    pub unfinished: usize,
    /// How long a payload that has begun to arrive may stand still. Five seconds by default.
    pub frame_timeout: Duration,
    /// Messages that wait for each device that is away or slow; beyond, the oldest make way and are counted. 16,384 by
    /// default.
    pub queue: usize,
    /// Devices that may be connected to one listener at a time; 64 by default.
    pub connections: usize,
    /// Of these, devices from one address of another host; 32 by default.
    pub connections_per_address: usize,
    /// Whether every frame and framing error is told with its bytes.
    pub trace_frames: bool,
}

/// One device, or all that connect to one port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Where it is.
    pub place: Place,
    /// The topic of what it sends.
    pub from: String,
    /// Topics of what is sent to it: each stands for all that begin with it.
    pub to: Vec<String>,
    /// The backplanes that it is linked with; all if none is named.
    pub backplanes: Vec<String>,
}

/// Which side connects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The device is the server, at this `HOST:PORT`.
    Connect(String),
    /// The gateway is the server, at this `[HOST:]PORT`.
    Listen(String),
}

impl Config {
    /// These devices, and the defaults.
    pub fn new(devices: impl IntoIterator<Item = Device>) -> Self {
        Self {
            devices: devices.into_iter().collect(),
            width: Width::One,
            limit: 16 * 1024 * 1024,
            unfinished: 64 * 1024 * 1024,
            frame_timeout: Duration::from_secs(5),
            queue: 16_384,
            connections: 64,
            connections_per_address: 32,
            trace_frames: false,
        }
    }
}

/// A device that was described wrongly; the message says how it is done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "device {text:?}: {why}; write HOST:PORT[,from=TOPIC][,to=TOPIC]...[,backplane=NAME]..., such as 10.0.0.5:31335,from=door,to=lock"
)]
pub struct DeviceError {
    text: String,
    why: &'static str,
}

impl Device {
    /// A device that sends on no topic yet, and wants none.
    #[must_use]
    pub fn new(place: Place) -> Self {
        Self { place, from: String::new(), to: Vec::new(), backplanes: Vec::new() }
    }

    /// What it sends is published on this topic.
    #[must_use]
    pub fn from(mut self, topic: &str) -> Self {
        topic.clone_into(&mut self.from);
        self
    }

    /// It gets what is published on topics that begin so. Repeatable.
    #[must_use]
    pub fn to(mut self, topic: &str) -> Self {
        self.to.push(topic.to_owned());
        self
    }

    /// Reads `HOST:PORT[,from=TOPIC][,to=TOPIC]...[,backplane=NAME]...`. What is left out is as in `defaults`.
    ///
    /// ```
    /// use multiplane_tcp::{Device, Place};
    ///
    /// let defaults = Device::new(Place::Listen("0".to_owned())).from("from_pico").to("figura");
    /// let door = Device::parse("10.0.0.5:31335,from=door,to=lock,to=bell", &defaults)?;
    /// assert_eq!(door, Device::new(Place::Connect("10.0.0.5:31335".to_owned())).from("door").to("lock").to("bell"));
    /// assert_eq!(Device::parse("pico:1", &defaults)?.from, "from_pico");
    /// # Ok::<(), multiplane_tcp::DeviceError>(())
    /// ```
    ///
    /// # Errors
    /// [`DeviceError`].
    pub fn parse(text: &str, defaults: &Device) -> Result<Self, DeviceError> {
        let wrong = |why| DeviceError { text: text.to_owned(), why };
        let mut parts = text.split(',');
        let address = parts.next().unwrap_or_default();
        let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port);
        if port.and_then(|port| port.parse::<u16>().ok()).is_none_or(|port| port == 0) {
            return Err(wrong("it begins with no address and port"));
        }
        let (mut from, mut to, mut backplanes) = (None, Vec::new(), Vec::new());
        for part in parts {
            match part.split_once('=') {
                Some(("from", topic)) if from.is_none() => from = Some(topic.to_owned()),
                Some(("from", _)) => return Err(wrong("it has two topics `from`")),
                Some(("to", topic)) => to.push(topic.to_owned()),
                Some(("backplane", name)) => backplanes.push(name.to_owned()),
                _ => return Err(wrong("there is something else than from=, to= and backplane=")),
            }
        }
        Ok(Self {
            place: Place::Connect(address.to_owned()),
            from: from.unwrap_or_else(|| defaults.from.clone()),
            to: if to.is_empty() { defaults.to.clone() } else { to },
            backplanes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_device_is_refused_with_a_reason() {
        let defaults = Device::new(Place::Listen("0".to_owned()));
        for (text, why) in [
            ("", "no address"),
            ("host", "no address"),
            ("host:0", "no address"),
            ("host:65536", "no address"),
            (":1", "no address"),
            ("h:1,x=y", "something else"),
            ("h:1,from", "something else"),
            ("h:1,from=a,from=b", "two topics"),
        ] {
            let error = Device::parse(text, &defaults).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
        assert_eq!(Device::parse("[::1]:7,backplane=B", &defaults).unwrap().backplanes, ["B"]);
    }
}
