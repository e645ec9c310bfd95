//! Clients that write everything before they read anything, as many do.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
};

use futures::{StreamExt, future::select_all, stream};
use serde_json::json;

use crate::harness::{PATIENCE, Worker, about, error_of};

/// More than the sockets between two processes hold, and more than is taken.
const LONG: usize = 40 << 20;

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// The first line of what a client reads that has written a head, and a body of so many bytes.
fn answered(address: SocketAddr, line: &str, announced: usize, written: usize) -> String {
    let mut stream = connect(address);
    let head = format!("{line} HTTP/1.1\r\nhost: x\r\ncontent-length: {announced}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let piece = vec![b' '; 1 << 20];
    for _ in 0..written >> 20 {
        stream.write_all(&piece).expect("all of it is taken");
    }
    let mut status = [0; 12];
    stream.read_exact(&mut status).expect("there is an answer");
    String::from_utf8(status.to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_nobody_wants_is_taken_before_its_client_is_told_so() {
    let worker = Worker::start(&[]).await;
    for (line, status) in [
        ("POST /v1/chat/completions", 413),
        ("POST /v1/completions", 413),
        ("POST /v1/embeddings", 413),
        ("POST /tokenize", 413),
        ("POST /nowhere", 404),
        ("PUT /v1/models", 405),
    ] {
        let said = answered(worker.address, line, LONG, LONG);
        assert_eq!(said, format!("HTTP/1.1 {status}"), "{line}");
    }
    worker.chat(&about("Where is my parcel?", json!({}))).await;
}

/// Together more than is taken in at a time.
const CROWD: usize = 17;

#[tokio::test(flavor = "multi_thread")]
async fn a_body_for_which_there_is_no_room_is_taken_too() {
    let worker = Worker::start(&[]).await;
    let chat = "POST /v1/chat/completions";
    let head = format!(
        "{chat} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n",
        8 << 20
    );
    let almost = vec![b' '; (8 << 20) - 1];
    let mut crowd: Vec<TcpStream> = Vec::new();
    let body = about("Where is my parcel?", json!({}));
    let (status, error) = loop {
        // Those of whom nothing more comes have half a minute, which may be over.
        for _ in 0..CROWD {
            let mut stream = connect(worker.address);
            let written = stream.write_all(head.as_bytes());
            if written.and_then(|()| stream.write_all(&almost)).is_ok() {
                crowd.push(stream);
            }
        }
        let response = worker.post(&body).send().await.unwrap();
        if response.status() != 200 {
            break error_of(response).await;
        }
    };
    let said = error["message"].as_str().unwrap();
    assert!(
        status == 429 && said.contains("being taken in"),
        "{status}: {said}"
    );
    assert_eq!(
        answered(worker.address, chat, 8 << 20, 8 << 20),
        "HTTP/1.1 429"
    );
    drop(crowd);
    while worker.post(&body).send().await.unwrap().status() != 200 {}
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_over_grpc_that_are_never_finished_take_no_more_than_their_share() {
    let worker = Worker::start(&[]).await;
    let client = reqwest::Client::builder()
        .http2_prior_knowledge()
        .build()
        .unwrap();
    let url = format!("http://{}/weir.worker.v1.Worker/Generate", worker.address);
    let unfinished = || {
        // A message of 11 MiB is announced, and all of it comes but the last byte.
        let mut sent = [&[0][..], &(11_u32 << 20).to_be_bytes()].concat();
        sent.resize((11 << 20) + 4, b' ');
        let pieces: Vec<Vec<u8>> = sent.chunks(1 << 16).map(<[u8]>::to_vec).collect();
        let pieces = stream::iter(pieces.into_iter().map(Ok::<_, std::io::Error>));
        let body = reqwest::Body::wrap_stream(pieces.chain(stream::pending()));
        let request = client.post(&url).header("content-type", "application/grpc");
        Box::pin(request.header("te", "trailers").body(body).send())
    };
    let (first, _) = select_all((0..CROWD).map(|_| unfinished()))
        .await
        .0
        .map_or_else(
            |error| panic!("{error}"),
            |response| (response.headers()["grpc-status"].clone(), response),
        );
    assert_eq!(first, "8", "resources are exhausted");
    worker.chat(&about("Where is my parcel?", json!({}))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_without_end_is_not_taken_to_its_end() {
    let worker = Worker::start(&[]).await;
    // Who says so is told at once.
    let said = answered(worker.address, "POST /v1/completions", 1 << 40, 0);
    assert_eq!(said, "HTTP/1.1 413");
    let mut stream = connect(worker.address);
    let head = b"POST /nowhere HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head).unwrap();
    let chunk = [b"100000\r\n", &[b' '; 1 << 20][..], b"\r\n"].concat();
    let taken = (0..1000).take_while(|_| stream.write_all(&chunk).is_ok());
    assert!((64..200).contains(&taken.count()));
    worker.chat(&about("Where is my parcel?", json!({}))).await;
}
