//! One client request in our own words, whatever wire it came on.
//!
//! Upstreams that speak the client's wire get the request as it came, edited; all others get what
//! is said here. So nothing is lost on the same wire, and what another wire cannot say is named in
//! [`Ask::beyond_at`].

mod beginning;
mod beyond;
mod content;
mod form;
mod hosted;
mod tools;

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use weir_cascade::Asked;

use crate::wire::Wire;
pub(crate) use content::{Image, Message, Part, Role};
pub(crate) use form::Form;
pub(crate) use tools::{Tool, ToolChoice};

/// Where requests hold tools: what all wires call them, OpenAI's older word, and those of remote servers.
const TOOLS: [&str; 3] = ["tools", "functions", "mcp_servers"];

/// What a client asked for: checked, and without anything of its credentials.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ask {
    pub wire: Wire,
    /// The model name as the client wrote it; the answer carries the same.
    pub model: String,
    pub input: Input,
    pub tools: Vec<Tool>,
    pub tool_choice: ToolChoice,
    /// One call of a tool at most.
    pub single_call: bool,
    pub form: Form,
    pub sampling: Sampling,
    /// Of the answer.
    pub max_tokens: Option<u32>,
    pub stop: Vec<String>,
    /// How many answers, over all prompts; at least one.
    pub choices: u32,
    /// How many alternatives are wanted beside each token, where log-probabilities are.
    pub logprobs: Option<u32>,
    /// The prompt is shown again before its answers.
    pub echo: bool,
    /// How hard to think: `low`, `medium`, `high`, or what else the wire has.
    pub effort: Option<String>,
    /// The client wants to see what is thought.
    pub shows_thinking: bool,
    /// Who asks, in the client's words.
    pub user: Option<String>,
    /// By the client, for rules.
    pub metadata: BTreeMap<String, String>,
    /// Of a vector, where fewer are wanted than the model makes.
    pub dimensions: Option<u32>,
    /// Client's own part of what separates prefix caches.
    pub cache_salt: String,
    /// What of Anthropic's betas the client wants, by its wire's header.
    pub betas: Vec<String>,
    /// The answer is sent while it is written.
    pub stream: bool,
    /// The client wants a last chunk with the usage.
    pub include_usage: bool,
    /// Parts that not every upstream takes.
    pub needs: Vec<Need>,
    /// The request as it came.
    pub body: Map<String, Value>,
}

/// What a model is to read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Input {
    Chat(Vec<Message>),
    Text(String),
    Tokens(Vec<u32>),
    /// Each of them by itself.
    Many(Vec<Input>),
}

/// What the client said about drawing tokens; what it did not say is the model's own.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Sampling {
    pub temperature: Option<f32>,
    pub top_k: Option<u32>,
    pub top_p: Option<f32>,
    pub min_p: Option<f32>,
    pub typical_p: Option<f32>,
    pub repetition_penalty: Option<f32>,
    pub presence_penalty: Option<f32>,
    pub frequency_penalty: Option<f32>,
    pub seed: Option<u64>,
    /// By token of the model that answers.
    pub logit_bias: BTreeMap<u32, f32>,
    pub min_tokens: Option<u32>,
    pub stop_token_ids: Vec<u32>,
    pub ignore_eos: bool,
}

/// A part of a request that not every upstream takes, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Need {
    pub field: String,
    pub what: Needed,
}

/// What an upstream must be able to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needed {
    /// Look at an image.
    Sight,
    /// Answer with some JSON object, whatever its form.
    AnyObject,
    /// Understand what only the client's own wire can say: hosted tools, files, sound.
    OwnWire,
}

/// So many prompts of one ask are worked on at a time: others want to be answered too.
pub(crate) const PROMPTS_AT_ONCE: u32 = 8;

impl Ask {
    /// What is read, each by itself.
    pub fn prompts(&self) -> &[Input] {
        match &self.input {
            Input::Many(inputs) => inputs,
            input => std::slice::from_ref(input),
        }
    }

    /// How many answers each prompt gets.
    pub fn choices_each(&self) -> u32 {
        let prompts = u32::try_from(self.prompts().len()).unwrap_or(u32::MAX);
        (self.choices / prompts.max(1)).max(1)
    }

    /// So many sequences of it a replica has in hand at a time, where it has room for them.
    pub fn at_once(&self) -> u32 {
        let prompts = u32::try_from(self.prompts().len()).unwrap_or(u32::MAX);
        match self.wire {
            Wire::Embeddings => prompts,
            _ => prompts
                .min(PROMPTS_AT_ONCE)
                .saturating_mul(self.choices_each()),
        }
    }

    /// Whether nothing is to be written: the prompt is only read.
    pub fn is_read_only(&self) -> bool {
        self.max_tokens == Some(0)
    }

    pub fn messages(&self) -> &[Message] {
        match &self.input {
            Input::Chat(messages) => messages,
            Input::Text(_) | Input::Tokens(_) | Input::Many(_) => &[],
        }
    }

    /// Whether it brings any tool, also of a kind that only the client's own wire knows.
    fn brings_tools(&self) -> bool {
        let mut lists = TOOLS.iter().filter_map(|list| self.body.get(*list));
        lists.any(|list| list.as_array().is_some_and(|tools| !tools.is_empty()))
    }

    /// What the cascade wants to know of it.
    pub fn asked(&self) -> Asked {
        Asked {
            json: self.form.is_json(),
            tools: self.brings_tools() && self.tool_choice != ToolChoice::None,
            must_call: matches!(
                self.tool_choice,
                ToolChoice::Required | ToolChoice::Named(_)
            ),
            options: matches!(self.form, Form::Choice(_)),
            thinking: false,
            choices: self.choices,
            max_tokens: self.max_tokens,
            prompt_tokens: self.prompt_estimate(),
        }
    }

    /// About how many tokens the prompt has: four bytes each, as providers' own rule of thumb has
    /// it. Only for what nobody has counted.
    pub fn prompt_estimate(&self) -> u64 {
        self.prompt_bytes().div_ceil(4)
    }

    /// How long the text of the prompt is, tools included.
    pub fn prompt_bytes(&self) -> u64 {
        let tools = self.tools.iter().map(Tool::bytes).sum::<usize>();
        (tools + self.input.bytes()) as u64
    }
}

impl Input {
    fn bytes(&self) -> usize {
        match self {
            Input::Chat(messages) => messages.iter().map(Message::bytes).sum(),
            Input::Text(text) => text.len(),
            // As long as the rule of thumb has them.
            Input::Tokens(tokens) => 4 * tokens.len(),
            Input::Many(inputs) => inputs.iter().map(Input::bytes).sum(),
        }
    }
}
