//! Models in folders, in f32 on both sides.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use weir_reference::{Options, Reference, ReferenceError};

use crate::fixture::{Fixture, fixtures};

/// Two orders of summation of the same numbers, in spreads of the logits.
const TOLERANCE: f32 = 1e-4;

/// A fixture, what candle's model of it lacks, and a merge patch of its config that takes nothing
/// but that away.
struct Case {
    fixture: &'static str,
    lacks: &'static [&'static str],
    without: &'static str,
}

const fn agrees(fixture: &'static str) -> Case {
    lacks(fixture, &[], "{}")
}

const fn lacks(
    fixture: &'static str,
    lacks: &'static [&'static str],
    without: &'static str,
) -> Case {
    Case {
        fixture,
        lacks,
        without,
    }
}

const SCALE: &str = "scales attention by heads of 16, not by 20";
const LINEAR: &str = "does not scale its rope (linear)";
const YARN: &str = "does not scale its rope (yarn)";
const LONGROPE: &str = "multiplies by the factors of longrope";
const WINDOW: &str = "keeps no window (12 tokens, of 40)";
const NARROWER: &str = "keeps no window (10 tokens, of 40)";
const GATE: &str = "opens every gate with silu";
const BIASES: &str = "does not take model.layers.0.mlp.down_proj.bias";
const HEAD: &str = "does not take lm_head.weight and 12 others";
const TURNS: &str = "turns every layer";
const PATTERN: &str = "counts to 6 for a layer without a window";
const MULTIPLIERS: &[&str] = &[
    "leaves out attention_multiplier",
    "leaves out embedding_multiplier",
    "leaves out logits_scaling",
    "leaves out residual_multiplier",
];

const NO_BIASES: &str = r#"{"attention_bias": false, "mlp_bias": false}"#;
const NO_WINDOW: &str = r#"{"use_sliding_window": false}"#;
const WIDE_WINDOW: &str = r#"{"sliding_window": 40}"#;
const NO_SCALING: &str = r#"{"rope_scaling": null}"#;
const PLAIN_GEMMA2: &str = r#"{"query_pre_attn_scalar": 16, "sliding_window": 40}"#;
const PLAIN_GEMMA3: &str = r#"{"query_pre_attn_scalar": 16, "rope_scaling": null}"#;
const PLAIN_GEMMA3_WITHIN: &str = r#"{"text_config": {
    "query_pre_attn_scalar": 16, "layer_types": null, "sliding_window_pattern": 2,
    "rope_parameters": {"full_attention": {"rope_type": "default", "factor": null}}
}}"#;
/// A head has twelve dimensions.
const PLAIN_GRANITE: &str = r#"{
    "attention_multiplier": 0.2886751345948129, "embedding_multiplier": 1.0,
    "logits_scaling": 1.0, "residual_multiplier": 1.0,
    "attention_bias": false, "mlp_bias": false
}"#;
const PLAIN_GRANITE_4: &str = r#"{"attention_bias": false, "tie_word_embeddings": true}"#;
const TURNING: &str = r#"{"position_embedding_type": "rope"}"#;
const PLAIN_LLAMA: &str = r#"{"hidden_act": "silu", "rope_parameters": null}"#;

/// Every fixture, but for the one that candle cannot open.
const CASES: &[Case] = &[
    lacks("gemma2", &[SCALE, WINDOW], PLAIN_GEMMA2),
    lacks("gemma2-biased-uncapped", &[SCALE, WINDOW], PLAIN_GEMMA2),
    lacks("gemma3", &[SCALE, LINEAR], PLAIN_GEMMA3),
    lacks(
        "gemma3-in-image-model",
        &[SCALE, LINEAR, PATTERN],
        PLAIN_GEMMA3_WITHIN,
    ),
    lacks("granite", MULTIPLIERS, PLAIN_GRANITE),
    lacks("granite-biased", MULTIPLIERS, PLAIN_GRANITE),
    lacks("granite4", &[HEAD], PLAIN_GRANITE_4),
    lacks("granite4-without-rope", &[TURNS], TURNING),
    agrees("llama"),
    lacks("llama-rope3-biased-tied", &[BIASES], NO_BIASES),
    lacks("llama-yarn-gelu", &[GATE, YARN], PLAIN_LLAMA),
    lacks("llama-yarn-weighted", &[YARN], PLAIN_LLAMA),
    agrees("mistral-in-image-model"),
    lacks("mistral-window", &[WINDOW], WIDE_WINDOW),
    lacks("phi3-long", &[LONGROPE], NO_SCALING),
    lacks("phi3-short", &[LONGROPE], NO_SCALING),
    lacks("phi3-window", &[WINDOW], WIDE_WINDOW),
    lacks("phi4-mini-long-partial", &[LONGROPE], NO_SCALING),
    agrees("qwen2"),
    lacks("qwen2-window", &[WINDOW], NO_WINDOW),
    agrees("qwen3"),
    lacks("qwen3-window-biased", &[NARROWER], NO_WINDOW),
    agrees("smollm3"),
    lacks("smollm3-window-by-interval", &[WINDOW], NO_WINDOW),
];

impl Case {
    fn without(&self) -> Fixture {
        Fixture::new(self.fixture, &serde_json::from_str(self.without).unwrap())
    }
}

/// Its heads are no share of its hidden size, so that candle cannot give its tensors their shapes.
const CANNOT_BE_OPENED: &str = "llama-linear-odd-heads-one-kv";

#[test]
fn every_fixture_is_in_the_table() {
    let folder = fixtures().join("families");
    let kept: BTreeSet<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let mut listed: BTreeSet<String> = CASES.iter().map(|case| case.fixture.to_owned()).collect();
    listed.insert(CANNOT_BE_OPENED.to_owned());
    assert_eq!(kept, listed);
}

#[test]
fn every_family_agrees_with_candles_own_model_where_that_lacks_nothing() {
    let mut wrong = Vec::new();
    for case in CASES {
        match case.without().apart(false) {
            Ok(apart) => {
                println!("{}: apart by {:.1e} spreads", case.fixture, apart.share());
                if !apart.is_within(TOLERANCE) {
                    wrong.push(format!("{}: {apart:?}", case.fixture));
                }
            }
            Err(error) => wrong.push(format!("{}: {error}", case.fixture)),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_candle_lacks_is_named_and_makes_it_differ() {
    let mut wrong = Vec::new();
    for case in CASES.iter().filter(|case| !case.lacks.is_empty()) {
        let name = case.fixture;
        let fixture = Fixture::new(name, &json!({}));
        match fixture.apart(false) {
            Err(error @ ReferenceError::Lacks { .. }) => {
                let said = error.to_string();
                let unsaid = case.lacks.iter().filter(|lack| !said.contains(**lack));
                wrong.extend(unsaid.map(|lack| format!("{name}: no {lack:?} in {said:?}")));
            }
            other => wrong.push(format!("{name} was not refused: {other:?}")),
        }
        let apart = fixture.apart(true).unwrap();
        println!(
            "{name}: apart by {:.1e} spreads for what candle lacks",
            apart.share()
        );
        if apart.is_within(50.0 * TOLERANCE) {
            wrong.push(format!(
                "{name} agrees, and is listed as lacking {:?}",
                case.lacks
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_model_whose_tensors_have_other_shapes_than_candle_thinks_is_refused() {
    let refused = Fixture::new(CANNOT_BE_OPENED, &json!({}))
        .apart(false)
        .unwrap_err();
    assert_eq!(
        refused.to_string(),
        "candle's own Llama model has heads of 18, not of 22; it does not scale its rope (linear)"
    );
}

#[test]
fn a_window_is_no_matter_where_nothing_reaches_beyond_it() {
    let mut fixture = Fixture::new("phi3-window", &json!({}));
    fixture.tokens.truncate(12);
    assert!(fixture.apart(false).unwrap().is_within(TOLERANCE));
    fixture.tokens.push(1);
    assert!(fixture.apart(false).is_err());
}

#[test]
fn a_family_that_candle_does_not_have_is_named() {
    let patch = json!({"architectures": ["OlmoForCausalLM"]});
    let fixture = Fixture::new("llama", &patch);
    let refused = Reference::open(fixture.path(), &Options::new(1)).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "candle's own models do not have OlmoForCausalLM in folders"
    );
}

#[test]
fn a_sequence_is_the_same_at_once_after_another_and_one_by_one() {
    for name in [
        "llama",
        "qwen2",
        "qwen3",
        "smollm3",
        "mistral-in-image-model",
    ] {
        let fixture = Fixture::new(name, &json!({}));
        let options = Options::new(fixture.tokens.len());
        let mut reference = Reference::open(fixture.path(), &options).unwrap();
        let last = reference.follow(&fixture.tokens).unwrap().pop().unwrap();
        reference.clear().unwrap();
        let at_once = reference.read(&fixture.tokens).unwrap();
        let apart = last
            .iter()
            .zip(&at_once)
            .map(|(one, other)| (one - other).abs());
        // A NaN is as far as can be.
        let most = apart.fold(0.0, |most, apart| if apart <= most { most } else { apart });
        assert!(most < 1e-3, "{name}: {most}");
    }
}

#[test]
fn the_likeliest_tokens_are_those_that_hugging_face_writes() {
    let kept = fixtures().join("families/qwen3/reference.json");
    let kept: Value = serde_json::from_slice(&std::fs::read(kept).unwrap()).unwrap();
    let greedy: Vec<u32> = serde_json::from_value(kept["greedy"].clone()).unwrap();
    let fixture = Fixture::new("qwen3", &json!({}));
    let options = Options::new(fixture.tokens.len() + greedy.len());
    let mut reference = Reference::open(fixture.path(), &options).unwrap();
    assert_eq!(
        reference.greedy(&fixture.tokens, greedy.len()).unwrap(),
        greedy
    );
}
