//! Turns the tokens of one answer into what may be shown of it, part by part.
//!
//! The text of the thinking is shown without the white space around it, and so is the beginning of
//! what follows it. Stop strings end the answer's own text and nothing else.

use weir_model::{Detokenizer, TokenizeError, Tokenizer};

use crate::{
    call_reader::{CallPiece, CallReader, Written},
    guide::Part,
    json::Follower,
    stop::{Matched, StopMatcher},
};

/// Something that is safe to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    Answer(String),
    Thinking(String),
    Call(CallPiece),
}

/// What a token led to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Turned {
    pub shown: Vec<Shown>,
    /// The token belongs to a JSON value.
    pub value: bool,
    /// The stop string that ended the answer.
    pub stop: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Screen {
    detokenizer: Detokenizer,
    stop: StopMatcher,
    /// Where the answer is a JSON document.
    document: Option<Follower>,
    calls: CallReader,
    call_values: Follower,
    /// What the tokens before belong to; marks belong to nothing.
    part: Option<Part>,
    thinking: Thinking,
    /// How much was shown before and must not be shown again.
    to_skip: usize,
}

/// White space at the edges of the thinking.
#[derive(Debug, Default)]
struct Thinking {
    begun: bool,
    held: String,
    /// The answer after it has not begun.
    follows: bool,
}

impl Screen {
    /// For an answer of which `shown_bytes` were shown before.
    pub fn new(tokenizer: &Tokenizer, stop: Vec<String>, json: bool, shown_bytes: usize) -> Self {
        Self {
            detokenizer: tokenizer.detokenizer(),
            stop: StopMatcher::new(stop),
            document: json.then(Follower::default),
            calls: CallReader::default(),
            call_values: Follower::default(),
            part: None,
            thinking: Thinking::default(),
            to_skip: shown_bytes,
        }
    }

    /// For a model that writes calls so.
    pub fn calling(self, written: Written) -> Self {
        Self {
            calls: CallReader::new(written),
            ..self
        }
    }

    /// Whether the answer has called a tool.
    pub fn has_called(&self) -> bool {
        self.calls.calls() > 0
    }

    /// Takes one token, which may be the last.
    pub fn push(&mut self, id: u32, part: Part, last: bool) -> Result<Turned, TokenizeError> {
        let mut turned = Turned::default();
        if self.part.is_some_and(|before| before != part) {
            // What was held belongs to what came before.
            let held = self.detokenizer.finish()?;
            self.turn(held, true, &mut turned);
        }
        self.part = (part != Part::Mark).then_some(part);
        if part == Part::Thinking {
            self.thinking.follows = true;
        }
        let mut piece = String::new();
        if part != Part::Mark {
            piece = self.detokenizer.push(id)?;
            turned.value = self.is_value(part, &piece);
        }
        if last {
            piece.push_str(&self.detokenizer.finish()?);
        }
        self.turn(piece, last, &mut turned);
        turned.shown = turned
            .shown
            .drain(..)
            .filter_map(|shown| self.not_shown_before(shown))
            .collect();
        Ok(turned)
    }

    fn is_value(&mut self, part: Part, piece: &str) -> bool {
        match (part, &mut self.document) {
            (Part::Answer, Some(document)) => document.has_value(piece),
            (Part::Call, _) if self.call_values.levels().is_empty() => {
                // Marks before and between calls are no JSON.
                let (from, is_choice) = self.calls.json_in(piece);
                self.call_values.has_value(&piece[from..]) || is_choice
            }
            (Part::Call, _) => self.call_values.has_value(piece),
            _ => false,
        }
    }

    /// Adds text of the part at hand; where it is `whole`, nothing more comes of it.
    fn turn(&mut self, piece: String, whole: bool, turned: &mut Turned) {
        match self.part {
            Some(Part::Thinking) => {
                let text = self.thinking.trimmed(piece);
                if !text.is_empty() {
                    turned.shown.push(Shown::Thinking(text));
                }
            }
            Some(Part::Call) => {
                let pieces = self.calls.push(&piece).into_iter();
                turned.shown.extend(pieces.map(Shown::Call));
            }
            Some(Part::Answer | Part::Mark) | None => self.answer(piece, whole, turned),
        }
    }

    fn answer(&mut self, mut piece: String, whole: bool, turned: &mut Turned) {
        if turned.stop.is_some() {
            return;
        }
        if self.thinking.follows {
            piece = piece.trim_start().to_owned();
            self.thinking.follows = piece.is_empty();
        }
        let mut text = match self.stop.push(&piece) {
            Matched::Open(text) => text,
            Matched::Ended { text, stop } => {
                turned.stop = Some(stop);
                text
            }
        };
        if whole {
            text.push_str(&self.stop.finish());
        }
        if !text.is_empty() {
            turned.shown.push(Shown::Answer(text));
        }
    }

    fn not_shown_before(&mut self, shown: Shown) -> Option<Shown> {
        if self.to_skip == 0 {
            return Some(shown);
        }
        match shown {
            Shown::Answer(text) => self.rest(text).map(Shown::Answer),
            Shown::Thinking(text) => self.rest(text).map(Shown::Thinking),
            Shown::Call(mut piece) => {
                if let Some(name) = piece.name.take() {
                    let new = self.to_skip < name.len();
                    self.to_skip = self.to_skip.saturating_sub(name.len());
                    // A name goes out as a whole.
                    piece.name = new.then_some(name);
                }
                let arguments = self.rest(std::mem::take(&mut piece.arguments));
                piece.arguments = arguments.unwrap_or_default();
                let empty = piece.name.is_none() && piece.arguments.is_empty();
                (!empty).then_some(Shown::Call(piece))
            }
        }
    }

    fn rest(&mut self, mut text: String) -> Option<String> {
        let skipped = text.floor_char_boundary(self.to_skip);
        let rest = text.split_off(skipped);
        if rest.is_empty() {
            self.to_skip -= skipped;
            return None;
        }
        self.to_skip = 0;
        Some(rest)
    }
}

impl Thinking {
    /// The piece without white space that may turn out to stand at the end.
    fn trimmed(&mut self, piece: String) -> String {
        let piece = if self.begun {
            &piece
        } else {
            piece.trim_start()
        };
        let body = piece.trim_end();
        if body.is_empty() {
            if self.begun {
                self.held.push_str(piece);
            }
            return String::new();
        }
        self.begun = true;
        let text = format!("{}{body}", self.held);
        self.held = piece[body.len()..].to_owned();
        text
    }
}

#[cfg(test)]
mod tests;
