//! The strings and numbers of a text that is JSON, where they stand, so that some can be written
//! anew and the rest stays as it is.

use std::ops::Range;

use serde::de::IgnoredAny;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Key,
    Text,
    Number,
}

/// Whether `text` is an object or a list of JSON, and nothing else.
pub(super) fn is_json(text: &str) -> bool {
    let trimmed = text.trim_ascii();
    let is_enclosed = matches!(trimmed.as_bytes(), [b'{', .., b'}'] | [b'[', .., b']']);
    is_enclosed && serde_json::from_str::<IgnoredAny>(trimmed).is_ok()
}

/// The tokens of a text that [`is_json`], with their quotes.
pub(super) struct Tokens<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Tokens<'a> {
    pub fn of(text: &'a str) -> Self {
        Self { text, at: 0 }
    }
}

impl Iterator for Tokens<'_> {
    type Item = (Token, Range<usize>);

    fn next(&mut self) -> Option<Self::Item> {
        let bytes = self.text.as_bytes();
        let begins = |byte: &u8| matches!(byte, b'"' | b'-' | b'0'..=b'9');
        let start = self.at + bytes[self.at..].iter().position(begins)?;
        let rest = &bytes[start..];
        let (token, len) = match rest[0] {
            b'"' => {
                let len = string(rest);
                let mut after = rest[len..]
                    .iter()
                    .filter(|byte| !byte.is_ascii_whitespace());
                match after.next() {
                    Some(b':') => (Token::Key, len),
                    _ => (Token::Text, len),
                }
            }
            _ => {
                let is_part =
                    |byte: &&u8| matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9');
                (Token::Number, rest.iter().take_while(is_part).count())
            }
        };
        self.at = start + len;
        Some((token, start..self.at))
    }
}

/// How long the string is that `bytes` begin with.
fn string(bytes: &[u8]) -> usize {
    let mut is_escaped = true;
    for (index, byte) in bytes.iter().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return index + 1,
            _ => {}
        }
    }
    bytes.len()
}

/// What a string of JSON says; nothing of one with half a character in it.
pub(super) fn said(literal: &str) -> Option<String> {
    serde_json::from_str(literal).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_and_numbers_are_found_and_nothing_else() {
        let text = r#" {"a" : "b\"[1]\\", "c": [-1.5e3, true, null, "d"]} "#;
        assert!(is_json(text));
        let tokens: Vec<_> = Tokens::of(text)
            .map(|(token, at)| (token, &text[at]))
            .collect();
        let expected = [
            (Token::Key, r#""a""#),
            (Token::Text, r#""b\"[1]\\""#),
            (Token::Key, r#""c""#),
            (Token::Number, "-1.5e3"),
            (Token::Text, r#""d""#),
        ];
        assert_eq!(tokens, expected);
        assert_eq!(said(tokens[1].1).unwrap(), r#"b"[1]\"#);
    }

    #[test]
    fn prose_and_half_an_object_are_no_json() {
        for text in ["", "[EMAIL_1]", "{\"a\": 1", "{} {}", "12", "\"a\""] {
            assert!(!is_json(text), "{text}");
        }
    }
}
