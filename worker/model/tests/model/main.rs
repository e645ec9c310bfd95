//! The model from the outside: what it computes, what it refuses, and how it speaks.

mod bad_input;
mod batching;
mod digests;
mod logits;
mod run;
mod template;
mod tiny;
mod tokenizer;
