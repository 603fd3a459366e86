//! libzmq alone, with its defaults, as programs have it that use nothing else.

use std::fmt;
use std::time::Duration;

/// Forwards between two loopback ports until the process ends.
///
/// # Errors
/// libzmq's.
pub fn forward(subscriber_port: u16, publisher_port: u16) -> Result<(), zmq::Error> {
    let context = zmq::Context::new();
    let (front, back) = (context.socket(zmq::XSUB)?, context.socket(zmq::XPUB)?);
    front.bind(&format!("tcp://127.0.0.1:{publisher_port}"))?;
    back.bind(&format!("tcp://127.0.0.1:{subscriber_port}"))?;
    zmq::proxy(&front, &back)
}

/// A socket that connects to a loopback port, and comes again when the connection is lost.
pub struct Plain(zmq::Socket);

impl Plain {
    /// One that publishes: an `XPUB`, which is a `PUB` that can be asked what is wanted.
    #[must_use]
    pub fn publisher(port: u16) -> Self {
        Self::connected(zmq::XPUB, port)
    }

    /// One that wants all messages whose topic begins so.
    #[must_use]
    pub fn subscriber(port: u16, topics: &[&[u8]]) -> Self {
        let socket = Self::connected(zmq::SUB, port);
        topics.iter().for_each(|topic| socket.0.set_subscribe(topic).unwrap());
        socket
    }

    fn connected(kind: zmq::SocketType, port: u16) -> Self {
        let socket = zmq::Context::new().socket(kind).unwrap();
        // Or a test would end only when its peers have taken all.
        socket.set_linger(0).unwrap();
        socket.connect(&format!("tcp://127.0.0.1:{port}")).unwrap();
        Self(socket)
    }

    /// Waits until somebody wants exactly this prefix; whether that came in time.
    pub fn await_wanted(&self, topic: &[u8], timeout: Duration) -> bool {
        let wanted = [&[1], topic].concat();
        while let Some(notice) = self.recv(timeout) {
            if notice[0] == wanted {
                return true;
            }
        }
        false
    }

    /// Sends, or drops without a word, as libzmq does.
    pub fn send(&self, frames: &[&[u8]]) {
        self.0.send_multipart(frames, 0).unwrap();
    }

    /// The next message, if one comes in time.
    pub fn recv(&self, timeout: Duration) -> Option<Vec<Vec<u8>>> {
        let ready = self.0.poll(zmq::POLLIN, i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX)).unwrap();
        (ready > 0).then(|| self.0.recv_multipart(0).unwrap())
    }
}

impl fmt::Debug for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Plain")
    }
}
