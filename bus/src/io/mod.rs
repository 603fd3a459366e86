//! The transports behind a worker. Everything that knows libzmq is in [`zmq`]; nothing above sees its types.

pub(crate) mod zmq;
