//! Keys of the metadata that a model's shape comes from, without the architecture's name and the
//! dot before them: `phi3.` and [`CONTEXT`] make `phi3.context_length`.
//!
//! Each says what the hub calls it, and what holds where the key is not there.

use super::Architecture;
use crate::gguf::Metadata;

/// `max_position_embeddings`.
pub const CONTEXT: &str = "context_length";
/// `vocab_size`; else the number of tokens, and `token_embd.weight` has the rows.
pub const VOCABULARY: &str = "vocab_size";
/// `hidden_size`.
pub const HIDDEN: &str = "embedding_length";
/// `num_hidden_layers`.
pub const LAYERS: &str = "block_count";
/// `intermediate_size`. Phi-3's too, though its `ffn_up` has twice as many rows.
pub const INTERMEDIATE: &str = "feed_forward_length";
/// `num_attention_heads`.
pub const HEADS: &str = "attention.head_count";
/// `num_key_value_heads`; else [`HEADS`]. A number, or a list with one for each layer, in which a
/// layer without attention has 0.
pub const KV_HEADS: &str = "attention.head_count_kv";
/// `head_dim`; else hidden ÷ heads. Granite and Phi-3 never write it.
pub const HEAD_DIM: &str = "attention.key_length";
/// `head_dim` again, of values: no served model has another.
pub const VALUE_DIM: &str = "attention.value_length";
/// `rms_norm_eps`.
pub const EPSILON: &str = "attention.layer_norm_rms_epsilon";
/// `sliding_window`; 0 is none. Gemma 2's is 4096 where it is not there. llama.cpp does not
/// use Phi-3's. Mistral's is not written: files of its first 7B model do not say that it had
/// one.
pub const WINDOW: &str = "attention.sliding_window";
/// A number, as [`super::Architecture::global_every`], or a list of whether a layer has a
/// window. The converter writes neither for Gemma 2 and 3.
pub const WINDOW_PATTERN: &str = "attention.sliding_window_pattern";
/// `attention_multiplier` (Granite); else the root of the head's size, inverted. Gemma has no
/// key for `query_pre_attn_scalar`: the 27B models (46 layers of Gemma 2, 62 of Gemma 3)
/// divide by the root of hidden ÷ heads.
pub const ATTENTION_SCALE: &str = "attention.scale";
/// `embedding_multiplier` (Granite).
pub const EMBEDDING_SCALE: &str = "embedding_scale";
/// `residual_multiplier` (Granite).
pub const RESIDUAL_SCALE: &str = "residual_scale";
/// `logits_scaling` (Granite), which logits are divided by.
pub const LOGIT_SCALE: &str = "logit_scale";
/// `attn_logit_softcapping` (Gemma 2).
pub const ATTENTION_SOFT_CAP: &str = "attn_logit_softcapping";
/// `final_logit_softcapping` (Gemma 2).
pub const FINAL_SOFT_CAP: &str = "final_logit_softcapping";
/// How many numbers of a head are rotated: `partial_rotary_factor` of it; else all.
pub const ROPE_DIMENSIONS: &str = "rope.dimension_count";
/// `rope_theta`; else 10,000. Of layers without a window.
pub const ROPE_BASE: &str = "rope.freq_base";
/// `rope_local_base_freq`, which older files do not have.
pub const LOCAL_ROPE_BASE: &str = "rope.freq_base_swa";
/// Whether layers rotate at all, where [`super::Architecture::switches_rope`]: false says that none
/// does. Elsewhere it says how a model came to its rope, not what it is.
pub const ROPE_SWITCH: &str = "rope.scaling.finetuned";
/// `linear`, `yarn`, `longrope` or `none`. A llama3 scaling is a tensor instead,
/// [`super::ROPE_DIVISORS`], and Phi-3's longrope two without this key.
pub const ROPE_SCALING: &str = "rope.scaling.type";
/// `factor`. Gemma 3's is that of layers without a window.
pub const ROPE_FACTOR: &str = "rope.scaling.factor";
/// What old files call it.
pub const OLD_ROPE_FACTOR: &str = "rope.scale_linear";
/// `original_max_position_embeddings`; else [`CONTEXT`].
pub const ROPE_ORIGINAL_CONTEXT: &str = "rope.scaling.original_context_length";
/// What queries and keys are multiplied by under longrope, computed by the converter; else 1.
pub const ROPE_ATTENTION_FACTOR: &str = "rope.scaling.attn_factor";
/// `extrapolation_factor` of yarn.
pub const YARN_EXTRAPOLATION: &str = "rope.scaling.yarn_ext_factor";
/// `attention_factor` of yarn.
pub const YARN_ATTENTION_FACTOR: &str = "rope.scaling.yarn_attn_factor";
/// `beta_fast` of yarn; else 32.
pub const YARN_BETA_FAST: &str = "rope.scaling.yarn_beta_fast";
/// `beta_slow` of yarn; else 1.
pub const YARN_BETA_SLOW: &str = "rope.scaling.yarn_beta_slow";
/// `mscale_all_dim` of yarn, which changes what queries and keys are multiplied by (Ministral).
pub const YARN_LOG_MULTIPLIER: &str = "rope.scaling.yarn_log_multiplier";
/// `llama_4_scaling_beta`: queries grow with their position (Ministral). No served model has it.
pub const ATTENTION_TEMPERATURE: &str = "attention.temperature_scale";

/// Keys that no served architecture's forward pass reads.
const HARMLESS: [&str; 5] = [
    // The embedding has the rows.
    VOCABULARY,
    // How the model came to its rope, not what it is; but for where it is a switch, and read.
    ROPE_SWITCH,
    // Of what file the rows were permuted from: they are permuted in either case.
    "tensor_data_layout",
    // Of norms with a mean, which none of these has.
    "attention.layer_norm_epsilon",
    // From where on queries grow, which says nothing without ATTENTION_TEMPERATURE.
    "attention.temperature_length",
];

/// Keys of what is not served, and the values at which they say that it is not there either. True
/// counts as 1.
const NEUTRAL: [(&str, &[f64]); 12] = [
    (ATTENTION_TEMPERATURE, &[0.0]),
    (YARN_LOG_MULTIPLIER, &[0.0]),
    ("attention.causal", &[1.0]),
    ("attention.clamp_kqv", &[0.0]),
    ("attention.max_alibi_bias", &[0.0]),
    ("attention.shared_kv_layers", &[0.0]),
    ("expert_count", &[0.0]),
    ("expert_used_count", &[0.0]),
    ("nextn_predict_layers", &[0.0]),
    ("pooling_type", &[0.0]),
    ("rope.scaling.alpha", &[0.0, 1.0]),
    ("use_parallel_residual", &[0.0]),
];

/// Of dense models whose class on the hub has state spaces and experts too (Granite 4): what the
/// converter writes of these, whether a layer has them or not.
pub(crate) const OF_A_HYBRID: &[&str] = &[
    "expert_shared_feed_forward_length",
    "ssm.conv_kernel",
    "ssm.group_count",
    "ssm.inner_size",
    "ssm.state_size",
    "ssm.time_step_rank",
];

/// Whether a key that nothing reads leaves the forward pass as it is.
pub(crate) fn changes_nothing(metadata: &Metadata, architecture: &Architecture, key: &str) -> bool {
    if HARMLESS.contains(&key) || architecture.left_over.contains(&key) {
        return true;
    }
    let full = &architecture.key(key);
    let switch = metadata.get::<bool>(full).ok().flatten();
    let whole = metadata.get::<i32>(full).ok().flatten();
    let fraction = metadata.get::<f64>(full).ok().flatten();
    let number = switch
        .map(|switch| f64::from(u8::from(switch)))
        .or(whole.map(f64::from))
        .or(fraction);
    NEUTRAL
        .iter()
        .any(|(known, at)| *known == key && number.is_some_and(|number| at.contains(&number)))
}
