//! The bus of a gateway.

use multiplane_bus::{Budget, Bus, OnFull, RoutingSpec, StartError};
use std::time::Duration;

/// Starts a component of this name on all backplanes of `routing`, which need not be there yet. At most `queue` messages
/// wait for the foreign side; beyond, the oldest make way and are counted.
///
/// # Errors
/// [`StartError`].
pub fn start_bus(name: &str, routing: RoutingSpec, queue: usize) -> Result<Bus, StartError> {
    let defaults = Budget::default();
    let drain_batch = defaults.drain_batch.min(queue);
    let budget = Budget { inbox: queue, drain_batch, ..defaults };
    let bus = Bus::builder(name).routing(routing).budget(budget).on_full(OnFull::DropOldest);
    bus.start_deadline(Duration::ZERO).start()
}
