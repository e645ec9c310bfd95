//! What is kept of a rollout between two looks: as JSON in a ConfigMap that the leader owns.
//!
//! It wins over labels and status, which are made from it. Where it is lost, labels say which revision is
//! stable, a trial begins again with its first step, and what was rolled back is tried once more.
//!
//! Time is kept as the time for which the canary has had its weight, added up look by look and at most
//! [`LONGEST_LOOK`] at a time: a clock that leaps forward, or a leader that was away, brings a step no closer
//! to its end than that, and one that leaps back only stops a step for one look.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::guard::{Failure, Guard};
use super::order::{Order, Wish};
use super::reason::{Reason, Why};
use super::settings::Settings;
use super::step::Facts;

/// The most that one look brings a step forward.
pub const LONGEST_LOOK: Duration = Duration::from_secs(15);
/// A state that only went on is written so often.
pub const WRITE_EVERY: Duration = Duration::from_secs(30);

/// A rollout, or the rest between two.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// The revision that serves; empty before the first look.
    pub stable: String,
    /// Whether it ever had a replica that was ready. What never served is replaced at once.
    pub has_served: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trial: Option<Trial>,
    /// What was rolled back, and is not tried again while the spec asks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refused>,
    /// What is on trial no more, and serves until the stable revision has all that is wanted again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hands_back: Option<String>,
    /// Which revision an order has promoted that still stands: it does so once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub obeyed: Option<String>,
    /// When it was looked at last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub looked: Option<Timestamp>,
}

/// A revision on trial.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Trial {
    pub revision: String,
    /// The step, from 0; as many as there are steps when all are behind it.
    pub step: u32,
    /// For how long the canary has had the step's weight.
    pub served_ms: u64,
    /// How many asks it has had meanwhile.
    pub asks: u64,
    /// And the stable revision.
    pub stable_asks: u64,
    /// Whether it is to get all replicas.
    pub takes_over: bool,
    /// Whether a person said so: then the guard does not matter.
    pub is_ordered: bool,
    /// Whether the spec said so, because there were too few asks.
    pub lacks_traffic: bool,
    /// Whether it ever had an ask.
    pub has_asks: bool,
    /// The weight that the last look gave it: what routers have been told of, or soon are.
    #[serde(skip)]
    pub weight: u32,
    pub guard: Guard,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Whether the stable revision has had all of its replicas since it failed: it gets no asks any more.
    #[serde(default)]
    pub gave_back: bool,
}

/// A revision that was rolled back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Refused {
    pub revision: String,
    /// What the spec alone makes of it.
    #[serde(default)]
    pub spec: String,
    pub why: Why,
}

impl State {
    /// The time since the last look, by a clock that people set.
    pub(super) fn passed(&mut self, now: Timestamp) -> Duration {
        let before = self.looked.replace(now).unwrap_or(now);
        let passed = Duration::try_from(now.duration_since(before)).unwrap_or_default();
        passed.min(LONGEST_LOOK)
    }

    /// The wanted revision serves from now on.
    pub(super) fn promote(&mut self, revision: &str, has_served: bool) {
        self.stable = revision.to_owned();
        self.has_served = has_served;
        self.trial = None;
        self.refused = None;
    }

    pub(super) fn refuse(&mut self, facts: &Facts<'_>, why: Why) {
        self.refused = Some(Refused {
            revision: facts.wanted.to_owned(),
            spec: facts.spec.to_owned(),
            why,
        });
    }

    /// Ends the trial: what serves of it goes on until the stable revision needs it no more.
    pub(super) fn let_go(&mut self, settings: &Settings) {
        let trial = self.trial.take();
        if let Some(trial) = trial.filter(|trial| trial.is_of_use(settings)) {
            self.hands_back = Some(trial.revision);
        }
    }

    /// Whether something still hands back what it took over.
    pub(super) fn hands_back(&mut self, facts: &Facts<'_>) -> Option<Reason> {
        let name = self.hands_back.take()?;
        let (stable, other) = (facts.of(&self.stable), facts.of(&name));
        let (ready, needed) = (stable.ready, facts.replicas);
        if name == self.stable || other.ready == 0 || ready >= needed {
            return None;
        }
        self.hands_back = Some(name);
        Some(Reason::HandingBack { ready, needed })
    }

    /// The order, unless it has been obeyed.
    pub(super) fn heed<'a>(&mut self, order: Option<&'a Order>) -> Option<&'a Order> {
        let obeyed = self.obeyed.take();
        let is_obeyed = |order: &&Order| {
            obeyed
                .as_deref()
                .is_some_and(|of| order.is(Wish::Promote, of))
        };
        if order.as_ref().is_some_and(is_obeyed) {
            self.obeyed = obeyed;
            return None;
        }
        order
    }

    /// Whether it must be written before anything is done: where it says something else than what is
    /// written, or has gone on for a while.
    pub fn is_worth_writing(&self, written: Option<&Self>) -> bool {
        let Some(written) = written else {
            return true;
        };
        let is_old = match (self.looked, written.looked) {
            (Some(now), Some(then)) => {
                let passed = now.duration_since(then);
                // Also where the clock went back.
                self.progress() != written.progress() && passed.unsigned_abs() >= WRITE_EVERY
            }
            _ => true,
        };
        is_old || self.outline() != written.outline()
    }

    /// The trial as it is written.
    fn progress(&self) -> Option<Trial> {
        let trial = self.trial.as_ref();
        trial.map(|trial| Trial {
            weight: 0,
            ..trial.clone()
        })
    }

    /// It without what only counts on.
    fn outline(&self) -> Self {
        let trial = self.trial.as_ref().map(|trial| Trial {
            served_ms: 0,
            asks: 0,
            stable_asks: 0,
            weight: 0,
            guard: Guard::default(),
            ..trial.clone()
        });
        Self {
            trial,
            looked: None,
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn on_trial(second: i64) -> State {
        State {
            stable: "old".into(),
            has_served: true,
            trial: Some(Trial {
                revision: "new".into(),
                ..Trial::default()
            }),
            looked: Some(at(second)),
            ..State::default()
        }
    }

    #[test]
    fn a_clock_that_leaps_moves_a_step_by_a_few_seconds_at_most() {
        let mut state = State::default();
        let seconds =
            [100, 101, 4000, 4001, 50, 51, 52].map(|second| state.passed(at(second)).as_secs());
        assert_eq!(seconds, [0, 1, 15, 1, 0, 1, 1]);
    }

    #[test]
    fn it_is_written_where_it_says_something_new_and_now_and_then() {
        let written = on_trial(100);
        assert!(written.is_worth_writing(None));
        let mut state = on_trial(101);
        if let Some(trial) = &mut state.trial {
            trial.served_ms = 1000;
            trial.asks = 7;
        }
        assert!(!state.is_worth_writing(Some(&written)));
        state.looked = Some(at(130));
        assert!(state.is_worth_writing(Some(&written)));
        state.looked = Some(at(20));
        assert!(
            state.is_worth_writing(Some(&written)),
            "the clock went back"
        );
        let mut state = on_trial(101);
        if let Some(trial) = &mut state.trial {
            trial.step = 1;
        }
        assert!(state.is_worth_writing(Some(&written)));
        let rest = |second| State {
            trial: None,
            ..on_trial(second)
        };
        assert!(
            !rest(5000).is_worth_writing(Some(&rest(100))),
            "nothing goes on"
        );
        assert!(
            !on_trial(5000).is_worth_writing(Some(&on_trial(100))),
            "it waits"
        );
    }

    #[test]
    fn it_is_read_as_it_was_written() {
        let mut state = on_trial(100);
        state.refused = Some(Refused {
            revision: "bad".into(),
            spec: "of it".into(),
            why: Why::Ordered,
        });
        let json = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<State>(&json).unwrap(), state);
    }
}
