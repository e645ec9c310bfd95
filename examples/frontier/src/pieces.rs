//! Text cut into pieces, each counted as one token.

/// The longest piece of a word, in characters.
const PIECE: usize = 4;

/// Cuts text into runs of at most four letters or digits, each with the space before it, and
/// single other characters. Joined they are the text again.
pub(crate) fn pieces(text: &str) -> Vec<String> {
    let mut pieces: Vec<String> = Vec::new();
    for c in text.chars() {
        let joins = pieces.last().is_some_and(|last| {
            let word = last.strip_prefix(' ').unwrap_or(last);
            c.is_alphanumeric()
                && word.chars().count() < PIECE
                && word.chars().all(char::is_alphanumeric)
        });
        match pieces.last_mut() {
            Some(last) if joins => last.push(c),
            _ => pieces.push(c.to_string()),
        }
    }
    pieces
}

/// How many pieces a text has.
pub(crate) fn count(text: &str) -> u64 {
    pieces(text).len() as u64
}

/// The words of a text, the longest first, and of equally long ones the earlier.
pub(crate) fn longest_words(text: &str) -> Vec<&str> {
    let mut words: Vec<&str> = text
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    words.sort_by_key(|word| std::cmp::Reverse(word.chars().count()));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_joined_are_the_text() {
        let text = "My invoice, no. 31, is  wrong — über!";
        assert_eq!(pieces(text).concat(), text);
        assert_eq!(pieces("integrations"), ["inte", "grat", "ions"]);
        assert_eq!(pieces("a b, c"), ["a", " b", ",", " c"]);
    }

    #[test]
    fn the_longest_word_comes_first_and_of_two_the_earlier() {
        assert_eq!(
            longest_words("Is it wet in Rome, or dry?"),
            ["Rome", "wet", "dry", "Is", "it", "in", "or"]
        );
    }
}
