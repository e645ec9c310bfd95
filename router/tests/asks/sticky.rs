//! Conversations that stay at the tier that they were raised to.

use serde_json::{Value, json};

use crate::rig::{Rig, header};
use crate::worker::{Scripted, sure, unsure};

fn turns(first: &str, more: usize) -> Value {
    let mut messages = vec![json!({ "role": "user", "content": first })];
    for turn in 0..more {
        messages.push(json!({ "role": "assistant", "content": "hardware" }));
        messages.push(json!({ "role": "user", "content": format!("And then? {turn}") }));
    }
    json!({ "messages": messages })
}

#[tokio::test]
async fn a_conversation_begins_where_it_was_raised_to() {
    let worker = Scripted::start([unsure()]).await;
    let rig = Rig::with(json!({ "sticky": "Conversation" }), &[&worker]).await;
    let response = rig.ask(turns("My screen is dark", 0)).await;
    assert_eq!(header(&response, "x-weir-tier"), "frontier");
    assert_eq!(worker.asked().len(), 1);
    let response = rig.ask(turns("My screen is dark", 1)).await;
    assert_eq!(header(&response, "x-weir-attempts"), "frontier");
    assert_eq!(
        worker.asked().len(),
        1,
        "the small tier was not asked again"
    );
    rig.ask(turns("My mouse is dead", 0)).await;
    assert_eq!(worker.asked().len(), 2, "another conversation");
    let counted = "weir_router_routes_total{policy=\"support\",by=\"sticky\",name=\"frontier\"} 1";
    rig.until_counted(counted).await;
}

#[tokio::test]
async fn conversations_begin_anew_where_nobody_wants_them_to_stay() {
    let worker = Scripted::start([unsure()]).await;
    let rig = Rig::with(json!({}), &[&worker]).await;
    for turn in 0..2 {
        rig.ask(turns("My screen is dark", turn)).await;
    }
    assert_eq!(worker.asked().len(), 2);
}

#[tokio::test]
async fn a_conversation_that_must_not_leave_any_more_is_asked_inside() {
    let worker = Scripted::start([unsure(), sure()]).await;
    let policy = json!({
        "sticky": "Conversation",
        "privacy": { "denyWhen": { "header": { "name": "x-data-class", "values": ["restricted"] } } },
    });
    let rig = Rig::with(policy, &[&worker]).await;
    rig.ask(turns("My screen is dark", 0)).await;
    let before = rig.sent_to_frontier().await.len();
    let mut headers = http::HeaderMap::new();
    headers.insert("x-data-class", "restricted".parse().unwrap());
    rig.ask_with(turns("My screen is dark", 1), headers).await;
    assert_eq!(rig.sent_to_frontier().await.len(), before);
    assert_eq!(worker.asked().len(), 2);
}
