//! What is said of a model before its weights are read is what they are found to be.

use safetensors::Dtype;
use serde_json::json;
use weir_model::{Inspection, LoadError, LoadOptions, Model, Plan, Quantization};

use crate::tiny::Tiny;

fn options(quantization: Quantization) -> LoadOptions {
    LoadOptions {
        quantization,
        ..LoadOptions::default()
    }
}

/// A model of which some rows are whole blocks and others are not, with a head that is the embedding
/// and lies in the file all the same.
fn tied() -> Tiny {
    let mut tiny = Tiny::of(64, 96);
    tiny.tie();
    tiny
}

#[test]
fn weights_take_what_was_foreseen() {
    for tiny in [Tiny::new(), tied()] {
        for dtype in [Dtype::F32, Dtype::BF16] {
            tiny.write(dtype);
            for quantization in [Quantization::None, Quantization::Q8, Quantization::Q4] {
                let plan = Plan::of(tiny.path(), &options(quantization)).unwrap();
                let foreseen = plan.weight_bytes();
                let model = plan.load().unwrap();
                assert_eq!(foreseen, model.facts().weight_bytes);
                let inspected = Inspection::of(tiny.path()).unwrap().weight_bytes;
                assert!(
                    inspected.contains(&(quantization, foreseen)),
                    "{inspected:?}"
                );
            }
        }
    }
}

#[test]
fn weights_fit_where_all_that_is_loaded_does() {
    let tiny = tied();
    tiny.write(Dtype::F32);
    for quantization in [Quantization::None, Quantization::Q8] {
        let asked = options(quantization);
        let needed = Plan::of(tiny.path(), &asked).unwrap().weight_bytes();
        let within = |memory_bytes| {
            let memory_bytes = Some(memory_bytes);
            Model::load(
                tiny.path(),
                &LoadOptions {
                    memory_bytes,
                    ..asked.clone()
                },
            )
        };
        within(needed).unwrap();
        let error = within(needed - 1).unwrap_err();
        assert!(
            matches!(error, LoadError::TooLarge { needed: said, .. } if said == needed),
            "{error}"
        );
    }
}

#[test]
fn what_is_automatic_is_eight_bits_only_where_that_fits_and_more_does_not() {
    let tiny = tied();
    tiny.write(Dtype::F32);
    let needed = |quantization| {
        let plan = Plan::of(tiny.path(), &options(quantization)).unwrap();
        plan.weight_bytes()
    };
    let (whole, eight, four) = (
        needed(Quantization::None),
        needed(Quantization::Q8),
        needed(Quantization::Q4),
    );
    assert!(four < eight && eight < whole, "{four} {eight} {whole}");
    let served = |quantization, memory_bytes| {
        let options = LoadOptions {
            memory_bytes: Some(memory_bytes),
            ..options(quantization)
        };
        match Model::load(tiny.path(), &options) {
            Ok(model) => Ok(model.facts().quantization),
            Err(LoadError::TooLarge { needed, .. }) => Err(needed),
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(served(Quantization::Auto, whole), Ok("None"));
    assert_eq!(served(Quantization::Auto, whole - 1), Ok("Q8"));
    assert_eq!(served(Quantization::Auto, eight - 1), Err(eight));
    assert_eq!(served(Quantization::None, whole - 1), Err(whole));
    assert_eq!(served(Quantization::Q4, four), Ok("Q4"));
}

#[test]
fn a_tensor_that_is_not_as_the_config_says_is_found_without_a_load() {
    let added = "model.layers.0.self_attn.q_norm.weight";
    let damages: [&dyn Fn(&mut Tiny); 5] = [
        &|tiny| tiny.set("num_hidden_layers", json!(1000)),
        &|tiny| tiny.set("vocab_size", json!(u32::MAX)),
        &|tiny| tiny.set("intermediate_size", json!(72)),
        &|tiny| tiny.add(added, &[20]),
        &|tiny| drop(tiny.tensors.pop()),
    ];
    for damage in damages {
        let mut tiny = Tiny::new();
        damage(&mut tiny);
        tiny.write(Dtype::F32);
        let found = Inspection::of(tiny.path()).unwrap_err();
        let loaded = Model::load(tiny.path(), &LoadOptions::default()).unwrap_err();
        assert_eq!(found.to_string(), loaded.to_string());
        assert!(found.to_string().contains("tensor `"), "{found}");
    }
}
