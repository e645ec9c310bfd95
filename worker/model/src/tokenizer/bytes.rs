//! What each token adds to a text, byte by byte: an answer that must have a form is held to it by
//! bytes, and a token may begin or end inside a character.

use tokenizers::DecoderWrapper;

use super::{Codec, Tokenizer};

/// What stands for a space in the tokens of SentencePiece.
const SPACE: char = '▁';

/// What one token adds to a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenBytes {
    Text(Vec<u8>),
    /// A special token, by its spelling. It steers the model and is no part of a text.
    Special(String),
    /// No token has the id, or nobody can say what its bytes are.
    Unknown,
}

/// How the vocabulary of a hub's tokenizer spells bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spelling {
    /// A letter for each byte, as GPT-2 had it.
    ByteLevel,
    /// Characters as they are, and `<0x0A>` for a byte that has none.
    Characters,
}

impl Tokenizer {
    /// The bytes of every id below `vocabulary`.
    pub fn bytes(&self, vocabulary: u32) -> Vec<TokenBytes> {
        let all = 0..vocabulary;
        match &self.0.codec {
            Codec::Hub(tokenizer) => {
                let spelling = tokenizer.get_decoder().and_then(spelling);
                let added = tokenizer.get_added_tokens_decoder();
                let of = |id: u32| {
                    let Some(name) = tokenizer.id_to_token(id) else {
                        return TokenBytes::Unknown;
                    };
                    if self.is_special(id) {
                        return TokenBytes::Special(name);
                    }
                    if added.contains_key(&id) {
                        return TokenBytes::Text(name.into_bytes());
                    }
                    let bytes = match spelling {
                        Some(Spelling::ByteLevel) => letters_to_bytes(&name),
                        Some(Spelling::Characters) => Some(characters_to_bytes(&name)),
                        None => None,
                    };
                    bytes.map_or(TokenBytes::Unknown, TokenBytes::Text)
                };
                all.map(of).collect()
            }
            Codec::SentencePiece(pieces) => all.map(|id| pieces.bytes(id)).collect(),
        }
    }
}

/// Nothing for decoders whose tokens do not say what their bytes are.
fn spelling(decoder: &DecoderWrapper) -> Option<Spelling> {
    match decoder {
        DecoderWrapper::ByteLevel(_) => Some(Spelling::ByteLevel),
        DecoderWrapper::ByteFallback(_) | DecoderWrapper::Metaspace(_) => {
            Some(Spelling::Characters)
        }
        DecoderWrapper::Sequence(steps) => steps.get_decoders().iter().find_map(spelling),
        _ => None,
    }
}

fn letters_to_bytes(letters: &str) -> Option<Vec<u8>> {
    letters.chars().map(letter_to_byte).collect()
}

/// GPT-2's letters: a byte that prints stands for itself, and the others, in order, are the letters
/// from U+0100 on.
fn letter_to_byte(letter: char) -> Option<u8> {
    let prints = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let code = u32::from(letter);
    match u8::try_from(code) {
        Ok(byte) => prints(&byte).then_some(byte),
        Err(_) => {
            let place = code.checked_sub(0x100)? as usize;
            (0..=0xff).filter(|byte| !prints(byte)).nth(place)
        }
    }
}

fn characters_to_bytes(name: &str) -> Vec<u8> {
    match byte_named(name) {
        Some(byte) => vec![byte],
        None => name.replace(SPACE, " ").into_bytes(),
    }
}

/// `<0x0A>` is 10.
pub(super) fn byte_named(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    let two = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    two.then(|| u8::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_one_letter() {
        let mut bytes: Vec<u8> = ('!'..='\u{143}').filter_map(letter_to_byte).collect();
        bytes.sort_unstable();
        assert_eq!(bytes, (0..=0xff).collect::<Vec<u8>>());
        assert_eq!(letters_to_bytes("ĠHÃ¶Ċ"), Some(b" H\xc3\xb6\n".to_vec()));
        assert_eq!(letters_to_bytes("▁"), None);
    }

    #[test]
    fn characters_stand_for_themselves_and_names_of_bytes_for_bytes() {
        assert_eq!(characters_to_bytes("▁ö"), " ö".as_bytes());
        assert_eq!(characters_to_bytes("<0xE6>"), [0xe6]);
        assert_eq!(characters_to_bytes("<0xE>"), b"<0xE>");
    }
}
