//! Parts of an answer as output items, whole and as the events that they come in.

use serde_json::{Value, json};

use super::Shown;
use crate::answer::{Call, Part, Source};
use crate::events::Beat;
use crate::said::{PAGE_TITLE, PAGE_URL};
use crate::signature::seal;

/// One output item.
pub(super) struct Item {
    pub(super) whole: Value,
    /// As it is when it is begun.
    pub(super) begun: Value,
    /// What comes between its beginning and its end.
    pub(super) beats: Vec<Beat>,
}

/// Where an item stands, and what of it is shown.
pub(super) struct Place<'a> {
    pub(super) number: u64,
    pub(super) index: usize,
    pub(super) shown: &'a Shown,
    /// `completed`, or `incomplete` for one that was cut.
    pub(super) status: &'a str,
}

impl Place<'_> {
    pub(super) fn item(&self, part: &Part) -> Item {
        match part {
            Part::Thought { pieces, is_secret } => self.reasoning(pieces, *is_secret),
            Part::Search(query) => self.search(&query.concat()),
            Part::Text { pieces, source } => self.message(pieces, source.as_ref()),
            Part::Refusal(pieces) => self.refusal(pieces),
            Part::Call(call) => self.call(call),
        }
    }

    fn id(&self, kind: &str) -> String {
        format!("{kind}_stand_in_{}_{}", self.number, self.index)
    }

    /// An event of the item `id`.
    fn event(&self, id: &str, name: &str, more: Value) -> Value {
        let mut event =
            json!({"type": format!("response.{name}"), "item_id": id, "output_index": self.index});
        if let (Value::Object(event), Value::Object(more)) = (&mut event, more) {
            event.extend(more);
        }
        event
    }

    fn reasoning(&self, pieces: &[String], is_secret: bool) -> Item {
        let id = self.id("rs");
        let text = pieces.concat();
        let is_shown = self.shown.has_summary && !is_secret;
        let part = |text: &str| json!({"type": "summary_text", "text": text});
        let item = |summary: Vec<Value>| {
            let mut item = json!({"id": id, "type": "reasoning", "summary": summary});
            if self.shown.is_reasoning_sealed {
                item["encrypted_content"] = seal(&text).into();
            }
            item
        };
        let mut beats = Vec::new();
        if is_shown {
            let event = |name: &str, mut more: Value| {
                more["summary_index"] = 0.into();
                self.event(&id, &format!("reasoning_summary_{name}"), more)
            };
            beats.push(Beat::between(event(
                "part.added",
                json!({"part": part("")}),
            )));
            let deltas = pieces
                .iter()
                .map(|piece| event("text.delta", json!({"delta": piece})));
            beats.extend(deltas.map(Beat::piece));
            beats.push(Beat::between(event("text.done", json!({"text": text}))));
            beats.push(Beat::between(event(
                "part.done",
                json!({"part": part(&text)}),
            )));
        }
        Item {
            whole: item(if is_shown {
                vec![part(&text)]
            } else {
                Vec::new()
            }),
            begun: item(Vec::new()),
            beats,
        }
    }

    fn search(&self, query: &str) -> Item {
        let id = self.id("ws");
        let item = |status: &str| {
            let action = json!({"type": "search", "query": query, "queries": [query]});
            json!({"id": id, "type": "web_search_call", "status": status, "action": action})
        };
        let event = |name: &str| self.event(&id, &format!("web_search_call.{name}"), json!({}));
        Item {
            whole: item("completed"),
            begun: item("in_progress"),
            beats: vec![
                Beat::between(event("in_progress")),
                Beat::piece(event("searching")),
                Beat::between(event("completed")),
            ],
        }
    }

    fn message(&self, pieces: &[String], source: Option<&Source>) -> Item {
        let text = pieces.concat();
        let entries = |pieces: &[String]| {
            let told = self.shown.logprobs;
            Value::from(told.map_or(Vec::new(), |told| told.entries(pieces)))
        };
        let annotation = source.map(|_| {
            json!({
                "type": "url_citation",
                "start_index": 0,
                "end_index": text.chars().count(),
                "title": PAGE_TITLE,
                "url": PAGE_URL,
            })
        });
        let content = |text: &str, logprobs: Value, annotations: Vec<Value>| json!({"type": "output_text", "text": text, "annotations": annotations, "logprobs": logprobs});
        let delta = |piece: &String| {
            let logprobs = entries(std::slice::from_ref(piece));
            (
                "output_text.delta",
                json!({"delta": piece, "logprobs": logprobs}),
            )
        };
        let mut pieces_and_more: Vec<_> = pieces.iter().map(delta).collect();
        pieces_and_more.extend(annotation.iter().map(|annotation| {
            let more = json!({"annotation_index": 0, "annotation": annotation});
            ("output_text.annotation.added", more)
        }));
        let done = json!({"text": text, "logprobs": entries(pieces)});
        self.spoken(
            content("", json!([]), Vec::new()),
            pieces_and_more,
            ("output_text.done", done),
            content(&text, entries(pieces), annotation.into_iter().collect()),
        )
    }

    fn refusal(&self, pieces: &[String]) -> Item {
        let text = pieces.concat();
        let content = |text: &str| json!({"type": "refusal", "refusal": text});
        let deltas = pieces
            .iter()
            .map(|piece| ("refusal.delta", json!({"delta": piece})));
        self.spoken(
            content(""),
            deltas.collect(),
            ("refusal.done", json!({"refusal": text})),
            content(&text),
        )
    }

    /// A message of one part, which begins as `begun` and ends as `whole`.
    fn spoken(
        &self,
        begun: Value,
        deltas: Vec<(&str, Value)>,
        done: (&str, Value),
        whole: Value,
    ) -> Item {
        let id = self.id("msg");
        let event = |name: &str, mut more: Value| {
            more["content_index"] = 0.into();
            self.event(&id, name, more)
        };
        let item = |status: &str, content: Vec<Value>| json!({"id": id, "type": "message", "status": status, "role": "assistant", "content": content});
        let mut beats = vec![Beat::between(event(
            "content_part.added",
            json!({"part": begun}),
        ))];
        beats.extend(deltas.into_iter().map(|(name, more)| Beat {
            is_piece: name.ends_with("delta"),
            data: event(name, more),
        }));
        beats.push(Beat::between(event(done.0, done.1)));
        beats.push(Beat::between(event(
            "content_part.done",
            json!({"part": whole}),
        )));
        Item {
            begun: item("in_progress", Vec::new()),
            whole: item(self.status, vec![whole]),
            beats,
        }
    }

    fn call(&self, call: &Call) -> Item {
        let (kind, prefix, field, events) = match call.is_custom {
            true => ("custom_tool_call", "ctc", "input", "custom_tool_call_input"),
            false => (
                "function_call",
                "fc",
                "arguments",
                "function_call_arguments",
            ),
        };
        let id = self.id(prefix);
        let item = |status: &str, input: &str| {
            json!({
                "id": id,
                "type": kind,
                "status": status,
                "call_id": self.id("call"),
                "name": call.name,
                field: input,
            })
        };
        let input = call.pieces.concat();
        let deltas = call.pieces.iter().map(|piece| {
            Beat::piece(self.event(&id, &format!("{events}.delta"), json!({"delta": piece})))
        });
        let done = self.event(
            &id,
            &format!("{events}.done"),
            json!({field: input, "name": call.name}),
        );
        Item {
            whole: item(self.status, &input),
            begun: item("in_progress", ""),
            beats: deltas.chain([Beat::between(done)]).collect(),
        }
    }
}
