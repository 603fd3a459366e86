//! What is told while the gateway runs, and what was counted.

use multiplane_bridge::tell_counts;
use std::fmt;

/// Something that a person may want to see. Prints as one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Nobody is there yet, or any more; the gateway keeps trying.
    Waiting {
        /// Where.
        device: &'a str,
        /// What came of the last attempt.
        why: &'a str,
    },
    /// The gateway listens for devices.
    Listening {
        /// Where.
        address: &'a str,
    },
    /// A device is connected.
    Connected {
        /// Which.
        device: &'a str,
    },
    /// A connection is over.
    Lost {
        /// Which device's.
        device: &'a str,
        /// Why.
        why: &'a str,
        /// Messages that had waited for it, or were half sent.
        unsent: u64,
    },
    /// A frame came or went; only when frames are traced.
    Frame {
        /// Of which device.
        device: &'a str,
        /// Whether it came from the device.
        came: bool,
        /// The payload.
        payload: &'a [u8],
    },
    /// A framing error; only when frames are traced.
    Broken {
        /// Of which device.
        device: &'a str,
        /// What is wrong.
        why: &'a str,
        /// The bytes that came last, as far as they fit.
        bytes: &'a [u8],
    },
}

impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // These two lines are what Python Banyan's gateway prints.
            Event::Waiting { device, why } => {
                write!(f, "Waiting to connect to the server at {device} ... ({why})")
            }
            Event::Connected { device } => write!(f, "Successfully connected to: {device}"),
            Event::Listening { address } => write!(f, "Listening for devices at {address}"),
            Event::Lost { device, why, unsent: 0 } => write!(f, "Lost {device}: {why}"),
            Event::Lost { device, why, unsent } => {
                write!(f, "Lost {device}: {why}; {unsent} messages unsent")
            }
            Event::Frame { device, came, payload } => {
                let arrow = if *came { "->" } else { "<-" };
                write!(f, "{device} {arrow} {} bytes: {}", payload.len(), Hex(payload))
            }
            Event::Broken { device, why, bytes } => write!(f, "{device} !! {why}: {}", Hex(bytes)),
        }
    }
}

/// Bytes as people write them; a long run ends in dots.
struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 64;
        for (n, byte) in self.0.iter().take(SHOWN).enumerate() {
            write!(f, "{}{byte:02x}", if n == 0 { "" } else { " " })?;
        }
        if self.0.len() > SHOWN { f.write_str(" ...") } else { Ok(()) }
    }
}

/// What a gateway counted since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Payloads of devices that the bus took.
    pub from_devices: u64,
    /// Messages that the system took for a device, each counted for each device.
    pub to_devices: u64,
    /// Messages that made way for newer ones in a full queue, since devices were absent or slow.
    pub displaced: u64,
    /// Messages of the bus that are longer than their length field can say.
    pub oversize: u64,
    /// Messages for one of several devices at a port that took nothing for too long.
    pub slow: u64,
    /// Messages that waited for a device when its connection or the gateway ended.
    pub unsent: u64,
    /// Payloads of devices that were empty: no message at all, and the end of many a Python component.
    pub empty: u64,
    /// Payloads of devices that were begun and not finished.
    pub cut: u64,
    /// Payloads of devices that the bus refused.
    pub refused: u64,
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "from devices {}, to devices {}", self.from_devices, self.to_devices)?;
        let counts = [
            (self.displaced, "made way in a full queue"),
            (self.oversize, "too long for the length field"),
            (self.slow, "dropped for slow devices"),
            (self.unsent, "unsent when a connection ended"),
            (self.empty, "empty payloads dropped"),
            (self.cut, "payloads cut off"),
            (self.refused, "refused by the bus"),
        ];
        tell_counts(f, counts)
    }
}

/// The final numbers.
pub type Report = multiplane_bridge::Report<Stats>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_lines() {
        let device = "pico:1";
        for (event, line) in [
            (Event::Connected { device }, "Successfully connected to: pico:1"),
            (Event::Frame { device, came: true, payload: &[0x81, 0xa1] }, "pico:1 -> 2 bytes: 81 a1"),
            (
                Event::Lost { device, why: "it hung up", unsent: 2 },
                "Lost pico:1: it hung up; 2 messages unsent",
            ),
        ] {
            assert_eq!(event.to_string(), line);
        }
        assert!(Hex(&[0; 65]).to_string().ends_with("00 ..."));
    }

    #[test]
    fn only_what_happened_is_told() {
        let stats = Stats { from_devices: 3, oversize: 1, ..Stats::default() };
        assert_eq!(stats.to_string(), "from devices 3, to devices 0, too long for the length field 1");
    }
}
