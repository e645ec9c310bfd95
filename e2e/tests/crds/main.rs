//! What the API server makes of our two kinds: which objects it refuses and why, what it fills in,
//! and what kubectl shows of them.

#![allow(clippy::unwrap_used, reason = "what surprises a test ends it")]

mod acceptance;
mod every_field;
mod health;
mod kubectl;
mod ownership;
mod parsing;
mod refusal;
mod refused_deployments;
mod refused_policies;
