//! The model: weights, one decoder for all dense families, tokenizer, chat template.
//!
//! Invariants: what a token's logits are depends on its own sequence alone, for any batch, chunking
//! and thread count; a folder that cannot be served exactly is refused, naming what is in the way.

mod adapter;
mod batch;
mod config;
mod decoder;
mod digest;
mod error;
mod facts;
mod files;
mod found;
mod generation;
pub mod gguf;
mod groups;
mod hub;
mod inspect;
mod kv;
mod layers;
mod loading;
mod mapped;
mod model;
mod open;
mod packed_cache;
#[cfg(test)]
mod parity;
mod plan;
mod pooling;
mod quantization;
mod report;
mod rope;
mod spec;
mod template;
mod tensor;
mod tokenizer;
mod weight;
mod weights;

pub use weir_kernels::{KernelClass, Summary, available_threads};

pub use self::adapter::{Adapter, AdapterBase, AdapterError, MOST_RANK};
pub use self::batch::{Batch, BatchError, Logits, SequenceSlice};
pub use self::error::LoadError;
pub use self::facts::ModelFacts;
pub use self::generation::GenerationDefaults;
pub use self::gguf::Gguf;
pub use self::groups::{BLOCK_TOKENS, BlockLayout, Extent, Group, Groups, STEP_TOKENS};
pub use self::inspect::Inspection;
pub use self::kv::{KeyValueType, KvCache};
pub use self::mapped::Mapped;
pub use self::mapped::lost::tell_of_lost_pages;
pub use self::model::{LoadOptions, Model};
pub use self::open::gguf_at;
pub use self::packed_cache::{CacheError, Unfit, Upkeep, Upkept};
pub use self::plan::Plan;
pub use self::pooling::{Pooling, pooling};
pub use self::quantization::Quantization;
pub use self::report::{LoadPhases, LoadReport};
pub use self::template::{
    ApartError, Begin, ChatTemplate, Conversation, MOST_BYTES, MOST_TIME, Message, Said,
    TemplateError, TemplateSource, TrialError, render_apart,
};
pub use self::tokenizer::{Detokenizer, TokenBytes, TokenizeError, Tokenizer};
