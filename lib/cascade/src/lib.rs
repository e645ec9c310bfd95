//! The confidence cascade: what a small model's tokens say about its answer, and whether to let
//! the answer go, to wait, or to ask a bigger model.
//!
//! Everything here is a function of its arguments: no I/O, no clock, no randomness. The same
//! tokens give the same verdict, so a decision can be replayed from its record.
//!
//! ```
//! use weir_cascade::{Asked, Attempt, Config, FinishReason, Task, Token, Verdict};
//!
//! let config = Config { task: Some(Task::Choice), threshold: Some(0.9), ..Config::default() };
//! let mut attempt = Attempt::new(config, Asked::default());
//! attempt.observe(&Token { logprob: -0.01, margin: 4.6, entropy: Some(0.05), ..Token::default() });
//! attempt.text("billing");
//! assert_eq!(attempt.checkpoint(), Verdict::Wait);
//! assert!(matches!(attempt.finish(FinishReason::Stop), Verdict::Commit(_)));
//! ```
//!
//! Invariants:
//! - a verdict other than `Wait` is final;
//! - an early abort is never wrong about the threshold: it happens only where no continuation
//!   whatever could have reached it, but for a call of a tool behind words that were hopeless;
//! - an attempt takes the same memory after a million tokens as after a hundred.

mod attempt;
mod evidence;
mod fitted;
mod histogram;
mod linear;
mod schema;
mod score;
mod signals;
mod skip;
mod task;
mod verdict;
mod window;

pub use attempt::{Attempt, AttemptRecord, Checkpoint, Config, FinishReason, HoldBack};
pub use evidence::{Evidence, Snapshot, Spread, Token};
pub use fitted::{FEATURES, Fitted, WEIGHTS};
pub use linear::Unfit;
pub use schema::{Effort, fits};
pub use score::{bound, score};
pub use signals::{Signal, Signals};
pub use skip::{SKIP_FEATURES, SKIP_WEIGHTS, Skip, Skipping};
pub use task::{Asked, Task};
pub use verdict::{AbortReason, CommitReason, Verdict};
