//! A chat completion, whole or in chunks.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::gathered::{Choice, Gathered, merge};
use super::{About, Content, Voice, append, data, text};
use crate::answer::{Begin, CallPiece, End, Piece, Stop, Usage, weight};
use crate::record::line;
use crate::refusal::{Family, Refusal};

pub(super) struct Chat {
    about: About,
    /// What an upstream of the same wire says beside its choices: of a stream, in its last chunk, and
    /// for good what is [`STEADY`].
    said: Map<String, Value>,
    /// The choices whose first chunk has gone out.
    begun: Vec<u32>,
    /// Of each choice of an answer that is gathered, what has no form of ours.
    others: Vec<Others>,
}

/// Of one choice: the members of its deltas that are the upstream's alone, and its log-probabilities,
/// written as they will be shown, which takes a tenth of the memory.
#[derive(Clone, Debug, Default)]
struct Others {
    members: Map<String, Value>,
    logprobs: String,
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

/// What stands around the choices of a chunk and of a whole answer.
#[derive(Serialize)]
struct Envelope<'a, C> {
    id: &'a str,
    object: &'static str,
    created: i64,
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    choices: Option<C>,
    #[serde(flatten)]
    said: &'a Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Value>,
}

/// Of one choice of a chunk.
#[derive(Serialize)]
struct Said<'a> {
    index: u32,
    delta: &'a Value,
    logprobs: &'a Value,
    finish_reason: Option<&'a str>,
}

/// Of one choice of a whole answer.
#[derive(Serialize)]
struct Told<'a> {
    index: usize,
    message: Message<'a>,
    finish_reason: &'a str,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: Option<&'a str>,
    refusal: Option<&'a str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    reasoning_content: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Value>,
    #[serde(flatten)]
    others: &'a Map<String, Value>,
}

impl<'a> Message<'a> {
    fn of(choice: &'a Choice, others: &'a Map<String, Value>) -> Self {
        let refusal = Some(choice.refusal.as_str()).filter(|refusal| !refusal.is_empty());
        let has_other = !choice.calls.is_empty() || refusal.is_some() || !others.is_empty();
        let calls = choice.calls.iter().map(|call| {
            json!({
                "id": call.id, "type": "function",
                "function": { "name": call.name, "arguments": call.arguments },
            })
        });
        Self {
            role: "assistant",
            content: (!choice.text.is_empty() || !has_other).then_some(&choice.text),
            refusal,
            reasoning_content: &choice.reasoning,
            tool_calls: calls.collect(),
            others,
        }
    }
}

impl Chat {
    pub fn new(about: About) -> Self {
        Self {
            about: About {
                id: format!("chatcmpl-{}", about.id),
                ..about
            },
            said: Map::new(),
            begun: Vec::new(),
            others: Vec::new(),
        }
    }

    fn chunk(
        &self,
        choice: u32,
        (delta, logprobs): (&Value, &Value),
        finish_reason: Option<&str>,
    ) -> String {
        let choice = Said {
            index: choice,
            delta,
            logprobs,
            finish_reason,
        };
        data(&Envelope {
            choices: Some([choice]),
            usage: self.about.include_usage.then_some(Value::Null),
            ..self.envelope("chat.completion.chunk")
        })
    }

    fn envelope<C>(&self, object: &'static str) -> Envelope<'_, C> {
        Envelope {
            id: &self.about.id,
            object,
            created: self.about.created,
            model: &self.about.model,
            choices: None,
            said: &self.said,
            usage: None,
        }
    }

    /// A chunk says nothing again but what holds for the whole answer.
    fn forget(&mut self) {
        self.said
            .retain(|field, _| STEADY.contains(&field.as_str()));
    }

    /// Takes over what an upstream says beside its choices; gives how much memory more that takes.
    fn learn(&mut self, native: Value) -> usize {
        let Value::Object(members) = native else {
            return 0;
        };
        let mut bytes = 0;
        for (field, value) in members {
            if !OURS.contains(&field.as_str()) && field != "obfuscation" {
                let weighs = weight(&value);
                let before = self.said.insert(field, value);
                bytes += weighs.saturating_sub(before.as_ref().map_or(0, weight));
            }
        }
        bytes
    }

    fn others(&mut self, choice: usize) -> &mut Others {
        if self.others.len() <= choice {
            self.others.resize(choice + 1, Others::default());
        }
        &mut self.others[choice]
    }

    /// The first chunk of a choice says whose turn it is.
    fn first(&mut self, choice: u32) -> String {
        if self.begun.contains(&choice) {
            return String::new();
        }
        self.begun.push(choice);
        let delta = json!({ "role": "assistant", "content": "" });
        self.chunk(choice, (&delta, &Value::Null), None)
    }
}

impl Voice for Chat {
    fn begin(&mut self, _: &Begin) -> String {
        self.first(0)
    }

    fn piece(&mut self, piece: Piece) -> String {
        let mut text = self.first(piece.choice);
        let choice = piece.choice;
        self.forget();
        let (delta, logprobs) = match piece.native {
            Some(mut native) => {
                let mut said = native["choices"][0].take();
                self.learn(native);
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
            text.push_str(&self.chunk(choice, (&delta, &logprobs), None));
        }
        text
    }

    fn end(&mut self, end: End) -> String {
        let mut text = String::new();
        self.forget();
        for (choice, stop) in end.stops.iter().enumerate() {
            let choice = choice as u32;
            text.push_str(&self.first(choice));
            let said = (&json!({}), &Value::Null);
            text.push_str(&self.chunk(choice, said, Some(finish_reason(stop))));
        }
        if self.about.include_usage {
            let none: Option<[Said<'_>; 0]> = Some([]);
            text.push_str(&data(&Envelope {
                choices: none,
                usage: Some(usage(end.usage)),
                ..self.envelope("chat.completion.chunk")
            }));
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

    fn gather(&mut self, piece: &mut Piece) -> usize {
        let choice = piece.choice as usize;
        let mut bytes = 0;
        if let Some(mut native) = piece.native.take() {
            let delta = native["choices"][0]["delta"].take();
            bytes += self.learn(native);
            if let Some(delta) = delta.as_object() {
                bytes += merge(&mut self.others(choice).members, delta, &KNOWN);
            }
        }
        for token in piece.logprobs.drain(..) {
            bytes += append(&mut self.others(choice).logprobs, &token);
        }
        bytes
    }

    fn restart(&mut self) {
        self.others.clear();
        self.said.clear();
    }

    fn whole(&mut self, gathered: Gathered, end: &End) -> Content {
        let mut others = std::mem::take(&mut self.others);
        others.resize(gathered.choices.len(), Others::default());
        let choices = gathered.choices.into_iter().zip(others).enumerate();
        let choices = choices.map(|(index, (choice, others))| {
            let stop = end.stops.get(index).unwrap_or(&Stop::Turn);
            let head = Told {
                index,
                message: Message::of(&choice, &others.members),
                finish_reason: finish_reason(stop),
            };
            let logprobs = match others.logprobs.as_str() {
                "" => "null".to_owned(),
                tokens => format!("{{\"content\":[{tokens}],\"refusal\":null}}"),
            };
            line(&text(&head), &[("logprobs", logprobs)])
        });
        let choices = format!("[{}]", choices.collect::<Vec<_>>().join(","));
        let none: Option<[Said<'_>; 0]> = None;
        let envelope = text(&Envelope {
            choices: none,
            usage: Some(usage(end.usage)),
            ..self.envelope("chat.completion")
        });
        Content::Text(line(&envelope, &[("choices", choices)]))
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
