// error[E0521]: borrowed data escapes outside of closure
// A message is borrowed from the receive buffer, which the next message is received into.
use multiplane_bus::Bus;
use std::sync::mpsc::Sender;

pub fn keep(bus: &Bus, tell: Sender<&'static [u8]>) {
    let _ = bus.run(move |message, _| {
        let _ = tell.send(message.payload_bytes());
        Ok(())
    });
}
