//! What a look at a rollout means for the objects: which revision's are made, how many replicas the one that
//! serves is to have, and which revisions may go.
//!
//! A revision that is neither stable nor canary goes only when routers have been told so for a while, so that
//! none of them sends an ask to pods that leave.

use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use weir_crds::{Strategy, reasons};
use weir_policy::rollout::reason::Reason;
use weir_policy::rollout::replicas::Shares;
use weir_policy::rollout::settings::Settings;
use weir_policy::rollout::state::{Refused, State};
use weir_policy::rollout::step::{self, Next};

use super::asked::Asked;
use super::began::Began;
use crate::condition::Verdict;
use crate::object::{CANARY, STABLE};
use crate::settings::RETIRE_AFTER;

/// While a trial goes on it is looked at so often, whether or not anything changes.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// After so long without asks, or without replicas, a rollout may wait for ever.
const LONG: SignedDuration = SignedDuration::from_mins(20);

/// A revision that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    pub name: String,
    pub created: Timestamp,
    /// Whether its Deployment is labelled as the one that serves.
    pub stable: bool,
    /// The hash of what the spec said of it.
    pub spec: Option<String>,
    /// What it took over from the operator's settings when it began.
    pub began: Began,
    /// How many replicas were asked for.
    pub wanted: u32,
    /// How many exist.
    pub replicas: u32,
    /// How many of them are ready.
    pub ready: u32,
    /// What a quota or a webhook said when pods were refused.
    pub refused: Option<String>,
    /// What its first ready replica found.
    pub pins: Option<Pins>,
}

/// What a revision's first ready replica found at the source, and later ones have to find too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pins {
    /// Over all files that were read.
    pub digest: String,
    /// What the source resolved to, where it has revisions or the like.
    pub resolved: Option<String>,
}

/// What is to become of the revisions.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The revision of the spec as it is now.
    pub wanted: String,
    /// The hash of what the spec alone says of it.
    pub spec: String,
    /// Whether it replaces one of the same spec.
    pub is_upgrade: bool,
    pub stable: String,
    /// What serves beside it: the revision that is wanted, while it is on trial, or one that gives back what it
    /// took over.
    pub canary: Option<String>,
    /// Per cent of the asks that the canary gets, and its step.
    pub weight: u32,
    pub step: u32,
    pub shares: Shares,
    /// Why it stands where it stands.
    pub reason: Reason,
    /// The same for people, without what changes every second.
    pub said: String,
    /// Whether the canary holds its guard; nothing where there is none.
    pub health: Option<Verdict>,
    pub since: Timestamp,
    /// These may go now.
    pub retire: Vec<String>,
    /// These may go later.
    pub leaving: Vec<String>,
    /// To be looked at again after this, also if nothing changes.
    pub again: Option<Duration>,
}

/// What the rollout was, by the status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Before {
    pub stable: String,
    pub canary: String,
    pub weight: u32,
    pub step: u32,
    pub since: Option<Timestamp>,
}

/// When it is.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    pub now: Timestamp,
    /// Since when routers have been told of the revisions in the status.
    pub named: Timestamp,
}

impl Revision {
    /// As a look at the rollout takes it.
    pub fn as_seen(&self) -> step::Revision {
        step::Revision {
            name: self.name.clone(),
            is_stable: self.stable,
            created: self.created,
            wanted: self.wanted,
            replicas: self.replicas,
            ready: self.ready,
        }
    }
}

/// What to do with `revisions` so that what was decided comes about; `written` is what is kept of it.
pub fn plan(
    (next, written): (&Next, &State),
    settings: &Settings,
    (revisions, asked): (&[Revision], &Asked),
    before: &Before,
    times: Times,
) -> Plan {
    let target = &next.target;
    let canary = target.canary.clone();
    let named = (
        target.stable.as_str(),
        canary.as_deref().unwrap_or_default(),
    );
    let is_told = (before.stable.as_str(), before.canary.as_str()) == named;
    let is_same = is_told && (before.weight, before.step) == (target.weight, target.step);
    let since = before.since.filter(|_| is_same).unwrap_or(times.now);
    let others = revisions.iter().map(|revision| &revision.name);
    let others = others.filter(|name| **name != named.0 && **name != named.1);
    let others: Vec<String> = others.cloned().collect();
    let left = match is_told {
        true => wait_until(times.named, times.now),
        false => Some(RETIRE_AFTER),
    };
    let left = left.filter(|_| !others.is_empty());
    let (retire, leaving) = match left {
        Some(_) => (Vec::new(), others),
        None => (others, Vec::new()),
    };
    let said = said(next, settings);
    Plan {
        wanted: asked.revision.clone(),
        spec: asked.spec.clone(),
        is_upgrade: asked.is_upgrade,
        stable: target.stable.clone(),
        weight: target.weight,
        step: target.step,
        shares: target.replicas,
        reason: next.reason.clone(),
        health: health(next, written, settings),
        said,
        since,
        retire,
        leaving,
        again: left.into_iter().chain(look_again(&next.reason)).min(),
        canary,
    }
}

impl Plan {
    /// Whether the spec speaks of a revision that is to be: not of one that was rolled back.
    pub fn makes_wanted(&self) -> bool {
        self.is_on_trial() || self.stable == self.wanted
    }

    /// Whether the revision that is wanted is on trial.
    pub fn is_on_trial(&self) -> bool {
        self.canary.as_ref() == Some(&self.wanted)
    }

    /// How many the revision of the spec is to have.
    pub fn replicas_of_wanted(&self) -> u32 {
        match self.is_on_trial() {
            true => self.shares.canary,
            false => self.shares.stable,
        }
    }

    /// The revision to look at for what becomes of the spec, or else for what is served.
    pub fn looked_at(&self) -> &str {
        match self.is_on_trial() {
            true => &self.wanted,
            false => &self.stable,
        }
    }

    /// The revisions that routers are told of, how many replicas each is to have, and its label.
    pub fn served(&self) -> impl Iterator<Item = (&str, u32, &'static str)> {
        let canary = self.canary.as_deref();
        let canary = canary.map(|name| (name, self.shares.canary, CANARY));
        let stable = (self.stable.as_str(), self.shares.stable, STABLE);
        canary.into_iter().chain([stable])
    }

    /// Whether its rollout goes on at `now` without anybody's help.
    pub fn goes_on(&self, now: Timestamp) -> bool {
        let is_new = now.duration_since(self.since) < LONG;
        let moves = match self.reason {
            Reason::NoTraffic { .. } | Reason::Asleep | Reason::Paused(_) => false,
            Reason::Starting { .. } | Reason::FewAsks { .. } => is_new,
            _ => true,
        };
        self.is_on_trial() && moves
    }

    /// Whether it serves what the spec asks for.
    pub fn is_of_spec(&self, revision: &Revision) -> bool {
        let is_same = revision.spec.as_ref() == Some(&self.spec);
        revision.name == self.wanted || (is_same && !self.spec.is_empty())
    }

    /// Why it goes no further until somebody changes something.
    pub fn ended(&self) -> Option<Verdict> {
        let is_ended = matches!(self.reason, Reason::Paused(_) | Reason::RolledBack(_));
        // What serves is of the spec.
        (is_ended && !self.is_upgrade).then(|| {
            let (of, said, stable) = (&self.wanted, &self.said, &self.stable);
            let message = format!("revision {of}: {said}; revision {stable} serves");
            (false, self.reason.reason(), message)
        })
    }
}

/// The reason with what stays for a while: a status that counted seconds would be written every second.
fn said(next: &Next, settings: &Settings) -> String {
    let step = settings.steps.get(next.target.step as usize);
    let step = |what: String| match step {
        Some(step) => format!(
            "step {} of {}, {} % of the asks: {what}",
            next.target.step + 1,
            settings.steps.len(),
            step.weight
        ),
        None => what,
    };
    let duration = weir_crds::value::duration_text;
    let pause = |at: u32| settings.steps.get(at as usize).map(|step| step.pause);
    match &next.reason {
        Reason::Stepping { step: at, .. } => {
            let pause = pause(*at).map(duration).unwrap_or_default();
            step(format!("it lasts {pause} or longer"))
        }
        Reason::FewAsks { of, needed, .. } => {
            step(format!("it goes on until {of} has had {needed} asks"))
        }
        Reason::NoTraffic { of, needed, .. } => step(format!(
            "{of} has had fewer than {needed} asks in {} and it waits for them: guard.onNoTraffic",
            duration(settings.max_step_wait)
        )),
        reason => reason.to_string(),
    }
}

/// Both numbers of each signal are as they were written last, and so change now and then.
fn health(next: &Next, written: &State, settings: &Settings) -> Option<Verdict> {
    match &next.reason {
        Reason::Paused(_) | Reason::RolledBack(_) => {
            return Some((false, next.reason.reason(), next.reason.to_string()));
        }
        Reason::Serving => return next.state.refused.as_ref().map(not_replaced),
        Reason::HandingBack { .. } => return None,
        _ => next.target.canary.as_ref()?,
    };
    if settings.strategy != Strategy::Canary {
        return None;
    }
    let trial = written.trial.as_ref();
    let numbers = trial.map(|trial| trial.guard.to_string());
    let numbers = numbers.filter(|numbers| !numbers.is_empty());
    let numbers = numbers.map_or_else(String::new, |numbers| {
        format!("; of the canary and of the stable revision: {numbers}")
    });
    let message = format!("{}{numbers}", said(next, settings));
    Some((true, reasons::ROLLING_OUT, message))
}

/// What serves is of the spec, and what was to replace it was not as good.
fn not_replaced(refused: &Refused) -> Verdict {
    let (of, why) = (&refused.revision, Reason::RolledBack(refused.why.clone()));
    let message = format!("revision {of}, of the same spec and this operator: {why}");
    (false, why.reason(), message)
}

/// Time counts in a trial, and asks that no watch tells of.
fn look_again(reason: &Reason) -> Option<Duration> {
    match reason {
        Reason::Starting { .. }
        | Reason::Stepping { .. }
        | Reason::FewAsks { .. }
        | Reason::NoTraffic { .. }
        | Reason::TakingOver { .. }
        | Reason::Stopping { .. } => Some(LOOK_EVERY),
        Reason::Serving
        | Reason::HandingBack { .. }
        | Reason::Promoted(_)
        | Reason::Asleep
        | Reason::Paused(_)
        | Reason::RolledBack(_) => None,
    }
}

fn wait_until(since: Timestamp, now: Timestamp) -> Option<Duration> {
    let passed = now.duration_since(since);
    let grace = SignedDuration::try_from(RETIRE_AFTER).unwrap_or(SignedDuration::ZERO);
    Duration::try_from(grace - passed)
        .ok()
        .filter(|left| !left.is_zero())
}

#[cfg(test)]
mod tests;
