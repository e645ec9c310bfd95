//! Text cut into pieces, each counted as one token.

/// The longest piece of a word, in characters.
const PIECE: usize = 4;

/// Cuts text into runs of at most four letters or digits, each with the space before it, and
/// single other characters. Joined they are the text again.
pub(crate) fn pieces(text: &str) -> Vec<String> {
    slices(text).map(str::to_owned).collect()
}

/// How many pieces a text has.
pub(crate) fn count(text: &str) -> u64 {
    slices(text).count() as u64
}

fn slices(mut rest: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let word = rest.strip_prefix(' ').unwrap_or(rest);
        let letters = word.chars().take(PIECE);
        let run: usize = letters
            .take_while(|c| c.is_alphanumeric())
            .map(char::len_utf8)
            .sum();
        let space = rest.len() - word.len();
        let (piece, after) = rest.split_at((space + run).max(first.len_utf8()));
        rest = after;
        Some(piece)
    })
}

/// The words of a text, the longest first, and of equally long ones the earlier. A name in brackets is
/// one word with them, as `[EMAIL_1]`: whoever puts such names into a text wants them back whole.
pub(crate) fn longest_words(text: &str) -> Vec<&str> {
    let mut words: Vec<&str> = text
        .split(|c: char| !(c.is_alphanumeric() || "[]_".contains(c)))
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
