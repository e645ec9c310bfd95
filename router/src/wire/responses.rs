//! The fields of OpenAI's responses. Those that need a store of earlier responses are refused when
//! they are read: there is none here.

use super::row::{Row, row};

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    //                                                        worker, compatible, OpenAI, Anthropic
    row("model",                  &[],                          b"mmmm"),
    row("input",                  &[],                          b"mmmm"),
    row("instructions",           &[],                          b"mmcm"),
    row("stream",                 &[],                          b"mmmm"),
    row("stream_options",         &[],                          b"mmmm"),
    row("store",                  &[],                          b"mmmm"),
    row("max_output_tokens",      &[],                          b"mmmm"),
    row("temperature",            &[],                          b"cccm"),
    row("top_p",                  &[],                          b"cccc"),
    row("tools",                  &["[]"],                      b"mmcm"),
    row("tool_choice",            &[],                          b"mmcm"),
    row("parallel_tool_calls",    &[],                          b"mmcm"),
    row("max_tool_calls",         &[],                          b"aaca"),
    row("text.format",            &[r#"{"type":"text"}"#],      b"mmcm"),
    row("text.verbosity",         &[],                          b"amca"),
    row("reasoning.effort",       &[],                          b"amcm"),
    row("reasoning.summary",      &[],                          b"aaca"),
    row("reasoning.generate_summary", &[],                      b"aaca"),
    row("include",                &["[]"],                      b"mmcm"),
    row("top_logprobs",           &["0"],                       b"mmcr"),
    row("truncation",             &["\"disabled\""],            b"aaca"),
    row("context_management",     &["[]"],                      b"aaca"),
    row("service_tier",           &["\"auto\"", "\"default\""], b"amca"),
    row("metadata",               &["{}"],                      b"amca"),
    row("user",                   &[],                          b"amcm"),
    row("safety_identifier",      &[],                          b"amca"),
    row("prompt_cache_key",       &[],                          b"amca"),
    row("prompt_cache_options",   &[],                          b"amca"),
    row("prompt_cache_retention", &[],                          b"amca"),
    row("moderation",             &[],                          b"aaca"),
    row("background",             &["false"],                   b"rrrr"),
    row("previous_response_id",   &[],                          b"rrrr"),
    row("conversation",           &[],                          b"rrrr"),
    row("prompt",                 &[],                          b"rrrr"),
];
