//! A pyzmq peer that does what it is told: raw frames in and out, on the libzmq that pyzmq brings.

use crate::process::Process;
use crate::programs::python;
use serde_json::{Value, json};

/// Some bytes, by what they are made of, so that ten megabytes fit on a line: `(byte, how many)`, one after the other.
pub type Runs = Vec<(u8, usize)>;

/// A Python process with one publishing and one subscribing socket.
#[derive(Debug)]
pub struct Peer(Process);

impl Peer {
    /// Starts one that is connected to a backplane at these ports.
    #[must_use]
    pub fn start(ports: &[String; 2]) -> Self {
        let mut process = python("peer.py", ports.iter().map(String::as_str));
        process.after("READY");
        Self(process)
    }

    fn ask(&mut self, order: &Value) -> Value {
        self.0.say(&order.to_string());
        serde_json::from_str(&self.0.after("DONE")).unwrap()
    }

    /// Subscribes to all topics that begin with `topic`.
    pub fn subscribe(&mut self, topic: &[u8]) {
        self.ask(&json!(["subscribe", runs(topic)]));
    }

    /// Takes one subscription back.
    pub fn unsubscribe(&mut self, topic: &[u8]) {
        self.ask(&json!(["unsubscribe", runs(topic)]));
    }

    /// Waits until its publishing socket has been asked for exactly this prefix.
    pub fn await_wanted(&mut self, prefix: &[u8]) {
        self.ask(&json!(["await_wanted", runs(prefix)]));
    }

    /// Waits until nobody asks for this prefix any more.
    pub fn await_unwanted(&mut self, prefix: &[u8]) {
        self.ask(&json!(["await_unwanted", runs(prefix)]));
    }

    /// Sends one message.
    pub fn send(&mut self, frames: &[&[u8]]) {
        self.ask(&json!(["send", frames.iter().map(|frame| runs(frame)).collect::<Vec<_>>()]));
    }

    /// Waits for the next message; its frames.
    #[track_caller]
    pub fn recv(&mut self) -> Vec<Vec<u8>> {
        let frames: Vec<Runs> = serde_json::from_value(self.ask(&json!(["recv"]))).unwrap();
        frames.into_iter().map(expand).collect()
    }
}

fn runs(bytes: &[u8]) -> Runs {
    bytes.chunk_by(|a, b| a == b).map(|run| (run[0], run.len())).collect()
}

fn expand(runs: Runs) -> Vec<u8> {
    runs.into_iter().flat_map(|(byte, count)| std::iter::repeat_n(byte, count)).collect()
}
