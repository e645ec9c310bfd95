//! What the stand-in says to an ask. The same ask always gets the same answer.

use crate::answer::{Call, Ending, Part, Source};
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

/// As much as it writes.
pub(crate) const MOST_WRITTEN_TOKENS: u64 = 4096;

/// The longest thing that is quoted, in characters.
const LONGEST_QUOTE: usize = 2000;

/// The longest word that is, in bytes.
const LONGEST_WORD: usize = 100;

/// Where a web search leads.
pub(crate) const PAGE_URL: &str = "https://example.com/found";
pub(crate) const PAGE_TITLE: &str = "A page that was found";

/// What is thought before an answer.
pub(crate) fn thought(ask: &Ask) -> Option<Part> {
    let is_secret = ask.question.contains(SECRET);
    let sentence = format!("I think about `{}`. ", word(&ask.question, 0));
    let thought = sentence.repeat(ask.thoughts);
    (ask.thoughts > 0).then(|| Part::Thought {
        pieces: pieces(thought.trim_end()),
        is_secret,
    })
}

/// What is said to an ask, and why it ends there.
pub(crate) fn said(ask: &Ask, desk: &Desk) -> (Vec<Part>, Ending) {
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
    let word = words.get(index).or(words.first()).copied();
    let word = word.unwrap_or("nothing");
    &word[..word.floor_char_boundary(LONGEST_WORD)]
}

fn quote(text: &str) -> String {
    text.chars().take(LONGEST_QUOTE).collect()
}

/// A text's first sentence.
fn sentence(text: &str) -> &str {
    text.split_inclusive(['.', '!', '?']).next().unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::Answer;
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
