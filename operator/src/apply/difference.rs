//! Whether an object that exists has everything that we want of it: fields that others own or the
//! API server fills in do not count, so that an unchanged world compares equal.

use serde_json::Value;
use weir_crds::Quantity;

/// Whether every field of `wanted` is in `live` with an equal value.
///
/// A list of objects compares as a set: each wanted element needs one in `live` that has all of
/// its fields, because a server-side apply merges such lists and leaves others' elements alone.
/// A list of plain values compares exactly. An empty object or list equals an absent one.
/// What is under `resources` are quantities, equal where they are the same amount.
pub fn holds(wanted: &Value, live: &Value) -> bool {
    holds_as(Strings::Text, wanted, live)
}

/// Whether a list in `live` has more than in `wanted`, metadata left out: for kinds whose lists belong to
/// one owner, where one element more is one allowance more.
pub fn adds(wanted: &Value, live: &Value) -> bool {
    match (wanted, live) {
        (Value::Object(wanted), live) => wanted.iter().any(|(key, wanted)| {
            key != "metadata" && live.get(key).is_some_and(|live| adds(wanted, live))
        }),
        (Value::Array(wanted), Value::Array(live)) => {
            let mut pairs = wanted.iter().zip(live);
            live.len() > wanted.len() || pairs.any(|(wanted, live)| adds(wanted, live))
        }
        _ => false,
    }
}

/// What the strings of an object are.
#[derive(Clone, Copy)]
enum Strings {
    Text,
    /// Right under `resources`: requests and limits, whose values are quantities.
    OfResources,
    Quantities,
}

impl Strings {
    /// Of what is in `key`.
    fn under(self, key: &str) -> Self {
        match (self, key) {
            (Self::Text, "resources") => Self::OfResources,
            (Self::OfResources, "requests" | "limits") => Self::Quantities,
            (Self::Quantities, _) => Self::Quantities,
            _ => Self::Text,
        }
    }
}

fn holds_as(strings: Strings, wanted: &Value, live: &Value) -> bool {
    match (wanted, live) {
        (Value::Null, _) => true,
        (Value::Object(wanted), live) => wanted.iter().all(|(key, wanted)| match live.get(key) {
            Some(live) => holds_as(strings.under(key), wanted, live),
            None => is_empty(wanted),
        }),
        (Value::Array(wanted), Value::Array(live)) => {
            if wanted.iter().any(Value::is_object) {
                wanted
                    .iter()
                    .all(|wanted| live.iter().any(|live| holds_as(strings, wanted, live)))
            } else {
                wanted == live
            }
        }
        (Value::String(wanted), Value::String(live)) => {
            let amounts = matches!(strings, Strings::Quantities);
            wanted == live || (amounts && same_amount(wanted, live))
        }
        _ => wanted == live,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.is_empty(),
        Value::Array(elements) => elements.is_empty(),
        _ => false,
    }
}

/// Whether both are one Kubernetes quantity: the API server writes `1000m` as `1`.
fn same_amount(one: &str, other: &str) -> bool {
    let thousandths = |text: &str| Quantity::from(text).milli_cpu();
    matches!((thousandths(one), thousandths(other)), (Ok(one), Ok(other)) if one == other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_the_api_server_fills_in_is_no_difference() {
        let wanted = json!({"spec": {"ports": [{"port": 80, "name": "http"}], "selector": {}}});
        let live = json!({
            "spec": {"ports": [{"port": 80, "name": "http", "protocol": "TCP"}], "type": "ClusterIP"},
            "status": {},
        });
        assert!(holds(&wanted, &live));
    }

    #[test]
    fn a_changed_field_is_a_difference() {
        let live = json!({"replicas": 2});
        assert!(!holds(&json!({"replicas": 1}), &live));
        assert!(!holds(&json!({"paused": false}), &live));
    }

    #[test]
    fn an_element_that_somebody_added_to_a_list_of_objects_is_not_ours_to_remove() {
        let wanted = json!([{"name": "worker"}]);
        assert!(holds(
            &wanted,
            &json!([{"name": "sidecar"}, {"name": "worker", "tty": false}])
        ));
        assert!(!holds(&wanted, &json!([{"name": "sidecar"}])));
    }

    #[test]
    fn one_allowance_more_is_an_addition_wherever_it_is_and_a_default_is_none() {
        let wanted = json!({
            "metadata": {"ownerReferences": [{"uid": "a"}]},
            "spec": {"egress": [{"to": [{"podSelector": {}}], "ports": [{"port": 80}]}]},
        });
        let live = |rule: Value, more: Value| {
            json!({
                "metadata": {"ownerReferences": [{"uid": "a"}, {"uid": "b"}]},
                "spec": {"egress": [rule, more]},
            })
        };
        let port = json!({"port": 80, "protocol": "TCP"});
        let usual = json!({"to": [{"podSelector": {}}], "ports": [port]});
        let mut filled = live(usual.clone(), json!({}));
        assert!(adds(&wanted, &filled));
        filled["spec"]["egress"].as_array_mut().unwrap().pop();
        assert!(!adds(&wanted, &filled));
        filled["spec"]["egress"][0]["ports"] = json!([port, {"port": 81}]);
        assert!(adds(&wanted, &filled));
    }

    #[test]
    fn arguments_compare_in_order() {
        assert!(!holds(&json!(["--a", "--b"]), &json!(["--b", "--a"])));
    }

    #[test]
    fn quantities_compare_by_what_they_mean() {
        let same = |one: &str, other: &str| {
            let of = |amount: &str| json!({"containers": [{"name": "a", "resources": {"limits": {"cpu": amount}}}]});
            holds(&of(one), &of(other))
        };
        for (one, other) in [
            ("1000m", "1"),
            ("0.5", "500m"),
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
        ] {
            assert!(same(one, other), "{one} {other}");
        }
        assert!(!same("1", "1Gi"));
        assert!(!same("m", ""));
    }

    #[test]
    fn a_text_that_looks_like_a_quantity_is_a_text() {
        for wanted in [
            json!({"metadata": {"labels": {"size": "1000m"}}}),
            json!({"data": {"resources": "1000m"}}),
        ] {
            let live = wanted.to_string().replace("1000m", "1");
            assert!(!holds(&wanted, &serde_json::from_str(&live).unwrap()));
        }
    }
}
