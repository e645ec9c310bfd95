//! Phase 4: which tiers of a policy an ask begins with: the client's pin, the first rule that matches,
//! where its conversation was raised to, or what the classifier says; else all of them in their order. The decision says which, and why.
//!
//! Privacy stands above all of them: what they choose becomes a plan of tiers that the ask may go to,
//! or a refusal.

pub(crate) mod facts;
mod pin;
mod skipping;

use std::time::Duration;

use http::HeaderMap;
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use weir_policy::rules::{Evaluation, Length, Rule, Then, drawn, first_match};
use weir_policy::table::Owner;
use weir_policy::tier::Tier;
use weir_policy::validate::Settings;

use crate::ask::Ask;
use crate::decision::{Decision, Routed};
use crate::inquiry::Inquiry;
use crate::matching::Matched;
use crate::plan::{Course, plan};
use crate::refusal::Refusal;
use crate::shared::Shared;
use crate::sticky::Conversation;
use crate::wire::Wire;
use facts::Gathered;
pub(crate) use pin::PIN;
use skipping::skipping;

/// A worker tokenizes megabytes in less; one that is too busy for that is not waited for.
const LONGEST_COUNT: Duration = Duration::from_millis(500);

/// One ask that has no tiers yet.
pub(crate) struct Crossing<'a> {
    pub shared: &'a Shared,
    pub decision: &'a Decision,
    pub matched: &'a Matched,
    pub ask: &'a Ask,
    pub headers: &'a HeaderMap,
    /// Nobody is asked anything later than this.
    pub until: Instant,
}

impl Crossing<'_> {
    /// The tiers for the ask. Records how they were found, also where the ask is refused. Ends at once
    /// unless a rule hangs on the number of tokens, or the classifier is asked.
    pub async fn plan(&self) -> Result<Course, Refusal> {
        let settings = self.settings();
        if let Some(place) = pin::wished(self.matched, self.headers)? {
            self.record(Routed {
                by: "pin",
                name: settings.tiers[place].name().to_owned(),
                ..Routed::default()
            });
            // Of the rules only one that refuses the ask counts.
            if settings.rules.iter().any(rejects)
                && let Some((rule, routed)) = self.rule().await
                && rejects(rule)
            {
                return self.follow(rule, routed);
            }
            return self.plan_over(&[settings.tiers[place].unjudged()]);
        }
        if let Some((rule, routed)) = self.rule().await {
            return self.follow(rule, routed);
        }
        let all = self.plan_over(&settings.tiers)?;
        if let Some(plan) = self.stuck() {
            return Ok(plan);
        }
        // Where one tier is left there is nothing to choose; and the vectors of one model go with those
        // of no other, whatever an input is about.
        match all.plan.steps().len() {
            0 | 1 => Ok(all),
            _ if self.ask.wire == Wire::Embeddings => Ok(all),
            _ => match Box::pin(self.classified()).await {
                Some(plan) => Ok(plan),
                None => Ok(self.skipping(all)),
            },
        }
    }

    /// Where nothing else says where to begin: not with a tier that is not worth trying.
    fn skipping(&self, course: Course) -> Course {
        let settings = self.settings();
        let (Some(skip), Some(small)) = (&settings.skip, settings.tiers.first()) else {
            return course;
        };
        let coin = draw(&format!("skip {}", self.decision.id));
        let skipping = skipping(skip, (small, &course.plan), self.ask, coin);
        self.decision.state().skipping = skipping;
        match skipping.is_some_and(|skipping| skipping.skips) {
            true => course.sparing(small.name()),
            false => course,
        }
    }

    /// The first rule that matches, and why. Where none does, what was estimated goes into the record.
    async fn rule(&self) -> Option<(&Rule, Routed)> {
        let rules = &self.settings().rules;
        let facts = Gathered::new(self.ask, self.headers, pin::tenant(self.matched));
        let mut lengths = rules
            .iter()
            .filter_map(|rule| rule.when.prompt_tokens.as_ref());
        let bytes = lengths.next().map_or(0, |_| facts.prompt_bytes());
        let mut note = String::new();
        let evaluation = match first_match(rules, &facts, Length::Bytes(bytes)) {
            Evaluation::NeedsTokens => {
                let inquiry = Inquiry {
                    until: self.until.min(Instant::now() + LONGEST_COUNT),
                    ..self.inquiry()
                };
                let length = match Box::pin(inquiry.tokens(&self.settings().tiers[0])).await {
                    Ok(tokens) => Length::Tokens(tokens),
                    Err(unanswered) => {
                        note = format!("prompt estimated, {unanswered}");
                        Length::estimated(bytes)
                    }
                };
                first_match(rules, &facts, length)
            }
            evaluation => evaluation,
        };
        let Evaluation::Matched { rule, why } = evaluation else {
            self.decision.state().routed.add(&note);
            return None;
        };
        let mut routed = Routed {
            by: "rule",
            name: rule.name.clone(),
            why,
            ..Routed::default()
        };
        routed.add(&note);
        Some((rule, routed))
    }

    /// Does what the rule says.
    fn follow(&self, rule: &Rule, mut routed: Routed) -> Result<Course, Refusal> {
        let tiers = &self.settings().tiers;
        let chosen = match &rule.then {
            Then::Start(place) => tiers[*place..].to_vec(),
            Then::Only(place) => vec![tiers[*place].unjudged()],
            Then::Split(shares) => {
                let draw = draw(&self.decision.id);
                // The weights of a split sum to 100.
                let place = drawn(shares, draw).ok_or(Refusal::Defect)?;
                routed.add(&format!("drew {draw:.4} for {}", tiers[place].name()));
                routed.draw = Some(draw);
                tiers[place..].to_vec()
            }
            Then::Reject { message } => {
                self.record(routed);
                let (rule, message) = (rule.name.clone(), message.clone());
                return Err(Refusal::Rejected { rule, message });
            }
        };
        self.record(routed);
        self.plan_over(&chosen)
    }

    /// The tiers from where the conversation was raised to; nothing where it was not, or none of them may take
    /// the ask.
    fn stuck(&self) -> Option<Course> {
        let settings = self.settings();
        let conversation = self.conversation()?;
        let tier = self.shared.raised.tier(conversation, Instant::now())?;
        let place = settings.tiers.iter().position(|of| of.name() == tier)?;
        let plan = self.plan_over(&settings.tiers[place..]).ok()?;
        self.record(Routed {
            by: "sticky",
            name: tier,
            ..Routed::default()
        });
        Some(plan)
    }

    /// The one that the ask is part of, where the policy wants it to stay together.
    pub fn conversation(&self) -> Option<Conversation> {
        let Owner::Policy(policy) = &self.matched.route.owner else {
            return None;
        };
        let beginning = self.settings().is_sticky.then(|| self.ask.beginning())??;
        let tenant = self.decision.state().tenant.clone();
        Some(Conversation::of(&policy.name, &tenant, beginning))
    }

    /// The tiers from where the classifier says; nothing where it says nothing, or none of them may
    /// take the ask: a label is a guess, and refuses nobody.
    async fn classified(&self) -> Option<Course> {
        let classifier = self.settings().classifier.as_ref()?;
        let (place, probability) = match self.inquiry().label(classifier).await {
            Ok(best) => best,
            Err(unanswered) => {
                let mut routed = Routed {
                    by: "classifier_failed",
                    ..self.decision.state().routed.clone()
                };
                routed.add(&unanswered.to_string());
                self.record(routed);
                return None;
            }
        };
        let label = &classifier.labels[place];
        let tiers = &self.settings().tiers[label.start..];
        let mut routed = Routed {
            by: "classifier",
            name: tiers[0].name().to_owned(),
            ..self.decision.state().routed.clone()
        };
        routed.add(&format!("label {:?} at {probability:.4}", label.label));
        let plan = self.plan_over(tiers);
        if plan.is_err() {
            routed.add("no tier from there on may take the ask");
        }
        self.record(routed);
        plan.ok()
    }

    fn plan_over(&self, tiers: &[Tier]) -> Result<Course, Refusal> {
        plan(self.settings(), tiers, self.ask, self.headers)
    }

    fn inquiry(&self) -> Inquiry<'_> {
        Inquiry {
            shared: self.shared,
            ask: self.ask,
            tenant: self.decision.state().tenant.clone(),
            draws: self.decision.draws(0),
            until: self.until,
        }
    }

    fn settings(&self) -> &Settings {
        &self.matched.route.settings
    }

    fn record(&self, routed: Routed) {
        self.decision.state().routed = routed;
    }
}

fn rejects(rule: &Rule) -> bool {
    matches!(rule.then, Then::Reject { .. })
}

/// A number from 0 up to, but not, 1 that follows from the name of an ask, which nobody chooses:
/// whoever has the record can draw it again.
fn draw(id: &str) -> f64 {
    let digest = Sha256::new()
        .chain_update("split ")
        .chain_update(id)
        .finalize();
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&digest[..4]);
    f64::from(u32::from_le_bytes(bytes)) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_follow_from_the_name_of_the_ask_and_are_even() {
        assert_eq!(draw("a").to_bits(), draw("a").to_bits());
        let draws = (0..4000).map(|id| draw(&id.to_string()));
        let low = draws.filter(|draw| *draw < 0.25).count();
        assert!((900..1100).contains(&low), "{low} of 4000 in a quarter");
        assert!((0..4000).all(|id| (0.0..1.0).contains(&draw(&id.to_string()))));
    }
}
