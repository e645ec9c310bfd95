//! Where every tier above fails or is unsure: the best answer that was dropped, flagged, or an error that tells
//! what became of each.

use serde_json::{Value, json};

use crate::rig::{header, json_of, streamed};
use crate::tiers::{endpoint, judged, record, rig, small, tier_of};
use crate::worker::{Play, Scripted};

fn text_of(body: &Value) -> String {
    let text = &body["choices"][0]["message"]["content"];
    text.as_str().unwrap().to_owned()
}

fn accepting(threshold: &str) -> Value {
    json!({ "threshold": threshold, "task": "Choice" })
}

#[tokio::test]
async fn where_nobody_above_answers_the_best_dropped_answer_is_given_flagged_also_as_a_stream() {
    // Unsure only when it has ended: what could follow might still have been certain.
    let accept = json!({ "threshold": "0.9", "task": "Text" });
    let second = judged(endpoint("second", "-0.3", ""), accept);
    for stream in [false, true] {
        let worker = Scripted::start([vec![
            Play::Say("I'm sorry, but I can't help with that.", -0.0001),
            Play::End,
        ]])
        .await;
        let tiers = vec![small(), second.clone(), endpoint("last", "", "status=500")];
        let rig = rig(tiers, json!({}), &[&worker]).await;
        let said = json!([{ "role": "user", "content": "Say: to billing then" }]);
        let response = rig.ask(json!({ "stream": stream, "messages": said })).await;
        assert_eq!(tier_of(&response), "second", "a sure refusal is no answer");
        assert_eq!(header(&response, "x-weir-unsure"), "true");
        assert_eq!(header(&response, "x-weir-score"), "0.7408");
        let id = header(&response, "x-weir-decision");
        let text = match stream {
            true => streamed(response).await.text,
            false => text_of(&json_of(response).await),
        };
        assert_eq!(text, "to billing then");
        assert_eq!(rig.sent_to_frontier().await.len(), 2, "it was kept");
        let record = record(&rig, &id).await;
        assert_eq!(record["outcome"], "answered_unsure");
        assert!(record["attempts"][1]["judged"]["verdict"]["Abort"]["Unsure"].is_object());
    }
}

#[tokio::test]
async fn several_choices_of_an_endpoint_are_as_sure_as_the_least_sure() {
    let first = judged(endpoint("first", "-0.03", ""), accepting("0.5"));
    let rig = rig(vec![first, endpoint("last", "", "")], json!({}), &[]).await;
    let said = json!([{ "role": "user", "content": "Say: to billing then" }]);
    let mut scores = Vec::new();
    for choices in [1, 2] {
        let response = rig.ask(json!({ "n": choices, "messages": said })).await;
        assert_eq!(tier_of(&response), "first");
        scores.push(header(&response, "x-weir-score"));
        let body = json_of(response).await;
        assert_eq!(body["choices"].as_array().unwrap().len(), choices);
    }
    // The second says more than the first, and each token costs as much.
    assert_eq!(scores, ["0.8869", "0.8607"]);
}

#[tokio::test]
async fn a_best_answer_that_was_cut_short_is_asked_for_again_and_else_the_next_best_is_given() {
    let first = judged(endpoint("first", "-0.06", ""), accepting("0.9"));
    // Hopeless at its second token, when it is still surer than the first was at its end.
    let second = judged(
        endpoint("second", "-0.051", "cut-after=3"),
        accepting("0.9"),
    );
    let tiers = vec![first, second, endpoint("last", "", "status=500")];
    let rig = rig(tiers, json!({}), &[]).await;
    let said =
        json!({ "messages": [{ "role": "user", "content": "Say: it all goes to billing" }] });
    let response = rig.ask(said).await;
    assert_eq!(tier_of(&response), "first");
    assert_eq!(header(&response, "x-weir-unsure"), "true");
    let text = text_of(&json_of(response).await);
    assert_eq!(text, "it all goes to billing");
}

#[tokio::test]
async fn where_the_policy_would_rather_have_an_error_it_tells_every_attempt() {
    let first = judged(endpoint("first", "-0.5", ""), accepting("0.9"));
    let second = judged(endpoint("second", "none", "status=500"), accepting("0.9"));
    let third = judged(endpoint("third", "-0.5", ""), accepting("0.9"));
    let policy = json!({
        "onAllUnsure": "Error", "rules": [],
        "privacy": { "denyWhen": { "header": { "name": "x-class", "values": ["no"] } } },
    });
    let mut tiers = vec![first, second, third, endpoint("last", "", "status=500")];
    tiers[3]["endpoint"]["unsupported"] = json!(["logit_bias"]);
    let rig = rig(tiers, policy, &[]).await;
    let failed = json_of(rig.ask(json!({})).await).await;
    let message = failed["error"]["message"].as_str().unwrap();
    for attempt in [
        "first dropped",
        "second broken",
        "third dropped",
        "last broken",
    ] {
        assert!(message.contains(attempt), "{message}");
    }
    // Without a last tier that can take it, all that is left was unsure or failed.
    let response = rig.ask(json!({ "logit_bias": { "1": 2 } })).await;
    assert!(response.status().is_server_error());
    let failed = json_of(response).await;
    let message = failed["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("third dropped") && !message.contains("last"),
        "{message}"
    );
}
