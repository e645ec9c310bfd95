//! How a text's vector is made of its tokens' states: what sentence-transformers' files beside a
//! model say of it.
//!
//! Whatever they say, vectors are brought to length one: every client compares them so.

use std::fmt;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::open::gguf_at;
use crate::{LoadError, files};

/// Which states become the vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pooling {
    /// The last token's, which has met all others.
    #[default]
    Last,
    /// The mean over all tokens.
    Mean,
}

impl Pooling {
    pub const ALL: [Self; 2] = [Self::Last, Self::Mean];

    /// As arguments spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Last => "Last",
            Self::Mean => "Mean",
        }
    }
}

impl fmt::Display for Pooling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[derive(Deserialize)]
struct Module {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    path: String,
}

/// Steps that make a text's vector, by the last parts of their names.
const KNOWN: [&str; 3] = ["Transformer", "Pooling", "Normalize"];

/// What begins the keys of a pooling's config that choose it.
const MODE: &str = "pooling_mode_";

/// What a folder says of pooling; nothing where it says nothing, as GGUF files do.
///
/// # Errors
/// Names the step or the mode that is not done here, since other vectors than the model's are worth
/// nothing.
pub fn pooling(path: &Path) -> Result<Option<Pooling>, LoadError> {
    if gguf_at(path)?.is_some() {
        return Ok(None);
    }
    let list = path.join("modules.json");
    let modules: Vec<Module> = files::read_json(&list)?.unwrap_or_default();
    let kind = |module: &Module| {
        module
            .kind
            .rsplit('.')
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    let unknown = modules
        .iter()
        .map(kind)
        .find(|kind| !KNOWN.contains(&kind.as_str()));
    if let Some(kind) = unknown {
        return Err(LoadError::Malformed {
            path: list,
            why: format!("it has a step `{kind}`, which is not done here"),
        });
    }
    let folder = modules.iter().find(|module| kind(module) == "Pooling");
    // The path is a file's word: only the name that everybody uses is looked at.
    let folder = folder.map_or("1_Pooling", |module| module.path.as_str());
    if folder != "1_Pooling" {
        return Err(LoadError::Malformed {
            path: list,
            why: format!("its pooling lies in `{folder}` and not in `1_Pooling`"),
        });
    }
    let config = path.join(folder).join("config.json");
    let Some(keys) = files::read_json::<Map<String, Value>>(&config)? else {
        return Ok(None);
    };
    let modes = keys
        .iter()
        .filter(|(_, value)| **value == Value::Bool(true));
    let modes: Vec<&str> = modes
        .filter_map(|(key, _)| key.strip_prefix(MODE))
        .collect();
    match modes[..] {
        ["lasttoken"] => Ok(Some(Pooling::Last)),
        ["mean_tokens"] => Ok(Some(Pooling::Mean)),
        _ => Err(LoadError::Malformed {
            path: config,
            why: format!(
                "it asks for {}, and only {MODE}lasttoken and {MODE}mean_tokens are done here, one \
                 of them",
                match modes[..] {
                    [] => "nothing".to_owned(),
                    _ => modes.join(" and "),
                }
            ),
        }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(modules: Option<Value>, config: Option<Value>) -> Result<Option<Pooling>, String> {
        let folder = tempfile::tempdir().unwrap();
        if let Some(modules) = modules {
            std::fs::write(folder.path().join("modules.json"), modules.to_string()).unwrap();
        }
        if let Some(config) = config {
            let inner = folder.path().join("1_Pooling");
            std::fs::create_dir(&inner).unwrap();
            std::fs::write(inner.join("config.json"), config.to_string()).unwrap();
        }
        pooling(folder.path()).map_err(|error| error.to_string())
    }

    fn mode(modes: &[&str]) -> Option<Value> {
        let all = ["cls_token", "mean_tokens", "max_tokens", "lasttoken"];
        let mut config = json!({ "word_embedding_dimension": 8, "include_prompt": true });
        for mode in all {
            config[format!("{MODE}{mode}")] = modes.contains(&mode).into();
        }
        Some(config)
    }

    #[test]
    fn a_folder_says_how_its_vectors_are_made() {
        let types = ["Transformer", "Pooling", "Normalize"];
        let modules = types.iter().zip(["", "1_Pooling", "2_Normalize"]);
        let modules: Vec<Value> = modules
            .map(|(kind, path)| {
                json!({ "type": format!("sentence_transformers.models.{kind}"), "path": path })
            })
            .collect();
        let modules = Some(Value::from(modules));
        let last = of(modules.clone(), mode(&["lasttoken"]));
        assert_eq!(last, Ok(Some(Pooling::Last)));
        assert_eq!(of(modules, mode(&["mean_tokens"])), Ok(Some(Pooling::Mean)));
        assert_eq!(of(None, mode(&["mean_tokens"])), Ok(Some(Pooling::Mean)));
        assert_eq!(of(None, None), Ok(None));
    }

    #[test]
    fn what_is_not_done_here_is_refused_by_name() {
        let dense = json!([{ "type": "sentence_transformers.models.Dense", "path": "2_Dense" }]);
        let elsewhere = json!([{ "type": "sentence_transformers.models.Pooling", "path": "../x" }]);
        for (modules, config, named) in [
            (Some(dense), None, "`Dense`"),
            (Some(elsewhere), None, "`../x`"),
            (None, mode(&["cls_token"]), "cls_token"),
            (None, mode(&["mean_tokens", "max_tokens"]), "max_tokens"),
            (None, mode(&[]), "nothing"),
        ] {
            let refused = of(modules, config).unwrap_err();
            assert!(refused.contains(named), "{refused}");
        }
    }
}
