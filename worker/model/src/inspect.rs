//! What a model is and what it would take, told from its config and the heads of its files.

use std::path::Path;

use crate::LoadError;
use crate::groups::{BLOCK_TOKENS, Extent, Group, STEP_TOKENS};
use crate::kv::{KeyValueType, KvKind, Shape};
use crate::layers::sizes;
use crate::open::open;
use crate::quantization::Quantization;
use crate::rope::{Rope, RopeScaling};
use crate::spec::{Activation, DecoderSpec};
use crate::weights::Source;

/// A model that nobody has loaded.
#[derive(Clone, Debug, PartialEq)]
pub struct Inspection {
    /// The family, as `Llama`.
    pub architecture: String,
    /// Numbers in its matrices; norms and biases are a thousandth of that.
    pub parameters: u64,
    /// How many tensors its files hold, and what they take.
    pub tensors: usize,
    pub file_bytes: u64,
    /// The longest sequence that it was made for.
    pub context_tokens: u32,
    /// What the forward pass does beyond the plainest: a name, and how.
    pub switches: Vec<(&'static str, String)>,
    /// What the weights would take in memory, by how they are served.
    pub weight_bytes: Vec<(Quantization, u64)>,
    /// What the keys and values of one context of that length would take at a time, by how they are
    /// stored.
    pub context_bytes: Vec<(KeyValueType, u64)>,
}

impl Inspection {
    /// Reads no weight, but looks whether each is there in its shape.
    ///
    /// # Errors
    /// Names the file, key or tensor that is missing or that cannot be served.
    pub fn of(path: &Path) -> Result<Self, LoadError> {
        let opened = open(path, None)?;
        let spec = &opened.spec;
        let file_bytes = opened.source.weight_bytes();
        let choices = match &opened.source {
            Source::Hub(_) => vec![Quantization::None, Quantization::Q8, Quantization::Q4],
            // Such a file keeps its own types.
            Source::Gguf(_) => vec![Quantization::None],
        };
        let kinds = [
            (KeyValueType::F32, KvKind::F32),
            (KeyValueType::Bf16, KvKind::Bf16),
            (KeyValueType::F16, KvKind::F16),
            (KeyValueType::Fp8, KvKind::Fp8),
        ];
        let model = (spec, opened.layout, &opened.source);
        let sizes = |choice: Quantization| {
            let made = sizes(model, choice.rounding(), true)?;
            Ok((choice, made.bytes))
        };
        let weight_bytes = choices.into_iter().map(sizes);
        let weight_bytes = weight_bytes.collect::<Result<_, LoadError>>()?;
        Ok(Self {
            architecture: spec.architecture.to_owned(),
            parameters: spec
                .projection_numbers()
                .saturating_add(spec.vocabulary_numbers()),
            tensors: opened.source.count(),
            file_bytes,
            context_tokens: spec.context_tokens,
            switches: switches(spec),
            weight_bytes,
            context_bytes: kinds
                .map(|(name, kind)| (name, context_bytes(spec, kind)))
                .to_vec(),
        })
    }
}

/// What a worker holds of a sequence as long as the context.
fn context_bytes(spec: &DecoderSpec, kind: KvKind) -> u64 {
    let shape = Shape::new(spec, kind);
    let extent = Extent {
        longest: spec.context_tokens as usize,
        back_to: None,
    };
    let blocks = shape.layout(BLOCK_TOKENS).most(extent, STEP_TOKENS);
    let bytes = shape.block_bytes(BLOCK_TOKENS);
    let of = |group| (*blocks.of(group) as u64).saturating_mul(*bytes.of(group) as u64);
    of(Group::Global).saturating_add(of(Group::Windowed))
}

fn switches(spec: &DecoderSpec) -> Vec<(&'static str, String)> {
    let shape = format!(
        "{} layers of {}, {} inside, {} heads of {} over {} of keys and values, {} tokens",
        spec.layers.len(),
        spec.hidden,
        spec.intermediate,
        spec.heads,
        spec.head_dim,
        spec.kv_heads,
        spec.vocabulary
    );
    let ropes: Vec<String> = spec.ropes.iter().map(rope).collect();
    let always = [("shape", shape), ("rope", ropes.join("; with a window: "))];
    let others = [layers(spec), norms_and_attention(spec), around(spec)];
    let on = others.into_iter().flatten().filter(|switch| switch.0);
    always
        .into_iter()
        .chain(on.map(|(_, name, how)| (name, how)))
        .collect()
}

/// Whether it is on, its name, and how it is on.
type Switch = (bool, &'static str, String);

fn layers(spec: &DecoderSpec) -> Vec<Switch> {
    let windows: Vec<usize> = spec
        .layers
        .iter()
        .filter_map(|layer| layer.window)
        .collect();
    let window = windows.first().copied().unwrap_or_default();
    let how = format!("{window} tokens on {} of the layers", windows.len());
    let still = spec
        .layers
        .iter()
        .filter(|layer| layer.rope.is_none())
        .count();
    vec![
        (window > 0, "window", how),
        (still > 0, "layers without rope", still.to_string()),
    ]
}

fn norms_and_attention(spec: &DecoderSpec) -> Vec<Switch> {
    let attention = spec.attention;
    let usual = (spec.head_dim as f32).powf(-0.5);
    let cap = attention.cap.unwrap_or_default().to_string();
    vec![
        (spec.norm.plus_one, "norms", "weight plus one".to_owned()),
        (
            spec.norm.after,
            "norms after",
            "attention and feed-forward".to_owned(),
        ),
        (
            attention.head_norm,
            "norms of heads",
            "queries and keys".to_owned(),
        ),
        (
            attention.scale != usual,
            "attention scale",
            attention.scale.to_string(),
        ),
        (attention.cap.is_some(), "attention cap", cap),
    ]
}

fn around(spec: &DecoderSpec) -> Vec<Switch> {
    let biases = [
        (spec.biases.inputs, "queries, keys and values"),
        (spec.biases.output, "output"),
        (spec.biases.feed_forward, "feed-forward"),
    ];
    let biased: Vec<&str> = biases
        .iter()
        .filter(|bias| bias.0)
        .map(|bias| bias.1)
        .collect();
    let is_gelu = spec.activation == Activation::GeluTanh;
    let cap = spec.logit_cap.unwrap_or_default().to_string();
    let multiplier = |name, by: f32| (by != 1.0, name, by.to_string());
    vec![
        (is_gelu, "activation", "gelu by tanh".to_owned()),
        (!biased.is_empty(), "biases", biased.join(", ")),
        multiplier("embedding multiplier", spec.multipliers.embedding),
        multiplier("residual multiplier", spec.multipliers.residual),
        multiplier("logit divisor", spec.multipliers.logit_divisor),
        (spec.logit_cap.is_some(), "logit cap", cap),
        (spec.tied_head, "head", "the embedding".to_owned()),
    ]
}

fn rope(rope: &Rope) -> String {
    let scaling = match &rope.scaling {
        RopeScaling::None => String::new(),
        RopeScaling::Linear { factor } => format!(", linear by {factor}"),
        RopeScaling::Llama3 { factor, .. } => format!(", llama3 by {factor}"),
        RopeScaling::Yarn(yarn) => format!(", yarn by {}", yarn.factor),
        RopeScaling::Long { .. } => ", a factor for each pair".to_owned(),
    };
    format!("{} dimensions, base {}{scaling}", rope.dim, rope.base)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture(name: &str) -> Inspection {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        Inspection::of(&folder.join(name)).unwrap()
    }

    #[test]
    fn a_file_that_nobody_loads_tells_its_switches_and_what_it_takes() {
        let found = fixture("gguf/gemma3.gguf");
        assert_eq!(
            (found.architecture.as_str(), found.context_tokens),
            ("Gemma3", 128)
        );
        let names: Vec<&str> = found.switches.iter().map(|switch| switch.0).collect();
        for name in [
            "window",
            "norms after",
            "norms of heads",
            "activation",
            "head",
        ] {
            assert!(names.contains(&name), "{name} is missing of {names:?}");
        }
        assert_eq!(found.weight_bytes, [(Quantization::None, found.file_bytes)]);
        // Keys and values of one head of sixteen: as many blocks as the context has.
        let block = 16 * 2 * 16 * 4;
        assert_eq!(found.context_bytes[0], (KeyValueType::F32, 2 * 8 * block));
        // A byte for each number, and one for each key and value.
        let block = 16 * 2 * (16 + 1);
        assert_eq!(found.context_bytes[3], (KeyValueType::Fp8, 2 * 8 * block));
    }
}
