//! The configs of the models that are promised, key for key, each of which is served.
//!
//! `tests/fixtures/real-configs.json` has their keys and values. `seen` says `whole` where a public
//! copy of the file showed all of its keys; sizes that a copy had made smaller for a test, and all
//! of what is marked `parts`, are put together from what is published of the model. Of pictures'
//! parts, and of Phi-3.5's factors, only the kind is there; of the state spaces that Granite 4's
//! dense models do not have, what the class has.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::decoder_spec;
use crate::rope::RopeScaling;
use crate::spec::DecoderSpec;

#[derive(Deserialize)]
struct Real {
    model: String,
    seen: Seen,
    means: Meaning,
    config: Map<String, Value>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Seen {
    Whole,
    Parts,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
struct Meaning {
    layers: usize,
    head_dim: usize,
    kv_heads: usize,
    /// Layers with a window.
    windowed: usize,
    rope: String,
    /// Dimensions of a head that turn.
    turning: usize,
    tied: bool,
}

impl Meaning {
    fn of(spec: &DecoderSpec) -> Self {
        let rope = match &spec.ropes[0].scaling {
            RopeScaling::None => "none",
            RopeScaling::Linear { .. } => "linear",
            RopeScaling::Llama3 { .. } => "llama3",
            RopeScaling::Yarn(_) => "yarn",
            RopeScaling::Long { .. } => "longrope",
        };
        Self {
            layers: spec.layers.len(),
            head_dim: spec.head_dim,
            kv_heads: spec.kv_heads,
            windowed: spec
                .layers
                .iter()
                .filter(|layer| layer.window.is_some())
                .count(),
            rope: rope.to_owned(),
            turning: spec.ropes[0].dim,
            tied: spec.tied_head,
        }
    }
}

fn all() -> Vec<Real> {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/real-configs.json"
    );
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn the_config_of_every_promised_model_is_served_and_means_what_its_makers_say() {
    let mut wrong = Vec::new();
    let configs = all();
    for Real {
        model,
        means,
        config,
        ..
    } in &configs
    {
        match decoder_spec(config, None) {
            Err(error) => wrong.push(format!("{model}: {error}")),
            Ok((spec, _)) if Meaning::of(&spec) != *means => {
                wrong.push(format!(
                    "{model}: {:?} instead of {means:?}",
                    Meaning::of(&spec)
                ));
            }
            Ok(_) => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let whole = configs.iter().filter(|real| real.seen == Seen::Whole);
    assert!(configs.len() >= 40 && whole.count() >= 17, "some are gone");
}

#[test]
fn what_such_files_carry_along_is_served_at_the_value_that_changes_nothing_only() {
    for (model, key, value) in [
        ("Phi-4-mini-instruct", "full_attn_mod", json!(2)),
        ("Phi-4-mini-instruct", "interpolate_factor", json!(2)),
        ("Phi-4-mini-instruct", "lm_head_bias", json!(true)),
        ("Qwen2.5-0.5B", "use_mrope", json!(true)),
        ("gemma-2-9b", "sliding_window_size", json!(2048)),
    ] {
        let mut config = all()
            .into_iter()
            .find(|real| real.model == model)
            .unwrap()
            .config;
        config[key] = value;
        let refused = decoder_spec(&config, None).unwrap_err().to_string();
        assert!(refused.contains(&format!("`{key}`")), "{model}: {refused}");
    }
}

#[test]
fn smollm3_with_windows_says_nothing_of_the_layers_from_which_they_begin() {
    let smollm3 = all().into_iter().find(|real| real.model == "SmolLM3-3B");
    let mut config = smollm3.unwrap().config;
    config["use_sliding_window"] = json!(true);
    config["sliding_window"] = json!(4096);
    let refused = decoder_spec(&config, None).unwrap_err().to_string();
    assert!(refused.contains("`max_window_layers` is 28"), "{refused}");
}
