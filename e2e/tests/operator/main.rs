//! What the operator makes of our two kinds on a real API server, without nodes: pods never run
//! here, so the tests say in a Deployment's status what its controller would.

#![allow(clippy::unwrap_used, reason = "what surprises a test ends it")]

mod adapters;
mod between;
mod canaries;
mod engines;
mod faults;
mod leading;
mod objects;
mod policies;
mod process;
mod reports;
mod rights;
mod rollouts;
mod scaling;
mod stand_in;
mod templates;
mod upgrades;
