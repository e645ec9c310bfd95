//! One look at a rollout: from the state, the spec and the facts to the next state and what is to be.
//!
//! What is to be is a picture and not a list of deeds, so that it can be brought about again and again: a
//! look that follows a crash asks for the same.

#[cfg(test)]
mod crashes;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;

use std::time::Duration;

use jiff::Timestamp;
use weir_crds::Strategy;

use super::heard::News;
use super::order::{Order, Wish};
use super::reason::{How, Reason, Why};
use super::replicas::{Present, Shares, handed_back, shares, weight_lacking};
use super::settings::Settings;
use super::state::{State, Trial};
use super::trial::Verdict;

/// What there is.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The revision of the spec as it is now.
    pub wanted: &'a str,
    /// What the spec alone makes of it: revisions that differ by the operator's part only have the same.
    pub spec: &'a str,
    /// How many replicas the deployment is to have, and may have.
    pub replicas: u32,
    pub most: u32,
    pub revisions: &'a [Revision],
    /// What a person wants.
    pub order: Option<&'a Order>,
    /// What was counted since the last look.
    pub news: &'a News,
}

/// A revision that has objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revision {
    pub name: String,
    /// Labelled as the one that serves: what is believed where no state is.
    pub is_stable: bool,
    pub created: Timestamp,
    /// How many replicas it was told to have, has, and has ready.
    pub wanted: u32,
    pub replicas: u32,
    pub ready: u32,
}

/// What is to be. Revisions that are neither go when routers have heard of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub stable: String,
    pub canary: Option<String>,
    /// Per cent of the asks that the canary gets.
    pub weight: u32,
    /// From 0; the last one while it takes over.
    pub step: u32,
    pub replicas: Shares,
}

/// What follows from a look.
#[derive(Clone, Debug, PartialEq)]
pub struct Next {
    /// To be written first, where it is worth it.
    pub state: State,
    pub target: Target,
    pub reason: Reason,
}

/// Takes a look.
pub fn advance(state: &State, settings: &Settings, facts: &Facts<'_>, now: Timestamp) -> Next {
    let mut state = state.clone();
    let passed = state.passed(now);
    let facts = &Facts {
        order: state.heed(facts.order),
        ..*facts
    };
    stand(&mut state, facts);
    let reason = judge(&mut state, settings, facts, passed);
    if state.stable == facts.wanted && facts.is_ordered(Wish::Promote) {
        state.obeyed = Some(facts.wanted.to_owned());
    }
    let target = target(&state, settings, facts);
    if let Some(trial) = &mut state.trial {
        trial.weight = target.weight;
    }
    Next {
        state,
        target,
        reason,
    }
}

impl Facts<'_> {
    /// The revision, or one without replicas.
    pub(super) fn of(&self, name: &str) -> Revision {
        let mut revisions = self.revisions.iter();
        let found = revisions.find(|revision| revision.name == name);
        found.cloned().unwrap_or_default()
    }

    pub(super) fn is_ordered(&self, wish: Wish) -> bool {
        self.order.is_some_and(|order| order.is(wish, self.wanted))
    }
}

/// Which revision serves: the state knows, while that one is there; else labels do; else what serves most;
/// else nothing does, and the one that is wanted is the first.
fn stand(state: &mut State, facts: &Facts<'_>) {
    let there = |name: &str| facts.revisions.iter().any(|revision| revision.name == name);
    if !there(&state.stable) && state.stable != facts.wanted {
        let labelled = facts.revisions.iter().filter(|of| of.is_stable);
        let most = facts.revisions.iter();
        let stable = labelled
            .max_by_key(|of| (of.name == facts.wanted, of.created))
            .or_else(|| most.max_by_key(|of| (of.ready, std::cmp::Reverse(of.created))))
            .map_or(facts.wanted, |of| of.name.as_str());
        state.stable = stable.to_owned();
        state.has_served = false;
    }
    state.has_served |= facts.of(&state.stable).ready > 0;
}

fn judge(state: &mut State, settings: &Settings, facts: &Facts<'_>, passed: Duration) -> Reason {
    let wanted = facts.wanted;
    if state.stable == wanted {
        state.let_go(settings);
        // What was to replace it for the operator's part alone is not tried again.
        state.refused = state
            .refused
            .take()
            .filter(|refused| refused.spec == facts.spec);
        return state.hands_back(facts).unwrap_or(Reason::Serving);
    }
    if facts.is_ordered(Wish::Rollback) {
        state.let_go(settings);
        state.refuse(facts, Why::Ordered);
    } else if facts.is_ordered(Wish::Promote) {
        state.refused = None;
    }
    if let Some(refused) = state.refused.as_ref().filter(|of| of.revision == wanted) {
        let why = refused.why.clone();
        state.trial = None;
        let _ = state.hands_back(facts);
        return Reason::RolledBack(why);
    }
    state.refused = None;
    if !state.has_served {
        return promote(state, facts, How::First);
    }
    if let Some(reason) = before_trial(state, settings, facts) {
        return reason;
    }
    let known = state.trial.take();
    // The time before it began is none of its own.
    let passed = known.as_ref().map_or(Duration::ZERO, |_| passed);
    let mut trial = known.unwrap_or_else(|| Trial {
        revision: wanted.to_owned(),
        ..Trial::default()
    });
    match trial.look(&state.stable, settings, facts, passed) {
        Verdict::Go(reason) => {
            state.trial = Some(trial);
            reason
        }
        Verdict::Promote(how) => promote(state, facts, how),
        Verdict::Refuse(why) => {
            state.trial = Some(trial);
            state.let_go(settings);
            state.refuse(facts, why.clone());
            let _ = state.hands_back(facts);
            Reason::RolledBack(why)
        }
    }
}

/// What has to come to its end before the wanted revision is on trial, unless a person wants it to go on.
fn before_trial(state: &mut State, settings: &Settings, facts: &Facts<'_>) -> Option<Reason> {
    let is_wanted = |revision: &str| revision == facts.wanted;
    if state
        .trial
        .as_ref()
        .is_some_and(|trial| !is_wanted(&trial.revision))
    {
        state.let_go(settings);
    }
    // The way out where the stable revision cannot start any more.
    if facts.is_ordered(Wish::Promote) {
        state.hands_back = None;
    }
    state.hands_back(facts)
}

fn promote(state: &mut State, facts: &Facts<'_>, how: How) -> Reason {
    let has_served = facts.of(facts.wanted).ready > 0;
    state.promote(facts.wanted, has_served);
    Reason::Promoted(how)
}

fn target(state: &State, settings: &Settings, facts: &Facts<'_>) -> Target {
    let trial = state.trial.as_ref();
    let Some(trial) = trial else {
        return without_trial(state, facts);
    };
    let (stable, canary) = (facts.of(&state.stable), facts.of(&trial.revision));
    let present = present(facts, &stable, &canary);
    let gives_back = trial.failure.is_some() && !trial.gave_back && trial.is_of_use(settings);
    let replicas = match settings.strategy {
        Strategy::Canary if gives_back => {
            let given = handed_back(facts.replicas, facts.most, stable.ready, present);
            Shares {
                canary: given.canary.max(1),
                ..given
            }
        }
        // The new ones start when the old ones are gone, which promotes it.
        Strategy::Recreate => Shares::default(),
        _ => {
            let goal = trial.goal(settings, facts.replicas);
            let mut shares = shares(facts.replicas, facts.most, goal, present);
            if trial.weight == 0 {
                // Routers may not know yet that it may be asked: nothing is given up for it.
                shares.stable = shares.stable.max(stable.replicas).min(facts.replicas);
            }
            shares
        }
    };
    let last = settings.steps.len().saturating_sub(1) as u32;
    Target {
        stable: state.stable.clone(),
        canary: Some(trial.revision.clone()),
        weight: match gives_back {
            true => weight_lacking(facts.replicas, stable.ready, canary.ready),
            false => trial.weight(settings, facts.replicas, stable.ready, canary.ready),
        },
        step: trial.step.min(last),
        replicas,
    }
}

/// The stable revision is to have all replicas, and what hands back to it what it does not have yet.
fn without_trial(state: &State, facts: &Facts<'_>) -> Target {
    let alone = Target {
        stable: state.stable.clone(),
        canary: None,
        weight: 0,
        step: 0,
        replicas: Shares {
            stable: facts.replicas,
            canary: 0,
        },
    };
    let Some(other) = &state.hands_back else {
        return alone;
    };
    let (stable, canary) = (facts.of(&state.stable), facts.of(other));
    let there = present(facts, &stable, &canary);
    Target {
        canary: Some(other.clone()),
        weight: weight_lacking(facts.replicas, stable.ready, canary.ready),
        replicas: handed_back(facts.replicas, facts.most, stable.ready, there),
        ..alone
    }
}

fn present(facts: &Facts<'_>, stable: &Revision, canary: &Revision) -> Present {
    let all: u32 = facts.revisions.iter().map(|of| of.replicas).sum();
    Present {
        stable: stable.replicas,
        canary: canary.replicas,
        ready: canary.ready,
        others: all.saturating_sub(stable.replicas + canary.replicas),
    }
}
