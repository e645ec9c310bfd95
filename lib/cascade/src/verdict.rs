//! What becomes of an attempt, and why.

use serde::{Deserialize, Serialize};

use crate::signals::Signal;

/// What to do with the tokens that are held back. Anything but `Wait` is final.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub enum Verdict {
    /// Hold on: more evidence is to come.
    Wait,
    /// Let the held tokens go to the client, and all that follow.
    Commit(CommitReason),
    /// Drop the attempt.
    Abort(AbortReason),
}

/// Why an attempt was let go.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub enum CommitReason {
    /// The score reached the threshold.
    Sure { score: f64, threshold: f64 },
    /// The tier says too little about its tokens for a score, and nothing in its words speaks against them.
    Plausible,
    /// The policy holds nothing back.
    NotHeld,
}

/// Why an attempt was dropped.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub enum AbortReason {
    /// The score stayed below the threshold.
    Unsure { score: f64, threshold: f64 },
    /// No continuation could have reached the threshold any more.
    Hopeless { bound: f64, threshold: f64 },
    /// A hard signal.
    Signal(Signal),
    /// The tier said nothing about its tokens, so nothing can be said about its answer.
    NoEvidence,
    /// There was no more memory to hold it back in.
    TooLarge,
}

impl Verdict {
    /// The verdict on several answers to one ask, which stay together: one that is dropped drops
    /// all, one that waits holds all, and the least sure speaks for those that are let go.
    pub fn of_choices(verdicts: impl IntoIterator<Item = Self>) -> Self {
        let rank = |verdict: &Self| match verdict {
            Self::Abort(_) => (0, 0.0),
            Self::Wait => (1, 0.0),
            Self::Commit(CommitReason::Plausible) => (2, -1.0),
            Self::Commit(CommitReason::Sure { score, .. }) => (2, *score),
            Self::Commit(CommitReason::NotHeld) => (3, 0.0),
        };
        verdicts
            .into_iter()
            .min_by(|a, b| {
                rank(a)
                    .0
                    .cmp(&rank(b).0)
                    .then(rank(a).1.total_cmp(&rank(b).1))
            })
            .unwrap_or(Self::Wait)
    }
}
