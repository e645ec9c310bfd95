//! What is granted and what is said of it, one story each.

use k8s_openapi::jiff::SignedDuration;
use serde_json::{Value, json};
use weir_policy::budget::ledger::Book;
use weir_policy::load::RouterLoad;
use weir_policy::table::compile;

use super::*;

const NOON: &str = "2026-11-22T12:00:00Z";

fn observed(limit: &str, routers: &[(&str, Value)]) -> Observed {
    let policy = json!([{
        "apiVersion": "weir.dev/v1alpha1", "kind": "RoutePolicy",
        "metadata": { "name": "support", "namespace": "ns", "uid": "p", "generation": 1 },
        "spec": {
            "models": ["assistant"],
            "tiers": [
                { "name": "small", "deployment": { "name": "triage" } },
                { "name": "frontier", "endpoint": {
                    "provider": "OpenAI", "model": "big",
                    "price": { "inputPerMillion": "3", "outputPerMillion": "15" },
                } },
            ],
            "budget": [{ "period": "Month", "limit": limit }],
        },
    }]);
    Observed {
        namespace: "ns".into(),
        policies: serde_json::from_value(policy).unwrap(),
        spenders: routers
            .iter()
            .map(|(run, purse)| ((*run).to_owned(), Some(load(run, purse))))
            .collect(),
        ..Observed::default()
    }
}

fn load(run: &str, purse: &Value) -> RouterLoad {
    let mut whole = json!({
        "granted": "0", "returned": "0", "spent": "0", "reserved": "0",
        "per_minute": "0", "call": "0.1", "waiting": "0",
    });
    for (field, value) in purse.as_object().unwrap() {
        whole[field] = value.clone();
    }
    let purse: PurseLoad = serde_json::from_value(whole).unwrap();
    RouterLoad {
        run: run.into(),
        purses: [("support".into(), [(Period::Month, purse)].into())].into(),
        ..RouterLoad::default()
    }
}

/// As a pass does it: deals, and looks at what came of that.
fn pass(observed: &mut Observed) -> (Verdict, SpendStatus) {
    let table = compile(&observed.policies, [], &Default::default());
    deal(observed, &table, NOON.parse().unwrap());
    let verdict = verdict(observed, &table, "support").unwrap();
    (verdict, spend(observed, "support").unwrap())
}

#[test]
fn routers_are_granted_and_what_they_spend_is_said_to_the_cent() {
    let spending = json!({ "begins": "2026-11-01T00:00:00Z", "granted": "1", "spent": "0.125" });
    let mut observed = observed("500.00", &[("a", spending), ("b", json!({}))]);
    let ((holds, reason, message), spend) = pass(&mut observed);
    assert!(holds);
    assert_eq!(reason, reasons::WITHIN_LIMIT);
    assert_eq!(message, "within 500.00 a month, in US dollars");
    assert_eq!(
        (spend.month.as_str(), spend.frontier.as_str()),
        ("2026-11", "0.12")
    );
    let ledger = &observed.budgets.policies["support"][&Period::Month];
    assert_eq!(ledger.slices["b"].granted, "0.4".parse().unwrap());
}

#[test]
fn a_budget_is_exhausted_when_nobody_has_enough_for_a_call() {
    let spent = |left: &str| json!({ "begins": "2026-11-01T00:00:00Z", "granted": "1", "spent": "0.95", "returned": left });
    let mut over = observed("1", &[("a", spent("0"))]);
    let ((holds, reason, message), spend) = pass(&mut over);
    assert!(!holds);
    assert_eq!(reason, reasons::BUDGET_EXHAUSTED);
    assert_eq!(
        message,
        "the budget of 1 US dollars for the month 2026-11 is spent: small answers are given until \
         2026-12-01T00:00:00Z"
    );
    assert_eq!(spend.frontier, "0.95");
    let mut enough = observed("1.2", &[("a", spent("0"))]);
    assert!(pass(&mut enough).0.0);
}

#[test]
fn what_calls_in_flight_may_give_back_is_not_spent() {
    let last = |reserved: &str| {
        json!({
            "begins": "2026-11-01T00:00:00Z", "granted": "1", "spent": "0.2", "reserved": reserved,
        })
    };
    let mut held = observed("1", &[("a", last("0.8"))]);
    let ((holds, _, message), _) = pass(&mut held);
    assert!(holds, "{message}");
}

#[test]
fn what_replicas_cost_and_what_was_saved_neither_shrink_nor_count_twice_when_a_router_begins_anew()
{
    let run = |spent: &str, own: &str, without: &str| {
        json!({
            "begins": "2026-11-01T00:00:00Z", "granted": spent, "spent": spent,
            "tally": { "own": own, "withoutWeir": without },
        })
    };
    let said = |spend: SpendStatus| {
        [spend.own, spend.without_weir, spend.saved_text].map(Option::unwrap_or_default)
    };
    let mut observed = observed("500", &[("a", run("1", "0.5", "10"))]);
    assert_eq!(said(pass(&mut observed).1), ["0.50", "10.00", "85%"]);
    let again = pass(&mut observed).1;
    assert_eq!(said(again), ["0.50", "10.00", "85%"]);
    // It has ended, and begun anew.
    let second = run("0", "0", "0");
    observed.spenders = vec![("a".into(), Some(load("b", &second)))];
    assert_eq!(said(pass(&mut observed).1)[..2], ["0.50", "10.00"]);
    let third = run("0", "0.25", "5");
    observed.spenders = vec![("a".into(), Some(load("b", &third)))];
    let later = NOON.parse::<Timestamp>().unwrap() + SignedDuration::from_secs(30);
    let table = compile(&observed.policies, [], &Default::default());
    deal(&mut observed, &table, later);
    let entries = observed.budgets.write();
    observed.budgets = Book::read(&entries);
    assert_eq!(
        said(spend(&observed, "support").unwrap())[..2],
        ["0.75", "15.00"]
    );
    observed.spenders.clear();
    deal(&mut observed, &table, later);
    let gone = said(spend(&observed, "support").unwrap());
    assert_eq!(gone[..2], ["0.75", "15.00"]);
}

/// As it is where the entry of another policy has left nothing of the ConfigMap.
fn fill(observed: &mut Observed) {
    observed.unreadable = ["odd".to_owned()].into();
    observed.budgets.unreadable = [("odd".into(), "x".repeat(MOST_BYTES))].into();
}

#[test]
fn what_could_not_be_written_is_not_granted_and_the_condition_says_why() {
    let mut observed = observed("500", &[("a", json!({}))]);
    fill(&mut observed);
    let before = observed.budgets.clone();
    let table = compile(&observed.policies, [], &Default::default());
    deal(&mut observed, &table, NOON.parse().unwrap());
    assert_eq!(observed.budgets, before);
    let (holds, reason, message) = verdict(&observed, &table, "support").unwrap();
    assert_eq!((holds, reason), (false, reasons::BUDGET_EXHAUSTED));
    assert!(message.contains("weir-budgets can hold"), "{message}");
    // There is room again.
    observed.unreadable.clear();
    assert!(pass(&mut observed).0.0);
    assert!(observed.without_room.is_empty());
}

#[test]
fn what_routers_give_back_is_not_lost_where_the_config_map_is_full() {
    let mut observed = observed("500", &[("a", json!({}))]);
    pass(&mut observed);
    fill(&mut observed);
    let back = json!({ "begins": "2026-11-01T00:00:00Z", "granted": "0.4", "returned": "0.3", "call": "0" });
    observed.spenders = vec![
        ("a".into(), Some(load("a", &back))),
        ("b".into(), Some(load("b", &json!({})))),
    ];
    let ((holds, _, message), _) = pass(&mut observed);
    assert!(
        !holds && message.starts_with("not every router"),
        "{message}"
    );
    let ledger = |observed: &Observed| observed.budgets.policies["support"][&Period::Month].clone();
    assert_eq!(ledger(&observed).committed(), "0.1".parse().unwrap());
    assert!(!ledger(&observed).slices.contains_key("b"));
    observed.spenders.clear();
    pass(&mut observed);
    assert!(ledger(&observed).slices.is_empty());
    assert_eq!(
        ledger(&observed).spent,
        "0.1".parse().unwrap(),
        "a is gone, and gave that back"
    );
    let next_month = "2026-12-01T00:00:00Z".parse().unwrap();
    let table = compile(&observed.policies, [], &Default::default());
    deal(&mut observed, &table, next_month);
    assert_eq!(ledger(&observed).begins, next_month);
}

#[test]
fn what_a_router_that_is_gone_had_counts_as_spent() {
    let mut observed = observed("500", &[("a", json!({}))]);
    pass(&mut observed);
    observed.spenders.clear();
    let (_, spend) = pass(&mut observed);
    assert_eq!(spend.frontier, "0.40");
}

#[test]
fn an_entry_that_cannot_be_read_grants_nothing_and_is_named() {
    let mut observed = observed("500", &[("a", json!({}))]);
    observed.budgets.unreadable = [("support".into(), "odd".into())].into();
    let table = compile(&observed.policies, [], &Default::default());
    observed.budgets = next(&observed, &table, NOON.parse().unwrap()).book;
    let (holds, _, message) = verdict(&observed, &table, "support").unwrap();
    assert!(
        !holds && message.contains("entry support of ConfigMap weir-budgets"),
        "{message}"
    );
    assert_eq!(observed.budgets.unreadable["support"], "odd");
}

#[test]
fn what_a_deleted_policy_spent_stays_in_the_config_map_and_counts_when_it_is_back() {
    let mut observed = observed("0.1", &[("a", json!({}))]);
    pass(&mut observed);
    observed.spenders.clear();
    pass(&mut observed);
    let policies = std::mem::take(&mut observed.policies);
    let table = compile(&[], [], &Default::default());
    let entries = next(&observed, &table, NOON.parse().unwrap()).book.write();
    observed.budgets = Book::read(&entries);
    observed.policies = policies;
    let ((holds, ..), spend) = pass(&mut observed);
    assert_eq!((holds, spend.frontier.as_str()), (false, "0.10"));
}
