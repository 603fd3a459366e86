//! Socket options that the `zmq` crate has no setter for.
#![allow(unsafe_code)]

use super::SocketError;
use std::ffi::{c_int, c_void};

/// `ZMQ_XPUB_NODROP`: a full subscriber makes a send fail with `EAGAIN` instead of losing the message silently.
pub(super) fn set_xpub_nodrop(socket: &mut zmq::Socket, nodrop: bool) -> Result<(), SocketError> {
    let value = c_int::from(nodrop);
    // SAFETY: `as_mut_ptr` is the live socket that `socket` owns and that the exclusive borrow keeps for this call;
    // libzmq reads `size_of::<c_int>()` bytes from `value`, which outlives the call, and keeps no pointer to it.
    let result = unsafe {
        zmq_sys::zmq_setsockopt(
            socket.as_mut_ptr(),
            zmq_sys::ZMQ_XPUB_NODROP as c_int,
            (&raw const value).cast::<c_void>(),
            size_of::<c_int>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(SocketError(zmq::Error::EINVAL)) }
}
