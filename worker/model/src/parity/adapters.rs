//! Adapters on the tiny models compute what PEFT computes, and what does not fit a model is refused
//! by its name.
//!
//! The references are made by `fixtures/adapters.py`.

mod damaged;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::TOLERANCE;
use super::fixture::{Fixture, distance, logits};
use super::paged::{Paged, Sequence};
use super::seeded;
use crate::tensor::Plain;
use crate::{Adapter, AdapterError, KernelClass, LoadOptions, Model, Quantization};

/// `reference.json`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reference {
    base: String,
    seed: u64,
    greedy: Vec<u32>,
    tensors: BTreeMap<String, Vec<usize>>,
    drawn_as: BTreeMap<String, String>,
}

/// An adapter, as a test may spoil it before it is written.
struct Written {
    folder: PathBuf,
    reference: Reference,
    config: Map<String, Value>,
    tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
    stored: Dtype,
}

impl Written {
    fn all() -> Vec<Self> {
        let names = std::fs::read_dir(adapters()).unwrap();
        let mut names: Vec<String> = names
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort_unstable();
        assert!(names.len() >= 7, "fixtures are missing: {names:?}");
        names.iter().map(|name| Self::named(name)).collect()
    }

    fn named(name: &str) -> Self {
        let folder = adapters().join(name);
        let read = |file| std::fs::read(folder.join(file)).unwrap();
        let reference: Reference = serde_json::from_slice(&read("reference.json")).unwrap();
        let tensors = reference.tensors.iter().map(|(name, shape)| {
            let drawn = reference.drawn_as.get(name).unwrap_or(name);
            let values = seeded::values(reference.seed, drawn, shape, false);
            (name.clone(), (shape.clone(), values))
        });
        Self {
            config: serde_json::from_slice(&read("adapter_config.json")).unwrap(),
            tensors: tensors.collect(),
            stored: Dtype::F32,
            folder,
            reference,
        }
    }

    fn base(&self) -> Fixture {
        Fixture::named(&self.reference.base)
    }

    fn write(&self) -> TempDir {
        let folder = TempDir::new().unwrap();
        let config = serde_json::to_vec(&self.config).unwrap();
        std::fs::write(folder.path().join("adapter_config.json"), config).unwrap();
        let bytes = self.tensors.iter().map(|(name, (shape, values))| {
            let values = values.iter();
            let bytes: Vec<u8> = match self.stored {
                Dtype::F32 => values.flat_map(|value| value.to_le_bytes()).collect(),
                Dtype::BF16 => values
                    .flat_map(|value| bf16::from_f32(*value).to_le_bytes())
                    .collect(),
                Dtype::F16 => values
                    .flat_map(|value| f16::from_f32(*value).to_le_bytes())
                    .collect(),
                _ => values.map(|_| 0x38).collect(),
            };
            (name, shape, bytes)
        });
        let bytes: Vec<_> = bytes.collect();
        let views = bytes.iter().map(|(name, shape, bytes)| {
            let view = TensorView::new(self.stored, (*shape).clone(), bytes).unwrap();
            (*name, view)
        });
        let path = folder.path().join("adapter_model.safetensors");
        safetensors::serialize_to_file(views, None, &path).unwrap();
        folder
    }

    fn read(&self, model: &Model) -> Result<Adapter, AdapterError> {
        model.adapter_base().read(self.write().path(), u64::MAX)
    }

    fn distance(&self, given: &[Vec<f32>]) -> f32 {
        distance(given, &logits(&self.folder, "f32"))
    }
}

fn adapters() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/adapters")
}

#[test]
fn every_adapter_gives_the_logits_and_the_greedy_tokens_of_peft() {
    let mut wrong = Vec::new();
    for written in Written::all() {
        let base = written.base();
        let name = written.folder.file_name().unwrap().display().to_string();
        let mut model = base.model(Plain::F32, |_| {});
        let adapter = Arc::new(written.read(&model).unwrap());
        let apart = written.distance(&base.given(&mut model, Some(&adapter)));
        let without = written.distance(&base.given(&mut model, None));
        println!("{name}: logits differ by up to {apart:.1e}, without the adapter by {without}");
        if apart > 2.0 * TOLERANCE || without < 1.0 {
            wrong.push(format!("{name}: logits differ by {apart}"));
        } else if base.greedy(&mut model, Some(&adapter)) != written.reference.greedy {
            wrong.push(format!("{name}: greedy tokens differ"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn adapters_in_sixteen_bits_and_on_packed_models_move_the_logits_the_same_way() {
    for stored in [Dtype::BF16, Dtype::F16] {
        for quantization in [Quantization::None, Quantization::Q8] {
            let mut written = Written::named("qwen3-stabilised");
            written.stored = stored;
            let options = LoadOptions {
                quantization,
                ..LoadOptions::default()
            };
            let base = written.base();
            let mut model = base.model_for(Plain::F32, &options, |_| {});
            let adapter = Arc::new(written.read(&model).unwrap());
            let apart = written.distance(&base.given(&mut model, Some(&adapter)));
            // Logits spread by 2.
            assert!(apart < 0.6, "{stored:?} on {quantization:?}: {apart}");
        }
    }
}

/// Sequences of a model with its adapters, of two and of none, in chunks side by side.
#[test]
fn sequences_of_different_adapters_change_no_bit_of_one_another() {
    for class in KernelClass::ALL {
        if !class.is_available() {
            println!("{class} is not to be had on this processor");
            continue;
        }
        for name in ["llama-head", "phi3-fused", "llama-patterns"] {
            let mut written = Written::named(name);
            let base = written.base();
            let mut model = base.model_on(class, Plain::F32);
            let first = Arc::new(written.read(&model).unwrap());
            for (_, values) in written.tensors.values_mut() {
                values.iter_mut().for_each(|value| *value *= -0.5);
            }
            written.stored = Dtype::BF16;
            let second = Arc::new(written.read(&model).unwrap());
            let tokens = [&base.reference.prompt[..], &base.reference.greedy].concat();
            let parts = [
                (&tokens[..], Some(&first)),
                (&tokens[5..], None),
                (&tokens[9..40], Some(&second)),
                (&tokens[3..], Some(&first)),
                (&tokens[..20], Some(&second)),
            ];
            let alone = parts.map(|(tokens, adapter)| {
                let mut paged = Paged::new(&model, 1, tokens.len(), tokens.len());
                let next = &mut [(&mut Sequence::with(adapter), tokens)];
                paged.step(&mut model, next)
            });
            let together = side_by_side(&mut model, &parts);
            assert!(alone[..] == together, "{class}, {name}: the logits differ");
            assert!(alone[0][5..] != alone[1], "an adapter changes something");
        }
    }
}

fn side_by_side(
    model: &mut Model,
    parts: &[(&[u32], Option<&Arc<Adapter>>)],
) -> Vec<Vec<Vec<f32>>> {
    let longest = parts.iter().map(|(tokens, _)| tokens.len()).max().unwrap();
    let mut paged = Paged::new(model, parts.len(), longest, 9);
    let begin = |(_, adapter): &(&[u32], Option<&Arc<Adapter>>)| (Sequence::with(*adapter), 0);
    let mut sequences: Vec<(Sequence, usize)> = parts.iter().map(begin).collect();
    let mut together = vec![Vec::new(); parts.len()];
    for round in 0.. {
        let mut next: Vec<(&mut Sequence, &[u32])> = Vec::new();
        let mut lens = Vec::new();
        for (index, (sequence, done)) in sequences.iter_mut().enumerate() {
            let tokens = parts[index].0;
            lens.push((tokens.len() - *done).min((round + 3 * index) % 10));
            next.push((sequence, &tokens[*done..][..lens[index]]));
            *done += lens[index];
        }
        let mut rows = paged.step(model, &mut next).into_iter();
        for (rows_of, len) in together.iter_mut().zip(lens) {
            rows_of.extend(rows.by_ref().take(len));
        }
        let is_over =
            |(index, (_, done)): (usize, &(Sequence, usize))| *done == parts[index].0.len();
        if sequences.iter().enumerate().all(is_over) {
            break;
        }
    }
    together
}

#[test]
fn an_adapter_of_another_model_is_not_taken_by_a_batch() {
    let written = Written::named("llama-patterns");
    let base = written.base();
    let mut model = base.model(Plain::F32, |_| {});
    let other = base.model(Plain::Bf16, |_| {});
    let adapter = Arc::new(written.read(&other).unwrap());
    let refused = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        base.given(&mut model, Some(&adapter))
    }));
    assert!(refused.is_err());
}

/// What is said of an adapter for a tiny Llama that was spoiled.
fn refusal(spoil: impl FnOnce(&mut Written)) -> String {
    let mut written = Written::named("llama-patterns");
    let model = written.base().model(Plain::F32, |_| {});
    spoil(&mut written);
    written.read(&model).unwrap_err().to_string()
}

/// One key of the config in place of what PEFT wrote.
fn refused_key(key: &str, value: Value) -> String {
    refusal(|written| {
        written.config.insert(key.to_owned(), value);
    })
}

const QUERY: &str = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight";

#[test]
fn what_peft_can_do_and_we_cannot_is_refused_by_its_key() {
    for (key, value) in [
        ("use_dora", json!(true)),
        ("modules_to_save", json!(["lm_head"])),
        ("fan_in_fan_out", json!(true)),
        ("lora_bias", json!(true)),
        ("trainable_token_indices", json!([3])),
        ("layer_replication", json!([[0, 2]])),
        ("target_parameters", json!(["experts"])),
        ("a_key_of_next_year", json!(1)),
    ] {
        let said = refused_key(key, value.clone());
        let expected = format!("adapter_config.json: `{key}` is {value}, which is not served");
        assert_eq!(said, expected);
    }
    for (key, value, why) in [
        ("bias", json!("all"), "which is not served"),
        ("init_lora_weights", json!("pissa"), "which is not served"),
        ("peft_type", json!("IA3"), "and only LORA is served"),
        ("r", json!(-4), "not a rank"),
        ("lora_alpha", json!(1e9), "not a number up to a million"),
        (
            "target_modules",
            json!("q_(proj"),
            "a pattern that cannot be read",
        ),
        ("rank_pattern", json!({ "v_proj": "8" }), "not a rank"),
    ] {
        let said = refused_key(key, value.clone());
        assert!(
            said.starts_with(&format!("adapter_config.json: `{key}` is ")),
            "{said}"
        );
        assert!(said.ends_with(why), "{said}");
    }
    let many = (0..65).map(|at| (format!("a{at}|b"), json!(1)));
    let said = refused_key("alpha_pattern", Value::Object(many.collect()));
    assert!(said.ends_with("and has more than 64 patterns"), "{said}");
    let said = refused_key("rank_pattern", json!({ "(a{99}){99}": 1 }));
    assert!(said.ends_with("a pattern that cannot be read"), "{said}");
    assert_eq!(
        refused_key("rank_pattern", json!({ "q_proj": 65 })),
        "adapter_config.json: `r` is 65, for `model.layers.0.self_attn.q_proj`, and ranks from 1 to \
         64 are served"
    );
}

#[test]
fn tensors_that_do_not_fit_the_model_are_refused_by_name() {
    let said = refusal(|written| {
        let (shape, values) = written.tensors.get_mut(QUERY).unwrap();
        shape[1] += 1;
        values.extend([0.0; 3]);
    });
    assert_eq!(
        said,
        format!("tensor `{QUERY}` has shape [3, 49] where this model asks for [3, 48]")
    );
    let said = refusal(|written| {
        written.tensors.remove(QUERY);
    });
    assert_eq!(
        said,
        format!("the adapter has no tensor `{QUERY}`, which its config asks for")
    );
    let ninth = QUERY.replace("layers.0", "layers.9");
    let said = refusal(|written| {
        let tensor = written.tensors[QUERY].clone();
        written.tensors.insert(ninth.clone(), tensor);
    });
    assert_eq!(
        said,
        format!("the adapter has a tensor `{ninth}` that this model has no place for")
    );
    let said = refusal(|written| {
        written.tensors.get_mut(QUERY).unwrap().1[50] = f32::INFINITY;
    });
    assert_eq!(
        said,
        format!("tensor `{QUERY}` has a number that is not finite, in row 1")
    );
    let said = refusal(|written| written.stored = Dtype::F8_E4M3);
    assert!(
        said.ends_with("is stored as F8_E4M3; F32, BF16 and F16 are supported"),
        "{said}"
    );
    let said = refused_key("target_modules", json!(["q_proj"]));
    assert_eq!(
        said,
        "the adapter has tensors of `model.layers.0.self_attn.v_proj`, which its config does not \
         target"
    );
    let said = refusal(|written| {
        written.tensors.clear();
        written.config["target_modules"] = json!(["query"]);
    });
    assert_eq!(said, "the adapter targets no layer of this model");
}

#[test]
fn folders_without_an_adapter_and_adapters_without_room_are_refused() {
    let written = Written::named("llama-patterns");
    let base = written.base().model(Plain::F32, |_| {}).adapter_base();
    let folder = written.write();
    let numbers = written.tensors.values().map(|(_, values)| values.len());
    let length = 4 * numbers.sum::<usize>() as u64;
    let adapter = base.read(folder.path(), u64::MAX).unwrap();
    let said = base.read(folder.path(), 1000).unwrap_err().to_string();
    let expected =
        format!("the adapter needs {length} bytes of memory where 1000 are left for adapters");
    assert_eq!(said, expected);
    // Outputs are filled up to whole panels.
    let most = adapter.bytes() - 1;
    let said = base.read(folder.path(), most).unwrap_err().to_string();
    assert!(
        most > length && said.starts_with(&format!("the adapter needs {}", most + 1)),
        "{said}"
    );
    std::fs::write(
        folder.path().join("adapter_model.safetensors"),
        "no tensors",
    )
    .unwrap();
    let said = base.read(folder.path(), u64::MAX).unwrap_err().to_string();
    assert!(
        said.starts_with("adapter_model.safetensors is not what it should be"),
        "{said}"
    );
    std::fs::remove_file(folder.path().join("adapter_model.safetensors")).unwrap();
    let said = base.read(folder.path(), u64::MAX).unwrap_err();
    assert!(
        said.to_string()
            .ends_with("it has no adapter_model.safetensors"),
        "{said}"
    );
    assert_eq!(said.reason(), "ModelNotFound");
    std::fs::write(folder.path().join("adapter_config.json"), "[]").unwrap();
    let said = base.read(folder.path(), u64::MAX).unwrap_err();
    assert_eq!(
        (said.to_string(), said.reason()),
        ("read the adapter's config".into(), "Unsupported")
    );
}

#[test]
fn what_sees_images_is_left_out_where_the_model_is_one_for_images() {
    let mut written = Written::named("gemma3-in-image-model");
    let model = written.base().model(Plain::F32, |_| {});
    let without = written.read(&model).unwrap();
    assert_eq!(without.skipped(), 0);
    let layer = "vision_tower.vision_model.encoder.layers.0.self_attn.q_proj";
    let projector = "multi_modal_projector.linear";
    for module in [
        format!("model.{layer}"),
        format!("model.{projector}"),
        layer.into(),
    ] {
        for half in ["A", "B"] {
            let name = format!("base_model.model.{module}.lora_{half}.weight");
            written.tensors.insert(name, (vec![4, 6], vec![1.0; 24]));
        }
    }
    let with = written.read(&model).unwrap();
    assert_eq!((with.skipped(), with.bytes()), (6, without.bytes()));
    // What is left out takes no room.
    let folder = written.write();
    let base = model.adapter_base();
    base.read(folder.path(), with.bytes()).unwrap();

    let mut written = Written::named("llama-patterns");
    let model = written.base().model(Plain::F32, |_| {});
    let name = format!("base_model.model.{layer}.lora_A.weight");
    written
        .tensors
        .insert(name.clone(), (vec![4, 6], vec![1.0; 24]));
    let said = written.read(&model).unwrap_err().to_string();
    assert!(said.contains(&name), "{said}");
}

#[test]
fn an_adapter_is_known_by_its_content() {
    let written = Written::named("llama-patterns");
    let model = written.base().model(Plain::F32, |_| {});
    let digest = |written: &Written| written.read(&model).unwrap().digest().to_owned();
    let first = digest(&written);
    assert_eq!(first, digest(&written));
    let mut other = Written::named("llama-patterns");
    other.config["lora_alpha"] = json!(5);
    assert_ne!(first, digest(&other));
    let mut other = Written::named("llama-patterns");
    other.tensors.get_mut(QUERY).unwrap().1[0] += 1.0;
    assert_ne!(first, digest(&other));
}
