//! What is shown of an answer, and what is not shown twice.

use std::path::Path;

use super::*;

const VOCABULARY: u32 = 1536;

fn tokenizer() -> Tokenizer {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/triage/model");
    Tokenizer::load(&folder, VOCABULARY).unwrap()
}

/// What is shown of texts that are parts of one answer, after `shown_bytes` of it.
fn shown(parts: &[(Part, &str)], stop: &[&str], shown_bytes: usize) -> Vec<Shown> {
    let tokenizer = tokenizer();
    let stop = stop.iter().map(ToString::to_string).collect();
    let mut screen = Screen::new(&tokenizer, stop, false, shown_bytes);
    let tokens = parts.iter().flat_map(|(part, text)| {
        let ids = tokenizer.encode(text, false).unwrap();
        ids.into_iter().map(|id| (id, *part))
    });
    let tokens: Vec<(u32, Part)> = tokens.collect();
    let mut all = Vec::new();
    for (at, (id, part)) in tokens.iter().enumerate() {
        let turned = screen.push(*id, *part, at + 1 == tokens.len()).unwrap();
        all.extend(turned.shown);
        if turned.stop.is_some() {
            break;
        }
    }
    all
}

/// All of a kind in one.
fn text(shown: &[Shown]) -> (String, String, String) {
    let [mut answer, mut thinking, mut calls] = [const { String::new() }; 3];
    for piece in shown {
        match piece {
            Shown::Answer(more) => answer += more,
            Shown::Thinking(more) => thinking += more,
            Shown::Call(call) => {
                calls += call.name.as_deref().unwrap_or_default();
                calls += &call.arguments;
            }
        }
    }
    (answer, thinking, calls)
}

const PARTS: [(Part, &str); 4] = [
    (Part::Thinking, "\n größe? END "),
    (Part::Answer, "\n\nIt is é. "),
    (
        Part::Call,
        "{\"name\": \"f\", \"arguments\": {\"x\": \"ö\"}}",
    ),
    (Part::Mark, "x"),
];

#[test]
fn what_was_shown_before_is_not_shown_again_whatever_it_was() {
    let whole = shown(&PARTS, &[], 0);
    let (answer, thinking, calls) = text(&whole);
    assert_eq!(thinking, "größe? END");
    assert_eq!(answer, "It is é. ");
    assert_eq!(calls, "f{\"x\": \"ö\"}");
    let everything = format!("{thinking}{answer}{calls}");
    for at in 0..=everything.len() {
        let (answer, thinking, calls) = text(&shown(&PARTS, &[], at));
        let at = everything.floor_char_boundary(at);
        assert_eq!(format!("{thinking}{answer}{calls}"), everything[at..]);
    }
}

#[test]
fn a_stop_string_ends_the_answer_and_not_the_thinking() {
    let parts = [PARTS[0], (Part::Answer, "so: END and more")];
    let (answer, thinking, _) = text(&shown(&parts, &["END"], 0));
    assert_eq!((thinking.as_str(), answer.as_str()), ("größe? END", "so: "));
}

#[test]
fn text_held_for_a_stop_string_is_shown_before_what_follows_it() {
    let parts = [(Part::Answer, "the EN"), PARTS[2]];
    let shown = shown(&parts, &["END"], 0);
    let (answer, _, _) = text(&shown);
    assert_eq!(answer, "the EN");
    assert!(matches!(shown.last(), Some(Shown::Call(_))));
}
