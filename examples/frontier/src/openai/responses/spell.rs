//! Answers as responses, and as the events of one.

use serde_json::{Map, Value, json};

use super::Shown;
use super::items::{Item, Place};
use crate::answer::{Answer, Ending};
use crate::events::{Beat, End, Events, Style};
use crate::prompt::Input;

/// What a response has beside its items.
pub(super) struct Envelope<'a> {
    pub(super) number: u64,
    pub(super) created: u64,
    pub(super) model: &'a str,
    pub(super) tier: &'static str,
    /// What was asked, of which much is said again.
    pub(super) request: &'a Map<String, Value>,
    pub(super) shown: Shown,
    pub(super) input: Input,
}

/// What is said again as it came, and what it is where it did not come.
fn repeated() -> Value {
    json!({
        "background": false,
        "instructions": null,
        "max_output_tokens": null,
        "max_tool_calls": null,
        "metadata": {},
        "parallel_tool_calls": true,
        "previous_response_id": null,
        "prompt_cache_key": null,
        "reasoning": {"effort": null, "summary": null},
        "safety_identifier": null,
        "store": true,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_logprobs": 0,
        "top_p": 1.0,
        "truncation": "disabled",
        "user": null,
    })
}

impl Envelope<'_> {
    pub(super) fn whole(&self, answer: &Answer) -> Value {
        let items = self.items(answer).into_iter();
        let mut response = self.response(status(answer));
        response["output"] = items.map(|item| item.whole).collect();
        response["usage"] = self.usage(answer);
        if answer.ending == Ending::Length {
            response["incomplete_details"] = json!({"reason": "max_output_tokens"});
        }
        response
    }

    pub(super) fn failed(&self, why: &str) -> Value {
        let mut response = self.response("failed");
        response["error"] = json!({"code": "server_error", "message": why});
        response
    }

    pub(super) fn events(&self, answer: &Answer, trouble: &str) -> Events {
        let begun = |name: &str| json!({"type": format!("response.{name}"), "response": self.response("in_progress")});
        let mut middle = Vec::new();
        for (index, item) in self.items(answer).into_iter().enumerate() {
            let event = |name: &str, item: Value| {
                let name = format!("response.output_item.{name}");
                Beat::between(json!({"type": name, "output_index": index, "item": item}))
            };
            middle.push(event("added", item.begun));
            middle.extend(item.beats);
            middle.push(event("done", item.whole));
        }
        let end = format!("response.{}", status(answer));
        Events {
            style: Style::Numbered,
            head: vec![begun("created"), begun("in_progress")],
            middle,
            tail: Vec::new(),
            end: End::Event(json!({"type": end, "response": self.whole(answer)})),
            refusal: json!({"type": "error", "code": "server_error", "message": trouble, "param": null}),
            error: json!({"type": "response.failed", "response": self.failed(trouble)}),
        }
    }

    fn items(&self, answer: &Answer) -> Vec<Item> {
        let last = answer.parts.len().saturating_sub(1);
        let items = answer.parts.iter().enumerate().map(|(index, part)| {
            let is_cut = index == last && answer.ending == Ending::Length;
            let place = Place {
                number: self.number,
                index,
                shown: &self.shown,
                status: if is_cut { "incomplete" } else { "completed" },
            };
            place.item(part)
        });
        items.collect()
    }

    /// The response without its output.
    fn response(&self, status: &str) -> Value {
        let mut response = json!({
            "id": format!("resp_stand_in_{}", self.number),
            "object": "response",
            "created_at": self.created,
            "status": status,
            "error": null,
            "incomplete_details": null,
            "model": self.model,
            "output": [],
            "service_tier": self.tier,
            "usage": null,
        });
        if let (Value::Object(response), Value::Object(repeated)) = (&mut response, repeated()) {
            for (name, otherwise) in repeated {
                let asked = self.request.get(&name).filter(|value| !value.is_null());
                response.insert(name, asked.cloned().unwrap_or(otherwise));
            }
        }
        response
    }

    fn usage(&self, answer: &Answer) -> Value {
        let (input, written) = (&self.input, answer.tokens());
        json!({
            "input_tokens": input.tokens,
            "input_tokens_details": {
                "cached_tokens": input.read,
                "cache_write_tokens": input.written,
            },
            "output_tokens": written,
            "output_tokens_details": {"reasoning_tokens": answer.thought_tokens()},
            "total_tokens": input.tokens + written,
        })
    }
}

fn status(answer: &Answer) -> &'static str {
    match answer.ending {
        Ending::Length => "incomplete",
        _ => "completed",
    }
}
