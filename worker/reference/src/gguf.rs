//! Candle's own quantised models, from a GGUF file.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use candle_core::quantized::gguf_file::{Content, Value};
use candle_core::{Device, Result};
use candle_transformers::models::{
    quantized_gemma3, quantized_llama, quantized_phi3, quantized_qwen2, quantized_qwen3,
};

use crate::ReferenceError;
use crate::sequence::Sequence;

/// What candle's model for an architecture is called, and the tensors of a layer that it takes.
struct Known {
    architecture: &'static str,
    family: &'static str,
    parts: &'static [&'static str],
}

const KNOWN: [Known; 5] = [
    Known {
        architecture: "gemma3",
        family: "Gemma3",
        parts: &[
            "attn_k",
            "attn_k_norm",
            "attn_norm",
            "attn_output",
            "attn_q",
            "attn_q_norm",
            "attn_v",
            "ffn_down",
            "ffn_gate",
            "ffn_norm",
            "ffn_up",
            "post_attention_norm",
            "post_ffw_norm",
        ],
    },
    Known {
        architecture: "llama",
        family: "Llama",
        parts: &[
            "attn_k",
            "attn_norm",
            "attn_output",
            "attn_q",
            "attn_v",
            "ffn_down",
            "ffn_gate",
            "ffn_norm",
            "ffn_up",
        ],
    },
    Known {
        architecture: "phi3",
        family: "Phi3",
        parts: &[
            "attn_norm",
            "attn_output",
            "attn_qkv",
            "ffn_down",
            "ffn_norm",
            "ffn_up",
        ],
    },
    Known {
        architecture: "qwen2",
        family: "Qwen2",
        parts: &[
            "attn_k",
            "attn_norm",
            "attn_output",
            "attn_q",
            "attn_v",
            "ffn_down",
            "ffn_gate",
            "ffn_norm",
            "ffn_up",
        ],
    },
    Known {
        architecture: "qwen3",
        family: "Qwen3",
        parts: &[
            "attn_k",
            "attn_k_norm",
            "attn_norm",
            "attn_output",
            "attn_q",
            "attn_q_norm",
            "attn_v",
            "ffn_down",
            "ffn_gate",
            "ffn_norm",
            "ffn_up",
        ],
    },
];

/// A file whose header was read.
pub(crate) struct GgufFile {
    content: Content,
    reader: BufReader<File>,
    known: &'static Known,
}

impl GgufFile {
    pub(crate) fn open(path: &Path) -> std::result::Result<Self, ReferenceError> {
        let file = File::open(path).map_err(|source| ReferenceError::Read {
            path: path.to_owned(),
            source,
        })?;
        let mut reader = BufReader::new(file);
        let content = Content::read(&mut reader).map_err(|error| ReferenceError::Malformed {
            path: path.to_owned(),
            why: error.to_string(),
        })?;
        let architecture = content.metadata.get("general.architecture");
        let architecture = architecture.and_then(|value| value.to_string().ok());
        let architecture = architecture.map_or("a model without a name", String::as_str);
        let known = KNOWN
            .iter()
            .find(|known| known.architecture == architecture);
        let known = known.ok_or_else(|| ReferenceError::Missing {
            what: format!("{architecture} in GGUF files"),
        })?;
        Ok(Self {
            content,
            reader,
            known,
        })
    }

    pub(crate) fn family(&self) -> &'static str {
        self.known.family
    }

    /// As for folders: what candle's model does not do that this file asks of so many tokens.
    pub(crate) fn lacking(&self, tokens: usize) -> Vec<String> {
        let found = [
            self.parts_of_a_split(),
            self.rope(),
            self.heads(),
            self.window(tokens),
            self.tensors(),
            self.own_ways(tokens),
        ];
        found.into_iter().flatten().collect()
    }

    fn key(&self, key: &str) -> Option<&Value> {
        let key = format!("{}.{key}", self.known.architecture);
        self.content.metadata.get(&key)
    }

    fn size(&self, key: &str) -> Option<usize> {
        let value = self.key(key)?.to_u32().ok()?;
        Some(value as usize)
    }

    fn parts_of_a_split(&self) -> Option<String> {
        let count = self.content.metadata.get("split.count")?;
        let count = count.to_u16().ok()?;
        (count > 1).then(|| format!("reads one file, not {count}"))
    }

    fn rope(&self) -> Option<String> {
        let kind = self.key("rope.scaling.type")?.to_string().ok()?;
        (kind != "none").then(|| format!("does not scale its rope ({kind})"))
    }

    /// Heads that are not a share of the embedding, or do not turn as a whole.
    fn heads(&self) -> Option<String> {
        let share = self.size("embedding_length")? / self.size("attention.head_count")?.max(1);
        let own = matches!(self.known.architecture, "gemma3" | "qwen3");
        let length = self.size("attention.key_length").unwrap_or(share);
        if !own && length != share {
            return Some(format!("has heads of {share}, not of {length}"));
        }
        let turning = self.size("rope.dimension_count").unwrap_or(length);
        (turning != length).then(|| format!("turns whole heads, not {turning} of {length}"))
    }

    /// Token by token candle has no mask, and none of these forgets.
    fn window(&self, tokens: usize) -> Option<String> {
        let window = self.size("attention.sliding_window")?;
        (window > 0 && tokens > window)
            .then(|| format!("keeps no window ({window} tokens, of {tokens})"))
    }

    /// Tensors that it does not take.
    fn tensors(&self) -> Option<String> {
        let mut names: Vec<&String> = self.content.tensor_infos.keys().collect();
        names.sort_unstable();
        let mut left = names.into_iter().filter(|name| !self.takes(name));
        let first = left.next()?;
        Some(format!("does not take {first} and {} others", left.count()))
    }

    fn takes(&self, name: &str) -> bool {
        let Some((stem, kind)) = name.rsplit_once('.') else {
            return false;
        };
        let part = stem
            .strip_prefix("blk.")
            .and_then(|stem| stem.split_once('.'));
        match (part, kind) {
            (None, "weight") => matches!(stem, "token_embd" | "output_norm" | "output"),
            (Some((_, part)), "weight") => self.known.parts.contains(&part),
            (Some((_, "attn_q" | "attn_k" | "attn_v")), "bias") => {
                self.known.architecture == "qwen2"
            }
            _ => false,
        }
    }

    /// What is written into the code of one model.
    fn own_ways(&self, tokens: usize) -> Option<String> {
        let base = self
            .key("rope.freq_base")
            .and_then(|base| base.to_f32().ok());
        let is_tied = !self.content.tensor_infos.contains_key("output.weight");
        let most = quantized_llama::MAX_SEQ_LEN;
        match self.known.architecture {
            "gemma3" => Some("opens its gate with silu, not with gelu".to_owned()),
            "llama" if tokens > most => Some(format!("has {most} positions, not {tokens}")),
            "phi3" if base.is_some_and(|base| base != 10_000.0) => {
                Some("turns by a base of 10000".to_owned())
            }
            "phi3" if is_tied => Some("needs a head of its own".to_owned()),
            _ => None,
        }
    }

    /// The model, for sequences of up to `tokens`.
    pub(crate) fn build(self, tokens: usize) -> Result<Box<dyn Sequence>> {
        let Self {
            mut content,
            mut reader,
            known,
        } = self;
        // Tables, and Phi-3's whole cache, are made for as many positions as the file says.
        let positions = tokens.max(1024) as u32;
        let key = format!("{}.context_length", known.architecture);
        content.metadata.insert(key, Value::U32(positions));
        // Qwen3 turns by tables in sixteen bits, unless it is told that the file is in F32.
        content
            .metadata
            .insert("general.dtype".to_owned(), Value::U32(0));
        let (on, reader) = (&Device::Cpu, &mut reader);
        Ok(match known.architecture {
            "gemma3" => Box::new(quantized_gemma3::ModelWeights::from_gguf(
                content, reader, on,
            )?),
            "phi3" => Box::new(quantized_phi3::ModelWeights::from_gguf(
                false, content, reader, on,
            )?),
            "qwen2" => Box::new(quantized_qwen2::ModelWeights::from_gguf(
                content, reader, on,
            )?),
            "qwen3" => Box::new(quantized_qwen3::ModelWeights::from_gguf(
                content, reader, on,
            )?),
            _ => Box::new(quantized_llama::ModelWeights::from_gguf(
                content, reader, on,
            )?),
        })
    }
}
