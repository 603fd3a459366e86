//! Bounded queues with crossbeam's verbs: `send` waits, `try_send` never waits, `send_timeout` waits so long.
//!
//! A re-export, so that the rest of the workspace names one place when the queue behind these verbs changes.

pub use crossbeam_channel::{
    Receiver, RecvError, RecvTimeoutError, SendError, SendTimeoutError, Sender, TryIter, TryRecvError,
    TrySendError, bounded,
};
