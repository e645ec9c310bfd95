//! Clients that write everything before they read anything, as many do.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
};

use serde_json::json;

use crate::harness::{PATIENCE, Worker, about};

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

#[tokio::test(flavor = "multi_thread")]
async fn a_body_for_which_there_is_no_place_is_taken_too() {
    let worker = Worker::start(&[]).await;
    let chat = "POST /v1/chat/completions";
    let head = format!("{chat} HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n");
    let _silent: Vec<TcpStream> = (0..40)
        .map(|_| {
            let mut stream = connect(worker.address);
            stream.write_all(head.as_bytes()).unwrap();
            stream
        })
        .collect();
    let body = about("Where is my parcel?", json!({}));
    while worker.post(&body).send().await.unwrap().status() != 429 {}
    assert_eq!(answered(worker.address, chat, LONG, LONG), "HTTP/1.1 429");
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
