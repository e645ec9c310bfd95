//! What is left of a plan, given what is at hand.

use serde_json::json;
use weir_crds::Period;

use super::*;
use crate::money::tests::{granted, purses, settings};

fn ask(extra: serde_json::Value) -> Ask {
    crate::decode::chat_with(&extra)
}

/// The tiers that are left and those that are passed over, with so much at hand and so much to come.
fn left(on_exhausted: &str, at_hand: &str, to_come: &str) -> (Vec<String>, Vec<String>) {
    let budget = json!([{ "period": "Day", "limit": "10", "onExhausted": on_exhausted }]);
    let (settings, purses) = (settings(budget), purses());
    purses.hear(&granted(&[(Period::Day, at_hand, to_come)], &settings));
    let plan = Plan::over(settings.tiers.clone(), Egress::Allowed);
    let ask = ask(json!({ "max_tokens": 10_000 }));
    let within = bound(&purses, ("support", &settings), plan, (&ask, false));
    let names = |plan: &Plan| -> Vec<String> {
        let steps = plan.steps();
        steps.iter().map(|tier| tier.name().to_owned()).collect()
    };
    let passed_over = within.passed_over.iter().map(|(tier, _)| tier.clone());
    (names(&within.plan), passed_over.collect())
}

#[test]
fn a_tier_is_passed_over_where_there_is_no_money_for_it_nor_will_be() {
    let both = (vec!["small".to_owned(), "big".to_owned()], vec![]);
    let small = (vec!["small".to_owned()], vec!["big".to_owned()]);
    // Ten thousand tokens at 15 dollars a million, and a short prompt.
    assert_eq!(left("Local", "0.16", "0"), both);
    assert_eq!(left("Local", "0.15", "0"), small);
    // What usual calls need stays for them, or half of what is left.
    assert_eq!(left("Local", "0", "0.3"), small);
    assert_eq!(
        left("Local", "0", "0.32"),
        both,
        "it is waited for when it is needed"
    );
    assert_eq!(
        left("Reject", "0", "0"),
        both,
        "it is refused when it is needed"
    );
}

#[test]
fn who_answers_in_the_place_of_an_endpoint_is_the_last_deployment_that_can() {
    let settings = settings(json!([{ "period": "Day", "limit": "10" }]));
    let name = |ask: &Ask| local(&settings, ask).map(|tier| tier.name().to_owned());
    assert_eq!(name(&ask(json!({}))).as_deref(), Some("small"));
    assert_eq!(
        name(&ask(json!({ "functions": [{}] }))),
        None,
        "it cannot serve that"
    );
    let plan = || Plan::over(settings.tiers.clone(), Egress::Allowed);
    let pinned = |is_pinned| {
        let of = ("support", &settings);
        bound(&purses(), of, plan(), (&ask(json!({})), is_pinned)).local
    };
    assert!(pinned(false).is_some() && pinned(true).is_none());
}

#[test]
fn why_nobody_is_asked_is_known_also_where_a_tier_to_spare_is_asked_first() {
    let (settings, purses) = (
        settings(json!([{ "period": "Day", "limit": "10" }])),
        purses(),
    );
    purses.hear(&granted(&[(Period::Day, "0", "0")], &settings));
    let over = |tiers: &[Tier]| Plan::over(tiers.to_vec(), Egress::Allowed);
    let (none, spare) = (over(&[]), over(&settings.tiers[..1]));
    let left = |asked: serde_json::Value, spare: &Plan, is_pinned| {
        let ask = ask(asked);
        let of = ("support", &settings);
        let within = bound(&purses, of, over(&settings.tiers[1..]), (&ask, is_pinned));
        settled(within, spare, (&ask, &settings))
    };
    let exhausted = Refusal::BudgetExhausted {
        period: Period::Day,
    };
    assert_eq!(left(json!({}), &none, true).unwrap_err(), exhausted);
    let too_long = left(json!({ "max_tokens": 9_000_000 }), &none, true).unwrap_err();
    assert!(
        matches!(&too_long, Refusal::Field { field, .. } if field == "max_tokens"),
        "{too_long:?}"
    );
    let (plan, frugality) = left(json!({}), &spare, true).unwrap();
    assert!(plan.is_empty());
    assert_eq!(frugality.short.unwrap().1.period, Period::Day);
    // Who is asked in the place of all needs nobody for the same place.
    let (plan, frugality) = left(json!({}), &spare, false).unwrap();
    assert_eq!(plan.steps()[0].name(), "small");
    assert!(frugality.short.is_some() && frugality.local.is_none());
}
