//! The fields of one JSON object of a request, read one by one, so that an error names the field.
//! `null` is absent.

use serde_json::{Map, Value};

use crate::refusal::Refusal;

/// An object and where it stands.
pub(super) struct Fields<'a> {
    /// As `messages[2].`, or nothing for the whole body.
    at: String,
    object: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    pub fn whole(object: &'a Map<String, Value>) -> Self {
        Self {
            at: String::new(),
            object,
        }
    }

    /// The object `value`, which stands at `at`.
    pub fn of(at: &str, value: &'a Value) -> Result<Self, Refusal> {
        match value {
            Value::Object(object) => Ok(Self {
                at: format!("{at}."),
                object,
            }),
            _ => Err(Refusal::field(at, "must be an object")),
        }
    }

    /// The full name of `field`.
    pub fn path(&self, field: &str) -> String {
        format!("{}{field}", self.at)
    }

    pub fn wrong(&self, field: &str, message: impl Into<String>) -> Refusal {
        Refusal::field(self.path(field), message)
    }

    pub fn present(&self, field: &str) -> Option<&'a Value> {
        self.object.get(field).filter(|value| !value.is_null())
    }

    /// A text that may be empty or absent.
    pub fn any_text(&self, field: &str) -> Result<Option<&'a str>, Refusal> {
        match self.present(field) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong(field, "must be text")),
        }
    }

    /// A text that must be there and have something in it.
    pub fn text(&self, field: &str) -> Result<&'a str, Refusal> {
        match self.any_text(field)? {
            None => Err(self.wrong(field, "is missing")),
            Some("") => Err(self.wrong(field, "must be text")),
            Some(text) => Ok(text),
        }
    }

    pub fn flag(&self, field: &str) -> Result<bool, Refusal> {
        match self.present(field) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(self.wrong(field, "must be true or false")),
        }
    }

    pub fn count(&self, field: &str) -> Result<Option<u32>, Refusal> {
        let Some(value) = self.present(field) else {
            return Ok(None);
        };
        let count = value.as_u64().and_then(|count| u32::try_from(count).ok());
        match count {
            Some(count) => Ok(Some(count)),
            None => Err(self.wrong(field, "must be a whole number from 0 up")),
        }
    }

    /// A count that must be at least 1 where it is there.
    pub fn positive(&self, field: &str) -> Result<Option<u32>, Refusal> {
        match self.count(field)? {
            Some(0) => Err(self.wrong(field, "must be at least 1")),
            count => Ok(count),
        }
    }

    pub fn number(&self, field: &str, from: f64, to: f64) -> Result<Option<f32>, Refusal> {
        let Some(value) = self.present(field) else {
            return Ok(None);
        };
        match value.as_f64().filter(|number| (from..=to).contains(number)) {
            #[allow(
                clippy::cast_possible_truncation,
                reason = "a sampling setting needs no more"
            )]
            Some(number) => Ok(Some(number as f32)),
            None => {
                let message = format!("must be a number from {from} to {to}");
                Err(self.wrong(field, message))
            }
        }
    }

    pub fn list(&self, field: &str) -> Result<Option<&'a [Value]>, Refusal> {
        match self.present(field) {
            None => Ok(None),
            Some(Value::Array(items)) => Ok(Some(items)),
            Some(_) => Err(self.wrong(field, "must be a list")),
        }
    }

    /// The object at `field`, with the fields of its own.
    pub fn object(&self, field: &str) -> Result<Option<Fields<'a>>, Refusal> {
        let value = self.present(field);
        value
            .map(|value| Fields::of(&self.path(field), value))
            .transpose()
    }
}
