//! From the metadata of a GGUF file to a [`DecoderSpec`].

mod rope;

use std::cell::RefCell;
use std::collections::BTreeSet;

use weir_kernels::attention::LARGEST_GROUP;

use super::keys::{EPSILON, MULTIPLIER, Range, shown as shown_range};
use crate::LoadError;
use crate::gguf::names::{Architecture, key};
use crate::gguf::{Gguf, Typed};
use crate::spec::{
    Activation, AttentionSpec, Biases, DecoderSpec, LayerSpec, MOST_LAYERS, Multipliers, NormSpec,
    WIDEST, too_wide,
};

const ARCHITECTURE: &str = "general.architecture";

/// The window of Gemma 2, which files may leave out.
const GEMMA_2_WINDOW: usize = 4096;

/// The spec for sequences of up to `asked` tokens, and what the file calls its parts.
///
/// # Errors
/// Names the key that is missing or that cannot be served.
pub(crate) fn decoder_spec(
    gguf: &Gguf,
    asked: Option<u32>,
) -> Result<(&'static Architecture, DecoderSpec), LoadError> {
    let name: &str = gguf.metadata().need(ARCHITECTURE)?;
    let architecture = Architecture::named(name).ok_or_else(|| LoadError::Architecture {
        found: name.to_owned(),
        known: crate::gguf::names::ARCHITECTURES
            .map(|known| known.name)
            .join(", "),
    })?;
    let keys = Keys {
        gguf,
        architecture,
        read: RefCell::default(),
    };
    let spec = keys.spec(asked)?;
    keys.finish()?;
    Ok((architecture, spec))
}

/// The metadata of one model, and which of its keys were read.
struct Keys<'a> {
    gguf: &'a Gguf,
    architecture: &'static Architecture,
    read: RefCell<BTreeSet<String>>,
}

impl Keys<'_> {
    fn spec(&self, asked: Option<u32>) -> Result<DecoderSpec, LoadError> {
        let architecture = self.architecture;
        let (hidden, heads) = (self.size(key::HIDDEN)?, self.size(key::HEADS)?);
        let head_dim = self.head_dim(hidden, heads)?;
        let context = self.size(key::CONTEXT)?;
        let layers = self.layers()?;
        let served = asked.map_or(context, |asked| asked as usize);
        let ropes = self.ropes(head_dim, (served, context))?;
        Ok(DecoderSpec {
            architecture: shown(architecture.name),
            hidden,
            intermediate: self.size(key::INTERMEDIATE)?,
            heads,
            kv_heads: self.kv_heads(heads, layers.len())?,
            head_dim,
            vocabulary: self.vocabulary()?,
            norm: NormSpec {
                epsilon: self.epsilon()?,
                plus_one: false,
                after: architecture.norms_after,
            },
            attention: AttentionSpec {
                scale: self.attention_scale(hidden, heads, (head_dim, layers.len()))?,
                cap: self.cap(key::ATTENTION_SOFT_CAP)?,
                head_norm: architecture.norms_heads,
            },
            activation: match architecture.gelu {
                true => Activation::GeluTanh,
                false => Activation::Silu,
            },
            biases: self.biases(),
            multipliers: self.multipliers(hidden)?,
            logit_cap: self.cap(key::FINAL_SOFT_CAP)?,
            tied_head: !self.gguf.contains("output.weight"),
            context_tokens: context as u32,
            layers,
            ropes,
        })
    }

    fn get<'b, T: Typed<'b>>(&'b self, key: &str) -> Result<Option<T>, LoadError> {
        self.gguf.metadata().get(&self.full(key))
    }

    fn need<'b, T: Typed<'b>>(&'b self, key: &str) -> Result<T, LoadError> {
        self.gguf.metadata().need(&self.full(key))
    }

    /// A key as the file spells it, which counts as read from here on.
    fn full(&self, key: &str) -> String {
        self.read.borrow_mut().insert(key.to_owned());
        self.architecture.key(key)
    }

    /// # Errors
    /// Names a key of the architecture that nothing read and that might change what it computes.
    fn finish(&self) -> Result<(), LoadError> {
        let prefix = self.architecture.key("");
        let metadata = self.gguf.metadata();
        let keys = metadata.keys().filter_map(|key| key.strip_prefix(&prefix));
        for key in keys {
            let is_read = self.read.borrow().contains(key);
            if !is_read && !key::changes_nothing(metadata, self.architecture, key) {
                let why = "which is not served here, and might change what the model computes";
                return Err(self.refuse(key, why.to_owned()));
            }
        }
        Ok(())
    }

    fn refuse(&self, key: &str, why: String) -> LoadError {
        self.gguf
            .metadata()
            .refuse(&self.architecture.key(key), why)
    }

    /// A whole number that lengths can be made of.
    fn size(&self, key: &str) -> Result<usize, LoadError> {
        match self.need::<u32>(key)? {
            0 => Err(self.refuse(key, "not a positive whole number".to_owned())),
            size => Ok(size as usize),
        }
    }

    fn size_if(&self, key: &str) -> Result<Option<usize>, LoadError> {
        Ok(self
            .get::<u32>(key)?
            .filter(|size| *size > 0)
            .map(|size| size as usize))
    }

    fn number(&self, key: &str, range: Range) -> Result<Option<f64>, LoadError> {
        let number = self.get::<f64>(key)?;
        match number {
            Some(number) if !range.contains(&number) => {
                Err(self.refuse(key, format!("where {} is expected", shown_range(&range))))
            }
            _ => Ok(number),
        }
    }

    fn positive(&self, key: &str) -> Result<Option<f64>, LoadError> {
        self.number(key, MULTIPLIER)
    }

    fn epsilon(&self) -> Result<f32, LoadError> {
        // The one in `number` is told first: what is missing has its own error.
        self.number(key::EPSILON, EPSILON)?;
        Ok(self.need::<f64>(key::EPSILON)? as f32)
    }

    fn cap(&self, key: &str) -> Result<Option<f32>, LoadError> {
        Ok(self.positive(key)?.map(|cap| cap as f32))
    }

    fn kv_heads(&self, heads: usize, layers: usize) -> Result<usize, LoadError> {
        let key = key::KV_HEADS;
        let kv_heads = match self.get::<Vec<u32>>(key) {
            Ok(Some(listed)) => self.of_every_layer(key, &listed, layers)?,
            _ => self.size_if(key)?.unwrap_or(heads),
        };
        match heads.is_multiple_of(kv_heads) && heads / kv_heads <= LARGEST_GROUP {
            true => Ok(kv_heads),
            false => Err(self.refuse(
                key,
                format!("which does not divide the {heads} attention heads into groups of up to {LARGEST_GROUP}"),
            )),
        }
    }

    /// The number that a list has for each layer.
    fn of_every_layer(&self, key: &str, listed: &[u32], layers: usize) -> Result<usize, LoadError> {
        match listed {
            [first, rest @ ..]
                if *first > 0 && listed.len() == layers && rest.iter().all(|of| of == first) =>
            {
                Ok(*first as usize)
            }
            _ => {
                let why = format!("where one number, not 0, is served for all of {layers} layers");
                Err(self.refuse(key, why))
            }
        }
    }

    fn head_dim(&self, hidden: usize, heads: usize) -> Result<usize, LoadError> {
        let head_dim = match self.size_if(key::HEAD_DIM)? {
            Some(head_dim) => head_dim,
            None if hidden.is_multiple_of(heads) => hidden / heads,
            None => {
                return Err(self.refuse(key::HIDDEN, format!("not a multiple of {heads} heads")));
            }
        };
        let of_values = self.size_if(key::VALUE_DIM)?.unwrap_or(head_dim);
        if of_values != head_dim {
            return Err(self.refuse(key::VALUE_DIM, format!("where keys have {head_dim}")));
        }
        if !head_dim.is_multiple_of(2) {
            let why = "where rotation needs an even one".to_owned();
            return Err(self.refuse(key::HEAD_DIM, why));
        }
        match heads
            .checked_mul(head_dim)
            .is_some_and(|width| width <= WIDEST)
        {
            true => Ok(head_dim),
            false => Err(self.refuse(key::HEADS, too_wide(head_dim))),
        }
    }

    /// As many as the embedding has rows.
    fn vocabulary(&self) -> Result<usize, LoadError> {
        let tensor = "token_embd.weight";
        match self.gguf.shape(tensor) {
            Some([rows, _]) => Ok(*rows),
            _ => Err(LoadError::TensorMissing {
                tensor: tensor.to_owned(),
            }),
        }
    }

    fn layers(&self) -> Result<Vec<LayerSpec>, LoadError> {
        let count = self.size(key::LAYERS)?;
        if count > MOST_LAYERS {
            return Err(self.refuse(key::LAYERS, format!("where up to {MOST_LAYERS} are served")));
        }
        let architecture = self.architecture;
        let is_last_of = |layer: usize, each: Option<usize>| {
            each.is_some_and(|each| (layer + 1).is_multiple_of(each))
        };
        let window = self.window()?;
        let patterned = self.window_pattern(count)?;
        let is_still = architecture.switches_rope && self.get(key::ROPE_SWITCH)? == Some(false);
        Ok((0..count)
            .map(|layer| {
                let slides = match &patterned {
                    Some(pattern) => pattern[layer],
                    None => !is_last_of(layer, architecture.global_every),
                };
                let window = window.filter(|_| slides);
                let is_local = architecture.local_rope_base.is_some() && slides;
                let turns = !is_still && !is_last_of(layer, architecture.no_rope_every);
                LayerSpec {
                    window,
                    rope: turns.then_some(usize::from(is_local)),
                }
            })
            .collect())
    }

    fn window(&self) -> Result<Option<usize>, LoadError> {
        let written = self.get::<u32>(key::WINDOW)?.map(|window| window as usize);
        match self.architecture.name {
            "gemma2" => Ok(Some(written.unwrap_or(GEMMA_2_WINDOW)).filter(|window| *window > 0)),
            "gemma3" | "phi3" => Ok(written.filter(|window| *window > 0)),
            _ if written.is_some_and(|window| window > 0) => Err(self.refuse(
                key::WINDOW,
                "where this architecture is served without a window".to_owned(),
            )),
            _ => Ok(None),
        }
    }

    /// Whether each layer has a window, where the file says it.
    fn window_pattern(&self, layers: usize) -> Result<Option<Vec<bool>>, LoadError> {
        let key = key::WINDOW_PATTERN;
        if self.architecture.global_every.is_none() {
            return Ok(None);
        }
        if let Ok(Some(each)) = self.get::<u32>(key) {
            let each = (each as usize).max(1);
            return Ok(Some(
                (1..=layers)
                    .map(|layer| !layer.is_multiple_of(each))
                    .collect(),
            ));
        }
        match self.get::<Vec<bool>>(key)? {
            Some(pattern) if pattern.len() != layers => {
                Err(self.refuse(key, format!("not a list of {layers} layers")))
            }
            pattern => Ok(pattern),
        }
    }

    /// Gemma has no key for it: all models divide by the root of the head's size but the largest.
    fn attention_scale(
        &self,
        hidden: usize,
        heads: usize,
        (head_dim, layers): (usize, usize),
    ) -> Result<f32, LoadError> {
        if let Some(scale) = self.positive(key::ATTENTION_SCALE)? {
            return Ok(scale as f32);
        }
        let width = match (self.architecture.name, layers) {
            ("gemma2", 46) | ("gemma3", 62) => hidden / heads,
            _ => head_dim,
        };
        Ok((width as f32).powf(-0.5))
    }

    fn multipliers(&self, hidden: usize) -> Result<Multipliers, LoadError> {
        let of = |key| Ok(self.positive(key)?.map(|number| number as f32));
        let root = self
            .architecture
            .scales_embedding
            .then(|| (hidden as f64).sqrt() as f32);
        Ok(Multipliers {
            embedding: of(key::EMBEDDING_SCALE)?.or(root).unwrap_or(1.0),
            residual: of(key::RESIDUAL_SCALE)?.unwrap_or(1.0),
            logit_divisor: of(key::LOGIT_SCALE)?.unwrap_or(1.0),
        })
    }

    /// Files have no key for biases, only the tensors.
    fn biases(&self) -> Biases {
        let has = |part: &str| self.gguf.contains(&format!("blk.0.{part}.bias"));
        Biases {
            inputs: has("attn_q") || has("attn_qkv"),
            output: has("attn_output"),
            feed_forward: has("ffn_up"),
        }
    }
}

/// The family's name for people, where a file has it for programs.
fn shown(name: &str) -> &'static str {
    match name {
        "qwen2" => "Qwen2",
        "qwen3" => "Qwen3",
        "phi3" => "Phi3",
        "gemma2" => "Gemma2",
        "gemma3" => "Gemma3",
        "granite" => "Granite",
        "smollm3" => "SmolLM3",
        _ => "Llama",
    }
}
