//! Redaction there and back: random texts with values planted in them, cut at random.

use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Map, Value, json};
use weir_crds::RedactKind;

use super::*;

/// Values of every kind, some of which JSON has to escape.
const VALUES: [&str; 12] = [
    "bob@example.com",
    "jürgen+x@münchen.de",
    "\"john doe\"@x.org",
    "+49 151 1234567",
    "(415) 555-2671",
    "4111 1111 1111 1111",
    "378282246310005",
    "192.168.0.1",
    "2001:db8::8a2e:370:7334",
    "<<a\"b>>",
    "<<back\\slash\nline>>",
    "<<\u{1f600}é>>",
];

/// What stands between values: nothing that goes on with one.
const FILLERS: [&str; 14] = [
    " ",
    ", ",
    " and so on ",
    " [EMAIL_1] ",
    " [email_2] ",
    " \\[PHONE\\_1\\] ",
    " [[ ",
    " \\ ",
    " {\"a\": [1, 2]} ",
    " é日本 ",
    "\n",
    " \" ",
    " [PRIVATE_",
    " \u{1f600} ",
];

/// What may stand right before a value.
#[rustfmt::skip]
const BEFORE: [&str; 37] = [
    "", " ", ",", ".", ":", ";", "-", "_", "/", "\\", "=", "#", "(", "[", "{", "<", "\"", "'",
    "*", "|", "~", "%", "中", "1 ", "1,", "12/27 ", "no. ", "\\n", "\\\\n", "%20", "\t", "$", "@",
    "tel:", "://", "2024-11-22 ", "10:30 ",
];

/// What may stand right after one.
#[rustfmt::skip]
const AFTER: [&str; 38] = [
    "", " ", ",", ".", ":", ";", "-", "_", "/", "\\", "=", "+", "#", ")", "]", "}", ">", "\"",
    "'", "*", "|", "中", " 1", ",1", ".0", ":80", "\\n", "\\n1", "%20", "\t", "?", "...", " - 2",
    "@x", "/24", "%eth0", " 2024-11-22", "\n30",
];

fn redaction() -> Redaction {
    let redact = Redact {
        kinds: vec![
            RedactKind::Email,
            RedactKind::Phone,
            RedactKind::CreditCard,
            RedactKind::IpAddress,
        ],
        patterns: vec!["(?s)<<.*?>>".into()],
    };
    Redaction::compile(&redact).unwrap()
}

/// The same cases in every run.
fn run<S: Strategy>(cases: u32, strategy: &S, test: impl Fn(S::Value)) {
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let result = runner.run(strategy, |value| {
        test(value);
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}

/// A text with values between fillers.
fn texts() -> impl Strategy<Value = String> {
    let piece = (0..FILLERS.len(), 0..VALUES.len());
    let pieces = proptest::collection::vec(piece, 0..12);
    pieces.prop_map(|pieces| {
        let pieces = pieces.into_iter();
        let text: String = pieces
            .map(|(filler, value)| FILLERS[filler].to_owned() + VALUES[value])
            .collect();
        text + " ."
    })
}

/// `text` in pieces of as many characters as `cuts` say, over and over.
fn pieces(text: &str, cuts: &[usize]) -> Vec<String> {
    let mut chars = text.chars().peekable();
    let mut sizes = cuts.iter().cycle();
    let mut pieces = Vec::new();
    while chars.peek().is_some() {
        let size = sizes.next().copied().unwrap_or(1);
        pieces.push(chars.by_ref().take(size).collect());
    }
    pieces
}

fn streamed(redacted: Redacted, form: Form, text: &str, cuts: &[usize]) -> String {
    let mut restorer = Restorer::new(Arc::new(redacted), form);
    let mut restored = String::new();
    for piece in pieces(text, cuts) {
        restored += &restorer.push(&piece);
    }
    restored + &restorer.finish()
}

/// Not even five characters of a value in a row are left.
#[track_caller]
fn assert_private(sent: &str) {
    for value in VALUES {
        let chars: Vec<char> = value.chars().collect();
        for some in chars.windows(5).map(String::from_iter) {
            assert!(!sent.contains(&some), "{some:?} leaves in {sent:?}");
        }
    }
}

#[test]
fn an_echoed_text_comes_back_as_it_was_wherever_it_is_cut() {
    let redaction = redaction();
    let cuts = proptest::collection::vec(1_usize..12, 1..6);
    run(2000, &(texts(), cuts), |(text, cuts)| {
        let mut sent = text.clone();
        let redacted = redaction.apply_to_text(&mut sent).unwrap();
        assert_private(&sent);
        assert_eq!(streamed(redacted, Form::Text, &sent, &cuts), text);
    });
}

#[test]
fn echoed_arguments_of_tools_stay_json_and_come_back_as_they_were() {
    let redaction = redaction();
    let cuts = proptest::collection::vec(1_usize..12, 1..6);
    let fields = proptest::collection::vec((texts(), texts()), 0..5);
    run(1000, &(fields, cuts), |(fields, cuts)| {
        let fields = fields
            .into_iter()
            .map(|(key, text)| (key, json!([text, 1.5, null])));
        let arguments = Value::Object(Map::from_iter(fields));
        let mut body = json!({ "arguments": arguments.to_string() });
        let redacted = redaction.apply(&mut body).unwrap();
        let sent = body["arguments"].as_str().unwrap();
        let read: Value = serde_json::from_str(sent).unwrap();
        assert_private(&read.to_string());
        for text in read.as_object().unwrap().iter() {
            assert_private(text.0);
            assert_private(text.1[0].as_str().unwrap());
        }
        let restored = streamed(redacted, Form::Json, sent, &cuts);
        assert_eq!(serde_json::from_str::<Value>(&restored).unwrap(), arguments);
    });
}

#[test]
fn json_with_values_anywhere_stays_what_it_was() {
    let redaction = redaction();
    let fields = proptest::collection::vec((texts(), texts()), 0..5);
    run(1000, &fields, |fields| {
        let fields = fields
            .into_iter()
            .map(|(key, text)| (key, json!({ "a": [text, true] })));
        let was = json!({ "metadata": Map::from_iter(fields) });
        let mut body = was.clone();
        let redacted = redaction.apply(&mut body).unwrap();
        redacted.restore_json(&mut body);
        assert_eq!(body, was);
    });
}

#[test]
fn any_text_at_all_comes_back() {
    let redaction = redaction();
    let cuts = proptest::collection::vec(1_usize..8, 1..6);
    let odd = r"[0-9@.:+\-\[\]\\_%a-fEMAIL ()é１\u{ad}]{0,80}";
    run(3000, &(odd, cuts), |(text, cuts)| {
        let mut sent = text.clone();
        let redacted = redaction.apply_to_text(&mut sent).unwrap();
        assert_eq!(streamed(redacted, Form::Text, &sent, &cuts), text);
    });
}

#[test]
fn values_are_found_whatever_sign_stands_beside_them() {
    let redaction = redaction();
    for value in VALUES
        .into_iter()
        .filter(|value| !value.starts_with(['\"', '<']))
    {
        for (before, after) in BEFORE
            .iter()
            .flat_map(|before| AFTER.map(|after| (before, after)))
        {
            let mut sent = format!("{before}{value}{after}");
            redaction.apply_to_text(&mut sent).unwrap();
            assert_private(&sent);
        }
    }
}

/// Ends, where a quarter of a second would be hours if some of it were read again for each of it.
#[test]
fn texts_that_almost_are_values_are_read_once() {
    let redaction = redaction();
    let almost = [
        "1 ",
        "1:",
        "1::",
        "1.",
        "a@",
        "@a.",
        "a.b-",
        "\"@",
        "a=+",
        "0151 1 ",
        "+1 2 3 (",
        "(",
        "\\",
        "\\u00",
        "%4",
        "１",
        "4111 1111 ",
        "[EMAIL_",
        "EMAIL\\_",
        ";base64,",
        "<",
        "call ",
        "[",
        "{\"1\":",
        "a\u{ad}",
    ];
    for almost in almost {
        let mut text = almost.repeat(200_000 / almost.len());
        let was = text.clone();
        let redacted = redaction.apply_to_text(&mut text);
        if let Ok(redacted) = redacted {
            assert_eq!(
                streamed(redacted, Form::Text, &text, &[64]),
                was,
                "{almost}"
            );
        }
    }
}

#[test]
fn nothing_is_taken_out_where_nothing_is_named() {
    let nothing = Redact::default();
    let problems = Redaction::compile(&nothing).unwrap_err();
    assert_eq!(problems[0].0, "");
    let many = Redact {
        kinds: vec![],
        patterns: vec!["a".into(); 17],
    };
    let problems = Redaction::compile(&many).unwrap_err();
    assert_eq!(
        problems,
        [(".patterns".into(), "must be at most 16".into())]
    );
}
