//! An OpenAI response, whole or as events. Nothing of it is stored.

mod items;

use serde_json::{Map, Value, json};

use super::gathered::Gathered;
use super::{About, Content, Voice, text};
use crate::answer::{Begin, End, Piece, Stop, Usage};
use crate::ask::Ask;
use crate::refusal::{Failure, Refusal};
use items::{Item, Items};

pub(super) struct Responses {
    /// The response as it is before anything is known of its answer.
    blank: Value,
    items: Items,
    /// Of the next event.
    sequence: u64,
    has_begun: bool,
}

/// What a response says again of its request, and what it says where the request did not.
const ECHOED: [(&str, &str); 14] = [
    ("instructions", "null"),
    ("max_output_tokens", "null"),
    ("max_tool_calls", "null"),
    ("metadata", "{}"),
    ("parallel_tool_calls", "true"),
    ("prompt_cache_key", "null"),
    ("reasoning", r#"{"effort":null,"summary":null}"#),
    ("temperature", "1.0"),
    ("text", r#"{"format":{"type":"text"}}"#),
    ("tool_choice", "\"auto\""),
    ("tools", "[]"),
    ("top_logprobs", "0"),
    ("top_p", "1.0"),
    ("truncation", "\"disabled\""),
];

impl Responses {
    pub fn new(about: About, ask: &Ask) -> Self {
        let mut blank = json!({
            "id": format!("resp_{}", about.id),
            "object": "response",
            "created_at": about.created,
            "status": "in_progress",
            "background": false,
            "error": null,
            "incomplete_details": null,
            "model": about.model,
            "output": [],
            "previous_response_id": null,
            "store": false,
            "usage": null,
        });
        for (field, default) in ECHOED {
            let said = ask.body.get(field).filter(|value| !value.is_null());
            blank[field] = match said {
                Some(said) => said.clone(),
                None => serde_json::from_str(default).unwrap_or_default(),
            };
        }
        if let Some(user) = ask.body.get("user") {
            blank["user"] = user.clone();
        }
        Self {
            blank,
            items: Items::new(&about.id),
            sequence: 0,
            has_begun: false,
        }
    }

    fn event(&mut self, mut body: Value) -> String {
        body["sequence_number"] = self.sequence.into();
        self.sequence += 1;
        let name = body["type"].as_str().unwrap_or_default();
        format!("event: {name}\ndata: {body}\n\n")
    }

    fn events(&mut self, bodies: Vec<Value>) -> String {
        let texts = bodies.into_iter().map(|body| self.event(body));
        texts.collect()
    }

    /// Said once, before anything else.
    fn first(&mut self) -> String {
        if std::mem::replace(&mut self.has_begun, true) {
            return String::new();
        }
        let blank = &self.blank;
        let created = json!({ "type": "response.created", "response": blank });
        let in_progress = json!({ "type": "response.in_progress", "response": blank });
        self.events(vec![created, in_progress])
    }

    /// The response with its answer.
    fn finished(&mut self, output: Vec<Value>, end: &End) -> Value {
        if let Some(native) = &end.native {
            return self.of_native(native.clone(), end);
        }
        let reason = match end.stops.first() {
            Some(Stop::Length | Stop::Context) => Some("max_output_tokens"),
            Some(Stop::Refusal) if output.is_empty() => Some("content_filter"),
            _ => None,
        };
        let mut response = self.blank.clone();
        response["output"] = output.into();
        response["usage"] = usage(end.usage);
        response["status"] = match reason {
            Some(reason) => {
                response["incomplete_details"] = json!({ "reason": reason });
                "incomplete".into()
            }
            None => "completed".into(),
        };
        response
    }

    /// An upstream's response under our names, with what was understood of how it ended.
    fn of_native(&self, mut native: Value, end: &End) -> Value {
        if !native["status"].is_string() {
            let is_cut = native["incomplete_details"]["reason"].is_string();
            native["status"] = if is_cut { "incomplete" } else { "completed" }.into();
        }
        native["usage"] = counted(native["usage"].take(), usage(end.usage));
        for field in ["id", "created_at", "model", "store", "previous_response_id"] {
            native[field] = self.blank[field].clone();
        }
        for field in ["user", "metadata", "prompt_cache_key", "safety_identifier"] {
            if let Some(said) = self.blank.get(field) {
                native[field] = said.clone();
            }
        }
        native
    }
}

impl Voice for Responses {
    fn begin(&mut self, _: &Begin) -> String {
        self.first()
    }

    fn piece(&mut self, piece: Piece) -> String {
        let mut text = self.first();
        match piece.native {
            Some(native) => text.push_str(&self.event(native)),
            None => {
                let events = self.items.piece(piece);
                text.push_str(&self.events(events));
            }
        }
        text
    }

    fn kept_bytes(&self) -> usize {
        self.items.bytes
    }

    fn end(&mut self, end: End) -> String {
        let mut text = self.first();
        let is_cut = matches!(end.stops.first(), Some(Stop::Length | Stop::Context));
        let closing = self.items.close(is_cut);
        text.push_str(&self.events(closing));
        let output = std::mem::take(&mut self.items.done);
        let response = self.finished(output, &end);
        let kind = match response["status"] == "incomplete" {
            true => "response.incomplete",
            false => "response.completed",
        };
        text.push_str(&self.event(json!({ "type": kind, "response": response })));
        text
    }

    fn fail(&mut self, refusal: &Refusal) -> String {
        let mut text = self.first();
        let mut response = self.blank.clone();
        response["status"] = "failed".into();
        response["output"] = std::mem::take(&mut self.items.done).into();
        response["error"] = json!({ "code": code(refusal), "message": refusal.to_string() });
        text.push_str(&self.event(json!({ "type": "response.failed", "response": response })));
        text
    }

    fn ping(&self) -> &'static str {
        ": ping\n\n"
    }

    fn gather(&mut self, piece: &mut Piece) -> usize {
        // The upstream's last event says all of it again.
        piece.native = None;
        0
    }

    fn whole(&mut self, gathered: Gathered, end: &End) -> Content {
        let is_cut = matches!(end.stops.first(), Some(Stop::Length | Stop::Context));
        if end.native.is_none() {
            for choice in gathered.choices {
                let items = Item::of_choice(choice);
                for item in items {
                    self.items.add(item, is_cut);
                }
            }
        }
        let output = std::mem::take(&mut self.items.done);
        Content::Text(text(&self.finished(output, end)))
    }
}

/// The few words that this wire has for why a response failed.
fn code(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Failed {
            last: Failure::Overloaded { .. },
            ..
        } => "rate_limit_exceeded",
        Refusal::Failed {
            last: Failure::TooLong { .. } | Failure::Refused { .. },
            ..
        } => "invalid_prompt",
        _ => "server_error",
    }
}

/// What an upstream counted, but for what cannot be true of it.
fn counted(theirs: Value, ours: Value) -> Value {
    match (theirs, ours) {
        (Value::Object(mut theirs), Value::Object(ours)) => {
            for (field, count) in ours {
                let said = theirs.remove(&field).unwrap_or_default();
                theirs.insert(field, counted(said, count));
            }
            Value::Object(theirs)
        }
        (_, ours) => ours,
    }
}

fn usage(usage: Usage) -> Value {
    let mut counted = Map::new();
    counted.insert("input_tokens".into(), usage.prompt.into());
    counted.insert(
        "input_tokens_details".into(),
        json!({ "cached_tokens": usage.cached, "cache_write_tokens": usage.cache_written }),
    );
    counted.insert("output_tokens".into(), usage.completion.into());
    counted.insert(
        "output_tokens_details".into(),
        json!({ "reasoning_tokens": usage.reasoning }),
    );
    let total = usage.prompt + usage.completion;
    counted.insert("total_tokens".into(), total.into());
    Value::Object(counted)
}
