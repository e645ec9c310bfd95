//! The record of one decision, as it is kept: what was done with an ask, why, and what it cost. The log
//! line, the attributes of the span and the JSON line in a store are all written from it.
//!
//! It holds names of objects, numbers and words of closed sets; nothing that a client or a model wrote,
//! but for the model's name and the names of fields that were left out, both bounded.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use weir_cascade::{Skipping, Task};
use weir_crds::Money;

use crate::decision::{AttemptLine, BudgetNote, Outcome, Routed, State, Step};

/// A model's name is the client's, and may be anything.
const LONGEST_MODEL: usize = 256;

/// One ask, from its arrival to its end or so far.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    pub id: String,
    /// When the ask came.
    pub time: Timestamp,
    /// Empty for a deployment under its own name.
    pub policy: String,
    pub generation: i64,
    /// Of the threshold; 0 where none is certified.
    pub epoch: u64,
    /// Hashed.
    pub tenant: String,
    pub wire: &'static str,
    pub model: String,
    /// The kind of answer it was judged as; nothing where no tier gave evidence.
    pub task: Option<Task>,
    pub streamed: bool,
    pub private: bool,
    /// Nothing that was written may leave the cluster: of a private ask, and where the policy redacts.
    #[serde(skip)]
    pub stays_inside: bool,
    /// How many different values were taken out of what left the cluster; nothing where nothing looks for any.
    pub redacted: Option<u32>,
    pub route: Routed,
    /// The tiers that were to be asked, in their order.
    pub plan: Vec<Step>,
    /// The policy's other tiers.
    pub passed_over: Vec<Step>,
    /// Whether the first tier was worth trying, by the prompt alone, and what was drawn; nothing where nobody has learnt
    /// to tell.
    pub skipping: Option<Skipping>,
    /// The chance of a shadow, and whether there is one; nothing where no coin is thrown.
    pub pi: Option<f64>,
    pub coin: Option<bool>,
    pub attempts: Vec<AttemptLine>,
    pub dropped: Vec<String>,
    /// The tightest of the policy's budgets, or the one that bound; nothing where there is none, or no
    /// endpoint was to be asked.
    pub budget: Option<BudgetNote>,
    /// `running`, `answered`, `answered_unsure`, `refused`, `disconnected`, `joined`, `cached` or
    /// `broken`.
    pub outcome: &'static str,
    /// The one that answered.
    pub tier: Option<String>,
    /// The status that said no.
    pub status: Option<u16>,
    /// Why each choice of the answer ended.
    pub finish: Vec<&'static str>,
    /// In US dollars, of all attempts.
    pub cost: String,
    /// What the answer would have cost at the policy's last endpoint that has a price; nothing where there is
    /// none, or no answer.
    pub counterfactual_cost: Option<String>,
    pub first_byte_ms: Option<u64>,
    pub total_ms: u64,
}

/// When an ask came, by the clock, and how long ago.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Since {
    pub time: Timestamp,
    pub elapsed: Duration,
}

impl Record {
    /// Of the ask `id`; `is_over` says whether anything more can come.
    pub fn of(id: &str, since: Since, is_over: bool, state: &State) -> Self {
        let mut judged = state.attempts.iter().rev();
        let judged = judged.find_map(|attempt| attempt.judged.as_ref());
        let (tier, status) = match &state.outcome {
            Outcome::Answered { tier, .. } => (Some(tier.clone()), None),
            Outcome::Refused { status } => (None, Some(*status)),
            Outcome::Broken | Outcome::Disconnected | Outcome::Joined | Outcome::Cached => {
                (None, None)
            }
        };
        let outcome = match is_over {
            true => state.outcome.word(),
            false => "running",
        };
        let cost: Money = state.attempts.iter().map(|attempt| attempt.amount).sum();
        Self {
            id: id.to_owned(),
            time: since.time,
            policy: state.policy.clone(),
            generation: state.generation,
            epoch: 0,
            tenant: state.tenant.clone(),
            wire: state.wire,
            model: clipped(&state.model, LONGEST_MODEL).to_owned(),
            task: judged.map(|judged| judged.task),
            streamed: state.is_streamed,
            private: state.is_private,
            stays_inside: state.is_private || state.redacted.is_some(),
            redacted: state.redacted,
            route: state.routed.clone(),
            plan: state.plan.clone(),
            passed_over: state.passed_over.clone(),
            skipping: state.skipping,
            pi: None,
            coin: None,
            attempts: state.attempts.clone(),
            dropped: state.dropped.clone(),
            budget: state.budget.clone(),
            outcome,
            tier,
            status,
            finish: state.finish.clone(),
            cost: cost.to_string(),
            counterfactual_cost: state.counterfactual().map(|cost| cost.to_string()),
            first_byte_ms: state.first_byte.map(millis),
            total_ms: millis(since.elapsed),
        }
    }

    /// As one JSON object on one line, without what comes later (labels) and what not everybody may
    /// keep (text): see [`line()`].
    pub fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The attempt that answered.
    pub fn answering(&self) -> Option<&AttemptLine> {
        let tier = self.tier.as_ref()?;
        let mut attempts = self.attempts.iter().rev();
        attempts.find(|attempt| attempt.tier == *tier)
    }

    /// Why there was no answer, in a word or a status.
    pub fn error(&self) -> Option<String> {
        match (self.outcome, self.status) {
            ("disconnected" | "broken", _) => Some(self.outcome.to_owned()),
            (_, status) => status.map(|status| status.to_string()),
        }
    }
}

/// The JSON of an object with `members`, each a name and JSON, behind its own.
pub(crate) fn line(json: &str, members: &[(&str, String)]) -> String {
    let mut line = json.strip_suffix('}').unwrap_or(json).to_owned();
    for (name, value) in members {
        line.push_str(if line == "{" { "\"" } else { ",\"" });
        line.push_str(name);
        line.push_str("\":");
        line.push_str(value);
    }
    line.push('}');
    line
}

/// As much of the beginning of `text` as `bytes` hold.
pub(crate) fn clipped(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn state() -> State {
        State {
            wire: "openai.chat",
            model: "ä".repeat(200),
            policy: "support".into(),
            generation: 3,
            plan: vec![Step::new("small", "first")],
            passed_over: vec![Step::new("frontier", "egress")],
            attempts: vec![AttemptLine {
                tier: "small".into(),
                outcome: "committed",
                amount: "0.002".parse().unwrap(),
                ..AttemptLine::default()
            }],
            first_byte: Some(Duration::from_millis(12)),
            outcome: Outcome::Answered {
                tier: "small".into(),
                is_unsure: true,
            },
            ..State::default()
        }
    }

    fn record(is_over: bool) -> Value {
        let since = Since {
            time: "2026-11-21T10:00:00Z".parse().unwrap(),
            elapsed: Duration::from_millis(34),
        };
        let record = Record::of("a1", since, is_over, &state());
        serde_json::from_str(&record.json()).unwrap()
    }

    #[test]
    fn a_record_says_what_was_done_why_and_for_how_much() {
        let record = record(true);
        for (at, expected) in [
            ("/id", json!("a1")),
            ("/time", json!("2026-11-21T10:00:00Z")),
            ("/policy", json!("support")),
            ("/plan/0/reason", json!("first")),
            ("/passedOver/0/tier", json!("frontier")),
            ("/attempts/0/outcome", json!("committed")),
            ("/outcome", json!("answered_unsure")),
            ("/tier", json!("small")),
            ("/cost", json!("0.002")),
            ("/firstByteMs", json!(12)),
            ("/totalMs", json!(34)),
            ("/pi", Value::Null),
        ] {
            assert_eq!(record.pointer(at), Some(&expected), "{at}");
        }
        assert_eq!(record["model"].as_str().unwrap().len(), LONGEST_MODEL);
    }

    #[test]
    fn an_ask_that_is_not_over_is_running_whatever_its_state_would_leave() {
        assert_eq!(record(false)["outcome"], "running");
    }

    #[test]
    fn what_comes_later_is_put_behind_the_rest() {
        let line = line(r#"{"id":"a"}"#, &[("labels", "[1]".into())]);
        assert_eq!(line, r#"{"id":"a","labels":[1]}"#);
        assert_eq!(super::line("{}", &[("a", "1".into())]), r#"{"a":1}"#);
    }
}
