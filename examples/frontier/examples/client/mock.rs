//! The endpoint behind everything that is measured under load: it has its answers ready, and so takes next to
//! nothing itself. It speaks OpenAI's chat wire and knows no other path.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep_until;

/// What it answers, to everybody alike.
#[derive(Clone, Deserialize)]
pub struct Mock {
    pub listen: SocketAddr,
    /// The text of a whole answer, and of all events of a stream together.
    bytes: usize,
    /// Of a stream; they share its text.
    events: usize,
    /// Between two of them; at once where it is 0.
    every_ms: u64,
    /// Before an answer begins.
    #[serde(default)]
    after_ms: u64,
    /// So many answers at once; whoever comes beyond that waits, as at a worker that is full.
    #[serde(default)]
    at_once: Option<usize>,
}

struct Ready {
    mock: Mock,
    whole: Vec<u8>,
    head: Vec<u8>,
    events: Vec<Vec<u8>>,
    end: Vec<u8>,
    places: tokio::sync::Semaphore,
}

impl Mock {
    /// Answers for as long as the process lives, on a thread of its own.
    pub fn start(self) {
        let listener = std::net::TcpListener::bind(self.listen).unwrap();
        listener.set_nonblocking(true).unwrap();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = { runtime }.enable_all().build().unwrap();
            runtime.block_on(serve(listener, Arc::new(self.ready())));
        });
    }

    fn ready(self) -> Ready {
        let words = "word ".repeat(self.bytes.div_ceil(5));
        let text = &words[..self.bytes];
        let usage = json!({ "prompt_tokens": 20, "completion_tokens": self.events, "total_tokens": 20 + self.events });
        let whole = json!({
            "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "big",
            "service_tier": "default", "system_fingerprint": "fp_1",
            "choices": [{
                "index": 0, "message": { "role": "assistant", "content": text },
                "logprobs": null, "finish_reason": "stop",
            }],
            "usage": usage,
        });
        let whole = whole.to_string();
        let length = whole.len();
        let whole = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{whole}"
        );
        let each = text.len().div_ceil(self.events.max(1)).max(1);
        let parts = text.as_bytes().chunks(each);
        let events = parts.map(|part| chunk(std::str::from_utf8(part).unwrap(), None).into_bytes());
        let last = json!({
            "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "big",
            "service_tier": "default", "system_fingerprint": "fp_1", "choices": [], "usage": usage,
        });
        let end = [
            chunk("", Some("stop")),
            framed(&format!("data: {last}\n\n")),
            framed("data: [DONE]\n\n"),
            "0\r\n\r\n".to_owned(),
        ];
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        Ready {
            whole: whole.into_bytes(),
            head: head.as_bytes().to_vec(),
            events: events.collect(),
            end: end.concat().into_bytes(),
            places: tokio::sync::Semaphore::new(self.at_once.unwrap_or(1 << 20)),
            mock: self,
        }
    }
}

async fn serve(listener: std::net::TcpListener, ready: Arc<Ready>) {
    let listener = TcpListener::from_std(listener).unwrap();
    let mut clients = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let ready = ready.clone();
        clients.spawn(async move {
            let _ = answer(stream, &ready).await;
        });
        while clients.try_join_next().is_some() {}
    }
}

/// Answers until the client leaves.
async fn answer(mut stream: TcpStream, ready: &Ready) -> std::io::Result<()> {
    let mut gathered = Vec::new();
    while let Some(is_stream) = request(&mut stream, &mut gathered).await? {
        let _place = ready.places.acquire().await.unwrap();
        let began = tokio::time::Instant::now() + Duration::from_millis(ready.mock.after_ms);
        if ready.mock.after_ms > 0 {
            sleep_until(began).await;
        }
        if !is_stream {
            stream.write_all(&ready.whole).await?;
            continue;
        }
        if ready.mock.every_ms == 0 {
            let events = ready.events.concat();
            let all = [&ready.head, &events, &ready.end].map(Vec::as_slice);
            stream.write_all(&all.concat()).await?;
            continue;
        }
        stream.write_all(&ready.head).await?;
        let every = Duration::from_millis(ready.mock.every_ms);
        for (event, number) in ready.events.iter().zip(0..) {
            sleep_until(began + every * number).await;
            stream.write_all(event).await?;
        }
        stream.write_all(&ready.end).await?;
    }
    Ok(())
}

/// Reads the next request, and whether it asks for a stream; nothing where there is none.
async fn request(stream: &mut TcpStream, gathered: &mut Vec<u8>) -> std::io::Result<Option<bool>> {
    loop {
        if let Some(at) = find(gathered, b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&gathered[..at]).to_ascii_lowercase();
            let mut lines = head.lines();
            let length = lines.find_map(|line| line.strip_prefix("content-length:"));
            let whole = at + 4 + length.map_or(0, |length| length.trim().parse().unwrap());
            if gathered.len() >= whole {
                let body = &gathered[at..whole];
                let is_stream = find(body, b"\"stream\":true").is_some()
                    || find(body, b"\"stream\": true").is_some();
                gathered.drain(..whole);
                return Ok(Some(is_stream));
            }
        }
        if stream.read_buf(gathered).await? == 0 {
            return Ok(None);
        }
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|part| part == what)
}

pub fn chunk(text: &str, finish: Option<&str>) -> String {
    let event = json!({
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "big",
        "service_tier": "default", "system_fingerprint": "fp_1",
        "choices": [{
            "index": 0, "delta": { "role": "assistant", "content": text },
            "logprobs": null, "finish_reason": finish,
        }],
    });
    framed(&format!("data: {event}\n\n"))
}

pub fn framed(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}
