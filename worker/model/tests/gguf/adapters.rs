//! What an adapter takes while it is read.

use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::json;
use weir_model::{LoadOptions, Model};

use crate::peak;

const RANK: usize = 64;

/// The example's model.
fn model() -> Model {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/triage/model");
    Model::load(&folder, &LoadOptions::default()).unwrap()
}

/// For every module of that model, in full precision.
fn write(folder: &Path) {
    let (hidden, kv, inner) = (192, 64, 512);
    let modules = [
        ("self_attn.q_proj", hidden, hidden),
        ("self_attn.k_proj", hidden, kv),
        ("self_attn.v_proj", hidden, kv),
        ("self_attn.o_proj", hidden, hidden),
        ("mlp.gate_proj", hidden, inner),
        ("mlp.up_proj", hidden, inner),
        ("mlp.down_proj", inner, hidden),
    ];
    let mut tensors = Vec::new();
    for layer in 0..6 {
        for (module, inputs, outputs) in modules {
            let name = format!("base_model.model.model.layers.{layer}.{module}");
            tensors.push((format!("{name}.lora_A.weight"), vec![RANK, inputs]));
            tensors.push((format!("{name}.lora_B.weight"), vec![outputs, RANK]));
        }
    }
    let zeros = vec![0; 4 * RANK * inner];
    let views = tensors.into_iter().map(|(name, shape)| {
        let bytes = &zeros[..4 * shape.iter().product::<usize>()];
        (name, TensorView::new(Dtype::F32, shape, bytes).unwrap())
    });
    let file = folder.join("adapter_model.safetensors");
    safetensors::serialize_to_file(views, None, &file).unwrap();
    let config = json!({
        "peft_type": "LORA", "r": RANK, "lora_alpha": RANK, "target_modules": "all-linear",
    });
    std::fs::write(folder.join("adapter_config.json"), config.to_string()).unwrap();
}

#[test]
fn an_adapter_takes_no_more_while_it_is_read_than_afterwards_and_a_tensor_or_two() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let base = model().adapter_base();
    let (adapter, peak) = peak::of(|| base.read(folder.path(), u64::MAX).unwrap());
    let largest = 4 * RANK * 512;
    let bytes = adapter.bytes() as usize;
    assert!(bytes > 20 * largest, "{bytes} bytes are too few to tell");
    assert!(
        (bytes..bytes + 4 * largest).contains(&peak),
        "{peak} for {bytes}"
    );
}
