//! Ctrl-C, and SIGTERM with it: every command ends in under a second, whatever it waits for.

use crate::clock::now;
use crate::failure::Failure;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

/// A command that closes its links in an orderly way has this long, then it is ended.
const GRACE: Duration = Duration::from_millis(750);

/// Whether somebody asked the command to end.
pub(crate) struct Shutdown {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    watched: AtomicBool,
    requested: Mutex<bool>,
    changed: Condvar,
}

impl Shutdown {
    /// From now on the signals come here. Until [`watch`](Self::watch) is called they end the process at once, so that
    /// a command may wait for anything (links, its input) before it has something to put in order.
    pub(crate) fn install() -> Result<Self, Failure> {
        let shared = Arc::new(Shared::default());
        let unavailable = |error| Failure::Failed(format!("cannot listen for Ctrl-C: {error}"));
        let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(unavailable)?;
        let seen = shared.clone();
        let listen = move || {
            if signals.forever().next().is_none() {
                return;
            }
            if seen.watched.load(Ordering::SeqCst) {
                *lock(&seen.requested) = true;
                seen.changed.notify_all();
                // Nothing is ever sent: this is the time the command has.
                let (_kept, never) = mpsc::channel::<()>();
                let _ = never.recv_timeout(GRACE);
            }
            std::process::exit(i32::from(Failure::Interrupted.code()));
        };
        std::thread::Builder::new().name("signals".to_owned()).spawn(listen).map_err(unavailable)?;
        Ok(Self { shared })
    }

    /// Promises to look at [`requested`](Self::requested), or to wait here only.
    pub(crate) fn watch(&self) {
        self.shared.watched.store(true, Ordering::SeqCst);
    }

    pub(crate) fn requested(&self) -> bool {
        *lock(&self.shared.requested)
    }

    /// Waits until it is asked for.
    pub(crate) fn wait(&self) {
        let requested = lock(&self.shared.requested);
        drop(self.shared.changed.wait_while(requested, |requested| !*requested));
    }

    /// Waits until `due`, or until it is asked for, and then says true.
    pub(crate) fn wait_until(&self, due: Instant) -> bool {
        let left = due.saturating_duration_since(now());
        let requested = lock(&self.shared.requested);
        if left.is_zero() {
            return *requested;
        }
        let waited = self.shared.changed.wait_timeout_while(requested, left, |requested| !*requested);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

fn lock(flag: &Mutex<bool>) -> MutexGuard<'_, bool> {
    flag.lock().unwrap_or_else(PoisonError::into_inner)
}
