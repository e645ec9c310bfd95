//! How a new revision takes over: steps of traffic, a guard that may be looked at every second, and how many
//! replicas either revision has meanwhile. Decisions only; `docs/rollouts.md` has the numbers.
//!
//! * [`settings`]: `spec.rollout`, checked.
//! * [`step`]: one look: from the state, the spec and the facts to the next state and what is to be.
//! * [`state`]: what is kept between looks, in a ConfigMap.
//! * [`reason`]: why a rollout stands where it stands.
//! * [`replicas`]: how many replicas either revision is to have.
//! * [`order`]: the annotation by which people end a rollout.
//! * [`heard`]: from the sums that routers report to what is new.
//! * [`guard`] and [`rate`]: what is held against a canary, and the test of one rate.
//!
//! A leader does the same every second: hears the routers ([`heard::Heard::news`]), takes a look
//! ([`step::advance`]), **first** writes the state where that matters ([`state::State::is_worth_writing`]) and
//! only then brings about what the target says. So whatever is lost between two writes, the next look begins
//! from a state that was written and asks for the same.

pub mod guard;
pub mod heard;
pub mod order;
pub mod rate;
pub mod reason;
pub mod replicas;
pub mod settings;
pub mod state;
pub mod step;
mod trial;
