//! Byte-pair tokenizers of GGUF files, as the tokenizers crate's.

use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizers::NFC;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, SplitDelimiterBehavior, Tokenizer};

use super::pre::{self, PreTokenizer};
use super::vocabulary::{Kind, Vocabulary};
use crate::LoadError;
use crate::gguf::quoted;

const MERGES: &str = "tokenizer.ggml.merges";
const PRE: &str = "tokenizer.ggml.pre";

/// Merges for each token, at most: a token is made in two or three ways in real vocabularies.
const MOST_WAYS: usize = 16;

/// What the file's name for its cut stands for.
///
/// # Errors
/// Names a cut that is not known here.
pub(super) fn cut(vocabulary: &Vocabulary<'_>) -> Result<&'static PreTokenizer, LoadError> {
    let metadata = vocabulary.metadata;
    let name: &str = metadata.need(PRE)?;
    pre::named(name)
        .ok_or_else(|| metadata.refuse(PRE, format!("where these are known: {}", pre::names())))
}

pub(super) fn build(
    vocabulary: &Vocabulary<'_>,
    cut: &PreTokenizer,
) -> Result<Tokenizer, LoadError> {
    let failed = |error: tokenizers::Error| vocabulary.metadata.refuse(MERGES, error.to_string());
    let ids: Vocab = vocabulary.ids.clone().into_iter().collect();
    let model = BPE::builder()
        .vocab_and_merges(ids, merges(vocabulary)?)
        .ignore_merges(cut.whole_words)
        .build()
        .map_err(failed)?;
    let mut tokenizer = Tokenizer::new(model);
    if cut.composed {
        tokenizer.with_normalizer(Some(NFC)).map_err(failed)?;
    }
    let mut steps = Vec::with_capacity(cut.cuts.len() + 1);
    for expression in cut.cuts {
        let pattern = SplitPattern::Regex((*expression).to_owned());
        let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false);
        steps.push(PreTokenizerWrapper::from(split.map_err(failed)?));
    }
    let letters = ByteLevel::new(false, false, false);
    steps.push(PreTokenizerWrapper::from(letters));
    tokenizer.with_pre_tokenizer(Some(Sequence::new(steps)));
    tokenizer.with_decoder(Some(letters));
    let added = vocabulary.iter().filter_map(|(_, token, kind)| {
        let special = match kind {
            Kind::Control | Kind::Unknown => true,
            Kind::UserDefined => false,
            Kind::Normal | Kind::Unused | Kind::Byte => return None,
        };
        Some(AddedToken::from(token, special).normalized(false))
    });
    tokenizer.add_tokens(added).map_err(failed)?;
    Ok(tokenizer)
}

/// Pairs in the order in which they are merged, all of them and what they make in the vocabulary.
fn merges(vocabulary: &Vocabulary<'_>) -> Result<Vec<(String, String)>, LoadError> {
    let metadata = vocabulary.metadata;
    let lines: Vec<&str> = metadata.need(MERGES)?;
    let tokens = vocabulary.tokens.len();
    if lines.len() > MOST_WAYS * tokens {
        let why =
            format!("where there are {tokens} tokens and {MOST_WAYS} merges for each, at most");
        return Err(metadata.refuse(MERGES, why));
    }
    let mut merges = Vec::with_capacity(lines.len());
    let mut merged = String::new();
    for (rank, line) in lines.into_iter().enumerate() {
        // A token may begin with the space that otherwise parts the two.
        let parted = line
            .char_indices()
            .skip(1)
            .find(|(_, character)| *character == ' ');
        let Some((at, _)) = parted else {
            let why = format!("where merge {rank} is {}, not two tokens", quoted(line));
            return Err(metadata.refuse(MERGES, why));
        };
        let (left, right) = (&line[..at], &line[at + 1..]);
        merged.clear();
        merged.push_str(left);
        merged.push_str(right);
        for token in [left, right, &merged] {
            if !vocabulary.ids.contains_key(token) {
                let why = format!(
                    "where merge {rank} is {}, and {} is no token",
                    quoted(line),
                    quoted(token)
                );
                return Err(metadata.refuse(MERGES, why));
            }
        }
        merges.push((left.to_owned(), right.to_owned()));
    }
    Ok(merges)
}
