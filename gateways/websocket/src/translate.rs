//! Messages of clients to those of the bus and back, without a socket.

mod incoming;
mod outgoing;

pub(crate) use incoming::{First, Request, body_of, first, packed, parse, payload_of, reports_of};
pub(crate) use outgoing::{Copies, Reply, dropped, error, ok, raw, welcome};

use bytes::Bytes;
use multiplane_codec::msgpack::json;
use multiplane_codec::{Limits, View};
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Data, OpCode};

/// What clients may send: deep enough for any honest message, and not so many values that one costs much.
pub(crate) const LIMITS: Limits = Limits { depth: 128, items: 200_000, bytes: 64 << 20 };

/// How a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// JSON in text frames.
    Json,
    /// MessagePack in binary frames.
    Msgpack,
}

impl Form {
    /// A whole frame with this body. Frames of a server are not masked, so one serves all clients.
    pub(crate) fn frame(self, body: &[u8]) -> Bytes {
        let kind = match self {
            Form::Json => Data::Text,
            Form::Msgpack => Data::Binary,
        };
        let header = FrameHeader { opcode: OpCode::Data(kind), ..FrameHeader::default() };
        let mut frame = Vec::with_capacity(body.len() + 10);
        // Writing into memory does not fail.
        let _ = header.format(body.len() as u64, &mut frame);
        frame.extend_from_slice(body);
        frame.into()
    }

    /// A frame with this MessagePack in the client's own form.
    pub(crate) fn frame_of(self, packed: &[u8]) -> Bytes {
        match self {
            Form::Msgpack => self.frame(packed),
            Form::Json => {
                let mut text = Vec::with_capacity(packed.len() * 2);
                // What we wrote ourselves has a form; what it carries along was checked.
                if let Ok(view) = View::parse(packed, &Limits::default()) {
                    let _ = json::from_msgpack_tagged(view, &mut text);
                }
                self.frame(&text)
            }
        }
    }
}

#[cfg(test)]
mod tests;
