// error[E0373]: closure may outlive the current function, but it borrows `count`
// The handler moves to the worker's thread.
use multiplane_bus::Bus;

pub fn count(bus: &Bus) {
    let mut count = 0;
    let _ = bus.run(|_, _| {
        count += 1;
        Ok(())
    });
}
