//! Replicas of `weir up`, with real workers: they come and go with the asks, are killed while they write, and end last.
#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

mod ending;
mod lost;
mod scaling;
mod up;
