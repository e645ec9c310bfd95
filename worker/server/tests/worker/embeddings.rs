//! Vectors of texts, over both wires.

use serde::Deserialize;
use serde_json::{Value, json};
use weir_worker_api as api;

use crate::harness::{Worker, copy, error_of};

/// Nothing is rounded on the way.
const EXACT: [&str; 2] = ["--kernel-class=portable", "--key-value-type=F32"];

/// What `worker/model/fixtures/embeddings.py` has from Hugging Face's implementation.
#[derive(Deserialize)]
struct Golden {
    text: String,
    #[serde(rename = "Last")]
    last: Vec<f32>,
    #[serde(rename = "Mean")]
    mean: Vec<f32>,
    /// The beginning of the last token's state, of length one.
    cut: Vec<f32>,
}

fn golden() -> Vec<Golden> {
    serde_json::from_str(include_str!("vectors.json")).unwrap()
}

async fn post(worker: &Worker, body: &Value) -> reqwest::Response {
    let url = format!("http://{}/v1/embeddings", worker.address);
    worker.client.post(url).json(body).send().await.unwrap()
}

fn asked(input: impl Into<Value>, more: Value) -> Value {
    let mut body = json!({ "model": "triage", "input": input.into() });
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

async fn embed(worker: &Worker, input: impl Into<Value>, more: Value) -> (Vec<Vec<f32>>, Value) {
    let response = post(worker, &asked(input, more)).await;
    let status = response.status();
    let text = response.text().await.unwrap();
    assert!(status.is_success(), "{status}: {text}");
    let answer: Value = serde_json::from_str(&text).unwrap();
    let data = answer["data"].as_array().unwrap();
    for (index, entry) in data.iter().enumerate() {
        assert_eq!(
            (&entry["object"], &entry["index"]),
            (&json!("embedding"), &json!(index))
        );
    }
    let vectors = data
        .iter()
        .map(|entry| serde_json::from_value(entry["embedding"].clone()));
    (vectors.map(Result::unwrap).collect(), answer)
}

#[track_caller]
fn near(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    let apart = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
    let apart = apart.fold(0.0, f32::max);
    // Another order of summation.
    assert!(apart < 1e-5, "{apart}");
}

#[tokio::test]
async fn vectors_are_those_of_hugging_face_with_either_pooling() {
    let golden = golden();
    let texts: Vec<&str> = golden.iter().map(|one| one.text.as_str()).collect();
    let last = Worker::start(&EXACT).await;
    let mean = Worker::start(&[&EXACT[..], &["--pooling=Mean"]].concat()).await;
    let (lasts, answer) = embed(&last, json!(texts), json!({})).await;
    let (means, _) = embed(&mean, json!(texts), json!({})).await;
    let cut = json!({ "dimensions": golden[0].cut.len() });
    let (cuts, _) = embed(&last, json!(texts), cut).await;
    for (index, expected) in golden.iter().enumerate() {
        near(&lasts[index], &expected.last);
        near(&means[index], &expected.mean);
        near(&cuts[index], &expected.cut);
    }
    assert_eq!(
        (&answer["object"], &answer["model"]),
        (&json!("list"), &json!("triage"))
    );
    let usage = &answer["usage"];
    assert_eq!(usage["prompt_tokens"], usage["total_tokens"]);
    assert!(usage["total_tokens"].as_u64().unwrap() > 30);
}

#[tokio::test]
async fn a_folder_that_says_how_it_pools_is_obeyed() {
    let model = copy();
    std::fs::create_dir(model.path().join("1_Pooling")).unwrap();
    let config = model.path().join("1_Pooling/config.json");
    std::fs::write(&config, r#"{ "pooling_mode_mean_tokens": true }"#).unwrap();
    let worker = Worker::serving(model.path(), &EXACT).await;
    let golden = golden();
    let (vectors, _) = embed(&worker, golden[1].text.as_str(), json!({})).await;
    near(&vectors[0], &golden[1].mean);
}

#[tokio::test]
async fn a_text_alone_has_the_bits_that_it_has_among_others() {
    for pooling in ["--pooling=Last", "--pooling=Mean"] {
        let worker = Worker::start(&[pooling]).await;
        let texts: Vec<String> = (0..40)
            .map(|index| "Where is my parcel, number ".repeat(1 + index % 13) + &index.to_string())
            .collect();
        let (together, _) = embed(&worker, json!(texts), json!({})).await;
        for (text, together) in texts.iter().zip(together).step_by(7) {
            let salted = json!({ "cache_salt": "nothing of it is computed" });
            let (alone, _) = embed(&worker, text.as_str(), salted).await;
            assert_eq!(alone[0], together);
        }
        worker.until_idle().await;
    }
}

#[tokio::test]
async fn every_form_of_an_input_and_of_a_vector_says_the_same() {
    let worker = Worker::start(&[]).await;
    let text = "Where is my parcel?";
    let mut client = worker.grpc().await;
    let prompt = Some(api::Prompt {
        form: Some(api::prompt::Form::Text(text.to_owned())),
    });
    let tokenize = api::TokenizeRequest {
        prompt: prompt.clone(),
        ..api::TokenizeRequest::default()
    };
    let ids = client.tokenize(tokenize).await.unwrap().into_inner().ids;
    let (whole, _) = embed(&worker, text, json!({ "encoding_format": "float" })).await;
    for input in [json!([text]), json!(ids), json!([ids])] {
        assert_eq!(embed(&worker, input, json!({})).await.0, whole);
    }
    let response = post(
        &worker,
        &asked(text, json!({ "encoding_format": "base64", "user": "u" })),
    )
    .await;
    assert_eq!(response.headers()["x-weir-dropped"], "user");
    let answer: Value = response.json().await.unwrap();
    let bytes = decoded(answer["data"][0]["embedding"].as_str().unwrap());
    let numbers: Vec<f32> = bytes
        .chunks_exact(4)
        .map(|four| f32::from_le_bytes(four.try_into().unwrap()))
        .collect();
    assert_eq!(numbers, whole[0]);
    let request = api::EmbedRequest {
        inputs: prompt.into_iter().collect(),
        dimensions: Some(3),
        ..api::EmbedRequest::default()
    };
    let over_grpc = client.embed(request).await.unwrap().into_inner();
    let (cut, _) = embed(&worker, text, json!({ "dimensions": 3 })).await;
    assert_eq!(over_grpc.vectors[0].values, cut[0]);
    assert_eq!(over_grpc.prompt_tokens as usize, ids.len());
    let length: f32 = cut[0].iter().map(|value| value * value).sum();
    assert!((length - 1.0).abs() < 1e-5);
}

/// Base64, as anybody reads it.
fn decoded(text: &str) -> Vec<u8> {
    let alphabet: Vec<char> = ('A'..='Z')
        .chain('a'..='z')
        .chain('0'..='9')
        .chain(['+', '/'])
        .collect();
    let place = |char| alphabet.iter().position(|known| *known == char);
    let (mut bits, mut count, mut bytes) = (0_u32, 0, Vec::new());
    for six in text.chars().map_while(place) {
        bits = bits << 6 | six as u32;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 255) as u8);
        }
    }
    bytes
}

#[tokio::test]
async fn what_has_no_vector_is_refused_by_name() {
    let worker = Worker::start(&[]).await;
    for (body, status, param) in [
        (json!({ "model": "triage" }), 400, "input"),
        (asked(json!([]), json!({})), 400, "input"),
        (asked(json!(["a", 7]), json!({})), 400, "input[1]"),
        (asked(json!([[1], [99999]]), json!({})), 400, "input[1]"),
        (asked(json!([1, -2]), json!({})), 400, "input"),
        (asked(json!(vec!["a"; 2049]), json!({})), 400, "input"),
        (asked("a", json!({ "dimensions": 0 })), 400, "dimensions"),
        (
            asked("a", json!({ "dimensions": 100_000 })),
            400,
            "dimensions",
        ),
        (asked("a", json!({ "dimensions": -1 })), 400, "dimensions"),
        (
            asked("a", json!({ "encoding_format": "int8" })),
            400,
            "encoding_format",
        ),
        (asked("parcel ".repeat(600), json!({})), 400, "input"),
        (asked("a", json!({ "model": "other" })), 404, "model"),
    ] {
        let (found, error) = error_of(post(&worker, &body).await).await;
        assert_eq!((found, &error["param"]), (status, &json!(param)), "{error}");
    }
    worker.until_idle().await;
}
