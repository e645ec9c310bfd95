//! Log-probabilities that the cascade wants of an endpoint, whatever the client wants.

use serde_json::{Map, Value, json};
use weir_policy::tier::Endpoint;

use crate::ask::Ask;
use crate::wire::{self, Upstream, Wire};

/// By the two likeliest it is known how far the first is ahead.
pub(in crate::attempt::endpoint) const ALTERNATIVES: u32 = 2;
/// What includes them in a response.
const INCLUDED: &str = "message.output_text.logprobs";

/// Asks for them in `body`, which is sent on the wire `sent`, as far as the endpoint has them. Gives whether
/// it does.
pub(super) fn add(
    body: &mut Map<String, Value>,
    sent: Wire,
    (endpoint, ask): (&Endpoint, &Ask),
) -> bool {
    let lacks = |field: &str| {
        let at = (Upstream::of_endpoint(endpoint), sent);
        let entries = endpoint.unsupported.iter();
        let mut spelled = entries.flat_map(|entry| wire::spelled(entry, at));
        spelled.any(|name| name == field)
    };
    let most = ask.logprobs.unwrap_or(0).max(ALTERNATIVES);
    match sent {
        Wire::Chat if !lacks("logprobs") => {
            body.insert("logprobs".into(), true.into());
            if !lacks("top_logprobs") {
                body.insert("top_logprobs".into(), most.into());
            }
        }
        // A prompt that is shown again has some too, and which are whose is not said.
        Wire::Completions if !lacks("logprobs") && !ask.echo => {
            body.insert("logprobs".into(), most.into());
        }
        Wire::Responses if !lacks("include") && !lacks("top_logprobs") => {
            let include = body.entry("include").or_insert_with(|| json!([]));
            if let Value::Array(include) = include
                && !include.contains(&INCLUDED.into())
            {
                include.push(INCLUDED.into());
            }
            body.insert("top_logprobs".into(), most.into());
        }
        Wire::Chat | Wire::Completions | Wire::Responses | Wire::Messages | Wire::Embeddings => {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use weir_crds::Provider;

    use super::*;
    use crate::attempt::test_endpoint;
    use crate::decode::decode;

    fn asked(sent: Wire, unsupported: &[&str], ask: Value) -> (bool, Value) {
        let ask = decode(sent, ask.to_string().as_bytes()).unwrap();
        let mut endpoint = test_endpoint(Provider::OpenAI);
        endpoint.unsupported = unsupported.iter().map(|&entry| entry.to_owned()).collect();
        let mut body = Map::new();
        let is_asked = add(&mut body, sent, (&endpoint, &ask));
        (is_asked, Value::Object(body))
    }

    fn chat(extra: Value) -> Value {
        let mut body = json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }] });
        for (field, value) in extra.as_object().unwrap() {
            body[field] = value.clone();
        }
        body
    }

    #[test]
    fn each_wire_is_asked_in_its_own_words() {
        let two = json!({ "logprobs": true, "top_logprobs": 2 });
        assert_eq!(asked(Wire::Chat, &[], chat(json!({}))), (true, two.clone()));
        let fewer = chat(json!({ "logprobs": true, "top_logprobs": 1 }));
        assert_eq!(asked(Wire::Chat, &[], fewer), (true, two));
        let more = chat(json!({ "logprobs": true, "top_logprobs": 5 }));
        let (_, body) = asked(Wire::Chat, &[], more);
        assert_eq!(body["top_logprobs"], 5);
        let text = json!({ "model": "m", "prompt": "hi" });
        let (_, body) = asked(Wire::Completions, &[], text);
        assert_eq!(body, json!({ "logprobs": 2 }));
        let input = json!({ "model": "m", "input": "hi" });
        let (_, body) = asked(Wire::Responses, &[], input);
        assert_eq!(body, json!({ "include": [INCLUDED], "top_logprobs": 2 }));
    }

    #[test]
    fn what_the_endpoint_does_not_take_is_not_asked_of_it() {
        let nothing = (false, json!({}));
        let hi = || chat(json!({}));
        assert_eq!(asked(Wire::Chat, &["logprobs"], hi()), nothing);
        let alone = (true, json!({ "logprobs": true }));
        assert_eq!(asked(Wire::Chat, &["top_logprobs"], hi()), alone);
        let input = json!({ "model": "m", "input": "hi" });
        assert_eq!(asked(Wire::Responses, &["logprobs"], input), nothing);
        let again = json!({ "model": "m", "prompt": "hi", "echo": true });
        assert_eq!(asked(Wire::Completions, &[], again), nothing);
        let message = json!({
            "model": "m", "max_tokens": 9, "messages": [{ "role": "user", "content": "hi" }],
        });
        assert_eq!(asked(Wire::Messages, &[], message), nothing);
    }
}
