//! Bytes and meaning for Multiplane: what a payload says, and how to say it so that every peer understands.
//!
//! | room | holds |
//! |---|---|
//! | [`msgpack`] | MessagePack: [`encode`], [`View`] (borrowed reading), [`decode`] (into your types), [`Value`] (owned tree), [`Limits`] |
//! | [`msgpack::numpy`] | NumPy arrays as msgpack-numpy writes them |
//! | [`msgpack::json`] | JSON to MessagePack and back, without a tree in between |
//! | [`zmtp`] | the wire of ZeroMQ: handshake, frames, commands |
//! | [`framing`] | messages on a byte stream: a length in front, or a line each |
//!
//! Nothing here opens a socket, starts a thread or reads a clock. What arrives is judged before it is used:
//! no code recurses over input, no declared length is believed (so none allocates), and every error says
//! where and why.
#![forbid(unsafe_code)]

pub mod framing;
pub mod msgpack;
pub mod zmtp;

pub use msgpack::{DecodeError, EncodeError, Limits, Value, View, decode, encode};
