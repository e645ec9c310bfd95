//! Thinking, answers and calls, over tokens that are called as other models call theirs.

use std::{fs, path::Path};

use serde_json::{Value, json};

use super::*;
use crate::{
    constraint::{Constraints, Form},
    random::uniform,
    screen::{Screen, Shown},
};

const VOCABULARY: u32 = 1536;

/// The example's tokenizer, whose marks for turns are called as other models call theirs, and have
/// text.
struct Marked {
    tokenizer: Tokenizer,
    constraints: Constraints,
    masks: Masks,
}

impl Marked {
    fn new() -> Self {
        let names = [
            ("<|begin|>", "<think>"),
            ("<|pad|>", "</think>"),
            ("<|system|>", "<tool_call>"),
            ("<|user|>", "</tool_call>"),
        ];
        let folder = tempfile::tempdir().unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/triage/model");
        for name in [
            "config.json",
            "generation_config.json",
            "tokenizer_config.json",
        ] {
            fs::copy(source.join(name), folder.path().join(name)).unwrap();
        }
        let file = fs::read_to_string(source.join("tokenizer.json")).unwrap();
        let file = names
            .iter()
            .fold(file, |file, (old, new)| file.replace(old, new));
        let mut file: Value = serde_json::from_str(&file).unwrap();
        for token in file["added_tokens"].as_array_mut().unwrap() {
            if names.iter().any(|(_, name)| token["content"] == *name) {
                token["special"] = false.into();
            }
        }
        fs::write(folder.path().join("tokenizer.json"), file.to_string()).unwrap();
        let tokenizer = Tokenizer::load(folder.path(), VOCABULARY).unwrap();
        Self {
            constraints: Constraints::new(tokenizer.clone(), VOCABULARY),
            tokenizer,
            masks: Masks::start().unwrap(),
        }
    }

    fn ids(&self, text: &str) -> Vec<u32> {
        self.tokenizer.encode(text, false).unwrap()
    }

    fn thinking(&self, prompt: &str) -> Option<Thinking> {
        Thinking::after(&self.tokenizer, &self.ids(prompt))
    }

    fn form(&self, form: Form) -> Option<Constraint> {
        Some(self.constraints.compile(&form).unwrap())
    }

    fn calls(&self, begin: Begin, required: bool) -> Option<Calls> {
        let call = json!({
            "type": "object",
            "properties": { "name": { "const": "rain" }, "arguments": { "type": "object",
                "properties": { "days": { "type": "integer", "minimum": 0, "maximum": 9 } },
                "required": ["days"], "additionalProperties": false } },
            "required": ["name", "arguments"], "additionalProperties": false,
        });
        let (open, close) = match begin {
            Begin::Token(_) => ("\"<tool_call>\\n\"", "\"\\n</tool_call>\""),
            Begin::Bracket => ("", ""),
        };
        let lark = format!("start: {open} call {close}\ncall: %json {call}");
        let form = self.constraints.compile(&Form::Grammar(lark)).unwrap();
        Some(Calls {
            form,
            begin,
            written: Written::Objects,
            required,
        })
    }

    fn begin_token(&self) -> Begin {
        Begin::Token(self.tokenizer.id("<tool_call>").unwrap())
    }

    fn guided(&self, guide: &Guide, produced: &[u32]) -> Guidance {
        let masks = self.masks.clone();
        Guided::new(guide.clone(), self.tokenizer.clone(), masks, produced).unwrap()
    }

    /// What is shown of a whole answer, with pieces of one kind put together.
    fn shown(&self, guide: &Guide, answer: &str) -> Vec<(&'static str, String)> {
        let ids = self.ids(answer);
        let (_, parts, _) = self.guided(guide, &ids);
        let mut screen = Screen::new(&self.tokenizer, Vec::new(), false, 0);
        let mut shown: Vec<(&str, String)> = Vec::new();
        for (at, (id, part)) in ids.iter().zip(parts).enumerate() {
            for piece in screen.push(*id, part, at + 1 == ids.len()).unwrap().shown {
                let (kind, text) = match piece {
                    Shown::Answer(text) => ("answer", text),
                    Shown::Thinking(text) => ("thinking", text),
                    Shown::Call(call) => {
                        let name = call.name.map(|name| format!("{name} "));
                        ("call", name.unwrap_or_default() + &call.arguments)
                    }
                };
                match shown.last_mut().filter(|last| last.0 == kind) {
                    Some(last) => last.1.push_str(&text),
                    None => shown.push((kind, text)),
                }
            }
        }
        shown
    }

    /// Picks at random of what is allowed until only an end is, beginning with `ids`.
    fn finish(&self, guide: &Guide, ids: &[u32], seed: u64) -> String {
        let (mut guided, _, forced) = self.guided(guide, ids);
        let mut ids = ids.to_vec();
        ids.extend(forced.into_iter().map(|(id, _)| id));
        for at in 0..300 {
            let mask = guided
                .mask()
                .unwrap()
                .expect("the answer is held to a form");
            let allowed: Vec<u32> = mask.allowed().collect();
            let id = allowed[(uniform(seed, 0, at) * allowed.len() as f64) as usize];
            if self.tokenizer.ends().contains(&id) {
                return self.tokenizer.decode(&ids).unwrap();
            }
            ids.push(id);
            let accepted = guided.accept(id).unwrap();
            ids.extend(accepted.forced.into_iter().map(|(id, _)| id));
        }
        panic!("no end: {}", self.tokenizer.decode(&ids).unwrap());
    }
}

fn parts_of(parts: &[Part], part: Part) -> usize {
    parts.iter().filter(|p| **p == part).count()
}

#[test]
fn thinking_is_shown_apart_and_without_the_space_around_it() {
    let marked = Marked::new();
    let text = "<think>\nhm, so\n\nit is\n</think>\n\nbilling\n";
    let guide = Guide {
        thinking: marked.thinking("Q\n"),
        ..Guide::default()
    };
    let expected = [("thinking", "hm, so\n\nit is"), ("answer", "billing\n")];
    let expected = expected.map(|(kind, text)| (kind, text.to_owned()));
    assert_eq!(marked.shown(&guide, text), expected);
    // The prompt can have begun it.
    let guide = Guide {
        thinking: marked.thinking("Q\n<think>\n"),
        ..Guide::default()
    };
    assert_eq!(marked.shown(&guide, &text["<think>\n".len()..]), expected);
}

#[test]
fn marks_of_thinking_count_only_where_thinking_may_begin() {
    let marked = Marked::new();
    let whole = |thinking: Option<Thinking>, text: &str| {
        let guide = Guide {
            thinking,
            ..Guide::default()
        };
        marked.shown(&guide, text)
    };
    let closed = marked.thinking("Q\n<think>\n\n</think>\n\n");
    assert_eq!(closed.unwrap().left, Left::Closed);
    let asked = marked.thinking("what is </think> and <think> there?");
    assert_eq!(asked.unwrap().left, Left::Undecided);
    for (thinking, text) in [
        (closed, "<think>a</think>"),
        (asked, "b <think>a</think>"),
        (None, "<think>a</think>"),
    ] {
        assert_eq!(whole(thinking, text), [("answer", text.to_owned())]);
    }
}

#[test]
fn a_form_holds_behind_the_thinking_and_not_within() {
    let marked = Marked::new();
    let guide = |prompt: &str| Guide {
        thinking: marked.thinking(prompt),
        form: marked.form(Form::Choice(vec!["yes".to_owned(), "no".to_owned()])),
        ..Guide::default()
    };
    let open = guide("Q\n<think>");
    let (mut guided, parts, forced) = marked.guided(&open, &marked.ids("anything {"));
    assert!(guided.mask().unwrap().is_none() && forced.is_empty());
    assert_eq!(parts_of(&parts, Part::Thinking), parts.len());
    let close = marked.tokenizer.id("</think>").unwrap();
    assert_eq!(guided.accept(close).unwrap().part, Part::Mark);
    let allowed = guided.mask().unwrap().unwrap();
    assert!(!allowed.allows(marked.ids("x")[0]));
    for seed in 0..5 {
        let thought = marked.ids("hm</think>");
        let text = marked.finish(&open, &thought, seed);
        assert!(
            ["hm</think>yes", "hm</think>no"].contains(&text.as_str()),
            "{text}"
        );
    }
    // Where the model may think, it may also answer at once.
    let (mut guided, _, forced) = marked.guided(&guide("Q"), &[]);
    let allowed = guided.mask().unwrap().unwrap();
    assert!(forced.is_empty() && allowed.allows(marked.tokenizer.id("<think>").unwrap()));
    assert!(allowed.allows(marked.ids("yes")[0]) && !allowed.allows(close));
}

#[test]
fn a_model_may_call_at_any_place_and_its_call_then_fits_the_tool() {
    let marked = Marked::new();
    let guide = Guide {
        calls: marked.calls(marked.begin_token(), false),
        ..Guide::default()
    };
    let (mut guided, parts, _) = marked.guided(&guide, &marked.ids("Let me see. "));
    assert!(guided.mask().unwrap().is_none());
    assert_eq!(parts_of(&parts, Part::Answer), parts.len());
    for seed in 0..5 {
        let begun = marked.ids("Let me see. <tool_call>");
        let text = marked.finish(&guide, &begun, seed);
        let shown = marked.shown(&guide, &text);
        assert_eq!(shown[0], ("answer", "Let me see. ".to_owned()));
        let arguments = shown[1].1.strip_prefix("rain ").unwrap();
        let arguments: Value = serde_json::from_str(arguments).unwrap();
        assert!(arguments["days"].as_u64().unwrap() < 10, "{text}");
        assert_eq!(shown.len(), 2, "{text}");
    }
}

#[test]
fn a_required_call_begins_at_once() {
    let marked = Marked::new();
    let guide = Guide {
        calls: marked.calls(marked.begin_token(), true),
        ..Guide::default()
    };
    let text = marked.finish(&guide, &[], 1);
    assert!(text.starts_with("<tool_call>\n{"), "{text}");
    assert_eq!(marked.shown(&guide, &text)[0].0, "call");
}

#[test]
fn a_bracket_begins_a_call_only_where_the_answer_begins() {
    let marked = Marked::new();
    let guide = Guide {
        calls: marked.calls(Begin::Bracket, false),
        ..Guide::default()
    };
    let call = r#"{"name": "rain", "arguments": {"days": 3}}"#;
    let expected = ("call", r#"rain {"days": 3}"#.to_owned());
    assert_eq!(marked.shown(&guide, call), [expected]);
    for answer in ["It is {\"name\"", "[1] says so", "hello"] {
        let (mut guided, _, _) = marked.guided(&guide, &marked.ids(answer));
        assert!(guided.mask().unwrap().is_none(), "{answer}");
        assert_eq!(
            marked.shown(&guide, answer),
            [("answer", answer.to_owned())]
        );
    }
}

#[test]
fn a_model_may_call_instead_of_answering_in_a_form() {
    let marked = Marked::new();
    let guide = Guide {
        calls: marked.calls(marked.begin_token(), false),
        form: marked.form(Form::Choice(vec!["yes".to_owned()])),
        ..Guide::default()
    };
    let open = marked.tokenizer.id("<tool_call>").unwrap();
    let (mut guided, _, forced) = marked.guided(&guide, &[]);
    let allowed = guided.mask().unwrap().unwrap();
    assert!(forced.is_empty() && allowed.allows(open));
    let text = marked.finish(&guide, &[open], 2);
    assert_eq!(marked.shown(&guide, &text)[0].0, "call");
    let (mut guided, _, _) = marked.guided(&guide, &marked.ids("yes")[..1]);
    assert!(!guided.mask().unwrap().unwrap().allows(open));
}
