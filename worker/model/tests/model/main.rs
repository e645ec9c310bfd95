//! The model from the outside: what it computes, what it refuses, and how it speaks.
#![allow(clippy::unwrap_used, reason = "in a test the panic is the report")]

mod bad_input;
mod batching;
mod digests;
mod logits;
mod packed_cache;
mod plan;
mod run;
mod template;
mod tiny;
mod tokenizer;
