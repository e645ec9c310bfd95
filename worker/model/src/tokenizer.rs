//! Text to token ids and back.

mod bytes;
mod from_gguf;
mod pairs;
mod pre;
mod sentence_piece;
mod specials;
mod vocabulary;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};
use thiserror::Error;

pub use self::bytes::TokenBytes;
use self::sentence_piece::SentencePiece;
use crate::open::gguf_at;
use crate::{Gguf, LoadError, files};

/// Cheap to clone; all clones are one tokenizer.
#[derive(Clone, Debug)]
pub struct Tokenizer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    codec: Codec,
    around: Around,
    /// Tokens without text: those that steer the model, and those that only fill it up.
    specials: BTreeSet<u32>,
    ends: Vec<u32>,
    bos: Option<u32>,
}

/// What does the work.
#[derive(Debug)]
enum Codec {
    /// The hub's file as it stands, or one made the same way from a GGUF file.
    Hub(Box<tokenizers::Tokenizer>),
    SentencePiece(Box<SentencePiece>),
}

/// What stands around a text, beyond what the codec puts there itself.
#[derive(Debug, Default)]
struct Around {
    before: Option<u32>,
    after: Option<u32>,
}

/// The tokenizer could not make sense of its input.
#[derive(Debug, Error)]
#[error("tokenizing failed: {0}")]
pub struct TokenizeError(String);

/// The roles in `tokenizer_config.json` that templates may name.
const ROLES: [&str; 7] = [
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
];

impl Tokenizer {
    /// Reads the tokenizer of a model's folder or GGUF file, for a model whose tokens have
    /// `vocabulary` logits.
    ///
    /// # Errors
    /// Where a file is missing or malformed, or knows ids that the model does not.
    pub fn load(path: &Path, vocabulary: u32) -> Result<Self, LoadError> {
        match gguf_at(path)? {
            Some(file) => Self::from_gguf(&Gguf::open(&file)?, vocabulary),
            None => Self::from_folder(path, vocabulary),
        }
    }

    /// From `tokenizer.json`, and the special ids in the files around it.
    fn from_folder(folder: &Path, vocabulary: u32) -> Result<Self, LoadError> {
        let bytes = files::needed(folder, "tokenizer.json")?;
        let mut tokenizer =
            unpanicked(|| tokenizers::Tokenizer::from_bytes(bytes).map_err(|e| e.to_string()))
                .map_err(|why| malformed(folder, why))?;
        // Files keep what their makers trained with; a prompt is neither cut nor filled up.
        tokenizer
            .with_truncation(None)
            .map_err(|error| malformed(folder, error.to_string()))?
            .with_padding(None);
        tried(&tokenizer).map_err(|why| malformed(folder, why))?;
        let largest = tokenizer.get_vocab(true).into_values().max();
        let tokens = largest.map_or(0, |id| id as usize + 1);
        if tokens > vocabulary as usize {
            return Err(LoadError::Vocabulary {
                tokens,
                rows: vocabulary as usize,
            });
        }
        let configs = Configs::read(folder)?;
        let specials = tokenizer
            .get_added_tokens_decoder()
            .into_iter()
            .filter_map(|(id, token)| token.special.then_some(id))
            .collect();
        let names = configs.names();
        let id_of = |role: &str| {
            let name = names.get(role).and_then(Value::as_str)?;
            tokenizer.token_to_id(name)
        };
        let mut ends = configs.ids("eos_token_id");
        ends.extend(id_of("eos_token"));
        let bos = id_of("bos_token").or_else(|| configs.ids("bos_token_id").first().copied());
        Ok(Self(Arc::new(Inner {
            specials,
            ends: ends.into_iter().collect(),
            bos,
            codec: Codec::Hub(Box::new(tokenizer)),
            around: Around::default(),
        })))
    }

    /// The ids of a text. Names of special tokens in it become those tokens, as in Hugging Face's
    /// tokenizers; `special` adds those that the tokenizer puts around a text (a beginning, say).
    /// A rendered chat already has them.
    pub fn encode(&self, text: &str, special: bool) -> Result<Vec<u32>, TokenizeError> {
        let mut ids = match &self.0.codec {
            Codec::Hub(tokenizer) => encoded(tokenizer, text, special).map_err(TokenizeError)?,
            Codec::SentencePiece(pieces) => pieces.encode(text)?,
        };
        if special {
            ids.splice(..0, self.0.around.before);
            ids.extend(self.0.around.after);
        }
        Ok(ids)
    }

    /// The text of ids, without special tokens. Ids that nobody knows have no text.
    pub fn decode(&self, ids: &[u32]) -> Result<String, TokenizeError> {
        let spoken = |id: &u32| !self.0.specials.contains(id);
        let ids: Vec<u32> = ids.iter().copied().filter(spoken).collect();
        match &self.0.codec {
            Codec::Hub(tokenizer) => decoded(tokenizer, &ids).map_err(TokenizeError),
            Codec::SentencePiece(pieces) => Ok(pieces.decode(&ids)),
        }
    }

    /// A token as the vocabulary spells it, or nothing where there is no such id.
    pub fn spelling(&self, id: u32) -> Option<String> {
        match &self.0.codec {
            Codec::Hub(tokenizer) => tokenizer.id_to_token(id),
            Codec::SentencePiece(pieces) => pieces.spelling(id),
        }
    }

    /// The most bytes that any of the first `vocabulary` tokens stands for. Spelled, a token is at
    /// least as long as its text.
    pub fn longest_token_bytes(&self, vocabulary: u32) -> usize {
        let spellings = (0..vocabulary).filter_map(|id| self.spelling(id));
        spellings.map(|spelling| spelling.len()).max().unwrap_or(0)
    }

    /// The id of a token as the vocabulary spells it.
    pub fn id(&self, spelling: &str) -> Option<u32> {
        match &self.0.codec {
            Codec::Hub(tokenizer) => tokenizer.token_to_id(spelling),
            Codec::SentencePiece(pieces) => pieces.id(spelling),
        }
    }

    /// Follows one answer as it is written.
    pub fn detokenizer(&self) -> Detokenizer {
        Detokenizer {
            tokenizer: self.clone(),
            ids: Vec::new(),
            shown: 0,
        }
    }

    /// Ids that end an answer, ascending: those of config, generation config and tokenizer config,
    /// or those of a GGUF file.
    pub fn ends(&self) -> &[u32] {
        &self.0.ends
    }

    /// The id that begins a text, where the model has one.
    pub fn beginning(&self) -> Option<u32> {
        self.0.bos
    }

    /// Special tokens steer the model and have no text.
    pub fn is_special(&self, id: u32) -> bool {
        self.0.specials.contains(&id)
    }
}

/// The names of special tokens by role, as templates want them.
pub(crate) fn names_at(path: &Path) -> Result<Map<String, Value>, LoadError> {
    match gguf_at(path)? {
        Some(file) => from_gguf::names_in(Gguf::open(&file)?.metadata()),
        None => Configs::read(path).map(|configs| configs.names()),
    }
}

fn malformed(folder: &Path, why: String) -> LoadError {
    LoadError::Malformed {
        path: folder.join("tokenizer.json"),
        why,
    }
}

fn encoded(
    tokenizer: &tokenizers::Tokenizer,
    text: &str,
    special: bool,
) -> Result<Vec<u32>, String> {
    let encoding = || {
        tokenizer
            .encode_fast(text, special)
            .map_err(|error| error.to_string())
    };
    unpanicked(encoding).map(|encoding| encoding.get_ids().to_vec())
}

fn decoded(tokenizer: &tokenizers::Tokenizer, ids: &[u32]) -> Result<String, String> {
    unpanicked(|| {
        tokenizer
            .decode(ids, true)
            .map_err(|error| error.to_string())
    })
}

/// Some of the library's parts take a file's word for what does not hold, and panic over it.
fn unpanicked<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    let panicked = |_| Err("the tokenizers library panics over it".to_owned());
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(panicked)
}

/// What must not panic with the first request. Whether a text has ids is the vocabulary's affair.
fn tried(tokenizer: &tokenizers::Tokenizer) -> Result<(), String> {
    unpanicked(|| {
        let ids = tokenizer
            .encode("a 1\n<ö", true)
            .map_err(|error| error.to_string());
        let ids = ids
            .map(|encoding| encoding.get_ids().to_vec())
            .unwrap_or_default();
        tokenizer.decode(&ids, true).ok();
        (0..8).for_each(|id| drop(tokenizer.decode(&[id], true)));
        Ok(())
    })
}

/// The files around a tokenizer that say which ids are special.
struct Configs {
    model: Map<String, Value>,
    generation: Map<String, Value>,
    tokenizer: Map<String, Value>,
}

impl Configs {
    fn read(folder: &Path) -> Result<Self, LoadError> {
        let object = |name: &str| -> Result<Map<String, Value>, LoadError> {
            Ok(files::read_json(&folder.join(name))?.unwrap_or_default())
        };
        Ok(Self {
            model: object("config.json")?,
            generation: object("generation_config.json")?,
            tokenizer: object("tokenizer_config.json")?,
        })
    }

    /// One id or a list of them, from either config, and from the text model's own within one for
    /// images.
    fn ids(&self, key: &str) -> BTreeSet<u32> {
        let text = self.model.get("text_config").and_then(Value::as_object);
        [Some(&self.model), text, Some(&self.generation)]
            .into_iter()
            .flatten()
            .filter_map(|config| config.get(key))
            .flat_map(|value| match value {
                Value::Array(ids) => ids.as_slice(),
                id => std::slice::from_ref(id),
            })
            .filter_map(|id| u32::try_from(id.as_u64()?).ok())
            .collect()
    }

    /// A name is a string, or an object with the string as `content`.
    fn names(&self) -> Map<String, Value> {
        ROLES
            .into_iter()
            .filter_map(|role| {
                let value = self.tokenizer.get(role)?;
                let name = value.as_str().or_else(|| value.get("content")?.as_str())?;
                Some((role.to_owned(), Value::from(name)))
            })
            .collect()
    }
}

/// The most ids that may be held back: a character is at most four bytes, and a byte at most one
/// token. More than that is no character in the making.
const HELD_IDS: usize = 4;

/// Turns ids into text as they come, whole characters only. Special tokens have no text.
#[derive(Clone, Debug)]
pub struct Detokenizer {
    tokenizer: Tokenizer,
    /// The last ids that were shown, which say how the next begin (with a space, say), and then
    /// those that are held.
    ids: Vec<u32>,
    shown: usize,
}

impl Detokenizer {
    /// The text that this id completes; empty where it ends inside a character.
    pub fn push(&mut self, id: u32) -> Result<String, TokenizeError> {
        // It would stand between a text and the space that parts it from the next.
        if self.tokenizer.is_special(id) {
            return Ok(String::new());
        }
        self.ids.push(id);
        let all = self.tokenizer.decode(&self.ids)?;
        let held = self.ids.len() - self.shown;
        if all.ends_with(char::REPLACEMENT_CHARACTER) && held < HELD_IDS {
            return Ok(String::new());
        }
        self.show(&all)
    }

    /// What is held at the end of an answer: characters that were never completed.
    pub fn finish(&mut self) -> Result<String, TokenizeError> {
        let all = self.tokenizer.decode(&self.ids)?;
        self.show(&all)
    }

    /// The part of `all`, the text of `ids`, that was not shown yet.
    fn show(&mut self, all: &str) -> Result<String, TokenizeError> {
        let before = self.tokenizer.decode(&self.ids[..self.shown])?;
        let text = match all.strip_prefix(&before) {
            Some(text) => text.to_owned(),
            // Bytes that spoil the character before them, which cannot be taken back.
            None => self.tokenizer.decode(&self.ids[self.shown..])?,
        };
        self.ids.drain(..self.shown);
        self.shown = self.ids.len();
        Ok(text)
    }
}
