//! The bus of a gateway.

use multiplane_bus::{Budget, Builder, Bus, OnFull, StartError};
use std::time::Duration;

/// Starts `component`, whose backplanes need not be there yet. At most `queue` messages wait for the foreign side;
/// beyond, the oldest make way and are counted.
///
/// # Errors
/// [`StartError`].
pub fn start_bus(component: Builder, queue: usize) -> Result<Bus, StartError> {
    let defaults = Budget::default();
    let drain_batch = defaults.drain_batch.min(queue);
    let budget = Budget { inbox: queue, drain_batch, ..defaults };
    component.budget(budget).on_full(OnFull::DropOldest).start_deadline(Duration::ZERO).start()
}
