//! Damaged tokenizers of each kind, and the files around them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use weir_model::{GenerationDefaults, LoadError, Tokenizer};

use super::{count, told};
use crate::mutations::Random;
use crate::peak;

/// What takes a few seconds.
const USUALLY: u64 = 1500;

/// A tokenizer of some kilobytes takes a few megabytes, most of them for its expressions. Where the
/// library panics over it and a backtrace is asked for, that reads this program's own symbols.
const MOST: usize = 128 << 20;

fn tokenizers() -> [Value; 4] {
    let added = |id: u32, content: &str| {
        json!({ "id": id, "content": content, "special": true, "normalized": false,
            "single_word": false, "lstrip": false, "rstrip": false })
    };
    let letters = "abcdehlo ĠÃ¶<>0123456789ABCDEFx".chars().map(String::from);
    let mut vocabulary: Vec<String> = letters.collect();
    vocabulary.extend(["he", "ll", "hell", "Ġhell"].map(String::from));
    vocabulary.dedup();
    let ids: serde_json::Map<String, Value> = vocabulary
        .iter()
        .enumerate()
        .map(|(id, token)| (token.clone(), json!(id)))
        .collect();
    let pairs = json!({
        "version": "1.0", "added_tokens": [added(60, "<s>"), added(61, "</s>")],
        "normalizer": { "type": "NFC" },
        "pre_tokenizer": { "type": "Sequence", "pretokenizers": [
            { "type": "Split", "pattern": { "Regex": "\\p{N}{1,3}| ?[^\\s]+|\\s+(?!\\S)" },
              "behavior": "Isolated", "invert": false },
            { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false },
        ]},
        "post_processor": { "type": "TemplateProcessing",
            "single": [{ "SpecialToken": { "id": "<s>", "type_id": 0 } }, { "Sequence": { "id": "A", "type_id": 0 } }],
            "pair": [{ "Sequence": { "id": "A", "type_id": 0 } }, { "Sequence": { "id": "B", "type_id": 1 } }],
            "special_tokens": { "<s>": { "id": "<s>", "ids": [60], "tokens": ["<s>"] } } },
        "decoder": { "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true },
        "truncation": { "direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0 },
        "padding": { "strategy": { "Fixed": 8 }, "direction": "Right", "pad_to_multiple_of": 8,
            "pad_id": 0, "pad_type_id": 0, "pad_token": "a" },
        "model": { "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": "",
            "end_of_word_suffix": "", "fuse_unk": false, "byte_fallback": false, "ignore_merges": true,
            "vocab": ids, "merges": [["h", "e"], ["l", "l"], ["he", "ll"], ["Ġ", "hell"]] },
    });
    let pieces: Vec<Value> = ["<unk>", "<0x0A>", "▁", "h", "e", "l", "o", "▁hell", "ö"]
        .iter()
        .enumerate()
        .map(|(id, piece)| json!([piece, -(id as f64)]))
        .collect();
    let unigram = json!({
        "version": "1.0", "added_tokens": [added(60, "<s>"), added(61, "</s>")],
        "normalizer": { "type": "Sequence", "normalizers": [
            { "type": "Prepend", "prepend": "▁" },
            { "type": "Replace", "pattern": { "String": " " }, "content": "▁" } ] },
        "pre_tokenizer": { "type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": true },
        "decoder": { "type": "Sequence", "decoders": [
            { "type": "Replace", "pattern": { "String": "▁" }, "content": " " },
            { "type": "ByteFallback" }, { "type": "Fuse" },
            { "type": "Strip", "content": " ", "start": 1, "stop": 0 } ] },
        "model": { "type": "Unigram", "unk_id": 0, "byte_fallback": true, "vocab": pieces },
    });
    let word_pieces = json!({
        "version": "1.0", "added_tokens": [added(2, "[CLS]")],
        "normalizer": { "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
            "strip_accents": null, "lowercase": true },
        "pre_tokenizer": { "type": "BertPreTokenizer" },
        "decoder": { "type": "WordPiece", "prefix": "##", "cleanup": true },
        "model": { "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": { "[UNK]": 0, "hell": 1, "[CLS]": 2, "##o": 3, "h": 4 } },
    });
    let words = json!({
        "version": "1.0", "added_tokens": [], "pre_tokenizer": { "type": "Whitespace" },
        "model": { "type": "WordLevel", "unk_token": "a", "vocab": { "a": 0, "hello": 1, "b": 2 } },
    });
    [pairs, unigram, word_pieces, words]
}

fn odd(random: &mut Random) -> Value {
    let deep = (0..100).fold(json!(1), |inner, _| json!([inner]));
    let values = [
        json!(0),
        json!(1),
        json!(-1),
        json!(63),
        json!(64),
        json!(4_294_967_295_u64),
        json!(u64::MAX),
        json!(1e308),
        json!(0.5),
        json!(null),
        json!(true),
        json!(""),
        json!("a"),
        json!("\u{0}"),
        json!("hell"),
        json!("(a+)+$"),
        json!("(?=["),
        json!("<0x41>"),
        json!("ö".repeat(5000)),
        json!({ "Regex": "(a|aa)*\\1(?<=b)" }),
        json!({ "Regex": "" }),
        json!({ "String": "" }),
        json!([]),
        json!({}),
        json!(["a", "b"]),
        json!([["zz", "qq"], ["h", "zz"]]),
        json!("h zz qq"),
        json!({ "type": "Sequence", "decoders": [] }),
        json!({ "type": "ByteFallback" }),
        deep,
    ];
    values[random.below(values.len())].clone()
}

/// Where every value within this one lies.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    let inner: Vec<(String, &Value)> = match value {
        Value::Object(map) => {
            let escaped = |key: &String| key.replace('~', "~0").replace('/', "~1");
            map.iter()
                .map(|(key, value)| (escaped(key), value))
                .collect()
        }
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(index, value)| (index.to_string(), value))
            .collect(),
        _ => Vec::new(),
    };
    for (key, value) in inner {
        let place = format!("{at}/{key}");
        places(value, &place, found);
        found.push(place);
    }
}

fn damage_json(json: &mut Value, random: &mut Random) {
    let mut found = Vec::new();
    places(json, "", &mut found);
    if found.is_empty() {
        return;
    }
    let place = &found[random.below(found.len())];
    let (parent, key) = place.rsplit_once('/').unwrap();
    let other = json.pointer(&found[random.below(found.len())]).cloned();
    let key = key.replace("~1", "/").replace("~0", "~");
    match (random.below(5), json.pointer_mut(parent).unwrap()) {
        (0, Value::Object(map)) => drop(map.remove(&key)),
        (1, Value::Object(map)) => drop(map.insert("made_up".to_owned(), odd(random))),
        (0, Value::Array(items)) => drop(items.remove(key.parse().unwrap())),
        (1, Value::Array(items)) => items.push(items[key.parse::<usize>().unwrap()].clone()),
        (2, _) => *json.pointer_mut(place).unwrap() = other.unwrap(),
        _ => *json.pointer_mut(place).unwrap() = odd(random),
    }
}

/// Loads the tokenizer and asks everything of it.
fn asked(folder: &Path) -> Result<(), LoadError> {
    let tokenizer = Tokenizer::load(folder, 64)?;
    GenerationDefaults::load(folder)?;
    assert!(tokenizer.longest_token_bytes(64) < 1 << 20);
    for text in [
        "hello <s>hell\n\n  größe 漢</s> 0",
        "",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab",
    ] {
        if let Ok(ids) = tokenizer.encode(text, true) {
            tokenizer.decode(&ids).ok();
        }
    }
    let mut shown = tokenizer.detokenizer();
    for id in (0..64).chain([u32::MAX]) {
        shown.push(id).ok();
        tokenizer.is_special(id);
        let spelling = tokenizer.spelling(id).unwrap_or_default();
        tokenizer.id(&spelling);
    }
    shown.finish().ok();
    Ok(())
}

#[test]
fn damaged_tokenizers_are_refused_by_file_or_are_used() {
    let count = count(USUALLY, 4);
    let bases = tokenizers();
    let settings =
        json!({ "bos_token": "<s>", "eos_token": { "content": "</s>", "special": true } });
    let generation =
        json!({ "eos_token_id": [2, 3], "temperature": 0.6, "top_k": 20, "do_sample": true });
    let files = [
        "tokenizer.json",
        "tokenizer_config.json",
        "generation_config.json",
        "config.json",
    ];
    let folder = tempfile::tempdir().unwrap();
    let (mut refused, mut most, mut slowest) = (0, 0, Duration::ZERO);
    for seed in 0..count {
        let mut random = Random::new(seed);
        let model = bases[random.below(bases.len())].clone();
        let mut contents = [
            model,
            settings.clone(),
            generation.clone(),
            json!({ "eos_token_id": 2 }),
        ];
        for _ in 0..=random.below(3) {
            let file = if random.below(4) > 0 {
                0
            } else {
                1 + random.below(3)
            };
            damage_json(&mut contents[file], &mut random);
        }
        for (file, json) in files.into_iter().zip(&contents) {
            let mut text = json.to_string();
            if random.below(200) == 0 {
                let depth = 100_000;
                text = format!("{}{text}{}", "[".repeat(depth), "]".repeat(depth));
            }
            std::fs::write(folder.path().join(file), text).unwrap();
        }
        let start = Instant::now();
        let work = || catch_unwind(AssertUnwindSafe(|| asked(folder.path())));
        let (outcome, taken) = peak::of(work);
        slowest = slowest.max(start.elapsed());
        match outcome {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                assert!(told(&error, &files), "seed {seed}: {error}");
                refused += 1;
            }
            Err(_) => panic!("seed {seed} panics: {contents:?}"),
        }
        assert!(
            taken < MOST,
            "seed {seed} takes {taken} bytes: {contents:?}"
        );
        most = most.max(taken);
    }
    println!("{count} tokenizers: {refused} refused, {most} bytes and {slowest:?} at most");
    assert!(
        refused > 0 && refused < count,
        "{refused} of {count} were refused"
    );
}

#[test]
fn the_tokenizers_that_are_damaged_are_sound() {
    for tokenizer in tokenizers() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.json"), "{}").unwrap();
        std::fs::write(folder.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
        asked(folder.path()).unwrap();
        let tokenizer = Tokenizer::load(folder.path(), 64).unwrap();
        assert!(!tokenizer.encode("hello", false).unwrap().is_empty());
    }
}
