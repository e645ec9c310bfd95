//! What of an ask a tier does not take: because of its kind, or because its policy says so.

use serde_json::Value;
use weir_policy::tier::{ANTHROPIC_WITHOUT_SAMPLING, Endpoint, Tier};

use super::{Ask, Needed, Part, Role};
use crate::wire::{self, Beyond, LIMITS, Upstream, Wire};

/// What the list of an endpoint that is blind may call it: any wire's word for an image.
const IMAGES: [&str; 4] = ["images", "image", "image_url", "input_image"];
const LOGPROBS: [&str; 2] = ["logprobs", "top_logprobs"];

impl Ask {
    /// What of the ask the tier does not take.
    pub fn beyond_at(&self, tier: &Tier) -> Beyond {
        let mut beyond = self.beyond(Upstream::of(tier));
        if let Some(endpoint) = tier.endpoint() {
            self.add_unsupported(endpoint, &mut beyond);
            if endpoint.is_counted() {
                beyond.required.extend(self.uncounted(endpoint));
            }
        }
        beyond
    }

    /// What of the ask no endpoint of the kind takes.
    pub fn beyond(&self, upstream: Upstream) -> Beyond {
        let mut beyond = wire::beyond(self.wire, &self.body, upstream);
        let needs = self.needs.iter();
        let unmet = needs.filter(|need| !self.meets(upstream, need.what));
        beyond.required.extend(unmet.map(|need| need.field.clone()));
        if upstream == Upstream::Anthropic && self.includes_logprobs() {
            beyond.required.push("include".to_owned());
        }
        if upstream.wire_for(self.wire) == Some(Wire::Messages) && self.wire != Wire::Messages {
            beyond.advisory.extend(self.unsaid_in_messages());
        }
        beyond
    }

    /// What the endpoint does not take although its kind does. It is missed as much as if its kind did
    /// not take it: whoever may leave it out is told by the most modest kind.
    fn add_unsupported(&self, endpoint: &Endpoint, beyond: &mut Beyond) {
        let upstream = Upstream::of_endpoint(endpoint);
        let Some(sent) = upstream.wire_for(self.wire) else {
            return;
        };
        for entry in &endpoint.unsupported {
            let entry = entry.as_str();
            if IMAGES.contains(&entry) {
                let needs = self.needs.iter();
                let images = needs.filter(|need| need.what == Needed::Sight);
                beyond
                    .required
                    .extend(images.map(|need| need.field.clone()));
            }
            if LOGPROBS.contains(&entry) && sent != self.wire && self.includes_logprobs() {
                beyond.required.push("include".to_owned());
            }
            let is_bound = |name: &&str| LIMITS.contains(name) || *name == "max_output_tokens";
            let names = wire::spelled(entry, (upstream, sent)).into_iter();
            // What a call may cost follows from it, so it goes out all the same.
            for name in names.filter(|name| !(endpoint.has_budget && is_bound(name))) {
                for (field, value) in wire::said((self.wire, &self.body), name, sent) {
                    let all = [&beyond.required, &beyond.advisory];
                    if all.into_iter().any(|known| known.contains(&field)) {
                        continue;
                    }
                    match self.is_missed(&field, value) {
                        Some(true) => beyond.required.push(field),
                        Some(false) => beyond.advisory.push(field),
                        None => {}
                    }
                }
            }
        }
        let refuses_a_beginning = upstream == Upstream::Anthropic
            && endpoint.anthropic_version() >= ANTHROPIC_WITHOUT_SAMPLING;
        if refuses_a_beginning && self.begins_the_answer() {
            let field = match self.wire {
                Wire::Responses => "input",
                _ => "messages",
            };
            beyond.required.push(field.to_owned());
        }
    }

    /// Whether the answer would be another one without `field`; nothing where that asks for nothing.
    fn is_missed(&self, field: &str, value: &Value) -> Option<bool> {
        let row = wire::row_of(self.wire, field);
        match row {
            Some(row) if row.is_neutral(value) => None,
            row => Some(row.is_some_and(|row| row.must_be_served(self.wire))),
        }
    }

    /// Whether log-probabilities without alternatives are wanted, which has no field of its own.
    fn includes_logprobs(&self) -> bool {
        self.wire == Wire::Responses && self.logprobs == Some(0)
    }

    /// Whether the client has written the beginning of the answer. One that a hosted tool has paused
    /// goes on by itself.
    fn begins_the_answer(&self) -> bool {
        let last = self.messages().last();
        let last = last.filter(|message| message.role == Role::Assistant);
        last.is_some_and(|message| {
            let is_paused = message.parts.contains(&Part::Foreign);
            let is_text =
                matches!(message.parts.last(), Some(Part::Text(text)) if !text.is_empty());
            is_text && !is_paused
        })
    }

    /// Where this ask of another wire says what Anthropic's has no word for.
    fn unsaid_in_messages(&self) -> Vec<String> {
        let is_list = self.body.get("stop").is_some_and(Value::is_array);
        let blanks = self.stop.iter().enumerate();
        let blanks = blanks.filter(|(_, stop)| wire::is_blank(stop));
        let mut unsaid: Vec<String> = blanks
            .map(|(index, _)| match is_list {
                true => format!("stop[{index}]"),
                false => "stop".to_owned(),
            })
            .collect();
        let effort = self.effort.as_deref();
        if effort.is_some_and(|word| wire::anthropic_effort(word).is_none()) {
            let field = match self.wire {
                Wire::Responses => "reasoning.effort",
                _ => "reasoning_effort",
            };
            unsaid.push(field.to_owned());
        }
        unsaid
    }

    fn meets(&self, upstream: Upstream, what: Needed) -> bool {
        match what {
            Needed::Sight => upstream != Upstream::Worker,
            Needed::AnyObject => upstream != Upstream::Anthropic,
            Needed::OwnWire => upstream.is_own(self.wire),
        }
    }
}
