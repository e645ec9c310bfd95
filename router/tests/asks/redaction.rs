//! What leaves the cluster without its private values, and what comes back with them.

use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::rig::{Rig, header, json_of, streamed};

const SECRETS: [&str; 3] = ["ann@example.com", "4111 1111 1111 1111", "KD-99812"];

/// A policy whose only tier is the frontier, which gets nothing private.
async fn rig(provider: &str) -> Rig {
    let redact = json!({ "kinds": ["Email", "CreditCard"], "patterns": ["KD-[0-9]{5}"] });
    let then = json!({ "only": "frontier" });
    let endpoint = json!({ "provider": provider });
    Rig::with(
        json!({
            "privacy": { "redact": redact },
            "rules": [{ "name": "up", "when": {}, "then": then }],
            "tiers": [{}, { "endpoint": endpoint }],
        }),
        &[],
    )
    .await
}

async fn nothing_private_left(rig: &Rig) {
    let sent = rig.sent_to_frontier().await;
    assert!(!sent.is_empty(), "nothing was asked at all");
    let sent = Value::from(sent).to_string();
    for secret in SECRETS {
        assert!(!sent.contains(secret), "{secret} left: {sent}");
    }
    assert!(sent.contains("[EMAIL_1]"), "{sent}");
}

fn question() -> String {
    format!(
        "Say: {} paid with {} for {}.",
        SECRETS[0], SECRETS[1], SECRETS[2]
    )
}

#[tokio::test]
async fn private_values_stay_and_come_back_in_the_answer_of_every_provider() {
    for provider in ["OpenAICompatible", "OpenAI", "Anthropic"] {
        let rig = rig(provider).await;
        let ask = json!({ "messages": [{ "role": "user", "content": question() }] });
        let expected = question().replace("Say: ", "");
        let whole = json_of(rig.ask(ask.clone()).await).await;
        let said = &whole["choices"][0]["message"]["content"];
        assert_eq!(*said, json!(expected), "{provider}");
        let mut stream = ask;
        stream["stream"] = json!(true);
        let answer = streamed(rig.ask(stream).await).await;
        assert_eq!(answer.text, expected, "{provider}");
        assert!(answer.is_done);
        nothing_private_left(&rig).await;
    }
}

#[tokio::test]
async fn a_record_says_how_many_values_were_taken_out_and_none_of_them() {
    let rig = rig("OpenAI").await;
    let twice = format!("{} And again: {}", question(), SECRETS[0]);
    for (content, redacted) in [(twice.as_str(), 3), ("Say: nothing", 0)] {
        let messages = json!([{ "role": "user", "content": content }]);
        let answer = rig.ask(json!({ "messages": messages })).await;
        let id = header(&answer, "x-weir-decision");
        answer.text().await.unwrap();
        let path = format!("/v1/decisions/{id}");
        let record = json_of(rig.get(&path, HeaderMap::new()).await).await;
        assert_eq!(record["redacted"], redacted, "{record}");
        let record = record.to_string();
        for secret in SECRETS {
            assert!(!record.contains(secret), "{record}");
        }
    }
}

#[tokio::test]
async fn a_call_of_a_tool_gets_the_value_and_not_its_placeholder() {
    let rig = rig("OpenAI").await;
    let tool = json!({ "type": "function", "function": { "name": "send", "parameters": {
        "type": "object", "properties": { "to": { "type": "string" } }, "required": ["to"],
    } } });
    let question = format!("mail {}", SECRETS[0]);
    for stream in [false, true] {
        let ask = json!({
            "messages": [{ "role": "user", "content": question }], "tools": [tool], "stream": stream,
        });
        let response = rig.ask(ask).await;
        let arguments: String = match stream {
            false => {
                let whole = json_of(response).await;
                let call = &whole["choices"][0]["message"]["tool_calls"][0];
                call["function"]["arguments"].as_str().unwrap().to_owned()
            }
            true => {
                let chunks = streamed(response).await.chunks;
                let pieces = chunks.iter().filter_map(|chunk| {
                    let at = "/choices/0/delta/tool_calls/0/function/arguments";
                    chunk.pointer(at)?.as_str()
                });
                pieces.collect()
            }
        };
        let arguments: Value = serde_json::from_str(&arguments).unwrap();
        assert_eq!(arguments, json!({ "to": SECRETS[0] }), "streamed: {stream}");
    }
    nothing_private_left(&rig).await;
}

#[tokio::test]
async fn what_cannot_be_looked_through_does_not_leave() {
    let rig = rig("OpenAI").await;
    let file = json!({ "type": "file", "file": { "file_data": "AAAA", "filename": "a.pdf" } });
    let refused = rig
        .ask(json!({ "messages": [{ "role": "user", "content": [file] }] }))
        .await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    assert_eq!(header(&refused, "x-should-retry"), "false");
    let error = json_of(refused).await;
    assert_eq!(error["error"]["code"], "cannot_redact");
    let field = error["error"]["param"].as_str().unwrap();
    assert!(field.starts_with("messages[0].content[0]"), "{field}");
    assert!(rig.sent_to_frontier().await.is_empty());
}

#[tokio::test]
async fn a_count_of_tokens_is_redacted_too() {
    let rig = rig("Anthropic").await;
    let body = json!({
        "model": "assistant", "messages": [{ "role": "user", "content": question() }],
    });
    let url = format!("{}/v1/messages/count_tokens", rig.url);
    let counted = rig.client.post(url).body(body.to_string()).send();
    let counted = json_of(counted.await.unwrap()).await;
    assert!(counted["input_tokens"].as_u64().unwrap() > 3, "{counted}");
    nothing_private_left(&rig).await;
}
