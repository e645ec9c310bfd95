//! The tokens of a GGUF file, checked: every id that is named is there, and no token twice.

use std::collections::HashMap;

use crate::LoadError;
use crate::gguf::{Metadata, quoted};

pub(super) const TOKENS: &str = "tokenizer.ggml.tokens";
const KINDS: &str = "tokenizer.ggml.token_type";

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Normal,
    /// Stands for what no token spells.
    Unknown,
    /// Steers the model.
    Control,
    /// Cut out of a text before anything else, and has text.
    UserDefined,
    /// Fills the vocabulary up.
    Unused,
    /// One byte, spelled `<0x0A>`.
    Byte,
}

pub(super) struct Vocabulary<'a> {
    pub(super) metadata: &'a Metadata,
    pub(super) tokens: Vec<String>,
    pub(super) kinds: Vec<Kind>,
    /// The tokens' ids.
    pub(super) ids: HashMap<String, u32>,
}

impl<'a> Vocabulary<'a> {
    /// Reads the tokens of a model whose tokens have `rows` logits.
    pub(super) fn read(metadata: &'a Metadata, rows: u32) -> Result<Self, LoadError> {
        let texts: Vec<&str> = metadata.need(TOKENS)?;
        if texts.is_empty() || texts.len() > rows as usize {
            let why = format!("where the embedding has {rows} rows");
            return Err(metadata.refuse(TOKENS, why));
        }
        let kinds = kinds(metadata, texts.len())?;
        let mut tokens = Vec::with_capacity(texts.len());
        let mut ids = HashMap::with_capacity(texts.len());
        for (id, text) in texts.into_iter().enumerate() {
            let token = match text {
                // What llama.cpp calls them, so that two of them are two.
                "" => format!("[EMPTY_{id}]"),
                text => text.to_owned(),
            };
            if let Some(other) = ids.insert(token.clone(), id as u32) {
                let why = format!("where tokens {other} and {id} are both {}", quoted(&token));
                return Err(metadata.refuse(TOKENS, why));
            }
            tokens.push(token);
        }
        Ok(Self {
            metadata,
            tokens,
            kinds,
            ids,
        })
    }

    /// Ids with their tokens and kinds.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &str, Kind)> {
        let tokens = self.tokens.iter().zip(&self.kinds).enumerate();
        tokens.map(|(id, (token, kind))| (id as u32, token.as_str(), *kind))
    }

    /// The id that a key names, where the file has the key.
    pub(super) fn id(&self, key: &str) -> Result<Option<u32>, LoadError> {
        match self.metadata.get::<u32>(key)? {
            Some(id) if id as usize >= self.tokens.len() => {
                let why = format!("where there are {} tokens", self.tokens.len());
                Err(self.metadata.refuse(key, why))
            }
            id => Ok(id),
        }
    }
}

fn kinds(metadata: &Metadata, tokens: usize) -> Result<Vec<Kind>, LoadError> {
    let Some(numbers) = metadata.get::<Vec<i32>>(KINDS)? else {
        return Ok(vec![Kind::Normal; tokens]);
    };
    if numbers.len() != tokens {
        return Err(metadata.refuse(KINDS, format!("where there are {tokens} tokens")));
    }
    let kind = |number: &i32| match number {
        2 => Kind::Unknown,
        3 => Kind::Control,
        4 => Kind::UserDefined,
        5 => Kind::Unused,
        6 => Kind::Byte,
        // 1 is normal, 0 is not said; others are said by nobody.
        _ => Kind::Normal,
    };
    Ok(numbers.iter().map(kind).collect())
}
