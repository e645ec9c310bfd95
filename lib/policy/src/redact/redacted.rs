//! What was taken out of one ask: which placeholder stands for which value.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use super::Why;
use super::placeholder::{LAST, Placeholder, literals};
use super::restore::{Form, restored};
use super::span::Kind;

/// The most values of one ask.
pub const MOST_VALUES: usize = 10_000;
/// The longest value, in bytes: an answer may name it as often as it likes.
pub const LONGEST_VALUE: usize = 16 << 10;

/// The values that were taken out of one ask. They live no longer than it, and are never shown.
#[derive(Default)]
pub struct Redacted {
    values: HashMap<Placeholder, Arc<str>>,
    /// Names of tools, as they were sent and as they were.
    names: HashMap<String, String>,
}

impl Redacted {
    /// Whether nothing was taken out, so that nothing has to be restored.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// How many different values were taken out.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// A whole text of the answer, with the values.
    pub fn restore_text(&self, text: &mut String) {
        if !self.is_empty() {
            *text = restored(self, Form::Text, text);
        }
    }

    /// A whole text that is JSON, such as a tool's arguments, with the values.
    pub fn restore_json_text(&self, text: &mut String) {
        if !self.is_empty() {
            *text = restored(self, Form::Json, text);
        }
    }

    /// Every text and every key in `value`. What was a number stays text.
    pub fn restore_json(&self, value: &mut Value) {
        match value {
            Value::String(text) => self.restore_text(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.restore_json(item)),
            Value::Object(fields) if !self.is_empty() => {
                let restored = std::mem::take(fields)
                    .into_iter()
                    .map(|(mut key, mut value)| {
                        self.restore_text(&mut key);
                        self.restore_json(&mut value);
                        (key, value)
                    });
                *fields = restored.collect();
            }
            _ => {}
        }
    }

    /// The name of a tool that the answer calls.
    pub fn restore_name(&self, name: &mut String) {
        if let Some(original) = self.names.get(name) {
            name.clone_from(original);
        }
    }

    pub(super) fn value(&self, placeholder: Placeholder) -> Option<&str> {
        self.values.get(&placeholder).map(|value| &**value)
    }
}

impl fmt::Debug for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redacted({} values)", self.len())
    }
}

/// Values as they are found, each given its placeholder.
#[derive(Default)]
pub(super) struct Values {
    placeholders: HashMap<Arc<str>, Placeholder>,
    /// What the ask says literally: no value gets these.
    taken: HashSet<Placeholder>,
    last: HashMap<Kind, u32>,
    redacted: Redacted,
}

impl Values {
    /// Gives no value a placeholder that `text` has literally.
    pub fn avoid(&mut self, text: &str) {
        self.taken.extend(literals(text));
    }

    /// The placeholder of `value`: the same for the same value.
    pub fn placeholder(&mut self, value: &str, kind: Kind) -> Result<Placeholder, Why> {
        if let Some(placeholder) = self.placeholders.get(value) {
            return Ok(*placeholder);
        }
        if value.len() > LONGEST_VALUE {
            return Err(Why::ValueTooLong);
        }
        if self.placeholders.len() == MOST_VALUES {
            return Err(Why::TooManyValues);
        }
        let last = self.last.entry(kind).or_default();
        let mut numbers = *last + 1..=LAST;
        let is_free = |number: &u32| {
            let number = *number;
            !self.taken.contains(&Placeholder { kind, number })
        };
        let number = numbers.find(is_free).ok_or(Why::TooManyValues)?;
        *last = number;
        let placeholder = Placeholder { kind, number };
        let value: Arc<str> = value.into();
        self.redacted.values.insert(placeholder, value.clone());
        self.placeholders.insert(value, placeholder);
        Ok(placeholder)
    }

    pub fn name(&mut self, sent: String, original: String) {
        self.redacted.names.insert(sent, original);
    }

    pub fn finish(self) -> Redacted {
        self.redacted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(values: &mut Values, value: &str) -> Result<String, Why> {
        let placeholder = values.placeholder(value, Kind::Email);
        placeholder.map(|placeholder| placeholder.to_string())
    }

    #[test]
    fn the_same_value_has_the_same_placeholder_and_literal_ones_are_left_out() {
        let mut values = Values::default();
        values.avoid("see [EMAIL_2] and email_3, [PHONE_1]");
        let places = ["a", "b", "a", "c"].map(|value| place(&mut values, value).unwrap());
        assert_eq!(places, ["[EMAIL_1]", "[EMAIL_4]", "[EMAIL_1]", "[EMAIL_5]"]);
    }

    #[test]
    fn values_are_bounded_in_number_and_length() {
        let mut values = Values::default();
        for index in 0..MOST_VALUES {
            place(&mut values, &index.to_string()).unwrap();
        }
        assert_eq!(place(&mut values, "more"), Err(Why::TooManyValues));
        assert!(place(&mut values, "0").is_ok());
        let mut values = Values::default();
        assert_eq!(
            place(&mut values, &"x".repeat(LONGEST_VALUE + 1)),
            Err(Why::ValueTooLong)
        );
        values.avoid(&format!("EMAIL_{}", LAST));
        values.last.insert(Kind::Email, LAST - 1);
        assert_eq!(place(&mut values, "x"), Err(Why::TooManyValues));
    }

    #[test]
    fn values_are_not_shown() {
        let mut values = Values::default();
        place(&mut values, "bob@example.com").unwrap();
        assert_eq!(format!("{:?}", values.finish()), "Redacted(1 values)");
    }
}
