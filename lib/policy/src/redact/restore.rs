//! The values back in an answer, piece by piece as it arrives.
//!
//! A placeholder may be cut anywhere between pieces: what may begin one is held back until it is
//! certain, which is never more than one placeholder is long (21 bytes). What stands for no value
//! of the ask is left as it is. So are URL-encoded placeholders, and those in log-probabilities and
//! token texts.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use super::placeholder::{Read, read};
use super::redacted::Redacted;

/// Restored, a piece is no longer than this on top of what it was: a few words that stand for long values can
/// be said very often. What is beyond is left as it is.
const MOST_GROWN: usize = 1 << 20;

/// What an answer's text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Text,
    /// JSON, as the arguments of a tool and answers with a schema are: a value is written so that
    /// it stays JSON.
    Json,
}

/// Restores one text of an answer: one for each choice, tool call and block of content.
pub struct Restorer {
    redacted: Arc<Redacted>,
    passage: Passage,
    held: String,
}

impl Restorer {
    pub fn new(redacted: Arc<Redacted>, form: Form) -> Self {
        Self {
            redacted,
            passage: Passage::new(form),
            held: String::new(),
        }
    }

    /// What may be passed on after the next piece of the answer; may be empty.
    pub fn push(&mut self, piece: &str) -> String {
        if self.redacted.is_empty() {
            return piece.to_owned();
        }
        let text = std::mem::take(&mut self.held) + piece;
        let mut restored = String::with_capacity(text.len());
        let rest = self.passage.restore(&self.redacted, &text, &mut restored);
        self.held.push_str(rest);
        restored
    }

    /// What was held back when the answer has ended.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

impl fmt::Debug for Restorer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Restorer({} bytes held)", self.held.len())
    }
}

/// A whole text.
pub(super) fn restored(redacted: &Redacted, form: Form, text: &str) -> String {
    let mut restored = String::with_capacity(text.len());
    let rest = Passage::new(form).restore(redacted, text, &mut restored);
    restored.push_str(rest);
    restored
}

/// A text on its way.
struct Passage {
    form: Form,
    /// In a string of JSON.
    is_string: bool,
    /// After a backslash in one.
    is_escaped: bool,
}

impl Passage {
    fn new(form: Form) -> Self {
        Self {
            form,
            is_string: false,
            is_escaped: false,
        }
    }

    /// Writes what is certain of `text`; gives what is not.
    fn restore<'a>(
        &mut self,
        redacted: &Redacted,
        mut text: &'a str,
        restored: &mut String,
    ) -> &'a str {
        let most = text.len() + MOST_GROWN;
        let escape = match self.form {
            Form::Text => r"\",
            Form::Json => r"\\",
        };
        while let Some(at) = text.find(['[', '\\']) {
            self.pass(&text[..at], restored);
            text = &text[at..];
            let found = match self.is_escaped {
                true => Read::Other,
                false => read(text, escape),
            };
            let (value, len) = match found {
                Read::Whole(placeholder, len) => (redacted.value(placeholder), len),
                Read::Begun => return text,
                Read::Other => (None, 1),
            };
            match value {
                Some(value) if restored.len() + value.len() + text.len() <= most => {
                    self.write(value, restored)
                }
                _ => self.pass(&text[..len], restored),
            }
            text = &text[len..];
        }
        self.pass(text, restored);
        ""
    }

    /// Writes what the answer says itself.
    fn pass(&mut self, text: &str, restored: &mut String) {
        restored.push_str(text);
        if self.form == Form::Text {
            return;
        }
        for byte in text.bytes() {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' if self.is_string => self.is_escaped = true,
                b'"' => self.is_string = !self.is_string,
                _ => {}
            }
        }
    }

    fn write(&self, value: &str, restored: &mut String) {
        if self.form == Form::Text {
            return restored.push_str(value);
        }
        let literal = Value::from(value).to_string();
        match self.is_string {
            true => restored.push_str(&literal[1..literal.len() - 1]),
            false => restored.push_str(&literal),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::redacted::Values;
    use super::super::span::Kind;
    use super::*;

    /// `[EMAIL_1]` and `[PRIVATE_1]`.
    fn redacted() -> Arc<Redacted> {
        let mut values = Values::default();
        values.placeholder("bob@x.com", Kind::Email).ok().unwrap();
        values
            .placeholder("a\"b\\c\nd", Kind::Private)
            .ok()
            .unwrap();
        Arc::new(values.finish())
    }

    /// What arrives in pieces of `size` characters.
    fn restore(form: Form, text: &str, size: usize) -> String {
        let mut restorer = Restorer::new(redacted(), form);
        let chars: Vec<char> = text.chars().collect();
        let pieces = chars
            .chunks(size)
            .map(|piece| restorer.push(&String::from_iter(piece)));
        let restored: String = pieces.collect();
        restored + &restorer.finish()
    }

    #[test]
    fn values_come_back_wherever_the_pieces_are_cut() {
        for (text, expected) in [
            ("to [EMAIL_1], ", "to bob@x.com, "),
            ("[[EMAIL_1]]", "[bob@x.com]"),
            ("[EMAIL_[email_1]", "[EMAIL_bob@x.com"),
            (r"\[EMAIL\_1\] \[EMAIL_1]", r"bob@x.com \bob@x.com"),
            (
                "[EMAIL_2] [EMAIL_1x] [CARD_1]",
                "[EMAIL_2] [EMAIL_1x] [CARD_1]",
            ),
            ("[Email 1](mailto:[EMAIL_1])", "[Email 1](mailto:bob@x.com)"),
            ("é[EMAIL_1]é[", "ébob@x.comé["),
            (r"[PRIVATE_1]\", "a\"b\\c\nd\\"),
        ] {
            for size in 1..20 {
                assert_eq!(restore(Form::Text, text, size), expected, "{size}");
            }
        }
    }

    #[test]
    fn json_stays_json_wherever_the_pieces_are_cut() {
        let text = r#"{"[EMAIL_1]": "\"[PRIVATE_1]", "a": [EMAIL_1], "b": ["\\[EMAIL_1]", "\\[EMAIL\\_1\\]"]}"#;
        let expected = serde_json::json!({
            "bob@x.com": "\"a\"b\\c\nd", "a": "bob@x.com", "b": ["\\bob@x.com", "bob@x.com"],
        });
        for size in 1..20 {
            let restored = restore(Form::Json, text, size);
            let read: Value = serde_json::from_str(&restored).unwrap();
            assert_eq!(read, expected, "{size}: {restored}");
        }
    }

    #[test]
    fn what_stands_for_a_long_value_very_often_does_not_grow_without_end() {
        let mut values = Values::default();
        let long = "x".repeat(10_000);
        values.placeholder(&long, Kind::Private).ok().unwrap();
        let mut restorer = Restorer::new(Arc::new(values.finish()), Form::Text);
        let said = "[PRIVATE_1]".repeat(2_000);
        let restored = restorer.push(&said);
        assert!(restored.len() <= said.len() + MOST_GROWN);
        assert!(restored.starts_with(&long) && restored.ends_with("[PRIVATE_1]"));
    }

    #[test]
    fn no_more_is_held_back_than_may_begin_a_placeholder() {
        let mut restorer = Restorer::new(redacted(), Form::Json);
        let text = r#""\\[PRIVATE\\_12345\\] [[[[[[[[ \\\\\\\\ [EMAIL_ [EMAIL_1"#;
        for char in text.chars() {
            restorer.push(&char.to_string());
            assert!(restorer.held.len() < r"\\[PRIVATE\\_12345\\]".len());
        }
        assert_eq!(restorer.push(" x"), "[EMAIL_1 x");
    }

    #[test]
    fn without_values_every_piece_is_passed_on() {
        let mut restorer = Restorer::new(Arc::new(Redacted::default()), Form::Text);
        assert_eq!(restorer.push("[EMA"), "[EMA");
        assert_eq!(restorer.finish(), "");
    }
}
