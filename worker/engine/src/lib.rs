//! Writes answers with a model: queue, schedule, sampling, evidence, stop strings, forms.
//!
//! [`Engine`] is the handle; one thread owns the model behind it. Token ids go to that thread and
//! come back; text is made of them in the task of whoever reads the [`Answer`]. What an answer may
//! be is worked out beside it, on a thread that computes masks.

mod answer;
mod blocks;
mod call_reader;
mod constraint;
mod embed;
mod engine;
mod guide;
mod json;
mod penalties;
mod random;
mod request;
mod row;
mod sample;
mod schedule;
mod score;
mod screen;
mod sequence;
mod step;
mod stop;
mod thinking;
mod thread;
mod write;

pub use answer::{Answer, Event, Interrupted, Showing};
pub use call_reader::{CallPiece, Written};
pub use constraint::{Constraint, ConstraintError, Constraints, Form, in_one_line};
pub use engine::{Ended, Engine, EngineOptions, Load, Refused, StartError};
pub use guide::{Begin, Calls, Guide};
pub use penalties::Penalties;
pub use request::{
    Embedding, End, Evidence, Marks, Origin, Scores, Scoring, Token, Writing, WritingLimits,
};
pub use sample::Sampling;
pub use score::common_prefix;
pub use screen::Shown;
pub use step::StepError;
pub use thinking::{Left, Thinking};
/// The model side, so that whoever starts an engine names the same version of it.
pub use weir_model as model;
