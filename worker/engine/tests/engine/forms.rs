//! Answers that must have a form: they have it, and everything else is as without one.

use futures::future::join_all;
use serde_json::{Value, json};
use weir_engine::{End, Form, Refused};

use crate::harness::{Harness, Written, finish};

fn person() -> Form {
    Form::Json(json!({
        "type": "object",
        "properties": {
            "name": { "type": "string", "maxLength": 12 },
            "age": { "type": "integer", "minimum": 0, "maximum": 150 },
            "kind": { "enum": ["customer", "employee"] },
        },
        "required": ["name", "age", "kind"],
        "additionalProperties": false,
    }))
}

fn document(written: &Written) -> Value {
    assert_eq!(written.end, End::Stop, "{}", written.text);
    serde_json::from_str(&written.text).unwrap_or_else(|e| panic!("{e}: {}", written.text))
}

#[tokio::test]
async fn a_document_fits_its_schema_and_forced_tokens_have_evidence_too() {
    let harness = Harness::new();
    for seed in 0..10 {
        let written = harness.write(harness.formed(&person(), seed, 200)).await;
        let document = document(&written);
        assert!(document["name"].as_str().unwrap().chars().count() <= 12);
        assert!(document["age"].as_u64().unwrap() <= 150);
        assert!(
            ["customer", "employee"]
                .map(Value::from)
                .contains(&document["kind"])
        );
        let forced = written.tokens.iter().filter(|token| token.marks.forced);
        assert!(forced.count() >= 3, "{:#?}", written.tokens);
        for token in &written.tokens {
            let masked = token.evidence.masked_logprob.unwrap();
            assert!(
                token.evidence.logprob <= masked && masked <= 0.0,
                "{token:?}"
            );
            assert!(!token.marks.forced || masked == 0.0, "{token:?}");
            assert!(token.evidence.entropy >= 0.0);
        }
    }
}

#[tokio::test]
async fn values_are_marked_and_structure_is_not() {
    let harness = Harness::new();
    let written = harness.write(harness.formed(&person(), 1, 200)).await;
    let mut values = String::new();
    for token in written.tokens.iter().filter(|token| token.marks.value) {
        values.push_str(&harness.tokenizer.decode(&[token.id]).unwrap());
    }
    let document = document(&written);
    let kind = document["kind"].as_str().unwrap();
    assert!(values.contains(kind), "{values}");
    assert!(values.contains(&document["age"].to_string()), "{values}");
    for name in ["name", "\"age", "kind\""] {
        assert!(!values.contains(name), "{name} in {values}");
    }
}

#[tokio::test]
async fn every_kind_of_form_is_kept() {
    let harness = Harness::new();
    let options = ["billing", "bill", "größe \"x\""].map(str::to_owned);
    let choice = Form::Choice(options.to_vec());
    let regex = Form::Regex("[a-c]{2}/\\d{3}".to_owned());
    let grammar = Form::Grammar("start: \"yes\" | \"no\" \" \" \"way\"".to_owned());
    for seed in 0..6 {
        let chosen = harness.write(harness.formed(&choice, seed, 60)).await;
        assert!(options.contains(&chosen.text), "{}", chosen.text);
        let matched = harness.write(harness.formed(&regex, seed, 60)).await.text;
        let (letters, digits) = matched.split_once('/').unwrap();
        assert!(letters.len() == 2 && letters.chars().all(|c| ('a'..='c').contains(&c)));
        assert!(
            digits.len() == 3 && digits.parse::<u32>().is_ok(),
            "{matched}"
        );
        let parsed = harness.write(harness.formed(&grammar, seed, 60)).await.text;
        assert!(["yes", "no way"].contains(&parsed.as_str()), "{parsed}");
    }
}

#[tokio::test]
async fn neighbours_with_and_without_a_form_are_as_they_are_alone() {
    let harness = Harness::new();
    let ask = |seed: u64| match seed % 3 {
        0 => harness.ramble("Where is my parcel?", seed, 40),
        1 => harness.formed(&person(), seed, 120),
        _ => harness.formed(&Form::Regex("(ab|cd)+x".to_owned()), seed, 30),
    };
    let together = join_all((0..9).map(|seed| harness.write(ask(seed)))).await;
    for (seed, written) in (0..).zip(together) {
        assert_eq!(written, harness.write(ask(seed)).await, "seed {seed}");
    }
    harness.until_idle().await;
}

#[tokio::test]
async fn an_answer_in_a_form_resumed_anywhere_goes_on_with_the_same_tokens() {
    let (first, second) = (Harness::new(), Harness::new());
    let whole = first.write(first.formed(&person(), 3, 200)).await;
    for cut in 0..whole.tokens.len() {
        let mut writing = second.formed(&person(), 3, 200);
        writing.produced = whole.ids()[..cut].to_vec();
        let mut showing = second.show(&[]);
        showing.shown_bytes = whole.text.len();
        let rest = finish(second.engine.write(writing, showing).unwrap()).await;
        assert_eq!(rest.tokens, whole.tokens[cut..], "cut at {cut}");
        assert_eq!((rest.end, rest.text.as_str()), (End::Stop, ""));
    }
}

#[tokio::test]
async fn tokens_that_do_not_fit_the_form_are_not_gone_on_with() {
    let harness = Harness::new();
    let mut writing = harness.formed(&person(), 3, 200);
    writing.produced = harness.encode("no document");
    let refused = harness.begin(writing).unwrap_err();
    assert!(matches!(refused, Refused::Form(_)), "{refused}");
}

#[tokio::test]
async fn a_limit_cuts_within_forced_tokens_and_a_stop_string_within_a_document() {
    let harness = Harness::new();
    let whole = harness.write(harness.formed(&person(), 5, 200)).await;
    for most in 1..whole.tokens.len() {
        let cut = harness.write(harness.formed(&person(), 5, most)).await;
        assert_eq!(
            (cut.end, &cut.tokens[..]),
            (End::Length, &whole.tokens[..most])
        );
    }
    let writing = harness.formed(&person(), 5, 200);
    let answer = harness
        .engine
        .write(writing, harness.show(&["\"age\""]))
        .unwrap();
    let stopped = finish(answer).await;
    assert_eq!(
        (stopped.end, stopped.stop.as_deref()),
        (End::Stop, Some("\"age\""))
    );
    assert!(whole.text.starts_with(&stopped.text) && !stopped.text.contains("age"));
}

#[tokio::test]
async fn a_form_ends_the_answer_also_where_ends_are_ignored_or_put_off() {
    let harness = Harness::new();
    let form = Form::Choice(vec!["yes".to_owned()]);
    let mut ignoring = harness.formed(&form, 1, 50);
    ignoring.limits.ends = [].into();
    let written = harness.write(ignoring).await;
    assert_eq!((written.end, written.text.as_str()), (End::Stop, "yes"));
    let mut later = harness.formed(&form, 1, 50);
    later.limits.min_tokens = 40;
    let written = harness.write(later).await;
    assert_eq!((written.end, written.text.as_str()), (End::Stop, "yes"));
}
