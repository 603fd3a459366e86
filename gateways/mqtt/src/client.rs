//! MQTT as the gateway speaks it, without a socket: bytes in and out, and what they mean. The one file that names the
//! protocol library.

use crate::config::{Config, Version};
use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::connection::{ConnectionOptions, Event};
use mqtt_protocol_core::mqtt::packet::{
    GenericPacketTrait, Packet, Property, Qos, SessionExpiryInterval, SubEntry, SubOpts, v3_1_1, v5_0,
};
use mqtt_protocol_core::mqtt::prelude::TimerKind;
use mqtt_protocol_core::mqtt::result_code::{ConnectReasonCode, ConnectReturnCode, MqttError};
use mqtt_protocol_core::mqtt::{Connection, Version as Spoken, role};
use std::time::{Duration, Instant};

/// Bytes of a packet of the broker at most.
const PACKET: u32 = 16 * 1024 * 1024;
/// The broker has so long to say that it is there.
const PATIENCE: Duration = Duration::from_secs(10);
/// Messages of quality 1 that may wait for their acknowledgement.
const WINDOW: usize = 100;
/// Messages of quality 1 that the broker may send before the first is acknowledged.
const RECEIVE: u16 = 1000;
/// How long a broker keeps the session of a gateway that is away.
const SESSION: Duration = Duration::from_secs(24 * 60 * 60);

/// A message on the broker's side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) topic: String,
    pub(crate) body: Vec<u8>,
    pub(crate) retain: bool,
}

/// A message of the broker; with a number it is to be acknowledged.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) topic: String,
    pub(crate) body: Vec<u8>,
    pub(crate) id: Option<u16>,
}

/// What came of the bytes of the broker.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// The broker has let us in, and has the subscriptions.
    Accepted,
    /// The broker refuses us.
    Refused(String),
    /// The broker refuses a subscription.
    NotSubscribed { filter: String, why: String },
    /// A message.
    Received(Received),
    /// A message of ours is acknowledged.
    Acknowledged(u16),
    /// The connection is of no more use.
    Over(String),
}

/// What became of a message that was to be published.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Published {
    /// It is among the bytes to send; with a number it will be acknowledged.
    Sent(Option<u16>),
    /// The broker takes no packets of that size.
    TooLarge,
    /// The protocol does not allow it.
    Refused(String),
}

/// One connection's protocol.
pub(crate) struct Client {
    connection: Connection<role::Client>,
    version: Version,
    filters: Vec<(String, u8)>,
    /// Bytes to send.
    out: Vec<u8>,
    news: Vec<News>,
    timers: [Option<Instant>; 2],
    unacknowledged: usize,
    accepted: bool,
}

const PINGREQ: usize = 0;
const PINGRESP: usize = 1;

impl Client {
    /// Begins: the first bytes to send introduce the gateway.
    pub(crate) fn connect(config: &Config, client_id: &str, now: Instant) -> Result<Self, String> {
        let version = config.version;
        let spoken = match version {
            Version::V3 => Spoken::V3_1_1,
            Version::V5 => Spoken::V5_0,
        };
        let mut options = ConnectionOptions::new().maximum_packet_size_recv(PACKET);
        if version == Version::V5 {
            // A broker of 3.1.1 would not know of it, and be cut off for breaking it.
            options = options.receive_maximum(RECEIVE);
        }
        let mut connection = Connection::with_options(spoken, options);
        connection.set_auto_ping_response(true);
        connection.set_pingresp_recv_timeout(PATIENCE.as_millis() as u64);
        let rows = config.mapping.from_mqtt.iter();
        let mut client = Self {
            connection,
            version,
            filters: rows.map(|row| (row.filter.clone(), row.qos)).collect(),
            out: Vec::new(),
            news: Vec::new(),
            timers: [None, now.checked_add(PATIENCE)],
            unacknowledged: 0,
            accepted: false,
        };
        client.introduce(config, client_id, now).map_err(|error| error.to_string())?;
        Ok(client)
    }

    fn introduce(&mut self, config: &Config, client_id: &str, now: Instant) -> Result<(), MqttError> {
        let keep_alive = u16::try_from(config.keep_alive.as_secs()).unwrap_or(u16::MAX);
        // A session is kept for those that asked for it by a name of their own.
        let clean = config.client_id.is_none();
        let events = match self.version {
            Version::V3 => {
                let mut connect = v3_1_1::Connect::builder()
                    .client_id(client_id)?
                    .keep_alive(keep_alive)
                    .clean_session(clean);
                if let Some(who) = &config.credentials {
                    connect = connect.user_name(&who.user)?.password(who.password.as_str())?;
                }
                self.connection.checked_send(connect.build()?)
            }
            Version::V5 => {
                let expiry = if clean { 0 } else { SESSION.as_secs() as u32 };
                let expiry: Property = SessionExpiryInterval::new(expiry)?.into();
                let mut connect = v5_0::Connect::builder()
                    .client_id(client_id)?
                    .keep_alive(keep_alive)
                    .clean_start(clean)
                    .props(vec![expiry]);
                if let Some(who) = &config.credentials {
                    connect = connect.user_name(&who.user)?.password(who.password.as_str())?;
                }
                self.connection.checked_send(connect.build()?)
            }
        };
        self.handle(events, now);
        Ok(())
    }

    /// Whether the broker has let us in.
    pub(crate) fn accepted(&self) -> bool {
        self.accepted
    }

    /// Whether a message of quality 1 may be sent now.
    pub(crate) fn has_window(&self) -> bool {
        self.unacknowledged < WINDOW
            && self.connection.get_receive_maximum_vacancy_for_send().is_none_or(|vacancy| vacancy > 0)
    }

    /// Takes what came from the broker.
    pub(crate) fn feed(&mut self, bytes: &[u8], now: Instant) {
        let mut cursor = Cursor::new(bytes);
        while (cursor.position() as usize) < bytes.len() {
            let before = cursor.position();
            let events = self.connection.recv(&mut cursor);
            self.handle(events, now);
            let stuck = cursor.position() == before;
            if stuck || matches!(self.news.last(), Some(News::Over(_) | News::Refused(_))) {
                return;
            }
        }
    }

    /// Publishes.
    pub(crate) fn publish(&mut self, message: &Message, qos: u8, now: Instant) -> Published {
        let id = match (qos > 0).then(|| self.connection.acquire_packet_id()).transpose() {
            Ok(id) => id,
            Err(error) => return Published::Refused(error.to_string()),
        };
        let (before, news) = (self.out.len(), self.news.len());
        match self.send_publish(message, id, now) {
            Ok(()) if self.out.len() > before => {
                self.unacknowledged += usize::from(id.is_some());
                return Published::Sent(id);
            }
            Ok(()) | Err(MqttError::PacketTooLarge) => {}
            Err(error) => return Published::Refused(error.to_string()),
        }
        if let Some(id) = id {
            let _ = self.connection.release_packet_id(id);
        }
        // What is left of the protocol's reasons to send nothing: all others were checked before.
        self.news.truncate(news);
        Published::TooLarge
    }

    fn send_publish(&mut self, message: &Message, id: Option<u16>, now: Instant) -> Result<(), MqttError> {
        let Message { topic, body, retain } = message;
        let qos = if id.is_some() { Qos::AtLeastOnce } else { Qos::AtMostOnce };
        let events = match self.version {
            Version::V3 => {
                let mut packet = v3_1_1::Publish::builder().topic_name(topic)?.qos(qos).retain(*retain);
                if let Some(id) = id {
                    packet = packet.packet_id(id);
                }
                self.connection.checked_send(packet.payload(body).build()?)
            }
            Version::V5 => {
                let mut packet = v5_0::Publish::builder().topic_name(topic)?.qos(qos).retain(*retain);
                if let Some(id) = id {
                    packet = packet.packet_id(id);
                }
                self.connection.checked_send(packet.payload(body).build()?)
            }
        };
        self.handle(events, now);
        Ok(())
    }

    /// Acknowledges a message: the broker may forget it.
    pub(crate) fn acknowledge(&mut self, id: u16, now: Instant) {
        let events = match self.version {
            Version::V3 => v3_1_1::Puback::builder()
                .packet_id(id)
                .build()
                .map(|packet| self.connection.checked_send(packet)),
            Version::V5 => v5_0::Puback::builder()
                .packet_id(id)
                .build()
                .map(|packet| self.connection.checked_send(packet)),
        };
        match events {
            Ok(events) => self.handle(events, now),
            Err(error) => self.news.push(News::Over(error.to_string())),
        }
    }

    /// Says goodbye.
    pub(crate) fn disconnect(&mut self, now: Instant) {
        let events = match self.version {
            Version::V3 => {
                v3_1_1::Disconnect::builder().build().map(|packet| self.connection.checked_send(packet))
            }
            Version::V5 => {
                v5_0::Disconnect::builder().build().map(|packet| self.connection.checked_send(packet))
            }
        };
        if let Ok(events) = events {
            self.handle(events, now);
        }
    }

    /// How many bytes there are to send.
    pub(crate) fn gathered(&self) -> usize {
        self.out.len()
    }

    /// The bytes to send.
    pub(crate) fn take_out(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// What has come of it all.
    pub(crate) fn take_news(&mut self) -> Vec<News> {
        std::mem::take(&mut self.news)
    }

    /// When [`tick`](Self::tick) has something to do.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.timers.iter().flatten().min().copied()
    }

    /// Does what is due. While nobody `reads`, the broker's silence means nothing.
    pub(crate) fn tick(&mut self, now: Instant, reads: bool) {
        if self.timers[PINGREQ].is_some_and(|due| due <= now) {
            self.timers[PINGREQ] = None;
            let events = self.connection.notify_timer_fired(TimerKind::PingreqSend);
            self.handle(events, now);
        }
        if self.timers[PINGRESP].is_some_and(|due| due <= now) {
            self.timers[PINGRESP] = if reads { None } else { now.checked_add(PATIENCE) };
            if reads {
                self.news.push(News::Over("the broker is silent".to_owned()));
            }
        }
    }

    fn handle(&mut self, events: Vec<Event>, now: Instant) {
        for event in events {
            match event {
                Event::RequestSendPacket { packet, .. } => {
                    self.out.extend_from_slice(&packet.to_continuous_buffer());
                }
                Event::NotifyPacketReceived(packet) => self.received(packet, now),
                Event::RequestTimerReset { kind, duration_ms } => {
                    if let Some(n) = timer(kind) {
                        self.timers[n] = now.checked_add(Duration::from_millis(duration_ms));
                    }
                }
                Event::RequestTimerCancel(kind) => {
                    if let Some(n) = timer(kind) {
                        self.timers[n] = None;
                    }
                }
                Event::NotifyError(error) => {
                    self.news.push(News::Over(format!("the protocol is broken: {error}")));
                }
                Event::RequestClose => {
                    self.news.push(News::Over("the broker closes the connection".to_owned()));
                }
                Event::NotifyPacketIdReleased(_) => {}
            }
        }
    }

    fn received(&mut self, packet: Packet, now: Instant) {
        match packet {
            Packet::V3_1_1Connack(answer) => {
                let code = answer.return_code();
                self.answered(code == ConnectReturnCode::Accepted, &code.to_string(), now);
            }
            Packet::V5_0Connack(answer) => {
                let code = answer.reason_code();
                self.answered(code == ConnectReasonCode::Success, &code.to_string(), now);
            }
            Packet::V3_1_1Suback(answer) => {
                let answers = answer.return_codes().into_iter();
                self.subscribed(answers.map(|code| (code.is_success(), code.to_string())).collect());
            }
            Packet::V5_0Suback(answer) => {
                let answers = answer.reason_codes().into_iter();
                self.subscribed(answers.map(|code| (code.is_success(), code.to_string())).collect());
            }
            // Nobody asked for it, and the library, which takes any number for such a message, panics over a repeated 0.
            Packet::V3_1_1Publish(message) if message.qos() == Qos::ExactlyOnce => self.unasked(),
            Packet::V5_0Publish(message) if message.qos() == Qos::ExactlyOnce => self.unasked(),
            Packet::V3_1_1Publish(message) => {
                let (topic, body) = (message.topic_name().to_owned(), message.payload().as_slice().to_vec());
                self.news.push(News::Received(Received { topic, body, id: message.packet_id() }));
            }
            Packet::V5_0Publish(message) => {
                let (topic, body) = (message.topic_name().to_owned(), message.payload().as_slice().to_vec());
                self.news.push(News::Received(Received { topic, body, id: message.packet_id() }));
            }
            Packet::V3_1_1Puback(answer) => self.acknowledged(answer.packet_id()),
            Packet::V5_0Puback(answer) => self.acknowledged(answer.packet_id()),
            Packet::V5_0Disconnect(end) => {
                let why = end.reason_code().map_or_else(String::new, |code| format!(": {code}"));
                self.news.push(News::Over(format!("the broker ends the connection{why}")));
            }
            _ => {}
        }
    }

    fn unasked(&mut self) {
        self.news.push(News::Over("the broker sends with quality 2, which was not asked for".to_owned()));
    }

    fn acknowledged(&mut self, id: u16) {
        self.unacknowledged = self.unacknowledged.saturating_sub(1);
        self.news.push(News::Acknowledged(id));
    }

    fn answered(&mut self, accepted: bool, code: &str, now: Instant) {
        self.timers[PINGRESP] = None;
        self.accepted = accepted;
        if !accepted {
            return self.news.push(News::Refused(code.to_owned()));
        }
        if self.filters.is_empty() {
            return self.news.push(News::Accepted);
        }
        if let Err(error) = self.subscribe(now) {
            self.news.push(News::Over(error.to_string()));
        }
    }

    fn subscribe(&mut self, now: Instant) -> Result<(), MqttError> {
        let id = self.connection.acquire_packet_id()?;
        let mut entries = Vec::with_capacity(self.filters.len());
        for (filter, qos) in &self.filters {
            let qos = if *qos > 0 { Qos::AtLeastOnce } else { Qos::AtMostOnce };
            // What we publish ourselves is not to come back; 3.1.1 knows no way to say so.
            let options = SubOpts::new().set_qos(qos).set_nl(self.version == Version::V5);
            entries.push(SubEntry::new(filter, options)?);
        }
        let events = match self.version {
            Version::V3 => self
                .connection
                .checked_send(v3_1_1::Subscribe::builder().packet_id(id).entries(entries).build()?),
            Version::V5 => self
                .connection
                .checked_send(v5_0::Subscribe::builder().packet_id(id).entries(entries).build()?),
        };
        self.handle(events, now);
        Ok(())
    }

    fn subscribed(&mut self, answers: Vec<(bool, String)>) {
        for ((filter, _), (done, why)) in self.filters.iter().zip(answers) {
            if !done {
                self.news.push(News::NotSubscribed { filter: filter.clone(), why });
            }
        }
        self.news.push(News::Accepted);
    }
}

fn timer(kind: TimerKind) -> Option<usize> {
    match kind {
        TimerKind::PingreqSend => Some(PINGREQ),
        TimerKind::PingrespRecv => Some(PINGRESP),
        TimerKind::PingreqRecv => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{FromMqtt, Mapping, ToMqtt};

    #[allow(clippy::disallowed_methods, reason = "a test has to start somewhere")]
    fn client(version: Version) -> (Client, Instant) {
        let mapping = Mapping {
            to_mqtt: vec![ToMqtt::new("a", "b")],
            from_mqtt: vec![FromMqtt { qos: 1, ..FromMqtt::new("net/#", "c") }],
        };
        let config = Config { version, ..Config::new("broker:1883", mapping) };
        let now = Instant::now();
        (Client::connect(&config, "gateway", now).unwrap(), now)
    }

    /// What a broker says that lets us in and takes the subscription with number `id`.
    fn welcome(version: Version, id: u16) -> Vec<u8> {
        let [high, low] = id.to_be_bytes();
        match version {
            Version::V3 => vec![0x20, 2, 0, 0, 0x90, 3, high, low, 1],
            Version::V5 => vec![0x20, 3, 0, 0, 0, 0x90, 4, high, low, 0, 1],
        }
    }

    fn let_in(version: Version) -> (Client, Instant) {
        let (mut client, now) = client(version);
        client.feed(&welcome(version, 1), now);
        assert_eq!(client.take_news(), [News::Accepted]);
        client.take_out();
        (client, now)
    }

    #[test]
    fn a_message_of_quality_1_is_acknowledged_when_we_say_so_and_not_before() {
        let (mut client, now) = let_in(Version::V3);
        client.feed(b"\x32\x0a\x00\x05net/x\x00\x07!", now);
        let received = Received { topic: "net/x".to_owned(), body: b"!".to_vec(), id: Some(7) };
        assert_eq!(client.take_news(), [News::Received(received)]);
        assert_eq!(client.take_out(), b"");
        client.acknowledge(7, now);
        assert_eq!(client.take_out(), b"\x40\x02\x00\x07");
    }

    #[test]
    fn a_message_of_quality_2_ends_the_connection_for_nobody_asked_for_it() {
        for (version, message) in [
            (Version::V3, &b"\x34\x0a\x00\x05net/x\x00\x00!"[..]),
            (Version::V5, b"\x34\x0b\x00\x05net/x\x00\x00\x00!"),
        ] {
            let (mut client, now) = let_in(version);
            client.feed(&[message, message].concat(), now);
            let news = client.take_news();
            assert!(matches!(&news[..], [News::Over(why)] if why.contains("quality 2")), "{news:?}");
        }
    }

    #[test]
    fn what_is_sent_is_counted_until_it_is_acknowledged() {
        let (mut client, now) = let_in(Version::V3);
        let message = Message { topic: "t".to_owned(), body: b"!".to_vec(), retain: false };
        let ids: Vec<_> = (0..WINDOW).map(|_| client.publish(&message, 1, now)).collect();
        assert!(ids.iter().all(|sent| matches!(sent, Published::Sent(Some(_)))) && !client.has_window());
        let Published::Sent(Some(id)) = ids[0] else { panic!("{ids:?}") };
        client.feed(&[&[0x40, 2][..], &id.to_be_bytes()].concat(), now);
        assert_eq!(client.take_news(), [News::Acknowledged(id)]);
        assert!(client.has_window());
    }

    #[test]
    fn a_broker_that_takes_no_large_packets_is_not_sent_any() {
        let (mut client, now) = client(Version::V5);
        // Its answer has the property 27, maximum packet size: 20 bytes.
        client.feed(&[0x20, 8, 0, 0, 5, 0x27, 0, 0, 0, 20], now);
        client.take_out();
        let message = |length| Message { topic: "t".to_owned(), body: vec![0; length], retain: false };
        assert_eq!(client.publish(&message(100), 0, now), Published::TooLarge);
        assert_eq!(client.publish(&message(100), 1, now), Published::TooLarge);
        assert_eq!(client.publish(&message(1), 0, now), Published::Sent(None));
    }

    #[test]
    fn silence_is_noticed_unless_nobody_listens() {
        let (mut client, now) = let_in(Version::V3);
        let asked = now + Duration::from_secs(31);
        client.tick(asked, true);
        assert_eq!(client.take_out(), [0xc0, 0], "a ping");
        client.tick(asked + PATIENCE, false);
        assert_eq!(client.take_news(), []);
        client.tick(asked + PATIENCE * 2, true);
        assert!(matches!(client.take_news()[..], [News::Over(_)]));
    }

    /// Nothing that a broker says may end the process: neither noise, nor what is nearly right.
    #[test]
    fn a_hostile_broker_ends_its_connection_only() {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = move |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 33) as usize % below
        };
        for round in 0..40_000 {
            let version = if round % 2 == 0 { Version::V3 } else { Version::V5 };
            let (mut client, now) = client(version);
            let mut bytes = welcome(version, 1);
            if round % 4 < 2 {
                client.feed(&bytes, now);
                bytes =
                    b"\x32\x0b\x00\x05net/x\x00\x07\x00!\x40\x02\x00\x01\xd0\x00\xe0\x02\x8b\x00".to_vec();
            }
            for _ in 0..random(6) {
                let at = random(bytes.len());
                bytes[at] = random(256) as u8;
            }
            bytes.extend((0..random(40)).map(|_| random(256) as u8));
            let cut = random(bytes.len());
            client.feed(&bytes[..cut], now);
            client.feed(&bytes[cut..], now);
            client.take_news();
        }
    }
}
