//! Damaged files are refused or read: nothing panics, and nothing takes memory that it need not.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use weir_model::{Gguf, LoadError, Tokenizer};

use crate::peak;
use crate::settings::{MUTATIONS, setting};
use crate::small::{pairs, pieces};
use crate::written::{Value, Written, folder};

/// What takes a few seconds.
const USUALLY: u64 = 10_000;

/// A damaged file of some kilobytes may take this much: a tokenizer's tables and expressions.
const MOST: usize = 8 << 20;

/// SplitMix64.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}

fn with_tensors(mut file: Written) -> Written {
    file.set(
        "a.nested",
        Value::Array(vec![Value::Array(vec![Value::U8(1)]), Value::texts(&["x"])]),
    )
    .set("general.alignment", Value::U32(32))
    .add("token_embd.weight", &[32, 4], 8, 136)
    .add("blk.0.attn_q.weight", &[256, 2], 14, 420)
    .add("blk.0.ffn_up.weight", &[64, 2], 39, 68)
    .add("output_norm.weight", &[32], 0, 128);
    file
}

/// The first of two parts, and where it lies beside the other.
fn parts(folder: &Path) -> (PathBuf, Vec<u8>) {
    let part = |number: u16| {
        let mut file = if number == 0 {
            with_tensors(pieces())
        } else {
            Written::new()
        };
        file.set("split.no", Value::U16(number))
            .set("split.count", Value::U16(2))
            .set("split.tensors.count", Value::I32(5));
        file
    };
    let mut second = part(1);
    second.add("blk.1.attn_norm.weight", &[32], 0, 128);
    second.write(folder, "m-00002-of-00002.gguf");
    let path = folder.join("m-00001-of-00002.gguf");
    (path, part(0).bytes())
}

fn damage(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(4) {
        if bytes.is_empty() {
            return;
        }
        let at = random.below(bytes.len());
        match random.below(7) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.next() as u8,
            2 => bytes.truncate(at),
            3 => {
                let inserted = random.next().to_le_bytes();
                bytes.splice(at..at, inserted);
            }
            4 => {
                let end = bytes.len().min(at + 1 + random.below(64));
                bytes.drain(at..end);
            }
            5 => {
                let from = random.below(bytes.len());
                let end = bytes.len().min(from + 1 + random.below(64));
                let copied = bytes[from..end].to_vec();
                bytes.splice(at..at, copied);
            }
            _ => {
                let numbers = [0, 1, 8, 255, 1 << 20, 1 << 31, 1 << 32, 1 << 61, 1 << 63];
                let number: u64 = match random.below(4) {
                    0 => u64::MAX - random.below(64) as u64,
                    1 => random.below(bytes.len()) as u64,
                    _ => numbers[random.below(numbers.len())],
                };
                let length = if random.below(2) == 0 { 4 } else { 8 };
                let end = bytes.len().min(at + length);
                bytes.splice(at..end, number.to_le_bytes()[..length].iter().copied());
            }
        }
    }
}

/// Everything that a file can be asked for.
fn ask(path: &Path) -> Result<(), LoadError> {
    let gguf = Gguf::open(path)?;
    let metadata = gguf.metadata();
    for key in metadata.keys() {
        let refusals = [
            metadata.get::<u32>(key).err(),
            metadata.get::<f32>(key).err(),
            metadata.get::<bool>(key).err(),
            metadata.get::<&str>(key).err(),
            metadata.get::<Vec<&str>>(key).err(),
            metadata.get::<Vec<i32>>(key).err(),
        ];
        assert!(refusals.into_iter().flatten().all(|error| told(&error)));
    }
    let mut sum = 0_u64;
    for name in gguf.tensor_names() {
        match gguf.tensor(name) {
            Ok(tensor) => {
                assert_eq!(tensor.bytes().len() % tensor.rows(), 0);
                assert_eq!(tensor.row(0).len() * tensor.rows(), tensor.bytes().len());
                sum += tensor
                    .bytes()
                    .iter()
                    .map(|byte| u64::from(*byte))
                    .sum::<u64>();
            }
            Err(error) => assert!(told(&error)),
        }
    }
    std::hint::black_box(sum);
    gguf.chat_templates()?;
    let tokenizer = Tokenizer::from_gguf(&gguf, 1 << 20)?;
    let text = "Hello <s>hell\n\n  größe 漢<|end|> 0";
    if let Ok(ids) = tokenizer.encode(text, true) {
        tokenizer.decode(&ids).unwrap();
    }
    Ok(())
}

/// A refusal says something, and not a file's worth of it.
fn told(error: &LoadError) -> bool {
    (10..6_000).contains(&error.to_string().len())
}

#[test]
fn damaged_files_are_refused_or_read_and_take_no_more_memory_than_they_need() {
    let count = setting(MUTATIONS).map_or(USUALLY, |count| count.parse().unwrap());
    let folder = folder();
    let whole = folder.path().join("m.gguf");
    // Compiling a cut's expressions takes a hundred times what the rest does.
    let with_pairs = with_tensors(pairs()).bytes();
    let with_pieces = with_tensors(pieces()).bytes();
    let (part, first) = parts(folder.path());
    let (mut refused, mut most, mut slowest) = (0, 0, Duration::ZERO);
    for seed in 0..count {
        let mut random = Random::new(seed);
        let (path, sound) = match seed % 100 {
            0 => (&whole, &with_pairs),
            1..10 => (&part, &first),
            _ => (&whole, &with_pieces),
        };
        let mut bytes = sound.clone();
        damage(&mut bytes, &mut random);
        std::fs::write(path, &bytes).unwrap();
        let start = Instant::now();
        let (outcome, peak) = peak::of(|| catch_unwind(AssertUnwindSafe(|| ask(path))));
        slowest = slowest.max(start.elapsed());
        let Ok(answer) = outcome else {
            panic!("seed {seed} panics");
        };
        if let Err(error) = answer {
            assert!(told(&error), "seed {seed}: {error}");
            refused += 1;
        }
        assert!(peak < MOST, "seed {seed} takes {peak} bytes");
        most = most.max(peak);
    }
    println!("{count} files: {refused} refused, {most} bytes and {slowest:?} at most");
}

#[test]
fn the_files_that_are_damaged_are_sound() {
    let folder = folder();
    for file in [with_tensors(pieces()), with_tensors(pairs())] {
        ask(&file.write(folder.path(), "m.gguf")).unwrap();
    }
    let (path, first) = parts(folder.path());
    std::fs::write(&path, first).unwrap();
    ask(&path).unwrap();
}
