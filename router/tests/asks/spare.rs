//! Tiers that are not worth trying first, and better than an error where all others fail.

use serde_json::{Value, json};

use crate::rig::{Rig, header, json_of, streamed};
use crate::tiers::{endpoint, judged, learnt, record, rig, small, tier_of};
use crate::worker::{Play, Scripted, sure};

/// A first tier that was found to be useless, below these.
async fn below(tiers: Vec<Value>, policy: Value) -> Rig {
    let first = judged(endpoint("first", "-0.001", ""), json!({ "task": "Choice" }));
    let rig = rig([vec![first], tiers].concat(), policy, &[]).await;
    learnt(&rig, json!({ "state": "Useless" })).await;
    rig
}

#[tokio::test]
async fn a_useless_tier_answers_flagged_where_all_others_fail() {
    for stream in [false, true] {
        let rig = below(vec![endpoint("last", "", "status=500")], json!({})).await;
        let response = rig.ask(json!({ "stream": stream })).await;
        assert_eq!(tier_of(&response), "first");
        assert_eq!(header(&response, "x-weir-unsure"), "true");
        let attempts = header(&response, "x-weir-attempts");
        assert!(attempts.starts_with("last;"), "{attempts}");
        let id = header(&response, "x-weir-decision");
        match stream {
            true => assert!(streamed(response).await.is_done),
            false => assert!(json_of(response).await["choices"][0].is_object()),
        }
        let record = record(&rig, &id).await;
        assert_eq!(record["outcome"], "answered_unsure");
        let plan = json!([
            { "tier": "last", "reason": "first" }, { "tier": "first", "reason": "spare" },
        ]);
        assert_eq!(
            (&record["plan"], &record["passedOver"]),
            (&plan, &json!([]))
        );
    }
}

#[tokio::test]
async fn a_useless_tier_is_not_asked_where_the_policy_would_rather_have_an_error() {
    let last = endpoint("last", "", "status=500");
    let rig = below(vec![last], json!({ "onAllUnsure": "Error" })).await;
    assert!(rig.ask(json!({})).await.status().is_server_error());
    assert_eq!(rig.sent_to_frontier().await.len(), 1);
}

#[tokio::test]
async fn an_answer_that_was_dropped_goes_before_that_of_a_useless_tier() {
    let middle = judged(
        endpoint("middle", "-0.5", ""),
        json!({ "threshold": "0.99", "task": "Text" }),
    );
    let tiers = vec![middle, endpoint("last", "", "status=500")];
    let rig = below(tiers, json!({})).await;
    let response = rig.ask(json!({})).await;
    assert_eq!(tier_of(&response), "middle");
    assert_eq!(header(&response, "x-weir-unsure"), "true");
}

#[tokio::test]
async fn where_all_fail_the_error_is_that_of_the_plan_and_tells_of_every_attempt() {
    let worker = Scripted::start([vec![Play::Die]]).await;
    let tiers = vec![small(), endpoint("last", "", "status=500")];
    let rig = rig(tiers, json!({}), &[&worker]).await;
    learnt(&rig, json!({ "state": "Useless" })).await;
    let failed = json_of(rig.ask(json!({})).await).await;
    let message = failed["error"]["message"].as_str().unwrap();
    for attempt in ["last broken", "small lost"] {
        assert!(message.contains(attempt), "{message}");
    }
}

#[tokio::test]
async fn a_useless_tier_that_is_all_there_is_answers_flagged_however_sure_it_is() {
    let worker = Scripted::start([sure()]).await;
    let mut last = endpoint("last", "", "");
    last["endpoint"]["unsupported"] = json!(["logit_bias"]);
    let rig = rig(vec![small(), last], json!({}), &[&worker]).await;
    learnt(&rig, json!({ "state": "Useless" })).await;
    let response = rig.ask(json!({ "logit_bias": { "1": 2 } })).await;
    assert_eq!(tier_of(&response), "small");
    assert_eq!(header(&response, "x-weir-unsure"), "true");
}

#[tokio::test]
async fn a_private_ask_has_nothing_to_spare_outside() {
    let class = json!({ "header": { "name": "x-data-class", "values": ["restricted"] } });
    let policy = json!({ "privacy": { "denyWhen": class } });
    let worker = Scripted::start([vec![Play::Die]]).await;
    let first = judged(endpoint("first", "-0.001", ""), json!({ "task": "Choice" }));
    let tiers = vec![first, small(), endpoint("last", "", "")];
    let rig = rig(tiers, policy, &[&worker]).await;
    learnt(&rig, json!({ "state": "Useless" })).await;
    let mut headers = http::HeaderMap::new();
    headers.insert("x-data-class", "restricted".parse().unwrap());
    let response = rig.ask_with(json!({}), headers).await;
    assert!(response.status().is_server_error());
    assert!(rig.sent_to_frontier().await.is_empty());
}
