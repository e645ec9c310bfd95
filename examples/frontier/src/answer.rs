//! What the stand-in says to an ask. The same ask always gets the same answer.

use crate::ask::{Ask, Tool, ToolKind};
use crate::pieces::{longest_words, pieces};
use crate::routing::Desk;
use crate::schema;

/// The answer to what is no ticket.
const NOT_A_TICKET: &str = "I am a stand-in for a frontier model and know only how to route \
    support tickets. This does not read like one to me.";

/// What a refused question is told.
pub(crate) const REFUSED: &str = "I cannot help with that.";

/// Words of a question that decide how it is answered.
const REFUSE: &str = "refuse this";
const TWICE: &str = "twice";
const PAUSE: &str = "take a break";
const SECRET: &str = "think in secret";
const SAY: &str = "Say: ";

/// As much as the model reads, in pieces.
pub(crate) const CONTEXT_TOKENS: u64 = 50_000;

/// The longest thing that is quoted, in characters.
const LONGEST_QUOTE: usize = 2000;

/// Where a web search leads.
pub(crate) const PAGE_URL: &str = "https://example.com/found";
pub(crate) const PAGE_TITLE: &str = "A page that was found";

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
        let mut left = most.map_or(usize::MAX, |most| {
            usize::try_from(most).unwrap_or(usize::MAX)
        });
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

fn thought(ask: &Ask) -> Option<Part> {
    let is_secret = ask.question.contains(SECRET);
    let sentence = format!("I think about `{}`. ", word(&ask.question, 0));
    let thought = sentence.repeat(ask.thoughts);
    (ask.thoughts > 0).then(|| Part::Thought {
        pieces: pieces(thought.trim_end()),
        is_secret,
    })
}

fn said(ask: &Ask, desk: &Desk) -> (Vec<Part>, Ending) {
    if ask.question.contains(REFUSE) {
        return (vec![Part::Refusal(pieces(REFUSED))], Ending::Refusal);
    }
    if ask.prompt.tokens() > CONTEXT_TOKENS {
        let begun = pieces(NOT_A_TICKET).into_iter().take(1).collect();
        let part = Part::Text {
            pieces: begun,
            source: None,
        };
        return (vec![part], Ending::ContextFull);
    }
    if let Some(result) = &ask.result {
        return (
            vec![plain(&format!("The tool says: {}", quote(result)))],
            Ending::Complete,
        );
    }
    match ask.tools.first() {
        Some(tool) if tool.kind == ToolKind::WebSearch => searched(ask),
        Some(tool) => (called(ask, tool), Ending::Calls),
        None => (vec![founded(ask, desk)], Ending::Complete),
    }
}

fn called(ask: &Ask, tool: &Tool) -> Vec<Part> {
    let is_twice = ask.parallel && ask.question.contains(TWICE);
    (0..=usize::from(is_twice))
        .map(|index| {
            let input = match &tool.kind {
                ToolKind::Function(schema) => {
                    schema::fill(schema, word(&ask.question, index)).to_string()
                }
                ToolKind::Custom | ToolKind::WebSearch => quote(&ask.question),
            };
            Part::Call(Call {
                name: tool.name.clone(),
                is_custom: tool.kind == ToolKind::Custom,
                pieces: pieces(&input),
            })
        })
        .collect()
}

fn searched(ask: &Ask) -> (Vec<Part>, Ending) {
    let search = Part::Search(pieces(&quote(&ask.question)));
    if ask.question.contains(PAUSE) && !ask.goes_on {
        return (vec![search], Ending::Pause);
    }
    let found = format!("A page says something about `{}`.", word(&ask.question, 0));
    let text = Part::Text {
        pieces: pieces(&found),
        source: Some(Source::Page),
    };
    let parts = if ask.goes_on {
        vec![text]
    } else {
        vec![search, text]
    };
    (parts, Ending::Complete)
}

/// The answer in words, or in the form that was asked for.
fn founded(ask: &Ask, desk: &Desk) -> Part {
    if let Some(form) = &ask.form {
        return plain(&schema::fill(form, word(&ask.question, 0)).to_string());
    }
    let mut text = match ask.question.strip_prefix(SAY) {
        Some(said) => said.to_owned(),
        None => desk.team(&ask.question).unwrap_or(NOT_A_TICKET).to_owned(),
    };
    let sent = [
        (ask.images, "an image"),
        (ask.documents.len(), "a document"),
    ];
    for (_, what) in sent.iter().filter(|(count, _)| *count > 0) {
        text.push_str(&format!(" You also sent {what}."));
    }
    let cited = ask.documents.iter().position(|document| document.is_cited);
    let source = cited.map(|index| Source::Document {
        index,
        title: ask.documents[index].title.clone(),
        cited: sentence(&ask.documents[index].text).to_owned(),
    });
    Part::Text {
        pieces: pieces(&text),
        source,
    }
}

fn plain(text: &str) -> Part {
    Part::Text {
        pieces: pieces(text),
        source: None,
    }
}

/// The `index`th of a question's words, the longest first.
fn word(question: &str, index: usize) -> &str {
    let words = longest_words(question);
    words
        .get(index)
        .or(words.first())
        .copied()
        .unwrap_or("nothing")
}

fn quote(text: &str) -> String {
    text.chars().take(LONGEST_QUOTE).collect()
}

/// A text's first sentence.
fn sentence(text: &str) -> &str {
    text.split_inclusive(['.', '!', '?']).next().unwrap_or(text)
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
    use serde_json::json;

    fn answer(ask: &Ask) -> Answer {
        Answer::to(ask, &Desk::new(Grammar::built_in().unwrap()))
    }

    fn ask(question: &str) -> Ask {
        Ask {
            question: question.to_owned(),
            ..Ask::default()
        }
    }

    fn rain() -> Tool {
        let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
        Tool {
            name: "rain".to_owned(),
            kind: ToolKind::Function(schema),
        }
    }

    #[test]
    fn a_tool_is_called_with_a_word_of_the_question() {
        let mut ask = ask("Is it wet in Lisbon, twice?");
        ask.tools = vec![rain()];
        let one = answer(&ask);
        assert_eq!((one.parts.len(), &one.ending), (1, &Ending::Calls));
        assert_eq!(one.parts[0].whole(), r#"{"city":"Lisbon"}"#);
        ask.parallel = true;
        let two = answer(&ask);
        assert_eq!(two.parts.len(), 2);
        assert_eq!(two.parts[1].whole(), r#"{"city":"twice"}"#);
        ask.result = Some("no".to_owned());
        assert_eq!(answer(&ask).text(), "The tool says: no");
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

    #[test]
    fn a_paused_search_is_gone_on_with() {
        let mut ask = ask("Find Lisbon and take a break");
        ask.tools = vec![Tool {
            name: "web_search".to_owned(),
            kind: ToolKind::WebSearch,
        }];
        assert_eq!(answer(&ask).ending, Ending::Pause);
        ask.goes_on = true;
        let rest = answer(&ask);
        assert_eq!(
            (rest.ending.clone(), rest.searches()),
            (Ending::Complete, 0)
        );
        assert!(rest.text().contains("Lisbon"));
    }
}
