//! Which rule wins, what it is said to have matched by, and when tokens must be counted.

use std::cell::Cell;
use std::slice::from_ref;

use serde_json::{Value, json};

use super::*;

/// What a test says of an ask, and what was looked at.
#[derive(Default)]
struct Known {
    header: Option<(&'static str, &'static str)>,
    metadata: Option<(&'static str, &'static str)>,
    has_tools: bool,
    format: Option<ResponseFormat>,
    language: Option<&'static str>,
    tenant: Option<&'static str>,
    adapter: Option<&'static str>,
    languages_told: Cell<u32>,
}

impl Facts for Known {
    fn has_header(&self, wanted: &HeaderValues) -> bool {
        let carries = |(name, value): (&str, &str)| {
            wanted.name == name && wanted.values.iter().any(|wanted| wanted == value)
        };
        self.header.is_some_and(carries)
    }

    fn metadata(&self, name: &str) -> Option<&str> {
        let entry = self.metadata.filter(|(entry, _)| *entry == name);
        entry.map(|(_, value)| value)
    }

    fn has_tools(&self) -> bool {
        self.has_tools
    }

    fn format(&self) -> Option<ResponseFormat> {
        self.format
    }

    fn language(&self) -> Option<&str> {
        self.languages_told.update(|told| told + 1);
        self.language
    }

    fn tenant(&self) -> Option<&str> {
        self.tenant
    }

    fn adapter(&self) -> Option<&str> {
        self.adapter
    }
}

/// Rules `r0`, `r1`, ... that begin at the tier of their own number.
fn rules(whens: &[Value]) -> Vec<Rule> {
    let rules = whens.iter().enumerate().map(|(index, when)| Rule {
        name: format!("r{index}"),
        when: serde_json::from_value(when.clone()).unwrap(),
        then: Then::Start(index),
    });
    rules.collect()
}

/// `name: why`, `none` or `tokens`.
fn outcome(whens: &[Value], facts: &Known, length: Length) -> String {
    match first_match(&rules(whens), facts, length) {
        Evaluation::Matched { rule, why } => format!("{}: {why}", rule.name),
        Evaluation::NoMatch => "none".into(),
        Evaluation::NeedsTokens => "tokens".into(),
    }
}

const SHORT: Length = Length::Bytes(10);

#[test]
fn each_condition_matches_what_it_names_and_nothing_else() {
    let with = Known {
        header: Some(("x-team", "ads")),
        metadata: Some(("purpose", "scraping")),
        has_tools: true,
        format: Some(ResponseFormat::JsonSchema),
        language: Some("de"),
        tenant: Some("acme"),
        adapter: Some("tickets"),
        ..Known::default()
    };
    let without = Known::default();
    for (when, why) in [
        (
            json!({ "header": { "name": "x-team", "values": ["search", "ads"] } }),
            "header x-team",
        ),
        (
            json!({ "metadata": { "name": "purpose", "values": ["scraping"] } }),
            "metadata purpose",
        ),
        (json!({ "tools": true }), "tools"),
        (
            json!({ "responseFormat": "JsonSchema" }),
            "format JsonSchema",
        ),
        (json!({ "language": "de" }), "language de"),
        (json!({ "tenant": "acme" }), "its tenant"),
        (json!({ "adapter": "tickets" }), "adapter tickets"),
    ] {
        let whens = [when.clone()];
        assert_eq!(outcome(&whens, &with, SHORT), format!("r0: {why}"));
        assert_eq!(outcome(&whens, &without, SHORT), "none", "{when}");
    }
    let no_tools = [json!({ "tools": false })];
    assert_eq!(outcome(&no_tools, &without, SHORT), "r0: no tools");
    assert_eq!(outcome(&no_tools, &with, SHORT), "none");
    let others = [
        json!({ "header": { "name": "x-team", "values": ["search"] } }),
        json!({ "metadata": { "name": "purpose", "values": ["support"] } }),
        json!({ "responseFormat": "JsonObject" }),
        json!({ "language": "en" }),
        json!({ "tenant": "acm" }),
        json!({ "adapter": "triage" }),
    ];
    assert_eq!(outcome(&others, &with, SHORT), "none");
}

#[test]
fn every_condition_of_a_rule_must_hold() {
    let both = [json!({ "tools": true, "language": "de" })];
    let facts = |has_tools, language| Known {
        has_tools,
        language,
        ..Known::default()
    };
    let matched = outcome(&both, &facts(true, Some("de")), SHORT);
    assert_eq!(matched, "r0: tools, language de");
    assert_eq!(outcome(&both, &facts(true, None), SHORT), "none");
    assert_eq!(outcome(&both, &facts(false, Some("de")), SHORT), "none");
}

#[test]
fn the_first_rule_that_matches_wins_and_an_empty_one_matches_every_ask() {
    let facts = Known {
        has_tools: true,
        ..Known::default()
    };
    let whens = [
        json!({ "language": "de" }),
        json!({ "tools": true }),
        json!({}),
    ];
    assert_eq!(outcome(&whens, &facts, SHORT), "r1: tools");
    assert_eq!(outcome(&whens, &Known::default(), SHORT), "r2: every ask");
    assert_eq!(outcome(&whens[..1], &facts, SHORT), "none");
    assert_eq!(outcome(&[], &facts, SHORT), "none");
}

#[test]
fn bytes_decide_where_they_are_twice_clear_of_the_bound() {
    let (over, under) = (
        json!({ "promptTokens": { "over": 100 } }),
        json!({ "promptTokens": { "under": 100 } }),
    );
    for (bytes, is_over, is_under) in [
        (801, "r0: prompt about 201 tokens over 100", "none"),
        (800, "tokens", "tokens"),
        (200, "tokens", "tokens"),
        (199, "none", "r0: prompt about 50 tokens under 100"),
    ] {
        let facts = Known::default();
        let outcome = |when: &Value| outcome(from_ref(when), &facts, Length::Bytes(bytes));
        assert_eq!(outcome(&over), is_over, "{bytes}");
        assert_eq!(outcome(&under), is_under, "{bytes}");
    }
}

#[test]
fn counted_tokens_decide_at_the_bound_itself_and_estimated_ones_say_so() {
    let whens = [json!({ "promptTokens": { "over": 100, "under": 200 } })];
    let outcome = |length| outcome(&whens, &Known::default(), length);
    assert_eq!(outcome(Length::Tokens(100)), "none");
    let matched = "r0: prompt 101 tokens over 100 and under 200";
    assert_eq!(outcome(Length::Tokens(101)), matched);
    assert!(outcome(Length::Tokens(199)).starts_with("r0"));
    assert_eq!(outcome(Length::Tokens(200)), "none");
    let matched = "r0: prompt an estimated 101 tokens over 100 and under 200";
    assert_eq!(outcome(Length::estimated(401)), matched);
}

#[test]
fn tokens_are_asked_for_only_where_the_first_rule_left_hangs_on_them() {
    let close = Length::Bytes(400);
    let long = json!({ "promptTokens": { "over": 100 } });
    let long_with_tools = json!({ "promptTokens": { "over": 100 }, "tools": true });
    let facts = Known::default();
    assert_eq!(
        outcome(&[json!({}), long.clone()], &facts, close),
        "r0: every ask"
    );
    assert_eq!(outcome(&[long, json!({})], &facts, close), "tokens");
    let whens = [long_with_tools, json!({})];
    assert_eq!(outcome(&whens, &facts, close), "r1: every ask");
    // One bound that is clearly missed is enough.
    let between = [json!({ "promptTokens": { "over": 100, "under": 40 } })];
    assert_eq!(outcome(&between, &facts, close), "none");
}

#[test]
fn a_language_is_told_only_where_everything_else_holds() {
    let facts = Known {
        language: Some("de"),
        ..Known::default()
    };
    let whens = [
        json!({ "tools": true, "language": "de" }),
        json!({ "promptTokens": { "over": 1000 }, "language": "de" }),
        json!({ "tenant": "acme", "language": "de" }),
    ];
    assert_eq!(outcome(&whens, &facts, SHORT), "none");
    assert_eq!(facts.languages_told.get(), 0);
    outcome(&[json!({ "language": "de" })], &facts, SHORT);
    assert_eq!(facts.languages_told.get(), 1);
}

#[test]
fn a_split_gives_each_tier_its_share_of_the_draws() {
    let share = |tier, weight| Share { tier, weight };
    let shares = [share(0, 90), share(2, 0), share(1, 10)];
    assert_eq!(drawn(&shares, 0.0), Some(0));
    assert_eq!(drawn(&shares, 0.8999), Some(0));
    assert_eq!(drawn(&shares, 0.9), Some(1));
    assert_eq!(drawn(&shares, 1.0 - f64::EPSILON / 2.0), Some(1));
    let draws = (0..1000).map(|draw| drawn(&shares, f64::from(draw) / 1000.0));
    assert_eq!(draws.filter(|tier| *tier == Some(0)).count(), 900);
}
