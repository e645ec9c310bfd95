//! An answer in parts, before any wire spells it.

use crate::ask::Ask;
use crate::pieces::pieces;
use crate::routing::Desk;
use crate::said::{MOST_WRITTEN_TOKENS, said, thought};

/// An answer in parts.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) parts: Vec<Part>,
    pub(crate) ending: Ending,
}

/// One part of an answer. Each piece is counted as one token.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    Thought {
        pieces: Vec<String>,
        /// Not to be shown, by the provider's choice.
        is_secret: bool,
    },
    /// A search of the web, by the provider, for these words.
    Search(Vec<String>),
    Text {
        pieces: Vec<String>,
        source: Option<Source>,
    },
    Refusal(Vec<String>),
    Call(Call),
}

/// What a text is founded on.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    Page,
    Document {
        index: usize,
        title: Option<String>,
        cited: String,
    },
}

#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) name: String,
    /// Whether its input is text; else it is JSON.
    pub(crate) is_custom: bool,
    pub(crate) pieces: Vec<String>,
}

/// Why an answer ends.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Ending {
    Complete,
    /// `max_tokens` cut it.
    Length,
    /// This text was asked to end it.
    Stop(String),
    Calls,
    Refusal,
    Pause,
    ContextFull,
}

impl Answer {
    pub(crate) fn to(ask: &Ask, desk: &Desk) -> Self {
        let (said, ending) = said(ask, desk);
        let mut answer = Self {
            parts: thought(ask).into_iter().chain(said).collect(),
            ending,
        };
        answer.stop_at(&ask.stops);
        answer.cut_to(ask.max_tokens);
        answer
    }

    /// The answer as choice `index`: plain text of later choices ends with their number.
    pub(crate) fn choice(&self, index: u64, ask: &Ask) -> Self {
        let mut choice = self.clone();
        if let Some(Part::Text { pieces, .. }) = choice.parts.last_mut()
            && index > 0
            && ask.form.is_none()
            && self.ending == Ending::Complete
        {
            pieces.push(format!(" ({})", index + 1));
        }
        choice.cut_to(ask.max_tokens);
        choice
    }

    pub(crate) fn tokens(&self) -> u64 {
        self.parts.iter().map(Part::tokens).sum()
    }

    pub(crate) fn thought_tokens(&self) -> u64 {
        let thoughts = self.parts.iter().filter(|part| part.is_thought());
        thoughts.map(Part::tokens).sum()
    }

    pub(crate) fn searches(&self) -> usize {
        let searches = self
            .parts
            .iter()
            .filter(|part| matches!(part, Part::Search(_)));
        searches.count()
    }

    /// All text, without thoughts and calls.
    pub(crate) fn text(&self) -> String {
        self.parts
            .iter()
            .filter_map(|part| match part {
                Part::Text { pieces, .. } => Some(pieces.concat()),
                _ => None,
            })
            .collect()
    }

    fn stop_at(&mut self, stops: &[String]) {
        let text = self.text();
        let first = stops
            .iter()
            .filter_map(|stop| Some((text.find(stop.as_str())?, stop)))
            .min_by_key(|&(at, _)| at);
        let Some((at, stop)) = first else { return };
        let shown = self.parts.iter_mut().rev().find_map(|part| match part {
            Part::Text { pieces, .. } => Some(pieces),
            _ => None,
        });
        if let Some(shown) = shown {
            *shown = pieces(&text[..at]);
            self.ending = Ending::Stop(stop.clone());
        }
    }

    fn cut_to(&mut self, most: Option<u64>) {
        let most = most.map_or(MOST_WRITTEN_TOKENS, |most| most.min(MOST_WRITTEN_TOKENS));
        let mut left = usize::try_from(most).unwrap_or(usize::MAX);
        let mut is_cut = false;
        self.parts.retain_mut(|part| {
            let pieces = part.pieces_mut();
            let keep = left > 0 && !is_cut;
            is_cut |= pieces.len() > left;
            pieces.truncate(left);
            left -= pieces.len();
            keep
        });
        if is_cut {
            self.ending = Ending::Length;
        }
    }
}

impl Part {
    fn tokens(&self) -> u64 {
        self.pieces().len() as u64
    }

    pub(crate) fn pieces(&self) -> &[String] {
        match self {
            Self::Thought { pieces, .. } | Self::Text { pieces, .. } => pieces,
            Self::Search(pieces) | Self::Refusal(pieces) => pieces,
            Self::Call(call) => &call.pieces,
        }
    }

    fn pieces_mut(&mut self) -> &mut Vec<String> {
        match self {
            Self::Thought { pieces, .. } | Self::Text { pieces, .. } => pieces,
            Self::Search(pieces) | Self::Refusal(pieces) => pieces,
            Self::Call(call) => &mut call.pieces,
        }
    }

    pub(crate) fn is_thought(&self) -> bool {
        matches!(self, Self::Thought { .. })
    }

    /// Its pieces as one text.
    pub(crate) fn whole(&self) -> String {
        self.pieces().concat()
    }
}

/// How sure the stand-in claims to have been of a piece: always the same, never of all alike.
pub(crate) fn logprob(piece: &str, rank: usize) -> f64 {
    let sum: u32 = piece.bytes().map(u32::from).sum();
    -f64::from(sum % 50 + 1) / 100.0 - rank as f64
}

/// What it claims it could have said instead, the `rank`th likely.
pub(crate) fn alternative(piece: &str, rank: usize) -> String {
    match rank {
        0 => piece.to_owned(),
        _ => format!("{piece}{}", "~".repeat(rank)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grammar::Grammar;

    fn answer(ask: &Ask) -> Answer {
        Answer::to(ask, &Desk::new(Grammar::built_in().unwrap()))
    }

    fn ask(question: &str) -> Ask {
        Ask {
            question: question.to_owned(),
            ..Ask::default()
        }
    }

    #[test]
    fn a_stop_ends_the_text_before_it() {
        let mut ask = ask("Say: one, two, three");
        ask.stops = vec!["three".to_owned(), ", t".to_owned()];
        let answer = answer(&ask);
        assert_eq!(answer.text(), "one");
        assert_eq!(answer.ending, Ending::Stop(", t".to_owned()));
    }

    #[test]
    fn thoughts_count_and_are_cut_first() {
        let mut ask = ask("Say: one two");
        ask.thoughts = 1;
        let whole = answer(&ask);
        assert!(whole.thought_tokens() > 3);
        assert_eq!(whole.tokens(), whole.thought_tokens() + 2);
        ask.max_tokens = Some(3);
        let cut = answer(&ask);
        assert_eq!(
            (cut.text().as_str(), cut.tokens(), cut.ending),
            ("", 3, Ending::Length)
        );
    }

    #[test]
    fn an_answer_as_long_as_allowed_is_not_cut() {
        let mut ask = ask("Say: one two");
        ask.max_tokens = Some(2);
        assert_eq!(answer(&ask).ending, Ending::Complete);
        ask.max_tokens = Some(1);
        let cut = answer(&ask);
        assert_eq!((cut.text().as_str(), cut.ending), ("one", Ending::Length));
    }
}
