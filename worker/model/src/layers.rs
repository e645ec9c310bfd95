//! Finds a decoder's weights under the names that Hugging Face gives them.

use crate::LoadError;
use crate::decoder::Decoder;
use crate::spec::DecoderSpec;
use crate::weights::{Stored, Tensor, Weights};

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
    pub(crate) output: Linear,
}

#[derive(Debug)]
pub(crate) struct FeedForward {
    pub(crate) norm: Vec<f32>,
    pub(crate) gate: Linear,
    pub(crate) up: Linear,
    pub(crate) down: Linear,
}

#[derive(Debug)]
pub(crate) struct Linear {
    pub(crate) weight: Tensor,
    pub(crate) bias: Option<Vec<f32>>,
}

/// Takes every weight of the decoder; afterwards only tensors that belong to nothing are left.
pub(crate) fn decoder(spec: DecoderSpec, weights: &mut Weights) -> Result<Decoder, LoadError> {
    let (hidden, vocabulary) = (spec.hidden, spec.vocabulary);
    let embedding = weights.take("model.embed_tokens.weight", &[vocabulary, hidden])?;
    let layers = (0..spec.layers)
        .map(|index| layer(&spec, &format!("model.layers.{index}"), weights))
        .collect::<Result<_, _>>()?;
    let norm = weights.take("model.norm.weight", &[hidden])?.to_vec();
    let head = if spec.tied_head {
        // Some files hold the tied head a second time.
        weights.skip("lm_head.weight");
        None
    } else {
        Some(weights.take("lm_head.weight", &[vocabulary, hidden])?)
    };
    Ok(Decoder {
        frequencies: spec.rope.frequencies(spec.head_dim),
        spec,
        embedding,
        layers,
        norm,
        head,
    })
}

fn layer(spec: &DecoderSpec, prefix: &str, weights: &mut Weights) -> Result<Layer, LoadError> {
    let hidden = spec.hidden;
    // Old files keep the angles, which follow from the config.
    weights.skip(&format!("{prefix}.self_attn.rotary_emb.inv_freq"));
    let mut norm = |name: &str| {
        let tensor = weights.take(&format!("{prefix}.{name}.weight"), &[hidden])?;
        Ok(tensor.to_vec())
    };
    let (before_attention, before_mlp) =
        (norm("input_layernorm")?, norm("post_attention_layernorm")?);
    let mut linear = |name: &str, shape: [usize; 2], biased: bool| {
        let weight = weights.take(&format!("{prefix}.{name}.weight"), &shape)?;
        let bias = if biased {
            let tensor = weights.take(&format!("{prefix}.{name}.bias"), &shape[..1])?;
            Some(tensor.to_vec())
        } else {
            None
        };
        Ok(Linear { weight, bias })
    };
    let (query, kv, biased) = (spec.query_width(), spec.kv_width(), spec.attention_bias);
    let attention = Attention {
        norm: before_attention,
        query: linear("self_attn.q_proj", [query, hidden], biased)?,
        key: linear("self_attn.k_proj", [kv, hidden], biased)?,
        value: linear("self_attn.v_proj", [kv, hidden], biased)?,
        output: linear("self_attn.o_proj", [hidden, query], biased)?,
    };
    let (inner, biased) = (spec.intermediate, spec.mlp_bias);
    let feed_forward = FeedForward {
        norm: before_mlp,
        gate: linear("mlp.gate_proj", [inner, hidden], biased)?,
        up: linear("mlp.up_proj", [inner, hidden], biased)?,
        down: linear("mlp.down_proj", [hidden, inner], biased)?,
    };
    Ok(Layer {
        attention,
        feed_forward,
    })
}

impl Decoder {
    /// Whether every weight that rows are multiplied by is stored as f32.
    pub(crate) fn is_f32(&self) -> bool {
        self.embedding.stored() == Stored::F32
            && self.layers.iter().all(|layer| {
                let (attention, mlp) = (&layer.attention, &layer.feed_forward);
                [
                    &attention.query,
                    &attention.key,
                    &attention.value,
                    &attention.output,
                    &mlp.gate,
                    &mlp.up,
                    &mlp.down,
                ]
                .iter()
                .all(|linear| linear.weight.stored() == Stored::F32)
            })
    }
}
