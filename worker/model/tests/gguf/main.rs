//! GGUF files from the outside: what is read, what is refused, and what ids texts have.
#![allow(clippy::unwrap_used, reason = "in a test the panic is the report")]

mod chat_templates;
mod converted;
mod damaged;
mod golden;
mod logits;
mod mutations;
mod peak;
mod reading;
mod refusals;
mod settings;
mod small;
mod splits;
mod tokenizer;
mod vocabularies;
mod written;
