//! Texts have the ids that other implementations give them.
//!
//! llama.cpp keeps some beside its vocabularies; others are written by `fixtures/vocabularies.py`.

use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value as Json;
use weir_model::{Gguf, TokenBytes, Tokenizer};

use crate::small::{NORMAL, fill, open};
use crate::vocabularies;
use crate::written::{Value, Written};

struct Case {
    text: String,
    ids: Vec<u32>,
}

/// Texts stand between lines of their own; ids a line for each text.
fn cases(folder: &Path, name: &str) -> Vec<Case> {
    let beside = |end: &str| {
        let path = folder.join(format!("ggml-vocab-{name}.gguf.{end}"));
        fs::read_to_string(path).unwrap()
    };
    let texts = beside("inp");
    let ids = beside("out");
    let mut texts: Vec<&str> = texts.split("\n__ggml_vocab_test__\n").collect();
    if texts.last() == Some(&"") {
        texts.pop();
    }
    let ids: Vec<Vec<u32>> = ids
        .lines()
        .map(|line| line.split_whitespace().map(|id| id.parse().unwrap()))
        .map(Iterator::collect)
        .collect();
    assert_eq!(texts.len(), ids.len(), "{name}");
    texts
        .into_iter()
        .zip(ids)
        .map(|(text, ids)| Case {
            text: text.to_owned(),
            ids,
        })
        .collect()
}

fn tokenizer(folder: &Path, name: &str) -> Tokenizer {
    let path = folder.join(format!("ggml-vocab-{name}.gguf"));
    let gguf = Gguf::open(&path).unwrap();
    Tokenizer::from_gguf(&gguf, u32::MAX).unwrap()
}

/// What a detokenizer shows, and what decoding at once does.
fn read_back(tokenizer: &Tokenizer, ids: &[u32]) -> (String, String) {
    let mut detokenizer = tokenizer.detokenizer();
    let mut shown = String::new();
    for id in ids {
        shown.push_str(&detokenizer.push(*id).unwrap());
    }
    shown.push_str(&detokenizer.finish().unwrap());
    (shown, tokenizer.decode(ids).unwrap())
}

/// What the tokens' bytes are together; nothing where one is no text.
fn spelled(bytes: &[TokenBytes], ids: &[u32]) -> Option<Vec<u8>> {
    let of = |id: &u32| match &bytes[*id as usize] {
        TokenBytes::Text(text) => Some(text.clone()),
        TokenBytes::Special(_) | TokenBytes::Unknown => None,
    };
    let texts: Option<Vec<Vec<u8>>> = ids.iter().map(of).collect();
    texts.map(|texts| texts.concat())
}

/// How many cases there were, all of them right.
fn check(name: &str) -> usize {
    let Some(folder) = vocabularies::folder() else {
        return 0;
    };
    let tokenizer = tokenizer(folder, name);
    let cases = cases(folder, name);
    let bytes = tokenizer.bytes(300_000);
    let mut wrong = Vec::new();
    for case in &cases {
        let ids = tokenizer.encode(&case.text, false).unwrap();
        if ids != case.ids {
            wrong.push(format!("{:?}\n  {ids:?}\n  {:?}", case.text, case.ids));
            continue;
        }
        let (shown, decoded) = read_back(&tokenizer, &ids);
        assert_eq!(shown, decoded, "{name}");
        assert_eq!(decoded, case.text, "{name}");
        let spelled = spelled(&bytes, &ids).expect("no text is a special token's name");
        // Some put a space before a text.
        let marked = [b" ", case.text.as_bytes()].concat();
        let same = spelled == case.text.as_bytes() || spelled == marked;
        assert!(same, "{name}: {:?} is spelled {spelled:?}", case.text);
    }
    assert!(wrong.is_empty(), "{name}:\n{}", wrong.join("\n"));
    cases.len()
}

macro_rules! golden {
    ($($test:ident: $name:literal,)*) => {
        $(
            #[test]
            fn $test() {
                println!("{}: {} cases", $name, check($name));
            }
        )*
    };
}

golden! {
    llama_bpe_has_its_golden_ids: "llama-bpe",
    llama_spm_has_its_golden_ids: "llama-spm",
    phi_3_has_its_golden_ids: "phi-3",
    qwen2_has_its_golden_ids: "qwen2",
    qwen35_has_its_golden_ids: "qwen35",
    refact_has_its_golden_ids: "refact",
    gpt_2_has_its_golden_ids: "gpt-2",
    starcoder_has_its_golden_ids: "starcoder",
    mpt_has_its_golden_ids: "mpt",
    command_r_has_its_golden_ids: "command-r",
    falcon_has_its_golden_ids: "falcon",
}

#[test]
fn a_cut_that_is_not_known_is_refused_by_name() {
    let Some(folder) = vocabularies::folder() else {
        return;
    };
    for (name, why) in [
        (
            "deepseek-llm",
            "`tokenizer.ggml.pre` is \"deepseek-llm\", where these are known: ",
        ),
        (
            "bert-bge",
            "`tokenizer.ggml.model` is \"bert\", where gpt2 and llama are known",
        ),
    ] {
        let gguf = Gguf::open(&folder.join(format!("ggml-vocab-{name}.gguf"))).unwrap();
        let error = Tokenizer::from_gguf(&gguf, u32::MAX).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
        assert_eq!(error.reason(), "Unsupported");
    }
}

#[test]
fn the_space_after_a_special_token_of_phi_3_is_part_of_it() {
    let Some(folder) = vocabularies::folder() else {
        return;
    };
    let tokenizer = tokenizer(folder, "phi-3");
    let id = |token: &str| tokenizer.id(token).unwrap();
    let ids = tokenizer
        .encode("<|user|>\nHi<|end|>\n<|assistant|>\n", true)
        .unwrap();
    let expected = [
        id("<s>"),
        id("<|user|>"),
        id("▁Hi"),
        id("<|end|>"),
        id("<|assistant|>"),
    ];
    assert_eq!(ids, expected);
    assert!(tokenizer.ends().contains(&id("<|end|>")));
    assert!(tokenizer.ends().contains(&id("<|endoftext|>")));
    assert_eq!(tokenizer.beginning(), Some(id("<s>")));
}

#[test]
fn a_beginning_is_added_where_the_cut_or_the_file_asks_for_one() {
    let Some(folder) = vocabularies::folder() else {
        return;
    };
    for (name, beginning) in [
        ("llama-bpe", Some(128_000)),
        ("llama-spm", Some(1)),
        ("command-r", Some(5)),
        ("qwen2", None),
        ("gpt-2", None),
    ] {
        let tokenizer = tokenizer(folder, name);
        let plain = tokenizer.encode("Hello", false).unwrap();
        let special = tokenizer.encode("Hello", true).unwrap();
        let added: Vec<u32> = beginning.into_iter().collect();
        assert_eq!(special, [added, plain].concat(), "{name}");
    }
}

fn fixture(name: &str) -> Json {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tokenizers");
    serde_json::from_slice(&fs::read(folder.join(name)).unwrap()).unwrap()
}

#[derive(Deserialize)]
struct Pieces {
    tokens: Vec<String>,
    scores: Vec<f32>,
    types: Vec<i32>,
    cases: Vec<(String, Vec<u32>)>,
}

#[derive(Deserialize)]
struct Pairs {
    tokens: Vec<String>,
    merges: Vec<String>,
    texts: Vec<String>,
    cases: serde_json::Map<String, Json>,
}

#[test]
fn pieces_are_those_that_sentence_piece_finds() {
    for (name, prefix) in [("prefixed", 1), ("bare", 0)] {
        let golden: Pieces = serde_json::from_value(fixture("pieces.json")[name].clone()).unwrap();
        let mut file = Written::new();
        let tokens: Vec<(String, i32)> = golden.tokens.into_iter().zip(golden.types).collect();
        let scores = golden.scores.into_iter().map(Value::F32);
        file.set("tokenizer.ggml.model", Value::text("llama"))
            .set("tokenizer.ggml.scores", Value::Array(scores.collect()))
            .set("tokenizer.ggml.add_space_prefix", Value::Bool(prefix));
        fill(&mut file, &tokens);
        let tokenizer = open(&file);
        for (text, ids) in golden.cases {
            let found = tokenizer.encode(&text, false).unwrap();
            assert_eq!(found, ids, "{name}: {text:?}");
            assert_eq!(tokenizer.decode(&ids).unwrap(), text, "{name}");
        }
    }
}

#[test]
fn pairs_are_those_that_hugging_face_finds_for_every_cut() {
    let golden: Pairs = serde_json::from_value(fixture("pairs.json")).unwrap();
    let tokens: Vec<(String, i32)> = golden
        .tokens
        .into_iter()
        .map(|token| (token, NORMAL))
        .collect();
    let merges: Vec<&str> = golden.merges.iter().map(String::as_str).collect();
    for (cut, ids) in golden.cases {
        let mut file = Written::new();
        file.set("tokenizer.ggml.model", Value::text("gpt2"))
            .set("tokenizer.ggml.pre", Value::text(&cut))
            .set("tokenizer.ggml.add_bos_token", Value::Bool(0))
            .set("tokenizer.ggml.merges", Value::texts(&merges));
        fill(&mut file, &tokens);
        let tokenizer = open(&file);
        let ids: Vec<Vec<u32>> = serde_json::from_value(ids).unwrap();
        for (text, ids) in golden.texts.iter().zip(ids) {
            let found = tokenizer.encode(text, false).unwrap();
            assert_eq!(found, ids, "{cut}: {text:?}");
        }
    }
}
