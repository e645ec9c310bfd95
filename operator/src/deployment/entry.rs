//! One entry of a ConfigMap of the user's, and the text that a deployment takes from it.
//!
//! Pure: the operator sees the ConfigMap in its namespace, `weir up` among its files.

use std::sync::Arc;

use k8s_openapi::api::core::v1::ConfigMap;
use weir_crds::{ConfigMapKeyRef, reasons};
use weir_policy::validate::Problem;

/// A revision keeps the text in a ConfigMap of its own, beside a little more, and a ConfigMap holds
/// 1 MiB. The longest chat templates that are known have fifty thousand bytes.
const MOST_BYTES: usize = (1 << 20) - (16 << 10);

/// What is under one key of one ConfigMap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Nobody has looked yet.
    Unseen,
    Text(Arc<str>),
    NoConfigMap,
    NoKey,
    Binary,
    /// So many bytes are more than we take.
    TooLong(usize),
    /// The API server does not let us look, in its words.
    Forbidden(String),
}

impl Entry {
    /// The entry `key` of a ConfigMap that is there.
    pub fn of(map: &ConfigMap, key: &str) -> Self {
        let text = map.data.as_ref().and_then(|data| data.get(key));
        let bytes = map.binary_data.as_ref().and_then(|data| data.get(key));
        match (text, bytes) {
            (Some(text), _) if text.len() > MOST_BYTES => Self::TooLong(text.len()),
            (Some(text), _) => Self::Text(text.as_str().into()),
            (None, Some(_)) => Self::Binary,
            (None, None) => Self::NoKey,
        }
    }

    /// Its text, for the field that names it as `from`.
    ///
    /// # Errors
    /// Names field, ConfigMap and key, and what is wrong.
    pub fn text(&self, field: &str, from: &ConfigMapKeyRef) -> Result<&str, Problem> {
        let (name, key) = (&from.name, &from.key);
        let (reason, what) = match self {
            Self::Text(text) if !text.trim().is_empty() => return Ok(text),
            Self::Unseen | Self::NoConfigMap => (
                reasons::CONFIG_MAP_NOT_FOUND,
                format!("there is no ConfigMap {name} to have the key {key}"),
            ),
            Self::NoKey => (
                reasons::CONFIG_MAP_NOT_FOUND,
                format!("ConfigMap {name} has no key {key}"),
            ),
            Self::Text(_) => wrong(name, key, "is empty"),
            Self::Binary => wrong(name, key, "is not text"),
            Self::TooLong(bytes) => {
                let what = format!("is {bytes} bytes long, and at most {MOST_BYTES} are taken");
                wrong(name, key, &what)
            }
            Self::Forbidden(words) => wrong(name, key, &format!("may not be read by us: {words}")),
        };
        Err(Problem {
            reason,
            field: field.into(),
            message: format!("{field}: {what}"),
        })
    }
}

fn wrong(name: &str, key: &str, what: &str) -> (&'static str, String) {
    (
        reasons::INVALID,
        format!("the key {key} of ConfigMap {name} {what}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn entry(map: Value) -> Entry {
        Entry::of(&serde_json::from_value(map).unwrap(), "chat.jinja")
    }

    fn refusal(entry: &Entry) -> (&'static str, String) {
        let from = ConfigMapKeyRef {
            name: "templates".into(),
            key: "chat.jinja".into(),
        };
        let problem = entry.text("spec.model.chatTemplate", &from).unwrap_err();
        (problem.reason, problem.message)
    }

    #[test]
    fn the_text_of_a_key_is_taken_as_it_is() {
        let found = entry(json!({ "data": { "chat.jinja": " {{ x }}\n", "other": "" } }));
        let from = ConfigMapKeyRef::default();
        assert_eq!(found.text("f", &from), Ok(" {{ x }}\n"));
    }

    #[test]
    fn what_is_wrong_with_an_entry_is_told_by_field_config_map_and_key() {
        let long = "x".repeat(MOST_BYTES + 1);
        let invalid = "Invalid";
        let absent = "ConfigMapNotFound";
        for (entry, reason, what) in [
            (
                Entry::NoConfigMap,
                absent,
                "there is no ConfigMap templates to have the key chat.jinja",
            ),
            (
                entry(json!({ "data": { "other": "x" } })),
                absent,
                "ConfigMap templates has no key chat.jinja",
            ),
            (
                entry(json!({ "binaryData": { "chat.jinja": "/w==" } })),
                invalid,
                "the key chat.jinja of ConfigMap templates is not text",
            ),
            (
                entry(json!({ "data": { "chat.jinja": " \n" } })),
                invalid,
                "the key chat.jinja of ConfigMap templates is empty",
            ),
            (
                entry(json!({ "data": { "chat.jinja": long } })),
                invalid,
                "the key chat.jinja of ConfigMap templates is 1032193 bytes long, and at most 1032192 are taken",
            ),
            (
                Entry::Forbidden("no".into()),
                invalid,
                "the key chat.jinja of ConfigMap templates may not be read by us: no",
            ),
        ] {
            let expected = (reason, format!("spec.model.chatTemplate: {what}"));
            assert_eq!(refusal(&entry), expected);
        }
    }
}
