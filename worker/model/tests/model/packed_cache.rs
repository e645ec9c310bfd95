//! What was packed once is mapped at the next start, and is never trusted further than it is whole.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tempfile::TempDir;
use weir_model::{LoadOptions, Model, Quantization, Upkept};

use crate::logits::fixtures;
use crate::run;
use crate::tiny::word_level;

const TOKENS: [u32; 7] = [5, 9, 20, 31, 7, 63, 11];

/// A model whose rows are whole blocks, and a folder for what is packed.
struct Place {
    model: TempDir,
    cache: TempDir,
}

/// What a load did, and what the model computes.
struct Start {
    packed: usize,
    mapped: usize,
    unfit: Option<String>,
    upkept: Upkept,
    mapped_bytes: u64,
    weight_bytes: u64,
    digest: String,
    logits: Vec<Vec<f32>>,
}

fn options(cache: &Path, quantization: Quantization) -> LoadOptions {
    LoadOptions {
        quantization,
        packed_cache: Some(cache.to_owned()),
        ..LoadOptions::default()
    }
}

fn start(path: &Path, options: &LoadOptions) -> Start {
    let mut model = Model::load(path, options).unwrap();
    let upkeep = model.take_upkeep().unwrap();
    let upkept = upkeep.run(SystemTime::now(), &|| false).unwrap();
    let report = model.report().clone();
    Start {
        packed: report.packed,
        mapped: report.mapped,
        unfit: report.unfit.map(|unfit| unfit.to_string()),
        upkept,
        mapped_bytes: model.facts().mapped_bytes,
        weight_bytes: model.facts().weight_bytes,
        digest: model.facts().digest.clone(),
        logits: run::alone(&mut model, &TOKENS),
    }
}

impl Place {
    fn new() -> Self {
        let model = TempDir::new().unwrap();
        for file in ["config.json", "model.safetensors"] {
            let from = fixtures().join("tiny-bf16").join(file);
            std::fs::copy(from, model.path().join(file)).unwrap();
        }
        let tokenizer = word_level(256).to_string();
        std::fs::write(model.path().join("tokenizer.json"), tokenizer).unwrap();
        Self {
            model,
            cache: TempDir::new().unwrap(),
        }
    }

    fn start(&self) -> Start {
        self.start_as(Quantization::Q8)
    }

    fn start_as(&self, quantization: Quantization) -> Start {
        start(self.model.path(), &options(self.cache.path(), quantization))
    }

    /// The files in the folder that hold packed weights.
    fn kept(&self) -> Vec<PathBuf> {
        let entries = self.cache.path().read_dir().unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        paths
            .filter(|path| path.extension().is_some_and(|end| end == "packed"))
            .collect()
    }

    fn only(&self) -> PathBuf {
        let kept = self.kept();
        assert_eq!(kept.len(), 1, "{kept:?}");
        kept[0].clone()
    }
}

#[test]
fn a_second_start_packs_nothing_and_computes_the_same_bits() {
    let place = Place::new();
    let first = place.start();
    assert_eq!((first.mapped, first.unfit), (0, None));
    assert_eq!(first.packed, 3 * 7 + 2);
    assert!(matches!(first.upkept, Upkept::Written { .. }));
    let second = place.start();
    assert_eq!((second.packed, second.mapped), (0, first.packed));
    assert_eq!((second.unfit, second.upkept), (None, Upkept::Nothing));
    assert_eq!(second.logits, first.logits);
    assert_eq!(second.digest, first.digest);
}

#[test]
fn a_file_that_mixes_types_is_mapped_as_it_was_packed() {
    let cache = TempDir::new().unwrap();
    let path = fixtures().join("gguf/types.gguf");
    let options = options(cache.path(), Quantization::Auto);
    let first = start(&path, &options);
    let second = start(&path, &options);
    assert!(first.packed > 8, "{}", first.packed);
    assert_eq!((second.packed, second.mapped), (0, first.packed));
    assert_eq!(second.logits, first.logits);
}

#[test]
fn packed_weights_that_are_mapped_count_as_mapped() {
    let place = Place::new();
    let (first, second) = (place.start(), place.start());
    assert_eq!(first.mapped_bytes, 0);
    assert_eq!(second.weight_bytes, first.weight_bytes);
    // All but the norms, in f32.
    let norms = 4 * 64 * (3 * 2 + 1);
    assert_eq!(second.mapped_bytes, second.weight_bytes - norms);
}

/// Damages the file, and expects it to be named, replaced, and used again after that.
fn expect_repacked(why: &str, damage: impl FnOnce(&mut Vec<u8>)) {
    let place = Place::new();
    let first = place.start();
    let path = place.only();
    let mut bytes = std::fs::read(&path).unwrap();
    damage(&mut bytes);
    // As another would: what a worker has mapped is never written to.
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, bytes).unwrap();
    let second = place.start();
    let unfit = second.unfit.unwrap();
    assert!(unfit.contains(path.to_str().unwrap()), "{unfit}");
    assert!(unfit.contains(why), "{unfit} does not say {why}");
    assert_eq!((second.packed, second.mapped), (first.packed, 0));
    assert_eq!(second.logits, first.logits);
    assert!(matches!(second.upkept, Upkept::Written { .. }));
    let third = place.start();
    assert_eq!((third.mapped, third.unfit), (first.packed, None));
    assert_eq!(third.logits, first.logits);
}

#[test]
fn what_is_no_regular_file_is_not_waited_for() {
    let place = Place::new();
    let first = place.start();
    let path = place.only();
    std::fs::remove_file(&path).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.unwrap().success());
    let (tx, rx) = std::sync::mpsc::channel();
    std::thread::spawn(move || tx.send(place.start()).is_ok());
    let second = rx.recv_timeout(Duration::from_secs(60)).unwrap();
    let unfit = second.unfit.unwrap();
    assert!(unfit.ends_with("it is no regular file"), "{unfit}");
    assert_eq!(second.logits, first.logits);
}

#[test]
fn a_damaged_byte_of_any_weight_is_found() {
    expect_repacked("is damaged", |bytes| *bytes.last_mut().unwrap() ^= 0x40);
    expect_repacked("is damaged", |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    });
}

#[test]
fn a_damaged_table_or_header_is_found() {
    expect_repacked("its table is damaged", |bytes| bytes[200] ^= 1);
    expect_repacked("no file of packed weights", |bytes| bytes[0] ^= 1);
    expect_repacked("its table is damaged", |bytes| bytes[18] = 0xff);
    expect_repacked("it says", |bytes| bytes[30] ^= 1);
}

#[test]
fn a_file_of_another_length_is_found() {
    expect_repacked("it says", |bytes| bytes.truncate(bytes.len() - 1));
    expect_repacked("it says", |bytes| bytes.push(0));
    expect_repacked("cut off", |bytes| bytes.truncate(63));
    expect_repacked("cut off", Vec::clear);
}

#[test]
fn a_file_of_another_version_is_not_read() {
    expect_repacked("another version", |bytes| bytes[8] += 1);
    expect_repacked("another version", |bytes| bytes[12] += 1);
}

#[test]
fn a_file_of_another_model_under_this_ones_name_is_not_used() {
    let place = Place::new();
    place.start();
    let path = place.only();
    let config = place.model.path().join("config.json");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(
        &config,
        text.replace("\"rms_norm_eps\": 1e-05", "\"rms_norm_eps\": 2e-05"),
    )
    .unwrap();
    let other = place.start();
    assert_eq!((other.mapped, other.unfit), (0, None));
    let of_other = place.kept().into_iter().find(|kept| *kept != path).unwrap();
    std::fs::rename(path, of_other).unwrap();
    let misled = place.start();
    assert!(misled.unfit.unwrap().contains("another model"));
    assert_eq!(misled.mapped, 0);
    assert_eq!(misled.logits, other.logits);
}

#[test]
fn each_quantization_has_a_file_of_its_own() {
    let place = Place::new();
    let eight = place.start_as(Quantization::Q8);
    let four = place.start_as(Quantization::Q4);
    assert_eq!((four.mapped, four.packed), (0, eight.packed));
    assert_eq!(place.kept().len(), 2);
    let again = place.start_as(Quantization::Q8);
    assert_eq!((again.mapped, again.logits), (eight.packed, eight.logits));
    let again = place.start_as(Quantization::Q4);
    assert_eq!((again.mapped, again.logits), (four.packed, four.logits));
}

#[test]
fn what_is_served_in_full_precision_leaves_no_packed_weights() {
    let place = Place::new();
    let plain = place.start_as(Quantization::None);
    assert_eq!((plain.packed, plain.mapped), (0, 0));
    assert_eq!(plain.upkept, Upkept::Nothing);
    assert!(place.kept().is_empty());
}

#[test]
fn a_folder_that_cannot_be_written_stops_no_start() {
    let place = Place::new();
    let file = place.cache.path().join("file");
    std::fs::write(&file, "").unwrap();
    let options = options(&file.join("below"), Quantization::Q8);
    let mut model = Model::load(place.model.path(), &options).unwrap();
    let upkeep = model.take_upkeep().unwrap();
    let error = upkeep.run(SystemTime::now(), &|| false).unwrap_err();
    assert!(error.to_string().contains("below"), "{error}");
    assert_eq!(run::alone(&mut model, &TOKENS), place.start().logits);
}

#[test]
fn an_end_in_the_middle_leaves_nothing_half_written() {
    let place = Place::new();
    let options = options(place.cache.path(), Quantization::Q8);
    let mut model = Model::load(place.model.path(), &options).unwrap();
    let upkeep = model.take_upkeep().unwrap();
    let upkept = upkeep.run(SystemTime::now(), &|| true).unwrap();
    assert_eq!(upkept, Upkept::Over);
    assert_eq!(place.cache.path().read_dir().unwrap().count(), 0);
}

#[test]
fn workers_that_start_together_all_serve_and_leave_one_file() {
    let place = Place::new();
    let starts: Vec<Start> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| place.start())).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    for start in &starts {
        assert_eq!(start.logits, starts[0].logits);
        assert_eq!(start.unfit, None);
    }
    assert!(
        starts
            .iter()
            .any(|start| matches!(start.upkept, Upkept::Written { .. }))
    );
    place.only();
    assert_eq!(place.start().mapped, starts[0].packed + starts[0].mapped);
}

#[test]
fn what_is_old_goes_and_what_is_used_stays() {
    let place = Place::new();
    place.start();
    let used = place.only();
    let name = used.file_name().unwrap().to_str().unwrap().to_owned();
    let month = Duration::from_secs(31 * 24 * 60 * 60);
    let leave = |name: String, age: Duration| {
        let path = place.cache.path().join(name);
        std::fs::write(&path, "").unwrap();
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(SystemTime::now() - age).unwrap();
        path
    };
    let version = name.rsplit_once('-').unwrap().0;
    let of_another_version = leave(format!("{version}-0.0.packed"), Duration::ZERO);
    let forgotten = leave(format!("{}-q4-99-1.1.packed", "0".repeat(64)), month);
    let others = leave("others".to_owned(), month);
    // Long ago, until this start.
    let file = std::fs::File::options().write(true).open(&used).unwrap();
    file.set_modified(SystemTime::now() - month).unwrap();
    assert_eq!(place.start().packed, 0);
    assert!(!of_another_version.exists() && !forgotten.exists());
    assert!(others.exists());
    let age = used.metadata().unwrap().modified().unwrap().elapsed();
    assert!(age.unwrap_or_default() < month / 2);
}

#[test]
fn a_number_that_is_not_finite_is_refused_with_its_row_and_nothing_is_kept() {
    let place = Place::new();
    let path = place.model.path().join("model.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let embedding = tensors.tensor("model.embed_tokens.weight").unwrap().data();
    let first = embedding.as_ptr() as usize - bytes.as_ptr() as usize;
    // Infinite, in row 3 of rows of 64 numbers of two bytes.
    let at = first + (3 * 64 + 63) * 2;
    let mut damaged = bytes.clone();
    damaged[at..at + 2].copy_from_slice(&[0x80, 0x7f]);
    std::fs::write(&path, damaged).unwrap();
    for quantization in [Quantization::Q8, Quantization::None] {
        let options = options(place.cache.path(), quantization);
        let error = Model::load(place.model.path(), &options).unwrap_err();
        let said = error.to_string();
        assert!(
            said.contains("embed_tokens") && said.ends_with("in row 3"),
            "{said}"
        );
        assert!(place.kept().is_empty());
    }
}
