//! One client request in our own words.

use serde_json::{Map, Value};

/// What a client asked for: checked, and without anything of its credentials.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ask {
    /// The model name as the client wrote it; the answer carries the same.
    pub model: String,
    pub messages: Vec<Message>,
    pub sampling: Sampling,
    pub max_tokens: Option<u32>,
    pub stop: Vec<String>,
    /// The answer is sent while it is written.
    pub stream: bool,
    /// The client wants a last chunk with the usage.
    pub include_usage: bool,
    /// Fields without which the answer would be a different one, and which our worker cannot
    /// serve: tools, schemas, images.
    pub beyond_worker: Vec<String>,
    /// Fields that our worker does not take and that may be left out.
    pub advisory_for_worker: Vec<String>,
    /// The request as it came, for endpoints that speak the same wire.
    pub body: Map<String, Value>,
}

/// One message of a conversation, as text.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Message {
    pub role: String,
    pub content: String,
    pub tool_call_id: String,
    /// Each one JSON object as on the OpenAI wire.
    pub tool_calls: Vec<String>,
}

/// What the client said about drawing tokens; what it did not say is the model's own.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Sampling {
    pub temperature: Option<f32>,
    pub top_k: Option<u32>,
    pub top_p: Option<f32>,
    pub min_p: Option<f32>,
    pub repetition_penalty: Option<f32>,
    pub presence_penalty: Option<f32>,
    pub frequency_penalty: Option<f32>,
    pub seed: Option<u64>,
}

impl Ask {
    /// About how many tokens the prompt has: four bytes each, as providers' own rule of thumb has
    /// it. Only for what nobody has counted.
    pub fn prompt_estimate(&self) -> u64 {
        let bytes = self
            .messages
            .iter()
            .map(|message| message.content.len() as u64);
        bytes.sum::<u64>().div_ceil(4)
    }
}
