//! Small vocabularies in GGUF files, to be damaged.

use weir_model::{Gguf, Tokenizer};

use crate::written::{Value, Written, folder};

pub const NORMAL: i32 = 1;
pub const UNKNOWN: i32 = 2;
pub const CONTROL: i32 = 3;
pub const USER_DEFINED: i32 = 4;
pub const UNUSED: i32 = 5;
pub const BYTE: i32 = 6;

pub fn open(file: &Written) -> Tokenizer {
    let folder = folder();
    let gguf = Gguf::open(&file.write(folder.path(), "m.gguf")).unwrap();
    Tokenizer::from_gguf(&gguf, 1 << 20).unwrap()
}

pub fn fill(file: &mut Written, tokens: &[(String, i32)]) {
    let texts: Vec<&str> = tokens.iter().map(|(text, _)| text.as_str()).collect();
    let kinds = tokens.iter().map(|(_, kind)| Value::I32(*kind)).collect();
    file.set("tokenizer.ggml.tokens", Value::texts(&texts))
        .set("tokenizer.ggml.token_type", Value::Array(kinds));
}

/// A SentencePiece vocabulary in which `hello` is spelled.
pub fn pieces() -> Written {
    let mut tokens = vec![
        ("<unk>".to_owned(), UNKNOWN),
        ("<s>".to_owned(), CONTROL),
        ("</s>".to_owned(), CONTROL),
    ];
    tokens.extend((0..=255).map(|byte| (format!("<0x{byte:02X}>"), BYTE)));
    let normal = [
        "▁", "h", "e", "l", "o", "he", "ll", "hell", "lo", "▁hell", "ö",
    ];
    tokens.extend(normal.map(|token| (token.to_owned(), NORMAL)));
    tokens.push(("\n\n".to_owned(), USER_DEFINED));
    tokens.push(("<|end|>".to_owned(), CONTROL));
    tokens.push(("[PAD272]".to_owned(), UNUSED));
    let scores = (0..tokens.len()).map(|id| Value::F32(-(id as f32)));
    let mut file = Written::new();
    file.set("general.architecture", Value::text("llama"))
        .set("tokenizer.ggml.model", Value::text("llama"))
        .set("tokenizer.ggml.scores", Value::Array(scores.collect()))
        .set("tokenizer.ggml.bos_token_id", Value::U32(1))
        .set("tokenizer.ggml.eos_token_id", Value::U32(2))
        .set("tokenizer.ggml.unknown_token_id", Value::U32(0));
    fill(&mut file, &tokens);
    file
}

/// The letters that byte-pair tokenizers spell bytes with.
fn letters() -> Vec<String> {
    let mut next = 255;
    (0..=255_u32)
        .map(|byte| {
            let shown = matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
            let letter = if shown {
                byte
            } else {
                next += 1;
                next
            };
            char::from_u32(letter).unwrap().to_string()
        })
        .collect()
}

/// A byte-pair vocabulary in which ` hell` is a token.
pub fn pairs() -> Written {
    let mut tokens: Vec<(String, i32)> = letters()
        .into_iter()
        .map(|letter| (letter, NORMAL))
        .collect();
    let made = ["he", "ll", "hell", "Ġhell", "Ã¶"];
    tokens.extend(made.map(|token| (token.to_owned(), NORMAL)));
    tokens.push(("<|end|>".to_owned(), CONTROL));
    tokens.push(("<tool>".to_owned(), USER_DEFINED));
    tokens.push(("[PAD263]".to_owned(), UNUSED));
    let mut file = Written::new();
    file.set("tokenizer.ggml.model", Value::text("gpt2"))
        .set("tokenizer.ggml.pre", Value::text("gpt-2"))
        .set(
            "tokenizer.ggml.merges",
            Value::texts(&["h e", "l l", "he ll", "Ġ hell", "Ã ¶"]),
        )
        .set("tokenizer.ggml.eos_token_id", Value::U32(261));
    fill(&mut file, &tokens);
    file
}
