//! What real OpenAI-compatible servers say that OpenAI does not: as they were recorded.

use axum::Router;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::rig::{QUESTION, Rig, json_of, streamed};
use crate::wires::{Seen, Wire};

/// A router whose only tier, of this provider, answers with these events whatever it is asked.
async fn of_provider(provider: &str, events: &'static [&'static str]) -> (Rig, JoinSet<()>) {
    let body: String = events
        .iter()
        .map(|event| format!("data: {event}\n\n"))
        .collect();
    let head = [(CONTENT_TYPE, "text/event-stream")];
    let answer = move || async move { (head, body) };
    let app = Router::new().fallback(answer);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/v1", listener.local_addr().unwrap());
    let mut server = JoinSet::new();
    server.spawn(async move { axum::serve(listener, app).await.unwrap() });
    let endpoint = json!({ "provider": provider, "baseUrl": base });
    let policy = json!({
        "rules": [{ "name": "up", "when": {}, "then": { "only": "frontier" } }],
        "tiers": [{}, { "endpoint": endpoint }],
    });
    (Rig::with(policy, &[]).await, server)
}

async fn saying(events: &'static [&'static str]) -> (Rig, JoinSet<()>) {
    of_provider("OpenAICompatible", events).await
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

/// OpenRouter and vLLM where the model fails in the middle.
const BROKEN: [[&str; 3]; 2] = [
    [
        r#"{"choices":[{"index":0,"delta":{"content":"half"},"finish_reason":null}]}"#,
        r#"{"choices":[{"index":0,"delta":{},"finish_reason":"error"}]}"#,
        "[DONE]",
    ],
    [
        r#"{"choices":[{"index":0,"delta":{"content":"half"},"finish_reason":null}]}"#,
        r#"{"choices":[{"index":0,"delta":{},"finish_reason":"abort"}]}"#,
        "[DONE]",
    ],
];

/// Groq where it runs out in the middle; the text is the stand-in's own.
const BESIDE: [&str; 3] = [
    r#"{"choices":[{"index":0,"delta":{"content":"half"},"finish_reason":null}]}"#,
    r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"x_groq":{"id":"req_1","error":"org-standin is out of tokens, key sk-r...wxyz"}}"#,
    "[DONE]",
];

/// A response that says that it is complete and is not.
const COMPLETED: [&str; 2] = [
    r#"{"type":"response.output_text.delta","delta":"half"}"#,
    r#"{"type":"response.completed","response":{"status":"completed","output":[],"error":{"code":"server_error","message":"org-standin, key sk-r...wxyz"}}}"#,
];

/// Half of an answer was shown, or nothing was; the error is one of ours, and all that follows.
async fn is_broken(rig: &Rig, wire: Wire) {
    for stream in [false, true] {
        let response = wire
            .ask(rig, &wire.body(QUESTION, stream), HeaderMap::new())
            .await;
        let error = match wire.see(response, stream).await {
            Seen::Refused(502, error) if !stream => error,
            Seen::Broken(text, error) if stream && text == "half" => error,
            other => panic!("{wire:?} stream: {stream}: {other:?}"),
        };
        let message = error["message"].as_str().unwrap();
        assert!(message.starts_with("tier \"frontier\" failed"), "{message}");
    }
}

#[tokio::test]
async fn an_answer_that_its_server_calls_broken_or_failed_is_an_error_in_our_words() {
    for events in [&BROKEN[0], &BROKEN[1], &BESIDE] {
        let (rig, _server) = saying(events).await;
        for wire in Wire::ALL {
            is_broken(&rig, wire).await;
        }
    }
    let (rig, _server) = of_provider("OpenAI", &COMPLETED).await;
    is_broken(&rig, Wire::Responses).await;
}

/// Gemini's compatible endpoint: calls come whole, without numbers.
const UNNUMBERED: [&str; 3] = [
    r#"{"choices":[{"index":0,"delta":{"role":"assistant","tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{\"x\":1}"}}]},"finish_reason":null}]}"#,
    r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"id":"b","type":"function","function":{"name":"f","arguments":"{\"x\":2}"}}]},"finish_reason":"tool_calls"}]}"#,
    "[DONE]",
];
/// Another server, by which every call is the first.
const ALL_FIRST: [&str; 4] = [
    r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":"{\"x\":"}}]}}]}"#,
    r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"1}"}}]}}]}"#,
    r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"b","type":"function","function":{"name":"f","arguments":"{\"x\":2}"}}]},"finish_reason":"tool_calls"}]}"#,
    "[DONE]",
];

#[tokio::test]
async fn calls_that_a_server_does_not_number_stay_apart() {
    for events in [&UNNUMBERED[..], &ALL_FIRST] {
        let (rig, _server) = saying(events).await;
        let ask = async |wire: Wire, stream| {
            let body = wire.body(QUESTION, stream);
            wire.ask(&rig, &body, HeaderMap::new()).await
        };
        let whole = json_of(ask(Wire::Chat, false).await).await;
        let calls = &whole["choices"][0]["message"]["tool_calls"];
        let told: Vec<Value> = calls
            .as_array()
            .unwrap()
            .iter()
            .map(|call| json!([call["id"], call["function"]["arguments"]]))
            .collect();
        assert_eq!(json!(told), json!([["a", "{\"x\":1}"], ["b", "{\"x\":2}"]]));
        let chunks = streamed(ask(Wire::Chat, true).await).await.chunks;
        let calls = chunks
            .iter()
            .filter_map(|chunk| chunk.pointer("/choices/0/delta/tool_calls/0"));
        let mut arguments = [String::new(), String::new()];
        for call in calls {
            let at = call["index"].as_u64().unwrap() as usize;
            arguments[at].push_str(call["function"]["arguments"].as_str().unwrap());
        }
        assert_eq!(arguments, ["{\"x\":1}", "{\"x\":2}"]);
        let message = json_of(ask(Wire::Messages, false).await).await;
        let inputs: Vec<&Value> = message["content"]
            .as_array()
            .unwrap()
            .iter()
            .map(|block| &block["input"])
            .collect();
        assert_eq!(json!(inputs), json!([{ "x": 1 }, { "x": 2 }]));
    }
}
