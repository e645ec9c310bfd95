//! Tokenizers of small vocabularies: what a file says is what they do, or it is refused.

use weir_model::{Gguf, Tokenizer};

use crate::small::{NORMAL, fill, open, pairs, pieces};
use crate::written::{Value, Written, folder};

fn refusal(file: &Written) -> String {
    let folder = folder();
    let gguf = Gguf::open(&file.write(folder.path(), "m.gguf")).unwrap();
    let error = Tokenizer::from_gguf(&gguf, 1 << 20).unwrap_err();
    assert_eq!(error.reason(), "Unsupported");
    let message = error.to_string();
    let path = folder.path().join("m.gguf").display().to_string();
    message.strip_prefix(&path).unwrap().to_owned()
}

fn spelled(tokenizer: &Tokenizer, text: &str) -> Vec<String> {
    let ids = tokenizer.encode(text, false).unwrap();
    ids.iter()
        .map(|id| tokenizer.spelling(*id).unwrap())
        .collect()
}

#[test]
fn the_best_scored_pair_is_merged_first() {
    let tokenizer = open(&pieces());
    assert_eq!(spelled(&tokenizer, "hello"), ["▁hell", "o"]);
    // `lo` is worse than `ll`, and comes into its own where there is one `l`.
    assert_eq!(spelled(&tokenizer, "helo"), ["▁", "he", "lo"]);
    assert_eq!(spelled(&tokenizer, "lllll"), ["▁", "ll", "ll", "l"]);
}

#[test]
fn what_no_token_spells_is_spelled_in_bytes() {
    let tokenizer = open(&pieces());
    let text = "öß";
    assert_eq!(spelled(&tokenizer, text), ["▁", "ö", "<0xC3>", "<0x9F>"]);
    let ids = tokenizer.encode(text, false).unwrap();
    assert_eq!(tokenizer.decode(&ids).unwrap(), text);
}

#[test]
fn without_bytes_it_is_the_unknown_token_and_without_that_an_error() {
    let mut file = pieces();
    let tokens = ["<unk>", "▁", "h"].map(|token| (token.to_owned(), NORMAL));
    fill(&mut file, &tokens);
    let scores = vec![Value::F32(0.0); 3];
    file.set("tokenizer.ggml.scores", Value::Array(scores));
    for key in ["bos", "eos"] {
        file.set(&format!("tokenizer.ggml.{key}_token_id"), Value::U32(0));
    }
    assert_eq!(open(&file).encode("hß", false).unwrap(), [1, 2, 0]);
    file.values.retain(|(key, _)| !key.contains("unknown"));
    let error = open(&file).encode("hß", false).unwrap_err();
    assert_eq!(
        error.to_string(),
        "tokenizing failed: no token spells \"ß\", and none stands for what is unknown"
    );
}

#[test]
fn a_space_begins_a_text_and_what_follows_a_special_token_unless_the_file_says_not() {
    let mut file = pieces();
    let tokenizer = open(&file);
    assert_eq!(
        spelled(&tokenizer, "he<|end|>he\n\n"),
        ["▁", "he", "<|end|>", "▁", "he", "\n\n"]
    );
    let ids = tokenizer.encode("he <|end|>he\n\n", false).unwrap();
    assert_eq!(tokenizer.decode(&ids).unwrap(), "he  he\n\n");
    file.set("tokenizer.ggml.add_space_prefix", Value::Bool(0));
    assert_eq!(
        spelled(&open(&file), "he<|end|> he"),
        ["he", "<|end|>", "▁", "he"]
    );
}

#[test]
fn pairs_are_merged_inside_words_and_special_tokens_cut_out() {
    let tokenizer = open(&pairs());
    assert_eq!(
        spelled(&tokenizer, "hell hell ö<tool><|end|>he"),
        ["hell", "Ġhell", "Ġ", "Ã¶", "<tool>", "<|end|>", "he"]
    );
    let ids = tokenizer.encode("ö <tool><|end|>ß", false).unwrap();
    assert_eq!(tokenizer.decode(&ids).unwrap(), "ö <tool>ß");
}

#[test]
fn tokens_that_fill_up_have_no_text_and_are_in_no_text() {
    for (file, filling) in [(pieces(), 272), (pairs(), 263)] {
        let tokenizer = open(&file);
        assert_eq!(tokenizer.decode(&[filling]).unwrap(), "");
        assert!(tokenizer.is_special(filling));
        let text = tokenizer.spelling(filling).unwrap();
        assert!(text.starts_with("[PAD"), "{text}");
        assert!(!tokenizer.encode(&text, false).unwrap().contains(&filling));
    }
}

#[test]
fn a_special_token_inside_an_answer_takes_no_space_with_it() {
    let tokenizer = open(&pieces());
    let [end, word, half] =
        ["<|end|>", "▁hell", "<0xC3>"].map(|token| tokenizer.id(token).unwrap());
    let other = tokenizer.id("<0x9F>").unwrap();
    let ids = [end, word, end, word, half, end, other, word];
    let mut detokenizer = tokenizer.detokenizer();
    let shown = ids.map(|id| detokenizer.push(id).unwrap());
    assert_eq!(shown, ["", "hell", "", " hell", "", "", "ß", " hell"]);
    assert_eq!(tokenizer.decode(&ids).unwrap(), shown.concat());
}

#[test]
fn an_answer_ends_at_the_ids_of_every_key_and_at_control_tokens_that_are_known_to_end() {
    let mut file = pieces();
    assert_eq!(open(&file).ends(), [2, 271]);
    file.set("tokenizer.ggml.eot_token_id", Value::U32(260))
        .set("tokenizer.ggml.eom_token_id", Value::U32(261))
        .set(
            "tokenizer.ggml.eos_token_ids",
            Value::Array(vec![Value::U32(2), Value::U32(262)]),
        );
    assert_eq!(open(&file).ends(), [2, 260, 261, 262, 271]);
    let mut file = pairs();
    assert_eq!(open(&file).ends(), [261]);
    file.values
        .retain(|(key, _)| !key.ends_with("eos_token_id"));
    assert_eq!(open(&file).ends(), [261]);
}

#[test]
fn tokens_stand_around_a_text_where_the_file_says_so() {
    let mut file = pieces();
    assert_eq!(open(&file).encode("o", true).unwrap(), [1, 259, 263]);
    file.set("tokenizer.ggml.add_bos_token", Value::Bool(0))
        .set("tokenizer.ggml.add_eos_token", Value::Bool(1));
    assert_eq!(open(&file).encode("o", true).unwrap(), [259, 263, 2]);
    assert_eq!(open(&file).encode("o", false).unwrap(), [259, 263]);
    let mut file = pairs();
    let plain = open(&file).encode("o", true).unwrap();
    assert_eq!(plain.len(), 1);
    file.set("tokenizer.ggml.add_bos_token", Value::Bool(1))
        .set("tokenizer.ggml.bos_token_id", Value::U32(262));
    assert_eq!(open(&file).encode("o", true).unwrap(), [262, plain[0]]);
    file.values
        .retain(|(key, _)| !key.ends_with("bos_token_id"));
    assert_eq!(
        refusal(&file),
        " has no metadata `tokenizer.ggml.bos_token_id`"
    );
}

#[test]
fn chat_templates_are_had_by_name() {
    let folder = folder();
    let mut file = pieces();
    file.set("tokenizer.chat_template", Value::text("{{ bos_token }}"))
        .set("tokenizer.chat_template.tool_use", Value::text("tools"))
        .set("tokenizer.chat_templates", Value::texts(&["tool_use"]));
    let gguf = Gguf::open(&file.write(folder.path(), "m.gguf")).unwrap();
    assert_eq!(
        gguf.chat_templates().unwrap(),
        [
            ("default".to_owned(), "{{ bos_token }}"),
            ("tool_use".to_owned(), "tools")
        ]
    );
}

#[test]
fn a_vocabulary_that_contradicts_itself_is_refused_by_its_key() {
    let with = |file: Written, key: &str, value: Value| {
        let mut file = file;
        file.set(&format!("tokenizer.ggml.{key}"), value);
        refusal(&file)
    };
    let twice = Value::texts(&["a", "b", "a"]);
    for (refusal, expected) in [
        (
            with(pieces(), "model", Value::text("t5")),
            "`tokenizer.ggml.model` is \"t5\", where gpt2 and llama are known",
        ),
        (
            with(pairs(), "pre", Value::text("kimi-k2")),
            "`tokenizer.ggml.pre` is \"kimi-k2\", where these are known: llama-bpe, ",
        ),
        (
            with(pieces(), "scores", Value::Array(vec![Value::F32(0.0)])),
            "`tokenizer.ggml.scores` is an array of 1 f32, where there are 273 tokens",
        ),
        (
            with(
                pieces(),
                "scores",
                Value::Array(vec![Value::F32(f32::NAN); 273]),
            ),
            "where a list of finite numbers with a fraction is expected",
        ),
        (
            with(pieces(), "token_type", Value::Array(vec![Value::I32(1)])),
            "`tokenizer.ggml.token_type` is an array of 1 i32, where there are 273 tokens",
        ),
        (
            with(pieces(), "eot_token_id", Value::U32(273)),
            "`tokenizer.ggml.eot_token_id` is 273, where there are 273 tokens",
        ),
        (
            with(
                pieces(),
                "eos_token_ids",
                Value::Array(vec![Value::U32(u32::MAX)]),
            ),
            "where 4294967295 is none of 273 tokens",
        ),
        (
            with(pieces(), "tokens", Value::Empty(8)),
            "`tokenizer.ggml.tokens` is an array of 0 text, where the embedding has 1048576 rows",
        ),
        (
            with(pairs(), "merges", Value::texts(&["h e", "he"])),
            "where merge 1 is \"he\", not two tokens",
        ),
        (
            with(pairs(), "merges", Value::texts(&["h e", "he l"])),
            "where merge 1 is \"he l\", and \"hel\" is no token",
        ),
        (
            with(pairs(), "merges", Value::texts(&["h e"; 4225])),
            "is an array of 4225 text, where there are 264 tokens and 16 merges for each, at most",
        ),
        (
            with(pairs(), "tokens", twice),
            "`tokenizer.ggml.token_type` is an array of 264 i32, where there are 3 tokens",
        ),
    ] {
        assert!(refusal.contains(expected), "{refusal}");
    }
    let mut file = pieces();
    file.values.retain(|(key, _)| !key.ends_with("token_type"));
    file.set("tokenizer.ggml.tokens", Value::texts(&["a", "b", "a"]));
    assert!(refusal(&file).ends_with("where tokens 0 and 2 are both \"a\""));
    let mut file = pairs();
    file.values.retain(|(key, _)| !key.ends_with(".pre"));
    assert_eq!(refusal(&file), " has no metadata `tokenizer.ggml.pre`");
}

#[test]
fn more_tokens_than_the_embedding_has_rows_are_refused() {
    let folder = folder();
    let gguf = Gguf::open(&pieces().write(folder.path(), "m.gguf")).unwrap();
    Tokenizer::from_gguf(&gguf, 273).unwrap();
    let message = Tokenizer::from_gguf(&gguf, 272).unwrap_err().to_string();
    let why = "is an array of 273 text, where the embedding has 272 rows";
    assert!(message.ends_with(why), "{message}");
}
