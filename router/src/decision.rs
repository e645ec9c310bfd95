//! The record of what was done with one ask, and why, while it is being done.
//!
//! It is written as things happen, so that it is complete whenever an ask ends, also in the middle.

mod line;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest, Sha256};
use weir_cascade::Skipping;
use weir_crds::{Money, Period};

use crate::answer::Event;
use crate::balance::first_number;
use crate::cache::{Lookup, Recording};
use crate::counterfactual::Reference;
use crate::feedback::Label;
use crate::money::Short;
use crate::record::{Record, Since};
use crate::text::Text;
pub(crate) use line::{AttemptLine, COMMITTED, UNFINISHED, Whom};

/// One ask's record, shared by whatever works on it.
pub(crate) struct Decision {
    pub id: String,
    pub began: Instant,
    /// The same moment by the clock.
    pub time: Timestamp,
    state: Mutex<State>,
    /// Only where the policy keeps it.
    text: Mutex<Option<Text>>,
    /// Only where the answer may be given again.
    recording: Mutex<Option<Recording>>,
}

/// What is recorded of an ask.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub wire: &'static str,
    pub model: String,
    /// The model is known, and whoever asks may use it.
    pub has_route: bool,
    /// Empty for a deployment under its own name.
    pub policy: String,
    pub generation: i64,
    /// Hashed, so that records can be kept where tenants must not be known.
    pub tenant: String,
    pub is_streamed: bool,
    pub is_private: bool,
    /// How many values were taken out of what left; nothing where nothing looks for any.
    pub redacted: Option<u32>,
    /// How the tiers were chosen.
    pub routed: Routed,
    /// Whether the first tier is worth trying; nothing where nobody has learnt to tell.
    pub skipping: Option<Skipping>,
    /// The tiers in the order of the plan.
    pub plan: Vec<Step>,
    /// The policy's other tiers.
    pub passed_over: Vec<Step>,
    pub dropped: Vec<String>,
    /// Nothing where the policy has no budget, or nothing was to be spent.
    pub budget: Option<BudgetNote>,
    /// What the answer's cost is compared with.
    pub reference: Option<Reference>,
    pub attempts: Vec<AttemptLine>,
    /// Whether an earlier answer was found; nothing where none was looked for.
    pub lookup: Option<Lookup>,
    /// From the ask's arrival to the first byte of its answer.
    pub first_byte: Option<Duration>,
    pub outcome: Outcome,
    /// Why each choice of the answer ended.
    pub finish: Vec<&'static str>,
    /// Verdicts that came while it was worked on.
    pub labels: Vec<Label>,
}

impl State {
    /// What the answer would have cost at the reference.
    pub fn counterfactual(&self) -> Option<Money> {
        let Outcome::Answered { tier, .. } = &self.outcome else {
            return None;
        };
        let mut attempts = self.attempts.iter().rev();
        let answering = attempts.find(|attempt| attempt.tier == *tier)?;
        Some(self.reference.as_ref()?.cost(answering))
    }
}

/// A tier, and why it is in a plan or is not: one of a closed set of words, or a field's name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Step {
    pub tier: String,
    pub reason: String,
}

impl Step {
    pub fn new(tier: &str, reason: &str) -> Self {
        Self {
            tier: tier.to_owned(),
            reason: reason.to_owned(),
        }
    }
}

/// The budget of a policy that an ask met.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct BudgetNote {
    pub period: Period,
    /// What this router had at hand of it, without what was put aside for the ask.
    pub left: String,
    /// A tier was passed over, or the ask refused, because of it.
    #[serde(rename = "bound")]
    pub has_bound: bool,
}

impl From<Short> for BudgetNote {
    fn from(short: Short) -> Self {
        Self {
            period: short.period,
            left: short.left.to_string(),
            has_bound: true,
        }
    }
}

impl From<(Period, Money)> for BudgetNote {
    fn from((period, left): (Period, Money)) -> Self {
        Self {
            period,
            left: left.to_string(),
            has_bound: false,
        }
    }
}

/// How the tiers of an ask were chosen.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Routed {
    /// `order`, `rule`, `pin`, `sticky`, `classifier`, `classifier_failed`, `joined` or `cached`; empty where it did
    /// not come to that.
    pub by: &'static str,
    /// Of the rule, or of the tier that was pinned or classified.
    pub name: String,
    /// For a person; nothing of the ask's text is in it.
    pub why: String,
    /// What was drawn where a rule splits.
    pub draw: Option<f64>,
}

impl Routed {
    /// Says one thing more.
    pub fn add(&mut self, more: &str) {
        if !self.why.is_empty() && !more.is_empty() {
            self.why.push_str("; ");
        }
        self.why.push_str(more);
    }

    /// All of it: `rule long: prompt 7012 tokens over 6000`.
    pub fn line(&self) -> String {
        let mut line = self.by.to_owned();
        for (lead, text) in [(" ", &self.name), (": ", &self.why)] {
            if !text.is_empty() {
                line.push_str(lead);
                line.push_str(text);
            }
        }
        line
    }
}

/// How an ask ended: one of a closed set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Still going on; also what a panic leaves.
    #[default]
    Broken,
    /// Answered by this tier.
    Answered { tier: String, is_unsure: bool },
    /// Refused, with the status that said so.
    Refused { status: u16 },
    /// The client went away.
    Disconnected,
    /// Given the answer of another decision, which was asked under the same key.
    Joined,
    /// Given the answer of an earlier decision on the very same ask.
    Cached,
}

impl Outcome {
    pub fn word(&self) -> &'static str {
        match self {
            Outcome::Broken => "broken",
            Outcome::Answered {
                is_unsure: false, ..
            } => "answered",
            Outcome::Answered {
                is_unsure: true, ..
            } => "answered_unsure",
            Outcome::Refused { .. } => "refused",
            Outcome::Disconnected => "disconnected",
            Outcome::Joined => "joined",
            Outcome::Cached => "cached",
        }
    }
}

impl Decision {
    /// Of an ask that came `began`, which is `time` by the clock.
    pub fn new(id: String, began: Instant, time: Timestamp) -> Self {
        Self {
            id,
            began,
            time,
            state: Mutex::default(),
            text: Mutex::default(),
            recording: Mutex::default(),
        }
    }

    /// All of it so far.
    pub fn record(&self, is_over: bool) -> Record {
        let since = Since {
            time: self.time,
            elapsed: self.began.elapsed(),
        };
        Record::of(&self.id, since, is_over, &self.state())
    }

    /// From here on what is said is kept.
    pub fn keep(&self, text: Text) {
        *self.text() = Some(text);
    }

    /// From here on what is said is written down, to be said again.
    pub fn write_down(&self, recording: Recording) {
        *self.recording() = Some(recording);
    }

    /// What is not at its end by now is not kept.
    pub fn stop_writing_down(&self) {
        *self.recording() = None;
    }

    /// The client is told this.
    pub fn hear(&self, event: &Event) {
        if let Some(text) = self.text().as_mut() {
            text.hear(event);
        }
        if let Some(recording) = self.recording().as_mut() {
            let revision = match event {
                Event::End(_) => self.last_revision(),
                _ => String::new(),
            };
            recording.hear(event, &revision);
        }
    }

    /// Of the attempt that came last; empty for an endpoint.
    fn last_revision(&self) -> String {
        let state = self.state();
        let last = state.attempts.last();
        last.map(|attempt| attempt.revision.clone())
            .unwrap_or_default()
    }

    pub fn take_text(&self) -> Option<Text> {
        self.text().take()
    }

    fn recording(&self) -> MutexGuard<'_, Option<Recording>> {
        self.recording
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn text(&self) -> MutexGuard<'_, Option<Text>> {
        self.text.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// So many different values were taken out of a request that is about to leave. The next tier may be
    /// asked in other words, with some more of them or some fewer.
    pub fn redacted(&self, values: usize) {
        let values = u32::try_from(values).unwrap_or(u32::MAX);
        let mut state = self.state();
        state.redacted = state.redacted.max(Some(values));
    }

    /// The tiers were chosen.
    pub fn planned(&self, (steps, passed_over): (Vec<Step>, Vec<Step>)) {
        let mut state = self.state();
        (state.plan, state.passed_over) = (steps, passed_over);
    }

    /// Two numbers that follow from the name of the ask, others for each try.
    pub fn draws(&self, tries: usize) -> [u64; 2] {
        let digest = Sha256::new()
            .chain_update("replica ")
            .chain_update(&self.id)
            .chain_update(tries.to_le_bytes())
            .finalize();
        [first_number(&digest), first_number(&digest[8..])]
    }

    /// There is no money for the tier.
    pub fn pass_over(&self, tier: &str) {
        let mut state = self.state();
        state.plan.retain(|step| step.tier != tier);
        state.passed_over.retain(|step| step.tier != tier);
        state.passed_over.push(Step::new(tier, "budget"));
        if let Some(first) = state.plan.first_mut() {
            first.reason = "first".to_owned();
        }
    }

    /// The tier is to answer in the place of others that there is no money for.
    pub fn instead(&self, tier: &str) {
        let mut state = self.state();
        state.passed_over.retain(|step| step.tier != tier);
        state.plan.push(Step::new(tier, "local"));
    }

    /// The tier, which was passed over, is asked after all others have failed.
    pub fn spared(&self, tier: &str) {
        let mut state = self.state();
        state.passed_over.retain(|step| step.tier != tier);
        state.plan.push(Step::new(tier, "spare"));
    }

    /// Of all attempts so far.
    pub fn cost(&self) -> Money {
        self.state()
            .attempts
            .iter()
            .map(|attempt| attempt.amount)
            .sum()
    }

    /// Whether an endpoint has been paid for anything.
    pub fn money_was_spent(&self) -> bool {
        let state = self.state();
        let mut attempts = state.attempts.iter();
        attempts.any(AttemptLine::was_paid)
    }

    /// Whether an endpoint has been paid for the attempt that came last.
    pub fn was_last_paid(&self) -> bool {
        let state = self.state();
        state.attempts.last().is_some_and(AttemptLine::was_paid)
    }

    /// Whether there was an attempt on the tier.
    pub fn was_asked(&self, tier: &str) -> bool {
        let state = self.state();
        let mut attempts = state.attempts.iter();
        attempts.any(|attempt| attempt.tier == tier)
    }

    /// Every attempt so far in one line for a person: `small;dropped;score=0.5312, frontier`. One
    /// that is still going on has only its name.
    pub fn attempts(&self) -> String {
        let state = self.state();
        let attempts = state.attempts.iter().map(|attempt| {
            let score = attempt.judged.as_ref().and_then(|judged| judged.score);
            match (attempt.outcome, score) {
                (UNFINISHED, _) => attempt.tier.clone(),
                (outcome, None) => format!("{};{outcome}", attempt.tier),
                (outcome, Some(score)) => format!("{};{outcome};score={score:.4}", attempt.tier),
            }
        });
        attempts.collect::<Vec<_>>().join(", ")
    }

    /// What became of each attempt: tier and outcome.
    pub fn history(&self) -> Vec<(String, String)> {
        let state = self.state();
        let attempts = state.attempts.iter();
        attempts
            .map(|attempt| (attempt.tier.clone(), attempt.outcome.to_owned()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_told_in_one_line() {
        let mut routed = Routed {
            by: "order",
            ..Routed::default()
        };
        assert_eq!(routed.line(), "order");
        routed.by = "rule";
        routed.name = "long".into();
        routed.add("prompt 7012 tokens over 6000");
        routed.add("");
        routed.add("drew 0.5");
        assert_eq!(
            routed.line(),
            "rule long: prompt 7012 tokens over 6000; drew 0.5"
        );
    }
}
