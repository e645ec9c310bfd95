//! Private values taken out of what leaves the cluster, and put back into the answer.
//!
//! A [`Redaction`] is what a policy's `privacy.redact` says, compiled. [`Redaction::apply`] takes a
//! finished request body, just before it is sent, so that nothing that is sent can be forgotten:
//! every value that it finds becomes a placeholder such as `[EMAIL_1]`, the same one for the same
//! value. What it gives, [`Redacted`], lives in memory as long as the ask; a [`Restorer`] puts the
//! values back into the answer while it streams.
//!
//! What counts as a value is said in the files: `email`, `phone`, `card`, `address`, and the
//! policy's own patterns. A body with something in it that cannot be looked through does not leave:
//! [`CannotRedact`] names the field.

mod address;
mod body;
mod card;
mod email;
mod finder;
mod fold;
mod json_text;
mod numbers;
mod phone;
mod placeholder;
mod redacted;
mod redacting;
mod restore;
mod span;
#[cfg(test)]
mod testing;

use serde_json::Value;
use thiserror::Error;
use weir_crds::Redact;

use finder::Finder;
use redacted::Values;
use redacting::Redacting;

pub use redacted::{LONGEST_VALUE, MOST_VALUES, Redacted};
pub use restore::{Form, Restorer};

/// The most patterns of one policy.
const MOST_PATTERNS: usize = 16;

/// What a policy takes out of what leaves.
#[derive(Clone, Debug)]
pub struct Redaction {
    finder: Finder,
}

/// Why a body does not leave.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{field}: {why}")]
pub struct CannotRedact {
    /// As in `messages[0].content[1]`; names that a client may have made up are `*`.
    pub field: String,
    pub why: Why,
}

/// What stands in the way of redacting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Why {
    #[error("is of a type that cannot be redacted")]
    Type,
    #[error("is no role whose messages can be redacted")]
    Role,
    #[error("cannot be looked into, and so not be redacted")]
    Opaque,
    #[error("holds a file, which cannot be redacted")]
    File,
    #[error("has numbers for text, which cannot be redacted")]
    Tokens,
    #[error("has a field whose name is a private value")]
    Field,
    #[error("is JSON in which a pattern of the policy matches more than one string")]
    AcrossJson,
    #[error("is too long to be redacted")]
    TextTooLong,
    #[error("has a private value of more than {LONGEST_VALUE} bytes")]
    ValueTooLong,
    #[error("has more than {MOST_VALUES} private values")]
    TooManyValues,
}

impl Redaction {
    /// What `redact` says, or every problem of it: the field below `redact`, and what is wrong with
    /// it.
    pub fn compile(redact: &Redact) -> Result<Self, Vec<(String, String)>> {
        let mut problems = Vec::new();
        if redact.kinds.is_empty() && redact.patterns.is_empty() {
            let message = "takes nothing out: name kinds or patterns, or leave it out";
            problems.push((String::new(), message.to_owned()));
        }
        if redact.patterns.len() > MOST_PATTERNS {
            let message = format!("must be at most {MOST_PATTERNS}");
            problems.push((".patterns".to_owned(), message));
        }
        let mut patterns = Vec::new();
        for (index, text) in redact.patterns.iter().take(MOST_PATTERNS).enumerate() {
            match finder::pattern(text) {
                Ok(pattern) => patterns.push(pattern),
                Err(message) => problems.push((format!(".patterns[{index}]"), message)),
            }
        }
        let kinds = redact.kinds.iter().map(|kind| (*kind).into()).collect();
        match problems.is_empty() {
            true => Ok(Self {
                finder: Finder::new(kinds, patterns),
            }),
            false => Err(problems),
        }
    }

    /// Whether [`Self::apply`] could look through all of `body`, of any wire, as it came from a
    /// client or as it is sent: what plans an ask leaves tiers out that it may not go to.
    pub fn check(body: &Value) -> Result<(), CannotRedact> {
        body::check(body)
    }

    /// Takes every value out of `body`, which is finished but for this: a request of OpenAI's chat,
    /// completions, embeddings or Responses wire, or of Anthropic's messages.
    ///
    /// Where it fails, some of `body` may be redacted, and `body` must not be sent.
    pub fn apply(&self, body: &mut Value) -> Result<Redacted, CannotRedact> {
        body::check(body)?;
        let mut values = Values::default();
        body::avoid(body, &mut values);
        let mut ask = Redacting::new(&self.finder, values);
        body::redact(body, &mut ask)?;
        Ok(ask.finish())
    }

    /// Takes every value out of one text, with none that comes with it.
    pub fn apply_to_text(&self, text: &mut String) -> Result<Redacted, Why> {
        let mut values = Values::default();
        values.avoid(text);
        let mut ask = Redacting::new(&self.finder, values);
        ask.text(text, None)?;
        Ok(ask.finish())
    }
}

#[cfg(test)]
mod tests;
