//! The fields of Anthropic's messages.

use super::row::{Row, row};

/// A stop string of blanks alone is refused there.
pub(crate) fn is_blank(stop: &str) -> bool {
    stop.trim().is_empty()
}

/// OpenAI's word for how hard to think, as this wire has it; `none` is no effort to name.
pub(crate) fn anthropic_effort(word: &str) -> Option<&str> {
    match word {
        "minimal" => Some("low"),
        "low" | "medium" | "high" | "xhigh" | "max" => Some(word),
        _ => None,
    }
}

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    //                                                           worker, compatible, OpenAI, Anthropic
    row("model",                  &[],                             b"mmmm"),
    row("messages",               &[],                             b"mmmm"),
    row("system",                 &[],                             b"mmmc"),
    row("stream",                 &[],                             b"mmmm"),
    row("max_tokens",             &[],                             b"mmmm"),
    row("temperature",            &[],                             b"cccc"),
    row("top_p",                  &[],                             b"cccc"),
    row("top_k",                  &[],                             b"ccac"),
    row("stop_sequences",         &["[]"],                         b"mmmc"),
    row("tools",                  &["[]"],                         b"mmmc"),
    row("tool_choice",            &[],                             b"mmmc"),
    row("output_config.format",   &[],                             b"mmmc"),
    row("output_config.effort",   &[],                             b"ammc"),
    row("output_format",          &[],                             b"mmmc"),
    row("thinking",               &[r#"{"type":"disabled"}"#],     b"aaam"),
    row("metadata",               &["{}"],                         b"ammc"),
    row("service_tier",           &["\"auto\""],                   b"aaac"),
    row("cache_control",          &[],                             b"aaac"),
    row("container",              &[],                             b"rrrc"),
    row("mcp_servers",            &["[]"],                         b"rrrc"),
    // Refused when it is read, since nobody keeps threads here.
    row("thread",                 &[],                             b"rrrr"),
    // Where the provider may compute: a promise that nobody else can keep, unless it is anywhere.
    row("inference_geo",          &["\"global\""],                 b"rrrc"),
    row("context_management",     &[],                             b"aaac"),
    row("compaction",             &[],                             b"aaac"),
    row("speed",                  &["\"standard\""],               b"aaac"),
    row("diagnostics",            &[],                             b"aaac"),
    row("fallbacks",              &["[]"],                         b"aaac"),
    row("billing_policy",         &[],                             b"aaac"),
    row("fallback_credit_token",  &[],                             b"aaac"),
    row("user_profile_id",        &[],                             b"aaac"),
    row("workspace_id",           &[],                             b"aaac"),
];
