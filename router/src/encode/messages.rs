//! An Anthropic message, whole or as events.

use serde_json::{Map, Value, json};

use super::gathered::{Choice, Gathered};
use super::{About, Content, Voice, text};
use crate::answer::{Begin, CallPiece, End, Piece, Stop, Usage, weight};
use crate::refusal::{Family, Refusal};

pub(super) struct Messages {
    about: About,
    /// The client asked to see what is thought.
    shows_thinking: bool,
    /// How many blocks have begun.
    blocks: u64,
    open: Option<Open>,
    /// The answer was refused in words.
    has_refused: bool,
    /// Of an upstream of this wire, where the answer is gathered.
    folded: Option<Fold>,
}

/// The block that is being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    Text,
    Thinking,
    /// Of this call.
    Call(u32),
    /// As the upstream has it.
    Native,
}

impl Messages {
    pub fn new(about: About, shows_thinking: bool) -> Self {
        Self {
            about,
            shows_thinking,
            blocks: 0,
            open: None,
            has_refused: false,
            folded: None,
        }
    }

    fn message(&self, content: Value, stop: Option<&Stop>, usage: Value) -> Value {
        json!({
            "id": format!("msg_{}", self.about.id),
            "type": "message",
            "role": "assistant",
            "model": self.about.model,
            "content": content,
            "stop_reason": stop.map(stop_reason),
            "stop_sequence": stop.and_then(sequence),
            "stop_details": null,
            "usage": usage,
        })
    }

    fn event(&self, mut body: Value) -> String {
        // Only events of a block have a place.
        if body["type"] != "message_delta" && body["type"] != "message_stop" {
            body["index"] = self.blocks.saturating_sub(1).into();
        }
        event(&body)
    }

    fn close(&mut self) -> String {
        match self.open.take() {
            None => String::new(),
            Some(_) => self.event(json!({ "type": "content_block_stop" })),
        }
    }

    /// Opens a block, unless it is the one that is being written.
    fn open(&mut self, wanted: Open, block: impl FnOnce() -> Value) -> String {
        if self.open == Some(wanted) {
            return String::new();
        }
        let mut text = self.close();
        self.blocks += 1;
        self.open = Some(wanted);
        text.push_str(
            &self.event(json!({ "type": "content_block_start", "content_block": block() })),
        );
        text
    }

    fn delta(&self, delta: Value) -> String {
        self.event(json!({ "type": "content_block_delta", "delta": delta }))
    }

    fn text(&mut self, said: &str) -> String {
        if said.is_empty() {
            return String::new();
        }
        let mut text = self.open(Open::Text, || json!({ "type": "text", "text": "" }));
        text.push_str(&self.delta(json!({ "type": "text_delta", "text": said })));
        text
    }

    fn thought(&mut self, said: &str, proof: Option<String>) -> String {
        if !self.shows_thinking || (said.is_empty() && proof.is_none()) {
            return String::new();
        }
        let empty = || json!({ "type": "thinking", "thinking": "", "signature": "" });
        let mut text = self.open(Open::Thinking, empty);
        if !said.is_empty() {
            text.push_str(&self.delta(json!({ "type": "thinking_delta", "thinking": said })));
        }
        if let Some(proof) = proof {
            text.push_str(&self.delta(json!({ "type": "signature_delta", "signature": proof })));
        }
        text
    }

    fn call(&mut self, call: &CallPiece) -> String {
        let block = || json!({ "type": "tool_use", "id": call.id, "name": call.name, "input": {} });
        let mut text = self.open(Open::Call(call.index), block);
        if !call.arguments.is_empty() {
            let delta = json!({ "type": "input_json_delta", "partial_json": call.arguments });
            text.push_str(&self.delta(delta));
        }
        text
    }

    /// An event of an upstream that speaks this wire, at its place in what we say.
    fn native(&mut self, native: Value) -> String {
        let mut text = String::new();
        if native["type"] == "content_block_start" {
            text.push_str(&self.close());
            self.blocks += 1;
            self.open = Some(Open::Native);
        }
        text.push_str(&self.event(native));
        text
    }
}

impl Voice for Messages {
    fn begin(&mut self, begin: &Begin) -> String {
        // Nobody knows yet what will be written; the last event has the whole count.
        let message = self.message(json!([]), None, usage(begin.usage));
        event(&json!({ "type": "message_start", "message": message }))
    }

    fn piece(&mut self, piece: Piece) -> String {
        if let Some(native) = piece.native {
            let is_stop = native["type"] == "content_block_stop";
            let text = self.native(native);
            self.open = self.open.filter(|_| !is_stop);
            return text;
        }
        let mut text = self.thought(&piece.reasoning, piece.proof);
        text.push_str(&self.text(&piece.text));
        self.has_refused |= !piece.refusal.is_empty();
        text.push_str(&self.text(&piece.refusal));
        for call in &piece.calls {
            text.push_str(&self.call(call));
        }
        text
    }

    fn end(&mut self, end: End) -> String {
        let mut text = self.close();
        let stop = stop(&end, self.has_refused);
        let mut delta = json!({
            "stop_reason": stop_reason(stop), "stop_sequence": sequence(stop), "stop_details": null,
        });
        let native = end.native.as_ref();
        tell_more(&mut delta, native.map(|native| &native["delta"]));
        let mut counted = usage(end.usage);
        tell_more(&mut counted, native.map(|native| &native["usage"]));
        let last = json!({ "type": "message_delta", "delta": delta, "usage": counted });
        text.push_str(&self.event(last));
        text.push_str(&self.event(json!({ "type": "message_stop" })));
        text
    }

    fn fail(&mut self, refusal: &Refusal) -> String {
        event(&refusal.body_on(Family::Anthropic))
    }

    fn ping(&self) -> &'static str {
        "event: ping\ndata: {\"type\": \"ping\"}\n\n"
    }

    fn gather(&mut self, piece: &mut Piece) -> usize {
        let Some(native) = piece.native.take() else {
            return 0;
        };
        // All that it says is in there; that it is a refusal is told at the end.
        *piece = Piece {
            refusal: std::mem::take(&mut piece.refusal),
            ..Piece::default()
        };
        self.folded.get_or_insert_default().take(&native)
    }

    fn restart(&mut self) {
        self.folded = None;
    }

    fn whole(&mut self, gathered: Gathered, end: &End) -> Content {
        let choice = gathered.choices.into_iter().next().unwrap_or_default();
        let stop = stop(end, !choice.refusal.is_empty());
        let content = match self.folded.take() {
            None => content(choice, self.shows_thinking),
            Some(folded) => folded.whole(),
        };
        let mut whole = self.message(Value::Array(content), Some(stop), usage(end.usage));
        if let Some(native) = &end.native {
            tell_more(&mut whole, Some(&native["delta"]));
            tell_more(&mut whole["usage"], Some(&native["usage"]));
        }
        Content::Text(text(&whole))
    }
}

/// Takes over what an upstream says beside what we say ourselves.
fn tell_more(ours: &mut Value, theirs: Option<&Value>) {
    for (field, value) in theirs.and_then(Value::as_object).into_iter().flatten() {
        if ours.get(field).is_none_or(Value::is_null) {
            ours[field] = value.clone();
        }
    }
}

/// The blocks of an answer in our words.
fn content(choice: Choice, shows_thinking: bool) -> Vec<Value> {
    let mut blocks = Vec::new();
    if shows_thinking && !(choice.reasoning.is_empty() && choice.proof.is_none()) {
        let signature = choice.proof.unwrap_or_default();
        blocks.push(json!({
            "type": "thinking", "thinking": choice.reasoning, "signature": signature,
        }));
    }
    let text = choice.text + &choice.refusal;
    if !text.is_empty() {
        blocks.push(json!({ "type": "text", "text": text }));
    }
    for call in choice.calls {
        blocks.push(json!({
            "type": "tool_use", "id": call.id, "name": call.name, "input": input(&call.arguments),
        }));
    }
    blocks
}

/// Arguments as an object; what a model cut short is shown as far as it came.
fn input(arguments: &str) -> Value {
    let input = serde_json::from_str(arguments).ok();
    input
        .filter(Value::is_object)
        .unwrap_or_else(|| match arguments {
            "" => json!({}),
            partial => json!({ "partial_json": partial }),
        })
}

/// The blocks that an upstream's events make.
#[derive(Default)]
struct Fold {
    blocks: Vec<Map<String, Value>>,
    /// Of the last one: its input as far as it has come.
    partial: String,
}

impl Fold {
    /// Takes an event; gives about how much memory more that takes.
    fn take(&mut self, event: &Value) -> usize {
        match event["type"].as_str() {
            Some("content_block_start") => {
                // It may end the one before it.
                self.finish();
                let block = event["content_block"].as_object().cloned();
                self.blocks.push(block.unwrap_or_default());
                weight(&event["content_block"])
            }
            Some("content_block_delta") => {
                if let Some(block) = self.blocks.last_mut() {
                    grow(block, &event["delta"], &mut self.partial);
                }
                said_bytes(&event["delta"])
            }
            Some("content_block_stop") => {
                self.finish();
                0
            }
            _ => 0,
        }
    }

    fn finish(&mut self) {
        let partial = std::mem::take(&mut self.partial);
        if let Some(block) = self.blocks.last_mut().filter(|_| !partial.is_empty()) {
            block.insert("input".into(), input(&partial));
        }
    }

    fn whole(mut self) -> Vec<Value> {
        self.finish();
        self.blocks.into_iter().map(Value::Object).collect()
    }
}

/// Of a delta, what is put to a block: its texts are, without what is around them.
fn said_bytes(delta: &Value) -> usize {
    let members = delta.as_object().into_iter().flatten();
    let bytes = members.map(|(_, value)| match value {
        Value::String(text) => text.len(),
        value => weight(value),
    });
    bytes.sum()
}

fn grow(block: &mut Map<String, Value>, delta: &Value, partial: &mut String) {
    let mut append = |field: &str| {
        let more = delta[field].as_str().unwrap_or_default();
        match block.get_mut(field) {
            Some(Value::String(text)) => text.push_str(more),
            _ => drop(block.insert(field.into(), more.into())),
        }
    };
    match delta["type"].as_str() {
        Some("text_delta") => append("text"),
        Some("thinking_delta") => append("thinking"),
        Some("signature_delta") => append("signature"),
        Some("input_json_delta") => {
            partial.push_str(delta["partial_json"].as_str().unwrap_or_default());
        }
        Some("citations_delta") => {
            let citations = block.entry("citations").or_insert(Value::Null);
            match citations {
                Value::Array(citations) => citations.push(delta["citation"].clone()),
                citations => *citations = json!([delta["citation"]]),
            }
        }
        _ => {}
    }
}

/// Why the answer ended. To OpenAI a refusal in words is a turn like any other.
fn stop(end: &End, has_refused: bool) -> &Stop {
    match end.stops.first() {
        None | Some(Stop::Turn) if has_refused => &Stop::Refusal,
        stop => stop.unwrap_or(&Stop::Turn),
    }
}

fn stop_reason(stop: &Stop) -> &'static str {
    match stop {
        Stop::Turn | Stop::Sequence(None) => "end_turn",
        Stop::Sequence(Some(_)) => "stop_sequence",
        Stop::Length => "max_tokens",
        Stop::Context => "model_context_window_exceeded",
        Stop::Calls => "tool_use",
        Stop::Refusal => "refusal",
        Stop::Pause => "pause_turn",
    }
}

fn sequence(stop: &Stop) -> Option<&str> {
    match stop {
        Stop::Sequence(sequence) => sequence.as_deref(),
        _ => None,
    }
}

/// What was read leaves out what came from the cache and what went there, on this wire.
fn usage(usage: Usage) -> Value {
    let fresh = usage
        .prompt
        .saturating_sub(usage.cached + usage.cache_written);
    json!({
        "input_tokens": fresh,
        "cache_creation_input_tokens": usage.cache_written,
        "cache_read_input_tokens": usage.cached,
        "output_tokens": usage.completion,
    })
}

/// An event's name is its data's type.
fn event(body: &Value) -> String {
    let name = body["type"].as_str().unwrap_or_default();
    format!("event: {name}\ndata: {body}\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_ends_where_the_next_begins_has_its_input() {
        let start = |id: &str| json!({ "type": "content_block_start", "content_block": { "type": "tool_use", "id": id } });
        let more = |partial: &str| {
            let delta = json!({ "type": "input_json_delta", "partial_json": partial });
            json!({ "type": "content_block_delta", "delta": delta })
        };
        let stop = json!({ "type": "content_block_stop" });
        let events = [
            start("1"),
            more("{\"a\":"),
            more("1}"),
            start("2"),
            more("{\"b\":2}"),
            stop,
        ];
        let mut fold = Fold::default();
        for event in &events {
            fold.take(event);
        }
        let blocks = fold.whole();
        let inputs: Vec<_> = blocks.iter().map(|block| &block["input"]).collect();
        assert_eq!(inputs, [&json!({ "a": 1 }), &json!({ "b": 2 })]);
    }
}
