//! The most that one call of an endpoint may cost.

use weir_crds::{Money, Provider};

use crate::tier::Endpoint;

/// The longest answer where neither the client nor the policy names one.
pub const DEFAULT_OUTPUT_TOKENS: u32 = 4096;
/// Nobody asks for more in earnest: the schema's own bound of `maxOutputTokens`.
const MOST_OUTPUT_TOKENS: u32 = 10_000_000;
/// How long the prompt of a call is of which nothing is known.
const ORDINARY_PROMPT: u64 = 2000;

/// What is known of a call before it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    pub prompt_tokens: u64,
    /// Of one answer, as the client has it.
    pub max_tokens: Option<u32>,
    /// Nothing is written: the prompt is only read.
    pub is_read_only: bool,
    pub choices: u32,
}

impl Call {
    /// One of which nothing is known.
    pub fn ordinary() -> Self {
        Self {
            prompt_tokens: ORDINARY_PROMPT,
            max_tokens: None,
            is_read_only: false,
            choices: 1,
        }
    }
}

/// The most that `call` may cost at `endpoint`: all of its prompt at the dearest price that a prompt may
/// have there, and its answers as long as they may be.
pub fn most(endpoint: &Endpoint, call: Call) -> Money {
    let price = endpoint.price;
    let input = match endpoint.provider {
        // Since GPT-5.6 OpenAI takes more for what it keeps as well.
        Provider::Anthropic | Provider::OpenAI => price.input.max(price.cache_write),
        Provider::OpenAICompatible => price.input,
    };
    let output = match call.is_read_only {
        true => 0,
        false => {
            let each = longest_answer(endpoint, call.max_tokens).unwrap_or(DEFAULT_OUTPUT_TOKENS);
            u64::from(each) * u64::from(call.choices)
        }
    };
    input.per_million(call.prompt_tokens) + price.output.per_million(output)
}

/// How long a call is told that its answer may be, in tokens; nothing where nobody has to say. What is put
/// aside for the call is for the same length.
pub fn longest_answer(endpoint: &Endpoint, asked: Option<u32>) -> Option<u32> {
    let most = endpoint.max_output_tokens;
    let named = asked.or(endpoint.default_output_tokens).or(most);
    // Anthropic's wire wants one.
    let needs_one = endpoint.has_budget || endpoint.provider == Provider::Anthropic;
    let named = named.or(needs_one.then_some(DEFAULT_OUTPUT_TOKENS))?;
    Some(named.min(most.unwrap_or(MOST_OUTPUT_TOKENS)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use serde_json::{Value, json};

    fn cost(endpoint: Value, call: Call) -> String {
        let mut policy = serde_json::to_value(testing::policy("support").spec).unwrap();
        for (field, value) in endpoint.as_object().unwrap() {
            policy["tiers"][1]["endpoint"][field] = value.clone();
        }
        let spec = serde_json::from_value(policy).unwrap();
        let settings = crate::validate::settings(&spec).unwrap();
        let endpoint = settings.tiers[1].endpoint().unwrap();
        most(endpoint, call).amount().normalize().to_string()
    }

    fn call(max_tokens: Option<u32>) -> Call {
        Call {
            prompt_tokens: 1000,
            max_tokens,
            ..Call::ordinary()
        }
    }

    #[test]
    fn an_answer_is_as_long_as_the_client_the_policy_or_we_say_within_what_the_policy_allows() {
        for (endpoint, max_tokens, expected) in [
            (json!({}), Some(100), "0.0075"),
            (json!({}), None, "0.06744"),
            (json!({ "defaultOutputTokens": 200 }), None, "0.009"),
            (json!({ "maxOutputTokens": 300 }), None, "0.0105"),
            (json!({ "maxOutputTokens": 300 }), Some(1000), "0.0105"),
            (
                json!({ "maxOutputTokens": 300, "defaultOutputTokens": 900 }),
                None,
                "0.0105",
            ),
            (json!({}), Some(u32::MAX), "150.006"),
        ] {
            assert_eq!(cost(endpoint, call(max_tokens)), expected);
        }
    }

    #[test]
    fn every_choice_is_written_and_the_prompt_is_read_once() {
        let several = Call {
            choices: 3,
            ..call(Some(100))
        };
        assert_eq!(cost(json!({}), several), "0.0105");
        let read = Call {
            is_read_only: true,
            ..several
        };
        assert_eq!(cost(json!({}), read), "0.006");
    }

    #[test]
    fn a_prompt_may_be_written_to_a_cache_that_takes_money_for_it() {
        let cost = |endpoint| cost(endpoint, call(Some(100)));
        assert_eq!(cost(json!({ "provider": "Anthropic" })), "0.0075");
        let said = json!({ "price": {
            "inputPerMillion": "3", "outputPerMillion": "15", "cacheWritePerMillion": "3.75",
        } });
        assert_eq!(cost(said), "0.00525");
    }
}
