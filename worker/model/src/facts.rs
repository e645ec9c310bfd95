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
    /// How many of them are used where their file is mapped, so that the system may count them as
    /// available.
    pub mapped_bytes: u64,
    /// `sha256:` over every file that answers depend on, and over how weights and keys and values are
    /// served where that was asked for.
    pub digest: String,
    /// `sha256:` over `tokenizer.json`: token ids mean the same where it is the same.
    pub tokenizer_digest: String,
    /// `None` where weights are in full precision as the file stores them; `Q8` or `Q4` where they
    /// were rounded at load; of a GGUF file the format that most of its numbers are in.
    pub quantization: &'static str,
    /// What keys and values are cached as: `F32`, `BF16`, `F16` or `Fp8`.
    pub key_value_type: &'static str,
    /// The longest sequence, prompt and answer together.
    pub context_tokens: u32,
    /// How many logits a token has. The tokenizer may know fewer ids.
    pub vocabulary: u32,
    /// How many numbers a token's state has, and so a text's vector.
    pub hidden: u32,
    pub kernel_class: KernelClass,
}
