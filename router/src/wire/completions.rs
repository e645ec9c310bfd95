//! The fields of OpenAI's completions of a text. Anthropic has no form of them at all.

use super::row::{Row, row};

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    //                                                   worker, compatible, OpenAI, Anthropic
    row("model",                  &[],                     b"mmmr"),
    row("prompt",                 &[],                     b"mccr"),
    row("stream",                 &[],                     b"mmmr"),
    row("stream_options",         &[],                     b"mmmr"),
    row("max_tokens",             &[],                     b"mmmr"),
    row("temperature",            &[],                     b"cccr"),
    row("top_p",                  &[],                     b"cccr"),
    row("top_k",                  &[],                     b"ccar"),
    row("min_p",                  &[],                     b"ccar"),
    row("typical_p",              &[],                     b"ccar"),
    row("repetition_penalty",     &[],                     b"ccar"),
    row("presence_penalty",       &["0", "0.0"],           b"cccr"),
    row("frequency_penalty",      &["0", "0.0"],           b"cccr"),
    row("seed",                   &[],                     b"cccr"),
    row("stop",                   &["[]"],                 b"cccr"),
    row("min_tokens",             &["0"],                  b"ccar"),
    row("stop_token_ids",         &["[]"],                 b"ccrr"),
    row("ignore_eos",             &["false"],              b"ccar"),
    row("cache_salt",             &["\"\""],               b"mcar"),
    row("response_format",        &[r#"{"type":"text"}"#], b"mcrr"),
    row("guided_json",            &[],                     b"mcrr"),
    row("guided_regex",           &[],                     b"mcrr"),
    row("guided_choice",          &[],                     b"mcrr"),
    row("guided_grammar",         &[],                     b"mcrr"),
    row("structured_outputs",     &[],                     b"mcrr"),
    row("n",                      &["1"],                  b"mccr"),
    row("best_of",                &["1"],                  b"rrrr"),
    row("echo",                   &["false"],              b"mccr"),
    row("suffix",                 &["\"\""],               b"rccr"),
    row("logprobs",               &[],                     b"mccr"),
    row("logit_bias",             &["{}"],                 b"cccr"),
    row("user",                   &[],                     b"accr"),
];
