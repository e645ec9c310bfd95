//! What real OpenAI-compatible servers say that OpenAI does not: as they were recorded.

use axum::Router;
use axum::routing::post;
use http::header::CONTENT_TYPE;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::rig::{Rig, json_of, streamed};

/// A router whose only tier answers completions with these events.
async fn saying(events: &'static [&'static str]) -> (Rig, JoinSet<()>) {
    let body: String = events
        .iter()
        .map(|event| format!("data: {event}\n\n"))
        .collect();
    let head = [(CONTENT_TYPE, "text/event-stream")];
    let answer = move || async move { (head, body) };
    let app = Router::new().route("/v1/completions", post(answer));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/v1", listener.local_addr().unwrap());
    let mut server = JoinSet::new();
    server.spawn(async move { axum::serve(listener, app).await.unwrap() });
    let policy = json!({
        "rules": [{ "name": "up", "when": {}, "then": { "only": "frontier" } }],
        "tiers": [{}, { "endpoint": { "baseUrl": base } }],
    });
    (Rig::with(policy, &[]).await, server)
}

async fn complete(rig: &Rig, stream: bool) -> reqwest::Response {
    let body = json!({
        "model": "assistant", "prompt": ["a", "b"], "logprobs": 1, "stream": stream,
    });
    let request = rig.client.post(format!("{}/v1/completions", rig.url));
    request.body(body.to_string()).send().await.unwrap()
}

/// llama-server: nothing first, log-probabilities as in chats, the choices as they come.
const LLAMA_SERVER: [&str; 6] = [
    "null",
    r#"{"choices":[{"text":"b","index":1,"logprobs":{"content":[{"id":71,"token":"b","bytes":[98],"logprob":-0.5,"top_logprobs":[{"id":71,"token":"b","bytes":[98],"logprob":-0.5}]}]},"finish_reason":null}],"object":"text_completion","id":"x"}"#,
    r#"{"choices":[{"text":"bill","index":0,"logprobs":{"content":[{"id":71,"token":"bill","bytes":[98],"logprob":-0.25,"top_logprobs":[]}]},"finish_reason":null}],"object":"text_completion","id":"x"}"#,
    r#"{"choices":[{"text":"","index":0,"logprobs":null,"finish_reason":"length"}],"object":"text_completion","id":"x"}"#,
    r#"{"choices":[{"text":"","index":1,"logprobs":null,"finish_reason":"stop"}],"object":"text_completion","id":"x"}"#,
    "[DONE]",
];

#[tokio::test]
async fn a_server_that_first_says_null_and_tells_log_probabilities_as_chats_do_is_understood() {
    let (rig, _server) = saying(&LLAMA_SERVER).await;
    let whole = json_of(complete(&rig, false).await).await;
    let chunks = streamed(complete(&rig, true).await).await;
    assert!(chunks.is_done);
    let chunks: Vec<&Value> = chunks
        .chunks
        .iter()
        .map(|chunk| &chunk["choices"][0])
        .collect();
    for (index, (text, logprob, finish)) in [("bill", -0.25, "length"), ("b", -0.5, "stop")]
        .into_iter()
        .enumerate()
    {
        let own: Vec<&&Value> = chunks
            .iter()
            .filter(|chunk| chunk["index"] == index)
            .collect();
        let choice = &whole["choices"][index];
        for told in [choice, own[0]] {
            assert_eq!(told["text"], text);
            assert_eq!(told["logprobs"]["tokens"], json!([text]));
            assert_eq!(told["logprobs"]["token_logprobs"], json!([logprob]));
            assert_eq!(told["logprobs"]["top_logprobs"], json!([{ text: logprob }]));
            assert_eq!(told["logprobs"].get("content"), None);
        }
        for told in [choice, own[own.len() - 1]] {
            assert_eq!(told["finish_reason"], finish);
        }
    }
}
