//! Files from the outside, GGUF above all: what is read, what is refused, what ids texts have, and
//! what becomes of files that were damaged or mean harm.
#![allow(clippy::unwrap_used, reason = "in a test the panic is the report")]

mod adapters;
mod chat_templates;
mod converted;
mod damaged;
mod golden;
mod hostile;
mod keys;
mod logits;
mod mutants;
mod mutations;
mod peak;
mod reading;
mod refusals;
mod settings;
mod small;
mod splits;
mod tokenizer;
mod trial;
mod vocabularies;
mod written;
