//! Sockets of others that do what they are told: two versions of libzmq, and a ZMTP peer in pure Python that is neither
//! libzmq nor ours.

pub mod plain;

use crate::process::Process;
use crate::programs::python;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

/// Who has made a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Make {
    /// libzmq 4.3.4, of the crate `zmq`.
    RustZmq,
    /// libzmq 4.3.5, of pyzmq.
    Pyzmq,
    /// Pure Python, ZMTP 3.0.
    Pure30,
    /// Pure Python, ZMTP 3.1.
    Pure31,
}

/// All of them.
pub const MAKES: [Make; 4] = [Make::RustZmq, Make::Pyzmq, Make::Pure30, Make::Pure31];

/// Where sockets come from.
pub struct Foreigners {
    context: zmq::Context,
    python: Rc<RefCell<Process>>,
    next: u64,
}

impl Default for Foreigners {
    fn default() -> Self {
        let mut python = python("foreign.py", []);
        python.after("READY");
        Self { context: zmq::Context::new(), python: Rc::new(RefCell::new(python)), next: 0 }
    }
}

impl fmt::Debug for Foreigners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Foreigners").field("sockets", &self.next).finish_non_exhaustive()
    }
}

/// A socket, of the type `PUB`, `SUB`, `XPUB` or `XSUB`.
pub struct Foreign {
    name: String,
    inner: Inner,
}

enum Inner {
    Rust(zmq::Socket),
    Python(Rc<RefCell<Process>>, u64),
}

/// Bytes by what they are made of, so that millions fit on a line: `(byte, how many)`, one after the other.
fn runs(bytes: &[u8]) -> Vec<(u8, usize)> {
    bytes.chunk_by(|a, b| a == b).map(|run| (run[0], run.len())).collect()
}

impl Foreigners {
    /// A socket that is bound at a loopback port.
    pub fn bind(&mut self, make: Make, kind: &str, port: u16) -> Foreign {
        self.open(make, kind, true, port)
    }

    /// A socket that connects to a loopback port, again and again.
    pub fn connect(&mut self, make: Make, kind: &str, port: u16) -> Foreign {
        self.open(make, kind, false, port)
    }

    fn open(&mut self, make: Make, kind: &str, bound: bool, port: u16) -> Foreign {
        self.next += 1;
        let name = format!("{make:?} {kind}");
        let inner = match make {
            Make::RustZmq => Inner::Rust(self.open_zmq(kind, bound, port)),
            Make::Pyzmq => self.open_python(&json!("pyzmq"), kind, bound, port),
            Make::Pure30 => self.open_python(&json!(0), kind, bound, port),
            Make::Pure31 => self.open_python(&json!(1), kind, bound, port),
        };
        Foreign { name, inner }
    }

    fn open_zmq(&self, kind: &str, bound: bool, port: u16) -> zmq::Socket {
        let kinds = [("PUB", zmq::PUB), ("SUB", zmq::SUB), ("XPUB", zmq::XPUB), ("XSUB", zmq::XSUB)];
        let kind = kinds.into_iter().find(|(name, _)| *name == kind).unwrap().1;
        let socket = self.context.socket(kind).unwrap();
        socket.set_linger(0).unwrap();
        socket.set_reconnect_ivl(20).unwrap();
        socket.set_rcvtimeo(60_000).unwrap();
        socket.set_sndhwm(0).unwrap();
        socket.set_rcvhwm(0).unwrap();
        let endpoint = format!("tcp://127.0.0.1:{port}");
        if bound {
            // The one before is closed in the background.
            crate::clock::eventually("the port is free", || socket.bind(&endpoint).is_ok());
        } else {
            socket.connect(&endpoint).unwrap();
        }
        socket
    }

    fn open_python(&self, make: &Value, kind: &str, bound: bool, port: u16) -> Inner {
        let inner = Inner::Python(self.python.clone(), self.next);
        ask(&self.python, &json!(["open", self.next, make, kind, bound, port]));
        inner
    }
}

#[track_caller]
fn ask(python: &RefCell<Process>, order: &Value) -> Value {
    let mut python = python.borrow_mut();
    python.say(&order.to_string());
    serde_json::from_str(&python.after("DONE")).unwrap()
}

impl Foreign {
    /// Make and type.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Subscribes, or takes that back.
    #[track_caller]
    pub fn tell(&self, subscribe: bool, topic: &[u8]) {
        match &self.inner {
            Inner::Rust(socket) if socket.get_socket_type() == Ok(zmq::SUB) => {
                let told =
                    if subscribe { socket.set_subscribe(topic) } else { socket.set_unsubscribe(topic) };
                told.unwrap();
            }
            Inner::Rust(socket) => socket.send([&[u8::from(subscribe)], topic].concat(), 0).unwrap(),
            Inner::Python(python, id) => drop(ask(python, &json!(["tell", id, subscribe, runs(topic)]))),
        }
    }

    /// libzmq does its part of the work, such as telling a new connection its subscriptions, when it is called.
    pub fn work(&self) {
        match &self.inner {
            Inner::Rust(socket) => drop(socket.get_events().unwrap()),
            Inner::Python(python, id) => drop(ask(python, &json!(["work", id]))),
        }
    }

    /// An `XPUB`: waits until it hears exactly this.
    #[track_caller]
    pub fn hear(&self, subscribe: bool, topic: &[u8]) {
        match &self.inner {
            Inner::Rust(socket) => {
                let wanted = [&[u8::from(subscribe)], topic].concat();
                while socket.recv_bytes(0).expect("a notice") != wanted {}
            }
            Inner::Python(python, id) => {
                let failure = ask(python, &json!(["hear", id, subscribe, runs(topic)]));
                assert!(failure.is_null(), "{}: {failure}", self.name);
            }
        }
    }

    /// Sends a message.
    #[track_caller]
    pub fn send(&self, frames: &[&[u8]]) {
        match &self.inner {
            Inner::Rust(socket) => socket.send_multipart(frames, 0).unwrap(),
            Inner::Python(python, id) => {
                let frames: Vec<_> = frames.iter().map(|frame| runs(frame)).collect();
                ask(python, &json!(["send", id, frames]));
            }
        }
    }

    /// Whether a message with this topic comes now; whatever comes is gone.
    #[track_caller]
    pub fn saw(&self, topic: &[u8]) -> bool {
        match &self.inner {
            Inner::Rust(socket) => {
                socket.poll(zmq::POLLIN, 10).unwrap() > 0 && socket.recv_multipart(0).unwrap()[0] == topic
            }
            Inner::Python(python, id) => ask(python, &json!(["saw", id, runs(topic)])) == true,
        }
    }

    /// Waits for the next message, which must be this one; `None` is any frame. Those whose topic begins with `probe` are
    /// skipped.
    #[track_caller]
    pub fn expect(&self, frames: &[Option<&[u8]>]) {
        match &self.inner {
            Inner::Rust(socket) => {
                let mut got = socket.recv_multipart(0).expect("a message");
                while got[0].starts_with(b"probe") {
                    got = socket.recv_multipart(0).expect("a message");
                }
                let same = got.len() == frames.len()
                    && got.iter().zip(frames).all(|(got, frame)| frame.is_none_or(|frame| got == frame));
                let lengths: Vec<_> = got.iter().map(Vec::len).collect();
                assert!(same, "{}: not what was sent: frames of {lengths:?} bytes", self.name);
            }
            Inner::Python(python, id) => {
                let frames: Vec<_> = frames.iter().map(|frame| frame.map(runs)).collect();
                let failure = ask(python, &json!(["expect", id, frames]));
                assert!(failure.is_null(), "{}: not what was sent: {failure}", self.name);
            }
        }
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        if let Inner::Python(python, id) = &self.inner
            && !std::thread::panicking()
        {
            ask(python, &json!(["close", id]));
        }
    }
}

impl fmt::Debug for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Foreign").field(&self.name).finish()
    }
}
