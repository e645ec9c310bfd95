//! What the stand-in says to a conversation, and how it counts tokens.

use crate::routing::Desk;

/// The answer to what is no ticket.
const NOT_A_TICKET: &str = "I am a stand-in for a frontier model and know only how to route \
    support tickets. This does not read like one to me.";

/// Tokens of markup that every message of a prompt is counted with.
const TOKENS_PER_MESSAGE: u64 = 3;

/// The longest piece of a word, in characters.
const PIECE: usize = 4;

/// A conversation as both wires have it.
#[derive(Debug, Default)]
pub(crate) struct Conversation {
    /// Every message's text, system prompts included.
    pub(crate) texts: Vec<String>,
    /// The last thing the user said.
    pub(crate) question: String,
    /// Most tokens to answer with.
    pub(crate) max_tokens: Option<u64>,
}

/// An answer in pieces, each counted as one token.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) pieces: Vec<String>,
    /// Whether `max_tokens` cut it.
    pub(crate) truncated: bool,
    pub(crate) prompt_tokens: u64,
}

impl Answer {
    pub(crate) fn to(conversation: &Conversation, desk: &Desk) -> Self {
        let text = desk.team(&conversation.question).unwrap_or(NOT_A_TICKET);
        let mut pieces = pieces(text);
        let limit = conversation.max_tokens.map_or(usize::MAX, |tokens| {
            usize::try_from(tokens).unwrap_or(usize::MAX)
        });
        let truncated = pieces.len() > limit;
        pieces.truncate(limit);
        Self {
            pieces,
            truncated,
            prompt_tokens: prompt_tokens(conversation),
        }
    }

    pub(crate) fn text(&self) -> String {
        self.pieces.concat()
    }

    pub(crate) fn tokens(&self) -> u64 {
        self.pieces.len() as u64
    }
}

/// What a conversation counts: the pieces of its texts, and a little for each message.
pub(crate) fn prompt_tokens(conversation: &Conversation) -> u64 {
    conversation
        .texts
        .iter()
        .map(|text| TOKENS_PER_MESSAGE + pieces(text).len() as u64)
        .sum()
}

/// Cuts text into runs of at most four letters or digits, each with the space before it, and
/// single other characters. Joined they are the text again.
fn pieces(text: &str) -> Vec<String> {
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
}
