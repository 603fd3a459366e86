//! The names of the process.

use super::error::{Known, LocalError};
use crate::worker::{after, now};
use multiplane_ring::broadcast::{Carried, Sender};
use std::any::{Any, type_name};
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

struct Entry {
    sender: Box<dyn Any + Send>,
    carries: &'static str,
    name: Arc<str>,
}

static NAMES: Mutex<BTreeMap<Arc<str>, Entry>> = Mutex::new(BTreeMap::new());
static CREATED: Condvar = Condvar::new();

fn names() -> MutexGuard<'static, BTreeMap<Arc<str>, Entry>> {
    NAMES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A backplane as its handles see it.
pub(super) struct Found<T: Carried> {
    pub(super) name: Arc<str>,
    pub(super) sender: Sender<T>,
}

pub(super) fn register<T: Carried>(name: &Arc<str>, sender: &Sender<T>) -> Result<(), LocalError> {
    let mut names = names();
    if names.contains_key(name) {
        return Err(LocalError::Taken { name: name.to_string() });
    }
    let (sender, carries) = (Box::new(sender.clone()), type_name::<T>());
    names.insert(name.clone(), Entry { sender, carries, name: name.clone() });
    CREATED.notify_all();
    Ok(())
}

pub(super) fn deregister(name: &str) {
    names().remove(name);
}

pub(super) fn find<T: Carried>(name: &str) -> Result<Found<T>, LocalError> {
    look_up(&names(), name)
}

/// As [`find`], for a backplane that may be created later.
pub(super) fn wait<T: Carried>(name: &str, timeout: Duration) -> Result<Found<T>, LocalError> {
    let deadline = after(now(), timeout);
    let mut names = names();
    loop {
        let known = match look_up(&names, name) {
            Err(LocalError::Unknown { known, .. }) => known,
            other => return other,
        };
        let left = deadline.saturating_duration_since(now());
        if left.is_zero() {
            return Err(LocalError::NotInTime { name: name.to_owned(), timeout, known });
        }
        names = CREATED.wait_timeout(names, left).unwrap_or_else(PoisonError::into_inner).0;
    }
}

fn look_up<T: Carried>(names: &BTreeMap<Arc<str>, Entry>, name: &str) -> Result<Found<T>, LocalError> {
    let entry = names.get(name).ok_or_else(|| {
        let known = Known(names.keys().map(ToString::to_string).collect());
        LocalError::Unknown { name: name.to_owned(), known }
    })?;
    let sender = entry.sender.downcast_ref::<Sender<T>>().ok_or_else(|| {
        let asked = type_name::<T>();
        LocalError::Carries { name: name.to_owned(), carries: entry.carries, asked }
    })?;
    Ok(Found { name: entry.name.clone(), sender: sender.clone() })
}
