//! Tiers that are not worth trying first, and better than an error where all others fail.

use http::StatusCode;
use reqwest::Response;
use serde_json::{Value, json};
use weir_crds::Money;

use crate::money::{grant, within};
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

#[tokio::test]
async fn what_is_wrong_with_a_request_is_its_client_s_to_know_and_nobody_else_is_asked() {
    for fault in ["status=400", "status=501"] {
        let rig = below(vec![endpoint("last", "", fault)], json!({})).await;
        let response = rig.ask(json!({})).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{fault}");
        assert_eq!(rig.sent_to_frontier().await.len(), 1, "{fault}");
    }
}

/// There is no money for any call, and so much may still be granted.
async fn without_money(rig: &Rig, remaining: &str) {
    let least: Money = "0.000001".parse().unwrap();
    grant(rig, least, remaining.parse().unwrap()).await;
}

/// Asks on Anthropic's wire.
async fn message(rig: &Rig, max_tokens: u32) -> Response {
    let body = json!({
        "model": "assistant", "max_tokens": max_tokens,
        "messages": [{ "role": "user", "content": "hi" }],
    });
    let request = rig.client.post(format!("{}/v1/messages", rig.url));
    request.body(body.to_string()).send().await.unwrap()
}

/// What an answer says is wrong, under its status.
async fn error(response: Response, status: StatusCode) -> Value {
    assert_eq!(response.status(), status);
    assert_eq!(header(&response, "x-should-retry"), "false");
    json_of(response).await["error"].clone()
}

#[tokio::test]
async fn where_there_is_no_money_for_any_tier_nor_for_one_to_spare_the_client_is_told_so() {
    let mut last = endpoint("last", "", "");
    last["endpoint"]["price"] = json!({ "inputPerMillion": "3", "outputPerMillion": "15" });
    for remaining in ["0", "50"] {
        let rig = below(vec![last.clone()], within("Local")).await;
        without_money(&rig, remaining).await;
        let response = rig.ask(json!({})).await;
        let id = header(&response, "x-weir-decision");
        let exhausted = error(response, StatusCode::TOO_MANY_REQUESTS).await;
        assert_eq!(exhausted["code"], "insufficient_quota");
        let record = record(&rig, &id).await;
        let passed_over = json!([
            { "tier": "last", "reason": "budget" }, { "tier": "first", "reason": "budget" },
        ]);
        assert_eq!(
            (&record["plan"], &record["passedOver"]),
            (&json!([]), &passed_over)
        );
        let exhausted = error(message(&rig, 10).await, StatusCode::PAYMENT_REQUIRED).await;
        assert_eq!(exhausted["type"], "billing_error");
        // Who asks for more than any budget has is told which field says so.
        let dear = rig.ask(json!({ "max_tokens": 9_000_000 })).await;
        let dear = error(dear, StatusCode::BAD_REQUEST).await;
        assert_eq!(dear["param"], "max_tokens", "{dear}");
        let dear = error(message(&rig, 9_000_000).await, StatusCode::BAD_REQUEST).await;
        assert!(
            dear["message"].as_str().unwrap().contains("max_tokens"),
            "{dear}"
        );
        assert!(rig.sent_to_frontier().await.is_empty());
    }
}

#[tokio::test]
async fn a_useless_tier_that_is_all_there_is_money_for_answers_flagged() {
    let mut first = judged(endpoint("first", "-0.001", ""), json!({ "task": "Choice" }));
    first["endpoint"]["price"] = json!({ "inputPerMillion": "0", "outputPerMillion": "0" });
    let tiers = vec![first, endpoint("last", "", "")];
    let rig = rig(tiers, within("Local"), &[]).await;
    learnt(&rig, json!({ "state": "Useless" })).await;
    without_money(&rig, "0").await;
    let response = rig.ask(json!({})).await;
    assert_eq!(tier_of(&response), "first");
    assert_eq!(header(&response, "x-weir-unsure"), "true");
    assert_eq!(header(&response, "x-weir-local"), "true");
}

#[tokio::test]
async fn a_useless_deployment_that_is_down_is_asked_once_where_there_is_no_money_for_others() {
    for remaining in ["0", "50"] {
        let worker = Scripted::start([vec![Play::Die]]).await;
        let tiers = vec![small(), endpoint("last", "", "")];
        let rig = rig(tiers, within("Local"), &[&worker]).await;
        learnt(&rig, json!({ "state": "Useless" })).await;
        without_money(&rig, remaining).await;
        let response = rig.ask(json!({})).await;
        assert!(response.status().is_server_error(), "{}", response.status());
        let id = header(&response, "x-weir-decision");
        response.text().await.unwrap();
        let record = record(&rig, &id).await;
        let attempts = record["attempts"].as_array().unwrap().iter();
        let asked = attempts.filter(|attempt| attempt["tier"] == "small");
        assert_eq!(asked.count(), 1, "{record}");
        let small = json!([{ "tier": "small", "reason": "local" }]);
        assert_eq!(record["plan"], small);
    }
}

#[tokio::test]
async fn where_a_dropped_answer_cannot_be_paid_for_again_the_error_is_that_of_the_tier_above() {
    let accept = json!({ "task": "Choice", "threshold": "0.9" });
    let middle = judged(endpoint("middle", "-4.5", "endless"), accept);
    let mut last = endpoint("last", "", "status=500");
    last["endpoint"]["price"] = json!({ "inputPerMillion": "0", "outputPerMillion": "0" });
    let rig = rig(vec![middle, last], within("Local"), &[]).await;
    // For 4,096 tokens at 4 dollars a million, and a short prompt; not for twice as many.
    grant(&rig, "0.02".parse().unwrap(), Money::default()).await;
    let response = rig.ask(json!({})).await;
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    let error = json_of(response).await["error"].clone();
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("\"last\" failed"),
        "{error}"
    );
    assert_eq!(rig.sent_to_frontier().await.len(), 2);
}
