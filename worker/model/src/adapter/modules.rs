//! The linear modules of a model that an adapter may add to, under the names that PEFT gives them.

use crate::layers::{FeedForwardTensors, Layout};
use crate::spec::DecoderSpec;

/// A product of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Projection {
    Query,
    Key,
    Value,
    Output,
    Gate,
    Up,
    Down,
}

impl Projection {
    pub(crate) const COUNT: usize = 7;
}

/// One module as files name it. The text model within one for images has another name in every
/// version.
#[derive(Clone, Debug)]
pub(super) struct Module {
    pub(super) name: String,
    /// None for the head.
    pub(super) layer: Option<usize>,
    pub(super) inputs: usize,
    /// Products whose outputs lie one below the other.
    pub(super) parts: Vec<Part>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    /// Of no meaning for the head.
    pub(super) projection: Projection,
    pub(super) outputs: usize,
}

impl Module {
    pub(super) fn outputs(&self) -> usize {
        self.parts.iter().map(|part| part.outputs).sum()
    }
}

/// What the names of a model's layers and of its head begin with, beginning with the usual.
pub(super) const MODELS: [(&str, &str); 3] = [
    ("model", "lm_head"),
    ("model.language_model", "lm_head"),
    ("language_model.model", "language_model.lm_head"),
];

/// Every module of a model, as files whose names begin like that call them.
pub(super) fn of(spec: &DecoderSpec, layout: Layout, (model, head): (&str, &str)) -> Vec<Module> {
    let mut modules = Vec::new();
    for layer in 0..spec.layers.len() {
        for (name, inputs, parts) in of_layer(spec, layout) {
            modules.push(Module {
                name: format!("{model}.layers.{layer}.{name}"),
                layer: Some(layer),
                inputs,
                parts: parts
                    .into_iter()
                    .map(|(projection, outputs)| Part {
                        projection,
                        outputs,
                    })
                    .collect(),
            });
        }
    }
    modules.push(Module {
        name: head.to_owned(),
        layer: None,
        inputs: spec.hidden,
        parts: vec![Part {
            projection: Projection::Output,
            outputs: spec.vocabulary,
        }],
    });
    modules
}

type Named = (&'static str, usize, Vec<(Projection, usize)>);

fn of_layer(spec: &DecoderSpec, layout: Layout) -> Vec<Named> {
    use Projection::{Down, Gate, Key, Output, Query, Up, Value};
    let (hidden, inner) = (spec.hidden, spec.intermediate);
    let (query, kv) = (spec.query_width(), spec.kv_width());
    let mut named: Vec<Named> = match layout.fused_attention {
        true => vec![(
            "self_attn.qkv_proj",
            hidden,
            vec![(Query, query), (Key, kv), (Value, kv)],
        )],
        false => vec![
            ("self_attn.q_proj", hidden, vec![(Query, query)]),
            ("self_attn.k_proj", hidden, vec![(Key, kv)]),
            ("self_attn.v_proj", hidden, vec![(Value, kv)]),
        ],
    };
    named.push(("self_attn.o_proj", query, vec![(Output, hidden)]));
    let fused = vec![(Gate, inner), (Up, inner)];
    let down = vec![(Down, hidden)];
    match layout.feed_forward {
        FeedForwardTensors::Apart => named.extend([
            ("mlp.gate_proj", hidden, vec![(Gate, inner)]),
            ("mlp.up_proj", hidden, vec![(Up, inner)]),
            ("mlp.down_proj", inner, down),
        ]),
        FeedForwardTensors::Fused => named.extend([
            ("mlp.gate_up_proj", hidden, fused),
            ("mlp.down_proj", inner, down),
        ]),
        FeedForwardTensors::Shared => named.extend([
            ("shared_mlp.input_linear", hidden, fused),
            ("shared_mlp.output_linear", inner, down),
        ]),
    }
    named
}
