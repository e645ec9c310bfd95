//! What a request says of the longest answer. It is what money was put aside for: under a budget nothing
//! that an endpoint does not take may leave it out.

use serde_json::{Map, Value};
use weir_policy::budget::estimate::longest_answer;
use weir_policy::tier::Endpoint;

use crate::ask::Ask;
use crate::wire::{LIMITS, Upstream, Wire, limit_field};

/// The field of a request on the wire that says it; nothing where answers have no length.
pub(super) fn field(sent: Wire, endpoint: &Endpoint) -> Option<&'static str> {
    match sent {
        Wire::Chat => Some(of_chat(endpoint)),
        Wire::Completions | Wire::Messages => Some("max_tokens"),
        Wire::Responses => Some("max_output_tokens"),
        Wire::Embeddings => None,
    }
}

/// Of the two names the usual one, or, where it must be said, the one that the endpoint takes.
fn of_chat(endpoint: &Endpoint) -> &'static str {
    let usual = limit_field(Upstream::of_endpoint(endpoint));
    let is_taken = |name: &&str| !endpoint.unsupported.iter().any(|entry| entry == name);
    if !endpoint.has_budget || is_taken(&usual) {
        return usual;
    }
    LIMITS.into_iter().find(is_taken).unwrap_or(usual)
}

pub(super) fn put(body: &mut Map<String, Value>, (sent, endpoint): (Wire, &Endpoint), ask: &Ask) {
    let most = longest_answer(endpoint, ask.max_tokens);
    if let (Some(field), Some(most)) = (field(sent, endpoint), most) {
        body.insert(field.into(), most.into());
    }
}

/// Whether `name` stays in the request although the endpoint is said not to take it.
pub(super) fn must_stay(name: &str, (sent, endpoint): (Wire, &Endpoint)) -> bool {
    endpoint.has_budget && field(sent, endpoint) == Some(name)
}

#[cfg(test)]
mod tests {
    use super::super::body;
    use super::*;
    use crate::attempt::test_endpoint;
    use crate::decode::decode;
    use crate::money::most_of;
    use serde_json::json;
    use weir_crds::{Money, Provider};

    const NAMES: [&str; 3] = ["max_tokens", "max_completion_tokens", "max_output_tokens"];

    /// Where a token of an answer costs a dollar and a prompt nothing.
    fn endpoint(provider: Provider) -> Endpoint {
        let mut endpoint = test_endpoint(provider);
        endpoint.has_budget = true;
        endpoint.max_output_tokens = None;
        endpoint.price.output = "1000000".parse().unwrap();
        endpoint
    }

    fn asking(wire: Wire, most: Option<u32>) -> Ask {
        let mut ask = json!({ "model": "m" });
        match wire {
            Wire::Completions => ask["prompt"] = "hi".into(),
            Wire::Responses => ask["input"] = "hi".into(),
            _ => ask["messages"] = json!([{ "role": "user", "content": "hi" }]),
        }
        match (wire, most) {
            (Wire::Messages, None) => ask["max_tokens"] = 4096.into(),
            (Wire::Responses, Some(most)) => ask["max_output_tokens"] = most.into(),
            (_, Some(most)) => ask["max_tokens"] = most.into(),
            (_, None) => {}
        }
        decode(wire, ask.to_string().as_bytes()).unwrap()
    }

    /// What is told, which must be what is put aside.
    fn told(wire: Wire, endpoint: &Endpoint, most: Option<u32>) -> u64 {
        let ask = asking(wire, most);
        let sent = Upstream::of_endpoint(endpoint).wire_for(wire).unwrap();
        let body = body(sent, endpoint, &ask);
        let names = NAMES.iter().filter_map(|name| body[name].as_u64());
        let told: Vec<u64> = names.collect();
        assert_eq!(told.len(), 1, "{body}");
        let reserved: Money = told[0].to_string().parse().unwrap();
        assert_eq!(most_of(&ask, endpoint), reserved, "{wire:?} {body}");
        told[0]
    }

    #[test]
    fn under_a_budget_a_call_is_told_what_was_put_aside_for_it() {
        for (provider, wires) in [
            (Provider::Anthropic, &[Wire::Chat, Wire::Messages][..]),
            (Provider::OpenAI, &Wire::ALL[..4]),
            (Provider::OpenAICompatible, &Wire::ALL[..4]),
        ] {
            for wire in wires {
                let mut endpoint = endpoint(provider);
                // The old completions have a default of their own.
                let usual = if *wire == Wire::Completions { 16 } else { 4096 };
                assert_eq!(told(*wire, &endpoint, None), usual);
                assert_eq!(told(*wire, &endpoint, Some(100)), 100);
                endpoint.max_output_tokens = Some(50);
                assert_eq!(told(*wire, &endpoint, Some(100)), 50);
                endpoint.default_output_tokens = Some(70);
                assert_eq!(told(*wire, &endpoint, None), usual.min(50), "{wire:?}");
            }
        }
    }

    #[test]
    fn under_a_budget_the_bound_goes_out_by_the_name_that_the_endpoint_takes() {
        for provider in [Provider::OpenAI, Provider::OpenAICompatible] {
            for (entry, other) in [(0, 1), (1, 0)] {
                let mut endpoint = endpoint(provider);
                endpoint.unsupported = vec![NAMES[entry].into()];
                let body = body(Wire::Chat, &endpoint, &asking(Wire::Chat, Some(9)));
                assert_eq!(body[NAMES[other]], 9, "{body}");
                assert!(body[NAMES[entry]].is_null(), "{body}");
                for wire in &Wire::ALL[..4] {
                    told(*wire, &endpoint, None);
                }
            }
        }
    }

    #[test]
    fn without_a_budget_what_an_endpoint_does_not_take_is_left_out() {
        let mut endpoint = endpoint(Provider::OpenAICompatible);
        endpoint.has_budget = false;
        let ask = asking(Wire::Chat, Some(9));
        assert_eq!(body(Wire::Chat, &endpoint, &ask)["max_tokens"], 9);
        endpoint.unsupported = vec!["max_tokens".into()];
        let body = body(Wire::Chat, &endpoint, &ask);
        assert!(NAMES.iter().all(|name| body[name].is_null()), "{body}");
    }
}
