//! Clients that read slowly, and clients that leave while they still write.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use http::HeaderMap;
use serde_json::json;
use tokio::task::spawn_blocking;

use crate::rig::{Rig, Setup, header, json_of, streamed};
use crate::worker::{Play, Scripted};

#[tokio::test]
async fn a_client_that_reads_late_is_told_that_the_time_was_over_and_not_of_a_defect() {
    // More than the buffers of a connection and the router's places for pieces hold together.
    let page: &'static str = "x".repeat(256 << 10).leak();
    let script = vec![Play::Say(page, -0.01); 200];
    let worker = Scripted::start([script]).await;
    let rig = Rig::start(Setup {
        policy: json!({ "maxDuration": "2s", "streaming": { "holdBack": "None" } }),
        workers: vec![worker],
        ..Setup::default()
    })
    .await;
    let response = rig.ask(json!({ "stream": true })).await;
    rig.until_counted("weir_router_asks_total{policy=\"support\",outcome=\"refused\"} 1")
        .await;
    let id = header(&response, "x-weir-decision");
    let path = format!("/v1/decisions/{id}");
    let record = json_of(rig.get(&path, HeaderMap::new()).await).await;
    assert_eq!(record["attempts"][0]["outcome"], "committed", "it kept up");
    let late = streamed(response).await;
    assert!(!late.text.is_empty() && late.text.len() < 200 * page.len());
    assert_eq!(late.chunks.last().unwrap()["error"]["code"], "too_slow");
}

#[tokio::test]
async fn a_client_that_leaves_before_its_body_is_whole_is_counted_as_gone() {
    let rig = Rig::start(Setup::default()).await;
    for (length, how) in [
        ("content-length: 1000", Shutdown::Both),
        ("content-length: 1000", Shutdown::Write),
        ("transfer-encoding: chunked", Shutdown::Both),
    ] {
        let address = rig.url.strip_prefix("http://").unwrap().to_owned();
        let leave = move |socket: TcpStream| socket.shutdown(how).unwrap();
        let begin = spawn_blocking(move || {
            let mut socket = TcpStream::connect(address).unwrap();
            let head = format!("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n{length}\r\n\r\n");
            socket.write_all(head.as_bytes()).unwrap();
            socket
        });
        let socket = begin.await.unwrap();
        rig.until_counted("weir_router_asks_running 1").await;
        leave(socket);
        rig.until_counted("weir_router_asks_running 0").await;
    }
    let metrics = rig.metrics().await;
    let gone = "weir_router_asks_total{policy=\"\",outcome=\"disconnected\"} 3";
    assert!(metrics.contains(gone), "{metrics}");
}

#[tokio::test]
async fn a_body_where_nothing_takes_it_is_read_so_that_its_connection_is_of_use_again() {
    let rig = Rig::start(Setup::default()).await;
    let address = rig.url.strip_prefix("http://").unwrap().to_owned();
    let ask = move || {
        let mut socket = TcpStream::connect(address).unwrap();
        let body = "x".repeat(1 << 20);
        let head = "POST /v1/moderations HTTP/1.1\r\nhost: x\r\n";
        for more in ["", "connection: close\r\n"] {
            let length = format!("content-length: {}\r\n{more}\r\n", body.len());
            socket.write_all(head.as_bytes()).unwrap();
            socket.write_all(length.as_bytes()).unwrap();
            socket.write_all(body.as_bytes()).unwrap();
        }
        let mut answers = String::new();
        socket.read_to_string(&mut answers).unwrap();
        answers
    };
    let answers = spawn_blocking(ask).await.unwrap();
    assert_eq!(answers.matches("HTTP/1.1 404").count(), 2, "{answers}");
}
