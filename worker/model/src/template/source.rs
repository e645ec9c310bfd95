//! Templates as they are written, before anything looks into them.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::DEFAULT;
use crate::open::gguf_at;
use crate::{Gguf, LoadError, files};

/// Bytes of a model's templates together; the longest that are known have fifty thousand.
const LONGEST: usize = 1 << 20;

/// Lines, and bytes of a line: the compiler counts both in sixteen bits, and with more it panics or
/// tells the wrong place.
const PLACES: usize = u16::MAX as usize;

const KEY: &str = "chat_template";

/// A model's templates by name.
#[derive(Debug)]
pub(super) struct Sources {
    /// Where they are written.
    pub(super) file: PathBuf,
    pub(super) named: Vec<(String, String)>,
}

impl Sources {
    /// None where the model has none.
    ///
    /// # Errors
    /// Names the file, and the key that is not what it should be.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, LoadError> {
        let sources = Self::of_model(path)?;
        sources.map(Self::within_bounds).transpose()
    }

    /// Of a file that holds one.
    ///
    /// # Errors
    /// Names the file, which has to be there.
    pub(super) fn read_file(path: &Path) -> Result<Self, LoadError> {
        match Self::in_file(path.to_owned())? {
            Some(sources) => sources.within_bounds(),
            None => Err(LoadError::FileMissing {
                file: "chat template",
                path: path.to_owned(),
            }),
        }
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

    fn within_bounds(self) -> Result<Self, LoadError> {
        match self.excess() {
            Some(why) => Err(self.refuse(why)),
            None => Ok(self),
        }
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

    fn in_gguf(file: PathBuf) -> Result<Option<Self>, LoadError> {
        let gguf = Gguf::open(&file)?;
        let named = gguf.chat_templates()?.into_iter();
        let named: Vec<(String, String)> = named
            .map(|(name, source)| (name, source.to_owned()))
            .collect();
        Ok((!named.is_empty()).then_some(Self { file, named }))
    }

    fn in_file(file: PathBuf) -> Result<Option<Self>, LoadError> {
        let Some(bytes) = files::read(&file)? else {
            return Ok(None);
        };
        let mut sources = Self {
            file,
            named: Vec::new(),
        };
        let source = String::from_utf8(bytes).map_err(|error| sources.refuse(error.to_string()))?;
        sources.named.push((DEFAULT.to_owned(), source));
        Ok(Some(sources))
    }

    fn in_config(file: PathBuf) -> Result<Option<Self>, LoadError> {
        let config: Map<String, Value> = files::read_json(&file)?.unwrap_or_default();
        let mut sources = Self {
            file,
            named: Vec::new(),
        };
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
