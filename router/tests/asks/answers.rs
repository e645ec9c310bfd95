//! Which tier answers, and what the answer looks like.

use http::StatusCode;
use serde_json::json;

use crate::rig::{QUESTION, Rig, Setup, header, json_of, streamed};
use crate::worker::{Play, Scripted, sure, unsure};

async fn with(worker: &Scripted) -> Rig {
    let workers = vec![worker.clone()];
    Rig::start(Setup {
        workers,
        ..Setup::default()
    })
    .await
}

#[tokio::test]
async fn a_sure_answer_comes_from_the_small_tier() {
    let worker = Scripted::start([sure()]).await;
    let rig = with(&worker).await;
    let response = rig
        .ask(json!({ "temperature": 0, "max_completion_tokens": 8 }))
        .await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(header(&response, "x-weir-tier"), "small");
    assert_eq!(header(&response, "x-weir-attempts"), "small");
    assert_eq!(header(&response, "x-weir-score"), "0.9802");
    assert!(header(&response, "x-weir-cost").starts_with("0.0"));
    assert!(!header(&response, "x-weir-decision").is_empty());
    assert_eq!(
        header(&response, "x-request-id"),
        header(&response, "x-weir-decision")
    );
    let body = json_of(response).await;
    assert_eq!(body["object"], "chat.completion");
    assert_eq!(body["model"], "assistant");
    assert_eq!(body["choices"][0]["message"]["content"], "billing");
    assert_eq!(body["choices"][0]["finish_reason"], "stop");
    assert_eq!(body["usage"]["total_tokens"], 9);
    let asked = &worker.asked()[0];
    assert_eq!(asked.limits.as_ref().unwrap().max_tokens, Some(8));
    assert_eq!(asked.sampling.as_ref().unwrap().temperature, Some(0.0));
    assert!(rig.sent_to_frontier().await.is_empty());
}

#[tokio::test]
async fn a_sure_answer_is_streamed_with_its_usage_only_where_that_was_asked_for() {
    let rig = with(&Scripted::start([sure()]).await).await;
    let response = rig.ask(json!({ "stream": true })).await;
    assert_eq!(header(&response, "x-weir-tier"), "small");
    assert!(header(&response, "content-type").starts_with("text/event-stream"));
    let plain = streamed(response).await;
    assert!(plain.is_done);
    assert_eq!(plain.text, "billing");
    assert_eq!(plain.chunks[0]["choices"][0]["delta"]["role"], "assistant");
    assert!(
        plain
            .chunks
            .iter()
            .all(|chunk| chunk.get("usage").is_none())
    );
    let options = json!({ "stream": true, "stream_options": { "include_usage": true } });
    let counted = streamed(rig.ask(options).await).await;
    let last = counted.chunks.last().unwrap();
    assert_eq!(last["choices"], json!([]));
    assert_eq!(last["usage"]["prompt_tokens"], 7);
}

#[tokio::test]
async fn an_unsure_answer_is_dropped_and_the_frontier_answers() {
    for stream in [false, true] {
        let worker = Scripted::start([unsure()]).await;
        let rig = with(&worker).await;
        let response = rig.ask(json!({ "stream": stream, "user": "u1" })).await;
        assert_eq!(header(&response, "x-weir-tier"), "frontier");
        let attempts = header(&response, "x-weir-attempts");
        assert!(attempts.starts_with("small;dropped;score=0."), "{attempts}");
        assert!(attempts.ends_with(", frontier"), "{attempts}");
        let text = match stream {
            true => streamed(response).await.text,
            false => {
                assert!(header(&response, "x-weir-cost").parse::<f64>().unwrap() > 0.0);
                let body = json_of(response).await;
                body["choices"][0]["message"]["content"]
                    .as_str()
                    .unwrap()
                    .to_owned()
            }
        };
        assert!(!text.is_empty());
        assert!(!text.contains("hard"), "a dropped token was shown: {text}");
        // The script hangs after the second token: only a cancelled attempt ends.
        rig.until("the attempt is cancelled", |load| {
            load["deployments"]["triage"]["running"] == 0
        })
        .await;
        assert_eq!(worker.cancelled(), 1);
        let sent = rig.sent_to_frontier().await.remove(0);
        assert_eq!(sent["body"]["model"], "big");
        assert_eq!(sent["body"]["user"], "u1");
        assert_eq!(sent["body"]["messages"][0]["content"], QUESTION);
    }
}

#[tokio::test]
async fn a_refusal_of_the_small_model_escalates_however_sure_it_is() {
    let refusal = vec![
        Play::Say("I'm sorry, but I can't help with that.", -0.001),
        Play::End,
    ];
    let rig = with(&Scripted::start([refusal]).await).await;
    let response = rig.ask(json!({})).await;
    assert_eq!(header(&response, "x-weir-tier"), "frontier");
}

#[tokio::test]
async fn a_deployment_answers_under_its_own_name() {
    let rig = with(&Scripted::start([sure()]).await).await;
    let response = rig
        .ask(json!({ "model": "triage", "stream": true, "store": true }))
        .await;
    assert_eq!(header(&response, "x-weir-tier"), "triage");
    assert_eq!(header(&response, "x-weir-dropped"), "store");
    let answer = streamed(response).await;
    assert_eq!(answer.text, "billing");
    assert_eq!(answer.chunks[0]["model"], "triage");
}

#[tokio::test]
async fn an_adapter_answers_by_its_name_and_as_a_tier() {
    let worker = Scripted::start([sure()]).await;
    let rig = with(&worker).await;
    let response = rig.ask(json!({ "model": "triage:tickets" })).await;
    assert_eq!(header(&response, "x-weir-tier"), "triage:tickets");
    assert_eq!(worker.asked()[0].model, "triage:tickets");
    let unknown = rig.ask(json!({ "model": "triage:other" })).await;
    assert_eq!(unknown.status(), 404);
    let tiers = json!([{ "deployment": { "adapter": "tickets" } }]);
    let rig = Rig::with(json!({ "tiers": tiers }), &[&worker]).await;
    let response = rig.ask(json!({})).await;
    assert_eq!(header(&response, "x-weir-tier"), "small");
    assert_eq!(worker.asked()[1].model, "triage:tickets");
}

#[tokio::test]
async fn what_our_worker_cannot_serve_goes_up_at_once() {
    let worker = Scripted::start([sure()]).await;
    let rig = with(&worker).await;
    rig.ask(json!({ "web_search_options": {} })).await;
    assert!(worker.asked().is_empty());
    let sent = rig.sent_to_frontier().await.remove(0);
    assert_eq!(sent["body"]["web_search_options"], json!({}));
    let alone = rig
        .ask(json!({ "model": "triage", "web_search_options": {} }))
        .await;
    assert_eq!(alone.status(), StatusCode::BAD_REQUEST);
    assert_eq!(json_of(alone).await["error"]["param"], "web_search_options");
}

#[tokio::test]
async fn an_ask_is_settled_and_counted() {
    let rig = with(&Scripted::start([sure()]).await).await;
    json_of(rig.ask(json!({})).await).await;
    rig.until_counted("weir_router_asks_total{policy=\"support\",outcome=\"answered\"} 1")
        .await;
    let metrics = rig.metrics().await;
    let line = "weir_router_tokens_total{policy=\"support\",tier=\"small\"} 2";
    assert!(metrics.contains(line), "{metrics}");
    assert!(metrics.contains("weir_router_asks_running 0"), "{metrics}");
}
