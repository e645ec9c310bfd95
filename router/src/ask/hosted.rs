//! What a provider takes another price for than for tokens of text: tools that it runs by itself, whose cost
//! is not in the request, and sound.

use serde_json::Value;
use weir_crds::Provider;
use weir_policy::tier::Endpoint;

use super::Ask;
use crate::wire::Wire;

impl Ask {
    /// Where the ask wants what the price of tokens at the endpoint does not cover, and whose field has no
    /// other meaning that it could be left out for.
    pub(super) fn uncounted(&self, endpoint: &Endpoint) -> Vec<String> {
        let mut uncounted = self.run_by_providers();
        // Others may have one price for all that is read.
        if endpoint.provider == Provider::OpenAI {
            uncounted.extend(self.sounds());
        }
        uncounted
    }

    /// Where the conversation holds sound, or names some that was answered before.
    fn sounds(&self) -> Vec<String> {
        let mut sounds = Vec::new();
        for list in ["messages", "input"] {
            let items = self.body.get(list).and_then(Value::as_array);
            for (at, item) in items.into_iter().flatten().enumerate() {
                sounds_of(item, &format!("{list}[{at}]"), &mut sounds);
            }
        }
        sounds
    }

    /// Where the ask wants tools that its client does not run. One of which nobody knows who runs it counts.
    fn run_by_providers(&self) -> Vec<String> {
        let tools = self.body.get("tools").and_then(|tools| tools.as_array());
        let tools = tools.into_iter().flatten().enumerate();
        let hosted = tools.filter(|(_, tool)| {
            let kind = tool.get("type").and_then(|kind| kind.as_str());
            !kind.is_none_or(|kind| is_run_by_clients(self.wire, kind))
        });
        hosted.map(|(index, _)| format!("tools[{index}]")).collect()
    }
}

/// Those of one message, or of another item of a conversation, that lies at `place`.
fn sounds_of(item: &Value, place: &str, sounds: &mut Vec<String>) {
    if is_sound(item) {
        sounds.push(place.to_owned());
    }
    if item.get("audio").is_some_and(|audio| !audio.is_null()) {
        sounds.push(format!("{place}.audio"));
    }
    for member in ["content", "output"] {
        let parts = item.get(member).and_then(Value::as_array);
        let parts = parts.into_iter().flatten().enumerate();
        let sound = parts.filter(|(_, part)| is_sound(part));
        sounds.extend(sound.map(|(part, _)| format!("{place}.{member}[{part}]")));
    }
}

fn is_sound(part: &Value) -> bool {
    part["type"] == "input_audio"
}

fn is_run_by_clients(wire: Wire, kind: &str) -> bool {
    let kinds: &[&str] = match wire {
        Wire::Messages => &["bash_", "text_editor_", "computer_", "memory_"],
        Wire::Responses => &["local_shell", "apply_patch", "computer"],
        Wire::Chat | Wire::Completions | Wire::Embeddings => &[],
    };
    matches!(kind, "function" | "custom") || kinds.iter().any(|begin| kind.starts_with(begin))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::decode;
    use crate::wire::Beyond;
    use serde_json::json;

    /// What of an ask with `tools` an endpoint does not take, whose tokens cost `price` within `budget`.
    fn missed(wire: Wire, tools: &Value, within: (&str, Value)) -> Vec<String> {
        beyond(wire, json!({ "tools": tools }), within).required
    }

    /// The same of an ask with all of `body`.
    fn beyond(wire: Wire, mut body: Value, (price, budget): (&str, Value)) -> Beyond {
        body["model"] = "m".into();
        match wire {
            _ if body.get("messages").is_some() || body.get("input").is_some() => {}
            Wire::Responses => body["input"] = "hi".into(),
            _ => body["messages"] = json!([{ "role": "user", "content": "hi" }]),
        }
        if wire == Wire::Messages {
            body["max_tokens"] = 9.into();
        }
        let ask = decode(wire, body.to_string().as_bytes()).unwrap();
        let provider = match wire {
            Wire::Messages => "Anthropic",
            _ => "OpenAI",
        };
        let spec = serde_json::from_value(json!({
            "models": ["m"],
            "tiers": [{ "name": "big", "endpoint": {
                "provider": provider, "model": "big",
                "price": { "inputPerMillion": price, "outputPerMillion": "0" },
            } }],
            "budget": budget,
        }));
        let settings = weir_policy::validate::settings(&spec.unwrap()).unwrap();
        ask.beyond_at(&settings.tiers[0])
    }

    fn month() -> Value {
        json!([{ "period": "Month", "limit": "10" }])
    }

    #[test]
    fn a_budget_pays_for_no_tool_whose_cost_is_not_in_the_request() {
        for (wire, kind) in [
            (Wire::Messages, "web_search_20250305"),
            (Wire::Messages, "code_execution_20250825"),
            (Wire::Responses, "web_search"),
            (Wire::Responses, "mcp"),
        ] {
            let tools = json!([{ "type": kind, "name": "t" }]);
            assert_eq!(missed(wire, &tools, ("3", month())), ["tools[0]"], "{kind}");
            assert!(missed(wire, &tools, ("0", month())).is_empty(), "{kind}");
            assert!(missed(wire, &tools, ("3", json!([]))).is_empty(), "{kind}");
        }
    }

    #[test]
    fn a_budget_pays_for_nothing_that_has_another_price_than_tokens_of_text() {
        let sound = json!([{ "role": "user", "content": [
            { "type": "text", "text": "What is said?" },
            { "type": "input_audio", "input_audio": { "data": "AAAA", "format": "wav" } },
        ] }]);
        let said = json!([
            { "role": "assistant", "audio": { "id": "audio_1" } },
            { "role": "user", "content": "Again." },
        ]);
        let heard = json!([{ "role": "user", "content": [
            { "type": "input_text", "text": "What is said?" },
            { "type": "input_audio", "input_audio": { "data": "AAAA", "format": "wav" } },
        ] }]);
        let loud = json!({ "modalities": ["text", "audio"], "audio": { "voice": "alloy" } });
        for (wire, body, expected) in [
            (
                Wire::Messages,
                json!({ "inference_geo": "us" }),
                vec!["inference_geo"],
            ),
            (Wire::Messages, json!({ "inference_geo": "global" }), vec![]),
            (Wire::Chat, loud, vec!["modalities", "audio"]),
            (Wire::Chat, json!({ "modalities": ["text"] }), vec![]),
            (
                Wire::Chat,
                json!({ "messages": sound }),
                vec!["messages[0].content[1]"],
            ),
            (
                Wire::Chat,
                json!({ "messages": said }),
                vec!["messages[0].audio"],
            ),
            (
                Wire::Responses,
                json!({ "input": heard }),
                vec!["input[0].content[1]"],
            ),
        ] {
            let required = |within| beyond(wire, body.clone(), within).required;
            let mut counted = required(("3", month()));
            counted.sort_by_key(|field| expected.iter().position(|of| of == field));
            assert_eq!(counted, expected, "{body}");
            assert!(required(("0", month())).is_empty(), "{body}");
            assert!(required(("3", json!([]))).is_empty(), "{body}");
        }
    }

    #[test]
    fn what_only_makes_a_call_dearer_is_left_out_under_a_budget() {
        for (wire, body, field) in [
            (Wire::Messages, json!({ "speed": "fast" }), "speed"),
            (
                Wire::Responses,
                json!({ "service_tier": "priority" }),
                "service_tier",
            ),
            (
                Wire::Chat,
                json!({ "prediction": { "type": "content", "content": "a" } }),
                "prediction",
            ),
        ] {
            let beyond = |within| beyond(wire, body.clone(), within);
            assert_eq!(beyond(("3", month())).advisory, [field], "{body}");
            assert_eq!(beyond(("3", json!([]))), Beyond::default(), "{body}");
        }
    }

    #[test]
    fn tools_that_clients_run_are_paid_for() {
        for (wire, tool) in [
            (
                Wire::Messages,
                json!({ "type": "bash_20250124", "name": "bash" }),
            ),
            (Wire::Messages, json!({ "name": "f", "input_schema": {} })),
            (
                Wire::Responses,
                json!({ "type": "function", "name": "f", "parameters": {} }),
            ),
        ] {
            let missed = missed(wire, &json!([tool]), ("3", month()));
            assert!(missed.is_empty(), "{tool}");
        }
    }
}
