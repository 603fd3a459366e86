//! The mapping of the MQTT gateway, as it is written in a file.

use multiplane_mqtt::{FromMqtt, Mapping, ToMqtt};

/// It is a mapping, or an error.
pub fn file(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = (Mapping::from_toml(text).is_ok(), ToMqtt::parse(text).is_ok(), FromMqtt::parse(text).is_ok());
}
