//! `adapter_config.json`: which modules an adapter adds to, of which rank and by which scale.
//!
//! A key that is not known here is refused unless it is off, because it may change what is computed.

use std::path::Path;

use serde_json::{Map, Value};

use super::targets::{MOST_NAMES, MOST_PATTERNS, Pattern, Targets, is_plain};
use super::{AdapterError, MOST_RANK};
use crate::files;

pub(super) const FILE: &str = "adapter_config.json";

/// Keys of how it was trained, or of what is there for people.
const NO_MATTER: [&str; 15] = [
    "auto_mapping",
    "base_model_name_or_path",
    "corda_config",
    "eva_config",
    "inference_mode",
    "loftq_config",
    "lora_dropout",
    "lora_ga_config",
    "megatron_config",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "revision",
    "runtime_config",
    "task_type",
];

/// Keys that are read.
const READ: [&str; 11] = [
    "alpha_pattern",
    "bias",
    "exclude_modules",
    "init_lora_weights",
    "layers_pattern",
    "layers_to_transform",
    "lora_alpha",
    "peft_type",
    "r",
    "rank_pattern",
    "target_modules",
];

/// How weights were drawn that leave the model as it was. Others, as `pissa`, changed it too.
const HARMLESS_BEGINNINGS: [&str; 4] = ["gaussian", "eva", "orthogonal", "mica"];

#[derive(Debug)]
pub(super) struct Config {
    rank: usize,
    alpha: f64,
    ranks: Vec<(Pattern, usize)>,
    alphas: Vec<(Pattern, f64)>,
    is_stabilised: bool,
    pub(super) targets: Targets,
}

impl Config {
    /// The config of a folder, and its bytes.
    pub(super) fn read(folder: &Path) -> Result<(Self, Vec<u8>), AdapterError> {
        let path = folder.join(FILE);
        let bytes = files::read(&path).map_err(AdapterError::Config)?;
        let bytes = bytes.ok_or_else(|| AdapterError::Missing {
            folder: folder.to_owned(),
            file: FILE,
        })?;
        let keys = serde_json::from_slice(&bytes).map_err(|error| {
            AdapterError::Config(crate::LoadError::Malformed {
                path,
                why: error.to_string(),
            })
        })?;
        Ok((Self::of(&keys)?, bytes))
    }

    pub(super) fn of(keys: &Map<String, Value>) -> Result<Self, AdapterError> {
        let needed = |key| keys.get(key).ok_or(AdapterError::KeyMissing { key });
        let kind = needed("peft_type")?;
        if kind != "LORA" {
            return Err(refused("peft_type", kind, "and only LORA is served"));
        }
        for (key, value) in keys {
            check(key, value)?;
        }
        let numbers = |key: &'static str| -> Result<Vec<(Pattern, &Value)>, AdapterError> {
            let found = match keys.get(key) {
                None | Some(Value::Null) => return Ok(Vec::new()),
                Some(Value::Object(found)) if found.len() <= MOST_NAMES => found,
                Some(other) => return Err(refused(key, other, "not a map of some modules")),
            };
            if found.keys().filter(|name| !is_plain(name)).count() > MOST_PATTERNS {
                let value = Value::Object(found.clone());
                let why = format!("and has more than {MOST_PATTERNS} patterns");
                return Err(refused(key, &value, &why));
            }
            let patterns = found.iter();
            patterns
                .map(|(name, value)| Ok((Pattern::at_the_end(key, name)?, value)))
                .collect()
        };
        let ranks = numbers("rank_pattern")?.into_iter();
        let alphas = numbers("alpha_pattern")?.into_iter();
        Ok(Self {
            rank: rank("r", needed("r")?)?,
            alpha: alpha("lora_alpha", needed("lora_alpha")?)?,
            ranks: ranks
                .map(|(name, value)| Ok((name, rank("rank_pattern", value)?)))
                .collect::<Result<_, _>>()?,
            alphas: alphas
                .map(|(name, value)| Ok((name, alpha("alpha_pattern", value)?)))
                .collect::<Result<_, _>>()?,
            is_stabilised: match keys.get("use_rslora") {
                None | Some(Value::Null) => false,
                Some(Value::Bool(is_stabilised)) => *is_stabilised,
                Some(other) => return Err(refused("use_rslora", other, "neither true nor false")),
            },
            targets: Targets::of(keys)?,
        })
    }

    /// Of a module.
    pub(super) fn rank_and_scale(&self, module: &str) -> Result<(usize, f32), AdapterError> {
        let rank = of(&self.ranks, module).unwrap_or(self.rank);
        let alpha = of(&self.alphas, module).unwrap_or(self.alpha);
        if !(1..=MOST_RANK).contains(&rank) {
            let why = format!("for `{module}`, and ranks from 1 to {MOST_RANK} are served");
            return Err(refused("r", &rank.into(), &why));
        }
        let dimensions = rank as f64;
        let scale = match self.is_stabilised {
            true => alpha / dimensions.sqrt(),
            false => alpha / dimensions,
        };
        Ok((rank, scale as f32))
    }
}

/// What the first pattern that a module matches says.
fn of<T: Copy>(patterns: &[(Pattern, T)], module: &str) -> Option<T> {
    let found = patterns.iter().find(|(pattern, _)| pattern.matches(module));
    found.map(|(_, value)| *value)
}

fn check(key: &str, value: &Value) -> Result<(), AdapterError> {
    let is_off = match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(true) | Value::Number(_) => false,
    };
    let is_fine = match key {
        "bias" => is_off || value == "none",
        "init_lora_weights" => {
            let harmless = HARMLESS_BEGINNINGS.iter().any(|name| value == name);
            is_off || harmless || value == &Value::Bool(true)
        }
        "use_rslora" => true,
        _ => is_off || NO_MATTER.contains(&key) || READ.contains(&key),
    };
    match is_fine {
        true => Ok(()),
        false => Err(refused(key, value, "which is not served")),
    }
}

fn rank(key: &'static str, value: &Value) -> Result<usize, AdapterError> {
    let number = value.as_u64().and_then(|rank| usize::try_from(rank).ok());
    number.ok_or_else(|| refused(key, value, "not a rank"))
}

fn alpha(key: &'static str, value: &Value) -> Result<f64, AdapterError> {
    let number = value.as_f64().filter(|alpha| alpha.abs() <= 1e6);
    number.ok_or_else(|| refused(key, value, "not a number up to a million"))
}

pub(super) fn refused(key: &str, value: &Value, why: &str) -> AdapterError {
    const MOST: usize = 80;
    let mut value = value.to_string();
    if let Some((end, _)) = value.char_indices().nth(MOST) {
        value.truncate(end);
        value.push_str("...");
    }
    AdapterError::Key {
        key: key.to_owned(),
        value,
        why: why.to_owned(),
    }
}
