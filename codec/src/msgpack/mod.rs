//! MessagePack, byte for byte as Python's `msgpack` writes it.
//!
//! The format is <https://github.com/msgpack/msgpack/blob/master/spec.md>; comments name its sections.
//!
//! ```
//! use multiplane_codec::{Limits, View, encode};
//!
//! let mut buffer = Vec::new();
//! encode::Writer::new(&mut buffer).map(1).str("message_number")?.uint(0);
//!
//! let payload = View::parse(&buffer, &Limits::default())?;
//! assert_eq!(payload.get("message_number")?.as_u64(), Some(0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod decode;
pub mod encode;
pub mod json;
mod limits;
pub mod numpy;
mod python;
mod serialize;
mod text;
mod token;
mod value;
mod value_serde;
mod view;

pub use decode::{DecodeError, decode};
pub use encode::EncodeError;
pub use limits::Limits;
pub use python::{PythonRefuses, accepted_by_python};
pub use value::Value;
pub use view::{Entries, Items, Kind, View};
