//! A tokenizer out of the metadata of a GGUF file.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::pairs;
use super::sentence_piece::SentencePiece;
use super::vocabulary::{Kind, TOKENS, Vocabulary};
use super::{Around, Codec, Inner, Tokenizer};
use crate::LoadError;
use crate::gguf::{Gguf, Metadata};

const MODEL: &str = "tokenizer.ggml.model";
const BOS: &str = "tokenizer.ggml.bos_token_id";
const EOS: &str = "tokenizer.ggml.eos_token_id";
const ADD_BOS: &str = "tokenizer.ggml.add_bos_token";
const ADD_EOS: &str = "tokenizer.ggml.add_eos_token";
const TEMPLATE: &str = "tokenizer.chat_template";

/// Keys of ids that end an answer.
const ENDS: [&str; 3] = [
    EOS,
    "tokenizer.ggml.eot_token_id",
    "tokenizer.ggml.eom_token_id",
];

/// Control tokens that end an answer or a turn by their name. The converter writes a key for the
/// first of a model's ends alone; the hub's generation configs, which GGUF does not carry, list
/// these too.
const ENDS_BY_NAME: [&str; 7] = [
    "<|eot_id|>",
    "<|eom_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<end_of_turn>",
];

/// The roles that templates may name, and the key of each.
const ROLES: [(&str, &str); 7] = [
    ("bos_token", BOS),
    ("eos_token", EOS),
    ("unk_token", "tokenizer.ggml.unknown_token_id"),
    ("sep_token", "tokenizer.ggml.seperator_token_id"),
    ("pad_token", "tokenizer.ggml.padding_token_id"),
    ("cls_token", "tokenizer.ggml.cls_token_id"),
    ("mask_token", "tokenizer.ggml.mask_token_id"),
];

impl Tokenizer {
    /// Reads `tokenizer.ggml.*`, for a model whose tokens have `vocabulary` logits.
    ///
    /// # Errors
    /// Names the key that is missing, malformed, or of a tokenizer that is not known here.
    pub fn from_gguf(gguf: &Gguf, vocabulary: u32) -> Result<Self, LoadError> {
        let metadata = gguf.metadata();
        let model: &str = metadata.need(MODEL)?;
        // SentencePiece has ids of its own where a file does not say.
        let usual = match model {
            "gpt2" => (None, None),
            "llama" => (Some(1), Some(2)),
            _ => return Err(metadata.refuse(MODEL, "where gpt2 and llama are known".to_owned())),
        };
        let vocabulary = Vocabulary::read(metadata, vocabulary)?;
        let known = |id: &u32| (*id as usize) < vocabulary.tokens.len();
        let bos = vocabulary.id(BOS)?.or(usual.0.filter(known));
        let eos = vocabulary.id(EOS)?.or(usual.1.filter(known));
        let ends = ends(&vocabulary, eos)?;
        let specials = vocabulary
            .iter()
            .filter(|(_, _, kind)| matches!(kind, Kind::Control | Kind::Unknown | Kind::Unused))
            .map(|(id, _, _)| id)
            .collect();
        let (codec, add_bos) = codec(model, vocabulary)?;
        let around = Around {
            before: asked(metadata, ADD_BOS, add_bos, (BOS, bos))?,
            after: asked(metadata, ADD_EOS, false, (EOS, eos))?,
        };
        Ok(Self(Arc::new(Inner {
            codec,
            around,
            specials,
            ends,
            bos,
        })))
    }
}

/// What does the work, and whether a text usually begins with the beginning token.
fn codec(model: &str, vocabulary: Vocabulary<'_>) -> Result<(Codec, bool), LoadError> {
    if model == "llama" {
        let pieces = Box::new(SentencePiece::new(vocabulary)?);
        return Ok((Codec::SentencePiece(pieces), true));
    }
    let cut = pairs::cut(&vocabulary)?;
    let tokenizer = Box::new(pairs::build(&vocabulary, cut)?);
    Ok((Codec::Hub(tokenizer), cut.add_bos))
}

/// The token to put around a text, where the file or its kind asks for one.
fn asked(
    metadata: &Metadata,
    switch: &str,
    usually: bool,
    (key, id): (&str, Option<u32>),
) -> Result<Option<u32>, LoadError> {
    if !metadata.get(switch)?.unwrap_or(usually) {
        return Ok(None);
    }
    match id {
        Some(id) => Ok(Some(id)),
        None => metadata.need(key).map(Some),
    }
}

/// Ids that end an answer, ascending.
fn ends(vocabulary: &Vocabulary<'_>, eos: Option<u32>) -> Result<Vec<u32>, LoadError> {
    let mut ends: BTreeSet<u32> = eos.into_iter().collect();
    for key in ENDS {
        ends.extend(vocabulary.id(key)?);
    }
    let several = "tokenizer.ggml.eos_token_ids";
    for id in vocabulary
        .metadata
        .get::<Vec<u32>>(several)?
        .unwrap_or_default()
    {
        if id as usize >= vocabulary.tokens.len() {
            let why = format!("where {id} is none of {} tokens", vocabulary.tokens.len());
            return Err(vocabulary.metadata.refuse(several, why));
        }
        ends.insert(id);
    }
    for name in ENDS_BY_NAME {
        let id = vocabulary.ids.get(name);
        ends.extend(id.filter(|id| vocabulary.kinds[**id as usize] == Kind::Control));
    }
    Ok(ends.into_iter().collect())
}

/// What templates call the special tokens.
pub(super) fn names_in(metadata: &Metadata) -> Result<Map<String, Value>, LoadError> {
    let tokens: Vec<&str> = metadata.need(TOKENS)?;
    // Old converters wrote ids of padding that there is not.
    let token = |id: u32| tokens.get(id as usize).copied();
    let named = ROLES.into_iter().filter_map(|(role, key)| {
        let id = metadata.get::<u32>(key).ok()??;
        Some((role.to_owned(), Value::from(token(id)?)))
    });
    Ok(named.collect())
}

impl Gguf {
    /// The chat templates of the file by name; the one without a name is `default`.
    ///
    /// # Errors
    /// Names a key that is no text.
    pub fn chat_templates(&self) -> Result<Vec<(String, &str)>, LoadError> {
        let metadata = self.metadata();
        let mut templates = Vec::new();
        if let Some(source) = metadata.get(TEMPLATE)? {
            templates.push(("default".to_owned(), source));
        }
        for key in metadata.keys() {
            let name = key
                .strip_prefix(TEMPLATE)
                .and_then(|rest| rest.strip_prefix('.'));
            if let Some(name) = name {
                templates.push((name.to_owned(), metadata.need(key)?));
            }
        }
        Ok(templates)
    }
}
