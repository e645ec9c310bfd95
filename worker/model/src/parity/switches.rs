//! Every switch of a spec, and how it is turned off.

use crate::rope::{Rope, RopeScaling, Yarn};
use crate::spec::{
    Activation, AttentionSpec, Biases, DecoderSpec, LayerSpec, Multipliers, NormSpec,
};

type Switch = (&'static str, fn(&mut DecoderSpec));

pub(super) const SWITCHES: &[Switch] = &[
    ("windows", |spec| {
        spec.layers.iter_mut().for_each(|layer| layer.window = None)
    }),
    ("a window of that length", |spec| {
        spec.layers
            .iter_mut()
            .for_each(|layer| layer.window = layer.window.map(|window| window + 1));
    }),
    ("windows on some layers only", |spec| {
        let window = spec.layers.iter().find_map(|layer| layer.window);
        spec.layers
            .iter_mut()
            .for_each(|layer| layer.window = window);
    }),
    ("layers without rope", |spec| {
        spec.layers
            .iter_mut()
            .for_each(|layer| layer.rope = layer.rope.or(Some(0)));
    }),
    ("no rope in any layer", |spec| {
        if spec.layers.iter().all(|layer| layer.rope.is_none()) {
            spec.layers
                .iter_mut()
                .for_each(|layer| layer.rope = Some(0));
        }
    }),
    ("a rope of its own for layers with a window", |spec| {
        spec.layers
            .iter_mut()
            .for_each(|layer| layer.rope = layer.rope.map(|_| 0));
    }),
    ("the base of the rope", |spec| {
        ropes(spec, |rope| rope.base *= 1.5)
    }),
    ("linear scaling", |spec| {
        unscaled(spec, |scaling| {
            matches!(scaling, RopeScaling::Linear { .. })
        })
    }),
    ("llama3 scaling", |spec| {
        unscaled(spec, |scaling| {
            matches!(scaling, RopeScaling::Llama3 { .. })
        })
    }),
    ("yarn", |spec| {
        unscaled(spec, |scaling| matches!(scaling, RopeScaling::Yarn(_)))
    }),
    ("longrope", |spec| {
        unscaled(spec, |scaling| matches!(scaling, RopeScaling::Long { .. }))
    }),
    ("yarn's bounds", |spec| {
        yarns(spec, |yarn| (yarn.fast, yarn.slow) = (32.0, 1.0));
    }),
    ("yarn's whole dimensions", |spec| {
        yarns(spec, |yarn| yarn.whole = !yarn.whole)
    }),
    ("yarn's magnitude", |spec| {
        yarns(spec, |yarn| yarn.magnitude = 1.0)
    }),
    ("longrope's magnitude", |spec| {
        ropes(spec, |rope| {
            if let RopeScaling::Long { magnitude, .. } = &mut rope.scaling {
                *magnitude = 1.0;
            }
        });
    }),
    ("a part of the head that does not turn", |spec| {
        let head_dim = spec.head_dim;
        ropes(spec, |rope| {
            rope.dim = head_dim;
            if let RopeScaling::Long { factors, .. } = &mut rope.scaling {
                factors.resize(head_dim / 2, 1.0);
            }
        });
    }),
    ("norms of weight plus one", |spec| {
        spec.norm.plus_one = false
    }),
    ("norms after attention and feed-forward", |spec| {
        spec.norm.after = false
    }),
    ("the epsilon of norms", |spec| spec.norm.epsilon *= 1e4),
    ("the scale of attention", |spec| {
        spec.attention.scale = (spec.head_dim as f32).powf(-0.5)
    }),
    ("the cap of attention", |spec| spec.attention.cap = None),
    ("norms of heads", |spec| spec.attention.head_norm = false),
    ("gelu", |spec| spec.activation = Activation::Silu),
    ("silu", |spec| spec.activation = Activation::GeluTanh),
    ("biases of queries, keys and values", |spec| {
        spec.biases.inputs = false
    }),
    ("biases of the output", |spec| spec.biases.output = false),
    ("biases of the feed-forward layers", |spec| {
        spec.biases.feed_forward = false
    }),
    ("the multiplier of embeddings", |spec| {
        spec.multipliers.embedding = 1.0
    }),
    ("the multiplier of residuals", |spec| {
        spec.multipliers.residual = 1.0
    }),
    ("the divisor of logits", |spec| {
        spec.multipliers.logit_divisor = 1.0
    }),
    ("the cap of logits", |spec| spec.logit_cap = None),
    ("a head of its own", |spec| spec.tied_head = true),
];

/// A new field of a spec does not compile here until it is named, and has its switch above.
///
/// Sizes have none, since files with other tensors do not load; nor do a tied head and the layouts
/// with fused tensors, whose files lack what the opposite would read.
pub(super) fn every_field_is_known(spec: &DecoderSpec) {
    let DecoderSpec {
        architecture: _,
        hidden: _,
        intermediate: _,
        heads: _,
        kv_heads: _,
        head_dim: _,
        vocabulary: _,
        layers,
        ropes,
        norm,
        attention,
        activation: Activation::Silu | Activation::GeluTanh,
        biases,
        multipliers,
        logit_cap: _,
        tied_head: _,
        context_tokens: _,
    } = spec;
    for LayerSpec { window: _, rope: _ } in layers {}
    for Rope {
        base: _,
        dim: _,
        scaling: _,
    } in ropes
    {}
    let NormSpec {
        epsilon: _,
        plus_one: _,
        after: _,
    } = norm;
    let AttentionSpec {
        scale: _,
        cap: _,
        head_norm: _,
    } = attention;
    let Biases {
        inputs: _,
        output: _,
        feed_forward: _,
    } = biases;
    let Multipliers {
        embedding: _,
        residual: _,
        logit_divisor: _,
    } = multipliers;
}

fn ropes(spec: &mut DecoderSpec, change: impl FnMut(&mut Rope)) {
    spec.ropes.iter_mut().for_each(change);
}

fn unscaled(spec: &mut DecoderSpec, is_meant: impl Fn(&RopeScaling) -> bool) {
    ropes(spec, |rope| {
        if is_meant(&rope.scaling) {
            rope.scaling = RopeScaling::None;
        }
    });
}

fn yarns(spec: &mut DecoderSpec, change: impl Fn(&mut Yarn)) {
    ropes(spec, |rope| {
        if let RopeScaling::Yarn(yarn) = &mut rope.scaling {
            change(yarn);
        }
    });
}
