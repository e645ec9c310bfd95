//! Takes fields out of a JSON object one by one, so that an error names the field, and what is left
//! over at the end was not understood.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::refusal::Refusal;

#[derive(Debug)]
pub struct Fields {
    /// Where the object lies in the request, as `messages[2].`, or nothing for the whole.
    prefix: String,
    object: Map<String, Value>,
}

impl Fields {
    pub fn of(prefix: impl Into<String>, value: Value) -> Result<Self, Refusal> {
        let prefix = prefix.into();
        match value {
            Value::Object(object) => Ok(Self { prefix, object }),
            _ if prefix.is_empty() => Err(Refusal::NotJson {
                why: "it is not an object".to_owned(),
            }),
            _ => {
                let name = prefix.trim_end_matches('.');
                Err(Refusal::invalid(name, "is not an object"))
            }
        }
    }

    /// The field, if it is there and not null, which mean the same on this wire.
    pub fn take<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>, Refusal> {
        match self.object.shift_remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => serde_json::from_value(value)
                .map(Some)
                .map_err(|error| Refusal::invalid(self.path(name), format!("is wrong: {error}"))),
        }
    }

    /// Whether the field is there and not null.
    pub fn has(&self, name: &str) -> bool {
        self.object.get(name).is_some_and(|value| !value.is_null())
    }

    pub fn need<T: DeserializeOwned>(&mut self, name: &str) -> Result<T, Refusal> {
        let found = self.take(name)?;
        found.ok_or_else(|| Refusal::invalid(self.path(name), "is missing"))
    }

    /// The name of the model, which no request goes without.
    pub fn need_model(&mut self) -> Result<String, Refusal> {
        let model: String = self.need("model")?;
        match model.is_empty() {
            true => Err(Refusal::invalid(self.path("model"), "is empty")),
            false => Ok(model),
        }
    }

    /// Names of the fields that are left and not null.
    pub fn rest(&self) -> Vec<String> {
        let left = self.object.iter().filter(|(_, value)| !value.is_null());
        left.map(|(name, _)| name.clone()).collect()
    }

    pub fn path(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}
