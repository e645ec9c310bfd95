//! Both models along one prompt and what ours writes after it.

use std::path::{Path, PathBuf};

use weir_model::{Gguf, Tokenizer, gguf_at};

use crate::apart::best;
use crate::ours::load;
use crate::{Apart, Comparing, Options, Ours, Reference, VerifyError};

/// How many tokens of a prompt ours reads at once. Their logits are all that is kept.
const AT_ONCE: usize = 32;

/// How far apart the logits of two orders of summation of the same numbers may be, in spreads: the
/// tiny models of the tests show 0.00001, and a switch that is missed 0.5 and more.
const TOLERANCE: f32 = 0.01;

/// The same for the root of the mean square, where weights are packed: both sides round what they
/// multiply them with to eight bits, each in its own way, and a single logit strays far. Models of
/// drawn numbers show up to 0.043, and at least 0.69 where the sign of one matrix is turned.
const TOLERANCE_PACKED: f32 = 0.15;

/// What no single logit is apart by where weights are packed: those models show up to 0.3.
const FARTHEST_PACKED: f32 = 1.0;

/// What is to be compared.
#[derive(Clone, Debug)]
pub struct Question {
    /// The model that we compute.
    pub source: PathBuf,
    /// The model that candle computes, where it is another copy.
    pub reference: Option<PathBuf>,
    pub prompt: String,
    /// How many tokens are written after it.
    pub tokens: usize,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Verified {
    /// The family, as `Llama`.
    pub architecture: String,
    /// Those of the prompt, then those that were written.
    pub tokens: Vec<u32>,
    pub prompt_tokens: usize,
    /// As a person reads them, for the tokens that a report names.
    pub tokenizer: Tokenizer,
    pub apart: Apart,
    /// Up to which [`Verified::distance`] the two count as the same.
    pub tolerance: f32,
    /// Some weights are in less than sixteen bits.
    pub is_packed: bool,
}

impl Verified {
    /// In spreads: the largest difference, or, where weights are packed, the root of the mean
    /// square of all.
    pub fn distance(&self) -> f32 {
        match self.is_packed {
            true => self.apart.typical_share(),
            false => self.apart.share(),
        }
    }

    pub fn agrees(&self) -> bool {
        // With the weights in full precision the distance is that of the farthest.
        let is_near = self.apart.share() <= FARTHEST_PACKED;
        self.apart.positions > 0 && is_near && self.distance() <= self.tolerance
    }
}

/// Runs both models along the prompt and what ours writes after it, side by side: both are in
/// memory, and of their logits those of a few positions.
///
/// # Errors
/// Where a model cannot be opened, or candle's is no measure for it.
pub fn verify(question: &Question) -> Result<Verified, VerifyError> {
    let model = load(&question.source, None).map_err(VerifyError::Load)?;
    let facts = model.facts().clone();
    let tokenizer = Tokenizer::load(&question.source, facts.vocabulary);
    let tokenizer = tokenizer.map_err(VerifyError::Load)?;
    let prompt = tokenizer.encode(&question.prompt, true);
    let prompt = prompt.map_err(VerifyError::Tokenize)?;
    if prompt.is_empty() {
        return Err(VerifyError::EmptyPrompt);
    }
    let asked = prompt.len().saturating_add(question.tokens);
    if asked > facts.context_tokens as usize {
        let most = facts.context_tokens;
        return Err(VerifyError::TooLong { asked, most });
    }
    let path = question.reference.as_ref().unwrap_or(&question.source);
    if question.reference.is_some() {
        // Ours refuses a copy that is not whole, where candle would panic.
        load(path, None).map_err(VerifyError::Load)?;
    }
    let both = Both {
        ours: Ours::new(model, asked).map_err(VerifyError::Load)?,
        reference: Reference::open(path, &Options::new(asked)).map_err(VerifyError::Reference)?,
        comparing: Comparing::default(),
    };
    let (tokens, apart) = both.compare(&prompt, question.tokens)?;
    let is_packed = is_packed(&question.source)? || is_packed(path)?;
    Ok(Verified {
        architecture: facts.architecture,
        tokens,
        prompt_tokens: prompt.len(),
        tokenizer,
        apart,
        tolerance: match is_packed {
            true => TOLERANCE_PACKED,
            false => TOLERANCE,
        },
        is_packed,
    })
}

/// Two models on the same tokens.
struct Both {
    ours: Ours,
    reference: Reference,
    comparing: Comparing,
}

impl Both {
    /// The prompt and what ours writes after it, and how far the two are apart along these tokens.
    fn compare(mut self, prompt: &[u32], count: usize) -> Result<(Vec<u32>, Apart), VerifyError> {
        let mut tokens = prompt.to_vec();
        let mut next = 0;
        for tokens in prompt.chunks(AT_ONCE) {
            next = self.read(tokens)?;
        }
        for _ in 0..count {
            tokens.push(next);
            next = self.read(&[next])?;
        }
        Ok((tokens, self.comparing.finish()))
    }

    /// Our best token after these.
    fn read(&mut self, tokens: &[u32]) -> Result<u32, VerifyError> {
        let rows = self.ours.read(tokens).map_err(VerifyError::Forward)?;
        for (token, ours) in tokens.iter().zip(&rows) {
            let theirs = self.reference.read(&[*token]);
            let theirs = theirs.map_err(VerifyError::Reference)?;
            if ours.len() != theirs.len() {
                return Err(VerifyError::Vocabulary {
                    ours: ours.len(),
                    reference: theirs.len(),
                });
            }
            self.comparing.take(ours, &theirs);
        }
        Ok(rows.last().map_or(0, |row| best(row)))
    }
}

/// Whether a GGUF file has some tensor in less than sixteen bits a number.
fn is_packed(path: &Path) -> Result<bool, VerifyError> {
    let Some(file) = gguf_at(path).map_err(VerifyError::Load)? else {
        return Ok(false);
    };
    let gguf = Gguf::open(&file).map_err(VerifyError::Load)?;
    let mut kinds = gguf.tensor_names().map(|name| gguf.tensor(name));
    kinds.try_fold(false, |found, tensor| {
        let kind = tensor.map_err(VerifyError::Load)?.kind;
        Ok(found || kind.block() > 1)
    })
}
