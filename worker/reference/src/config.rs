//! `config.json` as candle needs it: one spelling, with what the family's class fills in.
//!
//! Whether a config can be served at all is decided elsewhere, and before this is read.

use std::path::Path;

use candle_nn::Activation;
use serde_json::{Map, Value};

use crate::ReferenceError;

/// The text model's part of a config.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) architecture: String,
    /// The text model is a part of one for images too.
    pub(crate) is_wrapped: bool,
    keys: Map<String, Value>,
}

/// How queries and keys turn.
pub(crate) struct Rope {
    pub(crate) theta: f64,
    /// `default`, `linear`, `llama3`, `yarn` or `longrope`.
    pub(crate) kind: String,
    table: Map<String, Value>,
}

impl Config {
    pub(crate) fn read(folder: &Path) -> Result<Self, ReferenceError> {
        let path = folder.join("config.json");
        let text = std::fs::read(&path).map_err(|source| ReferenceError::Read {
            path: path.clone(),
            source,
        })?;
        let whole: Map<String, Value> =
            serde_json::from_slice(&text).map_err(|error| ReferenceError::Malformed {
                path: path.clone(),
                why: error.to_string(),
            })?;
        let architecture = whole
            .get("architectures")
            .and_then(|list| list.get(0)?.as_str());
        let architecture = architecture.ok_or_else(|| ReferenceError::Malformed {
            path,
            why: "it names no architecture".to_owned(),
        })?;
        let within = whole.get("text_config").and_then(Value::as_object);
        Ok(Self {
            architecture: architecture.to_owned(),
            is_wrapped: within.is_some(),
            keys: within.unwrap_or(&whole).clone(),
        })
    }

    fn get(&self, key: &str) -> Option<&Value> {
        self.keys.get(key).filter(|value| !value.is_null())
    }

    pub(crate) fn size(&self, key: &str) -> Option<usize> {
        self.get(key)
            .and_then(Value::as_u64)
            .map(|size| size as usize)
    }

    /// The size, or what the class has; nothing for a `null`.
    pub(crate) fn size_unless_null(&self, key: &str, default: usize) -> Option<usize> {
        match self.keys.get(key) {
            None => Some(default),
            Some(value) => value.as_u64().map(|size| size as usize),
        }
    }

    pub(crate) fn number(&self, key: &str) -> Option<f64> {
        self.get(key).and_then(Value::as_f64)
    }

    /// The number, or what the class has; nothing for a `null`.
    pub(crate) fn number_unless_null(&self, key: &str, default: f64) -> Option<f64> {
        match self.keys.get(key) {
            None => Some(default),
            Some(value) => value.as_f64(),
        }
    }

    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(Value::as_str)
    }

    pub(crate) fn is_on(&self, key: &str) -> bool {
        self.get(key).and_then(Value::as_bool).unwrap_or(false)
    }

    pub(crate) fn is_on_by_default(&self, key: &str) -> bool {
        self.get(key).and_then(Value::as_bool).unwrap_or(true)
    }

    /// Each layer's kind, where the config lists them.
    pub(crate) fn layer_types(&self) -> Option<Vec<&str>> {
        let list = self.get("layer_types")?.as_array()?;
        list.iter().map(Value::as_str).collect()
    }

    pub(crate) fn sizes(&self, key: &str) -> Option<Vec<usize>> {
        let list = self.get(key)?.as_array()?;
        let size = |value: &Value| value.as_u64().map(|size| size as usize);
        list.iter().map(size).collect()
    }

    /// Ours refuses a config with both where they differ.
    pub(crate) fn activation(&self, default: Activation) -> Activation {
        let named = self.get("hidden_activation").or(self.get("hidden_act"));
        match named.and_then(Value::as_str) {
            Some("silu" | "swish") => Activation::Silu,
            Some("gelu_pytorch_tanh") => Activation::GeluPytorchTanh,
            _ => default,
        }
    }

    /// The rope of all layers, or of those of one kind where each kind has its own.
    pub(crate) fn rope(&self, theta: f64, of: Option<&str>) -> Rope {
        let table = self.get("rope_parameters").or(self.get("rope_scaling"));
        let table = match of.and_then(|kind| table?.get(kind)) {
            Some(of_kind) => Some(of_kind),
            None => table,
        };
        let table = table
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default();
        let kind = table.get("rope_type").or(table.get("type"));
        let kind = kind.and_then(Value::as_str).unwrap_or("default");
        let within = table.get("rope_theta").and_then(Value::as_f64);
        let beside = self.number("rope_theta");
        Rope {
            theta: within.or(beside).unwrap_or(theta),
            kind: kind.to_owned(),
            table,
        }
    }

    /// Whether layers with a window have a table of their own.
    pub(crate) fn has_a_rope_for(&self, kind: &str) -> bool {
        self.get("rope_parameters")
            .is_some_and(|table| table.get(kind).is_some())
    }
}

impl Rope {
    pub(crate) fn number(&self, key: &str) -> Option<f64> {
        self.table.get(key).and_then(Value::as_f64)
    }
    pub(crate) fn numbers(&self, key: &str) -> Option<Vec<f32>> {
        let list = self.table.get(key)?.as_array()?;
        list.iter()
            .map(|value| Some(value.as_f64()? as f32))
            .collect()
    }
}
