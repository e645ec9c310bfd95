//! Why a rollout stands where it stands: for conditions, Events and people.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use weir_crds::reasons;
use weir_crds::value::duration_text;

use super::guard::Failure;

/// Why a rollout stands where it stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Reason {
    /// What the spec asks for serves.
    Serving,
    /// It serves from this look on.
    Promoted(How),
    /// Replicas of the canary are not ready: so many of so many.
    Starting { ready: u32, needed: u32 },
    /// The step lasts longer.
    Stepping { step: u32, left: Duration },
    /// The step waits for asks.
    FewAsks { of: Side, asks: u64, needed: u64 },
    /// The step has waited for them for as long as it may, and goes on waiting.
    NoTraffic { of: Side, asks: u64, needed: u64 },
    /// There are no replicas, and the trial goes on when there are some.
    Asleep,
    /// It gets all replicas: so many of so many are ready.
    TakingOver { ready: u32, needed: u32 },
    /// What was on trial gives back what it took over: so many of so many stable replicas are ready.
    HandingBack { ready: u32, needed: u32 },
    /// The old ones stop first: so many are left.
    Stopping { left: u32 },
    /// The canary failed, and a person is to say what becomes of it.
    Paused(Failure),
    /// It was rolled back, in this look or before.
    RolledBack(Why),
}

/// Which of the two has had too few asks to be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Canary,
    Stable,
}

/// By what a revision came to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// It held what it must, or needed not to.
    Passed,
    /// There were too few asks, and the spec says to go on.
    WithoutTraffic,
    /// A person said so.
    Ordered,
    /// There was none before, or it never served.
    First,
    /// There were no replicas.
    AtZero,
}

/// Why a revision was rolled back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Why {
    /// A person said so.
    Ordered,
    Failed(Failure),
}

impl Reason {
    /// As a condition's reason.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Serving | Self::Promoted(_) => reasons::SERVING,
            Self::Paused(_) | Self::RolledBack(Why::Failed(_)) => reasons::CANARY_FAILED,
            Self::RolledBack(Why::Ordered) => reasons::ROLLED_BACK,
            _ => reasons::ROLLING_OUT,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Serving => f.write_str("the revision of the spec serves"),
            Self::Promoted(how) => write!(f, "the revision of the spec serves: {how}"),
            Self::Starting { ready, needed } => {
                write!(f, "{ready} of {needed} replicas of the canary are ready")
            }
            Self::Stepping { step, left } => {
                let left = duration_text(*left);
                write!(f, "step {} lasts {left} more", step + 1)
            }
            Self::FewAsks { of, asks, needed } => {
                write!(f, "{of} has had {asks} of {needed} asks in this step")
            }
            Self::NoTraffic { of, asks, needed } => write!(
                f,
                "{of} has had {asks} of {needed} asks in maxStepWait and waits: guard.onNoTraffic"
            ),
            Self::Asleep => f.write_str("there are no replicas: the trial goes on when there are"),
            Self::TakingOver { ready, needed } => {
                write!(
                    f,
                    "the canary takes over: {ready} of {needed} replicas are ready"
                )
            }
            Self::HandingBack { ready, needed } => write!(
                f,
                "{ready} of {needed} replicas of the stable revision are ready, and what was on trial serves until they are"
            ),
            Self::Stopping { left } => {
                write!(f, "{left} replicas of the old revision are to stop first")
            }
            Self::Paused(failure) => write!(
                f,
                "{failure}; the canary gets no asks until weir.dev/rollout says promote@ or rollback@"
            ),
            Self::RolledBack(Why::Failed(failure)) => write!(f, "{failure}; it was rolled back"),
            Self::RolledBack(Why::Ordered) => f.write_str("it was rolled back by weir.dev/rollout"),
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Canary => "the canary",
            Self::Stable => "the stable revision",
        })
    }
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Passed => "all of its replicas are ready",
            Self::WithoutTraffic => {
                "it saw too few asks in maxStepWait, and guard.onNoTraffic says to promote"
            }
            Self::Ordered => "weir.dev/rollout said so",
            Self::First => "none served before",
            Self::AtZero => "there were no replicas",
        })
    }
}
