use std::time::Duration;

/// How a worker waits when it has nothing to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wait {
    /// Sleep in `poll` at once: an idle component uses no CPU. The default.
    #[default]
    Block,
    /// Look again and again without sleeping for `before_block` after the last piece of work, then block. Saves the
    /// wake-up latency of the operating system (tens of microseconds) for the price of a core. Never run more
    /// spinning workers than there are free cores.
    Spin {
        /// How long to spin after the last piece of work.
        before_block: Duration,
    },
}
