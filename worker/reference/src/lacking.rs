//! What candle's own models leave out or do otherwise, told from the config alone.
//!
//! Each is something that its code was read for, and that a test in `tests/families` shows: with it
//! the logits differ, and without it they agree.

use crate::config::Config;
use crate::families::Family;

/// What candle's model of the family does not do that this config asks of sequences of so many
/// tokens, each as the end of a sentence about it.
pub(crate) fn lacking(family: Family, config: &Config, tokens: usize) -> Vec<String> {
    let found = [
        heads(family, config),
        activation(family, config),
        rope(family, config),
        window(family, config, tokens),
        attention_scale(family, config),
        turning(family, config),
        pattern(family, config),
    ];
    let multipliers = multipliers(family, config);
    found.into_iter().flatten().chain(multipliers).collect()
}

/// Heads that are not a share of the hidden size.
fn heads(family: Family, config: &Config) -> Option<String> {
    let shares = matches!(
        family,
        Family::Llama
            | Family::Granite
            | Family::GraniteOfHybrids
            | Family::Qwen2
            | Family::Phi3
            | Family::SmolLm3
    );
    let dim = config.size("head_dim").filter(|_| shares)?;
    let share = config.size("hidden_size")? / config.size("num_attention_heads")?.max(1);
    (dim != share).then(|| format!("has heads of {share}, not of {dim}"))
}

fn activation(family: Family, config: &Config) -> Option<String> {
    let is_fixed = matches!(
        family,
        Family::Llama | Family::Granite | Family::GraniteOfHybrids
    );
    let asked = config.activation(candle_nn::Activation::Silu);
    (is_fixed && asked != candle_nn::Activation::Silu)
        .then(|| "opens every gate with silu".to_owned())
}

fn rope(family: Family, config: &Config) -> Option<String> {
    let kinds: &[&str] = match family {
        Family::Gemma3 => &["full_attention", "sliding_attention"],
        _ => &["all"],
    };
    let known: &[&str] = match family {
        Family::Llama => &["default", "llama3"],
        _ => &["default"],
    };
    let mut asked = kinds.iter().filter_map(|of| {
        // The table that says nothing of kinds is that of layers without a window.
        let is_local = *of == "sliding_attention" && !config.has_a_rope_for(of);
        (!is_local).then(|| config.rope(family.theta(), Some(of)).kind)
    });
    let unknown = asked.find(|kind| !known.contains(&kind.as_str()))?;
    Some(match unknown.as_str() {
        "longrope" | "su" => "multiplies by the factors of longrope and does not scale".to_owned(),
        kind => format!("does not scale its rope ({kind})"),
    })
}

/// Token by token candle has no mask, and of all families only Gemma 3 forgets.
fn window(family: Family, config: &Config, tokens: usize) -> Option<String> {
    let window = match family {
        Family::Llama | Family::Granite | Family::GraniteOfHybrids | Family::Gemma3 => None,
        Family::Mistral | Family::Gemma2 => config.size_unless_null("sliding_window", 4096),
        Family::Phi3 => config.size("sliding_window"),
        Family::Qwen2 | Family::Qwen3 | Family::SmolLm3 => config
            .size_unless_null("sliding_window", 4096)
            .filter(|_| config.is_on("use_sliding_window")),
    };
    let window = window.filter(|window| tokens > *window)?;
    Some(format!("keeps no window ({window} tokens, of {tokens})"))
}

fn attention_scale(family: Family, config: &Config) -> Option<String> {
    if !matches!(family, Family::Gemma2 | Family::Gemma3) {
        return None;
    }
    let dim = config.size("head_dim").unwrap_or(256);
    let scalar = config.number("query_pre_attn_scalar").unwrap_or(256.0);
    (scalar != dim as f64).then(|| format!("scales attention by heads of {dim}, not by {scalar}"))
}

/// Layers without rope, where a switch is for all of them.
fn turning(family: Family, config: &Config) -> Option<String> {
    let is_still = family == Family::GraniteOfHybrids
        && config.text("position_embedding_type") != Some("rope");
    is_still.then(|| "turns every layer".to_owned())
}

/// Layers with a window, where they are listed.
fn pattern(family: Family, config: &Config) -> Option<String> {
    let types = config.layer_types().filter(|_| family == Family::Gemma3)?;
    let every = config.size("sliding_window_pattern").unwrap_or(6);
    let is_usual = types
        .iter()
        .enumerate()
        .all(|(layer, kind)| (*kind == "full_attention") == (layer + 1).is_multiple_of(every));
    (!is_usual).then(|| format!("counts to {every} for a layer without a window"))
}

fn multipliers(family: Family, config: &Config) -> Vec<String> {
    if family != Family::Granite {
        return Vec::new();
    }
    let share = config
        .size("hidden_size")
        .zip(config.size("num_attention_heads"));
    let dim = share.map_or(1.0, |(hidden, heads)| hidden as f64 / heads.max(1) as f64);
    let usual = [
        ("attention_multiplier", dim.powf(-0.5)),
        ("embedding_multiplier", 1.0),
        ("logits_scaling", 1.0),
        ("residual_multiplier", 1.0),
    ];
    let unusual = usual.into_iter().filter(|(key, usual)| {
        let asked = config.number(key).unwrap_or(1.0);
        (asked - usual).abs() > 1e-6 * usual
    });
    unusual
        .map(|(key, _)| format!("leaves out {key}"))
        .collect()
}
