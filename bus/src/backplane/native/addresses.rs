//! How many connections each other host has: one alone must not take all places.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Connections by where they come from: for whatever listens, backplanes and gateways.
///
/// ```
/// use multiplane_bus::Addresses;
///
/// let (addresses, host) = (Addresses::default(), [192, 0, 2, 1].into());
/// let place = addresses.enter(host, 1);
/// assert!(place.is_some() && addresses.enter(host, 1).is_none());
/// drop(place);
/// assert!(addresses.enter(host, 1).is_some());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Addresses(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// A place that a connection holds until it is dropped, by whichever worker.
#[derive(Debug)]
pub struct Place {
    addresses: Addresses,
    address: IpAddr,
}

impl Addresses {
    /// A place for one more connection from `address`, if it has fewer than `limit`.
    #[must_use]
    pub fn enter(&self, address: IpAddr, limit: usize) -> Option<Place> {
        let address = address.to_canonical();
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if *count >= limit {
            return None;
        }
        *count += 1;
        Some(Place { addresses: self.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.addresses.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.get_mut(&self.address).map(|count| {
            *count = count.saturating_sub(1);
            *count
        });
        // Whoever is gone is forgotten, or the table would grow with all that ever came.
        if count == Some(0) {
            counts.remove(&self.address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_does_not_take_the_places_of_another() {
        let addresses = Addresses::default();
        let [one, other]: [IpAddr; 2] = ["192.0.2.1", "2001:db8::1"].map(|address| address.parse().unwrap());
        let mut places: Vec<_> = (0..3).map(|_| addresses.enter(one, 3).expect("there is room")).collect();
        assert!(addresses.enter(one, 3).is_none());
        assert!(addresses.enter("::ffff:192.0.2.1".parse().unwrap(), 3).is_none(), "it is the same one");
        assert!(addresses.enter(other, 3).is_some());
        places.pop();
        assert!(addresses.enter(one, 3).is_some());
        drop(places);
        assert!(addresses.0.lock().unwrap().is_empty(), "nobody is there, and nobody is remembered");
    }
}
