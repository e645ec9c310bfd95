//! Texts have the ids that llama.cpp keeps beside its vocabularies.

use std::fs;
use std::path::Path;

use weir_model::{Gguf, Tokenizer};

use crate::vocabularies;

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

/// How many cases there were, all of them right.
fn check(name: &str) -> usize {
    let Some(folder) = vocabularies::folder() else {
        return 0;
    };
    let tokenizer = tokenizer(folder, name);
    let cases = cases(folder, name);
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
