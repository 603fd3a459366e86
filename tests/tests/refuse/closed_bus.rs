// error[E0382]: borrow of moved value: `bus`
// A bus that was closed is gone.
use multiplane_bus::Bus;
use std::time::Duration;

pub fn twice(bus: Bus) {
    let report = bus.close(Duration::from_secs(1));
    println!("{:?} {:?}", report.unsent, bus.stats());
}
