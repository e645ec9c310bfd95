//! Answers of this wire, whole or in pieces.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::Serialize;
use serde_json::{Map, Value, json};
use weir_worker_api::{self as api, FinishReason, generate_event::Event};

use super::{drawn_id, logprobs::Logprobs, prompt_logprobs::PromptLogprobs};
use crate::{
    refusal::Refusal,
    serving::{Generation, Serving},
};

/// What every piece of one answer repeats.
#[derive(Debug, Clone)]
pub struct Envelope {
    id: String,
    created: u64,
    model: String,
}

impl Envelope {
    /// `model` is the name that was asked for.
    pub fn new(kind: &str, model: String) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            id: drawn_id(kind),
            created: since.map_or(0, |since| since.as_secs()),
            model,
        }
    }

    pub fn object(&self, object: &str, choices: Vec<Value>) -> Map<String, Value> {
        let mut fields = self.head(object);
        fields.insert("choices".into(), choices.into());
        fields
    }

    /// All but the choices.
    pub fn head(&self, object: &str) -> Map<String, Value> {
        let mut fields = Map::new();
        fields.insert("id".into(), self.id.clone().into());
        fields.insert("object".into(), object.into());
        fields.insert("created".into(), self.created.into());
        fields.insert("model".into(), self.model.clone().into());
        fields.insert("system_fingerprint".into(), Value::Null);
        fields
    }
}

/// Counts tokens for the end of an answer.
#[derive(Debug, Default, Clone, Copy)]
pub struct Usage {
    pub prompt_tokens: u32,
    /// Those of the prompt that were found computed.
    pub cached_tokens: u32,
    pub completion_tokens: u32,
    reasoning_tokens: u32,
}

impl Usage {
    /// Counts what is thinking of these.
    pub fn see(&mut self, tokens: &[api::Token]) {
        let thinking = |token: &&api::Token| token.evidence.is_some_and(|e| e.thinking);
        self.reasoning_tokens += tokens.iter().filter(thinking).count() as u32;
    }

    pub fn add(&mut self, finished: &api::Finished) {
        self.prompt_tokens = finished.prompt_tokens;
        self.completion_tokens += finished.completion_tokens;
    }

    /// Counts another prompt too.
    pub fn join(&mut self, other: Self) {
        self.prompt_tokens += other.prompt_tokens;
        self.cached_tokens += other.cached_tokens;
        self.completion_tokens += other.completion_tokens;
        self.reasoning_tokens += other.reasoning_tokens;
    }

    pub fn object(self) -> Value {
        json!({
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "prompt_tokens_details": { "cached_tokens": self.cached_tokens, "audio_tokens": 0 },
            "completion_tokens_details": { "reasoning_tokens": self.reasoning_tokens, "audio_tokens": 0 },
        })
    }
}

/// One choice as it grows.
#[derive(Default)]
struct Choice {
    text: String,
    reasoning: String,
    calls: Vec<api::ToolCallPiece>,
    tokens: Vec<api::Token>,
    finish: Value,
}

impl Choice {
    fn grow(&mut self, tokens: &api::Tokens) {
        match tokens.channel() {
            api::Channel::Answer => self.text.push_str(&tokens.text),
            api::Channel::Reasoning => self.reasoning.push_str(&tokens.text),
        }
        for piece in &tokens.tool_calls {
            match self.calls.iter_mut().find(|call| call.index == piece.index) {
                Some(call) => call.arguments.push_str(&piece.arguments),
                None => self.calls.push(piece.clone()),
            }
        }
    }

    fn message(&self) -> Value {
        let content = match self.text.as_str() {
            "" if !self.calls.is_empty() => Value::Null,
            text => text.into(),
        };
        let mut message = json!({ "role": "assistant", "content": content, "refusal": null });
        if !self.reasoning.is_empty() {
            message["reasoning_content"] = self.reasoning.as_str().into();
        }
        if !self.calls.is_empty() {
            let calls = self.calls.iter().map(|call| {
                json!({
                    "id": call.id,
                    "type": "function",
                    "function": { "name": call.name, "arguments": call.arguments },
                })
            });
            message["tool_calls"] = calls.collect();
        }
        message
    }
}

/// A whole answer, which is large only where numbers are shown with it.
#[derive(Serialize)]
pub struct Whole<C> {
    #[serde(flatten)]
    pub head: Map<String, Value>,
    pub choices: Vec<C>,
    pub usage: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_logprobs: Option<PromptLogprobs>,
}

#[derive(Serialize)]
pub struct Answered {
    index: usize,
    message: Value,
    logprobs: Option<Logprobs>,
    finish_reason: Value,
}

/// The whole answer as one object, with what is asked for of the answer's tokens and the prompt's.
pub async fn whole(
    serving: &Arc<Serving>,
    envelope: Envelope,
    mut generation: Generation,
    (of_answer, of_prompt): (bool, bool),
) -> Result<Whole<Answered>, Refusal> {
    let mut prompt_logprobs = of_prompt.then(|| PromptLogprobs::of(serving));
    let mut choices: Vec<Choice> = Vec::new();
    let mut usage = Usage::default();
    while let Some(event) = generation.next().await {
        match event? {
            Event::Started(started) => usage.cached_tokens = started.cached_tokens,
            Event::Prompt(prompt) => {
                if let Some(known) = &mut prompt_logprobs {
                    known.extend(prompt.tokens);
                }
            }
            Event::Tokens(tokens) => {
                usage.see(&tokens.tokens);
                let choice = at(&mut choices, tokens.choice);
                choice.grow(&tokens);
                if of_answer {
                    choice.tokens.extend(tokens.tokens);
                }
            }
            Event::Finished(finished) => {
                usage.add(&finished);
                let reason = finish_reason(finished.reason());
                at(&mut choices, finished.choice).finish = reason.into();
            }
        }
    }
    let choices = choices.into_iter().enumerate();
    let choices = choices.map(|(index, choice)| Answered {
        index,
        message: choice.message(),
        logprobs: of_answer.then(|| Logprobs::of(serving, choice.tokens)),
        finish_reason: choice.finish,
    });
    Ok(Whole {
        head: envelope.head("chat.completion"),
        choices: choices.collect(),
        usage: usage.object(),
        prompt_logprobs,
    })
}

fn at(choices: &mut Vec<Choice>, index: u32) -> &mut Choice {
    let index = index as usize;
    if choices.len() <= index {
        choices.resize_with(index + 1, Choice::default);
    }
    &mut choices[index]
}

pub fn finish_reason(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Unspecified | FinishReason::Stop => "stop",
        FinishReason::Length => "length",
        FinishReason::ToolCalls => "tool_calls",
    }
}
