//! Where an ask goes by what is known of it before anything is generated: rules, checked, and which
//! of them is the first to match.
//!
//! Evaluation is pure. The number of a prompt's tokens costs a question to a replica, so it is asked
//! for only where a rule hangs on it and its bytes leave that open.

use std::fmt::Display;

use weir_crds::{HeaderValues, ResponseFormat, TokenRange, When};

/// A rule of a policy.
#[derive(Clone, Debug)]
pub struct Rule {
    pub name: String,
    /// Every condition can hold for some ask.
    pub when: When,
    pub then: Then,
}

/// What becomes of an ask. Tiers are places in [`Settings::tiers`](crate::validate::Settings::tiers).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Then {
    /// Begins at this tier and may escalate from there.
    Start(usize),
    /// This tier's answer counts whatever its score.
    Only(usize),
    Reject {
        /// What the client is told, where the policy says it.
        message: Option<String>,
    },
    /// Begins at one of these, by a draw. The weights sum to 100.
    Split(Vec<Share>),
}

/// One share of a split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    pub tier: usize,
    pub weight: u32,
}

/// A deployment that says of a conversation which label fits it.
#[derive(Clone, Debug)]
pub struct Classifier {
    pub deployment: String,
    /// At least two, all different.
    pub labels: Vec<Label>,
}

/// A label, and the tier to begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    pub label: String,
    pub start: usize,
}

/// What rules may look at of an ask. Each is asked for only where a rule looks at it.
pub trait Facts {
    fn has_header(&self, wanted: &HeaderValues) -> bool;
    /// The entry of the request's metadata.
    fn metadata(&self, name: &str) -> Option<&str>;
    fn has_tools(&self) -> bool;
    /// Nothing for a form that policies have no word for.
    fn format(&self) -> Option<ResponseFormat>;
    /// ISO 639-1, of the last message of the user; nothing where that cannot be told. Asked for
    /// after all that costs nothing.
    fn language(&self) -> Option<&str>;
    fn tenant(&self) -> Option<&str>;
    fn adapter(&self) -> Option<&str>;
}

/// What is known of a prompt's length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// Its bytes; nobody has been asked for more.
    Bytes(u64),
    /// Counted by the tokenizer.
    Tokens(u64),
    /// Nobody could count: the tokens that its bytes make by the rule of thumb.
    Estimated(u64),
}

/// What evaluation came to.
#[derive(Debug)]
pub enum Evaluation<'a> {
    /// The first rule that matches, and by what of the ask: for a person, without the ask's text.
    Matched {
        rule: &'a Rule,
        why: String,
    },
    NoMatch,
    /// It hangs on the number of the prompt's tokens.
    NeedsTokens,
}

/// The rule of thumb of providers: so many bytes are a token.
const BYTES_PER_TOKEN: u64 = 4;

/// How far the bytes must be from a bound to decide. Ordinary text, code and the scripts of Asia have
/// between two and eight bytes a token in the vocabularies of today, a factor of two either way of the rule
/// of thumb. Long runs of digits have fewer where each is a token, and may be taken for shorter.
const CLEAR: u64 = 2;

/// The first of `rules` that matches.
pub fn first_match<'a>(rules: &'a [Rule], facts: &impl Facts, length: Length) -> Evaluation<'a> {
    for rule in rules {
        let when = &rule.when;
        let fits = when.prompt_tokens.as_ref().map(|range| length.is_in(range));
        if fits == Some(Some(false)) || !holds(when, facts) {
            continue;
        }
        if fits == Some(None) {
            return Evaluation::NeedsTokens;
        }
        return Evaluation::Matched {
            rule,
            why: reason(when, length),
        };
    }
    Evaluation::NoMatch
}

/// The tier of a split for a `draw` from 0 up to, but not, 1.
pub fn drawn(shares: &[Share], draw: f64) -> Option<usize> {
    let mut rest = draw * 100.0;
    for share in shares {
        let weight = f64::from(share.weight);
        if rest < weight {
            return Some(share.tier);
        }
        rest -= weight;
    }
    None
}

impl Length {
    /// About how long a prompt of so many bytes is.
    pub fn estimated(bytes: u64) -> Self {
        Self::Estimated(bytes.div_ceil(BYTES_PER_TOKEN))
    }

    /// Whether it lies in `range`; nothing where its bytes leave that open.
    fn is_in(self, range: &TokenRange) -> Option<bool> {
        let over = range.over.map(|bound| self.is_over(bound.into()));
        let under = range.under.map(|bound| self.is_under(bound.into()));
        match (over.unwrap_or(Some(true)), under.unwrap_or(Some(true))) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (Some(true), Some(true)) => Some(true),
            _ => None,
        }
    }

    fn is_over(self, bound: u64) -> Option<bool> {
        match self {
            Length::Bytes(bytes) => clear_of(bytes, bound),
            Length::Tokens(tokens) | Length::Estimated(tokens) => Some(tokens > bound),
        }
    }

    fn is_under(self, bound: u64) -> Option<bool> {
        match self {
            Length::Bytes(bytes) => clear_of(bytes, bound).map(|is_over| !is_over),
            Length::Tokens(tokens) | Length::Estimated(tokens) => Some(tokens < bound),
        }
    }

    fn in_words(self) -> String {
        match self {
            Length::Bytes(bytes) => format!("about {} tokens", bytes.div_ceil(BYTES_PER_TOKEN)),
            Length::Tokens(tokens) => format!("{tokens} tokens"),
            Length::Estimated(tokens) => format!("an estimated {tokens} tokens"),
        }
    }
}

/// Whether so many bytes are clearly more than `bound` tokens, or clearly fewer.
fn clear_of(bytes: u64, bound: u64) -> Option<bool> {
    let at_bound = bound * BYTES_PER_TOKEN;
    if bytes > at_bound * CLEAR {
        Some(true)
    } else if bytes * CLEAR < at_bound {
        Some(false)
    } else {
        None
    }
}

/// Whether everything but the length holds.
fn holds(when: &When, facts: &impl Facts) -> bool {
    /// A condition that is not set holds.
    fn of<T>(condition: Option<&T>, holds: impl FnOnce(&T) -> bool) -> bool {
        condition.is_none_or(holds)
    }
    of(when.tenant.as_ref(), |tenant| {
        facts.tenant() == Some(tenant)
    }) && of(when.adapter.as_ref(), |adapter| {
        facts.adapter() == Some(adapter)
    }) && of(when.tools.as_ref(), |tools| facts.has_tools() == *tools)
        && of(when.response_format.as_ref(), |format| {
            facts.format() == Some(*format)
        })
        && of(when.header.as_ref(), |header| facts.has_header(header))
        && of(when.metadata.as_ref(), |wanted| {
            let value = facts.metadata(&wanted.name);
            value.is_some_and(|value| wanted.values.iter().any(|wanted| wanted == value))
        })
        && of(when.language.as_ref(), |language| {
            facts.language() == Some(language)
        })
}

/// What a rule has matched by. It names no tenant and no value that a client sent: records go
/// where those must not be known.
fn reason(when: &When, length: Length) -> String {
    let mut reasons: Vec<String> = Vec::new();
    let mut add = |reason: &dyn Display| reasons.push(reason.to_string());
    if let Some(range) = &when.prompt_tokens {
        let over = range.over.map(|bound| format!(" over {bound}"));
        let under = range.under.map(|bound| format!(" under {bound}"));
        let bounds: Vec<String> = over.into_iter().chain(under).collect();
        add(&format_args!(
            "prompt {}{}",
            length.in_words(),
            bounds.join(" and")
        ));
    }
    if let Some(header) = &when.header {
        add(&format_args!("header {}", header.name));
    }
    if let Some(metadata) = &when.metadata {
        add(&format_args!("metadata {}", metadata.name));
    }
    match when.tools {
        Some(true) => add(&"tools"),
        Some(false) => add(&"no tools"),
        None => {}
    }
    if let Some(format) = &when.response_format {
        add(&format_args!("format {format:?}"));
    }
    if let Some(language) = &when.language {
        add(&format_args!("language {language}"));
    }
    if when.tenant.is_some() {
        add(&"its tenant");
    }
    if let Some(adapter) = &when.adapter {
        add(&format_args!("adapter {adapter}"));
    }
    match reasons.is_empty() {
        true => "every ask".to_owned(),
        false => reasons.join(", "),
    }
}

#[cfg(test)]
mod tests;
