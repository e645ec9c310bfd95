//! What the configs of all families have in common.

use serde_json::json;
use weir_kernels::attention::LARGEST_GROUP;

use super::families::PLAIN_LAYER;
use super::keys::{BASE, EPSILON, Keys};
use super::rope::{Beside, RopeDefaults, refuse_other};
use crate::LoadError;
use crate::layers::Layout;
use crate::rope::Rope;
use crate::spec::{
    Activation, AttentionSpec, Biases, DecoderSpec, MOST_LAYERS, Multipliers, NormSpec, WIDEST,
    too_wide,
};

/// What a class fills in where a file says nothing.
pub(super) struct Defaults {
    pub(super) name: &'static str,
    pub(super) head_dim: HeadDim,
    /// The key of the width within a feed-forward half.
    pub(super) inner: &'static str,
    /// None for as many as there are heads.
    pub(super) kv_heads: Option<usize>,
    pub(super) epsilon: f64,
    pub(super) theta: f64,
    pub(super) partial_rope: bool,
    pub(super) activation: Activation,
    /// The key that the class reads it from.
    pub(super) activation_key: &'static str,
    pub(super) tied: bool,
    /// Vocabulary, hidden, intermediate, layers, heads, context; none where a file must say them.
    pub(super) shape: Option<[usize; 6]>,
}

#[derive(Clone, Copy)]
pub(super) enum HeadDim {
    /// Of the hidden size.
    Share,
    Is(usize),
}

/// A spec in the making: what every family has, for one of them to change.
pub(super) struct Common<'a, 'b> {
    pub(super) keys: &'a Keys<'b>,
    pub(super) spec: DecoderSpec,
    pub(super) layout: Layout,
    rope: RopeDefaults,
}

impl<'a, 'b> Common<'a, 'b> {
    pub(super) fn read(
        keys: &'a Keys<'b>,
        defaults: &Defaults,
        asked: Option<u32>,
    ) -> Result<Self, LoadError> {
        let size = |place: usize, key| match defaults.shape {
            Some(shape) => keys.size_or(key, shape[place]),
            None => keys.size(key),
        };
        let (vocabulary, hidden) = (size(0, "vocab_size")?, size(1, "hidden_size")?);
        let (intermediate, layers) = (size(2, defaults.inner)?, size(3, "num_hidden_layers")?);
        if layers > MOST_LAYERS {
            let why = format!("where up to {MOST_LAYERS} are served");
            return Err(keys.refuse("num_hidden_layers", &why));
        }
        let (heads, context) = (
            size(4, "num_attention_heads")?,
            size(5, "max_position_embeddings")?,
        );
        let kv_heads = kv_heads(keys, heads, defaults)?;
        let head_dim = head_dim(keys, (hidden, heads), defaults)?;
        let rope = RopeDefaults {
            theta: defaults.theta,
            head_dim,
            partial: defaults.partial_rope,
            served: asked.map_or(context, |asked| asked as usize),
            context,
        };
        let spec = DecoderSpec {
            architecture: defaults.name,
            hidden,
            intermediate,
            heads,
            kv_heads,
            head_dim,
            vocabulary,
            layers: vec![PLAIN_LAYER; layers],
            ropes: Vec::new(),
            norm: NormSpec {
                epsilon: keys.number_or("rms_norm_eps", defaults.epsilon, EPSILON)? as f32,
                plus_one: false,
                after: false,
            },
            attention: AttentionSpec {
                scale: (head_dim as f32).powf(-0.5),
                cap: None,
                head_norm: false,
            },
            activation: activation(keys, defaults)?,
            biases: Biases::default(),
            multipliers: Multipliers::default(),
            logit_cap: None,
            tied_head: keys.switch_or("tie_word_embeddings", defaults.tied)?,
            context_tokens: context as u32,
        };
        Ok(Self {
            keys,
            spec,
            layout: Layout::default(),
            rope,
        })
    }

    /// One window for all layers.
    pub(super) fn windows_everywhere(self, window: Option<usize>) -> Result<Self, LoadError> {
        self.windows(window, |_| true)
    }

    /// A window for those layers that `layer_types` names, or else `slides`.
    pub(super) fn windows(
        mut self,
        window: Option<usize>,
        slides: impl Fn(usize) -> bool,
    ) -> Result<Self, LoadError> {
        let layers = self.spec.layers.len();
        let listed = self.keys.per_layer("layer_types", layers)?;
        for (index, layer) in self.spec.layers.iter_mut().enumerate() {
            let slides = match listed.map(|list| list[index].as_str()) {
                None => slides(index),
                Some(Some("sliding_attention")) => true,
                Some(Some("full_attention")) => false,
                Some(_) => {
                    let why = "where full_attention and sliding_attention are supported";
                    return Err(self.keys.refuse("layer_types", why));
                }
            };
            layer.window = window.filter(|_| slides);
        }
        Ok(self)
    }

    pub(super) fn head_norm(mut self) -> Self {
        self.spec.attention.head_norm = true;
        self
    }

    /// A second rope, for the layers with a window; the first is for the others.
    pub(super) fn local_rope(&mut self, theta: f64) -> Result<(), LoadError> {
        let said = self.keys.number_if("rope_local_base_freq", BASE)?;
        let tables = self.keys.table("rope_parameters")?;
        let nested = match &tables {
            Some(tables) if tables.has("full_attention") || tables.has("sliding_attention") => {
                tables
            }
            _ => {
                let global = self.rope.read(self.keys)?;
                let local = Rope::plain(said.unwrap_or(theta), self.spec.head_dim);
                self.two_ropes(global, local);
                return Ok(());
            }
        };
        let dim = self.spec.head_dim;
        let beside = |theta, usual| Beside {
            theta,
            usual,
            dim,
            original: None,
        };
        let of = |kind, beside: Beside| match nested.table(kind)? {
            Some(table) => self.rope.of_table(&table, beside),
            None => Ok(Rope::plain(beside.base(), dim)),
        };
        let outer = self.keys.number_if("rope_theta", BASE)?;
        let global = of("full_attention", beside(outer, self.rope.theta))?;
        let local = of("sliding_attention", beside(said, theta))?;
        nested.finish(|_, _| false)?;
        if let Some(older) = self.keys.filled_table("rope_scaling")? {
            let older = self.rope.of_table(&older, beside(None, global.base))?;
            refuse_other(self.keys, &global, &older)?;
        }
        self.two_ropes(global, local);
        Ok(())
    }

    fn two_ropes(&mut self, global: Rope, local: Rope) {
        self.spec.ropes = vec![global, local];
        for layer in &mut self.spec.layers {
            layer.rope = Some(usize::from(layer.window.is_some()));
        }
    }

    /// Queries, keys and values have a bias whatever the config says, the rest none.
    pub(super) fn biased_inputs(mut self) -> Result<(DecoderSpec, Layout), LoadError> {
        self.spec.biases.inputs = true;
        self.finish()
    }

    /// Biases by `attention_bias` and `mlp_bias`, where the family knows them.
    pub(super) fn with_biases(
        mut self,
        attention: bool,
        feed_forward: bool,
    ) -> Result<(DecoderSpec, Layout), LoadError> {
        let keys = self.keys;
        let switch = |key, is_known| match is_known {
            true => keys.switch_or(key, false),
            false => keys.only(key, &json!(false)).map(|()| false),
        };
        let attention = switch("attention_bias", attention)?;
        self.spec.biases = Biases {
            inputs: attention,
            output: attention,
            feed_forward: switch("mlp_bias", feed_forward)?,
        };
        self.finish()
    }

    fn finish(mut self) -> Result<(DecoderSpec, Layout), LoadError> {
        if self.spec.ropes.is_empty() {
            self.spec.ropes = vec![self.rope.read(self.keys)?];
        }
        Ok((self.spec, self.layout))
    }
}

fn kv_heads(keys: &Keys<'_>, heads: usize, defaults: &Defaults) -> Result<usize, LoadError> {
    let kv_heads = keys.or_none("num_key_value_heads", defaults.kv_heads, Keys::size_if)?;
    let kv_heads = kv_heads.unwrap_or(heads);
    if heads.is_multiple_of(kv_heads) && heads / kv_heads <= LARGEST_GROUP {
        return Ok(kv_heads);
    }
    Err(keys.refuse(
        "num_key_value_heads",
        &format!(
            "which does not divide the {heads} attention heads into groups of up to {LARGEST_GROUP}"
        ),
    ))
}

fn head_dim(
    keys: &Keys<'_>,
    (hidden, heads): (usize, usize),
    defaults: &Defaults,
) -> Result<usize, LoadError> {
    let default = match defaults.head_dim {
        HeadDim::Is(dim) => Some(dim),
        HeadDim::Share => None,
    };
    let head_dim = match keys.or_none("head_dim", default, Keys::size_if)? {
        Some(head_dim) => head_dim,
        None if hidden.is_multiple_of(heads) => hidden / heads,
        None => return Err(keys.refuse("hidden_size", &format!("not a multiple of {heads} heads"))),
    };
    if !head_dim.is_multiple_of(2) {
        return Err(keys.refuse("head_dim", "where rotation needs an even one"));
    }
    match heads
        .checked_mul(head_dim)
        .is_some_and(|width| width <= WIDEST)
    {
        true => Ok(head_dim),
        false => Err(keys.refuse("num_attention_heads", &too_wide(head_dim))),
    }
}

/// Under the key that the class goes by. Files carry the other one along, which must not say
/// otherwise.
fn activation(keys: &Keys<'_>, defaults: &Defaults) -> Result<Activation, LoadError> {
    let named = |key| match keys.text(key)? {
        None => Ok(None),
        Some("silu" | "swish") => Ok(Some(Activation::Silu)),
        Some("gelu_pytorch_tanh") => Ok(Some(Activation::GeluTanh)),
        Some(_) => Err(keys.refuse(key, "where silu and gelu_pytorch_tanh are supported")),
    };
    let activation = named(defaults.activation_key)?.unwrap_or(defaults.activation);
    for key in ["hidden_act", "hidden_activation"] {
        if named(key)?.is_some_and(|other| other != activation) {
            let why = format!("where this class goes by `{}`", defaults.activation_key);
            return Err(keys.refuse(key, &why));
        }
    }
    Ok(activation)
}
