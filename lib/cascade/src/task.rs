//! The kinds of answer, which decide what the evidence means.

use serde::{Deserialize, Serialize};

/// An answer of at most this many tokens is a label or a fact, not a text.
pub(crate) const SHORT_TOKENS: u32 = 16;

/// The kind of answer asked for.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum Task {
    /// One of a closed set: a class, a route, yes or no.
    Choice,
    /// A JSON document or the arguments of a tool.
    Json,
    /// A fact in a few words.
    Short,
    /// Prose, code, chat.
    Text,
    /// Thinking first, then an answer.
    Reasoning,
}

/// What a client asked for, as far as it tells the kind of answer.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Asked {
    /// The answer must be JSON (a schema, or any object).
    pub json: bool,
    /// Tools may be called.
    pub tools: bool,
    /// One of them must be.
    pub must_call: bool,
    /// The answer is one of a closed set.
    pub options: bool,
    /// The model was asked to think first.
    pub thinking: bool,
    /// How many answers (`n`); 0 and 1 are one.
    pub choices: u32,
    /// The most tokens the client takes.
    pub max_tokens: Option<u32>,
    /// Of the prompt, about.
    pub prompt_tokens: u64,
}

impl Asked {
    /// The kind of answer, where the policy leaves it to us. One that may call a tool is taken for words until
    /// it does.
    pub fn task(&self) -> Task {
        if self.options {
            Task::Choice
        } else if self.json || self.must_call {
            Task::Json
        } else if self.thinking {
            Task::Reasoning
        } else if self.max_tokens.is_some_and(|most| most <= SHORT_TOKENS) {
            Task::Short
        } else {
            Task::Text
        }
    }

    /// Whether part of the answer is of no use, or does harm: a tool call is a side effect, half
    /// a document does not parse, and several answers are judged together.
    pub(crate) fn is_whole(&self) -> bool {
        self.json || self.tools || self.choices > 1
    }
}

impl Task {
    /// Where the line is drawn when a policy does not say.
    ///
    /// These are starting points on the scale of the built-in score of each task, which is not a
    /// calibrated probability of being right. Choices and short answers: the model gives the very
    /// answer nine (eight) chances of ten. JSON: the least sure value and the tenth percentile
    /// are at 60 % on the geometric mean. Text: even the least sure sentence has tokens of 40 % on
    /// the geometric mean, which fluent text of a model that knows its subject keeps to.
    pub fn built_in_threshold(self) -> f64 {
        match self {
            Self::Choice => 0.9,
            Self::Short => 0.8,
            Self::Json => 0.6,
            Self::Reasoning => 0.5,
            Self::Text => 0.4,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_task_follows_from_what_is_asked() {
        let asked = Asked::default();
        for (asked, task) in [
            (asked, Task::Text),
            (
                Asked {
                    json: true,
                    ..asked
                },
                Task::Json,
            ),
            (
                Asked {
                    tools: true,
                    ..asked
                },
                Task::Text,
            ),
            (
                Asked {
                    tools: true,
                    must_call: true,
                    ..asked
                },
                Task::Json,
            ),
            (
                Asked {
                    options: true,
                    json: true,
                    ..asked
                },
                Task::Choice,
            ),
            (
                Asked {
                    thinking: true,
                    max_tokens: Some(8),
                    ..asked
                },
                Task::Reasoning,
            ),
            (
                Asked {
                    max_tokens: Some(16),
                    ..asked
                },
                Task::Short,
            ),
            (
                Asked {
                    max_tokens: Some(17),
                    ..asked
                },
                Task::Text,
            ),
        ] {
            assert_eq!(asked.task(), task, "{asked:?}");
        }
    }
}
