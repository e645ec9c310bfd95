//! What an answer cost, as chat and completions say it.

use serde_json::{Value, json};

use crate::prompt::Input;

pub(super) fn usage(input: &Input, written: u64, thought: u64) -> Value {
    json!({
        "prompt_tokens": input.tokens,
        "completion_tokens": written,
        "total_tokens": input.tokens + written,
        "prompt_tokens_details": {
            "cached_tokens": input.read,
            "cache_write_tokens": input.written,
            "audio_tokens": 0,
        },
        "completion_tokens_details": {
            "reasoning_tokens": thought,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    })
}
