//! SentencePiece's merging by score, as llama.cpp does it with the tokens of a GGUF file.
//!
//! Characters are merged pair by pair, the best-scored token first and the leftmost of equals,
//! until no two neighbours make a token. What is no token then is spelled in bytes.

mod chain;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use self::chain::{Chain, Pair};
use super::TokenizeError;
use super::bytes::{TokenBytes, byte_named};
use super::specials::{Piece, Specials};
use super::vocabulary::{Kind, Vocabulary};
use crate::LoadError;
use crate::gguf::quoted;

const SCORES: &str = "tokenizer.ggml.scores";
const PREFIX: &str = "tokenizer.ggml.add_space_prefix";
const UNKNOWN: &str = "tokenizer.ggml.unknown_token_id";

/// What stands for a space in tokens.
const SPACE: char = '▁';

#[derive(Debug)]
pub(super) struct SentencePiece {
    tokens: Vec<Token>,
    /// As the vocabulary has them.
    spellings: Vec<String>,
    ids: HashMap<String, u32>,
    /// Tokens that merging can make, with their scores.
    scores: HashMap<String, (u32, f32)>,
    bytes: HashMap<u8, u32>,
    unknown: Option<u32>,
    specials: Specials,
    /// A text begins with a space, and so does what follows a special token.
    prefix: bool,
}

#[derive(Debug)]
enum Token {
    /// With spaces for what stands for them.
    Text(String),
    Byte(u8),
    Silent,
}

impl SentencePiece {
    pub(super) fn new(vocabulary: Vocabulary<'_>) -> Result<Self, LoadError> {
        let metadata = vocabulary.metadata;
        let numbers: Vec<f32> = metadata.need(SCORES)?;
        if numbers.len() != vocabulary.tokens.len() {
            let why = format!("where there are {} tokens", vocabulary.tokens.len());
            return Err(metadata.refuse(SCORES, why));
        }
        let unknown = vocabulary.id(UNKNOWN)?;
        // Phi-3's specials take the space after them, but for those that Llama had. Files do not
        // say so; llama.cpp goes by the model's name, which fine-tuned models change.
        let phi = metadata.get::<&str>("general.architecture")? == Some("phi3");
        let mut made = Self {
            tokens: Vec::with_capacity(numbers.len()),
            spellings: Vec::new(),
            ids: HashMap::new(),
            scores: HashMap::with_capacity(numbers.len()),
            bytes: HashMap::new(),
            unknown,
            specials: Specials::default(),
            prefix: metadata.get(PREFIX)?.unwrap_or(true),
        };
        for (id, text, kind) in vocabulary.iter() {
            let score = numbers[id as usize];
            if !made.add((id, text, kind), score) {
                let why = format!(
                    "where byte token {id} is {}, not <0x00> to <0xFF>",
                    quoted(text)
                );
                return Err(metadata.refuse("tokenizer.ggml.tokens", why));
            }
            let cut_out = matches!(kind, Kind::Control | Kind::UserDefined)
                || kind == Kind::Unknown && unknown == Some(id);
            if cut_out {
                let takes_space = phi && !matches!(text, "<unk>" | "<s>" | "<|endoftext|>");
                made.specials.add(text, id, takes_space);
            }
        }
        made.spellings = vocabulary.tokens;
        made.ids = vocabulary.ids;
        Ok(made)
    }

    /// False for a byte that is spelled as none.
    fn add(&mut self, (id, text, kind): (u32, &str, Kind), score: f32) -> bool {
        self.tokens.push(match kind {
            Kind::Normal => Token::Text(text.replace(SPACE, " ")),
            Kind::UserDefined => Token::Text(text.to_owned()),
            Kind::Byte => {
                let Some(byte) = byte_named(text) else {
                    return false;
                };
                self.bytes.insert(byte, id);
                Token::Byte(byte)
            }
            Kind::Control | Kind::Unknown | Kind::Unused => Token::Silent,
        });
        if matches!(kind, Kind::Normal | Kind::UserDefined | Kind::Unused) {
            self.scores.insert(text.to_owned(), (id, score));
        }
        true
    }

    pub(super) fn id(&self, spelling: &str) -> Option<u32> {
        self.ids.get(spelling).copied()
    }

    pub(super) fn spelling(&self, id: u32) -> Option<String> {
        self.spellings.get(id as usize).cloned()
    }

    pub(super) fn bytes(&self, id: u32) -> TokenBytes {
        match self.tokens.get(id as usize) {
            Some(Token::Text(text)) => TokenBytes::Text(text.as_bytes().to_vec()),
            Some(Token::Byte(byte)) => TokenBytes::Text(vec![*byte]),
            Some(Token::Silent) => match self.spelling(id) {
                Some(name) => TokenBytes::Special(name),
                None => TokenBytes::Unknown,
            },
            None => TokenBytes::Unknown,
        }
    }

    pub(super) fn encode(&self, text: &str) -> Result<Vec<u32>, TokenizeError> {
        let mut ids = Vec::new();
        let mut after_special = true;
        for piece in self.specials.split(text) {
            match piece {
                Piece::Token(id) => {
                    ids.push(id);
                    after_special = true;
                }
                Piece::Text(text) => {
                    let mut marked = String::with_capacity(text.len() + SPACE.len_utf8());
                    if self.prefix && after_special {
                        marked.push(SPACE);
                    }
                    let space = |letter| if letter == ' ' { SPACE } else { letter };
                    marked.extend(text.chars().map(space));
                    self.spell(&marked, &mut ids)?;
                    after_special = false;
                }
            }
        }
        Ok(ids)
    }

    /// The text of ids that have one. Bytes that make no characters are replaced.
    pub(super) fn decode(&self, ids: &[u32]) -> String {
        let mut bytes = Vec::new();
        for id in ids {
            match self.tokens.get(*id as usize) {
                Some(Token::Text(text)) => bytes.extend_from_slice(text.as_bytes()),
                Some(Token::Byte(byte)) => bytes.push(*byte),
                Some(Token::Silent) | None => {}
            }
        }
        let text = String::from_utf8_lossy(&bytes);
        match text.strip_prefix(' ') {
            Some(rest) if self.prefix => rest.to_owned(),
            _ => text.into_owned(),
        }
    }

    fn spell(&self, text: &str, ids: &mut Vec<u32>) -> Result<(), TokenizeError> {
        let mut chain = Chain::new(text);
        let mut queue = BinaryHeap::new();
        for right in 1..chain.len() {
            queue.extend(self.pair(&chain, right - 1, right));
        }
        while let Some(pair) = queue.pop() {
            let Reverse(left) = pair.left;
            let Some(right) = chain.next(left) else {
                continue;
            };
            // One of the two was merged with another since.
            if chain.text(left).is_empty() || chain.both(left, right).len() != pair.length {
                continue;
            }
            chain.merge(left, right);
            if let Some(before) = chain.before(left) {
                queue.extend(self.pair(&chain, before, left));
            }
            if let Some(next) = chain.next(left) {
                queue.extend(self.pair(&chain, left, next));
            }
        }
        let mut at = (chain.len() > 0).then_some(0);
        while let Some(link) = at {
            self.name(chain.text(link), ids)?;
            at = chain.next(link);
        }
        Ok(())
    }

    /// Two neighbours, if they make a token.
    fn pair(&self, chain: &Chain<'_>, left: usize, right: usize) -> Option<Pair> {
        let both = chain.both(left, right);
        let (_, score) = self.scores.get(both)?;
        Some(Pair {
            score: *score,
            left: Reverse(left),
            length: both.len(),
        })
    }

    fn name(&self, text: &str, ids: &mut Vec<u32>) -> Result<(), TokenizeError> {
        if let Some((id, _)) = self.scores.get(text) {
            ids.push(*id);
            return Ok(());
        }
        let spelled: Option<Vec<u32>> = text
            .bytes()
            .map(|byte| self.bytes.get(&byte).copied())
            .collect();
        match (spelled, self.unknown) {
            (Some(spelled), _) => ids.extend(spelled),
            (None, Some(unknown)) => ids.push(unknown),
            (None, None) => {
                return Err(TokenizeError(format!(
                    "no token spells {text:?}, and none stands for what is unknown"
                )));
            }
        }
        Ok(())
    }
}
