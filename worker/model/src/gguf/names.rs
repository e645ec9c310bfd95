//! What llama.cpp's converter calls each part of a model, and what it does to it.
//!
//! Two tables: tensors by their hub name, and the keys that a model's shape comes from. Where a
//! file leaves something out that the forward pass needs, the architecture has it here.

pub mod key;

/// An architecture as `general.architecture` spells it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Architecture {
    pub name: &'static str,
    /// Rows of queries and keys alternate between the two halves of a head; see [`row_of`].
    pub pairs_rows: bool,
    /// Norms are stored as what they multiply with, where the hub stores that less one.
    pub norms_hold_one: bool,
    /// A layer has norms before and after each of its halves, not only before.
    pub norms_after: bool,
    /// Queries, keys and values are one tensor, and gate and up are one, as on the hub.
    pub fused: bool,
    /// Queries and keys are normed, a head at a time.
    pub norms_heads: bool,
    /// The last of each so many layers sees everything, the others a window. A file may say
    /// otherwise in [`key::WINDOW_PATTERN`].
    pub global_every: Option<usize>,
    /// The base of rotation in layers with a window, where [`key::LOCAL_ROPE_BASE`] is not there
    /// and it is not that of the others.
    pub local_rope_base: Option<f64>,
    /// The last of each so many layers does not rotate.
    pub no_rope_every: Option<usize>,
    /// Embeddings are multiplied by the root of their width, which no key says.
    pub scales_embedding: bool,
    /// Gates pass through GELU (by tanh), not SiLU, which no key says.
    pub gelu: bool,
    /// A false [`key::ROPE_SWITCH`] says that no layer rotates.
    pub switches_rope: bool,
    /// Keys of what other models of the class on the hub have, which files keep without it.
    pub left_over: &'static [&'static str],
}

const PLAIN: Architecture = Architecture {
    name: "",
    pairs_rows: false,
    norms_hold_one: false,
    norms_after: false,
    fused: false,
    norms_heads: false,
    global_every: None,
    local_rope_base: None,
    no_rope_every: None,
    scales_embedding: false,
    gelu: false,
    switches_rope: false,
    left_over: &[],
};

const GEMMA: Architecture = Architecture {
    norms_hold_one: true,
    norms_after: true,
    scales_embedding: true,
    gelu: true,
    ..PLAIN
};

/// The dense architectures that are served. Mistral's models say `llama`, but for those that were
/// taken out of a wrapper for images.
pub const ARCHITECTURES: [Architecture; 9] = [
    Architecture {
        name: "llama",
        pairs_rows: true,
        ..PLAIN
    },
    Architecture {
        name: "mistral3",
        pairs_rows: true,
        ..PLAIN
    },
    Architecture {
        name: "qwen2",
        ..PLAIN
    },
    Architecture {
        name: "qwen3",
        norms_heads: true,
        ..PLAIN
    },
    Architecture {
        name: "phi3",
        fused: true,
        ..PLAIN
    },
    Architecture {
        name: "gemma2",
        global_every: Some(2),
        ..GEMMA
    },
    Architecture {
        name: "gemma3",
        norms_heads: true,
        global_every: Some(6),
        local_rope_base: Some(10_000.0),
        ..GEMMA
    },
    Architecture {
        name: "granite",
        pairs_rows: true,
        switches_rope: true,
        left_over: key::OF_A_HYBRID,
        ..PLAIN
    },
    Architecture {
        name: "smollm3",
        pairs_rows: true,
        no_rope_every: Some(4),
        ..PLAIN
    },
];

/// What each frequency is divided by, half a head of f32: how llama3's scaling is stored.
pub const ROPE_DIVISORS: &str = "rope_freqs.weight";
/// The same for contexts over the original length (longrope).
pub const ROPE_DIVISORS_LONG: &str = "rope_factors_long.weight";
/// And for contexts up to it.
pub const ROPE_DIVISORS_SHORT: &str = "rope_factors_short.weight";

/// How the numbers in a file become those of the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transform {
    /// They are those of the hub.
    None,
    /// The hub's row `r` is [`row_of`]`(r, head)` here. A bias counts as rows of one number.
    PairedRows,
    /// The hub's number is one less.
    LessOne,
}

/// Where a tensor of the hub is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    pub name: String,
    pub transform: Transform,
}

/// Outside the layers: the hub's stem and the file's. A file without `output` has a tied head.
const AROUND: [(&str, &str); 3] = [
    ("model.embed_tokens", "token_embd"),
    ("model.norm", "output_norm"),
    ("lm_head", "output"),
];

/// In a layer, of every architecture that has the part.
const INSIDE: [(&str, &str); 12] = [
    ("input_layernorm", "attn_norm"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.qkv_proj", "attn_qkv"),
    ("self_attn.o_proj", "attn_output"),
    ("self_attn.q_norm", "attn_q_norm"),
    ("self_attn.k_norm", "attn_k_norm"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.gate_up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
];

/// The other norms of a layer, which the hub names by where they stand.
const NORMS_BEFORE: [(&str, &str); 1] = [("post_attention_layernorm", "ffn_norm")];
const NORMS_BEFORE_AND_AFTER: [(&str, &str); 3] = [
    ("post_attention_layernorm", "post_attention_norm"),
    ("pre_feedforward_layernorm", "ffn_norm"),
    ("post_feedforward_layernorm", "post_ffw_norm"),
];

impl Architecture {
    /// The one of this name, where it is served.
    pub fn named(name: &str) -> Option<&'static Self> {
        ARCHITECTURES
            .iter()
            .find(|architecture| architecture.name == name)
    }

    /// A key of the metadata in full.
    pub fn key(&self, key: &str) -> String {
        format!("{}.{key}", self.name)
    }

    /// Where a tensor is that the hub calls `model.layers.0.self_attn.q_proj.weight`, say; nothing
    /// for a name that this architecture has no place for.
    pub fn locate(&self, hub: &str) -> Option<Located> {
        let (stem, kind) = hub.rsplit_once('.')?;
        if !matches!(kind, "weight" | "bias") {
            return None;
        }
        if let Some(name) = look_up(&AROUND, stem) {
            let transform = self.transform(name);
            let name = format!("{name}.{kind}");
            return Some(Located { name, transform });
        }
        let (layer, part) = stem.strip_prefix("model.layers.")?.split_once('.')?;
        let layer: u32 = layer.parse().ok()?;
        let norms: &[_] = if self.norms_after {
            &NORMS_BEFORE_AND_AFTER
        } else {
            &NORMS_BEFORE
        };
        let name = look_up(&INSIDE, part).or_else(|| look_up(norms, part))?;
        if !self.has(part) {
            return None;
        }
        Some(Located {
            name: format!("blk.{layer}.{name}.{kind}"),
            transform: self.transform(name),
        })
    }

    fn has(&self, part: &str) -> bool {
        match part {
            "self_attn.qkv_proj" | "mlp.gate_up_proj" => self.fused,
            "self_attn.q_proj" | "self_attn.k_proj" | "self_attn.v_proj" | "mlp.gate_proj"
            | "mlp.up_proj" => !self.fused,
            "self_attn.q_norm" | "self_attn.k_norm" => self.norms_heads,
            _ => true,
        }
    }

    fn transform(&self, name: &str) -> Transform {
        match name {
            "attn_q" | "attn_k" if self.pairs_rows => Transform::PairedRows,
            _ if name.ends_with("norm") && self.norms_hold_one => Transform::LessOne,
            _ => Transform::None,
        }
    }
}

fn look_up(table: &[(&str, &'static str)], stem: &str) -> Option<&'static str> {
    let (_, name) = table.iter().find(|(hub, _)| *hub == stem)?;
    Some(name)
}

/// Where the hub's row of queries or keys is in a file with [`Transform::PairedRows`]: the hub has
/// the first half of a head and then the second, the file the first row of each and so on.
pub fn row_of(row: usize, head_dim: usize) -> usize {
    let (head, inside) = (row / head_dim, row % head_dim);
    let half = head_dim / 2;
    head * head_dim + 2 * (inside % half) + inside / half
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn located(architecture: &str, hub: &str) -> Option<(String, Transform)> {
        let located = Architecture::named(architecture).unwrap().locate(hub)?;
        Some((located.name, located.transform))
    }

    fn found(name: &str, transform: Transform) -> Option<(String, Transform)> {
        Some((name.to_owned(), transform))
    }

    #[test]
    fn queries_and_keys_of_llama_and_its_like_have_paired_rows() {
        for architecture in ["llama", "mistral3", "granite", "smollm3"] {
            let query = located(architecture, "model.layers.11.self_attn.q_proj.weight");
            assert_eq!(query, found("blk.11.attn_q.weight", Transform::PairedRows));
            let key = located(architecture, "model.layers.0.self_attn.k_proj.bias");
            assert_eq!(key, found("blk.0.attn_k.bias", Transform::PairedRows));
            let value = located(architecture, "model.layers.0.self_attn.v_proj.weight");
            assert_eq!(value, found("blk.0.attn_v.weight", Transform::None));
        }
        let qwen = located("qwen2", "model.layers.0.self_attn.q_proj.bias");
        assert_eq!(qwen, found("blk.0.attn_q.bias", Transform::None));
    }

    #[test]
    fn the_norm_after_attention_is_the_next_halfs_own_but_in_gemma() {
        let hub = "model.layers.3.post_attention_layernorm.weight";
        let llama = located("llama", hub);
        assert_eq!(llama, found("blk.3.ffn_norm.weight", Transform::None));
        let gemma = located("gemma2", hub);
        let name = "blk.3.post_attention_norm.weight";
        assert_eq!(gemma, found(name, Transform::LessOne));
        let before = "model.layers.3.pre_feedforward_layernorm.weight";
        let gemma = located("gemma3", before);
        assert_eq!(gemma, found("blk.3.ffn_norm.weight", Transform::LessOne));
        assert_eq!(located("llama", before), None);
    }

    #[test]
    fn every_norm_of_gemma_holds_one_more_and_nothing_else_does() {
        for (hub, name) in [
            ("model.norm.weight", "output_norm.weight"),
            (
                "model.layers.0.self_attn.q_norm.weight",
                "blk.0.attn_q_norm.weight",
            ),
            (
                "model.layers.0.post_feedforward_layernorm.weight",
                "blk.0.post_ffw_norm.weight",
            ),
        ] {
            assert_eq!(located("gemma3", hub), found(name, Transform::LessOne));
        }
        let embedding = located("gemma3", "model.embed_tokens.weight");
        assert_eq!(embedding, found("token_embd.weight", Transform::None));
    }

    #[test]
    fn phi_has_its_fused_tensors_and_the_others_have_not() {
        let fused = "model.layers.1.mlp.gate_up_proj.weight";
        let split = "model.layers.1.mlp.up_proj.weight";
        let name = "blk.1.ffn_up.weight";
        assert_eq!(located("phi3", fused), found(name, Transform::None));
        assert_eq!(located("phi3", split), None);
        assert_eq!(located("llama", fused), None);
        assert_eq!(located("llama", split), found(name, Transform::None));
    }

    #[test]
    fn names_that_no_model_has_are_not_found() {
        for hub in [
            "model.layers.0.self_attn.rotary_emb.inv_freq",
            "model.layers.x.self_attn.q_proj.weight",
            "model.layers.0.self_attn.q_norm.weight",
            "lm_head",
            "",
        ] {
            assert_eq!(located("llama", hub), None, "{hub}");
        }
        assert!(Architecture::named("mamba").is_none());
    }

    /// As the converter moves rows: heads × 2 × half becomes heads × half × 2.
    fn paired(rows: &[usize], head_dim: usize) -> Vec<usize> {
        let half = head_dim / 2;
        let heads = rows.chunks_exact(head_dim);
        heads
            .flat_map(|head| (0..half).flat_map(move |at| [head[at], head[half + at]]))
            .collect()
    }

    #[test]
    fn pairing_rows_is_undone_exactly() {
        for (heads, head_dim) in [(1, 2), (3, 4), (2, 6), (5, 80), (4, 128)] {
            let rows: Vec<usize> = (0..heads * head_dim).collect();
            let file = paired(&rows, head_dim);
            let undone: Vec<usize> = rows
                .iter()
                .map(|row| file[row_of(*row, head_dim)])
                .collect();
            assert_eq!(undone, rows, "{heads} heads of {head_dim}");
            let taken: BTreeSet<usize> = rows.iter().map(|row| row_of(*row, head_dim)).collect();
            assert_eq!(taken.len(), rows.len());
        }
    }
}
