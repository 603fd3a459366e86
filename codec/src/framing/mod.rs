//! Messages on a byte stream.
