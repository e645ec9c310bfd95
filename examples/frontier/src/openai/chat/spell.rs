//! Answers as chat completions, and as chunks of them.

use serde_json::{Value, json};

use crate::answer::{Answer, Call, Ending, Part};
use crate::events::{Beat, End, Events, Style, in_turns};
use crate::openai::logprobs::Logprobs;
use crate::openai::usage::usage;
use crate::prompt::Input;

/// What every chunk of an answer repeats, and what the client wants to see.
pub(super) struct Envelope {
    pub(super) id: String,
    pub(super) created: u64,
    pub(super) model: String,
    pub(super) tier: &'static str,
    /// None where they are not wanted.
    pub(super) logprobs: Option<Logprobs>,
    pub(super) has_usage: bool,
    pub(super) is_obfuscated: bool,
    pub(super) input: Input,
}

impl Envelope {
    pub(super) fn whole(&self, answers: &[Answer]) -> Value {
        let mut body = self.envelope("chat.completion");
        body["choices"] = answers
            .iter()
            .enumerate()
            .map(|(index, answer)| self.choice(index, answer))
            .collect();
        body["usage"] = self.usage(answers);
        body
    }

    fn envelope(&self, object: &str) -> Value {
        json!({
            "id": self.id,
            "object": object,
            "created": self.created,
            "model": self.model,
            "service_tier": self.tier,
            "system_fingerprint": "fp_stand_in",
            "choices": [],
        })
    }

    fn choice(&self, index: usize, answer: &Answer) -> Value {
        let refusal = refusal(answer);
        let calls = calls(answer)
            .enumerate()
            .map(|(place, call)| self.call(index, place, call));
        let calls: Vec<Value> = calls.collect();
        let has_text = refusal.is_none() && calls.is_empty();
        let mut message = json!({
            "role": "assistant",
            "content": has_text.then(|| answer.text()),
            "refusal": refusal,
            "annotations": [],
        });
        if !calls.is_empty() {
            message["tool_calls"] = calls.into();
        }
        json!({
            "index": index,
            "message": message,
            "logprobs": self.logprobs(shown(answer), refusal.is_some()),
            "finish_reason": finish_reason(answer),
        })
    }

    fn call_id(&self, choice: usize, place: usize) -> String {
        format!(
            "call_{}_{choice}_{place}",
            self.id.trim_start_matches("chatcmpl-")
        )
    }

    fn call(&self, choice: usize, place: usize, call: &Call) -> Value {
        let id = self.call_id(choice, place);
        let input = call.pieces.concat();
        if call.is_custom {
            json!({"id": id, "type": "custom", "custom": {"name": call.name, "input": input}})
        } else {
            json!({"id": id, "type": "function", "function": {"name": call.name, "arguments": input}})
        }
    }

    /// Log-probabilities of pieces that are shown, where they are wanted.
    fn logprobs(&self, pieces: &[String], is_refusal: bool) -> Value {
        let Some(logprobs) = self.logprobs else {
            return Value::Null;
        };
        let entries = logprobs.entries(pieces);
        if is_refusal {
            json!({"content": null, "refusal": entries})
        } else {
            json!({"content": entries, "refusal": null})
        }
    }

    pub(super) fn events(&self, answers: &[Answer], error: Value) -> Events {
        let begun = json!({"role": "assistant", "content": "", "refusal": null});
        let heads = (0..answers.len()).map(|index| self.chunk(index, begun.clone(), None));
        let ends = answers.iter().enumerate();
        let mut tail: Vec<Value> = ends
            .map(|(index, answer)| self.chunk(index, json!({}), Some(finish_reason(answer))))
            .collect();
        if self.has_usage {
            let mut last = self.envelope("chat.completion.chunk");
            last["usage"] = self.usage(answers);
            tail.push(last);
        }
        Events {
            style: Style::Plain,
            head: heads.collect(),
            middle: in_turns(
                answers
                    .iter()
                    .enumerate()
                    .map(|(index, answer)| self.deltas(index, answer))
                    .collect(),
            ),
            tail,
            end: End::Done,
            refusal: error.clone(),
            error,
        }
    }

    /// One choice's chunks between its role and its end.
    fn deltas(&self, index: usize, answer: &Answer) -> Vec<Beat> {
        let mut beats = Vec::new();
        let mut place = 0;
        for part in &answer.parts {
            match part {
                Part::Text { pieces, .. } | Part::Refusal(pieces) => {
                    let name = match part {
                        Part::Refusal(_) => "refusal",
                        _ => "content",
                    };
                    beats.extend(pieces.iter().map(|piece| {
                        let mut chunk = self.chunk(index, json!({name: piece}), None);
                        chunk["choices"][0]["logprobs"] =
                            self.logprobs(std::slice::from_ref(piece), name == "refusal");
                        Beat::piece(chunk)
                    }));
                }
                Part::Call(call) => {
                    beats.extend(self.call_deltas(index, place, call));
                    place += 1;
                }
                Part::Thought { .. } | Part::Search(_) => {}
            }
        }
        beats
    }

    fn call_deltas(&self, index: usize, place: usize, call: &Call) -> impl Iterator<Item = Beat> {
        let (kind, field) = match call.is_custom {
            true => ("custom", "input"),
            false => ("function", "arguments"),
        };
        let delta = move |call: Value| self.chunk(index, json!({"tool_calls": [call]}), None);
        let id = self.call_id(index, place);
        let named = json!({"name": call.name, field: ""});
        let begun = delta(json!({"index": place, "id": id, "type": kind, kind: named}));
        let pieces = call.pieces.iter();
        let pieces = pieces
            .map(move |piece| Beat::piece(delta(json!({"index": place, kind: {field: piece}}))));
        std::iter::once(Beat::between(begun)).chain(pieces)
    }

    fn chunk(&self, index: usize, delta: Value, finish: Option<&str>) -> Value {
        let mut chunk = self.envelope("chat.completion.chunk");
        if self.is_obfuscated {
            // As long as it takes to make all chunks alike.
            let padding = 16_usize.saturating_sub(delta.to_string().len() % 16);
            chunk["obfuscation"] = "x".repeat(padding).into();
        }
        chunk["choices"] =
            json!([{"index": index, "delta": delta, "logprobs": null, "finish_reason": finish}]);
        if self.has_usage {
            chunk["usage"] = Value::Null;
        }
        chunk
    }

    fn usage(&self, answers: &[Answer]) -> Value {
        let sum = |count: fn(&Answer) -> u64| answers.iter().map(count).sum::<u64>();
        let (written, thought) = (sum(Answer::tokens), sum(Answer::thought_tokens));
        usage(&self.input, written, thought)
    }
}

fn calls(answer: &Answer) -> impl Iterator<Item = &Call> {
    answer.parts.iter().filter_map(|part| match part {
        Part::Call(call) => Some(call),
        _ => None,
    })
}

fn refusal(answer: &Answer) -> Option<String> {
    let refusal = |part: &Part| matches!(part, Part::Refusal(_)).then(|| part.whole());
    answer.parts.iter().find_map(refusal)
}

/// The pieces that a client sees as text.
fn shown(answer: &Answer) -> &[String] {
    let shown = answer.parts.iter().find_map(|part| match part {
        Part::Text { pieces, .. } | Part::Refusal(pieces) => Some(pieces.as_slice()),
        _ => None,
    });
    shown.unwrap_or_default()
}

fn finish_reason(answer: &Answer) -> &'static str {
    match answer.ending {
        Ending::Complete | Ending::Stop(_) | Ending::Refusal | Ending::Pause => "stop",
        Ending::Length | Ending::ContextFull => "length",
        Ending::Calls => "tool_calls",
    }
}
