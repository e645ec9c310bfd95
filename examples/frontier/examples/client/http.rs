//! As little of HTTP/1.1 as it takes: a request on a kept connection, and the bytes of its answer as they
//! come.

use std::net::SocketAddr;
use std::time::Instant;

use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Whom to ask what.
#[derive(Clone, Deserialize)]
pub struct Target {
    pub name: String,
    pub address: SocketAddr,
    pub path: String,
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    pub body: serde_json::Value,
}

impl Target {
    /// The request, as it goes over a connection.
    pub fn request(&self) -> Vec<u8> {
        let body = self.body.to_string();
        let headers = self.headers.iter();
        let headers: String = headers
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let (path, length) = (&self.path, body.len());
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n{headers}content-length: {length}\r\n\r\n{body}"
        );
        request.into_bytes()
    }
}

pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// When the first byte of a body came, and the last.
pub struct Times {
    pub status: u16,
    pub first: Instant,
    pub last: Instant,
}

impl Connection {
    pub async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let buffer = vec![0; 64 << 10];
        Self { stream, buffer }
    }

    pub async fn send(&mut self, request: &[u8]) {
        self.stream.write_all(request).await.unwrap();
    }

    /// Reads an answer to its end, and shows every part of the body to `look`.
    pub async fn read(&mut self, mut look: impl FnMut(&[u8], Instant)) -> Times {
        let mut head = Vec::new();
        let ((status, length), mut rest) = loop {
            let count = self.more().await;
            head.extend_from_slice(&self.buffer[..count]);
            if let Some(at) = head.windows(4).position(|four| four == b"\r\n\r\n") {
                let rest = head.split_off(at + 4);
                break (status_and_length(&head), rest);
            }
        };
        let (mut first, mut read, mut tail) = (None, 0, Vec::new());
        loop {
            let now = Instant::now();
            if !rest.is_empty() {
                first.get_or_insert(now);
                look(&rest, now);
                read += rest.len();
                tail.extend_from_slice(&rest);
                tail.drain(..tail.len().saturating_sub(LAST_CHUNK.len()));
            }
            if length.map_or(tail.ends_with(LAST_CHUNK), |length| read >= length) {
                return Times {
                    status,
                    first: first.unwrap_or(now),
                    last: now,
                };
            }
            let count = self.more().await;
            rest.clear();
            rest.extend_from_slice(&self.buffer[..count]);
        }
    }

    async fn more(&mut self) -> usize {
        let count = self.stream.read(&mut self.buffer).await.unwrap();
        assert!(count > 0, "the connection was closed");
        count
    }
}

const LAST_CHUNK: &[u8] = b"\r\n0\r\n\r\n";

/// And how long the body is; nothing where it comes in chunks.
fn status_and_length(head: &[u8]) -> (u16, Option<usize>) {
    let head = std::str::from_utf8(head).unwrap().to_ascii_lowercase();
    let status = head
        .strip_prefix("http/1.1 ")
        .and_then(|head| head.get(..3));
    let mut lines = head.lines();
    let length = lines.find_map(|line| line.strip_prefix("content-length:"));
    (
        status.unwrap().parse().unwrap(),
        length.map(|length| length.trim().parse().unwrap()),
    )
}
