//! What measurements need of this crate so that raw libzmq is measured at its best. Nobody else has business here.

/// Sets `ZMQ_XPUB_NODROP` on a PUB or XPUB socket: sending waits for a full subscriber instead of losing the message.
///
/// # Errors
/// When libzmq refuses.
pub fn set_xpub_nodrop(socket: &mut zmq::Socket) -> std::io::Result<()> {
    Ok(super::options::set_xpub_nodrop(socket, true)?)
}
