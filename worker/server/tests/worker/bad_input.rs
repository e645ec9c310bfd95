//! Requests that nobody means well with, to every endpoint: each is a 400 that names a field, soon and
//! in bounded memory, and the next request is served.

use serde_json::{Value, json};
use tonic::Code;
use weir_worker_api::{self as api, ErrorCode, detail_of};

use crate::harness::{Worker, about, error_of};

const ENDPOINTS: [&str; 5] = [
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/tokenize",
    "/detokenize",
];

async fn post(worker: &Worker, path: &str, body: impl Into<reqwest::Body>) -> reqwest::Response {
    let url = format!("http://{}{path}", worker.address);
    worker.client.post(url).body(body).send().await.unwrap()
}

/// The least that an endpoint answers.
fn least(path: &str) -> Value {
    match path {
        "/v1/chat/completions" => about("Where is my parcel?", json!({ "max_tokens": 2 })),
        "/v1/completions" => json!({ "model": "triage", "prompt": "Where", "max_tokens": 2 }),
        "/v1/embeddings" => json!({ "model": "triage", "input": "Where" }),
        "/tokenize" => json!({ "prompt": "Where" }),
        _ => json!({ "tokens": [3, 4] }),
    }
}

async fn serves(worker: &Worker) {
    for path in ENDPOINTS {
        let response = post(worker, path, least(path).to_string()).await;
        assert_eq!(response.status(), 200, "{path}");
    }
}

#[tokio::test]
async fn bodies_that_are_no_request_are_refused_everywhere() {
    let worker = Worker::start(&[]).await;
    let deep = |open: &str, close: &str| {
        let depth = 100_000;
        format!(
            "{{\"model\":\"triage\",\"x\":{}0{}}}",
            open.repeat(depth),
            close.repeat(depth)
        )
    };
    let bodies = [
        deep("[", "]"),
        deep("{\"a\":", "}"),
        "[".repeat(1 << 20),
        format!("[{}]", "0,".repeat(300_000)),
        "\"".to_owned(),
        "{\"model\":\"\\ud800\"}".to_owned(),
        "{\"model\":\"triage\",\"prompt\":\"\\udc00x\",\"input\":\"\\ud83d\"}".to_owned(),
        "{\"model\":1e999}".to_owned(),
        "nul".to_owned(),
        "{}{}".to_owned(),
    ];
    for path in ENDPOINTS {
        for body in &bodies {
            let (status, error) = error_of(post(&worker, path, body.clone()).await).await;
            assert_eq!(status, 400, "{path} {:.60}: {error}", body);
            let message = error["message"].as_str().unwrap();
            assert!(message.len() < 1000, "{path}: {message}");
        }
        // Not even text.
        let (status, _) = error_of(post(&worker, path, vec![0xff, 0xfe, 0x00]).await).await;
        assert_eq!(status, 400);
    }
    serves(&worker).await;
}

#[tokio::test]
async fn settings_beyond_all_measure_are_refused_by_name() {
    let worker = Worker::start(&[]).await;
    let bias: serde_json::Map<String, Value> =
        (0..1025).map(|id| (id.to_string(), json!(1))).collect();
    let many: Vec<String> = (0..5000).map(|stop| format!("stop {stop}")).collect();
    let settings = [
        ("logit_bias", json!(bias)),
        ("logit_bias", json!({ "3": 101 })),
        ("logit_bias", json!({ "-3": 1 })),
        ("stop", json!(many)),
        ("stop", json!("x".repeat(2000))),
        ("stop_token_ids", json!(vec![3; 65])),
        ("stop_token_ids", json!([-1])),
        ("temperature", json!(-1)),
        ("temperature", json!(1e300)),
        ("top_k", json!(-1)),
        ("top_k", json!(1_u64 << 40)),
        ("top_p", json!(1.1)),
        ("min_p", json!(-0.1)),
        ("typical_p", json!(2)),
        ("repetition_penalty", json!(0)),
        ("presence_penalty", json!(-3)),
        ("frequency_penalty", json!(3)),
        ("max_tokens", json!(-1)),
        ("max_tokens", json!(1_u64 << 33)),
        ("max_tokens", json!(1.5)),
        ("min_tokens", json!(3)),
        ("n", json!(-1)),
        ("n", json!(1_u64 << 32)),
        ("seed", json!(1.5)),
        ("stream", json!("yes")),
        ("ignore_eos", json!(1)),
        ("cache_salt", json!(7)),
    ];
    for path in &ENDPOINTS[..2] {
        for (field, value) in &settings {
            let mut body = least(path);
            body[field] = value.clone();
            let response = post(&worker, path, body.to_string()).await;
            let status = response.status();
            assert_eq!(status, 400, "{path}: {field} {:.60}", value.to_string());
            let (_, error) = error_of(response).await;
            assert_eq!(error["param"], *field, "{path}: {error}");
        }
    }
    serves(&worker).await;
}

#[tokio::test]
async fn a_prompt_that_fills_the_context_is_refused_and_one_token_less_is_answered() {
    let worker = Worker::start(&[]).await;
    let of =
        |tokens: usize| json!({ "model": "triage", "prompt": vec![3; tokens], "ignore_eos": true });
    let (status, error) =
        error_of(post(&worker, "/v1/completions", of(512).to_string()).await).await;
    assert_eq!(
        (status, &error["code"], &error["param"]),
        (400, &json!("context_length_exceeded"), &json!("prompt"))
    );
    let response = post(&worker, "/v1/completions", of(511).to_string()).await;
    let answer: Value = response.json().await.unwrap();
    assert_eq!(answer["usage"]["completion_tokens"], 1);
    assert_eq!(answer["choices"][0]["finish_reason"], "length");
    let input = |tokens: usize| json!({ "model": "triage", "input": vec![3; tokens] });
    let fits = post(&worker, "/v1/embeddings", input(512).to_string()).await;
    assert_eq!(fits.status(), 200);
    let (status, error) =
        error_of(post(&worker, "/v1/embeddings", input(513).to_string()).await).await;
    assert_eq!((status, &error["param"]), (400, &json!("input")));
}

#[tokio::test]
async fn pictures_and_sounds_are_refused_where_they_lie() {
    let worker = Worker::start(&[]).await;
    for kind in ["image_url", "input_audio", "file", "video_url"] {
        let mut part = json!({ "type": kind });
        part[kind] = json!({ "url": "data:image/png;base64,AAAA", "data": "AAAA" });
        let text = json!({ "type": "text", "text": "What is this?" });
        let body = json!({
            "model": "triage",
            "messages": [{ "role": "user", "content": [text, part] }],
        });
        let (status, error) = worker.refused(&body).await;
        assert_eq!(status, 400);
        assert_eq!(error["param"], "messages[0].content[1].type");
    }
    serves(&worker).await;
}

#[tokio::test]
async fn other_methods_and_paths_are_told_so_in_the_same_shape() {
    let worker = Worker::start(&[]).await;
    for path in ENDPOINTS {
        for method in ["GET", "PUT", "DELETE"] {
            let url = format!("http://{}{path}", worker.address);
            let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
            let response = worker.client.request(method, url).send().await.unwrap();
            assert!(response.headers().contains_key("x-request-id"));
            assert_eq!(error_of(response).await.0, 405, "{path}");
        }
    }
    for path in ["/", "/v1", "/v1/models/a/b", "/v2/chat/completions", "/%ff"] {
        let response = worker
            .get(path)
            .header("x-request-id", "mine")
            .send()
            .await
            .unwrap();
        assert_eq!(response.headers()["x-request-id"], "mine");
        assert_eq!(error_of(response).await.0, 404, "{path}");
    }
    for (path, status) in [
        ("/v1/models", 200),
        ("/v1/models/triage", 200),
        ("/v1/none", 404),
    ] {
        let url = format!("http://{}{path}", worker.address);
        let response = worker.client.head(url).send().await.unwrap();
        assert_eq!(response.status(), status, "{path}");
        assert_eq!(response.text().await.unwrap(), "");
    }
}

#[tokio::test]
async fn a_name_of_a_megabyte_is_not_said_back() {
    let worker = Worker::start(&[]).await;
    let name = "🦊".repeat(1 << 18);
    let mut bodies: Vec<(&str, Value)> = ENDPOINTS.map(|path| (path, least(path))).to_vec();
    for (_, body) in &mut bodies {
        body["model"] = json!(name);
    }
    let roles = json!([{ "role": name, "content": "x" }]);
    bodies.push((
        ENDPOINTS[0],
        json!({ "model": "triage", "messages": roles }),
    ));
    let outputs = json!({ "structured_outputs": { &name: 1 } });
    bodies.push((ENDPOINTS[0], about("x", outputs)));
    for (path, body) in bodies {
        let (status, error) = error_of(post(&worker, path, body.to_string()).await).await;
        assert!([400, 404].contains(&status), "{path}");
        assert!(error.to_string().len() < 2500, "{path}");
    }
    let over_grpc = api::GenerateRequest {
        model: name,
        ..crate::grpc::request("x")
    };
    let refused = worker.grpc().await.generate(over_grpc).await.unwrap_err();
    let detail = detail_of(&refused);
    assert_eq!(detail.code(), ErrorCode::UnknownModel);
}

#[tokio::test]
async fn a_message_of_many_empty_ones_is_refused_before_it_is_decoded() {
    let worker = Worker::start(&[]).await;
    let chat = api::Chat {
        messages: vec![api::Message::default(); 250_000],
        ..api::Chat::default()
    };
    let prompt = Some(api::Prompt {
        form: Some(api::prompt::Form::Chat(chat)),
    });
    let mut client = worker.grpc().await;
    let embed = api::EmbedRequest {
        inputs: vec![prompt.clone().unwrap()],
        ..api::EmbedRequest::default()
    };
    let tokenize = api::TokenizeRequest {
        prompt: prompt.clone(),
        ..api::TokenizeRequest::default()
    };
    let generate = api::GenerateRequest {
        prompt,
        ..api::GenerateRequest::default()
    };
    let generated = client.generate(generate).await.map(drop);
    let tokenized = client.tokenize(tokenize).await.map(drop);
    let embedded = client.embed(embed).await.map(drop);
    for refused in [generated, tokenized, embedded] {
        let refused = refused.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert_eq!(detail_of(&refused).code(), ErrorCode::Invalid);
        assert!(
            refused.message().contains("texts and messages"),
            "{refused}"
        );
    }
    serves(&worker).await;
}
