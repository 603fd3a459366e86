// error: unused return value of `Bus::close` that must be used
// The report says what could not be sent.
#![deny(unused_must_use)]
use multiplane_bus::Bus;
use std::time::Duration;

pub fn close(bus: Bus) {
    bus.close(Duration::from_secs(1));
}
