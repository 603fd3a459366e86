//! What is wanted: the wishes of subscribers come in here, and go on to the publishers.

use super::chunk::Input;
use super::connection::Side;
use super::forwarder::Forwarder;
use multiplane_codec::zmtp::command::{self, Command};
use multiplane_codec::zmtp::frame::{self, Found};
use std::io::{Read, Write};

impl<S: Read + Write> Forwarder<S> {
    /// A handshake is done: a publisher hears all that is wanted, and last the marker.
    pub(super) fn greet(&mut self, id: u32) {
        self.peers.established(id);
        let Some(peer) = self.peers.get_mut(id) else { return };
        if let (Side::Publisher, Some(theirs)) = (peer.side, peer.peer()) {
            let mut frames = Vec::new();
            for topic in self.wanted.prefixes().chain([crate::io::SYNC_MARKER.to_vec()]) {
                command::write_subscription(&mut frames, theirs.minor, true, &topic);
            }
            peer.queue.push_control(&frames);
            self.peers.mark_dirty(id);
        }
        self.show();
    }

    /// Takes the wishes of a subscriber.
    pub(super) fn hear(&mut self, id: u32, input: &mut Input) -> Result<(), String> {
        let limit = self.budget.subscription_topic_bytes + 64;
        loop {
            let found = frame::find(input, limit).map_err(|error| error.to_string())?;
            let (total, wish) = match found {
                Found::Incomplete => return Ok(()),
                Found::Command { body, total } => match command::parse(&input[body..total]) {
                    Some(Command::Subscribe(topic)) => (total, Some((true, topic.to_vec()))),
                    Some(Command::Cancel(topic)) => (total, Some((false, topic.to_vec()))),
                    Some(other) => {
                        self.answer(id, &other)?;
                        (total, None)
                    }
                    None => return Err("a command that is none".to_owned()),
                },
                // The form of ZMTP 3.0, and of an XSUB at any version.
                Found::Message { topic, topic_length, total } => match input[topic..topic + topic_length] {
                    [1, ref topic @ ..] => (total, Some((true, topic.to_vec()))),
                    [0, ref topic @ ..] => (total, Some((false, topic.to_vec()))),
                    _ => (total, None),
                },
            };
            input.consume(total);
            match wish {
                Some((true, topic)) => self.subscribe(id, &topic)?,
                Some((false, topic)) => {
                    self.router.forget();
                    if let Some(team) = &mut self.team {
                        team.unsubscribed(&topic, id);
                    }
                    if self.wanted.remove(&topic, id) {
                        self.tell_publishers(false, &topic);
                    }
                }
                None => {}
            }
        }
    }

    /// libzmq sends every repeat of a subscription but only one CANCEL, after the last, and its XPUB knows a prefix of a
    /// peer or not. So repeats of one peer do not count here either.
    pub(super) fn subscribe(&mut self, id: u32, topic: &[u8]) -> Result<(), String> {
        if self.wanted.contains(topic, id) {
            return Ok(());
        }
        let limit = self.budget.subscription_topic_bytes;
        if topic.len() > limit {
            return Err(format!("a subscription of {} bytes is over the limit of {limit}", topic.len()));
        }
        let most = self.budget.subscriptions_per_peer;
        if self.wanted.held_by(id) >= most {
            return Err(format!(
                "it has {most} subscriptions, and wants more: use shorter prefixes, or raise the limit"
            ));
        }
        if let Some(peer) = self.peers.get_mut(id) {
            peer.note_topic(topic);
        }
        self.router.forget();
        if let Some(team) = &mut self.team {
            team.subscribed(topic, id).map_err(|error| error.to_string())?;
        }
        if self.wanted.add(topic, id).map_err(|error| error.to_string())? {
            self.tell_publishers(true, topic);
        }
        Ok(())
    }

    /// PING, and commands that need no answer.
    pub(super) fn answer(&mut self, id: u32, command: &Command<'_>) -> Result<(), String> {
        match command {
            Command::Ping { context, .. } => {
                let Some(side) = self.peers.get(id).map(|peer| peer.side) else { return Ok(()) };
                let limit = self.control_limit(side);
                let Some(peer) = self.peers.get_mut(id) else { return Ok(()) };
                if peer.queue.control() > limit {
                    return Err("it asks for answers and does not read them".to_owned());
                }
                let mut pong = Vec::new();
                command::write_pong(&mut pong, context);
                peer.queue.push_control(&pong);
                self.peers.mark_dirty(id);
                Ok(())
            }
            Command::Error(reason) => Err(format!("the peer says: {}", String::from_utf8_lossy(reason))),
            _ => Ok(()),
        }
    }

    pub(super) fn tell_publishers(&mut self, subscribe: bool, topic: &[u8]) {
        self.weigh(subscribe, topic);
        self.upstream.iter_mut().for_each(|told| told.push((subscribe, topic.to_vec())));
        let mut frames = [Vec::new(), Vec::new()];
        for (minor, frame) in (0..).zip(&mut frames) {
            command::write_subscription(frame, minor, subscribe, topic);
        }
        self.peers.tell_publishers([&frames[0], &frames[1]]);
        self.show();
    }
}
