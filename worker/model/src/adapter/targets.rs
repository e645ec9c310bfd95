//! Which modules a config targets, by the rules of PEFT.

use regex::{Regex, RegexBuilder};
use serde_json::{Map, Value};

use super::AdapterError;
use super::config::refused;
use super::modules::Module;

/// A compiled pattern may take this much, and as much again where it is used.
const PATTERN_BYTES: usize = 1 << 18;
/// More than any config has.
pub(super) const MOST_NAMES: usize = 4096;
/// Of those, more than anybody writes as patterns.
pub(super) const MOST_PATTERNS: usize = 64;

/// What a name has to be like.
#[derive(Debug)]
pub(super) enum Pattern {
    /// The name, or its end behind a dot.
    Plain(String),
    /// An expression over the whole of it.
    Expression(Regex),
}

impl Pattern {
    /// Of a whole name.
    fn whole(key: &'static str, text: &str) -> Result<Self, AdapterError> {
        Self::compile(key, text, format!("^(?:{text})$"))
    }

    /// Of a whole name, or of its end behind a dot. Most are names themselves, of which there may be
    /// one for each module.
    pub(super) fn at_the_end(key: &'static str, text: &str) -> Result<Self, AdapterError> {
        match is_plain(text) {
            true => Ok(Self::Plain(text.to_owned())),
            false => Self::compile(key, text, format!(r"^(?:.*\.)?(?:{text})$")),
        }
    }

    fn compile(key: &'static str, text: &str, pattern: String) -> Result<Self, AdapterError> {
        let mut builder = RegexBuilder::new(&pattern);
        let builder = builder
            .size_limit(PATTERN_BYTES)
            .dfa_size_limit(PATTERN_BYTES);
        let unread = |_| refused(key, &text.into(), "a pattern that cannot be read");
        builder.build().map(Self::Expression).map_err(unread)
    }

    pub(super) fn matches(&self, name: &str) -> bool {
        match self {
            Self::Plain(end) => ends(name, end),
            Self::Expression(expression) => expression.is_match(name),
        }
    }
}

/// Whether a pattern is a name, or the end of one.
pub(super) fn is_plain(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    text.bytes().all(is_plain)
}

/// Whether a name is that, or ends with it behind a dot.
fn ends(name: &str, end: &str) -> bool {
    let before = name.strip_suffix(end);
    before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

#[derive(Debug)]
pub(super) struct Targets {
    included: Names,
    excluded: Option<Names>,
    /// All where nothing is said.
    layers: Option<Vec<usize>>,
}

#[derive(Debug)]
enum Names {
    /// Every module of every layer.
    AllOfLayers,
    /// Whole names, or their ends behind a dot.
    Listed(Vec<String>),
    Pattern(Pattern),
}

impl Targets {
    pub(super) fn of(keys: &Map<String, Value>) -> Result<Self, AdapterError> {
        let missing = AdapterError::KeyMissing {
            key: "target_modules",
        };
        let included = names("target_modules", keys)?.ok_or(missing)?;
        let layers = layers(keys)?;
        if let (Names::Pattern(_), Some(_), Some(value)) =
            (&included, &layers, keys.get("layers_to_transform"))
        {
            let why = "where `target_modules` is a pattern";
            return Err(refused("layers_to_transform", value, why));
        }
        Ok(Self {
            included,
            excluded: names("exclude_modules", keys)?,
            layers,
        })
    }

    pub(super) fn contain(&self, module: &Module) -> bool {
        let name = &module.name;
        let is_excluded = match &self.excluded {
            Some(excluded) => excluded.hold(module),
            None => false,
        };
        if is_excluded || !self.included.hold(module) {
            return false;
        }
        match (&self.layers, &self.included) {
            (None, _) => true,
            // Who is named whole is meant, whatever its layer.
            (_, Names::Listed(names)) if names.contains(name) => true,
            (Some(layers), _) => module.layer.is_some_and(|layer| layers.contains(&layer)),
        }
    }
}

impl Names {
    fn hold(&self, module: &Module) -> bool {
        let name = &module.name;
        match self {
            Self::AllOfLayers => module.layer.is_some(),
            Self::Listed(names) => names.iter().any(|listed| ends(name, listed)),
            Self::Pattern(pattern) => pattern.matches(name),
        }
    }
}

fn names(key: &'static str, keys: &Map<String, Value>) -> Result<Option<Names>, AdapterError> {
    let value = match keys.get(key) {
        None | Some(Value::Null) => return Ok(None),
        Some(value) => value,
    };
    match value {
        Value::String(text) if text == "all-linear" => Ok(Some(Names::AllOfLayers)),
        Value::String(text) => Ok(Some(Names::Pattern(Pattern::whole(key, text)?))),
        Value::Array(list) if list.is_empty() => Ok(None),
        Value::Array(list) if list.len() <= MOST_NAMES => {
            let names = list.iter().map(|name| name.as_str().map(str::to_owned));
            let names: Option<Vec<String>> = names.collect();
            let names = names.ok_or_else(|| refused(key, value, "not a list of names"))?;
            Ok(Some(Names::Listed(names)))
        }
        other => Err(refused(key, other, "neither a list of names nor a pattern")),
    }
}

fn layers(keys: &Map<String, Value>) -> Result<Option<Vec<usize>>, AdapterError> {
    let key = "layers_to_transform";
    let index = |value: &Value| value.as_u64().and_then(|index| usize::try_from(index).ok());
    let layers = match keys.get(key) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Array(list)) if list.is_empty() => return Ok(None),
        Some(Value::Array(list)) => list.iter().map(index).collect(),
        Some(value) => index(value).map(|index| vec![index]),
    };
    let value = &keys[key];
    let layers = layers.ok_or_else(|| refused(key, value, "not a list of layers"))?;
    match keys.get("layers_pattern") {
        None | Some(Value::Null) => Ok(Some(layers)),
        Some(Value::String(text)) if text.is_empty() || text == "layers" => Ok(Some(layers)),
        Some(Value::Array(list)) if list.is_empty() || list.contains(&"layers".into()) => {
            Ok(Some(layers))
        }
        Some(other) => {
            let why = "and the layers of this model are called `layers`";
            Err(refused("layers_pattern", other, why))
        }
    }
}
