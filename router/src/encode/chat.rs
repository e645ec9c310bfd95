//! A chat completion, whole or in chunks.

use serde_json::{Map, Value, json};

use super::gathered::{Choice, Gathered, merge};
use super::{About, Voice, data};
use crate::answer::{Begin, CallPiece, End, Piece, Stop, Usage};
use crate::refusal::{Family, Refusal};

pub(super) struct Chat {
    about: About,
    /// What an upstream of the same wire says beside its choices: of a stream, in its last chunk, and
    /// for good what is [`STEADY`].
    said: Map<String, Value>,
    /// The choices whose first chunk has gone out.
    begun: Vec<u32>,
}

/// The members of a chunk or a completion that are ours to say.
const OURS: [&str; 6] = ["id", "object", "created", "model", "choices", "usage"];
/// The members that are said of the whole answer.
const STEADY: [&str; 2] = ["system_fingerprint", "service_tier"];
/// The members of a `delta` that have a form of ours.
const KNOWN: [&str; 6] = [
    "role",
    "content",
    "refusal",
    "tool_calls",
    "reasoning_content",
    "reasoning",
];

impl Chat {
    pub fn new(about: About) -> Self {
        Self {
            about,
            said: Map::new(),
            begun: Vec::new(),
        }
    }

    fn chunk(&self, choice: u32, delta: Value, logprobs: Value, finish_reason: Value) -> String {
        let choice = json!({
            "index": choice,
            "delta": delta,
            "logprobs": logprobs,
            "finish_reason": finish_reason,
        });
        let mut chunk = self.envelope("chat.completion.chunk", json!([choice]));
        if self.about.include_usage {
            chunk["usage"] = Value::Null;
        }
        data(&chunk)
    }

    fn envelope(&self, object: &str, choices: Value) -> Value {
        let mut envelope = json!({
            "id": format!("chatcmpl-{}", self.about.id),
            "object": object,
            "created": self.about.created,
            "model": self.about.model,
            "choices": choices,
        });
        for (field, value) in &self.said {
            envelope[field] = value.clone();
        }
        envelope
    }

    /// A chunk says nothing again but what holds for the whole answer.
    fn forget(&mut self) {
        self.said
            .retain(|field, _| STEADY.contains(&field.as_str()));
    }

    /// Takes over what an upstream says beside its choices.
    fn learn(&mut self, native: &Value) {
        let members = native.as_object().into_iter().flatten();
        for (field, value) in members {
            if !OURS.contains(&field.as_str()) && field != "obfuscation" {
                self.said.insert(field.clone(), value.clone());
            }
        }
    }

    /// The first chunk of a choice says whose turn it is.
    fn first(&mut self, choice: u32) -> String {
        if self.begun.contains(&choice) {
            return String::new();
        }
        self.begun.push(choice);
        let delta = json!({ "role": "assistant", "content": "" });
        self.chunk(choice, delta, Value::Null, Value::Null)
    }
}

impl Voice for Chat {
    fn begin(&mut self, _: &Begin) -> String {
        self.first(0)
    }

    fn piece(&mut self, piece: Piece) -> String {
        let mut text = self.first(piece.choice);
        let choice = piece.choice;
        let (delta, logprobs) = match piece.native {
            Some(mut native) => {
                self.forget();
                self.learn(&native);
                let mut said = native["choices"][0].take();
                if let Some(delta) = said["delta"].as_object_mut() {
                    delta.shift_remove("role");
                }
                (said["delta"].take(), said["logprobs"].take())
            }
            None => {
                let logprobs = logprobs(&piece.logprobs);
                (delta(piece), logprobs)
            }
        };
        let says_something = delta.as_object().is_some_and(|delta| !delta.is_empty());
        if says_something || !logprobs.is_null() {
            text.push_str(&self.chunk(choice, delta, logprobs, Value::Null));
        }
        text
    }

    fn end(&mut self, end: End) -> String {
        let mut text = String::new();
        self.forget();
        for (choice, stop) in end.stops.iter().enumerate() {
            let choice = choice as u32;
            text.push_str(&self.first(choice));
            let reason = finish_reason(stop).into();
            text.push_str(&self.chunk(choice, json!({}), Value::Null, reason));
        }
        if self.about.include_usage {
            let mut chunk = self.envelope("chat.completion.chunk", json!([]));
            chunk["usage"] = usage(end.usage);
            text.push_str(&data(&chunk));
        }
        text.push_str("data: [DONE]\n\n");
        text
    }

    fn fail(&mut self, refusal: &Refusal) -> String {
        data(&refusal.body_on(Family::OpenAI))
    }

    fn ping(&self) -> &'static str {
        ": ping\n\n"
    }

    fn whole(&mut self, gathered: Gathered, end: &End) -> String {
        let mut others = vec![Map::new(); gathered.choices.len()];
        for native in &gathered.natives {
            self.learn(native);
            let said = &native["choices"][0];
            let index = said["index"].as_u64().unwrap_or(0) as usize;
            if let (Some(others), Some(delta)) = (others.get_mut(index), said["delta"].as_object())
            {
                merge(others, delta, &KNOWN);
            }
        }
        let choices = gathered.choices.into_iter().zip(others).enumerate();
        let choices = choices.map(|(index, (choice, others))| {
            let stop = end.stops.get(index).unwrap_or(&Stop::Turn);
            json!({
                "index": index,
                "logprobs": logprobs(&choice.logprobs),
                "message": message(choice, others),
                "finish_reason": finish_reason(stop),
            })
        });
        let mut whole = self.envelope("chat.completion", choices.collect());
        whole["usage"] = usage(end.usage);
        whole.to_string()
    }
}

fn logprobs(tokens: &[Value]) -> Value {
    match tokens {
        [] => Value::Null,
        tokens => json!({ "content": tokens, "refusal": null }),
    }
}

fn delta(piece: Piece) -> Value {
    let mut delta = Map::new();
    for (field, text) in [
        ("reasoning_content", piece.reasoning),
        ("content", piece.text),
        ("refusal", piece.refusal),
    ] {
        if !text.is_empty() {
            delta.insert(field.into(), text.into());
        }
    }
    if !piece.calls.is_empty() {
        let calls = piece.calls.into_iter().map(call_delta);
        delta.insert("tool_calls".into(), calls.collect());
    }
    Value::Object(delta)
}

/// A call's first piece names it; the others bring more of its arguments.
fn call_delta(call: CallPiece) -> Value {
    let mut function = json!({ "arguments": call.arguments });
    if call.name.is_empty() {
        return json!({ "index": call.index, "function": function });
    }
    function["name"] = call.name.into();
    json!({ "index": call.index, "id": call.id, "type": "function", "function": function })
}

fn message(choice: Choice, others: Map<String, Value>) -> Value {
    let refusal = match choice.refusal.is_empty() {
        true => Value::Null,
        false => choice.refusal.into(),
    };
    let has_other = !choice.calls.is_empty() || !refusal.is_null() || !others.is_empty();
    let content = match choice.text.is_empty() && has_other {
        true => Value::Null,
        false => choice.text.into(),
    };
    let mut said = json!({ "role": "assistant", "content": content, "refusal": refusal });
    if !choice.reasoning.is_empty() {
        said["reasoning_content"] = choice.reasoning.into();
    }
    if !choice.calls.is_empty() {
        let calls = choice.calls.into_iter().map(|call| {
            json!({
                "id": call.id, "type": "function",
                "function": { "name": call.name, "arguments": call.arguments },
            })
        });
        said["tool_calls"] = calls.collect();
    }
    for (field, value) in others {
        said[field] = value;
    }
    said
}

pub(super) fn finish_reason(stop: &Stop) -> &'static str {
    match stop {
        Stop::Turn | Stop::Sequence(_) | Stop::Pause => "stop",
        Stop::Length | Stop::Context => "length",
        Stop::Calls => "tool_calls",
        Stop::Refusal => "content_filter",
    }
}

pub(super) fn usage(usage: Usage) -> Value {
    json!({
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.prompt + usage.completion,
        "prompt_tokens_details": { "cached_tokens": usage.cached },
        "completion_tokens_details": { "reasoning_tokens": usage.reasoning },
    })
}
