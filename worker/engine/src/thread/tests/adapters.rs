//! Two adapters of the small model, drawn at random: of different ranks and on different modules.

use std::{
    num::NonZeroUsize,
    sync::{Arc, OnceLock},
};

use serde_json::json;
use weir_model::{Adapter, KernelClass, KeyValueType};

use super::gemma::{self, BETWEEN, HEAD, HEADS, HIDDEN, LAYERS};

/// What a module's name ends with, and how many inputs and outputs it has.
type Module = (&'static str, usize, usize);

/// What one is: its rank, what its tensors are drawn from, and its modules.
type Drawn = (usize, u32, &'static [Module]);

const DRAWN: [Drawn; 2] = [
    (
        3,
        1000,
        &[
            ("self_attn.q_proj", HIDDEN, HEADS * HEAD),
            ("mlp.up_proj", HIDDEN, BETWEEN),
        ],
    ),
    (
        16,
        2000,
        &[
            ("self_attn.q_proj", HIDDEN, HEADS * HEAD),
            ("mlp.down_proj", BETWEEN, HIDDEN),
        ],
    ),
];

/// One for the model that keeps keys and values so.
pub fn of(index: usize, kept: KeyValueType) -> Arc<Adapter> {
    static READ: [OnceLock<[Arc<Adapter>; 2]>; 2] = [const { OnceLock::new() }; 2];
    let read = |drawn| Arc::new(read(drawn, kept));
    let all = &READ[usize::from(kept == KeyValueType::Fp8)];
    all.get_or_init(|| DRAWN.map(read))[index].clone()
}

fn read((rank, first, modules): Drawn, kept: KeyValueType) -> Adapter {
    let model = gemma::load((KernelClass::Portable, kept), NonZeroUsize::MIN);
    let folder = tempfile::tempdir().unwrap();
    let names: Vec<&str> = modules.iter().map(|(name, ..)| *name).collect();
    let config = json!({
        "peft_type": "LORA", "r": rank, "lora_alpha": rank, "target_modules": names,
    });
    std::fs::write(
        folder.path().join("adapter_config.json"),
        config.to_string(),
    )
    .unwrap();
    let mut tensors = Vec::new();
    for layer in 0..LAYERS {
        for (module, inputs, outputs) in modules {
            let name = format!("base_model.model.model.layers.{layer}.{module}");
            tensors.push((format!("{name}.lora_A.weight"), vec![rank, *inputs]));
            tensors.push((format!("{name}.lora_B.weight"), vec![*outputs, rank]));
        }
    }
    let path = folder.path().join("adapter_model.safetensors");
    std::fs::write(path, gemma::file(tensors, first)).unwrap();
    let adapter = model.adapter_base().read(folder.path(), u64::MAX);
    adapter.unwrap()
}
