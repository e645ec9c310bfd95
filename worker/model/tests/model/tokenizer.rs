//! Ids are those of Hugging Face, and text comes out in whole characters.

use proptest::prelude::*;
use safetensors::Dtype;
use serde::Deserialize;
use serde_json::{Value, json};
use weir_model::{GenerationDefaults, TokenBytes, Tokenizer};

use crate::logits::{fixtures, triage};
use crate::tiny::{Tiny, word_level};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Encoding {
    text: String,
    ids: Vec<u32>,
    with_special: Vec<u32>,
    decoded: String,
}

fn tokenizer() -> Tokenizer {
    Tokenizer::load(&triage(), 1536).unwrap()
}

/// What a detokenizer shows for each id, and at the end.
fn shown(tokenizer: &Tokenizer, ids: &[u32]) -> Vec<String> {
    let mut detokenizer = tokenizer.detokenizer();
    let mut pieces: Vec<String> = ids
        .iter()
        .map(|id| detokenizer.push(*id).unwrap())
        .collect();
    pieces.push(detokenizer.finish().unwrap());
    pieces
}

#[test]
fn texts_have_the_ids_that_hugging_face_gives_them() {
    let json = std::fs::read(fixtures().join("triage/encodings.json")).unwrap();
    let encodings: Vec<Encoding> = serde_json::from_slice(&json).unwrap();
    let tokenizer = tokenizer();
    for encoding in encodings {
        assert_eq!(
            tokenizer.encode(&encoding.text, false).unwrap(),
            encoding.ids
        );
        assert_eq!(
            tokenizer.encode(&encoding.text, true).unwrap(),
            encoding.with_special
        );
        let special = encoding.ids.iter().any(|id| tokenizer.is_special(*id));
        if !special {
            assert_eq!(tokenizer.decode(&encoding.ids).unwrap(), encoding.decoded);
            assert_eq!(shown(&tokenizer, &encoding.ids).concat(), encoding.decoded);
        }
    }
}

#[test]
fn a_character_of_several_tokens_is_shown_with_the_last_of_them() {
    let tokenizer = tokenizer();
    let ids = tokenizer.encode("🙂!", false).unwrap();
    let pieces = shown(&tokenizer, &ids);
    assert!(ids.len() > 2, "the face is spelled in bytes");
    assert!(pieces[..ids.len() - 2].iter().all(String::is_empty));
    assert_eq!(pieces[ids.len() - 2..], ["🙂", "!", ""]);
}

#[test]
fn a_character_that_is_never_completed_is_shown_at_the_end() {
    let tokenizer = tokenizer();
    let ids = tokenizer.encode("a🙂", false).unwrap();
    let pieces = shown(&tokenizer, &ids[..ids.len() - 1]);
    assert_eq!(pieces.concat(), "a\u{fffd}");
    assert_eq!(pieces.last().unwrap(), "\u{fffd}");
}

#[test]
fn bytes_that_are_no_character_are_not_held_for_ever() {
    let tokenizer = tokenizer();
    let face = tokenizer.encode("🙂", false).unwrap();
    let broken = vec![*face.last().unwrap(); 40];
    let pieces = shown(&tokenizer, &broken);
    assert!(pieces[..5].iter().any(|piece| !piece.is_empty()));
    assert_eq!(pieces.concat(), "\u{fffd}".repeat(40));
}

/// A tokenizer that spells as SentencePiece does: `▁` before words, rare characters in bytes.
fn sentence_piece() -> Tokenizer {
    let tiny = Tiny::new();
    tiny.write(Dtype::F32);
    let spellings = [
        "▁hello", "▁world", "!", "<0xF0>", "<0x9F>", "<0x99>", "<0x82>",
    ];
    let vocabulary: serde_json::Map<String, Value> = spellings
        .iter()
        .enumerate()
        .map(|(id, spelling)| ((*spelling).to_owned(), json!(id)))
        .collect();
    let mut file = word_level(1);
    file["added_tokens"] = json!([]);
    file["model"] = json!({ "type": "WordLevel", "vocab": vocabulary, "unk_token": "!" });
    file["decoder"] = json!({ "type": "Sequence", "decoders": [
        { "type": "Replace", "pattern": { "String": "▁" }, "content": " " },
        { "type": "ByteFallback" },
        { "type": "Fuse" },
        { "type": "Strip", "content": " ", "start": 1, "stop": 0 },
    ]});
    tiny.write_file("tokenizer.json", &file.to_string());
    Tokenizer::load(tiny.path(), 61).unwrap()
}

#[test]
fn spaces_before_words_and_characters_in_bytes_survive_being_streamed() {
    let tokenizer = sentence_piece();
    let ids = [0, 1, 2, 3, 4, 5, 6, 3, 4, 5, 6, 0];
    let pieces = shown(&tokenizer, &ids);
    assert_eq!(
        pieces,
        [
            "hello", " world", "!", "", "", "", "🙂", "", "", "", "🙂", " hello", ""
        ]
    );
    assert_eq!(pieces.concat(), tokenizer.decode(&ids).unwrap());
}

#[test]
fn bytes_that_spoil_the_character_before_them_take_nothing_back() {
    let pieces = shown(&sentence_piece(), &[3, 4, 5, 6, 4, 1]);
    assert_eq!(pieces, ["", "", "", "🙂", "", "\u{fffd} world", ""]);
}

#[test]
fn the_bytes_of_a_token_are_known_where_it_is_text() {
    let text = |bytes: &[u8]| TokenBytes::Text(bytes.to_vec());
    let bytes = sentence_piece().bytes(9);
    assert_eq!(
        bytes[..4],
        [text(b" hello"), text(b" world"), text(b"!"), text(&[0xf0])]
    );
    assert_eq!(bytes[7..], [TokenBytes::Unknown, TokenBytes::Unknown]);
    let special = TokenBytes::Special("<|end|>".to_owned());
    assert_eq!(tokenizer().bytes(1536)[2], special);
}

proptest! {
    #[test]
    fn bytes_of_tokens_add_up_to_the_text(text in "[a-zA-Z0-9 .,!?äößéλ漢字🙂\n\t\u{0}]{0,60}") {
        let tokenizer = tokenizer();
        let bytes = tokenizer.bytes(1536);
        let mut spelled = Vec::new();
        for id in tokenizer.encode(&text, false).unwrap() {
            let TokenBytes::Text(more) = &bytes[id as usize] else {
                panic!("{id} is no text");
            };
            spelled.extend_from_slice(more);
        }
        prop_assert_eq!(spelled, text.into_bytes());
    }

    #[test]
    fn pieces_add_up_to_the_text(text in "[a-zA-Z0-9 .,!?äößéλ漢字🙂\n]{0,60}") {
        let tokenizer = tokenizer();
        let ids = tokenizer.encode(&text, false).unwrap();
        let pieces = shown(&tokenizer, &ids);
        prop_assert_eq!(pieces.concat(), text);
        let broken = pieces.iter().any(|piece| piece.contains(char::REPLACEMENT_CHARACTER));
        prop_assert!(!broken);
    }
}

#[test]
fn an_answer_ends_where_the_text_model_within_one_for_images_says() {
    let mut tiny = Tiny::new();
    tiny.set("eos_token_id", json!(2));
    tiny.set("text_config", json!({ "eos_token_id": [7, 9] }));
    tiny.write(Dtype::F32);
    let tokenizer = Tokenizer::load(tiny.path(), 61).unwrap();
    assert_eq!(tokenizer.ends(), [2, 7, 9]);
}

#[test]
fn an_answer_ends_at_the_ids_that_any_of_the_configs_names() {
    let mut tiny = Tiny::new();
    tiny.set("eos_token_id", json!([2, 9]));
    tiny.write(Dtype::F32);
    tiny.write_file("generation_config.json", "{\"eos_token_id\": 5}");
    tiny.write_file(
        "tokenizer_config.json",
        "{\"eos_token\": {\"content\": \"<end>\"}, \"bos_token\": \"<s>\"}",
    );
    let tokenizer = Tokenizer::load(tiny.path(), 61).unwrap();
    assert_eq!(tokenizer.ends(), [2, 3, 5, 9]);
    assert_eq!(tokenizer.beginning(), Some(1));
    assert!(tokenizer.is_special(3) && !tokenizer.is_special(9));
    assert_eq!(tokenizer.spelling(9).as_deref(), Some("w9"));
    assert_eq!(tokenizer.id("w9"), Some(9));
    assert_eq!(tokenizer.spelling(61), None);
}

#[test]
fn a_prompt_is_not_cut_to_what_the_tokenizer_was_trained_with() {
    let tiny = Tiny::new();
    tiny.write(Dtype::F32);
    let tokenizer = Tokenizer::load(tiny.path(), 61).unwrap();
    let ids = tokenizer.encode("w4 w5 w6 w7 w8 w9", true).unwrap();
    assert_eq!(ids, [4, 5, 6, 7, 8, 9]);
}

#[test]
fn sampling_defaults_are_those_of_the_generation_config() {
    let tiny = Tiny::new();
    assert_eq!(
        GenerationDefaults::load(tiny.path()).unwrap(),
        GenerationDefaults::default()
    );
    tiny.write_file(
        "generation_config.json",
        "{\"temperature\": 0.6, \"top_k\": 20}",
    );
    let defaults = GenerationDefaults::load(tiny.path()).unwrap();
    assert_eq!(
        (defaults.temperature, defaults.top_k),
        (Some(0.6), Some(20))
    );
    let triage = GenerationDefaults::load(&triage()).unwrap();
    assert_eq!(
        triage.temperature,
        Some(0.0),
        "it says that it does not sample"
    );
}
