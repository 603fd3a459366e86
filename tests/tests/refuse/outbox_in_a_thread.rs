// error[E0521]: borrowed data escapes outside of closure
// An outbox publishes straight into the sockets of its worker, and one thread touches a socket.
use multiplane_bus::Bus;

pub fn leak(bus: &Bus) {
    let _ = bus.run(|message, outbox| {
        let backplane = message.backplane();
        std::thread::spawn(move || outbox.publish(backplane, "late", "too late").is_ok());
        Ok(())
    });
}
