// error[E0277]: `Rc<Cell<i32>>` cannot be sent between threads safely
// The handler moves to the worker.
use multiplane_bus::Bus;
use std::cell::Cell;
use std::rc::Rc;

pub fn count(bus: &Bus, count: Rc<Cell<i32>>) {
    let _ = bus.run(move |_, _| {
        count.set(count.get() + 1);
        Ok(())
    });
}
