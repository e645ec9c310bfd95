//! Chat templates and tokenizers that were damaged are refused by file, or work: nothing panics, and
//! what would take memory or time without end is found out by the trial.

mod templates;
mod tokenizers;

use weir_model::LoadError;

use crate::settings::{MUTATIONS, setting};

/// How many to damage: the share of what was asked for, or what takes a few seconds.
fn count(usual: u64, share: u64) -> u64 {
    let asked = setting(MUTATIONS).and_then(|count| count.parse::<u64>().ok());
    asked.map_or(usual, |count| (count / share).max(1))
}

/// A refusal names one of these files, says something, and not a file's worth of it.
fn told(error: &LoadError, files: &[&str]) -> bool {
    let said = error.to_string();
    files.iter().any(|file| said.contains(file)) && said.len() < 2000
}
