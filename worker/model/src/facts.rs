//! What a worker can say about the model it serves.

use weir_kernels::KernelClass;

/// Fixed once the model is loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelFacts {
    /// The family, as `Llama`.
    pub architecture: String,
    /// How many numbers were learnt; a tied head counts once.
    pub parameters: u64,
    /// Of the weights as they lie in memory.
    pub weight_bytes: u64,
    /// `sha256:` over every file that answers depend on.
    pub digest: String,
    /// `sha256:` over `tokenizer.json`: token ids mean the same where it is the same.
    pub tokenizer_digest: String,
    /// `None` where weights are as the file stores them.
    pub quantization: &'static str,
    /// What keys and values are cached as: `F32` or `BF16`.
    pub key_value_type: &'static str,
    /// The longest sequence, prompt and answer together.
    pub context_tokens: u32,
    /// How many logits a token has. The tokenizer may know fewer ids.
    pub vocabulary: u32,
    pub kernel_class: KernelClass,
}
