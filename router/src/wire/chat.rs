//! The fields of OpenAI's chat completions, with those that open servers add.

use super::Upstream;
use super::row::{Row, row};

/// The two names of the longest answer.
pub(crate) const LIMITS: [&str; 2] = ["max_tokens", "max_completion_tokens"];

/// What an upstream is told the longest answer by: the name that OpenAI's own models insist on is
/// unknown to many that are only compatible.
pub(crate) fn limit_field(upstream: Upstream) -> &'static str {
    match upstream {
        Upstream::OpenAI => "max_completion_tokens",
        Upstream::Worker | Upstream::Compatible | Upstream::Anthropic => "max_tokens",
    }
}

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    //                                                        worker, compatible, OpenAI, Anthropic
    row("model",                  &[],                          b"mmmm"),
    row("messages",               &[],                          b"mmmm"),
    row("stream",                 &[],                          b"mmmm"),
    row("stream_options",         &[],                          b"mmmm"),
    row("max_tokens",             &[],                          b"mmmm"),
    row("max_completion_tokens",  &[],                          b"mmmm"),
    row("temperature",            &[],                          b"cccm"),
    row("top_p",                  &[],                          b"cccc"),
    row("top_k",                  &[],                          b"ccac"),
    row("min_p",                  &[],                          b"ccaa"),
    row("typical_p",              &[],                          b"ccaa"),
    row("repetition_penalty",     &[],                          b"ccaa"),
    row("presence_penalty",       &["0", "0.0"],                b"ccca"),
    row("frequency_penalty",      &["0", "0.0"],                b"ccca"),
    row("seed",                   &[],                          b"ccca"),
    row("stop",                   &["[]"],                      b"cccm"),
    row("min_tokens",             &["0"],                       b"ccaa"),
    row("stop_token_ids",         &["[]"],                      b"ccrr"),
    row("ignore_eos",             &["false"],                   b"ccaa"),
    row("chat_template_kwargs",   &["{}"],                      b"ccaa"),
    row("cache_salt",             &["\"\""],                    b"mcaa"),
    row("tools",                  &["[]"],                      b"mccm"),
    row("tool_choice",            &[],                          b"mccm"),
    row("parallel_tool_calls",    &[],                          b"mccm"),
    row("functions",              &["[]"],                      b"rccr"),
    row("function_call",          &["\"none\"", "\"auto\""],    b"rccr"),
    row("response_format",        &[r#"{"type":"text"}"#],      b"mccm"),
    row("guided_json",            &[],                          b"mcrr"),
    row("guided_regex",           &[],                          b"mcrr"),
    row("guided_choice",          &[],                          b"mcrr"),
    row("guided_grammar",         &[],                          b"mcrr"),
    row("structured_outputs",     &[],                          b"mcrr"),
    row("logprobs",               &["false"],                   b"mccr"),
    row("top_logprobs",           &["0"],                       b"mccr"),
    row("logit_bias",             &["{}"],                      b"cccr"),
    row("n",                      &["1"],                       b"mccr"),
    row("modalities",             &[r#"["text"]"#],             b"rccr"),
    row("audio",                  &[],                          b"rccr"),
    row("web_search_options",     &[],                          b"rccr"),
    row("prediction",             &[],                          b"acca"),
    row("reasoning_effort",       &[],                          b"accm"),
    row("verbosity",              &[],                          b"acca"),
    row("service_tier",           &["\"auto\"", "\"default\""], b"acca"),
    row("store",                  &["false"],                   b"acca"),
    row("metadata",               &["{}"],                      b"acca"),
    row("user",                   &[],                          b"accm"),
    row("safety_identifier",      &[],                          b"acca"),
    row("prompt_cache_key",       &[],                          b"acca"),
    row("prompt_cache_options",   &[],                          b"acca"),
    row("prompt_cache_retention", &[],                          b"acca"),
    row("moderation",             &[],                          b"acca"),
];
