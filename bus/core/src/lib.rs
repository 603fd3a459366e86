//! The decisions of Multiplane, without the doing.
//!
//! Nothing here opens a socket, starts a thread or reads a clock: bytes, events and the current time come in as
//! arguments, verdicts go out as values. So every rule of the bus can be tested by calling a function.
//! (The one exception is [`RoutingSpec::from_path`], which reads a file because everybody would write that line.)
//!
//! | room | the question it answers |
//! |---|---|
//! | [`routing`] | which backplanes does this component link to, and with which topics? |
//! | [`subscriptions`] | who wants this message, and must the wish go upstream? |
//! | [`recent`] | what was found out about this topic the last time? |
//! | [`trailer`] | was a message lost between its publisher and here? |
//! | [`link`] | is this link up, since when, and is that news? |
//! | [`budget`] | how much of anything may there be? |
#![forbid(unsafe_code)]

pub mod budget;
pub mod link;
pub mod recent;
pub mod routing;
pub mod subscriptions;
pub mod trailer;

pub use budget::{Budget, BudgetError};
pub use link::{LinkLife, LinkState, Transition};
pub use recent::RecentTopics;
pub use routing::{Route, RoutingError, RoutingSpec, RoutingSpecBuilder};
pub use subscriptions::{SubscriptionError, Subscriptions};
pub use trailer::{GapTracker, Observation, Sequencer, Trailer};
