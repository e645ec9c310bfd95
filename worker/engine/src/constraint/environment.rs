//! The model's tokenizer as the grammar library wants it: the bytes of every token, and the tokens
//! of any bytes.
//!
//! Tokens that are no text are known by their ids alone, so that no text is taken for them. Ids
//! that fill the vocabulary up have no bytes and are never allowed.

use std::collections::HashMap;

use llguidance::toktrie::{INVALID_TOKEN, SimpleVob, TokRxInfo, TokTrie, TokenId, TokenizerEnv};
use weir_model::{TokenBytes, Tokenizer};

/// The trie holds no longer ones. Longest are runs of spaces, of 1,024 at most in known
/// vocabularies, and what is left out is spelled by shorter ones.
const LONGEST_TOKEN_BYTES: usize = 512;

/// Stands before tokens that are no text. No text in UTF-8 has that byte.
const SPECIAL: u8 = TokTrie::SPECIAL_TOKEN_MARKER;

/// Parts what is spelled from what comes before it, for tokenizers that put a space before a text.
const ANCHOR: &str = "\n";

pub(super) struct Environment {
    tokenizer: Tokenizer,
    trie: TokTrie,
    /// Tokens that have bytes.
    known: SimpleVob,
}

impl Environment {
    /// Nothing where the bytes of no token are known.
    pub(super) fn new(tokenizer: Tokenizer, vocabulary: u32) -> Option<Self> {
        let words = words(&tokenizer, vocabulary);
        let is_text = |word: &Vec<u8>| word.first().is_some_and(|byte| *byte != SPECIAL);
        if !words.iter().any(is_text) {
            return None;
        }
        let ends = tokenizer.ends();
        let ends: Vec<u32> = ends.iter().copied().filter(|id| *id < vocabulary).collect();
        let eos = ends.first().copied().unwrap_or(INVALID_TOKEN);
        let mut trie = TokTrie::from(&TokRxInfo::new(vocabulary, eos), &words);
        if ends.len() > 1 {
            trie = trie.with_eos_tokens(&ends);
        }
        let mut known = trie.alloc_token_set();
        for (id, word) in (0_u32..).zip(&words) {
            if !word.is_empty() {
                known.allow_token(id);
            }
        }
        Some(Self {
            tokenizer,
            trie,
            known,
        })
    }

    pub(super) fn known(&self) -> &SimpleVob {
        &self.known
    }

    /// The tokens that the tokenizer would write for `text` in the middle of an answer.
    fn spell(&self, text: &str) -> Vec<TokenId> {
        let ids = self.tokenizer.encode(text, false).ok();
        ids.filter(|ids| self.spelled(ids) == text.as_bytes())
            .or_else(|| self.spell_behind_anchor(text))
            .unwrap_or_else(|| self.trie.greedy_tokenize(text.as_bytes()))
    }

    fn spell_behind_anchor(&self, text: &str) -> Option<Vec<TokenId>> {
        let ids = self
            .tokenizer
            .encode(&format!("{ANCHOR}{text}"), false)
            .ok()?;
        let at =
            (1..=ids.len()).find(|&at| self.spelled(&ids[..at]).ends_with(ANCHOR.as_bytes()))?;
        let rest = ids[at..].to_vec();
        (self.spelled(&rest) == text.as_bytes()).then_some(rest)
    }

    fn spelled(&self, ids: &[TokenId]) -> Vec<u8> {
        ids.iter()
            .flat_map(|id| self.trie.token(*id))
            .copied()
            .collect()
    }
}

impl TokenizerEnv for Environment {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<TokenId> {
        let spell = |text: &str| self.spell(text);
        self.trie.tokenize_with_greedy_fallback(bytes, spell)
    }
}

fn words(tokenizer: &Tokenizer, vocabulary: u32) -> Vec<Vec<u8>> {
    let mut words: Vec<Vec<u8>> = tokenizer
        .bytes(vocabulary)
        .into_iter()
        .map(|bytes| match bytes {
            TokenBytes::Text(text) if text.len() > LONGEST_TOKEN_BYTES => Vec::new(),
            TokenBytes::Text(text) if text.first() == Some(&SPECIAL) => Vec::new(),
            TokenBytes::Text(text) => text,
            TokenBytes::Special(name) => special(&name),
            TokenBytes::Unknown => Vec::new(),
        })
        .collect();
    leave_out_spare_bytes(tokenizer, &mut words);
    words
}

/// What has no brackets gets some: the library takes a number in square ones for an id.
fn special(name: &str) -> Vec<u8> {
    let mut word = vec![SPECIAL];
    if name.starts_with('<') && name.ends_with('>') {
        word.extend_from_slice(name.as_bytes());
    } else {
        word.extend_from_slice(format!("<{name}>").as_bytes());
    }
    word.truncate(LONGEST_TOKEN_BYTES);
    word
}

/// Vocabularies have tokens for all bytes, also for those that are letters with a token of their
/// own. Models write the letters.
fn leave_out_spare_bytes(tokenizer: &Tokenizer, words: &mut [Vec<u8>]) {
    let mut letters: HashMap<u8, usize> = HashMap::new();
    let mut bytes = Vec::new();
    for (id, word) in words.iter().enumerate() {
        let [byte] = word[..] else { continue };
        let spelling = tokenizer.spelling(id as u32).unwrap_or_default();
        if spelling == format!("<0x{byte:02X}>") {
            bytes.push((id, byte));
        } else {
            letters.insert(byte, id);
        }
    }
    for (id, byte) in bytes {
        if letters.contains_key(&byte) {
            words[id].clear();
        }
    }
}
