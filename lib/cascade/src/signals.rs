//! What sends an answer up a tier whatever its score.

use std::sync::LazyLock;

use regex::Regex;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::task::Task;

/// How much of an answer's beginning is looked at for patterns; bounds the memory of an attempt.
const LOOKED_AT_BYTES: usize = 64 * 1024;

/// A unit that follows itself this often, over this many bytes, is a loop. A ruled line or a
/// padded table stays below.
const LOOP_REPEATS: usize = 8;
const LOOP_BYTES: usize = 160;
/// The longest unit of a loop that is looked for, about two long sentences.
const LOOP_UNIT_BYTES: usize = 256;

/// A policy's own rules of this kind (`escalateOn`).
#[derive(Clone, Debug)]
pub struct Signals {
    /// Text that means "I do not know".
    pub patterns: Vec<Regex>,
    /// Fewer tokens are no answer.
    pub min_tokens: u32,
    /// Whether an answer goes up that does not have the form which was asked for.
    pub schema_failure: bool,
    /// Whether a refusal goes up.
    pub refusal: bool,
}

impl Default for Signals {
    fn default() -> Self {
        Self {
            patterns: Vec::new(),
            min_tokens: 1,
            schema_failure: true,
            refusal: true,
        }
    }
}

/// What was seen.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Signal {
    /// Nothing that a person could read, and no tool call.
    Empty,
    /// It ended because there was no more room, not because it was finished.
    Truncated,
    /// Fewer tokens than the policy takes for an answer.
    TooShort,
    /// It does not have the form that was asked for.
    SchemaFailure,
    /// The model declined.
    Refusal,
    /// It says the same thing again and again.
    Loop,
    /// One of the policy's patterns matched.
    Pattern(String),
    /// It says itself that it is not sure. Looked for where nothing is known of the tokens.
    Hedging,
    /// It is longer than an answer of its kind. Looked for where nothing is known of the tokens.
    TooLong,
}

/// The text of an answer, as far as signals need it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Text {
    head: String,
    tail: Vec<u8>,
    has_words: bool,
}

impl Text {
    pub fn push(&mut self, text: &str) {
        self.has_words |= !text.trim().is_empty();
        let room = LOOKED_AT_BYTES.saturating_sub(self.head.len());
        self.head.push_str(&text[..text.floor_char_boundary(room)]);
        self.tail.extend_from_slice(text.as_bytes());
        let keep = LOOP_UNIT_BYTES * LOOP_REPEATS;
        // Trimmed when it has doubled, so that a token costs no copy of the whole tail.
        if self.tail.len() > 2 * keep {
            self.tail.drain(..self.tail.len() - keep);
        }
    }

    pub fn is_blank(&self) -> bool {
        !self.has_words
    }

    /// Whether the answer, all of which must have been short enough to look at, is JSON.
    pub fn is_json(&self) -> bool {
        self.head.len() >= LOOKED_AT_BYTES || serde_json::from_str::<IgnoredAny>(&self.head).is_ok()
    }
}

impl Signals {
    /// What can be seen before the end.
    pub(crate) fn while_writing(&self, text: &Text) -> Option<Signal> {
        let matched = self
            .patterns
            .iter()
            .find(|pattern| pattern.is_match(&text.head));
        if let Some(pattern) = matched {
            return Some(Signal::Pattern(pattern.as_str().to_owned()));
        }
        if self.refusal && REFUSAL.is_match(&text.head) {
            return Some(Signal::Refusal);
        }
        loops(&text.tail).then_some(Signal::Loop)
    }
}

/// How models decline, at the beginning of an answer. English only: a policy's own patterns say
/// it in other languages.
static REFUSAL: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"(?ix)^\W*
        (?: (?:i['’]?\s*a?m\s+)?(?:very\s+|so\s+)?sorry\b[^.!?]{0,40}? | (?:unfortunately|i\s+apologi[sz]e)\b[^.!?]{0,40}? )?
        (?: \b(?:but\s+)?(?:i|we)\s*(?:['’]m|\s+am|\s+are)\s+(?:unable|not\s+able|not\s+allowed)\s+to\b
          | \b(?:but\s+)?(?:i|we)\s+(?:can\s*not|can['’]?t|won['’]?t|will\s+not)\s+(?:help|assist|answer|comply|provide|fulfil|do\s+that|discuss|engage)
          | \bas\s+an\s+ai\b )",
    )
    .expect("the pattern is a constant that a test compiles")
});

/// How models say, in English, that they are not sure.
static HEDGING: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"(?ix)
        \b(?:i\s*['’]m|i\s+am)\s+(?:not\s+(?:\w+\s+)?(?:sure|certain)|unsure|uncertain)\b
        | \bi\s+(?:do\s+not|don['’]?t)\s+(?:\w+\s+)?(?:know|have\s+(?:enough|access|(?:any\s+|the\s+)?information))\b
        | \bi\s+(?:can\s*not|can['’]?t)\s+(?:be\s+(?:sure|certain)|determine|tell|verify|confirm)\b
        | \bi\s+(?:may|might|could)\s+be\s+(?:wrong|mistaken)\b
        | \b(?:it\s+is|it['’]s)\s+(?:unclear|hard\s+to\s+(?:say|tell)|impossible\s+to\s+(?:say|tell|know))\b
        | \bwithout\s+(?:more|further|additional)\s+(?:information|context|details?)\b
        | \bas\s+of\s+my\s+(?:last|latest|knowledge)\b",
    )
    .expect("the pattern is a constant that a test compiles")
});

/// Longer than this no label and no fact is, in tokens as they are guessed from text.
const LONGEST_LABEL: u32 = 16;
const LONGEST_FACT: u32 = 64;

/// What speaks against an answer of so many tokens of which nothing else is known.
pub(crate) fn doubt(text: &Text, task: Task, tokens: u32) -> Option<Signal> {
    let longest = match task {
        Task::Choice => LONGEST_LABEL,
        Task::Short => LONGEST_FACT,
        Task::Json | Task::Text | Task::Reasoning => u32::MAX,
    };
    if tokens > longest {
        return Some(Signal::TooLong);
    }
    // A document says such things of others.
    (task != Task::Json && HEDGING.is_match(&text.head)).then_some(Signal::Hedging)
}

fn loops(tail: &[u8]) -> bool {
    (1..=LOOP_UNIT_BYTES).any(|unit| {
        let needed = LOOP_BYTES.max(unit * LOOP_REPEATS);
        tail.len() >= needed && {
            let end = &tail[tail.len() - needed..];
            end[unit..] == end[..needed - unit]
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(text: &str) -> Option<Signal> {
        let mut held = Text::default();
        held.push(text);
        Signals::default().while_writing(&held)
    }

    #[test]
    fn refusals_are_known_by_how_they_begin() {
        for text in [
            "I'm sorry, but I can't help with that.",
            "I’m sorry, I cannot assist with this request.",
            "Sorry, I can't do that.",
            "I cannot provide medical advice.",
            "As an AI language model, I have no opinions.",
            "Unfortunately, I am unable to open links.",
            "We are not able to discuss this.",
        ] {
            assert_eq!(seen(text), Some(Signal::Refusal), "{text}");
        }
    }

    #[test]
    fn answers_that_speak_of_refusing_are_no_refusals() {
        for text in [
            "billing",
            "Sorry to hear that! Restart the router and wait a minute.",
            "The customer says: \"I cannot log in\".",
            "You can't divide by zero because no number times zero gives one.",
            "I can help with that.",
        ] {
            assert_eq!(seen(text), None, "{text}");
        }
    }

    fn doubted(text: &str, task: Task, tokens: u32) -> Option<Signal> {
        let mut held = Text::default();
        held.push(text);
        doubt(&held, task, tokens)
    }

    #[test]
    fn hedging_is_known_by_its_words() {
        for text in [
            "Billing, but I'm not entirely sure.",
            "I don’t really know what this is about.",
            "I do not have enough information to answer.",
            "It's hard to say which team this is for.",
            "Without more context I would say billing.",
            "I might be mistaken, but it is billing.",
            "I cannot tell from this ticket.",
        ] {
            assert_eq!(
                doubted(text, Task::Text, 9),
                Some(Signal::Hedging),
                "{text}"
            );
        }
        for text in [
            "Make sure that you know the number of the ticket.",
            "The customer is not sure which plan he has.",
            "I know this one: billing.",
        ] {
            assert_eq!(doubted(text, Task::Text, 9), None, "{text}");
        }
        let quoted = r#"{"said":"I'm not sure"}"#;
        assert_eq!(doubted(quoted, Task::Json, 9), None);
    }

    #[test]
    fn a_label_of_many_words_is_none() {
        assert_eq!(doubted("billing", Task::Choice, 16), None);
        assert_eq!(doubted("well", Task::Choice, 17), Some(Signal::TooLong));
        assert_eq!(doubted("well", Task::Short, 65), Some(Signal::TooLong));
        assert_eq!(doubted("well", Task::Text, 5000), None);
    }

    #[test]
    fn a_text_that_goes_round_is_a_loop_and_a_ruled_line_is_none() {
        assert_eq!(
            seen(&"The ticket is about billing. ".repeat(9)),
            Some(Signal::Loop)
        );
        assert_eq!(seen(&"ha".repeat(100)), Some(Signal::Loop));
        assert_eq!(seen(&"-".repeat(120)), None);
        let verse: String = (0..60)
            .map(|line| format!("{line} bottles on the wall. "))
            .collect();
        assert_eq!(seen(&verse), None);
    }

    #[test]
    fn a_policys_pattern_is_named() {
        let signals = Signals {
            patterns: vec![Regex::new("(?i)i don't know").unwrap()],
            ..Signals::default()
        };
        let mut text = Text::default();
        text.push("Well, I Don't know.");
        assert_eq!(
            signals.while_writing(&text),
            Some(Signal::Pattern("(?i)i don't know".to_owned()))
        );
    }

    #[test]
    fn memory_is_bounded_whatever_is_pushed() {
        let mut text = Text::default();
        for _ in 0..1000 {
            text.push(&"ö".repeat(1000));
        }
        assert!(text.head.len() <= LOOKED_AT_BYTES);
        assert!(text.tail.len() <= 2 * LOOP_UNIT_BYTES * LOOP_REPEATS);
    }
}
