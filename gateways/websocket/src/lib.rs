//! Browsers on the bus: a WebSocket gateway that Python Banyan's web components know, a protocol with topics for new
//! ones, and a page that shows what passes.
#![forbid(unsafe_code)]

/// The page.
pub const PAGE: &str = include_str!("../page/index.html");
