//! Finds a decoder's weights under the names that Hugging Face gives them.

use crate::LoadError;
use crate::decoder::Decoder;
use crate::found::Found;
use crate::spec::DecoderSpec;
use crate::weight::Weight;
use crate::weights::{Made, Rounding, Source as Files, Weights};

/// How a family's files lay out what every decoder has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Queries, keys and values are one tensor, in this order.
    pub(crate) fused_attention: bool,
    pub(crate) feed_forward: FeedForwardTensors,
    /// The text model lies within one for images.
    pub(crate) is_wrapped: bool,
}

/// What the matrices of a feed-forward half are called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum FeedForwardTensors {
    #[default]
    Apart,
    /// Gate and up are one tensor, in this order.
    Fused,
    /// The same, named as the expert that every token meets.
    Shared,
}

#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) attention: Attention,
    pub(crate) feed_forward: FeedForward,
}

#[derive(Debug)]
pub(crate) struct Attention {
    pub(crate) norm: Vec<f32>,
    pub(crate) query: Linear,
    pub(crate) key: Linear,
    pub(crate) value: Linear,
    /// Of each head of queries, and of keys.
    pub(crate) head_norms: Option<[Vec<f32>; 2]>,
    pub(crate) output: Linear,
    pub(crate) norm_after: Option<Vec<f32>>,
}

#[derive(Debug)]
pub(crate) struct FeedForward {
    pub(crate) norm: Vec<f32>,
    pub(crate) gate: Linear,
    pub(crate) up: Linear,
    pub(crate) down: Linear,
    pub(crate) norm_after: Option<Vec<f32>>,
}

#[derive(Debug)]
pub(crate) struct Linear {
    pub(crate) weight: Weight,
    pub(crate) bias: Option<Vec<f32>>,
}

/// Where the text model and its head are, in files of a model for images: as their makers wrote
/// them, and as transformers has written them since.
const WRAPPED: [(&str, &str); 2] = [
    ("language_model.model.", "language_model.lm_head"),
    ("model.language_model.", "lm_head"),
];

/// What sees images, which a text model leaves alone.
const SEEING: [&str; 4] = [
    "vision_tower.",
    "multi_modal_projector.",
    "model.vision_tower.",
    "model.multi_modal_projector.",
];

/// Whether a tensor of that name belongs to what sees images.
pub(crate) fn sees(name: &str) -> bool {
    SEEING.iter().any(|seeing| name.starts_with(seeing))
}

/// Takes every weight of the decoder; afterwards only tensors that belong to nothing are left.
pub(crate) fn decoder(
    spec: DecoderSpec,
    layout: Layout,
    weights: &mut Weights<'_>,
) -> Result<Decoder, LoadError> {
    let (model, head_name) = names(layout, weights);
    let (hidden, vocabulary) = (spec.hidden, spec.vocabulary);
    let embedding_name = format!("{model}embed_tokens.weight");
    let found = weights.take(&embedding_name, &[vocabulary, hidden])?;
    let head_name = format!("{head_name}.weight");
    if spec.tied_head {
        // Some files hold the tied head a second time.
        weights.skip_second(&head_name, &found)?;
    }
    let embedding = weights.vocabulary(found)?;
    let mut layers = Vec::with_capacity(spec.layers.len().min(1024));
    for index in 0..spec.layers.len() {
        let prefix = format!("{model}layers.{index}.");
        let mut source = Source {
            spec: &spec,
            layout,
            prefix,
            weights,
        };
        layers.push(source.layer()?);
    }
    let mut source = Source {
        spec: &spec,
        layout,
        prefix: model.to_owned(),
        weights,
    };
    let norm = source.norm("norm", hidden)?;
    let head = match spec.tied_head {
        true => None,
        false => {
            let found = weights.take(&head_name, &[vocabulary, hidden])?;
            Some(weights.vocabulary(found)?)
        }
    };
    if layout.is_wrapped {
        weights.skip_all(sees);
    }
    Ok(Decoder {
        frequencies: spec.ropes.iter().map(|rope| rope.frequencies()).collect(),
        spec,
        embedding,
        layers,
        norm,
        head,
    })
}

/// What weights of these sizes would take, once every tensor is found with the shape that it should
/// have. Reads none of them.
///
/// # Errors
/// Names the tensor that is missing, that is not as it should be, or, where all must have a place,
/// that has none.
pub(crate) fn sizes(
    (spec, layout, source): (&DecoderSpec, Layout, &Files),
    rounding: Rounding,
    must_be_whole: bool,
) -> Result<Made, LoadError> {
    let mut weights = Weights::sizes(source.clone(), rounding, must_be_whole);
    decoder(spec.clone(), layout, &mut weights)?;
    weights.finish()
}

/// What the names of the model's tensors begin with, and the name of the head.
fn names(layout: Layout, weights: &Weights<'_>) -> (&'static str, &'static str) {
    let is_there = |model: &str| weights.has(&format!("{model}embed_tokens.weight"));
    let wrapped = WRAPPED.into_iter().find(|(model, _)| is_there(model));
    match wrapped {
        Some(names) if layout.is_wrapped => names,
        // Models for embeddings are often written without what a head would be put on.
        _ if is_there("") && !is_there("model.") => ("", "lm_head"),
        _ => ("model.", "lm_head"),
    }
}

/// Where one layer's tensors come from.
struct Source<'a, 'b> {
    spec: &'a DecoderSpec,
    layout: Layout,
    /// What the names of its tensors begin with, a dot at the end where that is anything.
    prefix: String,
    weights: &'a mut Weights<'b>,
}

impl Source<'_, '_> {
    fn layer(&mut self) -> Result<Layer, LoadError> {
        // Old files keep the angles, which follow from the config.
        let old = format!("{}self_attn.rotary_emb.inv_freq", self.prefix);
        self.weights.skip(&old);
        Ok(Layer {
            attention: self.attention()?,
            feed_forward: self.feed_forward()?,
        })
    }

    fn attention(&mut self) -> Result<Attention, LoadError> {
        let spec = self.spec;
        let (hidden, query, kv) = (spec.hidden, spec.query_width(), spec.kv_width());
        let names = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"];
        let widths = [query, kv, kv];
        let [query_in, key, value] = match self.layout.fused_attention {
            true => self.fused("self_attn.qkv_proj", widths, spec.biases.inputs)?,
            false => self.apart(names, widths, spec.biases.inputs)?,
        };
        let head_norms = match spec.attention.head_norm {
            true => Some([
                self.norm("self_attn.q_norm", spec.head_dim)?,
                self.norm("self_attn.k_norm", spec.head_dim)?,
            ]),
            false => None,
        };
        Ok(Attention {
            norm: self.norm("input_layernorm", hidden)?,
            query: query_in,
            key,
            value,
            head_norms,
            output: self.linear("self_attn.o_proj", [hidden, query], spec.biases.output)?,
            norm_after: match spec.norm.after {
                true => Some(self.norm("post_attention_layernorm", hidden)?),
                false => None,
            },
        })
    }

    fn feed_forward(&mut self) -> Result<FeedForward, LoadError> {
        let spec = self.spec;
        let (hidden, inner, biased) = (spec.hidden, spec.intermediate, spec.biases.feed_forward);
        let inputs = [inner; 2];
        let ([gate, up], down) = match self.layout.feed_forward {
            FeedForwardTensors::Apart => (
                self.apart(["mlp.gate_proj", "mlp.up_proj"], inputs, biased)?,
                "mlp.down_proj",
            ),
            FeedForwardTensors::Fused => (
                self.fused("mlp.gate_up_proj", inputs, biased)?,
                "mlp.down_proj",
            ),
            FeedForwardTensors::Shared => (
                self.fused("shared_mlp.input_linear", inputs, biased)?,
                "shared_mlp.output_linear",
            ),
        };
        let (before, after) = match spec.norm.after {
            true => (
                "pre_feedforward_layernorm",
                Some("post_feedforward_layernorm"),
            ),
            false => ("post_attention_layernorm", None),
        };
        Ok(FeedForward {
            norm: self.norm(before, hidden)?,
            gate,
            up,
            down: self.linear(down, [hidden, inner], biased)?,
            norm_after: after.map(|name| self.norm(name, hidden)).transpose()?,
        })
    }

    fn norm(&mut self, name: &str, width: usize) -> Result<Vec<f32>, LoadError> {
        let mut norm = self.vector(name, "weight", width)?;
        if self.spec.norm.plus_one {
            norm.iter_mut().for_each(|weight| *weight += 1.0);
        }
        Ok(norm)
    }

    fn linear(&mut self, name: &str, shape: [usize; 2], biased: bool) -> Result<Linear, LoadError> {
        let found = self.found(name, shape)?;
        Ok(Linear {
            weight: self.weights.projection(found)?,
            bias: self.bias(name, shape[0], biased)?,
        })
    }

    fn bias(
        &mut self,
        name: &str,
        width: usize,
        biased: bool,
    ) -> Result<Option<Vec<f32>>, LoadError> {
        biased.then(|| self.vector(name, "bias", width)).transpose()
    }

    /// Projections of the stream that have a tensor each.
    fn apart<const N: usize>(
        &mut self,
        names: [&str; N],
        widths: [usize; N],
        biased: bool,
    ) -> Result<[Linear; N], LoadError> {
        let hidden = self.spec.hidden;
        let mut linears = Vec::with_capacity(N);
        for (name, width) in names.into_iter().zip(widths) {
            linears.push(self.linear(name, [width, hidden], biased)?);
        }
        Ok(linears.try_into().expect("there is one for each name"))
    }

    /// Projections of the stream that lie one below the other in one tensor.
    fn fused<const N: usize>(
        &mut self,
        name: &str,
        widths: [usize; N],
        biased: bool,
    ) -> Result<[Linear; N], LoadError> {
        let width = widths.iter().sum();
        let all = self.found(name, [width, self.spec.hidden])?;
        let bias = self.bias(name, width, biased)?;
        let mut linears = Vec::with_capacity(N);
        let mut first = 0;
        for width in widths {
            let rows = first..first + width;
            first += width;
            linears.push(Linear {
                weight: self.weights.projection(all.rows(rows.clone()))?,
                bias: bias.as_ref().map(|bias| bias[rows].to_vec()),
            });
        }
        Ok(linears.try_into().expect("there is one for each width"))
    }

    fn found(&mut self, name: &str, shape: [usize; 2]) -> Result<Found, LoadError> {
        self.weights
            .take(&format!("{}{name}.weight", self.prefix), &shape)
    }

    fn vector(&mut self, name: &str, kind: &str, length: usize) -> Result<Vec<f32>, LoadError> {
        self.weights
            .vector(&format!("{}{name}.{kind}", self.prefix), length)
    }
}

impl Decoder {
    /// Every matrix: the embedding, the head, and those of the layers.
    pub(crate) fn matrices(&self) -> impl Iterator<Item = &Weight> {
        let layers = self.layers.iter().flat_map(|layer| {
            let (attention, mlp) = (&layer.attention, &layer.feed_forward);
            [
                &attention.query.weight,
                &attention.key.weight,
                &attention.value.weight,
                &attention.output.weight,
                &mlp.gate.weight,
                &mlp.up.weight,
                &mlp.down.weight,
            ]
        });
        layers.chain([&self.embedding]).chain(&self.head)
    }
}
