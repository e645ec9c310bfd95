//! The last good policies of a namespace: what routers serve where a live policy does not validate,
//! also those that start afresh.

use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt;
use weir_crds::RoutePolicy;
use weir_policy::last_good::LastGood;
use weir_policy::table::Table;

/// The last good ones now: a policy that `table` finds nothing wrong with as it is, any other as it
/// was when it last was good, also one that is `unreadable`. Policies that are gone are forgotten.
pub fn next(
    before: &BTreeMap<String, LastGood>,
    policies: &[RoutePolicy],
    unreadable: &BTreeSet<String>,
    table: &Table,
) -> BTreeMap<String, LastGood> {
    let last = |policy: &RoutePolicy| {
        let name = policy.name_any();
        if !table.problems(&name).is_empty() {
            return before.get(&name).cloned();
        }
        Some(LastGood {
            generation: policy.metadata.generation.unwrap_or(0),
            spec: policy.spec.clone(),
        })
    };
    let kept = unreadable
        .iter()
        .filter_map(|name| Some((name.clone(), before.get(name)?.clone())));
    policies
        .iter()
        .filter_map(|policy| Some((policy.name_any(), last(policy)?)))
        .chain(kept)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use weir_policy::table::compile;

    fn policy(generation: i64, model: &str, timeout: &str) -> RoutePolicy {
        serde_json::from_value(json!({
            "apiVersion": "weir.dev/v1alpha1", "kind": "RoutePolicy",
            "metadata": { "name": "support", "generation": generation },
            "spec": {
                "models": [model], "timeout": timeout,
                "tiers": [{ "name": "small", "deployment": { "name": "triage" } }],
            },
        }))
        .unwrap()
    }

    fn after(
        before: &BTreeMap<String, LastGood>,
        policies: &[RoutePolicy],
    ) -> BTreeMap<String, LastGood> {
        next(
            before,
            policies,
            &BTreeSet::new(),
            &compile(policies, [], before),
        )
    }

    #[test]
    fn a_good_policy_replaces_what_was_and_a_bad_one_leaves_it() {
        let first = after(&BTreeMap::new(), &[policy(1, "one", "1m")]);
        assert_eq!(first["support"].generation, 1);
        let bad = after(&first, &[policy(2, "two", "soon")]);
        assert_eq!(bad, first);
        let good = after(&bad, &[policy(3, "three", "1m")]);
        assert_eq!(good["support"].spec.models, ["three"]);
    }

    #[test]
    fn a_policy_that_never_was_good_has_no_entry() {
        assert!(after(&BTreeMap::new(), &[policy(1, "one", "soon")]).is_empty());
    }

    #[test]
    fn a_policy_that_cannot_be_read_goes_on_as_it_last_was_good() {
        let before = after(&BTreeMap::new(), &[policy(1, "one", "1m")]);
        let unreadable = BTreeSet::from(["support".to_owned(), "new".to_owned()]);
        let none: [RoutePolicy; 0] = [];
        let table = compile(&none, [], &before);
        assert_eq!(next(&before, &none, &unreadable, &table), before);
    }

    #[test]
    fn a_policy_that_is_gone_is_forgotten() {
        let before = after(&BTreeMap::new(), &[policy(1, "one", "1m")]);
        assert!(after(&before, &[]).is_empty());
    }
}
