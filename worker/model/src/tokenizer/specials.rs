//! Finds tokens that are cut out of a text before the rest of it is spelled.

use std::collections::HashMap;

/// Tokens by their text: the longest that begins first is found.
#[derive(Debug, Default)]
pub(super) struct Specials {
    tokens: HashMap<String, Special>,
    /// Lengths of those that begin with a byte, longest first.
    lengths: HashMap<u8, Vec<usize>>,
}

#[derive(Clone, Copy, Debug)]
struct Special {
    id: u32,
    takes_space: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    Text(&'a str),
    Token(u32),
}

impl Specials {
    /// Adds a token, which may take the white space after it along.
    pub(super) fn add(&mut self, text: &str, id: u32, takes_space: bool) {
        let Some(first) = text.bytes().next() else {
            return;
        };
        let lengths = self.lengths.entry(first).or_default();
        if let Err(at) = lengths.binary_search_by(|length| text.len().cmp(length)) {
            lengths.insert(at, text.len());
        }
        self.tokens
            .insert(text.to_owned(), Special { id, takes_space });
    }

    /// The text in pieces, in order.
    pub(super) fn split<'a>(&self, text: &'a str) -> Vec<Piece<'a>> {
        let mut pieces = Vec::new();
        let (mut start, mut at) = (0, 0);
        while at < text.len() {
            let Some((special, length)) = self.at(text, at) else {
                at += 1;
                continue;
            };
            if start < at {
                pieces.push(Piece::Text(&text[start..at]));
            }
            pieces.push(Piece::Token(special.id));
            at += length;
            if special.takes_space {
                at = text.len() - text[at..].trim_start().len();
            }
            start = at;
        }
        if start < text.len() {
            pieces.push(Piece::Text(&text[start..]));
        }
        pieces
    }

    fn at(&self, text: &str, at: usize) -> Option<(Special, usize)> {
        let lengths = self.lengths.get(&text.as_bytes()[at])?;
        lengths.iter().find_map(|&length| {
            let special = self.tokens.get(text.get(at..at + length)?)?;
            Some((*special, length))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn specials() -> Specials {
        let mut specials = Specials::default();
        specials.add("<s>", 1, false);
        specials.add("<s>!", 2, false);
        specials.add("\n\n", 3, false);
        specials.add("<|end|>", 4, true);
        specials.add("", 5, false);
        specials
    }

    #[test]
    fn the_longest_token_is_found_where_two_begin() {
        assert_eq!(
            specials().split("a<s>!<s> b"),
            [
                Piece::Text("a"),
                Piece::Token(2),
                Piece::Token(1),
                Piece::Text(" b")
            ]
        );
    }

    #[test]
    fn a_run_is_cut_from_its_beginning() {
        assert_eq!(
            specials().split("\n\n\n"),
            [Piece::Token(3), Piece::Text("\n")]
        );
    }

    #[test]
    fn a_token_that_takes_space_leaves_none_behind_it() {
        assert_eq!(
            specials().split("ä<|end|> \n\u{a0}ö<|end|>\n"),
            [
                Piece::Text("ä"),
                Piece::Token(4),
                Piece::Text("ö"),
                Piece::Token(4)
            ]
        );
    }

    #[test]
    fn text_without_tokens_is_one_piece() {
        assert_eq!(specials().split("<漢"), [Piece::Text("<漢")]);
        assert_eq!(specials().split(""), []);
    }
}
