//! The tokens between which a model thinks before it answers.

use weir_model::Tokenizer;

/// For one answer: how the model marks its thinking, and where the prompt leaves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thinking {
    pub open: u32,
    pub close: u32,
    pub left: Left,
}

/// How a prompt ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// The model may think or answer.
    Undecided,
    /// It is thinking.
    Open,
    /// It was told not to think.
    Closed,
}

impl Thinking {
    /// Nothing for models without such tokens.
    pub fn after(tokenizer: &Tokenizer, prompt: &[u32]) -> Option<Self> {
        let open = tokenizer.id("<think>")?;
        let close = tokenizer.id("</think>")?;
        // What a user wrote is followed by the marks of the next turn.
        let mut end = prompt.iter().rev();
        let last = end.find(|id| **id == open || **id == close || !is_blank(tokenizer, **id));
        let left = match last {
            Some(id) if *id == open => Left::Open,
            Some(id) if *id == close => Left::Closed,
            _ => Left::Undecided,
        };
        Some(Self { open, close, left })
    }
}

/// Whether a token is white space and nothing else.
pub(crate) fn is_blank(tokenizer: &Tokenizer, id: u32) -> bool {
    let text = tokenizer.decode(&[id]).unwrap_or_default();
    !tokenizer.is_special(id) && text.trim().is_empty()
}
