//! What clients may do with their connections, over raw sockets.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::rig::{Rig, Setup};
use crate::worker::{Play, Scripted, sure};

/// Far above what anything here takes.
const LONG: Duration = Duration::from_secs(60);

const MODELS: &str = "GET /v1/models HTTP/1.1\r\nhost: x\r\n";

async fn connect(rig: &Rig) -> TcpStream {
    let address = rig.url.strip_prefix("http://").unwrap();
    TcpStream::connect(address).await.unwrap()
}

/// Everything that comes until the router closes, which it has to.
async fn rest(mut stream: TcpStream) -> String {
    let mut rest = Vec::new();
    // Closed with something unread is a reset.
    let _ = timeout(LONG, stream.read_to_end(&mut rest))
        .await
        .expect("the connection is closed");
    String::from_utf8(rest).unwrap()
}

async fn said(rig: &Rig, text: &str) -> String {
    let mut stream = connect(rig).await;
    stream.write_all(text.as_bytes()).await.unwrap();
    rest(stream).await
}

/// An ask of so many bytes, with these headers beside.
fn chat(headers: &str, body: &str) -> String {
    format!("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n{headers}\r\n{body}")
}

#[tokio::test]
async fn a_head_that_does_not_come_to_its_end_is_not_waited_for() {
    let rig = Rig::start(Setup {
        args: |args| args.connection_patience = Duration::from_millis(200),
        ..Setup::default()
    })
    .await;
    for beginning in ["", "GET /v1/models", MODELS] {
        let left = said(&rig, beginning).await;
        assert!(!left.starts_with("HTTP/1.1 200"), "{left}");
    }
    // Nor is a connection kept that asked once.
    let kept = said(&rig, &format!("{MODELS}\r\n")).await;
    assert!(kept.starts_with("HTTP/1.1 200"), "{kept}");
}

#[tokio::test]
async fn too_many_headers_and_too_long_ones_are_answered_by_431() {
    let rig = Rig::start(Setup::default()).await;
    for headers in [
        "x-many: 1\r\n".repeat(101),
        format!("x-long: {}\r\n", "x".repeat(70 << 10)),
        // Never ended.
        format!("x-long: {}", "x".repeat(70 << 10)),
    ] {
        let refused = said(&rig, &format!("{MODELS}{headers}\r\n")).await;
        assert!(refused.starts_with("HTTP/1.1 431"), "{refused}");
    }
}

#[tokio::test]
async fn a_request_that_two_readers_could_read_differently_is_refused_and_closed() {
    let rig = Rig::start(Setup::default()).await;
    let second = format!("{MODELS}\r\n");
    for head in [
        "GET /v1/models HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        "GET /v1/models HTTP/1.1\r\nhost: x\r\ncontent-length: 1, 1\r\n\r\n",
        "GET /v1/models HTTP/1.1\r\nhost: x\r\ncontent-length: +1\r\n\r\n",
        "GET /v1/models HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip\r\n\r\n",
        "GET /v1/models HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked, identity\r\n\r\n",
        "GET /v1/models HTTP/1.0\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n",
        "GET /v1/models HTTP/1.1\r\nhost: x\r\nx-folded: one\r\n two\r\n\r\n",
        "GET /v1/models HTTP/1.1\r\nhost: x\r\nx-nul: o\0ne\r\n\r\n",
        "GET /v1/models HTTP/1.1\r\nhost: x\r\nx space: 1\r\n\r\n",
        "GET /v1/models HTTP/1.1\r\nhost : x\r\n\r\n",
        "GET  /v1/models HTTP/1.1\r\nhost: x\r\n\r\n",
        "GET /v1/mod els HTTP/1.1\r\nhost: x\r\n\r\n",
        "GET /v1/models HTTP/1.2\r\nhost: x\r\n\r\n",
        "G(T /v1/models HTTP/1.1\r\nhost: x\r\n\r\n",
        "GET /v1/models\r\n\r\n",
    ] {
        let refused = said(&rig, &format!("{head}{second}")).await;
        assert!(refused.starts_with("HTTP/1.1 400"), "{head:?}: {refused}");
        let answers = refused.matches("HTTP/1.1").count();
        assert_eq!(answers, 1, "{head:?} hides another: {refused}");
    }
}

#[tokio::test]
async fn a_length_beside_chunks_counts_for_nothing_and_nothing_is_read_after_them() {
    let worker = Scripted::start([sure()]).await;
    let rig = Rig::with(json!({}), &[&worker]).await;
    let hidden = format!("{MODELS}\r\n");
    for (one, other) in [
        ("content-length: 5", "transfer-encoding: chunked"),
        ("transfer-encoding: chunked", "content-length: 5"),
    ] {
        let text = chat(
            &format!("{one}\r\n{other}\r\n"),
            &format!("0\r\n\r\n{hidden}"),
        );
        let answer = said(&rig, &text).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    }
    assert!(worker.asked().is_empty());
}

#[tokio::test]
async fn a_chunk_of_an_odd_size_ends_the_request_and_the_connection() {
    let worker = Scripted::start([sure()]).await;
    let rig = Rig::with(json!({}), &[&worker]).await;
    let hidden = format!("{MODELS}\r\n");
    for size in ["x", "-1", "0x2", "fffffffffffffffff", "", "2 2", "2;\n"] {
        let text = format!("{size}\r\n{{}}\r\n0\r\n\r\n{hidden}");
        let answer = said(&rig, &chat("transfer-encoding: chunked\r\n", &text)).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{size:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{size:?}: {answer}");
    }
    assert!(worker.asked().is_empty());
}

#[tokio::test]
async fn a_credential_that_is_there_twice_is_named() {
    let rig = Rig::start(Setup::default()).await;
    for name in ["authorization", "x-api-key"] {
        let twice = format!("connection: close\r\n{name}: Bearer a\r\n{name}: Bearer b\r\n");
        for request in [
            chat(&format!("{twice}content-length: 2\r\n"), "{}"),
            format!("{MODELS}{twice}\r\n"),
        ] {
            let refused = said(&rig, &request).await;
            assert!(refused.starts_with("HTTP/1.1 400"), "{refused}");
            assert!(
                refused.contains(&format!("\"param\":\"{name}\"")),
                "{refused}"
            );
        }
    }
}

#[tokio::test]
async fn a_stream_that_nobody_reads_is_given_up_and_its_ask_is_settled() {
    // More than the buffers of a connection and the router's places for pieces hold together.
    let page: &'static str = "x".repeat(256 << 10).leak();
    let worker = Scripted::start([vec![Play::Say(page, -0.01); 200]]).await;
    let rig = Rig::start(Setup {
        policy: json!({ "streaming": { "holdBack": "None" } }),
        workers: vec![worker.clone()],
        args: |args| args.reader_patience = Duration::from_millis(300),
        ..Setup::default()
    })
    .await;
    let http2 = reqwest::Client::builder().http2_prior_knowledge().build();
    for (client, gone) in [(rig.client.clone(), 1), (http2.unwrap(), 2)] {
        let request = client.post(format!("{}/v1/chat/completions", rig.url));
        let message = json!({ "role": "user", "content": "hi" });
        let body = json!({ "model": "assistant", "stream": true, "messages": [message] });
        let unread = request.body(body.to_string()).send().await.unwrap();
        let line = "weir_router_asks_total{policy=\"support\",outcome=\"disconnected\"}";
        rig.until_counted(&format!("{line} {gone}")).await;
        rig.until_counted("weir_router_asks_running 0").await;
        let read = unread.text().await;
        assert!(read.is_err(), "a cut does not look like an end");
    }
}

#[tokio::test]
async fn requests_that_come_one_behind_the_other_are_answered_in_turn() {
    let worker = Scripted::start([sure()]).await;
    let rig = Rig::with(json!({}), &[&worker]).await;
    let message = json!({ "role": "user", "content": "hi" });
    let body = json!({ "model": "assistant", "messages": [message] }).to_string();
    let ask = chat(&format!("content-length: {}\r\n", body.len()), &body);
    let models = format!("{MODELS}\r\n");
    let last = format!("{MODELS}connection: close\r\n\r\n");
    let answers = said(&rig, &format!("{models}{ask}{models}{ask}{last}")).await;
    let kinds: Vec<&str> = answers
        .split("HTTP/1.1 200")
        .skip(1)
        .map(|answer| {
            if answer.contains("billing") {
                "chat"
            } else {
                "models"
            }
        })
        .collect();
    assert_eq!(kinds, ["models", "chat", "models", "chat", "models"]);
}

#[tokio::test]
async fn connections_beyond_the_most_are_turned_away() {
    let rig = Rig::start(Setup {
        args: |args| args.max_connections = 1,
        ..Setup::default()
    })
    .await;
    let mut kept = connect(&rig).await;
    kept.write_all(format!("{MODELS}\r\n").as_bytes())
        .await
        .unwrap();
    kept.read_exact(&mut [0; 12]).await.unwrap();
    let turned_away = said(&rig, &format!("{MODELS}\r\n")).await;
    assert!(turned_away.starts_with("HTTP/1.1 503"), "{turned_away}");
    assert!(turned_away.contains("retry-after: 1"), "{turned_away}");
}
