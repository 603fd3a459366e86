//! Both engines of the backplane, seen from the wire: by peers that speak ZMTP by hand, and by libzmq.
#![allow(missing_docs)]

mod hostile;
mod limits;
mod policies;
mod raw;
mod wire;
mod workers;
mod zmq_peers;
