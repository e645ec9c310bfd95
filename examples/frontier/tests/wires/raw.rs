//! Requests over a bare socket, for what a client that knows HTTP would not show.

use std::io::ErrorKind;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

/// Everything that came until the connection ended, and whether it was reset.
pub(super) async fn exchange(
    provider: &Provider,
    path: &str,
    body: &Value,
    fault: &str,
) -> (Vec<u8>, bool) {
    let mut stream = send(provider, path, body, fault).await;
    let mut all = Vec::new();
    let end = stream.read_to_end(&mut all).await;
    match end {
        Ok(_) => (all, false),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => (all, true),
        Err(error) => panic!("{error}"),
    }
}

/// A connection that sent a request, and asks to be closed after its answer.
pub(super) async fn send(provider: &Provider, path: &str, body: &Value, fault: &str) -> TcpStream {
    let body = body.to_string();
    let mut stream = TcpStream::connect(provider.address).await.unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: stand-in\r\nconnection: close\r\nanthropic-version: \
         2023-06-01\r\nx-stand-in-fault: {fault}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
    stream
}

/// A response's body, and the sizes of the chunks that it came in; one where it came with its length.
pub(super) fn body(response: &[u8]) -> (Vec<u8>, Vec<usize>) {
    let at = find(response, b"\r\n\r\n") + 4;
    let head = String::from_utf8(response[..at].to_vec()).unwrap();
    let mut rest = &response[at..];
    if !head.contains("transfer-encoding: chunked") {
        return (rest.to_vec(), vec![rest.len()]);
    }
    let (mut whole, mut sizes) = (Vec::new(), Vec::new());
    loop {
        let line = find(rest, b"\r\n");
        let size = std::str::from_utf8(&rest[..line]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return (whole, sizes);
        }
        let from = line + 2;
        whole.extend_from_slice(&rest[from..from + size]);
        sizes.push(size);
        rest = &rest[from + size + 2..];
    }
}

fn find(text: &[u8], what: &[u8]) -> usize {
    let mut windows = text.windows(what.len());
    windows.position(|window| window == what).unwrap()
}
