//! Tools that a provider runs by itself. What they read and cost is not in the request.

use super::Ask;
use crate::wire::Wire;

impl Ask {
    /// Where the ask wants tools that its client does not run. One of which nobody knows who runs it counts.
    pub(super) fn run_by_providers(&self) -> Vec<String> {
        let tools = self.body.get("tools").and_then(|tools| tools.as_array());
        let tools = tools.into_iter().flatten().enumerate();
        let hosted = tools.filter(|(_, tool)| {
            let kind = tool.get("type").and_then(|kind| kind.as_str());
            !kind.is_none_or(|kind| is_run_by_clients(self.wire, kind))
        });
        hosted.map(|(index, _)| format!("tools[{index}]")).collect()
    }
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
    use serde_json::{Value, json};

    /// What of an ask with `tools` an endpoint does not take, whose tokens cost `price` within `budget`.
    fn missed(wire: Wire, tools: &Value, (price, budget): (&str, Value)) -> Vec<String> {
        let mut body = json!({ "model": "m", "tools": tools });
        match wire {
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
        ask.beyond_at(&settings.tiers[0]).required
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
