//! Writes answers with a model: queue, schedule, sampling, evidence, stop strings.
//!
//! [`Engine`] is the handle; one thread owns the model behind it. Token ids go to that thread and
//! come back; text is made of them in the task of whoever reads the [`Answer`].

mod answer;
mod blocks;
mod engine;
mod penalties;
mod random;
mod request;
mod row;
mod sample;
mod schedule;
mod score;
mod sequence;
mod step;
mod stop;
mod thread;
mod write;

pub use answer::{Answer, Event, Interrupted, Showing};
pub use engine::{Ended, Engine, EngineOptions, Load, Refused, StartError};
pub use penalties::Penalties;
pub use request::{End, Evidence, Origin, Scoring, Token, Writing, WritingLimits};
pub use sample::Sampling;
pub use score::common_prefix;
pub use step::StepError;
/// The model side, so that whoever starts an engine names the same version of it.
pub use weir_model as model;
