//! Answers that nobody above could better, and answers to asks that offer tools.

use http::HeaderMap;
use serde_json::{Value, json};

use crate::rig::{Rig, header, json_of, streamed};
use crate::tiers::{endpoint, judged, record, rig, small, tier_of};
use crate::worker::{Play, Scripted};

/// A small tier that says this, below one that private asks may not go to.
async fn below_outside(says: Vec<Play>) -> Rig {
    let worker = Scripted::start([says]).await;
    let class = json!({ "header": { "name": "x-data-class", "values": ["restricted"] } });
    let tiers = vec![small(), endpoint("last", "", "")];
    let policy = json!({ "privacy": { "denyWhen": class } });
    rig(tiers, policy, &[&worker]).await
}

fn private() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("x-data-class", "restricted".parse().unwrap());
    headers
}

#[tokio::test]
async fn what_would_have_gone_up_is_flagged_where_there_is_nobody_to_go_up_to() {
    let signal = |name: &str| json!({ "Signal": name });
    for (text, doubt) in [
        ("I'm sorry, but I can't help with that.", signal("Refusal")),
        (" ", signal("Empty")),
        ("billing", Value::Null),
    ] {
        for stream in [false, true] {
            let rig = below_outside(vec![Play::Say(text, -0.0001), Play::End]).await;
            let response = rig.ask_with(json!({ "stream": stream }), private()).await;
            assert_eq!(tier_of(&response), "small");
            let is_unsure = !doubt.is_null();
            // The headers of a stream are gone before all of it is known.
            let flag = if is_unsure && !stream { "true" } else { "" };
            assert_eq!(header(&response, "x-weir-unsure"), flag, "{text} {stream}");
            let id = header(&response, "x-weir-decision");
            match stream {
                true => assert!(streamed(response).await.is_done),
                false => drop(json_of(response).await),
            }
            let record = record(&rig, &id).await;
            let outcome = ["answered", "answered_unsure"][usize::from(is_unsure)];
            assert_eq!(record["outcome"], outcome, "{text}");
            let judged = &record["attempts"][0]["judged"];
            assert_eq!(judged["verdict"]["Commit"], "NotHeld");
            assert_eq!(judged["doubt"], doubt);
        }
    }
}

#[tokio::test]
async fn the_last_tier_of_a_policy_is_never_doubted() {
    let alone = vec![endpoint("last", "", "")];
    let rig = rig(alone, json!({}), &[]).await;
    let said =
        json!([{ "role": "user", "content": "Say: I'm sorry, but I can't help with that." }]);
    let response = rig.ask(json!({ "messages": said })).await;
    assert_eq!(header(&response, "x-weir-unsure"), "");
    let id = header(&response, "x-weir-decision");
    json_of(response).await;
    assert_eq!(record(&rig, &id).await["outcome"], "answered");
}

fn tools() -> Value {
    let function = json!({ "name": "route", "parameters": { "type": "object" } });
    json!([{ "type": "function", "function": function }])
}

#[tokio::test]
async fn prose_is_no_document_because_tools_were_offered() {
    let mut says = vec![Play::Say(" word", -0.05); 30];
    // A free choice of words, as prose has them.
    says[11] = Play::Say(" indeed", -2.5);
    says.push(Play::End);
    let worker = Scripted::start([says]).await;
    let small = judged(small(), json!({}));
    let rig = rig(vec![small, endpoint("last", "", "")], json!({}), &[&worker]).await;
    for (choice, tier, task) in [("auto", "small", "Text"), ("required", "last", "Json")] {
        let wish = json!({ "tools": tools(), "tool_choice": choice });
        let response = rig.ask(wish).await;
        assert_eq!(tier_of(&response), tier, "{choice}");
        let id = header(&response, "x-weir-decision");
        json_of(response).await;
        let record = record(&rig, &id).await;
        assert_eq!(record["attempts"][0]["judged"]["task"], task);
    }
}
