//! What a worker does, in the contract's words and on no particular wire.

mod answering;
mod aside;
mod call_id;
mod check;
mod choose;
mod conversation;
mod describe;
mod embed;
pub mod gathered;
mod generate;
mod guide;
mod prompt;
mod reader;
mod resume;
pub mod tools;

use std::sync::Arc;

use weir_engine::{
    Constraints, Engine,
    model::{GenerationDefaults, ModelFacts, Pooling, Tokenizer},
};
use weir_policy::load::ColdStart;
use weir_process::Shutdown;

use self::tools::Style;
pub use self::{aside::Aside, generate::Generation, reader::Patience};
use crate::{
    adapters::{Seen, uses::Uses},
    capacity::Capacity,
    draining::Cutoff,
    held::Room,
    metrics::Metrics,
    renderer::Renderer,
};

/// A loaded model behind its engine, with all that turns requests into work for it.
pub struct Serving {
    /// The name clients use for the model.
    pub name: String,
    pub engine: Engine,
    pub tokenizer: Tokenizer,
    /// Absent where the model brings none: then it takes no chats.
    pub template: Option<Renderer>,
    /// Which states become the vector of a text.
    pub pooling: Pooling,
    /// How the model writes calls of tools.
    pub tool_style: Style,
    /// Compiles forms that answers must have.
    pub constraints: Constraints,
    pub defaults: GenerationDefaults,
    pub facts: ModelFacts,
    /// What its source resolved to; empty for files that lay there.
    pub revision: String,
    /// What a prompt takes that can fit the context at all: tokenizing takes hundreds of times a
    /// text's own memory, and seconds for some megabytes of it.
    pub most_prompt_bytes: usize,
    /// Where prompts are tokenized, among other things.
    pub reading_prompts: Aside,
    /// Of the tokens of options until they are scored.
    pub choosing: Room,
    /// Tokens with which the model ends its turn.
    pub eos: Arc<[u32]>,
    pub adapters: Seen,
    pub adapter_uses: Uses,
    /// What adapters may take together.
    pub adapter_bytes: u64,
    pub cold_start: ColdStart,
    /// As measured before it was ready.
    pub capacity: Capacity,
    /// When the model was loaded, in seconds since 1970.
    pub created_seconds: u64,
    pub metrics: Metrics,
    pub shutdown: Shutdown,
    pub cutoff: Cutoff,
    /// Of whole answers.
    pub sending: Room,
    /// With those who read answers.
    pub patience: Patience,
}

impl Serving {
    /// A token by itself: a special one has no text, but is known by its spelling.
    pub fn token_text(&self, id: u32) -> String {
        match self.tokenizer.decode(&[id]) {
            Ok(text) if !text.is_empty() => text,
            _ => self.tokenizer.spelling(id).unwrap_or_default(),
        }
    }
}
