//! Forms that are made to take much or to break something: each is refused, or followed within the
//! same bounds as any other.

use serde_json::{Value, json};

use super::{Constraint, ConstraintError, Form, Masks, Matching, walks::Walker};
use crate::random::uniform;

/// Follows a form for some tokens, if it gets so far.
fn follow(constraint: &Constraint, masks: &Masks, seed: u64) -> Result<(), ConstraintError> {
    let mut matching = Matching::new(constraint.clone(), masks.clone());
    for at in 0..40 {
        matching.forced()?;
        if matching.is_over()? {
            return Ok(());
        }
        let allowed: Vec<u32> = matching.mask()?.allowed().collect();
        if allowed.is_empty() {
            return Ok(());
        }
        let id = allowed[(uniform(seed, 0, at) * allowed.len() as f64) as usize];
        matching.accept(id)?;
        if matching.is_over()? {
            return Ok(());
        }
    }
    Ok(())
}

fn nested(depth: usize) -> Value {
    (0..depth).fold(
        json!({ "type": "integer" }),
        |inner, _| json!({ "type": "object", "properties": { "a": inner }, "required": ["a"] }),
    )
}

fn product(ways: usize) -> Value {
    let either = |at: usize| {
        let way = |end: &str| json!({ "properties": { format!("{at}{end}"): { "const": at } } });
        json!({ "anyOf": [way("a"), way("b"), way("c")] })
    };
    json!({ "allOf": (0..ways).map(either).collect::<Vec<_>>() })
}

fn hostile() -> Vec<Form> {
    let names = |count: usize| (0..count).map(|at| format!("name{at}"));
    let wide: Value = names(10_000)
        .map(|name| (name, json!({ "type": "string" })))
        .collect();
    let many: Vec<String> = names(20_000).collect();
    let chain: Value = (0..2_000)
        .map(|at| {
            (
                format!("d{at}"),
                json!({ "$ref": format!("#/$defs/d{}", at + 1) }),
            )
        })
        .collect();
    let schemas = [
        nested(120),
        json!({ "type": "object", "properties": wide, "required": [] }),
        json!({ "enum": many }),
        product(6),
        product(14),
        json!({ "$ref": "#" }),
        json!({ "$defs": chain, "$ref": "#/$defs/d0" }),
        json!({ "allOf": [{ "$ref": "#" }, { "type": "object" }] }),
        json!({ "anyOf": [{ "$ref": "#" }, { "type": "array", "items": { "$ref": "#" } }] }),
        json!({ "type": "array", "minItems": 1_000_000_000 }),
        json!({ "type": "array", "items": { "type": "integer" }, "maxItems": 100_000_000 }),
        json!({ "type": "string", "minLength": 1_000_000_000 }),
        json!({ "type": "string", "pattern": "(a|b)*a(a|b){24}" }),
        json!({ "type": "string", "pattern": "((a{1,99}){1,99}){1,99}" }),
        json!({ "type": "integer", "multipleOf": 999_999_937 }),
        json!({ "type": "number", "minimum": 1e-300, "maximum": 1e300, "multipleOf": 1e-9 }),
        json!({ "patternProperties": { "(a|b)*a(a|b){20}": true, "(b|a)*b(a|b){20}": true } }),
        json!({ "not": { "type": "string" } }),
        json!({ "type": "string", "format": "no such format" }),
        json!({ "x-guidance": { "whitespace_pattern": "((a{1,99}){1,99}){1,99}" } }),
    ];
    let regexes = [
        "(a|b)*a(a|b){28}",
        "(x{1,500}){1,500}",
        "(.*a){30}",
        "((((a?){30}){30}){30}){30}",
        "(",
        "\\p{L}{1,1000}",
    ];
    let grammars = [
        "start: start start | \"a\"".to_owned(),
        format!("start: {}", "(".repeat(3000)),
        "start: a\na: b{1000000}\nb: \"x\" | a".to_owned(),
        "start: %json {\"type\": \"array\", \"minItems\": 1000000000}".to_owned(),
        "start: <[0-1023]>{100}".to_owned(),
        "%llguidance {\"allow_invalid_utf8\": true}\nstart: /(?s:.)*/".to_owned(),
    ];
    schemas
        .into_iter()
        .map(Form::Json)
        .chain(regexes.map(|regex| Form::Regex(regex.to_owned())))
        .chain(grammars.into_iter().map(Form::Grammar))
        .chain([Form::Choice(many)])
        .collect()
}

#[test]
fn what_explodes_is_refused_or_followed_within_bounds() {
    let walker = Walker::new();
    for form in hostile() {
        let compiled = walker.constraints.compile(&form);
        let followed = match &compiled {
            Ok(constraint) => follow(constraint, &walker.masks, 1).err(),
            Err(error) => Some(error.clone()),
        };
        let said = followed.map(|error| error.to_string()).unwrap_or_default();
        assert!(said.len() < 400, "{said}");
    }
}

#[test]
fn forms_that_are_too_long_or_say_nothing_are_refused_at_once() {
    let walker = Walker::new();
    let refused = |form: Form| walker.constraints.compile(&form).unwrap_err();
    let long = Form::Json(json!({ "const": "x".repeat(600_000) }));
    assert!(matches!(refused(long), ConstraintError::TooLong { .. }));
    let long = Form::Regex("x".repeat(20_000));
    assert!(matches!(refused(long), ConstraintError::TooLong { .. }));
    for form in [
        Form::Choice(Vec::new()),
        Form::Choice(vec![String::new()]),
        Form::Json(json!(false)),
        Form::Json(json!("text")),
        Form::Json(json!({ "type": "string", "minLength": 3, "maxLength": 2 })),
        Form::Regex("[".to_owned()),
        Form::Regex(String::new()),
        Form::Grammar(String::new()),
    ] {
        assert!(matches!(refused(form), ConstraintError::Refused(_)));
    }
}

/// Damages a schema's text: what is left is often still JSON.
fn mutated(text: &str, seed: u64) -> String {
    let mut text: Vec<char> = text.chars().collect();
    let draw = |at: u64, most: usize| (uniform(seed, 1, at) * most as f64) as usize;
    for change in 0..=draw(0, 4) as u64 {
        let length = text.len();
        let at = draw(10 * change + 1, length);
        let to = (at + draw(10 * change + 2, 12)).min(length);
        let part: Vec<char> = text[at..to].to_vec();
        match draw(10 * change + 3, 5) {
            0 => drop(text.drain(at..to)),
            1 => drop(text.splice(at..at, part)),
            2 => drop(text.splice(
                at..to,
                "{}[]\",:9-\\$".chars().skip(draw(change + 7, 11)).take(1),
            )),
            3 => {
                let number = [
                    "-1",
                    "0",
                    "1e309",
                    "99999999999999999999",
                    "0.1",
                    "\"\"",
                    "null",
                ];
                let word = number[draw(10 * change + 4, number.len())];
                drop(text.splice(at..to, word.chars()));
            }
            _ => {
                let from = draw(10 * change + 5, length);
                let other: Vec<char> = text[from..(from + to - at).min(length)].to_vec();
                drop(text.splice(at..to, other));
            }
        }
    }
    text.into_iter().collect()
}

/// Thousands in a second or two: most damaged schemas are refused at once.
const MUTATIONS: u64 = 3000;

#[test]
fn damaged_schemas_are_compiled_or_refused_and_never_more_than_that() {
    let walker = Walker::new();
    let sound = json!({
        "$defs": { "node": { "type": "object", "properties": {
            "value": { "type": ["integer", "null"], "minimum": -5, "exclusiveMaximum": 12.5 },
            "next": { "$ref": "#/$defs/node" },
        }, "required": ["value"] } },
        "type": "object",
        "properties": {
            "list": { "$ref": "#/$defs/node" },
            "tags": { "type": "array", "items": { "enum": ["a", "b"] }, "minItems": 1, "maxItems": 9 },
            "when": { "type": "string", "format": "date-time" },
            "code": { "type": "string", "pattern": "^[A-Z]{2}-\\d{1,4}$", "maxLength": 12 },
            "either": { "anyOf": [{ "const": 1 }, { "type": "string", "minLength": 2 }] },
            "both": { "allOf": [{ "type": "object" }, { "patternProperties": { "^x": true } }] },
        },
        "required": ["list", "tags"],
        "additionalProperties": { "type": "number", "multipleOf": 0.5 },
    })
    .to_string();
    let (mut compiled, mut refused) = (0, 0);
    for seed in 0..MUTATIONS {
        let Ok(schema) = serde_json::from_str::<Value>(&mutated(&sound, seed)) else {
            continue;
        };
        match walker.constraints.compile(&Form::Json(schema)) {
            Ok(constraint) => {
                compiled += 1;
                // Coming to a bound is an answer too.
                let _ = follow(&constraint, &walker.masks, seed);
            }
            Err(_) => refused += 1,
        }
    }
    assert!(
        compiled > 50 && refused > 50,
        "{compiled} compiled, {refused} refused"
    );
}
