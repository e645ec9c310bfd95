//! Templates as they are written, before anything looks into them.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{DEFAULT, TOOL_USE};
use crate::open::gguf_at;
use crate::tokenizer::names_at;
use crate::{Gguf, LoadError, files};

/// Bytes of a model's templates together; the longest that are known have fifty thousand.
const LONGEST: usize = 1 << 20;

/// Lines, and bytes of a line: the compiler counts both in sixteen bits, and with more it panics or
/// tells the wrong place.
const PLACES: usize = u16::MAX as usize;

const KEY: &str = "chat_template";

/// A model's templates by name, and the names of tokens that they may use.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TemplateSource {
    /// Where they are written.
    pub(super) file: PathBuf,
    pub(super) named: Vec<(String, String)>,
    pub(super) names: Map<String, Value>,
}

impl TemplateSource {
    /// `chat_template.jinja` of a model's folder, or else the `chat_template` of its
    /// `tokenizer_config.json`, or the templates of a GGUF file; what is in the file `own` in the
    /// place of all these. None where the model has none.
    ///
    /// # Errors
    /// Names the file, and the key that is not what it should be.
    pub fn read(model: &Path, own: Option<&Path>) -> Result<Option<Self>, LoadError> {
        let source = match own {
            None => Self::of_model(model)?,
            Some(file) => {
                let missing = || LoadError::FileMissing {
                    file: "chat template",
                    path: file.to_owned(),
                };
                Some(Self::in_file(file.to_owned())?.ok_or_else(missing)?)
            }
        };
        let Some(mut source) = source else {
            return Ok(None);
        };
        if let Some(why) = source.excess() {
            return Err(source.refuse(why));
        }
        source.names = names_at(model)?;
        Ok(Some(source))
    }

    /// Whether one of the templates has this text in it.
    pub fn mentions(&self, text: &str) -> bool {
        let known = |name: &str| [DEFAULT, TOOL_USE].contains(&name);
        let mut named = self.named.iter();
        named.any(|(name, source)| known(name) && source.contains(text))
    }

    fn of_model(path: &Path) -> Result<Option<Self>, LoadError> {
        Ok(match gguf_at(path)? {
            Some(file) => Self::in_gguf(file)?,
            None => match Self::in_file(path.join("chat_template.jinja"))? {
                Some(sources) => Some(sources),
                None => Self::in_config(path.join("tokenizer_config.json"))?,
            },
        })
    }

    /// What there is too much of, if anything.
    fn excess(&self) -> Option<String> {
        let sources = || self.named.iter().map(|(_, source)| source.as_str());
        let bytes: usize = sources().map(str::len).sum();
        if bytes > LONGEST {
            return Some(format!(
                "`{KEY}` is {bytes} bytes long, where {LONGEST} are the most"
            ));
        }
        let longest = sources().flat_map(str::lines).map(str::len).max();
        let most = sources().map(|source| source.lines().count()).max();
        let places = longest.max(most).unwrap_or(0);
        (places > PLACES).then(|| {
            format!("`{KEY}` has lines, or a line, of {places}, where {PLACES} are the most")
        })
    }

    fn none_in(file: PathBuf) -> Self {
        Self {
            file,
            named: Vec::new(),
            names: Map::new(),
        }
    }

    fn in_gguf(file: PathBuf) -> Result<Option<Self>, LoadError> {
        let gguf = Gguf::open(&file)?;
        let named = gguf.chat_templates()?.into_iter();
        let named: Vec<(String, String)> = named
            .map(|(name, source)| (name, source.to_owned()))
            .collect();
        Ok((!named.is_empty()).then_some(Self {
            named,
            ..Self::none_in(file)
        }))
    }

    fn in_file(file: PathBuf) -> Result<Option<Self>, LoadError> {
        let Some(bytes) = files::read(&file)? else {
            return Ok(None);
        };
        let mut sources = Self::none_in(file);
        let source = String::from_utf8(bytes).map_err(|error| sources.refuse(error.to_string()))?;
        sources.named.push((DEFAULT.to_owned(), source));
        Ok(Some(sources))
    }

    fn in_config(file: PathBuf) -> Result<Option<Self>, LoadError> {
        let config: Map<String, Value> = files::read_json(&file)?.unwrap_or_default();
        let mut sources = Self::none_in(file);
        match config.get(KEY) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::String(source)) => {
                sources.named.push((DEFAULT.to_owned(), source.clone()));
            }
            Some(Value::Array(entries)) => {
                for (index, entry) in entries.iter().enumerate() {
                    let text = |key: &str| entry.get(key).and_then(Value::as_str);
                    let (Some(name), Some(source)) = (text("name"), text("template")) else {
                        let why = format!("`{KEY}[{index}]` is no `name` with a `template`");
                        return Err(sources.refuse(why));
                    };
                    sources.named.push((name.to_owned(), source.to_owned()));
                }
            }
            Some(_) => {
                return Err(sources.refuse(format!("`{KEY}` is neither a text nor a list")));
            }
        }
        Ok(Some(sources))
    }

    pub(super) fn refuse(&self, why: String) -> LoadError {
        LoadError::Malformed {
            path: self.file.clone(),
            why,
        }
    }
}
