//! How many tokens an ask is counted with: reserved before it is asked of a tier, counted when it is over. Pure.

use weir_policy::tier::Tier;
use weir_policy::validate::Settings;

use crate::ask::Ask;
use crate::decision::AttemptLine;
use crate::refusal::Refusal;
use crate::wire::Wire;

/// Shorter than tokens of most texts are, so that too little is reserved of few.
const BYTES_PER_TOKEN: u64 = 3;
/// Where neither the client nor an endpoint of the policy says how long an answer may be.
const USUAL_OUTPUT_TOKENS: u64 = 1024;

/// What an ask may come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Estimate {
    pub prompt: u64,
    /// Of all answers.
    pub output: u64,
}

impl Estimate {
    pub fn of(ask: &Ask, settings: &Settings) -> Self {
        let output = match ask.wire {
            Wire::Embeddings => 0,
            _ => output(ask.max_tokens, &settings.tiers),
        };
        Self {
            prompt: ask.prompt_bytes().div_ceil(BYTES_PER_TOKEN),
            output: output.saturating_mul(ask.choices.into()),
        }
    }

    pub fn tokens(self) -> u64 {
        self.prompt.saturating_add(self.output).max(1)
    }

    /// Refuses what no wait would help: an ask that is longer than all that a minute may have.
    pub fn fits(self, ask: &Ask, most: u64) -> Result<(), Refusal> {
        if self.tokens() <= most {
            return Ok(());
        }
        let Self { prompt, output } = self;
        if prompt > most {
            let message = format!(
                "is about {prompt} tokens long, and no more than {most} tokens a minute are allowed here"
            );
            return Err(Refusal::field(prompt_field(ask), message));
        }
        let field = length_field(ask);
        let left = most - prompt;
        let message = format!(
            "{output} tokens of answers and about {prompt} of the prompt are more than the {most} tokens a minute \
             that are allowed here: {left} are left for all answers"
        );
        Err(Refusal::field(field, message))
    }
}

/// Where its prompt is.
pub(crate) fn prompt_field(ask: &Ask) -> &'static str {
    match ask.wire {
        Wire::Chat | Wire::Messages => "messages",
        Wire::Completions => "prompt",
        Wire::Responses | Wire::Embeddings => "input",
    }
}

/// What the client says by how long its answer may be.
pub(crate) fn length_field(ask: &Ask) -> &'static str {
    match ask.wire {
        Wire::Responses => "max_output_tokens",
        Wire::Chat if ask.body.contains_key("max_completion_tokens") => "max_completion_tokens",
        _ => "max_tokens",
    }
}

/// The most tokens of one answer.
fn output(asked: Option<u32>, tiers: &[Tier]) -> u64 {
    let endpoints = || tiers.iter().map(Tier::endpoint);
    let defaults = endpoints().filter_map(|endpoint| endpoint?.default_output_tokens);
    let asked = asked.or(defaults.max());
    let asked = asked.map_or(USUAL_OUTPUT_TOKENS, u64::from);
    // Of a deployment nobody knows how much it may write.
    let most: Option<Vec<u32>> = endpoints()
        .map(|endpoint| endpoint?.max_output_tokens)
        .collect();
    let most = most.and_then(|most| most.into_iter().max());
    most.map_or(asked, |most| asked.min(most.into()))
}

/// What an ask came to: its largest attempt, so that going up a tier is not counted twice.
pub(crate) fn used(estimate: Estimate, attempts: &[AttemptLine]) -> u64 {
    let worked = attempts.iter().filter(|attempt| attempt.has_worked());
    let tokens = worked.map(|attempt| {
        let read = match attempt.is_estimated {
            true => estimate.prompt,
            false => attempt.tokens_in,
        };
        read.saturating_add(attempt.tokens_out)
    });
    tokens.max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn settings(endpoint: Value) -> Settings {
        let spec = serde_json::from_value(json!({
            "models": ["m"],
            "tiers": [{ "name": "big", "endpoint": endpoint }],
        }));
        weir_policy::validate::settings(&spec.unwrap()).unwrap()
    }

    fn ask(wire: Wire, extra: Value) -> Ask {
        let mut body =
            json!({ "model": "m", "messages": [{ "role": "user", "content": "123456789" }] });
        for (field, value) in extra.as_object().unwrap() {
            body[field] = value.clone();
        }
        crate::decode::decode(wire, body.to_string().as_bytes()).unwrap()
    }

    fn tokens(extra: Value, endpoint: Value) -> u64 {
        let mut all = json!({ "provider": "OpenAI", "model": "big" });
        for (field, value) in endpoint.as_object().unwrap() {
            all[field] = value.clone();
        }
        Estimate::of(&ask(Wire::Chat, extra), &settings(all)).tokens()
    }

    #[test]
    fn an_ask_may_come_to_its_prompt_and_as_much_as_may_be_answered() {
        let none = json!({});
        assert_eq!(tokens(json!({ "max_tokens": 10 }), none.clone()), 13);
        assert_eq!(
            tokens(json!({ "max_tokens": 10, "n": 4 }), none.clone()),
            43
        );
        assert_eq!(tokens(none.clone(), none.clone()), 3 + 1024);
        let default = json!({ "defaultOutputTokens": 50 });
        assert_eq!(tokens(none, default), 53);
        let most = json!({ "maxOutputTokens": 7 });
        assert_eq!(tokens(json!({ "max_tokens": 10 }), most), 10);
    }

    #[test]
    fn what_a_minute_cannot_hold_is_refused_by_the_field_that_can_be_made_smaller() {
        let estimate = Estimate {
            prompt: 30,
            output: 100,
        };
        let refused = |wire, extra, most| {
            let refusal = estimate.fits(&ask(wire, extra), most).unwrap_err();
            assert_eq!(refusal.status(), 400);
            refusal.to_string()
        };
        let most = json!({ "max_tokens": 100 });
        assert!(estimate.fits(&ask(Wire::Chat, most.clone()), 130).is_ok());
        let text = refused(Wire::Messages, most.clone(), 129);
        assert!(text.starts_with("max_tokens: "), "{text}");
        assert!(text.ends_with("99 are left for all answers"), "{text}");
        let newer = json!({ "max_completion_tokens": 100 });
        assert!(refused(Wire::Chat, newer, 50).starts_with("max_completion_tokens: "));
        assert!(refused(Wire::Chat, most, 29).starts_with("messages: "));
    }

    #[test]
    fn an_ask_comes_to_its_largest_attempt_and_to_nothing_where_nobody_worked() {
        let line = |outcome, tokens_in, tokens_out, is_estimated| AttemptLine {
            outcome,
            tokens_in,
            tokens_out,
            is_estimated,
            replica: Some(([127, 0, 0, 1], 1).into()),
            ..AttemptLine::default()
        };
        let used = |attempts: &[AttemptLine]| {
            let estimate = Estimate {
                prompt: 30,
                output: 100,
            };
            used(estimate, attempts)
        };
        assert_eq!(used(&[]), 0);
        assert_eq!(used(&[line("connect", 0, 0, true)]), 0);
        assert_eq!(used(&[line("lost", 0, 4, true)]), 34);
        let dropped = line("dropped", 0, 4, true);
        assert_eq!(used(&[dropped, line("committed", 25, 60, false)]), 85);
    }
}
